/* SPDX-License-Identifier: Apache-2.0
 *
 * State_table: see state_table.h.
 */
#include "engine/state_table.h"

#include <string.h>

#include "base/mem.h"

lk_status lk_state_pool_init(struct lk_state_pool *pool, int n_blocks, int n_slots, lk_error *err)
{
    *pool = (struct lk_state_pool){.n_blocks = n_blocks,
                                   .n_slots = n_slots,
                                   .n_free = n_blocks,
                                   .n_free_slots = n_slots};
    pool->free_list = lk_alloc_array((size_t)n_blocks, sizeof *pool->free_list);
    pool->refs = lk_alloc_array((size_t)n_blocks, sizeof *pool->refs);
    pool->free_slots = lk_alloc_array((size_t)n_slots + 1, sizeof *pool->free_slots);
    if (!pool->free_list || !pool->refs || !pool->free_slots) {
        lk_state_pool_free(pool);
        return lk_fail(err, LK_E_NOMEM, "out of memory: a table of %d KV blocks", n_blocks);
    }
    for (int i = 0; i < n_blocks; i++) {
        pool->free_list[i] = n_blocks - 1 - i; /* block 0 is handed out first */
    }
    for (int i = 0; i < n_slots; i++) {
        pool->free_slots[i] = n_slots - 1 - i;
    }
    return LK_OK;
}

void lk_state_pool_free(struct lk_state_pool *pool)
{
    lk_free(pool->free_list);
    lk_free(pool->refs);
    lk_free(pool->free_slots);
    *pool = (struct lk_state_pool){0};
}

static int32_t take(struct lk_state_pool *pool)
{
    int32_t b = pool->free_list[--pool->n_free];
    pool->refs[b] = 1;
    return b;
}

static void take_slot(struct lk_state_seq *seq, struct lk_state_pool *pool)
{
    seq->slot = pool->free_slots[--pool->n_free_slots];
}

static void give_slot(struct lk_state_seq *seq, struct lk_state_pool *pool)
{
    if (seq->slot >= 0) {
        pool->free_slots[pool->n_free_slots++] = seq->slot;
        seq->slot = -1;
    }
}

void lk_state_block_share(struct lk_state_pool *pool, int32_t b)
{
    pool->refs[b]++;
}

void lk_state_block_give(struct lk_state_pool *pool, int32_t b)
{
    if (--pool->refs[b] == 0) {
        pool->free_list[pool->n_free++] = b;
    }
}

lk_status lk_state_seq_init(struct lk_state_seq *seq, int max_tokens, lk_error *err)
{
    *seq = (struct lk_state_seq){.cap = (max_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK,
                                 .max_tokens = max_tokens,
                                 .slot = -1};
    seq->blocks = lk_alloc_array((size_t)seq->cap, sizeof *seq->blocks);
    if (!seq->blocks) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a block table of %d entries", seq->cap);
    }
    return LK_OK;
}

void lk_state_seq_free(struct lk_state_seq *seq, struct lk_state_pool *pool)
{
    if (seq->blocks) {
        lk_state_seq_truncate(seq, pool, 0);
    }
    lk_free(seq->blocks);
    *seq = (struct lk_state_seq){.slot = -1};
}

lk_status lk_state_seq_reserve(struct lk_state_seq *seq, struct lk_state_pool *pool, int n,
                               struct lk_state_copy *copy, lk_error *err)
{
    *copy = (struct lk_state_copy){-1, -1, false};
    if (n > seq->max_tokens - seq->n_tokens) {
        return lk_fail(err, LK_E_FULL, "context full: %d tokens held and %d more, room for %d",
                       seq->n_tokens, n, seq->max_tokens);
    }
    int need = (seq->n_tokens + n + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    int tail = seq->n_tokens / LK_KV_BLOCK; /* the block the next token goes into */
    bool shared = n > 0 && tail < seq->n_blocks && pool->refs[seq->blocks[tail]] > 1;
    int fresh = need > seq->n_blocks ? need - seq->n_blocks : 0;
    if (fresh + (shared ? 1 : 0) > pool->n_free) {
        return lk_fail(err, LK_E_FULL,
                       "KV cache full: %d more blocks of %d tokens needed, %d of %d free",
                       fresh + (shared ? 1 : 0), LK_KV_BLOCK, pool->n_free, pool->n_blocks);
    }
    bool slot = pool->n_slots > 0 && seq->slot < 0 && n > 0;
    if (slot && pool->n_free_slots == 0) {
        return lk_fail(err, LK_E_FULL, "recurrent states full: %d sequences hold one each",
                       pool->n_slots);
    }
    if (slot) {
        take_slot(seq, pool);
        copy->new_slot = true;
    }
    if (shared) {
        int32_t from = seq->blocks[tail], to = take(pool);
        lk_state_block_give(pool, from);
        seq->blocks[tail] = to;
        if (seq->n_tokens % LK_KV_BLOCK != 0) {
            copy->from = from;
            copy->to = to;
        }
    }
    while (seq->n_blocks < need) {
        seq->blocks[seq->n_blocks++] = take(pool);
    }
    return LK_OK;
}

void lk_state_seq_unreserve(struct lk_state_seq *seq, struct lk_state_pool *pool,
                            const struct lk_state_copy *copy)
{
    if (copy->from >= 0) {
        seq->blocks[seq->n_tokens / LK_KV_BLOCK] = copy->from;
        pool->refs[copy->from]++;
        lk_state_block_give(pool, copy->to);
    }
    lk_state_seq_truncate(seq, pool, seq->n_tokens);
}

void lk_state_seq_go_back(struct lk_state_seq *seq, struct lk_state_pool *pool, int n)
{
    int keep = (n + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    while (seq->n_blocks > keep) {
        lk_state_block_give(pool, seq->blocks[--seq->n_blocks]);
    }
    if (n == 0) {
        give_slot(seq, pool);
    }
    seq->n_tokens = n;
}

int lk_state_seq_truncate(struct lk_state_seq *seq, struct lk_state_pool *pool, int n)
{
    if (seq->slot >= 0 && n < seq->n_tokens) {
        n = 0; /* a recurrent state does not go back by itself */
    }
    lk_state_seq_go_back(seq, pool, n);
    return n;
}

bool lk_state_seq_take_slot(struct lk_state_seq *seq, struct lk_state_pool *pool)
{
    if (pool->n_free_slots > 0) {
        take_slot(seq, pool);
    }
    return seq->slot >= 0;
}

int lk_state_seq_borrow(const struct lk_state_seq *from, struct lk_state_seq *to,
                        struct lk_state_pool *pool, int n)
{
    int got = 0;
    for (int i = from->n_blocks - 1; i >= 0 && got < n && to->n_blocks < to->cap; i--) {
        int32_t b = from->blocks[i];
        if (pool->refs[b] == 1) {
            pool->refs[b]++;
            to->blocks[to->n_blocks++] = b;
            got++;
        }
    }
    return got;
}

lk_status lk_state_seq_fork(const struct lk_state_seq *from, struct lk_state_seq *to,
                            struct lk_state_pool *pool, lk_error *err)
{
    if (from->n_tokens > to->max_tokens) {
        return lk_fail(err, LK_E_FULL, "context full: a fork of %d tokens, room for %d",
                       from->n_tokens, to->max_tokens);
    }
    if (from->slot >= 0) {
        if (pool->n_free_slots == 0) {
            return lk_fail(err, LK_E_FULL, "recurrent states full: %d sequences hold one each",
                           pool->n_slots);
        }
        take_slot(to, pool);
    }
    for (int i = 0; i < from->n_blocks; i++) {
        to->blocks[i] = from->blocks[i];
        pool->refs[from->blocks[i]]++;
    }
    to->n_blocks = from->n_blocks;
    to->n_tokens = from->n_tokens;
    return LK_OK;
}

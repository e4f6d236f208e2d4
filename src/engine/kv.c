/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv: see kv.h.
 */
#include "engine/kv.h"

#include <string.h>

#include "base/mem.h"

lk_status lk_kv_pool_init(struct lk_kv_pool *pool, int n_blocks, lk_error *err)
{
    *pool = (struct lk_kv_pool){.n_blocks = n_blocks, .n_free = n_blocks};
    pool->free_list = lk_alloc_array((size_t)n_blocks, sizeof *pool->free_list);
    pool->refs = lk_alloc_array((size_t)n_blocks, sizeof *pool->refs);
    if (!pool->free_list || !pool->refs) {
        lk_kv_pool_free(pool);
        return lk_fail(err, LK_E_NOMEM, "out of memory: a table of %d KV blocks", n_blocks);
    }
    for (int i = 0; i < n_blocks; i++) {
        pool->free_list[i] = n_blocks - 1 - i; /* block 0 is handed out first */
    }
    return LK_OK;
}

void lk_kv_pool_free(struct lk_kv_pool *pool)
{
    lk_free(pool->free_list);
    lk_free(pool->refs);
    *pool = (struct lk_kv_pool){0};
}

static int32_t take(struct lk_kv_pool *pool)
{
    int32_t b = pool->free_list[--pool->n_free];
    pool->refs[b] = 1;
    return b;
}

static void give(struct lk_kv_pool *pool, int32_t b)
{
    if (--pool->refs[b] == 0) {
        pool->free_list[pool->n_free++] = b;
    }
}

lk_status lk_kv_seq_init(struct lk_kv_seq *seq, int max_tokens, lk_error *err)
{
    *seq = (struct lk_kv_seq){.cap = (max_tokens + LK_KV_BLOCK - 1) / LK_KV_BLOCK,
                              .max_tokens = max_tokens};
    seq->blocks = lk_alloc_array((size_t)seq->cap, sizeof *seq->blocks);
    if (!seq->blocks) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a block table of %d entries", seq->cap);
    }
    return LK_OK;
}

void lk_kv_seq_free(struct lk_kv_seq *seq, struct lk_kv_pool *pool)
{
    if (seq->blocks) {
        lk_kv_seq_truncate(seq, pool, 0);
    }
    lk_free(seq->blocks);
    *seq = (struct lk_kv_seq){0};
}

lk_status lk_kv_seq_reserve(struct lk_kv_seq *seq, struct lk_kv_pool *pool, int n,
                            struct lk_kv_copy *copy, lk_error *err)
{
    *copy = (struct lk_kv_copy){-1, -1};
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
    if (shared) {
        int32_t from = seq->blocks[tail], to = take(pool);
        give(pool, from);
        seq->blocks[tail] = to;
        if (seq->n_tokens % LK_KV_BLOCK != 0) {
            *copy = (struct lk_kv_copy){from, to};
        }
    }
    while (seq->n_blocks < need) {
        seq->blocks[seq->n_blocks++] = take(pool);
    }
    return LK_OK;
}

void lk_kv_seq_unreserve(struct lk_kv_seq *seq, struct lk_kv_pool *pool,
                         const struct lk_kv_copy *copy)
{
    if (copy->from >= 0) {
        seq->blocks[seq->n_tokens / LK_KV_BLOCK] = copy->from;
        pool->refs[copy->from]++;
        give(pool, copy->to);
    }
    lk_kv_seq_truncate(seq, pool, seq->n_tokens);
}

void lk_kv_seq_truncate(struct lk_kv_seq *seq, struct lk_kv_pool *pool, int n)
{
    int keep = (n + LK_KV_BLOCK - 1) / LK_KV_BLOCK;
    while (seq->n_blocks > keep) {
        give(pool, seq->blocks[--seq->n_blocks]);
    }
    seq->n_tokens = n;
}

int lk_kv_seq_borrow(const struct lk_kv_seq *from, struct lk_kv_seq *to, struct lk_kv_pool *pool,
                     int n)
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

lk_status lk_kv_seq_fork(const struct lk_kv_seq *from, struct lk_kv_seq *to,
                         struct lk_kv_pool *pool, lk_error *err)
{
    if (from->n_tokens > to->max_tokens) {
        return lk_fail(err, LK_E_FULL, "context full: a fork of %d tokens, room for %d",
                       from->n_tokens, to->max_tokens);
    }
    for (int i = 0; i < from->n_blocks; i++) {
        to->blocks[i] = from->blocks[i];
        pool->refs[from->blocks[i]]++;
    }
    to->n_blocks = from->n_blocks;
    to->n_tokens = from->n_tokens;
    return LK_OK;
}

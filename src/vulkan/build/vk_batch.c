/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_batch: the buffer that tells the kernels about a batch: where its parts lie, and what a batch
 * writes there: ids, positions, block tables, rope tables, tiles of attention. Knows no step.
 */
#include "vulkan/build/vk_batch.h"

#include <string.h>

#include "backend/embed_row.h"
#include "vulkan/build/vk_list.h"

/* `words` more of the batch buffer; where they begin. */
static uint32_t take_words(uint64_t *next, uint64_t words)
{
    uint64_t at = *next;
    *next += words;
    return (uint32_t)at;
}

/* Query heads of the widest attention. */
static int most_heads(const struct lk_plan *plan)
{
    int n = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        n = op->kind == LK_OP_ATTENTION && op->u.attention.n_head > n ? op->u.attention.n_head : n;
    }
    return n;
}

/* Where its parts lie with n tokens; the words of all of it. */
static uint64_t lay_out(struct lk_exec *e, uint64_t n)
{
    struct lk_vk_batch_at *at = &e->at;
    const struct lk_plan *plan = e->o.plan;
    uint64_t next = 0;
    at->cs_stride = (uint32_t)lk_round_up((size_t)lk_plan_rope_width(plan), 4);
    at->token = take_words(&next, n);
    at->pos = take_words(&next, n);
    at->seq = take_words(&next, n);
    at->outputs = take_words(&next, n);
    at->n_seqs = take_words(&next, 1);
    at->seqs = take_words(&next, 4 * (uint64_t)e->o.max_seqs);
    at->tiles_each = 4 * (uint32_t)n;
    at->tiles = take_words(&next, LK_VK_MAX_ATTN * (uint64_t)at->tiles_each);
    at->table = take_words(&next, (uint64_t)e->o.max_seqs * (uint64_t)e->o.max_blocks);
    for (int i = 0; i < plan->n_ropes; i++) {
        at->cs[i] = take_words(&next, n * at->cs_stride);
    }
    at->counters = take_words(&next, (uint64_t)most_heads(plan));
    at->n_words = (uint32_t)next;
    return next;
}

lk_status lk_vk_batch_lay_out(struct lk_exec *e, lk_error *err)
{
    uint64_t range = e->dev->found.props.limits.maxStorageBufferRange, most = range / 4;
    uint64_t one = lay_out(e, 1), each = lay_out(e, 2) - one;
    uint64_t words = lay_out(e, (uint64_t)e->o.max_tokens);
    if (words > most && e->o.fewer && one <= most) {
        lk_vk_take_fewer(e, LK_ROWS_TOKENS, (int)(1 + (most - one) / each));
    } else if (words > most) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "batch of %d tokens, %d sequences of %d blocks: %llu bytes are beyond the "
                       "device's buffer range of %llu",
                       e->o.max_tokens, e->o.max_seqs, e->o.max_blocks,
                       (unsigned long long)words * 4, (unsigned long long)range);
    }
    return LK_OK;
}

/* Of rows that have other positions than in the batch before: texts begin at the same one. */
static void write_ropes(struct lk_exec *e, const struct lk_batch *b, uint32_t *w)
{
    const struct lk_plan *plan = e->o.plan;
    for (int t = 0; t < b->n_tokens; t++) {
        for (int r = 0; r < plan->n_ropes && e->cs_pos[t] != b->pos[t]; r++) {
            lk_rope_table(&plan->ropes[r], b->pos[t], e->cs);
            memcpy(w + e->at.cs[r] + (uint32_t)t * e->at.cs_stride, e->cs,
                   (size_t)plan->ropes[r].n_dims * 4);
        }
        e->cs_pos[t] = b->pos[t];
    }
}

/* Tiles of a dispatch of attention; how many. */
static uint32_t write_tiles(const struct lk_vk_attn *attn, const struct lk_batch *b, uint32_t *tile)
{
    uint32_t n_tiles = 0;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        for (uint32_t t = 0; t < (uint32_t)q->n_tokens; t += attn->tokens, n_tiles++, tile += 4) {
            uint32_t left = (uint32_t)q->n_tokens - t;
            tile[0] = (uint32_t)q->first + t;
            tile[1] = left < attn->tokens ? left : attn->tokens;
            tile[2] = (uint32_t)s;
            tile[3] = (uint32_t)(q->pos + q->n_tokens - 1);
        }
    }
    return n_tiles;
}

/* Chunks of keys that the token with most of them attends to. */
static uint32_t most_chunks(const struct lk_vk_attn *attn, const struct lk_batch *b)
{
    struct lk_op op = {.u.attention = {.window = attn->window, .ahead = attn->ahead}};
    uint32_t most = 1;
    for (int t = 0; t < b->n_tokens; t++) {
        const struct lk_batch_seq *seq = &b->seqs[b->seq[t]];
        int last = lk_last_key(&op, b->pos[t], seq->pos + seq->n_tokens - 1);
        int chunks = last / LK_KV_BLOCK - lk_first_key(&op, b->pos[t]) / LK_KV_BLOCK + 1;
        uint32_t n = (uint32_t)chunks;
        most = n > most ? n : most;
    }
    return most;
}

/* The sizes of the list's dispatches of attention, and their tiles. */
static void write_attention(struct lk_exec *e, const struct lk_batch *b, int list, uint32_t *w)
{
    for (int i = 0; i < e->n_attn[list]; i++) {
        const struct lk_vk_attn *attn = &e->attn[list][i];
        uint32_t *d = (uint32_t *)(void *)e->sizes.map + 4 * (uint32_t)i;
        d[0] = attn->x;
        d[1] = write_tiles(attn, b, w + e->at.tiles + (uint32_t)i * e->at.tiles_each);
        d[2] = list == LK_VK_MANY ? 1 : most_chunks(attn, b);
    }
}

bool lk_vk_batch_apart(const struct lk_exec *e, const struct lk_batch *b, int list)
{
    bool apart = false;
    for (int i = 0; i < e->n_attn[list] && list == LK_VK_DECODE; i++) {
        apart |= most_chunks(&e->attn[list][i], b) > LK_VK_DECODE_MERGE;
    }
    return apart;
}

/* Rows of the tables that no device has. */
static lk_status look_up(const struct lk_plan *plan, const struct lk_op *op,
                         const struct lk_batch *b, float *rows, lk_error *err)
{
    const struct lk_weight *w = &plan->weights[op->weight];
    bool ok = true;
    for (int t = 0; t < b->n_tokens; t++) {
        ok &= lk_embed_row(w, b->token[t], op->u.embed.scale, rows + (size_t)t * (size_t)w->cols);
    }
    return ok ? LK_OK : lk_fail_range(err, plan, op);
}

/* Rows that come with the batch, each kind where the staging buffer has room for the most tokens.
 */
static lk_status write_staged(struct lk_exec *e, const struct lk_batch *b, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    float *at = (float *)(void *)e->staging.map;
    lk_status status = LK_OK;
    for (int i = lk_vk_next_staged(plan, -1); i >= 0 && !status; i = lk_vk_next_staged(plan, i)) {
        size_t width = (size_t)plan->slots[i].width;
        if (i == plan->in_slot) {
            memcpy(at, b->hidden_in, (size_t)b->n_tokens * width * sizeof *at);
        } else {
            status = look_up(plan, lk_plan_writer(plan, i), b, at, err);
        }
        at += (size_t)e->o.max_tokens * width;
    }
    return status;
}

lk_status lk_vk_batch_write(struct lk_exec *e, const struct lk_batch *b, int list, lk_error *err)
{
    uint32_t *w = (uint32_t *)(void *)e->batch.map;
    size_t n = (size_t)b->n_tokens * 4;
    if (b->token) {
        memcpy(w + e->at.token, b->token, n);
    }
    memcpy(w + e->at.pos, b->pos, n);
    memcpy(w + e->at.seq, b->seq, n);
    memcpy(w + e->at.outputs, b->outputs, (size_t)b->n_outputs * 4);
    w[e->at.n_seqs] = (uint32_t)b->n_seqs;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        uint32_t *seq = w + e->at.seqs + 4 * s;
        seq[0] = (uint32_t)q->first;
        seq[1] = (uint32_t)q->n_tokens;
        seq[2] = (uint32_t)q->slot;
        size_t blocks = (size_t)((q->pos + q->n_tokens - 1) / LK_KV_BLOCK + 1);
        memcpy(w + e->at.table + (size_t)s * (size_t)e->o.max_blocks, q->blocks, blocks * 4);
    }
    write_attention(e, b, list, w);
    write_ropes(e, b, w);
    return write_staged(e, b, err);
}

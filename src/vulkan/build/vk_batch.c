/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_batch: the buffer that tells the kernels about a batch: where its parts lie, and what a batch
 * writes there: ids, positions, block tables, rope tables, tiles of attention. Knows no step.
 */
#include <string.h>

#include "vulkan/build/vk_exec.h"

/* `words` more of the batch buffer; where they begin. */
static uint32_t take_words(uint64_t *next, uint64_t words)
{
    uint64_t at = *next;
    *next += words;
    return (uint32_t)at;
}

lk_status lk_vk_batch_lay_out(struct lk_exec *e, lk_error *err)
{
    struct lk_vk_batch_at *at = &e->at;
    const struct lk_plan *plan = e->o.plan;
    uint64_t n = (uint64_t)e->o.max_tokens, next = 0;
    uint64_t range = e->dev->found.props.limits.maxStorageBufferRange;
    at->cs_stride = (uint32_t)lk_round_up((size_t)plan->head_dim, 4);
    at->indirect = take_words(&next, 4 * LK_VK_MAX_WINDOWS);
    at->token = take_words(&next, n);
    at->pos = take_words(&next, n);
    at->seq = take_words(&next, n);
    at->outputs = take_words(&next, n);
    at->tiles = take_words(&next, 4 * n);
    at->table = take_words(&next, (uint64_t)e->o.max_seqs * (uint64_t)e->o.max_blocks);
    at->cs[0] = take_words(&next, n * at->cs_stride);
    at->cs[1] = take_words(&next, plan->n_ropes > 1 ? n * at->cs_stride : 0);
    at->counters = take_words(&next, (uint64_t)plan->n_head);
    at->n_words = (uint32_t)next;
    if (next * 4 > range) {
        return lk_fail(err, LK_E_UNSUPPORTED,
                       "batch of %d tokens, %d sequences of %d blocks: %llu bytes are beyond the "
                       "device's buffer range of %llu: use a smaller batch or context",
                       e->o.max_tokens, e->o.max_seqs, e->o.max_blocks,
                       (unsigned long long)next * 4, (unsigned long long)range);
    }
    return LK_OK;
}

static void write_ropes(struct lk_exec *e, const struct lk_batch *b, uint32_t *w)
{
    const struct lk_plan *plan = e->o.plan;
    for (int r = 0; r < plan->n_ropes; r++) {
        for (int t = 0; t < b->n_tokens; t++) {
            lk_rope_table(&plan->ropes[r], b->pos[t], e->cs);
            memcpy(w + e->at.cs[r] + (uint32_t)t * e->at.cs_stride, e->cs,
                   (size_t)plan->ropes[r].n_dims * 4);
        }
    }
}

/* Tiles of attention and, per window size, the size of its dispatch. */
static void write_tiles(struct lk_exec *e, const struct lk_batch *b, int list, uint32_t *w)
{
    uint32_t *tile = w + e->at.tiles, n_tiles = 0, per = e->attn_tokens[list];
    uint32_t group =
        e->o.plan->n_kv_head > 0 ? (uint32_t)(e->o.plan->n_head / e->o.plan->n_kv_head) : 1;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        for (uint32_t t = 0; t < (uint32_t)q->n_tokens; t += per, n_tiles++, tile += 4) {
            uint32_t left = (uint32_t)q->n_tokens - t;
            tile[0] = (uint32_t)q->first + t;
            tile[1] = left < per ? left : per;
            tile[2] = (uint32_t)s;
        }
    }
    uint32_t head_tiles = (group + e->attn_rows[list] - 1) / e->attn_rows[list];
    for (int i = 0; i < e->n_windows; i++) {
        uint32_t splits = 1;
        for (int t = 0; t < b->n_tokens && list != LK_VK_MANY; t++) {
            int low = e->windows[i] ? b->pos[t] - e->windows[i] + 1 : 0;
            low = low > 0 ? low : 0;
            uint32_t n = (uint32_t)(b->pos[t] / LK_KV_BLOCK - low / LK_KV_BLOCK + 1);
            splits = n > splits ? n : splits;
        }
        uint32_t *d = w + e->at.indirect + 4 * (uint32_t)i;
        d[0] = n_tiles;
        d[1] = (uint32_t)e->o.plan->n_kv_head * head_tiles;
        d[2] = splits;
    }
}

void lk_vk_batch_write(struct lk_exec *e, const struct lk_batch *b, int list)
{
    uint32_t *w = (uint32_t *)(void *)e->batch.map;
    size_t n = (size_t)b->n_tokens * 4;
    if (b->token) {
        memcpy(w + e->at.token, b->token, n);
    }
    memcpy(w + e->at.pos, b->pos, n);
    memcpy(w + e->at.seq, b->seq, n);
    memcpy(w + e->at.outputs, b->outputs, (size_t)b->n_outputs * 4);
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        size_t blocks = (size_t)((q->pos + q->n_tokens - 1) / LK_KV_BLOCK + 1);
        memcpy(w + e->at.table + (size_t)s * (size_t)e->o.max_blocks, q->blocks, blocks * 4);
    }
    if (e->n_windows > 0) {
        write_tiles(e, b, list, w);
    }
    write_ropes(e, b, w);
    if (e->o.plan->in_slot >= 0) {
        memcpy(e->staging.map, b->hidden_in, n * (size_t)e->o.plan->n_embd);
    }
}

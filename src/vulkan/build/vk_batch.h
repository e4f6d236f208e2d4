/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_batch: the buffer that tells the kernels about a batch: where its parts lie, and what a batch
 * writes there: ids, positions, block tables, rope tables, tiles of attention. Knows no step.
 */
#ifndef LK_VK_BATCH_H
#define LK_VK_BATCH_H

#include "backend/backend.h"

/* Word offsets of the batch buffer. */
struct lk_vk_batch_at {
    uint32_t token, pos, seq, outputs, table, cs[LK_PLAN_ROPES], cs_stride, n_words;
    uint32_t tiles; /* a table for each dispatch of attention, tiles_each words apart */
    uint32_t tiles_each;
    uint32_t indirect; /* 4 words a dispatch of attention */
    uint32_t counters; /* a word a head, zero between runs: see attn_one */
};
/* A dispatch of attention whose size depends on the batch: layers of one shape share it. */
struct lk_vk_attn {
    int window;
    uint32_t tokens; /* of a tile */
    uint32_t y;      /* workgroups a tile of tokens */
};
enum { LK_VK_MAX_ATTN = 4 }; /* of a list */

/* Lays out the batch buffer for the largest batch of e->o. */
lk_status lk_vk_batch_lay_out(struct lk_exec *e, lk_error *err);
/* Writes a batch that `list` runs. */
void lk_vk_batch_write(struct lk_exec *e, const struct lk_batch *batch, int list);

#endif

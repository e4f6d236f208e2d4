/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_batch: the buffer that tells the kernels about a batch: where its parts lie, and what a batch
 * writes there: ids, positions, block tables, rope tables, tiles of attention. Knows no step.
 */
#ifndef LK_VK_BATCH_H
#define LK_VK_BATCH_H

#include "vulkan/build/vk_exec.h"

/* Lays out the batch buffer for the largest batch of e->o. Where fewer tokens will do, notes how
 * many it holds. */
lk_status lk_vk_batch_lay_out(struct lk_exec *e, lk_error *err);
/* Writes a batch that `list` runs; LK_E_RANGE where a row that the host looks up is out of range.
 */
lk_status lk_vk_batch_write(struct lk_exec *e, const struct lk_batch *batch, int list,
                            lk_error *err);
/* Whether the batch needs the steps that fold chunks of keys apart from attn_decode. */
bool lk_vk_batch_apart(const struct lk_exec *e, const struct lk_batch *batch, int list);

#endif

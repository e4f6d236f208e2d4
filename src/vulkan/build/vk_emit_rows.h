/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_rows: the steps of groups that work on rows: embedding, norms, activations, rope and
 * everything elementwise.
 */
#ifndef LK_VK_EMIT_ROWS_H
#define LK_VK_EMIT_ROWS_H

#include "vulkan/build/vk_builder.h"

void lk_vk_emit_embed(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_norm(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_quantize(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_rope(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_elementwise(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_gather(struct lk_vk_builder *b, const struct lk_vk_group *g);

#endif

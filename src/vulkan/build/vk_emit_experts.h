/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_experts: the steps of groups of a mixture of experts.
 */
#ifndef LK_VK_EMIT_EXPERTS_H
#define LK_VK_EMIT_EXPERTS_H

#include "vulkan/build/vk_builder.h"

void lk_vk_emit_route(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_experts(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_expert_rows(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_heads(struct lk_vk_builder *b, const struct lk_vk_group *g);

#endif

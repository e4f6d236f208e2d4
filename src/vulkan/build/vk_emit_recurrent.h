/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_recurrent: the steps of layers with a state. Decides nothing about ops.
 */
#ifndef LK_VK_EMIT_RECURRENT_H
#define LK_VK_EMIT_RECURRENT_H

#include "vulkan/build/vk_builder.h"

void lk_vk_emit_conv(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_l2_norm(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_delta_gates(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_delta(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_ssm(struct lk_vk_builder *b, const struct lk_vk_group *g);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_attention: the steps of attention and of the stores into its states: whole, split by
 * chunks of keys, or in decode with what stands in front of it.
 */
#ifndef LK_VK_EMIT_ATTENTION_H
#define LK_VK_EMIT_ATTENTION_H

#include "vulkan/build/vk_builder.h"

void lk_vk_emit_kv_store(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_attention(struct lk_vk_builder *b, const struct lk_vk_group *g);
void lk_vk_emit_attention_decode(struct lk_vk_builder *b, const struct lk_vk_group *g);

#endif

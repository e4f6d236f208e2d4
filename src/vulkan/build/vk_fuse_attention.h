/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_attention: the rules of attention: in decode it takes what stands between
 * the matmuls of q, k and v and itself along (shaders/attn_decode.comp).
 */
#ifndef LK_VK_FUSE_ATTENTION_H
#define LK_VK_FUSE_ATTENTION_H

#include "vulkan/build/vk_pass.h"

/* Takes the ops in front of every attention that is one kernel; before any group is made. */
void lk_vk_fuse_attention_ahead(struct lk_vk_pass *pass);
/* The group of a rope, or none: that of a store carries it out. */
void lk_vk_fuse_rope(struct lk_vk_pass *pass, int i);
void lk_vk_fuse_store(struct lk_vk_pass *pass, int i);
/* The group of attention op `i`. */
void lk_vk_fuse_attention(struct lk_vk_pass *pass, int i);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_rows: the rules of what works on rows: norms and activations, which leave their result as
 * matmuls take it where no one else reads it, and ops that are a kernel each.
 */
#ifndef LK_VK_FUSE_ROWS_H
#define LK_VK_FUSE_ROWS_H

#include "vulkan/build/vk_pass.h"

/* The group of op `i`, if it is one: the norm in front of mat-vecs in decode is theirs. */
void lk_vk_fuse_norm(struct lk_vk_pass *pass, int i);
void lk_vk_fuse_act(struct lk_vk_pass *pass, int i);
/* In decode the row wanted is the row there is, under another name, unless it is the result. */
void lk_vk_fuse_gather(struct lk_vk_pass *pass, int i);
void lk_vk_fuse_elementwise(struct lk_vk_pass *pass, int i, uint32_t kind);
/* A bias: in front of the gates of the delta rule it is part of theirs. */
void lk_vk_fuse_bias(struct lk_vk_pass *pass, int i);
void lk_vk_fuse_gates(struct lk_vk_pass *pass, int i);
/* Adds the group of an op whose kernel does it and nothing else; valid until the next group. */
struct lk_vk_group *lk_vk_fuse_plain(struct lk_vk_pass *pass, int i, enum lk_vk_group_kind kind);

#endif

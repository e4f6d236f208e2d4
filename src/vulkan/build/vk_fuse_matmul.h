/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_matmul: the rules of matmuls: which lie together, what a workgroup does to their input
 * first, and to their results last.
 */
#ifndef LK_VK_FUSE_MATMUL_H
#define LK_VK_FUSE_MATMUL_H

#include "vulkan/build/vk_pass.h"

/* The group of matmul op `i`, after one that makes its input ready where that is a step of its own.
 */
/* The products of experts: of gate and up with their GLU for few tokens. */
void lk_vk_fuse_experts(struct lk_vk_pass *pass, int i);
/* What is done with their rows: a bias; or combined, and a residual added. */
void lk_vk_fuse_expert_rows(struct lk_vk_pass *pass, int i);
void lk_vk_fuse_matmul(struct lk_vk_pass *pass, int i);
/* Products by head. */
void lk_vk_fuse_heads(struct lk_vk_pass *pass, int i);

#endif

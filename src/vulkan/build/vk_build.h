/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_build: a plan -> a list of steps: groups are decided (vk_fuse.c), turned into steps
 * (vk_emit.c), and placed (vk_list.c).
 */
#ifndef LK_VK_BUILD_H
#define LK_VK_BUILD_H

#include "vulkan/build/vk_exec.h"

/* Fills e's list of a kind, whose max_tokens is set; matrices and vectors are registered in
 * e->store. *arena: the bytes of memory that its values take. */
lk_status lk_vk_list_build(struct lk_exec *e, enum lk_vk_list_kind kind, VkDeviceSize *arena,
                           lk_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_build: a plan as a list of steps.
 */
#ifndef LK_VK_BUILD_H
#define LK_VK_BUILD_H

#include "vulkan/build/vk_exec.h"

/* Fills one of e's lists, with its matrices and vectors registered in e->store; *arena: the bytes
 * of memory that its values take. */
lk_status lk_vk_list_build(struct lk_exec *e, struct lk_vk_list *list, VkDeviceSize *arena,
                           lk_error *err);

#endif

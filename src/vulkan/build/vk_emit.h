/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit: groups -> steps. Decides nothing about what is fused; sizes of workgroups follow from
 * facts (vk_tile.c and the emitters).
 */
#ifndef LK_VK_EMIT_H
#define LK_VK_EMIT_H

#include "vulkan/build/vk_builder.h"

/* The steps of all groups, in their order. */
void lk_vk_emit(struct lk_vk_builder *b, const struct lk_vk_groups *groups);

#endif

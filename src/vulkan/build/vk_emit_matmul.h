/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_matmul: the steps of a group of matmuls: one for each chunk of its weights, with a kernel
 * for every number of rows that the list runs.
 */
#ifndef LK_VK_EMIT_MATMUL_H
#define LK_VK_EMIT_MATMUL_H

#include "vulkan/build/vk_builder.h"

void lk_vk_emit_matmul(struct lk_vk_builder *b, const struct lk_vk_group *g);

#endif

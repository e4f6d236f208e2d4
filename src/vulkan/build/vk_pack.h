/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pack: how a type's blocks lie in device memory, and weights brought into that order; see
 * shaders/weights.glsl. Knows a
 * device by its facts alone.
 */
#ifndef LK_VK_PACK_H
#define LK_VK_PACK_H

#include "plan/plan.h"
#include "vulkan/build/vk_facts.h"

struct lk_vk_layout {
    uint32_t block; /* elements of a block */
    uint32_t body;  /* uvec4s a block */
    uint32_t mid;   /* words a block: 0 or 1 */
    uint32_t tail;  /* bytes a block: 0, 1, 2, 4 or 8; whole words a row */
};
struct lk_vk_layout lk_vk_layout_of(enum lk_type type);
uint32_t lk_vk_layout_blocks(enum lk_type type, int64_t cols);
struct lk_vk_sizes {
    size_t body, mid, tail; /* bytes of each section for a number of groups */
};
/* Bytes of them all. */
size_t lk_vk_sizes_sum(struct lk_vk_sizes s);
struct lk_vk_sizes lk_vk_layout_sizes(enum lk_type type, int64_t cols, size_t n_groups);
/* What stands once behind the sections of a chunk, where its type has no tail: the points of a
 * grid; NULL and 0 bytes: nothing. */
const void *lk_vk_layout_points(enum lk_type type, size_t *n_bytes);
/* Row groups of a weight; each expert begins one. */
size_t lk_vk_layout_groups(const struct lk_weight *w);
/* Row groups that a kernel can bind at once; 0: not even one. */
size_t lk_vk_layout_most_groups(const struct lk_vk_facts *facts, enum lk_type type, int64_t cols);
/* Whether weights of a plan can lie together, as the parts of one chunk: of one type and width. */
bool lk_vk_layout_together(const struct lk_vk_facts *facts, const struct lk_plan *plan,
                           const int *part, int n_parts);
/* Packs row groups [group, group + n) of w (32 rows each, missing rows zero). */
void lk_vk_pack(const struct lk_weight *w, size_t group, size_t n, uint8_t *body, uint8_t *mid,
                uint8_t *tail);

#endif

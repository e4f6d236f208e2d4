/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_groups: groups of a fusion pass as text, and what must hold of every list of them whatever was
 * fused. Opens no device.
 */
#ifndef LK_TESTS_VK_GROUPS_H
#define LK_TESTS_VK_GROUPS_H

#include "vulkan/build/vk_fuse.h"

/* What every device has, and what a large GPU has. */
extern const struct lk_vk_facts VK_FACTS_LEAST, VK_FACTS_GPU;

/* Decides the groups and checks them: every op is carried out once (a norm in front of mat-vecs
 * once or more), what a group reads was made before it, what it takes along nobody else reads, and
 * the out slot is written. Dies where that does not hold. `what` names the case. */
struct lk_vk_groups vk_groups_of(const struct lk_plan *plan, enum lk_vk_list_kind list, bool fuse,
                                 const struct lk_vk_facts *facts, const char *what);
/* "norm+matmul+matmul+glu by matmul, norms": the ops of a group, its kernel, and what it does to
 * its input first or in which form it leaves its result. */
void vk_group_text(const struct lk_plan *plan, const struct lk_vk_group *g, char *out, size_t n);
/* Dies unless the groups led by ops of `layer` (-2: of all) are these, in this order; NULL ends
 * them. */
void vk_groups_are(const struct lk_plan *plan, const struct lk_vk_groups *groups, int layer,
                   const char *what, const char *const *want);

#endif

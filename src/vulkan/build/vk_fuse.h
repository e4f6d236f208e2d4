/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse: which ops of a plan become one kernel: a plan, the kind of a list, options and facts of
 * a device -> an immutable list of groups. The only place that decides it; allocates no device
 * memory, binds nothing.
 */
#ifndef LK_VK_FUSE_H
#define LK_VK_FUSE_H

#include "backend/backend.h"
#include "vulkan/build/vk_facts.h"
#include "vulkan/build/vk_group.h"

/* Every op of options->plan is carried out by one group, a norm by one or more. Of the options,
 * plan, fuse and keep_ops count. The caller frees *out with lk_vk_groups_free, after a failure as
 * well. */
lk_status lk_vk_fuse(const struct lk_exec_options *options, enum lk_vk_list_kind list,
                     const struct lk_vk_facts *facts, struct lk_vk_groups *out, lk_error *err);

#endif

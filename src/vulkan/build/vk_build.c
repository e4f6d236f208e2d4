/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_build: see vk_build.h.
 */
#include "vulkan/build/vk_build.h"

#include "vulkan/build/vk_builder.h"
#include "vulkan/build/vk_emit.h"
#include "vulkan/build/vk_fuse.h"
#include "vulkan/build/vk_list.h"

lk_status lk_vk_list_build(struct lk_exec *e, enum lk_vk_list_kind kind, VkDeviceSize *arena,
                           lk_error *err)
{
    struct lk_vk_groups groups;
    struct lk_vk_builder b = {.e = e,
                              .kind = kind,
                              .list = &e->list[kind],
                              .plan = e->o.plan,
                              .facts = &e->facts,
                              .err = err};
    b.status = lk_vk_fuse(&e->o, kind, &e->facts, &groups, err);
    if (!b.status) {
        lk_vk_builder_open(&b);
        lk_vk_emit(&b, &groups);
        lk_vk_builder_close(&b);
    }
    lk_vk_groups_free(&groups);
    if (b.status) {
        return b.status;
    }
    *arena = lk_vk_list_place(b.list, b.plan, e->o.keep_ops || e->trial);
    return lk_vk_list_check(e, b.list, err);
}

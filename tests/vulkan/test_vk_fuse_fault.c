/* SPDX-License-Identifier: Apache-2.0
 *
 * The fusion pass under faults: every allocation fails in turn; nothing leaks, and the error says
 * so unless all that was lost is the size of a kernel: then another one is taken.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "gguf/gguf.h"
#include "tests/util/fault.h"
#include "tests/util/model_build.h"
#include "vulkan/build/vk_fuse.h"

static const struct lk_vk_facts FACTS = {.max_threads = 1024,
                                         .shared_bytes = 49152,
                                         .max_groups = 65535,
                                         .max_binding = 1u << 30,
                                         .max_block = 1u << 30};

/* Fails each allocation of deciding the groups of a list; how many of them were errors. */
static size_t errors_of(const struct lk_plan *plan, enum lk_vk_list_kind list)
{
    size_t held = fault_held().bytes, errors = 0;
    for (size_t n = 1;; n++) {
        struct lk_exec_options o = {.plan = plan, .fuse = true};
        struct lk_vk_groups groups;
        lk_error err;
        fault_alloc(n, false);
        lk_status status = lk_vk_fuse(&o, list, &FACTS, &groups, &err);
        bool struck = fault_struck();
        fault_alloc(0, false);
        cr_assert(status == LK_OK || (struck && status == LK_E_NOMEM), "allocation %zu", n);
        cr_assert(!status || strstr(err.message, "out of memory"), "%s", err.message);
        cr_assert(status || groups.n > plan->n_layer * 5, "allocation %zu", n);
        errors += status != LK_OK;
        lk_vk_groups_free(&groups);
        cr_assert_eq(fault_held().bytes, held, "allocation %zu leaked", n);
        if (!struck) {
            return errors;
        }
    }
}

Test(vk_fuse_fault, each_allocation)
{
    struct model_params p = model_params_default("gemma3", LK_TYPE_Q4_K, 1);
    struct gguf_build b;
    struct lk_gguf *g;
    struct lk_plan *plan;
    lk_error err;
    model_build(&b, &p);
    cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_build(g, &plan, &err), LK_OK, "%s", err.message);
    for (int list = 0; list < LK_VK_LISTS; list++) {
        size_t n = errors_of(plan, (enum lk_vk_list_kind)list);
        cr_assert(n > 6, "only %zu allocations were errors", n);
    }
    lk_plan_free(&plan);
    lk_gguf_close(&g);
    gb_free(&b);
}

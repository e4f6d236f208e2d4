/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan under faults: every allocation of building and slicing a plan fails in turn; nothing leaks
 * and the error says so.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/fault.h"
#include "tests/util/model_build.h"

Test(plan_fault, each_allocation)
{
    static const char *const archs[] = {"llama", "gemma3", "phi3", "gpt-oss", "deepseek2"};
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q4_0, 1);
        struct gguf_build b;
        struct lk_gguf *g;
        lk_error err;
        p.rope_freqs = true;
        model_build(&b, &p);
        cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
        size_t held = fault_held().bytes, n = 1;
        for (;; n++) {
            struct lk_plan *plan = NULL, *slice = NULL;
            fault_alloc(n, false);
            lk_status status = lk_plan_build(g, &plan, &err);
            if (status == LK_OK) {
                status = lk_plan_slice(plan, 2, 4, false, p.n_layer == 2, &slice, &err);
            }
            if (status == LK_OK) {
                status = lk_plan_gather_early(slice, &err);
            }
            bool struck = fault_struck();
            fault_alloc(0, false);
            cr_assert_eq(status, struck ? LK_E_NOMEM : LK_OK, "allocation %zu", n);
            cr_assert(!struck || strstr(err.message, "out of memory"), "%s", err.message);
            lk_plan_free(&slice);
            lk_plan_free(&plan);
            cr_assert_eq(fault_held().bytes, held, "allocation %zu leaked", n);
            if (!struck) {
                break;
            }
        }
        cr_assert(n > 8, "only %zu allocations were tried", n);
        lk_gguf_close(&g);
        gb_free(&b);
    }
}

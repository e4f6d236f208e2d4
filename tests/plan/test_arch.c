/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch: the table, and the errors of files that ask for more than it has.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "plan/arch.h"
#include "plan/plan.h"
#include "tests/util/model_build.h"

static const char *const archs[] = MODEL_ARCHS;

Test(arch, finds_whole_names_only)
{
    char known[512];
    lk_arch_list(known, sizeof known);
    for (size_t i = 0; i < LK_COUNT(archs); i++) {
        const struct lk_arch *a = lk_arch_find(archs[i], strlen(archs[i]));
        cr_assert(a && strcmp(a->name, archs[i]) == 0);
        cr_assert(strstr(known, archs[i]));
        const struct lk_arch *cut = lk_arch_find(archs[i], strlen(archs[i]) - 1);
        cr_assert(!cut ||
                  strlen(cut->name) == strlen(archs[i]) - 1); /* bailingmoe of bailingmoe2 */
    }
    cr_assert_null(lk_arch_find("llama4", 6));
    cr_assert_null(lk_arch_find("", 0));
    char small[8];
    lk_arch_list(small, sizeof small); /* cut, terminated */
    cr_assert_eq(strlen(small), sizeof small - 1);
}

Test(arch, unknown_architecture_lists_the_known)
{
    struct model_params p = model_params_default("mamba2", LK_TYPE_F32, 1);
    struct gguf_build b;
    struct lk_gguf *g;
    struct lk_plan *plan = (struct lk_plan *)1;
    lk_error err;
    model_build(&b, &p);
    cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_plan_build(g, &plan, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "'mamba2'"), "%s", err.message);
    for (size_t i = 0; i < LK_COUNT(archs); i++) {
        cr_assert(strstr(err.message, archs[i]), "%s", err.message);
    }
    lk_gguf_close(&g);
    gb_free(&b);
}

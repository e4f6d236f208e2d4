/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_fixture: see plan_fixture.h.
 */
#include "tests/util/plan_fixture.h"

#include <criterion/criterion.h>

lk_status plan_fixture_try(struct plan_fixture *f, const struct model_params *p)
{
    *f = (struct plan_fixture){0};
    struct model_params shapes = *p;
    shapes.no_matrices = true;
    model_build(&f->b, &shapes);
    cr_assert_eq(lk_gguf_open_memory(f->b.data, f->b.n, &f->g, &f->err), LK_OK, "%s",
                 f->err.message);
    f->plan = (struct lk_plan *)1;
    lk_status status = lk_plan_build(f->g, &f->plan, &f->err);
    cr_assert(status == LK_OK || f->plan == NULL, "a failed build leaves no plan");
    return status;
}

void plan_fixture_open(struct plan_fixture *f, const struct model_params *p)
{
    cr_assert_eq(plan_fixture_try(f, p), LK_OK, "%s: %s", p->arch, f->err.message);
}

void plan_fixture_close(struct plan_fixture *f)
{
    if (f->plan) {
        lk_plan_free(&f->plan);
        cr_assert_null(f->plan);
    }
    lk_gguf_close(&f->g);
    gb_free(&f->b);
}

const struct lk_op *find_op(const struct lk_plan *plan, enum lk_op_kind kind, int layer, int nth)
{
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->kind == kind && op->layer == layer && nth-- == 0) {
            return op;
        }
    }
    return NULL;
}

void plan_refused(const struct model_params *p, lk_status want, const char *a, const char *b)
{
    struct plan_fixture f;
    lk_status status = plan_fixture_try(&f, p);
    cr_assert_eq(status, want, "%s: %s: found %s, %s", p->arch, a, lk_status_name(status),
                 status ? f.err.message : "no error");
    cr_assert(strstr(f.err.message, a) && strstr(f.err.message, b), "%s", f.err.message);
    plan_fixture_close(&f);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress, experts: entries of mixtures of experts and of sinks (tests/regress/REGISTRY.md).
 */
#include <criterion/criterion.h>

#include "cpu/scalar.h"
#include "tests/regress/regress.h"

/* A router whose scores are equal, in part or all: the lowest numbers, on every backend. */
Test(regress, router_ties_go_to_the_lowest_number)
{
    struct lk_op op = lk_op_make(LK_OP_ROUTE, 0, -1, 1, -1);
    op.u.route.n_used = 3;
    op.u.route.n_groups = op.u.route.n_groups_used = 1;
    op.u.route.gate = LK_GATE_CHOSEN;
    op.u.route.scale = 1.0f;
    static const float scores[7] = {1, 2, 3, 2, 2, 3, 2};
    float out[6];
    cr_assert(lk_scalar_route(&op, scores, 7, NULL, out));
    rg_debug("experts %g %g %g\n", (double)out[0], (double)out[1], (double)out[2]);
    cr_assert(out[0] == 2 && out[1] == 5 && out[2] == 1, "%g %g %g", (double)out[0], (double)out[1],
              (double)out[2]);
}

static struct model_params small_experts(const char *arch)
{
    struct model_params p = rg_small(arch, LK_TYPE_Q8_0);
    p.n_expert = 7;
    p.n_used = 4;
    p.n_ff_exp = 32;
    return p;
}

/* What experts say is added by rank, whoever shares the batch. */
Test(regress, experts_are_combined_by_rank)
{
    struct model_params p = small_experts("qwen3moe");
    rg_everywhere(&p, NULL, NULL, 40, 30);
}

/* The softmax of a head begins with its sink, in a batch and for a token alone. */
Test(regress, sinks_are_in_every_softmax)
{
    struct model_params p = small_experts("gpt-oss");
    p.window = 24;
    rg_everywhere(&p, NULL, NULL, 80, 66);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress_facts: the entries of the registry about facts of architectures: how angles are scaled,
 * which layers turn their heads, scales, layer norms. See REGISTRY.md.
 */
#include <criterion/criterion.h>
#include <math.h>

#include "tests/regress/regress.h"

/* Angles between those that stay and those that are divided lie on a ramp over pairs, and cos and
 * sin grow with the factor. */
Test(regress, yarn_of_the_file)
{
    struct model_params p = rg_small("mistral3", LK_TYPE_Q8_0);
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    /* pair(4) < 0, pair(1) = 32 ln(20 / 2 pi) / (2 ln 50000) = 1.7: from 0 to 2, divided by 16 */
    for (int i = 0; i < 16; i++) {
        double stays = i < 2 ? 1.0 - i / 2.0 : 0.0;
        double want = pow(50000.0, -2.0 * i / 32) * (stays + (1.0 - stays) / 16.0);
        double got = m.plan->ropes[0].inv_freq[i];
        rg_debug("pair %d turns by %g, expected %g\n", i, got, want);
        cr_assert_float_eq(got, want, 1e-13, "pair %d turns by %g, expected %g", i, got, want);
    }
    double factor = (0.1 * log(16.0) + 1.0) / (0.05 * log(16.0) + 1.0);
    cr_assert_float_eq(m.plan->ropes[0].attn_factor, factor, 1e-12, "cos and sin times %g",
                       m.plan->ropes[0].attn_factor);
    rg_model_close(&m);
    rg_everywhere(&p, NULL, NULL, 30, 25);
}

/* Every fourth layer of SmolLM3 is not turned; of EXAONE 4 and Command R7B, those without a window.
 */
Test(regress, layers_that_are_not_turned)
{
    static const char *const archs[] = {"smollm3", "exaone4", "cohere2"};
    for (size_t i = 0; i < LK_COUNT(archs); i++) {
        struct model_params p = rg_small(archs[i], LK_TYPE_Q8_0);
        struct rg_model m;
        rg_model_open(&m, &p, NULL, NULL);
        for (int layer = 0; layer < p.n_layer; layer++) {
            bool turned = false;
            for (int k = 0; k < m.plan->n_ops; k++) {
                const struct lk_op *op = &m.plan->ops[k];
                turned |= op->layer == layer && op->kind == LK_OP_ROPE;
            }
            rg_debug("%s, layer %d: %s\n", archs[i], layer, turned ? "turned" : "not turned");
            cr_assert_eq(turned, layer != 3, "%s, layer %d", archs[i], layer);
        }
        rg_model_close(&m);
        rg_everywhere(&p, NULL, NULL, 40, 35);
    }
}

/* Granite's branches are scaled before they are added, and its logits divided. */
Test(regress, scales_of_branches_and_logits)
{
    struct model_params p = rg_small("granite", LK_TYPE_Q8_0);
    struct rg_model m;
    int n = 0;
    rg_model_open(&m, &p, NULL, NULL);
    for (int k = 0; k < m.plan->n_ops; k++) {
        const struct lk_op *op = &m.plan->ops[k];
        if (op->kind == LK_OP_SCALE) {
            float want = op->layer == p.n_layer ? 0.125f : 0.5f;
            rg_debug("layer %d: times %g, expected %g\n", op->layer, (double)op->u.scale.factor,
                     (double)want);
            cr_assert_eq(op->u.scale.factor, want, "layer %d: times %g", op->layer,
                         (double)op->u.scale.factor);
            n++;
        }
    }
    cr_assert_eq(n, 2 * p.n_layer + 1, "%d scales", n);
    rg_model_close(&m);
    rg_everywhere(&p, NULL, NULL, 30, 25);
}

/* Layer norms of rows that fill no group of lanes. */
Test(regress, layer_norm_everywhere)
{
    struct model_params p = rg_small("cohere2", LK_TYPE_F32);
    p.n_embd = 150; /* two chains for some invocations of a device, and a rest of every width */
    p.n_layer = 1;
    rg_everywhere(&p, NULL, NULL, 20, 15);
}

/* Gemma 4's values are normed without a weight, and its layers are turned by two tables. */
Test(regress, values_normed_and_two_tables)
{
    struct model_params p = rg_small("gemma4", LK_TYPE_Q8_0);
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    for (int k = 0; k < m.plan->n_ops; k++) {
        const struct lk_op *op = &m.plan->ops[k];
        bool full = model_is_full(&p, op->layer);
        if (op->kind == LK_OP_ROPE) {
            int n = m.plan->ropes[op->u.rope.rope].n_dims;
            rg_debug("layer %d: %d dims turned\n", op->layer, n);
            cr_assert_eq(n, full ? 64 : 32, "layer %d: %d dims turned", op->layer, n);
        } else if (op->kind == LK_OP_KV_STORE) {
            bool normed = false;
            for (int i = 0; i < k; i++) {
                const struct lk_op *by = &m.plan->ops[i];
                normed |= by->out == op->in[1] && by->kind == LK_OP_NORM;
            }
            rg_debug("layer %d: values %s\n", op->layer, normed ? "normed" : "not normed");
            cr_assert(normed, "layer %d: values are not normed", op->layer);
        }
    }
    rg_model_close(&m);
    rg_everywhere(&p, NULL, NULL, 40, 35);
}

/* A layer reads its own part of the side rows. */
Test(regress, side_rows_are_of_the_layer)
{
    struct model_params p = rg_small("gemma4", LK_TYPE_Q8_0);
    struct rg_model m;
    rg_model_open(&m, &p, NULL, NULL);
    for (int k = 0; k < m.plan->n_ops; k++) {
        const struct lk_op *op = &m.plan->ops[k];
        if (op->kind == LK_OP_PICK) {
            int want = op->layer * p.n_side;
            rg_debug("layer %d reads from %d, expected %d\n", op->layer, op->u.pick.at, want);
            cr_assert_eq(op->u.pick.at, want, "layer %d reads from %d", op->layer, op->u.pick.at);
        }
    }
    rg_model_close(&m);
}

Test(regress, side_rows_everywhere)
{
    struct model_params p = rg_small("gemma4", LK_TYPE_Q8_0);
    p.n_layer = 2;
    rg_everywhere(&p, NULL, NULL, 40, 35);
}

/* The last layers read K and V of the nearest layer before them that is of their kind. */
Test(regress, shared_layers_read_the_nearest)
{
    static const int OF[7] = {0, 1, 2, 3, 2, 3, 2}; /* w f w f, and w f w without their own */
    struct model_params p = rg_small("gemma4", LK_TYPE_Q8_0);
    struct rg_model m;
    p.n_layer = 7;
    p.set_key = "gemma4.attention.shared_kv_layers";
    p.set_u32 = 3;
    rg_model_open(&m, &p, NULL, NULL);
    for (int k = 0; k < m.plan->n_ops; k++) {
        const struct lk_op *op = &m.plan->ops[k];
        if (op->kind == LK_OP_ATTENTION) {
            int of = m.plan->states[op->u.attention.k].layer;
            rg_debug("layer %d reads K of %d, expected %d\n", op->layer, of, OF[op->layer]);
            cr_assert_eq(of, OF[op->layer], "layer %d reads K of %d", op->layer, of);
        }
    }
    rg_model_close(&m);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress, recurrent: entries of layers with a state (tests/regress/REGISTRY.md).
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "tests/regress/regress.h"
#include "tests/util/tiny.h"

/* Tokens of a sequence change its states in order, whoever walks them and however they are cut. */
Test(regress, states_walk_their_tokens_everywhere)
{
    struct model_params p = rg_small("qwen35", LK_TYPE_Q8_0);
    rg_everywhere(&p, NULL, NULL, 40, 23);
}

/* What the layers compute is the model: the convolution's window, the gates, which head has whose
 * keys. One layer, so that little else is in the way. */
Test(regress, layers_with_states_are_the_models)
{
    struct model_params p = rg_small("qwen35", LK_TYPE_F16);
    struct rg_model m;
    double rms;
    p.n_layer = 1;
    rg_model_open(&m, &p, NULL, NULL);
    double far = rg_distance(&m, 40, &rms);
    rg_debug("one layer with a state: %.2e of a row's deviation\n", far);
    cr_assert_lt(far, 5e-3, "%.2e of a row's deviation from the reference", far);
    rg_model_close(&m);
}

/* The op that made a slot. */
static const struct lk_op *maker_of(const struct lk_plan *plan, int slot)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].out == slot) {
            return &plan->ops[i];
        }
    }
    cr_assert(false, "nothing writes slot %d", slot);
    return NULL;
}

/* Where the part of in_proj's columns that a slot is begins. */
static int part_of(const struct lk_plan *plan, int slot)
{
    const struct lk_op *op = maker_of(plan, slot);
    cr_assert_eq(op->kind, LK_OP_PICK);
    return op->u.pick.at / op->u.pick.width;
}

/* Of in_proj's three parts the first gates before the convolution, the second behind it, and the
 * third is convolved. */
static void check_parts(const struct lk_plan *plan)
{
    const struct lk_op *conv = plan->ops;
    while (conv->kind != LK_OP_CONV) {
        conv++;
    }
    const struct lk_op *before = maker_of(plan, conv->in[0]), *behind = conv + 1;
    rg_debug("parts %d and %d before the convolution, %d behind it\n", part_of(plan, before->in[0]),
             part_of(plan, before->in[1]), part_of(plan, behind->in[0]));
    cr_assert(part_of(plan, before->in[0]) == 0 && part_of(plan, before->in[1]) == 2);
    cr_assert(behind->kind == LK_OP_GLU && part_of(plan, behind->in[0]) == 1 &&
              behind->in[1] == conv->out);
}

Test(regress, short_convolutions_are_the_models)
{
    struct model_params p = rg_small("lfm2", LK_TYPE_F16);
    struct rg_model m;
    double rms;
    rg_everywhere(&p, NULL, NULL, 40, 23);
    p.n_layer = 1;
    rg_model_open(&m, &p, NULL, NULL);
    check_parts(m.plan);
    double far = rg_distance(&m, 40, &rms);
    rg_debug("one layer with a short convolution: %.2e of a row's deviation\n", far);
    cr_assert_lt(far, 5e-3, "%.2e of a row's deviation from the reference", far);
    rg_model_close(&m);
}

/* The same of Mamba-2, whose heads share the rows of a group. */
Test(regress, mamba_layers_are_the_models)
{
    struct model_params p = rg_small("granitehybrid", LK_TYPE_F16);
    struct rg_model m;
    double rms;
    p.n_expert = 0; /* a choice of experts may turn on a rounding */
    rg_everywhere(&p, NULL, NULL, 40, 23);
    p.n_layer = 1;
    rg_model_open(&m, &p, NULL, NULL);
    double far = rg_distance(&m, 40, &rms);
    rg_debug("a layer of Mamba-2: %.2e of a row's deviation\n", far);
    cr_assert_lt(far, 5e-3, "%.2e of a row's deviation from the reference", far);
    rg_model_close(&m);
}

/* A text that is cut goes back to a checkpoint and walks the rest again: what follows is the bits
 * of the whole, wherever it was cut. */
Test(regress, a_cut_goes_back_to_a_checkpoint)
{
    enum { N = 150 };
    static const size_t CUTS[] = {149, 128, 127, 64, 63};
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("qwen35", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[N];
    lk_error err;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids, N, 96, 3);
    for (size_t w = 0; w < n_ways; w++) {
        lk_engine_options o = rg_options(&ways[w], 192, 64);
        lk_engine *e;
        lk_session *s;
        float want[96];
        cr_assert_eq(lk_engine_open(m.model, &o, &e, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
        memcpy(want, lk_session_logits(s), sizeof want);
        for (size_t i = 0; i < LK_COUNT(CUTS); i++) {
            cr_assert_eq(lk_session_truncate(s, CUTS[i], &err), LK_OK, "%s", err.message);
            cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
            rg_same_rows(ways[w].name, lk_session_logits(s), want, 1, 96);
        }
        lk_session_close(&s);
        lk_engine_close(&e);
    }
    rg_model_close(&m);
}

/* A conversation's states are nobody else's: the next one that has its slot begins at zero. */
Test(regress, a_sequence_begins_with_states_of_zero)
{
    enum { N = 20 };
    const struct rg_way *ways;
    size_t n_ways = rg_ways(&ways);
    struct model_params p = rg_small("qwen35", LK_TYPE_Q8_0);
    struct rg_model m;
    int32_t ids[2][N];
    lk_error err;
    rg_model_open(&m, &p, NULL, NULL);
    tiny_tokens(ids[0], N, 96, 3);
    tiny_tokens(ids[1], N, 96, 4);
    for (size_t w = 0; w < n_ways; w++) {
        lk_engine_options o = rg_options(&ways[w], 64, 8);
        lk_engine *e;
        lk_session *s;
        float *want = NULL;
        cr_assert_eq(lk_engine_open(m.model, &o, &e, &err), LK_OK, "%s", err.message);
        for (int run = 0; run < 3; run++) { /* the same, another, the same again */
            cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
            cr_assert_eq(lk_session_sync(s, ids[run % 2], N, &err), LK_OK, "%s", err.message);
            if (run == 0) {
                want = malloc(96 * sizeof *want);
                memcpy(want, lk_session_logits(s), 96 * sizeof *want);
            } else if (run == 2) {
                rg_same_rows(ways[w].name, lk_session_logits(s), want, 1, 96);
            }
            lk_session_close(&s);
        }
        free(want);
        lk_engine_close(&e);
    }
    rg_model_close(&m);
}

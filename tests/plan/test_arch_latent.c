/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_latent: what keys and tensors of multi-head latent attention make of a plan.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/plan_fixture.h"

enum { ROT = 32 };

static void open_default(struct plan_fixture *f, struct model_params *p)
{
    *p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
    plan_fixture_open(f, p);
}

/* A key is the latent row in its norm and what is turned, a value the latent row alone; a query the
 * same of what its head's matrix makes of it. */
Test(arch_latent, keys_and_values_are_latent_rows)
{
    struct model_params p;
    struct plan_fixture f;
    open_default(&f, &p);
    const struct lk_plan *plan = f.plan;
    for (int i = 0; i < p.n_layer; i++) {
        const struct lk_op *row = find_op(plan, LK_OP_MATMUL, i, 0), *turned = row + 1;
        const struct lk_weight *w = &plan->weights[row->weight],
                               *wt = &plan->weights[turned->weight];
        cr_assert(w->rows == LATENT_RANK && wt->rows == ROT && row->in[0] == turned->in[0]);
        cr_assert((const uint8_t *)w->data + w->n_bytes == (const uint8_t *)wt->data);
        const struct lk_op *norm = find_op(plan, LK_OP_NORM, i, 2);
        const struct lk_op *k_rope = find_op(plan, LK_OP_ROPE, i, 1);
        const struct lk_op *k = find_op(plan, LK_OP_JOIN, i, 1);
        const struct lk_op *store = find_op(plan, LK_OP_KV_STORE, i, 0);
        cr_assert(norm->in[0] == row->out && k_rope->in[0] == turned->out);
        cr_assert(k->in[0] == norm->out && k->in[1] == k_rope->out);
        cr_assert(store->in[0] == k->out && store->in[1] == norm->out);
        cr_assert(k_rope->u.rope.n_head == 1 && k_rope->u.rope.head_dim == ROT);
        const struct lk_op *pick = find_op(plan, LK_OP_PICK, i, 0), *still = pick + 1;
        cr_assert(pick->u.pick.at == LATENT_STILL && pick->u.pick.width == ROT);
        cr_assert(still->u.pick.at == 0 && still->u.pick.width == LATENT_STILL);
        cr_assert(pick->u.pick.stride == LATENT_STILL + ROT && still->in[0] == pick->in[0]);
        const struct lk_op *heads = find_op(plan, LK_OP_HEADS, i, 0);
        const struct lk_op *q = find_op(plan, LK_OP_JOIN, i, 0);
        const struct lk_op *at = find_op(plan, LK_OP_ATTENTION, i, 0);
        const struct lk_op *own = find_op(plan, LK_OP_HEADS, i, 1);
        cr_assert(heads->in[0] == still->out && q->in[0] == heads->out && at->in[0] == q->out);
        cr_assert(q->in[1] == find_op(plan, LK_OP_ROPE, i, 0)->out);
        for (int n = 0; n < 2; n++) {
            const struct lk_op *join = n ? k : q;
            cr_assert(join->u.join.width[0] == LATENT_RANK && join->u.join.width[1] == ROT);
        }
        w = &plan->weights[heads->weight];
        cr_assert(w->n_experts == 4 && w->cols == LATENT_STILL && w->rows == 4 * LATENT_RANK);
        cr_assert(strstr(w->name, "attn_k_b.weight"));
        w = &plan->weights[own->weight];
        cr_assert(own->in[0] == at->out && w->cols == LATENT_RANK && w->rows == 4 * p.head_dim);
        cr_assert_float_eq(at->u.attention.scale, 1.0 / sqrt(LATENT_STILL + ROT), 1e-15);
    }
    cr_assert(plan->ropes[0].n_dims == ROT && plan->ropes[0].interleaved && plan->n_ropes == 1);
    plan_fixture_close(&f);
}

/* Queries of the hidden row itself have one matrix. */
Test(arch_latent, queries_may_have_one_matrix)
{
    struct model_params p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
    p.drop = "deepseek2.attention.q_lora_rank";
    plan_refused(&p, LK_E_FORMAT, "'blk.0.attn_q.weight' is missing", "[256, 1152]");
}

static void write_yarn(struct gguf_build *b, const void *log_multiplier)
{
    gb_key_str(b, "deepseek2.rope.scaling.type", "yarn");
    gb_key_f32(b, "deepseek2.rope.scaling.factor", 40.0f);
    gb_key_u32(b, "deepseek2.rope.scaling.original_context_length", 128);
    if (log_multiplier) {
        gb_key_f32(b, "deepseek2.rope.scaling.yarn_log_multiplier", *(const float *)log_multiplier);
    }
}

/* YaRN's magnitude scales scores, by the multiplier of which files have a tenth; what turns has a
 * factor of 1 then. Without the key it is the other way round. */
Test(arch_latent, yarn_scales_scores)
{
    static const float values[] = {0.1f, 0.0707f};
    struct model_params p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_yarn;
    for (size_t i = 0; i < LK_COUNT(values); i++) {
        p.keys = &values[i];
        plan_fixture_open(&f, &p);
        double m = 0.1 * (i ? 0.707 : 1.0) * log(40.0) + 1.0;
        double scale = find_op(f.plan, LK_OP_ATTENTION, 0, 0)->u.attention.scale;
        cr_assert_float_eq(scale, m * m / sqrt(LATENT_STILL + ROT), 1e-8);
        cr_assert_float_eq(f.plan->ropes[0].attn_factor, 1.0, 1e-15);
        plan_fixture_close(&f);
    }
    p.keys = NULL;
    plan_fixture_open(&f, &p);
    cr_assert_float_eq(find_op(f.plan, LK_OP_ATTENTION, 0, 0)->u.attention.scale,
                       1.0 / sqrt(LATENT_STILL + ROT), 1e-15);
    cr_assert_float_eq(f.plan->ropes[0].attn_factor, 0.1 * log(40.0) + 1.0, 1e-14);
    plan_fixture_close(&f);
}

/* Files of converters that left the heads' matrices in one tensor say so by what they lack. */
Test(arch_latent, sizes_that_do_not_fit_are_named)
{
    static const struct {
        const char *key;
        uint32_t value;
        lk_status status;
        const char *expected;
    } cases[] = {
        {"deepseek2.attention.head_count_kv", 4, LK_E_UNSUPPORTED, "1, the latent row"},
        {"deepseek2.attention.key_length", 290, LK_E_UNSUPPORTED, "256 + 32"},
        {"deepseek2.attention.value_length", 288, LK_E_UNSUPPORTED, "kv_lora_rank, 256"},
        {"deepseek2.attention.key_length_mla", 32, LK_E_FORMAT, "expected 33 to"},
        {"deepseek2.attention.value_length_mla", 0, LK_E_FORMAT, "expected 1 to 8192"},
        {"deepseek2.attention.key_length_mla", 8193, LK_E_FORMAT, "expected 33 to 8192"},
        {"deepseek2.attention.kv_lora_rank", 641, LK_E_FORMAT, "expected 1 to 640"},
        {"deepseek2.expert_gating_func", 1, LK_E_UNSUPPORTED, "chosen by their best expert"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
        p.set_key = cases[i].key;
        p.set_u32 = cases[i].value;
        plan_refused(&p, cases[i].status, "deepseek2.", cases[i].expected);
    }
    struct model_params p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
    p.drop = "deepseek2.attention.key_length_mla";
    plan_refused(&p, LK_E_UNSUPPORTED, "'deepseek2.attention.key_length_mla' is missing",
                 "convert the model again");
}

/* Where no key names the gate, a bias of choice does. */
Test(arch_latent, gate_without_a_key)
{
    struct model_params p = model_params_default("deepseek2", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.drop = "deepseek2.expert_gating_func";
    plan_fixture_open(&f, &p);
    cr_assert_eq(find_op(f.plan, LK_OP_ROUTE, 1, 0)->u.route.gate, LK_GATE_SIGMOID);
    plan_fixture_close(&f);
    p.drop = "blk.1.exp_probs_b.bias";
    p.set_key = "deepseek2.expert_gating_func";
    p.set_u32 = 0; /* as none */
    plan_refused(&p, LK_E_UNSUPPORTED, "expert_group_count", "softmax");
}

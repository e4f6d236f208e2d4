/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_experts: what keys and tensors of architectures with experts make of a plan.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/plan_fixture.h"

static int width_of_glu(const struct lk_plan *plan, int layer, int nth)
{
    return plan->slots[find_op(plan, LK_OP_GLU, layer, nth)->out].width;
}

/* ---- how wide they are ---- */

Test(arch_experts, width_without_a_key_is_all_or_a_share_of_the_feed_forward)
{
    static const struct {
        const char *arch;
        bool all; /* as wide as feed_forward_length; else as its share of those used */
    } cases[] = {
        {"llama", true},      {"granitemoe", true}, {"granitehybrid", true},
        {"minimax-m2", true}, {"olmoe", true},      {"hunyuan-moe", true},
        {"qwen3moe", false},  {"glm4moe", false},   {"qwen3vlmoe", false},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default(cases[i].arch, LK_TYPE_Q4_0, 2);
        struct plan_fixture f;
        char key[64];
        p.n_expert = p.n_expert ? p.n_expert : 4; /* llama has none by itself */
        p.n_used = 2;
        p.n_ff_exp = cases[i].all ? p.n_ff : p.n_ff / 2;
        snprintf(key, sizeof key, "%s.expert_feed_forward_length", cases[i].arch);
        p.drop = key;
        plan_fixture_open(&f, &p);
        cr_assert_eq(width_of_glu(f.plan, 1, 0), p.n_ff_exp, "%s", cases[i].arch);
        plan_fixture_close(&f);
    }
}

static void write_shared(struct gguf_build *b, const void *key)
{
    gb_key_u32(b, key, 2);
}

Test(arch_experts, width_of_what_all_tokens_share)
{
    struct model_params p = model_params_default("glm4moe", LK_TYPE_Q4_0, 2);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    cr_assert_eq(width_of_glu(f.plan, 1, 1), p.n_ff); /* by its key */
    plan_fixture_close(&f);
    p.drop = "glm4moe.expert_shared_feed_forward_length";
    p.add_keys = write_shared;
    p.keys = "glm4moe.expert_shared_count"; /* twice 256 */
    plan_fixture_open(&f, &p);
    cr_assert_eq(width_of_glu(f.plan, 1, 1), 2 * p.n_ff_exp);
    plan_fixture_close(&f);
    p.add_keys = NULL; /* nothing says that there is any */
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "_shexp"), "%s", f.err.message);
    plan_fixture_close(&f);
    p = model_params_default("hunyuan-moe", LK_TYPE_Q4_0, 2); /* which always has it */
    p.drop = "hunyuan-moe.expert_shared_feed_forward_length";
    plan_fixture_open(&f, &p);
    cr_assert_eq(width_of_glu(f.plan, 1, 1), p.n_ff);
    plan_fixture_close(&f);
}

static void write_widths(struct gguf_build *b, const void *key)
{
    uint32_t n[3] = {256, 256, 512};
    gb_array(b, key, LK_GGUF_U32, 3);
    gb_bytes(b, n, sizeof n);
}

Test(arch_experts, widths_of_layers_may_differ)
{
    struct model_params p = model_params_default("qwen3moe", LK_TYPE_Q4_0, 2);
    struct plan_fixture f;
    p.n_layer = 3;
    p.drop = "qwen3moe.expert_feed_forward_length";
    p.add_keys = write_widths;
    p.keys = p.drop;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT); /* its tensors are alike */
    cr_assert(strstr(f.err.message, "'blk.2.ffn_gate_exps.weight'") &&
                  strstr(f.err.message, "expected [256, 512, 5]"),
              "%s", f.err.message);
    plan_fixture_close(&f);
    p.wide_layer = 2;
    plan_fixture_open(&f, &p);
    cr_assert(width_of_glu(f.plan, 1, 0) == 256 && width_of_glu(f.plan, 2, 0) == 512);
    plan_fixture_close(&f);
}

/* ---- the router ---- */

Test(arch_experts, routers_by_architecture)
{
    static const struct {
        const char *arch;
        enum lk_gate gate;
        bool normalize;
        int groups, groups_used;
        float scale;
    } cases[] = {
        {"qwen3moe", LK_GATE_CHOSEN, false, 1, 1, 1.0f}, /* softmax, made to sum to 1 */
        {"gpt-oss", LK_GATE_CHOSEN, false, 1, 1, 1.0f},
        {"granitemoe", LK_GATE_CHOSEN, false, 1, 1, 1.0f},
        {"granitehybrid", LK_GATE_CHOSEN, false, 1, 1, 1.0f},
        {"nemotron_h_moe", LK_GATE_SIGMOID, true, 1, 1, 1.5f},
        {"glm4moe", LK_GATE_SIGMOID, true, 3, 2, 1.5f},
        {"hunyuan-moe", LK_GATE_CHOSEN, false, 1, 1, 1.0f},
        {"ernie4_5-moe", LK_GATE_SOFTMAX, true, 1, 1, 1.5f}, /* it has a bias of choice */
        {"minimax-m2", LK_GATE_SIGMOID, true, 1, 1, 1.5f},
        {"bailingmoe", LK_GATE_SOFTMAX, false, 1, 1, 1.0f},
        {"bailingmoe2", LK_GATE_SIGMOID, true, 2, 1, 1.5f},
        {"qwen3vlmoe", LK_GATE_CHOSEN, false, 1, 1, 1.0f},
        {"dots1", LK_GATE_SIGMOID, true, 1, 1, 1.5f},
        {"olmoe", LK_GATE_SOFTMAX, false, 1, 1, 1.0f},
        {"deepseek2", LK_GATE_SIGMOID, true, 3, 2, 1.5f},
        {"qwen2moe", LK_GATE_SOFTMAX, false, 1, 1, 1.0f},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default(cases[i].arch, LK_TYPE_Q4_0, 2);
        struct plan_fixture f;
        plan_fixture_open(&f, &p);
        int layer = arch_shape_of(cases[i].arch)->one_mixer ? 2 : 1;
        char bias[64];
        snprintf(bias, sizeof bias, "blk.%d.exp_probs_b.bias", layer);
        const struct lk_op *op = find_op(f.plan, LK_OP_ROUTE, layer, 0);
        cr_assert(op->u.route.gate == cases[i].gate &&
                      op->u.route.normalize == cases[i].normalize &&
                      op->u.route.n_groups == cases[i].groups &&
                      op->u.route.n_groups_used == cases[i].groups_used &&
                      op->u.route.scale == cases[i].scale && op->u.route.n_used == 2,
                  "%s", cases[i].arch);
        bool choice = arch_shape_of(cases[i].arch)->choice_bias;
        cr_assert_eq(op->weight >= 0, choice);
        cr_assert(!choice || strcmp(f.plan->weights[op->weight].name, bias) == 0);
        plan_fixture_close(&f);
    }
}

static void write_norm(struct gguf_build *b, const void *value)
{
    gb_key_bool(b, "qwen3moe.expert_weights_norm", *(const bool *)value);
    gb_key_u32(b, "qwen3moe.expert_gating_func", 1);
}

Test(arch_experts, weights_sum_to_one_by_a_key)
{
    static const bool no = false, yes = true;
    struct model_params p = model_params_default("qwen3moe", LK_TYPE_Q4_0, 2);
    struct plan_fixture f;
    p.add_keys = write_norm;
    p.keys = &no;
    plan_fixture_open(&f, &p);
    const struct lk_op *op = find_op(f.plan, LK_OP_ROUTE, 0, 0);
    cr_assert(op->u.route.gate == LK_GATE_SOFTMAX && !op->u.route.normalize);
    plan_fixture_close(&f);
    p.keys = &yes;
    plan_fixture_open(&f, &p);
    op = find_op(f.plan, LK_OP_ROUTE, 0, 0);
    cr_assert(op->u.route.gate == LK_GATE_CHOSEN && !op->u.route.normalize);
    plan_fixture_close(&f);
}

/* ---- layers and tensors that may be there ---- */

Test(arch_experts, layers_without_experts)
{
    static const struct {
        const char *arch, *layers; /* 'x' with experts */
    } cases[] = {{"glm4moe", "-xxxx"}, {"ernie4_5-moe", "-x-x-"}, {"qwen3moe", "xxxxx"}};
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default(cases[i].arch, LK_TYPE_Q4_0, 2);
        struct plan_fixture f;
        p.n_layer = 5;
        plan_fixture_open(&f, &p);
        for (int layer = 0; layer < 5; layer++) {
            cr_assert_eq(find_op(f.plan, LK_OP_ROUTE, layer, 0) != NULL,
                         cases[i].layers[layer] == 'x');
        }
        plan_fixture_close(&f);
    }
}

Test(arch_experts, norms_of_q_and_k_that_a_file_may_have)
{
    struct model_params p = model_params_default("glm4moe", LK_TYPE_Q4_0, 2);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    cr_assert_not_null(find_op(f.plan, LK_OP_NORM, 0, 3));
    plan_fixture_close(&f);
    p.no_qk_norms = true;
    plan_fixture_open(&f, &p);
    cr_assert_null(find_op(f.plan, LK_OP_NORM, 0, 2));
    plan_fixture_close(&f);
    p = model_params_default("qwen3moe", LK_TYPE_Q4_0, 2);
    p.no_qk_norms = true;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "'blk.0.attn_q_norm.weight'"), "%s", f.err.message);
    plan_fixture_close(&f);
}

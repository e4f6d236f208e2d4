/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_facts: what the keys of single architectures make of a plan.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/plan_fixture.h"

/* ---- YaRN ---- */

static void write_yarn(struct gguf_build *b, const void *more)
{
    gb_key_str(b, "qwen2.rope.scaling.type", "yarn");
    gb_key_f32(b, "qwen2.rope.scaling.factor", 4.0f);
    gb_key_u32(b, "qwen2.rope.scaling.original_context_length", 128);
    if (more) {
        gb_key_f32(b, more, 1.5f);
    }
}

Test(arch_facts, yarn_by_its_keys)
{
    struct model_params p = model_params_default("qwen2", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_yarn;
    plan_fixture_open(&f, &p);
    /* pair(32) < 0, pair(1) = 64 ln(128 / 2 pi) / (2 ln 50000) = 8.9: the ramp is 0 to 9 */
    for (int i = 0; i < 32; i++) {
        double stays = i < 9 ? 1.0 - i / 9.0 : 0.0;
        double want = pow(50000.0, -2.0 * i / 64) * (stays + (1.0 - stays) / 4.0);
        cr_assert_float_eq(f.plan->ropes[0].inv_freq[i], want, 1e-14);
    }
    cr_assert_float_eq(f.plan->ropes[0].attn_factor, 0.1 * log(4.0) + 1.0, 1e-14);
    cr_assert(f.plan->n_ropes == 1 && f.plan->n_ctx_max == (uint32_t)p.n_ctx);
    plan_fixture_close(&f);
    p.keys = "qwen2.rope.scaling.yarn_attn_factor"; /* as it stands */
    plan_fixture_open(&f, &p);
    cr_assert_eq(f.plan->ropes[0].attn_factor, 1.5);
    plan_fixture_close(&f);
    p.keys = "qwen2.rope.scaling.yarn_log_multiplier";
    plan_fixture_open(&f, &p);
    cr_assert_float_eq(f.plan->ropes[0].attn_factor,
                       (0.1 * log(4.0) + 1.0) / (0.15 * log(4.0) + 1.0), 1e-14);
    plan_fixture_close(&f);
    p.keys = "qwen2.rope.scaling.yarn_beta_slow"; /* pair(1.5) = 7.7 */
    plan_fixture_open(&f, &p);
    cr_assert_float_eq(f.plan->ropes[0].inv_freq[4], pow(50000.0, -8.0 / 64) * (0.5 + 0.5 / 4.0),
                       1e-14);
    plan_fixture_close(&f);
    p.keys = "qwen2.rope.scaling.yarn_ext_factor";
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "yarn_ext_factor") && strstr(f.err.message, "expected -1 to 1"),
              "%s", f.err.message);
    plan_fixture_close(&f);
}

static void write_type(struct gguf_build *b, const void *type)
{
    gb_key_str(b, "llama.rope.scaling.type", type);
    gb_key_f32(b, "llama.rope.freq_base", 1.5f);
}

Test(arch_facts, scaling_that_is_not_known_is_named)
{
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_type;
    p.drop = "llama.rope.freq_base";
    p.keys = "dynamic";
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "'dynamic'") && strstr(f.err.message, "yarn"), "%s",
              f.err.message);
    plan_fixture_close(&f);
    p.keys = "yarn"; /* no logarithm to divide by */
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "llama.rope.freq_base"), "%s", f.err.message);
    plan_fixture_close(&f);
}

/* ---- rotation of some layers and of queries ---- */

Test(arch_facts, every_fourth_layer_of_smollm3_is_not_turned)
{
    struct model_params p = model_params_default("smollm3", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.n_layer = 9;
    plan_fixture_open(&f, &p);
    for (int i = 0; i < p.n_layer; i++) {
        cr_assert_eq(find_op(f.plan, LK_OP_ROPE, i, 0) != NULL, i != 3 && i != 7);
    }
    plan_fixture_close(&f);
}

Test(arch_facts, temperature_is_of_queries_alone)
{
    struct model_params p = model_params_default("mistral3", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    cr_assert_eq(f.plan->n_ropes, 2);
    cr_assert_eq(find_op(f.plan, LK_OP_ROPE, 1, 0)->u.rope.rope, 1);
    cr_assert_eq(find_op(f.plan, LK_OP_ROPE, 1, 1)->u.rope.rope, 0);
    const struct lk_rope *k = &f.plan->ropes[0], *q = &f.plan->ropes[1];
    cr_assert(k->temperature == 0.0 && q->temperature == (double)0.1f && q->original == 20.0);
    cr_assert_eq(k->attn_factor, q->attn_factor);
    cr_assert_eq(memcmp(k->inv_freq, q->inv_freq, 32 * sizeof *k->inv_freq), 0);
    plan_fixture_close(&f);
    p.drop = "mistral3.attention.temperature_scale";
    plan_fixture_open(&f, &p);
    cr_assert(f.plan->n_ropes == 1 && find_op(f.plan, LK_OP_ROPE, 1, 0)->u.rope.rope == 0);
    plan_fixture_close(&f);
    p.drop = NULL;
    p.n_rot = 32; /* the rest of a head would be left out */
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "mistral3.rope.dimension_count"), "%s", f.err.message);
    plan_fixture_close(&f);
}

/* ---- windows, scales, norms ---- */

/* Which layers have a window, and by which table each is turned: 'w' and 'f' for those with a
 * window and without, followed by the table's number or '-'. */
static void layers_text(const struct lk_plan *plan, char *out)
{
    for (int i = 0; i < plan->n_layer; i++) {
        const struct lk_op *rope = find_op(plan, LK_OP_ROPE, i, 0);
        *out++ = find_op(plan, LK_OP_ATTENTION, i, 0)->u.attention.window ? 'w' : 'f';
        *out++ = rope ? (char)('0' + rope->u.rope.rope) : '-';
    }
    *out = 0;
}

Test(arch_facts, windows_and_turns_of_layers)
{
    static const struct {
        const char *arch, *with, *without; /* the key of the window; NULL: it must be there */
    } cases[] = {
        {"gemma3", "w1w1w1w1w1f0w1", NULL},
        {"gemma2", "w0f0w0f0w0f0w0", "w0f0w0f0w0f0w0"},
        {"olmo2", "w1w1w1f0w1w1w1", "f0f0f0f0f0f0f0"},
        {"exaone4", "w0w0w0f-w0w0w0", "f0f0f0f0f0f0f0"},
        {"cohere2", "w0w0w0f-w0w0w0", NULL},
        {"smollm3", "f0f0f0f-f0f0f0", "f0f0f0f-f0f0f0"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default(cases[i].arch, LK_TYPE_Q4_0, 6);
        char key[64], text[32];
        struct plan_fixture f;
        p.n_layer = 7;
        plan_fixture_open(&f, &p);
        layers_text(f.plan, text);
        cr_assert_str_eq(text, cases[i].with, "%s: %s", p.arch, text);
        plan_fixture_close(&f);
        snprintf(key, sizeof key, "%s.attention.sliding_window", p.arch);
        p.drop = key;
        lk_status status = plan_fixture_try(&f, &p);
        if (cases[i].without) {
            cr_assert_eq(status, LK_OK, "%s", f.err.message);
            layers_text(f.plan, text);
            cr_assert_str_eq(text, cases[i].without, "%s: %s", p.arch, text);
        } else {
            cr_assert(status == LK_E_FORMAT && strstr(f.err.message, key), "%s", f.err.message);
        }
        plan_fixture_close(&f);
    }
    struct model_params p = model_params_default("gemma2", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.drop = "gemma2.attention.sliding_window"; /* of the first files */
    plan_fixture_open(&f, &p);
    const struct lk_op *at = find_op(f.plan, LK_OP_ATTENTION, 0, 0);
    cr_assert(at->u.attention.window == 4096 && at->u.attention.softcap == 50.0);
    cr_assert_eq(find_op(f.plan, LK_OP_SOFTCAP, p.n_layer, 0)->u.softcap.cap, 30.0);
    plan_fixture_close(&f);
}

static void write_yarn_of_olmo(struct gguf_build *b, const void *unused)
{
    (void)unused;
    gb_key_str(b, "olmo2.rope.scaling.type", "yarn");
    gb_key_f32(b, "olmo2.rope.scaling.factor", 8.0f);
    gb_key_u32(b, "olmo2.rope.scaling.original_context_length", 64);
}

Test(arch_facts, windowed_layers_of_olmo3_are_not_scaled)
{
    struct model_params p = model_params_default("olmo2", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_yarn_of_olmo;
    plan_fixture_open(&f, &p);
    const struct lk_rope *full = &f.plan->ropes[0], *windowed = &f.plan->ropes[1];
    cr_assert_eq(f.plan->n_ropes, 2);
    cr_assert(full->attn_factor > 1.2 && windowed->attn_factor == 1.0);
    cr_assert_float_eq(windowed->inv_freq[31], pow(50000.0, -62.0 / 64), 1e-15);
    cr_assert_float_eq(full->inv_freq[31], pow(50000.0, -62.0 / 64) / 8.0, 1e-15);
    plan_fixture_close(&f);
}

Test(arch_facts, scales_of_granite_and_cohere)
{
    struct model_params p = model_params_default("granite", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    cr_assert_eq(f.plan->ops[0].u.embed.scale, 1.5f);
    cr_assert_eq(find_op(f.plan, LK_OP_SCALE, 1, 0)->u.scale.factor, 0.5f);
    cr_assert_eq(find_op(f.plan, LK_OP_SCALE, 1, 1)->u.scale.factor, 0.5f);
    cr_assert_eq(find_op(f.plan, LK_OP_SCALE, p.n_layer, 0)->u.scale.factor, 0.125f);
    cr_assert_eq(find_op(f.plan, LK_OP_ATTENTION, 0, 0)->u.attention.scale, (double)0.1f);
    plan_fixture_close(&f);
    p.drop = "granite.residual_scale";
    plan_fixture_open(&f, &p);
    cr_assert_null(find_op(f.plan, LK_OP_SCALE, 1, 0));
    plan_fixture_close(&f);
    p.drop = "granite.logit_scale";
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "granite.logit_scale"), "%s", f.err.message);
    plan_fixture_close(&f);
    p = model_params_default("cohere2", LK_TYPE_Q4_0, 6);
    plan_fixture_open(&f, &p);
    cr_assert_eq(find_op(f.plan, LK_OP_SCALE, p.n_layer, 0)->u.scale.factor, 0.25f);
    /* attention and feed-forward read one norm, and are added one after the other */
    const struct lk_op *n = find_op(f.plan, LK_OP_LAYER_NORM, 1, 0);
    const struct lk_op *first = find_op(f.plan, LK_OP_ADD, 1, 0);
    const struct lk_op *second = find_op(f.plan, LK_OP_ADD, 1, 1);
    cr_assert(find_op(f.plan, LK_OP_MATMUL, 1, 0)->in[0] == n->out &&
              find_op(f.plan, LK_OP_MATMUL, 1, 4)->in[0] == n->out);
    cr_assert(first->in[0] == n->in[0] && second->in[0] == first->out);
    plan_fixture_close(&f);
}

static void write_unturned(struct gguf_build *b, const void *key)
{
    gb_key_bool(b, key, false);
}

Test(arch_facts, granite_that_is_not_turned)
{
    struct model_params p = model_params_default("granite", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_unturned;
    p.keys = "granite.rope.scaling.finetuned";
    plan_fixture_open(&f, &p);
    cr_assert_null(find_op(f.plan, LK_OP_ROPE, 0, 0));
    plan_fixture_close(&f);
    p = model_params_default("llama", LK_TYPE_Q4_0, 6); /* where it says nothing */
    p.add_keys = write_unturned;
    p.keys = "llama.rope.scaling.finetuned";
    plan_fixture_open(&f, &p);
    cr_assert_not_null(find_op(f.plan, LK_OP_ROPE, 0, 0));
    plan_fixture_close(&f);
}

Test(arch_facts, gemma2_27b_scales_by_width_over_heads)
{
    struct model_params p = model_params_default("gemma2", LK_TYPE_Q4_0, 5);
    struct plan_fixture f;
    p.n_embd = 4608;
    p.n_ff = 32;
    p.n_head = 32;
    p.n_kv_head = 1;
    p.head_dim = p.n_rot = 128;
    p.n_layer = 1;
    plan_fixture_open(&f, &p);
    cr_assert_float_eq(find_op(f.plan, LK_OP_ATTENTION, 0, 0)->u.attention.scale, 1.0 / 12.0,
                       1e-15);
    plan_fixture_close(&f);
}

static void write_sections(struct gguf_build *b, const void *first)
{
    uint32_t n[4] = {*(const uint32_t *)first, 11, 10, 0};
    gb_array(b, "qwen3vl.rope.dimension_sections", LK_GGUF_U32, 4);
    gb_bytes(b, n, sizeof n);
    gb_key_u32(b, "qwen3vl.n_deepstack_layers", 3);
}

Test(arch_facts, sections_are_all_pairs)
{
    static const uint32_t good = 11, bad = 12;
    struct model_params p = model_params_default("qwen3vl", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_sections;
    p.keys = &good;
    plan_fixture_open(&f, &p);
    plan_fixture_close(&f);
    p.keys = &bad;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "rope.dimension_sections") && strstr(f.err.message, "33 pairs"),
              "%s", f.err.message);
    plan_fixture_close(&f);
}

/* ---- attention in both directions ---- */

/* The 27B is known by its sizes: layers may be cut or added. */
Test(arch_facts, gemma3_27b_scales_by_width_over_heads)
{
    for (int n_layer = 1; n_layer <= 62; n_layer += 61) {
        struct model_params p = model_params_default("gemma3", LK_TYPE_Q4_0, 5);
        struct plan_fixture f;
        bool large = n_layer == 1;
        p.n_layer = n_layer;
        p.n_embd = large ? 5376 : 64;
        p.n_ff = 32;
        p.n_head = large ? 32 : 4;
        p.n_kv_head = 1;
        p.head_dim = p.n_rot = large ? 128 : 32;
        plan_fixture_open(&f, &p);
        double want = 1.0 / sqrt(large ? 5376.0 / 32.0 : 32.0);
        cr_assert_float_eq(find_op(f.plan, LK_OP_ATTENTION, 0, 0)->u.attention.scale, want, 1e-15);
        plan_fixture_close(&f);
    }
}

static void write_causal(struct gguf_build *b, const void *causal)
{
    gb_key_bool(b, "gemma-embedding.attention.causal", *(const bool *)causal);
}

Test(arch_facts, tokens_attend_to_those_behind_them)
{
    static const bool no = false, yes = true;
    struct model_params p = model_params_default("gemma-embedding", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    const struct lk_op *windowed = find_op(f.plan, LK_OP_ATTENTION, 0, 0);
    const struct lk_op *full = find_op(f.plan, LK_OP_ATTENTION, 5, 0);
    cr_assert(f.plan->whole && windowed->u.attention.window == 13 &&
              windowed->u.attention.ahead == 12); /* half of 24 on each side */
    cr_assert(full->u.attention.window == 0 && lk_last_key(full, 3, 400) == 400);
    cr_assert(lk_first_key(windowed, 20) == 8 && lk_last_key(windowed, 20, 400) == 32 &&
              lk_last_key(windowed, 20, 25) == 25 && lk_first_key(windowed, 5) == 0);
    plan_fixture_close(&f);
    p.add_keys = write_causal;
    p.keys = &no;
    plan_fixture_open(&f, &p);
    plan_fixture_close(&f);
    p.keys = &yes;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "attention.causal") && strstr(f.err.message, "expected false"),
              "%s", f.err.message);
    plan_fixture_close(&f);
    p = model_params_default("gemma3", LK_TYPE_Q4_0, 6);
    plan_fixture_open(&f, &p);
    const struct lk_op *op = find_op(f.plan, LK_OP_ATTENTION, 0, 0);
    cr_assert(!f.plan->whole && op->u.attention.window == 24 && lk_last_key(op, 3, 9) == 3);
    plan_fixture_close(&f);
}

Test(arch_facts, tokens_of_one_type_and_learnt_positions)
{
    static const uint32_t counts[] = {0, 5000, 3};
    struct model_params p = model_params_default("bert", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    const struct lk_op *types = find_op(f.plan, LK_OP_BIAS, -1, 0);
    const struct lk_op *rows = find_op(f.plan, LK_OP_EMBED, -1, 1);
    const struct lk_gguf_tensor *t = lk_gguf_find_tensor(f.g, "token_types.weight");
    const struct lk_weight *w = &f.plan->weights[types->weight];
    cr_assert(w->data == t->data && w->cols == p.n_embd && t->ne[1] == TOKEN_TYPES);
    cr_assert(types->in[0] == f.plan->ops[0].out && !f.plan->ops[0].u.embed.positions);
    cr_assert(rows->u.embed.positions && rows->u.embed.scale == 1.0f &&
              f.plan->weights[rows->weight].rows == p.n_ctx);
    plan_fixture_close(&f);
    p.set_key = "tokenizer.ggml.token_type_count";
    for (size_t i = 0; i < LK_COUNT(counts); i++) {
        p.set_u32 = counts[i];
        cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
        cr_assert(strstr(f.err.message, i < 2 ? "token_type_count" : "expected [256, 3]"), "%s",
                  f.err.message);
        plan_fixture_close(&f);
    }
}

static void write_dense(struct gguf_build *b, const void *back)
{
    gb_key_u32(b, "gemma-embedding.dense_2_feat_out", 512);
    gb_key_u32(b, "gemma-embedding.dense_3_feat_in", *(const uint32_t *)back);
}

Test(arch_facts, matrices_behind_the_rows_of_embeddings)
{
    static const uint32_t same = 512, other = 511;
    struct model_params p = model_params_default("gemma-embedding", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_dense;
    p.keys = &same;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "'dense_2.weight' is missing, expected [256, 512]"), "%s",
              f.err.message);
    plan_fixture_close(&f);
    p.keys = &other;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "dense_3_feat_in") && strstr(f.err.message, "512"), "%s",
              f.err.message);
    plan_fixture_close(&f);
}

/* ---- blocks behind the last layer ---- */

static void write_nextn(struct gguf_build *b, const void *n)
{
    gb_key_u32(b, "glm4.nextn_predict_layers", *(const uint32_t *)n);
}

Test(arch_facts, blocks_behind_the_last_layer_are_known_and_not_used)
{
    static const uint32_t one = 1, all = 3;
    struct model_params p = model_params_default("glm4", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.n_layer = 3;
    p.add_keys = write_nextn;
    p.keys = &one;
    p.extra = "blk.2.nextn.enorm.weight";
    plan_fixture_open(&f, &p);
    cr_assert(f.plan->n_layer == 2 && f.plan->n_states == 4);
    for (int i = 0; i < f.plan->n_weights; i++) {
        cr_assert_null(strstr(f.plan->weights[i].name, "blk.2."));
    }
    plan_fixture_close(&f);
    p.extra = "blk.3.nextn.enorm.weight"; /* behind all blocks */
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "'blk.3.nextn.enorm.weight'"), "%s", f.err.message);
    plan_fixture_close(&f);
    p.extra = "blk.1.nextn.enorm.weight"; /* in a layer */
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    plan_fixture_close(&f);
    p.extra = NULL;
    p.keys = &all;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "nextn_predict_layers") &&
                  strstr(f.err.message, "expected 0 to 2"),
              "%s", f.err.message);
    plan_fixture_close(&f);
}

/* ---- two kinds of heads ---- */

static void check_gemma4_layer(const struct lk_plan *plan, const struct model_params *p, int i)
{
    bool full = model_is_full(p, i);
    int hd = full ? 128 : 64;
    const struct lk_op *at = find_op(plan, LK_OP_ATTENTION, i, 0);
    struct lk_attn_shape s = lk_attn_shape_of(plan, at);
    cr_assert(at->u.attention.window == (full ? 0 : 24) && at->u.attention.scale == 1.0);
    cr_assert(s.head_dim == hd && s.n_kv_head == (full ? 1 : 2));
    for (int k = 0; k < 2; k++) {
        cr_assert_eq(find_op(plan, LK_OP_ROPE, i, k)->u.rope.rope, full ? 0 : 1);
    }
    /* v: the third matmul, or the second; then its norm, whose vector no file has */
    const struct lk_op *v = find_op(plan, LK_OP_MATMUL, i, full ? 1 : 2);
    const struct lk_op *norm = find_op(plan, LK_OP_NORM, i, 1);
    const struct lk_op *store = find_op(plan, LK_OP_KV_STORE, i, 0);
    cr_assert(norm->in[0] == v->out && store->in[1] == norm->out && norm->u.norm.group == hd);
    const struct lk_weight *ones = &plan->weights[norm->weight];
    for (int d = 0; d < hd; d++) {
        cr_assert(((const float *)ones->data)[d] == 1.0f && !ones->mapped);
    }
    cr_assert_eq(find_op(plan, LK_OP_SCALE, i, 0)->in[0], find_op(plan, LK_OP_ADD, i, 2)->out);
}

Test(arch_facts, gemma4_has_two_kinds_of_heads)
{
    struct model_params p = model_params_default("gemma4", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    const struct lk_rope *full = &f.plan->ropes[0], *local = &f.plan->ropes[1];
    const float *factors =
        (const float *)(const void *)lk_gguf_find_tensor(f.g, "rope_freqs.weight")->data;
    cr_assert(f.plan->n_ropes == 2 && full->n_dims == 128 && local->n_dims == 64);
    cr_assert_float_eq(full->inv_freq[15], pow(50000.0, -30.0 / 128) / (double)factors[15], 1e-15);
    cr_assert_float_eq(local->inv_freq[31], pow(10000.0, -62.0 / 64), 1e-15);
    float cs[128];
    lk_rope_table(full, 511, cs);
    for (int i = 16; i < 64; i++) { /* pairs that are not turned */
        cr_assert(cs[2 * i] == 1.0f && cs[2 * i + 1] == 0.0f);
    }
    for (int i = 0; i < p.n_layer; i++) {
        check_gemma4_layer(f.plan, &p, i);
    }
    plan_fixture_close(&f);
    p.drop = "blk.1.layer_output_scale.weight";
    plan_fixture_open(&f, &p);
    cr_assert(!find_op(f.plan, LK_OP_SCALE, 1, 0) && find_op(f.plan, LK_OP_SCALE, 2, 0));
    plan_fixture_close(&f);
}

static void write_short_pattern(struct gguf_build *b, const void *n)
{
    static const bool windowed[4] = {true, false, true, false};
    gb_array(b, "gemma4.attention.sliding_window_pattern", LK_GGUF_BOOL, *(const uint64_t *)n);
    gb_bytes(b, windowed, (size_t) * (const uint64_t *)n);
}

Test(arch_facts, keys_of_gemma4_are_required_and_checked)
{
    static const struct {
        const char *key;
        int64_t value; /* -1: it is left out */
        lk_status status;
        const char *expected;
    } cases[] = {
        {"gemma4.attention.sliding_window_pattern", -1, LK_E_FORMAT, "missing"},
        {"gemma4.attention.sliding_window_pattern", 2, LK_E_FORMAT, "bool"},
        {"gemma4.attention.sliding_window", -1, LK_E_FORMAT, "missing"},
        {"gemma4.attention.key_length_swa", -1, LK_E_FORMAT, "missing"},
        {"gemma4.attention.value_length_swa", -1, LK_E_FORMAT, "missing"},
        {"gemma4.attention.key_length_swa", 641, LK_E_FORMAT, "expected 2 to 640"},
        {"gemma4.attention.key_length_swa", 63, LK_E_UNSUPPORTED, "an even number"},
        {"gemma4.attention.value_length_swa", 32, LK_E_UNSUPPORTED, "the key length, 64"},
        {"gemma4.rope.dimension_count_swa", 66, LK_E_FORMAT, "expected 2 to 64"},
        {"gemma4.rope.dimension_count_swa", 33, LK_E_UNSUPPORTED, "an even number"},
        {"gemma4.rope.dimension_count", 130, LK_E_FORMAT, "expected 2 to 128"},
        {"gemma4.rope.freq_base", -1, LK_E_FORMAT, "missing"},
        {"gemma4.attention.shared_kv_layers", 4, LK_E_FORMAT, "expected 0 to 3"},
        {"gemma4.attention.shared_kv_layers", 3, LK_E_UNSUPPORTED, "as layer 1 reads them"},
        {"gemma4.embedding_length_per_layer_input", 1 << 23, LK_E_FORMAT, "expected 0 to 4194304"},
        {"gemma4.expert_count", 4, LK_E_FORMAT, "expert_used_count"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default("gemma4", LK_TYPE_Q4_0, 6);
        struct plan_fixture f;
        bool drop = cases[i].value < 0;
        p.n_side = 0;
        p.drop = drop ? cases[i].key : NULL;
        p.set_key = drop ? NULL : cases[i].key;
        p.set_u32 = (uint32_t)cases[i].value;
        cr_assert_eq(plan_fixture_try(&f, &p), cases[i].status, "%s: %s", cases[i].key,
                     f.err.message);
        bool named = strstr(f.err.message, cases[i].key) || strstr(cases[i].key, "expert_count");
        cr_assert(named && strstr(f.err.message, cases[i].expected), "%s", f.err.message);
        plan_fixture_close(&f);
    }
    static const uint64_t n = 3;
    struct model_params p = model_params_default("gemma4", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.drop = "gemma4.attention.sliding_window_pattern";
    p.add_keys = write_short_pattern;
    p.keys = &n;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "an array of 3, expected one of 4"), "%s", f.err.message);
    plan_fixture_close(&f);
}

/* The router's norm has the file's scales over the root of the width; experts have factors. */
Test(arch_facts, gemma4_has_experts_beside_a_feed_forward)
{
    struct lk_gguf *g;
    struct lk_plan *plan;
    lk_error err;
    cr_assert_eq(lk_gguf_open(LK_TEST_DIR "/golden/tiny-gemma4-moe.gguf", &g, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(lk_plan_build(g, &plan, &err), LK_OK, "%s", err.message);
    cr_assert_eq(plan->n_routed, 3);
    for (int i = 0; i < plan->n_layer; i++) {
        /* norms: attention's, of q, k and v, behind it, of the feed-forward, behind it, of the
         * experts, of the router, behind the experts, behind both */
        const struct lk_op *x = find_op(plan, LK_OP_ADD, i, 0);
        const struct lk_op *dense = find_op(plan, LK_OP_NORM, i, 6);
        const struct lk_op *read = find_op(plan, LK_OP_NORM, i, 7);
        const struct lk_op *routed = find_op(plan, LK_OP_NORM, i, 8);
        const struct lk_op *said = find_op(plan, LK_OP_NORM, i, 9);
        const struct lk_op *both = find_op(plan, LK_OP_ADD, i, 1);
        const struct lk_op *route = find_op(plan, LK_OP_ROUTE, i, 0);
        const struct lk_op *gate = find_op(plan, LK_OP_EXPERTS, i, 0), *up = gate + 1;
        cr_assert(read->in[0] == x->out && routed->in[0] == x->out && gate->in[0] == read->out);
        cr_assert(both->in[0] == dense->out && both->in[1] == said->out);
        cr_assert(route->u.route.factors && route->u.route.gate == LK_GATE_CHOSEN);
        char name[64];
        snprintf(name, sizeof name, "blk.%d.ffn_gate_inp.scale", i);
        const float *scale = (const float *)(const void *)lk_gguf_find_tensor(g, name)->data;
        const float *w = plan->weights[routed->weight].data;
        for (int k = 0; k < plan->n_embd; k++) {
            cr_assert_eq(w[k], (float)((double)scale[k] / 8.0));
        }
        snprintf(name, sizeof name, "blk.%d.ffn_gate_up_exps.weight", i);
        const struct lk_gguf_tensor *t = lk_gguf_find_tensor(g, name);
        const struct lk_weight *wg = &plan->weights[gate->weight], *wu = &plan->weights[up->weight];
        for (int k = 0; k < 5; k++) { /* gate's rows first, of each expert */
            size_t half = t->n_bytes / 10;
            cr_assert(lk_weight_of_expert(wg, k).data == t->data + 2 * half * (size_t)k);
            cr_assert(lk_weight_of_expert(wu, k).data == t->data + half * (2 * (size_t)k + 1));
            cr_assert(lk_weight_of_expert(wu, k).n_bytes == half);
        }
    }
    lk_plan_free(&plan);
    lk_gguf_close(&g);
}

/* ---- layers of the gated delta rule ---- */

struct kinds {
    uint64_t n;
    uint8_t delta[8];
};

static void write_kinds(struct gguf_build *b, const void *keys)
{
    const struct kinds *k = keys;
    gb_array(b, "qwen35.attention.recurrent_layers", LK_GGUF_BOOL, k->n);
    gb_bytes(b, k->delta, k->n);
}

static bool is_delta(const struct lk_plan *plan, int layer)
{
    bool delta = false;
    for (int i = 0; i < plan->n_ops; i++) {
        delta |= plan->ops[i].layer == layer && plan->ops[i].kind == LK_OP_DELTA;
    }
    return delta;
}

Test(arch_facts, which_layers_have_states)
{
    static const struct kinds as_every_second = {4, {1, 0, 1, 0}}, short_one = {3, {1, 0, 1}};
    struct model_params p = model_params_default("qwen35", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    for (int listed = 0; listed < 2; listed++) {
        p.set_key = listed ? "qwen35.full_attention_interval" : NULL;
        p.set_u32 = 3; /* the list is right, whatever the interval is */
        p.add_keys = listed ? write_kinds : NULL;
        p.keys = &as_every_second;
        plan_fixture_open(&f, &p);
        for (int i = 0; i < 4; i++) {
            cr_assert_eq(is_delta(f.plan, i), i % 2 == 0, "layer %d", i);
        }
        cr_assert_eq(f.plan->n_states, 8);
        plan_fixture_close(&f);
    }
    p.keys = &short_one;
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "recurrent_layers"), "%s", f.err.message);
    plan_fixture_close(&f);
}

Test(arch_facts, shapes_of_states_that_do_not_fit_are_named)
{
    static const struct {
        const char *key;
        uint32_t value;
        const char *says;
    } CASES[] = {{"granitehybrid.ssm.conv_kernel", 17, "expected 2 to 16"},
                 {"granitehybrid.ssm.state_size", 36, "a multiple of 8"},
                 {"granitehybrid.ssm.state_size", 264, "expected 1 to 256"},
                 {"granitehybrid.ssm.group_count", 3, "a divisor of the heads"},
                 {"granitehybrid.ssm.time_step_rank", 0, "expected 1 to"},
                 {"granitehybrid.ssm.inner_size", 260, "a multiple of the heads"},
                 {"granitehybrid.ssm.inner_size", 8 * 260, "at most 256 times"},
                 {"qwen35.ssm.conv_kernel", 1, "expected 2 to 16"},
                 {"qwen35.ssm.conv_kernel", 17, "expected 2 to 16"},
                 {"qwen35.ssm.state_size", 36, "a multiple of 8"},
                 {"qwen35.ssm.state_size", 264, "expected 1 to 256"},
                 {"qwen35.ssm.group_count", 3, "a divisor of the heads"},
                 {"qwen35.ssm.time_step_rank", 0, "expected 1 to"},
                 {"qwen35.ssm.inner_size", 258, "a multiple of the heads"},
                 {"qwen35.ssm.inner_size", 4096, "at most 256 times"},
                 {"qwen35.full_attention_interval", 0, "expected 1 to"}};
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        bool delta = strncmp(CASES[i].key, "qwen35", 6) == 0;
        struct model_params p =
            model_params_default(delta ? "qwen35" : "granitehybrid", LK_TYPE_Q4_0, 6);
        struct plan_fixture f;
        p.set_key = CASES[i].key;
        p.set_u32 = CASES[i].value;
        cr_assert_neq(plan_fixture_try(&f, &p), LK_OK, "%s", CASES[i].key);
        cr_assert(strstr(f.err.message, CASES[i].key) && strstr(f.err.message, CASES[i].says), "%s",
                  f.err.message);
        plan_fixture_close(&f);
    }
}

/* ---- Mamba-2 ---- */

static void write_no_turns(struct gguf_build *b, const void *key)
{
    gb_key_bool(b, key, false);
}

/* A gate, then x, B and C, then the steps of the heads are rows of one tensor; the gate comes
 * before the norm, which is of each group; layers that attend may have no rotation. */
Test(arch_facts, layers_of_mamba)
{
    struct model_params p = model_params_default("granitehybrid", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.add_keys = write_no_turns;
    p.keys = "granitehybrid.rope.scaling.finetuned";
    plan_fixture_open(&f, &p);
    const struct lk_plan *plan = f.plan;
    static const char *const PARTS[] = {"blk.0.ssm_in.weight[0:256]",
                                        "blk.0.ssm_in.weight[256:672]",
                                        "blk.0.ssm_in.weight[672:680]"};
    const struct lk_op *part[3];
    for (int i = 0; i < 3; i++) {
        part[i] = find_op(plan, LK_OP_MATMUL, 0, i);
        cr_assert_str_eq(plan->weights[part[i]->weight].name, PARTS[i]);
    }
    const struct lk_op *bias = find_op(plan, LK_OP_BIAS, 0, 0),
                       *conv = find_op(plan, LK_OP_CONV, 0, 0);
    const struct lk_op *gates = find_op(plan, LK_OP_DELTA_GATES, 0, 0);
    const struct lk_op *ssm = find_op(plan, LK_OP_SSM, 0, 0), *glu = find_op(plan, LK_OP_GLU, 0, 0);
    const struct lk_op *norm = find_op(plan, LK_OP_NORM, 0, 1);
    cr_assert(bias->in[0] == part[2]->out && gates->in[0] == bias->out && gates->n_in == 1);
    cr_assert(conv->in[0] == part[1]->out && conv->u.conv.bias && conv->u.conv.silu);
    cr_assert(ssm->in[0] == conv->out && ssm->in[1] == gates->out);
    cr_assert(ssm->u.ssm.n_head == SSM_HEADS && ssm->u.ssm.n_group == SSM_GROUPS &&
              ssm->u.ssm.rows == SSM_ROWS && ssm->u.ssm.dim == SSM_DIM);
    cr_assert(glu->in[0] == part[0]->out && glu->in[1] == ssm->out &&
              glu->u.glu.act == LK_ACT_SILU && norm->in[0] == glu->out);
    cr_assert(norm->u.norm.group == SSM_HEADS * SSM_DIM / SSM_GROUPS &&
              plan->weights[norm->weight].cols == SSM_HEADS * SSM_DIM);
    cr_assert(find_op(plan, LK_OP_ATTENTION, 1, 0) && !find_op(plan, LK_OP_ROPE, 1, 0));
    plan_fixture_close(&f);
    p.add_keys = NULL;
    p.drop = "blk.0.ssm_conv1d.bias";
    plan_fixture_open(&f, &p);
    cr_assert_not(find_op(f.plan, LK_OP_CONV, 0, 0)->u.conv.bias);
    plan_fixture_close(&f);
}

static int n_of_kind(const struct lk_plan *plan, int layer, enum lk_op_kind kind)
{
    int n = 0;
    while (find_op(plan, kind, layer, n)) {
        n++;
    }
    return n;
}

/* Lists say what a layer is: heads of K and V, a width, or neither. Nothing is turned. */
Test(arch_facts, layers_of_one_branch)
{
    struct model_params p = model_params_default("nemotron_h_moe", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    plan_fixture_open(&f, &p);
    cr_assert_eq(f.plan->n_states, 4, "two of Mamba-2, K and V");
    for (int layer = 0; layer < 3; layer++) {
        cr_assert_eq(n_of_kind(f.plan, layer, LK_OP_SSM), layer == 0);
        cr_assert_eq(n_of_kind(f.plan, layer, LK_OP_ATTENTION), layer == 1);
        cr_assert_eq(n_of_kind(f.plan, layer, LK_OP_ROUTE), layer == 2);
        cr_assert_eq(n_of_kind(f.plan, layer, LK_OP_ROPE), 0);
    }
    for (int i = 0; i < 2; i++) { /* of experts, and of what all tokens share */
        const struct lk_op *glu = find_op(f.plan, LK_OP_GLU, 2, i);
        cr_assert(glu->u.glu.act == LK_ACT_RELU && glu->in[0] == glu->in[1]);
    }
    plan_fixture_close(&f);
}

/* The side rows of a plan: of a table that stays with the file, and of the embedding. */
static int check_side_rows(const struct lk_plan *plan, int n_side)
{
    int all = plan->n_layer * n_side;
    const struct lk_op *x = find_op(plan, LK_OP_EMBED, -1, 0);
    const struct lk_op *row = find_op(plan, LK_OP_EMBED, -1, 1);
    const struct lk_op *made = find_op(plan, LK_OP_MATMUL, -1, 0);
    const struct lk_op *less = find_op(plan, LK_OP_SCALE, -1, 0);
    const struct lk_op *norm = find_op(plan, LK_OP_NORM, -1, 0);
    const struct lk_op *sum = find_op(plan, LK_OP_ADD, -1, 0);
    const struct lk_op *side = find_op(plan, LK_OP_SCALE, -1, 1);
    cr_assert(!x->u.embed.host && row->u.embed.host);
    cr_assert_eq(row->u.embed.scale, sqrtf((float)n_side));
    cr_assert(made->in[0] == x->out && plan->slots[made->out].width == all);
    cr_assert(less->in[0] == made->out && less->u.scale.factor == 1.0f / 16); /* of 256 wide rows */
    cr_assert(norm->in[0] == less->out && norm->u.norm.group == n_side);
    cr_assert(sum->in[0] == norm->out && sum->in[1] == row->out);
    cr_assert(side->in[0] == sum->out && side->u.scale.factor == (float)sqrt(0.5));
    return side->out;
}

/* Each layer reads its part of them, and each slice makes them itself, out of the tokens. */
Test(arch_facts, layers_of_gemma4_read_side_rows)
{
    struct model_params p = model_params_default("gemma4", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    struct lk_plan *slice;
    lk_error err;
    plan_fixture_open(&f, &p);
    int side = check_side_rows(f.plan, p.n_side), n = f.plan->n_layer;
    for (int i = 0; i < n; i++) {
        const struct lk_op *pick = find_op(f.plan, LK_OP_PICK, i, 0);
        const struct lk_op *glu = find_op(f.plan, LK_OP_GLU, i, 1);
        cr_assert(pick->in[0] == side && pick->u.pick.at == i * p.n_side);
        cr_assert(pick->u.pick.width == p.n_side && pick->u.pick.stride == n * p.n_side);
        cr_assert(glu->in[1] == pick->out && glu->u.glu.act == LK_ACT_GELU);
        cr_assert_eq(lk_plan_slice(f.plan, lk_stage_of(i), lk_stage_of(i + 1), false, i == n - 1,
                                   &slice, &err),
                     LK_OK);
        const struct lk_op *x = find_op(slice, LK_OP_EMBED, -1, 0);
        /* rows handed in are the embedding's in layer 0; the head has its table in the last part */
        cr_assert_eq(find_op(slice, LK_OP_EMBED, -1, 1) != NULL, i > 0);
        cr_assert_eq(x->u.embed.host, i < n - 1);
        cr_assert(find_op(slice, LK_OP_SCALE, -1, 1)->out == side);
        lk_plan_free(&slice);
    }
    int odd = lk_stage_of(1); /* attention alone reads none of it */
    cr_assert_eq(lk_plan_slice(f.plan, odd, odd + 1, false, false, &slice, &err), LK_OK);
    cr_assert(!find_op(slice, LK_OP_EMBED, -1, 0));
    lk_plan_free(&slice);
    plan_fixture_close(&f);
    static const char *const needs[] = {
        "per_layer_token_embd.weight", "per_layer_model_proj.weight", "per_layer_proj_norm.weight",
        "blk.1.inp_gate.weight",       "blk.0.proj.weight",           "blk.2.post_norm.weight"};
    for (size_t i = 0; i < LK_COUNT(needs); i++) {
        p.drop = needs[i];
        cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
        cr_assert(strstr(f.err.message, needs[i]), "%s", f.err.message);
        plan_fixture_close(&f);
    }
    p.drop = NULL;
    p.set_key = "gemma4.embedding_length_per_layer_input";
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_UNSUPPORTED, "tensors that nothing would read");
    cr_assert(strstr(f.err.message, "has no meaning"), "%s", f.err.message);
    plan_fixture_close(&f);
}

/* The last layers read K and V of the last layer of their kind before them. */
Test(arch_facts, last_layers_of_gemma4_share_k_and_v)
{
    struct model_params p = model_params_default("gemma4", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.n_layer = 7; /* w f w f w f w */
    p.set_key = "gemma4.attention.shared_kv_layers";
    p.set_u32 = 3;
    plan_fixture_open(&f, &p); /* weights that make what nobody reads are known, and not used */
    static const int OF[7] = {0, 1, 2, 3, 2, 3, 2};
    cr_assert_eq(f.plan->n_states, 8);
    for (int i = 0; i < 7; i++) {
        const struct lk_op *at = find_op(f.plan, LK_OP_ATTENTION, i, 0);
        const struct lk_state *k = &f.plan->states[at->u.attention.k];
        const struct lk_state *v = &f.plan->states[at->u.attention.v];
        cr_assert(k->kind == LK_STATE_K && k->layer == OF[i]);
        cr_assert(v->kind == LK_STATE_V && v->layer == OF[i]);
        cr_assert_eq(at->u.attention.window, i % 2 ? 0 : 24);
        cr_assert_eq(find_op(f.plan, LK_OP_KV_STORE, i, 0) != NULL, i < 4);
        cr_assert_eq(find_op(f.plan, LK_OP_ROPE, i, 1) != NULL, i < 4);
        cr_assert_eq(lk_plan_may_cut(f.plan, lk_stage_of(i)), i <= 2, "layer %d", i);
    }
    cr_assert(lk_plan_may_cut(f.plan, lk_stage_of(7)));
    struct lk_plan *slice;
    lk_error err;
    cr_assert_eq(lk_plan_slice(f.plan, lk_stage_of(5), lk_stage_of(6), false, false, &slice, &err),
                 LK_OK);
    for (int i = 0; i < slice->n_states; i++) { /* it has memory for what it reads */
        cr_assert_eq(lk_plan_keeps(slice, i), slice->states[i].layer == 3);
    }
    lk_plan_free(&slice);
    plan_fixture_close(&f);
    p.drop = "blk.4.attn_v.weight";
    plan_fixture_open(&f, &p);
    plan_fixture_close(&f);
    p.drop = "blk.3.attn_k.weight";
    cr_assert_eq(plan_fixture_try(&f, &p), LK_E_FORMAT);
    plan_fixture_close(&f);
}

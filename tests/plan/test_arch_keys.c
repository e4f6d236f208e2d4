/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_keys: every key of an architecture is used, known to say nothing, or refused by name.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/model_build.h"

struct key {
    const char *name;
    enum lk_gguf_type type;
    double value;
};
struct keys {
    const struct key *key;
    size_t n;
};

static void write_keys(struct gguf_build *b, const void *keys)
{
    const struct keys *all = keys;
    for (size_t i = 0; i < all->n; i++) {
        const struct key *k = &all->key[i];
        if (k->type == LK_GGUF_F32) {
            gb_key_f32(b, k->name, (float)k->value);
        } else if (k->type == LK_GGUF_BOOL) {
            gb_key_bool(b, k->name, k->value != 0.0);
        } else if (k->type == LK_GGUF_STRING) {
            gb_key_str(b, k->name, "some text");
        } else if (k->type == LK_GGUF_ARRAY) { /* of two bools */
            gb_array(b, k->name, LK_GGUF_BOOL, 2);
            gb_fill(b, k->value != 0.0, 2);
        } else {
            gb_key_u32(b, k->name, (uint32_t)k->value);
        }
    }
}

static lk_status build(const char *arch, const char *drop, const struct key *key, size_t n,
                       struct lk_plan **plan, lk_error *err)
{
    struct model_params p = model_params_default(arch, LK_TYPE_F16, 5);
    struct keys keys = {key, n};
    struct gguf_build b;
    struct lk_gguf *g;
    p.add_keys = write_keys;
    p.keys = &keys;
    p.drop = drop;
    model_build(&b, &p);
    cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, err), LK_OK, "%s", err->message);
    lk_status status = lk_plan_build(g, plan, err);
    lk_gguf_close(&g); /* the weights are not looked at */
    gb_free(&b);
    return status;
}

Test(arch_keys, what_says_nothing_passes)
{
    static const struct key harmless[] = {
        {"llama.vocab_size", LK_GGUF_U32, 7},
        {"llama.tensor_data_layout", LK_GGUF_STRING, 0},
        {"llama.attention.layer_norm_epsilon", LK_GGUF_F32, 1},
        {"llama.rope.scaling.finetuned", LK_GGUF_BOOL, 1},
        {"llama.expert_count", LK_GGUF_U32, 0},
        {"llama.expert_used_count", LK_GGUF_U32, 2},
        {"llama.logit_scale", LK_GGUF_F32, 1},
        {"llama.residual_scale", LK_GGUF_F32, 0},
        {"llama.embedding_scale", LK_GGUF_F32, 1},
        {"llama.use_parallel_residual", LK_GGUF_BOOL, 0},
        {"llama.attention.clamp_kqv", LK_GGUF_F32, 0},
        {"llama.nextn_predict_layers", LK_GGUF_U32, 0},
        {"llama.attention.shared_kv_layers", LK_GGUF_ARRAY, 0},
        {"llama", LK_GGUF_U32, 1},              /* no key of an architecture */
        {"llamas.logit_scale", LK_GGUF_F32, 9}, /* another's */
        {"qwen2.logit_scale", LK_GGUF_F32, 9},
    };
    static const struct key gemma[] = {{"gemma3.vision.block_count", LK_GGUF_U32, 27},
                                       {"gemma3.mm.tokens_per_image", LK_GGUF_U32, 256}};
    struct lk_plan *plan;
    lk_error err;
    cr_assert_eq(build("llama", NULL, harmless, LK_COUNT(harmless), &plan, &err), LK_OK, "%s",
                 err.message);
    lk_plan_free(&plan);
    cr_assert_eq(build("gemma3", NULL, gemma, LK_COUNT(gemma), &plan, &err), LK_OK, "%s",
                 err.message);
    lk_plan_free(&plan);
}

Test(arch_keys, every_other_is_refused_by_name)
{
    static const struct {
        const char *arch;
        struct key key;
        const char *why;
    } cases[] = {
        {"llama", {"llama.logit_scale", LK_GGUF_F32, 0.25}, "is 0.25, expected 1"},
        {"qwen2", {"qwen2.residual_scale", LK_GGUF_F32, 0.22}, "expected 1"},
        {"phi3", {"phi3.embedding_scale", LK_GGUF_F32, 12}, "is 12, expected 1"},
        {"llama", {"llama.logit_scale", LK_GGUF_STRING, 0}, "is string, expected a number"},
        {"llama", {"llama.use_parallel_residual", LK_GGUF_BOOL, 1}, "is 1, expected 0"},
        {"llama", {"llama.attention.clamp_kqv", LK_GGUF_F32, 8}, "is 8, expected 0"},
        {"qwen3", {"qwen3.attention.shared_kv_layers", LK_GGUF_ARRAY, 1}, "is 1, expected 0"},
        {"llama", {"llama.attention.sliding_window_pattern", LK_GGUF_U32, 2}, "has no meaning"},
        {"llama", {"llama.rope.global.freq_base", LK_GGUF_F32, 1e6}, "has no meaning"},
        {"llama", {"llama.vision.block_count", LK_GGUF_U32, 27}, "has no meaning"},
        {"llama", {"llama.rope.dimension_sections", LK_GGUF_ARRAY, 1}, "has no meaning"},
        {"gemma3", {"gemma3.something.new", LK_GGUF_U32, 0}, "has no meaning"},
        {"gemma3", {"gemma3.vision", LK_GGUF_U32, 0}, "has no meaning"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct lk_plan *plan;
        lk_error err;
        const struct key *k = &cases[i].key;
        cr_assert_eq(build(cases[i].arch, NULL, k, 1, &plan, &err), LK_E_UNSUPPORTED, "%s",
                     k->name);
        cr_assert(strstr(err.message, k->name) && strstr(err.message, cases[i].why) &&
                      strstr(err.message, cases[i].arch),
                  "%s", err.message);
    }
}

/* Two names for the bases of Gemma 3's rotations; no base at all is no model of these. */
Test(arch_keys, bases_of_rotation)
{
    static const struct key other[] = {{"gemma3.rope.global.freq_base", LK_GGUF_F32, 1e6},
                                       {"gemma3.rope.local.freq_base", LK_GGUF_F32, 20000},
                                       {"gemma3.rope.freq_base", LK_GGUF_F32, 1e6}};
    struct lk_plan *plan;
    lk_error err;
    for (size_t n = 2; n <= 3; n++) {
        cr_assert_eq(build("gemma3", "gemma3.rope.freq_base", other, n, &plan, &err), LK_OK, "%s",
                     err.message);
        cr_assert_float_eq(plan->ropes[0].inv_freq[1], pow(1e6, -2.0 / 64), 1e-15);
        cr_assert_float_eq(plan->ropes[1].inv_freq[1], pow(20000, -2.0 / 64), 1e-15);
        lk_plan_free(&plan);
    }
    /* two names that mean two things */
    cr_assert_eq(build("gemma3", NULL, other, 1, &plan, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "rope.global.freq_base' is 1e+06, expected 50000"), "%s",
              err.message);
    static const char *const required[] = {"qwen2", "qwen3", "gemma3"};
    for (size_t i = 0; i < LK_COUNT(required); i++) {
        char key[64];
        snprintf(key, sizeof key, "%s.rope.freq_base", required[i]);
        cr_assert_eq(build(required[i], key, NULL, 0, &plan, &err), LK_E_FORMAT);
        cr_assert(strstr(err.message, key) && strstr(err.message, "missing"), "%s", err.message);
    }
    cr_assert_eq(build("llama", "llama.rope.freq_base", NULL, 0, &plan, &err), LK_OK);
    cr_assert_float_eq(plan->ropes[0].inv_freq[1], pow(10000, -2.0 / 64), 1e-15);
    lk_plan_free(&plan);
}

Test(arch_keys, attention_scale_is_used)
{
    static const struct key scale = {"llama.attention.scale", LK_GGUF_F32, 0.5};
    struct lk_plan *plan;
    lk_error err;
    cr_assert_eq(build("llama", NULL, &scale, 1, &plan, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind == LK_OP_ATTENTION) {
            cr_assert_eq(plan->ops[i].u.attention.scale, 0.5);
        }
    }
    lk_plan_free(&plan);
}

static const bool WINDOWED[7] = {false, true, true, false, false, true, false};

static void write_windows(struct gguf_build *b, const void *n)
{
    size_t count = *(const size_t *)n;
    gb_array(b, "gemma3.attention.sliding_window_pattern", LK_GGUF_BOOL, count);
    gb_bytes(b, WINDOWED, count);
}

/* A bool for each layer says which have the window. */
Test(arch_keys, windows_by_layer)
{
    for (size_t n = 6; n <= 7; n++) {
        struct model_params p = model_params_default("gemma3", LK_TYPE_F16, 5);
        struct gguf_build b;
        struct lk_gguf *g;
        struct lk_plan *plan;
        lk_error err;
        p.add_keys = write_windows;
        p.keys = &n;
        model_build(&b, &p);
        cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
        if (n == 6) { /* a layer too few */
            cr_assert_eq(lk_plan_build(g, &plan, &err), LK_E_FORMAT);
            cr_assert(strstr(err.message, "sliding_window_pattern"), "%s", err.message);
        } else {
            cr_assert_eq(lk_plan_build(g, &plan, &err), LK_OK, "%s", err.message);
            for (int i = 0; i < plan->n_ops; i++) {
                const struct lk_op *op = &plan->ops[i];
                if (op->kind == LK_OP_ATTENTION) {
                    cr_assert_eq(op->u.attention.window, WINDOWED[op->layer] ? 24 : 0);
                }
            }
            lk_plan_free(&plan);
        }
        lk_gguf_close(&g);
        gb_free(&b);
    }
}

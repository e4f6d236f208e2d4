/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_errors: each wrong key and tensor of a model by name.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/models.h"
#include "tests/util/plan_fixture.h"

static const char *const archs[] = MODEL_ARCHS;

static bool is_optional(const struct model_params *p, const char *name)
{
    const struct arch_shape *shape = arch_shape_of(p->arch);
    return strcmp(name, "output.weight") == 0 || strstr(name, "layer_output_scale") ||
           (strncmp(name, "rope_", 5) == 0 && !shape->two_heads) ||
           (shape->two_heads && strstr(name, "attn_v.weight")) ||
           strcmp(name, "token_types.weight") == 0 || strstr(name, ".input_scale") ||
           (strstr(name, ".scale") && !strstr(name, "ffn_gate_inp")) ||
           (strstr(name, ".bias") && !strstr(name, "ssm_dt") && !strstr(name, "_norm.bias") &&
            !(shape->qkv_bias &&
              (strstr(name, "attn_q") || strstr(name, "attn_k") || strstr(name, "attn_v"))));
}

Test(plan, each_missing_or_wrong_tensor_is_named)
{
    for (size_t a = 0; a < LK_COUNT(archs); a += test_is_sanitized_sample() ? 6 : 1) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q4_0, 7);
        struct plan_fixture all;
        p.n_layer = arch_shape_of(archs[a])->one_mixer ? 3 : 2;
        p.biases |= strcmp(archs[a], "llama") == 0;
        p.ffn_biases = !arch_shape_of(archs[a])->qkv_bias;
        p.factors = a % 2 || p.n_expert > 0;
        plan_fixture_open(&all, &p);
        for (size_t i = 0; i < lk_gguf_n_tensors(all.g); i++) {
            const struct lk_gguf_tensor *t = lk_gguf_tensor_at(all.g, i);
            char name[64], quoted[70];
            snprintf(name, sizeof name, "%.*s", (int)t->name.len, t->name.ptr);
            snprintf(quoted, sizeof quoted, "'%s'", name);
            struct model_params q = p;
            q.drop = name;
            if (is_optional(&p, name)) {
                struct plan_fixture f;
                plan_fixture_open(&f, &q);
                plan_fixture_close(&f);
            } else {
                plan_refused(&q, LK_E_FORMAT, quoted, "missing");
            }
            q.drop = NULL;
            if (strstr(name, ".input_scale")) { /* nobody reads it */
                continue;
            }
            if (strcmp(name, "token_embd.weight") != 0) { /* its rows are the vocabulary */
                char expected[64];
                snprintf(expected, sizeof expected, "expected [%llu, %llu%s",
                         (unsigned long long)t->ne[0], (unsigned long long)t->ne[1],
                         t->n_dims < 3 ? "]" : ", ");
                q.bend = name;
                plan_refused(&q, LK_E_FORMAT, quoted, expected);
                q.bend = NULL;
            }
            q.retype = name;
            q.retype_to = t->n_dims == 1 ? LK_TYPE_Q8_0 : 15; /* Q8_K: known, not run */
            if (t->ne[0] % (t->n_dims > 1 ? 256 : 32) == 0) {
                plan_refused(&q, LK_E_UNSUPPORTED, quoted, t->n_dims == 1 ? "Q8_0" : "Q8_K");
            }
        }
        plan_fixture_close(&all);
        p.extra = "blk.1.ffn_norm.bias";
        plan_refused(&p, LK_E_UNSUPPORTED, "'blk.1.ffn_norm.bias'", archs[a]);
        char more[64], quoted[70]; /* a layer more than block_count */
        snprintf(more, sizeof more, "blk.%d.attn_norm.weight", p.n_layer);
        snprintf(quoted, sizeof quoted, "'%s'", more);
        p.extra = more;
        plan_refused(&p, LK_E_UNSUPPORTED, quoted, archs[a]);
    }
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 7);
    p.bend = "token_embd.weight";
    plan_refused(&p, LK_E_FORMAT, "'output.weight'", "expected [256, 321]");
}

Test(plan, each_wrong_key_is_named)
{
    static const struct {
        const char *key;
        uint32_t value;
        lk_status status;
        const char *expected;
    } cases[] = {
        {"llama.block_count", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.block_count", 3, LK_E_FORMAT, "blk.2.attn_norm.weight"},
        {"llama.block_count", 0xffffffffu, LK_E_FORMAT, "expected 1 to"},
        {"llama.context_length", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.context_length", 0x7fffffffu, LK_E_UNSUPPORTED, "positions"},
        {"llama.embedding_length", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.embedding_length", 0x80000000u, LK_E_FORMAT, "expected 1 to"},
        {"llama.feed_forward_length", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.attention.head_count", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.attention.head_count", 0xffffffffu, LK_E_FORMAT, "expected 1 to"},
        {"llama.attention.head_count_kv", 0, LK_E_FORMAT, "expected 1 to"},
        {"llama.attention.head_count_kv", 3, LK_E_UNSUPPORTED, "divisor of the 4 heads"},
        {"llama.attention.head_count_kv", 8, LK_E_UNSUPPORTED, "divisor of the 4 heads"},
        {"llama.attention.key_length", 0, LK_E_FORMAT, "expected 2 to"},
        {"llama.attention.key_length", 63, LK_E_UNSUPPORTED, "key_length"},
        {"llama.attention.key_length", 2048, LK_E_FORMAT, "expected 2 to 640"},
        {"llama.attention.value_length", 32, LK_E_UNSUPPORTED, "the key length, 64"},
        {"llama.rope.dimension_count", 0, LK_E_FORMAT, "expected 2 to 64"},
        {"llama.rope.dimension_count", 33, LK_E_UNSUPPORTED, "an even number"},
        {"llama.rope.dimension_count", 66, LK_E_FORMAT, "expected 2 to 64"},
        {"llama.rope.freq_base", 10000, LK_E_FORMAT, "float"},
        {"llama.expert_count", 100000, LK_E_FORMAT, "expected 0 to 512"},
        {"llama.rope.scaling.type", 1, LK_E_FORMAT, "string"},
        {"llama.attention.causal", 0, LK_E_FORMAT, "bool"},
        {"tokenizer.ggml.tokens", 1, LK_E_FORMAT, "array of string"},
    };
    static const char *const required[] = {
        "general.architecture",
        "llama.block_count",
        "llama.context_length",
        "llama.embedding_length",
        "llama.feed_forward_length",
        "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon",
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct model_params p = model_params_default("llama", LK_TYPE_F16, 8);
        p.set_key = cases[i].key;
        p.set_u32 = cases[i].value;
        const char *named = strcmp(cases[i].expected, "blk.2.attn_norm.weight") == 0 ||
                                    strcmp(cases[i].expected, "positions") == 0
                                ? "expected"
                                : cases[i].key;
        plan_refused(&p, cases[i].status, named, cases[i].expected);
    }
    for (size_t i = 0; i < LK_COUNT(required); i++) {
        struct model_params p = model_params_default("llama", LK_TYPE_F16, 8);
        p.drop = required[i];
        plan_refused(&p, LK_E_FORMAT, required[i], "missing");
    }
    struct model_params p = model_params_default("llama", LK_TYPE_F16, 8);
    p.n_embd = 255; /* no key_length: the heads must share the width evenly */
    p.type = LK_TYPE_F32;
    p.embed_type = LK_TYPE_F32;
    p.drop = "llama.attention.key_length";
    plan_refused(&p, LK_E_UNSUPPORTED, "llama.embedding_length", "255");
    p = model_params_default("gemma3", LK_TYPE_F16, 8);
    p.drop = "gemma3.attention.sliding_window";
    plan_refused(&p, LK_E_FORMAT, "gemma3.attention.sliding_window", "missing");
}

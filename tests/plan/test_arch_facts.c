/* SPDX-License-Identifier: Apache-2.0
 *
 * Arch_facts: what the keys of single architectures make of a plan.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "plan/plan.h"
#include "tests/util/model_build.h"

struct fixture {
    struct gguf_build b;
    struct lk_gguf *g;
    struct lk_plan *plan;
    lk_error err;
};

static lk_status build(struct fixture *f, const struct model_params *p)
{
    *f = (struct fixture){0};
    model_build(&f->b, p);
    cr_assert_eq(lk_gguf_open_memory(f->b.data, f->b.n, &f->g, &f->err), LK_OK, "%s",
                 f->err.message);
    return lk_plan_build(f->g, &f->plan, &f->err);
}

static void build_ok(struct fixture *f, const struct model_params *p)
{
    cr_assert_eq(build(f, p), LK_OK, "%s: %s", p->arch, f->err.message);
}

static void end(struct fixture *f)
{
    lk_plan_free(&f->plan);
    lk_gguf_close(&f->g);
    gb_free(&f->b);
}

static const struct lk_op *find_op(const struct lk_plan *plan, enum lk_op_kind kind, int layer,
                                   int nth)
{
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->kind == kind && op->layer == layer && nth-- == 0) {
            return op;
        }
    }
    return NULL;
}

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
    struct fixture f;
    p.add_keys = write_yarn;
    build_ok(&f, &p);
    /* pair(32) < 0, pair(1) = 64 ln(128 / 2 pi) / (2 ln 50000) = 8.9: the ramp is 0 to 9 */
    for (int i = 0; i < 32; i++) {
        double stays = i < 9 ? 1.0 - i / 9.0 : 0.0;
        double want = pow(50000.0, -2.0 * i / 64) * (stays + (1.0 - stays) / 4.0);
        cr_assert_float_eq(f.plan->ropes[0].inv_freq[i], want, 1e-14);
    }
    cr_assert_float_eq(f.plan->ropes[0].attn_factor, 0.1 * log(4.0) + 1.0, 1e-14);
    cr_assert(f.plan->n_ropes == 1 && f.plan->n_ctx_max == (uint32_t)p.n_ctx);
    end(&f);
    p.keys = "qwen2.rope.scaling.yarn_attn_factor"; /* as it stands */
    build_ok(&f, &p);
    cr_assert_eq(f.plan->ropes[0].attn_factor, 1.5);
    end(&f);
    p.keys = "qwen2.rope.scaling.yarn_log_multiplier";
    build_ok(&f, &p);
    cr_assert_float_eq(f.plan->ropes[0].attn_factor,
                       (0.1 * log(4.0) + 1.0) / (0.15 * log(4.0) + 1.0), 1e-14);
    end(&f);
    p.keys = "qwen2.rope.scaling.yarn_beta_slow"; /* pair(1.5) = 7.7 */
    build_ok(&f, &p);
    cr_assert_float_eq(f.plan->ropes[0].inv_freq[4], pow(50000.0, -8.0 / 64) * (0.5 + 0.5 / 4.0),
                       1e-14);
    end(&f);
    p.keys = "qwen2.rope.scaling.yarn_ext_factor";
    cr_assert_eq(build(&f, &p), LK_E_FORMAT);
    cr_assert(strstr(f.err.message, "yarn_ext_factor") && strstr(f.err.message, "expected -1 to 1"),
              "%s", f.err.message);
    end(&f);
}

static void write_type(struct gguf_build *b, const void *type)
{
    gb_key_str(b, "llama.rope.scaling.type", type);
    gb_key_f32(b, "llama.rope.freq_base", 1.5f);
}

Test(arch_facts, scaling_that_is_not_known_is_named)
{
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 6);
    struct fixture f;
    p.add_keys = write_type;
    p.drop = "llama.rope.freq_base";
    p.keys = "dynamic";
    cr_assert_eq(build(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "'dynamic'") && strstr(f.err.message, "yarn"), "%s",
              f.err.message);
    end(&f);
    p.keys = "yarn"; /* no logarithm to divide by */
    cr_assert_eq(build(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "llama.rope.freq_base"), "%s", f.err.message);
    end(&f);
}

/* ---- rotation of some layers and of queries ---- */

Test(arch_facts, every_fourth_layer_of_smollm3_is_not_turned)
{
    struct model_params p = model_params_default("smollm3", LK_TYPE_Q4_0, 6);
    struct fixture f;
    p.n_layer = 9;
    build_ok(&f, &p);
    for (int i = 0; i < p.n_layer; i++) {
        cr_assert_eq(find_op(f.plan, LK_OP_ROPE, i, 0) != NULL, i != 3 && i != 7);
    }
    end(&f);
}

Test(arch_facts, temperature_is_of_queries_alone)
{
    struct model_params p = model_params_default("mistral3", LK_TYPE_Q4_0, 6);
    struct fixture f;
    build_ok(&f, &p);
    cr_assert_eq(f.plan->n_ropes, 2);
    cr_assert_eq(find_op(f.plan, LK_OP_ROPE, 1, 0)->u.rope.rope, 1);
    cr_assert_eq(find_op(f.plan, LK_OP_ROPE, 1, 1)->u.rope.rope, 0);
    const struct lk_rope *k = &f.plan->ropes[0], *q = &f.plan->ropes[1];
    cr_assert(k->temperature == 0.0 && q->temperature == (double)0.1f && q->original == 20.0);
    cr_assert_eq(k->attn_factor, q->attn_factor);
    cr_assert_eq(memcmp(k->inv_freq, q->inv_freq, 32 * sizeof *k->inv_freq), 0);
    end(&f);
    p.drop = "mistral3.attention.temperature_scale";
    build_ok(&f, &p);
    cr_assert(f.plan->n_ropes == 1 && find_op(f.plan, LK_OP_ROPE, 1, 0)->u.rope.rope == 0);
    end(&f);
    p.drop = NULL;
    p.n_rot = 32; /* the rest of a head would be left out */
    cr_assert_eq(build(&f, &p), LK_E_UNSUPPORTED);
    cr_assert(strstr(f.err.message, "mistral3.rope.dimension_count"), "%s", f.err.message);
    end(&f);
}

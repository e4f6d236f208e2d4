/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: the ops of every architecture, their wiring, weights and constants; slices and the layout
 * of slots as properties. What is refused: test_plan_errors.c.
 */
#include <criterion/criterion.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "plan/plan.h"
#include "tests/util/models.h"
#include "tests/util/plan_fixture.h"

static const char *const archs[] = MODEL_ARCHS;

/* ---- ops ---- */

static void op_names(const struct lk_plan *plan, int layer, char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].layer == layer) {
            at += (size_t)snprintf(text + at, n - at, "%s%s", at ? " " : "",
                                   lk_op_name(plan->ops[i].kind));
        }
    }
}

static bool find_kind(const struct lk_plan *plan, enum lk_op_kind kind, int layer)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind == kind && plan->ops[i].layer == layer) {
            return true;
        }
    }
    return false;
}

/* Whether the heads of a layer are turned, by the architecture's shape. */
static bool is_turned(const char *arch, int layer)
{
    const struct arch_shape *shape = arch_shape_of(arch);
    int step = shape->full_still ? shape->window_step : shape->no_rope_step;
    return !shape->positions && !shape->one_mixer &&
           (arch_has_states(shape) ? layer % 2 == 1 : step == 0 || (layer + 1) % step != 0);
}

#define BARE_QKV        "matmul matmul matmul "
#define QKV             "norm " BARE_QKV
#define UNTURNED        "kv_store attention matmul "
#define ATTENTION       "rope rope " UNTURNED
#define BARE_FFN        "matmul matmul glu matmul "
#define FFN             "norm " BARE_FFN
#define EXPERTS         "norm matmul route experts experts glu experts combine "
#define SIDE            "pick matmul glu matmul norm add scale"
#define SHARED          EXPERTS BARE_FFN "add "
#define GATED           EXPERTS "matmul matmul glu matmul matmul gate add add"
#define GATED_ATTENTION QKV "pick pick norm norm rope rope kv_store attention glu matmul add "
#define RULE            "bias delta_gates conv l2_norm delta norm glu matmul add "
#define SHORT_CONV      "norm matmul pick pick pick glu conv glu matmul add "
#define NORMED          "add layer_norm bias "
#define MAMBA           "norm matmul matmul matmul bias delta_gates conv ssm glu norm matmul "
#define LATENT                                                                                     \
    "norm matmul matmul matmul norm matmul pick pick rope heads join norm rope join kv_store "     \
    "attention heads matmul add "
#define BIASED                                                                                     \
    "norm matmul bias route experts expert_bias experts expert_bias glu experts expert_bias "      \
    "combine "

Test(plan, ops_of_a_layer_are_in_the_written_order)
{
    static const struct {
        const char *arch, *layer;
        const char *unturned; /* a layer without rotation, where some have none */
        const char *full;     /* one without a window, where v is made of k */
        const char *plain;    /* a layer without experts, likewise, or that is a feed-forward */
        const char *still;    /* one that attends without rotation, where others have states */
    } want[] = {
        {.arch = "llama", .layer = QKV ATTENTION "add " FFN "add"},
        {.arch = "qwen2", .layer = QKV "bias bias bias " ATTENTION "add " FFN "add"},
        {.arch = "qwen3", .layer = QKV "norm norm " ATTENTION "add " FFN "add"},
        {.arch = "gemma3", .layer = QKV "norm norm " ATTENTION "norm add " FFN "norm add"},
        {.arch = "gemma-embedding", .layer = QKV "norm norm " ATTENTION "norm add " FFN "norm add"},
        {.arch = "bert",
         .unturned = BARE_QKV "bias bias bias " UNTURNED "bias " NORMED
                              "matmul bias gelu matmul bias add layer_norm bias"},
        {.arch = "nomic-bert", .layer = BARE_QKV ATTENTION NORMED BARE_FFN "add layer_norm bias"},
        {.arch = "phi3", .layer = QKV ATTENTION "add " FFN "add"},
        {.arch = "smollm3",
         .layer = QKV ATTENTION "add " FFN "add",
         .unturned = QKV UNTURNED "add " FFN "add"},
        {.arch = "mistral3", .layer = QKV ATTENTION "add " FFN "add"},
        {.arch = "granite", .layer = QKV ATTENTION "scale add " FFN "scale add"},
        {.arch = "qwen3vl", .layer = QKV "norm norm " ATTENTION "add " FFN "add"},
        {.arch = "olmo2", .layer = BARE_QKV "norm norm " ATTENTION "norm add " BARE_FFN "norm add"},
        {.arch = "seed_oss", .layer = QKV ATTENTION "add " FFN "add"},
        {.arch = "gemma2", .layer = QKV ATTENTION "norm add " FFN "norm add"},
        {.arch = "glm4", .layer = QKV ATTENTION "norm add " FFN "norm add"},
        {.arch = "exaone4",
         .layer = BARE_QKV "norm norm " ATTENTION "norm add " BARE_FFN "norm add",
         .unturned = BARE_QKV "norm norm " UNTURNED "norm add " BARE_FFN "norm add"},
        {.arch = "cohere2",
         .layer = "layer_norm " BARE_QKV ATTENTION "add " BARE_FFN "add",
         .unturned = "layer_norm " BARE_QKV UNTURNED "add " BARE_FFN "add"},
        {.arch = "hunyuan-dense",
         .layer = QKV "rope rope norm norm kv_store attention matmul add " FFN "add"},
        {.arch = "ernie4_5", .layer = QKV ATTENTION "add " FFN "add"},
        {.arch = "deepseek2", .layer = LATENT SHARED "add", .plain = LATENT FFN "add"},
        {.arch = "lfm2",
         .layer = QKV "norm norm " ATTENTION "add " FFN "add",
         .unturned = SHORT_CONV FFN "add"},
        {.arch = "lfm2moe",
         .layer = QKV "norm norm " ATTENTION "add " EXPERTS "add",
         .unturned = SHORT_CONV FFN "add"},
        {.arch = "qwen35",
         .layer = GATED_ATTENTION FFN "add",
         .unturned = "norm matmul matmul matmul matmul " RULE FFN "add"},
        {.arch = "qwen35moe",
         .layer = GATED_ATTENTION GATED,
         .unturned = "norm matmul matmul matmul matmul " RULE GATED},
        {.arch = "qwen3next",
         .layer = GATED_ATTENTION GATED,
         .unturned = "norm matmul matmul matmul pick pick " RULE GATED},
        {.arch = "qwen3moe", .layer = QKV "norm norm " ATTENTION "add " EXPERTS "add"},
        {.arch = "gpt-oss", .layer = QKV "bias bias bias " ATTENTION "bias add " BIASED "add"},
        {.arch = "gemma4",
         .layer = QKV "norm norm norm " ATTENTION "norm add " FFN "norm add " SIDE,
         .full = "norm matmul matmul norm norm norm " ATTENTION "norm add " FFN "norm add " SIDE},
        {.arch = "granitemoe", .layer = QKV ATTENTION "scale add " SHARED "scale add"},
        {.arch = "granitehybrid",
         .layer = QKV ATTENTION "scale add " SHARED "scale add",
         .unturned = MAMBA "scale add " SHARED "scale add"},
        {.arch = "nemotron_h",
         .unturned = MAMBA "add",
         .still = QKV UNTURNED "add",
         .plain = "norm matmul glu matmul add"},
        {.arch = "nemotron_h_moe",
         .unturned = MAMBA "add",
         .still = QKV UNTURNED "add",
         .plain = "norm matmul route experts glu experts combine matmul glu matmul add add"},
        {.arch = "glm4moe",
         .layer = QKV "norm norm " ATTENTION "add " SHARED "add",
         .plain = QKV "norm norm " ATTENTION "add " FFN "add"},
        {.arch = "hunyuan-moe",
         .layer = QKV "rope rope norm norm kv_store attention matmul add " SHARED "add"},
        {.arch = "ernie4_5-moe",
         .layer = QKV ATTENTION "add " SHARED "add",
         .plain = QKV ATTENTION "add " FFN "add"},
        {.arch = "minimax-m2", .layer = QKV "norm norm " ATTENTION "add " EXPERTS "add"},
        {.arch = "bailingmoe", .layer = QKV ATTENTION "add " SHARED "add"},
        {.arch = "bailingmoe2",
         .layer = QKV "norm norm " ATTENTION "add " SHARED "add",
         .plain = QKV "norm norm " ATTENTION "add " FFN "add"},
        {.arch = "qwen3vlmoe", .layer = QKV "norm norm " ATTENTION "add " EXPERTS "add"},
        {.arch = "dots1",
         .layer = QKV "norm norm " ATTENTION "add " SHARED "add",
         .plain = QKV "norm norm " ATTENTION "add " FFN "add"},
        {.arch = "qwen2moe", .layer = QKV "bias bias bias " ATTENTION "add " GATED},
        {.arch = "olmoe", .layer = QKV "norm norm " ATTENTION "add " EXPERTS "add"},
    };
    for (size_t i = 0; i < LK_COUNT(want); i++) {
        struct model_params p = model_params_default(want[i].arch, LK_TYPE_Q4_0, 1);
        struct plan_fixture f;
        char text[512];
        p.softcap = i % 2 ? 30.0f : 0.0f;
        plan_fixture_open(&f, &p);
        cr_assert_str_eq(f.plan->arch, want[i].arch);
        for (int layer = 0; layer < p.n_layer; layer++) {
            bool turned = find_kind(f.plan, LK_OP_ROPE, layer);
            op_names(f.plan, layer, text, sizeof text);
            bool full = want[i].full && model_is_full(&p, layer);
            const char *usual = full                                          ? want[i].full
                                : !p.n_expert || model_has_experts(&p, layer) ? want[i].layer
                                                                              : want[i].plain;
            bool feeds = arch_shape_of(want[i].arch)->one_mixer && model_feeds_forward(&p, layer);
            bool still = want[i].still && model_attends(&p, layer);
            cr_assert_str_eq(text, feeds    ? want[i].plain
                                   : turned ? usual
                                   : still  ? want[i].still
                                            : want[i].unturned);
            cr_assert_eq(turned, is_turned(want[i].arch, layer));
        }
        op_names(f.plan, -1, text, sizeof text);
        const struct arch_shape *shape = arch_shape_of(want[i].arch);
        cr_assert_str_eq(text, shape->positions   ? "embed bias embed add layer_norm bias"
                               : shape->encoder   ? "embed bias layer_norm bias"
                               : shape->side_rows ? "embed embed matmul scale norm add scale"
                                                  : "embed");
        char head[96];
        snprintf(head, sizeof head, "gather %snorm matmul%s%s", shape->layer_norm ? "layer_" : "",
                 shape->scales || shape->logit_scale ? " scale" : "",
                 i % 2 || strcmp(want[i].arch, "gemma2") == 0 ? " softcap" : "");
        op_names(f.plan, p.n_layer, text, sizeof text);
        cr_assert_str_eq(text, shape->encoder ? "gather" : head);
        plan_fixture_close(&f);
    }
    struct model_params p = model_params_default("llama", LK_TYPE_F16, 1);
    struct plan_fixture f;
    char text[512];
    p.biases = true; /* llama may have all four */
    plan_fixture_open(&f, &p);
    op_names(f.plan, 0, text, sizeof text);
    cr_assert_str_eq(text, QKV "bias bias bias " ATTENTION "bias add " FFN "add");
    plan_fixture_close(&f);
    p.ffn_biases = true;
    plan_fixture_open(&f, &p);
    op_names(f.plan, 0, text, sizeof text);
    cr_assert_str_eq(text, QKV "bias bias bias " ATTENTION
                               "bias add norm matmul matmul bias bias glu matmul bias add");
    plan_fixture_close(&f);
}

/* A recurrent state of an op. */
static void check_recurrent(const struct lk_plan *p, int layer, int state, int rows, int dim)
{
    const struct lk_state *s = &p->states[state];
    cr_assert(s->kind == LK_STATE_RECURRENT && s->layer == layer);
    cr_assert(s->rows == rows && s->dim == dim && s->bits == 32);
}

/* K and V of an op: states of its layer, as wide as the rows that go in. */
static void check_states(const struct lk_plan *p, int layer, int k, int v, int k_width, int v_width)
{
    cr_assert(k >= 0 && k < p->n_states && v >= 0 && v < p->n_states);
    const struct lk_state *ks = &p->states[k], *vs = &p->states[v];
    cr_assert(ks->kind == LK_STATE_K && vs->kind == LK_STATE_V && ks->layer == layer &&
              vs->layer == layer);
    cr_assert(ks->n_head * ks->head_dim == k_width && vs->n_head * vs->head_dim == v_width);
    cr_assert(ks->dim % LK_KV_DIM_ALIGN == 0 && ks->dim >= ks->head_dim);
}

/* Every op reads what was written before, writes a slot of its own, and the widths of slots and
 * weights fit the op's meaning. */
static void check_wiring(const struct lk_plan *p)
{
    bool *written = calloc((size_t)p->n_slots, sizeof *written);
    cr_assert(written);
    int last_layer = -1;
    if (p->in_slot >= 0) {
        written[p->in_slot] = true;
        cr_assert_eq(p->slots[p->in_slot].width, p->n_embd);
    }
    for (int i = 0; i < p->n_ops; i++) {
        const struct lk_op *op = &p->ops[i];
        cr_assert(op->layer >= last_layer && op->layer <= p->n_layer);
        last_layer = op->layer;
        for (int k = 0; k < 2; k++) {
            cr_assert(op->in[k] < p->n_slots && (op->in[k] < 0 || written[op->in[k]]),
                      "op %d (%s) reads slot %d before it is written", i, lk_op_name(op->kind),
                      op->in[k]);
        }
        int in = op->in[0] >= 0 ? p->slots[op->in[0]].width : 0;
        int in1 = op->n_in > 1 ? p->slots[op->in[1]].width : 0;
        int out = op->out >= 0 ? p->slots[op->out].width : 0;
        const struct lk_weight *w = op->weight >= 0 ? &p->weights[op->weight] : NULL;
        if (op->out >= 0) {
            cr_assert(!written[op->out], "op %d writes a slot twice", i);
            written[op->out] = true;
            bool head = op->layer == p->n_layer;
            bool routed = op->kind == LK_OP_EXPERTS || op->kind == LK_OP_EXPERT_BIAS ||
                          op->kind == LK_OP_EXPERT_SCALE ||
                          (op->kind == LK_OP_GLU && p->slots[op->in[0]].rows == LK_ROWS_ROUTED);
            cr_assert_eq(p->slots[op->out].rows, head     ? LK_ROWS_OUTPUTS
                                                 : routed ? LK_ROWS_ROUTED
                                                          : LK_ROWS_TOKENS);
        }
        if (w) {
            cr_assert_eq(w->n_bytes, lk_type_row_bytes(w->type, (size_t)w->cols) * (size_t)w->rows);
        }
        switch (op->kind) {
        case LK_OP_EMBED:
            cr_assert(w->cols == out && (op->u.embed.host || out == p->n_embd) &&
                      w->rows == (op->u.embed.positions ? (int64_t)p->n_ctx_max : p->n_vocab));
            break;
        case LK_OP_NORM:
        case LK_OP_LAYER_NORM:
            cr_assert(in == out && w->type == LK_TYPE_F32 &&
                      (w->cols == op->u.norm.group || (op->kind == LK_OP_NORM && w->cols == out)) &&
                      out % op->u.norm.group == 0 && op->u.norm.eps == 1e-5f);
            break;
        case LK_OP_MATMUL:
            cr_assert(w->cols == in && w->rows == out, "%s", w->name);
            break;
        case LK_OP_BIAS:
            cr_assert(in == out && w->cols == out && w->type == LK_TYPE_F32);
            break;
        case LK_OP_ROPE:
            cr_assert(in == out && out == op->u.rope.n_head * op->u.rope.head_dim &&
                      op->u.rope.rope < p->n_ropes);
            break;
        case LK_OP_KV_STORE:
            check_states(p, op->layer, op->u.kv_store.k, op->u.kv_store.v, in, in1);
            cr_assert(op->out == -1);
            break;
        case LK_OP_ATTENTION: {
            struct lk_attn_shape s = lk_attn_shape_of(p, op);
            check_states(p, op->layer, op->u.attention.k, op->u.attention.v,
                         s.n_kv_head * s.head_dim, s.n_kv_head * s.v_dim);
            cr_assert(in == s.n_head * s.head_dim && out == s.n_head * s.v_dim &&
                      s.group * s.n_kv_head == s.n_head);
            break;
        }
        case LK_OP_GLU:
        case LK_OP_ADD:
            cr_assert(in == in1 && in == out);
            break;
        case LK_OP_GATHER:
        case LK_OP_GELU:
        case LK_OP_SOFTCAP:
        case LK_OP_SCALE:
            cr_assert(in == out);
            break;
        case LK_OP_ROUTE:
            cr_assert(out == 2 * p->n_routed && op->u.route.n_used == p->n_routed &&
                      in >= p->n_routed && (!w || w->cols == in));
            break;
        case LK_OP_EXPERTS:
            cr_assert(w->cols == in && w->rows == (int64_t)w->n_experts * out &&
                          in1 == 2 * p->n_routed,
                      "%s", w->name);
            break;
        case LK_OP_EXPERT_BIAS:
            cr_assert(in == out && w->cols % out == 0 && w->type == LK_TYPE_F32);
            break;
        case LK_OP_EXPERT_SCALE:
            cr_assert(in == out && w->type == LK_TYPE_F32 && in1 == 2 * p->n_routed);
            break;
        case LK_OP_COMBINE:
            cr_assert(in == out && in1 == 2 * p->n_routed &&
                      p->slots[op->in[0]].rows == LK_ROWS_ROUTED);
            break;
        case LK_OP_HEADS:
            cr_assert(w->cols * w->n_experts == in && w->rows == out, "%s", w->name);
            break;
        case LK_OP_JOIN: {
            const int *n = op->u.join.width;
            cr_assert(out == in + in1 && in % n[0] == 0 && in / n[0] * n[1] == in1);
            break;
        }
        case LK_OP_PICK:
            cr_assert(in % op->u.pick.stride == 0 &&
                      out == in / op->u.pick.stride * op->u.pick.width &&
                      op->u.pick.at + op->u.pick.width <= op->u.pick.stride);
            break;
        case LK_OP_CONV:
            check_recurrent(p, op->layer, op->u.conv.state, op->u.conv.taps - 1, in);
            cr_assert(in == out && w->cols == (op->u.conv.taps + op->u.conv.bias) * in &&
                      w->type == LK_TYPE_F32);
            break;
        case LK_OP_L2_NORM:
            cr_assert(in == out && op->u.l2_norm.n_groups * op->u.l2_norm.group < in &&
                      op->u.l2_norm.eps == 1e-5f);
            break;
        case LK_OP_GATE:
        case LK_OP_DELTA_GATES: /* a number a row; as many as there are rows of the other */
            cr_assert(op->kind == LK_OP_GATE
                          ? in == out && in1 == 1
                          : (op->n_in == 1 || in == in1) && out == 2 * in && w->cols == in);
            break;
        case LK_OP_SSM:
            check_recurrent(p, op->layer, op->u.ssm.state, op->u.ssm.n_head * op->u.ssm.rows,
                            op->u.ssm.dim);
            cr_assert(out == op->u.ssm.n_head * op->u.ssm.dim && w->cols == op->u.ssm.n_head &&
                      in == out + 2 * op->u.ssm.n_group * op->u.ssm.rows && in1 == 2 * w->cols &&
                      w->type == LK_TYPE_F32);
            break;
        case LK_OP_DELTA:
            check_recurrent(p, op->layer, op->u.delta.state, op->u.delta.n_head * op->u.delta.k_dim,
                            op->u.delta.v_dim);
            cr_assert(out == op->u.delta.n_head * op->u.delta.v_dim &&
                      in == 2 * op->u.delta.n_k_head * op->u.delta.k_dim + out &&
                      in1 == 2 * op->u.delta.n_head);
            break;
        case LK_OP_KINDS:
            cr_assert(false);
        }
    }
    cr_assert(written[p->out_slot]);
    bool logits = p->head && !arch_shape_of(p->arch)->encoder;
    cr_assert_eq(p->slots[p->out_slot].width, logits ? p->n_vocab : p->n_embd);
    free(written);
}

Test(plan, wiring_and_shapes_of_every_architecture_and_type)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        for (size_t t = 0; t < n_types; t++) {
            if (!test_is_full() && (a + t) % (test_is_sanitized_sample() ? 12 : 4) != 0) {
                continue; /* types have no part in the wiring */
            }
            struct model_params p = model_params_default(archs[a], types[t].type, (unsigned)t);
            struct plan_fixture f;
            plan_fixture_open(&f, &p);
            int lone = arch_shape_of(archs[a])->short_conv ? (p.n_layer + 1) / 2 : 0;
            int attends = p.n_layer - 1;
            for (int i = 0; i < p.n_layer && arch_shape_of(archs[a])->one_mixer; i++) {
                lone += model_feeds_forward(&p, i) ? 2 : 0;
                attends = model_attends(&p, i) ? i : attends;
            }
            cr_assert(f.plan->n_layer == p.n_layer && f.plan->n_embd == p.n_embd &&
                      f.plan->n_states == 2 * p.n_layer - lone && f.plan->n_vocab == p.n_vocab &&
                      f.plan->n_ctx_max == (uint32_t)p.n_ctx);
            check_wiring(f.plan);
            struct lk_attn_shape s =
                lk_attn_shape_of(f.plan, find_op(f.plan, LK_OP_ATTENTION, attends, 0));
            bool latent = arch_shape_of(archs[a])->latent;
            int head_dim = latent ? LATENT_RANK + p.n_rot : model_head_dim(&p, p.n_layer - 1);
            cr_assert(s.n_head == p.n_head && s.n_kv_head == model_kv_heads(&p, p.n_layer - 1) &&
                      s.head_dim == head_dim && s.v_dim == (latent ? LATENT_RANK : head_dim));
            plan_fixture_close(&f);
        }
    }
}

Test(plan, q_k_v_share_their_input_and_keep_their_roles)
{
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q8_0, 3);
        struct plan_fixture f;
        if (arch_shape_of(archs[a])->one_mixer || arch_shape_of(archs[a])->latent) {
            continue; /* layers_of_mamba has one of each kind; latent_rows has theirs */
        }
        plan_fixture_open(&f, &p);
        const struct lk_plan *plan = f.plan;
        bool delta = arch_shape_of(archs[a])->delta; /* q has gates, in each second layer */
        bool some = arch_has_states(arch_shape_of(archs[a])); /* attend, each second */
        for (int layer = some; layer < p.n_layer; layer += some ? 2 : 1) {
            int hd = model_head_dim(&p, layer), nq = p.n_head * hd * (delta ? 2 : 1);
            int n_kv_head = model_kv_heads(&p, layer), nk = n_kv_head * hd;
            bool has_v = model_has_v(&p, layer);
            const struct lk_op *q = find_op(plan, LK_OP_MATMUL, layer, 0), *k = q + 1;
            const struct lk_op *v = has_v ? q + 2 : k;
            cr_assert(k->kind == LK_OP_MATMUL && v->kind == LK_OP_MATMUL);
            cr_assert(q->in[0] == k->in[0] && q->in[0] == v->in[0]);
            const struct lk_weight *wq = &plan->weights[q->weight], *wk = &plan->weights[k->weight],
                                   *wv = &plan->weights[v->weight];
            cr_assert(wq->rows == nq && wk->rows == nk && wv->rows == nk);
            bool routed = model_has_experts(&p, layer);
            const struct arch_shape *shape = arch_shape_of(archs[a]);
            if (shape->ungated) {
                const struct lk_op *only = find_op(plan, LK_OP_MATMUL, layer, 4);
                cr_assert(only[1].kind == LK_OP_BIAS && only[2].kind == LK_OP_GELU &&
                          only[2].in[0] == only[1].out && only[3].in[0] == only[2].out &&
                          strstr(plan->weights[only->weight].name, "ffn_up.weight") &&
                          strstr(plan->weights[only[3].weight].name, "ffn_down.weight"));
                continue;
            }
            const struct lk_op *gate = find_op(plan, routed ? LK_OP_EXPERTS : LK_OP_MATMUL, layer,
                                               routed  ? 0
                                               : has_v ? 4
                                                       : 3),
                               *up = gate + 1;
            const struct lk_op *glu = find_op(plan, LK_OP_GLU, layer, delta);
            if (p.ffn_biases) { /* behind each product */
                up++;
                cr_assert(up[1].kind == LK_OP_EXPERT_BIAS && up[1].in[0] == up->out);
                cr_assert(glu->in[0] == gate[1].out && glu->in[1] == up[1].out);
            } else {
                cr_assert(glu->in[0] == gate->out && glu->in[1] == up->out);
            }
            cr_assert(gate->in[0] == up->in[0]);
            const struct lk_weight *wg = &plan->weights[gate->weight],
                                   *wu = &plan->weights[up->weight];
            char name[64];
            if (shape->fused) { /* views into one tensor, back to back */
                snprintf(name, sizeof name, "blk.%d.attn_qkv.weight", layer);
                const struct lk_gguf_tensor *t = lk_gguf_find_tensor(f.g, name);
                cr_assert(t->data == wq->data);
                cr_assert((const uint8_t *)wq->data + wq->n_bytes == (const uint8_t *)wk->data);
                cr_assert((const uint8_t *)wk->data + wk->n_bytes == (const uint8_t *)wv->data);
                cr_assert_eq(wq->n_bytes + wk->n_bytes + wv->n_bytes, t->n_bytes);
                snprintf(name, sizeof name, "blk.%d.attn_qkv.weight[%d:%d]", layer, nq, nq + nk);
                cr_assert_str_eq(wk->name, name);
            } else {
                cr_assert(strstr(wq->name, "attn_q.weight") && strstr(wk->name, "attn_k.weight") &&
                          strstr(wv->name, has_v ? "attn_v.weight" : "attn_k.weight"));
            }
            if (shape->fused_gate_up) {
                snprintf(name, sizeof name, "blk.%d.ffn_up.weight", layer);
                const struct lk_gguf_tensor *t = lk_gguf_find_tensor(f.g, name);
                cr_assert(t->data == wg->data);
                cr_assert((const uint8_t *)wg->data + wg->n_bytes == (const uint8_t *)wu->data);
                cr_assert_eq(wg->n_bytes + wu->n_bytes, t->n_bytes);
            } else {
                cr_assert(strstr(wg->name, "ffn_gate") && strstr(wu->name, "ffn_up"));
            }
            const struct lk_op *store = find_op(plan, LK_OP_KV_STORE, layer, 0);
            if (is_turned(archs[a], layer)) {
                const struct lk_op *rope_k = find_op(plan, LK_OP_ROPE, layer, 1);
                const struct lk_op *last =
                    shape->norms_turned ? find_op(plan, LK_OP_NORM, layer, 2) : rope_k;
                cr_assert(store->in[0] == last->out && rope_k->u.rope.n_head == n_kv_head);
            }
            enum lk_act act = shape->gelu                        ? LK_ACT_GELU
                              : strcmp(archs[a], "gpt-oss") == 0 ? LK_ACT_CLAMPED
                                                                 : LK_ACT_SILU;
            cr_assert_eq(glu->u.glu.act, act);
        }
        cr_assert_eq(plan->ropes[0].interleaved, arch_shape_of(archs[a])->interleaved);
        plan_fixture_close(&f);
    }
}

/* Each bias is added to the product it belongs to, from a tensor of its own or a part of one. */
Test(plan, biases_are_added_where_they_belong)
{
    static const char *const apart[] = {"attn_q",   "attn_k", "attn_v",  "attn_output",
                                        "ffn_gate", "ffn_up", "ffn_down"};
    for (int way = 0; way < 4; way++) {
        struct model_params p = model_params_default(way < 2 ? "llama" : "phi3", LK_TYPE_Q4_0, 3);
        struct plan_fixture f;
        bool phi = way >= 2, fused = way == 1 || way == 2;
        int nq = p.n_head * p.head_dim, nk = p.n_kv_head * p.head_dim;
        p.biases = p.ffn_biases = true;
        p.other_layout = way % 2 == 1;
        plan_fixture_open(&f, &p);
        for (int i = 0; i < 7; i++) {
            const struct lk_op *op = find_op(f.plan, LK_OP_BIAS, 1, i);
            const struct lk_op *product = find_op(f.plan, LK_OP_MATMUL, 1, i);
            char name[96], of[96];
            snprintf(name, sizeof name, "blk.1.%s.bias", apart[i]);
            snprintf(of, sizeof of, "blk.1.%s.weight", apart[i]);
            int from = i == 0 ? 0 : i == 1 ? nq : nq + nk, n = i == 0 ? nq : nk;
            if (fused && i < 3) {
                snprintf(name, sizeof name, "blk.1.attn_qkv.bias[%d:%d]", from, from + n);
                snprintf(of, sizeof of, "blk.1.attn_qkv.weight[%d:%d]", from, from + n);
            } else if (fused && phi && (i == 4 || i == 5)) {
                from = (i - 4) * p.n_ff;
                snprintf(name, sizeof name, "blk.1.ffn_up.bias[%d:%d]", from, from + p.n_ff);
                snprintf(of, sizeof of, "blk.1.ffn_up.weight[%d:%d]", from, from + p.n_ff);
            }
            cr_assert_str_eq(f.plan->weights[op->weight].name, name);
            cr_assert_str_eq(f.plan->weights[product->weight].name, of);
            cr_assert_eq(op->in[0], product->out);
            if (strchr(name, '[')) {
                char whole[96];
                snprintf(whole, sizeof whole, "%.*s", (int)strcspn(name, "["), name);
                const uint8_t *data = lk_gguf_find_tensor(f.g, whole)->data;
                cr_assert(f.plan->weights[op->weight].data == data + 4 * from);
            }
        }
        plan_fixture_close(&f);
    }
}

/* ---- constants ---- */

Test(plan, gemma3_windows_ropes_and_scales)
{
    struct model_params p = model_params_default("gemma3", LK_TYPE_Q4_0, 5);
    struct plan_fixture f;
    p.n_layer = 13;
    p.linear = 8.0f;
    p.softcap = 30.0f;
    plan_fixture_open(&f, &p);
    const struct lk_plan *plan = f.plan;
    cr_assert_eq(plan->n_ropes, 2);
    cr_assert_float_eq(plan->ropes[0].inv_freq[0], 1.0 / 8.0, 1e-15);
    cr_assert_float_eq(plan->ropes[1].inv_freq[0], 1.0, 1e-15);
    cr_assert_float_eq(plan->ropes[0].inv_freq[1], pow(50000.0, -2.0 / 64) / 8.0, 1e-15);
    cr_assert_float_eq(plan->ropes[1].inv_freq[1], pow(10000.0, -2.0 / 64), 1e-15);
    for (int layer = 0; layer < p.n_layer; layer++) {
        bool global = layer % 6 == 5;
        const struct lk_op *at = find_op(plan, LK_OP_ATTENTION, layer, 0);
        cr_assert_eq(at->u.attention.window, global ? 0 : 24);
        cr_assert_eq(find_op(plan, LK_OP_ROPE, layer, 0)->u.rope.rope, global ? 0 : 1);
        cr_assert_eq(find_op(plan, LK_OP_ROPE, layer, 1)->u.rope.rope, global ? 0 : 1);
        cr_assert(at->u.attention.scale == 1.0 / 8.0 && at->u.attention.softcap == 0.0);
        cr_assert_eq(at->u.attention.score_in, (float)(0.125 * 1.4426950408889634));
        cr_assert_eq(at->u.attention.score_cap, 0.0f);
    }
    cr_assert_eq(plan->ops[0].u.embed.scale, 16.0f); /* sqrt 256 */
    const struct lk_op *cap = find_op(plan, LK_OP_SOFTCAP, p.n_layer, 0);
    cr_assert(cap->u.softcap.cap == 30.0 && cap->u.softcap.cap_out == 30.0f &&
              cap->u.softcap.cap_in == (float)(1.0 / 30.0));
    /* tied: one weight, twice used */
    cr_assert_eq(find_op(plan, LK_OP_MATMUL, p.n_layer, 0)->weight, plan->ops[0].weight);
    plan_fixture_close(&f);

    p.set_key = "gemma3.attention.sliding_window_pattern";
    p.set_u32 = 2;
    plan_fixture_open(&f, &p);
    for (int layer = 0; layer < p.n_layer; layer++) {
        cr_assert_eq(find_op(f.plan, LK_OP_ATTENTION, layer, 0)->u.attention.window,
                     layer % 2 ? 0 : 24);
    }
    plan_fixture_close(&f);
}

Test(plan, rope_factors_scaling_and_longrope)
{
    struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 6);
    struct plan_fixture f;
    p.rope_freqs = true;
    plan_fixture_open(&f, &p);
    const float *factors =
        (const float *)(const void *)lk_gguf_find_tensor(f.g, "rope_freqs.weight")->data;
    for (int i = 0; i < p.n_rot / 2; i++) {
        double want = pow(50000.0, -2.0 * i / p.n_rot) / (double)factors[i];
        cr_assert_float_eq(f.plan->ropes[0].inv_freq[i], want, 1e-15);
    }
    cr_assert_eq(f.plan->ropes[0].attn_factor, 1.0);
    plan_fixture_close(&f);

    p = model_params_default("qwen2", LK_TYPE_Q4_0, 6);
    p.linear = 4.0f;
    plan_fixture_open(&f, &p);
    cr_assert_float_eq(f.plan->ropes[0].inv_freq[0], 0.25, 1e-15);
    plan_fixture_close(&f);

    p = model_params_default("phi3", LK_TYPE_Q4_0, 6);
    p.rope_freqs = true;
    plan_fixture_open(&f, &p);
    factors =
        (const float *)(const void *)lk_gguf_find_tensor(f.g, "rope_factors_short.weight")->data;
    cr_assert(f.plan->ropes[0].n_dims == 48 && f.plan->n_ctx_max == 512 &&
              f.plan->n_ctx_short == 256);
    cr_assert_float_eq(f.plan->ropes[0].attn_factor, 1.19, 1e-6);
    cr_assert_float_eq(f.plan->ropes[0].inv_freq[0], 1.0 / (double)factors[0], 1e-15);
    const float *longer =
        (const float *)(const void *)lk_gguf_find_tensor(f.g, "rope_factors_long.weight")->data;
    for (int twice = 0; twice < 2; twice++) {
        lk_plan_set_context(f.plan, 257);
        cr_assert(f.plan->long_context && f.plan->ropes[0].attn_factor == (double)1.19f);
        cr_assert_float_eq(f.plan->ropes[0].inv_freq[0], 1.0 / (double)longer[0], 1e-15);
    }
    lk_plan_set_context(f.plan, 256);
    cr_assert_not(f.plan->long_context);
    cr_assert_float_eq(f.plan->ropes[0].inv_freq[0], 1.0 / (double)factors[0], 1e-15);
    plan_fixture_close(&f);
    p.drop = "phi3.rope.scaling.original_context_length";
    plan_refused(&p, LK_E_FORMAT, "phi3.rope.scaling.original_context_length", "missing");
    p.drop = "rope_factors_short.weight";
    plan_refused(&p, LK_E_UNSUPPORTED, "phi3.rope.scaling.type", "rope_factors_short.weight");
    p.drop = "rope_factors_long.weight";
    plan_refused(&p, LK_E_FORMAT, "rope_factors_long.weight", "missing");
    p.drop = NULL;
    p.bend = "rope_factors_short.weight";
    plan_refused(&p, LK_E_FORMAT, "rope_factors_short.weight", "[24, 1]");
    p.bend = "rope_factors_long.weight";
    plan_refused(&p, LK_E_FORMAT, "rope_factors_long.weight", "[24, 1]");
}

/* ---- slices ---- */

/* Stages [0, x), [x, y) and [y, 10) of a model of five layers. */
static void join_slices(const struct lk_plan *plan, int x, int y)
{
    int cut[4] = {0, x, y, 10}, at = 0, handed = -1;
    for (int k = 0; k < 3; k++) {
        struct lk_plan *s;
        lk_error err;
        cr_assert_eq(lk_plan_slice(plan, cut[k], cut[k + 1], k == 0, k == 2, &s, &err), LK_OK);
        cr_assert(s->slice && s->first_stage == cut[k] && s->last_stage == cut[k + 1] &&
                  s->head == (k == 2) && s->in_slot == handed);
        int front = 0; /* ops of the model's front, made again for the slice's layers */
        for (int i = 0; k > 0 && i < plan->n_ops && plan->ops[i].layer < 0; i++) {
            front += front < s->n_ops && lk_op_is_same(&s->ops[front], &plan->ops[i]);
        }
        for (int i = front; i < s->n_ops; i++) {
            cr_assert(lk_op_is_same(&s->ops[i], &plan->ops[at + i - front]));
        }
        at += s->n_ops - front;
        check_wiring(s);
        handed = s->out_slot;
        lk_plan_free(&s);
    }
    cr_assert_eq(at, plan->n_ops);
    cr_assert_eq(handed, plan->out_slot);
}

Test(plan, slices_join_to_the_whole)
{
    int n_apart = 0;
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q4_0, 9);
        struct plan_fixture f;
        p.n_layer = 5;
        plan_fixture_open(&f, &p);
        bool apart = lk_plan_has_stages(f.plan, 0);
        n_apart += apart;
        for (int x = 0; x <= 10; x++) {
            for (int y = x; y <= 10; y++) {
                if (apart || (x % 2 == 0 && y % 2 == 0)) {
                    join_slices(f.plan, x, y);
                }
            }
        }
        static const struct {
            int first, last;
            bool embed, head;
        } bad[] = {{-2, 4, false, false},
                   {6, 4, false, false},
                   {0, 12, false, false},
                   {2, 10, true, false},
                   {0, 8, false, true}};
        for (size_t i = 0; i < LK_COUNT(bad); i++) {
            struct lk_plan *s = NULL;
            lk_error err;
            cr_assert_eq(lk_plan_slice(f.plan, bad[i].first, bad[i].last, bad[i].embed, bad[i].head,
                                       &s, &err),
                         LK_E_INVALID);
            cr_assert_null(s);
        }
        struct lk_plan *half = NULL;
        lk_error err;
        lk_status status = lk_plan_slice(f.plan, 0, 3, true, false, &half, &err);
        cr_assert_eq(status, apart ? LK_OK : LK_E_INVALID, "%s", archs[a]);
        lk_plan_free(&half);
        plan_fixture_close(&f);
    }
    cr_assert_eq(
        n_apart, (int)LK_COUNT(archs) - 3,
        "all but cohere2, whose branches read one row, and two whose layers are one branch");
}

/* ---- layout ---- */

/* First and last op of a slot's life, from the ops alone; false when it has none. */
static bool life_of(const struct lk_plan *p, int slot, int *first, int *last)
{
    *first = slot == p->in_slot ? -1 : p->n_ops;
    *last = slot == p->out_slot ? p->n_ops : -1;
    for (int i = 0; i < p->n_ops; i++) {
        const struct lk_op *op = &p->ops[i];
        if (op->out == slot) {
            *first = i;
            *last = *last > i ? *last : i;
        }
        if (lk_op_reads(op, slot) && *last < i) {
            *last = i;
        }
    }
    return *first < p->n_ops || (slot == p->out_slot && *first <= *last && *first != p->n_ops);
}

static void check_layout(const struct lk_plan *p, size_t tokens, size_t outputs, bool keep,
                         size_t align)
{
    size_t *at = calloc((size_t)p->n_slots, sizeof *at);
    cr_assert(at);
    struct lk_row_counts most = {
        {[LK_ROWS_TOKENS] = (int)tokens, [LK_ROWS_OUTPUTS] = (int)outputs}};
    size_t total = lk_plan_layout(p, &most, keep, align, NULL, at), sum = 0;
    cr_assert(total != SIZE_MAX);
    for (int i = 0; i < p->n_slots; i++) {
        int fi, li, fj, lj;
        if (!life_of(p, i, &fi, &li)) {
            continue;
        }
        size_t ni = (size_t)most.n[p->slots[i].rows] * (size_t)p->slots[i].width;
        cr_assert(at[i] % align == 0 && at[i] + ni <= total);
        sum += (ni + align - 1) / align * align;
        for (int j = 0; j < i; j++) {
            if (!life_of(p, j, &fj, &lj) || (!keep && (li < fj || lj < fi))) {
                continue;
            }
            size_t nj = (size_t)most.n[p->slots[j].rows] * (size_t)p->slots[j].width;
            cr_assert(at[i] + ni <= at[j] || at[j] + nj <= at[i],
                      "slots %d [%zu, +%zu) and %d [%zu, +%zu) live together", i, at[i], ni, j,
                      at[j], nj);
        }
    }
    if (keep) {
        cr_assert_eq(total, sum, "every slot has its place, and no more");
    } else if (p->last_stage - p->first_stage >= 4) {
        cr_assert(total * 2 <= sum, "%zu of %zu floats: lives that ended give their memory back",
                  total, sum);
    }
    free(at);
}

Test(plan, slots_that_live_together_have_memory_of_their_own)
{
    static const size_t rows[][2] = {{1, 1}, {7, 2}, {512, 1}, {64, 64}};
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        struct model_params p = model_params_default(archs[a], LK_TYPE_Q4_0, 10);
        struct plan_fixture f;
        p.n_layer = 3;
        p.n_embd = 256;
        p.softcap = 20.0f;
        plan_fixture_open(&f, &p);
        for (size_t r = 0; r < LK_COUNT(rows); r++) {
            for (size_t align = 1; align <= 64; align *= 16) {
                for (int keep = 0; keep < 2; keep++) {
                    check_layout(f.plan, rows[r][0], rows[r][1], keep, align);
                    struct lk_plan *s;
                    lk_error err;
                    cr_assert_eq(lk_plan_slice(f.plan, 2, 6, false, false, &s, &err), LK_OK);
                    check_layout(s, rows[r][0], rows[r][1], keep, align);
                    lk_plan_free(&s);
                }
            }
        }
        size_t *at = calloc((size_t)f.plan->n_slots, sizeof *at);
        struct lk_row_counts many = {{INT_MAX, INT_MAX}};
        f.plan->slots[0].width = INT_MAX;
        cr_assert_eq(lk_plan_layout(f.plan, &many, false, 16, NULL, at), SIZE_MAX);
        cr_assert_eq(lk_plan_layout(f.plan, &many, true, 16, NULL, at), SIZE_MAX);
        free(at);
        plan_fixture_close(&f);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_build: a model file -> the flat op array of the whole model. The order of ops here is the
 * order of execution everywhere.
 */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "base/real.h"
#include "plan/model.h"
#include "gguf/model_file.h"
#include "plan/plan_builder.h"

static const double LOG2_E = 1.4426950408889634;

/* Whether the file has one fused tensor, as the architecture has it, or those that others have. */
static bool is_fused(const struct lk_builder *b, int layer, bool usual, const char *fused,
                     const char *apart)
{
    char name[96];
    return usual ? !lk_build_has(b, lk_build_blk(name, layer, apart))
                 : lk_build_has(b, lk_build_blk(name, layer, fused));
}

/* The weights of attention, from one fused tensor or from three; w[2] is -1 where v is what the
 * weight of k gives. Of a layer that has the K and V of another, w[0] alone. */
static bool bind_qkv(struct lk_builder *b, int layer, int w[3])
{
    const struct lk_hparams *h = &b->h;
    const struct lk_layer *l = &h->layers[layer];
    char name[96];
    int nq = l->n_head * l->k_dim * (h->arch->delta ? 2 : 1); /* with gates */
    int nk = l->n_kv_head * l->k_dim, nv = l->n_kv_head * l->v_dim;
    if (l->kv_layer != layer) {
        w[0] = lk_build_matrix(b, lk_build_blk(name, layer, "attn_q.weight"), nq, h->n_embd);
        return false;
    }
    bool fused = is_fused(b, layer, h->arch->fused_qkv, "attn_qkv.weight", "attn_q.weight");
    if (fused) {
        lk_build_blk(name, layer, "attn_qkv.weight");
        w[0] = lk_build_matrix_rows(b, name, nq + nk + nv, 0, nq, h->n_embd);
        w[1] = lk_build_matrix_rows(b, name, nq + nk + nv, nq, nk, h->n_embd);
        w[2] = lk_build_matrix_rows(b, name, nq + nk + nv, nq + nk, nv, h->n_embd);
    } else {
        w[0] = lk_build_matrix(b, lk_build_blk(name, layer, "attn_q.weight"), nq, h->n_embd);
        w[1] = lk_build_matrix(b, lk_build_blk(name, layer, "attn_k.weight"), nk, h->n_embd);
        bool of_k =
            h->arch->value_norm && !lk_build_has(b, lk_build_blk(name, layer, "attn_v.weight"));
        w[2] = of_k ? -1
                    : lk_build_matrix(b, lk_build_blk(name, layer, "attn_v.weight"), nv, h->n_embd);
    }
    return fused;
}

/* Scores of rule 8: the scale of q.k and the constants of the kernels. */
static void set_scores(const struct lk_hparams *h, const struct lk_layer *l, struct lk_op *op)
{
    double scale = h->attn_scale > 0 ? h->attn_scale : 1.0 / lk_sqrt_f64(l->k_dim);
    op->u.attention.scale = scale;
    op->u.attention.softcap = h->attn_softcap;
    if (h->attn_softcap > 0) {
        op->u.attention.score_in = (float)(scale / h->attn_softcap);
        op->u.attention.score_cap = (float)(h->attn_softcap * LOG2_E);
    } else {
        op->u.attention.score_in = (float)(scale * LOG2_E);
    }
}

/* Norms of q and k, where the architecture has them, or the file, of one that may. */
static void norm_qk(struct lk_builder *b, int layer, int qk[2])
{
    const struct lk_layer *l = &b->h.layers[layer];
    bool row = b->h.arch->qk_norm == LK_QK_ROW;
    int n[2] = {l->n_head * l->k_dim, l->n_kv_head * l->k_dim};
    char name[96];
    if (b->h.arch->qk_norm_optional &&
        !lk_build_has(b, lk_build_blk(name, layer, "attn_q_norm.weight")) &&
        !lk_build_has(b, lk_build_blk(name, layer, "attn_k_norm.weight"))) {
        return;
    }
    qk[0] = lk_build_norm(b, layer, qk[0], n[0], row ? n[0] : l->k_dim,
                          lk_build_blk(name, layer, "attn_q_norm.weight"));
    if (l->kv_layer == layer) {
        qk[1] = lk_build_norm(b, layer, qk[1], n[1], row ? n[1] : l->k_dim,
                              lk_build_blk(name, layer, "attn_k_norm.weight"));
    }
}

/* q and k as attention takes them. */
static void finish_qk(struct lk_builder *b, int layer, int qk[2])
{
    const struct lk_hparams *h = &b->h;
    const struct lk_layer *l = &h->layers[layer];
    bool turned_first = h->arch->qk_norm == LK_QK_TURNED;
    if (h->arch->qk_norm != LK_QK_NONE && !turned_first) {
        norm_qk(b, layer, qk);
    }
    if (l->rope) {
        int table = l->window > 0 && h->local_rope_base > 0 ? 1 : 0;
        int of_q = h->temperature > 0 ? b->plan->n_ropes - 1 : table;
        qk[0] = lk_build_rope(b, layer, qk[0], l->n_head, l->k_dim, of_q);
        if (l->kv_layer == layer) {
            qk[1] = lk_build_rope(b, layer, qk[1], l->n_kv_head, l->k_dim, table);
        }
    }
    if (turned_first) {
        norm_qk(b, layer, qk);
    }
}

/* Sinks of the heads of a layer. What is far beyond any score has no place among them. */
static int sinks(struct lk_builder *b, const char *name, int n_head)
{
    int index = lk_build_vector(b, name, n_head);
    const float *s = b->status ? NULL : b->plan->weights[index].data;
    for (int i = 0; i < n_head && !b->status; i++) {
        if (!(s[i] >= -1e5f && s[i] <= 1e5f)) {
            b->status = lk_fail(b->err, LK_E_FORMAT,
                                "%s: tensor '%s' element %d is %g, expected -1e5 to 1e5",
                                lk_gguf_path(b->gguf), name, i, (double)s[i]);
        }
    }
    return index;
}

/* Rows of q, k and v with their biases; n: the rows that they are made of. */
static void project_qkv(struct lk_builder *b, int layer, int n, int qkv[3])
{
    static const char *const BIASES[] = {"attn_q.bias", "attn_k.bias", "attn_v.bias"};
    const struct lk_layer *l = &b->h.layers[layer];
    bool must = b->h.arch->qkv_bias;
    int nq = l->n_head * l->k_dim * (b->h.arch->delta ? 2 : 1); /* with gates */
    int nk = l->n_kv_head * l->k_dim, w[3];
    int first[3] = {0, nq, nq + nk};
    char name[96];
    bool fused = bind_qkv(b, layer, w);
    int n_rows = l->kv_layer != layer ? 1 : w[2] < 0 ? 2 : 3;
    for (int i = 0; i < n_rows; i++) {
        qkv[i] = lk_build_matmul(b, layer, n, w[i]);
    }
    for (int i = 0; i < n_rows; i++) {
        if (fused) {
            lk_build_blk(name, layer, "attn_qkv.bias");
            qkv[i] = lk_build_bias_part(b, layer, qkv[i], name, nq + 2 * nk, first[i], must);
        } else {
            qkv[i] = lk_build_bias(b, layer, qkv[i], lk_build_blk(name, layer, BIASES[i]), must);
        }
    }
    qkv[2] = qkv[n_rows - 1];
}

/* v as attention takes it. */
static int finish_v(struct lk_builder *b, int layer, int v)
{
    const struct lk_layer *l = &b->h.layers[layer];
    char name[96];
    float *ones;
    if (!b->h.arch->value_norm || l->kv_layer != layer) {
        return v;
    }
    int w = lk_build_made_vector(b, lk_build_blk(name, layer, "attn_v_norm"), l->v_dim, &ones);
    return lk_build_norm_by(b, layer, v, l->n_kv_head * l->v_dim, l->v_dim, w);
}

/* The state of that kind of a layer; -1: there is none. */
static int state_of(const struct lk_builder *b, enum lk_state_kind kind, int layer)
{
    for (int i = 0; i < b->plan->n_states; i++) {
        const struct lk_state *s = &b->plan->states[i];
        if (s->kind == kind && s->layer == layer) {
            return i;
        }
    }
    return -1;
}

static void store_kv(struct lk_builder *b, int layer, int k, int v)
{
    const struct lk_layer *l = &b->h.layers[layer];
    struct lk_op *op = lk_build_op(b, LK_OP_KV_STORE, layer, k, v, -1, -1);
    int ks = lk_build_state(b, lk_state_paged(LK_STATE_K, layer, l->n_kv_head, l->k_dim));
    int vs = lk_build_state(b, lk_state_paged(LK_STATE_V, layer, l->n_kv_head, l->v_dim));
    op->u.kv_store.k = ks;
    op->u.kv_store.v = vs;
}

int lk_build_attend(struct lk_builder *b, int layer, int q, int k, int v)
{
    const struct lk_arch *arch = b->h.arch;
    const struct lk_layer *l = &b->h.layers[layer];
    char name[96];
    if (l->kv_layer == layer) {
        store_kv(b, layer, k, v);
    }
    int ks = state_of(b, LK_STATE_K, l->kv_layer), vs = state_of(b, LK_STATE_V, l->kv_layer);
    int out = lk_build_slot(b, l->n_head * l->v_dim, LK_ROWS_TOKENS);
    int sink =
        arch->sinks ? sinks(b, lk_build_blk(name, layer, "attn_sinks.weight"), l->n_head) : -1;
    struct lk_op *op = lk_build_op(b, LK_OP_ATTENTION, layer, q, -1, out, sink);
    op->u.attention.k = ks;
    op->u.attention.v = vs;
    op->u.attention.n_head = l->n_head;
    op->u.attention.window = l->window;
    if (arch->both_ways) { /* half of a window before a token, and half behind it */
        op->u.attention.ahead = l->window > 0 ? l->window / 2 : INT_MAX;
        op->u.attention.window = l->window > 0 ? l->window / 2 + 1 : 0;
    }
    set_scores(&b->h, l, op);
    return out;
}

/* The branch of attention; n: the rows that it reads. */
static int attention(struct lk_builder *b, int layer, int n)
{
    const struct lk_hparams *h = &b->h;
    const struct lk_arch *arch = h->arch;
    const struct lk_layer *l = &h->layers[layer];
    int no = l->n_head * l->v_dim, gate = -1, qk[3];
    char name[96];
    project_qkv(b, layer, n, qk);
    int v = finish_v(b, layer, qk[2]);
    if (arch->delta) {
        gate = lk_build_pick(b, layer, qk[0], l->n_head, l->k_dim, 2 * l->k_dim, l->k_dim);
        qk[0] = lk_build_pick(b, layer, qk[0], l->n_head, l->k_dim, 2 * l->k_dim, 0);
    }
    finish_qk(b, layer, qk);
    int a = lk_build_attend(b, layer, qk[0], qk[1], v);
    if (arch->delta) {
        a = lk_build_glu(b, layer, LK_ACT_SIGMOID, gate, a, no, LK_ROWS_TOKENS);
    }
    int o = lk_build_matmul(b, layer, a,
                            lk_build_matrix(b, lk_build_blk(name, layer, "attn_output.weight"),
                                            h->n_embd, no));
    return lk_build_bias(b, layer, o, lk_build_blk(name, layer, "attn_output.bias"), false);
}

/* "blk.LAYER.PART" with the end that names the weights that all tokens share beside experts. */
static const char *part_of(char buf[96], int layer, const char *part, bool shared, const char *kind)
{
    snprintf(buf, 96, "blk.%d.%s%s.%s", layer, part, shared ? "_shexp" : "", kind);
    return buf;
}

/* Up and down, and GELU between them. */
static int ungated(struct lk_builder *b, int layer, int n)
{
    int e = b->h.n_embd, n_ff = b->h.layers[layer].n_ff;
    char name[96];
    int up = lk_build_matrix(b, lk_build_blk(name, layer, "ffn_up.weight"), n_ff, e);
    int u = lk_build_bias(b, layer, lk_build_matmul(b, layer, n, up),
                          lk_build_blk(name, layer, "ffn_up.bias"), false);
    int a = lk_build_slot(b, n_ff, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_GELU, layer, u, -1, a, -1);
    int down = lk_build_matrix(b, lk_build_blk(name, layer, "ffn_down.weight"), e, n_ff);
    return lk_build_bias(b, layer, lk_build_matmul(b, layer, a, down),
                         lk_build_blk(name, layer, "ffn_down.bias"), false);
}

/* Up and down alone: act(u) times u. */
static int squared(struct lk_builder *b, int layer, int n, int n_ff, bool shared)
{
    int n_embd = b->h.n_embd;
    char name[96];
    part_of(name, layer, "ffn_up", shared, "weight");
    int u = lk_build_matmul(b, layer, n, lk_build_matrix(b, name, n_ff, n_embd));
    u = lk_build_bias(b, layer, u, part_of(name, layer, "ffn_up", shared, "bias"), false);
    int a = lk_build_glu(b, layer, b->h.arch->act, u, u, n_ff, LK_ROWS_TOKENS);
    part_of(name, layer, "ffn_down", shared, "weight");
    int d = lk_build_matmul(b, layer, a, lk_build_matrix(b, name, n_embd, n_ff));
    return lk_build_bias(b, layer, d, part_of(name, layer, "ffn_down", shared, "bias"), false);
}

/* Gate, up and down over n_ff, of every token of n; `shared`: beside experts. */
static int dense(struct lk_builder *b, int layer, int n, int n_ff, bool shared)
{
    const struct lk_hparams *h = &b->h;
    char name[96];
    int gate, up;
    if (h->arch->squared) {
        return squared(b, layer, n, n_ff, shared);
    }
    bool fused = h->arch->fused_gate_up && !shared &&
                 !lk_build_has(b, lk_build_blk(name, layer, "ffn_gate.weight"));
    if (fused) {
        lk_build_blk(name, layer, "ffn_up.weight");
        gate = lk_build_matrix_rows(b, name, 2 * n_ff, 0, n_ff, h->n_embd);
        up = lk_build_matrix_rows(b, name, 2 * n_ff, n_ff, n_ff, h->n_embd);
    } else {
        gate =
            lk_build_matrix(b, part_of(name, layer, "ffn_gate", shared, "weight"), n_ff, h->n_embd);
        up = lk_build_matrix(b, part_of(name, layer, "ffn_up", shared, "weight"), n_ff, h->n_embd);
    }
    int g = lk_build_matmul(b, layer, n, gate);
    int u = lk_build_matmul(b, layer, n, up);
    if (fused) {
        g = lk_build_bias_part(b, layer, g, lk_build_blk(name, layer, "ffn_up.bias"), 2 * n_ff, 0,
                               false);
        u = lk_build_bias_part(b, layer, u, name, 2 * n_ff, n_ff, false);
    } else {
        g = lk_build_bias(b, layer, g, part_of(name, layer, "ffn_gate", shared, "bias"), false);
        u = lk_build_bias(b, layer, u, part_of(name, layer, "ffn_up", shared, "bias"), false);
    }
    int a = lk_build_glu(b, layer, h->arch->act, g, u, n_ff, LK_ROWS_TOKENS);
    part_of(name, layer, "ffn_down", shared, "weight");
    int d = lk_build_matmul(b, layer, a, lk_build_matrix(b, name, h->n_embd, n_ff));
    return lk_build_bias(b, layer, d, part_of(name, layer, "ffn_down", shared, "bias"), false);
}

/* Products times the number that the file has for each expert beside its matrices. Where a router's
 * weights have these as factors, they are not taken twice. */
static int scale_of_experts(struct lk_builder *b, int layer, int in, int route, int weight)
{
    char name[96];
    if (b->status || !lk_build_name_of_scale(&b->plan->weights[weight], name) ||
        !lk_build_has(b, name) || (b->h.arch->dense_beside && strstr(name, "ffn_down_exps"))) {
        return in;
    }
    int v = lk_build_vector(b, name, b->h.layers[layer].n_expert);
    int out = lk_build_slot(b, b->plan->slots[in].width, LK_ROWS_ROUTED);
    lk_build_op(b, LK_OP_EXPERT_SCALE, layer, in, route, out, v);
    return out;
}

/* The product of rows [first, first + rows) of the `all` of a row's expert. */
static int rows_of_experts(struct lk_builder *b, int layer, int in, int route, const char *part,
                           int all, int first, int rows, int cols)
{
    int n = b->h.layers[layer].n_expert;
    char name[96];
    part_of(name, layer, part, false, "weight");
    int w = lk_build_expert_matrices(b, name, n, all, first, rows, cols);
    int out = lk_build_slot(b, rows, LK_ROWS_ROUTED);
    lk_build_op(b, LK_OP_EXPERTS, layer, in, route, out, w);
    return scale_of_experts(b, layer, out, route, w);
}

/* The product of a row's expert, and its bias where the file has one. */
static int of_experts(struct lk_builder *b, int layer, int in, int route, const char *part,
                      int rows, int cols)
{
    int n = b->h.layers[layer].n_expert;
    int out = rows_of_experts(b, layer, in, route, part, rows, 0, rows, cols);
    char name[96];
    part_of(name, layer, part, false, "bias");
    if (b->status || !lk_build_has(b, name)) {
        return out;
    }
    int w = lk_build_vectors(b, name, n, rows);
    int sum = lk_build_slot(b, rows, LK_ROWS_ROUTED);
    lk_build_op(b, LK_OP_EXPERT_BIAS, layer, out, route, sum, w);
    return sum;
}

/* A vector with an element for each expert, where the file has it; else -1. */
static int of_each_expert(struct lk_builder *b, int layer, const char *suffix)
{
    char name[96];
    bool there = !b->status && lk_build_has(b, lk_build_blk(name, layer, suffix));
    return there ? lk_build_vector(b, name, b->h.layers[layer].n_expert) : -1;
}

/* Which experts the tokens of n go to, and with which weights. */
static int route(struct lk_builder *b, int layer, int n)
{
    const struct lk_hparams *h = &b->h;
    const struct lk_experts *x = &h->experts;
    int n_expert = h->layers[layer].n_expert;
    bool factors = h->arch->dense_beside;
    char name[96];
    int w =
        lk_build_matrix(b, lk_build_blk(name, layer, "ffn_gate_inp.weight"), n_expert, h->n_embd);
    int scores = lk_build_bias(b, layer, lk_build_product(b, layer, n, w),
                               lk_build_blk(name, layer, "ffn_gate_inp.bias"), false);
    int v = of_each_expert(b, layer, factors ? "ffn_down_exps.scale" : "exp_probs_b.bias");
    int out = lk_build_slot(b, 2 * x->n_used, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_ROUTE, layer, scores, -1, out, v);
    op->u.route.factors = factors && v >= 0;
    op->u.route.n_used = x->n_used;
    op->u.route.n_groups = x->n_groups;
    op->u.route.n_groups_used = x->n_groups_used;
    op->u.route.gate = x->gate;
    op->u.route.normalize = x->normalize && x->gate != LK_GATE_CHOSEN;
    if ((v < 0 || factors) && x->gate == LK_GATE_SOFTMAX && x->normalize) {
        op->u.route.gate = LK_GATE_CHOSEN; /* the same numbers */
        op->u.route.normalize = false;
    }
    op->u.route.scale = x->scale;
    return out;
}

/* The experts of rows n, and what all tokens share; routed: the rows that the router reads. */
static int experts(struct lk_builder *b, int layer, int n, int routed)
{
    const struct lk_hparams *h = &b->h;
    const struct lk_layer *l = &h->layers[layer];
    int r = route(b, layer, routed), g, u, n_ff = l->n_ff_exp;
    if (h->arch->squared) {
        g = u = of_experts(b, layer, n, r, "ffn_up_exps", n_ff, h->n_embd);
    } else if (is_fused(b, layer, false, "ffn_gate_up_exps.weight", "ffn_gate_exps.weight")) {
        g = rows_of_experts(b, layer, n, r, "ffn_gate_up_exps", 2 * n_ff, 0, n_ff, h->n_embd);
        u = rows_of_experts(b, layer, n, r, "ffn_gate_up_exps", 2 * n_ff, n_ff, n_ff, h->n_embd);
    } else {
        g = of_experts(b, layer, n, r, "ffn_gate_exps", n_ff, h->n_embd);
        u = of_experts(b, layer, n, r, "ffn_up_exps", n_ff, h->n_embd);
    }
    int a = lk_build_glu(b, layer, h->arch->act, g, u, n_ff, LK_ROWS_ROUTED);
    int d = of_experts(b, layer, a, r, "ffn_down_exps", h->n_embd, l->n_ff_exp);
    int y = lk_build_slot(b, h->n_embd, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_COMBINE, layer, d, r, y, -1);
    if (l->n_ff_shared == 0) {
        return y;
    }
    int shared = dense(b, layer, n, l->n_ff_shared, true);
    if (h->arch->shared_gate) {
        char name[96];
        int w = lk_build_matrix(b, lk_build_blk(name, layer, "ffn_gate_inp_shexp.weight"), 1,
                                h->n_embd);
        int gate = lk_build_matmul(b, layer, n, w),
            gated = lk_build_slot(b, h->n_embd, LK_ROWS_TOKENS);
        lk_build_op(b, LK_OP_GATE, layer, shared, gate, gated, -1);
        shared = gated;
    }
    int sum = lk_build_slot(b, h->n_embd, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_ADD, layer, y, shared, sum, -1);
    return sum;
}

/* The branch of the feed-forward; n: the rows that it reads. */
static int feed_forward(struct lk_builder *b, int layer, int n)
{
    const struct lk_layer *l = &b->h.layers[layer];
    return l->n_expert > 0      ? experts(b, layer, n, n)
           : b->h.arch->ungated ? ungated(b, layer, n)
                                : dense(b, layer, n, l->n_ff, false);
}

/* A norm of hidden rows or of a branch, where the layer has it. */
static int layer_norm(struct lk_builder *b, int layer, int in, bool has_it, const char *suffix)
{
    char name[96];
    int n = b->h.n_embd;
    return has_it ? lk_build_norm(b, layer, in, n, n, lk_build_blk(name, layer, suffix)) : in;
}

/* A norm with a bias of hidden rows, of an encoder; `name`: of both, without their ends. */
static int norm_with_bias(struct lk_builder *b, int layer, int in, const char *name)
{
    char part[96];
    int n = b->h.n_embd;
    snprintf(part, sizeof part, "%s.weight", name);
    int y = lk_build_norm(b, layer, in, n, n, part);
    snprintf(part, sizeof part, "%s.bias", name);
    return lk_build_bias(b, layer, y, part, true);
}

/* The norm of a sum in a layer of an encoder; other architectures have none there. */
static int norm_sum(struct lk_builder *b, int layer, int in, const char *suffix)
{
    char name[80];
    if (!b->h.arch->encoder) {
        return in;
    }
    snprintf(name, sizeof name, "blk.%d.%s", layer, suffix);
    return norm_with_bias(b, layer, in, name);
}

/* The hidden rows as a router beside a dense feed-forward reads them: x / rms(x) times
 * ffn_gate_inp.scale / sqrt(n_embd). */
static int norm_routed(struct lk_builder *b, int layer, int x)
{
    int n = b->h.n_embd;
    char name[96];
    float *values;
    int given = lk_build_vector(b, lk_build_blk(name, layer, "ffn_gate_inp.scale"), n);
    int w = lk_build_made_vector(b, name, n, &values);
    for (int i = 0; i < n && !b->status; i++) {
        const float *scale = b->plan->weights[given].data;
        values[i] = (float)((double)scale[i] / lk_sqrt_f64(n));
    }
    if (!b->status) {
        b->plan->weights[w].made = false; /* it stands for the file's */
    }
    return lk_build_norm_by(b, layer, x, n, n, w);
}

/* A dense feed-forward and experts beside each other; x: the hidden rows. */
static int beside(struct lk_builder *b, int layer, int x)
{
    int n = layer_norm(b, layer, x, true, "ffn_norm.weight");
    int one = dense(b, layer, n, b->h.layers[layer].n_ff, false);
    one = layer_norm(b, layer, one, true, "post_ffw_norm_1.weight");
    n = layer_norm(b, layer, x, true, "pre_ffw_norm_2.weight");
    int other = experts(b, layer, n, norm_routed(b, layer, x));
    other = layer_norm(b, layer, other, true, "post_ffw_norm_2.weight");
    return lk_build_add(b, layer, one, other);
}

/* What the file multiplies the rows of a layer by; 1: it does not. */
static double layer_scale(struct lk_builder *b, int layer)
{
    char name[96];
    return b->h.arch->layer_scale
               ? lk_build_number(b, lk_build_blk(name, layer, "layer_output_scale.weight"))
               : 1.0;
}

/* The branch of a layer in front of its feed-forward; n: the rows that it reads. */
static int mix(struct lk_builder *b, int layer, int n)
{
    switch (b->h.layers[layer].mixer) {
    case LK_MIX_DELTA:
        return lk_build_delta(b, layer, n);
    case LK_MIX_SHORT_CONV:
        return lk_build_short_conv(b, layer, n);
    case LK_MIX_SSM:
        return lk_build_ssm(b, layer, n);
    case LK_MIX_NONE:
        return feed_forward(b, layer, n);
    case LK_MIX_ATTENTION:
        break;
    }
    return b->h.arch->latent ? lk_build_latent(b, layer, n) : attention(b, layer, n);
}

/* Rows [tokens][n_layer][n_side] that layers read beside the hidden rows: of a second table, plus
 * what a matrix makes of the embedding x, in norms by layer; the sum times sqrt(1/2). Gemma 4's E2B
 * and E4B; Gemma 3n had them first. */
static int side_rows(struct lk_builder *b, int x)
{
    const struct lk_hparams *h = &b->h;
    int all = h->n_layer * h->n_side;
    int table =
        lk_build_matrix_rows(b, "per_layer_token_embd.weight", h->n_rows, 0, h->n_vocab, all);
    int rows = lk_build_slot(b, all, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_EMBED, -1, -1, -1, rows, table);
    op->u.embed.scale = (float)lk_sqrt_f64(h->n_side);
    op->u.embed.host = true; /* it is larger than all layers, and a token reads one row */
    int w = lk_build_matrix(b, "per_layer_model_proj.weight", all, h->n_embd);
    int made = lk_build_scale(b, -1, lk_build_matmul(b, -1, x, w), 1.0 / lk_sqrt_f64(h->n_embd));
    made = lk_build_norm(b, -1, made, all, h->n_side, "per_layer_proj_norm.weight");
    int sum = lk_build_slot(b, all, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_ADD, -1, made, rows, sum, -1);
    return lk_build_scale(b, -1, sum, lk_sqrt_f64(0.5));
}

/* A layer's part of the side rows, let in by a gate that the hidden rows x make, is added to them.
 */
static int add_side(struct lk_builder *b, int layer, int x)
{
    const struct lk_hparams *h = &b->h;
    int n = h->n_side;
    char name[96];
    int part = lk_build_pick(b, layer, b->side, 1, n, n * h->n_layer, n * layer);
    int gate = lk_build_matmul(b, layer, x,
                               lk_build_matrix(b, lk_build_blk(name, layer, "inp_gate.weight"), n,
                                               h->n_embd));
    int a = lk_build_glu(b, layer, h->arch->act, gate, part, n, LK_ROWS_TOKENS);
    int branch =
        lk_build_matmul(b, layer, a,
                        lk_build_matrix(b, lk_build_blk(name, layer, "proj.weight"), h->n_embd, n));
    branch = layer_norm(b, layer, branch, true, "post_norm.weight");
    return lk_build_add(b, layer, x, branch);
}

static int add_layer(struct lk_builder *b, int layer, int x)
{
    const struct lk_arch *arch = b->h.arch;
    bool before = !arch->no_pre_norms, after = arch->post_norms;
    int n = layer_norm(b, layer, x, before, "attn_norm.weight");
    int branch = mix(b, layer, n);
    branch = layer_norm(b, layer, branch, after, "post_attention_norm.weight");
    x = norm_sum(b, layer, lk_build_add(b, layer, x, branch), "attn_output_norm");
    if (arch->one_mixer) {
        return x;
    }
    b->feed_forward = !arch->parallel;
    if (arch->dense_beside && b->h.layers[layer].n_expert > 0) {
        branch = beside(b, layer, x);
    } else {
        if (!arch->parallel) {
            n = layer_norm(b, layer, x, before,
                           arch->ffn_norm_post ? "post_attention_norm.weight" : "ffn_norm.weight");
        }
        branch = feed_forward(b, layer, n);
    }
    branch = layer_norm(b, layer, branch, after, "post_ffw_norm.weight");
    x = norm_sum(b, layer, lk_build_add(b, layer, x, branch), "layer_output_norm");
    x = b->side < 0 ? x : add_side(b, layer, x);
    x = lk_build_scale(b, layer, x, layer_scale(b, layer));
    b->feed_forward = false;
    return x;
}

static void head(struct lk_builder *b, int x, int embd)
{
    const struct lk_hparams *h = &b->h;
    int rows = lk_build_slot(b, h->n_embd, LK_ROWS_OUTPUTS);
    lk_build_op(b, LK_OP_GATHER, h->n_layer, x, -1, rows, -1);
    if (h->arch->encoder) {
        b->plan->out_slot = rows;
        return;
    }
    int n = lk_build_norm(b, h->n_layer, rows, h->n_embd, h->n_embd,
                          h->arch->short_conv ? "token_embd_norm.weight" : "output_norm.weight");
    if (h->n_dense > 0) {
        n = lk_build_matmul(b, h->n_layer, n,
                            lk_build_matrix(b, "dense_2.weight", h->n_dense, h->n_embd));
        n = lk_build_matmul(b, h->n_layer, n,
                            lk_build_matrix(b, "dense_3.weight", h->n_embd, h->n_dense));
    }
    int w = embd; /* tied to the embeddings unless the file has a matrix of its own */
    if (lk_build_has(b, "output.weight")) {
        w = lk_build_matrix_rows(b, "output.weight", h->n_rows, 0, h->n_vocab, h->n_embd);
    }
    int y = lk_build_scale(b, h->n_layer, lk_build_matmul(b, h->n_layer, n, w), h->logit_scale);
    if (h->final_softcap > 0) {
        int out = lk_build_slot(b, h->n_vocab, LK_ROWS_OUTPUTS);
        struct lk_op *op = lk_build_op(b, LK_OP_SOFTCAP, h->n_layer, y, -1, out, -1);
        op->u.softcap.cap = h->final_softcap;
        op->u.softcap.cap_in = (float)(1.0 / h->final_softcap);
        op->u.softcap.cap_out = (float)h->final_softcap;
        y = out;
    }
    b->plan->out_slot = y;
}

/* Frequency factors of a tensor, NULL where there is no name. */
static const float *factors_of(struct lk_builder *b, const char *name)
{
    int n = b->h.n_rot / 2;
    struct lk_weight w = {0};
    void *copy = NULL;
    if (!name || b->status) {
        return NULL;
    }
    b->status = lk_bind_vector(b->gguf, name, 1, n, &w, &copy, b->err);
    lk_build_own(b, copy);
    const float *factors = w.data;
    for (int i = 0; i < n && !b->status; i++) {
        /* 1e30 is how files write that a pair is not turned at all. */
        if (!(factors[i] >= 1e-6f && (factors[i] <= 1e6f || factors[i] == 1e30f))) {
            b->status = lk_fail(b->err, LK_E_FORMAT,
                                "%s: tensor '%s' element %d is %g, expected 1e-6 to 1e6, or 1e30",
                                lk_gguf_path(b->gguf), name, i, (double)factors[i]);
        }
    }
    return factors;
}

/* A table of layers whose angles are scaled as the file says, checked for all its positions. */
static void make_rope(struct lk_builder *b, struct lk_rope *rope, int n_rot, double base,
                      double linear, const float *factors)
{
    const struct lk_hparams *h = &b->h;
    if (b->status) {
        return;
    }
    b->status = lk_rope_init(rope, n_rot, h->arch->rope_interleaved, base, linear, factors, b->err);
    for (int i = 0; i < n_rot / 2 && !b->status; i++) {
        double most = (double)(h->n_ctx - 1) * rope->inv_freq[i];
        if (!(most <= 0x1p24)) { /* the domain of lk_sincos */
            b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                                "%s: rotary angles go up to %g with %u positions, expected "
                                "at most 2^24",
                                lk_gguf_path(b->gguf), most, h->n_ctx);
        }
    }
}

static void make_scaled_rope(struct lk_builder *b, struct lk_rope *rope, const char *factors)
{
    const struct lk_hparams *h = &b->h;
    make_rope(b, rope, h->n_rot, h->rope_base, h->rope_linear, factors_of(b, factors));
    rope->attn_factor = h->rope_attn_factor;
    if (!b->status && h->yarn.factor > 0) {
        lk_rope_scale_yarn(rope, h->rope_base, &h->yarn);
    }
}

static void make_ropes(struct lk_builder *b)
{
    const struct lk_hparams *h = &b->h;
    struct lk_plan *p = b->plan;
    make_scaled_rope(b, &p->ropes[p->n_ropes++], h->rope_factors);
    if (h->local_rope_base > 0) {
        make_rope(b, &p->ropes[p->n_ropes++], h->local_n_rot, h->local_rope_base, 1.0, NULL);
    }
    if (h->temperature > 0) { /* queries', the last one */
        struct lk_rope *q = &p->ropes[p->n_ropes++];
        make_scaled_rope(b, q, h->rope_factors);
        q->temperature = h->temperature;
        q->original = h->n_ctx_original;
    }
    if (h->long_factors) {
        make_scaled_rope(b, &p->long_rope, h->long_factors);
        p->n_ctx_short = (uint32_t)h->n_ctx_original;
    }
}

/* The rows of row `token` of w, or of those of positions. */
static int embed(struct lk_builder *b, int w, bool positions)
{
    int x = lk_build_slot(b, b->h.n_embd, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_EMBED, -1, -1, -1, x, w);
    op->u.embed.scale = b->h.embed_scale;
    op->u.embed.positions = positions;
    return x;
}

/* What an encoder makes of the rows of the embedding: every token is of type 0. */
static int finish_embedding(struct lk_builder *b, int x)
{
    const struct lk_hparams *h = &b->h;
    if (lk_build_has(b, "token_types.weight")) {
        int types = lk_build_vectors(b, "token_types.weight", h->n_token_types, h->n_embd);
        int sum = lk_build_slot(b, h->n_embd, LK_ROWS_TOKENS);
        lk_build_keep_part(b, types, "token_types.weight", 0, h->n_embd);
        lk_build_op(b, LK_OP_BIAS, -1, x, -1, sum, types);
        x = sum;
    }
    if (h->arch->positions) {
        int w = lk_build_matrix(b, "position_embd.weight", (int)h->n_ctx, h->n_embd);
        x = lk_build_add(b, -1, x, embed(b, w, true));
    }
    return norm_with_bias(b, -1, x, "token_embd_norm");
}

/* A tensor that no op uses would be left out of the sum in silence: refuse it by name. Those of the
 * blocks behind the last layer make no logits of the next token. */
static void refuse_leftovers(struct lk_builder *b)
{
    static const char *const KNOWN[] = {"rope_freqs.weight", "rope_factors_short.weight",
                                        "rope_factors_long.weight"};
    for (size_t i = 0; i < LK_COUNT(KNOWN); i++) {
        lk_build_mark(b, KNOWN[i]);
    }
    for (size_t i = 0; i < lk_gguf_n_tensors(b->gguf) && !b->status; i++) {
        const struct lk_gguf_tensor *t = lk_gguf_tensor_at(b->gguf, i);
        if (!b->bound[i] && !lk_hparams_skip(&b->h, t->name)) {
            b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                                "%s: tensor '%.*s' has no meaning in architecture '%s'",
                                lk_gguf_path(b->gguf), (int)(t->name.len < 96 ? t->name.len : 96),
                                t->name.ptr, b->h.arch->name);
        }
    }
}

lk_status lk_plan_build(const struct lk_gguf *gguf, struct lk_plan **out, lk_error *err)
{
    struct lk_builder b = {.gguf = gguf, .err = err};
    *out = NULL;
    lk_status status = lk_hparams_read(gguf, &b.h, err);
    if (status) {
        return status;
    }
    const struct lk_hparams *h = &b.h;
    b.plan = lk_alloc(sizeof *b.plan);
    b.bound = lk_alloc(lk_gguf_n_tensors(gguf));
    if (!b.plan || !b.bound) {
        b.status = lk_fail(err, LK_E_NOMEM, "out of memory building the plan");
        goto done;
    }
    struct lk_plan *p = b.plan;
    snprintf(p->arch, sizeof p->arch, "%s", h->arch->name);
    p->n_layer = h->n_layer;
    p->n_embd = h->n_embd;
    p->n_vocab = h->n_vocab;
    p->n_ctx_max = h->n_ctx;
    p->last_stage = lk_stage_of(h->n_layer);
    p->n_routed = h->experts.n_used;
    p->whole = h->arch->both_ways;
    p->head = true;
    p->in_slot = -1;
    make_ropes(&b);
    int embd = lk_build_matrix_rows(&b, "token_embd.weight", h->n_rows, 0, h->n_vocab, h->n_embd);
    int x = embed(&b, embd, false);
    if (h->arch->encoder) {
        x = finish_embedding(&b, x);
    }
    b.side = h->n_side > 0 ? side_rows(&b, x) : -1;
    for (int layer = 0; layer < h->n_layer && !b.status; layer++) {
        x = add_layer(&b, layer, x);
    }
    if (!b.status) {
        head(&b, x, embd);
    }
    if (!b.status) {
        refuse_leftovers(&b);
    }
done:
    lk_free(b.bound);
    lk_hparams_free(&b.h);
    if (b.status) {
        lk_plan_free(&b.plan);
        return b.status;
    }
    *out = b.plan;
    return LK_OK;
}

lk_status lk_model_check(const lk_model *model, lk_error *err)
{
    struct lk_plan *plan;
    lk_status status = lk_plan_build(model->gguf, &plan, err);
    if (!status) {
        lk_plan_free(&plan);
    }
    return status;
}

bool lk_model_tensor_unused(const lk_model *model, size_t i)
{
    struct lk_hparams h;
    lk_error err;
    if (lk_hparams_read(model->gguf, &h, &err)) {
        return false;
    }
    bool skip = lk_hparams_skip(&h, lk_gguf_tensor_at(model->gguf, i)->name);
    lk_hparams_free(&h);
    return skip;
}

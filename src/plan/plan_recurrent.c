/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_recurrent: the ops of layers with a state, in their order (rule 12): the gated delta rule,
 * gated short convolutions, Mamba-2.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/real.h"
#include "plan/plan_builder.h"

/* Writes the bias of that name to to[n]. */
static void copy_bias(struct lk_builder *b, const char *name, int n, float *to)
{
    struct lk_weight w = {0};
    void *copy = NULL;
    b->status = lk_bind_vector(b->gguf, name, 1, n, &w, &copy, b->err);
    lk_build_mark(b, name);
    if (!b->status) {
        memcpy(to, w.data, (size_t)n * sizeof *to);
    }
    lk_free(copy);
}

/* Taps of a convolution [n][taps] as [taps][n], which a copy holds; behind them the bias of that
 * name, or none if it is NULL. */
static int conv_taps(struct lk_builder *b, const char *name, const char *bias, int n, int taps)
{
    int index = lk_build_vectors(b, name, n, taps);
    size_t all = (size_t)n * (size_t)(taps + (bias ? 1 : 0));
    float *copy = b->status ? NULL : lk_alloc_array(all, sizeof *copy);
    if (!copy) {
        b->status = b->status ? b->status
                              : lk_fail(b->err, LK_E_NOMEM, "%s: out of memory for tensor '%s'",
                                        lk_gguf_path(b->gguf), name);
        return index;
    }
    struct lk_weight *w = &b->plan->weights[index];
    const float *from = w->data;
    for (int c = 0; c < n; c++) {
        for (int k = 0; k < taps; k++) {
            copy[(size_t)k * (size_t)n + (size_t)c] = from[(size_t)c * (size_t)taps + (size_t)k];
        }
    }
    w->data = copy;
    w->cols = (int64_t)all;
    w->n_bytes = all * sizeof *copy;
    w->mapped = false;
    lk_build_own(b, copy);
    if (bias) {
        copy_bias(b, bias, n, copy + (size_t)n * (size_t)taps);
    }
    return index;
}

/* The short convolution of rows that are `n` wide; "PART.weight" has its taps, and "PART.bias",
 * where it is there, a bias. */
static int conv(struct lk_builder *b, int layer, int in, int n, const char *part, int taps,
                bool silu)
{
    char name[96], bias[96];
    snprintf(name, sizeof name, "blk.%d.%s.weight", layer, part);
    snprintf(bias, sizeof bias, "blk.%d.%s.bias", layer, part);
    bool biased = lk_build_has(b, bias);
    int w = conv_taps(b, name, biased ? bias : NULL, n, taps);
    int state = lk_build_state(b, (struct lk_state){.kind = LK_STATE_RECURRENT,
                                                    .layer = layer,
                                                    .rows = taps - 1,
                                                    .dim = n,
                                                    .bits = 32});
    int out = lk_build_slot(b, n, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_CONV, layer, in, -1, out, w);
    op->u.conv.state = state;
    op->u.conv.taps = taps;
    op->u.conv.bias = biased;
    op->u.conv.silu = silu;
    return out;
}

/* Weights of decays, of which none may make a state grow: a vector, or a column. */
static int decays(struct lk_builder *b, const char *name, int n, bool column)
{
    int index = column ? lk_build_vectors(b, name, n, 1) : lk_build_vector(b, name, n);
    const float *w = b->status ? NULL : b->plan->weights[index].data;
    for (int i = 0; i < n && !b->status; i++) {
        if (!(w[i] >= -1e6f && w[i] <= 0.0f)) {
            b->status =
                lk_fail(b->err, LK_E_FORMAT, "%s: tensor '%s' element %d is %g, expected -1e6 to 0",
                        lk_gguf_path(b->gguf), name, i, (double)w[i]);
        }
    }
    return index;
}

/* What the states of the heads keep, and how much of the new they take. */
static int delta_gates(struct lk_builder *b, int layer, int n)
{
    int n_head = b->h.delta.n_head;
    char name[96];
    int a, beta;
    if (b->h.arch->delta_groups) {
        int n_k = b->h.delta.n_k_head, each = n_head / n_k;
        int w =
            lk_build_matrix(b, lk_build_blk(name, layer, "ssm_ba.weight"), 2 * n_head, b->h.n_embd);
        int both = lk_build_matmul(b, layer, n, w);
        beta = lk_build_pick(b, layer, both, n_k, each, 2 * each, 0);
        a = lk_build_pick(b, layer, both, n_k, each, 2 * each, each);
    } else {
        a = lk_build_matmul(b, layer, n,
                            lk_build_matrix(b, lk_build_blk(name, layer, "ssm_alpha.weight"),
                                            n_head, b->h.n_embd));
        beta = lk_build_matmul(b, layer, n,
                               lk_build_matrix(b, lk_build_blk(name, layer, "ssm_beta.weight"),
                                               n_head, b->h.n_embd));
    }
    a = lk_build_bias(b, layer, a, lk_build_blk(name, layer, "ssm_dt.bias"), true);
    int w = decays(b, lk_build_blk(name, layer, "ssm_a"), n_head, false);
    int out = lk_build_slot(b, 2 * n_head, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_DELTA_GATES, layer, a, beta, out, w);
    return out;
}

/* Rows of q, k and v -> the heads' results. */
static int delta_rule(struct lk_builder *b, int layer, int qkv, int gates)
{
    const struct lk_delta *d = &b->h.delta;
    int width = (2 * d->n_k_head * d->k_dim + d->n_head * d->v_dim);
    int x = lk_build_slot(b, width, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_L2_NORM, layer, qkv, -1, x, -1);
    op->u.l2_norm.group = d->k_dim;
    op->u.l2_norm.n_groups = 2 * d->n_k_head;
    op->u.l2_norm.eps = b->h.eps;
    int state = lk_build_state(b, (struct lk_state){.kind = LK_STATE_RECURRENT,
                                                    .layer = layer,
                                                    .rows = d->n_head * d->k_dim,
                                                    .dim = d->v_dim,
                                                    .bits = 32});
    int out = lk_build_slot(b, d->n_head * d->v_dim, LK_ROWS_TOKENS);
    op = lk_build_op(b, LK_OP_DELTA, layer, x, gates, out, -1);
    op->u.delta.state = state;
    op->u.delta.n_head = d->n_head;
    op->u.delta.n_k_head = d->n_k_head;
    op->u.delta.beside = b->h.arch->delta_groups;
    op->u.delta.k_dim = d->k_dim;
    op->u.delta.v_dim = d->v_dim;
    op->u.delta.scale = (float)(1.0 / lk_sqrt_f64(d->k_dim));
    return out;
}

int lk_build_delta(struct lk_builder *b, int layer, int n)
{
    const struct lk_delta *d = &b->h.delta;
    int n_embd = b->h.n_embd, nv = d->n_head * d->v_dim, all = 2 * d->n_k_head * d->k_dim + nv;
    char name[96];
    int qkv = lk_build_matmul(b, layer, n,
                              lk_build_matrix(b, lk_build_blk(name, layer, "attn_qkv.weight"), all,
                                              n_embd));
    int z = lk_build_matmul(b, layer, n,
                            lk_build_matrix(b, lk_build_blk(name, layer, "attn_gate.weight"), nv,
                                            n_embd));
    int gates = delta_gates(b, layer, n);
    int x = conv(b, layer, qkv, all, "ssm_conv1d", d->taps, true);
    int y = delta_rule(b, layer, x, gates);
    y = lk_build_norm(b, layer, y, nv, d->v_dim, lk_build_blk(name, layer, "ssm_norm.weight"));
    y = lk_build_glu(b, layer, LK_ACT_SILU, z, y, nv, LK_ROWS_TOKENS);
    return lk_build_matmul(b, layer, y,
                           lk_build_matrix(b, lk_build_blk(name, layer, "ssm_out.weight"), n_embd,
                                           nv));
}

int lk_build_short_conv(struct lk_builder *b, int layer, int n)
{
    int e = b->h.n_embd, part[3]; /* two gates, then what is convolved */
    char name[96];
    int in =
        lk_build_matmul(b, layer, n,
                        lk_build_matrix(b, lk_build_blk(name, layer, "shortconv.in_proj.weight"),
                                        3 * e, e));
    for (int i = 0; i < 3; i++) {
        part[i] = lk_build_pick(b, layer, in, 1, e, 3 * e, i * e);
    }
    int x = lk_build_glu(b, layer, LK_ACT_NONE, part[0], part[2], e, LK_ROWS_TOKENS);
    x = conv(b, layer, x, e, "shortconv.conv", b->h.conv_taps, false);
    x = lk_build_glu(b, layer, LK_ACT_NONE, part[1], x, e, LK_ROWS_TOKENS);
    return lk_build_matmul(b, layer, x,
                           lk_build_matrix(b,
                                           lk_build_blk(name, layer, "shortconv.out_proj.weight"),
                                           e, e));
}

/* Rows of x, B and C, and those that the steps of the heads are made of -> the heads' results. */
static int selective_update(struct lk_builder *b, int layer, int x, int step)
{
    const struct lk_ssm *s = &b->h.ssm;
    char name[96];
    step = lk_build_bias(b, layer, step, lk_build_blk(name, layer, "ssm_dt.bias"), true);
    int w = decays(b, lk_build_blk(name, layer, "ssm_a"), s->n_head, true);
    int gates = lk_build_slot(b, 2 * s->n_head, LK_ROWS_TOKENS);
    lk_build_op(b, LK_OP_DELTA_GATES, layer, step, -1, gates, w);
    int width = s->n_head * s->dim + 2 * s->n_group * s->rows;
    x = conv(b, layer, x, width, "ssm_conv1d", s->taps, true);
    w = lk_build_vectors(b, lk_build_blk(name, layer, "ssm_d"), s->n_head, 1);
    int state = lk_build_state(b, (struct lk_state){.kind = LK_STATE_RECURRENT,
                                                    .layer = layer,
                                                    .rows = s->n_head * s->rows,
                                                    .dim = s->dim,
                                                    .bits = 32});
    int out = lk_build_slot(b, s->n_head * s->dim, LK_ROWS_TOKENS);
    struct lk_op *op = lk_build_op(b, LK_OP_SSM, layer, x, gates, out, w);
    op->u.ssm.state = state;
    op->u.ssm.n_head = s->n_head;
    op->u.ssm.n_group = s->n_group;
    op->u.ssm.rows = s->rows;
    op->u.ssm.dim = s->dim;
    return out;
}

int lk_build_ssm(struct lk_builder *b, int layer, int n)
{
    const struct lk_ssm *s = &b->h.ssm;
    int inner = s->n_head * s->dim, xbc = inner + 2 * s->n_group * s->rows;
    int all = inner + xbc + s->n_head, e = b->h.n_embd, part[3]; /* a gate; x, B, C; steps */
    int first[] = {0, inner, inner + xbc, all};
    char name[96];
    for (int i = 0; i < 3; i++) {
        int w = lk_build_matrix_rows(b, lk_build_blk(name, layer, "ssm_in.weight"), all, first[i],
                                     first[i + 1] - first[i], e);
        part[i] = lk_build_matmul(b, layer, n, w);
    }
    int y = selective_update(b, layer, part[1], part[2]);
    y = lk_build_glu(b, layer, LK_ACT_SILU, part[0], y, inner, LK_ROWS_TOKENS);
    int w = lk_build_vectors(b, lk_build_blk(name, layer, "ssm_norm.weight"), s->n_group,
                             inner / s->n_group);
    y = lk_build_norm_by(b, layer, y, inner, inner / s->n_group, w);
    return lk_build_matmul(b, layer, y,
                           lk_build_matrix(b, lk_build_blk(name, layer, "ssm_out.weight"), e,
                                           inner));
}

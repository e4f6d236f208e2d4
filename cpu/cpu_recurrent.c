/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_recurrent: ops of layers with a state, as threads share them out: a column of a state, or of
 * a convolution, is one thread's, which walks the tokens of its sequence in order.
 */
#include <string.h>

#include "cpu/cpu_exec.h"
#include "cpu/scalar.h"

enum { COLUMNS = 32 }; /* of a state, in a unit of work */

bool lk_cpu_recurrent_row(const struct lk_exec *e, const struct lk_op *op, int thread, int row)
{
    const struct lk_plan *plan = e->o.plan;
    size_t width = (size_t)plan->slots[op->out].width, wide = (size_t)plan->slots[op->in[0]].width;
    const float *x = lk_cpu_slot(e, thread, op->in[0]) + (size_t)row * wide;
    float *y = lk_cpu_slot(e, thread, op->out) + (size_t)row * width;
    if (op->kind == LK_OP_PICK) {
        size_t n = (size_t)op->u.pick.width;
        for (size_t i = 0; i < width / n; i++) {
            memcpy(y + i * n, x + i * (size_t)op->u.pick.stride + (size_t)op->u.pick.at,
                   n * sizeof *y);
        }
        return true;
    }
    if (op->kind == LK_OP_JOIN) {
        size_t a = (size_t)op->u.join.width[0], b = (size_t)op->u.join.width[1];
        const float *x1 =
            lk_cpu_slot(e, thread, op->in[1]) + (size_t)row * (size_t)plan->slots[op->in[1]].width;
        for (size_t i = 0; i < width / (a + b); i++, y += a + b) {
            memcpy(y, x + i * a, a * sizeof *y);
            memcpy(y + a, x1 + i * b, b * sizeof *y);
        }
        return true;
    }
    if (op->kind == LK_OP_L2_NORM) {
        return e->backend->vec->l2_norm(x, (int)width, op->u.l2_norm.group, op->u.l2_norm.n_groups,
                                        op->u.l2_norm.eps, y);
    }
    const float *b = op->n_in > 1 ? lk_cpu_slot(e, thread, op->in[1]) + (size_t)row * wide : NULL;
    return lk_scalar_delta_gates(x, b, plan->weights[op->weight].data, (int)wide, y);
}

bool lk_cpu_conv(const struct lk_exec *e, const struct lk_op *op, int thread, int first, int last)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_batch *b = e->batch;
    const struct lk_state *st = &plan->states[op->u.conv.state];
    const float *w = (const float *)plan->weights[op->weight].data + first;
    size_t width = (size_t)st->dim;
    int taps = op->u.conv.taps;
    const float *bias = op->u.conv.bias ? w + (size_t)taps * width : NULL;
    bool ok = true;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        const float *in = lk_cpu_slot(e, thread, op->in[0]) + (size_t)q->first * width;
        float *out = lk_cpu_slot(e, thread, op->out) + (size_t)q->first * width + first;
        float *state = (float *)lk_host_state_at(e->states, op->u.conv.state) +
                       (size_t)q->slot * (size_t)st->rows * width;
        for (int i = 0; i < q->n_tokens; i++) {
            const float *x[LK_MAX_TAPS];
            for (int k = 0; k < taps; k++) {
                x[k] = lk_conv_row(state, in, width, taps, i, k) + first;
            }
            ok &= e->backend->vec->conv(x, w, width, taps, bias, last - first, op->u.conv.silu,
                                        out + (size_t)i * width);
        }
        lk_conv_keep(state, in, width, taps, q->n_tokens, (size_t)first, (size_t)last);
    }
    return ok;
}

/* Columns [from, to) of a head of a sequence, all its tokens. */
static bool walk_delta(const struct lk_exec *e, const struct lk_op *op, int thread,
                       const struct lk_batch_seq *q, size_t h, size_t from, size_t to)
{
    size_t n_head = (size_t)op->u.delta.n_head, n_k = (size_t)op->u.delta.n_k_head;
    size_t kd = (size_t)op->u.delta.k_dim, vd = (size_t)op->u.delta.v_dim;
    size_t width = (size_t)e->o.plan->slots[op->in[0]].width;
    size_t k_head = (size_t)lk_delta_k_head(op, (int)h);
    float *s = (float *)lk_host_state_at(e->states, op->u.delta.state) +
               ((size_t)q->slot * n_head + h) * kd * vd + from;
    bool ok = true;
    for (int i = 0; i < q->n_tokens; i++) {
        size_t t = (size_t)(q->first + i);
        const float *row = lk_cpu_slot(e, thread, op->in[0]) + t * width;
        const float *gates = lk_cpu_slot(e, thread, op->in[1]) + t * 2 * n_head;
        struct lk_delta_token d = {.k_dim = (int)kd,
                                   .stride = (int)vd,
                                   .q = row + k_head * kd,
                                   .k = row + (n_k + k_head) * kd,
                                   .keep = gates[h],
                                   .take = gates[n_head + h],
                                   .scale = op->u.delta.scale};
        ok &=
            e->backend->vec->delta(&d, row + 2 * n_k * kd + h * vd + from, (int)(to - from), s,
                                   lk_cpu_slot(e, thread, op->out) + (t * n_head + h) * vd + from);
    }
    return ok;
}

static bool walk_ssm(const struct lk_exec *e, const struct lk_op *op, int thread,
                     const struct lk_batch_seq *q, size_t h, size_t from, size_t to)
{
    size_t n_head = (size_t)op->u.ssm.n_head, n_group = (size_t)op->u.ssm.n_group;
    size_t rows = (size_t)op->u.ssm.rows, dim = (size_t)op->u.ssm.dim;
    size_t width = (size_t)e->o.plan->slots[op->in[0]].width, group = h / (n_head / n_group);
    const float *skip = e->o.plan->weights[op->weight].data;
    float *s = (float *)lk_host_state_at(e->states, op->u.ssm.state) +
               ((size_t)q->slot * n_head + h) * rows * dim + from;
    bool ok = true;
    for (int i = 0; i < q->n_tokens; i++) {
        size_t t = (size_t)(q->first + i);
        const float *row = lk_cpu_slot(e, thread, op->in[0]) + t * width;
        const float *gates = lk_cpu_slot(e, thread, op->in[1]) + t * 2 * n_head;
        struct lk_ssm_token token = {.rows = (int)rows,
                                     .stride = (int)dim,
                                     .b = row + n_head * dim + group * rows,
                                     .c = row + n_head * dim + (n_group + group) * rows,
                                     .keep = gates[h],
                                     .take = gates[n_head + h],
                                     .skip = skip[h]};
        ok &= e->backend->vec->ssm(&token, row + h * dim + from, (int)(to - from), s,
                                   lk_cpu_slot(e, thread, op->out) + (t * n_head + h) * dim + from);
    }
    return ok;
}

bool lk_cpu_scan(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads)
{
    const struct lk_batch *b = e->batch;
    bool delta = op->kind == LK_OP_DELTA;
    int dim = delta ? op->u.delta.v_dim : op->u.ssm.dim, parts = (dim + COLUMNS - 1) / COLUMNS;
    int n_head = delta ? op->u.delta.n_head : op->u.ssm.n_head, n = b->n_seqs * n_head * parts;
    bool ok = true;
    for (int u = lk_share(n, thread, n_threads); u < lk_share(n, thread + 1, n_threads); u++) {
        int from = u % parts * COLUMNS, to = from + COLUMNS < dim ? from + COLUMNS : dim;
        const struct lk_batch_seq *q = &b->seqs[u / parts / n_head];
        size_t h = (size_t)(u / parts % n_head);
        ok &= delta ? walk_delta(e, op, thread, q, h, (size_t)from, (size_t)to)
                    : walk_ssm(e, op, thread, q, h, (size_t)from, (size_t)to);
    }
    return ok;
}

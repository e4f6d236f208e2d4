/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref_recurrent: layers with a state in double; see ref_ops.h.
 */
#include <math.h>
#include <string.h>

#include "ref/ref_ops.h"

void lk_ref_conv(const struct lk_op *op, const float *w, const double *x, size_t width,
                 double *state, double *y)
{
    size_t old = (size_t)op->u.conv.taps - 1;
    for (size_t c = 0; c < width; c++) {
        double sum = (double)w[old * width + c] * x[c];
        for (size_t k = 0; k < old; k++) {
            sum += (double)w[k * width + c] * state[k * width + c];
        }
        sum += op->u.conv.bias ? (double)w[(old + 1) * width + c] : 0;
        y[c] = op->u.conv.silu ? sum / (1 + exp(-sum)) : sum;
    }
    memmove(state, state + width, (old - 1) * width * sizeof *state);
    memcpy(state + (old - 1) * width, x, width * sizeof *state);
}

void lk_ref_l2_norm(const struct lk_op *op, const double *x, size_t width, double *y)
{
    size_t group = (size_t)op->u.l2_norm.group, end = group * (size_t)op->u.l2_norm.n_groups;
    for (size_t base = 0; base < end; base += group) {
        double sum = (double)op->u.l2_norm.eps;
        for (size_t i = base; i < base + group; i++) {
            sum += x[i] * x[i];
        }
        for (size_t i = base; i < base + group; i++) {
            y[i] = x[i] / sqrt(sum);
        }
    }
    memcpy(y + end, x + end, (width - end) * sizeof *y);
}

void lk_ref_delta_gates(const double *a, const double *b, const float *w, size_t n, double *y)
{
    for (size_t h = 0; h < n; h++) {
        double softplus = fmax(a[h], 0) + log1p(exp(-fabs(a[h])));
        y[h] = exp(softplus * (double)w[h]);
        y[n + h] = b ? 1 / (1 + exp(-b[h])) : softplus;
    }
}

/* A column of a head's state. */
static double column(const struct lk_op *op, const double *q, const double *k, double v,
                     double keep, double take, double *s)
{
    size_t kd = (size_t)op->u.delta.k_dim, vd = (size_t)op->u.delta.v_dim;
    double had = 0, out = 0;
    for (size_t i = 0; i < kd; i++) {
        s[i * vd] *= keep;
        had += s[i * vd] * k[i];
    }
    for (size_t i = 0; i < kd; i++) {
        s[i * vd] += k[i] * (v - had) * take;
        out += s[i * vd] * q[i];
    }
    return out / sqrt((double)kd);
}

void lk_ref_delta(const struct lk_op *op, const double *x, const double *gates, double *state,
                  double *y)
{
    size_t kd = (size_t)op->u.delta.k_dim, vd = (size_t)op->u.delta.v_dim;
    size_t n_head = (size_t)op->u.delta.n_head, n_k = (size_t)op->u.delta.n_k_head;
    const double *v = x + 2 * n_k * kd;
    for (size_t h = 0; h < n_head; h++) {
        const double *q = x + (size_t)lk_delta_k_head(op, (int)h) * kd, *k = q + n_k * kd;
        for (size_t j = 0; j < vd; j++) {
            y[h * vd + j] = column(op, q, k, v[h * vd + j], gates[h], gates[n_head + h],
                                   state + h * kd * vd + j);
        }
    }
}

void lk_ref_ssm(const struct lk_op *op, const float *skip, const double *x, const double *gates,
                double *state, double *y)
{
    size_t n_head = (size_t)op->u.ssm.n_head, n_group = (size_t)op->u.ssm.n_group;
    size_t n = (size_t)op->u.ssm.rows, dim = (size_t)op->u.ssm.dim;
    for (size_t h = 0; h < n_head; h++) {
        const double *b = x + n_head * dim + h / (n_head / n_group) * n, *c = b + n_group * n;
        for (size_t j = 0; j < dim; j++) {
            size_t at = h * dim + j;
            y[at] = (double)skip[h] * x[at];
            for (size_t i = 0; i < n; i++) {
                double *s = &state[(h * n + i) * dim + j];
                *s = *s * gates[h] + b[i] * x[at] * gates[n_head + h];
                y[at] += *s * c[i];
            }
        }
    }
}

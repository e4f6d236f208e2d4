/* SPDX-License-Identifier: Apache-2.0
 *
 * Ref_ops: ops of the reference that are functions of rows alone. Knows no batch and no states'
 * memory.
 */
#ifndef LK_REF_OPS_H
#define LK_REF_OPS_H

#include "plan/op.h"

/* s[n] -> numbers of the chosen experts, then their weights (rule 10); vector: the bias of choice,
 * or factors of the experts. */
void lk_ref_route(const struct lk_op *op, const double *s, int n, const float *vector, double *out);

/* Rule 12. A row of a convolution over what its state holds [taps - 1][width], which it becomes the
 * last row of. */
void lk_ref_conv(const struct lk_op *op, const float *w, const double *x, size_t width,
                 double *state, double *y);
void lk_ref_l2_norm(const struct lk_op *op, const double *x, size_t width, double *y);
/* a[n], b[n] (or NULL) -> y[2 n]. */
void lk_ref_delta_gates(const double *a, const double *b, const float *w, size_t n, double *y);
/* A token: x = q, k, v of all heads; state: [n_head][k_dim][v_dim]. */
void lk_ref_delta(const struct lk_op *op, const double *x, const double *gates, double *state,
                  double *y);
/* The same of x, B, C; skip: [n_head], state: [n_head][rows][dim]. */
void lk_ref_ssm(const struct lk_op *op, const float *skip, const double *x, const double *gates,
                double *state, double *y);

#endif

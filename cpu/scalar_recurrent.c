/* SPDX-License-Identifier: Apache-2.0
 *
 * Scalar_recurrent: rule 12 of docs/NUMERICS.md, layers with a state: a short convolution, lengths,
 * gates, the gated delta rule, the selective state update. Knows no backend and no batch.
 */
#include <string.h>

#include "base/numerics.h"
#include "cpu/scalar.h"

static bool store(float x, float *y)
{
    *y = lk_flush(x);
    return !lk_out_of_range(x);
}

/* ---- convolution ---- */

bool lk_scalar_conv(const float *const *x, const float *w, size_t stride, int taps, const float *b,
                    int n, bool silu, float *y)
{
    bool ok = true;
    for (int c = 0; c < n; c++) {
        float sum = 0.0f;
        for (int k = 0; k < taps; k++) {
            float p = lk_flush(w[(size_t)k * stride + (size_t)c]) * x[k][c];
            sum = sum + p;
        }
        if (b) {
            sum = sum + lk_flush(b[c]);
        }
        ok &= store(sum, &y[c]);
        if (silu) {
            ok &= store(lk_silu(y[c]), &y[c]);
        }
    }
    return ok;
}

const float *lk_conv_row(const float *state, const float *in, size_t width, int taps, int i,
                         int tap)
{
    int row = i - (taps - 1) + tap;
    return row < 0 ? state + (size_t)(row + taps - 1) * width : in + (size_t)row * width;
}

void lk_conv_keep(float *state, const float *in, size_t width, int taps, int n, size_t from,
                  size_t to)
{
    for (int r = 0; r < taps - 1; r++) { /* what it reads of the state lies behind what it wrote */
        memmove(state + (size_t)r * width + from, lk_conv_row(state, in, width, taps, n, r) + from,
                (to - from) * sizeof *state);
    }
}

/* ---- lengths ---- */

/* The sum of squares by the chains of rule 7. */
static float squares(const float *x, int n)
{
    float s[256] = {0};
    for (int i = 0; i < n; i++) {
        float p = x[i] * x[i];
        s[i % 256] = s[i % 256] + p;
    }
    for (int h = 128; h >= 1; h /= 2) {
        for (int t = 0; t < h; t++) {
            s[t] = s[t] + s[t + h];
        }
    }
    return s[0];
}

bool lk_scalar_l2_norm(const float *x, int n, int group, int n_groups, float eps, float *y)
{
    bool ok = true;
    for (int g = 0; g < n_groups; g++, x += group, y += group) {
        float sum = squares(x, group);
        sum = sum + eps;
        float r = lk_rsqrt(sum);
        for (int i = 0; i < group; i++) {
            ok &= store(x[i] * r, &y[i]);
        }
    }
    memcpy(y, x, (size_t)(n - n_groups * group) * sizeof *y);
    return ok;
}

/* ---- the gated delta rule ---- */

bool lk_scalar_delta_gates(const float *a, const float *b, const float *w, int n, float *y)
{
    bool ok = true;
    for (int h = 0; h < n; h++) {
        float softplus = lk_flush(lk_softplus(a[h]));
        float g = softplus * lk_flush(w[h]);
        ok &= store(g, &g);
        ok &= store(lk_exp(g), &y[h]);
        ok &= store(b ? lk_sigmoid(b[h]) : softplus, &y[n + h]);
    }
    return ok;
}

/* The chains of a column of products, folded by halves. */
static float fold(float s[LK_DELTA_CHAINS])
{
    for (int h = LK_DELTA_CHAINS / 2; h >= 1; h /= 2) {
        for (int t = 0; t < h; t++) {
            s[t] = s[t] + s[t + h];
        }
    }
    return s[0];
}

bool lk_scalar_delta(const struct lk_delta_token *t, const float *v, int n, float *s, float *o)
{
    bool ok = true;
    for (int j = 0; j < n; j++) {
        float had[LK_DELTA_CHAINS] = {0}, out[LK_DELTA_CHAINS] = {0};
        for (int i = 0; i < t->k_dim; i++) {
            float p = s[i * t->stride + j] * t->k[i];
            had[i % LK_DELTA_CHAINS] = had[i % LK_DELTA_CHAINS] + p;
        }
        float delta = fold(had) * t->keep;
        delta = v[j] - delta;
        ok &= store(delta * t->take, &delta);
        for (int i = 0; i < t->k_dim; i++) {
            float *cell = &s[i * t->stride + j];
            float kept = *cell * t->keep, more = t->k[i] * delta;
            ok &= store(kept + more, cell);
            more = *cell * t->q[i];
            out[i % LK_DELTA_CHAINS] = out[i % LK_DELTA_CHAINS] + more;
        }
        ok &= store(fold(out) * t->scale, &o[j]);
    }
    return ok;
}

/* ---- the selective state update ---- */

bool lk_scalar_ssm(const struct lk_ssm_token *t, const float *x, int n, float *s, float *y)
{
    bool ok = true;
    for (int j = 0; j < n; j++) {
        float sum[LK_DELTA_CHAINS] = {0}, u;
        ok &= store(x[j] * t->take, &u);
        for (int i = 0; i < t->rows; i++) {
            float *cell = &s[i * t->stride + j];
            float kept = *cell * t->keep, more = t->b[i] * u;
            ok &= store(kept + more, cell);
            more = *cell * t->c[i];
            sum[i % LK_DELTA_CHAINS] = sum[i % LK_DELTA_CHAINS] + more;
        }
        float skip = lk_flush(t->skip) * x[j];
        ok &= store(fold(sum) + skip, &y[j]);
    }
    return ok;
}

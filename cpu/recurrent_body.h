/* SPDX-License-Identifier: Apache-2.0
 *
 * Recurrent_body: the kernels of layers with a state (rule 12), in the words of a simd_*.h; comes
 * after cpu/vec_body.h. A lane is a column of the state, or of the convolution; what is left of a
 * row is done by cpu/scalar_recurrent.c.
 */
#include "cpu/scalar.h"

static bool vec_conv(const float *const *x, const float *w, size_t stride, int taps, const float *b,
                     int n, bool silu, float *y)
{
    sv_mask bad = sv_mask_none();
    int whole = n / SV_LANES * SV_LANES;
    for (int c = 0; c < whole; c += SV_LANES) {
        sv_f sum = sv_zero();
        for (int k = 0; k < taps; k++) {
            sv_f p = sv_mul(sv_flush(sv_load(w + (size_t)k * stride + c)), sv_load(x[k] + c));
            sum = sv_add(sum, p);
        }
        if (b) {
            sum = sv_add(sum, sv_flush(sv_load(b + c)));
        }
        bad = sv_mask_or(bad, sv_out_of_range(sum));
        sum = sv_flush(sum);
        if (silu) {
            sum = sv_silu(sum);
            bad = sv_mask_or(bad, sv_out_of_range(sum));
            sum = sv_flush(sum);
        }
        sv_store(y + c, sum);
    }
    const float *rest[LK_MAX_TAPS];
    for (int k = 0; k < taps; k++) {
        rest[k] = x[k] + whole;
    }
    return lk_scalar_conv(rest, w + whole, stride, taps, b ? b + whole : NULL, n - whole, silu,
                          y + whole) &&
           !sv_any(bad);
}

static bool vec_l2_norm(const float *x, int n, int group, int n_groups, float eps, float *y)
{
    sv_mask bad = sv_mask_none();
    bool ok = true;
    int whole = group / SV_LANES * SV_LANES;
    for (int g = 0; g < n_groups; g++, x += group, y += group) {
        float sum = squares(x, group) + eps;
        float r = lk_rsqrt(sum);
        for (int i = 0; i < whole; i += SV_LANES) {
            sv_f v = sv_mul(sv_load(x + i), sv_set(r));
            bad = sv_mask_or(bad, sv_out_of_range(v));
            sv_store(y + i, sv_flush(v));
        }
        for (int i = whole; i < group; i++) {
            float v = x[i] * r;
            ok &= !lk_out_of_range(v);
            y[i] = lk_flush(v);
        }
    }
    memcpy(y, x, (size_t)(n - n_groups * group) * sizeof *y);
    return ok && !sv_any(bad);
}

/* The chains of lanes, folded by halves. */
static inline sv_f fold_chains(sv_f s[LK_DELTA_CHAINS])
{
    for (int h = LK_DELTA_CHAINS / 2; h >= 1; h /= 2) {
        for (int c = 0; c < h; c++) {
            s[c] = sv_add(s[c], s[c + h]);
        }
    }
    return s[0];
}

/* Lanes of a row of a state: what is kept of it, plus a times `add`, stored and returned. */
static inline sv_f keep_and_add(float *cell, sv_f keep, float a, sv_f add, sv_i *most)
{
    sv_f x = sv_mul(sv_load(cell), keep);
    x = sv_add(x, sv_mul(sv_set(a), add));
    sv_i magnitude = sv_magnitude(x);
    *most = sv_imax(*most, magnitude);
    x = sv_drop(sv_gt(sv_iset(LK_MIN_BITS), magnitude), x);
    sv_store(cell, x);
    return x;
}

/* SV_LANES columns; the largest magnitudes of what is stored go into *most. */
static inline void delta_lanes(const struct lk_delta_token *t, const float *v, float *s, float *o,
                               sv_i *most)
{
    size_t stride = (size_t)t->stride;
    sv_f had[LK_DELTA_CHAINS], out[LK_DELTA_CHAINS], keep = sv_set(t->keep);
    for (int c = 0; c < LK_DELTA_CHAINS; c++) {
        had[c] = out[c] = sv_zero();
    }
    for (int i = 0; i < t->k_dim; i += LK_DELTA_CHAINS) {
        for (int c = 0; c < LK_DELTA_CHAINS; c++) {
            sv_f p = sv_mul(sv_load(s + (size_t)(i + c) * stride), sv_set(t->k[i + c]));
            had[c] = sv_add(had[c], p);
        }
    }
    sv_f delta = sv_sub(sv_load(v), sv_mul(fold_chains(had), keep));
    delta = sv_mul(delta, sv_set(t->take));
    sv_i worst = sv_imax(*most, sv_magnitude(delta));
    delta = sv_flush(delta);
    for (int i = 0; i < t->k_dim; i += LK_DELTA_CHAINS) {
        for (int c = 0; c < LK_DELTA_CHAINS; c++) {
            sv_f x = keep_and_add(s + (size_t)(i + c) * stride, keep, t->k[i + c], delta, &worst);
            out[c] = sv_add(out[c], sv_mul(x, sv_set(t->q[i + c])));
        }
    }
    sv_f y = sv_mul(fold_chains(out), sv_set(t->scale));
    *most = sv_imax(worst, sv_magnitude(y));
    sv_store(o, sv_flush(y));
}

static bool vec_delta(const struct lk_delta_token *t, const float *v, int n, float *s, float *o)
{
    sv_i most = sv_iset(0u);
    int j = 0;
    for (; j + SV_LANES <= n; j += SV_LANES) {
        delta_lanes(t, v + j, s + j, o + j, &most);
    }
    bool bad = sv_any(sv_gt(most, sv_iset(LK_MAX_BITS - 1u)));
    return lk_scalar_delta(t, v + j, n - j, s + j, o + j) && !bad;
}

/* SV_LANES columns of the selective state update. */
static inline void ssm_lanes(const struct lk_ssm_token *t, const float *x, float *s, float *y,
                             sv_i *most)
{
    size_t stride = (size_t)t->stride;
    sv_f sum[LK_DELTA_CHAINS], keep = sv_set(t->keep), in = sv_load(x);
    for (int c = 0; c < LK_DELTA_CHAINS; c++) {
        sum[c] = sv_zero();
    }
    sv_f u = sv_mul(in, sv_set(t->take));
    sv_i worst = sv_imax(*most, sv_magnitude(u));
    u = sv_flush(u);
    for (int i = 0; i < t->rows; i += LK_DELTA_CHAINS) {
        for (int c = 0; c < LK_DELTA_CHAINS; c++) {
            sv_f v = keep_and_add(s + (size_t)(i + c) * stride, keep, t->b[i + c], u, &worst);
            sum[c] = sv_add(sum[c], sv_mul(v, sv_set(t->c[i + c])));
        }
    }
    sv_f skip = sv_mul(sv_set(lk_flush(t->skip)), in);
    sv_f out = sv_add(fold_chains(sum), skip);
    *most = sv_imax(worst, sv_magnitude(out));
    sv_store(y, sv_flush(out));
}

static bool vec_ssm(const struct lk_ssm_token *t, const float *x, int n, float *s, float *y)
{
    sv_i most = sv_iset(0u);
    int j = 0;
    for (; j + SV_LANES <= n; j += SV_LANES) {
        ssm_lanes(t, x + j, s + j, y + j, &most);
    }
    bool bad = sv_any(sv_gt(most, sv_iset(LK_MAX_BITS - 1u)));
    return lk_scalar_ssm(t, x + j, n - j, s + j, y + j) && !bad;
}

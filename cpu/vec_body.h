/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_body: the vector kernels in the words of a simd_*.h, which the including file chose. Each
 * lane does what cpu/scalar.c does for an element; tails are done by the same code on a padded
 * copy, so there is one text of every formula.
 */
#include "cpu/vec.h"
#include "cpu/vec_words.h"

/* ---- row ops ---- */

/* Runs fn over n elements of up to two inputs, lanes at a time; the tail on padded copies. */
typedef sv_f (*sv_op2)(sv_f a, sv_f b);

static inline bool map2(sv_op2 fn, const float *a, const float *b, int n, float *y)
{
    sv_mask bad = sv_mask_none();
    int i = 0;
    for (; i + SV_LANES <= n; i += SV_LANES) {
        sv_f r = fn(sv_load(a + i), sv_load(b + i));
        bad = sv_mask_or(bad, sv_out_of_range(r));
        sv_store(y + i, sv_flush(r));
    }
    if (i < n) {
        float ta[SV_LANES] = {0}, tb[SV_LANES] = {0}, ty[SV_LANES];
        memcpy(ta, a + i, (size_t)(n - i) * sizeof *a);
        memcpy(tb, b + i, (size_t)(n - i) * sizeof *b);
        sv_f r = fn(sv_load(ta), sv_load(tb));
        bad = sv_mask_or(bad, sv_out_of_range(r));
        sv_store(ty, sv_flush(r));
        memcpy(y + i, ty, (size_t)(n - i) * sizeof *y);
    }
    return !sv_any(bad);
}

static inline sv_f bias_lanes(sv_f x, sv_f b)
{
    return sv_add(x, sv_flush(b));
}

static inline sv_f silu_lanes(sv_f g, sv_f u)
{
    return sv_mul(sv_silu(g), u);
}

static inline sv_f gelu_lanes(sv_f g, sv_f u)
{
    return sv_mul(sv_gelu(g), u);
}

static inline sv_f gelu_erf_lanes(sv_f x, sv_f same)
{
    (void)same;
    return sv_gelu_erf(x);
}

static inline sv_f sigmoid_lanes(sv_f g, sv_f u)
{
    return sv_mul(sv_sigmoid(g), u);
}

static inline sv_f relu_lanes(sv_f g, sv_f u)
{
    return sv_mul(sv_drop(sv_gt(sv_iset(0u), sv_bits(g)), g), u);
}

static bool vec_add(const float *a, const float *b, int n, float *y)
{
    return map2(sv_add, a, b, n, y);
}

static bool vec_bias(const float *x, const float *b, int n, float *y)
{
    return map2(bias_lanes, x, b, n, y);
}

static bool vec_combine(const float *x, const float *w, int k, int n, float *y)
{
    sv_mask bad = sv_mask_none();
    bool ok = true;
    int i = 0;
    for (; i + SV_LANES <= n; i += SV_LANES) {
        sv_f sum = sv_zero();
        for (int j = 0; j < k; j++) {
            sv_f p = sv_mul(sv_set(w[j]), sv_load(x + (size_t)j * (size_t)n + i));
            sum = sv_add(sum, p);
        }
        bad = sv_mask_or(bad, sv_out_of_range(sum));
        sv_store(y + i, sv_flush(sum));
    }
    for (; i < n; i++) {
        float sum = 0.0f;
        for (int j = 0; j < k; j++) {
            float p = w[j] * x[(size_t)j * (size_t)n + (size_t)i];
            sum = sum + p;
        }
        ok &= !lk_out_of_range(sum);
        y[i] = lk_flush(sum);
    }
    return ok && !sv_any(bad);
}

static bool vec_gelu(const float *x, int n, float *y)
{
    return map2(gelu_erf_lanes, x, x, n, y);
}

static bool vec_glu(enum lk_act act, const float *g, const float *u, int n, float *y)
{
    if (act == LK_ACT_CLAMPED) {
        bool ok = true;
        for (int i = 0; i < n; i++) {
            float r = lk_glu_clamped(g[i], u[i]);
            ok &= !lk_out_of_range(r);
            y[i] = lk_flush(r);
        }
        return ok;
    }
    return act == LK_ACT_SILU      ? map2(silu_lanes, g, u, n, y)
           : act == LK_ACT_GELU    ? map2(gelu_lanes, g, u, n, y)
           : act == LK_ACT_SIGMOID ? map2(sigmoid_lanes, g, u, n, y)
           : act == LK_ACT_RELU    ? map2(relu_lanes, g, u, n, y)
                                   : map2(sv_mul, g, u, n, y);
}

static bool vec_softcap(const float *x, int n, float cap_in, float cap_out, float *y)
{
    sv_mask bad = sv_mask_none();
    for (int i = 0; i < n; i += SV_LANES) {
        float t[SV_LANES] = {0};
        int m = n - i < SV_LANES ? n - i : SV_LANES;
        memcpy(t, x + i, (size_t)m * sizeof *t);
        sv_f r = sv_mul(sv_tanh(sv_mul(sv_load(t), sv_set(cap_in))), sv_set(cap_out));
        bad = sv_mask_or(bad, sv_out_of_range(r));
        sv_store(t, sv_flush(r));
        memcpy(y + i, t, (size_t)m * sizeof *t);
    }
    return !sv_any(bad);
}

static bool vec_scale(const float *x, int n, float factor, float *y)
{
    sv_mask bad = sv_mask_none();
    for (int i = 0; i < n; i += SV_LANES) {
        float t[SV_LANES] = {0};
        int m = n - i < SV_LANES ? n - i : SV_LANES;
        memcpy(t, x + i, (size_t)m * sizeof *t);
        sv_f r = sv_mul(sv_load(t), sv_set(factor));
        bad = sv_mask_or(bad, sv_out_of_range(r));
        sv_store(t, sv_flush(r));
        memcpy(y + i, t, (size_t)m * sizeof *t);
    }
    return !sv_any(bad);
}

/* The fold by halves of rule 7's chains, which live in memory, lanes at a time. */
static float fold(float s[256])
{
    int h = 128;
    for (; h >= SV_LANES; h /= 2) {
        for (int t = 0; t < h; t += SV_LANES) {
            sv_store(s + t, sv_add(sv_load(s + t), sv_load(s + t + h)));
        }
    }
    for (; h >= 1; h /= 2) {
        for (int t = 0; t < h; t++) {
            s[t] = s[t] + s[t + h];
        }
    }
    return s[0];
}

/* The sum of squares of n elements, in 256 chains (rule 7). */
static float squares(const float *x, int n)
{
    float s[256] = {0};
    int whole = n / SV_LANES * SV_LANES;
    for (int i = 0; i < whole; i += SV_LANES) {
        sv_f v = sv_load(x + i);
        float *at = s + i % 256;
        sv_store(at, sv_add(sv_load(at), sv_mul(v, v)));
    }
    for (int i = whole; i < n; i++) {
        float sq = x[i] * x[i];
        s[i % 256] = s[i % 256] + sq;
    }
    return fold(s);
}

static bool vec_norm(const float *x, const float *w, int n, int group, float eps, float *y)
{
    sv_mask bad = sv_mask_none();
    bool ok = true;
    float inv_n = (float)(1.0 / group);
    for (int base = 0; base < n; base += group) {
        const float *xg = x + base;
        int whole = group / SV_LANES * SV_LANES;
        float mean = squares(xg, group) * inv_n;
        mean = mean + eps;
        float r = lk_rsqrt(mean);
        for (int i = 0; i < whole; i += SV_LANES) {
            sv_f v = sv_mul(sv_mul(sv_load(xg + i), sv_set(r)), sv_flush(sv_load(w + i)));
            bad = sv_mask_or(bad, sv_out_of_range(v));
            sv_store(y + base + i, sv_flush(v));
        }
        for (int i = whole; i < group; i++) {
            float v = xg[i] * r;
            v = v * lk_flush(w[i]);
            ok &= !lk_out_of_range(v);
            y[base + i] = lk_flush(v);
        }
    }
    return ok && !sv_any(bad);
}

static bool vec_layer_norm(const float *x, const float *w, int n, int group, float eps, float *y)
{
    float inv_n = (float)(1.0 / group);
    int whole = group / SV_LANES * SV_LANES;
    for (int base = 0; base < n; base += group) {
        float s[256] = {0};
        for (int i = 0; i < whole; i += SV_LANES) {
            float *at = s + i % 256;
            sv_store(at, sv_add(sv_load(at), sv_load(x + base + i)));
        }
        for (int i = whole; i < group; i++) {
            s[i % 256] = s[i % 256] + x[base + i];
        }
        float mean = fold(s) * inv_n;
        for (int i = 0; i < whole; i += SV_LANES) {
            sv_store(y + base + i, sv_flush(sv_sub(sv_load(x + base + i), sv_set(mean))));
        }
        for (int i = whole; i < group; i++) {
            y[base + i] = lk_flush(x[base + i] - mean);
        }
    }
    return vec_norm(y, w, n, group, eps, y);
}

/* Halves apart are lanes as they lie; neighbouring pairs are done one by one. */
static bool vec_rope(const float *x, int n_head, int head_dim, int n_dims, bool interleaved,
                     const float *cs, float *y)
{
    sv_mask bad = sv_mask_none();
    bool ok = true;
    int half = n_dims / 2;
    float c[LK_MAX_HEAD_DIM / 2], s[LK_MAX_HEAD_DIM / 2];
    for (int i = 0; i < half; i++) {
        c[i] = cs[2 * i];
        s[i] = cs[2 * i + 1];
    }
    int whole = interleaved ? 0 : half / SV_LANES * SV_LANES;
    for (int h = 0; h < n_head; h++, x += head_dim, y += head_dim) {
        for (int i = 0; i < whole; i += SV_LANES) {
            sv_f x0 = sv_load(x + i), x1 = sv_load(x + i + half);
            sv_f vc = sv_load(c + i), vs = sv_load(s + i);
            sv_f a = sv_sub(sv_mul(x0, vc), sv_mul(x1, vs));
            sv_f b = sv_add(sv_mul(x0, vs), sv_mul(x1, vc));
            bad = sv_mask_or(bad, sv_mask_or(sv_out_of_range(a), sv_out_of_range(b)));
            sv_store(y + i, sv_flush(a));
            sv_store(y + i + half, sv_flush(b));
        }
        for (int i = whole; i < half; i++) {
            int i0 = interleaved ? 2 * i : i, i1 = interleaved ? 2 * i + 1 : i + half;
            float p = x[i0] * c[i], q = x[i1] * s[i];
            float a = p - q;
            p = x[i0] * s[i];
            q = x[i1] * c[i];
            float b = p + q;
            ok &= !lk_out_of_range(a) && !lk_out_of_range(b);
            y[i0] = lk_flush(a);
            y[i1] = lk_flush(b);
        }
        memcpy(y + n_dims, x + n_dims, (size_t)(head_dim - n_dims) * sizeof *y);
    }
    return ok && !sv_any(bad);
}

static float vec_quantize(const float *x, size_t n, int most, int16_t *q)
{
    enum { LANES = SV_LANES };
    int32_t lane[LANES];
    sv_i top = sv_iset(0u);
    size_t whole = n / LANES * LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        top = sv_imax(top, sv_magnitude(sv_load(x + i)));
    }
    int32_t a = sv_imost(top);
    for (size_t i = whole; i < n; i++) {
        a = (int32_t)lk_magnitude(x[i]) > a ? (int32_t)lk_magnitude(x[i]) : a;
    }
    if (a == 0) {
        memset(q, 0, n * sizeof *q);
        return 0.0f;
    }
    float r = lk_cell_factor(lk_flt((uint32_t)a), (float)most);
    for (size_t i = 0; i < whole; i += LANES) {
        sv_istore(lane, sv_rte(sv_mul(sv_load(x + i), sv_set(r))));
        for (int k = 0; k < LANES; k++) {
            q[i + (size_t)k] = (int16_t)lane[k];
        }
    }
    for (size_t i = whole; i < n; i++) {
        q[i] = (int16_t)lk_rte(x[i] * r);
    }
    return lk_cell_scale(lk_flt((uint32_t)a), most);
}

static void vec_kv_store(const struct lk_kv_shape *s, const float *k_row, const float *v_row,
                         int block, int slot, uint32_t *k, uint32_t *v)
{
    int16_t q[LK_MAX_HEAD_DIM] = {0};
    int16_t q_v[LK_MAX_HEAD_DIM] = {0};
    size_t n = (size_t)s->head_dim, n_v = (size_t)s->v_dim;
    for (size_t h = 0; h < (size_t)s->n_head; h++) {
        float scale = vec_quantize(k_row + h * n, n, lk_kv_most(s->k_bits), q);
        lk_kv_place_k(k + lk_kv_k_head(s, block, (int)h), s->dim, s->k_bits, slot, q, scale);
        scale = vec_quantize(v_row + h * n_v, n_v, LK_BYTE_MOST, q_v);
        lk_kv_place_v(v + lk_kv_v_head(s, block, (int)h), s->v_dim_padded, slot, q_v, scale);
    }
}

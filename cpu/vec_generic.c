/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_generic: the table of plain C, and the choice of a table. Row ops are those of
 * cpu/scalar.c; attention is cut into chunks and merges as SIMD kernels cut it.
 */
#include "cpu/scalar.h"
#include "cpu/vec.h"
#include "base/numerics.h"

static bool attn_chunk(const struct lk_attn_chunk *c)
{
    bool ok = true;
    int dim = c->dim;
    for (int r = 0; r < c->n_rows; r++) {
        float m[LK_KV_BLOCK], l = 0.0f, *o = c->o + (size_t)r * (size_t)dim;
        int32_t k[LK_KV_BLOCK], n = INT32_MIN;
        if (c->from[r] > c->to[r]) {
            continue;
        }
        for (int j = c->from[r]; j <= c->to[r]; j++) {
            float dot = 0.0f;
            for (int d = 0; d < dim; d++) {
                float t = c->q[(size_t)r * (size_t)dim + (size_t)d] *
                          lk_f16_to_f32(c->k[d * LK_KV_BLOCK + j]);
                dot = dot + t;
            }
            float s = dot * c->score_in;
            if (c->score_cap != 0.0f) {
                s = lk_tanh(s) * c->score_cap;
            }
            if (lk_magnitude(s) >= LK_SCORE_LIMIT) {
                ok = false;
                s = 0.0f;
            }
            k[j] = lk_rte(s);
            m[j] = lk_round13(lk_exp2_mantissa(s, k[j]));
            n = k[j] > n ? k[j] : n;
        }
        for (int d = 0; d < dim; d++) {
            o[d] = 0.0f;
        }
        for (int j = c->from[r]; j <= c->to[r]; j++) {
            float p = k[j] - n < LK_P_CUT ? 0.0f : lk_scale2(m[j], k[j] - n);
            l = l + p;
            for (int d = 0; d < dim; d++) {
                float t = p * lk_f16_to_f32(c->v[j * dim + d]);
                o[d] = o[d] + t;
            }
        }
        for (int d = 0; d < dim; d++) {
            o[d] = lk_flush(o[d]);
        }
        c->n[r] = n;
        c->l[r] = l;
    }
    return ok;
}

/* 2^k as a float for LK_MERGE_CUT <= k <= 0, else +0. */
static float factor(int32_t k)
{
    return k < LK_MERGE_CUT ? 0.0f : lk_flt((uint32_t)(127 + k) << 23);
}

static void attn_merge(bool first, int dim, int32_t *n, float *l, float *o, int32_t n_c, float l_c,
                       const float *o_c)
{
    if (first) {
        *n = n_c;
        *l = l_c;
        for (int d = 0; d < dim; d++) {
            o[d] = o_c[d];
        }
        return;
    }
    int32_t top = *n > n_c ? *n : n_c;
    float f_old = factor(*n - top), f_new = factor(n_c - top);
    float a = *l * f_old, b = l_c * f_new;
    *l = a + b;
    for (int d = 0; d < dim; d++) {
        a = o[d] * f_old;
        b = o_c[d] * f_new;
        o[d] = lk_flush(a + b);
    }
    *n = top;
}

static bool attn_end(int head_dim, float l, const float *o, float *out)
{
    bool ok = true;
    float r = lk_rcp(l);
    for (int d = 0; d < head_dim; d++) {
        float y = o[d] * r;
        ok &= !lk_out_of_range(y);
        out[d] = lk_flush(y);
    }
    return ok;
}

const struct lk_vec_kernels lk_vec_generic = {
    .level = LK_CPU_GENERIC,
    .norm = lk_scalar_norm,
    .add = lk_scalar_add,
    .bias = lk_scalar_bias,
    .glu = lk_scalar_glu,
    .softcap = lk_scalar_softcap,
    .rope = lk_scalar_rope,
    .kv_store = lk_scalar_kv_store,
    .attn_chunk = attn_chunk,
    .attn_merge = attn_merge,
    .attn_end = attn_end,
};

const struct lk_vec_kernels *lk_vec_kernels(enum lk_cpu_level level)
{
    switch (level) {
#if defined(__x86_64__)
    case LK_CPU_AVX512:
    case LK_CPU_AMX:
        return &lk_vec_avx512;
    case LK_CPU_AVX2:
    case LK_CPU_AVX_VNNI:
        return &lk_vec_avx2;
#endif
#if defined(__aarch64__)
    case LK_CPU_NEON:
    case LK_CPU_DOTPROD:
    case LK_CPU_I8MM:
        return &lk_vec_neon;
#endif
    default:
        return &lk_vec_generic;
    }
}

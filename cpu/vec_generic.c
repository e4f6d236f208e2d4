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
    struct lk_kv_shape shape = {.n_head = 1,
                                .head_dim = c->dim,
                                .v_dim = c->v_dim,
                                .dim = c->dim,
                                .v_dim_padded = c->v_dim,
                                .k_bits = c->k_bits};
    size_t dim = (size_t)c->dim;
    bool ok = true;
    for (size_t r = 0; r < (size_t)c->n_rows; r++) {
        if (c->from[r] <= c->to[r]) {
            ok &= lk_scalar_attn_chunk(&shape, c->q + r * dim, c->q_scale[r], c->score_cap, c->k,
                                       c->v, c->from[r], c->to[r], &c->n[r], &c->l[r],
                                       c->o + r * (size_t)c->v_dim);
        }
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

static bool attn_end(int n, float l, const float *o, float *out)
{
    bool ok = true;
    float r = lk_rcp(l);
    for (int d = 0; d < n; d++) {
        float y = o[d] * r;
        ok &= !lk_out_of_range(y);
        out[d] = lk_flush(y);
    }
    return ok;
}

const struct lk_vec_kernels lk_vec_generic = {
    .level = LK_CPU_GENERIC,
    .norm = lk_scalar_norm,
    .layer_norm = lk_scalar_layer_norm,
    .add = lk_scalar_add,
    .bias = lk_scalar_bias,
    .scale = lk_scalar_scale,
    .combine = lk_scalar_combine,
    .conv = lk_scalar_conv,
    .l2_norm = lk_scalar_l2_norm,
    .delta = lk_scalar_delta,
    .ssm = lk_scalar_ssm,
    .gelu = lk_scalar_gelu,
    .glu = lk_scalar_glu,
    .softcap = lk_scalar_softcap,
    .rope = lk_scalar_rope,
    .kv_store = lk_scalar_kv_store,
    .quantize = lk_kv_quantize,
    .attn_chunk = attn_chunk,
    .attn_merge = attn_merge,
    .attn_end = attn_end,
};

const struct lk_vec_kernels *lk_vec_kernels(enum lk_cpu_level level)
{
    switch (level) {
#if defined(__x86_64__)
    case LK_CPU_AMX:
        return &lk_vec_amx;
    case LK_CPU_AVX512:
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
#if !defined(__x86_64__)
    case LK_CPU_AVX2:
    case LK_CPU_AVX_VNNI:
    case LK_CPU_AVX512:
    case LK_CPU_AMX:
#endif
#if !defined(__aarch64__)
    case LK_CPU_NEON:
    case LK_CPU_DOTPROD:
    case LK_CPU_I8MM:
#endif
    case LK_CPU_GENERIC:
    case LK_CPU_LEVELS:
        break;
    }
    return &lk_vec_generic;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_avxvnni: packed matmul with vpdpbusd on 8 rows: dots are int32 from the start. The text is
 * cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/x86/words_avx2.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 4, QV_BIAS8 = 128, QV_DOTS5 = 8, QV_DOTS6 = 4 };

static inline qv qv_add(qv a, qv b)
{
    return _mm256_add_epi32(a, b);
}
static inline qv qv_dot(qv acc, qv u, qv x)
{
    return _mm256_dpbusd_avx_epi32(acc, u, x);
}
static inline sv_i qv_sum(qv acc)
{
    return acc;
}
static inline sv_i qv_scaled(qv acc, qv scale)
{
    return _mm256_mullo_epi32(acc, scale);
}
static inline qv qv_scales_u(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(eight(p));
}
static inline qv qv_scales_s(const uint8_t *p)
{
    return _mm256_cvtepi8_epi32(eight(p));
}
static inline qv qv_scales_low(const uint8_t *p)
{
    return _mm256_and_si256(_mm256_cvtepu8_epi32(eight(p)), _mm256_set1_epi32(15));
}
static inline qv qv_scales_high(const uint8_t *p)
{
    return _mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(p)), 4);
}
static inline sv_i qv_dot8(sv_i acc, qv u, qv x)
{
    return _mm256_dpbusd_avx_epi32(acc, u, x);
}

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_avxvnni = {
    .level = LK_CPU_AVX_VNNI,
    .prepare = mm_prepare,
    .mul = mm_mul,
};

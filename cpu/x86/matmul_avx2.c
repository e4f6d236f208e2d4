/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_avx2: packed matmul without dot-product instructions. Dots are kept in 16-bit lanes (two
 * for each row) as long as they fit: |u| * 127 * 2 a step is 3,810 for 4 bits (8 steps), 6,096 for
 * NVFP4 (4), 7,874 for 5 bits (4) and 16,002 for 6 (2). The text is cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/x86/words_avx2.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 4, QV_BIAS8 = 0, QV_DOTS5 = 4, QV_DOTS6 = 2 };

static inline qv qv_add(qv a, qv b)
{
    return _mm256_add_epi16(a, b);
}
static inline qv qv_dot(qv acc, qv u, qv x)
{
    return _mm256_add_epi16(acc, _mm256_maddubs_epi16(u, x));
}
static inline sv_i qv_sum(qv acc)
{
    return _mm256_madd_epi16(acc, _mm256_set1_epi16(1));
}
static inline sv_i qv_scaled(qv acc, qv scale)
{
    return _mm256_madd_epi16(acc, scale);
}
/* A scale in both 16-bit halves of a row's lane. */
static inline qv both_halves(qv s)
{
    return _mm256_or_si256(_mm256_slli_epi32(s, 16), _mm256_and_si256(s, _mm256_set1_epi32(65535)));
}
static inline qv qv_scales_u(const uint8_t *p)
{
    return both_halves(_mm256_cvtepu8_epi32(eight(p)));
}
static inline qv qv_scales_s(const uint8_t *p)
{
    return both_halves(_mm256_cvtepi8_epi32(eight(p)));
}
static inline qv qv_scales_low(const uint8_t *p)
{
    return both_halves(_mm256_and_si256(_mm256_cvtepu8_epi32(eight(p)), _mm256_set1_epi32(15)));
}
static inline qv qv_scales_high(const uint8_t *p)
{
    return both_halves(_mm256_srli_epi32(_mm256_cvtepu8_epi32(eight(p)), 4));
}
/* |w| * (x with the sign of w): 2 * 128 * 127 fits 16 bits, once. */
static inline sv_i qv_dot8(sv_i acc, qv u, qv x)
{
    qv w = _mm256_xor_si256(u, _mm256_set1_epi8(-128));
    qv two = _mm256_maddubs_epi16(_mm256_abs_epi8(w), _mm256_sign_epi8(x, w));
    return _mm256_add_epi32(acc, _mm256_madd_epi16(two, _mm256_set1_epi16(1)));
}

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_avx2 = {
    .level = LK_CPU_AVX2,
    .prepare = mm_prepare,
    .mul = mm_mul,
};

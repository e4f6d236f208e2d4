/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_avx512: packed matmul with vpdpbusd on 16 rows: dots are int32 from the start. The text is
 * cpu/matmul_body.h.
 */
#include <stdbool.h>

#include "cpu/x86/simd_avx512.h"

#include "cpu/vec_words.h"

enum { MM_TOKENS = 8, QV_BIAS8 = 128, QV_DOTS5 = 8, QV_DOTS6 = 4 };
typedef __m512i qv;

static inline qv qv_load(const uint8_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}
static inline qv qv_splat(int8_t x)
{
    return _mm512_set1_epi8(x);
}
static inline qv qv_and(qv a, qv b)
{
    return _mm512_and_si512(a, b);
}
static inline qv qv_or(qv a, qv b)
{
    return _mm512_or_si512(a, b);
}
static inline qv qv_add(qv a, qv b)
{
    return _mm512_add_epi32(a, b);
}
static inline qv qv_srl(qv a, int n)
{
    return _mm512_srli_epi16(a, (unsigned)n);
}
static inline qv qv_sll(qv a, int n)
{
    return _mm512_slli_epi16(a, (unsigned)n);
}
/* table[n] for each byte n, below 16. */
static inline qv qv_lookup(const uint8_t table[16], qv n)
{
    __m128i t = _mm_loadu_si128((const void *)table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), n);
}
static inline qv qv_bcast(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return _mm512_set1_epi32(four);
}
static inline qv qv_dot(qv acc, qv u, qv x)
{
    return _mm512_dpbusd_epi32(acc, u, x);
}
static inline sv_i qv_sum(qv acc)
{
    return acc;
}
static inline sv_i qv_scaled(qv acc, qv scale)
{
    return _mm512_mullo_epi32(acc, scale);
}
static inline __m128i sixteen(const uint8_t *p)
{
    return _mm_loadu_si128((const void *)p);
}
static inline qv qv_scales_u(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(sixteen(p));
}
static inline qv qv_scales_s(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(sixteen(p));
}
static inline qv qv_scales_low(const uint8_t *p)
{
    return _mm512_and_si512(_mm512_cvtepu8_epi32(sixteen(p)), _mm512_set1_epi32(15));
}
static inline qv qv_scales_high(const uint8_t *p)
{
    return _mm512_srli_epi32(_mm512_cvtepu8_epi32(sixteen(p)), 4);
}
static inline qv qv_mins(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)p));
}
static inline qv qv_pairs_s(const uint8_t *p, const uint8_t *q)
{
    __m128i a = sixteen(p), b = sixteen(q);
    return _mm512_cvtepi8_epi16(_mm256_set_m128i(_mm_unpackhi_epi8(a, b), _mm_unpacklo_epi8(a, b)));
}
static inline sv_i qv_pair_dot(sv_i acc, qv pairs, int32_t two)
{
    return _mm512_add_epi32(acc, _mm512_madd_epi16(pairs, _mm512_set1_epi32(two)));
}
static inline sv_i qv_dot8(sv_i acc, qv u, qv x)
{
    return _mm512_dpbusd_epi32(acc, u, x);
}

#include "cpu/matmul_body.h"

const struct lk_matmul_kernels lk_matmul_avx512 = {
    .level = LK_CPU_AVX512,
    .prepare = mm_prepare,
    .mul = mm_mul,
};

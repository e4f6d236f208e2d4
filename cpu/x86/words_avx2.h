/* SPDX-License-Identifier: Apache-2.0
 *
 * Words_avx2: the words of cpu/matmul_body.h that the levels of 8 rows share. How dots are formed
 * and kept is the including file's.
 */
#ifndef LK_WORDS_AVX2_H
#define LK_WORDS_AVX2_H

#include "cpu/x86/simd_avx2.h"

typedef __m256i qv;

static inline qv qv_load(const uint8_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}
static inline qv qv_splat(int8_t x)
{
    return _mm256_set1_epi8(x);
}
static inline qv qv_and(qv a, qv b)
{
    return _mm256_and_si256(a, b);
}
static inline qv qv_or(qv a, qv b)
{
    return _mm256_or_si256(a, b);
}
static inline qv qv_srl(qv a, int n)
{
    return _mm256_srli_epi16(a, n);
}
static inline qv qv_sll(qv a, int n)
{
    return _mm256_slli_epi16(a, n);
}
/* table[n] for each byte n, below 16. */
static inline qv qv_lookup(const uint8_t table[16], qv n)
{
    __m128i t = _mm_loadu_si128((const void *)table);
    return _mm256_shuffle_epi8(_mm256_broadcastsi128_si256(t), n);
}
static inline qv qv_bcast(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return _mm256_set1_epi32(four);
}
static inline __m128i eight(const uint8_t *p)
{
    return _mm_loadl_epi64((const void *)p);
}
static inline qv qv_mins(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
}
static inline qv qv_pairs_s(const uint8_t *p, const uint8_t *q)
{
    return _mm256_cvtepi8_epi16(_mm_unpacklo_epi8(eight(p), eight(q)));
}
static inline sv_i qv_pair_dot(sv_i acc, qv pairs, int32_t two)
{
    return _mm256_add_epi32(acc, _mm256_madd_epi16(pairs, _mm256_set1_epi32(two)));
}

#endif

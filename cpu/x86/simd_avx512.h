/* SPDX-License-Identifier: Apache-2.0
 *
 * Simd_avx512: the vector words that cpu/vec_body.h and cpu/attn_body.h are written in, 16 lanes
 * wide. The float operations round once each; sv_fma is for exact products alone.
 */
#ifndef LK_SIMD_AVX512_H
#define LK_SIMD_AVX512_H

#include <immintrin.h>
#include <stdint.h>

#include <stdbool.h>

enum { SV_LANES = 16 };
typedef __m512 sv_f;
typedef __m512i sv_i;
typedef __mmask16 sv_mask;

static inline sv_f sv_load(const float *p)
{
    return _mm512_loadu_ps(p);
}
static inline void sv_store(float *p, sv_f x)
{
    _mm512_storeu_ps(p, x);
}
static inline sv_f sv_set(float x)
{
    return _mm512_set1_ps(x);
}
static inline sv_f sv_zero(void)
{
    return _mm512_setzero_ps();
}
static inline sv_f sv_add(sv_f a, sv_f b)
{
    return _mm512_add_ps(a, b);
}
static inline sv_f sv_sub(sv_f a, sv_f b)
{
    return _mm512_sub_ps(a, b);
}
static inline sv_f sv_mul(sv_f a, sv_f b)
{
    return _mm512_mul_ps(a, b);
}
static inline sv_f sv_fma(sv_f a, sv_f b, sv_f c)
{
    return _mm512_fmadd_ps(a, b, c);
}
static inline sv_i sv_bits(sv_f x)
{
    return _mm512_castps_si512(x);
}
static inline sv_f sv_flt(sv_i x)
{
    return _mm512_castsi512_ps(x);
}
static inline sv_i sv_iset(uint32_t x)
{
    return _mm512_set1_epi32((int)x);
}
static inline sv_i sv_iload(const int32_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}
static inline void sv_istore(int32_t *p, sv_i x)
{
    _mm512_storeu_si512((void *)p, x);
}
static inline sv_i sv_iadd(sv_i a, sv_i b)
{
    return _mm512_add_epi32(a, b);
}
static inline sv_i sv_isub(sv_i a, sv_i b)
{
    return _mm512_sub_epi32(a, b);
}
static inline sv_i sv_imul(sv_i a, sv_i b)
{
    return _mm512_mullo_epi32(a, b);
}
/* Bytes, unsigned and signed, to int32. */
static inline sv_i sv_ubytes(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
}
static inline sv_i sv_sbytes(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p));
}
static inline sv_i sv_and(sv_i a, sv_i b)
{
    return _mm512_and_si512(a, b);
}
static inline sv_i sv_or(sv_i a, sv_i b)
{
    return _mm512_or_si512(a, b);
}
static inline sv_i sv_imax(sv_i a, sv_i b)
{
    return _mm512_max_epi32(a, b);
}
static inline sv_i sv_imin(sv_i a, sv_i b)
{
    return _mm512_min_epi32(a, b);
}
/* The largest lane, and the sum of all. */
static inline int32_t sv_imost(sv_i x)
{
    return _mm512_reduce_max_epi32(x);
}
static inline int32_t sv_itotal(sv_i x)
{
    return _mm512_reduce_add_epi32(x);
}
#define sv_shl(a, n) _mm512_slli_epi32(a, n)
#define sv_shr(a, n) _mm512_srli_epi32(a, n)
/* Signed a > b. */
static inline sv_mask sv_gt(sv_i a, sv_i b)
{
    return _mm512_cmpgt_epi32_mask(a, b);
}
/* x where the mask is set, else +0. */
static inline sv_f sv_keep(sv_mask m, sv_f x)
{
    return _mm512_maskz_mov_ps(m, x);
}
static inline sv_f sv_drop(sv_mask m, sv_f x)
{
    return _mm512_maskz_mov_ps((sv_mask)~m, x);
}
static inline sv_f sv_pick(sv_mask m, sv_f yes, sv_f no)
{
    return _mm512_mask_mov_ps(no, m, yes);
}
static inline bool sv_any(sv_mask m)
{
    return m != 0;
}
static inline sv_mask sv_mask_or(sv_mask a, sv_mask b)
{
    return (sv_mask)(a | b);
}
static inline sv_mask sv_mask_none(void)
{
    return 0;
}
static inline sv_f sv_load_half(const uint16_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
/* int32 to f32, nearest even. */
static inline sv_f sv_cvt(sv_i i)
{
    return _mm512_cvtepi32_ps(i);
}
static inline sv_f sv_halves(const uint8_t *p)
{
    return _mm512_cvtph_ps(_mm256_loadu_si256((const void *)p));
}
/* Half of UE4M3, whose bits are those of an f16 but for its bias, which is 8 more. */
static inline sv_f sv_ue4m3(const uint8_t *p)
{
    __m256i w = _mm256_cvtepu8_epi16(_mm_loadu_si128((const void *)p));
    return _mm512_mul_ps(_mm512_cvtph_ps(_mm256_slli_epi16(w, 7)), _mm512_set1_ps(128.0f));
}
static inline sv_f sv_bf16(const uint8_t *p)
{
    __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const void *)p));
    return _mm512_castsi512_ps(_mm512_slli_epi32(w, 16));
}

/* ---- int16: SV_COLS columns of four ---- */

enum { SV_COLS = 8 };
/* Rows and vectors whose sums attention holds in registers at a time. */
#define SV_ATTN_ROWS 4
#define SV_ATTN_VECS 4
typedef __m512i sv_w;
/* Two partial sums of each column; of their own type: see simd_avx2.h. */
typedef int32_t sv_sums __attribute__((vector_size(64)));

static inline sv_w sv_wload(const int16_t *p)
{
    return _mm512_loadu_si512((const void *)p);
}
static inline void sv_wstore(int16_t *p, sv_w x)
{
    _mm512_storeu_si512((void *)p, x);
}
/* Two vectors of integers that int16 can hold, one after the other, as int16. */
static inline void sv_narrow(int16_t *p, sv_i a, sv_i b)
{
    _mm256_storeu_si256((void *)p, _mm512_cvtepi32_epi16(a));
    _mm256_storeu_si256((void *)(p + SV_LANES), _mm512_cvtepi32_epi16(b));
}
/* The same four in every column. */
static inline sv_w sv_wset(const int16_t *four)
{
    return _mm512_broadcastq_epi64(_mm_loadl_epi64((const void *)four));
}
static inline sv_w sv_wbytes(const uint8_t *p)
{
    return _mm512_cvtepi8_epi16(_mm256_loadu_si256((const void *)p));
}
/* (byte >> shift) & 15; shift is 0 or 4. */
static inline sv_w sv_wnibbles(const uint8_t *p, int shift)
{
    __m256i x = _mm256_loadu_si256((const void *)p);
    x = shift ? _mm256_srli_epi16(x, 4) : x;
    return _mm512_cvtepi8_epi16(_mm256_and_si256(x, _mm256_set1_epi8(15)));
}
/* 16 high + low. */
static inline sv_w sv_wjoin(sv_w high, sv_w low)
{
    return _mm512_or_si512(_mm512_slli_epi16(high, 4), low);
}
static inline sv_sums sv_sums_zero(void)
{
    return (sv_sums){0};
}
static inline sv_sums sv_dot(sv_sums acc, sv_w a, sv_w b)
{
    return (sv_sums)_mm512_dpwssd_epi32((__m512i)acc, a, b);
}
static inline void sv_sums_store(int32_t *p, sv_sums acc)
{
    __m512i sum = _mm512_add_epi32((__m512i)acc, _mm512_srli_epi64((__m512i)acc, 32));
    _mm256_storeu_si256((void *)p, _mm512_cvtepi64_epi32(sum));
}

#endif

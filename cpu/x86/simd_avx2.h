/* SPDX-License-Identifier: Apache-2.0
 *
 * Simd_avx2: the vector words that cpu/vec_body.h and cpu/attn_body.h are written in, 8 lanes wide.
 * The float operations round once each; sv_fma is for exact products alone.
 */
#ifndef LK_SIMD_AVX2_H
#define LK_SIMD_AVX2_H

#include <immintrin.h>
#include <stdint.h>

#include <stdbool.h>

enum { SV_LANES = 8 };
typedef __m256 sv_f;
typedef __m256i sv_i;
typedef __m256 sv_mask; /* all ones or all zeros a lane */

static inline sv_f sv_load(const float *p)
{
    return _mm256_loadu_ps(p);
}
static inline void sv_store(float *p, sv_f x)
{
    _mm256_storeu_ps(p, x);
}
static inline sv_f sv_set(float x)
{
    return _mm256_set1_ps(x);
}
static inline sv_f sv_zero(void)
{
    return _mm256_setzero_ps();
}
static inline sv_f sv_add(sv_f a, sv_f b)
{
    return _mm256_add_ps(a, b);
}
static inline sv_f sv_sub(sv_f a, sv_f b)
{
    return _mm256_sub_ps(a, b);
}
static inline sv_f sv_mul(sv_f a, sv_f b)
{
    return _mm256_mul_ps(a, b);
}
static inline sv_f sv_fma(sv_f a, sv_f b, sv_f c)
{
    return _mm256_fmadd_ps(a, b, c);
}
static inline sv_i sv_bits(sv_f x)
{
    return _mm256_castps_si256(x);
}
static inline sv_f sv_flt(sv_i x)
{
    return _mm256_castsi256_ps(x);
}
static inline sv_i sv_iset(uint32_t x)
{
    return _mm256_set1_epi32((int)x);
}
static inline sv_i sv_iload(const int32_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}
static inline void sv_istore(int32_t *p, sv_i x)
{
    _mm256_storeu_si256((void *)p, x);
}
static inline sv_i sv_iadd(sv_i a, sv_i b)
{
    return _mm256_add_epi32(a, b);
}
static inline sv_i sv_isub(sv_i a, sv_i b)
{
    return _mm256_sub_epi32(a, b);
}
static inline sv_i sv_imul(sv_i a, sv_i b)
{
    return _mm256_mullo_epi32(a, b);
}
/* Bytes, unsigned and signed, to int32. */
static inline sv_i sv_ubytes(const uint8_t *p)
{
    return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const void *)p));
}
static inline sv_i sv_sbytes(const uint8_t *p)
{
    return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const void *)p));
}
static inline sv_i sv_and(sv_i a, sv_i b)
{
    return _mm256_and_si256(a, b);
}
static inline sv_i sv_or(sv_i a, sv_i b)
{
    return _mm256_or_si256(a, b);
}
static inline sv_i sv_imax(sv_i a, sv_i b)
{
    return _mm256_max_epi32(a, b);
}
static inline sv_i sv_imin(sv_i a, sv_i b)
{
    return _mm256_min_epi32(a, b);
}
/* The largest lane, and the sum of all. */
static inline int32_t sv_imost(sv_i x)
{
    __m128i a = _mm_max_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    a = _mm_max_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
static inline int32_t sv_itotal(sv_i x)
{
    __m128i a = _mm_add_epi32(_mm256_castsi256_si128(x), _mm256_extracti128_si256(x, 1));
    a = _mm_add_epi32(a, _mm_shuffle_epi32(a, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(a, _mm_shuffle_epi32(a, 0xb1)));
}
#define sv_shl(a, n) _mm256_slli_epi32(a, n)
#define sv_shr(a, n) _mm256_srli_epi32(a, n)
/* Signed a > b. */
static inline sv_mask sv_gt(sv_i a, sv_i b)
{
    return _mm256_castsi256_ps(_mm256_cmpgt_epi32(a, b));
}
/* x where the mask is set, else +0. */
static inline sv_f sv_keep(sv_mask m, sv_f x)
{
    return _mm256_and_ps(m, x);
}
static inline sv_f sv_drop(sv_mask m, sv_f x)
{
    return _mm256_andnot_ps(m, x);
}
static inline sv_f sv_pick(sv_mask m, sv_f yes, sv_f no)
{
    return _mm256_blendv_ps(no, yes, m);
}
static inline bool sv_any(sv_mask m)
{
    return _mm256_movemask_ps(m) != 0;
}
static inline sv_mask sv_mask_or(sv_mask a, sv_mask b)
{
    return _mm256_or_ps(a, b);
}
static inline sv_mask sv_mask_none(void)
{
    return _mm256_setzero_ps();
}
static inline sv_f sv_load_half(const uint16_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}
/* int32 to f32, nearest even. */
static inline sv_f sv_cvt(sv_i i)
{
    return _mm256_cvtepi32_ps(i);
}
static inline sv_f sv_halves(const uint8_t *p)
{
    return _mm256_cvtph_ps(_mm_loadu_si128((const void *)p));
}
/* Half of UE4M3, whose bits are those of an f16 but for its bias, which is 8 more. */
static inline sv_f sv_ue4m3(const uint8_t *p)
{
    __m128i w = _mm_cvtepu8_epi16(_mm_loadl_epi64((const void *)p));
    return _mm256_mul_ps(_mm256_cvtph_ps(_mm_slli_epi16(w, 7)), _mm256_set1_ps(128.0f));
}
static inline sv_f sv_bf16(const uint8_t *p)
{
    __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128((const void *)p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(w, 16));
}

/* ---- int16: SV_COLS columns of four ---- */

enum { SV_COLS = 4 };
/* Rows and vectors whose sums attention holds in registers at a time. */
#define SV_ATTN_ROWS 5
#define SV_ATTN_VECS 2
typedef __m256i sv_w;
/* Two partial sums of each column; of their own type, since gcc copies an accumulator for each sum
 * of vectors of 64-bit integers as which __m256i counts. */
typedef uint32_t sv_sums __attribute__((vector_size(32)));

static inline sv_w sv_wload(const int16_t *p)
{
    return _mm256_loadu_si256((const void *)p);
}
static inline void sv_wstore(int16_t *p, sv_w x)
{
    _mm256_storeu_si256((void *)p, x);
}
/* Two vectors of integers that int16 can hold, one after the other, as int16. */
static inline void sv_narrow(int16_t *p, sv_i a, sv_i b)
{
    sv_i packed = _mm256_packs_epi32(a, b); /* by halves of 128 bits */
    _mm256_storeu_si256((void *)p, _mm256_permute4x64_epi64(packed, 0xd8));
}
/* The same four in every column. */
static inline sv_w sv_wset(const int16_t *four)
{
    return _mm256_castpd_si256(_mm256_broadcast_sd((const double *)(const void *)four));
}
static inline sv_w sv_wbytes(const uint8_t *p)
{
    return _mm256_cvtepi8_epi16(_mm_loadu_si128((const void *)p));
}
/* (byte >> shift) & 15; shift is 0 or 4. */
static inline sv_w sv_wnibbles(const uint8_t *p, int shift)
{
    __m128i x = _mm_loadu_si128((const void *)p);
    x = shift ? _mm_srli_epi16(x, 4) : x;
    return _mm256_cvtepi8_epi16(_mm_and_si128(x, _mm_set1_epi8(15)));
}
/* 16 high + low. */
static inline sv_w sv_wjoin(sv_w high, sv_w low)
{
    return _mm256_or_si256(_mm256_slli_epi16(high, 4), low);
}
static inline sv_sums sv_sums_zero(void)
{
    return (sv_sums){0};
}
static inline sv_sums sv_dot(sv_sums acc, sv_w a, sv_w b)
{
    return acc + (sv_sums)_mm256_madd_epi16(a, b);
}
static inline void sv_sums_store(int32_t *p, sv_sums acc)
{
    __m128i low = _mm256_castsi256_si128((__m256i)acc);
    __m128i high = _mm256_extracti128_si256((__m256i)acc, 1);
    _mm_storeu_si128((void *)p, _mm_hadd_epi32(low, high));
}

#endif

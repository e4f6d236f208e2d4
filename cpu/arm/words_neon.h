/* SPDX-License-Identifier: Apache-2.0
 *
 * Words_neon: the words of cpu/matmul_body.h that all ARM levels share: bytes of 4 rows, their
 * scales and mins. How dots are formed and kept is the including file's.
 */
#ifndef LK_WORDS_NEON_H
#define LK_WORDS_NEON_H

#include "cpu/arm/simd_neon.h"

typedef int32x4_t qv;

static inline int8x16_t bytes(qv a)
{
    return vreinterpretq_s8_s32(a);
}
static inline qv qv_load(const uint8_t *p)
{
    return vreinterpretq_s32_u8(vld1q_u8(p));
}
static inline qv qv_splat(int8_t x)
{
    return vreinterpretq_s32_s8(vdupq_n_s8(x));
}
static inline qv qv_and(qv a, qv b)
{
    return vandq_s32(a, b);
}
static inline qv qv_or(qv a, qv b)
{
    return vorrq_s32(a, b);
}
static inline qv shift_bytes(qv a, int n)
{
    uint8x16_t u = vshlq_u8(vreinterpretq_u8_s32(a), vdupq_n_s8((int8_t)n));
    return vreinterpretq_s32_u8(u);
}
static inline qv qv_srl(qv a, int n)
{
    return shift_bytes(a, -n);
}
static inline qv qv_sll(qv a, int n)
{
    return shift_bytes(a, n);
}
/* table[n] for each byte n, below 16. */
static inline qv qv_lookup(const uint8_t table[16], qv n)
{
    return vreinterpretq_s32_u8(vqtbl1q_u8(vld1q_u8(table), vreinterpretq_u8_s32(n)));
}
static inline qv qv_bcast(const int8_t *q)
{
    int32_t four;
    __builtin_memcpy(&four, q, sizeof four);
    return vdupq_n_s32(four);
}
/* Weights stored + 128, as they are. */
static inline int8x16_t centred(qv u)
{
    return veorq_s8(bytes(u), vdupq_n_s8(-128));
}
static inline qv qv_scales_u(const uint8_t *p)
{
    return sv_ubytes(p);
}
static inline qv qv_scales_s(const uint8_t *p)
{
    return sv_sbytes(p);
}
static inline qv qv_scales_low(const uint8_t *p)
{
    return vandq_s32(qv_scales_u(p), vdupq_n_s32(15));
}
static inline qv qv_scales_high(const uint8_t *p)
{
    return vshrq_n_s32(qv_scales_u(p), 4);
}
static inline qv qv_mins(const uint8_t *p)
{
    return vreinterpretq_s32_u16(vmovl_u8(vld1_u8(p)));
}
static inline qv qv_pairs_s(const uint8_t *p, const uint8_t *q)
{
    uint8x8_t pairs = vzip1_u8(four_bytes(p), four_bytes(q));
    return vreinterpretq_s32_s16(vmovl_s8(vreinterpret_s8_u8(pairs)));
}
static inline sv_i qv_pair_dot(sv_i acc, qv pairs, int32_t two)
{
    int16x8_t a = vreinterpretq_s16_s32(pairs), b = vreinterpretq_s16_s32(vdupq_n_s32(two));
    int32x4_t low = vmull_s16(vget_low_s16(a), vget_low_s16(b)), high = vmull_high_s16(a, b);
    return vaddq_s32(acc, vpaddq_s32(low, high));
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Simd_neon: the vector words of cpu/vec_body.h, attn_body.h and matmul_body.h, 4 lanes wide. The
 * float operations round once each; sv_fma is for exact products alone.
 */
#ifndef LK_SIMD_NEON_H
#define LK_SIMD_NEON_H

#include <arm_neon.h>
#include <stdbool.h>
#include <stdint.h>

enum { SV_LANES = 4 };
typedef float32x4_t sv_f;
typedef int32x4_t sv_i;
typedef uint32x4_t sv_mask; /* all ones or all zeros a lane */

static inline sv_f sv_load(const float *p)
{
    return vld1q_f32(p);
}
static inline void sv_store(float *p, sv_f x)
{
    vst1q_f32(p, x);
}
static inline sv_f sv_set(float x)
{
    return vdupq_n_f32(x);
}
static inline sv_f sv_zero(void)
{
    return vdupq_n_f32(0.0f);
}
static inline sv_f sv_add(sv_f a, sv_f b)
{
    return vaddq_f32(a, b);
}
static inline sv_f sv_sub(sv_f a, sv_f b)
{
    return vsubq_f32(a, b);
}
static inline sv_f sv_mul(sv_f a, sv_f b)
{
    return vmulq_f32(a, b);
}
static inline sv_f sv_fma(sv_f a, sv_f b, sv_f c)
{
    return vfmaq_f32(c, a, b);
}
static inline sv_i sv_bits(sv_f x)
{
    return vreinterpretq_s32_f32(x);
}
static inline sv_f sv_flt(sv_i x)
{
    return vreinterpretq_f32_s32(x);
}
static inline sv_i sv_iset(uint32_t x)
{
    return vdupq_n_s32((int32_t)x);
}
static inline sv_i sv_iload(const int32_t *p)
{
    return vld1q_s32(p);
}
static inline void sv_istore(int32_t *p, sv_i x)
{
    vst1q_s32(p, x);
}
static inline sv_i sv_iadd(sv_i a, sv_i b)
{
    return vaddq_s32(a, b);
}
static inline sv_i sv_isub(sv_i a, sv_i b)
{
    return vsubq_s32(a, b);
}
static inline sv_i sv_imul(sv_i a, sv_i b)
{
    return vmulq_s32(a, b);
}
static inline uint8x8_t four_bytes(const uint8_t *p)
{
    uint32_t four;
    __builtin_memcpy(&four, p, sizeof four);
    return vreinterpret_u8_u32(vdup_n_u32(four));
}
/* Bytes, unsigned and signed, to int32. */
static inline sv_i sv_ubytes(const uint8_t *p)
{
    return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(four_bytes(p)))));
}
static inline sv_i sv_sbytes(const uint8_t *p)
{
    return vmovl_s16(vget_low_s16(vmovl_s8(vreinterpret_s8_u8(four_bytes(p)))));
}
static inline sv_i sv_and(sv_i a, sv_i b)
{
    return vandq_s32(a, b);
}
static inline sv_i sv_or(sv_i a, sv_i b)
{
    return vorrq_s32(a, b);
}
static inline sv_i sv_imax(sv_i a, sv_i b)
{
    return vmaxq_s32(a, b);
}
static inline sv_i sv_imin(sv_i a, sv_i b)
{
    return vminq_s32(a, b);
}
/* The largest lane, and the sum of all. */
static inline int32_t sv_imost(sv_i x)
{
    return vmaxvq_s32(x);
}
static inline int32_t sv_itotal(sv_i x)
{
    return vaddvq_s32(x);
}
#define sv_shl(a, n) vshlq_n_s32(a, n)
#define sv_shr(a, n) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), n))
/* Signed a > b. */
static inline sv_mask sv_gt(sv_i a, sv_i b)
{
    return vcgtq_s32(a, b);
}
/* x where the mask is set, else +0. */
static inline sv_f sv_keep(sv_mask m, sv_f x)
{
    return vreinterpretq_f32_u32(vandq_u32(m, vreinterpretq_u32_f32(x)));
}
static inline sv_f sv_drop(sv_mask m, sv_f x)
{
    return vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(x), m));
}
static inline sv_f sv_pick(sv_mask m, sv_f yes, sv_f no)
{
    return vbslq_f32(m, yes, no);
}
static inline bool sv_any(sv_mask m)
{
    return vmaxvq_u32(m) != 0;
}
static inline sv_mask sv_mask_or(sv_mask a, sv_mask b)
{
    return vorrq_u32(a, b);
}
static inline sv_mask sv_mask_none(void)
{
    return vdupq_n_u32(0);
}
static inline sv_f sv_load_half(const uint16_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}
/* int32 to f32, nearest even. */
static inline sv_f sv_cvt(sv_i i)
{
    return vcvtq_f32_s32(i);
}
static inline sv_f sv_halves(const uint8_t *p)
{
    return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(p)));
}
/* Half of UE4M3, whose bits are those of an f16 but for its bias, which is 8 more. */
static inline sv_f sv_ue4m3(const uint8_t *p)
{
    uint16x4_t w = vget_low_u16(vshll_n_u8(four_bytes(p), 7));
    return vmulq_f32(vcvt_f32_f16(vreinterpret_f16_u16(w)), vdupq_n_f32(128.0f));
}
static inline sv_f sv_bf16(const uint8_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

/* ---- int16: SV_COLS columns of four ---- */

enum { SV_COLS = 2 };
/* Rows and vectors whose sums attention holds in registers at a time. */
#define SV_ATTN_ROWS 3
#define SV_ATTN_VECS 4
typedef int16x8_t sv_w;
typedef int32x4x2_t sv_sums; /* four partial sums of each column */

static inline sv_w sv_wload(const int16_t *p)
{
    return vld1q_s16(p);
}
static inline void sv_wstore(int16_t *p, sv_w x)
{
    vst1q_s16(p, x);
}
/* Two vectors of integers that int16 can hold, one after the other, as int16. */
static inline void sv_narrow(int16_t *p, sv_i a, sv_i b)
{
    vst1q_s16(p, vcombine_s16(vmovn_s32(a), vmovn_s32(b)));
}
/* The same four in every column. */
static inline sv_w sv_wset(const int16_t *four)
{
    int16x4_t x = vld1_s16(four);
    return vcombine_s16(x, x);
}
static inline sv_w sv_wbytes(const uint8_t *p)
{
    return vmovl_s8(vreinterpret_s8_u8(vld1_u8(p)));
}
/* (byte >> shift) & 15; shift is 0 or 4. */
static inline sv_w sv_wnibbles(const uint8_t *p, int shift)
{
    uint8x8_t x = vld1_u8(p);
    x = shift ? vshr_n_u8(x, 4) : vand_u8(x, vdup_n_u8(15));
    return vreinterpretq_s16_u16(vmovl_u8(x));
}
/* 16 high + low. */
static inline sv_w sv_wjoin(sv_w high, sv_w low)
{
    return vaddq_s16(vshlq_n_s16(high, 4), low);
}
static inline sv_sums sv_sums_zero(void)
{
    int32x4_t z = vdupq_n_s32(0);
    return (int32x4x2_t){{z, z}};
}
static inline sv_sums sv_dot(sv_sums acc, sv_w a, sv_w b)
{
    acc.val[0] = vmlal_s16(acc.val[0], vget_low_s16(a), vget_low_s16(b));
    acc.val[1] = vmlal_s16(acc.val[1], vget_high_s16(a), vget_high_s16(b));
    return acc;
}
static inline void sv_sums_store(int32_t *p, sv_sums acc)
{
    int32x4_t pairs = vpaddq_s32(acc.val[0], acc.val[1]);
    vst1_s32(p, vget_low_s32(vpaddq_s32(pairs, pairs)));
}

#endif

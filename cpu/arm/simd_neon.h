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
/* Nearest even; the caller has clamped. */
static inline void sv_store_half(uint16_t *p, sv_f x)
{
    vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(x)));
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
static inline sv_f sv_bf16(const uint8_t *p)
{
    return vreinterpretq_f32_u32(vshll_n_u16(vreinterpret_u16_u8(vld1_u8(p)), 16));
}

#endif

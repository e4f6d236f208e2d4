/* SPDX-License-Identifier: Apache-2.0
 *
 * The contract's conversions and primitives (docs/NUMERICS.md, notation and rule 6): one text,
 * compiled as C and as GLSL (LK_GLSL defined), so that the two can't drift. Every float operation
 * stands alone in its statement: rounded to nearest even on its own, never contracted.
 *
 * Here are functions of numbers only; sums over rows are written in cpu/scalar.c and shaders/.
 */
#ifndef LK_NUMERICS_H
#define LK_NUMERICS_H

#ifdef LK_GLSL
#define LK_FN
#define LK_F32       precise float
#define LK_U32       uint
#define LK_I32       int
#define lk_bits(x)   floatBitsToUint(x)
#define lk_flt(u)    uintBitsToFloat(u)
#define LK_UINT(i)   uint(i)
#define LK_INT(u)    int(u)
#define LK_TO_F32(i) float(i)
#else
#include <float.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
_Static_assert(FLT_EVAL_METHOD == 0, "float arithmetic must not be carried in a wider type");
#define LK_FN        static inline
#define LK_F32       float
#define LK_U32       uint32_t
#define LK_I32       int32_t
#define LK_UINT(i)   ((uint32_t)(i))
#define LK_INT(u)    ((int32_t)(u))
#define LK_TO_F32(i) ((float)(i))
static inline uint32_t lk_bits(float x)
{
    uint32_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}
static inline float lk_flt(uint32_t u)
{
    float x;
    memcpy(&x, &u, sizeof x);
    return x;
}
#endif

#define LK_PANEL       256         /* floats or elements folded before the outer chain (rule 3) */
#define LK_MIN_BITS    0x26800000u /* 2^-50: smaller results become +0 (rule 1) */
#define LK_MAX_BITS    0x53800000u /* 2^40: this and larger is the range error (rule 1) */
#define LK_MAGIC       12582912.0f /* 1.5 * 2^23 */
#define LK_MAGIC_BITS  0x4B400000u
#define LK_SCORE_LIMIT 0x49800000u /* 2^20: attention scores stay below (rule 8) */
#define LK_P_CUT       (-30)       /* p is +0 below 2^-30 of its chunk's maximum (rule 8) */
#define LK_Q_MOST      1807 /* = 16 * 112 + 15: limbs q >> 4, q & 15 and their sum are int8 */
#define LK_BYTE_MOST   127
#define LK_L_BITS      21    /* l counts in 2^-21 of its chunk's maximum (rule 8) */
#define LK_W_BITS      13    /* P counts in 2^-13 of its chunk's largest power of two (rule 8) */
#define LK_MERGE_CUT   (-40) /* a merge factor below 2^-40 is +0 (rule 8) */

LK_FN LK_U32 lk_magnitude(float x)
{
    return lk_bits(x) & 0x7fffffffu;
}

/* Rule 1: what an op stores. Small results and -0 become +0. */
LK_FN float lk_flush(float x)
{
    return lk_magnitude(x) < LK_MIN_BITS ? lk_flt(0u) : x;
}

/* Rule 1: large, infinite or NaN. */
LK_FN bool lk_out_of_range(float x)
{
    return lk_magnitude(x) >= LK_MAX_BITS;
}

/* x to nearest even with 24 - t significant bits: t = 11 keeps 13, t = 8 keeps 16. */
LK_FN float lk_round_bits(float x, LK_U32 t)
{
    LK_U32 u = lk_bits(x);
    LK_U32 low = 1u << t;
    u = (u + (low >> 1) - 1u + ((u >> t) & 1u)) & ~(low - 1u);
    return lk_flt(u);
}

LK_FN float lk_round13(float x)
{
    return lk_round_bits(x, 11u);
}

LK_FN float lk_round16(float x)
{
    return lk_round_bits(x, 8u);
}

/* Nearest even integer, |x| <= 2^22. */
LK_FN LK_I32 lk_rte(float x)
{
    LK_F32 t = x + LK_MAGIC;
    return LK_INT(lk_bits(t) - LK_MAGIC_BITS);
}

/* int -> float, exact, |i| < 2^22. */
LK_FN float lk_f22(LK_I32 i)
{
    LK_F32 t = lk_flt(LK_MAGIC_BITS + LK_UINT(i));
    t = t - LK_MAGIC;
    return t;
}

/* int -> float, nearest even, any i: the product is exact, the sum rounds once. */
LK_FN float lk_f32_of_int(LK_I32 i)
{
    LK_F32 h = LK_TO_F32(i >> 12);
    h = h * 4096.0f;
    LK_F32 l = LK_TO_F32(i & 4095);
    h = h + l;
    return h;
}

/* e -> f32, exact: bits of a shorter float, without a sign, where a float has them; `bias`: what
 * its exponents lack, in place. */
LK_FN float lk_widened(LK_U32 e, LK_U32 bias)
{
    LK_F32 r;
    if (e < 0x00800000u) {
        r = lk_flt(e + bias + 0x00800000u);
        r = r - lk_flt(bias + 0x00800000u);
    } else {
        r = lk_flt(e + bias);
    }
    return r;
}

/* f16 bits -> f32, exact for every finite half; only the low 16 bits of h count. */
LK_FN float lk_f16_to_f32(LK_U32 h)
{
    LK_U32 r = lk_bits(lk_widened((h & 0x7fffu) << 13, 0x38000000u));
    return lk_flt(r | ((h & 0x8000u) << 16));
}

/* UE4M3 bits, below 0x7f -> f32, exact: 4 bits of an exponent with bias 7, 3 of a mantissa. */
LK_FN float lk_ue4m3_to_f32(LK_U32 h)
{
    return lk_widened(h << 20, 0x3C000000u);
}

LK_FN float lk_bf16_to_f32(LK_U32 h)
{
    return lk_flt(h << 16);
}

/* 1 / a, 2^-100 <= a <= 2^100, within 1.5 * 2^-24 relative, exact at powers of two. */
LK_FN float lk_rcp(float a)
{
    LK_F32 r = lk_flt(0x7EF311C7u - lk_bits(a));
    LK_F32 t = a * r;
    t = 2.0f - t;
    r = r * t;
    t = a * r;
    t = 2.0f - t;
    r = r * t;
    t = a * r;
    t = 1.0f - t;
    t = r * t;
    r = r + t;
    return r;
}

/* 1 / sqrt(a), 2^-100 <= a <= 2^100, within 1.8 * 2^-24 relative, exact at powers of four. */
LK_FN float lk_rsqrt(float a)
{
    LK_F32 r = lk_flt(0x5F3759DFu - (lk_bits(a) >> 1));
    LK_F32 h = 0.5f * a;
    LK_F32 t = r * r;
    t = h * t;
    t = 1.5f - t;
    r = r * t;
    t = r * r;
    t = h * t;
    t = 1.5f - t;
    r = r * t;
    t = r * r;
    t = h * t;
    t = 0.5f - t;
    t = r * t;
    r = r + t;
    return r;
}

/* e^f, |f| <= 0.347. */
LK_FN float lk_exp_core(float f)
{
    LK_F32 p = lk_flt(0x3AB511F2u);
    p = p * f;
    p = p + lk_flt(0x3C091D10u);
    p = p * f;
    p = p + lk_flt(0x3D2AAC79u);
    p = p * f;
    p = p + lk_flt(0x3E2AAA49u);
    p = p * f;
    p = p + lk_flt(0x3EFFFFFEu);
    LK_F32 s = f * f;
    p = p * s;
    p = p + f;
    p = p + 1.0f;
    return p;
}

/* x * 2^k by the exponent bits; the caller knows that the result is normal. */
LK_FN float lk_scale2(float x, LK_I32 k)
{
    return lk_flt(lk_bits(x) + (LK_UINT(k) << 23));
}

/* 2^(f + up), |f| <= 0.5, 0 <= up <= 96, within 2^-18 relative, exact at 0: every up has the same
 * roundings. */
LK_FN float lk_exp2_part_up(float f, LK_U32 up)
{
    LK_U32 by = up << 23;
    LK_F32 p = lk_flt(0x3C1D0166u + by);
    p = p * f;
    p = p + lk_flt(0x3D64FE23u + by);
    p = p * f;
    p = p + lk_flt(0x3E7601BCu + by);
    p = p * f;
    p = p + lk_flt(0x3F317096u + by);
    p = p * f;
    p = p + lk_flt(0x3F800000u + by);
    return p;
}

/* 2^f, |f| <= 0.5. */
LK_FN float lk_exp2_part(float f)
{
    return lk_exp2_part_up(f, 0u);
}

/* ---- integers of attention (rule 8); a > 0 is the largest magnitude of what they stand for ----
 */

/* What x is multiplied with before rte, so that |q| <= most. */
LK_FN float lk_cell_factor(float a, float most)
{
    LK_F32 r = lk_rcp(a);
    r = most * r;
    return r;
}

/* What an integer stands for: a / most; most is LK_Q_MOST or LK_BYTE_MOST. */
LK_FN float lk_cell_scale(float a, LK_I32 most)
{
    LK_F32 d = a * lk_flt(most == LK_BYTE_MOST ? 0x3C010204u : 0x3A111247u);
    return d;
}

/* The biased exponent that P of a chunk counts in: that of its largest w; 14 where that is less, so
 * that both powers below are normal numbers. */
LK_FN LK_I32 lk_weight_exponent(LK_U32 w_bits)
{
    LK_I32 e = LK_INT(w_bits >> 23);
    return e < 14 ? 14 : e;
}

/* 2^(LK_W_BITS - E) and 2^(E - LK_W_BITS) of that exponent. */
LK_FN float lk_weight_up(LK_I32 e)
{
    return lk_flt(LK_UINT(254 + LK_W_BITS - e) << 23);
}

LK_FN float lk_weight_down(LK_I32 e)
{
    return lk_flt(LK_UINT(e - LK_W_BITS) << 23);
}

/* e^v for v <= 0; +0 for v < -69. */
LK_FN float lk_exp(float v)
{
    bool cut = lk_bits(v) > 0xC28A0000u;
    LK_F32 a = cut ? lk_flt(0u) : v;
    LK_F32 t = a * lk_flt(0x3FB8AA3Bu);
    LK_I32 k = lk_rte(t);
    LK_F32 n = lk_f22(k);
    LK_F32 g = n * 0.693359375f;
    LK_F32 f = a - g;
    g = n * lk_flt(0x395E8083u);
    f = f + g;
    LK_F32 r = lk_scale2(lk_exp_core(f), k);
    return cut ? lk_flt(0u) : r;
}

LK_FN float lk_sigmoid(float x)
{
    LK_F32 e = lk_exp(lk_flt(lk_bits(x) | 0x80000000u));
    LK_F32 d = 1.0f + e;
    LK_F32 r = lk_rcp(d);
    LK_F32 q = e * r;
    return (lk_bits(x) >> 31) != 0u ? q : r;
}

LK_FN float lk_silu(float x)
{
    LK_F32 y = lk_sigmoid(x);
    y = x * y;
    return y;
}

LK_FN float lk_relu(float x)
{
    return (lk_bits(x) >> 31) != 0u ? 0.0f : x;
}

/* The tanh form of GELU written as x * sigmoid(2u), which does not cancel. */
LK_FN float lk_gelu(float x)
{
    LK_F32 s = x * x;
    s = lk_flt(0x3D922279u) * s;
    s = lk_flt(0x3FCC422Au) + s;
    s = x * s;
    LK_F32 y = lk_sigmoid(s);
    y = x * y;
    return y;
}

/* GELU by the error function: x times the normal distribution's share below x. Of |x| the share
 * above it is e^(-x^2/2) times a polynomial in 1 / (1 + 0.3 |x|), which does not cancel. */
LK_FN float lk_gelu_erf(float x)
{
    LK_F32 a = lk_flt(lk_magnitude(x));
    LK_F32 d = lk_flt(0x3E99999Au) * a;
    d = 1.0f + d;
    LK_F32 t = lk_rcp(d);
    LK_F32 p = lk_flt(0x3D19A17Cu);
    p = p * t;
    p = p + lk_flt(0xBE28D802u);
    p = p * t;
    p = p + lk_flt(0x3E60FAFCu);
    p = p * t;
    p = p + lk_flt(0xBD87694Bu);
    p = p * t;
    p = p + lk_flt(0x3E0A7CBEu);
    p = p * t;
    p = p + lk_flt(0x3DC8656Cu);
    p = p * t;
    p = p + lk_flt(0x3DF7FF6Bu);
    p = p * t;
    p = p + lk_flt(0x3DF4F44Bu);
    p = p * t;
    LK_F32 e = a * a;
    e = 0.5f * e;
    e = lk_exp(lk_flt(lk_bits(e) | 0x80000000u));
    LK_F32 above = p * e;
    LK_F32 below = 1.0f - above;
    LK_F32 y = (lk_bits(x) >> 31) != 0u ? above : below;
    y = x * y;
    return y;
}

LK_FN float lk_tanh(float x)
{
    LK_U32 u = lk_magnitude(x);
    LK_F32 a = lk_flt(u);
    bool small = u < 0x3F200000u; /* 0.625 */
    LK_F32 b = small ? a : lk_flt(0u);
    LK_F32 s = b * b;
    LK_F32 p = lk_flt(0xBBBAF0EAu);
    p = p * s;
    p = p + lk_flt(0x3CA9134Eu);
    p = p * s;
    p = p + lk_flt(0xBD5C1E2Du);
    p = p * s;
    p = p + lk_flt(0x3E088393u);
    p = p * s;
    p = p + lk_flt(0xBEAAAA99u);
    p = p * s;
    p = p * b;
    p = p + b;
    LK_F32 e = a + a;
    e = lk_exp(lk_flt(lk_bits(e) | 0x80000000u));
    LK_F32 n = 1.0f - e;
    LK_F32 d = 1.0f + e;
    n = n * lk_rcp(d);
    LK_F32 y = small ? p : n;
    y = u < 0x39800000u ? a : y; /* 2^-12 */
    return lk_flt(lk_bits(y) | (lk_bits(x) & 0x80000000u));
}

/* ln(1 + e^x), by 2 atanh(e / (2 + e)) of e = e^-|x|, which does not cancel. */
LK_FN float lk_softplus(float x)
{
    LK_F32 e = lk_exp(lk_flt(lk_bits(x) | 0x80000000u));
    LK_F32 d = 2.0f + e;
    LK_F32 s = e * lk_rcp(d);
    LK_F32 z = s * s;
    LK_F32 p = lk_flt(0x3E6DF7C7u);
    p = p * z;
    p = p + lk_flt(0x3E5E3DF0u);
    p = p * z;
    p = p + lk_flt(0x3E9264DFu);
    p = p * z;
    p = p + lk_flt(0x3ECCCC69u);
    p = p * z;
    p = p + lk_flt(0x3F2AAAABu);
    p = p * z;
    p = p * s;
    LK_F32 y = s + s;
    y = y + p;
    LK_F32 t = x + y;
    return (lk_bits(x) >> 31) != 0u ? y : t;
}

/* A sink of attention in base 2: its whole exponent, and its weight without that power (rule 8). */
LK_FN LK_I32 lk_sink_exponent(float s)
{
    LK_F32 v = lk_flush(s) * lk_flt(0x3FB8AA3Bu);
    return lk_rte(v);
}

LK_FN float lk_sink_weight(float s)
{
    LK_F32 v = lk_flush(s) * lk_flt(0x3FB8AA3Bu);
    LK_F32 f = v - lk_f22(lk_rte(v));
    return lk_exp2_part(f);
}

/* The GLU of gpt-oss: g at most 7, u within -7 and 7, g * sigmoid(1.702 g) * (u + 1). */
LK_FN float lk_glu_clamped(float g, float u)
{
    LK_I32 most = LK_INT(0x40E00000u);
    LK_I32 gi = LK_INT(lk_bits(g)), ui = LK_INT(lk_bits(u));
    LK_F32 a = gi > most ? lk_flt(LK_UINT(most)) : g;
    LK_F32 b = ui > most ? lk_flt(LK_UINT(most)) : u;
    b = lk_bits(b) > 0xC0E00000u ? lk_flt(0xC0E00000u) : b;
    LK_F32 s = lk_flt(0x3FD9DB23u) * a; /* 1.702 */
    s = lk_sigmoid(s);
    a = a * s;
    b = b + 1.0f;
    return a * b;
}

/* An order key: for finite a, b: a < b exactly when lk_order_key(a) < lk_order_key(b). */
LK_FN LK_I32 lk_order_key(float x)
{
    LK_I32 i = LK_INT(lk_bits(x));
    return i < 0 ? LK_INT(0x80000000u - lk_bits(x)) : i;
}

#endif

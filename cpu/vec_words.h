/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_words: the contract's conversions and primitives (src/base/numerics.h) in the words of a
 * simd_*.h, which the including file chose: a lane does what the function of numbers does.
 */
#ifndef LK_VEC_WORDS_H
#define LK_VEC_WORDS_H

#include <stdbool.h>
#include <string.h>

#include "base/numerics.h"

static inline sv_i sv_magnitude(sv_f x)
{
    return sv_and(sv_bits(x), sv_iset(0x7fffffffu));
}

static inline sv_f sv_flush(sv_f x)
{
    return sv_drop(sv_gt(sv_iset(LK_MIN_BITS), sv_magnitude(x)), x);
}

/* Bytes e of the rows as scales of MXFP4: 2^(e - 128), +0 below 2^-50. */
static inline sv_f sv_e8m0(const uint8_t *p)
{
    sv_i e = sv_ubytes(p);
    return sv_keep(sv_gt(e, sv_iset(77)), sv_flt(sv_shl(sv_isub(e, sv_iset(1)), 23)));
}

static inline sv_mask sv_out_of_range(sv_f x)
{
    return sv_gt(sv_magnitude(x), sv_iset(LK_MAX_BITS - 1u));
}

static inline sv_f sv_round13(sv_f x)
{
    sv_i u = sv_bits(x);
    sv_i odd = sv_and(sv_shr(u, 11), sv_iset(1u));
    u = sv_iadd(sv_iadd(u, sv_iset(1023u)), odd);
    return sv_flt(sv_and(u, sv_iset(~2047u)));
}

static inline sv_f sv_round16(sv_f x)
{
    sv_i u = sv_bits(x);
    sv_i odd = sv_and(sv_shr(u, 8), sv_iset(1u));
    u = sv_iadd(sv_iadd(u, sv_iset(127u)), odd);
    return sv_flt(sv_and(u, sv_iset(~255u)));
}

static inline sv_i sv_rte(sv_f x)
{
    return sv_isub(sv_bits(sv_add(x, sv_set(LK_MAGIC))), sv_iset(LK_MAGIC_BITS));
}

static inline sv_f sv_f22(sv_i i)
{
    return sv_sub(sv_flt(sv_iadd(i, sv_iset(LK_MAGIC_BITS))), sv_set(LK_MAGIC));
}

static inline sv_f sv_rcp(sv_f a)
{
    sv_f r = sv_flt(sv_isub(sv_iset(0x7EF311C7u), sv_bits(a)));
    r = sv_mul(r, sv_sub(sv_set(2.0f), sv_mul(a, r)));
    r = sv_mul(r, sv_sub(sv_set(2.0f), sv_mul(a, r)));
    return sv_add(r, sv_mul(r, sv_sub(sv_set(1.0f), sv_mul(a, r))));
}

static inline sv_f sv_const(uint32_t bits)
{
    return sv_flt(sv_iset(bits));
}

static inline sv_f sv_exp_core(sv_f f)
{
    sv_f p = sv_const(0x3AB511F2u);
    p = sv_add(sv_mul(p, f), sv_const(0x3C091D10u));
    p = sv_add(sv_mul(p, f), sv_const(0x3D2AAC79u));
    p = sv_add(sv_mul(p, f), sv_const(0x3E2AAA49u));
    p = sv_add(sv_mul(p, f), sv_const(0x3EFFFFFEu));
    p = sv_mul(p, sv_mul(f, f));
    p = sv_add(p, f);
    return sv_add(p, sv_set(1.0f));
}

static inline sv_f sv_scale2(sv_f x, sv_i k)
{
    return sv_flt(sv_iadd(sv_bits(x), sv_shl(k, 23)));
}

static inline sv_f sv_exp2_part(sv_f f)
{
    sv_f p = sv_const(0x3C1D0166u);
    p = sv_add(sv_mul(p, f), sv_const(0x3D64FE23u));
    p = sv_add(sv_mul(p, f), sv_const(0x3E7601BCu));
    p = sv_add(sv_mul(p, f), sv_const(0x3F317096u));
    return sv_add(sv_mul(p, f), sv_set(1.0f));
}

/* e^-a from magnitude bits of a; a >= 0. */
static inline sv_f sv_exp_neg(sv_i magnitude)
{
    sv_mask cut = sv_gt(magnitude, sv_iset(0x428A0000u)); /* 69 */
    sv_f v = sv_drop(cut, sv_flt(sv_or(magnitude, sv_iset(0x80000000u))));
    sv_i k = sv_rte(sv_mul(v, sv_const(0x3FB8AA3Bu)));
    sv_f n = sv_f22(k);
    sv_f f = sv_sub(v, sv_mul(n, sv_set(0.693359375f)));
    f = sv_add(f, sv_mul(n, sv_const(0x395E8083u)));
    return sv_drop(cut, sv_scale2(sv_exp_core(f), k));
}

static inline sv_f sv_sigmoid(sv_f x)
{
    sv_f e = sv_exp_neg(sv_magnitude(x));
    sv_f r = sv_rcp(sv_add(sv_set(1.0f), e));
    sv_mask negative = sv_gt(sv_iset(0u), sv_bits(x));
    return sv_pick(negative, sv_mul(e, r), r);
}

static inline sv_f sv_silu(sv_f x)
{
    return sv_mul(x, sv_sigmoid(x));
}

static inline sv_f sv_gelu(sv_f x)
{
    sv_f s = sv_mul(sv_const(0x3D922279u), sv_mul(x, x));
    s = sv_mul(x, sv_add(sv_const(0x3FCC422Au), s));
    return sv_mul(x, sv_sigmoid(s));
}

static inline sv_f sv_gelu_erf(sv_f x)
{
    sv_f a = sv_flt(sv_magnitude(x));
    sv_f t = sv_rcp(sv_add(sv_set(1.0f), sv_mul(sv_const(0x3E99999Au), a)));
    sv_f p = sv_const(0x3D19A17Cu);
    p = sv_add(sv_mul(p, t), sv_const(0xBE28D802u));
    p = sv_add(sv_mul(p, t), sv_const(0x3E60FAFCu));
    p = sv_add(sv_mul(p, t), sv_const(0xBD87694Bu));
    p = sv_add(sv_mul(p, t), sv_const(0x3E0A7CBEu));
    p = sv_add(sv_mul(p, t), sv_const(0x3DC8656Cu));
    p = sv_add(sv_mul(p, t), sv_const(0x3DF7FF6Bu));
    p = sv_add(sv_mul(p, t), sv_const(0x3DF4F44Bu));
    sv_f e = sv_exp_neg(sv_magnitude(sv_mul(sv_set(0.5f), sv_mul(a, a))));
    sv_f above = sv_mul(sv_mul(p, t), e);
    sv_mask negative = sv_gt(sv_iset(0u), sv_bits(x));
    return sv_mul(x, sv_pick(negative, above, sv_sub(sv_set(1.0f), above)));
}

static inline sv_f sv_tanh(sv_f x)
{
    sv_i u = sv_magnitude(x);
    sv_f a = sv_flt(u);
    sv_mask small = sv_gt(sv_iset(0x3F200000u), u); /* 0.625 */
    sv_f b = sv_keep(small, a);
    sv_f s = sv_mul(b, b);
    sv_f p = sv_const(0xBBBAF0EAu);
    p = sv_add(sv_mul(p, s), sv_const(0x3CA9134Eu));
    p = sv_add(sv_mul(p, s), sv_const(0xBD5C1E2Du));
    p = sv_add(sv_mul(p, s), sv_const(0x3E088393u));
    p = sv_add(sv_mul(p, s), sv_const(0xBEAAAA99u));
    p = sv_mul(sv_mul(p, s), b);
    p = sv_add(p, b);
    sv_f e = sv_exp_neg(sv_magnitude(sv_add(a, a)));
    sv_f y = sv_mul(sv_sub(sv_set(1.0f), e), sv_rcp(sv_add(sv_set(1.0f), e)));
    y = sv_pick(small, p, y);
    y = sv_pick(sv_gt(sv_iset(0x39800000u), u), a, y); /* 2^-12 */
    return sv_flt(sv_or(sv_bits(y), sv_and(sv_bits(x), sv_iset(0x80000000u))));
}

#endif

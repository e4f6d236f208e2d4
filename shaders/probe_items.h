/* SPDX-License-Identifier: Apache-2.0
 *
 * Probe_items: the known-answer sets of the exactness probe, one text compiled as C and as GLSL:
 * probe_item(item, i) is a word that must be the same on the host and on an exact device. Inputs
 * come from the index alone.
 */
#ifndef LK_VK_PROBE_ITEMS_H
#define LK_VK_PROBE_ITEMS_H

#define LK_PROBE_UNPACK  0u /* halves to floats by integers, all 65,536 */
#define LK_PROBE_CELLS   1u /* floats to the integers and scales of attention */
#define LK_PROBE_INT     2u /* int to float, ties beyond 2^24 included */
#define LK_PROBE_MULADD  3u /* a * b + c, rounded twice */
#define LK_PROBE_CHAIN   4u /* ordered sums of 40 products in panels of 8 */
#define LK_PROBE_EXACT   5u /* exact products by fma: fused or split, the same */
#define LK_PROBE_RCP     6u
#define LK_PROBE_RSQRT   7u
#define LK_PROBE_EXP2    8u
#define LK_PROBE_EXP     9u
#define LK_PROBE_TANH    10u
#define LK_PROBE_SIGMOID 11u
#define LK_PROBE_GELU    12u
#define LK_PROBE_FLUSH   13u /* rule 1's flush and flag on every class of value */
#define LK_PROBE_ROUND   14u /* 13 and 16 bit rounding, rte */
#define LK_PROBE_BLOCK   15u /* int8 block with scale, offset and centred nibbles */
#define LK_PROBE_SOFTMAX 16u /* chunk maxima, powers of two and a merge */
#define LK_PROBE_ITEMS   17u
/* Features: outside of the verdict, switched off when they differ. */
#define LK_PROBE_DOT     17u /* packed int8 dot product */
#define LK_PROBE_CONVERT 18u /* int to float by the device itself, for matrix units */
#define LK_PROBE_ALL     19u

LK_FN LK_U32 probe_mix(LK_U32 x)
{
    x = x * 0x9E3779B1u + 0x7F4A7C15u;
    x = x ^ (x >> 15);
    x = x * 0x85EBCA77u;
    x = x ^ (x >> 13);
    return x * 0xC2B2AE3Du + 0x165667B1u;
}

/* A float of either sign with an exponent in [low, low + span). */
LK_FN float probe_float(LK_U32 x, LK_U32 low, LK_U32 span)
{
    LK_U32 u = probe_mix(x);
    return lk_flt((u & 0x807fffffu) | ((low + (probe_mix(u) >> 8) % span) << 23));
}

LK_FN LK_U32 probe_chain(LK_U32 i)
{
    LK_F32 y = 0.0f;
    LK_U32 k = 0u;
    for (LK_U32 p = 0u; p < 5u; p++) {
        LK_F32 g = 0.0f;
        for (LK_U32 j = 0u; j < 8u; j++) {
            LK_F32 t = probe_float(i * 80u + 2u * k, 120u, 14u);
            LK_F32 v = probe_float(i * 80u + 2u * k + 1u, 120u, 14u);
            t = t * v;
            g = g + t;
            k++;
        }
        y = y + g;
    }
    return lk_bits(y);
}

LK_FN LK_U32 probe_exact(LK_U32 i)
{
    LK_F32 y = 0.0f;
    for (LK_U32 j = 0u; j < 32u; j++) {
        LK_F32 x = lk_round13(probe_float(i * 64u + 2u * j, 120u, 14u));
        LK_U32 h = probe_mix(i * 64u + 2u * j + 1u);
        LK_F32 w = lk_f16_to_f32(h & 0xbfffu);
#ifdef LK_GLSL
        y = fma(x, w, y);
#else
        LK_F32 t = x * w;
        y = y + t;
#endif
    }
    return lk_bits(y);
}

LK_FN LK_U32 probe_flush(LK_U32 i)
{
    LK_U32 u = probe_mix(i);
    LK_U32 k = i % 8u;
    u = k == 0u ? (u & 0x80000000u) : k == 1u ? (u & 0x807fffffu) : u; /* zeros, subnormals */
    u = k == 2u ? ((u & 0x80000000u) | (LK_MIN_BITS + (u & 3u) - 2u)) : u;
    u = k == 3u ? ((u & 0x80000000u) | (LK_MAX_BITS + (u & 3u) - 2u)) : u;
    u = k == 4u ? ((u & 0x803fffffu) | 0x7f800000u) : u; /* infinities and NaNs */
    LK_F32 x = lk_flt(u);
    LK_U32 flag = lk_out_of_range(x) ? 1u : 0u;
    return flag != 0u ? 0xffffffffu : lk_bits(lk_flush(x));
}

/* dot = sum of 32 products of int8; offset form of the 32-element blocks. */
LK_FN LK_U32 probe_block(LK_U32 i)
{
    LK_I32 dot = 0;
    LK_I32 sum = 0;
    for (LK_U32 j = 0u; j < 32u; j++) {
        LK_U32 u = probe_mix(i * 32u + j);
        LK_I32 q = LK_INT(u & 255u) - 128;
        LK_I32 x = LK_INT((u >> 8) & 255u) - 128;
        x = x < -127 ? -127 : x;
        q = (u & 0x70000u) == 0u ? -128 : q;
        dot = dot + q * x;
        sum = sum + x;
    }
    LK_F32 dx = lk_flt(lk_bits(probe_float(i, 110u, 20u)) & 0x7fffffffu);
    LK_F32 d = lk_f16_to_f32(probe_mix(i + 7u) & 0xbfffu);
    LK_F32 m = lk_f16_to_f32(probe_mix(i + 9u) & 0xbfffu);
    LK_F32 p = d * dx;
    p = p * lk_f22(dot);
    LK_F32 s = dx * lk_f22(sum);
    s = m * s;
    p = p + s;
    LK_F32 k = d * dx;
    k = k * lk_f32_of_int(dot * 255 + sum);
    p = p - k;
    return lk_bits(lk_flush(p));
}

/* p of key j of chunk c, whose largest whole exponent is n. */
LK_FN float probe_weight(LK_U32 i, LK_U32 c, LK_U32 j, LK_I32 n)
{
    LK_F32 s = probe_float(i * 64u + c * 8u + j, 118u, 16u);
    LK_I32 k = lk_rte(s);
    LK_F32 f = s - lk_f22(k);
    LK_F32 p = lk_exp2_part(f);
    return k - n < LK_P_CUT ? lk_flt(0u) : lk_scale2(p, k - n);
}

LK_FN LK_U32 probe_softmax(LK_U32 i)
{
    LK_F32 l = 0.0f;
    LK_F32 o = 0.0f;
    LK_I32 n = -0x7fffffff;
    for (LK_U32 c = 0u; c < 3u; c++) {
        LK_I32 nc = -0x7fffffff;
        for (LK_U32 j = 0u; j < 6u; j++) {
            LK_I32 k = lk_rte(probe_float(i * 64u + c * 8u + j, 118u, 16u));
            nc = k > nc ? k : nc;
        }
        LK_I32 count = 0;
        LK_U32 most = 0u;
        for (LK_U32 j = 0u; j < 6u; j++) {
            LK_F32 p = probe_weight(i, c, j, nc);
            LK_F32 t = p * lk_flt(LK_UINT(127 + LK_L_BITS) << 23);
            count = count + lk_rte(t);
            t = p * lk_flt(lk_bits(probe_float(i + 31u * j + c, 100u, 30u)) & 0x7fffffffu);
            most = lk_bits(t) > most ? lk_bits(t) : most;
        }
        LK_I32 e = lk_weight_exponent(most);
        LK_I32 sum = 0;
        for (LK_U32 j = 0u; j < 6u; j++) {
            LK_F32 t = probe_weight(i, c, j, nc);
            t = t * lk_flt(lk_bits(probe_float(i + 31u * j + c, 100u, 30u)) & 0x7fffffffu);
            t = t * lk_weight_up(e);
            sum = sum + lk_rte(t) * (LK_INT(probe_mix(i + 17u * j + c) & 255u) - 128);
        }
        LK_F32 lc = lk_f32_of_int(count);
        lc = lc * lk_flt(LK_UINT(127 - LK_L_BITS) << 23);
        LK_F32 oc = lk_f32_of_int(sum);
        oc = oc * lk_weight_down(e);
        oc = lk_flush(oc);
        LK_I32 nn = n > nc ? n : nc;
        LK_F32 fo =
            c == 0u || n - nn < LK_MERGE_CUT ? lk_flt(0u) : lk_flt(LK_UINT(127 + n - nn) << 23);
        LK_F32 fn = nc - nn < LK_MERGE_CUT ? lk_flt(0u) : lk_flt(LK_UINT(127 + nc - nn) << 23);
        LK_F32 a = l * fo;
        LK_F32 b = lc * fn;
        l = a + b;
        a = o * fo;
        b = oc * fn;
        a = a + b;
        o = lk_flush(a);
        n = nn;
    }
    o = o * lk_rcp(l);
    return lk_bits(lk_flush(o));
}

LK_FN LK_I32 probe_byte(LK_U32 word, LK_U32 i)
{
    LK_I32 b = LK_INT((word >> (8u * i)) & 255u);
    return b > 127 ? b - 256 : b;
}

/* Words whose bytes are extremes one time in four. */
LK_FN LK_U32 probe_bytes(LK_U32 x)
{
    LK_U32 u = probe_mix(x);
    LK_U32 k = (u >> 5) & 7u;
    return k == 0u ? 0x80808080u : k == 1u ? 0x7f7f7f7fu : k == 2u ? 0x7f80817fu : u;
}

/* Integers of 25 to 31 bits and either sign: halfway between two floats, one less and one more. */
LK_FN LK_I32 probe_tie(LK_U32 i)
{
    LK_U32 shift = 1u + i % 7u;
    LK_U32 u = ((probe_mix(i) & 0x7fffffu) | 0x800000u) << shift;
    LK_I32 v = LK_INT(u + (1u << (shift - 1u)) + i / 7u % 3u - 1u);
    return (i & 1u) != 0u ? -v : v;
}

LK_FN LK_U32 probe_item(LK_U32 item, LK_U32 i)
{
    if (item == LK_PROBE_UNPACK) {
        return lk_bits(lk_f16_to_f32(i & 0xffffu));
    }
    if (item == LK_PROBE_CELLS) {
        LK_F32 a = lk_flt(lk_bits(probe_float(i, 77u, 90u)) & 0x7fffffffu);
        LK_I32 most = (i & 1u) == 0u ? LK_Q_MOST : LK_BYTE_MOST;
        LK_F32 x = a * lk_flt(0x3F000000u | (probe_mix(i + 3u) & 0x7fffffu));
        x = x * lk_cell_factor(a, LK_TO_F32(most));
        LK_U32 u = LK_UINT(lk_rte(x)) * 3u ^ lk_bits(lk_cell_scale(a, most));
        LK_I32 e = lk_weight_exponent(lk_bits(a));
        LK_F32 w = a * lk_weight_up(e);
        return u ^ LK_UINT(lk_rte(w)) * 5u ^ lk_bits(lk_weight_down(e));
    }
    if (item == LK_PROBE_INT) {
        LK_U32 u = probe_mix(i);
        LK_U32 shift = i % 30u;
        LK_I32 v = LK_INT(u) >> LK_INT(shift);
        v = (i & 32u) != 0u && shift > 8u ? (v | 1) * 2 + 1 : v;
        return lk_bits(lk_f32_of_int(v)) ^ (lk_bits(lk_f22(v >> 10)) * 3u);
    }
    if (item == LK_PROBE_CONVERT) {
#ifdef LK_GLSL
        return lk_bits(LK_TO_F32(probe_tie(i))) ^ (lk_bits(LK_TO_F32(LK_INT(probe_mix(i)))) * 3u);
#else
        return lk_bits(lk_f32_of_int(probe_tie(i))) ^
               (lk_bits(lk_f32_of_int(LK_INT(probe_mix(i)))) * 3u);
#endif
    }
    if (item == LK_PROBE_MULADD) {
        LK_F32 t = probe_float(3u * i, 117u, 30u);
        LK_F32 b = probe_float(3u * i + 1u, 117u, 20u);
        t = t * b;
        LK_F32 c = lk_flt(lk_bits(t) ^ 0x80000000u);
        c = (i & 1u) != 0u ? probe_float(3u * i + 2u, 117u, 50u) : lk_flt(lk_bits(c) + (i & 6u));
        t = t + c;
        return lk_bits(lk_flush(t));
    }
    if (item == LK_PROBE_CHAIN) {
        return probe_chain(i);
    }
    if (item == LK_PROBE_EXACT) {
        return probe_exact(i);
    }
    if (item == LK_PROBE_FLUSH) {
        return probe_flush(i);
    }
    if (item == LK_PROBE_BLOCK) {
        return probe_block(i);
    }
    if (item == LK_PROBE_SOFTMAX) {
        return probe_softmax(i);
    }
    LK_F32 wide = probe_float(i, 77u, 90u);
    LK_F32 near_ = probe_float(i, 107u, 26u);
    LK_F32 mag = lk_flt(lk_bits(wide) & 0x7fffffffu);
    LK_F32 neg = lk_flt(lk_bits(near_) | 0x80000000u);
    if (item == LK_PROBE_RCP) {
        return lk_bits(lk_rcp(mag));
    }
    if (item == LK_PROBE_RSQRT) {
        return lk_bits(lk_rsqrt(mag));
    }
    if (item == LK_PROBE_EXP2) {
        return lk_bits(lk_exp2_part(probe_float(i, 95u, 31u)));
    }
    if (item == LK_PROBE_EXP) {
        return lk_bits(lk_exp(neg));
    }
    if (item == LK_PROBE_TANH) {
        return lk_bits(lk_tanh(near_));
    }
    if (item == LK_PROBE_SIGMOID) {
        return lk_bits(lk_flush(lk_sigmoid(near_)));
    }
    if (item == LK_PROBE_GELU) {
        return lk_bits(lk_flush(lk_gelu(near_))) ^ (lk_bits(lk_flush(lk_gelu_erf(near_))) * 5u);
    }
    if (item == LK_PROBE_ROUND) {
        LK_F32 r = probe_float(i, 110u, 38u);
        return lk_bits(lk_round13(wide)) ^ (lk_bits(lk_round16(near_)) * 5u) ^
               (LK_UINT(lk_rte(r)) * 7u);
    }
    LK_U32 a = probe_bytes(2u * i);
    LK_U32 b = probe_bytes(2u * i + 1u);
#ifdef LK_GLSL
    return uint(dot4(a, b));
#else
    LK_I32 dot = 0;
    for (LK_U32 k = 0u; k < 4u; k++) {
        dot += probe_byte(a, k) * probe_byte(b, k);
    }
    return LK_UINT(dot);
#endif
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_body: packed matmul in the words of a simd_*.h and of the including file, which defines
 *
 *   qv (bytes of SV_LANES rows), MM_TOKENS (tokens of a tile)
 *   qv_load(p): 4 bytes of each row     qv_and, qv_or, qv_srl(x, n), qv_sll(x, n) by 16-bit words
 *   qv_lookup(table, n): table[n] of each byte n
 *   qv_splat(x): a byte everywhere      qv_bcast(q): 4 activations to every row
 *   qv_dot(acc, u, x): acc + the dots of unsigned u and signed x, in the accumulator's own form
 *     (16 bits without dot-product instructions); QV_DOTS5, QV_DOTS6: how many dots of weights of 5
 *     and 6 bits it holds, at most the 8 and the 4 that share a scale
 *   qv_sum(acc), qv_scaled(acc, s): as int32; times a scale from qv_scales
 *   qv_scales_u(p), qv_scales_s(p): 8-bit scales of the rows; qv_scales_low / _high: nibbles
 *   qv_mins(p): pairs of 8-bit mins of the rows; qv_pairs_s(p, q): pairs of two 8-bit scales
 *   qv_pair_dot(acc, pairs, two): acc + pairs times two int16 values
 *   qv_dot8(acc32, u, x): dots of weights stored + 128; QV_BIAS8: what is still to be taken off
 *   and where it defines QV_PAIRS (qv is then the form of int32 too, QV_BIAS8 is 0)
 *     qv_dot_pair(acc[2], u[2], q0, q1): acc + the dots of two chunks and 8 activations of each of
 *       two tokens, qv_dot8_pair: of weights stored + 128; in a form that qv_unpair(acc[2]) ends
 *   sv_cvt(i): int32 to f32; sv_halves(p): f16 of the rows; sv_ue4m3(p): half of UE4M3 of the rows;
 *   sv_ubytes(p), sv_sbytes(p): bytes of the rows as int32; sv_imul(a, b)
 *
 * A lane owns an output row: integers in any order, floats in the order of rules 3 and 5.
 */
#include <stdbool.h>
#include <string.h>

#include "cpu/matmul_types.h"
#include "cpu/pack.h"

#define MM_INLINE static inline __attribute__((always_inline))

enum { MM_VECS = LK_PACK_ROWS / SV_LANES }; /* vectors of a group */

struct mm_x { /* a tile's prepared rows */
    struct lk_acts_row row[MM_TOKENS];
};

/* p = (dw * dx) * F(i), the common end of most types. */
MM_INLINE sv_f scale_product(sv_f dw, float dx, sv_i i)
{
    return sv_mul(sv_mul(dw, sv_set(dx)), sv_cvt(i));
}

MM_INLINE int32_t load_pair(const int16_t *p)
{
    int32_t two;
    memcpy(&two, p, sizeof two);
    return two;
}

/* ---- dots of QV_STEP chunks of weights u with the activations from k on, into acc[t] ---- */

#ifdef QV_PAIRS
enum { QV_STEP = 2 };
#else
enum { QV_STEP = 1 };
#endif

MM_INLINE void add_dots(int n_tok, const qv *u, const struct mm_x *x, size_t k, qv *acc)
{
    int t = 0;
#ifdef QV_PAIRS
    for (; t + 1 < n_tok; t += 2) {
        qv_dot_pair(acc + t, u, x->row[t].q + k, x->row[t + 1].q + k);
    }
#endif
    for (; t < n_tok; t++) {
        for (int i = 0; i < QV_STEP; i++) {
            acc[t] = qv_dot(acc[t], u[i], qv_bcast(x->row[t].q + k + 4 * i));
        }
    }
}

MM_INLINE void add_dots8(int n_tok, const qv *u, const struct mm_x *x, size_t k, sv_i *acc)
{
    int t = 0;
#ifdef QV_PAIRS
    for (; t + 1 < n_tok; t += 2) {
        qv_dot8_pair(acc + t, u, x->row[t].q + k, x->row[t + 1].q + k);
    }
#endif
    for (; t < n_tok; t++) {
        for (int i = 0; i < QV_STEP; i++) {
            acc[t] = qv_dot8(acc[t], u[i], qv_bcast(x->row[t].q + k + 4 * i));
        }
    }
}

/* Gives each token its own sums, after the last dots. */
MM_INLINE void end_dots(int n_tok, qv *acc)
{
#ifdef QV_PAIRS
    for (int t = 0; t + 1 < n_tok; t += 2) {
        qv_unpair(acc + t);
    }
#else
    (void)n_tok;
    (void)acc;
#endif
}

/* ---- 32-blocks; blk points at the block, half-offset h bytes into each 64-byte chunk ---- */

/* Dots of 4- or 5-bit weights with each token's block: out[t], unsigned. */
MM_INLINE void dots_nibbles(int n_tok, const uint8_t *chunks, const uint8_t *high, size_t h,
                            const struct mm_x *x, size_t k, sv_i *out)
{
    qv lo_acc[MM_TOKENS], hi_acc[MM_TOKENS];
    qv bits = high ? qv_load(high + h) : qv_splat(0);
    for (int t = 0; t < n_tok; t++) {
        lo_acc[t] = hi_acc[t] = qv_splat(0);
    }
#pragma GCC unroll 4
    for (int g = 0; g < 4; g += QV_STEP) {
        qv lo[QV_STEP], hi[QV_STEP];
        for (int i = 0; i < QV_STEP; i++) {
            qv c = qv_load(chunks + (g + i) * 64 + h);
            lo[i] = qv_and(c, qv_splat(15));
            hi[i] = qv_and(qv_srl(c, 4), qv_splat(15));
            if (high) {
                qv bit = qv_splat(16);
                lo[i] = qv_or(lo[i], qv_and(qv_sll(bits, 4 - g - i), bit));
                hi[i] = qv_or(hi[i], qv_and(g + i == 0 ? bits : qv_srl(bits, g + i), bit));
            }
        }
        add_dots(n_tok, lo, x, k + 4 * (size_t)g, lo_acc);
        add_dots(n_tok, hi, x, k + 16 + 4 * (size_t)g, hi_acc);
    }
    end_dots(n_tok, lo_acc);
    end_dots(n_tok, hi_acc);
    for (int t = 0; t < n_tok; t++) {
        /* Both halves fit one accumulator for 4 bits, not for 5 in the narrow form. */
        out[t] = high ? sv_iadd(qv_sum(lo_acc[t]), qv_sum(hi_acc[t]))
                      : qv_sum(qv_add(lo_acc[t], hi_acc[t]));
    }
}

MM_INLINE void block_q4_0(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    sv_i dot[MM_TOKENS];
    dots_nibbles(n_tok, blk, NULL, h, x, (size_t)b * 32, dot);
    sv_f dw = sv_halves(blk + 256 + h / 2);
    for (int t = 0; t < n_tok; t++) {
        sv_i off = sv_iset((uint32_t)(8 * x->row[t].sum[b]));
        p[t] = scale_product(dw, x->row[t].d[b], sv_isub(dot[t], off));
    }
}

MM_INLINE void block_q4_1(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    sv_i dot[MM_TOKENS];
    dots_nibbles(n_tok, blk, NULL, h, x, (size_t)b * 32, dot);
    sv_f dw = sv_halves(blk + 256 + h / 2), mw = sv_halves(blk + 288 + h / 2);
    for (int t = 0; t < n_tok; t++) {
        p[t] =
            sv_add(scale_product(dw, x->row[t].d[b], dot[t]), sv_mul(mw, sv_set(x->row[t].sd[b])));
    }
}

MM_INLINE void block_q5_0(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    sv_i dot[MM_TOKENS];
    dots_nibbles(n_tok, blk, blk + 256, h, x, (size_t)b * 32, dot);
    sv_f dw = sv_halves(blk + 320 + h / 2);
    for (int t = 0; t < n_tok; t++) {
        sv_i off = sv_iset((uint32_t)(16 * x->row[t].sum[b]));
        p[t] = scale_product(dw, x->row[t].d[b], sv_isub(dot[t], off));
    }
}

MM_INLINE void block_q5_1(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    sv_i dot[MM_TOKENS];
    dots_nibbles(n_tok, blk, blk + 256, h, x, (size_t)b * 32, dot);
    sv_f dw = sv_halves(blk + 320 + h / 2), mw = sv_halves(blk + 352 + h / 2);
    for (int t = 0; t < n_tok; t++) {
        p[t] =
            sv_add(scale_product(dw, x->row[t].d[b], dot[t]), sv_mul(mw, sv_set(x->row[t].sd[b])));
    }
}

MM_INLINE void block_q8_0(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    sv_i dot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        dot[t] = sv_iset((uint32_t)(-QV_BIAS8 * x->row[t].sum[b]));
    }
#pragma GCC unroll 8
    for (int g = 0; g < 8; g += QV_STEP) {
        qv u[QV_STEP];
        for (int i = 0; i < QV_STEP; i++) {
            u[i] = qv_load(blk + (g + i) * 64 + h);
        }
        add_dots8(n_tok, u, x, (size_t)b * 32 + 4 * (size_t)g, dot);
    }
    end_dots(n_tok, dot);
    sv_f dw = sv_halves(blk + 512 + h / 2);
    for (int t = 0; t < n_tok; t++) {
        p[t] = scale_product(dw, x->row[t].d[b], dot[t]);
    }
}

/* ---- nibbles that stand for the values of a table ---- */

/* What the low and the high nibbles of a step's chunks stand for. */
MM_INLINE void load_table(const uint8_t *table, const uint8_t *chunks, qv *lo, qv *hi)
{
    for (int i = 0; i < QV_STEP; i++) {
        qv c = qv_load(chunks + i * 64);
        lo[i] = qv_lookup(table, qv_and(c, qv_splat(15)));
        hi[i] = qv_lookup(table, qv_and(qv_srl(c, 4), qv_splat(15)));
    }
}

/* dot[t] += the products of 32 elements at k. */
MM_INLINE void dots_table(int n_tok, const uint8_t *table, const uint8_t *chunks, size_t h,
                          const struct mm_x *x, size_t k, sv_i *dot)
{
#pragma GCC unroll 4
    for (int g = 0; g < 4; g += QV_STEP) {
        qv lo[QV_STEP], hi[QV_STEP];
        load_table(table, chunks + g * 64 + h, lo, hi);
        add_dots8(n_tok, lo, x, k + 4 * (size_t)g, dot);
        add_dots8(n_tok, hi, x, k + 16 + 4 * (size_t)g, dot);
    }
    end_dots(n_tok, dot);
}

MM_INLINE void block_table(int n_tok, const uint8_t *table, const uint8_t *blk, sv_f dw, size_t h,
                           const struct mm_x *x, int64_t b, sv_f *p)
{
    sv_i dot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        dot[t] = sv_iset((uint32_t)(-QV_BIAS8 * x->row[t].sum[b]));
    }
    dots_table(n_tok, table, blk, h, x, (size_t)b * 32, dot);
    for (int t = 0; t < n_tok; t++) {
        p[t] = scale_product(dw, x->row[t].d[b], dot[t]);
    }
}

MM_INLINE void block_iq4_nl(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x,
                            int64_t b, sv_f *p)
{
    block_table(n_tok, lk_pack_iq4, blk, sv_halves(blk + 256 + h / 2), h, x, b, p);
}

MM_INLINE void block_mxfp4(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                           sv_f *p)
{
    block_table(n_tok, lk_pack_mxfp4, blk, sv_e8m0(blk + 256 + h / 4), h, x, b, p);
}

/* Half of a block of NVFP4: each 16 elements have a scale, whose product with their sum is exact.
 */
MM_INLINE void block_nvfp4(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                           sv_f *p)
{
    const uint8_t *scales = blk + 256 + h / 4;
    size_t k = (size_t)b * 32;
    qv lo_acc[MM_TOKENS], hi_acc[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        lo_acc[t] = hi_acc[t] = qv_splat(0);
    }
#pragma GCC unroll 4
    for (int g = 0; g < 4; g += QV_STEP) {
        qv lo[QV_STEP], hi[QV_STEP];
        load_table(lk_pack_nvfp4, blk + g * 64 + h, lo, hi);
        add_dots(n_tok, lo, x, k + 4 * (size_t)g, lo_acc);
        add_dots(n_tok, hi, x, k + 16 + 4 * (size_t)g, hi_acc);
    }
    end_dots(n_tok, lo_acc);
    end_dots(n_tok, hi_acc);
    sv_f s0 = sv_ue4m3(scales), s1 = sv_ue4m3(scales + LK_PACK_ROWS);
    for (int t = 0; t < n_tok; t++) {
        const int16_t *sum = x->row[t].sum16 + 2 * b;
        sv_i i0 = sv_isub(qv_sum(lo_acc[t]), sv_iset((uint32_t)(12 * sum[0])));
        sv_i i1 = sv_isub(qv_sum(hi_acc[t]), sv_iset((uint32_t)(12 * sum[1])));
        sv_f v = sv_fma(s1, sv_cvt(i1), sv_mul(s0, sv_cvt(i0)));
        p[t] = sv_mul(v, sv_set(x->row[t].d[b]));
    }
}

/* ---- 256-blocks ---- */

MM_INLINE void block_iq4_xs(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x,
                            int64_t b, sv_f *p)
{
    const uint8_t *scales = blk + 2048, *d = scales + 8 * LK_PACK_ROWS;
    sv_i tot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = sv_iset(0);
    }
    for (int s = 0; s < 8; s++) {
        sv_i dot[MM_TOKENS], scale = sv_sbytes(scales + s * LK_PACK_ROWS + h / 4);
        for (int t = 0; t < n_tok; t++) {
            dot[t] = sv_iset((uint32_t)(-QV_BIAS8 * x->row[t].sum32[b * 8 + s]));
        }
        dots_table(n_tok, lk_pack_iq4, blk + s * 256, h, x, (size_t)(b * 256 + s * 32), dot);
        for (int t = 0; t < n_tok; t++) {
            tot[t] = sv_iadd(tot[t], sv_imul(dot[t], scale));
        }
    }
    sv_f dw = sv_halves(d + h / 2);
    for (int t = 0; t < n_tok; t++) {
        p[t] = scale_product(dw, x->row[t].d[b], tot[t]);
    }
}

/* tot[t] += scales * dots of 64 elements at k: nibbles of 8 chunks, low = the first 32. Where high
 * is given, bits `bit` and `bit` + 1 of its bytes are the fifth bits. */
MM_INLINE void dots_sub_blocks(int n_tok, const uint8_t *chunks, const uint8_t *high, int bit,
                               const uint8_t *scales, size_t h, const struct mm_x *x, size_t k,
                               sv_i *tot)
{
    qv s_lo = qv_scales_u(scales + h / 4), s_hi = qv_scales_u(scales + LK_PACK_ROWS + h / 4);
    int n = high ? QV_DOTS5 : 8; /* chunks that an accumulator takes */
    for (int first = 0; first < 8; first += n) {
        qv lo_acc[MM_TOKENS], hi_acc[MM_TOKENS];
        for (int t = 0; t < n_tok; t++) {
            lo_acc[t] = hi_acc[t] = qv_splat(0);
        }
#pragma GCC unroll 8
        for (int from = 0; from < n; from += QV_STEP) {
            int g = first + from;
            qv lo[QV_STEP], hi[QV_STEP];
            for (int i = 0; i < QV_STEP; i++) {
                qv c = qv_load(chunks + (g + i) * 64 + h);
                lo[i] = qv_and(c, qv_splat(15));
                hi[i] = qv_and(qv_srl(c, 4), qv_splat(15));
                if (high) {
                    qv bits = qv_srl(qv_load(high + (g + i) * 64 + h), bit);
                    lo[i] = qv_or(lo[i], qv_sll(qv_and(bits, qv_splat(1)), 4));
                    hi[i] = qv_or(hi[i], qv_sll(qv_and(bits, qv_splat(2)), 3));
                }
            }
            add_dots(n_tok, lo, x, k + 4 * (size_t)g, lo_acc);
            add_dots(n_tok, hi, x, k + 32 + 4 * (size_t)g, hi_acc);
        }
        end_dots(n_tok, lo_acc);
        end_dots(n_tok, hi_acc);
        for (int t = 0; t < n_tok; t++) {
            tot[t] = sv_iadd(tot[t], qv_scaled(lo_acc[t], s_lo));
            tot[t] = sv_iadd(tot[t], qv_scaled(hi_acc[t], s_hi));
        }
    }
}

/* p = ((d * dx) * F(tot)) - ((dmin * dx) * F(mins)) */
MM_INLINE void end_with_mins(int n_tok, sv_f d, sv_f dmin, const struct mm_x *x, int64_t b,
                             const sv_i *tot, const sv_i *mins, sv_f *p)
{
    for (int t = 0; t < n_tok; t++) {
        float dx = x->row[t].d[b];
        p[t] = sv_sub(scale_product(d, dx, tot[t]), scale_product(dmin, dx, mins[t]));
    }
}

MM_INLINE void block_q45_k(int n_tok, const uint8_t *blk, const uint8_t *high,
                           const uint8_t *scales, size_t h, const struct mm_x *x, int64_t b,
                           sv_f *p)
{
    const uint8_t *mins = scales + 8 * LK_PACK_ROWS, *d = mins + 8 * LK_PACK_ROWS;
    sv_i tot[MM_TOKENS], m[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = m[t] = sv_iset(0);
    }
    for (int j = 0; j < 4; j++) {
        dots_sub_blocks(n_tok, blk + j * 512, high, 2 * j, scales + j * 2 * LK_PACK_ROWS, h, x,
                        (size_t)b * 256 + (size_t)j * 64, tot);
        qv pairs = qv_mins(mins + j * 2 * LK_PACK_ROWS + h / 2);
        for (int t = 0; t < n_tok; t++) {
            m[t] = qv_pair_dot(m[t], pairs, load_pair(x->row[t].sum32 + b * 8 + j * 2));
        }
    }
    end_with_mins(n_tok, sv_halves(d + h / 2), sv_halves(d + 2 * LK_PACK_ROWS + h / 2), x, b, tot,
                  m, p);
}

MM_INLINE void block_q4_k(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    block_q45_k(n_tok, blk, NULL, blk + 2048, h, x, b, p);
}

MM_INLINE void block_q5_k(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    block_q45_k(n_tok, blk, blk + 2048, blk + 2560, h, x, b, p);
}

MM_INLINE void block_q2_k(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    const uint8_t *scales = blk + 1024, *d = scales + 16 * LK_PACK_ROWS;
    sv_i tot[MM_TOKENS], m[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = m[t] = sv_iset(0);
    }
    /* Sub-block s of 16 elements: half s/8, bits 2 * (s/2 % 4), chunks 4 * (s % 2) .. + 4. */
    for (int s = 0; s < 16; s++) {
        const uint8_t *chunks = blk + (s / 8) * 512 + (s % 2) * 256;
        qv acc[MM_TOKENS];
        for (int t = 0; t < n_tok; t++) {
            acc[t] = qv_splat(0);
        }
#pragma GCC unroll 4
        for (int g = 0; g < 4; g += QV_STEP) {
            qv u[QV_STEP];
            for (int i = 0; i < QV_STEP; i++) {
                qv c = qv_load(chunks + (g + i) * 64 + h);
                u[i] = qv_and(qv_srl(c, 2 * (s / 2 % 4)), qv_splat(3));
            }
            add_dots(n_tok, u, x, (size_t)(b * 256 + s * 16 + 4 * g), acc);
        }
        end_dots(n_tok, acc);
        qv sc = qv_scales_low(scales + s * LK_PACK_ROWS + h / 4);
        qv mn = qv_scales_high(scales + s * LK_PACK_ROWS + h / 4);
        for (int t = 0; t < n_tok; t++) {
            tot[t] = sv_iadd(tot[t], qv_scaled(acc[t], sc));
            /* A pair of the sum and 0, and a scale in either half of a pair. */
            m[t] = qv_pair_dot(m[t], mn, (int32_t)(uint16_t)x->row[t].sum16[b * 16 + s]);
        }
    }
    end_with_mins(n_tok, sv_halves(d + h / 2), sv_halves(d + 2 * LK_PACK_ROWS + h / 2), x, b, tot,
                  m, p);
}

/* tot - centre * sum over sub-blocks of scale * sum16, then the product. */
MM_INLINE void end_centred(int n_tok, const uint8_t *scales, int shift, sv_f d, size_t h,
                           const struct mm_x *x, int64_t b, sv_i *tot, sv_f *p)
{
    sv_i off[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        off[t] = sv_iset(0);
    }
    for (int s = 0; s < 16; s += 2) {
        qv pairs =
            qv_pairs_s(scales + s * LK_PACK_ROWS + h / 4, scales + (s + 1) * LK_PACK_ROWS + h / 4);
        for (int t = 0; t < n_tok; t++) {
            off[t] = qv_pair_dot(off[t], pairs, load_pair(x->row[t].sum16 + b * 16 + s));
        }
    }
    for (int t = 0; t < n_tok; t++) {
        sv_i i = sv_isub(tot[t], shift == 5 ? sv_shl(off[t], 5) : sv_shl(off[t], 2));
        p[t] = scale_product(d, x->row[t].d[b], i);
    }
}

MM_INLINE void block_q3_k(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    const uint8_t *hmask = blk + 1024, *scales = hmask + 512, *d = scales + 16 * LK_PACK_ROWS;
    sv_i tot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = sv_iset(0);
    }
#pragma GCC unroll 16
    for (int s = 0; s < 16; s++) {
        const uint8_t *chunks = blk + (s / 8) * 512 + (s % 2) * 256;
        qv acc[MM_TOKENS];
        for (int t = 0; t < n_tok; t++) {
            acc[t] = qv_splat(0);
        }
#pragma GCC unroll 4
        for (int g = 0; g < 4; g += QV_STEP) {
            qv u[QV_STEP];
            for (int i = 0; i < QV_STEP; i++) {
                qv c = qv_load(chunks + (g + i) * 64 + h);
                u[i] = qv_and(qv_srl(c, 2 * (s / 2 % 4)), qv_splat(3));
                qv bit = qv_srl(qv_load(hmask + (s % 2) * 256 + (g + i) * 64 + h), s / 2);
                u[i] = qv_or(u[i], qv_sll(qv_and(bit, qv_splat(1)), 2));
            }
            add_dots(n_tok, u, x, (size_t)(b * 256 + s * 16 + 4 * g), acc);
        }
        end_dots(n_tok, acc);
        qv sc = qv_scales_s(scales + s * LK_PACK_ROWS + h / 4);
        for (int t = 0; t < n_tok; t++) {
            tot[t] = sv_iadd(tot[t], qv_scaled(acc[t], sc));
        }
    }
    end_centred(n_tok, scales, 2, sv_halves(d + h / 2), h, x, b, tot, p);
}

MM_INLINE void block_q6_k(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                          sv_f *p)
{
    const uint8_t *qh = blk + 2048, *scales = qh + 1024, *d = scales + 16 * LK_PACK_ROWS;
    sv_i tot[MM_TOKENS];
    for (int t = 0; t < n_tok; t++) {
        tot[t] = sv_iset(0);
    }
    /* Half n, quarter j of 32 elements, 16 of them at a time: low bits in nibble j/2 of chunks
     * 8 * (j % 2) of the half, high bits at 2j of its qh. */
    for (int s = 0; s < 16; s++) {
        int n = s / 8, j = s / 2 % 4, c = s % 2;
        const uint8_t *low = blk + n * 1024 + (j % 2) * 512 + c * 256;
        const uint8_t *high = qh + n * 512 + c * 256;
        qv sc = qv_scales_s(scales + s * LK_PACK_ROWS + h / 4);
        for (int first = 0; first < 4; first += QV_DOTS6) {
            qv acc[MM_TOKENS];
            for (int t = 0; t < n_tok; t++) {
                acc[t] = qv_splat(0);
            }
#pragma GCC unroll 4
            for (int from = 0; from < QV_DOTS6; from += QV_STEP) {
                int g = first + from;
                qv u[QV_STEP];
                for (int i = 0; i < QV_STEP; i++) {
                    qv four = qv_load(low + (g + i) * 64 + h);
                    qv two = qv_load(high + (g + i) * 64 + h);
                    u[i] = qv_and(qv_srl(four, j < 2 ? 0 : 4), qv_splat(15));
                    u[i] = qv_or(u[i], qv_sll(qv_and(qv_srl(two, 2 * j), qv_splat(3)), 4));
                }
                add_dots(n_tok, u, x, (size_t)(b * 256 + s * 16 + 4 * g), acc);
            }
            end_dots(n_tok, acc);
            for (int t = 0; t < n_tok; t++) {
                tot[t] = sv_iadd(tot[t], qv_scaled(acc[t], sc));
            }
        }
    }
    end_centred(n_tok, scales, 5, sv_halves(d + h / 2), h, x, b, tot, p);
}

/* ---- rows ---- */

typedef void (*block_fn)(int n_tok, const uint8_t *blk, size_t h, const struct mm_x *x, int64_t b,
                         sv_f *p);

/* Sums of one vector of rows for n_tok tokens: blocks in a panel, then panels. */
MM_INLINE void rows_blocks(block_fn block, int per_panel, size_t block_bytes, int n_tok,
                           const uint8_t *group, size_t h, int64_t n_blocks, const struct mm_x *x,
                           sv_f *y)
{
    for (int t = 0; t < n_tok; t++) {
        y[t] = sv_zero();
    }
    for (int64_t b = 0; b < n_blocks;) {
        sv_f g[MM_TOKENS], p[MM_TOKENS];
        int64_t end = b + per_panel < n_blocks ? b + per_panel : n_blocks;
        for (int t = 0; t < n_tok; t++) {
            g[t] = sv_zero();
        }
        for (; b < end; b++) {
            block(n_tok, group + (size_t)b * block_bytes, h, x, b, p);
            for (int t = 0; t < n_tok; t++) {
                g[t] = sv_add(g[t], p[t]);
            }
        }
        for (int t = 0; t < n_tok; t++) {
            y[t] = sv_add(y[t], g[t]);
        }
    }
}

MM_INLINE sv_f load_floats(enum lk_type type, const uint8_t *p)
{
    if (type == LK_TYPE_F16) {
        return sv_halves(p);
    }
    return sv_flush(type == LK_TYPE_BF16 ? sv_bf16(p) : sv_load((const float *)(const void *)p));
}

/* The same for float weights: 256 products a panel; exact for F16 and BF16, so fused there. */
MM_INLINE void rows_floats(enum lk_type type, int n_tok, const uint8_t *group, size_t h, int64_t k,
                           const struct mm_x *x, sv_f *y)
{
    size_t step = type == LK_TYPE_F32 ? 4 * LK_PACK_ROWS : 2 * LK_PACK_ROWS;
    const uint8_t *at = group + (type == LK_TYPE_F32 ? h : h / 2);
    for (int t = 0; t < n_tok; t++) {
        y[t] = sv_zero();
    }
    for (int64_t i = 0; i < k;) {
        sv_f g[MM_TOKENS];
        int64_t end = i + LK_PANEL < k ? i + LK_PANEL : k;
        for (int t = 0; t < n_tok; t++) {
            g[t] = sv_zero();
        }
        for (; i < end; i++, at += step) {
            sv_f w = load_floats(type, at);
            for (int t = 0; t < n_tok; t++) {
                sv_f v = sv_set(x->row[t].x[i]);
                g[t] = type == LK_TYPE_F32 ? sv_add(g[t], sv_mul(w, v)) : sv_fma(w, v, g[t]);
            }
        }
        for (int t = 0; t < n_tok; t++) {
            y[t] = sv_add(y[t], g[t]);
        }
    }
}

/* One token and float weights: all vectors of a group side by side, so that a sum need not wait for
 * the one before. */
MM_INLINE void group_floats(enum lk_type type, const uint8_t *at, int64_t k, const float *x,
                            sv_f *y)
{
    size_t one = SV_LANES * (type == LK_TYPE_F32 ? 4 : 2);
    for (int v = 0; v < MM_VECS; v++) {
        y[v] = sv_zero();
    }
    for (int64_t i = 0; i < k;) {
        sv_f g[MM_VECS];
        int64_t end = i + LK_PANEL < k ? i + LK_PANEL : k;
        for (int v = 0; v < MM_VECS; v++) {
            g[v] = sv_zero();
        }
        for (; i < end; i++) {
            sv_f xi = sv_set(x[i]);
            for (int v = 0; v < MM_VECS; v++, at += one) {
                sv_f w = load_floats(type, at);
                g[v] = type == LK_TYPE_F32 ? sv_add(g[v], sv_mul(w, xi)) : sv_fma(w, xi, g[v]);
            }
        }
        for (int v = 0; v < MM_VECS; v++) {
            y[v] = sv_add(y[v], g[v]);
        }
    }
}

MM_INLINE void rows_of_type(enum lk_type type, int n_tok, const uint8_t *group, size_t h, int64_t k,
                            const struct mm_x *x, sv_f *y)
{
    size_t bytes = lk_pack_block_bytes(type);
    switch (type) {
    case LK_TYPE_Q4_0:
        rows_blocks(block_q4_0, 8, 288, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_Q4_1:
        rows_blocks(block_q4_1, 8, 320, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_Q5_0:
        rows_blocks(block_q5_0, 8, 352, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_Q5_1:
        rows_blocks(block_q5_1, 8, 384, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_Q8_0:
        rows_blocks(block_q8_0, 8, 544, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_Q2_K:
        rows_blocks(block_q2_k, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
    case LK_TYPE_Q3_K:
        rows_blocks(block_q3_k, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
    case LK_TYPE_Q4_K:
        rows_blocks(block_q4_k, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
    case LK_TYPE_Q5_K:
        rows_blocks(block_q5_k, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
    case LK_TYPE_Q6_K:
        rows_blocks(block_q6_k, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
    case LK_TYPE_IQ4_NL:
        rows_blocks(block_iq4_nl, 8, 288, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_MXFP4:
        rows_blocks(block_mxfp4, 8, 272, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_NVFP4:
        rows_blocks(block_nvfp4, 8, 288, n_tok, group, h, k / 32, x, y);
        break;
    case LK_TYPE_IQ4_XS:
        rows_blocks(block_iq4_xs, 1, bytes, n_tok, group, h, k / 256, x, y);
        break;
        LK_GRID_TYPES(LK_CASE)
        break; /* mul_grid has them */
    case LK_TYPE_F32:
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        rows_floats(type, n_tok, group, h, k, x, y);
        break;
    }
}

/* Groups [first, last) for a tile of tokens from t0. `type` and n_tok are constants. */
MM_INLINE bool mul_tile(enum lk_type type, int n_tok, const struct lk_packed *w,
                        const struct lk_acts *a, int t0, int64_t group, float *y, size_t ldy)
{
    struct mm_x x;
    sv_mask bad = sv_mask_none();
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    bool side_by_side =
        n_tok == 1 && (type == LK_TYPE_F32 || type == LK_TYPE_F16 || type == LK_TYPE_BF16);
    sv_f all[MM_VECS];
    for (int t = 0; t < n_tok; t++) {
        x.row[t] = lk_acts_row(a, t0 + t);
    }
    if (side_by_side) {
        group_floats(type, data, w->cols, x.row[0].x, all);
    }
    for (int v = 0; v < MM_VECS; v++) {
        sv_f sum[MM_TOKENS];
        int64_t row = group * LK_PACK_ROWS + v * SV_LANES;
        if (row >= w->rows) {
            break;
        }
        if (side_by_side) {
            sum[0] = all[v];
        } else {
            rows_of_type(type, n_tok, data, (size_t)v * SV_LANES * 4, w->cols, &x, sum);
        }
        for (int t = 0; t < n_tok; t++) {
            float *to = y + (size_t)(t0 + t) * ldy + row;
            bad = sv_mask_or(bad, sv_out_of_range(sum[t]));
            if (row + SV_LANES <= w->rows) {
                sv_store(to, sv_flush(sum[t]));
            } else {
                float part[SV_LANES];
                sv_store(part, sv_flush(sum[t]));
                memcpy(to, part, (size_t)(w->rows - row) * sizeof *part);
            }
        }
    }
    return !sv_any(bad);
}

#include "cpu/matmul_grid.h"

/* Weights stay in L1 while the tiles of tokens pass. */
MM_INLINE bool mul_type(enum lk_type type, const struct lk_packed *w, const struct lk_acts *a,
                        int n_tok, int64_t first, int64_t last, float *y, size_t ldy)
{
    bool ok = true;
    for (int64_t g = first; g < last; g++) {
        int t = 0;
        for (; t + MM_TOKENS <= n_tok; t += MM_TOKENS) {
            ok &= mul_tile(type, MM_TOKENS, w, a, t, g, y, ldy);
        }
        for (; t < n_tok; t++) {
            ok &= mul_tile(type, 1, w, a, t, g, y, ldy);
        }
    }
    return ok;
}

LK_BLOCK_TYPES(MM_FUNCTION)
LK_FLOAT_TYPES(MM_FUNCTION)

static bool mm_mul(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                   int64_t last, float *y, size_t ldy)
{
    switch (w->type) {
        LK_BLOCK_TYPES(MM_CASE)
        LK_FLOAT_TYPES(MM_CASE)
        LK_GRID_TYPES(LK_CASE)
        return mul_grid(w, a, n_tok, first, last, y, ldy);
    }
    return false;
}

/* ---- activations (rule 4) ---- */

/* One block: q, and its scale. */
MM_INLINE float quantize_block(const float *x, int n, int8_t *q)
{
    sv_i top = sv_iset(0);
    int32_t whole[256];
    for (int i = 0; i < n; i += SV_LANES) {
        top = sv_imax(top, sv_magnitude(sv_load(x + i)));
    }
    int32_t a = sv_imost(top);
    if (a == 0) {
        memset(q, 0, (size_t)n);
        return 0.0f;
    }
    float d = lk_flt((uint32_t)a) * lk_flt(0x3C010204u); /* 1/127 */
    sv_f r = sv_set(127.0f * lk_rcp(lk_flt((uint32_t)a)));
    for (int i = 0; i < n; i += SV_LANES) {
        sv_istore(whole + i, sv_rte(sv_mul(sv_load(x + i), r)));
    }
    for (int i = 0; i < n; i++) {
        q[i] = (int8_t)whole[i];
    }
    return d;
}

static int32_t sum_of_16(const int8_t *q)
{
    int32_t sum = 0;
    for (int i = 0; i < 16; i++) {
        sum += q[i];
    }
    return sum;
}

static void prepare_floats(enum lk_acts_kind kind, const float *x, int64_t k, float *out)
{
    int64_t i = 0;
    for (; i + SV_LANES <= k; i += SV_LANES) {
        sv_f v = sv_load(x + i);
        sv_store(out + i, kind == LK_ACTS_R13   ? sv_round13(v)
                          : kind == LK_ACTS_R16 ? sv_round16(v)
                                                : v);
    }
    for (; i < k; i++) {
        out[i] = kind == LK_ACTS_R13   ? lk_round13(x[i])
                 : kind == LK_ACTS_R16 ? lk_round16(x[i])
                                       : x[i];
    }
}

static void mm_prepare(const struct lk_acts *a, const float *x, int first, int last)
{
    for (int t = first; t < last; t++) {
        struct lk_acts_row row = lk_acts_row(a, t);
        const float *xt = x + (size_t)t * (size_t)a->k;
        if (a->kind == LK_ACTS_Q32) {
            for (int64_t b = 0; b < a->k / 32; b++) {
                int8_t *q = row.q + b * 32;
                row.d[b] = quantize_block(xt + b * 32, 32, q);
                int32_t s0 = sum_of_16(q), s1 = sum_of_16(q + 16);
                row.sum16[2 * b] = (int16_t)s0;
                row.sum16[2 * b + 1] = (int16_t)s1;
                row.sum[b] = s0 + s1;
                row.sd[b] = row.d[b] * lk_f22(row.sum[b]);
            }
        } else if (a->kind == LK_ACTS_Q256) {
            for (int64_t b = 0; b < a->k / 256; b++) {
                row.d[b] = quantize_block(xt + b * 256, 256, row.q + b * 256);
            }
            for (int64_t i = 0; i < a->k / 32; i++) {
                int32_t s0 = sum_of_16(row.q + i * 32), s1 = sum_of_16(row.q + i * 32 + 16);
                row.sum16[2 * i] = (int16_t)s0;
                row.sum16[2 * i + 1] = (int16_t)s1;
                row.sum32[i] = (int16_t)(s0 + s1);
            }
        } else {
            prepare_floats(a->kind, xt, a->k, row.x);
        }
    }
}

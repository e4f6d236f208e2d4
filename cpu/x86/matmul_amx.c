/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_amx: packed matmul of 16 tokens and more on int8 tiles. A panel of 256 elements of 16
 * weight rows is unpacked to signed bytes once for all tokens: what a chunk of 64 bytes holds, 4
 * elements of each of 16 rows, is a row of the second factor, and prepared activations are the
 * first. Blocks of 32 keep a product each, or one a half. K-quants multiply their sub-scales into
 * the weights, with two bytes h and l where one does not hold the product (limb_bits), so that a
 * block of 256 has one product (numerics rule 2). Fewer tokens, and float weights, are AVX-512's.
 *
 * While tiles multiply for some tokens, vectors sum for those before. In these loops the type is a
 * constant, and no function is called that the compiler can't see into: it would save and clear
 * every vector register.
 */
#include <stdbool.h>
#include <string.h>

#include "cpu/x86/amx_tiles.h"
#include "cpu/x86/simd_avx512.h"

#include "cpu/grid_panel.h"
#include "cpu/matmul_types.h"
#include "cpu/pack.h"
#include "cpu/vec_words.h"

#define MM_INLINE static inline __attribute__((always_inline))

enum {
    TILE = 16,      /* tokens and rows of a product */
    CHUNK = 64,     /* bytes */
    MAX_TOK = 128,  /* tokens whose activations of a panel lie together */
    MAX_GROUPS = 8, /* of rows that take these one after the other; a grid: 1 */
    MAX_BLOCKS = 8, /* blocks of 32 of a panel */
    MAX_SUMS = 16,  /* of such a panel, each with a scale of its own */
    QUARTER = 64    /* elements of a row of activations of a tile */
};

/* What a panel of 16 rows is unpacked to. */
struct panel {
    int8_t w[2][64 * CHUNK];           /* chunks in order along K; blocks of 256: h and l */
    sv_f d[MAX_BLOCKS], m[MAX_BLOCKS]; /* blocks of 256: one of each; NVFP4: of a block's halves */
    __m512i mins[8];                   /* pairs of 16-bit mins for consecutive sub-blocks */
};

/* What a panel of activations is brought to, for several groups: rows of prepared activations lie
 * far apart. */
struct acts {
    int8_t q[MAX_TOK / TILE][LK_PANEL / QUARTER][TILE * QUARTER];
    float d[MAX_TOK][MAX_BLOCKS]; /* blocks of 256: the first */
    union {
        float sd[MAX_TOK][MAX_BLOCKS];
        int32_t sums[MAX_TOK][8]; /* two 16-bit sums of sub-blocks each */
    };
};

/* Stands for every type of a grid in blocks of 256: they are multiplied in one form. */
#define A_GRID LK_TYPE_IQ2_S

/* ---- unpacking ---- */

MM_INLINE __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

MM_INLINE void store(int8_t *p, __m512i x)
{
    _mm512_storeu_si512((void *)p, x);
}

MM_INLINE __m512i nibbles(__m512i x, int shift)
{
    return _mm512_and_si512(_mm512_srli_epi16(x, (unsigned)shift), _mm512_set1_epi8(15));
}

/* Bits `bit` .. of each byte that are in mask, moved to `to`. */
MM_INLINE __m512i bits_to(__m512i x, int bit, int mask, int to)
{
    __m512i b = _mm512_and_si512(_mm512_srli_epi16(x, (unsigned)bit), _mm512_set1_epi8((char)mask));
    return _mm512_slli_epi16(b, (unsigned)to);
}

/* table[n] of each byte n. */
MM_INLINE __m512i lookup(const uint8_t table[16], __m512i n)
{
    __m128i t = _mm_loadu_si128((const void *)table);
    return _mm512_shuffle_epi8(_mm512_broadcast_i32x4(t), n);
}

/* 4 chunks of nibbles that stand for values + 128, to 8 chunks of signed bytes. */
MM_INLINE void unpack_table(const uint8_t table[16], const uint8_t *chunks, int8_t *w)
{
    __m512i top = _mm512_set1_epi8(-128);
    for (int g = 0; g < 4; g++) {
        __m512i x = load(chunks + g * CHUNK);
        store(w + g * CHUNK, _mm512_xor_si512(lookup(table, nibbles(x, 0)), top));
        store(w + (4 + g) * CHUNK, _mm512_xor_si512(lookup(table, nibbles(x, 4)), top));
    }
}

/* A block of 32 to 8 chunks of signed bytes. */
MM_INLINE void unpack_32(enum lk_type type, const uint8_t *blk, int8_t *w)
{
    bool is_5 = type == LK_TYPE_Q5_0 || type == LK_TYPE_Q5_1;
    int centre = type == LK_TYPE_Q4_0 ? 8 : type == LK_TYPE_Q5_0 ? 16 : 0;
    if (type == LK_TYPE_IQ4_NL || type == LK_TYPE_MXFP4 || type == LK_TYPE_NVFP4) {
        unpack_table(type == LK_TYPE_IQ4_NL ? lk_pack_iq4 : lk_pack_mxfp4, blk, w);
        return;
    }
    if (type == LK_TYPE_Q8_0) {
        for (int g = 0; g < 8; g++) {
            store(w + g * CHUNK, _mm512_xor_si512(load(blk + g * CHUNK), _mm512_set1_epi8(-128)));
        }
        return;
    }
    for (int g = 0; g < 4; g++) {
        __m512i x = load(blk + g * CHUNK), lo = nibbles(x, 0), hi = nibbles(x, 4);
        if (is_5) {
            __m512i high = load(blk + 4 * CHUNK);
            lo = _mm512_or_si512(lo, bits_to(high, g, 1, 4));
            hi = _mm512_or_si512(hi, bits_to(high, 4 + g, 1, 4));
        }
        store(w + g * CHUNK, _mm512_sub_epi8(lo, _mm512_set1_epi8((char)centre)));
        store(w + (4 + g) * CHUNK, _mm512_sub_epi8(hi, _mm512_set1_epi8((char)centre)));
    }
}

/* A scale of each row in both 16-bit halves of its lane; from bytes in 32-bit lanes. */
MM_INLINE __m512i both_halves(__m512i s)
{
    return _mm512_or_si512(_mm512_slli_epi32(s, 16), _mm512_and_si512(s, _mm512_set1_epi32(65535)));
}

MM_INLINE __m512i scales_u(const uint8_t *p)
{
    return _mm512_cvtepu8_epi32(_mm_loadu_si128((const void *)p));
}

MM_INLINE __m512i scales_s(const uint8_t *p)
{
    return _mm512_cvtepi8_epi32(_mm_loadu_si128((const void *)p));
}

/* Low bytes of the 16-bit words of even and odd elements, in order. */
MM_INLINE __m512i narrow(__m512i even, __m512i odd)
{
    return _mm512_or_si512(_mm512_and_si512(even, _mm512_set1_epi16(255)),
                           _mm512_slli_epi16(odd, 8));
}

/* Chunk `at` of the panel: v = (u - centre) * scale, to a byte each or to h and l. */
MM_INLINE void put_scaled(struct panel *p, int at, __m512i u, int centre, __m512i scale, bool limbs)
{
    __m512i c = _mm512_set1_epi16((short)centre);
    __m512i even = _mm512_and_si512(u, _mm512_set1_epi16(255)), odd = _mm512_srli_epi16(u, 8);
    even = _mm512_mullo_epi16(_mm512_sub_epi16(even, c), scale);
    odd = _mm512_mullo_epi16(_mm512_sub_epi16(odd, c), scale);
    if (!limbs) {
        store(p->w[0] + at * CHUNK, narrow(even, odd));
        return;
    }
    __m512i half = _mm512_set1_epi16(64);
    __m512i h_even = _mm512_srai_epi16(_mm512_add_epi16(even, half), 7);
    __m512i h_odd = _mm512_srai_epi16(_mm512_add_epi16(odd, half), 7);
    store(p->w[0] + at * CHUNK, narrow(h_even, h_odd));
    even = _mm512_sub_epi16(even, _mm512_slli_epi16(h_even, 7));
    odd = _mm512_sub_epi16(odd, _mm512_slli_epi16(h_odd, 7));
    store(p->w[1] + at * CHUNK, narrow(even, odd));
}

/* Chunk `at` of limb `limb`: bytes u times a scale of each row that lies in both bytes' word, no
 * product above 255. */
MM_INLINE void put_product(struct panel *p, int limb, int at, __m512i u, __m512i scale)
{
    store(p->w[limb] + at * CHUNK, _mm512_mullo_epi16(u, scale));
}

/* v = u * scale = 8 u * (scale / 8) + u * (scale % 8), u below 32. */
MM_INLINE void put_by_eights(struct panel *p, int at, __m512i u, __m512i high, __m512i low)
{
    put_product(p, 0, at, u, high);
    put_product(p, 1, at, u, low);
}

MM_INLINE void unpack_q45_k(const uint8_t *blk, const uint8_t *high, const uint8_t *scales,
                            struct panel *p)
{
    const uint8_t *mins = scales + 8 * TILE, *d = mins + 8 * TILE;
    for (int j = 0; j < 4; j++) {
        __m512i s[2], high_of[2], low_of[2], seven = _mm512_set1_epi16(7);
        for (int i = 0; i < 2; i++) {
            s[i] = both_halves(scales_u(scales + (2 * j + i) * TILE));
            high_of[i] = _mm512_srli_epi16(s[i], 3);
            low_of[i] = _mm512_and_si512(s[i], seven);
        }
        for (int g = 0; g < 8; g++) {
            __m512i x = load(blk + (j * 8 + g) * CHUNK), lo = nibbles(x, 0), hi = nibbles(x, 4);
            if (high) {
                __m512i bits = load(high + g * CHUNK);
                lo = _mm512_or_si512(lo, bits_to(bits, 2 * j, 1, 4));
                hi = _mm512_or_si512(hi, bits_to(bits, 2 * j + 1, 1, 4));
            }
            put_by_eights(p, j * 16 + g, lo, high_of[0], low_of[0]);
            put_by_eights(p, j * 16 + 8 + g, hi, high_of[1], low_of[1]);
        }
        p->mins[j] = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const void *)(mins + j * 2 * TILE)));
    }
    p->d[0] = sv_halves(d);
    p->m[0] = sv_halves(d + 2 * TILE);
}

MM_INLINE void unpack_q6_k(const uint8_t *blk, struct panel *p)
{
    const uint8_t *qh = blk + 32 * CHUNK, *scales = qh + 16 * CHUNK;
    for (int s = 0; s < 16; s++) { /* sub-blocks of 16, as in matmul_body.h */
        int n = s / 8, j = s / 2 % 4, c = s % 2;
        __m512i scale = both_halves(scales_s(scales + s * TILE));
        for (int g = 0; g < 4; g++) {
            __m512i u = nibbles(load(blk + (n * 16 + j % 2 * 8 + c * 4 + g) * CHUNK), j / 2 * 4);
            u = _mm512_or_si512(u, bits_to(load(qh + (n * 8 + c * 4 + g) * CHUNK), 2 * j, 3, 4));
            put_scaled(p, s * 4 + g, u, 32, scale, true);
        }
    }
    p->d[0] = sv_halves(scales + 16 * TILE);
}

MM_INLINE void unpack_iq4_xs(const uint8_t *blk, struct panel *p)
{
    const uint8_t *scales = blk + 32 * CHUNK;
    for (int s = 0; s < 8; s++) {
        __m512i scale = both_halves(scales_s(scales + s * TILE));
        for (int g = 0; g < 4; g++) {
            __m512i x = load(blk + (s * 4 + g) * CHUNK);
            put_scaled(p, s * 8 + g, lookup(lk_pack_iq4, nibbles(x, 0)), 128, scale, true);
            put_scaled(p, s * 8 + 4 + g, lookup(lk_pack_iq4, nibbles(x, 4)), 128, scale, true);
        }
    }
    p->d[0] = sv_halves(scales + 8 * TILE);
}

/* -v: -128 .. 124. */
MM_INLINE void unpack_q3_k(const uint8_t *blk, struct panel *p)
{
    const uint8_t *hmask = blk + 16 * CHUNK, *scales = hmask + 8 * CHUNK;
    for (int s = 0; s < 16; s++) {
        __m512i scale = scales_s(scales + s * TILE);
        scale = both_halves(_mm512_sub_epi32(_mm512_set1_epi32(0), scale));
        for (int g = 0; g < 4; g++) {
            __m512i u =
                bits_to(load(blk + (s / 8 * 8 + s % 2 * 4 + g) * CHUNK), s / 2 % 4 * 2, 3, 0);
            u = _mm512_or_si512(u, bits_to(load(hmask + (s % 2 * 4 + g) * CHUNK), s / 2, 1, 2));
            put_scaled(p, s * 4 + g, u, 4, scale, false);
        }
    }
    p->d[0] = sv_halves(scales + 16 * TILE);
}

MM_INLINE void unpack_q2_k(const uint8_t *blk, struct panel *p)
{
    const uint8_t *scales = blk + 16 * CHUNK, *d = scales + 16 * TILE;
    for (int s = 0; s < 16; s++) {
        __m512i both = scales_u(scales + s * TILE), mn = _mm512_srli_epi32(both, 4);
        __m512i scale = both_halves(_mm512_and_si512(both, _mm512_set1_epi32(15)));
        for (int g = 0; g < 4; g++) {
            __m512i u =
                bits_to(load(blk + (s / 8 * 8 + s % 2 * 4 + g) * CHUNK), s / 2 % 4 * 2, 3, 0);
            put_product(p, 0, s * 4 + g, u, scale);
        }
        p->mins[s / 2] =
            s % 2 == 0 ? mn : _mm512_or_si512(p->mins[s / 2], _mm512_slli_epi32(mn, 16));
    }
    p->d[0] = sv_halves(d);
    p->m[0] = sv_halves(d + 2 * TILE);
}

/* ---- products ---- */

MM_INLINE sv_f scale_product(sv_f d, float dx, sv_i i)
{
    return sv_mul(sv_mul(d, sv_set(dx)), sv_cvt(i));
}

MM_INLINE void add_to(float *y, sv_f x)
{
    sv_store(y, sv_add(sv_load(y), x));
}

/* ---- blocks of 256 ---- */

/* v = 2^bits h + l for types whose weights times their scales take two bytes, else 0. */
MM_INLINE unsigned limb_bits(enum lk_type type)
{
    if (type == LK_TYPE_Q4_K || type == LK_TYPE_Q5_K) {
        return 3;
    }
    return type == LK_TYPE_Q2_K || type == LK_TYPE_Q3_K ? 0 : 7;
}

MM_INLINE bool has_mins(enum lk_type type)
{
    return type == LK_TYPE_Q2_K || type == LK_TYPE_Q4_K || type == LK_TYPE_Q5_K;
}

MM_INLINE int pairs_of_sums(enum lk_type type)
{
    return type == LK_TYPE_Q2_K ? 8 : 4;
}

/* Of two tiles of tokens, h and l of each. */
struct products_256 {
    int32_t c[2][2][TILE * TILE] __attribute__((aligned(64)));
};

/* Tile c += tile a times tile w; bytes of weights are signed, and where mins are apart are not. */
#define DOTS(type, c, a, w)                                                                        \
    do {                                                                                           \
        if (has_mins(type)) {                                                                      \
            _tile_dpbsud(c, a, w);                                                                 \
        } else {                                                                                   \
            _tile_dpbssd(c, a, w);                                                                 \
        }                                                                                          \
    } while (0)

/* A quarter of the products of tile `tile` of tokens, or (pair) of it and the next. */
MM_INLINE void multiply_256(enum lk_type type, const struct panel *p, const struct acts *x,
                            int tile, int quarter, bool pair, struct products_256 *out)
{
    bool limbs = limb_bits(type) > 0;
    if (quarter == 0) {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    _tile_loadd(4, x->q[tile][quarter], QUARTER);
    _tile_loadd(6, p->w[0] + quarter * 16 * CHUNK, CHUNK);
    DOTS(type, 0, 4, 6);
    if (pair) {
        _tile_loadd(5, x->q[tile + 1][quarter], QUARTER);
        DOTS(type, 2, 5, 6);
    }
    if (limbs) {
        _tile_loadd(7, p->w[1] + quarter * 16 * CHUNK, CHUNK);
        DOTS(type, 1, 4, 7);
        if (pair) {
            DOTS(type, 3, 5, 7);
        }
    }
    if (quarter < 3) {
        return;
    }
    _tile_stored(0, out->c[0][0], CHUNK);
    if (limbs) {
        _tile_stored(1, out->c[0][1], CHUNK);
    }
    if (pair) {
        _tile_stored(2, out->c[1][0], CHUNK);
        if (limbs) {
            _tile_stored(3, out->c[1][1], CHUNK);
        }
    }
}

/* The block's sum of token t (rules 3 and 5), whose products are at h and l. */
MM_INLINE sv_f sum_256(enum lk_type type, const struct panel *p, const int32_t *h, const int32_t *l,
                       const struct acts *x, int t)
{
    sv_i sum = sv_iload(h), mins = sv_iset(0);
    if (type == LK_TYPE_Q3_K) {
        sum = sv_isub(sv_iset(0), sum);
    } else if (limb_bits(type)) {
        sum = sv_iadd(sv_shl(sum, limb_bits(type)), sv_iload(l));
    }
    sv_f v = scale_product(p->d[0], x->d[t][0], sum);
    if (!has_mins(type)) {
        return v;
    }
    for (int i = 0; i < pairs_of_sums(type); i++) {
        mins = _mm512_dpwssd_epi32(mins, p->mins[i], _mm512_set1_epi32(x->sums[t][i]));
    }
    return sv_sub(v, scale_product(p->m[0], x->d[t][0], mins));
}

/* Adds a block to y[t][16] of n_tok tokens, a multiple of 16. */
MM_INLINE void panel_256(enum lk_type type, const struct panel *p, const struct acts *x, int n_tok,
                         float *y)
{
    struct products_256 c[2];
    for (int t = -2 * TILE, at = 0; t < n_tok; t += 2 * TILE, at ^= 1) {
        int left = n_tok - t;
        const struct products_256 *done = &c[at ^ 1];
        for (int quarter = 0; quarter < 4; quarter++) {
            if (left > 2 * TILE) {
                multiply_256(type, p, x, t / TILE + 2, quarter, left > 3 * TILE, &c[at]);
            }
            if (t < 0 || (quarter >= 2 && left == TILE)) {
                continue;
            }
            for (int i = 8 * quarter; i < 8 * quarter + 8; i++) {
                const int32_t *h = done->c[i / TILE][0] + i % TILE * TILE;
                add_to(y + (t + i) * TILE, sum_256(type, p, h, h + TILE * TILE, x, t + i));
            }
        }
    }
}

/* ---- blocks of 32 ---- */

MM_INLINE bool has_offset(enum lk_type type)
{
    return type == LK_TYPE_Q4_1 || type == LK_TYPE_Q5_1;
}

/* Of a tile of tokens: of each block, or half of one. */
struct products_32 {
    int32_t c[MAX_SUMS][TILE * TILE] __attribute__((aligned(64)));
};

/* The products of block i of tile `tile` of tokens. */
MM_INLINE void multiply_32(enum lk_type type, const struct panel *p, const struct acts *x, int tile,
                           int i, struct products_32 *out)
{
    int parts = type == LK_TYPE_NVFP4 ? 2 : 1, n = 32 / parts;
    for (int k = i * parts; k < (i + 1) * parts; k++) {
        int at = k * n;
        _tile_zero(0);
        _tile_loadd(4, x->q[tile][at / QUARTER] + at % QUARTER, QUARTER);
        _tile_loadd(6, p->w[0] + at / 4 * CHUNK, CHUNK);
        _tile_dpbssd(0, 4, 6);
        _tile_stored(0, out->c[k], CHUNK);
    }
}

/* The sum of n blocks of token t (rules 3 and 5), one of the tile at c. */
MM_INLINE sv_f sum_32(enum lk_type type, const struct panel *p, const struct products_32 *c,
                      const struct acts *x, int t, int n)
{
    sv_f g = sv_zero();
    int own = t % TILE * TILE;
    for (int i = 0; i < n; i++) {
        float dx = x->d[t][i];
        if (type == LK_TYPE_NVFP4) { /* exact products */
            sv_f one = sv_cvt(sv_iload(c->c[2 * i] + own));
            sv_f other = sv_cvt(sv_iload(c->c[2 * i + 1] + own));
            sv_f sum = sv_fma(p->m[i], other, sv_mul(p->d[i], one));
            g = sv_add(g, sv_mul(sum, sv_set(dx)));
            continue;
        }
        sv_f v = scale_product(p->d[i], dx, sv_iload(c->c[i] + own));
        if (has_offset(type)) {
            v = sv_add(v, sv_mul(p->m[i], sv_set(x->sd[t][i])));
        }
        g = sv_add(g, v);
    }
    return g;
}

/* Adds n blocks to y[t][16] of n_tok tokens, a multiple of 16. */
MM_INLINE void panel_32(enum lk_type type, const struct panel *p, const struct acts *x, int n,
                        int n_tok, float *y)
{
    struct products_32 c[2];
    for (int t = -TILE, at = 0; t < n_tok; t += TILE, at ^= 1) {
        for (int i = 0; i < MAX_BLOCKS; i++) {
            if (t + TILE < n_tok && i < n) {
                multiply_32(type, p, x, t / TILE + 1, i, &c[at]);
            }
            for (int k = 2 * i; t >= 0 && k < 2 * i + 2; k++) {
                add_to(y + (t + k) * TILE, sum_32(type, p, &c[at ^ 1], x, t + k, n));
            }
        }
    }
}

/* ---- rows ---- */

/* Block b of a group of rows that lie as in the file. */
MM_INLINE void unpack_grid(const struct lk_packed *w, int64_t group, int64_t b,
                           struct lk_grid_panel *rows, struct panel *p)
{
    lk_grid_panel_load(w, group, b, rows);
    for (int s = 0; s < 16; s++) {
        __m512i scale = both_halves(load(rows->sc[s]));
        for (int g = 4 * s; g < 4 * s + 4; g++) {
            put_scaled(p, g, load(rows->q + g * CHUNK), 128, scale, true);
        }
    }
    p->d[0] = sv_load(rows->d[0]);
}

/* Panel p of a group from the packed blocks at blk, of `bytes` each; of 32: n of them. */
MM_INLINE void unpack_panel(enum lk_type type, const uint8_t *blk, size_t bytes, int n,
                            struct panel *p)
{
    switch (type) {
    case LK_TYPE_Q2_K:
        unpack_q2_k(blk, p);
        return;
    case LK_TYPE_Q3_K:
        unpack_q3_k(blk, p);
        return;
    case LK_TYPE_Q4_K:
        unpack_q45_k(blk, NULL, blk + 32 * CHUNK, p);
        return;
    case LK_TYPE_Q5_K:
        unpack_q45_k(blk, blk + 32 * CHUNK, blk + 40 * CHUNK, p);
        return;
    case LK_TYPE_Q6_K:
        unpack_q6_k(blk, p);
        return;
    case LK_TYPE_IQ4_XS:
        unpack_iq4_xs(blk, p);
        return;
    case LK_TYPE_Q4_0:
    case LK_TYPE_Q4_1:
    case LK_TYPE_Q5_0:
    case LK_TYPE_Q5_1:
    case LK_TYPE_Q8_0:
    case LK_TYPE_IQ4_NL:
    case LK_TYPE_MXFP4:
    case LK_TYPE_NVFP4:
        break;
        LK_GRID_TYPES(LK_CASE)
        return;       /* unpack_grid */
    case LK_TYPE_F32: /* mul leaves them to the vector kernels */
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        return;
    }
    int chunks = type == LK_TYPE_Q8_0 ? 8 : type == LK_TYPE_Q5_0 || type == LK_TYPE_Q5_1 ? 5 : 4;
    for (int i = 0; i < n; i++, blk += bytes) {
        const uint8_t *scales = blk + chunks * CHUNK;
        unpack_32(type, blk, p->w[0] + i * 8 * CHUNK);
        p->d[i] = type == LK_TYPE_MXFP4   ? sv_e8m0(scales)
                  : type == LK_TYPE_NVFP4 ? sv_ue4m3(scales)
                                          : sv_halves(scales);
        if (type == LK_TYPE_NVFP4) {
            p->m[i] = sv_ue4m3(scales + TILE);
        } else if (has_offset(type)) {
            p->m[i] = sv_halves(scales + 2 * TILE);
        }
    }
}

MM_INLINE void copy_floats(const float *from, __mmask8 has, float *to)
{
    _mm256_store_ps(to, _mm256_maskz_loadu_ps(has, from));
}

/* n blocks from b on of n_tok tokens from t0 on. */
MM_INLINE void gather(enum lk_type type, int block, const struct lk_acts *a, int t0, int64_t b,
                      int n, int n_tok, struct acts *out)
{
    __mmask8 has = (__mmask8)((1u << n) - 1u);
    for (int t = 0; t < n_tok; t++) {
        const struct lk_acts_row row = lk_acts_row(a, t0 + t);
        for (int i = 0; i < LK_PANEL / QUARTER && i * QUARTER < n * block; i++) {
            store(out->q[t / TILE][i] + t % TILE * QUARTER, load(row.q + b * block + i * QUARTER));
        }
        copy_floats(row.d + b, has, out->d[t]);
        if (block == 32 && has_offset(type)) {
            copy_floats(row.sd + b, has, out->sd[t]);
        }
        if (block == LK_PANEL && has_mins(type)) {
            const int16_t *sums = type == LK_TYPE_Q2_K ? row.sum16 : row.sum32;
            int pairs = pairs_of_sums(type);
            memcpy(out->sums[t], sums + 2 * pairs * b, (size_t)pairs * sizeof(int32_t));
        }
    }
}

/* Stores y[t][16] of a group for n_tok tokens; which rows have a value out of range. */
MM_INLINE sv_mask leave(const struct lk_packed *w, int64_t group, const float *sum, int n_tok,
                        float *y, size_t ldy)
{
    int64_t row = group * LK_PACK_ROWS, left = w->rows - row;
    __mmask16 has = (__mmask16)(left < TILE ? (1u << left) - 1u : 65535u);
    sv_mask bad = sv_mask_none();
    for (int t = 0; t < n_tok; t++) {
        sv_f v = sv_load(sum + t * TILE);
        bad = sv_mask_or(bad, sv_out_of_range(v) & has);
        _mm512_mask_storeu_ps(y + (size_t)t * ldy + row, has, sv_flush(v));
    }
    return bad;
}

/* Does what mul of the table does, for n_tok a multiple of 16. `type` and `block`, the elements of
 * a block of activations, are constants. Several groups share the activations of a panel; grids,
 * which are unpacked row by row, share the panel among several times as many tokens. */
MM_INLINE bool mul_blocks(enum lk_type type, int block, const struct lk_packed *w,
                          const struct lk_acts *a, int n_tok, int64_t first, int64_t last, float *y,
                          size_t ldy)
{
    float sum[MAX_GROUPS * MAX_TOK * TILE] __attribute__((aligned(64)));
    struct acts x __attribute__((aligned(64)));
    struct panel p;
    struct lk_grid_panel grid;
    sv_mask bad = sv_mask_none();
    size_t step = lk_pack_block_bytes(type) * (size_t)block / (size_t)lk_type_info(type)->block;
    int64_t n_blocks = a->k / block;
    int per_panel = LK_PANEL / block, most_groups = type == A_GRID ? 1 : MAX_GROUPS;
    int most_tok = MAX_TOK * MAX_GROUPS / most_groups;
    tiles_configure(type == LK_TYPE_NVFP4 ? 16 : block == 32 ? 32 : QUARTER);
    if (type == A_GRID) {
        lk_grid_panel_clear(&grid);
    }
    for (int t0 = 0; t0 < n_tok; t0 += most_tok) {
        int n_here = n_tok - t0 < most_tok ? n_tok - t0 : most_tok;
        for (int64_t g0 = first; g0 < last; g0 += most_groups) {
            int n_groups = last - g0 < most_groups ? (int)(last - g0) : most_groups;
            for (int g = 0; g < n_groups; g++) {
                memset(sum + g * MAX_TOK * TILE, 0, (size_t)n_here * TILE * sizeof *sum);
            }
            for (int64_t b = 0; b < n_blocks; b += per_panel) {
                int n = n_blocks - b < per_panel ? (int)(n_blocks - b) : per_panel;
                for (int t = 0; t < n_here; t += MAX_TOK) {
                    int n_t = n_here - t < MAX_TOK ? n_here - t : MAX_TOK;
                    gather(type, block, a, t0 + t, b, n, n_t, &x);
                    for (int g = 0; g < n_groups; g++) {
                        float *to = sum + (g * MAX_TOK + t) * TILE;
                        const uint8_t *data = w->data + (size_t)(g0 + g) * w->group_bytes;
                        if (type != A_GRID) {
                            unpack_panel(type, data + (size_t)b * step, step, n, &p);
                        } else if (t == 0) {
                            unpack_grid(w, g0, b, &grid, &p);
                        }
                        tiles_settle();
                        if (block == 32) {
                            panel_32(type, &p, &x, n, n_t, to);
                        } else {
                            panel_256(type, &p, &x, n_t, to);
                        }
                    }
                }
            }
            for (int g = 0; g < n_groups; g++) {
                bad = sv_mask_or(bad, leave(w, g0 + g, sum + g * MAX_TOK * TILE, n_here,
                                            y + (size_t)t0 * ldy, ldy));
            }
        }
    }
    _tile_release();
    return !sv_any(bad);
}

MM_INLINE bool mul_type(enum lk_type type, const struct lk_packed *w, const struct lk_acts *a,
                        int n_tok, int64_t first, int64_t last, float *y, size_t ldy)
{
    bool large = type == LK_TYPE_Q2_K || type == LK_TYPE_Q3_K || type == LK_TYPE_Q4_K ||
                 type == LK_TYPE_Q5_K || type == LK_TYPE_Q6_K || type == LK_TYPE_IQ4_XS ||
                 type == A_GRID;
    return mul_blocks(type, large ? LK_PANEL : 32, w, a, n_tok, first, last, y, ldy);
}

LK_BLOCK_TYPES(MM_FUNCTION)

static bool mul_grid(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                     int64_t last, float *y, size_t ldy)
{
    return mul_type(A_GRID, w, a, n_tok, first, last, y, ldy);
}

static bool mul_tiles(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                      int64_t last, float *y, size_t ldy)
{
    switch (w->type) {
        LK_BLOCK_TYPES(MM_CASE)
        LK_GRID_TYPES(LK_CASE)
        return mul_grid(w, a, n_tok, first, last, y, ldy);
    default:
        return false;
    }
}

static void prepare(const struct lk_acts *a, const float *x, int first, int last)
{
    lk_matmul_avx512.prepare(a, x, first, last);
}

static bool mul(const struct lk_packed *w, const struct lk_acts *a, int n_tok, int64_t first,
                int64_t last, float *y, size_t ldy)
{
    bool tiles =
        a->kind == LK_ACTS_Q256 || (a->kind == LK_ACTS_Q32 && !lk_type_info(w->type)->grid);
    int tiled = tiles && first < last ? n_tok / TILE * TILE : 0;
    bool ok = tiled == 0 || mul_tiles(w, a, tiled, first, last, y, ldy);
    if (tiled < n_tok) {
        struct lk_acts rest = *a;
        rest.data += (size_t)tiled * a->row_bytes;
        ok &= lk_matmul_avx512.mul(w, &rest, n_tok - tiled, first, last, y + (size_t)tiled * ldy,
                                   ldy);
    }
    return ok;
}

const struct lk_matmul_kernels lk_matmul_amx = {
    .level = LK_CPU_AMX,
    .prepare = prepare,
    .mul = mul,
};

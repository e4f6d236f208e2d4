/* SPDX-License-Identifier: Apache-2.0
 *
 * Matmul_amx: packed matmul of 16 tokens and more on int8 tiles. A panel of 256 elements of 16
 * weight rows is unpacked to signed bytes once for all tokens: what a chunk of 64 bytes holds, 4
 * elements of each of 16 rows, is a row of the second factor, and prepared activations are the
 * first as they lie. Blocks of 32 keep a product each, or one a half. K-quants multiply their
 * sub-scales into the weights, v = 128 h + l with two bytes where one does not hold v, so that a
 * block of 256 has one product (numerics rule 2). Fewer tokens, and float weights, are AVX-512's.
 */
#include <stdbool.h>
#include <string.h>

#include "cpu/x86/simd_avx512.h"

#include "cpu/grid_panel.h"
#include "cpu/matmul_types.h"
#include "cpu/pack.h"
#include "cpu/vec_words.h"

#define MM_INLINE static inline __attribute__((always_inline))

enum {
    TILE = 16,      /* tokens and rows of a product */
    CHUNK = 64,     /* bytes */
    MAX_TOK = 256,  /* tokens between two unpackings */
    MAX_BLOCKS = 8, /* blocks of 32 of a panel */
    MAX_SUMS = 16,  /* of a panel, each with a scale of its own */
    STEPS = 8       /* parts of a tile's work, two tokens of the one before beside each */
};

/* What a panel of 16 rows is unpacked to. */
struct panel {
    int8_t w[2][64 * CHUNK]; /* chunks in order along K; blocks of 256: h and l */
    int n_blocks;            /* of 32; 0: one block of 256 */
    bool halves;             /* d and m scale the halves of a block of 32 */
    sv_f d[MAX_BLOCKS], m[MAX_BLOCKS];
    __m512i mins[8]; /* pairs of 16-bit mins for consecutive sub-blocks */
};

/* Products of a tile of tokens: of each block of 32, or half of one, or of h and l. */
struct products {
    int32_t c[MAX_SUMS][TILE * TILE];
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

MM_INLINE void unpack_q45_k(const uint8_t *blk, const uint8_t *high, const uint8_t *scales,
                            struct panel *p)
{
    const uint8_t *mins = scales + 8 * TILE, *d = mins + 8 * TILE;
    for (int j = 0; j < 4; j++) {
        __m512i s_lo = both_halves(scales_u(scales + 2 * j * TILE));
        __m512i s_hi = both_halves(scales_u(scales + (2 * j + 1) * TILE));
        for (int g = 0; g < 8; g++) {
            __m512i x = load(blk + (j * 8 + g) * CHUNK), lo = nibbles(x, 0), hi = nibbles(x, 4);
            if (high) {
                __m512i bits = load(high + g * CHUNK);
                lo = _mm512_or_si512(lo, bits_to(bits, 2 * j, 1, 4));
                hi = _mm512_or_si512(hi, bits_to(bits, 2 * j + 1, 1, 4));
            }
            put_scaled(p, j * 16 + g, lo, 0, s_lo, true);
            put_scaled(p, j * 16 + 8 + g, hi, 0, s_hi, true);
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
            put_scaled(p, s * 4 + g, u, 0, scale, false);
        }
        p->mins[s / 2] =
            s % 2 == 0 ? mn : _mm512_or_si512(p->mins[s / 2], _mm512_slli_epi32(mn, 16));
    }
    p->d[0] = sv_halves(d);
    p->m[0] = sv_halves(d + 2 * TILE);
}

/* ---- products ---- */

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t bytes_a_row[16];
    uint8_t rows[16];
};

/* Tiles 0, 1: sums; 2: activations; 3, 4: weights, `bytes` of K at a time. */
static void configure(int bytes)
{
    struct tile_config c = {.palette = 1};
    for (int i = 0; i < 5; i++) {
        c.bytes_a_row[i] = (uint16_t)(i == 2 ? bytes : 64);
        c.rows[i] = (uint8_t)(i >= 3 ? bytes / 4 : 16);
    }
    __asm__ volatile("" ::: "memory"); /* the intrinsics do not say what they read */
    _tile_loadconfig(&c);
}

/* Part `step` of the products of a tile of tokens, whose activations lie row_bytes apart. */
MM_INLINE void multiply(const struct panel *p, bool limbs, const int8_t *q, size_t row_bytes,
                        int step, struct products *out)
{
    if (p->n_blocks > 0) {
        int parts = p->halves ? 2 : 1, n = 32 / parts;
        for (int i = step * parts; step < p->n_blocks && i < (step + 1) * parts; i++) {
            _tile_zero(0);
            _tile_loadd(2, q + i * n, row_bytes);
            _tile_loadd(3, p->w[0] + i * (n / 4) * CHUNK, CHUNK);
            _tile_dpbssd(0, 2, 3);
            _tile_stored(0, out->c[i], CHUNK);
        }
        return;
    }
    if (step % 2 != 0) {
        return;
    }
    int quarter = step / 2;
    if (quarter == 0) {
        _tile_zero(0);
        _tile_zero(1);
    }
    _tile_loadd(2, q + quarter * 64, row_bytes);
    _tile_loadd(3, p->w[0] + quarter * 16 * CHUNK, CHUNK);
    _tile_dpbssd(0, 2, 3);
    if (limbs) {
        _tile_loadd(4, p->w[1] + quarter * 16 * CHUNK, CHUNK);
        _tile_dpbssd(1, 2, 4);
    }
    if (quarter == 3) {
        _tile_stored(0, out->c[0], CHUNK);
        if (limbs) {
            _tile_stored(1, out->c[1], CHUNK);
        }
    }
}

MM_INLINE sv_f scale_product(sv_f d, float dx, sv_i i)
{
    return sv_mul(sv_mul(d, sv_set(dx)), sv_cvt(i));
}

MM_INLINE int32_t load_pair(const int16_t *p)
{
    int32_t two;
    memcpy(&two, p, sizeof two);
    return two;
}

/* The panel's sum of one token (rules 3 and 5); b: the panel's first block. */
MM_INLINE sv_f panel_sum(enum lk_type type, const struct panel *p, const struct products *c, int t,
                         const struct lk_acts_row *x, int64_t b)
{
    sv_f g = sv_zero();
    if (lk_type_info(type)->acts == LK_ACTS_Q32) {
        for (int i = 0; i < p->n_blocks; i++) {
            if (type == LK_TYPE_NVFP4) { /* exact products */
                sv_f first = sv_cvt(sv_iload(c->c[2 * i] + t * TILE));
                sv_f other = sv_cvt(sv_iload(c->c[2 * i + 1] + t * TILE));
                sv_f sum = sv_fma(p->m[i], other, sv_mul(p->d[i], first));
                g = sv_add(g, sv_mul(sum, sv_set(x->d[b + i])));
                continue;
            }
            sv_f v = scale_product(p->d[i], x->d[b + i], sv_iload(c->c[i] + t * TILE));
            if (type == LK_TYPE_Q4_1 || type == LK_TYPE_Q5_1) {
                v = sv_add(v, sv_mul(p->m[i], sv_set(x->sd[b + i])));
            }
            g = sv_add(g, v);
        }
        return g;
    }
    sv_i sum = sv_iload(c->c[0] + t * TILE), mins = sv_iset(0);
    if (type == LK_TYPE_Q3_K) {
        sum = sv_isub(sv_iset(0), sum);
    } else if (type != LK_TYPE_Q2_K) {
        sum = sv_iadd(sv_shl(sum, 7), sv_iload(c->c[1] + t * TILE));
    }
    sv_f v = scale_product(p->d[0], x->d[b], sum);
    if (lk_type_info(type)->offset == LK_OFFSET_NONE) {
        return sv_add(g, v);
    }
    int n = type == LK_TYPE_Q2_K ? 8 : 4;
    const int16_t *sums = type == LK_TYPE_Q2_K ? x->sum16 + b * 16 : x->sum32 + b * 8;
    for (int i = 0; i < n; i++) {
        __m512i two = _mm512_set1_epi32(load_pair(sums + 2 * i));
        mins = sv_iadd(mins, _mm512_madd_epi16(p->mins[i], two));
    }
    return sv_add(g, sv_sub(v, scale_product(p->m[0], x->d[b], mins)));
}

/* ---- rows ---- */

/* Block b of a group of rows that lie as in the file. */
MM_INLINE void unpack_grid(const struct lk_packed *w, int64_t group, int64_t b,
                           struct lk_grid_panel *rows, struct panel *p)
{
    lk_grid_panel_load(w, group, b, rows);
    p->halves = false;
    p->n_blocks = 0;
    for (int s = 0; s < 16; s++) {
        __m512i scale = both_halves(load(rows->sc[s]));
        for (int g = 4 * s; g < 4 * s + 4; g++) {
            put_scaled(p, g, load(rows->q + g * CHUNK), 128, scale, true);
        }
    }
    p->d[0] = sv_load(rows->d[0]);
}

/* Bytes of 16 rows of a block of activations. */
MM_INLINE size_t step_bytes(enum lk_type type)
{
    const struct lk_type_info *info = lk_type_info(type);
    return lk_pack_block_bytes(type) * (size_t)lk_acts_block(info->acts) / (size_t)info->block;
}

MM_INLINE void unpack_panel(enum lk_type type, const uint8_t *blk, int n_blocks, struct panel *p)
{
    size_t bytes = step_bytes(type);
    p->halves = lk_type_info(type)->apart;
    p->n_blocks = lk_type_info(type)->acts == LK_ACTS_Q32 ? n_blocks : 0;
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
    for (int i = 0; i < n_blocks; i++, blk += bytes) {
        const uint8_t *scales = blk + chunks * CHUNK;
        unpack_32(type, blk, p->w[0] + i * 8 * CHUNK);
        p->d[i] = type == LK_TYPE_MXFP4   ? sv_e8m0(scales)
                  : type == LK_TYPE_NVFP4 ? sv_ue4m3(scales)
                                          : sv_halves(scales);
        if (type == LK_TYPE_NVFP4) {
            p->m[i] = sv_ue4m3(scales + TILE);
        } else if (type == LK_TYPE_Q4_1 || type == LK_TYPE_Q5_1) {
            p->m[i] = sv_halves(scales + 2 * TILE);
        }
    }
}

/* y[t][16] of a group for n_tok tokens, a multiple of 16. */
MM_INLINE void sum_group(enum lk_type type, const struct lk_packed *w, int64_t group,
                         const struct lk_acts *a, int t0, int n_tok, float *y)
{
    const uint8_t *data = w->data + (size_t)group * w->group_bytes;
    bool limbs = type == LK_TYPE_Q4_K || type == LK_TYPE_Q5_K || type == LK_TYPE_Q6_K ||
                 type == LK_TYPE_IQ4_XS || type == A_GRID;
    int block = lk_type_info(type)->acts == LK_ACTS_Q32 ? 32 : 256, per_panel = LK_PANEL / block;
    int64_t n_blocks = a->k / block;
    struct panel p;
    struct products c[2];
    struct lk_grid_panel rows;
    if (type == A_GRID) {
        lk_grid_panel_clear(&rows);
    }
    memset(y, 0, (size_t)n_tok * TILE * sizeof *y);
    for (int64_t b = 0; b < n_blocks; b += per_panel) {
        int n = n_blocks - b < per_panel ? (int)(n_blocks - b) : per_panel;
        if (type == A_GRID) {
            unpack_grid(w, group, b, &rows, &p);
        } else {
            unpack_panel(type, data + (size_t)b * step_bytes(type), n, &p);
        }
        __asm__ volatile("" ::: "memory");
        for (int t = -TILE; t < n_tok; t += TILE) {
            const int8_t *next = lk_acts_row(a, t0 + t + TILE).q + b * block;
            struct products *made = &c[(t / TILE + 1) & 1], *done = &c[(t / TILE) & 1];
            for (int step = 0; step < STEPS; step++) {
                if (t + TILE < n_tok) {
                    multiply(&p, limbs, next, a->row_bytes, step, made);
                }
                for (int i = 2 * step; t >= 0 && i < 2 * step + 2; i++) {
                    struct lk_acts_row x = lk_acts_row(a, t0 + t + i);
                    float *to = y + (t + i) * TILE;
                    sv_store(to, sv_add(sv_load(to), panel_sum(type, &p, done, i, &x, b)));
                }
            }
        }
    }
}

/* Does what mul of the table does, for n_tok a multiple of 16. `type` is a constant. */
MM_INLINE bool mul_type(enum lk_type type, const struct lk_packed *w, const struct lk_acts *a,
                        int n_tok, int64_t first, int64_t last, float *y, size_t ldy)
{
    float sum[MAX_TOK * TILE] __attribute__((aligned(64)));
    sv_mask bad = sv_mask_none();
    const struct lk_type_info *info = lk_type_info(type);
    configure(info->apart ? 16 : info->acts == LK_ACTS_Q256 ? 64 : 32);
    for (int64_t g = first; g < last; g++) {
        int64_t row = g * LK_PACK_ROWS, rows = w->rows - row < TILE ? w->rows - row : TILE;
        for (int t0 = 0; t0 < n_tok; t0 += MAX_TOK) {
            int n = n_tok - t0 < MAX_TOK ? n_tok - t0 : MAX_TOK;
            sum_group(type, w, g, a, t0, n, sum);
            for (int t = 0; t < n; t++) {
                sv_f v = sv_load(sum + t * TILE);
                bad = sv_mask_or(bad, sv_out_of_range(v));
                sv_store(sum + t * TILE, sv_flush(v));
                memcpy(y + (size_t)(t0 + t) * ldy + row, sum + t * TILE,
                       (size_t)rows * sizeof *sum);
            }
        }
    }
    _tile_release();
    return !sv_any(bad);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vec_amx: the kernels of vec_avx512.c, with attention of many rows on int8 tiles: 16 rows of
 * queries against 16 keys, and their weights against 16 dimensions of values, at a time. Cells lie
 * in the cache as a tile's second factor wants them: four dimensions of each key, or four keys of
 * each dimension, side by side.
 *
 * q = 16 h + l and k = 16 m + n, with bytes h and m, and l and n of four bits. The sum of 256 h m
 * has a tile of its own; the other has 16 l m + 16 h n + l n, for which l and n are there sixteen
 * times as large too, since an unsigned byte holds that. A weight is 256 h + l with signed l.
 */
#include <stdbool.h>

#include "cpu/x86/amx_tiles.h"
#include "cpu/x86/simd_avx512.h"

#include "cpu/vec_body.h"

#include "cpu/recurrent_body.h"

#include "cpu/attn_body.h"

enum {
    TILE = 16,     /* rows, and columns of 32 bits */
    STEP = 64,     /* bytes of a row of the first factor: elements that a product sums */
    FROM_ROWS = 8, /* rows for which tiles are worth it */
    MAX_STEPS = LK_MAX_HEAD_DIM / STEP
};

/* Tiles, two columns of sums at a time, so that no product waits for the one before. Numbers, since
 * they become names of registers. */
#define HIGH_0 0 /* sums of columns 0 */
#define REST_0 1
#define HIGH_1 2
#define REST_1 3
#define A_HIGH 4
#define A_LOW  5
#define B_0    6
#define B_1    7

/* Queries, or weights, of 16 rows as bytes. */
struct limbs {
    int8_t high[MAX_STEPS][TILE * STEP];
    uint8_t low[MAX_STEPS][TILE * STEP], low_16[MAX_STEPS][TILE * STEP];
};

/* The low bytes of 64 integers of 16 bits. */
static inline __m512i bytes_of(__m512i a, __m512i b)
{
    return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(a)),
                              _mm512_cvtepi16_epi8(b), 1);
}

/* Rows of queries, those past the last are zero. */
static void split_queries(const int16_t *q, size_t dim, int rows, struct limbs *to)
{
    __m512i low = _mm512_set1_epi8(15);
    for (size_t s = 0; s < dim / STEP; s++) {
        for (int r = 0; r < TILE; r++) {
            __m512i a = _mm512_setzero_si512(), b = a;
            if (r < rows) {
                const int16_t *from = q + (size_t)r * dim + s * STEP;
                a = _mm512_loadu_si512(from);
                b = _mm512_loadu_si512(from + STEP / 2);
            }
            __m512i l = _mm512_and_si512(bytes_of(a, b), low);
            _mm512_storeu_si512(to->low[s] + r * STEP, l);
            _mm512_storeu_si512(to->low_16[s] + r * STEP, _mm512_slli_epi16(l, 4));
            _mm512_storeu_si512(to->high[s] + r * STEP,
                                bytes_of(_mm512_srai_epi16(a, 4), _mm512_srai_epi16(b, 4)));
        }
    }
}

static void split_weights(const struct attn_row *row, int rows, struct limbs *to)
{
    __m512i half = _mm512_set1_epi16(128), zero = _mm512_setzero_si512();
    for (int r = 0; r < TILE; r++) {
        __m512i a = r < rows ? _mm512_loadu_si512(row[r].weight) : zero;
        __m512i b = r < rows ? _mm512_loadu_si512(row[r].weight + STEP / 2) : zero;
        _mm512_storeu_si512(to->low[0] + r * STEP, bytes_of(a, b));
        a = _mm512_srai_epi16(_mm512_add_epi16(a, half), 8);
        b = _mm512_srai_epi16(_mm512_add_epi16(b, half), 8);
        _mm512_storeu_si512(to->high[0] + r * STEP, bytes_of(a, b));
    }
}

/* The plane of low halves of keys as bytes, and sixteen times that. */
static void split_keys(const uint8_t *from, size_t dim, uint8_t *low, uint8_t *low_16)
{
    enum { GROUP = 4 * LK_KV_BLOCK }; /* bytes of four dimensions of all keys */
    __m512i ones = _mm512_set1_epi8(15);
    for (size_t g = 0; g < dim / 4; g += 2) {
        for (size_t i = 0; i < GROUP; i += STEP) {
            __m512i x = _mm512_loadu_si512(from + g / 2 * GROUP + i);
            __m512i a = _mm512_and_si512(x, ones), b = _mm512_andnot_si512(ones, x);
            _mm512_storeu_si512(low + g * GROUP + i, a);
            _mm512_storeu_si512(low_16 + g * GROUP + i, _mm512_slli_epi16(a, 4));
            _mm512_storeu_si512(low + (g + 1) * GROUP + i, _mm512_srli_epi16(b, 4));
            _mm512_storeu_si512(low_16 + (g + 1) * GROUP + i, b);
        }
    }
}

static inline void clear(void)
{
    _tile_zero(HIGH_0);
    _tile_zero(HIGH_1);
    _tile_zero(REST_0);
    _tile_zero(REST_1);
}

/* out[r][..] = high sums of both columns, shifted up, and the rest; `stride` numbers from row to
 * row. */
static inline void leave(int shift, int32_t *out, size_t stride)
{
    int32_t high[2][TILE][TILE], rest[2][TILE][TILE];
    _tile_stored(HIGH_0, high[0], STEP);
    _tile_stored(HIGH_1, high[1], STEP);
    _tile_stored(REST_0, rest[0], STEP);
    _tile_stored(REST_1, rest[1], STEP);
    tiles_settle();
    for (int k = 0; k < 2; k++) {
        for (int r = 0; r < TILE; r++) {
            __m512i x = _mm512_slli_epi32(_mm512_loadu_si512(high[k][r]), (unsigned)shift);
            x = _mm512_add_epi32(x, _mm512_loadu_si512(rest[k][r]));
            _mm512_storeu_si512(out + (size_t)r * stride + k * TILE, x);
        }
    }
}

/* Keys of a chunk: bytes, and the halves below them; NULL: there are none. */
struct key_planes {
    const uint8_t *high, *low, *low_16;
};

/* What 16 rows have of 32 keys, from key `key` on. */
static inline void key_tiles(const struct limbs *q, const struct key_planes *k, size_t dim,
                             size_t key)
{
    enum { GROUP = 4 * LK_KV_BLOCK, NEXT = 4 * TILE }; /* bytes to the next dimensions, and keys */
    clear();
    for (size_t s = 0; s < dim / STEP; s++) {
        size_t at = s * (STEP / 4) * GROUP + 4 * key;
        _tile_loadd(A_HIGH, q->high[s], STEP);
        _tile_loadd(B_0, k->high + at, GROUP);
        _tile_loadd(B_1, k->high + at + NEXT, GROUP);
        _tile_dpbssd(HIGH_0, A_HIGH, B_0);
        _tile_dpbssd(HIGH_1, A_HIGH, B_1);
        _tile_loadd(A_LOW, k->low ? q->low_16[s] : q->low[s], STEP);
        _tile_dpbusd(REST_0, A_LOW, B_0);
        _tile_dpbusd(REST_1, A_LOW, B_1);
        if (k->low) {
            _tile_loadd(B_0, k->low_16 + at, GROUP);
            _tile_loadd(B_1, k->low_16 + at + NEXT, GROUP);
            _tile_dpbsud(REST_0, A_HIGH, B_0);
            _tile_dpbsud(REST_1, A_HIGH, B_1);
            _tile_loadd(A_LOW, q->low[s], STEP);
            _tile_loadd(B_0, k->low + at, GROUP);
            _tile_loadd(B_1, k->low + at + NEXT, GROUP);
            _tile_dpbuud(REST_0, A_LOW, B_0);
            _tile_dpbuud(REST_1, A_LOW, B_1);
        }
    }
}

/* Dots of 16 rows with all keys, to rows that lie `stride` numbers apart. */
static void key_dots(const struct limbs *q, const struct key_planes *k, size_t dim, int32_t *out,
                     size_t stride)
{
    for (size_t key = 0; key < LK_KV_BLOCK; key += 2 * TILE) {
        key_tiles(q, k, dim, key);
        leave(k->low ? 8 : 4, out + key, stride);
    }
}

/* Sums of the values of all keys by the weights of 16 rows. */
static void value_sums(const struct limbs *w, const uint8_t *v, size_t v_dim,
                       int32_t (*out)[LK_MAX_HEAD_DIM])
{
    _tile_loadd(A_HIGH, w->high[0], STEP);
    _tile_loadd(A_LOW, w->low[0], STEP);
    for (size_t d = 0; d < v_dim; d += 2 * TILE) {
        clear();
        _tile_loadd(B_0, v + 4 * d, 4 * v_dim);
        _tile_loadd(B_1, v + 4 * (d + TILE), 4 * v_dim);
        _tile_dpbssd(HIGH_0, A_HIGH, B_0);
        _tile_dpbssd(HIGH_1, A_HIGH, B_1);
        _tile_dpbssd(REST_0, A_LOW, B_0);
        _tile_dpbssd(REST_1, A_LOW, B_1);
        leave(8, out[0] + d, LK_MAX_HEAD_DIM);
    }
}

/* `rows` rows from `first` on, at most 16, all of which take part. */
static bool tile_rows(const struct lk_attn_chunk *c, const struct key_planes *k, int first,
                      int rows)
{
    struct limbs limbs;
    struct attn_row row[TILE];
    int32_t sums[TILE][LK_MAX_HEAD_DIM];
    size_t dim = (size_t)c->dim, v_dim = (size_t)c->v_dim;
    split_queries(c->q + (size_t)first * dim, dim, rows, &limbs);
    tiles_settle();
    key_dots(&limbs, k, dim, row[0].dot, sizeof row[0] / sizeof row[0].dot[0]);
    bool ok = true;
    for (int r = 0; r < rows; r += ATTN_ROWS) {
        ok &= weigh(c, first + r, rows - r < ATTN_ROWS ? rows - r : ATTN_ROWS, row + r);
    }
    split_weights(row, rows, &limbs);
    tiles_settle();
    value_sums(&limbs, (const uint8_t *)(const void *)c->v, v_dim, sums);
    store_rows(c, first, rows, row, sums);
    return ok;
}

static bool amx_attn_chunk(const struct lk_attn_chunk *c)
{
    size_t dim = (size_t)c->dim;
    if (c->n_rows < FROM_ROWS || dim % STEP != 0 || c->v_dim % (2 * TILE) != 0) {
        return vec_attn_chunk(c);
    }
    struct key_planes k = {.high = (const uint8_t *)(const void *)c->k};
    if (c->k_bits == LK_KV_K_BITS) {
        uint8_t *low = (uint8_t *)(void *)c->wide, *low_16 = low + dim * LK_KV_BLOCK;
        split_keys((const uint8_t *)(const void *)(c->k + LK_KV_K_LOW(dim, 0, 0)), dim, low,
                   low_16);
        k.low = low;
        k.low_16 = low_16;
    }
    tiles_configure(STEP);
    bool ok = true;
    for (int r = 0; r < c->n_rows;) {
        int rows = neighbours(c, r, TILE);
        ok &= rows == 0 || tile_rows(c, &k, r, rows);
        r += rows > 0 ? rows : 1;
    }
    _tile_release();
    return ok;
}

LK_VEC_TABLE(lk_vec_amx, LK_CPU_AMX, amx_attn_chunk);

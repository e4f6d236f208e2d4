/* SPDX-License-Identifier: Apache-2.0
 *
 * Grid: see grid.h. Eight elements are a word of eight bytes, which are all made at once.
 */
#include "quant/grid.h"

#include <string.h>

#include "quant/grids.h"

#define EACH(byte) ((byte)*UINT64_C(0x0101010101010101))

static uint32_t load16(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8;
}

static uint32_t load32(const uint8_t *p)
{
    return load16(p) | load16(p + 2) << 16;
}

/* Point i of a grid: 16 bits. */
static uint32_t point(const uint32_t *grid, uint32_t i)
{
    return grid[i >> 1] >> (16 * (i & 1)) & 0xffffu;
}

/* 8 elements of 2 bits to bytes. */
static uint64_t spread_2(uint32_t x)
{
    uint64_t v = ((uint64_t)x | (uint64_t)x << 24) & UINT64_C(0x000000ff000000ff);
    v = (v | v << 12) & UINT64_C(0x000f000f000f000f);
    return (v | v << 6) & EACH(3);
}

/* 8 elements of 4 bits to bytes. */
static uint64_t spread_4(uint32_t x)
{
    uint64_t v = ((uint64_t)x | (uint64_t)x << 16) & UINT64_C(0x0000ffff0000ffff);
    v = (v | v << 8) & UINT64_C(0x00ff00ff00ff00ff);
    return (v | v << 4) & EACH(15);
}

/* Bits 0..7 to bit 0 of bytes 0..7. */
static uint64_t spread_1(uint32_t x)
{
    uint64_t v = EACH((uint64_t)(x & 255)) & UINT64_C(0x8040201008040201);
    return (v + EACH(0x7f)) >> 7 & EACH(1);
}

/* 8 elements (7-bit codes of signs have an even number of them). */
static uint32_t even_signs(uint32_t code)
{
    uint32_t parity = code ^ code >> 4;
    parity ^= parity >> 2;
    return code | ((parity ^ parity >> 1) & 1) << 7;
}

/* +-v + 128; v: 1..127 in each byte. */
static uint64_t with_signs(uint64_t v, uint32_t signs)
{
    uint64_t minus = spread_1(signs);
    return ((v + EACH(128)) ^ minus * 255) + minus;
}

/* 2-bit elements of IQ2 grids: 8, 25, 43. */
static uint64_t values_iq2(uint32_t point)
{
    uint64_t i = spread_2(point);
    return EACH(8) + i * 17 + (i >> 1 & EACH(1));
}

/* 4-bit elements of IQ3_XXS's grid: 4, 12 .. 52, 62. */
static uint64_t values_iq3_xxs(uint32_t low, uint32_t high)
{
    uint64_t i = spread_4(low | high << 16);
    return EACH(4) + i * 8 + (i & i >> 1 & i >> 2 & EACH(1)) * 2;
}

static uint64_t values_iq3_s(uint32_t low, uint32_t high)
{
    return EACH(1) + spread_4(low | high << 16) * 2;
}

/* 2-bit elements of IQ1's grid, -1, 0, 1, and an offset: 8 g + 1 or 8 g - 1, + 128. */
static uint64_t values_iq1(uint32_t i, uint32_t minus)
{
    return spread_2(point(LK_GRID_IQ1, i)) * 8 + EACH(UINT64_C(121) - 2 * minus);
}

/* Where 8 elements go. */
struct out {
    uint8_t *to;
    size_t step;
};

static void put(const struct out *o, int i, uint64_t eight)
{
    uint32_t low = (uint32_t)eight, high = (uint32_t)(eight >> 32);
    memcpy(o->to + (size_t)(i / 4) * o->step, &low, 4);
    memcpy(o->to + (size_t)(i / 4 + 1) * o->step, &high, 4);
}

/* ---- a function a type: j counts 32 elements, k 8 of them ---- */

static void unpack_iq2_xxs(const struct lk_iq2_xxs *b, const struct out *o, int32_t sc[16])
{
    for (int j = 0; j < 8; j++) {
        const uint8_t *q = (const uint8_t *)b->qs + 8 * j;
        uint32_t word = load32(q + 4);
        sc[2 * j] = sc[2 * j + 1] = (int32_t)(2 * (word >> 28) + 1);
        for (int k = 0; k < 4; k++) {
            uint64_t v = values_iq2(point(LK_GRID_IQ2_XXS, q[k]));
            put(o, 32 * j + 8 * k, with_signs(v, even_signs(word >> (7 * k) & 127)));
        }
    }
}

static void unpack_iq2_xs(const struct lk_iq2_xs *b, const struct out *o, int32_t sc[16])
{
    for (int i = 0; i < 32; i++) {
        uint32_t q = load16((const uint8_t *)b->qs + 2 * i);
        uint64_t v = values_iq2(point(LK_GRID_IQ2_XS, q & 511));
        sc[i / 2] = 2 * (b->scales[i / 4] >> (i / 2 % 2 * 4) & 15) + 1;
        put(o, 8 * i, with_signs(v, even_signs(q >> 9)));
    }
}

static void unpack_iq2_s(const struct lk_iq2_s *b, const struct out *o, int32_t sc[16])
{
    for (int i = 0; i < 32; i++) {
        uint32_t at = b->qs[i] | (uint32_t)(b->qh[i / 4] >> (i % 4 * 2) & 3) << 8;
        sc[i / 2] = 2 * (b->scales[i / 4] >> (i / 2 % 2 * 4) & 15) + 1;
        put(o, 8 * i, with_signs(values_iq2(point(LK_GRID_IQ2_S, at)), b->signs[i]));
    }
}

static void unpack_iq3_xxs(const struct lk_iq3_xxs *b, const struct out *o, int32_t sc[16])
{
    for (int j = 0; j < 8; j++) {
        uint32_t word = load32(b->signs + 4 * j);
        sc[2 * j] = sc[2 * j + 1] = (int32_t)(2 * (word >> 28) + 1);
        for (int k = 0; k < 4; k++) {
            const uint8_t *q = b->qs + 8 * j + 2 * k;
            uint64_t v = values_iq3_xxs(point(LK_GRID_IQ3_XXS, q[0]), point(LK_GRID_IQ3_XXS, q[1]));
            put(o, 32 * j + 8 * k, with_signs(v, even_signs(word >> (7 * k) & 127)));
        }
    }
}

static void unpack_iq3_s(const struct lk_iq3_s *b, const struct out *o, int32_t sc[16])
{
    for (int j = 0; j < 8; j++) {
        sc[2 * j] = sc[2 * j + 1] = 2 * (b->scales[j / 2] >> (j % 2 * 4) & 15) + 1;
        for (int k = 0; k < 4; k++) {
            const uint8_t *q = b->qs + 8 * j + 2 * k;
            uint32_t ninth = b->qh[j] >> (2 * k);
            uint64_t v = values_iq3_s(point(LK_GRID_IQ3_S, q[0] | (ninth & 1) << 8),
                                      point(LK_GRID_IQ3_S, q[1] | (ninth >> 1 & 1) << 8));
            put(o, 32 * j + 8 * k, with_signs(v, b->signs[4 * j + k]));
        }
    }
}

static void unpack_iq1_s(const struct lk_iq1_s *b, const struct out *o, int32_t sc[16])
{
    for (int j = 0; j < 8; j++) {
        uint32_t h = load16((const uint8_t *)b->qh + 2 * j);
        sc[2 * j] = sc[2 * j + 1] = (int32_t)(2 * (h >> 12 & 7) + 1);
        for (int k = 0; k < 4; k++) {
            uint32_t at = b->qs[4 * j + k] | (h >> (3 * k) & 7) << 8;
            put(o, 32 * j + 8 * k, values_iq1(at, h >> 15));
        }
    }
}

static void unpack_iq1_m(const struct lk_iq1_m *b, const struct out *o, int32_t sc[16])
{
    for (int i = 0; i < 32; i++) {
        uint32_t h = (uint32_t)b->qh[i / 2] >> (i % 2 * 4);
        uint32_t three = load16(b->scales + 2 * (i / 8)) >> (i / 2 % 4 * 3) & 7;
        sc[i / 2] = (int32_t)(2 * three + 1);
        put(o, 8 * i, values_iq1(b->qs[i] | (h & 7) << 8, h >> 3 & 1));
    }
}

/* Trits: byte i of `qs` has those of elements i, i + n .. by rising powers of three, as a fraction
 * of 256. */
static void unpack_trits(const uint8_t *qs, int n, int powers, int first, const struct out *o)
{
    static const uint8_t POWERS[5] = {1, 3, 9, 27, 81};
    for (int p = 0; p < powers; p++) {
        for (int i = 0; i < n; i++) {
            int at = first + p * n + i;
            uint8_t q = (uint8_t)(qs[i] * POWERS[p]);
            o->to[(size_t)(at / 4) * o->step + (size_t)(at % 4)] = (uint8_t)(127 + (q * 3 >> 8));
        }
    }
}

static void unpack_tq1_0(const struct lk_tq1_0 *b, const struct out *o)
{
    unpack_trits(b->qs, 32, 5, 0, o);
    unpack_trits(b->qs + 32, 16, 5, 160, o);
    unpack_trits(b->qh, 4, 4, 240, o);
}

static void unpack_tq2_0(const struct lk_tq2_0 *b, const struct out *o)
{
    for (int i = 0; i < 256; i += 8) {
        uint64_t v;
        memcpy(&v, b->qs + i / 128 * 32 + i % 32, sizeof v);
        put(o, i, (v >> (2 * (i / 32 % 4)) & EACH(3)) + EACH(127));
    }
}

static void unpack_q1_0(const struct lk_q1_0 *b, const struct out *o)
{
    for (int i = 0; i < 16; i++) {
        put(o, 8 * i, spread_1(b->qs[i]) * 2 + EACH(127));
    }
}

static void unpack_q2_0(const struct lk_q2_0 *b, const struct out *o)
{
    for (int i = 0; i < 8; i++) {
        put(o, 8 * i, spread_2(load16(b->qs + 2 * i)) + EACH(127));
    }
}

void lk_grid_unpack(enum lk_type type, const void *block, uint8_t *to, size_t step, int32_t sc[16])
{
    struct out o = {to, step};
    for (int i = 0; i < 16; i++) {
        sc[i] = 1;
    }
    switch (type) {
    case LK_TYPE_IQ2_XXS:
        unpack_iq2_xxs(block, &o, sc);
        break;
    case LK_TYPE_IQ2_XS:
        unpack_iq2_xs(block, &o, sc);
        break;
    case LK_TYPE_IQ2_S:
        unpack_iq2_s(block, &o, sc);
        break;
    case LK_TYPE_IQ3_XXS:
        unpack_iq3_xxs(block, &o, sc);
        break;
    case LK_TYPE_IQ3_S:
        unpack_iq3_s(block, &o, sc);
        break;
    case LK_TYPE_IQ1_S:
        unpack_iq1_s(block, &o, sc);
        break;
    case LK_TYPE_IQ1_M:
        unpack_iq1_m(block, &o, sc);
        break;
    case LK_TYPE_TQ1_0:
        unpack_tq1_0(block, &o);
        break;
    case LK_TYPE_TQ2_0:
        unpack_tq2_0(block, &o);
        break;
    case LK_TYPE_Q1_0:
        unpack_q1_0(block, &o);
        break;
    case LK_TYPE_Q2_0:
        unpack_q2_0(block, &o);
        break;
    default:
        break;
    }
}

const uint32_t *lk_grid_points(enum lk_type type, size_t *n)
{
    static const struct {
        enum lk_type type;
        const uint32_t *points;
        size_t n;
    } GRIDS[] = {
        {LK_TYPE_IQ2_XXS, LK_GRID_IQ2_XXS, LK_COUNT(LK_GRID_IQ2_XXS)},
        {LK_TYPE_IQ2_XS, LK_GRID_IQ2_XS, LK_COUNT(LK_GRID_IQ2_XS)},
        {LK_TYPE_IQ2_S, LK_GRID_IQ2_S, LK_COUNT(LK_GRID_IQ2_S)},
        {LK_TYPE_IQ3_XXS, LK_GRID_IQ3_XXS, LK_COUNT(LK_GRID_IQ3_XXS)},
        {LK_TYPE_IQ3_S, LK_GRID_IQ3_S, LK_COUNT(LK_GRID_IQ3_S)},
        {LK_TYPE_IQ1_S, LK_GRID_IQ1, LK_COUNT(LK_GRID_IQ1)},
        {LK_TYPE_IQ1_M, LK_GRID_IQ1, LK_COUNT(LK_GRID_IQ1)},
    };
    for (size_t i = 0; i < LK_COUNT(GRIDS); i++) {
        if (GRIDS[i].type == type) {
            *n = GRIDS[i].n;
            return GRIDS[i].points;
        }
    }
    *n = 0;
    return NULL;
}

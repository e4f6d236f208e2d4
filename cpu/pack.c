/* SPDX-License-Identifier: Apache-2.0
 *
 * Pack: see pack.h and matmul.h.
 */
#include "cpu/pack.h"

#include <string.h>

#include "cpu/matmul.h"

enum { R = LK_PACK_ROWS };

#define PLUS_128(x) ((x) + 128)
const uint8_t lk_pack_iq4[16] = {LK_NIBBLES_IQ4(PLUS_128)};
const uint8_t lk_pack_mxfp4[16] = {LK_NIBBLES_MXFP4(PLUS_128)};
#define PLUS_12(x) ((x) + 12)
const uint8_t lk_pack_nvfp4[16] = {LK_NIBBLES_MXFP4(PLUS_12)};

size_t lk_pack_block_bytes(enum lk_type type)
{
    switch (type) {
    case LK_TYPE_F32:
        return 4 * R;
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        return 2 * R;
    case LK_TYPE_Q3_K:
        return 24 * 64 + 16 * R + 2 * R;
    case LK_TYPE_Q4_0:
    case LK_TYPE_Q4_1:
    case LK_TYPE_Q5_0:
    case LK_TYPE_Q5_1:
    case LK_TYPE_Q8_0:
    case LK_TYPE_Q2_K:
    case LK_TYPE_Q6_K:
    case LK_TYPE_IQ4_NL:
    case LK_TYPE_MXFP4:
    case LK_TYPE_NVFP4:
        return (size_t)lk_type_info(type)->block_bytes * R;
    case LK_TYPE_Q4_K:
        return 32 * 64 + 16 * R + 4 * R;
    case LK_TYPE_Q5_K:
        return 40 * 64 + 16 * R + 4 * R;
    case LK_TYPE_IQ4_XS:
        return 32 * 64 + 8 * R + 2 * R;
        LK_GRID_TYPES(LK_CASE)
        break;
    }
    return 0;
}

/* A row's place in a block of 16 rows; moves its parts one after the other, into the group or out
 * of it, so that the layout is written down once. */
struct place {
    uint8_t *at; /* the next part of the block */
    int row;
    bool out;
};

static void move(const struct place *p, uint8_t *packed, void *field, size_t n)
{
    if (p->out) {
        memcpy(field, packed, n);
    } else {
        memcpy(packed, field, n);
    }
}

/* 4 bytes of each of n chunks. */
static void move_chunks(struct place *p, uint8_t *field, int n)
{
    for (int c = 0; c < n; c++) {
        move(p, p->at + c * 64 + p->row * 4, field + c * 4, 4);
    }
    p->at += n * 64;
}

static void move_u16(struct place *p, uint16_t *field)
{
    move(p, p->at + 2 * p->row, field, 2);
    p->at += 2 * R;
}

/* A byte of each of n sub-blocks. */
static void move_bytes(struct place *p, uint8_t *field, int n)
{
    for (int s = 0; s < n; s++) {
        move(p, p->at + s * R + p->row, field + s, 1);
    }
    p->at += n * R;
}

/* High bits of 32 elements: bit g of byte j = element 4g + j; in the file bit i = element i. */
static void move_high_bits(struct place *p, uint8_t qh[4])
{
    uint8_t bits[4] = {0}, back[4] = {0};
    for (int i = 0; i < 32; i++) {
        bits[i % 4] |= (uint8_t)((qh[i / 8] >> (i % 8) & 1) << (i / 4));
    }
    move_chunks(p, bits, 1);
    for (int i = 0; i < 32; i++) {
        back[i / 8] |= (uint8_t)((bits[i % 4] >> (i / 4) & 1) << (i % 8));
    }
    memcpy(qh, back, sizeof back);
}

/* Scales and mins of Q4_K and Q5_K: `packed` has 6 bits of each. */
static void move_scales_mins(struct place *p, const struct lk_block_ints *b, uint8_t packed[12])
{
    uint8_t sc[8], mn[8];
    for (int s = 0; s < 8; s++) {
        sc[s] = (uint8_t)b->sc[s];
        mn[s] = (uint8_t)b->mn[s];
    }
    move_bytes(p, sc, 8);
    for (int s = 0; s < 8; s++) {
        move(p, p->at + (s / 2) * 2 * R + 2 * p->row + s % 2, mn + s, 1);
    }
    p->at += 8 * R;
    for (int s = 0; s < 4; s++) {
        packed[s] = (uint8_t)(sc[s] | sc[s + 4] >> 4 << 6);
        packed[s + 4] = (uint8_t)(mn[s] | mn[s + 4] >> 4 << 6);
        packed[s + 8] = (uint8_t)((sc[s + 4] & 15) | mn[s + 4] << 4);
    }
}

/* Signed scales of Q3_K: `packed` has 6 bits of each, + 32. */
static void move_scales_q3(struct place *p, const struct lk_block_ints *b, uint8_t packed[12])
{
    uint8_t sc[16];
    for (int s = 0; s < 16; s++) {
        sc[s] = (uint8_t)b->sc[s];
    }
    move_bytes(p, sc, 16);
    memset(packed, 0, 12);
    for (int s = 0; s < 16; s++) {
        unsigned six = (sc[s] + 32u) & 63u;
        packed[s % 8] |= (uint8_t)((six & 15u) << s / 8 * 4);
        packed[8 + s % 4] |= (uint8_t)(six >> 4 << s / 4 * 2);
    }
}

/* Signed scales of IQ4_XS: `low` and `high` have 6 bits of each, + 32. */
static void move_scales_iq4(struct place *p, const struct lk_block_ints *b, struct lk_iq4_xs *x)
{
    uint8_t sc[8], high[2] = {0};
    for (int s = 0; s < 8; s++) {
        sc[s] = (uint8_t)b->sc[s];
    }
    move_bytes(p, sc, 8);
    memset(x->scales_l, 0, sizeof x->scales_l);
    for (int s = 0; s < 8; s++) {
        unsigned six = (sc[s] + 32u) & 63u;
        x->scales_l[s / 2] |= (uint8_t)((six & 15u) << s % 2 * 4);
        high[s / 4] |= (uint8_t)(six >> 4 << s % 4 * 2);
    }
    memcpy(&x->scales_h, high, sizeof high);
}

/* 32 elements of NVFP4 and their two scales. */
static void move_half_nvfp4(struct place *p, uint8_t *qs, uint8_t *d)
{
    uint8_t pairs[16];
    lk_swap_nibbles(qs, pairs);
    move_chunks(p, pairs, 4);
    lk_swap_nibbles(pairs, qs);
    move_bytes(p, d, 2);
}

union block {
    uint8_t bytes[4];
    struct lk_q4_0 q4_0;
    struct lk_q4_1 q4_1;
    struct lk_q5_0 q5_0;
    struct lk_q5_1 q5_1;
    struct lk_q8_0 q8_0;
    struct lk_q2_k q2_k;
    struct lk_q3_k q3_k;
    struct lk_q4_k q4_k;
    struct lk_q5_k q5_k;
    struct lk_q6_k q6_k;
    struct lk_iq4_nl iq4_nl;
    struct lk_iq4_xs iq4_xs;
    struct lk_mxfp4 mxfp4;
    struct lk_nvfp4 nvfp4;
};

/* Between a block as the file holds it and a row's place. */
static void move_block(enum lk_type type, struct place p, union block *b)
{
    struct lk_block_ints ints = {0};
    if (!p.out && (type == LK_TYPE_Q3_K || type == LK_TYPE_Q4_K || type == LK_TYPE_Q5_K ||
                   type == LK_TYPE_IQ4_XS)) {
        lk_block_unpack(type, b, &ints);
    }
    switch (type) {
    case LK_TYPE_F32:
        move(&p, p.at + 4 * p.row, b, 4);
        break;
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        move(&p, p.at + 2 * p.row, b, 2);
        break;
    case LK_TYPE_Q4_0:
        move_chunks(&p, b->q4_0.qs, 4);
        move_u16(&p, &b->q4_0.d);
        break;
    case LK_TYPE_Q4_1:
        move_chunks(&p, b->q4_1.qs, 4);
        move_u16(&p, &b->q4_1.d);
        move_u16(&p, &b->q4_1.m);
        break;
    case LK_TYPE_Q5_0:
        move_chunks(&p, b->q5_0.qs, 4);
        move_high_bits(&p, b->q5_0.qh);
        move_u16(&p, &b->q5_0.d);
        break;
    case LK_TYPE_Q5_1:
        move_chunks(&p, b->q5_1.qs, 4);
        move_high_bits(&p, b->q5_1.qh);
        move_u16(&p, &b->q5_1.d);
        move_u16(&p, &b->q5_1.m);
        break;
    case LK_TYPE_Q8_0: {
        uint8_t q[32];
        for (int i = 0; i < 32; i++) {
            q[i] = (uint8_t)(b->q8_0.qs[i] + 128);
        }
        move_chunks(&p, q, 8);
        for (int i = 0; i < 32; i++) {
            b->q8_0.qs[i] = (int8_t)(q[i] - 128);
        }
        move_u16(&p, &b->q8_0.d);
        break;
    }
    case LK_TYPE_Q2_K:
        move_chunks(&p, b->q2_k.qs, 16);
        move_bytes(&p, b->q2_k.scales, 16);
        move_u16(&p, &b->q2_k.d);
        move_u16(&p, &b->q2_k.dmin);
        break;
    case LK_TYPE_Q3_K:
        move_chunks(&p, b->q3_k.qs, 16);
        move_chunks(&p, b->q3_k.hmask, 8);
        move_scales_q3(&p, &ints, b->q3_k.scales);
        move_u16(&p, &b->q3_k.d);
        break;
    case LK_TYPE_Q4_K:
        move_chunks(&p, b->q4_k.qs, 32);
        move_scales_mins(&p, &ints, b->q4_k.scales);
        move_u16(&p, &b->q4_k.d);
        move_u16(&p, &b->q4_k.dmin);
        break;
    case LK_TYPE_Q5_K:
        move_chunks(&p, b->q5_k.qs, 32);
        move_chunks(&p, b->q5_k.qh, 8);
        move_scales_mins(&p, &ints, b->q5_k.scales);
        move_u16(&p, &b->q5_k.d);
        move_u16(&p, &b->q5_k.dmin);
        break;
    case LK_TYPE_Q6_K:
        move_chunks(&p, b->q6_k.ql, 32);
        move_chunks(&p, b->q6_k.qh, 16);
        move_bytes(&p, (uint8_t *)b->q6_k.scales, 16);
        move_u16(&p, &b->q6_k.d);
        break;
    case LK_TYPE_IQ4_NL:
        move_chunks(&p, b->iq4_nl.qs, 4);
        move_u16(&p, &b->iq4_nl.d);
        break;
    case LK_TYPE_IQ4_XS:
        move_chunks(&p, b->iq4_xs.qs, 32);
        move_scales_iq4(&p, &ints, &b->iq4_xs);
        move_u16(&p, &b->iq4_xs.d);
        break;
    case LK_TYPE_MXFP4:
        move_chunks(&p, b->mxfp4.qs, 4);
        move_bytes(&p, &b->mxfp4.e, 1);
        break;
    case LK_TYPE_NVFP4:
        move_half_nvfp4(&p, b->nvfp4.qs, b->nvfp4.d);
        move_half_nvfp4(&p, b->nvfp4.qs + 16, b->nvfp4.d + 2);
        break;
        LK_GRID_TYPES(LK_CASE)
        break;
    }
}

void lk_packed_blocks(const struct lk_packed *p, int64_t row, int64_t first, int64_t n, void *out)
{
    size_t bytes = (size_t)lk_type_info(p->type)->block_bytes;
    size_t packed = p->interleaved ? lk_pack_block_bytes(p->type) : 0;
    uint8_t *group = p->data + (size_t)(row / R) * p->group_bytes, *to = out;
    if (!p->interleaved) {
        size_t row_bytes = lk_type_row_bytes(p->type, (size_t)p->cols);
        memcpy(out, group + (size_t)(row % R) * row_bytes + (size_t)first * bytes,
               (size_t)n * bytes);
        return;
    }
    for (int64_t i = 0; i < n; i++) {
        union block b = {{0}};
        uint8_t *at = group + (size_t)(first + i) * packed;
        move_block(p->type, (struct place){.at = at, .row = (int)(row % R), .out = true}, &b);
        memcpy(to + (size_t)i * bytes, &b, bytes);
    }
}

void lk_pack_groups(const struct lk_packed *p, const struct lk_weight *w, int64_t first,
                    int64_t last)
{
    const struct lk_type_info *info = lk_type_info(p->type);
    size_t row_bytes = lk_type_row_bytes(p->type, (size_t)p->cols);
    size_t block_bytes = p->interleaved ? lk_pack_block_bytes(p->type) : 0;
    int64_t n_blocks = p->cols / info->block;
    for (int64_t g = first; g < last; g++) {
        uint8_t *group = p->data + (size_t)g * p->group_bytes;
        for (int64_t r = 0; r < R && g * R + r < p->rows; r++) {
            const uint8_t *row = (const uint8_t *)w->data + (size_t)(g * R + r) * row_bytes;
            if (!p->interleaved) {
                memcpy(group + (size_t)r * row_bytes, row, row_bytes);
                continue;
            }
            for (int64_t b = 0; b < n_blocks; b++) {
                union block copy;
                struct place place = {.at = group + (size_t)b * block_bytes, .row = (int)r};
                memcpy(&copy, row + b * info->block_bytes, (size_t)info->block_bytes);
                move_block(p->type, place, &copy);
            }
        }
    }
}

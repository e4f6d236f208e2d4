/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant: see quant.h. The bit layouts are those of ggml's block_q* structs.
 */
#include "quant/quant.h"

#include <string.h>

#include "base/numerics.h"
#include "quant/grid.h"

#define FLOATS(NAME, BYTES, ACTS)                                                                  \
    {                                                                                              \
        .type = LK_TYPE_##NAME, .name = #NAME, .block = 1, .block_bytes = (BYTES), .acts = (ACTS), \
        .sub_block = 1                                                                             \
    }
/* A block struct with its scales in the members d and, for two, `second`. */
#define BLOCKS_ONE(NAME, STRUCT, BLOCK, SUB, WEIGHT, INTEGER)                                      \
    {                                                                                              \
        .type = LK_TYPE_##NAME, .name = #NAME, .block = (BLOCK), .block_bytes = sizeof(STRUCT),    \
        .quantized = true, .acts = (BLOCK) == 32 ? LK_ACTS_Q32 : LK_ACTS_Q256,                     \
        .scales = LK_SCALE_F16, .n_scales = 1, .unit = 1, .scale_at = {offsetof(STRUCT, d)},       \
        .sub_block = (SUB), .most_weight = (WEIGHT), .most_integer = (INTEGER)                     \
    }
#define BLOCKS_TWO(NAME, STRUCT, SECOND, OFFSET, BLOCK, SUB, WEIGHT, INTEGER)                      \
    {                                                                                              \
        .type = LK_TYPE_##NAME, .name = #NAME, .block = (BLOCK), .block_bytes = sizeof(STRUCT),    \
        .quantized = true, .acts = (BLOCK) == 32 ? LK_ACTS_Q32 : LK_ACTS_Q256,                     \
        .scales = LK_SCALE_F16, .n_scales = 2, .unit = 1,                                          \
        .scale_at = {offsetof(STRUCT, d), offsetof(STRUCT, SECOND)}, .sub_block = (SUB),           \
        .offset = (OFFSET), .most_weight = (WEIGHT), .most_integer = (INTEGER)                     \
    }

/* A type of src/quant/grid.c, by its first scale's place. */
#define GRID(NAME, STRUCT, FORMAT, AT, UNIT, SUB, WEIGHT)                                          \
    {                                                                                              \
        .type = LK_TYPE_##NAME, .name = #NAME, .block = 256, .block_bytes = sizeof(STRUCT),        \
        .quantized = true, .grid = true, .acts = LK_ACTS_Q256, .scales = (FORMAT), .n_scales = 1,  \
        .unit = (UNIT), .scale_at = {offsetof(STRUCT, AT)}, .sub_block = (SUB),                    \
        .most_weight = (WEIGHT), .most_integer = 256 * (WEIGHT)*127                                \
    }

/* The same with activations in blocks of 32, several to a block. */
#define GRID_32(NAME, STRUCT, BLOCK, WEIGHT)                                                       \
    {                                                                                              \
        .type = LK_TYPE_##NAME, .name = #NAME, .block = (BLOCK), .block_bytes = sizeof(STRUCT),    \
        .quantized = true, .grid = true, .acts = LK_ACTS_Q32, .scales = LK_SCALE_F16,              \
        .n_scales = 1, .unit = 1, .scale_at = {offsetof(STRUCT, d)}, .sub_block = 32,              \
        .most_weight = (WEIGHT), .most_integer = 32 * (WEIGHT)*127                                 \
    }

/* An activation is at most 127. The largest integer is that times the sum of the block's largest
 * weights: 32 or 256 of them. */
static const struct lk_type_info types[] = {
    FLOATS(F32, 4, LK_ACTS_F32),
    FLOATS(F16, 2, LK_ACTS_R13),
    BLOCKS_ONE(Q4_0, struct lk_q4_0, 32, 32, 8, 32 * 8 * 127),
    BLOCKS_TWO(Q4_1, struct lk_q4_1, m, LK_OFFSET_PLUS_M, 32, 32, 15, 32 * 15 * 127),
    BLOCKS_ONE(Q5_0, struct lk_q5_0, 32, 32, 16, 32 * 16 * 127),
    BLOCKS_TWO(Q5_1, struct lk_q5_1, m, LK_OFFSET_PLUS_M, 32, 32, 31, 32 * 31 * 127),
    BLOCKS_ONE(Q8_0, struct lk_q8_0, 32, 32, 128, 32 * 128 * 127),
    BLOCKS_TWO(Q2_K, struct lk_q2_k, dmin, LK_OFFSET_MINUS_MINS, 256, 16, 45, 256 * 45 * 127),
    BLOCKS_ONE(Q3_K, struct lk_q3_k, 256, 16, 128, 256 * 128 * 127),
    BLOCKS_TWO(Q4_K, struct lk_q4_k, dmin, LK_OFFSET_MINUS_MINS, 256, 32, 945, 256 * 945 * 127),
    BLOCKS_TWO(Q5_K, struct lk_q5_k, dmin, LK_OFFSET_MINUS_MINS, 256, 32, 1953, 256 * 1953 * 127),
    BLOCKS_ONE(Q6_K, struct lk_q6_k, 256, 16, 4096, 256 * 4096 * 127),
    GRID(IQ2_XXS, struct lk_iq2_xxs, LK_SCALE_F16, d, 0.125f, 32, 43 * 31),
    GRID(IQ2_XS, struct lk_iq2_xs, LK_SCALE_F16, d, 0.125f, 16, 43 * 31),
    GRID(IQ3_XXS, struct lk_iq3_xxs, LK_SCALE_F16, d, 0.25f, 32, 62 * 31),
    GRID(IQ1_S, struct lk_iq1_s, LK_SCALE_F16, d, 0.125f, 32, 9 * 15),
    BLOCKS_ONE(IQ4_NL, struct lk_iq4_nl, 32, 32, 127, 32 * 127 * 127),
    GRID(IQ3_S, struct lk_iq3_s, LK_SCALE_F16, d, 1, 32, 15 * 31),
    GRID(IQ2_S, struct lk_iq2_s, LK_SCALE_F16, d, 0.125f, 16, 43 * 31),
    BLOCKS_ONE(IQ4_XS, struct lk_iq4_xs, 256, 32, 4064, 256 * 4064 * 127),
    GRID(IQ1_M, struct lk_iq1_m, LK_SCALE_F16_SPREAD, scales, 0.125f, 16, 9 * 15),
    FLOATS(BF16, 2, LK_ACTS_R16),
    GRID(TQ1_0, struct lk_tq1_0, LK_SCALE_F16, d, 1, 32, 1),
    GRID(TQ2_0, struct lk_tq2_0, LK_SCALE_F16, d, 1, 32, 2),
    {.type = LK_TYPE_MXFP4,
     .name = "MXFP4",
     .block = 32,
     .block_bytes = sizeof(struct lk_mxfp4),
     .quantized = true,
     .acts = LK_ACTS_Q32,
     .scales = LK_SCALE_E8M0,
     .n_scales = 1,
     .unit = 1,
     .scale_at = {offsetof(struct lk_mxfp4, e)},
     .sub_block = 32,
     .most_weight = 12,
     .most_integer = 32 * 12 * 127},
    {.type = LK_TYPE_NVFP4,
     .name = "NVFP4",
     .block = 64,
     .block_bytes = sizeof(struct lk_nvfp4),
     .quantized = true,
     .acts = LK_ACTS_Q32,
     .scales = LK_SCALE_UE4M3,
     .n_scales = 4,
     .unit = 0.5f,
     .scale_at = {0, 1, 2, 3},
     .sub_block = 16,
     .apart = true,
     .most_weight = (14 << 14) * 12,
     .most_integer = 16 * 12 * 127},
    GRID_32(Q1_0, struct lk_q1_0, 128, 1),
    GRID_32(Q2_0, struct lk_q2_0, 64, 2),
};
_Static_assert(LK_COUNT(types) == LK_N_TYPES && LK_N_TYPES <= 64, "a row and a bit a type");

static const char ACTIVATIONS[] = "a form of activations, in which no weights are kept",
                  INTEGERS[] = "integers without a scale, in which no model has its weights",
                  DOUBLES[] = "doubles, in which no model has its weights",
                  REPACKED[] = "Q4_0 or IQ4_NL repacked for one CPU, which ggml has given up",
                  GIVEN_UP[] = "given up by ggml";

/* Types that files may hold but no backend runs, and why. Numbers that ggml has given up are in the
 * second table: they have neither names nor sizes. */
static const struct {
    uint32_t type;
    const char *name;
    int block, block_bytes;
    const char *why;
} others[] = {
    {9, "Q8_1", 32, 40, ACTIVATIONS}, {15, "Q8_K", 256, 292, ACTIVATIONS},
    {24, "I8", 1, 1, INTEGERS},       {25, "I16", 1, 2, INTEGERS},
    {26, "I32", 1, 4, INTEGERS},      {27, "I64", 1, 8, INTEGERS},
    {28, "F64", 1, 8, DOUBLES},
};
static const struct {
    uint32_t type;
    const char *why;
} given_up[] = {
    {4, GIVEN_UP},  {5, GIVEN_UP},  {31, REPACKED}, {32, REPACKED},
    {33, REPACKED}, {36, REPACKED}, {37, REPACKED}, {38, REPACKED},
};

const struct lk_type_info *lk_type_info(uint32_t type)
{
    for (size_t i = 0; i < LK_COUNT(types); i++) {
        if ((uint32_t)types[i].type == type) {
            return &types[i];
        }
    }
    return NULL;
}

const struct lk_type_info *lk_types(size_t *n)
{
    *n = LK_COUNT(types);
    return types;
}

uint64_t lk_type_bit(uint32_t type)
{
    for (size_t i = 0; i < LK_COUNT(types); i++) {
        if ((uint32_t)types[i].type == type && types[i].quantized) {
            return (uint64_t)1 << i;
        }
    }
    return 0;
}

const char *lk_type_name(uint32_t type)
{
    const struct lk_type_info *info = lk_type_info(type);
    if (info) {
        return info->name;
    }
    for (size_t i = 0; i < LK_COUNT(others); i++) {
        if (others[i].type == type) {
            return others[i].name;
        }
    }
    return NULL;
}

const char *lk_type_why_not(uint32_t type)
{
    for (size_t i = 0; i < LK_COUNT(others); i++) {
        if (others[i].type == type) {
            return others[i].why;
        }
    }
    for (size_t i = 0; i < LK_COUNT(given_up); i++) {
        if (given_up[i].type == type) {
            return given_up[i].why;
        }
    }
    return lk_type_info(type) ? NULL : "no type that ggml has";
}

bool lk_type_block(uint32_t type, int *block, int *block_bytes)
{
    const struct lk_type_info *info = lk_type_info(type);
    if (info) {
        *block = info->block;
        *block_bytes = info->block_bytes;
        return true;
    }
    for (size_t i = 0; i < LK_COUNT(others); i++) {
        if (others[i].type == type) {
            *block = others[i].block;
            *block_bytes = others[i].block_bytes;
            return true;
        }
    }
    return false;
}

size_t lk_type_row_bytes(enum lk_type type, size_t n)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    return n / (size_t)info->block * (size_t)info->block_bytes;
}

/* ---- blocks of 32: one scale ---- */

/* Nibbles: low ones are elements 0..15, high ones 16..31; qh (may be NULL) holds bit 4 of element
 * i in bit i; `centre` is taken off. */
static void unpack_nibbles32(const uint8_t *qs, const uint8_t *qh, int centre,
                             struct lk_block_ints *out)
{
    for (int i = 0; i < 32; i++) {
        int q = i < 16 ? qs[i] & 15 : qs[i - 16] >> 4;
        if (qh) {
            q |= (qh[i / 8] >> (i % 8) & 1) << 4;
        }
        out->q[i] = (int16_t)(q - centre);
    }
}

/* Nibbles in the same places that stand for the values of a table. */
static void unpack_table32(const uint8_t *qs, const int8_t table[16], int16_t *q)
{
    for (int i = 0; i < 16; i++) {
        q[i] = table[qs[i] & 15];
        q[i + 16] = table[qs[i] >> 4];
    }
}

#define AS_IT_IS(x) (x)
static const int8_t nibbles_iq4[16] = {LK_NIBBLES_IQ4(AS_IT_IS)};
static const int8_t nibbles_mxfp4[16] = {LK_NIBBLES_MXFP4(AS_IT_IS)};

void lk_swap_nibbles(const uint8_t from[16], uint8_t to[16])
{
    for (int i = 0; i < 8; i++) {
        uint8_t a = from[i], b = from[i + 8];
        to[i] = (uint8_t)((a & 15) | b << 4);
        to[i + 8] = (uint8_t)(a >> 4 | (b & 0xf0));
    }
}

/* A scale in UE4M3 is an integer of up to 18 bits times 2^-9. */
static void unpack_nvfp4(const struct lk_nvfp4 *b, struct lk_block_ints *out)
{
    for (int i = 0; i < 64; i += 32) {
        uint8_t qs[16];
        lk_swap_nibbles(b->qs + i / 2, qs);
        unpack_table32(qs, nibbles_mxfp4, out->q + i);
    }
    for (int s = 0; s < 4; s++) {
        int e = b->d[s] >> 3 & 15, m = b->d[s] & 7;
        out->sc[s] = e == 0 ? m : (8 + m) << (e - 1);
    }
}

/* ---- super-blocks of 256 ---- */

/* Q4_K and Q5_K: eight 6-bit scales and eight 6-bit mins in 12 bytes. Bytes 0..3 and 4..7: the
 * low 6 bits of scale and min 0..3, above them bits 4..5 of scale and min 4..7, whose low nibbles
 * are in bytes 8..11. */
static void unpack_scales_k4(const uint8_t *s, struct lk_block_ints *out)
{
    for (int i = 0; i < 4; i++) {
        out->sc[i] = s[i] & 63;
        out->mn[i] = s[i + 4] & 63;
        out->sc[i + 4] = (s[i + 8] & 15) | (s[i] >> 6) << 4;
        out->mn[i + 4] = (int16_t)((s[i + 8] >> 4) | (s[i + 4] >> 6) << 4);
    }
}

/* Q3_K: sixteen 6-bit scales, centred at 32: low nibbles in bytes 0..7, high pairs in 8..11. */
static void unpack_scales_k3(const uint8_t *s, struct lk_block_ints *out)
{
    for (int i = 0; i < 16; i++) {
        int low = i < 8 ? s[i] & 15 : s[i - 8] >> 4;
        int high = s[8 + i % 4] >> (2 * (i / 4)) & 3;
        out->sc[i] = (low | high << 4) - 32;
    }
}

static void unpack_q2_k(const struct lk_q2_k *b, struct lk_block_ints *out)
{
    for (int i = 0; i < 16; i++) {
        out->sc[i] = b->scales[i] & 15;
        out->mn[i] = b->scales[i] >> 4;
    }
    for (int i = 0; i < 256; i++) {
        out->q[i] = b->qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
    }
}

static void unpack_q3_k(const struct lk_q3_k *b, struct lk_block_ints *out)
{
    unpack_scales_k3(b->scales, out);
    for (int i = 0; i < 256; i++) {
        int low = b->qs[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
        int high = b->hmask[i % 32] >> (i / 32) & 1;
        out->q[i] = (int16_t)((low | high << 2) - 4);
    }
}

static void unpack_q4_k(const uint8_t *qs, const uint8_t *qh, struct lk_block_ints *out)
{
    for (int i = 0; i < 256; i++) {
        int q = qs[i / 64 * 32 + i % 32] >> (4 * (i / 32 % 2)) & 15;
        if (qh) {
            q |= (qh[i % 32] >> (i / 32) & 1) << 4;
        }
        out->q[i] = (int16_t)q;
    }
}

static void unpack_q6_k(const struct lk_q6_k *b, struct lk_block_ints *out)
{
    for (int i = 0; i < 16; i++) {
        out->sc[i] = b->scales[i];
    }
    for (int i = 0; i < 256; i++) {
        int low = b->ql[i / 128 * 64 + i % 64] >> (4 * (i / 64 % 2)) & 15;
        int high = b->qh[i / 128 * 32 + i % 32] >> (2 * (i / 32 % 4)) & 3;
        out->q[i] = (int16_t)((low | high << 4) - 32);
    }
}

/* Eight 6-bit scales, centred at 32: low nibbles in four bytes, high pairs in 16 bits. */
static void unpack_iq4_xs(const struct lk_iq4_xs *b, struct lk_block_ints *out)
{
    const uint8_t *high = (const uint8_t *)&b->scales_h;
    for (int s = 0; s < 8; s++) {
        int six = (b->scales_l[s / 2] >> (4 * (s % 2)) & 15) | (high[s / 4] >> (2 * (s % 4)) & 3)
                                                                   << 4;
        out->sc[s] = six - 32;
        unpack_table32(b->qs + 16 * s, nibbles_iq4, out->q + 32 * s);
    }
}

static void unpack_grid(enum lk_type type, const void *block, struct lk_block_ints *out)
{
    uint8_t q[256];
    int32_t sc[16];
    lk_grid_unpack(type, block, q, 4, sc);
    for (int i = 0; i < out->n; i++) {
        out->q[i] = (int16_t)(q[i] - 128);
    }
    for (int i = 0; i < out->n / out->group; i++) {
        out->sc[i] = sc[i * out->group / 16];
    }
}

static float load_scale(const struct lk_type_info *info, const uint8_t *block, int i)
{
    const uint8_t *p = block + info->scale_at[i];
    switch (info->scales) {
    case LK_SCALE_F16:
        return lk_f16_to_f32((uint32_t)p[0] | (uint32_t)p[1] << 8);
    case LK_SCALE_F16_SPREAD:
        return lk_f16_to_f32((uint32_t)p[1] >> 4 | (uint32_t)(p[3] & 0xf0) |
                             (uint32_t)(p[5] & 0xf0) << 4 | (uint32_t)(p[7] & 0xf0) << 8);
    case LK_SCALE_E8M0:
        return p[0] < 78 ? 0.0f : lk_flt((p[0] - 1u) << 23);
    case LK_SCALE_UE4M3: /* what all are multiples of; they are sub-scales */
        return lk_ue4m3_to_f32(1);
    case LK_SCALE_NONE:
        break;
    }
    return 0.0f;
}

float lk_block_scale(enum lk_type type, const void *block)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    return info->unit * load_scale(info, block, 0);
}

/* Common facts of a block; sub-scales are 1 and mins 0 until the type's own are read. */
static void begin(const struct lk_type_info *info, const uint8_t *block, struct lk_block_ints *out)
{
    float scale[2] = {0.0f, 0.0f};
    for (int i = 0; i < info->n_scales && i < 2; i++) {
        scale[i] = info->unit * load_scale(info, block, i);
    }
    out->n = info->block;
    out->group = info->sub_block;
    out->d = scale[0];
    out->m = info->apart ? 0.0f : scale[1];
    for (int i = 0; i < 16; i++) {
        out->sc[i] = 1;
        out->mn[i] = 0;
    }
}

void lk_block_unpack(enum lk_type type, const void *block, struct lk_block_ints *out)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    if (!info->quantized) {
        *out = (struct lk_block_ints){0};
        return;
    }
    begin(info, block, out);
    switch (type) {
    case LK_TYPE_Q4_0:
        unpack_nibbles32(((const struct lk_q4_0 *)block)->qs, NULL, 8, out);
        break;
    case LK_TYPE_Q4_1:
        unpack_nibbles32(((const struct lk_q4_1 *)block)->qs, NULL, 0, out);
        break;
    case LK_TYPE_Q5_0: {
        const struct lk_q5_0 *b = block;
        unpack_nibbles32(b->qs, b->qh, 16, out);
        break;
    }
    case LK_TYPE_Q5_1: {
        const struct lk_q5_1 *b = block;
        unpack_nibbles32(b->qs, b->qh, 0, out);
        break;
    }
    case LK_TYPE_Q8_0:
        for (int i = 0; i < 32; i++) {
            out->q[i] = ((const struct lk_q8_0 *)block)->qs[i];
        }
        break;
    case LK_TYPE_Q2_K:
        unpack_q2_k(block, out);
        break;
    case LK_TYPE_Q3_K:
        unpack_q3_k(block, out);
        break;
    case LK_TYPE_Q4_K: {
        const struct lk_q4_k *b = block;
        unpack_scales_k4(b->scales, out);
        unpack_q4_k(b->qs, NULL, out);
        break;
    }
    case LK_TYPE_Q5_K: {
        const struct lk_q5_k *b = block;
        unpack_scales_k4(b->scales, out);
        unpack_q4_k(b->qs, b->qh, out);
        break;
    }
    case LK_TYPE_Q6_K:
        unpack_q6_k(block, out);
        break;
    case LK_TYPE_IQ4_NL:
        unpack_table32(((const struct lk_iq4_nl *)block)->qs, nibbles_iq4, out->q);
        break;
    case LK_TYPE_IQ4_XS:
        unpack_iq4_xs(block, out);
        break;
        LK_GRID_TYPES(LK_CASE)
        unpack_grid(type, block, out);
        break;
    case LK_TYPE_MXFP4:
        unpack_table32(((const struct lk_mxfp4 *)block)->qs, nibbles_mxfp4, out->q);
        break;
    case LK_TYPE_NVFP4:
        unpack_nvfp4(block, out);
        break;
    case LK_TYPE_F32:
    case LK_TYPE_F16:
    case LK_TYPE_BF16:
        break;
    }
}

/* ---- dequantization ---- */

static uint32_t load_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* F32, F16 or BF16 as f32. */
static void load_floats(enum lk_type type, const uint8_t *row, size_t n, float *out)
{
    if (type == LK_TYPE_F32) {
        for (size_t i = 0; i < n; i++) {
            out[i] = lk_flt(load_le32(row + 4 * i));
        }
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint32_t h = (uint32_t)row[2 * i] | (uint32_t)row[2 * i + 1] << 8;
        out[i] = type == LK_TYPE_F16 ? lk_f16_to_f32(h) : lk_bf16_to_f32(h);
    }
}

/* The products (d * sc) * q and m * mn are exact in binary32 (23 bits at most), so each element is
 * rounded once, where the offset is added. Against d * (sc * q) only the sign of a zero differs,
 * which rule 1's flush takes away. */
void lk_dequantize_f32(enum lk_type type, const void *row, size_t n, float *out)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    const uint8_t *p = row;
    if (!info->quantized) {
        load_floats(type, p, n, out);
        return;
    }
    struct lk_block_ints b;
    for (size_t at = 0; at < n; at += (size_t)info->block, p += info->block_bytes) {
        lk_block_unpack(type, p, &b);
        for (int i = 0; i < b.n; i++) {
            int g = i / b.group;
            float y = b.d * (float)b.sc[g];
            y = y * (float)b.q[i];
            if (info->offset == LK_OFFSET_PLUS_M) {
                y = y + b.m;
            } else if (info->offset == LK_OFFSET_MINUS_MINS) {
                float min = b.m * (float)b.mn[g];
                y = y - min;
            }
            out[at + (size_t)i] = y;
        }
    }
}

void lk_dequantize_f64(enum lk_type type, const void *row, size_t n, double *out)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)type);
    const uint8_t *p = row;
    if (!info->quantized) {
        enum { PART = 64 };
        float part[PART];
        for (size_t at = 0; at < n; at += PART) {
            size_t m = n - at < PART ? n - at : PART;
            load_floats(type, p + at * (size_t)info->block_bytes, m, part);
            for (size_t i = 0; i < m; i++) {
                out[at + i] = (double)part[i];
            }
        }
        return;
    }
    struct lk_block_ints b;
    for (size_t at = 0; at < n; at += (size_t)info->block, p += info->block_bytes) {
        lk_block_unpack(type, p, &b);
        for (int i = 0; i < b.n; i++) {
            int g = i / b.group;
            double y = (double)b.d * (double)(b.sc[g] * b.q[i]);
            if (info->offset == LK_OFFSET_PLUS_M) {
                y += (double)b.m;
            } else if (info->offset == LK_OFFSET_MINUS_MINS) {
                y -= (double)b.m * (double)b.mn[g];
            }
            out[at + (size_t)i] = y;
        }
    }
}

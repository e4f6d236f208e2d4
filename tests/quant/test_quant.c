/* SPDX-License-Identifier: Apache-2.0
 *
 * Quant: the type table against the block structs, dequantization against the values of the `gguf`
 * Python package (tests/golden/quant.bin, made by make_quant.py), and the three forms of a block
 * (integers, f32, f64) against each other.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numerics.h"
#include "quant/quant.h"
#include "tests/util/models.h"

struct golden {
    uint8_t *data;
    size_t n, at;
};

static struct golden open_golden(void)
{
    struct golden g = {0};
    FILE *f = fopen(LK_TEST_DIR "/golden/quant.bin", "rb");
    cr_assert(f, "tests/golden/quant.bin is missing");
    cr_assert_eq(fseek(f, 0, SEEK_END), 0);
    g.n = (size_t)ftell(f);
    rewind(f);
    g.data = malloc(g.n);
    cr_assert(g.data && fread(g.data, 1, g.n, f) == g.n);
    fclose(f);
    return g;
}

static const void *take(struct golden *g, size_t n)
{
    cr_assert(n <= g->n - g->at, "quant.bin is cut off");
    g->at += n;
    return g->data + g->at - n;
}

static uint32_t take_u32(struct golden *g)
{
    const uint8_t *p = take(g, 4);
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static void fill_splitmix64(uint64_t seed, uint8_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint64_t z = seed + (i / 8 + 1) * 0x9E3779B97F4A7C15u;
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
        z = (z ^ z >> 27) * 0x94D049BB133111EBu;
        out[i] = (uint8_t)((z ^ z >> 31) >> (8 * (i % 8)));
    }
}

/* Offsets of the scales of a block; -1 ends them. */
static const int *scales_of(uint32_t type)
{
    static const int none[] = {-1}, first[] = {0, -1}, two[] = {0, 2, -1}, q2_k[] = {80, 82, -1},
                     q3_k[] = {108, -1}, q6_k[] = {208, -1}, iq1_m[] = {48, -1}, tq1_0[] = {52, -1},
                     tq2_0[] = {64, -1}, nvfp4[] = {0, 1, 2, 3, -1};
    switch (type) {
    case LK_TYPE_Q4_1:
    case LK_TYPE_Q5_1:
    case LK_TYPE_Q4_K:
    case LK_TYPE_Q5_K:
        return two;
    case LK_TYPE_Q2_K:
        return q2_k;
    case LK_TYPE_Q3_K:
        return q3_k;
    case LK_TYPE_Q6_K:
        return q6_k;
    case LK_TYPE_IQ1_M:
        return iq1_m;
    case LK_TYPE_TQ1_0:
        return tq1_0;
    case LK_TYPE_TQ2_0:
        return tq2_0;
    case LK_TYPE_NVFP4:
        return nvfp4;
    case LK_TYPE_BF16:
        return none;
    default:
        return first;
    }
}

/* What make_quant.py does to scales that are not finite. */
static void make_finite(uint32_t type, uint8_t *block)
{
    for (const int *at = scales_of(type); *at >= 0; at++) {
        if (type == LK_TYPE_MXFP4) {
            block[*at] = (uint8_t)(78 + block[*at] % 90);
            continue;
        }
        if (type == LK_TYPE_NVFP4) {
            block[*at] %= 127;
            continue;
        }
        if (type == LK_TYPE_IQ1_M) {
            uint8_t *high = block + *at + 7, *low = block + *at + 5;
            *high &= (*high & 0x70) == 0x70 && (*low & 0xC0) == 0xC0 ? 0xBF : 0xFF;
            continue;
        }
        if ((block[*at + 1] & 0x7C) == 0x7C) {
            block[*at + 1] &= 0xBF;
        }
    }
    if (type == LK_TYPE_BF16 && (block[1] & 0x7F) == 0x7F && (block[0] & 0x80)) {
        block[1] &= 0xBF;
    }
}

Test(quant, types_agree_with_their_structs)
{
    static const struct {
        enum lk_type type;
        const char *name;
        int block, bytes;
    } want[] = {
        {LK_TYPE_F32, "F32", 1, 4},
        {LK_TYPE_F16, "F16", 1, 2},
        {LK_TYPE_Q4_0, "Q4_0", 32, sizeof(struct lk_q4_0)},
        {LK_TYPE_Q4_1, "Q4_1", 32, sizeof(struct lk_q4_1)},
        {LK_TYPE_Q5_0, "Q5_0", 32, sizeof(struct lk_q5_0)},
        {LK_TYPE_Q5_1, "Q5_1", 32, sizeof(struct lk_q5_1)},
        {LK_TYPE_Q8_0, "Q8_0", 32, sizeof(struct lk_q8_0)},
        {LK_TYPE_Q2_K, "Q2_K", 256, sizeof(struct lk_q2_k)},
        {LK_TYPE_Q3_K, "Q3_K", 256, sizeof(struct lk_q3_k)},
        {LK_TYPE_Q4_K, "Q4_K", 256, sizeof(struct lk_q4_k)},
        {LK_TYPE_Q5_K, "Q5_K", 256, sizeof(struct lk_q5_k)},
        {LK_TYPE_Q6_K, "Q6_K", 256, sizeof(struct lk_q6_k)},
        {LK_TYPE_IQ2_XXS, "IQ2_XXS", 256, sizeof(struct lk_iq2_xxs)},
        {LK_TYPE_IQ2_XS, "IQ2_XS", 256, sizeof(struct lk_iq2_xs)},
        {LK_TYPE_IQ3_XXS, "IQ3_XXS", 256, sizeof(struct lk_iq3_xxs)},
        {LK_TYPE_IQ1_S, "IQ1_S", 256, sizeof(struct lk_iq1_s)},
        {LK_TYPE_IQ4_NL, "IQ4_NL", 32, sizeof(struct lk_iq4_nl)},
        {LK_TYPE_IQ3_S, "IQ3_S", 256, sizeof(struct lk_iq3_s)},
        {LK_TYPE_IQ2_S, "IQ2_S", 256, sizeof(struct lk_iq2_s)},
        {LK_TYPE_IQ4_XS, "IQ4_XS", 256, sizeof(struct lk_iq4_xs)},
        {LK_TYPE_IQ1_M, "IQ1_M", 256, sizeof(struct lk_iq1_m)},
        {LK_TYPE_BF16, "BF16", 1, 2},
        {LK_TYPE_TQ1_0, "TQ1_0", 256, sizeof(struct lk_tq1_0)},
        {LK_TYPE_TQ2_0, "TQ2_0", 256, sizeof(struct lk_tq2_0)},
        {LK_TYPE_MXFP4, "MXFP4", 32, sizeof(struct lk_mxfp4)},
        {LK_TYPE_NVFP4, "NVFP4", 64, sizeof(struct lk_nvfp4)},
        {LK_TYPE_Q1_0, "Q1_0", 128, sizeof(struct lk_q1_0)},
        {LK_TYPE_Q2_0, "Q2_0", 64, sizeof(struct lk_q2_0)},
    };
    size_t n;
    const struct lk_type_info *all = lk_types(&n);
    cr_assert_eq(n, LK_COUNT(want));
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(all[i].type, want[i].type);
        cr_assert_eq(lk_type_info((uint32_t)want[i].type), &all[i]);
        cr_assert_str_eq(all[i].name, want[i].name);
        cr_assert_str_eq(lk_type_name((uint32_t)want[i].type), want[i].name);
        cr_assert(all[i].block == want[i].block && all[i].block_bytes == want[i].bytes);
        cr_assert_eq(all[i].quantized, want[i].block > 1);
        cr_assert_eq(lk_type_row_bytes(want[i].type, 512),
                     512u / (size_t)want[i].block * (size_t)want[i].bytes);
    }
}

/* Each byte of a block in turn takes every value, all others being equal: what the row says of the
 * layout must hold, and the largest weight must be reached. */
Test(quant, facts_of_a_type_hold_for_every_byte)
{
    static const int OTHERS[] = {0, 51, 102, 126, 153, 204, 255};
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    for (size_t t = 0; t < n; t++) {
        const struct lk_type_info *info = &types[t];
        int largest = 0;
        uint8_t block[256];
        struct lk_block_ints b;
        if (!info->quantized) {
            cr_assert(info->n_scales == 0 && info->sub_block == 1 && info->block == 1);
            continue;
        }
        cr_assert(info->acts == (info->block < 256 ? LK_ACTS_Q32 : LK_ACTS_Q256));
        cr_assert_eq(info->n_scales,
                     info->apart                      ? info->block / info->sub_block
                     : info->offset == LK_OFFSET_NONE ? 1
                                                      : 2,
                     "%s", info->name);
        for (size_t o = 0; o < LK_COUNT(OTHERS); o += test_is_sanitized_sample() ? 3 : 1) {
            int other = OTHERS[o];
            for (int at = 0; at < info->block_bytes; at++) {
                for (int v = 0; v < 256; v++) {
                    memset(block, other, sizeof block);
                    block[at] = (uint8_t)v;
                    lk_block_unpack(info->type, block, &b);
                    cr_assert(b.n == info->block && b.group == info->sub_block);
                    if (info->apart && lk_row_find_bad(info->type, block, (size_t)b.n) >= 0) {
                        continue;
                    }
                    for (int i = 0; i < b.n; i++) {
                        int weight = abs(b.sc[i / b.group] * b.q[i]);
                        largest = weight > largest ? weight : largest;
                    }
                    int in_scale = 0;
                    for (int s = 0; s < info->n_scales; s++) {
                        int bytes = info->scales == LK_SCALE_E8M0         ? 1
                                    : info->scales == LK_SCALE_UE4M3      ? 1
                                    : info->scales == LK_SCALE_F16_SPREAD ? 8
                                                                          : 2;
                        in_scale |= at >= info->scale_at[s] && at < info->scale_at[s] + bytes;
                    }
                    bool bad = lk_row_find_bad(info->type, block, (size_t)info->block) >= 0;
                    bool other_bad = info->scales == LK_SCALE_E8M0    ? other > 167
                                     : info->scales == LK_SCALE_UE4M3 ? other > 126
                                                                      : (other & 0x7c) == 0x7c;
                    cr_assert(!bad || in_scale || other_bad, "%s byte %d", info->name, at);
                }
            }
        }
        if (info->apart) { /* the integer is of a sub-block, without its scale */
            cr_assert_eq(info->most_integer, info->sub_block * 12 * 127);
        } else {
            cr_assert_eq(info->most_integer, lk_acts_block(info->acts) * info->most_weight * 127);
        }
        cr_assert_eq(largest, info->most_weight, "%s: %d", info->name, largest);
    }
}

Test(quant, types_that_do_not_run_have_names_and_sizes)
{
    int block, bytes;
    for (uint32_t t = 0; t < 100; t++) {
        bool named = lk_type_name(t) != NULL;
        cr_assert_eq(lk_type_block(t, &block, &bytes), named, "type %u", t);
        cr_assert_eq(lk_type_why_not(t) == NULL, lk_type_info(t) != NULL, "type %u", t);
        if (lk_type_info(t)) {
            cr_assert(named && block == lk_type_info(t)->block);
            cr_assert_eq(bytes, lk_type_info(t)->block_bytes);
        }
    }
    static const uint32_t unknown[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 255, UINT32_MAX};
    for (size_t i = 0; i < LK_COUNT(unknown); i++) {
        cr_assert(!lk_type_name(unknown[i]) && !lk_type_info(unknown[i]));
        cr_assert(!lk_type_block(unknown[i], &block, &bytes));
    }
    cr_assert(!lk_type_info(9) && !strcmp(lk_type_name(9), "Q8_1"));
    cr_assert(lk_type_block(9, &block, &bytes) && block == 32 && bytes == 40);
    cr_assert(!lk_type_info(15) && !strcmp(lk_type_name(15), "Q8_K"));
    cr_assert(lk_type_block(15, &block, &bytes) && block == 256 && bytes == 292);
}

/* 2^(e - 128) for every e: +0 below 2^-50, and bad from 2^40 on. */
Test(quant, scales_of_e8m0_have_the_range_of_rule_1)
{
    struct lk_mxfp4 b[2];
    float y[64];
    memset(b, 0x22, sizeof b); /* elements of 2 */
    b[0].e = 128;
    for (int e = 0; e < 256; e++) {
        b[1].e = (uint8_t)e;
        cr_assert_eq(lk_row_find_bad(LK_TYPE_MXFP4, b, 64), e > 167 ? 32 : -1, "e %d", e);
        if (e <= 167) {
            lk_dequantize_f32(LK_TYPE_MXFP4, b, 64, y);
            cr_assert(y[0] == 2.0f && y[63] == (e < 78 ? 0.0f : ldexpf(1.0f, e - 127)), "e %d", e);
            cr_assert_eq(lk_bits(y[63]) >> 31, 0);
        }
    }
    cr_assert_str_eq(lk_bad_text(LK_TYPE_MXFP4), "a scale of 2^40 or more, or NaN,");
    cr_assert_str_eq(lk_bad_text(LK_TYPE_Q4_0), "NaN or infinity");
}

/* Each of the four scales alone, by the format's definition: a bias of 7, subnormals, NaN at 127;
 * with a sign it is not of this format. */
Test(quant, scales_of_ue4m3_are_those_of_its_sixteen)
{
    struct lk_nvfp4 b;
    float y[64];
    for (int s = 0; s < 4; s++) {
        for (int u = 0; u < 256; u++) {
            float scale = u < 8 ? ldexpf((float)u, -9)
                                : ldexpf(1.0f + (float)(u & 7) / 8.0f, (u >> 3 & 15) - 7);
            memset(&b, 0x22, sizeof b); /* elements of 1, scales of 2^-3 */
            memset(b.d, 0x20, sizeof b.d);
            b.d[s] = (uint8_t)u;
            cr_assert_eq(lk_row_find_bad(LK_TYPE_NVFP4, &b, 64), u > 126 ? 0 : -1, "%02x", u);
            if (u < 127) {
                cr_assert_eq(lk_bits(lk_ue4m3_to_f32((uint32_t)u)), lk_bits(scale), "%02x", u);
                lk_dequantize_f32(LK_TYPE_NVFP4, &b, 64, y);
                for (int i = 0; i < 64; i++) {
                    cr_assert_eq(y[i], i / 16 == s ? scale : 0.125f, "%02x element %d", u, i);
                }
            }
        }
    }
    cr_assert_str_eq(lk_bad_text(LK_TYPE_NVFP4), "a scale that is NaN or has a sign");
}

/* Nibbles in the order of Q4_0 and back. */
Test(quant, swapped_nibbles_come_back)
{
    uint8_t from[16], to[16], back[16];
    for (int i = 0; i < 16; i++) {
        from[i] = (uint8_t)(i << 4 | (15 - i));
    }
    lk_swap_nibbles(from, to);
    for (int i = 0; i < 16;
         i++) { /* element i of each sixteen: of its first eight the low nibble */
        int first = i < 8 ? from[i] & 15 : from[i - 8] >> 4;
        int other = i < 8 ? from[i + 8] & 15 : from[i] >> 4;
        cr_assert(to[i] == (first | other << 4), "byte %d", i);
    }
    lk_swap_nibbles(to, back);
    cr_assert_arr_eq(back, from, 16);
}

Test(quant, values_are_those_of_the_gguf_package)
{
    struct golden g = open_golden();
    cr_assert(memcmp(take(&g, 4), "LKQ1", 4) == 0);
    uint32_t n_types = take_u32(&g);
    size_t runnable;
    lk_types(&runnable);
    cr_assert_eq(n_types, runnable - 1, "every type but F32");
    float got[256];
    for (uint32_t t = 0; t < n_types; t++) {
        uint32_t type = take_u32(&g), n_blocks = take_u32(&g);
        const struct lk_type_info *info = lk_type_info(type);
        cr_assert(info);
        size_t bytes = (size_t)info->block_bytes, n = (size_t)info->block;
        const uint8_t *blocks = take(&g, n_blocks * bytes);
        const uint8_t *values = take(&g, n_blocks * n * sizeof(float));
        for (uint32_t b = 0; b < n_blocks; b++) {
            lk_dequantize_f32(info->type, blocks + b * bytes, n, got);
            for (size_t i = 0; i < n; i++) {
                uint32_t want;
                memcpy(&want, values + (b * n + i) * sizeof want, sizeof want);
                cr_assert_eq(lk_bits(got[i]), want, "%s block %u element %zu: %08x, expected %08x",
                             info->name, b, i, lk_bits(got[i]), want);
            }
        }
        uint32_t n_random = take_u32(&g);
        uint8_t *random = malloc(n_random * bytes), hash[32];
        cr_assert(random && n_random >= 1000);
        fill_splitmix64(type, random, n_random * bytes);
        lk_sha256 h;
        lk_sha256_init(&h);
        for (uint32_t b = 0; b < n_random; b++) {
            uint8_t *block = random + b * bytes;
            if (n == 1) { /* F16 and BF16: every pattern instead */
                block[0] = (uint8_t)b;
                block[1] = (uint8_t)(b >> 8);
            }
            make_finite(type, block);
            lk_dequantize_f32(info->type, block, n, got);
            lk_sha256_floats(&h, got, n);
        }
        lk_sha256_final(&h, hash);
        cr_assert(memcmp(hash, take(&g, 32), 32) == 0, "%s: random blocks differ", info->name);
        free(random);
    }
    cr_assert_eq(g.at, g.n);
    free(g.data);
}

/* The f64 form is exact: rounding it once gives the f32 form. The integer view gives rule 5's
 * d * F(sc q) - dmin * F(m). Both up to the sign of zero. */
Test(quant, integers_f32_and_f64_agree)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    uint8_t block[256];
    float y[256];
    double z[256];
    struct lk_block_ints ints;
    for (size_t t = 0; t < n_types; t++) {
        if (!types[t].quantized) {
            continue;
        }
        for (uint64_t seed = 0; seed < 300; seed++) {
            fill_splitmix64(seed + 77, block, sizeof block);
            if (seed < 4) {
                memset(block, seed & 1 ? 0xFF : 0x80, sizeof block);
            }
            make_finite((uint32_t)types[t].type, block);
            size_t n = (size_t)types[t].block;
            lk_dequantize_f32(types[t].type, block, n, y);
            lk_dequantize_f64(types[t].type, block, n, z);
            lk_block_unpack(types[t].type, block, &ints);
            cr_assert_eq(ints.n, types[t].block);
            cr_assert(ints.group == 16 || ints.group == 32);
            bool plus = types[t].type == LK_TYPE_Q4_1 || types[t].type == LK_TYPE_Q5_1;
            for (size_t i = 0; i < n; i++) {
                size_t group = i / (size_t)ints.group;
                cr_assert(y[i] == (float)z[i], "%s element %zu: %a, exactly %a", types[t].name, i,
                          (double)y[i], z[i]);
                float r = ints.d * (float)(ints.sc[group] * ints.q[i]);
                r = plus ? r + ints.m : r - ints.m * (float)ints.mn[group];
                cr_assert(y[i] == r, "%s element %zu", types[t].name, i);
            }
        }
    }
}

Test(quant, f32_rows_pass_through_with_every_bit)
{
    static const uint32_t bits[] = {0,           0x80000000u, 1,          0x807fffffu,
                                    0x7f7fffffu, 0x3f800001u, 0x7f800000u};
    float in[LK_COUNT(bits)], out[LK_COUNT(bits)];
    memcpy(in, bits, sizeof bits);
    lk_dequantize_f32(LK_TYPE_F32, in, LK_COUNT(bits), out);
    cr_assert(memcmp(out, bits, sizeof bits) == 0);
    double wide[LK_COUNT(bits)];
    lk_dequantize_f64(LK_TYPE_F32, in, LK_COUNT(bits), wide);
    for (size_t i = 0; i < LK_COUNT(bits); i++) {
        cr_assert(wide[i] == (double)in[i]);
    }
    struct lk_block_ints none;
    memset(&none, 1, sizeof none);
    lk_block_unpack(LK_TYPE_F32, in, &none);
    cr_assert_eq(none.n, 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels_matmul: packing, preparing and multiplying of every weight type against lk_scalar_matmul:
 * extreme weights and activations, ragged rows, short panels, batches of 1 to 40 tokens, groups and
 * rows in parts, buffers at the end of their pages.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/matmul.h"
#include "cpu/scalar.h"
#include "tests/util/half.h"
#include "tests/cpu/kernels.h"
#include "base/numerics.h"

enum weights { W_RANDOM, W_ONES, W_ZEROS, W_NO_SCALE, W_LARGE, W_KINDS };
enum inputs { X_RANDOM, X_EXTREME, X_SPARSE, X_UNEVEN, X_TIES, X_HUGE, X_KINDS };

static uint16_t any_half(struct rng *r, enum weights kind)
{
    uint32_t sign = rng_u32(r) & 0x8000u, mantissa = rng_u32(r) & 0x3ffu;
    if (kind == W_NO_SCALE) {
        return (uint16_t)(rng_below(r, 2) ? sign : mantissa & 7u); /* +-0 and subnormals */
    }
    if (kind == W_LARGE) {
        return (uint16_t)(sign | 0x7bffu);
    }
    switch (rng_below(r, 16)) {
    case 0:
        return (uint16_t)(sign | mantissa); /* subnormal */
    case 1:
        return 0;
    default:
        return (uint16_t)(sign | (uint32_t)(4 + rng_below(r, 12)) << 10 | mantissa);
    }
}

/* Both sides of 78, below which a scale is +0; at most 2^15, as an f16. */
static uint8_t any_e8m0(struct rng *r, enum weights kind)
{
    if (kind == W_NO_SCALE) {
        return (uint8_t)rng_below(r, 81);
    }
    return (uint8_t)(kind == W_LARGE ? 143 : 117 + rng_below(r, 12));
}

/* Subnormals and zero, the largest, or any. */
static uint8_t any_ue4m3(struct rng *r, enum weights kind)
{
    return (uint8_t)(kind == W_NO_SCALE ? rng_below(r, 9)
                     : kind == W_LARGE  ? 126
                                        : rng_below(r, 127));
}

static void fill_floats(struct rng *r, enum lk_type type, enum weights kind, uint8_t *to, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        /* Both sides of 2^-50, where f32 and bf16 weights become +0. */
        float f = kind == W_NO_SCALE ? rng_float(r, -52, -48)
                  : kind == W_LARGE  ? rng_float(r, 10, 14)
                                     : rng_float(r, -12, 0);
        f = kind == W_ONES ? 1.0f : kind == W_ZEROS ? 0.0f : f;
        uint32_t u = lk_bits(f);
        uint16_t half = type == LK_TYPE_BF16 ? (uint16_t)(u >> 16)
                        : kind == W_NO_SCALE ? any_half(r, kind)
                                             : half_of((double)f);
        if (type == LK_TYPE_F32) {
            memcpy(to + 4 * i, &f, 4);
        } else {
            memcpy(to + 2 * i, &half, 2);
        }
    }
}

static void fill_weight(struct rng *r, enum lk_type type, enum weights kind, uint8_t *to, size_t n)
{
    const struct lk_type_info *info = lk_type_info(type);
    if (!info->quantized) {
        fill_floats(r, type, kind, to, n);
        return;
    }
    for (size_t b = 0; b < n / (size_t)info->block; b++, to += info->block_bytes) {
        for (int i = 0; i < info->block_bytes; i++) {
            to[i] = (uint8_t)(kind == W_ONES ? 0xff : kind == W_ZEROS ? 0 : rng_u32(r));
        }
        if (kind == W_LARGE) { /* -128 of Q8_0 and of the signed scales */
            memset(to, rng_below(r, 2) ? 0x80 : 0x7f, (size_t)info->block_bytes);
        }
        for (int i = 0; i < info->n_scales; i++) {
            if (info->scales == LK_SCALE_E8M0) {
                to[info->scale_at[i]] = any_e8m0(r, kind);
                continue;
            }
            if (info->scales == LK_SCALE_UE4M3) {
                to[info->scale_at[i]] = any_ue4m3(r, kind);
                continue;
            }
            put_f16_scale(info, to, i, any_half(r, kind));
        }
    }
}

/* What an op before may have stored: +0 or 2^-50 <= |x| < 2^40. */
static void fill_input(struct rng *r, enum inputs kind, float *x, size_t n)
{
    float a = rng_float(r, -6, 6);
    for (size_t i = 0; i < n; i++) {
        if (i % 256 == 0) {
            a = rng_float(r, -6, 6);
        }
        switch (kind) {
        case X_EXTREME: /* all +-127 */
            x[i] = rng_u32(r) & 1 ? a : i / 256 % 2 ? -a : a;
            break;
        case X_SPARSE:
            x[i] = i / 32 % 3 == 1 || rng_below(r, 4) == 0 ? 0.0f : rng_float(r, -3, 3);
            break;
        case X_UNEVEN:
            x[i] = rng_float(r, -50, i % 32 == 5 ? 10 : -20);
            break;
        case X_TIES: /* halves of a step of the quantization */
            x[i] = i % 32 == 0 ? 127.0f : (float)(rng_below(r, 507) - 253) * 0.5f;
            break;
        case X_HUGE:
            x[i] = rng_float(r, 30, 39);
            break;
        default:
            x[i] = rng_float(r, -8, 2);
            break;
        }
    }
}

struct matmul_case {
    enum lk_type type;
    int64_t rows, k;
    int n_tok;
    enum weights weights;
    enum inputs inputs;
};

static void check_matmul(struct report *rep, struct rng *rng, const struct lk_matmul_kernels *table,
                         enum lk_cpu_level level, const struct matmul_case *c)
{
    size_t k = (size_t)c->k, n = (size_t)c->n_tok, rows = (size_t)c->rows;
    size_t ldy = rows + (size_t)rng_below(rng, 4);
    struct edge weight = edge_new(lk_type_row_bytes(c->type, k) * rows, 1);
    struct edge x = edge_new(n * k * sizeof(float), 4);
    struct edge want = edge_new(n * rows * sizeof(float), 4);
    struct edge got = edge_new(n * ldy * sizeof(float), 4);
    fill_weight(rng, c->type, c->weights, weight.data, k * rows);
    fill_input(rng, c->inputs, (float *)(void *)x.data, n * k);
    struct lk_weight w = {.name = "w",
                          .type = c->type,
                          .rows = c->rows,
                          .cols = c->k,
                          .data = weight.data,
                          .n_bytes = weight.n_bytes};

    struct edge scratch = edge_new(lk_scalar_matmul_scratch(&w, c->n_tok), 64);
    bool want_ok = lk_scalar_matmul(&w, (float *)(void *)x.data, c->n_tok,
                                    (float *)(void *)want.data, scratch.data);

    struct lk_packed p;
    lk_packed_init(&p, &w, level);
    struct edge packed = edge_new((size_t)p.n_groups * p.group_bytes, 64);
    p.data = packed.data;
    memset(p.data, 0, packed.n_bytes);
    int64_t cut = rng_below(rng, (int)p.n_groups + 1);
    lk_pack_groups(&p, &w, cut, p.n_groups);
    lk_pack_groups(&p, &w, 0, cut);

    /* Out again, in two parts, the file's bytes are what they were. */
    struct edge back = edge_new(lk_type_row_bytes(c->type, k), 1);
    int64_t n_blocks = c->k / lk_type_info(c->type)->block, half = n_blocks / 2;
    for (int64_t row = 0; row < c->rows; row++) {
        lk_packed_blocks(&p, row, 0, half, back.data);
        lk_packed_blocks(&p, row, half, n_blocks - half,
                         back.data + half * lk_type_info(c->type)->block_bytes);
        if (memcmp(back.data, weight.data + (size_t)row * back.n_bytes, back.n_bytes) != 0) {
            report_fail(rep, "row %lld of %lld is not unpacked", (long long)row,
                        (long long)c->rows);
            break;
        }
    }
    edge_free(&back);

    struct lk_acts a = {.kind = lk_type_info(c->type)->acts, .k = c->k};
    a.row_bytes = lk_acts_row_bytes(a.kind, c->k);
    struct edge acts = edge_new(n * a.row_bytes, 64);
    a.data = acts.data;
    int part = rng_below(rng, c->n_tok + 1);
    table->prepare(&a, (float *)(void *)x.data, part, c->n_tok);
    table->prepare(&a, (float *)(void *)x.data, 0, part);

    float *y = (float *)(void *)got.data;
    bool got_ok = table->mul(&p, &a, c->n_tok, cut, p.n_groups, y, ldy);
    for (size_t t = 0; t < n; t++) { /* the other rows are still as they were */
        for (size_t r = 0; r < (size_t)cut * LK_PACK_ROWS && r < rows; r++) {
            if (lk_bits(y[t * ldy + r]) != 0xA5A5A5A5u) {
                report_fail(rep, "token %zu: wrote row %zu of another part", t, r);
            }
        }
    }
    got_ok &= table->mul(&p, &a, c->n_tok, 0, cut, y, ldy);
    char what[128];
    snprintf(what, sizeof what, "%lld x %lld, %d tokens, weights %d, input %d", (long long)c->rows,
             (long long)c->k, c->n_tok, c->weights, c->inputs);
    if (got_ok != want_ok) {
        report_fail(rep, "%s: in range: %d, the contract says %d", what, got_ok, want_ok);
    }
    for (size_t t = 0; t < n; t++) {
        if (want_ok &&
            !same_floats(rep, what, y + t * ldy, (float *)(void *)want.data + t * rows, rows)) {
            break;
        }
        for (size_t r = rows; r < ldy; r++) {
            if (lk_bits(y[t * ldy + r]) != 0xA5A5A5A5u) {
                report_fail(rep, "%s: wrote past the end of row %zu", what, t);
            }
        }
    }
    struct edge *all[] = {&weight, &x, &want, &got, &scratch, &packed, &acts};
    for (size_t i = 0; i < LK_COUNT(all); i++) {
        edge_free(all[i]);
    }
}

void test_matmul(struct report *rep, enum lk_cpu_level level)
{
    /* The level whose kernels a level must run. */
    static const enum lk_cpu_level OWN[LK_CPU_LEVELS] = {
        [LK_CPU_GENERIC] = LK_CPU_GENERIC,   [LK_CPU_AVX2] = LK_CPU_AVX2,
        [LK_CPU_AVX_VNNI] = LK_CPU_AVX_VNNI, [LK_CPU_AVX512] = LK_CPU_AVX512,
        [LK_CPU_AMX] = LK_CPU_AMX,           [LK_CPU_NEON] = LK_CPU_NEON,
        [LK_CPU_DOTPROD] = LK_CPU_DOTPROD,   [LK_CPU_I8MM] = LK_CPU_I8MM,
    };
    static const int ROWS[] = {1, 7, 8, 9, 16, 17, 31, 40};
    static const int K32[] = {32, 64, 224, 256, 288, 576, 1056};
    static const int K64[] = {64, 192, 256, 320, 1088};
    static const int K128[] = {128, 256, 384, 896};
    static const int K256[] = {256, 512, 768, 1280};
    static const int K1[] = {1, 3, 32, 255, 256, 257, 600};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t i = 0; i < n_types; i++) {
        enum lk_type type = types[i].type;
        const struct lk_matmul_kernels *table = lk_matmul_kernels(level);
        struct rng rng = {rep->seed + (uint64_t)type};
        const int *ks = types[i].block == 1     ? K1
                        : types[i].block == 32  ? K32
                        : types[i].block == 64  ? K64
                        : types[i].block == 256 ? K256
                                                : K128;
        int n_ks = types[i].block == 1     ? (int)LK_COUNT(K1)
                   : types[i].block == 32  ? (int)LK_COUNT(K32)
                   : types[i].block == 64  ? (int)LK_COUNT(K64)
                   : types[i].block == 256 ? (int)LK_COUNT(K256)
                                           : (int)LK_COUNT(K128);
        report_begin(rep, lk_cpu_level_name(level), "matmul", types[i].name);
        if (table->level != OWN[level] ||
            (level != LK_CPU_GENERIC && table->mul == lk_matmul_generic.mul)) {
            report_fail(rep, "ran the kernels of %s", lk_cpu_level_name(table->level));
        }
        for (int n_tok = 1; n_tok <= 40; n_tok++) {
            if (report_skips(rep)) {
                continue;
            }
            struct matmul_case c = {type,  23,       ks[n_tok % n_ks],
                                    n_tok, W_RANDOM, (enum inputs)(n_tok % X_HUGE)};
            check_matmul(rep, &rng, table, level, &c);
        }
        for (int j = 0; j < n_ks * (int)LK_COUNT(ROWS); j++) {
            if (report_skips(rep)) {
                continue;
            }
            struct matmul_case c = {type,
                                    ROWS[j / n_ks],
                                    ks[j % n_ks],
                                    1 + rng_below(&rng, 9),
                                    (enum weights)(j % W_KINDS),
                                    (enum inputs)rng_below(&rng, X_HUGE)};
            check_matmul(rep, &rng, table, level, &c);
        }
        for (int j = 0; j < W_KINDS * X_KINDS; j++) {
            if (report_skips(rep)) {
                continue;
            }
            struct matmul_case c = {type,
                                    33,
                                    ks[n_ks - 1],
                                    j % 2 ? 9 : 33, /* few tokens, and tiles of them with a rest */
                                    (enum weights)(j / X_KINDS),
                                    (enum inputs)(j % X_KINDS)};
            check_matmul(rep, &rng, table, level, &c);
        }
        struct matmul_case many = {type, 17, ks[n_ks - 1], 300, W_RANDOM, X_RANDOM};
        if (!report_skips(rep)) {
            check_matmul(rep, &rng, table, level, &many);
        }
        report_end(rep);
    }
}

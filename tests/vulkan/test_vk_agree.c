/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_agree: the Vulkan backend against the scalar contract, by bits: each op by type and shape,
 * matmuls on the edges of panels and row groups, range errors, limits; attention is in
 * test_vk_attention.c.
 * Each case runs with all slots kept, fused and unfused, and each batch is replayed once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/numerics.h"
#include "vulkan/vk.h"
#include "tests/vulkan/vk_bench.h"
#include "tests/util/models.h"

enum { TYPES_OF_A_SAMPLE = 8 }; /* each eighth */

enum { N_TOKENS = 5, N_WIDTHS = 3, MAT_VECS = 3 };
/* The first three of mat-vecs, then tiles; wide tiles split their panels for 9 and 17. */
static const int COUNTS[N_TOKENS] = {1, 3, 9, 17, 70};

/* Whether a sample has a case of a type: a mat-vec and a tile, each of one width, in turn. With
 * LK_FULL=1 SwiftShader has every other number of tokens with one width. */
static bool in_sample(size_t type, int v, size_t tokens, size_t width)
{
    size_t turn = type + type / 3 + test_turn() / 3;
    if (test_is_full()) {
        return (type / (v > 0 ? 2 : 1) + tokens) % 2 == 0 && !vk_pair_skips(type + tokens, width);
    }
    return (turn / 6 + tokens) % N_WIDTHS == width &&
           (tokens < MAT_VECS ? turn % MAT_VECS == tokens
                              : turn % (N_TOKENS - MAT_VECS) == tokens - MAT_VECS);
}

/* Of every type and shape, without the features of a variant. Where few cases run a third of the
 * types lack the features of a variant, others of each, an eighth is unrolled; SwiftShader has a
 * few types, others in each variant. */
static void matmuls(int v)
{
    static const int ROWS[] = {1, 33, 96};
    const char *variant = VK_VARIANTS[v];
    size_t n_types, turn = test_turn(), each = test_is_full() ? 2 : 3;
    const struct lk_type_info *types = lk_types(&n_types);
    bool sample = vk_pair_samples();
    for (size_t t = sample ? ((size_t)v + turn) % TYPES_OF_A_SAMPLE : 0; t < n_types;
         t += sample ? TYPES_OF_A_SAMPLE : 1) {
        int block = types[t].block;
        int cols[N_WIDTHS] = {block,
                              block == 256 ? 768
                              : block == 1 ? 262
                                           : block * 11,
                              block == 1 ? 7 : block * 20};
        /* only kernels of decode are unrolled; those of float weights take CPU drivers too
         * long to compile, and run where the device is a GPU */
        bool unrolled = strcmp(variant, "looped") == 0;
        bool wide = strncmp(variant, "narrow", 6) == 0;
        bool few = vk_pair_few() && !sample;
        bool others =
            few && v > 0 &&
            (unrolled ? (t + turn) % (4 * each - 4) != 3 : (t + (size_t)v + turn) % each != 1);
        if ((unrolled && !types[t].quantized) || others) {
            continue;
        }
        for (size_t i = 0; i < (unrolled ? 1 : N_TOKENS); i++) {
            if (wide && COUNTS[i] <= 4) {
                continue; /* tiles are for more */
            }
            for (size_t k = unrolled; k < (unrolled ? 2 : N_WIDTHS); k++) {
                struct vk_bench b;
                char what[96];
                int rows = ROWS[(i + k) % 3];
                if (!unrolled && vk_pair_few() && !in_sample(t, v, i, k)) {
                    continue;
                }
                snprintf(what, sizeof what, "matmul %s %dx%d, %d tokens, without '%s'",
                         types[t].name, rows, cols[k], COUNTS[i], variant);
                vk_bench_begin(&b, cols[k], COUNTS[i], what);
                int w = vk_bench_weight(&b, types[t].type, rows, cols[k], 5 + i + 10 * k);
                vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, rows, LK_ROWS_TOKENS), w);
                vk_bench_end(&b, variant);
            }
        }
    }
    vk_pair_close();
}

Test(vk_agree, matmul_of_every_type_and_shape)
{
    matmuls(0);
}

Test(vk_agree, matmul_without_features)
{
    matmuls(1);
}

Test(vk_agree, matmul_unrolled)
{
    matmuls(2);
}

Test(vk_agree, matmul_in_wide_tiles)
{
    matmuls(3);
}

/* Tiles of floats are halved each way where fewer than 256 of them are wanted. */
Test(vk_agree, floats_in_many_tiles)
{
    static const enum lk_type TYPES[] = {LK_TYPE_F32, LK_TYPE_F16, LK_TYPE_BF16};
    size_t step = vk_pair_samples() ? LK_COUNT(TYPES) : 1;
    for (size_t t = test_turn() % step; t < LK_COUNT(TYPES); t += step) {
        struct vk_bench b;
        vk_bench_begin(&b, 9, 256, "floats in many tiles");
        int w = vk_bench_weight(&b, TYPES[t], 2040, 9, 5);
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 2040, LK_ROWS_TOKENS), w);
        vk_bench_end(&b, VK_VARIANTS[0]);
    }
    vk_pair_close();
}

/* Which a device takes of its own accord only where there are many: of matrix units, or of what
 * stands for them. In the 32 KiB of shared memory of CPU drivers few types have large ones. */
Test(vk_agree, matmul_in_large_tiles)
{
    static const struct {
        enum lk_type type;
        uint32_t shared; /* at least so much, in KiB */
        const char *want;
    } CASE[] = {{LK_TYPE_Q3_K, 32, " 128 0 "},
                {LK_TYPE_Q4_K, 48, "constants 128 128 0 256"},
                {LK_TYPE_Q6_K, 48, "constants 64 128 0 128"}};
    struct lk_backend *b = vk_pair_device("");
    int v = b->dev.found.use[LK_VK_MATRIX] ? 0 : 3;
    vk_pair_device(VK_VARIANTS[v])->dev.many_tiles = 1;
    vk_pair_device(VK_VARIANTS[v])->dev.split_tokens = 0; /* 17 tokens are in a tile too */
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        if (b->dev.found.props.limits.maxComputeSharedMemorySize < CASE[i].shared << 10) {
            printf("not run: large tiles of %s, they take %u KiB\n",
                   lk_type_name((uint32_t)CASE[i].type), CASE[i].shared);
            continue;
        }
        struct vk_bench bench;
        vk_bench_begin(&bench, 512, 140, "large tiles");
        int w = vk_bench_weight(&bench, CASE[i].type, 70, 512, 3);
        vk_bench_op(&bench, LK_OP_MATMUL, 0, -1, vk_bench_slot(&bench, 70, LK_ROWS_TOKENS), w);
        vk_bench_expect_kernel(&bench, VK_VARIANTS[v], 0, CASE[i].want);
        vk_bench_end(&bench, VK_VARIANTS[v]);
    }
    matmuls(v);
}

/* norm -> q, k, v -> add of two; norm -> gate, up -> glu -> down + residual: what fuses. */
static void layer(struct vk_bench *b, enum lk_type type, int n_tokens, const char *what)
{
    vk_bench_begin(b, 256, n_tokens, what);
    int norm = vk_bench_weight(b, LK_TYPE_F32, 1, 256, 3),
        n = vk_bench_slot(b, 256, LK_ROWS_TOKENS);
    vk_bench_op(b, LK_OP_NORM, 0, -1, n, norm)->u.norm.group = 256;
    b->c.plan.ops[0].u.norm.eps = 1e-5f;
    int wq = vk_bench_weight(b, type, 256, 256, 11), wk = vk_bench_weight(b, type, 40, 256, 12);
    int wv = vk_bench_weight(b, type, 256, 256, 13);
    int q = vk_bench_slot(b, 256, LK_ROWS_TOKENS), k = vk_bench_slot(b, 40, LK_ROWS_TOKENS);
    int vv = vk_bench_slot(b, 256, LK_ROWS_TOKENS), s = vk_bench_slot(b, 256, LK_ROWS_TOKENS);
    vk_bench_op(b, LK_OP_MATMUL, n, -1, q, wq);
    vk_bench_op(b, LK_OP_MATMUL, n, -1, k, wk);
    vk_bench_op(b, LK_OP_MATMUL, n, -1, vv, wv);
    vk_bench_op(b, LK_OP_ADD, q, vv, s, -1);
    int n2 = vk_bench_slot(b, 256, LK_ROWS_TOKENS);
    struct lk_op *o = vk_bench_op(b, LK_OP_NORM, s, -1, n2, norm);
    o->u.norm.group = 256;
    o->u.norm.eps = 1e-6f;
    int wg = vk_bench_weight(b, type, 512, 256, 14), wu = vk_bench_weight(b, type, 512, 256, 15);
    int g = vk_bench_slot(b, 512, LK_ROWS_TOKENS), u = vk_bench_slot(b, 512, LK_ROWS_TOKENS);
    int a = vk_bench_slot(b, 512, LK_ROWS_TOKENS), d = vk_bench_slot(b, 256, LK_ROWS_TOKENS);
    vk_bench_op(b, LK_OP_MATMUL, n2, -1, g, wg);
    vk_bench_op(b, LK_OP_MATMUL, n2, -1, u, wu);
    enum lk_act act = type % 3 == 2 ? LK_ACT_RELU : type % 2 ? LK_ACT_GELU : LK_ACT_SILU;
    vk_bench_op(b, LK_OP_GLU, g, u, a, -1)->u.glu.act = act;
    int wd = vk_bench_weight(b, type, 256, 512, 16);
    vk_bench_op(b, LK_OP_MATMUL, a, -1, d, wd);
    vk_bench_op(b, LK_OP_ADD, s, d, vk_bench_slot(b, 256, LK_ROWS_TOKENS), -1);
}

Test(vk_agree, layers_of_matmuls_fused_and_unfused)
{
    static const int TOKENS[] = {1, 8, 19};
    size_t n_types, turn = test_turn();
    const struct lk_type_info *types = lk_types(&n_types);
    bool sample = vk_pair_samples(); /* of the types that no sample of matmuls has */
    for (size_t t = sample ? (4 + turn) % TYPES_OF_A_SAMPLE : 0; t < n_types;
         t += sample ? TYPES_OF_A_SAMPLE : 1) {
        if (vk_pair_few() && !sample && (test_is_full() ? t % 4 / 2 : (t + turn) % 4) != 0) {
            continue;
        }
        for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
            struct vk_bench b;
            char what[96];
            bool unrolled = types[t].type == LK_TYPE_Q4_K; /* what decode alone is */
            if (vk_pair_few() && ((unrolled ? 0 : t + turn / 4) + i) % LK_COUNT(TOKENS) != 0) {
                continue;
            }
            snprintf(what, sizeof what, "layer of %s, %d tokens", types[t].name, TOKENS[i]);
            layer(&b, types[t].type, TOKENS[i], what);
            vk_bench_end(&b, VK_VARIANTS[unrolled ? 2 : t % 2]);
        }
    }
    vk_pair_close();
}

/* As many submissions as there are steps, and all steps in one. */
Test(vk_agree, a_batch_is_several_submissions)
{
    if (vk_pair_leaves("batches of several submissions")) {
        return;
    }
    static const int TOKENS[] = {1, 5, 40};
    bool few = vk_pair_turns(); /* one of them, in turn */
    for (size_t i = few ? test_turn() % LK_COUNT(TOKENS) : 0; i < LK_COUNT(TOKENS);
         i += few ? LK_COUNT(TOKENS) : 1) {
        uint64_t n[2];
        for (int all = 0; all < 2; all++) {
            struct vk_bench b;
            struct lk_vk_device *dev = &vk_pair_device("")->dev;
            uint64_t before = dev->n_submits;
            dev->submit_work = all ? UINT64_MAX : 1;
            layer(&b, LK_TYPE_Q4_K, TOKENS[i], all ? "one submission" : "many submissions");
            vk_bench_end(&b, "");
            n[all] = dev->n_submits - before;
        }
        /* 6 matmuls, in 4 steps where they are fused; the case is run in three ways. */
        cr_assert_geq(n[0], 4 * n[1], "%d tokens: %d submissions, in one each %d", TOKENS[i],
                      (int)n[0], (int)n[1]);
    }
    vk_pair_close();
}

/* Rows of more panels than a workgroup has workers, or than meet at one barrier; a norm, gate and
 * up and a product of long rows, all by the same mat-vec. */
Test(vk_agree, long_rows_of_a_token)
{
    static const struct {
        enum lk_type type;
        int cols;
    } CASE[] = {{LK_TYPE_Q4_1, 4384}, {LK_TYPE_Q5_0, 4384},  {LK_TYPE_Q2_K, 4608},
                {LK_TYPE_Q6_K, 4608}, {LK_TYPE_Q4_K, 25600}, {LK_TYPE_F16, 4100}};
    size_t step = vk_pair_samples() ? LK_COUNT(CASE) : vk_pair_turns() ? 2 : 1;
    for (size_t i = test_turn() % step; i < LK_COUNT(CASE); i += step) {
        struct vk_bench b;
        int n = CASE[i].cols, rows = CASE[i].type == LK_TYPE_F16 ? 64 : 256;
        vk_bench_begin(&b, n, 1, "long rows");
        int x = vk_bench_norm(&b, n, 51), g = vk_bench_slot(&b, rows, LK_ROWS_TOKENS);
        int u = vk_bench_slot(&b, rows, LK_ROWS_TOKENS),
            a = vk_bench_slot(&b, rows, LK_ROWS_TOKENS);
        int y = vk_bench_slot(&b, 40, LK_ROWS_TOKENS), z = vk_bench_slot(&b, 40, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, x, -1, g, vk_bench_weight(&b, CASE[i].type, rows, n, 52));
        vk_bench_op(&b, LK_OP_MATMUL, x, -1, u, vk_bench_weight(&b, CASE[i].type, rows, n, 53));
        vk_bench_op(&b, LK_OP_GLU, g, u, a, -1)->u.glu.act = LK_ACT_SILU;
        vk_bench_op(&b, LK_OP_MATMUL, a, -1, y, vk_bench_weight(&b, LK_TYPE_Q8_0, 40, rows, 54));
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, z, vk_bench_weight(&b, CASE[i].type, 40, n, 55));
        vk_bench_op(&b, LK_OP_ADD, y, z, vk_bench_slot(&b, 40, LK_ROWS_TOKENS), -1);
        vk_bench_end(&b, VK_VARIANTS[0]);
    }
    vk_pair_close();
}

Test(vk_agree, small_ops)
{
    static const int WIDTHS[] = {1, 7, 64, 576, 1030}, TOKENS[] = {1, 5, 65};
    for (size_t w = 0; w < LK_COUNT(WIDTHS); w++) {
        for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
            struct vk_bench b;
            int n = WIDTHS[w];
            vk_bench_begin(&b, n, TOKENS[i], "small ops");
            int v = vk_bench_weight(&b, LK_TYPE_F32, 1, n, 21),
                a = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
            vk_bench_op(&b, LK_OP_BIAS, 0, -1, a, v);
            int c = vk_bench_slot(&b, n, LK_ROWS_TOKENS), d = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
            int s = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
            vk_bench_op(&b, LK_OP_SCALE, 0, -1, s, -1)->u.scale.factor = 0.22f;
            vk_bench_op(&b, LK_OP_ADD, a, s, c, -1);
            vk_bench_op(&b, LK_OP_GLU, c, a, d, -1)->u.glu.act = i ? LK_ACT_GELU : LK_ACT_SILU;
            int e = vk_bench_slot(&b, n, LK_ROWS_TOKENS), f = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
            vk_bench_op(&b, LK_OP_GELU, d, -1, f, -1);
            struct lk_op *o = vk_bench_op(&b, LK_OP_NORM, f, -1, e, v);
            o->u.norm.group = n;
            o->u.norm.eps = 1e-6f;
            int g = vk_bench_slot(&b, n, LK_ROWS_OUTPUTS),
                h = vk_bench_slot(&b, n, LK_ROWS_OUTPUTS);
            vk_bench_op(&b, LK_OP_GATHER, e, -1, g, -1);
            o = vk_bench_op(&b, LK_OP_SOFTCAP, g, -1, h, -1);
            o->u.softcap.cap_in = 1.0f / 30.0f;
            o->u.softcap.cap_out = 30.0f;
            vk_bench_end(&b, VK_VARIANTS[0]);
        }
    }
    vk_pair_close();
}

Test(vk_agree, embedding_of_every_type)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        struct vk_bench b;
        int cols = types[t].block == 1 ? 37 : types[t].block * 3;
        vk_bench_begin(&b, cols, 9, types[t].name);
        b.c.plan.in_slot = -1;
        b.c.plan.n_slots = 0;
        int out = vk_bench_slot(&b, cols, LK_ROWS_TOKENS);
        int w = vk_bench_weight(&b, types[t].type, 100, cols, 8);
        vk_bench_op(&b, LK_OP_EMBED, -1, -1, out, w)->u.embed.scale = t % 2 ? 1.0f : 25.2987f;
        int other = vk_bench_slot(&b, cols, LK_ROWS_TOKENS);
        struct lk_op *op = vk_bench_op(&b, LK_OP_EMBED, -1, -1, other, w);
        op->u.embed.scale = 1.0f;
        op->u.embed.positions = true;
        vk_bench_op(&b, LK_OP_ADD, out, other, vk_bench_slot(&b, cols, LK_ROWS_TOKENS), -1);
        vk_bench_end(&b, VK_VARIANTS[0]);
    }
    vk_pair_close();
}

Test(vk_agree, broken_weights_are_refused)
{
    struct vk_bench b;
    lk_error err = {0};
    vk_bench_begin(&b, 64, 1, "broken weight");
    int w = vk_bench_weight(&b, LK_TYPE_Q4_0, 3, 64, 9);
    struct lk_q4_0 *blocks = (void *)(uintptr_t)b.c.plan.weights[w].data;
    blocks[5].d = 0x7c00;
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 3, LK_ROWS_TOKENS), w);
    cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "Q4_0"), "%s", err.message);
    free(blocks);
    free(b.hidden);
    vk_pair_close();
}

/* ---- limits: at each bound the same bits; beyond it an error or another kernel ---- */

/* The device with features as found, without those disabled; its limits are the caller's to
 * change. */
static VkPhysicalDeviceLimits *limits_of(const char *disable)
{
    return &vk_pair_device(disable)->dev.found.props.limits;
}

static void expect_error(const struct vk_bench *b, const char *disable, const char *want)
{
    lk_error err = {0};
    cr_assert_eq(vk_pair_status(vk_pair_device(disable), &b->c, &err), LK_E_UNSUPPORTED, "%s: '%s'",
                 b->c.what, err.message);
    cr_assert(strstr(err.message, want), "%s: '%s', expected '%s'", b->c.what, err.message, want);
}

static void expect_bits(const struct vk_bench *b, const char *disable)
{
    vk_pair_compare(vk_pair_device(disable), &b->c);
}

/* Every pipeline and dispatch is checked against these limits, so all of them must fit. */
static void run_within_limits(const char *disable)
{
    static const struct vk_heads HEADS[] = {
        {4, 1, 256, 256, 70, false, 0.0f, false, true, 0, 0},
        {12, 1, 40, 40, 100, true, 0.0f, true, true, 0, 0},
        {8, 2, 128, 64, 0, true, 20.0f, true, true, 0, 0},
    };
    static const int TOKENS[] = {1, 8, 40};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    static const struct {
        int n_tokens, n_seqs, pos0;
    } CASES[] = {{1, 1, 330}, {7, 2, 60}, {130, 1, 1}};
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        for (size_t c = 0; c < LK_COUNT(CASES); c++) {
            if (!vk_pair_skips(h, c)) {
                vk_attention_case(&HEADS[h], CASES[c].n_tokens, CASES[c].n_seqs, CASES[c].pos0,
                                  disable);
            }
        }
    }
    size_t step = test_is_full() ? 1 : 8; /* sizes of every type: vk_limits */
    for (size_t t = test_turn() % step; t < n_types; t += step) {
        struct vk_bench b;
        layer(&b, types[t].type, TOKENS[t % 3], "layer within limits");
        vk_bench_end(&b, disable);
    }
}

Test(vk_agree, a_device_of_the_least_limits)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    VkPhysicalDeviceLimits *l = limits_of("narrow");
    struct lk_vk_found *f = &vk_pair_device("narrow")->dev.found;
    vk_pair_least(l);
    lk_vk_limit_features(f);
    cr_assert(f->use[LK_VK_NARROW] && !f->use[LK_VK_MATRIX]);
    run_within_limits("narrow");
    vk_pair_close();
}

Test(vk_agree, workgroups_that_are_small_along_x_alone)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    limits_of("matrix")->maxComputeWorkGroupSize[0] = 128;
    run_within_limits("matrix");
    vk_pair_close();
}

Test(vk_agree, wide_tiles_fit_to_the_byte_or_are_narrow)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    for (uint32_t less = 0; less < 2; less++) {
        struct vk_bench b;
        VkPhysicalDeviceLimits *l = limits_of("narrow,matrix");
        l->maxComputeSharedMemorySize = 2 * 80 * 192 + 4 * 192 - less;
        lk_vk_limit_features(&vk_pair_device("narrow,matrix")->dev.found);
        vk_bench_begin(&b, 256, 40, "wide or narrow tile");
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 96, LK_ROWS_TOKENS),
                    vk_bench_weight(&b, LK_TYPE_Q6_K, 96, 256, 3));
        vk_bench_expect_kernel(&b, "narrow,matrix", 0,
                               less ? "tile_Q6_K" : "tile_Q6_K_wide, constants 64");
        vk_bench_end(&b, "narrow,matrix");
        vk_pair_close();
    }
}

/* Rows of a tile of queries: halved until they fit. */
Test(vk_agree, attention_takes_the_rows_that_fit)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const struct vk_heads H = {4, 2, 128, 48, 0, false, 0.0f, false, true, 0, 0};
    const uint32_t one = 2 * 128 + 6 * 64 + 16; /* q, weights twice, five words */
    static const struct {
        uint32_t rows, less;
        const char *want;
    } CASE[] = {{16, 0, "constants 16 128"},
                {16, 1, "constants 8 128"},
                {8, 0, "constants 8 128"},
                {8, 1, "constants 4 128"}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        struct vk_bench b;
        char what[160];
        VkPhysicalDeviceLimits *l = limits_of("matrix");
        uint32_t own = l->maxComputeSharedMemorySize;
        vk_bench_attention(&b, what, &H, 75, 1, 200);
        l->maxComputeSharedMemorySize = CASE[i].rows * one - CASE[i].less;
        if (l->maxComputeSharedMemorySize >= 8400) { /* what the mat-vecs beside it take */
            vk_bench_expect_kernel(&b, "matrix", b.c.plan.n_ops - 1, CASE[i].want);
            expect_bits(&b, "matrix");
        }
        l->maxComputeSharedMemorySize = own;
        vk_bench_release(&b);
        lk_rope_free(&b.c.plan.ropes[0]);
    }
    vk_pair_close();
}

Test(vk_agree, heads_beyond_the_kernels_are_refused)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const int TOKENS[] = {1, 3, 20};
    static const struct vk_heads AT = {2, 1, 640, 256, 0, true, 0.0f, false, true, 0, 512};
    static const struct vk_heads PAST = {2, 1, 513, 256, 0, true, 0.0f, false, true, 0, 513};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        struct vk_bench b;
        char what[160];
        vk_attention_case(&AT, TOKENS[i], 1, 100, "");
        vk_bench_attention(&b, what, &PAST, TOKENS[i], 1, 100);
        expect_error(&b, "",
                     "attention of layer 0: head dimensions 513 of keys, 513 of values, the Vulkan "
                     "kernels take up to 640 and 512");
        vk_bench_release(&b);
        lk_rope_free(&b.c.plan.ropes[0]);
    }
    vk_pair_close();
}

/* Attention in decode names ops in halves of a word: of the largest number, and of one more. */
Test(vk_agree, op_numbers_beyond_16_bits)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const struct vk_heads H = {4, 2, 64, 64, 0, true, 0.0f, true, true, 0, 0};
    struct vk_bench b;
    char what[160];
    lk_error err = {0};
    vk_bench_attention(&b, what, &H, 1, 1, 130);
    expect_bits(&b, "");
    int n = b.c.plan.n_ops, width = b.c.plan.slots[b.c.plan.out_slot].width;
    float *want = calloc((size_t)width, 4), *got = calloc((size_t)width, 4);
    cr_assert_eq(vk_pair_run(vk_pair_device(""), &b.c, want, &err), LK_OK, "%s", err.message);
    for (int past = 0; past < 2; past++) {
        /* ops that nobody runs, in front of attention */
        int all = LK_VK_MAX_OP + 1 + past;
        struct lk_op *ops = calloc((size_t)all, sizeof *ops);
        memcpy(ops, b.room.ops, (size_t)(n - 1) * sizeof *ops);
        for (int i = n - 1; i < all - 1; i++) {
            ops[i] = (struct lk_op){
                .kind = LK_OP_KINDS, .in = {-1, -1}, .out = -1, .weight = -1, .layer = 1};
        }
        ops[all - 1] = b.room.ops[n - 1];
        b.c.plan.ops = ops;
        b.c.plan.n_ops = all;
        vk_bench_expect_kernel(&b, "", all - 1, past ? "shader attn_merge" : "shader attn_decode");
        cr_assert_eq(vk_pair_run(vk_pair_device(""), &b.c, got, &err), LK_OK, "%s", err.message);
        cr_assert_eq(memcmp(got, want, (size_t)width * 4), 0, "%d ops", all);
        /* the flag of that op is its own */
        ops[all - 1].u.attention.score_in = 1e30f;
        cr_assert_eq(vk_pair_run(vk_pair_device(""), &b.c, got, &err), LK_E_RANGE);
        cr_assert(strstr(err.message, "attention"), "%s", err.message);
        free(ops);
    }
    b.c.plan.ops = b.room.ops;
    b.c.plan.n_ops = n;
    free(want);
    free(got);
    vk_bench_release(&b);
    lk_rope_free(&b.c.plan.ropes[0]);
    vk_pair_close();
}

/* Attention in decode binds all vectors at once. */
Test(vk_agree, vectors_beyond_one_buffer)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const struct vk_heads H = {64, 1, 32, 32, 0, true, 0.0f, true, true, 0, 0};
    struct vk_bench b;
    char what[160];
    struct lk_exec *e = NULL;
    lk_error err = {0};
    vk_bench_attention(&b, what, &H, 1, 1, 130);
    int at = b.c.plan.n_ops - 1, x = b.c.plan.out_slot, width = b.c.plan.slots[x].width;
    for (uint64_t i = 0; i < 14; i++) {
        int y = vk_bench_slot(&b, width, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_BIAS, x, -1, y, vk_bench_weight(&b, LK_TYPE_F32, 1, width, 70 + i));
        x = y;
    }
    cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, &err), LK_OK, "%s", err.message);
    uint32_t bytes = (uint32_t)e->store.vector_bytes;
    lk_backend_vulkan.exec_free(e);
    cr_assert_gt(bytes, 100000);
    limits_of("")->maxStorageBufferRange = bytes;
    vk_bench_expect_kernel(&b, "", at, "shader attn_decode");
    expect_bits(&b, "");
    limits_of("")->maxStorageBufferRange--;
    vk_bench_expect_kernel(&b, "", at, "shader attn_merge");
    vk_bench_end(&b, "");
    lk_rope_free(&b.c.plan.ropes[0]);
    vk_pair_close();
}

/* Panels of a row in decode that meet at one barrier: 96, of both halves of a GLU. */
Test(vk_agree, panels_beyond_one_barrier)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    for (int past = 0; past < 2; past++) {
        struct vk_bench b;
        int n = (96 + past) * 256;
        vk_bench_begin(&b, n, 1, "panels of a row");
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 40, LK_ROWS_TOKENS),
                    vk_bench_weight(&b, LK_TYPE_Q8_0, 40, n, 5));
        vk_bench_expect_kernel(&b, "", 0, past ? " 1 0 0" : " 1 0 96");
        vk_bench_end(&b, "");
        n = (48 + past) * 256;
        vk_bench_begin(&b, n, 1, "panels of a GLU");
        int g = vk_bench_slot(&b, 40, LK_ROWS_TOKENS), u = vk_bench_slot(&b, 40, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, g, vk_bench_weight(&b, LK_TYPE_Q4_K, 40, n, 6));
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, u, vk_bench_weight(&b, LK_TYPE_Q4_K, 40, n, 7));
        vk_bench_op(&b, LK_OP_GLU, g, u, vk_bench_slot(&b, 40, LK_ROWS_TOKENS), -1)->u.glu.act =
            LK_ACT_SILU;
        vk_bench_expect_kernel(&b, "", 2, past ? " 1 2 0" : " 48");
        vk_bench_end(&b, "");
    }
    vk_pair_close();
}

/* A mat-vec norms its input in shared memory that holds it to the byte. */
Test(vk_agree, norm_in_shared_memory_or_before)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    /* bytes and scales, no sums, two parts of each half of a GLU, chains */
    const uint32_t need = 8 * (256 + 32) + 16 + 4 * 8 * 128 + 1024 + 128;
    for (uint32_t less = 0; less < 2; less++) {
        struct vk_bench b;
        limits_of("")->maxComputeSharedMemorySize = need - less;
        vk_bench_begin(&b, 2048, 1, "norm of a mat-vec");
        int x = vk_bench_norm(&b, 2048, 51);
        vk_bench_op(&b, LK_OP_MATMUL, x, -1, vk_bench_slot(&b, 40, LK_ROWS_TOKENS),
                    vk_bench_weight(&b, LK_TYPE_Q4_0, 40, 2048, 5));
        char want[32];
        snprintf(want, sizeof want, " 1 %d 8", less ? 0 : LK_VK_PREP_NORM << 4);
        vk_bench_expect_kernel(&b, "", 1, want);
        vk_bench_end(&b, "");
    }
    vk_pair_close();
}

Test(vk_agree, windows_beyond_the_batch_buffer)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const struct vk_heads H = {2, 1, 32, 32, 10, false, 0.0f, false, true, 0, 0};
    struct vk_bench b;
    char what[160];
    vk_bench_attention(&b, what, &H, 3, 1, 100);
    struct lk_op attention = b.c.plan.ops[b.c.plan.n_ops - 1];
    for (int n = 2; n <= LK_VK_MAX_ATTN + 1; n++) {
        struct lk_op *o = vk_bench_op(&b, LK_OP_ATTENTION, attention.in[0], -1,
                                      vk_bench_slot(&b, 64, LK_ROWS_TOKENS), -1);
        o->u = attention.u;
        o->u.attention.window = 10 * n;
        if (n == LK_VK_MAX_ATTN) {
            expect_bits(&b, "");
        }
    }
    expect_error(&b, "", "attention: more than 4 windows and shapes of heads");
    vk_bench_release(&b);
    lk_rope_free(&b.c.plan.ropes[0]);
    vk_pair_close();
}

/* Row groups of a matrix are workgroups along x: more than a device takes are several chunks. */
Test(vk_agree, rows_beyond_the_workgroups_of_a_dispatch)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const int TOKENS[] = {1, 5, 20};
    limits_of("")->maxComputeWorkGroupCount[0] = 8;
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        for (int past = 0; past < 2; past++) {
            struct vk_bench b;
            struct lk_exec *e = NULL;
            lk_error err = {0};
            int rows = 8 * LK_VK_ROWS + past;
            vk_bench_begin(&b, 64, TOKENS[i], "row groups");
            b.c.plan.n_vocab = rows;
            int x = vk_bench_slot(&b, 64, LK_ROWS_TOKENS),
                y = vk_bench_slot(&b, rows, LK_ROWS_TOKENS);
            int w = vk_bench_weight(&b, LK_TYPE_Q8_0, rows, 64, 5);
            vk_bench_op(&b, LK_OP_EMBED, -1, -1, x, w)->u.embed.scale = 1.0f;
            vk_bench_op(&b, LK_OP_MATMUL, x, -1, y, w);
            cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, &err), LK_OK, "%s",
                         err.message);
            cr_assert_eq(e->store.matrices[0].n_chunks, 1 + past);
            lk_backend_vulkan.exec_free(e);
            vk_bench_end(&b, "");
        }
    }
    /* two matrices that are one dispatch only as long as they fit */
    for (int past = 0; past < 2; past++) {
        struct vk_bench b;
        vk_bench_begin(&b, 64, 1, "matrices of an input");
        int y = vk_bench_slot(&b, 128, LK_ROWS_TOKENS),
            z = vk_bench_slot(&b, 128 + past, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, y, vk_bench_weight(&b, LK_TYPE_Q8_0, 128, 64, 5));
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, z,
                    vk_bench_weight(&b, LK_TYPE_Q8_0, 128 + past, 64, 6));
        struct lk_exec *e = NULL;
        cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, NULL), LK_OK);
        cr_assert_eq(e->store.n_matrices, 1 + past);
        lk_backend_vulkan.exec_free(e);
        vk_bench_end(&b, "");
    }
    vk_pair_close();
}

/* Tokens are workgroups along y, chunks of keys along z. */
Test(vk_agree, dispatches_beyond_the_device_are_refused)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    static const struct vk_heads H = {12, 1, 40, 40, 100, true, 0.0f, false, true, 0, 0};
    struct vk_bench b;
    char what[160];
    VkPhysicalDeviceLimits *l = limits_of("");
    const VkPhysicalDeviceLimits own = *l;
    vk_bench_begin(&b, 64, 9, "workgroups of tokens");
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 40, LK_ROWS_TOKENS),
                vk_bench_weight(&b, LK_TYPE_Q8_0, 40, 64, 5));
    l->maxComputeWorkGroupCount[1] = 9;
    expect_bits(&b, "");
    l->maxComputeWorkGroupCount[1] = 8;
    expect_error(&b, "", "9 workgroups along y for 9 rows");
    vk_bench_release(&b);
    /* a row of heads a token: attn_merge */
    vk_bench_attention(&b, what, &H, 3, 1, 100);
    l->maxComputeWorkGroupCount[1] = 36;
    expect_bits(&b, "");
    l->maxComputeWorkGroupCount[1] = 35;
    expect_error(&b, "", "attention: 36 workgroups along y for 3 rows");
    *l = own;
    /* attn: a sequence has up to 8 blocks */
    l->maxComputeWorkGroupCount[2] = 8;
    expect_bits(&b, "");
    l->maxComputeWorkGroupCount[2] = 7;
    expect_error(&b, "", "attention: 8 workgroups along z");
    /* attn_decode, whose list is looked at first: a window touches 3 of them */
    b.c.n_tokens = 1;
    l->maxComputeWorkGroupCount[2] = 8;
    expect_bits(&b, "");
    l->maxComputeWorkGroupCount[2] = 2;
    expect_error(&b, "", "attention: 3 workgroups along z");
    *l = own;
    vk_bench_release(&b);
    lk_rope_free(&b.c.plan.ropes[0]);
    vk_pair_close();
}

/* What is bound fits the device's range to the byte. */
Test(vk_agree, buffers_beyond_the_devices_range)
{
    if (vk_pair_leaves("limits of a device")) {
        return;
    }
    struct vk_bench b;
    VkPhysicalDeviceLimits *l = limits_of("");
    vk_bench_begin(&b, 1024, 9, "a slot");
    vk_bench_op(&b, LK_OP_BIAS, 0, -1, vk_bench_slot(&b, 1024, LK_ROWS_TOKENS),
                vk_bench_weight(&b, LK_TYPE_F32, 1, 1024, 5));
    l->maxStorageBufferRange = 65536; /* 16 rows, whole columns of tokens */
    expect_bits(&b, "");
    l->maxStorageBufferRange--;
    expect_error(&b, "",
                 "rows of a slot: 65536 bytes are beyond the device's buffer range of 65535");
    vk_bench_release(&b);
    vk_bench_begin(&b, 1030, 9, "activations");
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 40, LK_ROWS_TOKENS),
                vk_bench_weight(&b, LK_TYPE_F16, 40, 1030, 5));
    l->maxStorageBufferRange = 16 * 1280 * 4;
    expect_bits(&b, "");
    l->maxStorageBufferRange -= 16;
    expect_error(&b, "",
                 "activations of a matmul: 81920 bytes are beyond the device's buffer range");
    vk_bench_release(&b);
    /* a group of 32 rows: 64 blocks of 32 bytes and a half each */
    const uint32_t group = 32 * 64 * 34;
    vk_bench_begin(&b, 2048, 3, "a weight");
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, vk_bench_slot(&b, 90, LK_ROWS_TOKENS),
                vk_bench_weight(&b, LK_TYPE_Q8_0, 90, 2048, 5));
    for (uint32_t n = 3; n > 0; n--) {
        struct lk_exec *e = NULL;
        l->maxStorageBufferRange = n * group;
        cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, NULL), LK_OK);
        cr_assert_eq(e->store.matrices[0].n_chunks, n == 3 ? 1 : n == 2 ? 2 : 3);
        lk_backend_vulkan.exec_free(e);
        expect_bits(&b, "");
    }
    l->maxStorageBufferRange = group - 1;
    expect_error(&b, "",
                 "tensor 'Q8_0': 32 rows of 2048 elements are beyond the device's buffer "
                 "range of 69631 bytes");
    vk_bench_release(&b);
    /* ids, positions, sequences, tables and angles of a batch */
    vk_bench_begin(&b, 4, 70, "a batch");
    lk_error err = {0};
    cr_assert_eq(lk_rope_init(&b.c.plan.ropes[0], 256, false, 10000.0, 1.0, NULL, &err), LK_OK);
    b.c.plan.n_ropes = 1;
    vk_bench_op(&b, LK_OP_BIAS, 0, -1, vk_bench_slot(&b, 4, LK_ROWS_TOKENS),
                vk_bench_weight(&b, LK_TYPE_F32, 1, 4, 5));
    struct lk_exec *e = NULL;
    uint32_t words = 4 * 70 + 1 + 4 + LK_VK_MAX_ATTN * 4 * 70 + 8 + 70 * 256;
    l->maxStorageBufferRange = words * 4;
    cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, &err), LK_OK, "%s", err.message);
    cr_assert_eq(e->at.n_words, words);
    lk_backend_vulkan.exec_free(e);
    l->maxStorageBufferRange--;
    expect_error(&b, "",
                 "batch of 70 tokens, 1 sequences of 8 blocks: 77332 bytes are beyond the "
                 "device's buffer range of 77331");
    /* far beyond 32 bits */
    struct lk_exec_options o = {.plan = &b.c.plan,
                                .max_tokens = 1,
                                .max_outputs = 1,
                                .max_seqs = 1 << 17,
                                .max_blocks = 1 << 15};
    l->maxStorageBufferRange = UINT32_MAX;
    cr_assert_eq(lk_backend_vulkan.prepare(vk_pair_device(""), &o, &e, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "are beyond the device's buffer range of 4294967295"), "%s",
              err.message);
    vk_bench_release(&b);
    lk_rope_free(&b.c.plan.ropes[0]);
    vk_pair_close();
}

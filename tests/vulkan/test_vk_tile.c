/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_tile: which kernels run a matmul and how large their workgroups are, from facts alone: no
 * device is opened.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "shaders/params.h"
#include "tests/vulkan/vk_groups.h"
#include "vulkan/build/vk_tile.h"

/* `split`: of a matmul with a tile for up to 32 tokens. */
Test(vk_tile, rows_choose_the_variant)
{
    static const struct {
        uint32_t rows;
        int plain, split;
    } CASE[] = {{1, LK_VK_MV1, LK_VK_MV1},          {2, LK_VK_MV4, LK_VK_MV4},
                {4, LK_VK_MV4, LK_VK_MV4},          {5, LK_VK_MV8, LK_VK_TILE_SPLIT},
                {16, LK_VK_MV8, LK_VK_TILE_SPLIT},  {17, LK_VK_TILE, LK_VK_TILE_SPLIT},
                {32, LK_VK_TILE, LK_VK_TILE_SPLIT}, {33, LK_VK_TILE, LK_VK_TILE},
                {512, LK_VK_TILE, LK_VK_TILE}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        uint32_t rows = CASE[i].rows;
        cr_assert_eq(lk_vk_variant_for(&VK_FACTS_LEAST, rows, false), CASE[i].plain, "%u", rows);
        cr_assert_eq(lk_vk_variant_for(&VK_FACTS_GPU, rows, false), CASE[i].plain, "%u", rows);
        cr_assert_eq(lk_vk_variant_for(&VK_FACTS_GPU, rows, true), CASE[i].split, "%u", rows);
    }
    /* 8 columns are folded by 8 workers of 32. */
    cr_assert_eq(lk_vk_variant_cols(&VK_FACTS_GPU, LK_VK_MV8), 8);
    cr_assert_eq(lk_vk_variant_cols(&VK_FACTS_LEAST, LK_VK_MV8), 4);
}

static void is_kernel(struct lk_vk_kernel k, const char *shader, uint32_t c0, uint32_t c1,
                      uint32_t c2, uint32_t c3)
{
    const uint32_t want[4] = {c0, c1, c2, c3};
    cr_assert_str_eq(k.shader, shader);
    for (int i = 0; i < 4; i++) {
        cr_assert_eq(k.spec[i], want[i], "%s: constant %d is %u, expected %u", shader, i, k.spec[i],
                     want[i]);
    }
}

Test(vk_tile, mat_vecs_have_as_many_workers_as_there_is_work)
{
    /* A worker a panel, up to 16; beyond that up to 28, so that each takes as many panels; 8 where
     * there are many workgroups. */
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV1, 64, 768, LK_VK_EPI_STORE, 0),
              "matvec_Q4_K_dot_gpu", 96, 1, LK_VK_EPI_STORE, 3);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV1, 64, 8192, LK_VK_EPI_ADD, 0),
              "matvec_Q4_K_dot_gpu", 512, 1, LK_VK_EPI_ADD, 32);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV1, 256, 8192, LK_VK_EPI_ADD, 0),
              "matvec_Q4_K_dot_gpu", 256, 1, LK_VK_EPI_ADD, 32);
    /* Gate and up are twice the panels; beyond 96 of them they don't meet at one barrier. */
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q8_0, LK_VK_MV1, 64, 12288, LK_VK_EPI_SILU, 2),
              "matvec_Q8_0_dot_gpu", 768, 1, LK_VK_EPI_SILU | 2 << 4, 48);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q8_0, LK_VK_MV1, 64, 12289, LK_VK_EPI_SILU, 2),
              "matvec_Q8_0_dot_gpu", 800, 1, LK_VK_EPI_SILU | 2 << 4, 0);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q8_0, LK_VK_MV1, 64, 12289, LK_VK_EPI_STORE, 2),
              "matvec_Q8_0_dot_gpu", 800, 1, 2 << 4, 49);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV1, 128, 14336, LK_VK_EPI_ADD, 1),
              "matvec_Q4_K_dot_gpu", 896, 1, LK_VK_EPI_ADD | 1 << 4, 56);
    /* Four tokens are never unrolled, and workers and tokens share 64 sums a row. */
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_F16, LK_VK_MV4, 64, 8192, LK_VK_EPI_STORE, 0),
              "matvec_F16", 512, 4, 0, 0);
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_F16, LK_VK_MV8, 64, 8192, LK_VK_EPI_STORE, 0),
              "matvec_F16_gpu", 256, 8, 0, 0);
    is_kernel(lk_vk_matvec(&VK_FACTS_LEAST, LK_TYPE_Q4_K, LK_VK_MV8, 64, 8192, LK_VK_EPI_STORE, 0),
              "matvec_Q4_K", 128, 4, 0, 0);
    /* One panel is still folded for all its tokens. */
    is_kernel(lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV8, 64, 256, LK_VK_EPI_STORE, 0),
              "matvec_Q4_K_dot_gpu", 256, 8, 0, 0);
}

Test(vk_tile, a_workgroup_of_a_glu_takes_several_groups_of_many)
{
    static const struct {
        uint32_t groups, k, mode, x, threads;
    } CASE[] = {{383, 4096, LK_VK_EPI_SILU, 383, 256},
                {384, 4096, LK_VK_EPI_SILU, 192, 512},
                {448, 4096, LK_VK_EPI_GELU, 224, 512},
                {513, 4096, LK_VK_EPI_SILU, 171, 512},
                {896, 8192, LK_VK_EPI_SILU, 224, 512},
                {448, 4096, LK_VK_EPI_STORE, 448, 256},
                {448, 12544, LK_VK_EPI_SILU, 448, 256}, /* its panels don't meet */
                {448, 4096, LK_VK_EPI_SILU | LK_VK_EPI_EXPERTS, 448, 256}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        struct lk_vk_kernel k = lk_vk_matvec(&VK_FACTS_GPU, LK_TYPE_Q4_K, LK_VK_MV1, CASE[i].groups,
                                             CASE[i].k, CASE[i].mode, LK_VK_PREP_QUANT);
        cr_assert_eq(k.x, CASE[i].x, "case %zu: %u workgroups, expected %u", i, k.x, CASE[i].x);
        cr_assert_eq(k.spec[0], CASE[i].threads, "case %zu: %u invocations, expected %u", i,
                     k.spec[0], CASE[i].threads);
    }
}

static void is_tile(const struct lk_vk_facts *f, enum lk_type type, uint32_t n_groups,
                    uint32_t tokens, const char *shader, uint32_t groups, uint32_t cols)
{
    struct lk_vk_tile t = lk_vk_tile_for(f, type, n_groups, tokens, LK_VK_EPI_ADD);
    bool floats = !lk_type_info((uint32_t)type)->quantized;
    uint32_t rows = cols == 32 || floats ? 0 : 32 * groups;
    is_kernel(t.kernel, shader, floats ? 2 * groups : rows, rows ? cols : 0, LK_VK_EPI_ADD,
              2 * rows);
    cr_assert(t.size.groups == groups && t.size.cols == cols, "%s: %u x %u", shader, t.size.groups,
              t.size.cols);
}

Test(vk_tile, tiles_are_large_where_many_of_them_fit)
{
    struct lk_vk_facts f = VK_FACTS_GPU;
    is_tile(&VK_FACTS_LEAST, LK_TYPE_Q4_K, 128, 512, "tile_Q4_K", 2, 32);
    f.narrow = true;
    is_tile(&f, LK_TYPE_Q4_K, 128, 512, "tile_Q4_K_dot", 2, 32);
    is_tile(&f, LK_TYPE_F16, 128, 512, "tile_F16", 2, 32);
    f.narrow = false;
    /* 64 x 16 tiles of 64 x 32, then too few: those of floats are halved each way */
    is_tile(&f, LK_TYPE_F16, 128, 512, "tile_F16", 2, 32);
    is_tile(&f, LK_TYPE_F32, 32, 512, "tile_F32", 2, 32);
    is_tile(&f, LK_TYPE_F32, 30, 512, "tile_F32", 1, 16);
    is_tile(&f, LK_TYPE_BF16, 4, 512, "tile_BF16", 1, 16);
    /* 32 x 4 tiles of 128 x 128, then as many as count as many */
    is_tile(&f, LK_TYPE_Q4_K, 128, 512, "tile_Q4_K_wide", 2, 64);
    is_tile(&f, LK_TYPE_Q4_K, 512, 512, "tile_Q4_K_wide", 4, 128);
    is_tile(&f, LK_TYPE_Q4_K, 508, 512, "tile_Q4_K_wide", 2, 64);
    is_tile(&f, LK_TYPE_Q4_K, 508, 513, "tile_Q4_K_wide", 4, 128);
    /* two limbs of 128 rows take more than 48 KiB: 128 x 4 tiles of 64 x 128 count as many */
    is_tile(&f, LK_TYPE_Q6_K, 256, 512, "tile_Q6_K_wide", 2, 128);
    is_tile(&f, LK_TYPE_Q6_K, 254, 512, "tile_Q6_K_wide", 2, 64);
    f.max_threads = 255;
    is_tile(&f, LK_TYPE_Q4_K, 512, 512, "tile_Q4_K_wide", 2, 128);
    f.max_threads = 256;
    f.shared_bytes = 32768;
    is_tile(&f, LK_TYPE_Q4_K, 512, 512, "tile_Q4_K_wide", 2, 64);
    f.matrix = true;
    f.many_tiles = 1000000;
    is_tile(&f, LK_TYPE_Q4_K, 512, 512, "tile_Q4_K_matrix", 2, 64);
}

/* 16 rows of a row group for each workgroup; of a GLU 8 of gate and 8 of up. */
Test(vk_tile, few_tokens_split_the_panels)
{
    enum { STORE = LK_VK_EPI_STORE, ADD = LK_VK_EPI_ADD, SILU = LK_VK_EPI_SILU };
    struct lk_vk_facts f = VK_FACTS_GPU;
    struct lk_vk_tile t;
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 128, 2, 16, STORE, &t), "narrow");
    f.narrow = false;
    cr_assert(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 128, 2, 16, ADD, &t));
    is_kernel(t.kernel, "tile_Q4_K_wide", 16, 16, ADD, 128);
    cr_assert(t.size.groups == 1 && t.size.cols == 16 && t.size.parts == 2);
    cr_assert(lk_vk_split_tile(&f, LK_TYPE_Q6_K, 128, 17, 2048, SILU, &t));
    is_kernel(t.kernel, "tile_Q6_K_wide", 16, 16, SILU, 128);
    cr_assert_eq(t.size.parts, 4);
    f.shared_bytes = 32768; /* two limbs of four teams take more */
    cr_assert(lk_vk_split_tile(&f, LK_TYPE_Q6_K, 128, 2, 16, STORE, &t));
    is_kernel(t.kernel, "tile_Q6_K_wide", 16, 16, STORE, 64);
    f.shared_bytes = 16384;
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q6_K, 128, 2, 16, STORE, &t), "memory");
    f.shared_bytes = 49152;
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_F16, 128, 2, 16, STORE, &t), "floats");
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 128, 1, 4, STORE, &t), "too few");
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 128, 33, 2048, STORE, &t), "too many");
    /* more workgroups than row groups: those of a dispatch must suffice */
    f.max_groups = 512;
    cr_assert(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 256, 2, 16, STORE, &t));
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 257, 2, 16, STORE, &t));
    cr_assert(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 128, 2, 16, SILU, &t));
    cr_assert_not(lk_vk_split_tile(&f, LK_TYPE_Q4_K, 129, 2, 16, SILU, &t));
}

/* Where the multiprocessors are known, large tiles are taken where their rounds last less long: of
 * 132, 32 x 4 tiles are one round, and 160 two, for which small ones need three of 264; there one
 * round has 33 x 4, and the rows that are left have small ones. */
Test(vk_tile, tiles_by_the_rounds_they_take)
{
    static const struct {
        enum lk_type type;
        uint32_t n_groups, tokens, epilogue, large;
    } CASE[] = {{LK_TYPE_Q4_K, 128, 512, LK_VK_EPI_ADD, 128},
                {LK_TYPE_Q4_K, 160, 512, LK_VK_EPI_STORE, 132},
                {LK_TYPE_Q4_K, 158, 500, LK_VK_EPI_STORE, 132},
                {LK_TYPE_Q4_K, 160, 2048, LK_VK_EPI_STORE, 160}, /* many */
                {LK_TYPE_Q4_K, 128, 256, LK_VK_EPI_ADD, 0},
                {LK_TYPE_Q4_K, 128, 17, LK_VK_EPI_ADD, 0},
                {LK_TYPE_Q4_K, 448, 64, LK_VK_EPI_SILU, 0}, /* 224 of 128 rows of gate and up */
                {LK_TYPE_Q4_K, 448, 128, LK_VK_EPI_SILU, 448},
                {LK_TYPE_Q4_K, 328, 128, LK_VK_EPI_SILU, 264}, /* 132 of 164 */
                {LK_TYPE_Q6_K, 128, 256, LK_VK_EPI_ADD, 0},    /* 64 x 2 of 64 x 128: a round too */
                {LK_TYPE_Q6_K, 128, 512, LK_VK_EPI_ADD, 128},
                {LK_TYPE_Q6_K, 144, 512, LK_VK_EPI_ADD, 132},
                {LK_TYPE_Q6_K, 32, 2048, LK_VK_EPI_STORE, 32}};
    struct lk_vk_facts f = VK_FACTS_GPU;
    f.narrow = false;
    f.cores = 132;
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        struct lk_vk_tile t[LK_VK_TILES];
        int n = lk_vk_tiles_for(&f, CASE[i].type, CASE[i].n_groups, 2048, CASE[i].epilogue, t);
        cr_assert_eq(n, 2, "case %zu: %d tiles", i, n);
        const struct lk_vk_tile_size size[LK_VK_TILES] = {t[0].size, t[1].size};
        uint32_t large = lk_vk_tile_large(&f, size, CASE[i].n_groups, CASE[i].tokens);
        cr_assert_eq(large, CASE[i].large, "case %zu: %u groups", i, large);
        uint32_t halves = CASE[i].epilogue == LK_VK_EPI_SILU ? 2 : 1;
        cr_assert_eq(t[0].size.groups, 2 / halves);
        cr_assert_eq(t[1].size.groups, (CASE[i].type == LK_TYPE_Q6_K ? 2 : 4) / halves);
    }
    f.cores = 0; /* not known: only many are */
    struct lk_vk_tile t[LK_VK_TILES];
    static const struct lk_vk_tile_size SMALL[LK_VK_TILES] = {{2, 64, 1}};
    cr_assert_not(lk_vk_tile_large(&f, SMALL, 128, 2048), "there are none");
    cr_assert_eq(lk_vk_tiles_for(&f, LK_TYPE_Q4_K, 128, 512, LK_VK_EPI_ADD, t), 1);
    cr_assert_eq(lk_vk_tiles_for(&f, LK_TYPE_Q4_K, 128, 2048, LK_VK_EPI_ADD, t), 2);
}

/* Whatever the facts, a mat-vec is a shader of this build that fits them. */
Test(vk_tile, mat_vecs_fit_every_device)
{
    static const uint32_t K[] = {256, 768, 2048, 12288, 65536};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        for (int v = LK_VK_MV1; v <= LK_VK_MV8; v++) {
            for (size_t i = 0; i < LK_COUNT(K) * 2; i++) {
                const struct lk_vk_facts *f = i % 2 ? &VK_FACTS_GPU : &VK_FACTS_LEAST;
                struct lk_vk_kernel k =
                    lk_vk_matvec(f, types[t].type, v, 100, K[i / 2], LK_VK_EPI_SILU, 0);
                cr_assert(lk_vk_facts_fit(f, k.shader, k.spec), "%s of %u", k.shader, K[i / 2]);
                cr_assert_geq(k.spec[0] / 32, k.spec[1], "%s: fewer workers than tokens", k.shader);
            }
        }
    }
}

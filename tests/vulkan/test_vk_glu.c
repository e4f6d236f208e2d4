/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_glu: a device's GLU against scalar, by bits: of one token where there are more rows than
 * workgroups, and of many in tiles.
 */
#include <criterion/criterion.h>

#include "tests/vulkan/vk_bench.h"
#include "vulkan/vk.h"

struct glu {
    enum lk_type type;
    int rows, cols, n_tokens;
    bool norm;
    enum lk_act act;
};

static void run_glu(const struct glu *g, const char *what, const char *variant)
{
    struct vk_bench b;
    vk_bench_begin(&b, g->cols, g->n_tokens, what);
    int x = g->norm ? vk_bench_norm(&b, g->cols, 51) : 0;
    int gate = vk_bench_slot(&b, g->rows, LK_ROWS_TOKENS);
    int up = vk_bench_slot(&b, g->rows, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_MATMUL, x, -1, gate, vk_bench_weight(&b, g->type, g->rows, g->cols, 52));
    vk_bench_op(&b, LK_OP_MATMUL, x, -1, up, vk_bench_weight(&b, g->type, g->rows, g->cols, 53));
    vk_bench_op(&b, LK_OP_GLU, gate, up, vk_bench_slot(&b, g->rows, LK_ROWS_TOKENS), -1)
        ->u.glu.act = g->act;
    vk_bench_end(&b, variant);
}

/* In decode a workgroup of a GLU makes its input ready once for all groups of rows that it goes
 * through: of 385 and 769 groups the last ones have fewer. */
Test(vk_glu, a_glu_of_many_rows)
{
    static const struct glu CASE[] = {{LK_TYPE_Q4_K, 385 * 32 - 5, 256, 1, true, LK_ACT_SILU},
                                      {LK_TYPE_Q4_1, 385 * 32 - 5, 288, 1, true, LK_ACT_GELU},
                                      {LK_TYPE_Q6_K, 385 * 32 - 5, 512, 1, false, LK_ACT_SILU},
                                      {LK_TYPE_Q8_0, 769 * 32 - 5, 64, 1, false, LK_ACT_GELU}};
    if (vk_pair_leaves("rows by the ten thousand")) {
        return;
    }
    for (size_t v = 0; v < 2 * LK_COUNT(CASE); v++) {
        run_glu(&CASE[v / 2], "a GLU of many rows", v % 2 ? "looped" : "");
    }
    vk_pair_close();
}

/* A tile has as many rows of gate as of up: three groups of them are one more than whole tiles of
 * 128 rows have, and 70 tokens are more than a tile's. Large ones are taken of their own accord
 * only where there are many; 32 KiB of shared memory hold those of types without mins. An act that
 * no kernel ends with is a step. */
Test(vk_glu, a_glu_in_tiles)
{
    static const struct glu CASE[] = {{LK_TYPE_Q4_K, 75, 512, 70, true, LK_ACT_SILU},
                                      {LK_TYPE_Q4_1, 96, 96, 130, false, LK_ACT_GELU},
                                      {LK_TYPE_Q3_K, 75, 256, 140, false, LK_ACT_GELU},
                                      {LK_TYPE_Q6_K, 32, 256, 33, true, LK_ACT_SILU},
                                      {LK_TYPE_Q8_0, 130, 64, 129, true, LK_ACT_SILU},
                                      {LK_TYPE_Q4_K, 33, 256, 20, false, LK_ACT_RELU}};
    for (uint32_t large = 0; large < 2; large++) {
        const char *variant = vk_bench_wide();
        struct lk_vk_device *dev = &vk_pair_device(variant)->dev;
        uint32_t many = dev->many_tiles, split = dev->split_tokens;
        dev->many_tiles = large ? 1 : 1000000;
        dev->split_tokens = 0;
        for (size_t i = 0; i < LK_COUNT(CASE); i++) {
            if (vk_pair_row(i + large)) {
                run_glu(&CASE[i], large ? "a GLU in large tiles" : "a GLU in tiles", variant);
            }
        }
        dev->many_tiles = many;
        dev->split_tokens = split;
    }
    vk_pair_close();
}

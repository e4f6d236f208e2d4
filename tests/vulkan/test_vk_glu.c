/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_glu: a device's GLU of one token against scalar, by bits, where there are more rows than
 * workgroups.
 */
#include <criterion/criterion.h>

#include "tests/vulkan/vk_bench.h"

/* In decode a workgroup of a GLU makes its input ready once for all groups of rows that it goes
 * through: of 385 and 769 groups the last ones have fewer. */
Test(vk_glu, a_glu_of_many_rows)
{
    static const struct {
        enum lk_type type;
        int groups, cols;
        bool norm;
    } CASE[] = {{LK_TYPE_Q4_K, 385, 256, true},
                {LK_TYPE_Q4_1, 385, 288, true},
                {LK_TYPE_Q6_K, 385, 512, false},
                {LK_TYPE_Q8_0, 769, 64, false}};
    if (vk_pair_leaves("rows by the ten thousand")) {
        return;
    }
    for (size_t v = 0; v < 2 * LK_COUNT(CASE); v++) {
        struct vk_bench b;
        size_t i = v / 2;
        int n = CASE[i].cols, rows = CASE[i].groups * 32 - 5;
        vk_bench_begin(&b, n, 1, "a GLU of many rows");
        int x = CASE[i].norm ? vk_bench_norm(&b, n, 51) : 0;
        int g = vk_bench_slot(&b, rows, LK_ROWS_TOKENS),
            u = vk_bench_slot(&b, rows, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, x, -1, g, vk_bench_weight(&b, CASE[i].type, rows, n, 52));
        vk_bench_op(&b, LK_OP_MATMUL, x, -1, u, vk_bench_weight(&b, CASE[i].type, rows, n, 53));
        vk_bench_op(&b, LK_OP_GLU, g, u, vk_bench_slot(&b, rows, LK_ROWS_TOKENS), -1)->u.glu.act =
            i % 2 ? LK_ACT_GELU : LK_ACT_SILU;
        vk_bench_end(&b, v % 2 ? "looped" : "");
    }
    vk_pair_close();
}

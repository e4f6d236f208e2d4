/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_norm: a device's norms against scalar, by bits: of rows and of parts of them, short and long,
 * with what is done with the result.
 */
#include <criterion/criterion.h>

#include "tests/util/models.h"
#include "tests/vulkan/vk_bench.h"

/* norm, then a residual: one step; of a part of a row, whose weights are its own or those of all
 * parts, as well as of a whole one. */
Test(vk_norm, norm_and_residual)
{
    static const int TOKENS[] = {1, 6, 33}, GROUPS[] = {80, 640, 128, 5},
                     COLS[] = {80, 640, 640, 640};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        for (size_t k = 0; k < LK_COUNT(GROUPS); k++) {
            if (vk_pair_samples() && (i + k + test_turn()) % LK_COUNT(GROUPS) != 0) {
                continue;
            }
            int group = GROUPS[k];
            struct vk_bench b;
            vk_bench_begin(&b, 640, TOKENS[i], "norm and residual");
            int x = vk_bench_slot(&b, 640, LK_ROWS_TOKENS),
                y = vk_bench_slot(&b, 640, LK_ROWS_TOKENS);
            struct lk_op *o = vk_bench_op(&b, LK_OP_NORM, 0, -1, x,
                                          vk_bench_weight(&b, LK_TYPE_F32, 1, COLS[k], 61));
            o->u.norm.group = group;
            o->u.norm.eps = 1e-6f;
            vk_bench_op(&b, LK_OP_ADD, 0, x, y, -1);
            vk_bench_op(&b, LK_OP_ADD, y, 0, vk_bench_slot(&b, 640, LK_ROWS_TOKENS), -1);
            vk_bench_end(&b, VK_VARIANTS[0]);
        }
    }
    vk_pair_close();
}

/* Rows that are long have more invocations each, few of them most: chains, whole and broken passes,
 * blocks of both sizes and rows as they are. */
Test(vk_norm, norms_of_long_rows)
{
    static const int WIDTHS[] = {1023, 1024, 2056, 4100, 5632}, TOKENS[] = {1, 3, 17};
    static const enum lk_type TYPES[] = {LK_TYPE_Q4_K, LK_TYPE_Q8_0, LK_TYPE_F16};
    size_t step = vk_pair_samples() ? 4 : 1;
    for (size_t i = test_turn() % step; i < LK_COUNT(WIDTHS) * LK_COUNT(TOKENS); i += step) {
        struct vk_bench b;
        int n = WIDTHS[i / LK_COUNT(TOKENS)];
        enum lk_type type = n % 256 == 0 ? TYPES[i % 3] : n % 32 == 0 ? LK_TYPE_Q8_0 : LK_TYPE_F16;
        vk_bench_begin(&b, n, TOKENS[i % LK_COUNT(TOKENS)], "norm of a long row");
        int x = vk_bench_norm(&b, n, 61), y = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_ADD, 0, x, y, -1);
        struct lk_op *o = vk_bench_op(&b, LK_OP_NORM, y, -1, vk_bench_slot(&b, n, LK_ROWS_TOKENS),
                                      vk_bench_weight(&b, LK_TYPE_F32, 1, n, 62));
        o->u.norm.group = n;
        o->u.norm.eps = 1e-6f;
        vk_bench_op(&b, LK_OP_MATMUL, o->out, -1, vk_bench_slot(&b, 40, LK_ROWS_TOKENS),
                    vk_bench_weight(&b, type, 40, n, 63));
        vk_bench_end(&b, VK_VARIANTS[0]);
    }
    vk_pair_close();
}

/* Layer norm of rows of any width, and of parts of one; into a matmul, and before a residual. */
Test(vk_norm, layer_norm)
{
    static const int WIDTHS[] = {1, 7, 130, 576, 640}, TOKENS[] = {1, 6, 33};
    size_t step = vk_pair_samples() ? 4 : 1;
    for (size_t i = test_turn() % step; i < LK_COUNT(WIDTHS) * LK_COUNT(TOKENS); i += step) {
        struct vk_bench b;
        int n = WIDTHS[i / LK_COUNT(TOKENS)], group = n == 640 ? 80 : n;
        vk_bench_begin(&b, n, TOKENS[i % LK_COUNT(TOKENS)], "layer norm");
        int x = vk_bench_slot(&b, n, LK_ROWS_TOKENS), y = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
        struct lk_op *o = vk_bench_op(&b, LK_OP_LAYER_NORM, 0, -1, x,
                                      vk_bench_weight(&b, LK_TYPE_F32, 1, group, 61));
        o->u.norm.group = group;
        o->u.norm.eps = 1e-6f;
        vk_bench_op(&b, LK_OP_ADD, 0, x, y, -1);
        int z = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
        o = vk_bench_op(&b, LK_OP_LAYER_NORM, y, -1, z,
                        vk_bench_weight(&b, LK_TYPE_F32, 1, group, 62));
        o->u.norm.group = group;
        o->u.norm.eps = 1e-6f;
        vk_bench_op(&b, LK_OP_MATMUL, z, -1, vk_bench_slot(&b, 24, LK_ROWS_TOKENS),
                    vk_bench_weight(&b, n % 32 ? LK_TYPE_F16 : LK_TYPE_Q8_0, 24, n, 63));
        vk_bench_end(&b, VK_VARIANTS[0]);
    }
    vk_pair_close();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_rounds: matmuls whose large tiles fill some rounds of a device's multiprocessors, while the
 * rows that are left have small ones, against scalar, by bits. The device is said to have four of
 * them.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/vulkan/vk_bench.h"
#include "vulkan/vk.h"

enum ends { ALONE, RESIDUAL, SILU, THREE };

/* Rows of a matmul, or of three of one input, a half and two fourths of them; and what is done with
 * the result. */
struct rounds {
    enum lk_type type;
    int rows, cols, n_tokens;
    enum ends ends;
    bool fits; /* 32 KiB hold a large tile */
};

static void run_in_rounds(const struct rounds *r)
{
    static const char *const NAME[] = {"alone", "with a residual", "SiLU", "three"};
    struct lk_vk_device *dev = &vk_pair_device(vk_bench_wide())->dev;
    uint32_t cores = dev->found.cores;
    struct vk_bench b;
    char what[96];
    snprintf(what, sizeof what, "rounds %s %dx%d, %d tokens, %s", lk_type_name((uint32_t)r->type),
             r->rows, r->cols, r->n_tokens, NAME[r->ends]);
    vk_bench_begin(&b, r->cols, r->n_tokens, what);
    int residual =
        r->ends == RESIDUAL ? vk_bench_matmul(&b, LK_TYPE_F16, r->rows, r->cols, 30) : -1;
    int y = vk_bench_matmul(&b, r->type, r->ends == THREE ? r->rows / 2 : r->rows, r->cols, 31);
    if (r->ends == RESIDUAL) {
        vk_bench_op(&b, LK_OP_ADD, y, residual, vk_bench_slot(&b, r->rows, LK_ROWS_TOKENS), -1);
    } else if (r->ends == SILU) {
        int up = vk_bench_matmul(&b, r->type, r->rows, r->cols, 32);
        vk_bench_op(&b, LK_OP_GLU, y, up, vk_bench_slot(&b, r->rows, LK_ROWS_TOKENS), -1)
            ->u.glu.act = LK_ACT_SILU;
    } else if (r->ends == THREE) {
        (void)vk_bench_matmul(&b, r->type, r->rows / 4, r->cols, 32);
        (void)vk_bench_matmul(&b, r->type, r->rows / 4, r->cols, 33);
    }
    dev->found.cores = 4;
    if (r->fits) {
        vk_bench_expect_kernel(&b, vk_bench_wide(), b.c.plan.n_ops - 1, " 128 ");
        vk_bench_expect_kernel(&b, vk_bench_wide(), b.c.plan.n_ops - 1, "; shader");
    }
    vk_bench_end(&b, vk_bench_wide());
    dev->found.cores = cores;
}

Test(vk_rounds, rows_that_are_left)
{
    static const struct rounds CASE[] = {{LK_TYPE_Q3_K, 310, 512, 200, ALONE, true},
                                         {LK_TYPE_Q3_K, 310, 256, 200, RESIDUAL, true},
                                         {LK_TYPE_Q3_K, 320, 256, 230, SILU, true},
                                         {LK_TYPE_Q3_K, 320, 256, 200, THREE, true},
                                         {LK_TYPE_Q4_K, 320, 512, 200, THREE, false},
                                         {LK_TYPE_Q6_K, 310, 256, 200, ALONE, false},
                                         {LK_TYPE_Q8_0, 320, 320, 200, RESIDUAL, false}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        if (vk_pair_row(i) && (CASE[i].fits || !vk_pair_few())) {
            run_in_rounds(&CASE[i]);
        }
    }
    vk_pair_close();
}

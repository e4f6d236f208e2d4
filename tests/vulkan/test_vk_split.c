/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_split: tiles for few tokens, whose workgroups split the panels of a row among their subgroups,
 * against scalar, by bits: more panels than teams, and a last one that is not whole.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "tests/vulkan/vk_bench.h"

enum ends { ALONE, RESIDUAL, SILU, GELU, N_ENDS };

/* Whether an op, and the matmuls that are part of it, run in tiles of 16 rows x 16 tokens. */
static void expect_split(const struct vk_bench *b, int op)
{
    vk_bench_expect_kernel(b, vk_bench_wide(), op, "constants 16 16 ");
}

static void run_split(enum lk_type type, int rows, int cols, int n_tokens, enum ends ends)
{
    static const char *const NAME[N_ENDS] = {"alone", "with a residual", "SiLU", "GELU"};
    struct vk_bench b;
    char what[96];
    snprintf(what, sizeof what, "split %s %dx%d, %d tokens, %s", lk_type_name((uint32_t)type), rows,
             cols, n_tokens, NAME[ends]);
    vk_bench_begin(&b, cols, n_tokens, what);
    int y = vk_bench_matmul(&b, type, ends == RESIDUAL ? cols : rows, cols, 31);
    if (ends == RESIDUAL) {
        vk_bench_op(&b, LK_OP_ADD, y, 0, vk_bench_slot(&b, cols, LK_ROWS_TOKENS), -1);
    } else if (ends != ALONE) {
        int up = vk_bench_matmul(&b, type, rows, cols, 32);
        vk_bench_op(&b, LK_OP_GLU, y, up, vk_bench_slot(&b, rows, LK_ROWS_TOKENS), -1)->u.glu.act =
            ends == SILU ? LK_ACT_SILU : LK_ACT_GELU;
    }
    expect_split(&b, b.c.plan.n_ops - 1);
    vk_bench_end(&b, vk_bench_wide());
}

/* Six panels are a round of four teams and half of one; of blocks of 32 the sixth panel has five.
 */
Test(vk_split, more_panels_than_teams)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        int cols = types[t].block == 256 ? 1536 : types[t].block * (45 * 32 / types[t].block);
        if (types[t].quantized && vk_pair_row(t)) {
            run_split(types[t].type, 75, cols, t % 2 ? 20 : 5, ALONE);
        }
    }
    vk_pair_close();
}

Test(vk_split, residuals_and_glus)
{
    static const struct {
        enum lk_type type;
        int rows, cols, n_tokens;
        enum ends ends;
    } CASE[] = {{LK_TYPE_Q4_K, 0, 1280, 16, RESIDUAL},
                {LK_TYPE_Q4_K, 75, 1280, 32, SILU},
                {LK_TYPE_Q6_K, 40, 1280, 17, GELU},
                {LK_TYPE_Q8_0, 0, 96, 31, RESIDUAL},
                {LK_TYPE_Q4_1, 33, 320, 7, GELU}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        if (vk_pair_row(i)) {
            run_split(CASE[i].type, CASE[i].rows, CASE[i].cols, CASE[i].n_tokens, CASE[i].ends);
        }
    }
    vk_pair_close();
}

/* q, k and v side by side, of 3, 1 and 1 heads. */
Test(vk_split, three_results)
{
    static const struct vk_heads HEADS = {.n_head = 3,
                                          .n_kv_head = 1,
                                          .head_dim = 32,
                                          .n_dims = 32};
    struct vk_bench b;
    char what[160];
    vk_bench_attention(&b, what, &HEADS, 9, 2, 60);
    expect_split(&b, 0);
    vk_bench_end(&b, vk_bench_wide());
    vk_pair_close();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_range: rule 1 on a device: a value out of range is an error that names its op.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/numerics.h"
#include "tests/util/half.h"
#include "tests/vulkan/vk_bench.h"

/* Rule 1: a value of 2^40 or more, an infinity or a NaN is an error that names the op. */
Test(vk_range, range_errors_name_the_op)
{
    static const uint32_t BAD[] = {0x53800000u, 0x7f800000u, 0x7fc00000u, 0xff800000u};
    for (size_t i = 0; i < LK_COUNT(BAD); i++) {
        struct vk_bench b;
        lk_error err = {0};
        vk_bench_begin(&b, 64, 4, "range");
        for (int t = 0; t < 4 * 64; t++) {
            b.hidden[t] = 1.0f;
        }
        b.hidden[130] = lk_flt(BAD[i]);
        int w = vk_bench_weight(&b, LK_TYPE_F32, 1, 64, 9),
            a = vk_bench_slot(&b, 64, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_BIAS, 0, -1, a, w);
        vk_bench_op(&b, LK_OP_ADD, a, a, vk_bench_slot(&b, 64, LK_ROWS_TOKENS), -1);
        cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_RANGE);
        cr_assert(strstr(err.message, "bias"), "%s", err.message);
        b.hidden[130] = 1.0f;
        vk_pair_compare(vk_pair_device(""), &b.c);
        vk_bench_release(&b);
    }
    vk_pair_close();
}

enum { ROWS = 64, TOKENS = 70, BLOCK = 34 };

/* A square of Q8_0 whose only weight that is not 0 is 100 d, on the diagonal. */
static int one_weight(struct vk_bench *b, int row, double d)
{
    uint16_t scale = half_of(d);
    int w = vk_bench_weight(b, LK_TYPE_Q8_0, ROWS, ROWS, 12);
    uint8_t *of = (uint8_t *)(uintptr_t)b->c.plan.weights[w].data;
    memset(of, 0, ROWS * ROWS / 32 * BLOCK);
    uint8_t *block = of + (row * (ROWS / 32) + row / 32) * BLOCK;
    memcpy(block, &scale, sizeof scale);
    block[2 + row % 32] = 100;
    return w;
}

/* A prompt whose only element that is not 0 is x of a token. */
static void begin_prompt(struct vk_bench *b, int token, int row, float x)
{
    vk_bench_begin(b, ROWS, TOKENS, "a value out of range");
    memset(b->hidden, 0, sizeof(float) * ROWS * TOKENS);
    b->hidden[token * ROWS + row] = x;
}

static lk_status end_prompt(struct vk_bench *b, const char *variant, lk_error *err)
{
    lk_status status = vk_pair_status(vk_pair_device(variant), &b->c, err);
    if (status == LK_OK) {
        vk_pair_compare(vk_pair_device(variant), &b->c);
    }
    vk_bench_release(b);
    return status;
}

/* The matmul of a prompt, then the sum with its input. */
static lk_status far_tile(const char *variant, int token, int row, double d, float x, lk_error *err)
{
    struct vk_bench b;
    begin_prompt(&b, token, row, x);
    int w = one_weight(&b, row, d), a = vk_bench_slot(&b, ROWS, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, a, w);
    vk_bench_op(&b, LK_OP_ADD, 0, a, vk_bench_slot(&b, ROWS, LK_ROWS_TOKENS), -1);
    return end_prompt(&b, variant, err);
}

/* Gate and up of a prompt, then their GLU. */
static lk_status far_glu(const char *variant, int token, int row, const double d[2], float x,
                         lk_error *err)
{
    struct vk_bench b;
    begin_prompt(&b, token, row, x);
    int of[2];
    for (int i = 0; i < 2; i++) {
        int w = one_weight(&b, row, d[i]);
        of[i] = vk_bench_slot(&b, ROWS, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, of[i], w);
    }
    vk_bench_op(&b, LK_OP_GLU, of[0], of[1], vk_bench_slot(&b, ROWS, LK_ROWS_TOKENS), -1)
        ->u.glu.act = LK_ACT_SILU;
    return end_prompt(&b, variant, err);
}

/* Tiles store several results at a time: each of them is looked at, and so is its sum with a
 * residual, and what a GLU makes of two. */
Test(vk_range, tiles_tell_of_a_value_out_of_range)
{
    static const struct {
        int token, row;
    } AT[] = {{0, 0}, {37, 21}, {63, 63}, {69, 62}};
    for (size_t i = 0; i < LK_COUNT(AT); i++) {
        const char *variant = VK_VARIANTS[i % 2 ? 3 : 0];
        lk_error err = {0};
        int t = AT[i].token, r = AT[i].row;
        cr_assert_eq(far_tile(variant, t, r, 0.01, 0.4e12f, &err), LK_OK, "%s", err.message);
        cr_assert_eq(far_tile(variant, t, r, 0.01, 0.7e12f, &err), LK_E_RANGE, "token %d", t);
        cr_assert(strstr(err.message, "add"), "%s", err.message);
        cr_assert_eq(far_tile(variant, t, r, 0.1, 0.4e12f, &err), LK_E_RANGE, "token %d", t);
        cr_assert(strstr(err.message, "matmul"), "%s", err.message);
        /* the SiLU of a large negative gate is 0, and so is what a gate of 0 makes of up */
        static const double BOTH[2] = {0.01, 0.01}, GATE[2] = {2e4, 0.0}, UP[2] = {0.0, 2e4};
        cr_assert_eq(far_glu(variant, t, r, BOTH, 1e6f, &err), LK_OK, "%s", err.message);
        cr_assert_eq(far_glu(variant, t, r, BOTH, 1.2e6f, &err), LK_E_RANGE, "token %d", t);
        cr_assert(strstr(err.message, "glu"), "%s", err.message);
        cr_assert_eq(far_glu(variant, t, r, GATE, -1.2e6f, &err), LK_E_RANGE, "token %d", t);
        cr_assert(strstr(err.message, "matmul"), "%s", err.message);
        cr_assert_eq(far_glu(variant, t, r, UP, 1.2e6f, &err), LK_E_RANGE, "token %d", t);
        cr_assert(strstr(err.message, "matmul"), "%s", err.message);
    }
    vk_pair_close();
}

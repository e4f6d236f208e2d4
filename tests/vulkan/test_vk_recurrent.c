/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_recurrent: ops of layers with a state on a device against the contract, by bits: one token,
 * few and many, of one sequence and of several, from states that are not zero, which are compared
 * too.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/numerics.h"
#include "tests/vulkan/vk_bench.h"

static const struct {
    int tokens, seqs;
} SHARES[] = {{1, 1}, {2, 2}, {5, 1}, {7, 3}, {40, 1}, {41, 4}};

static int add_state(struct vk_bench *b, int rows, int dim)
{
    struct lk_plan *p = &b->c.plan;
    p->states[p->n_states] =
        (struct lk_state){.kind = LK_STATE_RECURRENT, .rows = rows, .dim = dim, .bits = 32};
    return p->n_states++;
}

Test(vk_recurrent, convolutions)
{
    static const int WIDTHS[] = {128, 7, 300}, TAPS[] = {4, 2, LK_MAX_TAPS};
    for (size_t i = 0; i < LK_COUNT(SHARES); i++) {
        for (size_t k = 0; k < LK_COUNT(WIDTHS); k++) {
            struct vk_bench b;
            char what[80];
            int width = WIDTHS[k], taps = TAPS[(i + k) % 3];
            bool bias = (i + k) % 3 != 1;
            snprintf(what, sizeof what, "%d taps of %d%s, %d tokens of %d", taps, width,
                     bias ? " and a bias" : "", SHARES[i].tokens, SHARES[i].seqs);
            vk_bench_begin(&b, width, SHARES[i].tokens, what);
            b.c.n_seqs = SHARES[i].seqs;
            int w = vk_bench_weight(&b, LK_TYPE_F32, 1, (int64_t)(taps + bias) * width, 3 + i);
            struct lk_op *op =
                vk_bench_op(&b, LK_OP_CONV, 0, -1, vk_bench_slot(&b, width, LK_ROWS_TOKENS), w);
            op->u.conv.state = add_state(&b, taps - 1, width);
            op->u.conv.taps = taps;
            op->u.conv.silu = (i + k) % 2;
            op->u.conv.bias = bias;
            vk_bench_end(&b, "");
        }
    }
    vk_pair_close();
}

/* Columns [at, at + width) of the rows that are handed in. */
static int pick(struct vk_bench *b, int width, int at)
{
    int out = vk_bench_slot(b, width, LK_ROWS_TOKENS);
    struct lk_op *op = vk_bench_op(b, LK_OP_PICK, 0, -1, out, -1);
    op->u.pick.width = width;
    op->u.pick.stride = b->c.plan.slots[0].width;
    op->u.pick.at = at;
    return out;
}

/* Weights of decays. */
static int decays(struct vk_bench *b, int n_head)
{
    int w = vk_bench_weight(b, LK_TYPE_F32, 1, n_head, 9);
    float *decay = (float *)(uintptr_t)b->c.plan.weights[w].data;
    for (int h = 0; h < n_head; h++) {
        decay[h] = -lk_flt(lk_bits(decay[h]) & 0x7fffffffu);
    }
    return w;
}

/* q, k, v and the rows of gates are parts of what is handed in. */
static void delta(int k_dim, int v_dim, int n_k, int n_head, size_t share, const char *variant)
{
    struct vk_bench b;
    char what[120];
    int qk = 2 * n_k * k_dim, width = qk + n_head * v_dim;
    snprintf(what, sizeof what, "%d heads of %dx%d, %d of k, %d tokens of %d, without '%s'", n_head,
             k_dim, v_dim, n_k, SHARES[share].tokens, SHARES[share].seqs, variant);
    vk_bench_begin(&b, width + 2 * n_head, SHARES[share].tokens, what);
    b.c.n_seqs = SHARES[share].seqs;
    int w = decays(&b, n_head);
    int x = pick(&b, width, 0), a = pick(&b, n_head, width),
        beta = pick(&b, n_head, width + n_head);
    int gates = vk_bench_slot(&b, 2 * n_head, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_DELTA_GATES, a, beta, gates, w);
    int y = vk_bench_slot(&b, width, LK_ROWS_TOKENS);
    struct lk_op *op = vk_bench_op(&b, LK_OP_L2_NORM, x, -1, y, -1);
    op->u.l2_norm.group = k_dim;
    op->u.l2_norm.n_groups = 2 * n_k;
    op->u.l2_norm.eps = 1e-6f;
    op = vk_bench_op(&b, LK_OP_DELTA, y, gates, vk_bench_slot(&b, n_head * v_dim, LK_ROWS_TOKENS),
                     -1);
    op->u.delta.state = add_state(&b, n_head * k_dim, v_dim);
    op->u.delta.n_head = n_head;
    op->u.delta.n_k_head = n_k;
    op->u.delta.k_dim = k_dim;
    op->u.delta.v_dim = v_dim;
    op->u.delta.scale = 0.11f;
    vk_bench_end(&b, variant);
}

Test(vk_recurrent, delta_rule, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(SHARES); i++) {
        delta(128, 128, 2, 4, i, "");
        delta(8, 5, 1, 3, i, "");
        delta(LK_MAX_DELTA_DIM, 17, 2, 2, i, "");
    }
    vk_pair_close();
}

Test(vk_recurrent, delta_rule_unrolled, .timeout = 600)
{
    delta(64, 48, 2, 4, 0, "looped");
    delta(64, 48, 2, 4, 3, "looped");
    vk_pair_close();
}

/* x, B, C and the rows of gates are parts of what is handed in. */
static void ssm(int rows, int dim, int n_group, int n_head, size_t share, const char *variant)
{
    struct vk_bench b;
    char what[120];
    int width = n_head * dim + 2 * n_group * rows;
    snprintf(what, sizeof what, "%d heads of %dx%d, %d groups, %d tokens of %d, without '%s'",
             n_head, rows, dim, n_group, SHARES[share].tokens, SHARES[share].seqs, variant);
    vk_bench_begin(&b, width + n_head, SHARES[share].tokens, what);
    b.c.n_seqs = SHARES[share].seqs;
    int w = decays(&b, n_head), skip = vk_bench_weight(&b, LK_TYPE_F32, 1, n_head, 10);
    int x = pick(&b, width, 0), dt = pick(&b, n_head, width);
    int gates = vk_bench_slot(&b, 2 * n_head, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_DELTA_GATES, dt, -1, gates, w);
    struct lk_op *op =
        vk_bench_op(&b, LK_OP_SSM, x, gates, vk_bench_slot(&b, n_head * dim, LK_ROWS_TOKENS), skip);
    op->u.ssm.state = add_state(&b, n_head * rows, dim);
    op->u.ssm.n_head = n_head;
    op->u.ssm.n_group = n_group;
    op->u.ssm.rows = rows;
    op->u.ssm.dim = dim;
    vk_bench_end(&b, variant);
}

Test(vk_recurrent, selective_state_update, .timeout = 600)
{
    for (size_t i = 0; i < LK_COUNT(SHARES); i++) {
        ssm(128, 64, 2, 4, i, "");
        ssm(8, 5, 1, 3, i, "");
        ssm(LK_MAX_DELTA_DIM, 17, 3, 6, i, "");
    }
    vk_pair_close();
}

Test(vk_recurrent, selective_state_update_unrolled, .timeout = 600)
{
    ssm(64, 48, 2, 4, 0, "looped");
    ssm(64, 48, 2, 4, 3, "looped");
    vk_pair_close();
}

/* The first heads of a row are as long as a workgroup has chains, the rest as many as it copies. */
Test(vk_recurrent, lengths)
{
    static const struct {
        int group, n, rest;
    } CASES[] = {{1, 3, 1}, {100, 2, 513}, {128, 4, 512}, {256, 1, 0}, {300, 2, 1100}};
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        struct vk_bench b;
        char what[80];
        int width = CASES[i].group * CASES[i].n + CASES[i].rest;
        snprintf(what, sizeof what, "%d lengths of %d and %d", CASES[i].n, CASES[i].group,
                 CASES[i].rest);
        vk_bench_begin(&b, width, 3, what);
        struct lk_op *op =
            vk_bench_op(&b, LK_OP_L2_NORM, 0, -1, vk_bench_slot(&b, width, LK_ROWS_TOKENS), -1);
        op->u.l2_norm.group = CASES[i].group;
        op->u.l2_norm.n_groups = CASES[i].n;
        op->u.l2_norm.eps = 1e-5f;
        vk_bench_end(&b, "");
    }
    vk_pair_close();
}

/* A state that grows beyond the range names its op. */
Test(vk_recurrent, a_state_out_of_range)
{
    struct vk_bench b;
    lk_error err;
    vk_bench_begin(&b, 8 + 8 + 1 + 2, 2, "range");
    for (int i = 0; i < 2 * 19; i++) {
        b.hidden[i] = i % 19 < 16 ? 1.0f : 0x1p39f;
    }
    int x = pick(&b, 17, 0), gates = pick(&b, 2, 17);
    struct lk_op *op =
        vk_bench_op(&b, LK_OP_DELTA, x, gates, vk_bench_slot(&b, 1, LK_ROWS_TOKENS), -1);
    op->u.delta.state = add_state(&b, 8, 1);
    op->u.delta.n_head = op->u.delta.n_k_head = op->u.delta.v_dim = 1;
    op->u.delta.k_dim = 8;
    op->u.delta.scale = 1.0f;
    cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_RANGE);
    cr_assert(strstr(err.message, "delta"), "%s", err.message);
    vk_bench_release(&b);
    vk_pair_close();
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_experts: the ops of a mixture of experts on a device against the contract, by bits: every
 * gate, ties, groups; products of experts for one token, for few and for many, in every kind of
 * kernel.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/util/models.h"
#include "tests/vulkan/vk_bench.h"
#include "vulkan/vk.h"

struct way {
    enum lk_gate gate;
    bool normalize, biased;
    int groups, used_groups;
    float scale;
    bool factors;
};

static int add_route(struct vk_bench *b, int scores, int n, int used, const struct way *w)
{
    int bias = w->biased ? vk_bench_weight(b, LK_TYPE_F32, 1, n, 77) : -1;
    int out = vk_bench_slot(b, 2 * used, LK_ROWS_TOKENS);
    struct lk_op *op = vk_bench_op(b, LK_OP_ROUTE, scores, -1, out, bias);
    op->u.route.n_used = used;
    op->u.route.n_groups = w->groups;
    op->u.route.n_groups_used = w->used_groups;
    op->u.route.gate = w->gate;
    op->u.route.normalize = w->normalize;
    op->u.route.scale = w->scale;
    op->u.route.factors = w->factors;
    b->c.plan.n_routed = used;
    return out;
}

Test(vk_experts, route)
{
    static const struct way WAYS[] = {{LK_GATE_CHOSEN, false, false, 1, 1, 1.0f, false},
                                      {LK_GATE_SOFTMAX, false, false, 1, 1, 2.5f, false},
                                      {LK_GATE_SOFTMAX, true, true, 1, 1, 1.0f, false},
                                      {LK_GATE_SIGMOID, true, true, 3, 2, 1.0f, false},
                                      {LK_GATE_SIGMOID, false, false, 3, 1, 0.5f, false},
                                      {LK_GATE_CHOSEN, false, true, 1, 1, 1.0f, true},
                                      {LK_GATE_SOFTMAX, true, true, 1, 1, 0.5f, true}};
    static const struct {
        int n, used;
    } SIZES[] = {{129, 8}, {3, 1}, {LK_MAX_EXPERTS / 3 * 3, LK_MAX_EXPERTS_USED}, {6, 2}};
    for (size_t i = 0; i < LK_COUNT(WAYS); i++) {
        for (size_t k = 0; k < LK_COUNT(SIZES); k++) {
            struct vk_bench b;
            char what[80];
            snprintf(what, sizeof what, "route %zu, %d of %d", i, SIZES[k].used, SIZES[k].n);
            struct way w = WAYS[i];
            if (SIZES[k].used > SIZES[k].n / w.groups * w.used_groups) {
                w.groups = w.used_groups = 1;
            }
            vk_bench_begin(&b, SIZES[k].n, 11, what);
            for (int t = 0; t < SIZES[k].n; t++) { /* a row of equal scores, and one of few */
                b.hidden[t] = 1.5f;
                b.hidden[SIZES[k].n + t] = (float)(t % 3) * 40.0f - 40.0f;
            }
            add_route(&b, 0, SIZES[k].n, SIZES[k].used, &w);
            vk_bench_end(&b, "");
        }
    }
    vk_pair_close();
}

static int experts_weight(struct vk_bench *b, enum lk_type type, int n, int rows, int cols,
                          uint64_t seed)
{
    int w = vk_bench_weight(b, type, (int64_t)n * rows, cols, seed);
    b->c.plan.weights[w].n_experts = n;
    return w;
}

static int add_experts(struct vk_bench *b, enum lk_type type, int in, int route, int n, int rows)
{
    int cols = b->c.plan.slots[in].width;
    int w = experts_weight(b, type, n, rows, cols, (uint64_t)(rows + in));
    int out = vk_bench_slot(b, rows, LK_ROWS_ROUTED);
    vk_bench_op(b, LK_OP_EXPERTS, in, route, out, w);
    int bias = vk_bench_weight(b, LK_TYPE_F32, 1, (int64_t)n * rows, 9);
    int sum = vk_bench_slot(b, rows, LK_ROWS_ROUTED);
    vk_bench_op(b, LK_OP_EXPERT_BIAS, out, route, sum, bias);
    int scale = vk_bench_weight(b, LK_TYPE_F32, 1, n, 10),
        scaled = vk_bench_slot(b, rows, LK_ROWS_ROUTED);
    vk_bench_op(b, LK_OP_EXPERT_SCALE, sum, route, scaled, scale);
    return scaled;
}

/* SwiftShader's sample of three numbers of tokens, of few and of many: a case of each, in turn. */
static bool sampled(size_t tokens, size_t c, size_t n_cases)
{
    size_t turn = test_turn();
    return (tokens == 2 || tokens == turn % 2) && c == (turn / 2 + tokens) % n_cases;
}

static void layer(enum lk_type type, int n_embd, int n_ff, int n, int used, int n_tokens,
                  const char *variant)
{
    static const struct way chosen = {LK_GATE_CHOSEN, false, false, 1, 1, 1.0f, false};
    struct vk_bench b;
    char what[120];
    snprintf(what, sizeof what, "experts %s %dx%d, %d of %d, %d tokens, without '%s'",
             lk_type_info(type)->name, n_ff, n_embd, used, n, n_tokens, variant);
    vk_bench_begin(&b, n_embd, n_tokens, what);
    int scores = vk_bench_slot(&b, n, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_MATMUL, 0, -1, scores, vk_bench_weight(&b, LK_TYPE_F32, n, n_embd, 3));
    int route = add_route(&b, scores, n, used, &chosen);
    int gate = add_experts(&b, type, 0, route, n, n_ff);
    int up = add_experts(&b, type, 0, route, n, n_ff);
    int glu = vk_bench_slot(&b, n_ff, LK_ROWS_ROUTED);
    vk_bench_op(&b, LK_OP_GLU, gate, up, glu, -1);
    int down = add_experts(&b, type, glu, route, n, n_embd);
    vk_bench_op(&b, LK_OP_COMBINE, down, route, vk_bench_slot(&b, n_embd, LK_ROWS_TOKENS), -1);
    vk_bench_end(&b, variant);
}

Test(vk_experts, layers, .timeout = 600)
{
    static const int TOKENS[] = {1, 3, 90};
    static const struct {
        enum lk_type type;
        int n_embd, n_ff, n, used;
    } CASES[] = {{LK_TYPE_Q8_0, 896, 96, 4, 2},
                 {LK_TYPE_Q4_K, 256, 768, 3, 3},
                 {LK_TYPE_F16, 64, 40, 3, 1}, /* rows that are no whole groups */
                 {LK_TYPE_Q4_0, 576, 32, 129, 4},
                 {LK_TYPE_F32, 32, 32, 1, 1}};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        for (size_t c = 0; c < LK_COUNT(CASES); c++) {
            if (vk_pair_samples() ? sampled(i, c, LK_COUNT(CASES)) : vk_pair_row(i + c)) {
                layer(CASES[c].type, CASES[c].n_embd, CASES[c].n_ff, CASES[c].n, CASES[c].used,
                      TOKENS[i], "");
            }
        }
    }
    vk_pair_close();
}

Test(vk_experts, layers_without_features, .timeout = 600)
{
    static const int TOKENS[] = {2, 40};
    for (size_t v = 1; v < (vk_pair_samples() ? 2 : VK_N_VARIANTS); v++) {
        for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
            if (!vk_pair_skips(v, 2 * i)) {
                layer(LK_TYPE_Q5_1, 2880, 64, 4, 2, TOKENS[i], VK_VARIANTS[v]);
            }
            if (!vk_pair_skips(v, 2 * i + 1)) {
                layer(LK_TYPE_Q6_K, 256, 256, 5, 2, TOKENS[i], VK_VARIANTS[v]);
            }
        }
    }
    vk_pair_close();
}

/* Products by head in each kind of kernel, their rows joined with those of the first. */
static void heads(enum lk_type type, int n_head, int cols, int rows, int n_tokens,
                  const char *variant)
{
    struct vk_bench b;
    char what[120];
    snprintf(what, sizeof what, "heads %s %d of %dx%d, %d tokens, without '%s'",
             lk_type_info(type)->name, n_head, rows, cols, n_tokens, variant);
    vk_bench_begin(&b, n_head * cols, n_tokens, what);
    int one = vk_bench_slot(&b, n_head * rows, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_HEADS, 0, -1, one, experts_weight(&b, type, n_head, rows, cols, 5));
    int other = vk_bench_slot(&b, n_head * 3, LK_ROWS_TOKENS);
    vk_bench_op(&b, LK_OP_HEADS, 0, -1, other, experts_weight(&b, type, n_head, 3, cols, 6));
    struct lk_op *op = vk_bench_op(&b, LK_OP_JOIN, one, other,
                                   vk_bench_slot(&b, n_head * (rows + 3), LK_ROWS_TOKENS), -1);
    op->u.join.width[0] = rows;
    op->u.join.width[1] = 3;
    vk_bench_end(&b, variant);
}

Test(vk_experts, heads, .timeout = 600)
{
    static const int TOKENS[] = {1, 3, 90};
    static const struct {
        enum lk_type type;
        int n_head, cols, rows;
    } CASES[] = {{LK_TYPE_Q8_0, 20, 192, 512},
                 {LK_TYPE_Q4_K, 3, 512, 100},
                 {LK_TYPE_F16, 5, 40, 33},
                 {LK_TYPE_F32, 2, 7, 40}, /* rows that are no whole uvec4s */
                 {LK_TYPE_Q5_1, 1, 64, 31}};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        for (size_t c = 0; c < LK_COUNT(CASES); c++) {
            if (vk_pair_samples() ? sampled(i, c, LK_COUNT(CASES)) : vk_pair_row(i + c)) {
                heads(CASES[c].type, CASES[c].n_head, CASES[c].cols, CASES[c].rows, TOKENS[i], "");
            }
        }
    }
    for (size_t v = 1; v < (vk_pair_samples() ? 2 : VK_N_VARIANTS); v++) {
        for (size_t i = 1; i < LK_COUNT(TOKENS); i++) {
            if (!vk_pair_skips(v, i)) {
                heads(LK_TYPE_Q6_K, 4, 256, 64, TOKENS[i], VK_VARIANTS[v]);
            }
        }
    }
    vk_pair_close();
}

/* Matrices of experts that are more than a buffer may be are cut between experts. */
Test(vk_experts, matrices_beyond_the_devices_range)
{
    enum { ROWS = 128, COLS = 512, N = 5, USED = 3 };
    static const struct way chosen = {LK_GATE_CHOSEN, false, false, 1, 1, 1.0f, false};
    const uint32_t each = ROWS * COLS / 32 * 34; /* bytes of one of Q8_0 */
    static const struct {
        int tokens, experts, chunks; /* experts that fit a buffer */
    } CASES[] = {{1, 5, 1}, {3, 2, 3}, {3, 1, 5}, {40, 2, 3}};
    VkPhysicalDeviceLimits *limits = &vk_pair_device("")->dev.found.props.limits;
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        struct vk_bench b;
        struct lk_exec *e = NULL;
        lk_error err = {0};
        vk_bench_begin(&b, COLS, CASES[i].tokens, "chunks of experts");
        int scores = vk_bench_slot(&b, N, LK_ROWS_TOKENS);
        vk_bench_op(&b, LK_OP_MATMUL, 0, -1, scores, vk_bench_weight(&b, LK_TYPE_F32, N, COLS, 3));
        int route = add_route(&b, scores, N, USED, &chosen);
        int x = add_experts(&b, LK_TYPE_Q8_0, 0, route, N, ROWS);
        vk_bench_op(&b, LK_OP_COMBINE, x, route, vk_bench_slot(&b, ROWS, LK_ROWS_TOKENS), -1);
        limits->maxStorageBufferRange = (uint32_t)CASES[i].experts * each + each / 4 * 3;
        cr_assert_eq(vk_pair_prepare(vk_pair_device(""), &b.c, &e, &err), LK_OK, "%s", err.message);
        cr_assert_eq(e->store.matrices[1].n_chunks, CASES[i].chunks);
        lk_backend_vulkan.exec_free(e);
        if (i == 2) {
            limits->maxStorageBufferRange = each - 1;
            cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_UNSUPPORTED);
            cr_assert(strstr(err.message, "128 rows of 512 elements are beyond"), "%s",
                      err.message);
            limits->maxStorageBufferRange = each;
        }
        vk_bench_end(&b, "");
    }
    vk_pair_close();
}

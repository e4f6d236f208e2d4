/* SPDX-License-Identifier: Apache-2.0
 *
 * Experts: the choice of rule 10 and its ties, and layers of experts made by hand on every level of
 * the CPU backend, by bits: many tokens at once, each token alone, and the scalar backend.
 */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "backend/backend.h"
#include "base/numerics.h"
#include "cpu/detect.h"
#include "cpu/scalar.h"
#include "tests/util/hand_plan.h"
#include "tests/util/model_build.h"
#include "tests/util/rng.h"

/* ---- choice ---- */

static struct lk_op route_op(enum lk_gate gate, int used, bool normalize)
{
    struct lk_op op = lk_op_make(LK_OP_ROUTE, 0, -1, 1, -1);
    op.u.route.n_used = used;
    op.u.route.n_groups = op.u.route.n_groups_used = 1;
    op.u.route.gate = gate;
    op.u.route.normalize = normalize;
    op.u.route.scale = 1.0f;
    return op;
}

static void chooses(const struct lk_op *op, const float *scores, int n, const float *bias,
                    const int *want)
{
    float out[2 * LK_MAX_EXPERTS_USED];
    cr_assert(lk_scalar_route(op, scores, n, bias, out));
    for (int j = 0; j < op->u.route.n_used; j++) {
        cr_assert_eq(lk_routed_to(out, j), want[j], "rank %d is expert %d, expected %d", j,
                     lk_routed_to(out, j), want[j]);
    }
}

Test(experts, ties_go_to_the_lowest_number)
{
    struct lk_op op = route_op(LK_GATE_CHOSEN, 3, false);
    static const float equal[6] = {2, 2, 2, 2, 2, 2}, zero[6] = {0}, low[6] = {-3, -1, -1, -2, -1};
    chooses(&op, equal, 6, NULL, (const int[]){0, 1, 2});
    chooses(&op, zero, 6, NULL, (const int[]){0, 1, 2});
    chooses(&op, low, 6, NULL, (const int[]){5, 1, 2});
    /* Scores that the gate can't tell apart still have an order where there is no bias. */
    static const float far[4] = {40, 41, 42, 41};
    op = route_op(LK_GATE_SIGMOID, 3, true);
    chooses(&op, far, 4, NULL, (const int[]){2, 1, 3});
    static const float bias[4] = {0, 0, 0, 0x1p-30f};
    chooses(&op, far, 4, bias, (const int[]){0, 1, 2}); /* all are 1, the bias is lost in it */
    op = route_op(LK_GATE_SOFTMAX, 2, true);
    static const float pushed[4] = {0.25f, 0, 0.25f, 0};
    chooses(&op, equal, 4, pushed, (const int[]){0, 2});
}

Test(experts, only_the_best_groups_are_asked)
{
    struct lk_op op = route_op(LK_GATE_SIGMOID, 2, true);
    /* the best expert is in a group whose two best are worse than those of another */
    static const float scores[6] = {9, -9, 3, 3, 3, 3};
    op.u.route.n_groups = 3;
    op.u.route.n_groups_used = 1;
    static const float none[6] = {0};
    chooses(&op, scores, 6, none, (const int[]){2, 3}); /* groups 1 and 2 tie */
    op.u.route.n_groups_used = 2;
    chooses(&op, scores, 6, none, (const int[]){2, 3});
    op.u.route.n_groups_used = 3;
    chooses(&op, scores, 6, none, (const int[]){0, 2});
    op.u.route.n_groups = 6; /* of one each */
    op.u.route.n_groups_used = 2;
    chooses(&op, scores, 6, none, (const int[]){0, 2});
}

Test(experts, weights_of_what_has_no_weight)
{
    float out[4];
    struct lk_op op = route_op(LK_GATE_SIGMOID, 2, true);
    static const float lost[3] = {-200, -300, -100};
    cr_assert(lk_scalar_route(&op, lost, 3, NULL, out));
    cr_assert(out[0] == 2 && out[1] == 0 && lk_bits(out[2]) == 0 && lk_bits(out[3]) == 0);
    op = route_op(LK_GATE_CHOSEN, 2, false); /* one expert has all, the other less than is kept */
    cr_assert(lk_scalar_route(&op, lost, 3, NULL, out));
    cr_assert(out[2] == 1.0f && lk_bits(out[3]) == 0);
    op = route_op(LK_GATE_CHOSEN, 1, false);
    op.u.route.scale = 2.5f;
    cr_assert(lk_scalar_route(&op, lost, 3, NULL, out) && out[0] == 2 && out[1] == 2.5f);
}

/* Factors multiply the weights of the chosen at the end, and have no say in who they are. */
Test(experts, factors_of_experts)
{
    static const float scores[4] = {1, 3, 2, 0}, factors[4] = {9, 0.5f, -4, 0x1p-60f};
    struct lk_op op = route_op(LK_GATE_CHOSEN, 3, false);
    float plain[6], out[6];
    cr_assert(lk_scalar_route(&op, scores, 4, NULL, plain));
    op.u.route.factors = true;
    cr_assert(lk_scalar_route(&op, scores, 4, factors, out));
    for (int j = 0; j < 3; j++) {
        cr_assert_eq(out[j], plain[j]);
        cr_assert_eq(out[3 + j], plain[3 + j] * factors[(int)out[j]]);
    }
    static const float last[4] = {0, 0, 0, 9}; /* a factor below 2^-50 counts as 0 */
    cr_assert(lk_scalar_route(&op, last, 4, factors, out) && out[0] == 3 && lk_bits(out[3]) == 0);
}

/* ---- a layer ---- */

enum { MOST = 70 };

struct layer {
    struct lk_plan plan;
    struct hand_room room;
    void *data[HAND_WEIGHTS];
    int n_data;
};

static int weight(struct layer *l, enum lk_type type, int rows, int cols, int experts,
                  unsigned seed)
{
    size_t n = (size_t)rows * (size_t)cols * (size_t)(experts ? experts : 1);
    struct rng rng = {seed};
    uint8_t *data = malloc(lk_type_row_bytes(type, n));
    cr_assert(data);
    model_random(type, data, n, 0.05f, &rng);
    l->data[l->n_data++] = data;
    int w = hand_weight(&l->plan, type, rows * (experts ? experts : 1), cols, data);
    l->plan.weights[w].n_experts = experts;
    return w;
}

/* Router, experts with a bias, down, combination. */
static void layer_make(struct layer *l, enum lk_type type, int n_embd, int n_ff, int n_expert,
                       int used)
{
    memset(l, 0, sizeof *l);
    struct lk_plan *p = &l->plan;
    hand_start(p, &l->room, n_embd);
    p->n_routed = used;
    int scores =
        hand_put(p, LK_OP_MATMUL, 0, -1, n_expert, weight(l, LK_TYPE_F32, n_expert, n_embd, 0, 1));
    int route = hand_put(p, LK_OP_ROUTE, scores, -1, 2 * used, -1);
    hand_last(p)->u = route_op(LK_GATE_CHOSEN, used, false).u;
    int part[2];
    for (int i = 0; i < 2; i++) {
        int x = hand_slot(p, n_ff, LK_ROWS_ROUTED);
        hand_op(p, LK_OP_EXPERTS, 0, route, x, weight(l, type, n_ff, n_embd, n_expert, 2));
        part[i] = hand_slot(p, n_ff, LK_ROWS_ROUTED);
        int sum = hand_slot(p, n_ff, LK_ROWS_ROUTED);
        int bias = weight(l, LK_TYPE_F32, 1, n_ff * n_expert, 0, 3);
        hand_op(p, LK_OP_EXPERT_BIAS, x, route, sum, bias);
        hand_op(p, LK_OP_EXPERT_SCALE, sum, route, part[i],
                weight(l, LK_TYPE_F32, 1, n_expert, 0, 5));
    }
    int a = hand_put(p, LK_OP_GLU, part[0], part[1], n_ff, -1);
    int d = hand_slot(p, n_embd, LK_ROWS_ROUTED);
    hand_op(p, LK_OP_EXPERTS, a, route, d, weight(l, type, n_embd, n_ff, n_expert, 4));
    hand_op(p, LK_OP_COMBINE, d, route, hand_slot(p, n_embd, LK_ROWS_TOKENS), -1);
}

/* Products by head between ordinary ones of the same rows, whose prepared rows are others. */
static void heads_make(struct layer *l, enum lk_type type, int n_head, int cols, int rows, int own)
{
    memset(l, 0, sizeof *l);
    struct lk_plan *p = &l->plan;
    int width = n_head * cols;
    hand_start(p, &l->room, width);
    int before =
        hand_put(p, LK_OP_MATMUL, 0, -1, n_head * own, weight(l, type, n_head * own, width, 0, 1));
    int heads =
        hand_put(p, LK_OP_HEADS, 0, -1, n_head * rows, weight(l, type, rows, cols, n_head, 2));
    int behind = hand_put(p, LK_OP_MATMUL, 0, -1, width, weight(l, type, width, width, 0, 3));
    int both = hand_put(p, LK_OP_JOIN, heads, before, n_head * (rows + own), -1);
    hand_last(p)->u.join.width[0] = rows;
    hand_last(p)->u.join.width[1] = own;
    int y = hand_put(p, LK_OP_MATMUL, both, -1, width,
                     weight(l, LK_TYPE_F32, width, n_head * (rows + own), 0, 4));
    hand_put(p, LK_OP_ADD, y, behind, width, -1);
}

static void layer_free(struct layer *l)
{
    for (int i = 0; i < l->n_data; i++) {
        free(l->data[i]);
    }
}

/* What the layer makes of n rows, at most `most` at a time. */
static void run(const struct layer *l, const struct lk_backend_impl *impl, const char *level,
                int threads, const float *in, int n, int most, float *out)
{
    struct lk_backend_options o = {.cpu_level = level,
                                   .threads = threads,
                                   .threads_batch = threads,
                                   .pin = true};
    struct lk_exec_options eo = {
        .plan = &l->plan, .max_tokens = most, .max_seqs = 1, .max_blocks = 2, .fuse = true};
    struct lk_state_geom geom = {.plan = &l->plan, .n_blocks = 2};
    struct lk_backend *b;
    struct lk_caps caps;
    struct lk_exec *e;
    struct lk_state_mem *states;
    lk_error err;
    size_t width = (size_t)l->plan.n_embd;
    int32_t pos[MOST], seq[MOST] = {0}, blocks[2] = {0, 1};
    cr_assert_eq(impl->open(&o, &b, &caps, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->prepare(b, &eo, &e, &err), LK_OK, "%s", err.message);
    cr_assert_eq(impl->state_alloc(b, &geom, &states, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < n; i += most) {
        int m = n - i < most ? n - i : most;
        for (int t = 0; t < m; t++) {
            pos[t] = i + t;
        }
        struct lk_batch_seq s = {.blocks = blocks, .pos = i, .n_tokens = m};
        struct lk_batch batch = {.n_tokens = m,
                                 .pos = pos,
                                 .seq = seq,
                                 .n_seqs = 1,
                                 .seqs = &s,
                                 .hidden_in = in + (size_t)i * width,
                                 .out = out + (size_t)i * width};
        cr_assert_eq(impl->run(e, states, &batch, &err), LK_OK, "%s", err.message);
    }
    impl->state_free(states);
    impl->exec_free(e);
    impl->close(b);
}

static void same(const float *got, const float *want, size_t n, const char *what, int most)
{
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(lk_bits(got[i]), lk_bits(want[i]),
                     "%s, %d at a time: %zu is %a, scalar has %a", what, most, i, (double)got[i],
                     (double)want[i]);
    }
}

/* What a layer of rows of n_embd makes of n tokens, on every level. Frees it. */
static void check(struct layer *l, int n_embd, int n)
{
    static const char *const LEVELS[] = {"generic", "avx2", "avx-vnni", "avx512",
                                         "amx",     "neon", "dotprod",  "i8mm"};
    size_t size = (size_t)n * (size_t)n_embd;
    float *in = malloc(size * sizeof *in), *want = malloc(size * sizeof *want);
    float *got = malloc(size * sizeof *got);
    struct rng rng = {99};
    cr_assert(in && want && got);
    for (size_t i = 0; i < size; i++) {
        in[i] = (float)((int)(rng_u32(&rng) >> 8) - (1 << 23)) * 0x1p-22f;
    }
    run(l, &lk_backend_scalar, NULL, 1, in, n, n, want);
    run(l, &lk_backend_scalar, NULL, 1, in, n, 1, got);
    same(got, want, size, "scalar", 1);
    for (size_t i = 0; i < LK_COUNT(LEVELS); i++) {
        enum lk_cpu_level level;
        lk_error err;
        if (lk_cpu_level_parse(LEVELS[i], &level, &err)) {
            continue;
        }
        for (int threads = 1; threads <= 3; threads += 2) {
            for (int most = n; most >= 1; most = most > 5 ? 5 : most > 1 ? 1 : 0) {
                run(l, &lk_backend_cpu, LEVELS[i], threads, in, n, most, got);
                same(got, want, size, LEVELS[i], most);
            }
        }
    }
    layer_free(l);
    free(in);
    free(want);
    free(got);
}

static void check_layer(enum lk_type type, int n_embd, int n_ff, int n_expert, int used, int n)
{
    struct layer l;
    layer_make(&l, type, n_embd, n_ff, n_expert, used);
    check(&l, n_embd, n);
}

static void check_heads(enum lk_type type, int n_head, int cols, int rows, int own, int n)
{
    struct layer l;
    heads_make(&l, type, n_head, cols, rows, own);
    check(&l, n_head * cols, n);
}

Test(experts, heads_say_what_scalar_says, .timeout = 600)
{
    check_heads(LK_TYPE_Q8_0, 5, 192, 96, 64, 9);
    check_heads(LK_TYPE_Q4_K, 3, 512, 128, 5, 67);
    check_heads(LK_TYPE_F16, 4, 40, 20, 3, 7); /* rows that are no whole groups */
    check_heads(LK_TYPE_F32, 2, 7, 3, 1, 20);
    check_heads(LK_TYPE_BF16, 1, 64, 33, 32, 5); /* a head alone */
    check_heads(LK_TYPE_IQ3_XXS, 2, 256, 40, 2, 12);
    check_heads(LK_TYPE_Q5_1, 17, 32, 8, 1, 33); /* more heads than threads' groups */
}

/* The matrix of a head is its own, and meets its own part of a row. */
Test(experts, heads_have_their_own_matrices)
{
    static const float m[3 * 2 * 2] = {1, 0, 0, 1, 2, 0, 0, 2, 0, 1, -1, 0},
                                 x[6] = {1, 2, 3, 4, 5, 6};
    static const float want[6] = {1, 2, 6, 8, 6, -5};
    struct lk_weight w = {.type = LK_TYPE_F32, .rows = 6, .cols = 2, .n_experts = 3, .data = m};
    w.n_bytes = sizeof m;
    float y[6], scratch[64];
    cr_assert_leq(lk_scalar_matmul_scratch(&w, 1), sizeof scratch);
    cr_assert(lk_scalar_heads(&w, x, 1, y, scratch));
    cr_assert_eq(memcmp(y, want, sizeof y), 0);
}

Test(experts, layers_say_what_scalar_says, .timeout = 600)
{
    check_layer(LK_TYPE_Q8_0, 2880, 96, 8, 4, 12); /* no whole panels */
    check_layer(LK_TYPE_Q4_0, 896, 576, 5, 2, 9);
    check_layer(LK_TYPE_Q4_K, 256, 768, 4, 3, 67); /* an expert with more rows than a tile */
    check_layer(LK_TYPE_F16, 64, 40, 3, 1, 7);     /* rows that are no whole groups; one expert */
    check_layer(LK_TYPE_Q5_1, 64, 32, 129, 8, 20);
    check_layer(LK_TYPE_BF16, 32, 32, 1, 1, 5); /* no choice */
    check_layer(LK_TYPE_Q6_K, 256, 256, 6, 6, 6);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_rules: what single rules of the fusion pass take, what they leave and why, on plans made
 * by hand. Opens no device.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "tests/util/hand_plan.h"
#include "tests/vulkan/vk_groups.h"

enum { WIDTH = 256 };

/* A plan over one slot of rows handed in. */
struct hand {
    struct lk_plan plan;
    struct hand_room room;
};

static void begin(struct hand *h, int width)
{
    hand_start(&h->plan, &h->room, width);
    h->plan.n_ropes = 2;
}

static int slot(struct hand *h, int width, enum lk_rows rows)
{
    return hand_slot(&h->plan, width, rows);
}

static int put(struct hand *h, enum lk_op_kind kind, int in0, int in1, int width, int w)
{
    return hand_put(&h->plan, kind, in0, in1, width, w);
}

static struct lk_op *last(struct hand *h)
{
    return hand_last(&h->plan);
}

static int weight(struct hand *h, enum lk_type type, int64_t rows, int64_t cols)
{
    return hand_weight(&h->plan, type, rows, cols, NULL);
}

static int matmul(struct hand *h, int in, enum lk_type type, int rows)
{
    return put(h, LK_OP_MATMUL, in, -1, rows, weight(h, type, rows, h->plan.slots[in].width));
}

static int norm(struct hand *h, int in, int group)
{
    int out = put(h, LK_OP_NORM, in, -1, h->plan.slots[in].width, weight(h, LK_TYPE_F32, 1, group));
    last(h)->u.norm.group = group;
    return out;
}

static int bias(struct hand *h, int in)
{
    int width = h->plan.slots[in].width;
    return put(h, LK_OP_BIAS, in, -1, width, weight(h, LK_TYPE_F32, 1, width));
}

static int add(struct hand *h, int a, int b)
{
    return put(h, LK_OP_ADD, a, b, h->plan.slots[a].width, -1);
}

static int glu(struct hand *h, int gate, int up)
{
    return put(h, LK_OP_GLU, gate, up, h->plan.slots[gate].width, -1);
}

static void are_on(const struct hand *h, enum lk_vk_list_kind list, const struct lk_vk_facts *f,
                   const char *what, const char *const *want)
{
    struct lk_vk_groups groups = vk_groups_of(&h->plan, list, true, f, what);
    vk_groups_are(&h->plan, &groups, -2, what, want);
    lk_vk_groups_free(&groups);
}

/* The groups of a plan in a list, on a large device. */
#define ARE(h, list, what, ...)                                                                    \
    are_on(h, list, &VK_FACTS_GPU, what, (const char *const[]){__VA_ARGS__, NULL})

/* ---- gate and up ---- */

static void gate_up(struct hand *h, enum lk_type gate, enum lk_type up, bool up_first)
{
    begin(h, WIDTH);
    int a = matmul(h, 0, up_first ? up : gate, 512), b = matmul(h, 0, up_first ? gate : up, 512);
    glu(h, up_first ? b : a, up_first ? a : b);
}

Test(vk_fuse_rules, a_glu_is_the_epilogue_of_its_mat_vecs)
{
    struct hand h;
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q4_K, false);
    ARE(&h, LK_VK_DECODE, "decode", "matmul+matmul+glu by matmul, quantizes");
    ARE(&h, LK_VK_FEW, "few", "by quantize, to q256", "matmul+matmul+glu by matmul");
    ARE(&h, LK_VK_MANY, "many", "by quantize, to q256", "matmul+matmul by matmul",
        "glu by elementwise");
    struct lk_vk_facts wide = VK_FACTS_GPU; /* tiles as matrix units have them, by loops too */
    wide.narrow = false;
    are_on(&h, LK_VK_MANY, &wide, "wide tiles",
           (const char *const[]){"by quantize, to q256", "matmul+matmul+glu by matmul", NULL});
    h.plan.ops[2].u.glu.act = LK_ACT_GELU;
    struct lk_vk_groups g = vk_groups_of(&h.plan, LK_VK_FEW, true, &VK_FACTS_GPU, "gelu");
    cr_assert_eq(g.group[1].u.matmul.epilogue, LK_VK_EPI_GELU);
    cr_assert(g.group[1].u.matmul.part[0] == 0 && g.group[1].u.matmul.next == 2);
    lk_vk_groups_free(&g);
    gate_up(&h, LK_TYPE_F16, LK_TYPE_F16, false);
    are_on(&h, LK_VK_MANY, &wide, "tiles of floats",
           (const char *const[]){"by quantize, to r13", "matmul+matmul by matmul",
                                 "glu by elementwise", NULL});
    /* Gate lies first whichever comes first. */
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q4_K, true);
    g = vk_groups_of(&h.plan, LK_VK_FEW, true, &VK_FACTS_GPU, "up first");
    cr_assert_eq(g.group[1].u.matmul.epilogue, LK_VK_EPI_SILU);
    cr_assert(g.group[1].u.matmul.part[0] == 1 && g.group[1].u.matmul.part[1] == 0);
    cr_assert_eq(g.group[1].lead, 0);
    lk_vk_groups_free(&g);
}

Test(vk_fuse_rules, a_glu_is_left_where_its_matmuls_cannot_lie_together)
{
    struct hand h;
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q6_K, false);
    ARE(&h, LK_VK_FEW, "two types", "by quantize, to q256", "matmul by matmul", "matmul by matmul",
        "glu by elementwise");
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q4_K, false);
    /* 32 row groups of 32 rows of 144 bytes, and one byte less */
    struct lk_vk_facts f = VK_FACTS_GPU;
    f.max_binding = 32 * 32 * 144;
    are_on(&h, LK_VK_FEW, &f, "one chunk",
           (const char *const[]){"by quantize, to q256", "matmul+matmul+glu by matmul", NULL});
    static const char *const APART[] = {"by quantize, to q256", "matmul by matmul",
                                        "matmul by matmul", "glu by elementwise", NULL};
    f.max_binding--;
    are_on(&h, LK_VK_FEW, &f, "two chunks", APART);
    f = VK_FACTS_GPU;
    f.max_block = 32 * 32 * 144 - 1;
    are_on(&h, LK_VK_FEW, &f, "two allocations", APART);
    f = VK_FACTS_GPU;
    f.max_groups = 31;
    are_on(&h, LK_VK_FEW, &f, "two dispatches", APART);
}

Test(vk_fuse_rules, a_glu_is_left_where_gate_or_up_is_wanted_elsewhere)
{
    struct hand h;
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q4_K, false);
    h.plan.out_slot = 1;
    ARE(&h, LK_VK_FEW, "gate is the result", "by quantize, to q256", "matmul+matmul by matmul",
        "glu by elementwise");
    gate_up(&h, LK_TYPE_Q4_K, LK_TYPE_Q4_K, false);
    add(&h, 2, 3);
    ARE(&h, LK_VK_FEW, "up is read twice", "by quantize, to q256", "matmul+matmul by matmul",
        "glu+add by elementwise");
    begin(&h, WIDTH);
    int g = bias(&h, matmul(&h, 0, LK_TYPE_Q4_K, 512)), u = matmul(&h, 0, LK_TYPE_Q4_K, 512);
    glu(&h, g, u);
    ARE(&h, LK_VK_FEW, "a bias between", "by quantize, to q256", "matmul+matmul by matmul",
        "bias by elementwise", "glu by elementwise");
    begin(&h, WIDTH);
    g = matmul(&h, 0, LK_TYPE_Q4_K, WIDTH);
    glu(&h, g, matmul(&h, g, LK_TYPE_Q4_K, WIDTH));
    ARE(&h, LK_VK_DECODE, "inputs of their own", "matmul by matmul, quantizes",
        "matmul by matmul, quantizes", "glu by elementwise");
}

/* A GLU of its own leaves integers where only matmuls of one form read it. */
Test(vk_fuse_rules, a_glu_leaves_what_matmuls_take)
{
    struct hand h;
    gate_up(&h, LK_TYPE_F32, LK_TYPE_F32, false);
    matmul(&h, 3, LK_TYPE_Q8_0, 64);
    ARE(&h, LK_VK_MANY, "Q8_0", "matmul+matmul by matmul", "glu by quantize, to q32",
        "matmul by matmul");
    h.plan.weights[2].type = LK_TYPE_F16;
    ARE(&h, LK_VK_MANY, "F16", "matmul+matmul by matmul", "glu by elementwise",
        "by quantize, to r13", "matmul by matmul");
    h.plan.weights[2].type = LK_TYPE_Q8_0;
    matmul(&h, 3, LK_TYPE_Q4_K, 64);
    add(&h, 4, 5);
    ARE(&h, LK_VK_MANY, "two forms", "matmul+matmul by matmul", "glu by elementwise",
        "by quantize, to q32", "matmul by matmul", "by quantize, to q256", "matmul+add by matmul");
}

/* ---- residuals ---- */

Test(vk_fuse_rules, a_residual_is_added_by_the_matmul_that_comes_last)
{
    struct hand h;
    begin(&h, WIDTH);
    add(&h, 0, matmul(&h, 0, LK_TYPE_F32, WIDTH));
    ARE(&h, LK_VK_MANY, "residual first", "matmul+add by matmul");
    begin(&h, WIDTH);
    add(&h, matmul(&h, 0, LK_TYPE_F32, WIDTH), 0);
    ARE(&h, LK_VK_MANY, "residual last", "matmul+add by matmul");
    begin(&h, WIDTH);
    int a = matmul(&h, 0, LK_TYPE_F32, WIDTH), b = matmul(&h, 0, LK_TYPE_Q8_0, WIDTH);
    add(&h, a, b);
    ARE(&h, LK_VK_DECODE, "of two matmuls", "matmul by matmul", "matmul+add by matmul, quantizes");
    begin(&h, WIDTH);
    a = matmul(&h, 0, LK_TYPE_F32, WIDTH);
    add(&h, a, a);
    ARE(&h, LK_VK_MANY, "to itself", "matmul by matmul", "add by elementwise");
    begin(&h, WIDTH);
    a = matmul(&h, 0, LK_TYPE_F32, WIDTH);
    bias(&h, add(&h, a, 0));
    h.plan.out_slot = a;
    h.plan.slots[a].rows = LK_ROWS_TOKENS;
    ARE(&h, LK_VK_MANY, "the sum is not all that is wanted", "matmul by matmul",
        "add by elementwise", "bias by elementwise");
    begin(&h, WIDTH);
    add(&h, norm(&h, matmul(&h, 0, LK_TYPE_F32, WIDTH), WIDTH), 0);
    ARE(&h, LK_VK_MANY, "behind a norm", "matmul by matmul", "norm+add by norm");
    begin(&h, WIDTH);
    add(&h, norm(&h, matmul(&h, 0, LK_TYPE_F32, WIDTH), 64), 0);
    ARE(&h, LK_VK_MANY, "behind a norm of heads", "matmul by matmul", "norm by norm",
        "add by elementwise");
}

/* ---- norms ---- */

/* A norm that two matmuls read which don't lie together. */
static void norm_of_two(struct hand *h, enum lk_type a, enum lk_type b, int rows)
{
    begin(h, WIDTH);
    int n = norm(h, 0, WIDTH);
    add(h, matmul(h, n, a, rows), matmul(h, n, b, rows));
}

Test(vk_fuse_rules, mat_vecs_of_decode_do_the_norm_in_front)
{
    struct hand h;
    norm_of_two(&h, LK_TYPE_Q4_K, LK_TYPE_Q6_K, 512);
    ARE(&h, LK_VK_DECODE, "decode", "norm+matmul by matmul, norms",
        "norm+matmul+add by matmul, norms");
    ARE(&h, LK_VK_FEW, "few", "norm by norm, to q256", "matmul by matmul", "matmul+add by matmul");
    struct lk_vk_groups g = vk_groups_of(&h.plan, LK_VK_DECODE, true, &VK_FACTS_GPU, "input");
    cr_assert(g.group[0].in[0].slot == 0 && g.group[0].u.matmul.norm == 0);
    lk_vk_groups_free(&g);
    norm_of_two(&h, LK_TYPE_Q4_K, LK_TYPE_Q8_0, 512);
    ARE(&h, LK_VK_DECODE, "two forms", "norm by norm", "matmul by matmul, quantizes",
        "matmul+add by matmul, quantizes");
    norm_of_two(&h, LK_TYPE_Q4_K, LK_TYPE_Q6_K, 40000);
    ARE(&h, LK_VK_DECODE, "many rows", "norm+matmul by matmul, norms",
        "norm+matmul+add by matmul, norms");
    norm_of_two(&h, LK_TYPE_Q4_K, LK_TYPE_Q6_K, 40001);
    ARE(&h, LK_VK_DECODE, "too many rows", "norm by norm, to q256", "matmul by matmul",
        "matmul+add by matmul");
    norm_of_two(&h, LK_TYPE_F16, LK_TYPE_F16, 512);
    ARE(&h, LK_VK_DECODE, "floats", "norm by norm, to r13", "matmul+matmul by matmul",
        "add by elementwise");
    begin(&h, WIDTH);
    matmul(&h, norm(&h, 0, 64), LK_TYPE_Q4_K, 512);
    ARE(&h, LK_VK_DECODE, "of heads", "norm by norm", "matmul by matmul, quantizes");
    begin(&h, WIDTH);
    int n = norm(&h, 0, WIDTH);
    add(&h, matmul(&h, n, LK_TYPE_Q4_K, WIDTH), n);
    ARE(&h, LK_VK_DECODE, "read by an add", "norm by norm", "matmul+add by matmul, quantizes");
    begin(&h, WIDTH);
    n = norm(&h, 0, WIDTH);
    matmul(&h, n, LK_TYPE_Q4_K, WIDTH);
    h.plan.out_slot = n;
    ARE(&h, LK_VK_DECODE, "the result", "norm by norm", "matmul by matmul, quantizes");
}

/* A row that does not fit is made ready by a step of its own; gate and up take twice the sums. */
Test(vk_fuse_rules, mat_vecs_prepare_what_shared_memory_holds)
{
    static const char *const OWN[] = {"by quantize, to q256", "matmul by matmul", NULL};
    static const char *const SELF[] = {"matmul by matmul, quantizes", NULL};
    struct lk_vk_facts f = VK_FACTS_GPU;
    struct hand h;
    begin(&h, 64 * 256);
    matmul(&h, 0, LK_TYPE_Q4_K, 64);
    f.shared_bytes = 34176; /* of 64 panels */
    are_on(&h, LK_VK_DECODE, &f, "64 panels", SELF);
    are_on(&h, LK_VK_FEW, &f, "few", OWN);
    f.shared_bytes--;
    are_on(&h, LK_VK_DECODE, &f, "64 panels in a byte less", OWN);
    are_on(&h, LK_VK_DECODE, &VK_FACTS_LEAST, "64 panels in 16 KiB", OWN);
    f.shared_bytes = 65536;
    begin(&h, 96 * 256);
    matmul(&h, 0, LK_TYPE_Q4_K, 64);
    are_on(&h, LK_VK_DECODE, &f, "96 panels", SELF);
    begin(&h, 97 * 256);
    matmul(&h, 0, LK_TYPE_Q4_K, 64);
    are_on(&h, LK_VK_DECODE, &f, "97 panels", OWN);
    begin(&h, 48 * 256);
    glu(&h, matmul(&h, 0, LK_TYPE_Q4_K, 64), matmul(&h, 0, LK_TYPE_Q4_K, 64));
    are_on(&h, LK_VK_DECODE, &f, "2 x 48 panels",
           (const char *const[]){"matmul+matmul+glu by matmul, quantizes", NULL});
    begin(&h, 49 * 256);
    glu(&h, matmul(&h, 0, LK_TYPE_Q4_K, 64), matmul(&h, 0, LK_TYPE_Q4_K, 64));
    are_on(&h, LK_VK_DECODE, &f, "2 x 49 panels",
           (const char *const[]){"by quantize, to q256", "matmul+matmul+glu by matmul", NULL});
}

/* ---- inputs ---- */

Test(vk_fuse_rules, an_input_is_made_ready_once_a_form)
{
    struct hand h;
    begin(&h, WIDTH);
    int a = matmul(&h, 0, LK_TYPE_Q4_K, 64), b = matmul(&h, 0, LK_TYPE_Q8_0, 64);
    int c = matmul(&h, 0, LK_TYPE_Q6_K, 64), d = matmul(&h, 0, LK_TYPE_F32, 64);
    int e = add(&h, bias(&h, a), bias(&h, b));
    add(&h, e, add(&h, bias(&h, c), bias(&h, d)));
    ARE(&h, LK_VK_MANY, "four types", "by quantize, to q256", "matmul by matmul",
        "by quantize, to q32", "matmul by matmul", "matmul by matmul", "matmul by matmul",
        "bias by elementwise", "bias+add by elementwise", "bias by elementwise",
        "bias+add+add by elementwise");
    /* Rows of f32 are read as they are where they are whole uvec4s. */
    begin(&h, 6);
    matmul(&h, 0, LK_TYPE_F32, 64);
    ARE(&h, LK_VK_DECODE, "6 floats", "by quantize, to f32", "matmul by matmul");
    /* Who comes after a step of its own takes what it made. */
    begin(&h, WIDTH);
    a = matmul(&h, 0, LK_TYPE_Q4_K, 40001);
    b = matmul(&h, 0, LK_TYPE_Q6_K, 64);
    bias(&h, b);
    ARE(&h, LK_VK_DECODE, "after a large matrix", "by quantize, to q256", "matmul by matmul",
        "matmul by matmul", "bias by elementwise");
}

Test(vk_fuse_rules, three_matmuls_of_a_type_lie_together)
{
    struct hand h;
    begin(&h, WIDTH);
    int s = 0;
    for (int i = 0; i < 5; i++) {
        s = bias(&h, matmul(&h, 0, i == 1 ? LK_TYPE_Q6_K : LK_TYPE_Q4_K, 64));
    }
    h.plan.out_slot = s;
    struct lk_vk_groups g = vk_groups_of(&h.plan, LK_VK_DECODE, true, &VK_FACTS_GPU, "five");
    cr_assert_eq(g.group[0].u.matmul.n_parts, 3); /* the first, third and fourth */
    cr_assert(g.group[0].u.matmul.part[1] == 4 && g.group[0].u.matmul.part[2] == 6);
    cr_assert_eq(g.group[0].n_out, 3);
    lk_vk_groups_free(&g);
}

/* ---- the row that is wanted ---- */

Test(vk_fuse_rules, the_norm_of_decode_reads_the_row_there_is)
{
    struct hand h;
    begin(&h, WIDTH);
    int b = bias(&h, 0), rows = slot(&h, WIDTH, LK_ROWS_OUTPUTS);
    hand_op(&h.plan, LK_OP_GATHER, b, -1, rows, -1);
    matmul(&h, norm(&h, rows, WIDTH), LK_TYPE_Q4_K, 50000);
    static const char *const DECODE[] = {"bias by elementwise", "gather by name",
                                         "norm by norm, to q256", "matmul by matmul", NULL};
    static const char *const WANT[] = {"bias by elementwise", "gather by gather",
                                       "norm by norm, to q256", "matmul by matmul", NULL};
    for (int list = 0; list < LK_VK_LISTS; list++) {
        struct lk_vk_groups g =
            vk_groups_of(&h.plan, (enum lk_vk_list_kind)list, true, &VK_FACTS_GPU, "head");
        bool decode = list == LK_VK_DECODE;
        vk_groups_are(&h.plan, &g, -2, "head", decode ? DECODE : WANT);
        cr_assert_eq(g.group[2].in[0].slot, rows);
        lk_vk_groups_free(&g);
    }
}

/* ---- attention in decode ---- */

/* Matmuls of q, k and v, what stands behind them, the store and attention. */
struct attention {
    bool bias[3], norm[3], rope[3];
    int head_dim, norm_group, rope_table[2];
};
static const struct attention PLAIN = {.head_dim = 64, .norm_group = 64, .rope = {true, true}};

static void attention(struct hand *h, const struct attention *a)
{
    int x[3], n_head[3] = {4, 2, 2};
    begin(h, WIDTH);
    for (int i = 0; i < 3; i++) {
        x[i] = matmul(h, 0, LK_TYPE_Q4_K, n_head[i] * a->head_dim);
    }
    for (int i = 0; i < 3; i++) {
        x[i] = a->bias[i] ? bias(h, x[i]) : x[i];
        x[i] = a->norm[i] ? norm(h, x[i], a->norm_group) : x[i];
        if (a->rope[i]) {
            x[i] = put(h, LK_OP_ROPE, x[i], -1, n_head[i] * a->head_dim, -1);
            last(h)->u.rope.rope = a->rope_table[i > 0];
        }
    }
    hand_states(&h->plan, 2, a->head_dim);
    hand_op(&h->plan, LK_OP_KV_STORE, x[1], x[2], -1, -1);
    last(h)->u.kv_store.v = 1;
    put(h, LK_OP_ATTENTION, x[0], -1, 4 * a->head_dim, -1);
    last(h)->u.attention.v = 1;
    last(h)->u.attention.n_head = 4;
}

/* Whether the attention of the plan is one kernel with what stands in front of it. */
static bool is_whole(const struct hand *h, const struct lk_vk_facts *f, const char *what)
{
    struct lk_vk_groups g = vk_groups_of(&h->plan, LK_VK_DECODE, true, f, what);
    bool whole = false;
    for (int i = 0; i < g.n; i++) {
        bool decode = g.group[i].kind == LK_VK_GROUP_ATTENTION_DECODE;
        cr_assert_eq(g.group[i].in_beside, decode, "%s", what);
        whole |= decode;
    }
    lk_vk_groups_free(&g);
    return whole;
}

Test(vk_fuse_rules, attention_in_decode_takes_all_in_front)
{
    struct attention a = PLAIN;
    struct hand h;
    attention(&h, &a);
    ARE(&h, LK_VK_DECODE, "ropes", "matmul+matmul+matmul by matmul, quantizes",
        "rope+rope+kv_store+attention by attention_decode");
    a = (struct attention){.bias = {true, true, true},
                           .norm = {true, true, true},
                           .rope = {true, true},
                           .head_dim = 64,
                           .norm_group = 64};
    attention(&h, &a);
    ARE(&h, LK_VK_DECODE, "all there can be", "matmul+matmul+matmul by matmul, quantizes",
        "bias+norm+rope+bias+norm+rope+bias+norm+kv_store+attention by attention_decode");
    a = (struct attention){.head_dim = 64};
    attention(&h, &a);
    ARE(&h, LK_VK_DECODE, "nothing", "matmul+matmul+matmul by matmul, quantizes",
        "kv_store+attention by attention_decode");
    a.norm[1] = true;
    a.norm_group = 64;
    attention(&h, &a);
    cr_assert(is_whole(&h, &VK_FACTS_GPU, "a norm of k alone"));
    ARE(&h, LK_VK_FEW, "few", "by quantize, to q256", "matmul+matmul+matmul by matmul",
        "norm by norm", "kv_store by kv_store", "attention by attention, split");
}

/* Attention of many tokens leaves integers where its kernel is that of matrices, which has all
 * heads of a block of them, and only matmuls of one form read them. */
Test(vk_fuse_rules, attention_of_many_leaves_what_matmuls_take)
{
    static const struct {
        const char *what;
        int head_dim;
        enum lk_type type, other; /* of the matmuls behind it */
        uint32_t shared;
        bool narrow;
        const char *text;
    } CASE[] = {
        {"blocks of 256", 128, LK_TYPE_Q4_K, LK_TYPE_Q6_K, 65536, false, "attention, to q256"},
        {"blocks of 32", 128, LK_TYPE_Q8_0, LK_TYPE_Q5_0, 65536, false, "attention, to q32"},
        {"two forms", 128, LK_TYPE_Q8_0, LK_TYPE_Q4_K, 65536, false, "attention"},
        {"floats", 128, LK_TYPE_F16, LK_TYPE_F16, 65536, false, "attention"},
        {"heads of half a block", 64, LK_TYPE_Q4_K, LK_TYPE_Q4_K, 65536, false, "attention"},
        {"blocks of 32 of such", 64, LK_TYPE_Q8_0, LK_TYPE_Q8_0, 65536, false, "attention, to q32"},
        {"rows with padding", 32, LK_TYPE_Q8_0, LK_TYPE_Q8_0, 65536, false, "attention"},
        {"keys and values in one place", 128, LK_TYPE_Q4_K, LK_TYPE_Q4_K, 49152, false,
         "attention"},
        {"the other kernel", 128, LK_TYPE_Q4_K, LK_TYPE_Q4_K, 65536, true, "attention"},
    };
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        struct attention a = PLAIN;
        struct hand h;
        struct lk_vk_facts f = VK_FACTS_GPU;
        f.narrow = CASE[i].narrow;
        f.shared_bytes = CASE[i].shared;
        a.head_dim = CASE[i].head_dim;
        attention(&h, &a);
        int out = h.plan.n_slots - 1;
        add(&h, matmul(&h, out, CASE[i].type, 64), matmul(&h, out, CASE[i].other, 64));
        for (int list = LK_VK_FEW; list <= LK_VK_MANY; list++) {
            struct lk_vk_groups g = vk_groups_of(&h.plan, list, true, &f, CASE[i].what);
            int at = 0;
            while (g.group[at].kind != LK_VK_GROUP_ATTENTION) {
                at++;
            }
            char text[128], want[128];
            vk_group_text(&h.plan, &g.group[at], text, sizeof text);
            snprintf(want, sizeof want, "attention by %s",
                     list == LK_VK_MANY ? CASE[i].text : "attention, split");
            cr_assert_str_eq(text, want, "%s: '%s', expected '%s'", CASE[i].what, text, want);
            lk_vk_groups_free(&g);
        }
    }
}

Test(vk_fuse_rules, attention_in_decode_leaves_what_its_kernel_cannot_do)
{
    static const struct {
        const char *what;
        struct attention a;
    } CASE[] = {
        {"a norm of whole rows", {.norm = {true}, .head_dim = 64, .norm_group = 256}},
        {"a rope of q alone", {.rope = {true}, .head_dim = 64}},
        {"a rope of v", {.rope = {true, true, true}, .head_dim = 64}},
        {"two rope tables", {.rope = {true, true}, .rope_table = {0, 1}, .head_dim = 64}},
        {"heads of 288", {.rope = {true, true}, .head_dim = 288}},
    };
    struct hand h;
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        attention(&h, &CASE[i].a);
        cr_assert_not(is_whole(&h, &VK_FACTS_GPU, CASE[i].what), "%s", CASE[i].what);
    }
    struct attention a = PLAIN;
    a.head_dim = 256;
    attention(&h, &a);
    cr_assert(is_whole(&h, &VK_FACTS_GPU, "heads of 256"));
    /* q has another reader; k is no matmul's */
    attention(&h, &PLAIN);
    put(&h, LK_OP_ADD, h.plan.n_slots - 1, 1, 256, -1);
    cr_assert_not(is_whole(&h, &VK_FACTS_GPU, "q is read twice"));
    attention(&h, &PLAIN);
    h.plan.ops[1] = lk_op_make(LK_OP_BIAS, 0, -1, h.plan.ops[1].out, h.plan.ops[1].weight);
    h.plan.slots[0].width = 128;
    cr_assert_not(is_whole(&h, &VK_FACTS_GPU, "k is no matmul's"));
    /* the states have another store, or another reader */
    attention(&h, &PLAIN);
    h.plan.ops[h.plan.n_ops] = h.plan.ops[h.plan.n_ops - 1];
    h.plan.ops[h.plan.n_ops - 1] = h.plan.ops[h.plan.n_ops - 2];
    h.plan.n_ops++;
    cr_assert_not(is_whole(&h, &VK_FACTS_GPU, "two stores"));
    attention(&h, &PLAIN);
    int q = last(&h)->in[0];
    put(&h, LK_OP_ATTENTION, q, -1, 256, -1);
    last(&h)->u.attention = h.plan.ops[h.plan.n_ops - 2].u.attention;
    cr_assert_not(is_whole(&h, &VK_FACTS_GPU, "two readers of a state"));
}

/* The kernel binds all vectors of the plan at once. */
Test(vk_fuse_rules, attention_in_decode_needs_all_vectors_in_a_binding)
{
    struct attention a = PLAIN;
    struct lk_vk_facts f = VK_FACTS_GPU;
    struct hand h;
    a.bias[0] = a.bias[1] = true; /* 256 and 128 floats */
    attention(&h, &a);
    f.max_binding = 1024 + 512;
    f.max_block = 1u << 20;
    cr_assert(is_whole(&h, &f, "vectors that fit"));
    f.max_binding--;
    cr_assert_not(is_whole(&h, &f, "vectors that do not fit"));
}

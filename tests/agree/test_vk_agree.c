/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_agree: the Vulkan backend against the scalar contract, by bits: each op by type and shape,
 * matmuls on the edges of panels and row groups, attention over chunks and windows, range errors.
 * Each case runs with all slots kept, fused and unfused, and each batch is replayed once.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/numerics.h"
#include "src/vulkan/vk.h"
#include "tests/agree/vk_pair.h"

/* Without "looped": the unrolled kernels of GPUs, on CPU drivers too. Without "narrow,matrix": the
 * tiles of matrix units with plain loops for the units. */
static const char *const VARIANTS[] = {"", "int-dot,unpack16,mapped", "looped", "narrow,matrix"};

/* A case over one input slot of `width`. */
struct bench {
    struct vk_case c;
    struct lk_op ops[32];
    struct lk_slot slots[32];
    struct lk_weight weights[32];
    float *hidden;
};

static void begin(struct bench *b, int width, int n_tokens, const char *what)
{
    memset(b, 0, sizeof *b);
    b->c.plan = (struct lk_plan){.ops = b->ops,
                                 .slots = b->slots,
                                 .weights = b->weights,
                                 .n_embd = width,
                                 .n_layer = 1,
                                 .last_layer = 1,
                                 .n_head = 1,
                                 .n_kv_head = 1,
                                 .head_dim = 32,
                                 .n_vocab = 100,
                                 .in_slot = 0};
    b->c.n_tokens = n_tokens;
    b->c.n_seqs = 1;
    b->c.what = what;
    b->slots[0].width = width;
    b->c.plan.n_slots = 1;
    b->hidden = malloc((size_t)n_tokens * (size_t)width * sizeof(float));
    b->c.hidden = b->hidden;
    struct vk_rng r = {(uint64_t)width * 31u + (uint64_t)n_tokens};
    vk_rng_floats(&r, b->hidden, (size_t)n_tokens * (size_t)width, 4);
}

static int slot(struct bench *b, int width, enum lk_rows rows)
{
    b->slots[b->c.plan.n_slots] = (struct lk_slot){width, rows};
    b->c.plan.out_slot = b->c.plan.n_slots;
    return b->c.plan.n_slots++;
}

static struct lk_op *op(struct bench *b, enum lk_op_kind kind, int in0, int in1, int out, int w)
{
    struct lk_op *o = &b->ops[b->c.plan.n_ops++];
    *o = (struct lk_op){.kind = kind, .in = {in0, in1}, .out = out, .weight = w};
    return o;
}

static int weight(struct bench *b, enum lk_type type, int64_t rows, int64_t cols, uint64_t seed)
{
    struct vk_rng r = {seed};
    vk_rng_weight(&r, type, rows, cols, &b->weights[b->c.plan.n_weights]);
    return b->c.plan.n_weights++;
}

static void release(struct bench *b)
{
    for (int i = 0; i < b->c.plan.n_weights; i++) {
        free((void *)(uintptr_t)b->weights[i].data);
    }
    free(b->hidden);
}

static void end(struct bench *b, const char *variant)
{
    vk_pair_compare(vk_pair_device(variant), &b->c);
    release(b);
}

/* Of every type and shape, without some features. */
static void matmuls(const char *variant)
{
    static const int ROWS[] = {1, 33, 96}, TOKENS[] = {1, 3, 8, 9, 70};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        int block = types[t].block;
        int cols[3] = {block,
                       block == 256  ? 768
                       : block == 32 ? 352
                                     : 262,
                       block == 1 ? 7 : block * 20};
        /* only kernels of one token are unrolled; those of float weights take CPU drivers too
         * long to compile, and run where the device is a GPU */
        bool unrolled = strcmp(variant, "looped") == 0;
        bool wide = strncmp(variant, "narrow", 6) == 0;
        if (unrolled && !types[t].quantized) {
            continue;
        }
        for (size_t i = 0; i < (unrolled ? 1 : LK_COUNT(TOKENS)); i++) {
            if (wide && TOKENS[i] <= 8) {
                continue; /* tiles are for more */
            }
            for (size_t k = unrolled; k < (unrolled ? 2 : LK_COUNT(cols)); k++) {
                struct bench b;
                char what[96];
                int rows = ROWS[(i + k) % 3];
                snprintf(what, sizeof what, "matmul %s %dx%d, %d tokens, without '%s'",
                         types[t].name, rows, cols[k], TOKENS[i], variant);
                begin(&b, cols[k], TOKENS[i], what);
                int w = weight(&b, types[t].type, rows, cols[k], 5 + i + 10 * k);
                op(&b, LK_OP_MATMUL, 0, -1, slot(&b, rows, LK_ROWS_TOKENS), w);
                end(&b, variant);
            }
        }
    }
    vk_pair_close();
}

Test(vk_agree, matmul_of_every_type_and_shape)
{
    matmuls(VARIANTS[0]);
}

Test(vk_agree, matmul_without_features)
{
    matmuls(VARIANTS[1]);
}

Test(vk_agree, matmul_unrolled)
{
    matmuls(VARIANTS[2]);
}

Test(vk_agree, matmul_in_wide_tiles)
{
    matmuls(VARIANTS[3]);
}

/* Which a device takes of its own accord only where there are many. */
Test(vk_agree, matmul_in_large_tiles)
{
    struct lk_backend *b = vk_pair_device("");
    if (!b->dev.found.use[LK_VK_MATRIX]) {
        printf("not run: large tiles, the device or the build has no matrix units\n");
        vk_pair_close();
        return;
    }
    b->dev.many_tiles = 1;
    matmuls("");
}

/* norm -> q, k, v -> add of two; norm -> gate, up -> glu -> down + residual: what fuses. */
static void layer(struct bench *b, enum lk_type type, int n_tokens, const char *what)
{
    begin(b, 256, n_tokens, what);
    int norm = weight(b, LK_TYPE_F32, 1, 256, 3), n = slot(b, 256, LK_ROWS_TOKENS);
    op(b, LK_OP_NORM, 0, -1, n, norm)->u.norm.group = 256;
    b->ops[0].u.norm.eps = 1e-5f;
    int wq = weight(b, type, 256, 256, 11), wk = weight(b, type, 40, 256, 12);
    int wv = weight(b, type, 256, 256, 13);
    int q = slot(b, 256, LK_ROWS_TOKENS), k = slot(b, 40, LK_ROWS_TOKENS);
    int vv = slot(b, 256, LK_ROWS_TOKENS), s = slot(b, 256, LK_ROWS_TOKENS);
    op(b, LK_OP_MATMUL, n, -1, q, wq);
    op(b, LK_OP_MATMUL, n, -1, k, wk);
    op(b, LK_OP_MATMUL, n, -1, vv, wv);
    op(b, LK_OP_ADD, q, vv, s, -1);
    int n2 = slot(b, 256, LK_ROWS_TOKENS);
    struct lk_op *o = op(b, LK_OP_NORM, s, -1, n2, norm);
    o->u.norm.group = 256;
    o->u.norm.eps = 1e-6f;
    int wg = weight(b, type, 512, 256, 14), wu = weight(b, type, 512, 256, 15);
    int g = slot(b, 512, LK_ROWS_TOKENS), u = slot(b, 512, LK_ROWS_TOKENS);
    int a = slot(b, 512, LK_ROWS_TOKENS), d = slot(b, 256, LK_ROWS_TOKENS);
    op(b, LK_OP_MATMUL, n2, -1, g, wg);
    op(b, LK_OP_MATMUL, n2, -1, u, wu);
    op(b, LK_OP_GLU, g, u, a, -1)->u.glu.act = type % 2 ? LK_ACT_GELU : LK_ACT_SILU;
    int wd = weight(b, type, 256, 512, 16);
    op(b, LK_OP_MATMUL, a, -1, d, wd);
    op(b, LK_OP_ADD, s, d, slot(b, 256, LK_ROWS_TOKENS), -1);
}

Test(vk_agree, layers_of_matmuls_fused_and_unfused)
{
    static const int TOKENS[] = {1, 8, 11};
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
            struct bench b;
            char what[96];
            snprintf(what, sizeof what, "layer of %s, %d tokens", types[t].name, TOKENS[i]);
            layer(&b, types[t].type, TOKENS[i], what);
            end(&b, VARIANTS[types[t].type == LK_TYPE_Q4_K ? 2 : t % 2]);
        }
    }
    vk_pair_close();
}

/* As many submissions as there are steps, and all steps in one. */
Test(vk_agree, a_batch_is_several_submissions)
{
    static const int TOKENS[] = {1, 5, 40};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        uint64_t n[2];
        for (int all = 0; all < 2; all++) {
            struct bench b;
            struct lk_vk_device *dev = &vk_pair_device("")->dev;
            uint64_t before = dev->n_submits;
            dev->submit_work = all ? UINT64_MAX : 1;
            layer(&b, LK_TYPE_Q4_K, TOKENS[i], all ? "one submission" : "many submissions");
            end(&b, "");
            n[all] = dev->n_submits - before;
        }
        /* 6 matmuls, in 4 steps where they are fused; the case is run in three ways. */
        cr_assert_geq(n[0], 4 * n[1], "%d tokens: %d submissions, in one each %d", TOKENS[i],
                      (int)n[0], (int)n[1]);
    }
    vk_pair_close();
}

/* Rows of more panels than a workgroup has workers, or than meet at one barrier; a norm, gate and
 * up and a product of long rows, all by the same mat-vec. */
Test(vk_agree, long_rows_of_a_token)
{
    static const struct {
        enum lk_type type;
        int cols;
    } CASE[] = {{LK_TYPE_Q4_1, 4384}, {LK_TYPE_Q5_0, 4384},  {LK_TYPE_Q2_K, 4608},
                {LK_TYPE_Q6_K, 4608}, {LK_TYPE_Q4_K, 25600}, {LK_TYPE_F16, 4100}};
    for (size_t i = 0; i < LK_COUNT(CASE); i++) {
        struct bench b;
        int n = CASE[i].cols, rows = CASE[i].type == LK_TYPE_F16 ? 64 : 256;
        begin(&b, n, 1, "long rows");
        int x = slot(&b, n, LK_ROWS_TOKENS), g = slot(&b, rows, LK_ROWS_TOKENS);
        int u = slot(&b, rows, LK_ROWS_TOKENS), a = slot(&b, rows, LK_ROWS_TOKENS);
        int y = slot(&b, 40, LK_ROWS_TOKENS), z = slot(&b, 40, LK_ROWS_TOKENS);
        struct lk_op *o = op(&b, LK_OP_NORM, 0, -1, x, weight(&b, LK_TYPE_F32, 1, n, 51));
        o->u.norm.group = n;
        o->u.norm.eps = 1e-5f;
        op(&b, LK_OP_MATMUL, x, -1, g, weight(&b, CASE[i].type, rows, n, 52));
        op(&b, LK_OP_MATMUL, x, -1, u, weight(&b, CASE[i].type, rows, n, 53));
        op(&b, LK_OP_GLU, g, u, a, -1)->u.glu.act = LK_ACT_SILU;
        op(&b, LK_OP_MATMUL, a, -1, y, weight(&b, LK_TYPE_Q8_0, 40, rows, 54));
        op(&b, LK_OP_MATMUL, 0, -1, z, weight(&b, CASE[i].type, 40, n, 55));
        op(&b, LK_OP_ADD, y, z, slot(&b, 40, LK_ROWS_TOKENS), -1);
        end(&b, VARIANTS[0]);
    }
    vk_pair_close();
}

/* norm, then a residual: one step; of a part of a row as well as of a whole one. */
Test(vk_agree, norm_and_residual)
{
    static const int TOKENS[] = {1, 6, 33};
    for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
        for (int group = 80; group <= 640; group *= 8) {
            struct bench b;
            begin(&b, 640, TOKENS[i], "norm and residual");
            int x = slot(&b, 640, LK_ROWS_TOKENS), y = slot(&b, 640, LK_ROWS_TOKENS);
            struct lk_op *o = op(&b, LK_OP_NORM, 0, -1, x, weight(&b, LK_TYPE_F32, 1, group, 61));
            o->u.norm.group = group;
            o->u.norm.eps = 1e-6f;
            op(&b, LK_OP_ADD, 0, x, y, -1);
            op(&b, LK_OP_ADD, y, 0, slot(&b, 640, LK_ROWS_TOKENS), -1);
            end(&b, VARIANTS[0]);
        }
    }
    vk_pair_close();
}

Test(vk_agree, small_ops)
{
    static const int WIDTHS[] = {1, 7, 64, 576, 1030}, TOKENS[] = {1, 5, 65};
    for (size_t w = 0; w < LK_COUNT(WIDTHS); w++) {
        for (size_t i = 0; i < LK_COUNT(TOKENS); i++) {
            struct bench b;
            int n = WIDTHS[w];
            begin(&b, n, TOKENS[i], "small ops");
            int v = weight(&b, LK_TYPE_F32, 1, n, 21), a = slot(&b, n, LK_ROWS_TOKENS);
            op(&b, LK_OP_BIAS, 0, -1, a, v);
            int c = slot(&b, n, LK_ROWS_TOKENS), d = slot(&b, n, LK_ROWS_TOKENS);
            op(&b, LK_OP_ADD, a, 0, c, -1);
            op(&b, LK_OP_GLU, c, a, d, -1)->u.glu.act = i ? LK_ACT_GELU : LK_ACT_SILU;
            int e = slot(&b, n, LK_ROWS_TOKENS);
            struct lk_op *o = op(&b, LK_OP_NORM, d, -1, e, v);
            o->u.norm.group = n;
            o->u.norm.eps = 1e-6f;
            int g = slot(&b, n, LK_ROWS_OUTPUTS), h = slot(&b, n, LK_ROWS_OUTPUTS);
            op(&b, LK_OP_GATHER, e, -1, g, -1);
            o = op(&b, LK_OP_SOFTCAP, g, -1, h, -1);
            o->u.softcap.cap_in = 1.0f / 30.0f;
            o->u.softcap.cap_out = 30.0f;
            end(&b, VARIANTS[0]);
        }
    }
    vk_pair_close();
}

Test(vk_agree, embedding_of_every_type)
{
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t t = 0; t < n_types; t++) {
        struct bench b;
        int cols = types[t].block == 1 ? 37 : types[t].block * 3;
        begin(&b, cols, 9, types[t].name);
        b.c.plan.in_slot = -1;
        b.c.plan.n_slots = 0;
        int out = slot(&b, cols, LK_ROWS_TOKENS);
        op(&b, LK_OP_EMBED, -1, -1, out, weight(&b, types[t].type, 100, cols, 8))->u.embed.scale =
            t % 2 ? 1.0f : 25.2987f;
        end(&b, VARIANTS[0]);
    }
    vk_pair_close();
}

struct heads {
    int n_head, n_kv_head, head_dim, n_dims, window;
    bool interleaved;
    float cap;
    bool bias, k_norm;
};

/* hidden rows are q, k and v side by side: three matmuls by F32 selections would hide nothing, so
 * the layer is fed through norm-less projections of a small hidden row. */
static void attention_bench(struct bench *b, char what[160], const struct heads *h, int n_tokens,
                            int n_seqs, int pos0)
{
    int nq = h->n_head * h->head_dim, nk = h->n_kv_head * h->head_dim;
    snprintf(what, 160, "attention %d/%d heads of %d, window %d, %d tokens at %d, %d seqs",
             h->n_head, h->n_kv_head, h->head_dim, h->window, n_tokens, pos0, n_seqs);
    begin(b, 64, n_tokens, what);
    b->c.n_seqs = n_seqs;
    b->c.pos0 = pos0;
    b->c.plan.n_head = h->n_head;
    b->c.plan.n_kv_head = h->n_kv_head;
    b->c.plan.head_dim = h->head_dim;
    lk_error err;
    cr_assert_eq(lk_rope_init(&b->c.plan.ropes[0], h->n_dims, h->interleaved, 10000.0, 1.0, NULL,
                              &err),
                 LK_OK);
    b->c.plan.n_ropes = 1;
    int q = slot(b, nq, LK_ROWS_TOKENS), k = slot(b, nk, LK_ROWS_TOKENS);
    int v = slot(b, nk, LK_ROWS_TOKENS), qr = slot(b, nq, LK_ROWS_TOKENS);
    int kr = slot(b, nk, LK_ROWS_TOKENS), qn = slot(b, nq, LK_ROWS_TOKENS);
    int kn = k, qb = q, vb = v;
    op(b, LK_OP_MATMUL, 0, -1, q, weight(b, LK_TYPE_Q8_0, nq, 64, 31));
    op(b, LK_OP_MATMUL, 0, -1, k, weight(b, LK_TYPE_Q8_0, nk, 64, 32));
    op(b, LK_OP_MATMUL, 0, -1, v, weight(b, LK_TYPE_Q8_0, nk, 64, 33));
    if (h->bias) {
        qb = slot(b, nq, LK_ROWS_TOKENS);
        kn = slot(b, nk, LK_ROWS_TOKENS);
        vb = slot(b, nk, LK_ROWS_TOKENS);
        op(b, LK_OP_BIAS, q, -1, qb, weight(b, LK_TYPE_F32, 1, nq, 35));
        op(b, LK_OP_BIAS, k, -1, kn, weight(b, LK_TYPE_F32, 1, nk, 36));
        op(b, LK_OP_BIAS, v, -1, vb, weight(b, LK_TYPE_F32, 1, nk, 37));
    }
    struct lk_op *o = op(b, LK_OP_NORM, qb, -1, qn, weight(b, LK_TYPE_F32, 1, h->head_dim, 34));
    o->u.norm.group = h->head_dim;
    o->u.norm.eps = 1e-6f;
    if (h->k_norm) {
        int to = slot(b, nk, LK_ROWS_TOKENS);
        o = op(b, LK_OP_NORM, kn, -1, to, weight(b, LK_TYPE_F32, 1, h->head_dim, 38));
        o->u.norm.group = h->head_dim;
        o->u.norm.eps = 1e-5f;
        kn = to;
    }
    o = op(b, LK_OP_ROPE, qn, -1, qr, -1);
    o->u.rope.n_head = h->n_head;
    o->u.rope.head_dim = h->head_dim;
    o = op(b, LK_OP_ROPE, kn, -1, kr, -1);
    o->u.rope.n_head = h->n_kv_head;
    o->u.rope.head_dim = h->head_dim;
    o = op(b, LK_OP_KV_STORE, kr, vb, -1, -1);
    o->u.kv_store.n_kv_head = h->n_kv_head;
    o->u.kv_store.head_dim = h->head_dim;
    o = op(b, LK_OP_ATTENTION, qr, -1, slot(b, nq, LK_ROWS_TOKENS), -1);
    o->u.attention.n_head = h->n_head;
    o->u.attention.n_kv_head = h->n_kv_head;
    o->u.attention.head_dim = h->head_dim;
    o->u.attention.window = h->window;
    o->u.attention.score_in = h->cap != 0.0f ? 0.02f : 0.2f;
    o->u.attention.score_cap = h->cap;
}

static void attention_case(const struct heads *h, int n_tokens, int n_seqs, int pos0,
                           const char *variant)
{
    struct bench b;
    char what[160];
    attention_bench(&b, what, h, n_tokens, n_seqs, pos0);
    end(&b, variant);
    lk_rope_free(&b.c.plan.ropes[0]);
}

Test(vk_agree, rope_kv_and_attention)
{
    static const struct heads HEADS[] = {
        {3, 1, 64, 64, 0, false, 0.0f, false, false},
        {8, 2, 128, 64, 0, true, 0.0f, true, true},
        {4, 4, 32, 32, 40, false, 72.0f, true, false},
        {12, 1, 40, 40, 100, true, 0.0f, false, true},
        {4, 1, 256, 256, 70, false, 0.0f, false, true},
        {2, 2, 96, 48, 0, false, 20.0f, true, true},
        {5, 1, 160, 160, 0, false, 0.0f, false, false},
    };
    for (size_t h = 0; h < LK_COUNT(HEADS); h++) {
        const char *variant = VARIANTS[h % 3];
        attention_case(&HEADS[h], 1, 1, 0, variant);
        attention_case(&HEADS[h], 1, 1, 63, variant);
        attention_case(&HEADS[h], 1, 1, 330, variant);
        attention_case(&HEADS[h], 3, 3, 127, variant);
        attention_case(&HEADS[h], 7, 2, 60, variant);
        attention_case(&HEADS[h], 130, 1, 1, variant);
        attention_case(&HEADS[h], 75, 4, 200, variant);
    }
    vk_pair_close();
}

/* Rule 1: a value of 2^40 or more, an infinity or a NaN is an error that names the op. */
Test(vk_agree, range_errors_name_the_op)
{
    static const uint32_t BAD[] = {0x53800000u, 0x7f800000u, 0x7fc00000u, 0xff800000u};
    for (size_t i = 0; i < LK_COUNT(BAD); i++) {
        struct bench b;
        lk_error err = {0};
        begin(&b, 64, 4, "range");
        for (int t = 0; t < 4 * 64; t++) {
            b.hidden[t] = 1.0f;
        }
        b.hidden[130] = lk_flt(BAD[i]);
        int w = weight(&b, LK_TYPE_F32, 1, 64, 9), a = slot(&b, 64, LK_ROWS_TOKENS);
        op(&b, LK_OP_BIAS, 0, -1, a, w);
        op(&b, LK_OP_ADD, a, a, slot(&b, 64, LK_ROWS_TOKENS), -1);
        cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_RANGE);
        cr_assert(strstr(err.message, "bias"), "%s", err.message);
        b.hidden[130] = 1.0f;
        vk_pair_compare(vk_pair_device(""), &b.c);
        free((void *)(uintptr_t)b.weights[0].data);
        free(b.hidden);
    }
    vk_pair_close();
}

Test(vk_agree, broken_weights_are_refused)
{
    struct bench b;
    lk_error err = {0};
    begin(&b, 64, 1, "broken weight");
    int w = weight(&b, LK_TYPE_Q4_0, 3, 64, 9);
    struct lk_q4_0 *blocks = (void *)(uintptr_t)b.weights[w].data;
    blocks[5].d = 0x7c00;
    op(&b, LK_OP_MATMUL, 0, -1, slot(&b, 3, LK_ROWS_TOKENS), w);
    cr_assert_eq(vk_pair_status(vk_pair_device(""), &b.c, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "Q4_0"), "%s", err.message);
    free(blocks);
    free(b.hidden);
    vk_pair_close();
}

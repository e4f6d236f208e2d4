/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_bench: see vk_bench.h.
 */
#include "tests/vulkan/vk_bench.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vulkan/vk.h"

const char *const VK_VARIANTS[VK_N_VARIANTS] = {"", "int-dot,mapped", "looped", "narrow,matrix"};

void vk_bench_begin(struct vk_bench *b, int width, int n_tokens, const char *what)
{
    memset(b, 0, sizeof *b);
    hand_start(&b->c.plan, &b->room, width);
    b->c.plan.n_vocab = 100;
    b->c.n_tokens = n_tokens;
    b->c.n_seqs = 1;
    b->c.what = what;
    b->hidden = malloc((size_t)n_tokens * (size_t)width * sizeof(float));
    b->c.hidden = b->hidden;
    struct rng r = {(uint64_t)width * 31u + (uint64_t)n_tokens};
    vk_rng_floats(&r, b->hidden, (size_t)n_tokens * (size_t)width, 4);
}

int vk_bench_slot(struct vk_bench *b, int width, enum lk_rows rows)
{
    return hand_slot(&b->c.plan, width, rows);
}

struct lk_op *vk_bench_op(struct vk_bench *b, enum lk_op_kind kind, int in0, int in1, int out,
                          int w)
{
    return hand_op(&b->c.plan, kind, in0, in1, out, w);
}

int vk_bench_weight(struct vk_bench *b, enum lk_type type, int64_t rows, int64_t cols,
                    uint64_t seed)
{
    struct rng r = {seed};
    vk_rng_weight(&r, type, rows, cols, &b->c.plan.weights[b->c.plan.n_weights]);
    return b->c.plan.n_weights++;
}

int vk_bench_matmul(struct vk_bench *b, enum lk_type type, int rows, int cols, uint64_t seed)
{
    int out = vk_bench_slot(b, rows, LK_ROWS_TOKENS);
    vk_bench_op(b, LK_OP_MATMUL, 0, -1, out, vk_bench_weight(b, type, rows, cols, seed));
    return out;
}

int vk_bench_norm(struct vk_bench *b, int n, uint64_t seed)
{
    int out = vk_bench_slot(b, n, LK_ROWS_TOKENS);
    struct lk_op *o =
        vk_bench_op(b, LK_OP_NORM, 0, -1, out, vk_bench_weight(b, LK_TYPE_F32, 1, n, seed));
    o->u.norm.group = n;
    o->u.norm.eps = 1e-5f;
    return out;
}

void vk_bench_release(struct vk_bench *b)
{
    for (int i = 0; i < b->c.plan.n_weights; i++) {
        free((void *)(uintptr_t)b->c.plan.weights[i].data);
    }
    free(b->hidden);
}

void vk_bench_end(struct vk_bench *b, const char *variant)
{
    vk_pair_compare(vk_pair_device(variant), &b->c);
    vk_bench_release(b);
}

const char *vk_bench_wide(void)
{
    return vk_pair_device("")->dev.found.use[LK_VK_MATRIX] ? "" : "narrow,matrix";
}

void vk_bench_kernels(const struct vk_bench *b, const char *disable, int i, char out[256])
{
    struct lk_exec *e = NULL;
    lk_error err = {0};
    cr_assert_eq(vk_pair_prepare(vk_pair_device(disable), &b->c, &e, &err), LK_OK, "%s",
                 err.message);
    lk_backend_vulkan.variant(e, i, b->c.n_tokens, out, 256);
    lk_backend_vulkan.exec_free(e);
}

void vk_bench_expect_kernel(const struct vk_bench *b, const char *disable, int i, const char *want)
{
    char text[256];
    vk_bench_kernels(b, disable, i, text);
    cr_assert(strstr(text, want), "%s: '%s', expected '%s'", b->c.what, text, want);
}

/* hidden rows are q, k and v side by side: three matmuls by F32 selections would hide nothing, so
 * the layer is fed through norm-less projections of a small hidden row. */
void vk_bench_attention(struct vk_bench *b, char what[160], const struct vk_heads *h, int n_tokens,
                        int n_seqs, int pos0)
{
    int v_dim = h->v_dim ? h->v_dim : h->head_dim;
    int nq = h->n_head * h->head_dim, nk = h->n_kv_head * h->head_dim, nv = h->n_kv_head * v_dim;
    snprintf(what, 160,
             "attention %d/%d heads of %d and %d, window %d, K of %d, %d tokens at %d, %d seqs",
             h->n_head, h->n_kv_head, h->head_dim, v_dim, h->window, h->k_bits, n_tokens, pos0,
             n_seqs);
    vk_bench_begin(b, 64, n_tokens, what);
    b->c.n_seqs = n_seqs;
    b->c.pos0 = pos0;
    hand_states(&b->c.plan, h->n_kv_head, h->head_dim);
    b->c.plan.states[1] = lk_state_paged(LK_STATE_V, 0, h->n_kv_head, v_dim);
    b->c.plan.states[0].bits = h->k_bits ? h->k_bits : LK_KV_K_BITS;
    lk_error err;
    cr_assert_eq(lk_rope_init(&b->c.plan.ropes[0], h->n_dims, h->interleaved, 10000.0, 1.0, NULL,
                              &err),
                 LK_OK);
    b->c.plan.n_ropes = 1;
    int q = vk_bench_slot(b, nq, LK_ROWS_TOKENS), k = vk_bench_slot(b, nk, LK_ROWS_TOKENS);
    int v = vk_bench_slot(b, nv, LK_ROWS_TOKENS), qr = vk_bench_slot(b, nq, LK_ROWS_TOKENS);
    int kr = vk_bench_slot(b, nk, LK_ROWS_TOKENS), qn = vk_bench_slot(b, nq, LK_ROWS_TOKENS);
    int kn = k, qb = q, vb = v;
    vk_bench_op(b, LK_OP_MATMUL, 0, -1, q, vk_bench_weight(b, LK_TYPE_Q8_0, nq, 64, 31));
    vk_bench_op(b, LK_OP_MATMUL, 0, -1, k, vk_bench_weight(b, LK_TYPE_Q8_0, nk, 64, 32));
    vk_bench_op(b, LK_OP_MATMUL, 0, -1, v, vk_bench_weight(b, LK_TYPE_Q8_0, nv, 64, 33));
    if (h->bias) {
        qb = vk_bench_slot(b, nq, LK_ROWS_TOKENS);
        kn = vk_bench_slot(b, nk, LK_ROWS_TOKENS);
        vb = vk_bench_slot(b, nv, LK_ROWS_TOKENS);
        vk_bench_op(b, LK_OP_BIAS, q, -1, qb, vk_bench_weight(b, LK_TYPE_F32, 1, nq, 35));
        vk_bench_op(b, LK_OP_BIAS, k, -1, kn, vk_bench_weight(b, LK_TYPE_F32, 1, nk, 36));
        vk_bench_op(b, LK_OP_BIAS, v, -1, vb, vk_bench_weight(b, LK_TYPE_F32, 1, nv, 37));
    }
    struct lk_op *o =
        vk_bench_op(b, LK_OP_NORM, qb, -1, qn, vk_bench_weight(b, LK_TYPE_F32, 1, h->head_dim, 34));
    o->u.norm.group = h->head_dim;
    o->u.norm.eps = 1e-6f;
    if (h->k_norm) {
        int to = vk_bench_slot(b, nk, LK_ROWS_TOKENS);
        o = vk_bench_op(b, LK_OP_NORM, kn, -1, to,
                        vk_bench_weight(b, LK_TYPE_F32, 1, h->head_dim, 38));
        o->u.norm.group = h->head_dim;
        o->u.norm.eps = 1e-5f;
        kn = to;
        to = vk_bench_slot(b, nv, LK_ROWS_TOKENS);
        o = vk_bench_op(b, LK_OP_NORM, vb, -1, to, vk_bench_weight(b, LK_TYPE_F32, 1, v_dim, 39));
        o->u.norm.group = v_dim;
        o->u.norm.eps = 1e-4f;
        vb = to;
    }
    o = vk_bench_op(b, LK_OP_ROPE, qn, -1, qr, -1);
    o->u.rope.n_head = h->n_head;
    o->u.rope.head_dim = h->head_dim;
    o = vk_bench_op(b, LK_OP_ROPE, kn, -1, kr, -1);
    o->u.rope.n_head = h->n_kv_head;
    o->u.rope.head_dim = h->head_dim;
    o = vk_bench_op(b, LK_OP_KV_STORE, kr, vb, -1, -1);
    o->u.kv_store.k = 0;
    o->u.kv_store.v = 1;
    o = vk_bench_op(b, LK_OP_ATTENTION, qr, -1, vk_bench_slot(b, h->n_head * v_dim, LK_ROWS_TOKENS),
                    -1);
    o->u.attention.k = 0;
    o->u.attention.v = 1;
    o->u.attention.n_head = h->n_head;
    o->u.attention.window = h->window;
    o->u.attention.score_in = h->cap != 0.0f ? 0.02f : 0.2f;
    o->u.attention.score_cap = h->cap;
}

void vk_attention_case(const struct vk_heads *h, int n_tokens, int n_seqs, int pos0,
                       const char *variant)
{
    struct vk_bench b;
    char what[160];
    vk_bench_attention(&b, what, h, n_tokens, n_seqs, pos0);
    vk_bench_end(&b, variant);
    lk_rope_free(&b.c.plan.ropes[0]);
}

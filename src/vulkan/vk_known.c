/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_known: the plan of known answers and the answers; see vk_known.h. Knows no device.
 */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "vulkan/vk_known.h"

enum {
    NARROW = 352, /* 11 blocks of 32: a panel that is not full */
    WIDE = 512,
    ROWS = 40,     /* more than a row group, less than a tile */
    N_TOKENS = 129 /* of the batch: not whole tiles; decode runs the 130th */
};
enum { N_HEAD = 4, N_KV_HEAD = 2, HEAD_DIM = 32, WINDOW = 100, KV_BLOCKS = 3 };

static const int32_t BLOCKS[KV_BLOCKS] = {2, 0, 1};

const uint64_t LK_VK_KNOWN[LK_VK_KNOWN_RUNS][LK_VK_KNOWN_CHECKS] = {
    {0xf410c9d2135627f5u, 0xe8a2d2f5e8cb9653u, 0xc95ca04e9aa47ffbu, 0xc56412ba86fe50a6u,
     0x8bbd56660b02d3b0u, 0x3417beb32664f31du, 0xb75a68b4183298e5u, 0x9ee11c13bb48469cu,
     0x275661b3ef6ba7d6u, 0xc87fd02e5157ec45u, 0x58a59e98a183e308u, 0xf94f2374b5baa7bcu,
     0x64e587fa6c239d9eu, 0xac58ed85e7dd1eadu, 0xe8dab5b50a238d97u, 0x7f048837ec9e3c3fu,
     0x6dad148f75da01b8u, 0x4da32cdd86c00949u, 0x9060b7fa97de2941u, 0x1e8db81129bbf384u,
     0xb365a4b96d3cb047u, 0x6a3532238c42ebcdu, 0x13ed1488636e7b84u, 0x409552cc30ba39dcu},
    {0x89a494078696189bu, 0x80109c59b6238b6eu, 0xddc965db38e58d81u, 0xacb8ac72a4cb2a25u,
     0x07a25124017345beu, 0x62c171fa464a4b43u, 0xc080c749a772fd44u, 0x0b5f011d5b9780cbu,
     0xc966fc97a27f52a9u, 0x78bf2fc95f8147c9u, 0xf41010ffc8051c69u, 0xb78e76ccd7f79412u,
     0x1eccd801eb049694u, 0xe53e60b74e77b379u, 0x4e7a4d201728a4cfu, 0x016de5a2fa98f204u,
     0x47b06701381d8603u, 0xd5126708249e8165u, 0x9fa5340f097d6870u, 0x09259663454eaa6au,
     0xc28aed8ca36558e2u, 0x598894b5cfe98b28u, 0x0c8dbe52f9b1cc59u, 0x7c98533a8e5b033du},
};

static uint32_t next(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

/* Random bytes, extremes among them, with scales below 2^-7. */
static void fill_weight(struct lk_weight *w, uint8_t *data, uint64_t seed)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)w->type);
    size_t step = (size_t)info->block_bytes;
    for (size_t i = 0; i < w->n_bytes; i++) {
        uint32_t u = next(&seed);
        data[i] = (uint8_t)(u % 61 == 0 ? (u & 64 ? 0x80 : 0xff) : u >> 8);
    }
    for (size_t b = 0; b < w->n_bytes; b += step) {
        for (int s = 0; s < info->n_scales; s++) {
            lk_block_small_scale(info, data + b, s, next(&seed) % 29 == 0);
        }
    }
}

static int add_slot(struct lk_vk_known *k, int width)
{
    k->slots[k->plan.n_slots] = (struct lk_slot){width, LK_ROWS_TOKENS};
    k->plan.out_slot = k->plan.n_slots;
    return k->plan.n_slots++;
}

static struct lk_op *add_op(struct lk_vk_known *k, enum lk_op_kind kind, int in0, int in1, int out)
{
    struct lk_op *op = &k->ops[k->plan.n_ops++];
    *op = lk_op_make(kind, in0, in1, out, -1);
    return op;
}

/* A matmul of a made-up weight; the slot of its result, or -1 without memory. */
static int add_matmul(struct lk_vk_known *k, enum lk_type type, int in, int rows)
{
    struct lk_weight *w = &k->weights[k->plan.n_weights];
    *w = (struct lk_weight){.type = type, .rows = rows, .cols = k->slots[in].width};
    w->n_bytes = (size_t)rows * lk_type_row_bytes(type, (size_t)w->cols);
    uint8_t *data = lk_alloc(w->n_bytes);
    if (!data) {
        return -1;
    }
    snprintf(w->name, sizeof w->name, "%s", lk_type_name((uint32_t)type));
    fill_weight(w, data, (uint64_t)k->plan.n_weights + 1);
    w->data = data;
    int out = add_slot(k, rows);
    add_op(k, LK_OP_MATMUL, in, -1, out)->weight = k->plan.n_weights++;
    return out;
}

/* q, k, v -> cache -> attention: check 0. */
static bool add_attention(struct lk_vk_known *k)
{
    int q = add_matmul(k, LK_TYPE_Q8_0, 0, N_HEAD * HEAD_DIM);
    int key = add_matmul(k, LK_TYPE_Q8_0, 0, N_KV_HEAD * HEAD_DIM);
    int value = add_matmul(k, LK_TYPE_Q8_0, 0, N_KV_HEAD * HEAD_DIM);
    if (q < 0 || key < 0 || value < 0) {
        return false;
    }
    struct lk_op *op = add_op(k, LK_OP_KV_STORE, key, value, -1);
    op->u.kv_store.k = 0;
    op->u.kv_store.v = 1;
    k->slot[LK_VK_KNOWN_ATTENTION] = add_slot(k, N_HEAD * HEAD_DIM);
    op = add_op(k, LK_OP_ATTENTION, q, -1, k->slot[LK_VK_KNOWN_ATTENTION]);
    op->u.attention.k = 0;
    op->u.attention.v = 1;
    op->u.attention.n_head = N_HEAD;
    op->u.attention.window = WINDOW;
    op->u.attention.score_in = 0.25f;
    return true;
}

/* Blocks of 32 from the hidden row, blocks of 256 from a product of it. */
static bool add_matmuls(struct lk_vk_known *k)
{
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    int check = LK_VK_KNOWN_MATMULS, wide = add_matmul(k, LK_TYPE_Q8_0, 0, WIDE);
    k->slot[check++] = wide;
    for (size_t i = 0; i < n && wide >= 0; i++) {
        if (types[i].quantized) {
            int out = add_matmul(k, types[i].type, types[i].block == 32 ? 0 : wide, ROWS);
            wide = out < 0 ? out : wide;
            k->slot[check++] = out;
        }
    }
    return wide >= 0;
}

lk_status lk_vk_known_open(struct lk_vk_known *k, lk_error *err)
{
    memset(k, 0, sizeof *k);
    k->plan = (struct lk_plan){.ops = k->ops,
                               .slots = k->slots,
                               .weights = k->weights,
                               .n_embd = NARROW,
                               .states = k->states,
                               .n_states = 2,
                               .n_layer = 1,
                               .last_stage = 2};
    k->states[0] = lk_state_paged(LK_STATE_K, 0, N_KV_HEAD, HEAD_DIM);
    k->states[1] = lk_state_paged(LK_STATE_V, 0, N_KV_HEAD, HEAD_DIM);
    add_slot(k, NARROW);
    k->hidden = lk_alloc_array((N_TOKENS + 1) * NARROW, sizeof *k->hidden);
    k->out = lk_alloc_array(N_TOKENS * ROWS, sizeof *k->out);
    k->pos = lk_alloc_array(N_TOKENS, sizeof *k->pos);
    k->seq = lk_alloc_array(N_TOKENS, sizeof *k->seq);
    if (!k->hidden || !k->out || !k->pos || !k->seq || !add_attention(k) || !add_matmuls(k)) {
        lk_vk_known_close(k);
        return lk_fail(err, LK_E_NOMEM, "out of memory: known answers");
    }
    uint64_t state = 99;
    for (size_t i = 0; i < (N_TOKENS + 1) * NARROW; i++) {
        uint32_t u = next(&state); /* few bits now and then: ties of the rounding */
        u &= u % 16 == 1 ? 0xfff00000u : 0xffffffffu;
        k->hidden[i] = lk_flt((u & 0x007fffffu) | (u >> 30) << 31 | (119 + (u >> 23) % 10) << 23);
    }
    k->options = (struct lk_exec_options){.plan = &k->plan,
                                          .max_tokens = N_TOKENS,
                                          .max_outputs = 1,
                                          .max_seqs = 1,
                                          .max_blocks = KV_BLOCKS,
                                          .fuse = true};
    k->geom = (struct lk_state_geom){.plan = &k->plan, .n_blocks = KV_BLOCKS};
    return LK_OK;
}

void lk_vk_known_close(struct lk_vk_known *k)
{
    for (int i = 0; i < k->plan.n_weights; i++) {
        lk_free((void *)(uintptr_t)k->weights[i].data);
    }
    lk_free(k->hidden);
    lk_free(k->out);
    lk_free(k->pos);
    lk_free(k->seq);
    memset(k, 0, sizeof *k);
}

struct lk_batch lk_vk_known_batch(struct lk_vk_known *k, int run)
{
    static const int32_t first = 0;
    int n = run == LK_VK_KNOWN_BATCH ? N_TOKENS : 1, pos = run == LK_VK_KNOWN_BATCH ? 0 : N_TOKENS;
    for (int i = 0; i < n; i++) {
        k->pos[i] = pos + i;
    }
    k->batch_seq = (struct lk_batch_seq){.blocks = BLOCKS, .n_tokens = n, .pos = pos};
    return (struct lk_batch){.n_tokens = n,
                             .pos = k->pos,
                             .seq = k->seq,
                             .n_seqs = 1,
                             .seqs = &k->batch_seq,
                             .n_outputs = 1,
                             .outputs = &first,
                             .hidden_in = k->hidden + (size_t)pos * NARROW,
                             .out = k->out};
}

size_t lk_vk_known_floats(const struct lk_vk_known *k, int run, int check)
{
    return (size_t)(run == LK_VK_KNOWN_BATCH ? N_TOKENS : 1) *
           (size_t)k->slots[k->slot[check]].width;
}

uint64_t lk_vk_known_hash(const float *x, size_t n)
{
    uint8_t sum[32];
    uint64_t hash = 0;
    lk_sha256 h;
    lk_sha256_init(&h);
    lk_sha256_floats(&h, x, n);
    lk_sha256_final(&h, sum);
    for (int i = 0; i < 8; i++) {
        hash = hash << 8 | sum[i];
    }
    return hash;
}

void lk_vk_known_name(const struct lk_vk_known *k, int run, int check, char *out, size_t n)
{
    if (check == LK_VK_KNOWN_ATTENTION) {
        snprintf(out, n, "attention of %s", run == LK_VK_KNOWN_BATCH ? "a batch" : "decode");
    } else {
        /* the check's op is the only one that writes its slot */
        for (int i = 0; i < k->plan.n_ops; i++) {
            if (k->ops[i].out == k->slot[check]) {
                snprintf(out, n, "%s of %s", run == LK_VK_KNOWN_BATCH ? "tiled matmul" : "mat-vec",
                         k->weights[k->ops[i].weight].name);
            }
        }
    }
}

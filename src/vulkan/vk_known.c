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
    NARROW =
        1440,    /* 45 blocks of 32: a panel that is not full, more of them than teams of a tile */
    WIDE = 1536, /* likewise, of blocks of 256 */
    ROWS = 40,   /* more than a row group, less than a tile */
    N_TOKENS = 129 /* of the batch: not whole tiles; decode runs the 130th */
};
enum { KV_BLOCKS = 3 };

static const struct heads {
    int n_head, n_kv_head, dim, window;
} HEADS[] = {
    {4, 2, 32, 100}, /* LK_VK_KNOWN_ATTENTION */
    {2, 1, 256, 0},  /* LK_VK_KNOWN_LARGE_HEADS */
    {8, 1, 32, 0},   /* LK_VK_KNOWN_OUTPUTS */
};

static const int32_t BLOCKS[KV_BLOCKS] = {2, 0, 1};

const uint64_t LK_VK_KNOWN[LK_VK_KNOWN_RUNS][LK_VK_KNOWN_CHECKS] = {
    {0xbd6023fef43a5886u, 0x583727fa7e5b39c0u, 0xf7ce6979c061bac0u, 0x9bc61d07170bb0dfu,
     0x6828d4c5e6761fe6u, 0x97aa46c4b09f9bdau, 0x78207ba129311be3u, 0xec1d3543cdb8a98fu,
     0x0e0d0d7274e260a0u, 0x57177aff4bc2cfbdu, 0x1b50419b62826075u, 0xf845ff9dd6588a8du,
     0x3db760a3a9d24572u, 0xb4ff74c7a09a7562u, 0x77399d863f0768aeu, 0x4c08e729b7f9e102u,
     0x646e9905562672a8u, 0xc02032a1fa1ec904u, 0x3fa27559ff6cbc05u, 0xf365682cc3a15a0au,
     0x84727f1af6634296u, 0x04dfcf948692173eu, 0x2330789eabc16b95u, 0xbeb4cf06c03a8f46u,
     0xa37c173fce035962u, 0x9bef390f4ba9ce43u, 0x1127250bb5cbd46bu, 0x76b629561fa7820du,
     0x5425b29cbe8b9dcbu},
    {0x246b859574111684u, 0x8d763e81afb9e2a0u, 0xf3ea327a858ea1deu, 0x2103fff3f7a83e85u,
     0x9e33af1bde17d109u, 0xc98ad7d8eaaa5ec7u, 0xa8cbd713ac58a35au, 0x72e070ad5013f534u,
     0x8de30c9520574cd4u, 0x07c9ae601af3b765u, 0xfab12d4a17a54840u, 0xbff70439c9ca32cau,
     0x30c9afb0b4c83958u, 0xa38a8a0e3af51931u, 0xec257689c7bb83e4u, 0x90d89eb0b0750d72u,
     0xe637d0727493b0f5u, 0x87bc32fa4d8d7819u, 0x252060ea8576d3c2u, 0x5e7fb9d9bdf4c1aeu,
     0x5ba4a6c494d1bfdeu, 0xeee06b1ceb0dfd5bu, 0x743a709e2bf3d812u, 0xa1eadd428860e399u,
     0x9e79bbc67b8a4b0cu, 0x716ec830fe9da898u, 0xb56696c4712830cfu, 0x8fac1c79791f978fu,
     0x93874ac089df3eb4u},
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
static int add_matmul(struct lk_vk_known *k, enum lk_type type, int in, int rows, uint64_t seed)
{
    struct lk_weight *w = &k->weights[k->plan.n_weights];
    *w = (struct lk_weight){.type = type, .rows = rows, .cols = k->slots[in].width};
    w->n_bytes = (size_t)rows * lk_type_row_bytes(type, (size_t)w->cols);
    uint8_t *data = lk_alloc(w->n_bytes);
    if (!data) {
        return -1;
    }
    snprintf(w->name, sizeof w->name, "%s", lk_type_name((uint32_t)type));
    fill_weight(w, data, seed);
    w->data = data;
    int out = add_slot(k, rows);
    add_op(k, LK_OP_MATMUL, in, -1, out)->weight = k->plan.n_weights++;
    return out;
}

/* q, k, v -> cache -> attention, of layer i: check i. */
static bool add_attention(struct lk_vk_known *k, int i)
{
    const struct heads *h = &HEADS[i];
    uint64_t seed = 0x5eed * (uint64_t)i; /* of them; those of matmuls lie between */
    int q = add_matmul(k, LK_TYPE_Q8_0, 0, h->n_head * h->dim, seed + 1);
    int key = add_matmul(k, LK_TYPE_Q8_0, 0, h->n_kv_head * h->dim, seed + 2);
    int value = add_matmul(k, LK_TYPE_Q8_0, 0, h->n_kv_head * h->dim, seed + 3);
    if (q < 0 || key < 0 || value < 0) {
        return false;
    }
    k->states[2 * i] = lk_state_paged(LK_STATE_K, i, h->n_kv_head, h->dim);
    k->states[2 * i + 1] = lk_state_paged(LK_STATE_V, i, h->n_kv_head, h->dim);
    k->plan.n_states = 2 * i + 2;
    k->plan.n_layer = i + 1;
    struct lk_op *op = add_op(k, LK_OP_KV_STORE, key, value, -1);
    op->u.kv_store.k = 2 * i;
    op->u.kv_store.v = 2 * i + 1;
    k->slot[i] = add_slot(k, h->n_head * h->dim);
    op = add_op(k, LK_OP_ATTENTION, q, -1, k->slot[i]);
    op->u.attention.k = 2 * i;
    op->u.attention.v = 2 * i + 1;
    op->u.attention.n_head = h->n_head;
    op->u.attention.window = h->window;
    op->u.attention.score_in = 0.25f;
    return true;
}

/* Attention whose outputs one matmul of 256-blocks reads. */
static bool add_outputs(struct lk_vk_known *k)
{
    if (!add_attention(k, LK_VK_KNOWN_OUTPUTS)) {
        return false;
    }
    int out = add_matmul(k, LK_TYPE_Q4_K, k->slot[LK_VK_KNOWN_OUTPUTS], ROWS, 5);
    k->slot[LK_VK_KNOWN_OUTPUTS] = out;
    return out >= 0;
}

/* Blocks of 32 from the hidden row, blocks of 256 from a product of it. */
static bool add_matmuls(struct lk_vk_known *k, uint64_t chosen)
{
    size_t n;
    const struct lk_type_info *types = lk_types(&n);
    int check = LK_VK_KNOWN_MATMULS, wide = add_matmul(k, LK_TYPE_Q8_0, 0, WIDE, 4);
    k->slot[check++] = wide;
    for (size_t i = 0; i < n && wide >= 0; i++) {
        if (types[i].quantized && !(lk_type_bit(types[i].type) & chosen)) {
            k->slot[check++] = -1;
        } else if (types[i].quantized) {
            int out = add_matmul(k, types[i].type, types[i].block <= 32 ? 0 : wide, ROWS,
                                 16 + (uint64_t)types[i].type);
            wide = out < 0 ? out : wide;
            k->slot[check++] = out;
        }
    }
    return wide >= 0;
}

lk_status lk_vk_known_open(struct lk_vk_known *k, uint64_t types, bool all, lk_error *err)
{
    memset(k, 0, sizeof *k);
    k->plan = (struct lk_plan){.ops = k->ops,
                               .slots = k->slots,
                               .weights = k->weights,
                               .n_embd = NARROW,
                               .states = k->states,
                               .last_stage = 2};
    k->slot[LK_VK_KNOWN_LARGE_HEADS] = k->slot[LK_VK_KNOWN_OUTPUTS] = -1;
    add_slot(k, NARROW);
    k->hidden = lk_alloc_array((N_TOKENS + 1) * NARROW, sizeof *k->hidden);
    k->out = lk_alloc_array(N_TOKENS * ROWS, sizeof *k->out);
    k->pos = lk_alloc_array(N_TOKENS, sizeof *k->pos);
    k->seq = lk_alloc_array(N_TOKENS, sizeof *k->seq);
    if (!k->hidden || !k->out || !k->pos || !k->seq || !add_attention(k, LK_VK_KNOWN_ATTENTION) ||
        (all && !(add_attention(k, LK_VK_KNOWN_LARGE_HEADS) && add_outputs(k))) ||
        !add_matmuls(k, types)) {
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
    if (check < LK_VK_KNOWN_MATMULS) {
        static const char *const WHICH[] = {"", " with large heads", " in front of a matmul"};
        snprintf(out, n, "attention%s of %s", WHICH[check],
                 run == LK_VK_KNOWN_BATCH ? "a batch" : "decode");
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

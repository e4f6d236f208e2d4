/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_decode: attention of a single token with everything between it and the matmuls as one step
 * (shaders/attn_one.comp): where a plan allows that, and the step.
 */
#include "base/mem.h"
#include "base/numerics.h"
#include "vulkan/build/vk_builder.h"

/* The op that makes `slot` when it is of `kind` and nothing else reads its result; else -1. */
static int maker(const struct lk_vk_builder *b, int slot, enum lk_op_kind kind)
{
    int i = b->producer[slot];
    bool private = i >= 0 && b->uses[slot] == 1 && slot != b->plan->out_slot;
    return private && b->plan->ops[i].kind == kind ? i : -1;
}

/* Steps back over one op in front of *slot. */
static int take(const struct lk_vk_builder *b, int *slot, enum lk_op_kind kind)
{
    int i = maker(b, *slot, kind);
    *slot = i >= 0 ? b->plan->ops[i].in[0] : *slot;
    return i;
}

/* What stands between row `which` (q, k or v) and its matmul; false: not what one step can do. */
static bool trace(const struct lk_vk_builder *b, struct lk_vk_solo *s, int which, int slot,
                  int head_dim)
{
    if (which < 2) {
        s->rope[which] = take(b, &slot, LK_OP_ROPE);
        s->norm[which] = take(b, &slot, LK_OP_NORM);
        if (s->norm[which] >= 0 && b->plan->ops[s->norm[which]].u.norm.group != head_dim) {
            return false;
        }
    }
    s->bias[which] = take(b, &slot, LK_OP_BIAS);
    s->in[which] = slot;
    return maker(b, slot, LK_OP_MATMUL) >= 0;
}

static bool same_turn(const struct lk_plan *plan, int q, int k)
{
    if (q < 0 || k < 0) {
        return q == k;
    }
    return plan->ops[q].u.rope.rope == plan->ops[k].u.rope.rope;
}

/* The store into the states of attention op `i`, when both are the only ops on them; else -1. */
static int store_of(const struct lk_plan *plan, int i)
{
    int store = -1, k = plan->ops[i].u.attention.k;
    for (int j = 0; j < plan->n_ops; j++) {
        const struct lk_op *o = &plan->ops[j];
        if (o->kind == LK_OP_ATTENTION && j != i && o->u.attention.k == k) {
            return -1;
        }
        if (o->kind == LK_OP_KV_STORE && o->u.kv_store.k == k) {
            if (store >= 0) {
                return -1;
            }
            store = j;
        }
    }
    return store;
}

static void mark(struct lk_vk_builder *b, int op)
{
    if (op >= 0) {
        b->done[op] = true;
    }
}

/* At most, of the block of vectors: the step binds it as a whole. */
static VkDeviceSize vector_bytes(const struct lk_plan *plan)
{
    VkDeviceSize sum = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->kind == LK_OP_NORM || op->kind == LK_OP_BIAS) {
            sum += lk_round_up((size_t)plan->weights[op->weight].cols * 4, LK_VK_ALIGN);
        }
    }
    return sum;
}

void lk_vk_find_solo(struct lk_vk_builder *b)
{
    const struct lk_plan *plan = b->plan;
    bool fits = vector_bytes(plan) <= b->e->facts.max_binding;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        int store = op->kind == LK_OP_ATTENTION ? store_of(plan, i) : -1;
        if (store < 0) {
            continue;
        }
        int head_dim = lk_attn_shape_of(plan, op).head_dim;
        struct lk_vk_solo s = {.store = store};
        if (plan->n_ops > LK_VK_MAX_OP + 1 || !fits ||
            lk_round_up((size_t)head_dim, LK_KV_DIM_ALIGN) > LK_VK_MAX_DIM ||
            !trace(b, &s, 0, op->in[0], head_dim) ||
            !trace(b, &s, 1, plan->ops[store].in[0], head_dim) ||
            !trace(b, &s, 2, plan->ops[store].in[1], head_dim) ||
            !same_turn(plan, s.rope[0], s.rope[1])) {
            continue;
        }
        /* q, k and v side by side */
        uint32_t at = 0;
        for (int k = 0; k < 3; k++) {
            b->home[s.in[k]].at = at;
            at += (uint32_t)lk_round_up((size_t)plan->slots[s.in[k]].width * 4, 256);
            mark(b, s.bias[k]);
            mark(b, k < 2 ? s.norm[k] : -1);
            mark(b, k < 2 ? s.rope[k] : -1);
        }
        int piece = lk_vk_add_piece(b, at, "q, k and v of a token");
        for (int k = 0; k < 3; k++) {
            b->home[s.in[k]].piece = piece;
        }
        mark(b, store);
        b->solo[i] = s;
    }
}

static uint32_t vector(struct lk_vk_builder *b, int op)
{
    return op >= 0 ? lk_vk_vector(b, b->plan->ops[op].weight) : LK_VK_NO_VECTOR;
}

static uint32_t pair(int low, int high)
{
    return (uint32_t)(low < 0 ? 0 : low) | (uint32_t)(high < 0 ? 0 : high) << 16;
}

static uint32_t eps_of(const struct lk_vk_builder *b, int op)
{
    return op >= 0 ? lk_bits(b->plan->ops[op].u.norm.eps) : 0;
}

void lk_vk_solo_attention(struct lk_vk_builder *b, int i, uint32_t rows, uint32_t head_tiles,
                          uint32_t attn)
{
    const struct lk_op *op = &b->plan->ops[i];
    const struct lk_vk_solo *s = &b->solo[i];
    const struct lk_vk_facts *facts = &b->e->facts;
    const struct lk_vk_batch_at *at = &b->e->at;
    struct lk_attn_shape shape = lk_attn_shape_of(b->plan, op);
    uint32_t n_head = (uint32_t)shape.n_head, dim = (uint32_t)shape.dim;
    uint32_t blocks = (uint32_t)b->e->o.max_blocks;
    VkDeviceSize partials = (VkDeviceSize)n_head * blocks;
    int part = lk_vk_add_piece(b, partials * (dim + 2) * 4, "partial results of attention");
    struct lk_vk_solo_push push = {.n_head = n_head,
                                   .n_kv_head = (uint32_t)shape.n_kv_head,
                                   .head_dim = (uint32_t)shape.head_dim,
                                   .window = (uint32_t)op->u.attention.window,
                                   .score_in = lk_bits(op->u.attention.score_in),
                                   .score_cap = lk_bits(op->u.attention.score_cap),
                                   .head_tiles = head_tiles,
                                   .k_at = b->home[s->in[1]].at / 4,
                                   .v_at = b->home[s->in[2]].at / 4,
                                   .pos = at->pos,
                                   .seq = at->seq,
                                   .table = at->table,
                                   .max_blocks = blocks,
                                   .counters = at->counters,
                                   .part_l = (uint32_t)(partials * dim),
                                   .q_bias = vector(b, s->bias[0]),
                                   .k_bias = vector(b, s->bias[1]),
                                   .v_bias = vector(b, s->bias[2]),
                                   .q_norm = vector(b, s->norm[0]),
                                   .k_norm = vector(b, s->norm[1]),
                                   .q_eps = eps_of(b, s->norm[0]),
                                   .k_eps = eps_of(b, s->norm[1]),
                                   .inv_n = lk_bits((float)(1.0 / (double)shape.head_dim)),
                                   .op_bias_qk = pair(s->bias[0], s->bias[1]),
                                   .op_bias_v_norm_q = pair(s->bias[2], s->norm[0]),
                                   .op_norm_k_rope_q = pair(s->norm[1], s->rope[0]),
                                   .op_rope_k_attn = pair(s->rope[1], i)};
    if (s->rope[0] >= 0) {
        int table = b->plan->ops[s->rope[0]].u.rope.rope;
        const struct lk_rope *r = &b->plan->ropes[table];
        push.cs = at->cs[table];
        push.n_dims = (uint32_t)r->n_dims + (r->interleaved ? 65536 : 0);
    }
    struct lk_vk_step *step =
        lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ATTN, at->indirect + 4 * attn);
    step->work = lk_vk_attention_work(b, op);
    step->y = push.n_kv_head * head_tiles;
    uint32_t sets = facts->max_threads / 64;
    sets = sets < 4 ? sets : 4;
    sets = sets < rows ? sets : rows;
    lk_vk_set_pipe(b, step, 0, facts->looped ? "attn_one" : "attn_one_gpu", 64 * sets, rows, dim,
                   facts->unpack16);
    lk_vk_bind(step, 0, LK_VK_BIND_PIECE, b->home[s->in[0]].piece, false);
    lk_vk_bind(step, 1, LK_VK_BIND_STATE, op->u.attention.k, true);
    lk_vk_bind(step, 2, LK_VK_BIND_STATE, op->u.attention.v, true);
    lk_vk_bind(step, 3, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(step, 4, LK_VK_BIND_PIECE, op->out, true);
    lk_vk_bind(step, 5, LK_VK_BIND_PIECE, part, true);
    lk_vk_bind(step, 6, LK_VK_BIND_VECTORS, 0, false);
    lk_vk_set_push(step, &push, sizeof push);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_emit_attention: see vk_emit_attention.h.
 */
#include "vulkan/build/vk_emit_attention.h"

#include "base/numerics.h"
#include "vulkan/build/vk_cut.h"

void lk_vk_emit_kv_store(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_state *k = &b->plan->states[op->u.kv_store.k];
    const struct lk_state *v = &b->plan->states[op->u.kv_store.v];
    struct lk_vk_step *s =
        lk_vk_add_step(b, LK_ROWS_TOKENS, LK_VK_GRID_ROWS, 2 * (uint32_t)k->n_head);
    lk_vk_set_pipe(b, s, 0, "kv_store", g->u.store.rope >= 0, 0, 0, 0);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_PIECE, g->in[1].slot, false);
    lk_vk_bind(s, 2, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 3, LK_VK_BIND_STATE, op->u.kv_store.k, true);
    lk_vk_bind(s, 4, LK_VK_BIND_STATE, op->u.kv_store.v, true);
    struct lk_vk_kv_push push = {.n_kv_head = (uint32_t)k->n_head,
                                 .head_dim = (uint32_t)k->head_dim,
                                 .dim = (uint32_t)k->dim,
                                 .k_bits = (uint32_t)k->bits,
                                 .v_dim = (uint32_t)v->head_dim,
                                 .v_dim_padded = (uint32_t)v->dim,
                                 .pos = b->e->at.pos,
                                 .seq = b->e->at.seq,
                                 .table = b->e->at.table,
                                 .max_blocks = (uint32_t)b->e->o.max_blocks};
    if (g->u.store.rope >= 0) {
        int table = b->plan->ops[g->u.store.rope].u.rope.rope;
        push.n_dims = (uint32_t)b->plan->ropes[table].n_dims;
        push.interleaved = b->plan->ropes[table].interleaved;
        push.cs = b->e->at.cs[table];
        push.cs_stride = b->e->at.cs_stride;
        push.op = (uint32_t)g->u.store.rope;
    }
    lk_vk_set_push(s, &push, sizeof push);
}

/* ---- attention ---- */

/* Index of such a dispatch among those of the list. */
static uint32_t attn_index(struct lk_vk_builder *b, const struct lk_vk_attn *attn)
{
    struct lk_vk_attn *have = b->e->attn[b->kind];
    int n = b->e->n_attn[b->kind];
    for (int i = 0; i < n; i++) {
        if (have[i].window == attn->window && have[i].ahead == attn->ahead &&
            have[i].tokens == attn->tokens && have[i].x == attn->x) {
            return (uint32_t)i;
        }
    }
    if (n == LK_VK_MAX_ATTN) {
        if (!b->status) {
            b->status =
                lk_fail(b->err, LK_E_UNSUPPORTED,
                        "attention: more than %d windows and shapes of heads", LK_VK_MAX_ATTN);
        }
        return 0;
    }
    have[n] = *attn;
    return (uint32_t)b->e->n_attn[b->kind]++;
}

/* How attention op `i` is cut, and its dispatch. */
static struct lk_vk_cut cut_of(struct lk_vk_builder *b, int i, bool few, uint32_t *attn)
{
    const struct lk_op *op = &b->plan->ops[i];
    struct lk_vk_cut c = lk_vk_cut_of(b->facts, b->plan, op, few);
    if (!b->status && (c.dim > LK_VK_MAX_DIM || c.v_padded > LK_VK_MAX_V_DIM)) {
        b->status = lk_fail(b->err, LK_E_UNSUPPORTED,
                            "attention of layer %d: head dimensions %u of keys, %u of values, the "
                            "Vulkan kernels take up to %d and %d",
                            op->layer, c.head_dim, c.v_dim, LK_VK_MAX_DIM, LK_VK_MAX_V_DIM);
    }
    *attn = attn_index(b, &(struct lk_vk_attn){.window = op->u.attention.window,
                                               .ahead = op->u.attention.ahead,
                                               .tokens = c.tokens,
                                               .x = c.x});
    return c;
}

/* The step of a kernel of attention of rows of a kind: as many workgroups as the batch says. */
static struct lk_vk_step *attention_step(struct lk_vk_builder *b, int i, enum lk_rows rows,
                                         const struct lk_vk_cut *c, uint32_t attn)
{
    uint64_t keys = (uint64_t)b->e->o.max_blocks * LK_KV_BLOCK;
    uint64_t window = (uint64_t)b->plan->ops[i].u.attention.window;
    struct lk_vk_step *s = lk_vk_add_step(b, rows, LK_VK_GRID_ATTN, 4 * attn);
    keys = window && window < keys ? window : keys;
    s->y = c->x;
    s->work =
        keys * c->n_head * (c->head_dim + c->v_dim); /* of a token at the end of the context */
    return s;
}

static struct lk_vk_attn_push push_of(const struct lk_vk_builder *b, int i,
                                      const struct lk_vk_cut *c, uint32_t attn)
{
    const struct lk_op *op = &b->plan->ops[i];
    const struct lk_vk_batch_at *at = &b->e->at;
    return (struct lk_vk_attn_push){.n_head = c->n_head,
                                    .n_kv_head = c->n_kv_head,
                                    .head_dim = c->head_dim,
                                    .dim = c->dim,
                                    .v_dim = c->v_dim,
                                    .window = (uint32_t)op->u.attention.window,
                                    .ahead = (uint32_t)op->u.attention.ahead,
                                    .score_in = lk_bits(op->u.attention.score_in),
                                    .score_cap = lk_bits(op->u.attention.score_cap),
                                    .head_tiles = c->head_tiles,
                                    .pos = at->pos,
                                    .seq = at->seq,
                                    .table = at->table,
                                    .max_blocks = (uint32_t)b->e->o.max_blocks,
                                    .tiles = at->tiles + attn * at->tiles_each,
                                    .max_splits = (uint32_t)b->e->o.max_blocks,
                                    .op = (uint32_t)i};
}

/* Binds the sinks where attention has them; the flag that says so. */
static uint32_t bind_sinks(struct lk_vk_builder *b, struct lk_vk_step *s, const struct lk_op *op)
{
    if (op->weight < 0) {
        return 0;
    }
    lk_vk_vector(b, op->weight);
    lk_vk_bind(s, 6, LK_VK_BIND_VECTOR, op->weight, false);
    return LK_VK_ATTN_SINK;
}

/* Folds the chunks of keys that a split attention left in a piece; flag: 0 or LK_VK_ATTN_DECODE. */
static struct lk_vk_step *merge(struct lk_vk_builder *b, const struct lk_vk_group *g,
                                const struct lk_vk_cut *c, const struct lk_vk_attn_push *of,
                                int part, uint32_t flag)
{
    struct lk_vk_attn_push push = *of;
    push.head_dim = c->v_dim;
    push.dim = c->v_padded;
    struct lk_vk_step *s = lk_vk_add_step(b, b->plan->slots[g->out[0].slot].rows, LK_VK_GRID_MERGE,
                                          (c->v_dim + 63) / 64);
    s->y = c->n_head;
    lk_vk_set_pipe(b, s, 0, b->facts->looped ? "attn_merge" : "attn_merge_gpu", 0, 0,
                   bind_sinks(b, s, &b->plan->ops[g->lead]) | flag, 0);
    lk_vk_bind(s, 3, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 4, LK_VK_BIND_PIECE, g->out[0].slot, true);
    lk_vk_bind(s, 5, LK_VK_BIND_PIECE, part, false);
    lk_vk_set_push(s, &push, sizeof push);
    return s;
}

void lk_vk_emit_attention(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    bool split = g->u.attention.split;
    uint32_t attn;
    struct lk_vk_cut c = cut_of(b, g->lead, split, &attn);
    struct lk_vk_attn_push push = push_of(b, g->lead, &c, attn);
    int out = g->out[0].slot, form = g->out[0].form, to = out, part = -1;
    uint32_t more = 0;
    if (form != LK_VK_PLAIN) {
        struct lk_vk_acts_at x = lk_vk_acts_layout(b, out, (uint32_t)form);
        to = lk_vk_acts_piece(b, out, (uint32_t)form);
        more = LK_VK_ATTN_FORM((uint32_t)form);
        push.x_d = x.d;
        push.x_s = x.s;
    }
    if (split) {
        VkDeviceSize n = (VkDeviceSize)b->list->max_tokens * c.n_head * push.max_splits;
        push.part_l = (uint32_t)(n * c.v_padded);
        part = lk_vk_add_piece(b, n * (c.v_padded + 2) * 4, "partial results of attention");
    }
    struct lk_vk_step *s = attention_step(b, g->lead, b->plan->slots[out].rows, &c, attn);
    more |= split ? LK_VK_ATTN_SPLIT : bind_sinks(b, s, op);
    lk_vk_set_pipe(b, s, 0, c.shader, c.rows, c.dim, c.flags | more, c.threads);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, g->in[0].slot, false);
    lk_vk_bind(s, 1, LK_VK_BIND_STATE, op->u.attention.k, false);
    lk_vk_bind(s, 2, LK_VK_BIND_STATE, op->u.attention.v, false);
    lk_vk_bind(s, 3, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 4, LK_VK_BIND_PIECE, to, !split);
    lk_vk_bind(s, 5, LK_VK_BIND_PIECE, split ? part : to, split);
    lk_vk_set_push(s, &push, sizeof push);
    if (split) {
        merge(b, g, &c, &push, part, 0);
    }
}

/* ---- decode: attention with what stands in front of it ---- */

static uint32_t vector(struct lk_vk_builder *b, int op)
{
    return op >= 0 ? lk_vk_vector(b, b->plan->ops[op].weight) : LK_VK_NO_VECTOR;
}

/* Two op numbers in a word; none is 0. */
static uint32_t pair(int low, int high)
{
    return (uint32_t)(low < 0 ? 0 : low) | (uint32_t)(high < 0 ? 0 : high) << 16;
}

static uint32_t eps_of(const struct lk_vk_builder *b, int op)
{
    return op >= 0 ? lk_bits(b->plan->ops[op].u.norm.eps) : 0;
}

/* Writes what is done to q, k and v first. */
static void set_front(struct lk_vk_builder *b, const struct lk_vk_group *g,
                      struct lk_vk_attn_decode_push *p)
{
    const int *bias = g->u.decode.bias, *norm = g->u.decode.norm, *rope = g->u.decode.rope;
    p->q_bias = vector(b, bias[0]);
    p->k_bias = vector(b, bias[1]);
    p->v_bias = vector(b, bias[2]);
    p->q_norm = vector(b, norm[0]);
    p->k_norm = vector(b, norm[1]);
    p->v_norm = vector(b, norm[2]);
    p->q_eps = eps_of(b, norm[0]);
    p->k_eps = eps_of(b, norm[1]);
    p->v_eps = eps_of(b, norm[2]);
    p->inv_n = lk_bits((float)(1.0 / (double)p->head_dim));
    p->op_bias_qk = pair(bias[0], bias[1]);
    p->op_bias_v_norm_q = pair(bias[2], norm[0]);
    p->op_norm_k_rope_q = pair(norm[1], rope[0]);
    p->op_rope_k_attn = pair(rope[1], g->lead);
    p->op_norm_v = norm[2] < 0 ? 0 : (uint32_t)norm[2];
    if (rope[0] >= 0) {
        int table = b->plan->ops[rope[0]].u.rope.rope;
        const struct lk_rope *r = &b->plan->ropes[table];
        p->cs = b->e->at.cs[table];
        p->n_dims = (uint32_t)r->n_dims + (r->interleaved ? 65536 : 0);
    }
}

static struct lk_vk_attn_decode_push
decode_push(struct lk_vk_builder *b, const struct lk_vk_group *g, const struct lk_vk_cut *c)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_vk_batch_at *at = &b->e->at;
    uint32_t blocks = (uint32_t)b->e->o.max_blocks;
    int pick = g->u.decode.pick;
    uint32_t stride = pick < 0 ? c->head_dim : (uint32_t)b->plan->ops[pick].u.pick.stride;
    struct lk_vk_attn_decode_push p = {.heads = c->n_head | c->n_kv_head << 16,
                                       .head_dim = c->head_dim,
                                       .window = (uint32_t)op->u.attention.window,
                                       .score_in = lk_bits(op->u.attention.score_in),
                                       .score_cap = lk_bits(op->u.attention.score_cap),
                                       .tiles = c->head_tiles | stride << 16,
                                       .k_at = b->home[g->in[1].slot].at / 4,
                                       .v_at = b->home[g->in[2].slot].at / 4,
                                       .pos = at->pos,
                                       .seq = at->seq,
                                       .table = at->table,
                                       .max_blocks = blocks,
                                       .counters = at->counters,
                                       .part_l = c->n_head * blocks * c->dim,
                                       .sinks = op->weight < 0 ? LK_VK_NO_VECTOR
                                                               : lk_vk_vector(b, op->weight)};
    set_front(b, g, &p);
    return p;
}

/* Workgroups that may be too many for a token of decode, as long as those return at once: to read
 * how many are needed costs more. */
enum { MOST_IDLE_GROUPS = 1024 };

/* How many chunks of keys a token can attend to. */
static uint32_t most_chunks(const struct lk_vk_builder *b, const struct lk_op *op)
{
    uint32_t blocks = (uint32_t)b->e->o.max_blocks, window = (uint32_t)op->u.attention.window;
    uint32_t of_window = (window + LK_KV_BLOCK - 2) / LK_KV_BLOCK + 1;
    return window && of_window < blocks ? of_window : blocks;
}

void lk_vk_emit_attention_decode(struct lk_vk_builder *b, const struct lk_vk_group *g)
{
    const struct lk_op *op = &b->plan->ops[g->lead];
    const struct lk_vk_facts *f = b->facts;
    uint32_t attn;
    struct lk_vk_cut c = cut_of(b, g->lead, true, &attn);
    VkDeviceSize partials = (VkDeviceSize)c.n_head * (VkDeviceSize)b->e->o.max_blocks;
    int part = lk_vk_add_piece(b, partials * (c.dim + 2) * 4, "partial results of attention");
    struct lk_vk_attn_decode_push push = decode_push(b, g, &c);
    struct lk_vk_step *s =
        attention_step(b, g->lead, LK_ROWS_TOKENS, &c, attn); /* it stores K and V */
    uint32_t chunks = most_chunks(b, op);
    s->z = s->y * (uint64_t)chunks <= MOST_IDLE_GROUPS ? chunks : 0;
    uint32_t sets = f->max_threads / 64;
    sets = sets < 4 ? sets : 4;
    sets = sets < c.rows ? sets : c.rows;
    static const char *const shaders[2][2] = {{"attn_decode", "attn_decode_gpu"},
                                              {"attn_decode_dot", "attn_decode_dot_gpu"}};
    lk_vk_set_pipe(b, s, 0, shaders[f->int_dot][!f->looped], 64 * sets, c.rows, c.dim, c.k_bits);
    lk_vk_bind(s, 0, LK_VK_BIND_PIECE, b->home[g->in[0].slot].piece, false);
    lk_vk_bind(s, 1, LK_VK_BIND_STATE, op->u.attention.k, true);
    lk_vk_bind(s, 2, LK_VK_BIND_STATE, op->u.attention.v, true);
    lk_vk_bind(s, 3, LK_VK_BIND_BATCH, 0, false);
    lk_vk_bind(s, 4, LK_VK_BIND_PIECE, g->out[0].slot, true);
    lk_vk_bind(s, 5, LK_VK_BIND_PIECE, part, true);
    lk_vk_bind(s, 6, LK_VK_BIND_VECTORS, 0, false);
    lk_vk_set_push(s, &push, sizeof push);
    if (chunks > LK_VK_DECODE_MERGE) {
        struct lk_vk_attn_push of = push_of(b, g->lead, &c, attn);
        of.part_l = push.part_l;
        merge(b, g, &c, &of, part, LK_VK_ATTN_DECODE)->apart = true;
    }
}

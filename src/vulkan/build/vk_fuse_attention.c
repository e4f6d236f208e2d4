/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_attention: see vk_fuse_attention.h.
 */
#include "vulkan/build/vk_fuse_attention.h"

#include "base/mem.h"
#include "vulkan/build/vk_cut.h"
#include "vulkan/build/vk_fuse_rows.h"

/* The op that makes `slot` when it is of `kind` and nothing else reads its result; else -1. */
static int maker(const struct lk_vk_pass *p, int slot, enum lk_op_kind kind)
{
    int i = p->producer[slot];
    bool private = i >= 0 && p->uses[slot] == 1 && slot != p->plan->out_slot;
    return private && p->plan->ops[i].kind == kind ? i : -1;
}

/* Steps back over one op in front of *slot. */
static int take(const struct lk_vk_pass *p, int *slot, enum lk_op_kind kind)
{
    int i = maker(p, *slot, kind);
    *slot = i >= 0 ? p->plan->ops[i].in[0] : *slot;
    return i;
}

/* Steps back over the pick of q out of what a matmul made, which other picks may read: its heads'
 * first elements; -1: none. */
static int take_pick(const struct lk_vk_pass *p, int *slot, int head_dim)
{
    int i = maker(p, *slot, LK_OP_PICK);
    const struct lk_op *op = i < 0 ? NULL : &p->plan->ops[i];
    if (!op || op->u.pick.at != 0 || op->u.pick.width != head_dim ||
        op->u.pick.stride > LK_VK_MAX_OP) {
        return -1;
    }
    for (int j = 0; j < p->plan->n_ops; j++) {
        if (lk_op_reads(&p->plan->ops[j], op->in[0]) && p->plan->ops[j].kind != LK_OP_PICK) {
            return -1;
        }
    }
    int by = p->producer[op->in[0]];
    if (by < 0 || p->plan->ops[by].kind != LK_OP_MATMUL || op->in[0] == p->plan->out_slot) {
        return -1;
    }
    *slot = op->in[0];
    return i;
}

/* What stands between row `which` (q, k or v) and its matmul; false: not what one kernel can do. */
static bool trace(const struct lk_vk_pass *p, struct lk_vk_group *g, int which, int slot,
                  int head_dim)
{
    if (which < 2) {
        g->u.decode.rope[which] = take(p, &slot, LK_OP_ROPE);
    }
    int norm = take(p, &slot, LK_OP_NORM);
    g->u.decode.norm[which] = norm;
    const struct lk_op *op = norm >= 0 ? &p->plan->ops[norm] : NULL;
    if (op && (op->u.norm.group != head_dim || p->plan->weights[op->weight].cols != head_dim)) {
        return false;
    }
    g->u.decode.bias[which] = take(p, &slot, LK_OP_BIAS);
    int pick = which == 0 ? take_pick(p, &slot, head_dim) : -1;
    g->u.decode.pick = which == 0 ? pick : g->u.decode.pick;
    lk_vk_pass_in(g, slot, LK_VK_PLAIN);
    return pick >= 0 || maker(p, slot, LK_OP_MATMUL) >= 0;
}

static bool same_turn(const struct lk_plan *plan, const int rope[2])
{
    if (rope[0] < 0 || rope[1] < 0) {
        return rope[0] == rope[1];
    }
    return plan->ops[rope[0]].u.rope.rope == plan->ops[rope[1]].u.rope.rope;
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

/* At most, of the block of vectors: the kernel binds it as a whole. */
static uint64_t vector_bytes(const struct lk_plan *plan)
{
    uint64_t sum = 0;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        bool vector = op->kind == LK_OP_NORM || op->kind == LK_OP_BIAS ||
                      op->kind == LK_OP_EXPERT_BIAS || op->kind == LK_OP_EXPERT_SCALE ||
                      op->kind == LK_OP_ROUTE || op->kind == LK_OP_ATTENTION ||
                      op->kind == LK_OP_CONV || op->kind == LK_OP_DELTA_GATES ||
                      op->kind == LK_OP_SSM;
        if (vector && op->weight >= 0) {
            sum += lk_round_up((size_t)plan->weights[op->weight].cols * 4, LK_VK_ALIGN);
        }
    }
    return sum;
}

/* Whether the plan is one whose vectors and op numbers the kernel can name. */
static bool can_name(const struct lk_vk_pass *p)
{
    return p->plan->n_ops <= LK_VK_MAX_OP + 1 && vector_bytes(p->plan) <= p->facts->max_binding;
}

/* Fills in the group of attention op `i` with all in front of it; false: not what one kernel does.
 */
static bool decode_group(const struct lk_vk_pass *p, int i, struct lk_vk_group *g)
{
    const struct lk_plan *plan = p->plan;
    const struct lk_op *op = &plan->ops[i];
    int store = p->decode ? store_of(plan, i) : -1;
    if (store < 0) {
        return false;
    }
    const int *kv = plan->ops[store].in;
    struct lk_attn_shape shape = lk_attn_shape_of(plan, op);
    int head_dim = shape.head_dim;
    g->u.decode.store = store;
    return shape.dim <= LK_VK_DECODE_DIM && shape.v_dim == head_dim &&
           trace(p, g, 0, op->in[0], head_dim) && trace(p, g, 1, kv[0], head_dim) &&
           trace(p, g, 2, kv[1], head_dim) && same_turn(plan, g->u.decode.rope) && can_name(p);
}

/* The ops of such a group but for attention itself. */
static void cover_ahead(struct lk_vk_pass *p, struct lk_vk_group *g)
{
    for (int k = 0; k < 3; k++) {
        lk_vk_pass_cover(p, g, g->u.decode.bias[k]);
        lk_vk_pass_cover(p, g, g->u.decode.norm[k]);
    }
    for (int k = 0; k < 2; k++) {
        lk_vk_pass_cover(p, g, g->u.decode.rope[k]);
    }
    lk_vk_pass_cover(p, g, g->u.decode.pick);
    lk_vk_pass_cover(p, g, g->u.decode.store);
}

void lk_vk_fuse_attention_ahead(struct lk_vk_pass *p)
{
    for (int i = 0; i < p->plan->n_ops; i++) {
        struct lk_vk_group g = {0};
        if (p->plan->ops[i].kind == LK_OP_ATTENTION && decode_group(p, i, &g)) {
            cover_ahead(p, &g);
        }
    }
}

void lk_vk_fuse_rope(struct lk_vk_pass *p, int i)
{
    int out = p->plan->ops[i].out, store = lk_vk_pass_sole_reader(p, out, LK_OP_KV_STORE);
    if (p->fuse && store >= 0 && p->plan->ops[store].in[0] == out) {
        p->taken[i] = true;
        return;
    }
    lk_vk_fuse_plain(p, i, LK_VK_GROUP_ROPE);
}

void lk_vk_fuse_store(struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    int rope = p->fuse ? maker(p, op->in[0], LK_OP_ROPE) : -1;
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_KV_STORE, i);
    g->u.store.rope = rope;
    lk_vk_pass_cover(p, g, rope);
    lk_vk_pass_cover(p, g, i);
    lk_vk_pass_in(g, rope < 0 ? op->in[0] : p->plan->ops[rope].in[0], LK_VK_PLAIN);
    lk_vk_pass_in(g, op->in[1], LK_VK_PLAIN);
}

/* The form in which attention of many tokens leaves what its readers want, or LK_VK_PLAIN. */
static int form_of(const struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    int form = p->fuse && !p->few ? lk_vk_pass_only_form(p, op->out) : -1;
    if (form < 0) {
        return LK_VK_PLAIN;
    }
    struct lk_vk_cut c = lk_vk_cut_of(p->facts, p->plan, op, false);
    return lk_vk_cut_takes(&c, form) ? form : LK_VK_PLAIN;
}

void lk_vk_fuse_attention(struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    struct lk_vk_group whole = {.kind = LK_VK_GROUP_ATTENTION_DECODE, .lead = i, .in_beside = true};
    bool decode = decode_group(p, i, &whole);
    int form = form_of(p, i);
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_ATTENTION, i);
    if (decode) {
        *g = whole;
        cover_ahead(p, g);
    } else {
        g->u.attention.split = p->few;
        lk_vk_pass_in(g, op->in[0], LK_VK_PLAIN);
    }
    lk_vk_pass_cover(p, g, i);
    lk_vk_pass_out(p, g, op->out, form);
}

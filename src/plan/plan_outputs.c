/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan_outputs: which rows a slice with the head evaluates to its end. Behind the last op that
 * mixes tokens, or writes a state, each row is made by itself: there those that want logits are
 * enough. Knows ops by their kinds and slots, and no architecture.
 */
#include "plan/plan.h"

#include <string.h>

#include "base/mem.h"

/* Whether a row of the op's result is made of the same row of what it reads, of a layer and of all
 * tokens. */
static bool is_by_row(const struct lk_plan *plan, const struct lk_op *op)
{
    switch (op->kind) {
    case LK_OP_NORM:
    case LK_OP_LAYER_NORM:
    case LK_OP_MATMUL:
    case LK_OP_BIAS:
    case LK_OP_GLU:
    case LK_OP_GELU:
    case LK_OP_ADD:
    case LK_OP_SCALE:
    case LK_OP_SOFTCAP:
    case LK_OP_GATE:
    case LK_OP_PICK:
    case LK_OP_JOIN:
        return op->layer >= 0 && plan->slots[op->out].rows == LK_ROWS_TOKENS;
    case LK_OP_EMBED:
    case LK_OP_ROPE: /* a row's angles are those of its token */
    case LK_OP_KV_STORE:
    case LK_OP_ATTENTION:
    case LK_OP_GATHER:
    case LK_OP_ROUTE:
    case LK_OP_EXPERTS:
    case LK_OP_EXPERT_BIAS:
    case LK_OP_EXPERT_SCALE:
    case LK_OP_COMBINE:
    case LK_OP_HEADS:
    case LK_OP_CONV:
    case LK_OP_L2_NORM:
    case LK_OP_DELTA_GATES:
    case LK_OP_DELTA:
    case LK_OP_SSM:
    case LK_OP_KINDS:
        break;
    }
    return false;
}

/* The ops [first, gather) of a plan that only rows wanted need, and where rows go. */
struct tail {
    int first, gather;
    int *of; /* [n_slots]: the slot that stands for a slot there, -1: none yet */
};

static struct tail find_tail(const struct lk_plan *plan)
{
    struct tail t = {0};
    while (t.gather < plan->n_ops && plan->ops[t.gather].kind != LK_OP_GATHER) {
        t.gather++;
    }
    t.first = t.gather;
    if (t.gather == plan->n_ops) { /* no head */
        return t;
    }
    while (t.first > 0 && is_by_row(plan, &plan->ops[t.first - 1])) {
        t.first--;
    }
    return t;
}

/* Whether there are products in it: to gather several slots for less is no use. */
static bool is_worth_it(const struct lk_plan *plan, const struct tail *t)
{
    bool has = false;
    for (int i = t->first; i < t->gather; i++) {
        has |= lk_is_product(&plan->ops[i]);
    }
    return has;
}

/* A gather of a slot in front of the tail, unless there is one. */
static void gather(struct lk_plan *plan, struct tail *t, const struct lk_op *like, int slot)
{
    if (t->of[slot] >= 0) {
        return;
    }
    int rows = plan->n_slots++;
    plan->slots[rows] = (struct lk_slot){plan->slots[slot].width, LK_ROWS_OUTPUTS};
    t->of[slot] = rows;
    struct lk_op *op = &plan->ops[plan->n_ops++];
    *op = lk_op_make(LK_OP_GATHER, slot, -1, rows, -1);
    op->layer = like->layer;
    op->feed_forward = like->feed_forward;
}

/* Writes the ops anew: those in front, gathers, the tail, and what is behind. */
static void rewrite(struct lk_plan *plan, struct tail *t, const struct lk_op *ops, int n_ops)
{
    plan->n_ops = t->first;
    for (int i = t->first; i < t->gather; i++) {
        t->of[ops[i].out] = ops[i].out;
        plan->slots[ops[i].out].rows = LK_ROWS_OUTPUTS;
    }
    for (int i = t->first; i <= t->gather; i++) {
        for (int k = 0; k < ops[i].n_in; k++) {
            gather(plan, t, &ops[t->first], ops[i].in[k]);
        }
    }
    t->of[ops[t->gather].out] = t->of[ops[t->gather].in[0]];
    for (int i = t->first; i < n_ops; i++) {
        struct lk_op op = ops[i];
        for (int k = 0; k < op.n_in; k++) {
            op.in[k] = t->of[op.in[k]] >= 0 ? t->of[op.in[k]] : op.in[k];
        }
        if (i != t->gather) {
            plan->ops[plan->n_ops++] = op;
        }
    }
    if (t->of[plan->out_slot] >= 0) {
        plan->out_slot = t->of[plan->out_slot];
    }
}

/* Attention whose result the tail alone reads is needed where any row is wanted. */
static void spare_attention(struct lk_plan *plan, int first)
{
    struct lk_op *op = first > 0 ? &plan->ops[first - 1] : NULL;
    if (op && op->kind == LK_OP_ATTENTION && op->out != plan->out_slot) {
        plan->slots[op->out].rows = LK_ROWS_ASKED;
    }
}

lk_status lk_plan_gather_early(struct lk_plan *plan, lk_error *err)
{
    struct tail t = find_tail(plan);
    if (!plan->slice || !is_worth_it(plan, &t)) {
        return LK_OK;
    }
    int n_ops = plan->n_ops, n_slots = plan->n_slots;
    size_t more = (size_t)(t.gather - t.first + 1) * LK_OP_MAX_IN;
    struct lk_op *old = plan->ops;
    struct lk_op *ops = lk_alloc_array((size_t)n_ops + more, sizeof *ops);
    struct lk_slot *slots = lk_alloc_array((size_t)n_slots + more, sizeof *slots);
    t.of = lk_alloc_array((size_t)n_slots, sizeof *t.of);
    if (!ops || !slots || !t.of) {
        lk_free(ops);
        lk_free(slots);
        lk_free(t.of);
        return lk_fail(err, LK_E_NOMEM, "out of memory: the rows that want logits");
    }
    memcpy(ops, old, (size_t)t.first * sizeof *ops);
    memcpy(slots, plan->slots, (size_t)n_slots * sizeof *slots);
    for (int i = 0; i < n_slots; i++) {
        t.of[i] = -1;
    }
    lk_free(plan->slots);
    plan->ops = ops;
    plan->slots = slots;
    rewrite(plan, &t, old, n_ops);
    spare_attention(plan, t.first);
    lk_free(t.of);
    lk_free(old);
    return LK_OK;
}

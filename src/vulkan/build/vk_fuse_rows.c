/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_rows: see vk_fuse_rows.h.
 */
#include "vulkan/build/vk_fuse_rows.h"

struct lk_vk_group *lk_vk_fuse_plain(struct lk_vk_pass *p, int i, enum lk_vk_group_kind kind)
{
    const struct lk_op *op = &p->plan->ops[i];
    struct lk_vk_group *g = lk_vk_pass_add(p, kind, i);
    lk_vk_pass_cover(p, g, i);
    for (int k = 0; k < op->n_in; k++) {
        lk_vk_pass_in(g, op->in[k], LK_VK_PLAIN);
    }
    if (op->out >= 0) {
        lk_vk_pass_out(p, g, op->out, LK_VK_PLAIN);
    }
    return g;
}

/* The adds of its result to residuals, one after the other, become part of an elementwise group. */
static void take_adds(struct lk_vk_pass *p, struct lk_vk_group *g)
{
    int at = g->lead, other;
    while (g->u.elementwise.n_adds < LK_VK_ELT_ADDS) {
        int add = lk_vk_pass_add_of(p, at, &other);
        if (add < 0 || p->producer[other] > g->lead) {
            break;
        }
        lk_vk_pass_cover(p, g, add);
        lk_vk_pass_in(g, other, LK_VK_PLAIN);
        g->u.elementwise.add[g->u.elementwise.n_adds++] = add;
        at = add;
    }
    g->n_out = 0;
    lk_vk_pass_out(p, g, p->plan->ops[at].out, LK_VK_PLAIN);
}

void lk_vk_fuse_elementwise(struct lk_vk_pass *p, int i, uint32_t kind)
{
    struct lk_vk_group *g = lk_vk_fuse_plain(p, i, LK_VK_GROUP_ELEMENTWISE);
    g->u.elementwise.kind = kind;
    if (kind != LK_VK_ELT_PICK && kind != LK_VK_ELT_JOIN) {
        take_adds(p, g);
    }
}

void lk_vk_fuse_bias(struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    int gates = p->fuse ? lk_vk_pass_sole_reader(p, op->out, LK_OP_DELTA_GATES) : -1;
    const struct lk_op *by = gates < 0 ? NULL : &p->plan->ops[gates];
    if (!by || by->in[0] != op->out || (by->n_in > 1 && p->producer[by->in[1]] > i)) {
        lk_vk_fuse_elementwise(p, i, LK_VK_ELT_BIAS);
        return;
    }
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_DELTA_GATES, gates);
    g->u.gates.bias = i;
    lk_vk_pass_cover(p, g, i);
    lk_vk_pass_cover(p, g, gates);
    lk_vk_pass_in(g, op->in[0], LK_VK_PLAIN);
    if (by->n_in > 1) {
        lk_vk_pass_in(g, by->in[1], LK_VK_PLAIN);
    }
    lk_vk_pass_out(p, g, by->out, LK_VK_PLAIN);
}

void lk_vk_fuse_gates(struct lk_vk_pass *p, int i)
{
    lk_vk_fuse_plain(p, i, LK_VK_GROUP_DELTA_GATES)->u.gates.bias = -1;
}

void lk_vk_fuse_gather(struct lk_vk_pass *p, int i)
{
    bool named = p->decode && p->plan->ops[i].out != p->plan->out_slot;
    lk_vk_fuse_plain(p, i, named ? LK_VK_GROUP_NAME : LK_VK_GROUP_GATHER);
}

/* ---- norms ---- */

static bool is_whole_row(const struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    return op->u.norm.group == p->plan->slots[op->out].width;
}

/* Whether all readers of a norm are mat-vecs that do it themselves. */
static bool leave_to_readers(const struct lk_vk_pass *p, int i)
{
    const struct lk_plan *plan = p->plan;
    int out = plan->ops[i].out;
    bool rms = plan->ops[i].kind == LK_OP_NORM;
    if (!p->decode || !rms || !is_whole_row(p, i) || lk_vk_pass_only_form(p, out) < 0) {
        return false;
    }
    for (int j = 0; j < plan->n_ops; j++) {
        const struct lk_op *o = &plan->ops[j];
        if (lk_op_reads(o, out) &&
            (o->kind != LK_OP_MATMUL || !lk_vk_pass_can_prepare(p, &plan->weights[o->weight], 2))) {
            return false;
        }
    }
    return true;
}

/* The GLU of a norm's rows and the SiLU of others that are there, or -1. */
static int glu_of(const struct lk_vk_pass *p, int i, int *other)
{
    int out = p->plan->ops[i].out, g = lk_vk_pass_sole_reader(p, out, LK_OP_GLU);
    const struct lk_op *glu = g < 0 ? NULL : &p->plan->ops[g];
    if (!glu || glu->u.glu.act != LK_ACT_SILU || glu->in[1] != out || glu->in[0] == out ||
        p->producer[glu->in[0]] > i) {
        return -1;
    }
    *other = glu->in[0];
    return g;
}

void lk_vk_fuse_norm(struct lk_vk_pass *p, int i)
{
    const struct lk_plan *plan = p->plan;
    int out = plan->ops[i].out, other = -1;
    if (leave_to_readers(p, i)) {
        p->norm_of[out] = i;
        p->taken[i] = true;
        return;
    }
    bool whole = is_whole_row(p, i);
    int glu = p->decode && plan->ops[i].kind == LK_OP_NORM ? glu_of(p, i, &other) : -1;
    int next = whole && glu < 0 ? lk_vk_pass_add_of(p, i, &other) : glu;
    int form = p->fuse && whole ? lk_vk_pass_only_form(p, out) : LK_VK_PLAIN;
    if (form >= 0 && lk_vk_form_is_plain(plan, out, (uint32_t)form)) {
        form = LK_VK_PLAIN;
    }
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_NORM, i);
    g->u.norm.next = next;
    g->u.norm.by_next = glu >= 0 ? LK_VK_NORM_GLU : next >= 0 ? LK_VK_NORM_ADD : 0;
    lk_vk_pass_cover(p, g, i);
    lk_vk_pass_in(g, plan->ops[i].in[0], LK_VK_PLAIN);
    if (next >= 0) {
        lk_vk_pass_cover(p, g, next);
        lk_vk_pass_in(g, other, LK_VK_PLAIN);
        out = plan->ops[next].out;
    }
    lk_vk_pass_out(p, g, out, form);
}

/* ---- activations ---- */

void lk_vk_fuse_act(struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    static const uint32_t ACTS[] = {
        [LK_ACT_SILU] = LK_VK_ELT_SILU,       [LK_ACT_GELU] = LK_VK_ELT_GELU,
        [LK_ACT_CLAMPED] = LK_VK_ELT_CLAMPED, [LK_ACT_SIGMOID] = LK_VK_ELT_SIGMOID,
        [LK_ACT_RELU] = LK_VK_ELT_RELU,       [LK_ACT_NONE] = LK_VK_ELT_PRODUCT};
    uint32_t act = op->kind == LK_OP_GELU ? LK_VK_ELT_ERF : ACTS[op->u.glu.act];
    int form = p->fuse ? lk_vk_pass_only_form(p, op->out) : LK_VK_PLAIN;
    if (form != LK_VK_X_Q32 && form != LK_VK_X_Q256) {
        lk_vk_fuse_elementwise(p, i, act);
        return;
    }
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_QUANTIZE, i);
    g->u.quantize.act = act;
    lk_vk_pass_cover(p, g, i);
    for (int k = 0; k < op->n_in; k++) {
        lk_vk_pass_in(g, op->in[k], LK_VK_PLAIN);
    }
    lk_vk_pass_out(p, g, op->out, form);
}

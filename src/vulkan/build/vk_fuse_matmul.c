/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_fuse_matmul: see vk_fuse_matmul.h.
 */
#include "vulkan/build/vk_fuse_matmul.h"

#include "vulkan/build/vk_fuse_rows.h"
#include "vulkan/build/vk_pack.h"
#include "vulkan/build/vk_tile.h"

/* Matmuls of one input that are one kernel. */
struct matmuls {
    int part[LK_VK_GROUP_ROWS], n_parts;
    uint32_t epilogue;
    int next, other; /* op of the epilogue, slot of its residual */
};

static bool lie_together(const struct lk_vk_pass *p, const int *op, int n)
{
    int weight[LK_VK_GROUP_ROWS];
    for (int i = 0; i < n; i++) {
        weight[i] = p->plan->ops[op[i]].weight;
    }
    return lk_vk_layout_together(p->facts, p->plan, weight, n);
}

static int64_t rows_of(const struct lk_vk_pass *p, int op)
{
    return p->plan->weights[p->plan->ops[op].weight].rows;
}

/* Gate and up, whose GLU is the epilogue of their matmul. */
static bool take_glu(const struct lk_vk_pass *p, int i, struct matmuls *m)
{
    const struct lk_plan *plan = p->plan;
    const struct lk_op *op = &plan->ops[i];
    int g = lk_vk_pass_sole_reader(p, op->out, LK_OP_GLU);
    bool tiles = !p->few;
    if (g < 0 || (tiles && !lk_vk_tile_is_wide(p->facts, plan->weights[op->weight].type))) {
        return false;
    }
    const struct lk_op *glu = &plan->ops[g];
    if (glu->u.glu.act != LK_ACT_SILU && glu->u.glu.act != LK_ACT_GELU) { /* no epilogue does it */
        return false;
    }
    int other = glu->in[0] == op->out ? glu->in[1] : glu->in[0], j = p->producer[other];
    if (j < 0 || j == i || p->taken[j] || plan->ops[j].kind != LK_OP_MATMUL ||
        plan->ops[j].in[0] != op->in[0] || p->uses[other] != 1) {
        return false;
    }
    *m = (struct matmuls){.part = {p->producer[glu->in[0]], p->producer[glu->in[1]]},
                          .n_parts = 2,
                          .epilogue =
                              glu->u.glu.act == LK_ACT_SILU ? LK_VK_EPI_SILU : LK_VK_EPI_GELU,
                          .next = g};
    return rows_of(p, m->part[0]) == rows_of(p, m->part[1]) && lie_together(p, m->part, 2);
}

/* Matmuls of the same input: q, k and v; gate and up where the GLU is a step of its own. */
static bool take_together(const struct lk_vk_pass *p, int i, struct matmuls *m)
{
    const struct lk_plan *plan = p->plan;
    *m = (struct matmuls){.part = {i}, .n_parts = 1, .epilogue = LK_VK_EPI_STORE, .next = -1};
    enum lk_type type = plan->weights[plan->ops[i].weight].type;
    for (int j = i + 1; j < plan->n_ops && m->n_parts < LK_VK_GROUP_ROWS; j++) {
        const struct lk_op *o = &plan->ops[j];
        if (o->kind == LK_OP_MATMUL && o->in[0] == plan->ops[i].in[0] && !p->taken[j] &&
            plan->weights[o->weight].type == type) {
            m->part[m->n_parts++] = j;
        }
    }
    return m->n_parts > 1 && lie_together(p, m->part, m->n_parts);
}

static struct matmuls take_alone(const struct lk_vk_pass *p, int i)
{
    struct matmuls m = {.part = {i}, .n_parts = 1, .epilogue = LK_VK_EPI_STORE};
    m.next = lk_vk_pass_add_of(p, i, &m.other);
    if (m.next >= 0) {
        m.epilogue = LK_VK_EPI_ADD;
    }
    return m;
}

/* A group that makes slot `in` ready in a form, for matmul `i`. */
static void make_ready(struct lk_vk_pass *p, int i, int in, uint32_t form)
{
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_QUANTIZE, i);
    lk_vk_pass_in(g, in, LK_VK_PLAIN);
    lk_vk_pass_out(p, g, in, (int)form);
}

/* How a group gets its input. */
struct input {
    struct lk_vk_rows rows;
    uint32_t prep;
    int norm;
};

static struct input input_of(struct lk_vk_pass *p, int i, const struct matmuls *m)
{
    const struct lk_plan *plan = p->plan;
    const struct lk_weight *w = &plan->weights[plan->ops[m->part[0]].weight];
    int in = plan->ops[i].in[0], norm = p->norm_of[in];
    uint32_t form = lk_vk_form_of(w->type);
    bool ready = p->ready[in * LK_ACTS_KINDS + (int)form];
    if (norm >= 0) {
        return (struct input){{plan->ops[norm].in[0], LK_VK_PLAIN}, LK_VK_PREP_NORM, norm};
    }
    if (!ready && lk_vk_pass_can_prepare(p, w, m->epilogue >= LK_VK_EPI_SILU ? 2 : 1)) {
        return (struct input){{in, LK_VK_PLAIN}, LK_VK_PREP_QUANT, -1};
    }
    if (lk_vk_form_is_plain(plan, in, form)) {
        return (struct input){{in, LK_VK_PLAIN}, LK_VK_PREP_NONE, -1};
    }
    if (!ready) {
        make_ready(p, i, in, form);
    }
    return (struct input){{in, (int)form}, LK_VK_PREP_NONE, -1};
}

void lk_vk_fuse_matmul(struct lk_vk_pass *p, int i)
{
    const struct lk_plan *plan = p->plan;
    struct matmuls m;
    if (!p->fuse || (!take_glu(p, i, &m) && !take_together(p, i, &m))) {
        m = take_alone(p, i);
    }
    struct input x = input_of(p, i, &m);
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_MATMUL, i);
    g->u.matmul.n_parts = m.n_parts;
    g->u.matmul.epilogue = m.epilogue;
    g->u.matmul.next = m.next;
    g->u.matmul.prep = x.prep;
    g->u.matmul.norm = x.norm;
    if (x.norm >= 0) {
        lk_vk_pass_cover(p, g, x.norm);
    }
    lk_vk_pass_in(g, x.rows.slot, x.rows.form);
    if (m.epilogue == LK_VK_EPI_ADD) {
        lk_vk_pass_in(g, m.other, LK_VK_PLAIN);
    }
    for (int k = 0; k < m.n_parts; k++) {
        g->u.matmul.part[k] = m.part[k];
        lk_vk_pass_cover(p, g, m.part[k]);
        if (m.next < 0) {
            lk_vk_pass_out(p, g, plan->ops[m.part[k]].out, LK_VK_PLAIN);
        }
    }
    if (m.next >= 0) {
        lk_vk_pass_cover(p, g, m.next);
        lk_vk_pass_out(p, g, plan->ops[m.next].out, LK_VK_PLAIN);
    }
}

/* Gate and up of the same experts and rows, of which `i` is one: their weights lie together in
 * every list. Returns their GLU, or -1. */
static int expert_pair(const struct lk_vk_pass *p, int i, int part[2])
{
    const struct lk_plan *plan = p->plan;
    const struct lk_op *op = &plan->ops[i];
    int g = p->fuse ? lk_vk_pass_sole_reader(p, op->out, LK_OP_GLU) : -1;
    if (g < 0) {
        return -1;
    }
    for (int k = 0; k < 2; k++) {
        part[k] = p->producer[plan->ops[g].in[k]];
        const struct lk_op *o = part[k] >= 0 ? &plan->ops[part[k]] : NULL;
        if (!o || o->kind != LK_OP_EXPERTS || o->in[0] != op->in[0] || o->in[1] != op->in[1] ||
            p->uses[o->out] != 1) {
            return -1;
        }
    }
    bool pair = part[0] != part[1] && rows_of(p, part[0]) == rows_of(p, part[1]);
    return pair && lie_together(p, part, 2) ? g : -1;
}

/* Which of the two matrices, or both and the GLU that a mat-vec's epilogue does. */
static void set_experts(const struct lk_vk_pass *p, struct lk_vk_group *g, int i)
{
    int *part = g->u.experts.part, glu = expert_pair(p, i, part);
    g->u.experts.n_parts = glu < 0 ? 1 : 2;
    g->u.experts.next = -1;
    g->u.experts.epilogue = LK_VK_EPI_STORE;
    if (glu < 0) {
        part[0] = i;
        return;
    }
    enum lk_act act = p->plan->ops[glu].u.glu.act;
    g->u.experts.which = part[1] == i;
    if (p->few && (act == LK_ACT_SILU || act == LK_ACT_GELU)) {
        g->u.experts.next = glu;
        g->u.experts.epilogue = act == LK_ACT_SILU ? LK_VK_EPI_SILU : LK_VK_EPI_GELU;
    }
}

void lk_vk_fuse_experts(struct lk_vk_pass *p, int i)
{
    const struct lk_plan *plan = p->plan;
    const struct lk_op *op = &plan->ops[i];
    const struct lk_weight *w = &plan->weights[op->weight];
    struct lk_vk_group e = {0};
    int in = op->in[0], form = (int)lk_vk_form_of(w->type), out = op->out;
    set_experts(p, &e, i);
    bool ready = p->ready[in * LK_ACTS_KINDS + form];
    bool own = p->fuse && !ready && plan->slots[in].width % 4 == 0 &&
               lk_vk_pass_can_prepare(p, w, e.u.experts.next < 0 ? 1 : 2);
    bool plain = own || lk_vk_form_is_plain(plan, in, (uint32_t)form);
    if (!plain && !ready) {
        make_ready(p, i, in, (uint32_t)form);
    }
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_EXPERTS, i);
    g->u.experts = e.u.experts;
    g->u.experts.prep = own ? LK_VK_PREP_QUANT : LK_VK_PREP_NONE;
    if (g->u.experts.next >= 0) {
        lk_vk_pass_cover(p, g, g->u.experts.part[0]);
        lk_vk_pass_cover(p, g, g->u.experts.part[1]);
        lk_vk_pass_cover(p, g, g->u.experts.next);
        out = plan->ops[g->u.experts.next].out;
    } else {
        lk_vk_pass_cover(p, g, i);
    }
    lk_vk_pass_in(g, in, plain ? LK_VK_PLAIN : form);
    lk_vk_pass_in(g, op->in[1], LK_VK_PLAIN);
    lk_vk_pass_out(p, g, out, LK_VK_PLAIN);
}

void lk_vk_fuse_expert_rows(struct lk_vk_pass *p, int i)
{
    const struct lk_op *op = &p->plan->ops[i];
    int other, add = op->kind == LK_OP_COMBINE ? lk_vk_pass_add_of(p, i, &other) : -1;
    struct lk_vk_group *g = lk_vk_pass_add(p, LK_VK_GROUP_EXPERT_ROWS, i);
    g->u.expert_rows.add = add;
    lk_vk_pass_cover(p, g, i);
    lk_vk_pass_in(g, op->in[0], LK_VK_PLAIN);
    lk_vk_pass_in(g, op->in[1], LK_VK_PLAIN);
    if (add >= 0) {
        lk_vk_pass_cover(p, g, add);
        lk_vk_pass_in(g, other, LK_VK_PLAIN);
    }
    lk_vk_pass_out(p, g, p->plan->ops[add >= 0 ? add : i].out, LK_VK_PLAIN);
}

void lk_vk_fuse_heads(struct lk_vk_pass *p, int i)
{
    const struct lk_weight *w = &p->plan->weights[p->plan->ops[i].weight];
    struct lk_vk_group *g = lk_vk_fuse_plain(p, i, LK_VK_GROUP_HEADS);
    bool own = w->cols % 4 == 0 && lk_vk_pass_can_prepare(p, w, 1);
    g->u.heads.prep = own ? LK_VK_PREP_QUANT : LK_VK_PREP_NONE;
}

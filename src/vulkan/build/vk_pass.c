/* SPDX-License-Identifier: Apache-2.0
 *
 * Vk_pass: see vk_pass.h.
 */
#include "vulkan/build/vk_pass.h"

#include <stdio.h>

#include "base/mem.h"
#include "vulkan/build/vk_tile.h"

enum { PREPARE_ROWS = 40000 }; /* of a matrix whose mat-vec still prepares its own input */

lk_status lk_vk_pass_open(struct lk_vk_pass *p)
{
    const struct lk_plan *plan = p->plan;
    size_t n_slots = (size_t)plan->n_slots;
    p->uses = lk_alloc_array(n_slots, sizeof *p->uses);
    p->producer = lk_alloc_array(n_slots, sizeof *p->producer);
    p->norm_of = lk_alloc_array(n_slots, sizeof *p->norm_of);
    p->ready = lk_alloc_array(n_slots * LK_ACTS_KINDS, sizeof *p->ready);
    p->taken = lk_alloc_array((size_t)plan->n_ops, sizeof *p->taken);
    if (!p->uses || !p->producer || !p->norm_of || !p->ready || !p->taken) {
        p->status = lk_fail(p->err, LK_E_NOMEM, "out of memory preparing the plan");
        return p->status;
    }
    for (int i = 0; i < plan->n_slots; i++) {
        p->producer[i] = p->norm_of[i] = -1;
    }
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        for (int k = 0; k < op->n_in; k++) {
            p->uses[op->in[k]]++;
        }
        if (op->out >= 0) {
            p->producer[op->out] = i;
        }
    }
    return LK_OK;
}

void lk_vk_pass_close(struct lk_vk_pass *p)
{
    lk_free(p->uses);
    lk_free(p->producer);
    lk_free(p->norm_of);
    lk_free(p->ready);
    lk_free(p->taken);
}

/* ---- groups ---- */

struct lk_vk_group *lk_vk_pass_add(struct lk_vk_pass *p, enum lk_vk_group_kind kind, int lead)
{
    struct lk_vk_groups *all = p->groups;
    struct lk_vk_group *g = &p->sink;
    if (!p->status) {
        p->status = lk_grow(&all->group, &p->cap, (size_t)all->n + 1, sizeof *all->group, p->err);
    }
    if (!p->status) {
        g = &all->group[all->n++];
    }
    *g = (struct lk_vk_group){.kind = kind, .lead = lead};
    return g;
}

void lk_vk_pass_cover(struct lk_vk_pass *p, struct lk_vk_group *g, int op)
{
    if (op < 0) {
        return;
    }
    p->taken[op] = true;
    int at = g->n_ops++;
    for (; at > 0 && g->op[at - 1] > op; at--) {
        g->op[at] = g->op[at - 1];
    }
    g->op[at] = op;
}

void lk_vk_pass_in(struct lk_vk_group *g, int slot, int form)
{
    g->in[g->n_in++] = (struct lk_vk_rows){slot, form};
}

void lk_vk_pass_out(struct lk_vk_pass *p, struct lk_vk_group *g, int slot, int form)
{
    g->out[g->n_out++] = (struct lk_vk_rows){slot, form};
    if (form != LK_VK_PLAIN) {
        p->ready[slot * LK_ACTS_KINDS + form] = true;
    }
}

/* ---- questions ---- */

int lk_vk_pass_sole_reader(const struct lk_vk_pass *p, int slot, enum lk_op_kind kind)
{
    if (p->uses[slot] != 1 || slot == p->plan->out_slot) {
        return -1;
    }
    for (int i = 0; i < p->plan->n_ops; i++) {
        const struct lk_op *op = &p->plan->ops[i];
        if (lk_op_reads(op, slot)) {
            return op->kind == kind && !p->taken[i] ? i : -1;
        }
    }
    return -1;
}

int lk_vk_pass_only_form(const struct lk_vk_pass *p, int slot)
{
    int form = -1;
    for (int i = 0; i < p->plan->n_ops; i++) {
        const struct lk_op *op = &p->plan->ops[i];
        if (!lk_op_reads(op, slot)) {
            continue;
        }
        if (op->kind != LK_OP_MATMUL && (op->kind != LK_OP_EXPERTS || op->in[0] != slot)) {
            return -1;
        }
        int wanted = (int)lk_vk_form_of(p->plan->weights[op->weight].type);
        if (form >= 0 && wanted != form) {
            return -1;
        }
        form = wanted;
    }
    return slot == p->plan->out_slot ? -1 : form;
}

int lk_vk_pass_add_of(const struct lk_vk_pass *p, int i, int *other)
{
    int out = p->plan->ops[i].out, add = p->fuse ? lk_vk_pass_sole_reader(p, out, LK_OP_ADD) : -1;
    if (add < 0) {
        return -1;
    }
    const struct lk_op *o = &p->plan->ops[add];
    *other = o->in[0] == out ? o->in[1] : o->in[0];
    return *other != out && p->producer[*other] < i ? add : -1;
}

bool lk_vk_pass_can_prepare(const struct lk_vk_pass *p, const struct lk_weight *w, uint32_t n_parts)
{
    uint32_t panels = (uint32_t)(w->cols + LK_VK_PANEL - 1) / LK_VK_PANEL;
    uint32_t epilogue = (n_parts > 1 ? LK_VK_EPI_SILU : LK_VK_EPI_STORE) |
                        (w->n_experts > 0 ? LK_VK_EPI_EXPERTS : 0);
    char name[48];
    snprintf(name, sizeof name, "matvec_%s", lk_type_name((uint32_t)w->type));
    uint32_t spec[4] = {32, 1, epilogue | LK_VK_PREP_NORM << 4, panels};
    int64_t rows = w->n_experts > 0 ? w->rows / w->n_experts : w->rows; /* of a step, some times */
    return p->decode && lk_type_info((uint32_t)w->type)->quantized && rows <= PREPARE_ROWS &&
           n_parts * panels <= LK_VK_MAX_PARTS && lk_vk_facts_fit(p->facts, name, spec);
}

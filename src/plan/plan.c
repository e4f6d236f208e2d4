/* SPDX-License-Identifier: Apache-2.0
 *
 * Plan: slices, lives of slots, memory for them. Knows ops by their slots alone.
 */
#include "plan/plan.h"

#include <limits.h>
#include <string.h>

#include "base/mem.h"

void lk_plan_free(struct lk_plan **plan)
{
    struct lk_plan *p = *plan;
    if (!p) {
        return;
    }
    lk_free(p->ops);
    lk_free(p->slots);
    if (!p->slice) {
        for (int i = 0; i < p->n_copies; i++) {
            lk_free(p->copies[i]);
        }
        lk_free(p->copies);
        lk_free(p->weights);
        lk_free(p->states);
        for (int i = 0; i < p->n_ropes; i++) {
            lk_rope_free(&p->ropes[i]);
        }
        lk_rope_free(&p->long_rope);
    }
    lk_free(p);
    *plan = NULL;
}

/* The slot that holds the hidden rows before a stage, or before the head. */
static int hidden_before(const struct lk_plan *whole, int stage)
{
    for (int i = 0; i < whole->n_ops; i++) {
        if (lk_op_stage(&whole->ops[i]) == stage) {
            return whole->ops[i].in[0];
        }
    }
    return -1;
}

bool lk_plan_has_stages(const struct lk_plan *plan, int layer)
{
    return hidden_before(plan, lk_stage_of(layer) + 1) >= 0;
}

bool lk_plan_has_experts(const struct lk_plan *plan, int layer)
{
    bool has = false;
    for (int i = 0; i < plan->n_ops; i++) {
        has |= plan->ops[i].layer == layer && plan->ops[i].kind == LK_OP_EXPERTS;
    }
    return has;
}

/* Whether a slice may begin, or end, at a stage. */
static lk_status check_cut(const struct lk_plan *whole, int stage, lk_error *err)
{
    if (stage % 2 == 0 || lk_plan_has_stages(whole, stage / 2)) {
        return LK_OK;
    }
    return lk_fail(
        err, LK_E_INVALID,
        "layer %d: attention and feed-forward of architecture '%s' read the same rows, or are one, "
        "and can't be apart",
        stage / 2, whole->arch);
}

/* Whether an op of the whole plan is in front of the layers and makes what ops of the slice read.
 */
static bool is_front(const struct lk_plan *slice, const struct lk_op *op)
{
    bool is = false;
    for (int i = 0; i < slice->n_ops && op->layer < 0 && op->out != slice->in_slot; i++) {
        is |= lk_op_reads(&slice->ops[i], op->out);
    }
    return is;
}

/* An op in front of those of a slice. A table that none of them multiplies by stays with the file.
 */
static void put_front(struct lk_plan *slice, const struct lk_op *op)
{
    struct lk_op *ops = slice->ops;
    const void *table = op->kind == LK_OP_EMBED ? slice->weights[op->weight].data : NULL;
    for (int i = slice->n_ops++; i > 0; i--) {
        const struct lk_op *one = &ops[i - 1];
        bool by = one->kind == LK_OP_MATMUL;
        table = by && slice->weights[one->weight].data == table ? NULL : table;
        ops[i] = *one;
    }
    ops[0] = *op;
    if (table) {
        ops[0].u.embed.host = true;
    }
}

lk_status lk_plan_slice(const struct lk_plan *whole, int first, int last, bool embed, bool head,
                        struct lk_plan **out, lk_error *err)
{
    int end = lk_stage_of(whole->n_layer);
    if (whole->slice || first < 0 || first > last || last > end || (embed && first != 0) ||
        (head && last != end)) {
        return lk_fail(err, LK_E_INVALID, "plan slice of stages %d to %d: the model has %d", first,
                       last, end);
    }
    lk_status status = check_cut(whole, first, err);
    status = status ? status : check_cut(whole, last, err);
    if (status) {
        return status;
    }
    struct lk_plan *p = lk_alloc(sizeof *p);
    if (!p) {
        return lk_fail(err, LK_E_NOMEM, "out of memory slicing the plan");
    }
    *p = *whole;
    p->slice = true;
    p->ops = lk_alloc_array((size_t)whole->n_ops, sizeof *p->ops);
    p->slots = lk_alloc_array((size_t)whole->n_slots, sizeof *p->slots);
    if (!p->ops || !p->slots) {
        lk_plan_free(&p);
        return lk_fail(err, LK_E_NOMEM, "out of memory slicing the plan");
    }
    memcpy(p->slots, whole->slots, (size_t)whole->n_slots * sizeof *p->slots);
    p->n_ops = 0;
    for (int i = 0; i < whole->n_ops; i++) {
        const struct lk_op *op = &whole->ops[i];
        bool within = lk_op_stage(op) >= first && lk_op_stage(op) < last;
        if (op->layer < 0 ? embed : op->layer == whole->n_layer ? head : within) {
            p->ops[p->n_ops++] = *op;
        }
    }
    p->first_stage = first;
    p->last_stage = last;
    p->head = head;
    p->in_slot = embed ? -1 : hidden_before(whole, first);
    p->out_slot = head ? whole->out_slot : hidden_before(whole, last);
    for (int i = whole->n_ops - 1; i >= 0 && !embed; i--) {
        if (is_front(p, &whole->ops[i])) {
            put_front(p, &whole->ops[i]);
        }
    }
    *out = p;
    return LK_OK;
}

void lk_plan_set_context(struct lk_plan *plan, uint32_t n_ctx)
{
    bool is_long = plan->long_rope.n_dims > 0 && n_ctx > plan->n_ctx_short;
    if (is_long != plan->long_context) {
        struct lk_rope other = plan->long_rope;
        plan->long_rope = plan->ropes[0];
        plan->ropes[0] = other;
        plan->long_context = is_long;
    }
}

void lk_plan_end_at_norm(struct lk_plan *plan)
{
    for (int i = plan->n_ops - 1; i >= 0; i--) {
        const struct lk_op *op = &plan->ops[i];
        if (op->layer == plan->n_layer && op->kind == LK_OP_MATMUL) {
            plan->out_slot = op->in[0];
            plan->n_ops = i;
            return;
        }
    }
}

int lk_plan_row_width(const struct lk_plan *plan)
{
    return plan->slots[plan->out_slot].width;
}

struct lk_row_counts lk_plan_rows(const struct lk_plan *plan, int n_tokens, int n_outputs)
{
    int64_t routed = (int64_t)n_tokens * plan->n_routed;
    return (struct lk_row_counts){{[LK_ROWS_TOKENS] = n_tokens,
                                   [LK_ROWS_OUTPUTS] = n_outputs,
                                   [LK_ROWS_ROUTED] = routed < INT_MAX ? (int)routed : INT_MAX,
                                   [LK_ROWS_ASKED] = n_outputs > 0 ? n_tokens : 0}};
}

int lk_plan_last_use(const struct lk_plan *plan, int slot)
{
    for (int i = plan->n_ops - 1; i >= 0; i--) {
        if (lk_op_reads(&plan->ops[i], slot)) {
            return i;
        }
    }
    return -1;
}

bool lk_op_reads(const struct lk_op *op, int slot)
{
    bool reads = false;
    for (int k = 0; k < op->n_in; k++) {
        reads |= op->in[k] == slot;
    }
    return reads;
}

bool lk_plan_keeps(const struct lk_plan *plan, int i)
{
    int stage = lk_stage_of(plan->states[i].layer);
    bool keeps = stage >= plan->first_stage && stage < plan->last_stage;
    for (int k = 0; k < plan->n_ops && !keeps; k++) {
        const struct lk_op *op = &plan->ops[k];
        keeps = op->kind == LK_OP_ATTENTION && (op->u.attention.k == i || op->u.attention.v == i);
    }
    return keeps;
}

bool lk_plan_may_cut(const struct lk_plan *plan, int stage)
{
    bool may = true;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        bool reads = op->kind == LK_OP_ATTENTION && lk_op_stage(op) >= stage;
        may &= !reads || lk_stage_of(plan->states[op->u.attention.k].layer) >= stage;
    }
    return may;
}

int lk_plan_rope_width(const struct lk_plan *plan)
{
    int width = 0;
    for (int i = 0; i < plan->n_ropes; i++) {
        width = plan->ropes[i].n_dims > width ? plan->ropes[i].n_dims : width;
    }
    return width;
}

struct lk_attn_shape lk_attn_shape_of(const struct lk_plan *plan, const struct lk_op *op)
{
    const struct lk_state *k = &plan->states[op->u.attention.k];
    const struct lk_state *v = &plan->states[op->u.attention.v];
    return (struct lk_attn_shape){.n_head = op->u.attention.n_head,
                                  .n_kv_head = k->n_head,
                                  .group = op->u.attention.n_head / k->n_head,
                                  .head_dim = k->head_dim,
                                  .dim = k->dim,
                                  .v_dim = v->head_dim,
                                  .v_dim_padded = v->dim};
}

lk_status lk_plan_set_kv(struct lk_plan *plan, const char *kv, lk_error *err)
{
    bool narrow = kv && strcmp(kv, "i8") == 0;
    if (kv && !narrow && strcmp(kv, "k12v8") != 0) {
        return lk_fail(err, LK_E_INVALID, "kv '%s': expected k12v8 or i8", kv);
    }
    for (int i = 0; i < plan->n_states; i++) {
        if (plan->states[i].kind == LK_STATE_K) {
            plan->states[i].bits = narrow ? LK_KV_K8_BITS : LK_KV_K_BITS;
        }
    }
    return LK_OK;
}

int lk_plan_k_bits(const struct lk_plan *plan)
{
    for (int i = 0; i < plan->n_states; i++) {
        if (plan->states[i].kind == LK_STATE_K) {
            return plan->states[i].bits;
        }
    }
    return LK_KV_K_BITS;
}

const struct lk_op *lk_plan_writer(const struct lk_plan *plan, int slot)
{
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].out == slot) {
            return &plan->ops[i];
        }
    }
    return NULL;
}

float lk_plan_key_bias(const struct lk_plan *plan)
{
    float most = 0.0f;
    for (int i = 0; i < plan->n_ops; i++) {
        if (plan->ops[i].kind != LK_OP_KV_STORE) {
            continue;
        }
        const struct lk_op *op = lk_plan_writer(plan, plan->ops[i].in[0]);
        if (op && op->kind == LK_OP_ROPE) {
            op = lk_plan_writer(plan, op->in[0]);
        }
        const float *bias = op && op->kind == LK_OP_BIAS ? plan->weights[op->weight].data : NULL;
        for (int64_t k = 0; bias && k < plan->weights[op->weight].cols; k++) {
            float size = bias[k] < 0 ? -bias[k] : bias[k];
            most = size > most ? size : most;
        }
    }
    return most;
}

struct lk_kv_shape lk_kv_shape_of(const struct lk_plan *plan, int k, int v)
{
    const struct lk_state *ks = &plan->states[k], *vs = &plan->states[v];
    return (struct lk_kv_shape){.n_head = ks->n_head,
                                .head_dim = ks->head_dim,
                                .v_dim = vs->head_dim,
                                .dim = ks->dim,
                                .v_dim_padded = vs->dim,
                                .k_bits = ks->bits};
}

/* A slot's place and life: written in epoch `first` (-1: handed in), read last in `last`. */
struct life {
    int slot, first, last;
    size_t offset, floats;
};

/* Lowest offset at which `floats` fit beside the placed lives that overlap `me`. */
static size_t place(const struct life *placed, int n, const struct life *me)
{
    size_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (int i = 0; i < n; i++) {
            const struct life *o = &placed[i];
            bool together = o->first <= me->last && me->first <= o->last;
            if (together && at < o->offset + o->floats && o->offset < at + me->floats) {
                at = o->offset + o->floats;
                moved = true;
            }
        }
    }
    return at;
}

size_t lk_plan_layout(const struct lk_plan *plan, const struct lk_row_counts *most, bool keep_all,
                      size_t align, const int *epoch, size_t *offsets)
{
    enum { WINDOW = 64 }; /* lives placed lately; older ones have ended (checked below) */
    struct life recent[WINDOW];
    int n = 0;
    size_t total = 0;
    memset(offsets, 0, (size_t)plan->n_slots * sizeof *offsets);
    for (int i = plan->in_slot >= 0 ? -1 : 0; i < plan->n_ops; i++) {
        int slot = i < 0 ? plan->in_slot : plan->ops[i].out;
        if (slot < 0) {
            continue;
        }
        size_t rows = (size_t)most->n[plan->slots[slot].rows];
        int last = lk_plan_last_use(plan, slot);
        struct life me = {.slot = slot, .first = i < 0 ? -1 : epoch ? epoch[i] : i};
        me.last = last < i || slot == plan->out_slot ? INT_MAX : epoch ? epoch[last] : last;
        if (!lk_mul_size(rows, (size_t)plan->slots[slot].width, &me.floats) ||
            me.floats > SIZE_MAX / 8) {
            return SIZE_MAX;
        }
        me.floats = (me.floats + align - 1) / align * align;
        if (keep_all) {
            me.offset = total;
        } else {
            int kept = 0; /* forget lives that ended before this op */
            for (int j = 0; j < n; j++) {
                if (recent[j].last >= me.first) {
                    recent[kept++] = recent[j];
                }
            }
            n = kept;
            if (n == WINDOW) {
                return SIZE_MAX;
            }
            me.offset = place(recent, n, &me);
            recent[n++] = me;
        }
        offsets[slot] = me.offset;
        if (me.offset + me.floats > total) {
            total = me.offset + me.floats;
        }
        if (total > SIZE_MAX / 8) {
            return SIZE_MAX;
        }
    }
    return total;
}

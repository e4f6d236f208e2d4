/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend "scalar": walks the plan op by op with cpu/scalar.c on one thread, on weights as
 * they lie in the file. The measure of every other backend: it must stay simple enough to be read.
 */
#include <stdio.h>
#include <string.h>

#include "cpu/host_state.h"
#include "cpu/scalar.h"
#include "backend/embed_row.h"
#include "base/mem.h"
#include "plan/rope.h"

struct lk_backend {
    struct lk_log log;
};

struct lk_exec {
    struct lk_exec_options o;
    struct lk_arena arena;
    float *slots;
    size_t *offset; /* [n_slots], floats */
    float *cs;      /* [n_ropes][max_tokens][cs_width] */
    size_t cs_width;
    void *scratch;             /* of matmul */
    struct lk_row_counts rows; /* of the last run, for peek */
};

static lk_status scalar_open(const struct lk_backend_options *options, struct lk_backend **out,
                             struct lk_caps *caps, lk_error *err)
{
    *out = lk_alloc(sizeof **out);
    if (!*out) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening the scalar backend");
    }
    (*out)->log = options->log;
    *caps = (struct lk_caps){.exact = true, .name = "scalar", .describe = "scalar, 1 thread"};
    return LK_OK;
}

static void scalar_close(struct lk_backend *backend)
{
    lk_free(backend);
}

static void scalar_exec_free(struct lk_exec *exec)
{
    if (exec) {
        lk_free(exec->offset);
        lk_arena_free(&exec->arena);
        lk_free(exec);
    }
}

static lk_status scalar_prepare(struct lk_backend *backend, const struct lk_exec_options *o,
                                struct lk_exec **out, lk_error *err)
{
    (void)backend;
    const struct lk_plan *plan = o->plan;
    lk_status status;
    struct lk_exec *exec = lk_alloc(sizeof *exec);
    if (!exec) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    exec->o = *o;
    status = lk_plan_check_weights(plan, err);
    if (status) {
        goto fail;
    }
    exec->offset = lk_alloc_array((size_t)plan->n_slots, sizeof *exec->offset);
    if (!exec->offset) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
        goto fail;
    }
    struct lk_row_counts most = lk_most_rows(o);
    size_t floats = lk_plan_layout(plan, &most, o->keep_ops, 16, NULL, exec->offset);
    exec->cs_width = (size_t)lk_plan_rope_width(plan);
    size_t slots_bytes, scratch = 0;
    if (!lk_mul_size(floats, sizeof(float), &slots_bytes)) {
        status =
            lk_fail(err, LK_E_NOMEM, "activations of %d tokens: size overflows", o->max_tokens);
        goto fail;
    }
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->weight >= 0) {
            const struct lk_weight *w = &plan->weights[op->weight];
            if (lk_is_product(op)) {
                size_t n = lk_scalar_matmul_scratch(w, o->max_tokens);
                scratch = n > scratch ? n : scratch;
            }
        }
    }
    int slots = lk_arena_reserve(&exec->arena, "activations", slots_bytes);
    int cs = lk_arena_reserve(&exec->arena, "rope tables",
                              (size_t)plan->n_ropes * (size_t)o->max_tokens * exec->cs_width *
                                  sizeof(float));
    int work = lk_arena_reserve(&exec->arena, "matmul scratch", scratch);
    if (slots < 0 || cs < 0 || work < 0) {
        status =
            lk_fail(err, LK_E_NOMEM, "activations of %d tokens: size overflows", o->max_tokens);
        goto fail;
    }
    status = lk_arena_commit(&exec->arena, err);
    if (status) {
        goto fail;
    }
    exec->slots = lk_arena_at(&exec->arena, slots);
    exec->cs = lk_arena_at(&exec->arena, cs);
    exec->scratch = lk_arena_at(&exec->arena, work);
    *out = exec;
    return LK_OK;
fail:
    scalar_exec_free(exec);
    return status;
}

static float *slot_of(const struct lk_exec *e, int slot)
{
    return e->slots + e->offset[slot];
}

static int rows_of(const struct lk_exec *e, int slot)
{
    return e->rows.n[e->o.plan->slots[slot].rows];
}

static bool run_rope(const struct lk_exec *e, const struct lk_op *op, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_rope *rope = &plan->ropes[op->u.rope.rope];
    size_t width = (size_t)op->u.rope.n_head * (size_t)op->u.rope.head_dim;
    const float *cs = e->cs + (size_t)op->u.rope.rope * (size_t)e->o.max_tokens * e->cs_width;
    bool ok = true;
    for (int t = 0; t < b->n_tokens; t++) {
        size_t at = (size_t)t * width;
        ok &= lk_scalar_rope(slot_of(e, op->in[0]) + at, op->u.rope.n_head, op->u.rope.head_dim,
                             rope->n_dims, rope->interleaved, cs + (size_t)t * e->cs_width,
                             slot_of(e, op->out) + at);
    }
    return ok;
}

static void run_kv_store(const struct lk_exec *e, const struct lk_op *op,
                         const struct lk_state_mem *states, const struct lk_batch *b)
{
    struct lk_kv_shape shape = lk_kv_shape_of(e->o.plan, op->u.kv_store.k, op->u.kv_store.v);
    size_t k_width = (size_t)shape.n_head * (size_t)shape.head_dim;
    size_t v_width = (size_t)shape.n_head * (size_t)shape.v_dim;
    for (int t = 0; t < b->n_tokens; t++) {
        int pos = b->pos[t];
        lk_scalar_kv_store(&shape, slot_of(e, op->in[0]) + (size_t)t * k_width,
                           slot_of(e, op->in[1]) + (size_t)t * v_width,
                           b->seqs[b->seq[t]].blocks[pos / LK_KV_BLOCK], pos % LK_KV_BLOCK,
                           lk_host_state_at(states, op->u.kv_store.k),
                           lk_host_state_at(states, op->u.kv_store.v));
    }
}

static bool run_attention(const struct lk_exec *e, const struct lk_op *op,
                          const struct lk_state_mem *states, const struct lk_batch *b)
{
    struct lk_attn_shape s = lk_attn_shape_of(e->o.plan, op);
    struct lk_attn_params p = {.shape =
                                   lk_kv_shape_of(e->o.plan, op->u.attention.k, op->u.attention.v),
                               .window = op->u.attention.window,
                               .score_in = op->u.attention.score_in,
                               .score_cap = op->u.attention.score_cap};
    bool ok = true;
    for (int t = 0; t < rows_of(e, op->out); t++) {
        const struct lk_batch_seq *seq = &b->seqs[b->seq[t]];
        p.more = lk_last_key(op, b->pos[t], seq->pos + seq->n_tokens - 1) - b->pos[t];
        for (int h = 0; h < s.n_head; h++) {
            size_t row = (size_t)t * (size_t)s.n_head + (size_t)h;
            p.sink =
                op->weight >= 0 ? (const float *)e->o.plan->weights[op->weight].data + h : NULL;
            ok &= lk_scalar_attention(&p, slot_of(e, op->in[0]) + row * (size_t)s.head_dim,
                                      lk_host_state_at(states, op->u.attention.k),
                                      lk_host_state_at(states, op->u.attention.v), seq->blocks,
                                      b->pos[t], h / s.group,
                                      slot_of(e, op->out) + row * (size_t)s.v_dim);
        }
    }
    return ok;
}

/* Adds to each row the vector of its expert, or multiplies it by the number of its expert. */
static bool run_expert_rows(const struct lk_exec *e, const struct lk_op *op)
{
    const struct lk_plan *plan = e->o.plan;
    const float *of = plan->weights[op->weight].data, *route = slot_of(e, op->in[1]);
    size_t width = (size_t)plan->slots[op->out].width;
    int k = plan->n_routed, rows = rows_of(e, op->out);
    bool ok = true;
    for (int r = 0; r < rows; r++) {
        size_t expert = (size_t)lk_routed_to(route + r / k * 2 * k, r % k);
        const float *x = slot_of(e, op->in[0]) + (size_t)r * width;
        float *y = slot_of(e, op->out) + (size_t)r * width;
        ok &= op->kind == LK_OP_EXPERT_BIAS
                  ? lk_scalar_bias(x, of + expert * width, (int)width, y)
                  : lk_scalar_scale(x, (int)width, lk_flush(of[expert]), y);
    }
    return ok;
}

static bool run_combine(const struct lk_exec *e, const struct lk_op *op)
{
    const struct lk_plan *plan = e->o.plan;
    size_t width = (size_t)plan->slots[op->out].width, k = (size_t)plan->n_routed;
    bool ok = true;
    for (int r = 0; r < rows_of(e, op->out); r++) {
        size_t row = (size_t)r;
        ok &= lk_scalar_combine(slot_of(e, op->in[0]) + row * k * width,
                                slot_of(e, op->in[1]) + row * 2 * k + k, (int)k, (int)width,
                                slot_of(e, op->out) + row * width);
    }
    return ok;
}

static void run_pick(const struct lk_exec *e, const struct lk_op *op)
{
    const struct lk_plan *plan = e->o.plan;
    size_t width = (size_t)op->u.pick.width, stride = (size_t)op->u.pick.stride;
    size_t n = (size_t)rows_of(e, op->out) * (size_t)plan->slots[op->out].width / width;
    for (size_t i = 0; i < n; i++) { /* rows of `in` are whole groups */
        memcpy(slot_of(e, op->out) + i * width,
               slot_of(e, op->in[0]) + i * stride + (size_t)op->u.pick.at, width * sizeof(float));
    }
}

static void run_join(const struct lk_exec *e, const struct lk_op *op)
{
    size_t a = (size_t)op->u.join.width[0], b = (size_t)op->u.join.width[1];
    size_t n = (size_t)rows_of(e, op->out) * (size_t)e->o.plan->slots[op->out].width / (a + b);
    for (size_t i = 0; i < n; i++) {
        float *y = slot_of(e, op->out) + i * (a + b);
        memcpy(y, slot_of(e, op->in[0]) + i * a, a * sizeof *y);
        memcpy(y + a, slot_of(e, op->in[1]) + i * b, b * sizeof *y);
    }
}

static bool run_conv(const struct lk_exec *e, const struct lk_op *op,
                     const struct lk_state_mem *states, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_state *st = &plan->states[op->u.conv.state];
    size_t width = (size_t)st->dim;
    int taps = op->u.conv.taps;
    const float *w = plan->weights[op->weight].data;
    const float *bias = op->u.conv.bias ? w + (size_t)taps * width : NULL;
    bool ok = true;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *q = &b->seqs[s];
        const float *in = slot_of(e, op->in[0]) + (size_t)q->first * width;
        float *out = slot_of(e, op->out) + (size_t)q->first * width;
        float *state = (float *)lk_host_state_at(states, op->u.conv.state) +
                       (size_t)q->slot * (size_t)st->rows * width;
        for (int i = 0; i < q->n_tokens; i++) {
            const float *x[LK_MAX_TAPS];
            for (int k = 0; k < taps; k++) {
                x[k] = lk_conv_row(state, in, width, taps, i, k);
            }
            ok &= lk_scalar_conv(x, w, width, taps, bias, st->dim, op->u.conv.silu,
                                 out + (size_t)i * width);
        }
        lk_conv_keep(state, in, width, taps, q->n_tokens, 0, width);
    }
    return ok;
}

static bool run_delta(const struct lk_exec *e, const struct lk_op *op,
                      const struct lk_state_mem *states, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    size_t n_head = (size_t)op->u.delta.n_head, n_k = (size_t)op->u.delta.n_k_head;
    size_t kd = (size_t)op->u.delta.k_dim, vd = (size_t)op->u.delta.v_dim;
    size_t width = (size_t)plan->slots[op->in[0]].width;
    float *all = lk_host_state_at(states, op->u.delta.state);
    bool ok = true;
    for (int t = 0; t < b->n_tokens; t++) {
        const float *row = slot_of(e, op->in[0]) + (size_t)t * width;
        const float *gates = slot_of(e, op->in[1]) + (size_t)t * 2 * n_head;
        size_t slot = (size_t)b->seqs[b->seq[t]].slot;
        for (size_t h = 0; h < n_head; h++) {
            size_t k_head = (size_t)lk_delta_k_head(op, (int)h);
            struct lk_delta_token d = {.k_dim = (int)kd,
                                       .stride = (int)vd,
                                       .q = row + k_head * kd,
                                       .k = row + (n_k + k_head) * kd,
                                       .keep = gates[h],
                                       .take = gates[n_head + h],
                                       .scale = op->u.delta.scale};
            ok &= lk_scalar_delta(&d, row + 2 * n_k * kd + h * vd, (int)vd,
                                  all + (slot * n_head + h) * kd * vd,
                                  slot_of(e, op->out) + ((size_t)t * n_head + h) * vd);
        }
    }
    return ok;
}

static bool run_ssm(const struct lk_exec *e, const struct lk_op *op,
                    const struct lk_state_mem *states, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    size_t n_head = (size_t)op->u.ssm.n_head, n_group = (size_t)op->u.ssm.n_group;
    size_t n = (size_t)op->u.ssm.rows, dim = (size_t)op->u.ssm.dim;
    const float *skip = plan->weights[op->weight].data;
    float *all = lk_host_state_at(states, op->u.ssm.state);
    bool ok = true;
    for (int t = 0; t < b->n_tokens; t++) {
        const float *x = slot_of(e, op->in[0]) + (size_t)t * (size_t)plan->slots[op->in[0]].width;
        const float *gates = slot_of(e, op->in[1]) + (size_t)t * 2 * n_head;
        size_t slot = (size_t)b->seqs[b->seq[t]].slot;
        for (size_t h = 0; h < n_head; h++) {
            const float *of_group = x + n_head * dim + h / (n_head / n_group) * n;
            struct lk_ssm_token token = {.rows = (int)n,
                                         .stride = (int)dim,
                                         .b = of_group,
                                         .c = of_group + n_group * n,
                                         .keep = gates[h],
                                         .take = gates[n_head + h],
                                         .skip = skip[h]};
            ok &= lk_scalar_ssm(&token, x + h * dim, (int)dim, all + (slot * n_head + h) * n * dim,
                                slot_of(e, op->out) + ((size_t)t * n_head + h) * dim);
        }
    }
    return ok;
}

/* A row; groups with weights of their own one by one. */
static bool norm(const struct lk_op *op, const struct lk_weight *w, const float *x, int n, float *y)
{
    int group = op->u.norm.group, step = w->cols == group ? n : group;
    bool ok = true;
    for (int i = 0; i < n; i += step) {
        ok &= lk_scalar_norm(x + i, (const float *)w->data + i, step, group, op->u.norm.eps, y + i);
    }
    return ok;
}

static bool run_op(const struct lk_exec *e, const struct lk_op *op,
                   const struct lk_state_mem *states, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
    const float *x = op->n_in > 0 ? slot_of(e, op->in[0]) : NULL;
    float *y = op->out >= 0 ? slot_of(e, op->out) : NULL;
    int width = op->out >= 0 ? plan->slots[op->out].width : 0;
    int rows = op->out >= 0 ? rows_of(e, op->out) : 0;
    bool ok = true;
    switch (op->kind) {
    case LK_OP_EMBED:
        for (int r = 0; r < rows; r++) {
            int64_t row = op->u.embed.positions ? b->pos[r] : b->token[r];
            ok &= lk_embed_row(w, row, op->u.embed.scale, y + (size_t)r * (size_t)width);
        }
        return ok;
    case LK_OP_NORM:
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * (size_t)width;
            ok &= norm(op, w, x + at, width, y + at);
        }
        return ok;
    case LK_OP_LAYER_NORM:
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * (size_t)width;
            ok &= lk_scalar_layer_norm(x + at, w->data, width, op->u.norm.group, op->u.norm.eps,
                                       y + at);
        }
        return ok;
    case LK_OP_MATMUL:
        return lk_scalar_matmul(w, x, rows, y, e->scratch);
    case LK_OP_BIAS:
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * (size_t)width;
            ok &= lk_scalar_bias(x + at, w->data, width, y + at);
        }
        return ok;
    case LK_OP_ROPE:
        return run_rope(e, op, b);
    case LK_OP_KV_STORE:
        run_kv_store(e, op, states, b);
        return true;
    case LK_OP_ATTENTION:
        return run_attention(e, op, states, b);
    case LK_OP_GLU:
        return lk_scalar_glu(op->u.glu.act, x, slot_of(e, op->in[1]), rows * width, y);
    case LK_OP_GELU:
        return lk_scalar_gelu(x, rows * width, y);
    case LK_OP_ADD:
        return lk_scalar_add(x, slot_of(e, op->in[1]), rows * width, y);
    case LK_OP_SCALE:
        return lk_scalar_scale(x, rows * width, op->u.scale.factor, y);
    case LK_OP_GATHER:
        for (int r = 0; r < rows; r++) {
            memcpy(y + (size_t)r * (size_t)width, x + (size_t)b->outputs[r] * (size_t)width,
                   (size_t)width * sizeof *y);
        }
        return true;
    case LK_OP_SOFTCAP:
        return lk_scalar_softcap(x, rows * width, op->u.softcap.cap_in, op->u.softcap.cap_out, y);
    case LK_OP_ROUTE:
        for (int r = 0; r < rows; r++) {
            int n = plan->slots[op->in[0]].width;
            ok &= lk_scalar_route(op, x + (size_t)r * (size_t)n, n, w ? w->data : NULL,
                                  y + (size_t)r * (size_t)width);
        }
        return ok;
    case LK_OP_EXPERTS:
        return lk_scalar_experts(w, x, plan->slots[op->in[0]].rows == LK_ROWS_ROUTED,
                                 slot_of(e, op->in[1]), plan->n_routed, b->n_tokens, y, e->scratch);
    case LK_OP_EXPERT_BIAS:
    case LK_OP_EXPERT_SCALE:
        return run_expert_rows(e, op);
    case LK_OP_COMBINE:
        return run_combine(e, op);
    case LK_OP_GATE:
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * (size_t)width;
            ok &= lk_scalar_gate(x + at, slot_of(e, op->in[1])[r], width, y + at);
        }
        return ok;
    case LK_OP_JOIN:
        run_join(e, op);
        return true;
    case LK_OP_HEADS:
        return lk_scalar_heads(w, x, rows, y, e->scratch);
    case LK_OP_PICK:
        run_pick(e, op);
        return true;
    case LK_OP_CONV:
        return run_conv(e, op, states, b);
    case LK_OP_L2_NORM:
        for (int r = 0; r < rows; r++) {
            size_t at = (size_t)r * (size_t)width;
            ok &= lk_scalar_l2_norm(x + at, width, op->u.l2_norm.group, op->u.l2_norm.n_groups,
                                    op->u.l2_norm.eps, y + at);
        }
        return ok;
    case LK_OP_DELTA_GATES:
        for (int r = 0; r < rows; r++) {
            size_t n = (size_t)width / 2, at = (size_t)r * n;
            const float *beta = op->n_in > 1 ? slot_of(e, op->in[1]) + at : NULL;
            ok &= lk_scalar_delta_gates(x + at, beta, w->data, (int)n, y + 2 * at);
        }
        return ok;
    case LK_OP_DELTA:
        return run_delta(e, op, states, b);
    case LK_OP_SSM:
        return run_ssm(e, op, states, b);
    case LK_OP_KINDS:
        break;
    }
    return false;
}

static lk_status scalar_run(struct lk_exec *e, struct lk_state_mem *states,
                            const struct lk_batch *b, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    lk_status status = lk_batch_check(&e->o, b, err);
    if (status) {
        return status;
    }
    e->rows = lk_batch_rows(plan, b);
    for (int r = 0; r < plan->n_ropes; r++) {
        float *cs = e->cs + (size_t)r * (size_t)e->o.max_tokens * e->cs_width;
        for (int t = 0; t < b->n_tokens; t++) {
            lk_rope_table(&plan->ropes[r], b->pos[t], cs + (size_t)t * e->cs_width);
        }
    }
    if (plan->in_slot >= 0) {
        memcpy(slot_of(e, plan->in_slot), b->hidden_in,
               (size_t)b->n_tokens * (size_t)plan->n_embd * sizeof(float));
    }
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (!run_op(e, op, states, b)) {
            return lk_fail_range(err, plan, op);
        }
    }
    size_t n = (size_t)rows_of(e, plan->out_slot) * (size_t)plan->slots[plan->out_slot].width;
    memcpy(b->out, slot_of(e, plan->out_slot), n * sizeof *b->out);
    return LK_OK;
}

static lk_status scalar_peek(struct lk_exec *e, int slot, float *data, size_t n, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    if (!e->o.keep_ops || slot < 0 || slot >= plan->n_slots) {
        return lk_fail(err, LK_E_INVALID, "slot %d was not kept", slot);
    }
    size_t have = (size_t)rows_of(e, slot) * (size_t)plan->slots[slot].width;
    memcpy(data, slot_of(e, slot), (n < have ? n : have) * sizeof *data);
    return LK_OK;
}

const struct lk_backend_impl lk_backend_scalar = {
    .name = "scalar",
    .open = scalar_open,
    .close = scalar_close,
    .prepare = scalar_prepare,
    .exec_free = scalar_exec_free,
    .state_alloc = lk_host_state_alloc,
    .state_free = lk_host_state_free,
    .state_read = lk_host_state_read,
    .state_write = lk_host_state_write,
    .state_check = lk_host_state_check,
    .run = scalar_run,
    .peek = scalar_peek,
};

/* SPDX-License-Identifier: Apache-2.0
 *
 * Steps: compiles a plan to steps with cuts and barriers, and runs a thread's share of them.
 */
#include <stdatomic.h>
#include <string.h>

#include "cpu/cpu_exec.h"
#include "cpu/scalar.h"
#include "backend/embed_row.h"
#include "base/numerics.h"
#include "base/os.h"
#include "plan/rope.h"

static enum lk_cut cut_of(enum lk_op_kind kind)
{
    switch (kind) {
    case LK_OP_MATMUL:
        return LK_CUT_CLAIMS;
    case LK_OP_BIAS:
    case LK_OP_GELU:
    case LK_OP_GLU:
    case LK_OP_SOFTCAP:
    case LK_OP_SCALE:
    case LK_OP_EXPERTS:
    case LK_OP_EXPERT_BIAS:
    case LK_OP_EXPERT_SCALE:
    case LK_OP_CONV:
        return LK_CUT_COLUMNS;
    case LK_OP_ATTENTION:
    case LK_OP_DELTA:
    case LK_OP_SSM:
    case LK_OP_HEADS:
        return LK_CUT_HEADS;
    case LK_OP_EMBED:
    case LK_OP_NORM:
    case LK_OP_LAYER_NORM:
    case LK_OP_ROPE:
    case LK_OP_KV_STORE:
    case LK_OP_ADD:
    case LK_OP_GATHER:
    case LK_OP_ROUTE:
    case LK_OP_COMBINE:
    case LK_OP_GATE:
    case LK_OP_PICK:
    case LK_OP_JOIN:
    case LK_OP_L2_NORM:
    case LK_OP_DELTA_GATES:
    case LK_OP_KINDS:
        break;
    }
    return LK_CUT_TOKENS;
}

static enum lk_rows rows_kind(const struct lk_plan *plan, const struct lk_op *op)
{
    return op->out >= 0 ? plan->slots[op->out].rows : LK_ROWS_TOKENS;
}

/* A token alone has no rows to put in order, and takes less time than claims. */
static enum lk_cut cut_in_decode(enum lk_cut cut)
{
    return cut == LK_CUT_NONE ? LK_CUT_TOKENS : cut == LK_CUT_CLAIMS ? LK_CUT_COLUMNS : cut;
}

static struct lk_step *push(struct lk_exec *e, int op, int prepare, enum lk_cut cut)
{
    const struct lk_plan *plan = e->o.plan;
    struct lk_step *s = &e->steps[e->n_steps];
    *s = (struct lk_step){.op = op, .prepare = prepare, .cut = cut};
    bool first = e->n_steps == 0;
    if (!first || plan->in_slot >= 0) {
        /* Rows that are handed in are copied by tokens, before the first step. */
        const struct lk_op *was = first ? NULL : &plan->ops[(s - 1)->op];
        enum lk_cut was_cut = first ? LK_CUT_TOKENS : (s - 1)->cut;
        enum lk_rows was_rows = first ? LK_ROWS_TOKENS : rows_kind(plan, was);
        bool other_rows = was_rows != rows_kind(plan, &plan->ops[op]);
        bool meet = was_cut != cut || cut == LK_CUT_HEADS; /* heads are cut in ways of their own */
        s->barrier = meet || (cut == LK_CUT_TOKENS && other_rows);
        /* Alone, each thread has all that was cut by tokens; the cache is shared. */
        was_cut = cut_in_decode(was_cut);
        meet = was_cut != cut_in_decode(cut) || cut == LK_CUT_HEADS;
        s->barrier_decode =
            meet && (was_cut != LK_CUT_TOKENS || (was && was->kind == LK_OP_KV_STORE));
    }
    e->n_steps++;
    return s;
}

/* Steps that prepare the input of matmul `i`, for it and all of its kind with the same input, so
 * that their steps stay together. */
static void push_prepare(struct lk_exec *e, int i)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_op *op = &plan->ops[i];
    unsigned kinds = 0;
    for (int j = i; j < plan->n_ops; j++) {
        if (plan->ops[j].kind == op->kind && plan->ops[j].in[0] == op->in[0]) {
            enum lk_type type = plan->weights[plan->ops[j].weight].type;
            enum lk_acts_kind kind = lk_type_info(type)->acts;
            if (!(kinds >> kind & 1)) {
                push(e, i, (int)type, LK_CUT_TOKENS);
            }
            kinds |= 1u << kind;
        }
    }
}

lk_status lk_cpu_compile(struct lk_exec *e, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    e->steps = lk_alloc_array((size_t)plan->n_ops * 4, sizeof *e->steps);
    e->cut_by_tokens = lk_alloc_array((size_t)plan->n_slots, sizeof *e->cut_by_tokens);
    e->claimed = lk_alloc_array((size_t)plan->n_ops, sizeof *e->claimed);
    if (!e->steps || !e->cut_by_tokens || !e->claimed) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    if (plan->in_slot >= 0) {
        e->cut_by_tokens[plan->in_slot] = true;
    }
    int prepared = -1; /* the slot whose prepared rows are at hand */
    int grouped = -1;  /* the rows of ROUTE by which they are in order; -1: as they come, -2: a row
                          is one of each head */
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        enum lk_cut cut = cut_of(op->kind);
        bool experts = op->kind == LK_OP_EXPERTS;
        int order = experts ? op->in[1] : op->kind == LK_OP_HEADS ? -2 : -1;
        if (experts && order != grouped) {
            push(e, i, -1, LK_CUT_NONE)->group = true;
        }
        if (lk_is_product(op)) {
            if (op->in[0] != prepared || order != grouped) {
                push_prepare(e, i);
            }
            prepared = op->in[0];
            grouped = order;
        }
        push(e, i, -1, cut);
        if (op->out >= 0) {
            e->cut_by_tokens[op->out] = cut == LK_CUT_TOKENS;
        }
    }
    return LK_OK;
}

void lk_cpu_epochs(const struct lk_exec *e, bool decode, int *epoch)
{
    int now = 0;
    for (int i = 0; i < e->n_steps; i++) {
        const struct lk_step *s = &e->steps[i];
        now += decode ? s->barrier_decode : s->barrier;
        epoch[s->op] = now;
    }
}

float *lk_cpu_slot(const struct lk_exec *e, int thread, int slot)
{
    const struct lk_act_memory *m = e->is_decode ? &e->decode : &e->many;
    float *base = e->is_decode && e->cut_by_tokens[slot] ? m->of_thread[thread] : m->shared;
    return base + m->offset[slot];
}

/* The prepared rows for a weight of `type`, whose input has k columns; the buffer is as wide as the
 * widest input of its kind. */
static struct lk_acts acts_of(const struct lk_exec *e, int thread, enum lk_type type, int k)
{
    enum lk_acts_kind kind = lk_type_info(type)->acts;
    struct lk_acts a = e->is_decode ? e->decode.acts_of_thread[thread][kind] : e->many.acts[kind];
    a.k = k;
    a.row_bytes = lk_acts_row_bytes(kind, k);
    return a;
}

static int n_rows(const struct lk_exec *e, enum lk_rows rows)
{
    return e->rows.n[rows];
}

/* ---- a thread's share of an op ---- */

struct span {
    int first, last;
};

/* Rows of a step cut by tokens: in decode every thread does all. */
static struct span token_span(const struct lk_exec *e, int n, int thread, int n_threads)
{
    if (e->is_decode) {
        return (struct span){0, n};
    }
    return (struct span){lk_share(n, thread, n_threads), lk_share(n, thread + 1, n_threads)};
}

/* Columns in whole groups of LK_PACK_ROWS, the same for every op of a width. */
static struct span column_span(int width, int thread, int n_threads)
{
    int groups = (width + LK_PACK_ROWS - 1) / LK_PACK_ROWS;
    int last = lk_share(groups, thread + 1, n_threads) * LK_PACK_ROWS;
    return (struct span){lk_share(groups, thread, n_threads) * LK_PACK_ROWS,
                         last < width ? last : width};
}

/* A row of the embedding: out of the packed weight where there is one, for the file's copy is then
 * not kept in memory. */
static bool embed(const struct lk_exec *e, const struct lk_op *op, int64_t row, float *y)
{
    const struct lk_weight *w = &e->o.plan->weights[op->weight];
    const struct lk_type_info *info = lk_type_info(w->type);
    if (!e->embed || op->weight != e->embed_weight) {
        return lk_embed_row(w, row, op->u.embed.scale, y);
    }
    for (int64_t i = 0; i < w->cols; i += LK_PANEL) {
        uint32_t part[LK_PANEL]; /* no type has elements of more than 4 bytes */
        int64_t n = w->cols - i < LK_PANEL ? w->cols - i : LK_PANEL;
        lk_packed_blocks(e->embed, row, i / info->block, n / info->block, part);
        lk_dequantize_f32(w->type, part, (size_t)n, y + i);
    }
    return lk_embed_row_end(w->cols, op->u.embed.scale, y);
}

/* A row; groups with weights of their own one by one. */
static bool norm(const struct lk_vec_kernels *vec, const struct lk_op *op,
                 const struct lk_weight *w, const float *x, int n, float *y)
{
    int group = op->u.norm.group, step = w->cols == group ? n : group;
    bool ok = true;
    for (int i = 0; i < n; i += step) {
        ok &= vec->norm(x + i, (const float *)w->data + i, step, group, op->u.norm.eps, y + i);
    }
    return ok;
}

static bool run_tokens(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_batch *b = e->batch;
    const struct lk_vec_kernels *vec = e->backend->vec;
    const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
    const float *x = op->n_in > 0 ? lk_cpu_slot(e, thread, op->in[0]) : NULL;
    float *y = op->out >= 0 ? lk_cpu_slot(e, thread, op->out) : NULL;
    size_t width = op->out >= 0 ? (size_t)plan->slots[op->out].width : 0;
    struct span rows = token_span(e, n_rows(e, rows_kind(plan, op)), thread, n_threads);
    bool ok = true;
    for (int r = rows.first; r < rows.last; r++) {
        size_t at = (size_t)r * width;
        switch (op->kind) {
        case LK_OP_EMBED:
            ok &= embed(e, op, op->u.embed.positions ? b->pos[r] : b->token[r], y + at);
            break;
        case LK_OP_NORM:
            ok &= norm(vec, op, w, x + at, (int)width, y + at);
            break;
        case LK_OP_LAYER_NORM:
            ok &= vec->layer_norm(x + at, w->data, (int)width, op->u.norm.group, op->u.norm.eps,
                                  y + at);
            break;
        case LK_OP_ROPE: {
            const struct lk_rope *rope = &plan->ropes[op->u.rope.rope];
            const float *cs =
                e->cs +
                ((size_t)op->u.rope.rope * (size_t)e->o.max_tokens + (size_t)r) * e->cs_width;
            ok &= vec->rope(x + at, op->u.rope.n_head, op->u.rope.head_dim, rope->n_dims,
                            rope->interleaved, cs, y + at);
            break;
        }
        case LK_OP_KV_STORE: {
            struct lk_kv_shape shape = lk_kv_shape_of(plan, op->u.kv_store.k, op->u.kv_store.v);
            int pos = b->pos[r];
            size_t row = (size_t)r * (size_t)shape.n_head;
            if (e->is_decode && thread != 0) {
                break;
            }
            vec->kv_store(&shape, x + row * (size_t)shape.head_dim,
                          lk_cpu_slot(e, thread, op->in[1]) + row * (size_t)shape.v_dim,
                          b->seqs[b->seq[r]].blocks[pos / LK_KV_BLOCK], pos % LK_KV_BLOCK,
                          lk_host_state_at(e->states, op->u.kv_store.k),
                          lk_host_state_at(e->states, op->u.kv_store.v));
            break;
        }
        case LK_OP_ADD:
            ok &= vec->add(x + at, lk_cpu_slot(e, thread, op->in[1]) + at, (int)width, y + at);
            break;
        case LK_OP_GATHER:
            memcpy(y + at, x + (size_t)b->outputs[r] * width, width * sizeof *y);
            break;
        case LK_OP_ROUTE: {
            int n = plan->slots[op->in[0]].width;
            ok &= lk_scalar_route(op, x + (size_t)r * (size_t)n, n, w ? w->data : NULL, y + at);
            break;
        }
        case LK_OP_COMBINE:
            ok &= lk_cpu_combine(e, op, thread, r, r + 1);
            break;
        case LK_OP_GATE: {
            float g = lk_flush(lk_sigmoid(lk_cpu_slot(e, thread, op->in[1])[r]));
            ok &= vec->scale(x + at, (int)width, g, y + at);
            break;
        }
        case LK_OP_PICK:
        case LK_OP_JOIN:
        case LK_OP_L2_NORM:
        case LK_OP_DELTA_GATES:
            ok &= lk_cpu_recurrent_row(e, op, thread, r);
            break;
        case LK_OP_CONV:
        case LK_OP_DELTA:
        case LK_OP_SSM:
        case LK_OP_EXPERTS:
        case LK_OP_EXPERT_BIAS:
        case LK_OP_EXPERT_SCALE:
        case LK_OP_HEADS:
        case LK_OP_MATMUL:
        case LK_OP_BIAS:
        case LK_OP_ATTENTION:
        case LK_OP_GELU:
        case LK_OP_GLU:
        case LK_OP_SOFTCAP:
        case LK_OP_SCALE:
        case LK_OP_KINDS:
            return false;
        }
    }
    return ok;
}

/* Claims some of the n groups that no thread has yet: much at first, little in the end, so that
 * threads which others hold up, or on slower cores, do less and nobody waits long. */
static bool claim(_Atomic int64_t *claimed, int64_t n, int n_threads, int64_t *first, int64_t *last)
{
    enum { LEAST = 2, ROUNDS = 2 };
    int64_t at = atomic_load_explicit(claimed, memory_order_relaxed), take;
    do {
        if (at >= n) {
            return false;
        }
        take = (n - at) / (ROUNDS * n_threads);
        take = take < LEAST ? LEAST : take;
        take = take < n - at ? take : n - at;
    } while (!atomic_compare_exchange_weak_explicit(claimed, &at, at + take, memory_order_relaxed,
                                                    memory_order_relaxed));
    *first = at;
    *last = at + take;
    return true;
}

static bool run_matmul(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_weight *w = &plan->weights[op->weight];
    const struct lk_packed *p = &e->packed[op->weight];
    const struct lk_matmul_kernels *mm = lk_matmul_kernels(e->backend->level);
    size_t width = (size_t)plan->slots[op->out].width;
    int rows = n_rows(e, plan->slots[op->out].rows);
    float *y = lk_cpu_slot(e, thread, op->out);
    struct lk_acts acts = acts_of(e, thread, w->type, (int)w->cols);
    int64_t first = p->n_groups * thread / n_threads;
    int64_t last = p->n_groups * (thread + 1) / n_threads;
    bool ok = true;
    if (rows == 0) {
        return true;
    }
    if (e->is_decode || n_threads == 1) {
        return first == last || mm->mul(p, &acts, rows, first, last, y, width);
    }
    while (claim(&e->claimed[op - plan->ops], p->n_groups, n_threads, &first, &last)) {
        ok &= mm->mul(p, &acts, rows, first, last, y, width);
    }
    return ok;
}

static bool run_columns(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_vec_kernels *vec = e->backend->vec;
    const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
    int width = plan->slots[op->out].width, rows = n_rows(e, plan->slots[op->out].rows);
    float *y = lk_cpu_slot(e, thread, op->out);
    if (op->kind == LK_OP_EXPERTS) {
        return lk_cpu_experts(e, op, acts_of(e, thread, w->type, (int)w->cols), thread, n_threads);
    }
    const float *x = lk_cpu_slot(e, thread, op->in[0]);
    const float *x1 = op->n_in > 1 ? lk_cpu_slot(e, thread, op->in[1]) : NULL;
    const float *vector = w ? w->data : NULL;
    struct span cols = column_span(width, thread, n_threads);
    int n = cols.last - cols.first;
    bool ok = true;
    if (op->kind == LK_OP_EXPERT_BIAS || op->kind == LK_OP_EXPERT_SCALE) {
        return lk_cpu_expert_rows(e, op, thread, cols.first, cols.last);
    }
    if (op->kind == LK_OP_CONV) {
        return n <= 0 || lk_cpu_conv(e, op, thread, cols.first, cols.last);
    }
    for (int r = 0; r < rows && n > 0; r++) {
        size_t at = (size_t)r * (size_t)width + (size_t)cols.first;
        switch (op->kind) {
        case LK_OP_BIAS:
            ok &= vec->bias(x + at, vector + cols.first, n, y + at);
            break;
        case LK_OP_GELU:
            ok &= vec->gelu(x + at, n, y + at);
            break;
        case LK_OP_GLU:
            ok &= vec->glu(op->u.glu.act, x + at, x1 + at, n, y + at);
            break;
        case LK_OP_SOFTCAP:
            ok &= vec->softcap(x + at, n, op->u.softcap.cap_in, op->u.softcap.cap_out, y + at);
            break;
        case LK_OP_SCALE:
            ok &= vec->scale(x + at, n, op->u.scale.factor, y + at);
            break;
        case LK_OP_EMBED:
        case LK_OP_NORM:
        case LK_OP_LAYER_NORM:
        case LK_OP_MATMUL:
        case LK_OP_ROPE:
        case LK_OP_KV_STORE:
        case LK_OP_ATTENTION:
        case LK_OP_ADD:
        case LK_OP_GATHER:
        case LK_OP_ROUTE:
        case LK_OP_EXPERTS:
        case LK_OP_EXPERT_BIAS:
        case LK_OP_EXPERT_SCALE:
        case LK_OP_COMBINE:
        case LK_OP_GATE:
        case LK_OP_PICK:
        case LK_OP_JOIN:
        case LK_OP_HEADS:
        case LK_OP_CONV:
        case LK_OP_L2_NORM:
        case LK_OP_DELTA_GATES:
        case LK_OP_DELTA:
        case LK_OP_SSM:
        case LK_OP_KINDS:
            return false; /* cut in another way, or done above */
        }
    }
    return ok;
}

static void run_prepare(const struct lk_exec *e, const struct lk_step *s, int thread, int n_threads)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_slot *in = &plan->slots[plan->ops[s->op].in[0]];
    enum lk_type type = (enum lk_type)s->prepare;
    bool heads = plan->ops[s->op].kind == LK_OP_HEADS;
    int each = heads ? plan->weights[plan->ops[s->op].weight].n_experts : 1; /* of a token */
    struct lk_acts acts = acts_of(e, thread, type, in->width / each);
    if (plan->ops[s->op].kind == LK_OP_EXPERTS) {
        lk_cpu_prepare_experts(e, &plan->ops[s->op], acts, thread, n_threads);
        return;
    }
    struct span rows = token_span(e, n_rows(e, in->rows), thread, n_threads);
    lk_matmul_kernels(e->backend->level)
        ->prepare(&acts, lk_cpu_slot(e, thread, plan->ops[s->op].in[0]), rows.first * each,
                  rows.last * each);
}

void lk_cpu_rope_tables(const struct lk_exec *e, int first, int last)
{
    const struct lk_plan *plan = e->o.plan;
    for (int r = 0; r < plan->n_ropes; r++) {
        for (int t = first; t < last; t++) {
            lk_rope_table(&plan->ropes[r], e->batch->pos[t],
                          e->cs + ((size_t)r * (size_t)e->o.max_tokens + (size_t)t) * e->cs_width);
        }
    }
}

/* The time since *at, as this thread's part of a mean over the threads; starts anew. */
static double lap(double *at, int n_threads)
{
    double from = *at;
    *at = lk_now();
    return (*at - from) / n_threads;
}

void lk_cpu_run_steps(void *exec, int thread, int n_threads)
{
    struct lk_exec *e = exec;
    const struct lk_plan *plan = e->o.plan;
    const struct lk_batch *b = e->batch;
    struct lk_op_seconds *times = e->times ? e->times + (size_t)thread * (size_t)plan->n_ops : NULL;
    double clock = times ? lk_now() : 0.0;
    if (!e->is_decode) { /* in decode: made before the threads start */
        lk_cpu_rope_tables(e, lk_share(b->n_tokens, thread, n_threads),
                           lk_share(b->n_tokens, thread + 1, n_threads));
    }
    if (plan->in_slot >= 0) {
        struct span rows = token_span(e, b->n_tokens, thread, n_threads);
        size_t width = (size_t)plan->n_embd, at = (size_t)rows.first * width;
        memcpy(lk_cpu_slot(e, thread, plan->in_slot) + at, b->hidden_in + at,
               (size_t)(rows.last - rows.first) * width * sizeof(float));
    }
    for (int i = 0; i < e->n_steps; i++) {
        const struct lk_step *s = &e->steps[i];
        const struct lk_op *op = &plan->ops[s->op];
        bool ok = true;
        if (e->is_decode ? s->barrier_decode : s->barrier) {
            lk_pool_barrier(e->backend->pool);
        }
        if (times) {
            times[s->op].wait += lap(&clock, n_threads);
        }
        if (s->group) {
            if (!e->is_decode && thread == 0) {
                lk_cpu_group_experts(e, op);
            }
        } else if (s->prepare >= 0) {
            run_prepare(e, s, thread, n_threads);
        } else if (s->cut == LK_CUT_TOKENS) {
            ok = run_tokens(e, op, thread, n_threads);
        } else if (s->cut == LK_CUT_CLAIMS) {
            ok = run_matmul(e, op, thread, n_threads);
        } else if (s->cut == LK_CUT_COLUMNS) {
            ok = run_columns(e, op, thread, n_threads);
        } else if (op->kind == LK_OP_DELTA || op->kind == LK_OP_SSM) {
            ok = lk_cpu_scan(e, op, thread, n_threads);
        } else if (op->kind == LK_OP_HEADS) {
            const struct lk_weight *w = &plan->weights[op->weight];
            ok = lk_cpu_heads(e, op, acts_of(e, thread, w->type, (int)w->cols), thread, n_threads);
        } else {
            ok = lk_cpu_attention(e, op, thread, n_threads);
        }
        if (!ok && e->bad[thread] < 0) {
            e->bad[thread] = s->op;
        }
        if (times && (s->prepare >= 0 || s->group)) {
            times[s->op].prepare += lap(&clock, n_threads);
        } else if (times) {
            times[s->op].run += lap(&clock, n_threads);
            times[s->op].calls += n_rows(e, rows_kind(plan, op)) > 0;
        }
    }
}

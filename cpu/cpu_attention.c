/* SPDX-License-Identifier: Apache-2.0
 *
 * Cpu_attention: cuts an attention op into units for threads. Many tokens: a unit is a KV head and
 * a tile of tokens of one sequence, which walks the chunks in rising order. In decode a unit is a
 * KV head and a chunk; the chunks are merged in order after a barrier. The bits are the same.
 */
#include <string.h>

#include "cpu/cpu_exec.h"
#include "base/numerics.h"

enum { TILE_ROWS = 60 };

int lk_cpu_attention_tile(int group)
{
    return group < TILE_ROWS ? TILE_ROWS / group : 1;
}

struct attn {
    const struct lk_exec *e;
    const struct lk_op *op;
    const struct lk_vec_kernels *vec;
    struct lk_attn_work *work;
    const float *q; /* [n_tokens][n_head * head_dim] */
    float *out;
    const uint32_t *k, *v;
    const float *sinks; /* [n_head], or NULL */
    struct lk_kv_shape shape;
    size_t n_head, n_kv_head, head_dim, dim, group;
    size_t v_dim, v_padded; /* of values and results; as in the cache */
    int tile;               /* tokens of a unit */
};

/* Query heads of a KV head at token t, as integers, into rows [row, row + group). */
static void load_queries(const struct attn *a, int t, size_t kv_head, size_t row)
{
    for (size_t g = 0; g < a->group; g++) {
        const float *from = a->q + ((size_t)t * a->n_head + kv_head * a->group + g) * a->head_dim;
        int16_t *to = a->work->q + (row + g) * a->dim;
        float scale = a->vec->quantize(from, a->head_dim, LK_Q_MOST, to);
        a->work->q_scale[row + g] = scale * a->op->u.attention.score_in;
        memset(to + a->head_dim, 0, (a->dim - a->head_dim) * sizeof *to);
    }
}

/* Rows of a token at `pos` against chunk c: the slots they take part in. end: see lk_last_key. */
static void set_range(const struct attn *a, int pos, int end, int c, size_t row)
{
    int from = lk_first_key(a->op, pos) - c * LK_KV_BLOCK;
    int to = lk_last_key(a->op, pos, end) - c * LK_KV_BLOCK;
    from = from > 0 ? from : 0;
    to = to < LK_KV_BLOCK - 1 ? to : LK_KV_BLOCK - 1;
    if (from >= LK_KV_BLOCK || to < 0) {
        from = 1;
        to = 0;
    }
    for (size_t g = 0; g < a->group; g++) {
        a->work->from[row + g] = (int8_t)from;
        a->work->to[row + g] = (int8_t)to;
    }
}

/* A row before any chunk: nothing, which l of 0 says (that of a started row is at least 0.7), or
 * the sink of its head. */
static void start_row(const struct attn *a, size_t row, size_t head)
{
    struct lk_attn_work *w = a->work;
    w->l[row] = 0.0f;
    if (a->sinks) {
        w->n[row] = lk_sink_exponent(a->sinks[head]);
        w->l[row] = lk_sink_weight(a->sinks[head]);
        memset(w->o + row * a->v_padded, 0, a->v_padded * sizeof *w->o);
    }
}

/* Where the cells of a chunk lie; NULL: of none. */
struct cells {
    const uint32_t *k, *v;
};

static struct cells cells_of(const struct attn *a, size_t kv_head, int32_t block)
{
    return (struct cells){a->k + lk_kv_k_head(&a->shape, block, (int)kv_head),
                          a->v + lk_kv_v_head(&a->shape, block, (int)kv_head)};
}

/* next: what is wanted after it, to be fetched ahead. */
static bool run_chunk(const struct attn *a, struct cells at, struct cells next, int n_rows,
                      int32_t *n, float *l, float *o)
{
    struct lk_attn_chunk c = {
        .n_rows = n_rows,
        .dim = (int)a->dim,
        .v_dim = (int)a->v_padded,
        .k_bits = a->shape.k_bits,
        .q = a->work->q,
        .q_scale = a->work->q_scale,
        .k = at.k,
        .v = at.v,
        .next_k = next.k,
        .next_v = next.v,
        .from = a->work->from,
        .to = a->work->to,
        .score_cap = a->op->u.attention.score_cap,
        .n = n,
        .l = l,
        .o = o,
        .wide = a->work->wide,
    };
    return a->vec->attn_chunk(&c);
}

/* Tokens [t0, t0 + n) of a sequence, one KV head. */
static bool run_tile(const struct attn *a, const struct lk_batch_seq *seq, int t0, int n,
                     size_t kv_head)
{
    struct lk_attn_work *w = a->work;
    int n_rows = n * (int)a->group, pos0 = seq->pos + t0 - seq->first;
    int end = seq->pos + seq->n_tokens - 1, last = lk_last_key(a->op, pos0 + n - 1, end);
    bool ok = true;
    for (int i = 0; i < n; i++) {
        load_queries(a, t0 + i, kv_head, (size_t)i * a->group);
    }
    for (int r = 0; r < n_rows; r++) {
        start_row(a, (size_t)r, kv_head * a->group + (size_t)r % a->group);
    }
    for (int c = lk_first_key(a->op, pos0) / LK_KV_BLOCK; c <= last / LK_KV_BLOCK; c++) {
        for (int i = 0; i < n; i++) {
            set_range(a, pos0 + i, end, c, (size_t)i * a->group);
        }
        struct cells next = {NULL, NULL};
        if (c < last / LK_KV_BLOCK) {
            next = cells_of(a, kv_head, seq->blocks[c + 1]);
        }
        ok &= run_chunk(a, cells_of(a, kv_head, seq->blocks[c]), next, n_rows, w->n_c, w->l_c,
                        w->o_c);
        for (int r = 0; r < n_rows; r++) {
            if (w->from[r] <= w->to[r]) {
                size_t at = (size_t)r * a->v_padded;
                a->vec->attn_merge(w->l[r] == 0.0f, (int)a->v_padded, &w->n[r], &w->l[r], w->o + at,
                                   w->n_c[r], w->l_c[r], w->o_c + at);
            }
        }
    }
    for (int r = 0; r < n_rows; r++) {
        size_t t = (size_t)t0 + (size_t)r / a->group, g = (size_t)r % a->group;
        ok &= a->vec->attn_end((int)a->v_dim, w->l[r], w->o + (size_t)r * a->v_padded,
                               a->out + (t * a->n_head + kv_head * a->group + g) * a->v_dim);
    }
    return ok;
}

static bool run_many(const struct attn *a, int thread, int n_threads)
{
    const struct lk_batch *b = a->e->batch;
    int unit = 0;
    bool ok = true;
    for (int s = 0; s < b->n_seqs; s++) {
        const struct lk_batch_seq *seq = &b->seqs[s];
        for (int t = 0; t < seq->n_tokens; t += a->tile) {
            int n = seq->n_tokens - t < a->tile ? seq->n_tokens - t : a->tile;
            for (size_t h = 0; h < a->n_kv_head; h++) {
                if (unit++ % n_threads == thread) {
                    ok &= run_tile(a, seq, seq->first + t, n, h);
                }
            }
        }
    }
    return ok;
}

static bool run_decode(const struct attn *a, int thread, int n_threads)
{
    const struct lk_exec *e = a->e;
    const struct lk_batch_seq *seq = &e->batch->seqs[0];
    int pos = seq->pos, c0 = lk_first_key(a->op, pos) / LK_KV_BLOCK;
    int n_chunks = pos / LK_KV_BLOCK - c0 + 1;
    int units = n_chunks * (int)a->n_kv_head;
    struct lk_attn_work *w = a->work;
    bool ok = true;
    int loaded = -1;
    int u_end = lk_share(units, thread + 1, n_threads);
    for (int u = lk_share(units, thread, n_threads); u < u_end; u++) {
        int h = u / n_chunks, c = u % n_chunks;
        struct cells next = {NULL, NULL};
        if (u + 1 < u_end) {
            next = cells_of(a, (size_t)((u + 1) / n_chunks), seq->blocks[c0 + (u + 1) % n_chunks]);
        }
        if (h != loaded) {
            load_queries(a, 0, (size_t)h, 0);
            loaded = h;
        }
        set_range(a, pos, pos, c0 + c, 0);
        ok &= run_chunk(a, cells_of(a, (size_t)h, seq->blocks[c0 + c]), next, (int)a->group, w->n_c,
                        w->l_c, w->o_c);
        for (size_t g = 0; g < a->group; g++) {
            size_t at = ((size_t)h * a->group + g) * (size_t)e->o.max_blocks + (size_t)c;
            e->part_n[at] = w->n_c[g];
            e->part_l[at] = w->l_c[g];
            memcpy(e->part_o + at * a->v_padded, w->o_c + g * a->v_padded,
                   a->v_padded * sizeof *w->o_c);
        }
    }
    if (n_threads > 1) {
        lk_pool_barrier(e->backend->pool);
    }
    int n_head = (int)a->n_head;
    for (int h = lk_share(n_head, thread, n_threads); h < lk_share(n_head, thread + 1, n_threads);
         h++) {
        start_row(a, 0, (size_t)h);
        for (int c = 0; c < n_chunks; c++) {
            size_t at = (size_t)h * (size_t)e->o.max_blocks + (size_t)c;
            a->vec->attn_merge(w->l[0] == 0.0f, (int)a->v_padded, &w->n[0], &w->l[0], w->o,
                               e->part_n[at], e->part_l[at], e->part_o + at * a->v_padded);
        }
        ok &= a->vec->attn_end((int)a->v_dim, w->l[0], w->o, a->out + (size_t)h * a->v_dim);
    }
    return ok;
}

bool lk_cpu_attention(const struct lk_exec *e, const struct lk_op *op, int thread, int n_threads)
{
    struct lk_attn_shape s = lk_attn_shape_of(e->o.plan, op);
    struct attn a = {
        .e = e,
        .op = op,
        .vec = e->backend->vec,
        .work = &e->attn[thread],
        .q = lk_cpu_slot(e, thread, op->in[0]),
        .out = lk_cpu_slot(e, thread, op->out),
        .k = lk_host_state_at(e->states, op->u.attention.k),
        .v = lk_host_state_at(e->states, op->u.attention.v),
        .sinks = op->weight >= 0 ? e->o.plan->weights[op->weight].data : NULL,
        .shape = lk_kv_shape_of(e->o.plan, op->u.attention.k, op->u.attention.v),
        .n_head = (size_t)s.n_head,
        .n_kv_head = (size_t)s.n_kv_head,
        .head_dim = (size_t)s.head_dim,
        .dim = (size_t)s.dim,
        .group = (size_t)s.group,
        .v_dim = (size_t)s.v_dim,
        .v_padded = (size_t)s.v_dim_padded,
        .tile = lk_cpu_attention_tile(s.group),
    };
    if (e->rows.n[e->o.plan->slots[op->out].rows] == 0) { /* nobody asks */
        return true;
    }
    return e->is_decode ? run_decode(&a, thread, n_threads) : run_many(&a, thread, n_threads);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * The backend "ref": the ideal mathematics in double, one loop for each op, no cleverness: what the
 * contract approximates. States are kept in double (ref_state.h).
 * With the CPU level "rounded" it rounds q, K, V, p and the inputs of F16 and BF16 matrices where
 * the contract does, so that what is left against it is float arithmetic alone; with "coarse" it
 * also rounds the inputs of quantized matrices to 8 bits in blocks. Rows of a matrix are shared out
 * among the threads of the options, which changes no sum; with 0 there is one.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "base/mem.h"
#include "base/numerics.h"
#include "base/os.h"
#include "ref/ref_ops.h"
#include "ref/ref_state.h"

#define TILE         8 /* tokens that share a pass over a row of weights */
#define MOST_THREADS 64

struct lk_backend {
    bool rounded, coarse;
    int threads;
};

struct lk_exec {
    struct lk_exec_options o;
    bool rounded, coarse;
    int threads;
    double *slots;
    size_t *offset; /* [n_slots], in doubles */
    double *xt;     /* a matmul's input: [rows / TILE, the last filled up][cols][TILE] */
    double *row;    /* a row of weights for each thread */
    size_t row_len;
    double *cs;                /* a position of the widest rope table */
    double *scores;            /* [max_blocks * LK_KV_BLOCK] */
    struct lk_row_counts rows; /* of the last run */
};

static bool is_level(const struct lk_backend_options *options, const char *level)
{
    return options->cpu_level && strcmp(options->cpu_level, level) == 0;
}

static lk_status ref_open(const struct lk_backend_options *options, struct lk_backend **out,
                          struct lk_caps *caps, lk_error *err)
{
    *out = lk_alloc(sizeof **out);
    if (!*out) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening the reference");
    }
    struct lk_backend *b = *out;
    b->coarse = is_level(options, "coarse");
    b->rounded = b->coarse || is_level(options, "rounded");
    b->threads = options->threads < 1              ? 1
                 : options->threads > MOST_THREADS ? MOST_THREADS
                                                   : options->threads;
    *caps = (struct lk_caps){.exact = false, .name = "reference in double"};
    bool named = (*out)->rounded || (*out)->coarse;
    snprintf(caps->describe, sizeof caps->describe, "%.100s%s%.16s", caps->name, named ? ", " : "",
             named ? options->cpu_level : "");
    return LK_OK;
}

static void ref_close(struct lk_backend *backend)
{
    lk_free(backend);
}

static void ref_exec_free(struct lk_exec *e)
{
    if (e) {
        lk_free(e->slots);
        lk_free(e->offset);
        lk_free(e->xt);
        lk_free(e->row);
        lk_free(e->cs);
        lk_free(e->scores);
        lk_free(e);
    }
}

static lk_status ref_prepare(struct lk_backend *backend, const struct lk_exec_options *o,
                             struct lk_exec **out, lk_error *err)
{
    const struct lk_plan *plan = o->plan;
    struct lk_exec *e = lk_alloc(sizeof *e);
    if (!e) {
        return lk_fail(err, LK_E_NOMEM, "out of memory preparing the plan");
    }
    e->o = *o;
    e->rounded = backend->rounded;
    e->coarse = backend->coarse;
    e->threads = backend->threads;
    lk_status status = lk_plan_check_weights(plan, err);
    if (status) {
        ref_exec_free(e);
        return status;
    }
    size_t cols = 1, rows = (size_t)o->max_tokens;
    for (int i = 0; i < plan->n_ops; i++) {
        const struct lk_op *op = &plan->ops[i];
        if (op->weight >= 0 && (size_t)plan->weights[op->weight].cols > cols) {
            cols = (size_t)plan->weights[op->weight].cols;
        }
    }
    e->offset = lk_alloc_array((size_t)plan->n_slots, sizeof *e->offset);
    size_t n = SIZE_MAX;
    if (e->offset) {
        struct lk_row_counts most = lk_most_rows(o);
        n = lk_plan_layout(plan, &most, o->keep_ops, 8, NULL, e->offset);
    }
    e->slots = lk_alloc_array(n, sizeof *e->slots);
    e->xt = lk_alloc_array(cols * lk_round_up(rows, TILE), sizeof *e->xt);
    e->row = lk_alloc_array(cols * (size_t)e->threads, sizeof *e->row);
    e->row_len = cols;
    e->cs = lk_alloc_array((size_t)lk_plan_rope_width(plan) + 1, sizeof *e->cs);
    e->scores = lk_alloc_array((size_t)o->max_blocks * LK_KV_BLOCK, sizeof *e->scores);
    if (!e->slots || !e->xt || !e->row || !e->cs || !e->scores) {
        ref_exec_free(e);
        return lk_fail(err, LK_E_NOMEM, "out of memory: activations of %d tokens in double",
                       o->max_tokens);
    }
    *out = e;
    return LK_OK;
}

/* ---- ops ---- */

/* x to nearest even with `bits` significant bits. */
static double round_to(double x, int bits)
{
    uint64_t u, low = (uint64_t)1 << (53 - bits);
    memcpy(&u, &x, sizeof u);
    u = (u + (low >> 1) - 1 + ((u >> (53 - bits)) & 1)) & ~(low - 1);
    memcpy(&x, &u, sizeof u);
    return x;
}

/* x[n] -> y[n] as integers of at most `most` times a scale, as a cache and rule 8 hold them. Which
 * of two integers is taken near a tie is a matter of float arithmetic, and follows the contract's.
 */
static void quantized(const double *x, size_t n, int most, double *y)
{
    double a = 0;
    for (size_t i = 0; i < n; i++) {
        a = fmax(a, fabs(x[i]));
    }
    bool any = !lk_out_of_range((float)a) && lk_flush((float)a) != 0.0f;
    float factor = any ? lk_cell_factor((float)a, (float)most) : 0.0f;
    for (size_t i = 0; i < n; i++) {
        y[i] = any ? lk_rte((float)x[i] * factor) * (a / most) : 0;
    }
}

static double *slot_of(const struct lk_exec *e, int slot)
{
    return e->slots + e->offset[slot];
}

static int rows_of(const struct lk_exec *e, int slot)
{
    return e->rows.n[e->o.plan->slots[slot].rows];
}

static void embed(const struct lk_weight *w, int32_t id, double scale, double *y)
{
    const uint8_t *data = w->data;
    size_t n = (size_t)w->cols;
    lk_dequantize_f64(w->type, data + (size_t)id * lk_type_row_bytes(w->type, n), n, y);
    for (size_t i = 0; i < n; i++) {
        y[i] *= scale;
    }
}

/* apart: from a group's weights to the next one's. */
static void norm(const double *x, const float *w, int apart, int width, int group, double eps,
                 double *y)
{
    for (int base = 0; base < width; base += group) {
        double sum = 0;
        for (int i = 0; i < group; i++) {
            sum += x[base + i] * x[base + i];
        }
        double r = 1 / sqrt(sum / group + eps);
        for (int i = 0; i < group; i++) {
            y[base + i] = x[base + i] * r * (double)w[base / group * apart + i];
        }
    }
}

static void layer_norm(const double *x, const float *w, int width, int group, double eps, double *y)
{
    for (int base = 0; base < width; base += group) {
        double sum = 0;
        for (int i = 0; i < group; i++) {
            sum += x[base + i];
        }
        for (int i = 0; i < group; i++) {
            y[base + i] = x[base + i] - sum / group;
        }
    }
    norm(y, w, 0, width, group, eps, y);
}

/* A row of a matmul's input as the contract's matrices see it. */
static void round_input(const struct lk_exec *e, const struct lk_weight *w, double *x)
{
    const struct lk_type_info *info = lk_type_info((uint32_t)w->type);
    size_t cols = (size_t)w->cols, block = (size_t)lk_acts_block(info->acts);
    int bits = info->acts == LK_ACTS_R13 ? 13 : info->acts == LK_ACTS_R16 ? 16 : 53;
    for (size_t k = 0; k < cols && bits < 53; k++) {
        x[k] = round_to(x[k], bits);
    }
    if (!e->coarse || !info->quantized) {
        return;
    }
    for (size_t b = 0; b < cols; b += block) {
        double most = 0;
        for (size_t k = b; k < b + block; k++) {
            most = fmax(most, fabs(x[k]));
        }
        for (size_t k = b; k < b + block && most > 0; k++) {
            x[k] = nearbyint(x[k] * 127 / most) * most / 127;
        }
    }
}

/* Rows [from, to) of a matrix, for one thread. */
struct part {
    const struct lk_exec *e;
    const struct lk_weight *w;
    size_t from, to, n; /* n: tokens */
    const int *at;      /* the row of y that each has; NULL: in order */
    double *row, *y;
};

/* Each row of weights is dequantized once. Tokens meet it in transposed tiles, so that the loop
 * over a tile vectorizes; every sum runs over k in order. */
static void matmul_rows(void *argument)
{
    const struct part *p = argument;
    size_t cols = (size_t)p->w->cols, rows = (size_t)p->w->rows;
    size_t bytes = lk_type_row_bytes(p->w->type, cols);
    for (size_t r = p->from; r < p->to; r++) {
        lk_dequantize_f64(p->w->type, (const uint8_t *)p->w->data + r * bytes, cols, p->row);
        for (size_t base = 0; base < p->n; base += TILE) {
            const double *xt = p->e->xt + base * cols;
            double sum[TILE] = {0};
            for (size_t k = 0; k < cols; k++) {
                for (size_t t = 0; t < TILE; t++) {
                    sum[t] += p->row[k] * xt[k * TILE + t];
                }
            }
            for (size_t t = 0; t < TILE && base + t < p->n; t++) {
                size_t at = p->at ? (size_t)p->at[base + t] : base + t;
                p->y[at * rows + r] = sum[t];
            }
        }
    }
}

/* Rows of x, or those of numbers `from`, to rows of y, or those of numbers `at`. */
static void matmul(const struct lk_exec *e, const struct lk_weight *w, const double *x,
                   const int *from, int n_rows, double *y, const int *at)
{
    enum { WORTH_A_THREAD = 1 << 20 }; /* elements of a matrix */
    size_t n = (size_t)n_rows, cols = (size_t)w->cols, rows = (size_t)w->rows;
    for (size_t t = 0; t < lk_round_up(n, TILE); t++) {
        double *tile = e->xt + t / TILE * TILE * cols + t % TILE;
        if (t < n) {
            memcpy(e->row, x + (from ? (size_t)from[t] : t) * cols, cols * sizeof *e->row);
        } else {
            memset(e->row, 0, cols * sizeof *e->row);
        }
        if (e->rounded) {
            round_input(e, w, e->row);
        }
        for (size_t k = 0; k < cols; k++) {
            tile[k * TILE] = e->row[k];
        }
    }
    size_t parts = rows * cols < WORTH_A_THREAD ? 1 : (size_t)e->threads;
    struct part part[MOST_THREADS];
    struct lk_thread *thread[MOST_THREADS] = {NULL};
    for (size_t i = parts; i-- > 0;) {
        lk_error why;
        part[i] = (struct part){.e = e,
                                .w = w,
                                .from = rows * i / parts,
                                .to = rows * (i + 1) / parts,
                                .n = n,
                                .at = at,
                                .row = e->row + i * e->row_len,
                                .y = y};
        if (i == 0 || lk_thread_start(&thread[i], matmul_rows, &part[i], &why)) {
            thread[i] = NULL;
            matmul_rows(&part[i]);
        }
    }
    for (size_t i = 1; i < parts; i++) {
        lk_thread_join(&thread[i]);
    }
}

static void rope(const struct lk_exec *e, const struct lk_op *op, int32_t pos, const double *x,
                 double *y)
{
    const struct lk_rope *table = &e->o.plan->ropes[op->u.rope.rope];
    int hd = op->u.rope.head_dim, half_dims = table->n_dims / 2;
    lk_rope_table_f64(table, pos, e->cs);
    for (int h = 0; h < op->u.rope.n_head; h++, x += hd, y += hd) {
        memcpy(y, x, (size_t)hd * sizeof *y);
        for (int i = 0; i < half_dims; i++) {
            int i0 = table->interleaved ? 2 * i : i;
            int i1 = table->interleaved ? 2 * i + 1 : i + half_dims;
            double c = e->cs[2 * i], s = e->cs[2 * i + 1];
            y[i0] = x[i0] * c - x[i1] * s;
            y[i1] = x[i0] * s + x[i1] * c;
        }
    }
}

/* Where position `slot` of a block's head lies among the cells of a paged state. */
static size_t cell_at(const struct lk_state *s, size_t block, size_t head, size_t slot)
{
    return ((block * (size_t)s->n_head + head) * LK_KV_BLOCK + slot) * (size_t)s->head_dim;
}

static void store_rows(const struct lk_exec *e, const struct lk_state *s, const double *row,
                       size_t block, size_t slot, double *cells)
{
    size_t hd = (size_t)s->head_dim;
    for (size_t h = 0; h < (size_t)s->n_head; h++, row += hd) {
        double *to = cells + cell_at(s, block, h, slot);
        if (e->rounded) {
            quantized(row, hd, lk_kv_most(s->bits), to);
        } else {
            memcpy(to, row, hd * sizeof *to);
        }
    }
}

static void kv_store(const struct lk_exec *e, const struct lk_op *op,
                     const struct lk_state_mem *states, const struct lk_batch *b, int t)
{
    const int at[2] = {op->u.kv_store.k, op->u.kv_store.v};
    size_t slot = (size_t)(b->pos[t] % LK_KV_BLOCK);
    size_t block = (size_t)b->seqs[b->seq[t]].blocks[b->pos[t] / LK_KV_BLOCK];
    for (int i = 0; i < 2; i++) {
        const struct lk_state *s = &e->o.plan->states[at[i]];
        size_t width = (size_t)s->n_head * (size_t)s->head_dim;
        store_rows(e, s, slot_of(e, op->in[i]) + (size_t)t * width, block, slot,
                   lk_ref_cells(states, at[i]));
    }
}

/* Base-2 scores of keys first..last, into e->scores. */
static void score(const struct lk_exec *e, const struct lk_op *op,
                  const struct lk_state_mem *states, const struct lk_batch *b, int t, int head,
                  int first, int last)
{
    const double log2e = 1.4426950408889634;
    struct lk_attn_shape s = lk_attn_shape_of(e->o.plan, op);
    const struct lk_state *ks = &e->o.plan->states[op->u.attention.k];
    size_t hd = (size_t)s.head_dim;
    const double *q = slot_of(e, op->in[0]) + ((size_t)t * (size_t)s.n_head + (size_t)head) * hd;
    const int32_t *blocks = b->seqs[b->seq[t]].blocks;
    double rounded[LK_MAX_HEAD_DIM], cap = op->u.attention.softcap;
    if (e->rounded) {
        quantized(q, hd, LK_Q_MOST, rounded);
        q = rounded;
    }
    for (int j = first; j <= last; j++) {
        const double *k = lk_ref_cells(states, op->u.attention.k) +
                          cell_at(ks, (size_t)blocks[j / LK_KV_BLOCK], (size_t)(head / s.group),
                                  (size_t)(j % LK_KV_BLOCK));
        double dot = 0;
        for (size_t d = 0; d < hd; d++) {
            dot += q[d] * k[d];
        }
        dot *= op->u.attention.scale;
        e->scores[j - first] = (cap > 0 ? cap * tanh(dot / cap) : dot) * log2e;
    }
}

/* Weights of values as the contract rounds them: P of each chunk, times its power of two. */
static void round_weights(const struct lk_state_mem *states, const struct lk_op *op,
                          const int32_t *blocks, int head, int first, int pos, double *w)
{
    const struct lk_state *vs = &states->geom.plan->states[op->u.attention.v];
    for (int c = first / LK_KV_BLOCK; c <= pos / LK_KV_BLOCK; c++) {
        int from = c * LK_KV_BLOCK > first ? c * LK_KV_BLOCK : first;
        int to = c * LK_KV_BLOCK + LK_KV_BLOCK - 1 < pos ? c * LK_KV_BLOCK + LK_KV_BLOCK - 1 : pos;
        double scale[LK_KV_BLOCK], most = 0;
        for (int j = from; j <= to; j++) {
            const double *v =
                lk_ref_cells(states, op->u.attention.v) +
                cell_at(vs, (size_t)blocks[c], (size_t)head, (size_t)(j % LK_KV_BLOCK));
            double a = 0;
            for (int d = 0; d < vs->head_dim; d++) {
                a = fmax(a, fabs(v[d]));
            }
            scale[j - from] = a / LK_BYTE_MOST;
            most = fmax(most, w[j - first] * scale[j - from]);
        }
        /* A chunk so far below the best takes no part, and its unit would be none of a double's. */
        double unit = most > 0x1p-900 ? exp2(floor(log2(most)) - LK_W_BITS) : 1;
        for (int j = from; j <= to; j++) {
            double x = w[j - first] * scale[j - from];
            w[j - first] = x > 0 ? nearbyint(x / unit) * unit / scale[j - from] : w[j - first];
        }
    }
}

static void attention(const struct lk_exec *e, const struct lk_op *op,
                      const struct lk_state_mem *states, const struct lk_batch *b, int t, int head)
{
    struct lk_attn_shape s = lk_attn_shape_of(e->o.plan, op);
    const struct lk_state *vs = &e->o.plan->states[op->u.attention.v];
    const struct lk_batch_seq *seq = &b->seqs[b->seq[t]];
    int first = lk_first_key(op, b->pos[t]);
    int last = lk_last_key(op, b->pos[t], seq->pos + seq->n_tokens - 1);
    size_t hd = (size_t)s.v_dim;
    double *out = slot_of(e, op->out) + ((size_t)t * (size_t)s.n_head + (size_t)head) * hd;
    const int32_t *blocks = seq->blocks;
    const float *sinks = op->weight >= 0 ? e->o.plan->weights[op->weight].data : NULL;
    double sink = sinks ? (double)sinks[head] * 1.4426950408889634 : 0;
    double best = sinks ? nearbyint(sink) : -INFINITY, sum = 0;
    score(e, op, states, b, t, head, first, last);
    for (int j = first; j <= last; j++) {
        best = fmax(best, nearbyint(e->scores[j - first])); /* whole, as chunks have it */
    }
    for (int j = first; j <= last; j++) {
        e->scores[j - first] = exp2(e->scores[j - first] - best);
        sum += e->scores[j - first];
    }
    sum += sinks ? exp2(sink - best) : 0;
    if (e->rounded) {
        round_weights(states, op, blocks, head / s.group, first, last, e->scores);
    }
    memset(out, 0, hd * sizeof *out);
    for (int j = first; j <= last; j++) {
        const double *v = lk_ref_cells(states, op->u.attention.v) +
                          cell_at(vs, (size_t)blocks[j / LK_KV_BLOCK], (size_t)(head / s.group),
                                  (size_t)(j % LK_KV_BLOCK));
        for (size_t d = 0; d < hd; d++) {
            out[d] += e->scores[j - first] * v[d];
        }
    }
    for (size_t d = 0; d < hd; d++) {
        out[d] /= sum;
    }
}

/* ---- experts ---- */

/* The expert of a routed row. */
static int expert_of(const struct lk_exec *e, const struct lk_op *op, int row)
{
    int k = e->o.plan->n_routed;
    return (int)slot_of(e, op->in[1])[row / k * 2 * k + row % k];
}

/* Each row meets the matrix of its expert, together with others that go there. */
static void experts(const struct lk_exec *e, const struct lk_op *op, const struct lk_weight *w)
{
    const struct lk_plan *plan = e->o.plan;
    bool routed = plan->slots[op->in[0]].rows == LK_ROWS_ROUTED;
    int n_rows = rows_of(e, op->out);
    for (int x = 0; x < w->n_experts; x++) {
        struct lk_weight one = lk_weight_of_expert(w, x);
        int from[TILE], at[TILE], n = 0;
        for (int r = 0; r < n_rows; r++) {
            if (expert_of(e, op, r) == x) {
                at[n] = r;
                from[n++] = routed ? r : r / plan->n_routed;
            }
            if (n == TILE || (n > 0 && r == n_rows - 1)) {
                matmul(e, &one, slot_of(e, op->in[0]), from, n, slot_of(e, op->out), at);
                n = 0;
            }
        }
    }
}

/* Each head's part of a row meets that head's matrix. */
static void heads(const struct lk_exec *e, const struct lk_op *op, const struct lk_weight *w)
{
    size_t n = (size_t)w->n_experts, cols = (size_t)w->cols, rows = (size_t)w->rows / n;
    for (size_t r = 0; r < (size_t)rows_of(e, op->out) * n; r++) {
        struct lk_weight one = lk_weight_of_expert(w, (int)(r % n));
        matmul(e, &one, slot_of(e, op->in[0]) + r * cols, NULL, 1, slot_of(e, op->out) + r * rows,
               NULL);
    }
}

static void join(const struct lk_op *op, const double *a, const double *b, size_t width, double *y)
{
    size_t n_a = (size_t)op->u.join.width[0], n_b = (size_t)op->u.join.width[1];
    for (size_t i = 0; i < width; i += n_a + n_b, a += n_a, b += n_b, y += n_a + n_b) {
        memcpy(y, a, n_a * sizeof *y);
        memcpy(y + n_a, b, n_b * sizeof *y);
    }
}

/* ---- layers with a state: rows come in the order of their tokens ---- */

static void conv(const struct lk_exec *e, const struct lk_op *op, const struct lk_state_mem *states,
                 const struct lk_batch *b, int r)
{
    const struct lk_state *s = &e->o.plan->states[op->u.conv.state];
    const struct lk_batch_seq *q = &b->seqs[b->seq[r]];
    size_t width = (size_t)s->dim, at = (size_t)r * width;
    lk_ref_conv(op, e->o.plan->weights[op->weight].data, slot_of(e, op->in[0]) + at, width,
                lk_ref_cells(states, op->u.conv.state) + (size_t)q->slot * lk_ref_unit_cells(s),
                slot_of(e, op->out) + at);
}

static void delta(const struct lk_exec *e, const struct lk_op *op,
                  const struct lk_state_mem *states, const struct lk_batch *b, int r)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_state *s = &plan->states[op->u.delta.state];
    const struct lk_batch_seq *q = &b->seqs[b->seq[r]];
    size_t row = (size_t)r;
    lk_ref_delta(op, slot_of(e, op->in[0]) + row * (size_t)plan->slots[op->in[0]].width,
                 slot_of(e, op->in[1]) + row * (size_t)plan->slots[op->in[1]].width,
                 lk_ref_cells(states, op->u.delta.state) + (size_t)q->slot * lk_ref_unit_cells(s),
                 slot_of(e, op->out) + row * (size_t)plan->slots[op->out].width);
}

static void ssm(const struct lk_exec *e, const struct lk_op *op, const struct lk_state_mem *states,
                const struct lk_batch *b, int r)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_batch_seq *q = &b->seqs[b->seq[r]];
    size_t row = (size_t)r;
    lk_ref_ssm(op, plan->weights[op->weight].data,
               slot_of(e, op->in[0]) + row * (size_t)plan->slots[op->in[0]].width,
               slot_of(e, op->in[1]) + row * (size_t)plan->slots[op->in[1]].width,
               lk_ref_cells(states, op->u.ssm.state) +
                   (size_t)q->slot * lk_ref_unit_cells(&plan->states[op->u.ssm.state]),
               slot_of(e, op->out) + row * (size_t)plan->slots[op->out].width);
}

static double act(enum lk_act kind, double x)
{
    double u = 0.7978845608028654 * (x + 0.044715 * x * x * x);
    return x / (1 + exp(kind == LK_ACT_SILU ? -x : -2 * u)); /* (1 + tanh u) / 2, uncancelled */
}

static double glu(enum lk_act kind, double g, double u)
{
    if (kind == LK_ACT_CLAMPED) {
        g = fmin(g, 7);
        return g / (1 + exp(-1.702 * g)) * (fmax(fmin(u, 7), -7) + 1);
    }
    if (kind == LK_ACT_SIGMOID) {
        return u / (1 + exp(-g));
    }
    if (kind == LK_ACT_RELU) {
        return fmax(g, 0) * u;
    }
    if (kind == LK_ACT_NONE) {
        return g * u;
    }
    return act(kind, g) * u;
}

static void run_op(const struct lk_exec *e, const struct lk_op *op,
                   const struct lk_state_mem *states, const struct lk_batch *b)
{
    const struct lk_plan *plan = e->o.plan;
    const struct lk_weight *w = op->weight >= 0 ? &plan->weights[op->weight] : NULL;
    const double *x = op->n_in > 0 ? slot_of(e, op->in[0]) : NULL;
    const double *x1 = op->n_in > 1 ? slot_of(e, op->in[1]) : NULL;
    double *y = op->out >= 0 ? slot_of(e, op->out) : NULL;
    size_t width = op->out >= 0 ? (size_t)plan->slots[op->out].width : 0;
    int rows = op->out >= 0 ? rows_of(e, op->out) : b->n_tokens;
    const float *vec = w ? w->data : NULL;
    if (op->kind == LK_OP_MATMUL) {
        matmul(e, w, x, NULL, rows, y, NULL);
        return;
    }
    if (op->kind == LK_OP_EXPERTS) {
        experts(e, op, w);
        return;
    }
    if (op->kind == LK_OP_HEADS) {
        heads(e, op, w);
        return;
    }
    size_t n_used = (size_t)plan->n_routed;
    for (int r = 0; r < rows; r++) {
        size_t at = (size_t)r * width;
        switch (op->kind) {
        case LK_OP_EMBED:
            embed(w, op->u.embed.positions ? b->pos[r] : b->token[r], (double)op->u.embed.scale,
                  y + at);
            break;
        case LK_OP_NORM:
            norm(x + at, vec, w->cols == op->u.norm.group ? 0 : op->u.norm.group, (int)width,
                 op->u.norm.group, (double)op->u.norm.eps, y + at);
            break;
        case LK_OP_LAYER_NORM:
            layer_norm(x + at, vec, (int)width, op->u.norm.group, (double)op->u.norm.eps, y + at);
            break;
        case LK_OP_BIAS:
            for (size_t i = 0; i < width; i++) {
                y[at + i] = x[at + i] + (double)vec[i];
            }
            break;
        case LK_OP_ROPE:
            rope(e, op, b->pos[r], x + at, y + at);
            break;
        case LK_OP_KV_STORE:
            kv_store(e, op, states, b, r);
            break;
        case LK_OP_ATTENTION:
            for (int h = 0; h < op->u.attention.n_head; h++) {
                attention(e, op, states, b, r, h);
            }
            break;
        case LK_OP_GLU:
            for (size_t i = at; i < at + width; i++) {
                y[i] = glu(op->u.glu.act, x[i], x1[i]);
            }
            break;
        case LK_OP_GELU:
            for (size_t i = at; i < at + width; i++) {
                y[i] = x[i] * erfc(-x[i] * 0.70710678118654752) / 2;
            }
            break;
        case LK_OP_ADD:
            for (size_t i = at; i < at + width; i++) {
                y[i] = x[i] + x1[i];
            }
            break;
        case LK_OP_SCALE:
            for (size_t i = at; i < at + width; i++) {
                y[i] = x[i] * (double)op->u.scale.factor;
            }
            break;
        case LK_OP_GATHER:
            memcpy(y + at, x + (size_t)b->outputs[r] * width, width * sizeof *y);
            break;
        case LK_OP_SOFTCAP:
            for (size_t i = at; i < at + width; i++) {
                y[i] = op->u.softcap.cap * tanh(x[i] / op->u.softcap.cap);
            }
            break;
        case LK_OP_ROUTE: {
            int n = plan->slots[op->in[0]].width;
            lk_ref_route(op, x + (size_t)r * (size_t)n, n, vec, y + at);
            break;
        }
        case LK_OP_EXPERT_BIAS:
            for (size_t i = 0; i < width; i++) {
                y[at + i] = x[at + i] + (double)vec[(size_t)expert_of(e, op, r) * width + i];
            }
            break;
        case LK_OP_EXPERT_SCALE:
            for (size_t i = 0; i < width; i++) {
                y[at + i] = x[at + i] * (double)vec[expert_of(e, op, r)];
            }
            break;
        case LK_OP_COMBINE:
            for (size_t i = 0; i < width; i++) {
                y[at + i] = 0;
                for (size_t j = 0; j < n_used; j++) {
                    y[at + i] += x1[((size_t)r * 2 + 1) * n_used + j] *
                                 x[((size_t)r * n_used + j) * width + i];
                }
            }
            break;
        case LK_OP_GATE:
            for (size_t i = at; i < at + width; i++) {
                y[i] = x[i] / (1 + exp(-x1[r]));
            }
            break;
        case LK_OP_PICK:
            for (size_t i = 0, n = (size_t)op->u.pick.width; i < width; i++) {
                size_t from = (at + i) / n * (size_t)op->u.pick.stride + (at + i) % n;
                y[at + i] = x[from + (size_t)op->u.pick.at];
            }
            break;
        case LK_OP_JOIN:
            join(op, x + (size_t)r * (size_t)plan->slots[op->in[0]].width,
                 x1 + (size_t)r * (size_t)plan->slots[op->in[1]].width, width, y + at);
            break;
        case LK_OP_L2_NORM:
            lk_ref_l2_norm(op, x + at, width, y + at);
            break;
        case LK_OP_DELTA_GATES:
            lk_ref_delta_gates(x + at / 2, x1 ? x1 + at / 2 : NULL, vec, width / 2, y + at);
            break;
        case LK_OP_CONV:
            conv(e, op, states, b, r);
            break;
        case LK_OP_DELTA:
            delta(e, op, states, b, r);
            break;
        case LK_OP_SSM:
            ssm(e, op, states, b, r);
            break;
        case LK_OP_MATMUL:
        case LK_OP_EXPERTS:
        case LK_OP_HEADS:
        case LK_OP_KINDS:
            break;
        }
    }
}

static lk_status ref_run(struct lk_exec *e, struct lk_state_mem *states, const struct lk_batch *b,
                         lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    lk_status status = lk_batch_check(&e->o, b, err);
    if (status) {
        return status;
    }
    e->rows = lk_batch_rows(plan, b);
    if (plan->in_slot >= 0) {
        for (size_t i = 0; i < (size_t)b->n_tokens * (size_t)plan->n_embd; i++) {
            slot_of(e, plan->in_slot)[i] = (double)b->hidden_in[i];
        }
    }
    for (int i = 0; i < plan->n_ops; i++) {
        run_op(e, &plan->ops[i], states, b);
    }
    size_t n = (size_t)rows_of(e, plan->out_slot) * (size_t)plan->slots[plan->out_slot].width;
    const double *out = slot_of(e, plan->out_slot);
    for (size_t i = 0; i < n; i++) {
        if (!isfinite((float)out[i])) {
            return lk_fail(err, LK_E_RANGE, "reference: output %zu is not finite", i);
        }
    }
    for (size_t i = 0; i < n; i++) {
        b->out[i] = (float)out[i];
    }
    return LK_OK;
}

static lk_status ref_peek(struct lk_exec *e, int slot, float *data, size_t n, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    if (!e->o.keep_ops || slot < 0 || slot >= plan->n_slots) {
        return lk_fail(err, LK_E_INVALID, "slot %d was not kept", slot);
    }
    size_t have = (size_t)rows_of(e, slot) * (size_t)plan->slots[slot].width;
    for (size_t i = 0; i < n && i < have; i++) {
        data[i] = (float)slot_of(e, slot)[i];
    }
    return LK_OK;
}

lk_status lk_ref_step(struct lk_exec *e, struct lk_state_mem *states, const struct lk_batch *b,
                      int i, const float *const *in, double *out, lk_error *err)
{
    const struct lk_plan *plan = e->o.plan;
    lk_status status = lk_batch_check(&e->o, b, err);
    if (status) {
        return status;
    }
    const struct lk_op *op = &plan->ops[i];
    e->rows = lk_batch_rows(plan, b);
    for (int k = 0; k < op->n_in; k++) {
        size_t n = (size_t)rows_of(e, op->in[k]) * (size_t)plan->slots[op->in[k]].width;
        for (size_t j = 0; j < n; j++) {
            slot_of(e, op->in[k])[j] = (double)in[k][j];
        }
    }
    run_op(e, op, states, b);
    size_t n = (size_t)rows_of(e, op->out) * (size_t)plan->slots[op->out].width;
    memcpy(out, slot_of(e, op->out), n * sizeof *out);
    return LK_OK;
}

const struct lk_backend_impl lk_backend_ref = {
    .name = "ref",
    .open = ref_open,
    .close = ref_close,
    .prepare = ref_prepare,
    .exec_free = ref_exec_free,
    .state_alloc = lk_ref_state_alloc,
    .state_free = lk_ref_state_free,
    .state_read = lk_ref_state_read,
    .state_write = lk_ref_state_write,
    .state_check = lk_ref_state_check,
    .run = ref_run,
    .peek = ref_peek,
};

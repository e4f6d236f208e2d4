/* SPDX-License-Identifier: Apache-2.0
 *
 * Kernels_attention: chunks, merges and ends of attention put together against
 * lk_scalar_attention, head by head: windows, first and last positions of chunks, softcap, scores
 * with ties, far apart and out of range, cells that hold anything where no key was stored, both
 * widths of K.
 */
#include <stdio.h>
#include <string.h>

#include "cpu/scalar.h"
#include "cpu/vec.h"
#include "tests/cpu/kernels.h"
#include "base/numerics.h"

enum { FEW_ROWS = 9, MAX_ROWS = 38, MAX_BLOCKS = 4 };

struct attn_case {
    struct lk_attn_params p;
    int n_rows;          /* query heads of tokens that share a KV head */
    int pos[MAX_ROWS];   /* position of each */
    int head;            /* KV head */
    struct edge q, k, v; /* q [n_rows][head_dim] */
    int32_t blocks[MAX_BLOCKS];
};

static int dim_of(int head_dim)
{
    return (head_dim + LK_KV_DIM_ALIGN - 1) / LK_KV_DIM_ALIGN * LK_KV_DIM_ALIGN;
}

/* Stores the keys and values of every position up to the last one; the rest stays NaN. */
static void fill_cache(struct rng *rng, struct attn_case *c, int last, int k_low, int k_high)
{
    const struct lk_kv_shape *s = &c->p.shape;
    size_t n = 4 * LK_KV_HEAD_AT(MAX_BLOCKS, 0, (size_t)s->n_head, (size_t)s->dim, LK_KV_K_BITS);
    float row[2][2 * LK_MAX_HEAD_DIM];
    c->k = edge_new(n, 64);
    c->v = edge_new(n, 64);
    memset(c->k.data, 0xff, n);
    memset(c->v.data, 0xff, n);
    for (int p = 0; p <= last; p++) {
        for (int i = 0; i < s->n_head * s->head_dim; i++) {
            row[0][i] = rng_below(rng, 9) ? rng_float(rng, k_low, k_high) : 0.0f;
            row[1][i] = rng_below(rng, 9) ? rng_float(rng, -18, 6) : 0.0f;
        }
        lk_scalar_kv_store(s, row[0], row[1], c->blocks[p / LK_KV_BLOCK], p % LK_KV_BLOCK,
                           (void *)c->k.data, (void *)c->v.data);
    }
}

/* What a backend does: all rows against each chunk, merged in rising order. */
static bool run_chunks(const struct lk_vec_kernels *t, const struct attn_case *c, float *out)
{
    const struct lk_kv_shape *s = &c->p.shape;
    size_t nd = (size_t)s->dim, hd = (size_t)s->head_dim, rows = (size_t)c->n_rows;
    size_t nv = (size_t)s->v_dim_padded;
    struct edge q = edge_new(rows * nd * 2, 64), o = edge_new(rows * nv * 4, 64);
    struct edge o_c = edge_new(rows * nv * 4, 64), wide = edge_new(64 * (nd + nv) * 2, 64);
    int16_t *qi = (int16_t *)(void *)q.data;
    float *fo = (float *)(void *)o.data, q_scale[MAX_ROWS];
    float *fo_c = (float *)(void *)o_c.data, l[MAX_ROWS], l_c[MAX_ROWS];
    int32_t n[MAX_ROWS], n_c[MAX_ROWS];
    bool ok = true, started[MAX_ROWS] = {false};
    int last = 0;
    memset(q.data, 0, q.n_bytes);
    for (size_t r = 0; r < rows; r++) {
        const float *from = (const float *)(void *)c->q.data + r * hd;
        q_scale[r] = t->quantize(from, hd, LK_Q_MOST, qi + r * nd) * c->p.score_in;
        last = c->pos[r] > last ? c->pos[r] : last;
    }
    for (int b = 0; b <= last / LK_KV_BLOCK; b++) {
        int8_t from[MAX_ROWS], to[MAX_ROWS];
        for (size_t r = 0; r < rows; r++) {
            int first = c->p.window > 0 ? c->pos[r] - c->p.window + 1 : 0;
            first = first > b * LK_KV_BLOCK ? first - b * LK_KV_BLOCK : 0;
            int end = c->pos[r] - b * LK_KV_BLOCK;
            from[r] = (int8_t)(first > 64 ? 64 : first);
            to[r] = (int8_t)(end < -1 ? -1 : end > 63 ? 63 : end);
        }
        struct lk_attn_chunk chunk = {
            .n_rows = c->n_rows,
            .dim = s->dim,
            .v_dim = s->v_dim_padded,
            .k_bits = s->k_bits,
            .q = qi,
            .q_scale = q_scale,
            .k = (const uint32_t *)(void *)c->k.data + lk_kv_k_head(s, c->blocks[b], c->head),
            .v = (const uint32_t *)(void *)c->v.data + lk_kv_v_head(s, c->blocks[b], c->head),
            .from = from,
            .to = to,
            .score_cap = c->p.score_cap,
            .n = n_c,
            .l = l_c,
            .o = fo_c,
            .wide = (int16_t *)(void *)wide.data,
        };
        ok &= t->attn_chunk(&chunk);
        for (size_t r = 0; r < rows; r++) {
            if (from[r] <= to[r]) {
                t->attn_merge(!started[r], s->v_dim_padded, &n[r], &l[r], fo + r * nv, n_c[r],
                              l_c[r], fo_c + r * nv);
                started[r] = true;
            }
        }
    }
    for (size_t r = 0; r < rows; r++) {
        ok &= t->attn_end(s->v_dim, l[r], fo + r * nv, out + r * (size_t)s->v_dim);
    }
    edge_free(&q);
    edge_free(&o);
    edge_free(&o_c);
    edge_free(&wide);
    return ok;
}

static void check_attention(struct report *rep, struct rng *rng, const struct lk_vec_kernels *t,
                            int round)
{
    static const int DIMS[] = {32, 64, 80, 96, 128, 20, 256, 576};
    static const int V_DIMS[] = {32, 64, 80, 40, 128, 20, 256, 512};
    static const int POS[] = {0, 1, 7, 62, 63, 64, 65, 127, 128, 200, 255};
    int hd = DIMS[round % (int)LK_COUNT(DIMS)], vd = V_DIMS[round % (int)LK_COUNT(DIMS)];
    /* each third time through the dims many rows: two tiles of 16 of them, and some */
    int rows = 1 + round % FEW_ROWS, last = 0;
    if (round / (int)LK_COUNT(DIMS) % 3 == 2) {
        rows = FEW_ROWS + 1 + 7 * round % (MAX_ROWS - FEW_ROWS);
    }
    bool far = round % 4 == 1, out_of_range = round % 16 == 15;
    struct attn_case c = {
        .p = {.shape = {.n_head = 2,
                        .head_dim = hd,
                        .v_dim = vd,
                        .dim = dim_of(hd),
                        .v_dim_padded = dim_of(vd),
                        .k_bits = round % 4 == 2 ? LK_KV_K8_BITS : LK_KV_K_BITS}},
        .n_rows = rows,
        .head = round % 2,
        .blocks = {2, 0, 3, 1},
    };
    c.p.window = round % 3 == 0 ? 1 + rng_below(rng, 150) : 0;
    c.p.score_in = rng_float(rng, -4, -3);
    c.p.score_in = lk_flt(lk_magnitude(c.p.score_in));
    c.p.score_cap = round % 5 == 4 ? 72.13475f : 0.0f;
    for (int r = 0; r < rows; r++) {
        c.pos[r] = round % 2 ? POS[rng_below(rng, (int)LK_COUNT(POS))]
                             : POS[round % (int)LK_COUNT(POS)] + r / 3;
        c.pos[r] = c.pos[r] > 255 ? 255 : c.pos[r];
        last = c.pos[r] > last ? c.pos[r] : last;
    }
    fill_cache(rng, &c, last, out_of_range ? 10 : -10, out_of_range ? 15 : far ? 5 : 1);
    size_t n = (size_t)rows * (size_t)hd, n_out = (size_t)rows * (size_t)vd;
    c.q = edge_new(n * 4, 4);
    float *q = (float *)(void *)c.q.data;
    for (size_t i = 0; i < n; i++) {
        q[i] = out_of_range     ? rng_float(rng, 8, 10)
               : round % 7 == 3 ? (float)rng_below(rng, 3) - 1.0f /* ties of scores */
                                : rng_float(rng, -8, far ? 4 : 1);
    }
    struct edge got = edge_new(n_out * 4, 4), want = edge_new(n_out * 4, 4);
    bool got_ok = run_chunks(t, &c, (float *)(void *)got.data), want_ok = true;
    for (int r = 0; r < rows; r++) {
        want_ok &= lk_scalar_attention(&c.p, q + (size_t)r * (size_t)hd, (void *)c.k.data,
                                       (void *)c.v.data, c.blocks, c.pos[r], c.head,
                                       (float *)(void *)want.data + (size_t)r * (size_t)vd);
    }
    char what[128];
    snprintf(what, sizeof what, "round %d: %d rows of %d and %d, %d bits, window %d, last %d",
             round, rows, hd, vd, c.p.shape.k_bits, c.p.window, last);
    if (got_ok != want_ok) {
        report_fail(rep, "%s: in range: %d, the contract says %d", what, got_ok, want_ok);
    } else if (want_ok) {
        same_floats(rep, what, (float *)(void *)got.data, (float *)(void *)want.data, n_out);
    }
    edge_free(&c.q);
    edge_free(&c.k);
    edge_free(&c.v);
    edge_free(&got);
    edge_free(&want);
}

void test_attention(struct report *rep, enum lk_cpu_level level)
{
    struct rng rng = {rep->seed};
    report_begin(rep, lk_cpu_level_name(level), "attention", "");
    for (int round = 0; round < 240; round++) {
        check_attention(rep, &rng, lk_vec_kernels(level), round);
    }
    report_end(rep);
}

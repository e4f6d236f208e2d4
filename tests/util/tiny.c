/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny: see tiny.h.
 */
#include "tests/util/rng.h"
#include "tests/util/tiny.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

lk_engine *tiny_engine_with(const char *path, const lk_engine_options *options, lk_model **model)
{
    lk_error err;
    lk_engine *engine = NULL;
    cr_assert_eq(lk_model_open(path, model, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_engine_open(*model, options, &engine, &err), LK_OK, "%s", err.message);
    return engine;
}

lk_engine *tiny_engine(const char *path, const char *backend, uint32_t n_ctx, uint32_t n_batch,
                       uint32_t n_sessions, lk_model **model)
{
    lk_engine_options o = lk_engine_options_default();
    o.backend = backend;
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    o.n_sessions = n_sessions;
    return tiny_engine_with(path, &o, model);
}

void tiny_tokens(int32_t *ids, size_t n, size_t n_vocab, unsigned seed)
{
    struct rng rng = {seed};
    for (size_t i = 0; i < n; i++) {
        ids[i] = rng_below(&rng, (int)n_vocab);
    }
}

struct collect {
    float *rows;
    size_t n_vocab, n;
};

static bool collect_row(void *user, size_t pos, const float *row)
{
    struct collect *c = user;
    cr_assert_eq(pos, c->n, "rows come in order of position");
    memcpy(c->rows + pos * c->n_vocab, row, c->n_vocab * sizeof *row);
    c->n++;
    return true;
}

float *tiny_rows(lk_engine *engine, const int32_t *ids, size_t n)
{
    lk_error err;
    lk_session *s = NULL;
    struct collect c = {.n_vocab = lk_engine_n_vocab(engine)};
    c.rows = malloc(n * c.n_vocab * sizeof *c.rows);
    cr_assert(c.rows);
    cr_assert_eq(lk_session_open(engine, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync_rows(s, ids, n, 0, collect_row, &c, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(c.n, n);
    lk_session_close(&s);
    return c.rows;
}

void tiny_same(const float *a, const float *b, size_t n, const char *what)
{
    cr_assert(a && b, "%s: a row is missing", what);
    if (memcmp(a, b, n * sizeof *a) == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        cr_assert(memcmp(&a[i], &b[i], sizeof *a) == 0, "%s: float %zu is %a, expected %a", what, i,
                  (double)a[i], (double)b[i]);
    }
}

double tiny_row_error(const float *got, const float *want, size_t n_vocab, double *sum)
{
    double mean = 0, var = 0, worst = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        mean += (double)want[i] / (double)n_vocab;
    }
    for (size_t i = 0; i < n_vocab; i++) {
        var += pow((double)want[i] - mean, 2) / (double)n_vocab;
    }
    for (size_t i = 0; i < n_vocab; i++) {
        double e = fabs((double)got[i] - (double)want[i]) / sqrt(var);
        worst = fmax(worst, e);
        if (sum) {
            *sum += e * e;
        }
    }
    return worst;
}

struct tiny_golden tiny_golden_read(const char *path, size_t n_rows)
{
    struct tiny_golden g;
    FILE *f = fopen(path, "rb");
    cr_assert(f && fread(&g.n_tokens, 4, 1, f) == 1 && fread(&g.n_cols, 4, 1, f) == 1, "%s", path);
    size_t n = (n_rows ? n_rows : g.n_tokens) * (size_t)g.n_cols;
    g.ids = malloc(g.n_tokens * sizeof *g.ids);
    g.rows = malloc(n * sizeof *g.rows);
    cr_assert(g.ids && g.rows);
    cr_assert(fread(g.ids, 4, g.n_tokens, f) == g.n_tokens && fread(g.rows, 4, n, f) == n, "%s",
              path);
    fclose(f);
    return g;
}

void tiny_golden_free(struct tiny_golden *g)
{
    free(g->ids);
    free(g->rows);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress, encoder: entries of models that make embeddings alone (tests/regress/REGISTRY.md): what
 * every way makes of a text is what `transformers` does (tests/golden/make.py).
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tests/regress/regress.h"
#include "tests/util/tiny.h"

enum { MAX_TOKENS = 64, MAX_EMBD = 64 };

static void embed_on(const struct rg_way *way, const char *name, const struct tiny_golden *g,
                     float *row)
{
    char path[512];
    lk_error err;
    lk_model *m;
    lk_engine_options o = rg_options(way, MAX_TOKENS, MAX_TOKENS);
    o.embeddings = true;
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", name);
    lk_engine *e = tiny_engine_with(path, &o, &m);
    lk_status status = lk_embed(e, g->ids, g->n_tokens, LK_POOLING_MEAN, false, row, &err);
    cr_assert_eq(status, LK_OK, "%s: %s", way->name, err.message);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* The largest difference of a number, where numbers spread by 1 / sqrt(n). */
static double far_from(const struct tiny_golden *g, const float *row)
{
    double worst = 0;
    for (uint32_t i = 0; i < g->n_cols; i++) {
        worst = fmax(worst, fabs((double)row[i] - (double)g->rows[i]));
    }
    return worst * sqrt(g->n_cols);
}

Test(regress, encoders_are_the_models)
{
    static const char *const names[] = {"bert", "nomic-bert"};
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        const struct rg_way *ways;
        size_t n_ways = rg_ways(&ways);
        float want[MAX_EMBD], row[MAX_EMBD], ideal[MAX_EMBD];
        char path[512];
        snprintf(path, sizeof path, LK_TEST_DIR "/golden/embed-%s.bin", names[i]);
        struct tiny_golden g = tiny_golden_read(path, 1); /* the mean row */
        cr_assert(g.n_tokens <= MAX_TOKENS && g.n_cols <= MAX_EMBD);
        embed_on(rg_ref(false), names[i], &g, ideal);
        cr_assert_lt(far_from(&g, ideal), 2e-5, "%s: %.2e from the model", names[i],
                     far_from(&g, ideal));
        for (size_t w = 0; w < n_ways; w++) {
            embed_on(&ways[w], names[i], &g, w ? row : want);
            double far = far_from(&g, w ? row : want);
            rg_debug("%s, %s: %.2e from the model\n", names[i], ways[w].name, far);
            cr_assert_lt(far, 2e-2, "%s, %s: %.2e from the model", names[i], ways[w].name, far);
            if (w) {
                tiny_same(row, want, g.n_cols, ways[w].name);
            }
        }
        tiny_golden_free(&g);
    }
}

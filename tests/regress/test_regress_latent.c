/* SPDX-License-Identifier: Apache-2.0
 *
 * Regress, latent: entries of multi-head latent attention (tests/regress/REGISTRY.md): what every
 * way makes of a text, at once and token by token, is what `transformers` does
 * (tests/golden/make.py).
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/regress/regress.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

enum { MAX_TOKENS = 64 };

static float *rows_on(const struct rg_way *way, const char *name, const struct tiny_golden *g,
                      uint32_t n_batch)
{
    char path[512];
    lk_model *m;
    lk_engine_options o = rg_options(way, MAX_TOKENS, n_batch);
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", name);
    lk_engine *e = tiny_engine_with(path, &o, &m);
    float *rows = tiny_rows(e, g->ids, g->n_tokens);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

static double far_from(const struct tiny_golden *g, const float *rows)
{
    double worst = 0;
    size_t n = g->n_cols;
    for (size_t t = 0; t < g->n_tokens; t++) {
        worst = fmax(worst, tiny_row_error(rows + t * n, g->rows + t * n, n, NULL));
    }
    return worst;
}

Test(regress, latent_attention_is_the_models)
{
    static const char *const names[] = {"deepseek2-lite", "deepseek3", "glm4moe-lite"};
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        const struct rg_way *ways;
        size_t n_ways = rg_ways(&ways);
        char path[512];
        snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.bin", names[i]);
        struct tiny_golden g = tiny_golden_read(path, 0);
        cr_assert_leq(g.n_tokens, MAX_TOKENS);
        size_t n = (size_t)g.n_tokens * g.n_cols;
        float *ideal = rows_on(rg_ref(false), names[i], &g, MAX_TOKENS);
        cr_assert_lt(far_from(&g, ideal), TOL_REF_GOLDEN, "%s: %.2e from the model", names[i],
                     far_from(&g, ideal));
        float *want = rows_on(&ways[0], names[i], &g, MAX_TOKENS);
        for (size_t w = 0; w < n_ways; w++) {
            for (uint32_t n_batch = 1; n_batch <= MAX_TOKENS; n_batch *= MAX_TOKENS) {
                float *rows = rows_on(&ways[w], names[i], &g, n_batch);
                rg_debug("%s, %s, %u at once: %.2e from the model\n", names[i], ways[w].name,
                         n_batch, far_from(&g, rows));
                tiny_same(rows, want, n, ways[w].name);
                free(rows);
            }
        }
        free(ideal);
        free(want);
        tiny_golden_free(&g);
    }
}

/* The kernel of matrix units, as loops, where keys and values are padded to the same width. */
Test(regress_device, matrices_know_the_width_of_values)
{
    setenv("LK_DISABLE", "looped,narrow,matrix", 1);
    const struct rg_way *way = rg_vulkan();
    if (!way) {
        return;
    }
    struct tiny_golden g = tiny_golden_read(LK_TEST_DIR "/golden/tiny-deepseek2-lite.bin", 0);
    float *want = rows_on(rg_scalar(), "deepseek2-lite", &g, MAX_TOKENS);
    float *rows = rows_on(way, "deepseek2-lite", &g, MAX_TOKENS);
    tiny_same(rows, want, (size_t)g.n_tokens * g.n_cols, "keys of 52 and values of 40");
    free(rows);
    free(want);
    tiny_golden_free(&g);
}

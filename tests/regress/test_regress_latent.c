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

enum { MAX_TOKENS = 64, MAX_VOCAB = 256 };

/* A text and its logits. */
struct golden {
    uint32_t shape[2];
    int32_t ids[MAX_TOKENS];
    float rows[MAX_TOKENS * MAX_VOCAB];
};

static void read_golden(const char *name, struct golden *g)
{
    char path[512];
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.bin", name);
    FILE *f = fopen(path, "rb");
    cr_assert(f && fread(g->shape, 4, 2, f) == 2 && g->shape[0] <= MAX_TOKENS &&
              g->shape[1] <= MAX_VOCAB);
    size_t n = (size_t)g->shape[0] * g->shape[1];
    cr_assert_eq(fread(g->ids, 4, g->shape[0], f), g->shape[0]);
    cr_assert_eq(fread(g->rows, 4, n, f), n);
    fclose(f);
}

static float *rows_on(const struct rg_way *way, const char *name, const struct golden *g,
                      uint32_t n_batch)
{
    char path[512];
    lk_model *m;
    lk_engine_options o = rg_options(way, MAX_TOKENS, n_batch);
    snprintf(path, sizeof path, LK_TEST_DIR "/golden/tiny-%s.gguf", name);
    lk_engine *e = tiny_engine_with(path, &o, &m);
    float *rows = tiny_rows(e, g->ids, g->shape[0]);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

/* The largest difference of a row in units of the model's row's standard deviation. */
static double far_from(const struct golden *g, const float *rows)
{
    double worst = 0;
    size_t n = g->shape[1];
    for (size_t t = 0; t < g->shape[0]; t++, rows += n) {
        const float *want = g->rows + t * n;
        double mean = 0, var = 0, most = 0;
        for (size_t i = 0; i < n; i++) {
            mean += (double)want[i] / (double)n;
            most = fmax(most, fabs((double)rows[i] - (double)want[i]));
        }
        for (size_t i = 0; i < n; i++) {
            var += pow((double)want[i] - mean, 2) / (double)n;
        }
        worst = fmax(worst, most / sqrt(var));
    }
    return worst;
}

Test(regress, latent_attention_is_the_models)
{
    static const char *const names[] = {"deepseek2-lite", "deepseek3", "glm4moe-lite"};
    static struct golden g;
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        const struct rg_way *ways;
        size_t n_ways = rg_ways(&ways);
        read_golden(names[i], &g);
        size_t n = (size_t)g.shape[0] * g.shape[1];
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
    }
}

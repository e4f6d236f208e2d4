/* SPDX-License-Identifier: Apache-2.0
 *
 * Golden: the reference against logits written by `transformers` in float64 (tests/golden/make.py),
 * prefill and token by token.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/models.h"
#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

struct golden {
    uint32_t n_tokens, n_vocab;
    int32_t *ids;
    float *rows;
};

static struct golden read_golden(const char *model_path)
{
    char path[512];
    struct golden g;
    snprintf(path, sizeof path, "%.*s.bin", (int)(strlen(model_path) - strlen(".gguf")),
             model_path);
    FILE *f = fopen(path, "rb");
    cr_assert(f && fread(&g.n_tokens, 4, 1, f) == 1 && fread(&g.n_vocab, 4, 1, f) == 1, "%s", path);
    g.ids = malloc(g.n_tokens * sizeof *g.ids);
    size_t n = (size_t)g.n_tokens * g.n_vocab;
    g.rows = malloc(n * sizeof *g.rows);
    cr_assert(fread(g.ids, 4, g.n_tokens, f) == g.n_tokens && fread(g.rows, 4, n, f) == n);
    fclose(f);
    return g;
}

/* Largest difference of a row as a share of the golden row's standard deviation. */
static double row_error(const float *got, const float *want, size_t n)
{
    double mean = 0, var = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        mean += (double)want[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        double d = (double)want[i] - mean;
        var += d * d / (double)n;
        worst = fmax(worst, fabs((double)got[i] - (double)want[i]));
    }
    return worst / sqrt(var);
}

Test(golden, ref_says_what_transformers_says)
{
    size_t step = test_is_sanitized_sample() ? 5 : 1;
    for (size_t i = 0; i < test_n_models(); i += step) {
        struct golden g = read_golden(test_model_path(i));
        for (uint32_t batch = 1; batch <= 64; batch += 63) {
            lk_model *m;
            lk_engine *e = tiny_engine(test_model_path(i), "ref", 64, batch, 1, &m);
            cr_assert_eq(lk_engine_n_vocab(e), g.n_vocab);
            float *rows = tiny_rows(e, g.ids, g.n_tokens);
            double worst = 0;
            for (size_t t = 0; t < g.n_tokens; t++) {
                worst =
                    fmax(worst, row_error(rows + t * g.n_vocab, g.rows + t * g.n_vocab, g.n_vocab));
            }
            cr_log_info("%s, micro-batch %u: %.2e", test_model_path(i), batch, worst);
            cr_expect(worst < TOL_REF_GOLDEN, "%s, micro-batch %u: %.2e of the row's spread",
                      test_model_path(i), batch, worst);
            free(rows);
            lk_engine_close(&e);
            lk_model_close(&m);
        }
        free(g.ids);
        free(g.rows);
    }
}

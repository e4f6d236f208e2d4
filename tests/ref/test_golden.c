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

static struct tiny_golden read_golden(const char *model_path)
{
    char path[512];
    snprintf(path, sizeof path, "%.*s.bin", (int)(strlen(model_path) - strlen(".gguf")),
             model_path);
    return tiny_golden_read(path, 0);
}

Test(golden, ref_says_what_transformers_says)
{
    size_t step = test_is_sanitized_sample() ? 5 : 1;
    for (size_t i = test_turn() % step; i < test_n_models(); i += step) {
        struct tiny_golden g = read_golden(test_model_path(i));
        for (uint32_t batch = 1; batch <= 64; batch += 63) {
            lk_model *m;
            lk_engine *e = tiny_engine(test_model_path(i), "ref", 64, batch, 1, &m);
            cr_assert_eq(lk_engine_n_vocab(e), g.n_cols);
            float *rows = tiny_rows(e, g.ids, g.n_tokens);
            double worst = 0;
            for (size_t t = 0; t < g.n_tokens; t++) {
                worst = fmax(worst, tiny_row_error(rows + t * g.n_cols, g.rows + t * g.n_cols,
                                                   g.n_cols, NULL));
            }
            cr_log_info("%s, micro-batch %u: %.2e", test_model_path(i), batch, worst);
            cr_expect(worst < TOL_REF_GOLDEN, "%s, micro-batch %u: %.2e of the row's spread",
                      test_model_path(i), batch, worst);
            free(rows);
            lk_engine_close(&e);
            lk_model_close(&m);
        }
        tiny_golden_free(&g);
    }
}

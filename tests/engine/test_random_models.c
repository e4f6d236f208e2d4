/* SPDX-License-Identifier: Apache-2.0
 *
 * Random models: every architecture in every weight type answers on the scalar backend with sane
 * logits, and prefill equals token by token by bits.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tests/util/model_build.h"
#include "tests/util/tiny.h"

enum { TOKENS = 34 }; /* past the window of the gemma3 model */

static void run(const struct model_params *p, const char *path)
{
    struct gguf_build b;
    lk_model *m;
    int32_t ids[TOKENS];
    model_build(&b, p);
    gb_save(&b, path);
    gb_free(&b);
    lk_engine *e = tiny_engine(path, "scalar", 64, TOKENS, 1, &m);
    tiny_tokens(ids, TOKENS, (size_t)p->n_vocab, p->seed);
    float *rows = tiny_rows(e, ids, TOKENS);
    double sum = 0.0, sum2 = 0.0;
    size_t n = (size_t)TOKENS * (size_t)p->n_vocab;
    for (size_t i = 0; i < n; i++) {
        sum += (double)rows[i];
        sum2 += (double)rows[i] * (double)rows[i];
    }
    double mean = sum / (double)n, deviation = sqrt(sum2 / (double)n - mean * mean);
    cr_assert(deviation > 0.3 && deviation < 30.0, "%s %s: logits deviate by %g", p->arch,
              lk_type_info(p->type)->name, deviation);
    lk_engine_close(&e);
    lk_model_close(&m);

    e = tiny_engine(path, "scalar", 64, 1, 1, &m);
    float *alone = tiny_rows(e, ids, TOKENS);
    tiny_same(alone, rows, n, p->arch);
    free(alone);
    free(rows);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(random_models, every_architecture_and_type)
{
    static const char *const archs[] = {"llama", "qwen2", "qwen3", "gemma3", "phi3"};
    char path[] = "random-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        for (size_t t = 0; t < n_types; t++) {
            struct model_params p =
                model_params_default(archs[a], types[t].type, (unsigned)(a + t));
            p.n_ff = 256;
            p.rope_freqs = t % 2;
            p.softcap = t % 3 == 0 ? 30.0f : 0.0f;
            run(&p, path);
        }
    }
    unlink(path);
}

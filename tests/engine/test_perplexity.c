/* SPDX-License-Identifier: Apache-2.0
 *
 * Perplexity: real models on the text of the GPL 3 as Debian ships it, in the way llama.cpp counts
 * (context 512, the second half of each chunk is scored), against its figures. Takes tens of
 * minutes: only with LK_FULL=1, and with LK_MODELS naming the directory of the models.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/util/tiny.h"
#include "tests/util/tolerances.h"

#define TEXT "/usr/share/common-licenses/GPL-3"

enum { CTX = 512, CHUNKS = 14 };

struct score {
    const int32_t *ids;
    size_t n_vocab;
    double nll;
    int n;
};

static bool score_row(void *user, size_t pos, const float *row)
{
    struct score *s = user;
    if (pos >= CTX / 2 && pos <= CTX - 2) {
        double best = -INFINITY, sum = 0;
        for (size_t i = 0; i < s->n_vocab; i++) {
            best = fmax(best, (double)row[i]);
        }
        for (size_t i = 0; i < s->n_vocab; i++) {
            sum += exp((double)row[i] - best);
        }
        s->nll += log(sum) + best - (double)row[s->ids[pos + 1]];
        s->n++;
    }
    return true;
}

static double perplexity(const char *path, const char *backend, const char *text, size_t len)
{
    lk_model *m;
    lk_tokenizer *t;
    lk_error err;
    size_t n;
    lk_engine *e = tiny_engine(path, backend, CTX, 128, 1, &m);
    cr_assert_eq(lk_tokenizer_open(m, &t, &err), LK_OK, "%s", err.message);
    int32_t *ids = malloc((len + 2) * sizeof *ids);
    cr_assert_eq(lk_tokenize(t, text, len, LK_TOKENIZE_BOS, ids, len + 2, &n, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(n / CTX, CHUNKS);
    struct score s = {.n_vocab = lk_engine_n_vocab(e)};
    for (size_t c = 0; c < CHUNKS; c++) {
        lk_session *session;
        s.ids = ids + c * CTX;
        if (lk_tokenizer_adds_bos(t)) {
            ids[c * CTX] = lk_token_bos(t);
        }
        cr_assert_eq(lk_session_open(e, &session, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(session, s.ids, CTX / 2, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync_rows(session, s.ids, CTX, CTX / 2, score_row, &s, &err), LK_OK,
                     "%s", err.message);
        lk_session_close(&session);
    }
    cr_assert_eq(s.n, CHUNKS * (CTX / 2 - 1));
    free(ids);
    lk_tokenizer_close(&t);
    lk_engine_close(&e);
    lk_model_close(&m);
    return exp(s.nll / s.n);
}

Test(perplexity, real_models_on_the_gpl)
{
    /* llama.cpp b11434 on the weights as they are, and widened to F32. */
    static const struct {
        const char *file;
        double quantized, widened;
    } models[] = {{"smollm2.gguf", 18.3914, 18.2994}, {"gemma3.gguf", 13.9062, 13.8295}};
    const char *directory = getenv("LK_MODELS"), *full = getenv("LK_FULL");
    static char text[1 << 17];
    FILE *f = fopen(TEXT, "rb");
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", directory ? directory : "", models[i].file);
        if (!full || strcmp(full, "1") != 0 || !f || !directory || access(path, R_OK) != 0) {
            printf("not run: perplexity of %s: needs LK_FULL=1, %s and the file in LK_MODELS\n",
                   models[i].file, TEXT);
            continue;
        }
        rewind(f);
        size_t len = fread(text, 1, sizeof text, f);
        double ref = perplexity(path, "ref", text, len);
        cr_expect_lt(fabs(ref / models[i].widened - 1), TOL_PERPLEXITY_REF, "%s, ref: %.4f",
                     models[i].file, ref);
        double scalar = perplexity(path, "scalar", text, len);
        cr_expect_lt(fabs(scalar / models[i].quantized - 1), TOL_PERPLEXITY_SCALAR,
                     "%s, scalar: %.4f", models[i].file, scalar);
        cr_log_info("%s: ref %.4f, scalar %.4f", models[i].file, ref, scalar);
    }
    if (f) {
        fclose(f);
    }
}

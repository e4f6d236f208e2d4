/* SPDX-License-Identifier: Apache-2.0
 *
 * Random models: every architecture in every weight type answers on the scalar backend with sane
 * logits, prefill equals token by token by bits, and a model is the same whichever way it is
 * written.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/util/model_build.h"
#include "tests/util/models.h"
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

/* Without LK_FULL=1 every other type has one of the first five architectures, and each other one
 * has a type or two, in turn: cpu_ops runs more of these pairs, beside another backend. */
Test(random_models, every_architecture_and_type)
{
    enum { MORE_TYPES = 5 };
    static const char *const archs[] = MODEL_ARCHS;
    char path[] = "/tmp/lockstep-random-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    size_t n_types;
    const struct lk_type_info *types = lk_types(&n_types);
    test_samples("most pairs of an architecture and a type");
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        for (size_t t = 0; t < n_types; t++) {
            size_t at = a + t + test_turn(), step = a < MORE_TYPES ? 2 * MORE_TYPES : 32;
            if (arch_shape_of(archs[a])->both_ways || (!test_is_full() && at % step != 0) ||
                (test_is_sanitized_sample() && (at % 48 || (a + test_turn() / 48) % 3))) {
                continue;
            }
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

/* Rows of a model on a backend, of its first n_vocab tokens. */
static float *rows_of(const struct model_params *p, const char *path, const char *backend,
                      size_t n_vocab)
{
    struct gguf_build b;
    lk_model *m;
    int32_t ids[TOKENS];
    model_build(&b, p);
    gb_save(&b, path);
    gb_free(&b);
    lk_engine *e = tiny_engine(path, backend, 64, TOKENS, 1, &m);
    cr_assert_eq(lk_engine_n_vocab(e), n_vocab);
    tiny_tokens(ids, TOKENS, 200, p->seed);
    float *rows = tiny_rows(e, ids, TOKENS);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

/* Biases of the feed-forward count; a model is the same whichever way a file has it: tensors fused
 * or apart, vectors as columns or in 16 bits. */
Test(random_models, the_same_model_written_otherwise)
{
    static const char *const archs[] = {"llama", "qwen2", "gemma3", "phi3"};
    static const char *const backends[] = {"scalar", "cpu"};
    char path[] = "/tmp/lockstep-random-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    size_t step = test_is_sanitized_sample() ? 3 : 1;
    for (size_t a = 0; a < LK_COUNT(archs) * 2; a += step) {
        const char *arch = archs[a / 2], *backend = backends[a % 2];
        struct model_params p = model_params_default(arch, LK_TYPE_Q4_0, 11);
        size_t n = TOKENS * (size_t)p.n_vocab;
        float *plain = rows_of(&p, path, backend, (size_t)p.n_vocab);
        p.ffn_biases = true;
        p.biases = strcmp(arch, "gemma3") != 0;
        p.vector_values = LK_TYPE_F16;
        float *want = rows_of(&p, path, backend, (size_t)p.n_vocab);
        cr_assert_neq(memcmp(plain, want, n * sizeof *want), 0, "%s: biases change nothing", arch);
        for (int way = 0; way < 4; way++) {
            struct model_params q = p;
            q.other_layout = way == 0;
            q.columns = way == 1;
            q.vector_type = way >= 2 ? LK_TYPE_F16 : LK_TYPE_F32;
            q.rope_freqs = way == 3;
            float *got = rows_of(&q, path, backend, (size_t)p.n_vocab);
            if (way == 3) { /* factors of rotation in 16 bits, too */
                free(want);
                q.vector_type = LK_TYPE_F32;
                want = rows_of(&q, path, backend, (size_t)p.n_vocab);
            }
            char what[64];
            snprintf(what, sizeof what, "%s on %s, way %d", arch, backend, way);
            tiny_same(got, want, n, what);
            free(got);
        }
        free(plain);
        free(want);
    }
    unlink(path);
}

/* A scale beside a matrix, or one for each of its experts, multiplies the product: what the matrix
 * was multiplied by first, a power of two, is taken back bit for bit. */
Test(random_models, scales_beside_matrices)
{
    static const char *const archs[] = MODEL_ARCHS, *const backends[] = {"scalar", "cpu"};
    char path[] = "/tmp/lockstep-random-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    for (size_t a = 0; a < LK_COUNT(archs); a++) {
        size_t step = test_is_sanitized_sample() ? 18 : test_is_full() ? 1 : 6;
        if (arch_shape_of(archs[a])->both_ways || (a + test_turn()) % step) {
            continue;
        }
        struct model_params p = model_params_default(archs[a], LK_TYPE_F32, 13);
        p.ffn_biases = true;
        float *want = rows_of(&p, path, "scalar", (size_t)p.n_vocab);
        p.factors = true;
        for (size_t i = 0; i < LK_COUNT(backends); i++) {
            char what[64];
            snprintf(what, sizeof what, "%s on %s", archs[a], backends[i]);
            float *got = rows_of(&p, path, backends[i], (size_t)p.n_vocab);
            tiny_same(got, want, TOKENS * (size_t)p.n_vocab, what);
            free(got);
        }
        free(want);
    }
    unlink(path);
}

/* Rows of the embedding without a token are no part of the vocabulary; tokens without a row are an
 * error where they are used. */
Test(random_models, rows_and_tokens_of_different_numbers)
{
    char path[] = "/tmp/lockstep-random-model-XXXXXX";
    int fd = mkstemp(path);
    cr_assert(fd >= 0);
    close(fd);
    for (int tied = 0; tied < 2; tied++) {
        struct model_params p = model_params_default("llama", LK_TYPE_Q4_0, 12);
        p.tied = tied;
        p.n_vocab = 323;
        float *all = rows_of(&p, path, "cpu", 323);
        p.n_tokens = 301;
        float *fewer = rows_of(&p, path, "cpu", 301);
        for (size_t i = 0; i < TOKENS; i++) {
            tiny_same(fewer + i * 301, all + i * 323, 301, "rows that have a token");
        }
        free(fewer);
        p.n_tokens = 400;
        float *more = rows_of(&p, path, "cpu", 323);
        tiny_same(more, all, TOKENS * 323, "more tokens than rows");
        free(more);
        free(all);
        lk_model *m;
        lk_session *s;
        lk_error err;
        lk_engine *e = tiny_engine(path, "cpu", 64, TOKENS, 1, &m);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_sync(s, (const int32_t[]){5, 323}, 2, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "323"), "%s", err.message);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    unlink(path);
}

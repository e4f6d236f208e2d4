/* SPDX-License-Identifier: Apache-2.0
 *
 * Levels: real models of LK_MODELS on every CPU level of this machine, with several numbers of
 * threads and micro-batches: the logits have the hash that the scalar backend gives. LK_FULL=1: all
 * combinations, over more tokens than the largest micro-batch; else a few, over few.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "cpu/detect.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { MOST_TOKENS = 560 };
static const int THREADS[] = {1, 2, 3, 7};
static const uint32_t BATCHES[] = {1, 7, 64, 512};

/* Rows from `from` on of a prefill of n_prompt tokens, and of the tokens up to n one by one. */
struct timeline {
    size_t from, n_prompt, n;
};
static const struct timeline LONG = {500, 530, 540}, SHORT = {0, 9, 11};

struct row_hash {
    lk_sha256 h;
    size_t n_vocab;
};

static bool add_row(void *user, size_t pos, const float *row)
{
    struct row_hash *sum = user;
    (void)pos;
    lk_sha256_floats(&sum->h, row, sum->n_vocab);
    return true;
}

static void hash_of(const char *path, const lk_engine_options *o, const struct timeline *t,
                    char hex[65])
{
    struct row_hash sum;
    lk_model *m;
    lk_session *s;
    lk_error err;
    int32_t ids[MOST_TOKENS];
    uint8_t bytes[32];
    lk_engine *e = tiny_engine_with(path, o, &m);
    sum.n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, t->n, sum.n_vocab, 7);
    lk_sha256_init(&sum.h);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    for (size_t n = t->n_prompt; n <= t->n; n++) {
        size_t from = n == t->n_prompt ? t->from : n - 1;
        cr_assert_eq(lk_session_sync_rows(s, ids, n, from, add_row, &sum, &err), LK_OK, "%s",
                     err.message);
    }
    lk_sha256_final(&sum.h, bytes);
    for (int i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    }
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* Plain C is as slow as the scalar backend: each number of threads and each batch once. A sample
 * has it on the first file alone, and of the other levels half of those, by turns. */
static bool wanted(size_t file, enum lk_cpu_level level, size_t thread, size_t batch)
{
    return test_is_full() && level != LK_CPU_GENERIC ? true
           : test_is_full()                          ? thread == batch
           : level == LK_CPU_GENERIC                 ? file == 0 && thread == 1 && batch == 1
                                     : thread == batch && (thread + (size_t)level + file) % 2 == 0;
}

static void check(size_t file, const char *path, const struct timeline *t)
{
    lk_engine_options o = lk_engine_options_default();
    char want[65], got[65];
    int n = 0;
    o.backend = "scalar";
    o.n_ctx = MOST_TOKENS;
    hash_of(path, &o, t, want);
    o.backend = "cpu";
    o.pin = true; /* exactly so many threads */
    for (int level = 0; level < LK_CPU_LEVELS; level++) {
        if (lk_cpu_has((enum lk_cpu_level)level, NULL) != LK_CPU_HAS) {
            continue;
        }
        o.cpu_level = lk_cpu_level_name((enum lk_cpu_level)level);
        for (size_t i = 0; i < LK_COUNT(THREADS) * LK_COUNT(BATCHES); i++) {
            size_t thread = i / LK_COUNT(BATCHES), batch = i % LK_COUNT(BATCHES);
            if (wanted(file, (enum lk_cpu_level)level, thread, batch)) {
                o.threads = THREADS[thread];
                o.n_batch = BATCHES[batch];
                hash_of(path, &o, t, got);
                cr_expect_str_eq(got, want, "%s: %s, %d threads, micro-batch %u: %s, scalar: %s",
                                 path, o.cpu_level, o.threads, o.n_batch, got, want);
                n++;
            }
        }
    }
    cr_assert_gt(n, 0);
    printf("%s: %d ways of running give the hash %.16s...\n", path, n, want);
}

Test(levels, logits_are_those_of_scalar, .timeout = 7200)
{
    size_t n = test_n_real_files(), step = test_is_full() ? 1 : n; /* or one of them, in turn */
    for (size_t i = test_turn() % step; i < n; i += step) {
        const char *path = test_real_file(i);
        if (path) {
            check(i, path, test_is_full() ? &LONG : &SHORT);
        }
    }
}

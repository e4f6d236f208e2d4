/* SPDX-License-Identifier: Apache-2.0
 *
 * Session: the claim of the project on tiny models of every architecture (and, with LK_FULL=1, on
 * real ones): the logits of a token depend on the tokens before it and on nothing else. By bits, on
 * scalar and cpu: micro-batches, prefill or one by one, reuse, fork, truncate, save and load,
 * sessions together or alone, moved in mid-sentence, stale NaN in the cache.
 */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/numerics.h"
#include "engine/engine.h"
#include "tests/util/cells.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { N = 150, CTX = 200 };

static const char *const BACKENDS[] = {"scalar", "cpu"};

static const char *other_than(const char *backend)
{
    for (size_t i = 0; i < LK_COUNT(BACKENDS); i++) {
        if (strcmp(BACKENDS[i], backend) != 0) {
            return BACKENDS[i];
        }
    }
    return backend;
}

/* What the scalar backend says, in one batch: [N][n_vocab]. */
static float *expected_rows(const char *path, const int32_t *ids, size_t *n_vocab)
{
    lk_model *m;
    lk_engine *e = tiny_engine(path, "scalar", CTX, N, 1, &m);
    *n_vocab = lk_engine_n_vocab(e);
    float *rows = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
    return rows;
}

typedef void (*body)(const char *path, const char *backend, const int32_t *ids, const float *rows,
                     size_t n_vocab);

/* Each test has every fourth model on one backend, both of which turn by model, from test to test
 * and with test_turn, so that each model is in a fourth of the tests; with LK_FULL=1 all models on
 * both. */
static bool wanted(size_t model, size_t backend, size_t turn)
{
    turn += test_turn();
    return test_is_full() || (model % 4 == turn % 4 && (model / 4 + turn / 4) % 2 == backend);
}

static void for_each_model(body fn, size_t turn)
{
    size_t tiny = test_n_models(), step = test_is_sanitized_sample() ? 5 : 1;
    test_samples("three fourths of the models in each test of sessions, which takes turns");
    for (size_t i = 0; i < tiny + test_n_real_models(); i += step) {
        const char *path = i < tiny ? test_model_path(i) : test_real_model_path(i - tiny);
        int32_t ids[N];
        size_t n_vocab;
        if (!wanted(i, 0, turn) && !wanted(i, 1, turn)) {
            continue;
        }
        tiny_tokens(ids, N, test_model_n_vocab(path), 7);
        float *rows = expected_rows(path, ids, &n_vocab);
        for (size_t b = 0; b < LK_COUNT(BACKENDS); b++) {
            if (wanted(i, b, turn)) {
                fn(path, BACKENDS[b], ids, rows, n_vocab);
            }
        }
        free(rows);
    }
}

static void micro_batches(const char *path, const char *backend, const int32_t *ids,
                          const float *rows, size_t n_vocab)
{
    static const uint32_t BATCH[] = {1, 7, 64, 150};
    for (size_t i = 0; i < LK_COUNT(BATCH); i++) {
        lk_model *m;
        char what[256];
        snprintf(what, sizeof what, "%s on %s, micro-batch %u", path, backend, BATCH[i]);
        lk_engine *e = tiny_engine(path, backend, CTX, BATCH[i], 1, &m);
        float *got = tiny_rows(e, ids, N);
        tiny_same(got, rows, N * n_vocab, what);
        free(got);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

Test(session, rows_do_not_depend_on_micro_batches)
{
    for_each_model(micro_batches, 0);
}

static void timelines(const char *path, const char *backend, const int32_t *ids, const float *rows,
                      size_t n_vocab)
{
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, backend, CTX, 64, 4, &m);
    lk_session *s, *f;
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_null(lk_session_logits(s));
    /* Extended in uneven steps, each last row compared. */
    static const size_t STOPS[] = {1, 2, 63, 64, 65, 66, 128, 129, 149};
    for (size_t i = 0; i < LK_COUNT(STOPS); i++) {
        cr_assert_eq(lk_session_sync(s, ids, STOPS[i], &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), rows + (STOPS[i] - 1) * n_vocab, n_vocab, "extended");
    }
    /* A sync to what is there does nothing; to a prefix gives the prefix's row. */
    cr_assert_eq(lk_session_sync(s, ids, 149, &err), LK_OK);
    tiny_same(lk_session_logits(s), rows + 148 * n_vocab, n_vocab, "again");
    cr_assert_eq(lk_session_sync(s, ids, 70, &err), LK_OK);
    cr_assert_eq(lk_session_n_tokens(s), 70);
    tiny_same(lk_session_logits(s), rows + 69 * n_vocab, n_vocab, "back to a prefix");
    /* A fork goes another way; the first is not disturbed, inside a shared block. */
    cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(f), rows + 69 * n_vocab, n_vocab, "fork");
    int32_t other[N];
    memcpy(other, ids, sizeof other);
    for (size_t i = 70; i < N; i++) {
        other[i] = ids[N - 1 - i];
    }
    cr_assert_eq(lk_session_sync(f, other, 140, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "after a fork went away");
    float *other_rows = tiny_rows(e, other, 140);
    tiny_same(lk_session_logits(f), other_rows + 139 * n_vocab, n_vocab, "the fork's own way");
    free(other_rows);
    /* The fork comes back to the common way: truncated, extended. */
    cr_assert_eq(lk_session_truncate(f, 65, &err), LK_OK);
    cr_assert_null(lk_session_logits(f));
    cr_assert_eq(lk_session_truncate(f, 66, &err), LK_E_INVALID);
    cr_assert_eq(lk_session_sync(f, ids, 100, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(f), rows + 99 * n_vocab, n_vocab, "after truncate");
    lk_session_close(&f);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(session, timelines_reuse_extend_fork_and_truncate)
{
    for_each_model(timelines, 1);
}

static void together(const char *path, const char *backend, const int32_t *ids, const float *rows,
                     size_t n_vocab)
{
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, backend, CTX, 64, 3, &m);
    lk_session *s[3];
    static const size_t START[3] = {40, 1, 63};
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(lk_session_open(e, &s[i], &err), LK_OK);
        cr_assert_eq(lk_session_sync(s[i], ids, START[i], &err), LK_OK, "%s", err.message);
    }
    for (size_t step = 0; step < 20; step++) {
        int32_t next[3];
        for (int i = 0; i < 3; i++) {
            next[i] = ids[START[i] + step];
        }
        cr_assert_eq(lk_engine_step(e, s, next, 3, &err), LK_OK, "%s", err.message);
        for (int i = 0; i < 3; i++) {
            tiny_same(lk_session_logits(s[i]), rows + (START[i] + step) * n_vocab, n_vocab,
                      "three sessions in a batch");
        }
    }
    lk_session *twice[2] = {s[0], s[0]};
    int32_t two[2] = {0, 0};
    cr_assert_eq(lk_engine_step(e, twice, two, 2, &err), LK_E_INVALID);
    for (int i = 0; i < 3; i++) {
        lk_session_close(&s[i]);
    }
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(session, sessions_together_equal_sessions_alone)
{
    for_each_model(together, 2);
}

static void saved(const char *path, const char *backend, const int32_t *ids, const float *rows,
                  size_t n_vocab)
{
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    lk_model *m, *m2;
    lk_error err;
    lk_engine *e = tiny_engine(path, backend, CTX, 64, 1, &m);
    lk_session *s, *t;
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, 77, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    /* Loaded on the other backend. */
    lk_engine *e2 = tiny_engine(path, other_than(backend), CTX, 64, 1, &m2);
    cr_assert_eq(lk_session_open(e2, &t, &err), LK_OK);
    cr_assert_eq(lk_session_load(t, file, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_n_tokens(t), 77);
    tiny_same(lk_session_logits(t), rows + 76 * n_vocab, n_vocab, "loaded");
    cr_assert_eq(lk_session_sync(t, ids, N, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(t), rows + (N - 1) * n_vocab, n_vocab, "continued after a load");
    /* One byte changed anywhere is refused and the session is as before. */
    FILE *f = fopen(file, "r+b");
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    for (long at = 3; at < size; at += size / 11) {
        fseek(f, at, SEEK_SET);
        int c = fgetc(f);
        fseek(f, at, SEEK_SET);
        fputc(c ^ 0x10, f);
        fflush(f);
        lk_status status = lk_session_load(t, file, &err);
        cr_assert(status == LK_E_FORMAT || status == LK_E_FULL, "byte %ld: %s", at, err.message);
        cr_assert(strstr(err.message, file));
        cr_assert_eq(lk_session_n_tokens(t), N);
        fseek(f, at, SEEK_SET);
        fputc(c, f);
    }
    fclose(f);
    tiny_same(lk_session_logits(t), rows + (N - 1) * n_vocab, n_vocab, "after refused loads");
    lk_session_close(&t);
    lk_session_close(&s);
    lk_engine_close(&e2);
    lk_engine_close(&e);
    lk_model_close(&m2);
    lk_model_close(&m);
    unlink(file);
}

Test(session, saved_and_loaded_on_another_backend)
{
    for_each_model(saved, 3);
}

/* What is saved, with other bytes at `at`, under the digest that belongs to it. */
static void forge(const char *file, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(file, "r+b");
    cr_assert(f);
    fseek(f, 0, SEEK_END);
    long size = ftell(f);
    uint8_t *all = malloc((size_t)size);
    lk_sha256 hash;
    rewind(f);
    cr_assert_eq(fread(all, 1, (size_t)size, f), (size_t)size);
    memcpy(all + (at < 0 ? size + at : at), bytes, n);
    lk_sha256_init(&hash);
    lk_sha256_bytes(&hash, all, (size_t)size - 32);
    lk_sha256_final(&hash, all + size - 32);
    rewind(f);
    cr_assert_eq(fwrite(all, 1, (size_t)size, f), (size_t)size);
    fclose(f);
    free(all);
}

static void has_data(const lk_session *s, const char *text)
{
    size_t n;
    const void *data = lk_session_data(s, &n);
    cr_assert_eq(n, strlen(text));
    cr_assert(n ? memcmp(data, text, n) == 0 : data == NULL);
}

/* The program's bytes go where the timeline goes. */
Test(session, the_programs_bytes_go_with_it)
{
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    lk_model *m;
    lk_error err;
    lk_session *s, *f;
    int32_t ids[70] = {1};
    lk_engine *e = tiny_engine(test_model_path(0), "cpu", CTX, 64, 2, &m);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    has_data(s, "");
    cr_assert_eq(lk_session_set_data(s, "a dialogue", 10, &err), LK_OK);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "without a token");
    cr_assert_eq(lk_session_sync(s, ids, 70, &err), LK_OK);
    cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK);
    has_data(f, "a dialogue");
    cr_assert_eq(lk_session_set_data(f, "longer than it was", 18, &err), LK_OK);
    has_data(f, "longer than it was");
    size_t n;
    const char *own = lk_session_data(f, &n);
    cr_assert_eq(lk_session_set_data(f, own + 7, n - 7, &err), LK_OK, "a part of itself");
    has_data(f, "than it was");
    has_data(s, "a dialogue");
    cr_assert_eq(lk_session_move(s, "scalar", &err), LK_OK);
    cr_assert_eq(lk_session_truncate(s, 3, &err), LK_OK);
    has_data(s, "a dialogue");
    cr_assert_eq(lk_session_load(f, file, &err), LK_OK, "%s", err.message);
    has_data(f, "a dialogue");
    cr_assert_eq(lk_session_n_tokens(f), 0);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK);
    cr_assert_eq(lk_session_set_data(f, NULL, 0, &err), LK_OK);
    has_data(f, "");
    cr_assert_eq(lk_session_load(f, file, &err), LK_OK, "%s", err.message);
    has_data(f, "a dialogue");
    cr_assert_eq(lk_session_n_tokens(f), 3);
    /* A file that lies about them, and one of an older version, change nothing. */
    cr_assert_eq(lk_session_set_data(f, "kept", 4, &err), LK_OK);
    for (uint64_t lie = 0; lie < 3; lie++) {
        uint64_t n_lie = lie == 2 ? UINT64_MAX - 40 : 9 + 2 * lie;
        forge(file, -40, &n_lie, sizeof n_lie);
        cr_assert_eq(lk_session_load(f, file, &err), LK_E_FORMAT);
        cr_assert(strstr(err.message, "bytes that the program saved with it is"), "%s",
                  err.message);
    }
    uint64_t right = 10;
    forge(file, -40, &right, sizeof right);
    forge(file, 6, "02", 2);
    cr_assert_eq(lk_session_load(f, file, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "version 2 of the format, expected 3"), "%s", err.message);
    has_data(f, "kept");
    forge(file, 6, "03", 2);
    cr_assert_eq(lk_session_load(f, file, &err), LK_OK, "%s", err.message);
    has_data(f, "a dialogue");
    lk_session_close(&f);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    unlink(file);
}

static void write_sealed(const char *file, uint8_t *bytes, size_t n)
{
    lk_sha256 h;
    lk_sha256_init(&h);
    lk_sha256_bytes(&h, bytes, n - 32);
    lk_sha256_final(&h, bytes + n - 32);
    FILE *f = fopen(file, "wb");
    cr_assert(f && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

/* Loads a saved session with n bytes at `at` (below zero: from its end) changed and the seal made
 * anew; the file stays as it was. */
static lk_status load_edited(lk_session *s, const char *file, long at, const void *data, size_t n,
                             lk_error *err)
{
    static uint8_t bytes[1 << 22];
    uint8_t was[8];
    FILE *f = fopen(file, "rb");
    size_t size = f ? fread(bytes, 1, sizeof bytes, f) : 0;
    cr_assert(size > 32 && size < sizeof bytes && n <= sizeof was);
    fclose(f);
    uint8_t *place = bytes + (at < 0 ? (long)size + at : at);
    memcpy(was, place, n);
    memcpy(place, data, n);
    write_sealed(file, bytes, size);
    lk_status status = lk_session_load(s, file, err);
    memcpy(place, was, n);
    write_sealed(file, bytes, size);
    return status;
}

/* A session of other numerics is refused by both versions' numbers, and one whose cache holds what
 * no store writes by its place; the session is as it was. */
Test(session, a_cache_of_other_numerics_is_refused)
{
    enum { NUMERICS_AT = 8, K_BITS_AT = 28, HEADER = 112, TOKENS = 70 };
    static const uint32_t OTHER[] = {0, LK_NUMERICS_VERSION - 1, LK_NUMERICS_VERSION + 1};
    char file[] = "/tmp/lockstep-session-XXXXXX", want[80];
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    lk_model *m;
    lk_error err;
    lk_session *s;
    int32_t ids[N];
    lk_engine *e = tiny_engine(test_model_path(0), "scalar", CTX, 64, 2, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, N, n_vocab, 5);
    float *rows = tiny_rows(e, ids, N);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, TOKENS, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < LK_COUNT(OTHER); i++) {
        cr_assert_eq(load_edited(s, file, NUMERICS_AT, &OTHER[i], 4, &err), LK_E_FORMAT);
        snprintf(want, sizeof want, "%s: numerics version is %u, expected %d", file, OTHER[i],
                 LK_NUMERICS_VERSION);
        cr_assert_str_eq(err.message, want);
    }
    const uint32_t narrow = 8;
    cr_assert_eq(load_edited(s, file, K_BITS_AT, &narrow, 4, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "bits of a key (option kv) is 8, expected 12"), "%s",
              err.message);
    /* The last state of the file is V of the last layer, whose last words are scales; the first is
     * K of layer 0. */
    const struct lk_state *k = &e->plan->states[0], *v = &e->plan->states[e->plan->n_states - 1];
    const float negative = -1.0f, nan = lk_flt(0x7fc00000u);
    cr_assert_eq(load_edited(s, file, -44, &nan, 4, &err), LK_E_FORMAT);
    snprintf(want, sizeof want, "the V of layer %d is out of range", v->layer);
    cr_assert(strstr(err.message, want), "%s", err.message);
    cr_assert_eq(load_edited(s, file, -44, &negative, 4, &err), LK_E_FORMAT);
    long first_key = HEADER + TOKENS * 4 + (long)n_vocab * 4;
    const int8_t beyond = 113; /* 113 * 16 and more */
    cr_assert_eq(load_edited(s, file, first_key, &beyond, 1, &err), LK_E_FORMAT);
    snprintf(want, sizeof want, "the K of layer %d is out of range at byte %ld", k->layer,
             first_key);
    cr_assert(strstr(err.message, want), "%s", err.message);
    cr_assert_eq(lk_session_n_tokens(s), N);
    tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "after refused loads");
    cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), rows + (TOKENS - 1) * n_vocab, n_vocab, "loaded");
    free(rows);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    unlink(file);
}

/* Keys of 8 bits: other logits, the same on every backend, in prefill and one by one; their
 * sessions are their own. */
Test(session, keys_of_8_bits)
{
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    float *rows = NULL;
    int32_t ids[N];
    lk_model *m;
    lk_error err;
    lk_session *s;
    lk_engine *e;
    tiny_tokens(ids, N, test_model_n_vocab(test_model_path(0)), 9);
    lk_engine_options o = lk_engine_options_default();
    o.n_ctx = CTX;
    o.kv = "i8";
    size_t n = 0;
    for (size_t i = 0; i < 2 * LK_COUNT(BACKENDS); i++) {
        o.backend = BACKENDS[i / 2];
        o.n_batch = i % 2 ? 1 : 64;
        e = tiny_engine_with(test_model_path(0), &o, &m);
        n = N * lk_engine_n_vocab(e);
        float *got = tiny_rows(e, ids, N);
        rows = rows ? rows : got;
        tiny_same(got, rows, n, o.backend);
        if (got != rows) {
            free(got);
        }
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
        cr_assert_eq(lk_session_sync(s, ids, 70, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    o.kv = NULL;
    e = tiny_engine_with(test_model_path(0), &o, &m);
    float *wide = tiny_rows(e, ids, N);
    cr_assert(memcmp(wide, rows, n * sizeof *rows) != 0);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_load(s, file, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "bits of a key (option kv) is 8, expected 12"), "%s",
              err.message);
    lk_session_close(&s);
    lk_engine_close(&e);
    o.kv = "f16";
    cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "kv 'f16': expected k12v8 or i8"), "%s", err.message);
    lk_model_close(&m);
    free(rows);
    free(wide);
    unlink(file);
}

static void count_key_warnings(void *user, lk_log_level level, const char *line)
{
    *(int *)user += level == LK_LOG_WARN && strstr(line, "biases of keys go up to");
}

Test(session, keys_of_8_bits_are_warned_of_where_biases_are_large)
{
    static const struct {
        const char *arch, *kv;
        float bias;
        int n;
    } CASES[] = {{"qwen2", "i8", 30.0f, 1},
                 {"qwen2", NULL, 30.0f, 0},
                 {"qwen2", "i8", 0.0f, 0},
                 {"llama", "i8", 0.0f, 0}};
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        struct model_params p = model_params_default(CASES[i].arch, LK_TYPE_Q8_0, 5);
        char path[] = "/tmp/lockstep-session-XXXXXX";
        lk_engine_options o = lk_engine_options_default();
        lk_model *m;
        int n = 0;
        p.key_bias = CASES[i].bias;
        struct gguf_build b;
        int fd = mkstemp(path);
        cr_assert(fd >= 0 && close(fd) == 0);
        model_build(&b, &p);
        gb_save(&b, path);
        gb_free(&b);
        o.backend = "scalar";
        o.kv = CASES[i].kv;
        o.log = count_key_warnings;
        o.user = &n;
        lk_engine *e = tiny_engine_with(path, &o, &m);
        cr_assert_eq(n, CASES[i].n, "%s, %s, %g", CASES[i].arch, o.kv, (double)p.key_bias);
        lk_engine_close(&e);
        lk_model_close(&m);
        unlink(path);
    }
}

/* A byte changed anywhere, some at the end added or taken away: the file is called damaged,
 * whatever the changed bytes would mean. */
Test(session, a_changed_file_is_called_damaged)
{
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    lk_model *m;
    lk_error err;
    lk_session *s;
    int32_t ids[3] = {1, 2, 3};
    lk_engine *e = tiny_engine(test_model_path(0), "scalar", CTX, 64, 1, &m);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, 3, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    close(fd);
    fd = open(file, O_RDWR); /* the file that was saved, not the one it replaced */
    off_t size = lseek(fd, 0, SEEK_END);
    for (off_t at = 6; at < size; at += at < 128 ? 1 : 997) {
        uint8_t was, other;
        cr_assert_eq(pread(fd, &was, 1, at), 1);
        other = was ^ 0x81;
        cr_assert_eq(pwrite(fd, &other, 1, at), 1);
        cr_assert_eq(lk_session_load(s, file, &err), LK_E_FORMAT);
        cr_assert(strstr(err.message, ": damaged, cut short or longer than it was saved"),
                  "byte %lld: %s", (long long)at, err.message);
        cr_assert_eq(pwrite(fd, &was, 1, at), 1);
    }
    cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
    static const int OTHER_LENGTH[] = {-1000, -32, -1, 1, 32, 1000};
    for (size_t i = 0; i < LK_COUNT(OTHER_LENGTH); i++) {
        cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
        cr_assert_eq(truncate(file, size + OTHER_LENGTH[i]), 0);
        cr_assert_eq(lk_session_load(s, file, &err), LK_E_FORMAT);
        cr_assert(strstr(err.message, ": damaged, cut short or longer than it was saved"), "%s",
                  err.message);
    }
    close(fd);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    unlink(file);
}

/* Two sets of frequency factors: a context beyond the original one has the long set, on every
 * backend, from the first token on; its sessions are its own. */
Test(session, long_contexts_have_factors_of_their_own)
{
    static const char path[] = LK_TEST_DIR "/golden/tiny-phi3-long.gguf";
    enum { SHORT = 16 }; /* the file's original context */
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file);
    cr_assert(fd >= 0);
    close(fd);
    float *rows[2] = {NULL, NULL};
    int32_t ids[SHORT];
    size_t n = 0;
    tiny_tokens(ids, SHORT, test_model_n_vocab(path), 9);
    for (size_t i = 0; i < 2 * LK_COUNT(BACKENDS); i++) {
        lk_engine_options o = lk_engine_options_default();
        lk_model *m;
        lk_error err;
        lk_session *s;
        bool is_long = i % 2;
        o.backend = BACKENDS[i / 2];
        o.n_ctx = is_long ? SHORT + 1 : i ? SHORT : 0; /* by itself the short one */
        lk_engine *e = tiny_engine_with(path, &o, &m);
        cr_assert_eq(lk_engine_n_ctx(e), is_long ? SHORT + 1 : SHORT);
        n = SHORT * lk_engine_n_vocab(e);
        float *got = tiny_rows(e, ids, SHORT);
        if (rows[is_long]) {
            tiny_same(got, rows[is_long], n, o.backend);
            free(got);
        } else {
            rows[is_long] = got;
        }
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
        if (i > 0) { /* the file is of the other set */
            cr_assert_eq(lk_session_load(s, file, &err), LK_E_FORMAT);
            cr_assert(strstr(err.message, "set of frequency factors is"), "%s", err.message);
        }
        cr_assert_eq(lk_session_sync(s, ids, SHORT, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    cr_assert(memcmp(rows[0], rows[1], n * sizeof *rows[0]) != 0);
    free(rows[0]);
    free(rows[1]);
    unlink(file);
}

/* One write to the cache fails: the k-th from when it was set. */
static const struct lk_backend_impl *real_impl;
static int writes_until_failure;

static lk_status failing_write(struct lk_state_mem *mem, int state, size_t offset, const void *data,
                               size_t n, lk_error *err)
{
    if (writes_until_failure-- == 0) {
        return lk_fail(err, LK_E_IO, "a write fails");
    }
    return real_impl->state_write(mem, state, offset, data, n, err);
}

/* The cache has room for the longer of two timelines alone. */
static void loaded_over(const char *path, const char *backend, const int32_t *ids,
                        const float *rows, size_t n_vocab)
{
    enum { SAVED = 77, HELD = 130 }; /* 2 and 3 blocks, of 3 */
    char file[] = "/tmp/lockstep-session-XXXXXX";
    int fd = mkstemp(file), failures = 0;
    cr_assert(fd >= 0);
    close(fd);
    lk_model *m;
    lk_error err;
    lk_session *s, *f;
    lk_engine *e = tiny_engine(path, backend, 192, 64, 1, &m);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, SAVED, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_save(s, file, &err), LK_OK, "%s", err.message);
    struct lk_part *part = &s->lane->part[0];
    struct lk_backend_impl failing = *part->impl;
    real_impl = part->impl;
    failing.state_write = failing_write;
    for (int k = 0;; k++) {
        cr_assert_eq(lk_session_sync(s, ids, HELD, &err), LK_OK, "%s", err.message);
        part->impl = &failing;
        writes_until_failure = k;
        lk_status status = lk_session_load(s, file, &err);
        part->impl = real_impl;
        if (status == LK_OK) {
            break;
        }
        failures++;
        cr_assert_eq(status, LK_E_IO, "%s", err.message);
        cr_assert_eq(lk_session_n_tokens(s), HELD);
        tiny_same(lk_session_logits(s), rows + (HELD - 1) * n_vocab, n_vocab, "not loaded");
        cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "the old cache");
        cr_assert_eq(lk_session_truncate(s, HELD, &err), LK_OK);
    }
    cr_assert_gt(failures, 3);
    cr_assert_eq(lk_session_n_tokens(s), SAVED);
    tiny_same(lk_session_logits(s), rows + (SAVED - 1) * n_vocab, n_vocab, "loaded");
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "continued after a load");
    /* Blocks that a fork has as well are not written over. */
    if (s->lane->pool.n_slots > 0) { /* one slot of recurrent states: no room for a fork */
        cr_assert_eq(lk_session_fork(s, &f, &err), LK_E_FULL);
        cr_assert_null(f);
    } else {
        cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_session_load(s, file, &err), LK_E_FULL);
    }
    tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "full");
    lk_session_close(&f);
    cr_assert_eq(lk_session_load(s, file, &err), LK_OK, "%s", err.message);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    unlink(file);
}

Test(session, a_load_needs_room_for_one_timeline)
{
    for_each_model(loaded_over, 4);
}

static void moved(const char *path, const char *backend, const int32_t *ids, const float *rows,
                  size_t n_vocab)
{
    lk_model *m;
    lk_error err;
    const char *other = other_than(backend);
    lk_engine *e = tiny_engine(path, backend, CTX, 64, 1, &m);
    lk_session *s;
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    for (size_t n = 30; n <= N; n += 15) {
        cr_assert_eq(lk_session_sync(s, ids, n, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), rows + (n - 1) * n_vocab, n_vocab, "moved");
        cr_assert_eq(lk_session_move(s, n / 15 % 2 ? backend : other, &err), LK_OK, "%s",
                     err.message);
        cr_assert_str_eq(lk_session_backend(s), n / 15 % 2 ? backend : other);
    }
    cr_assert_eq(lk_session_move(s, "abacus", &err), LK_E_INVALID);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(session, moved_in_mid_sentence)
{
    for_each_model(moved, 5);
}

static void stale(const char *path, const char *backend, const int32_t *ids, const float *rows,
                  size_t n_vocab)
{
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, backend, CTX, 64, 1, &m);
    struct lk_lane *lane = e->home;
    uint8_t *unit = malloc(lk_most_unit_bytes(e->plan));
    cr_assert(unit);
    for (int i = 0; i < e->plan->n_states; i++) {
        const struct lk_state *state = &e->plan->states[i];
        int n = lk_state_is_paged(state) ? lane->pool.n_blocks : lane->pool.n_slots;
        for (int b = 0; b < n; b++) {
            cells_stale(state, unit, lk_state_unit_bytes(state), (uint64_t)(i + 7 * b));
            cr_assert_eq(lk_lane_write(lane, e->plan, i, b, unit, &err), LK_OK);
        }
    }
    free(unit);
    float *got = tiny_rows(e, ids, N);
    tiny_same(got, rows, N * n_vocab, "stale cells full of NaN");
    free(got);
    cr_assert_eq(lane->part[0].impl->state_check(lane->part[0].states, &err), LK_OK, "%s",
                 err.message);
    lk_engine_close(&e);
    lk_model_close(&m);
}

Test(session, stale_cells_take_no_part)
{
    for_each_model(stale, 6);
}

Test(session, the_context_can_be_filled_exactly_and_no_further)
{
    const char *path = test_model_path(0);
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, "scalar", 100, 64, 1, &m);
    lk_session *s;
    int32_t ids[101];
    tiny_tokens(ids, 101, lk_engine_n_vocab(e), 3);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, 101, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "101") && strstr(err.message, "100"));
    cr_assert_eq(lk_session_sync(s, ids, 100, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_engine_step(e, &s, ids, 1, &err), LK_E_FULL);
    cr_assert_eq(lk_session_n_tokens(s), 100);
    cr_assert_not_null(lk_session_logits(s));
    cr_assert_eq(lk_session_sync(s, ids, 0, &err), LK_E_INVALID);
    ids[5] = -1;
    cr_assert_eq(lk_session_sync(s, ids, 50, &err), LK_E_INVALID);
    cr_assert_eq(lk_session_n_tokens(s), 100, "a refused timeline changes nothing");
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* A cache of its own size: two sessions have 192 tokens together, whoever takes them. */
Test(session, the_cache_can_be_smaller_than_its_sessions)
{
    enum { LONG = 256 };
    lk_engine_options o = lk_engine_options_default();
    lk_model *m;
    lk_error err;
    lk_session *s[2];
    int32_t ids[LONG];
    o.backend = "cpu";
    o.n_ctx = LONG;
    o.n_sessions = 2;
    o.cache_tokens = 129; /* three blocks */
    lk_engine *e = tiny_engine_with(test_model_path(0), &o, &m);
    tiny_tokens(ids, LONG, lk_engine_n_vocab(e), 3);
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(lk_session_open(e, &s[i], &err), LK_OK, "%s", err.message);
    }
    cr_assert_eq(lk_session_sync(s[0], ids, 193, &err), LK_E_FULL);
    cr_assert(strstr(err.message, "3"), "%s", err.message);
    cr_assert_eq(lk_session_sync(s[0], ids, 128, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s[1], ids, 65, &err), LK_E_FULL);
    cr_assert_eq(lk_session_sync(s[1], ids, 64, &err), LK_OK, "%s", err.message);
    lk_session_close(&s[1]);
    cr_assert_eq(lk_session_sync(s[0], ids, 192, &err), LK_OK, "%s", err.message);
    lk_session_close(&s[0]);
    lk_engine_close(&e);
    lk_model_close(&m);
}

static bool stop_at(void *user, const char *what, uint64_t done, uint64_t total)
{
    (void)what;
    (void)total;
    return done < *(const uint64_t *)user;
}

Test(session, a_cancelled_sync_keeps_a_valid_prefix)
{
    const char *path = test_model_path(0);
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, "scalar", CTX, 10, 1, &m);
    lk_session *s;
    int32_t ids[N];
    uint64_t limit = 40;
    tiny_tokens(ids, N, lk_engine_n_vocab(e), 7);
    float *rows = tiny_rows(e, ids, N);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    lk_session_on_progress(s, stop_at, &limit);
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_E_CANCELLED);
    cr_assert_eq(lk_session_n_tokens(s), 40);
    lk_session_on_progress(s, NULL, NULL);
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK);
    tiny_same(lk_session_logits(s), rows + (N - 1) * lk_engine_n_vocab(e), lk_engine_n_vocab(e),
              "continued after a cancel");
    free(rows);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* "auto" goes on without a device, but not without the one that is named. */
Test(session, a_named_device_is_there_or_an_error)
{
    static const struct {
        const char *device, *says;
        lk_status status;
    } CASES[] = {{"", "device ''", LK_E_DEVICE},
                 {"no such device", "no such device", LK_E_DEVICE},
                 {"99", "99", LK_E_DEVICE}};
    lk_engine_options o = lk_engine_options_default();
    lk_engine *e = NULL;
    lk_model *m;
    lk_error err;
    cr_assert_eq(lk_model_open(test_model_path(0), &m, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        o.device = CASES[i].device;
        cr_assert_eq(lk_engine_open(m, &o, &e, &err), CASES[i].status, "'%s'", o.device);
        cr_assert(err.status == CASES[i].status && strstr(err.message, CASES[i].says), "%s",
                  err.message);
        cr_assert_null(e);
    }
    o.device = NULL;
    cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_OK, "%s", err.message);
    lk_engine_close(&e);
    lk_model_close(&m);
}

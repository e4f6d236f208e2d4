/* SPDX-License-Identifier: Apache-2.0
 *
 * Threads: the CPU backend with one to five threads, decode and prefill of unlike numbers, two
 * engines at work at once, and lanes of several parts with a thread each, by bits against the
 * scalar backend; and a crew with two callers. A program of its own, without Criterion, so that
 * ThreadSanitizer can watch it.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/crew.h"
#include "lockstep.h"

enum { CTX = 100, PREFILL = 70, N = 80, MAX_VOCAB = 1024 };

static const struct {
    const char *path, *placement;
} MODELS[] = {{LK_TEST_DIR "/golden/tiny-llama.gguf", "cpu:0,cpu:1"},
              {LK_TEST_DIR "/golden/tiny-gemma3.gguf", "cpu:0,scalar:1-2,cpu:3-5,scalar:6"},
              {LK_TEST_DIR "/golden/tiny-qwen3.gguf", "scalar:0,cpu:1"},
              {LK_TEST_DIR "/golden/tiny-phi3.gguf", "cpu:0,scalar:1"}};

struct work {
    const char *path, *backend; /* or a placement */
    int threads, threads_batch;
    float row[2][MAX_VOCAB]; /* after the prefill, after the last token */
    bool ok;
};

/* Prefill in batches of 32 (on several parts: of 100, 32 at a time), then token by token. */
static void *answer(void *arg)
{
    struct work *w = arg;
    lk_error err = {0};
    lk_model *m = NULL;
    lk_engine *e = NULL;
    lk_session *s = NULL;
    lk_engine_options o = lk_engine_options_default();
    bool placed = strchr(w->backend, ':');
    o.backend = placed ? "auto" : w->backend;
    o.placement = placed ? w->backend : NULL;
    o.n_ctx = CTX;
    o.n_batch = placed ? CTX : 32;
    o.threads = w->threads;
    o.pin = w->threads > 0; /* exactly that many */
    o.threads_batch = w->threads_batch;
    int32_t ids[N];
    for (int i = 0; i < N; i++) {
        ids[i] = (i * 37 + 11) % 256;
    }
    lk_status status = lk_model_open(w->path, &m, &err);
    status = status ? status : lk_engine_open(m, &o, &e, &err);
    status = status ? status : lk_session_open(e, &s, &err);
    for (size_t n = PREFILL; n <= N && !status; n++) {
        status = lk_session_sync(s, ids, n, &err);
        if (!status && (n == PREFILL || n == N)) {
            memcpy(w->row[n == N], lk_session_logits(s), lk_engine_n_vocab(e) * sizeof(float));
        }
    }
    if (status) {
        fprintf(stderr, "%s on %s: %s\n", w->path, w->backend, err.message);
    }
    w->ok = !status;
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    return NULL;
}

static bool same(const struct work *w, const struct work *expected)
{
    bool ok = w->ok && memcmp(w->row, expected->row, sizeof w->row) == 0;
    if (!ok) {
        fprintf(stderr, "[FAIL] %s on %s: %d and %d threads differ from scalar\n", w->path,
                w->backend, w->threads, w->threads_batch);
    }
    return ok;
}

static struct work expected, one, two;

static struct lk_crew *crew;

static void add(void *user, size_t i)
{
    ((size_t *)user)[i] += i;
}

/* The same sums as those of one thread. */
static void *call_crew(void *arg)
{
    size_t sum[40] = {0}, bad = 0;
    for (int r = 0; r < 200; r++) {
        lk_crew_run(crew, 40, 1 + r % 6, add, sum);
    }
    for (size_t i = 0; i < 40; i++) {
        bad += sum[i] != 200 * i;
    }
    *(size_t *)arg = bad;
    return NULL;
}

static bool crew_is_shared(void)
{
    size_t bad[2] = {1, 1};
    pthread_t other;
    crew = lk_crew_new();
    if (crew && pthread_create(&other, NULL, call_crew, &bad[1]) == 0) {
        call_crew(&bad[0]);
        pthread_join(other, NULL);
    }
    lk_crew_free(crew);
    if (bad[0] || bad[1]) {
        fprintf(stderr, "[FAIL] a crew with two callers\n");
    }
    return !bad[0] && !bad[1];
}

int main(void)
{
    static const int THREADS[][2] = {{1, 1}, {2, 2}, {3, 3}, {1, 3}, {3, 2}, {5, 5}};
    int tested = 1, passing = crew_is_shared();
    for (size_t m = 0; m < sizeof MODELS / sizeof *MODELS; m++) {
        const char *path = MODELS[m].path;
        expected = (struct work){.path = path, .backend = "scalar"};
        answer(&expected);
        for (size_t t = 0; t < sizeof THREADS / sizeof *THREADS; t++) {
            one = (struct work){path, "cpu", THREADS[t][0], THREADS[t][1], {{0}}, false};
            answer(&one);
            tested++;
            passing += expected.ok && same(&one, &expected);
        }
        pthread_t other;
        one = (struct work){path, "cpu", 2, 3, {{0}}, false};
        two = (struct work){path, "cpu", 3, 2, {{0}}, false};
        if (pthread_create(&other, NULL, answer, &two) == 0) {
            answer(&one);
            pthread_join(other, NULL);
        }
        tested++;
        passing += expected.ok && same(&one, &expected) && same(&two, &expected);
        one = (struct work){path, MODELS[m].placement, 2, 2, {{0}}, false};
        answer(&one);
        tested++;
        passing += expected.ok && same(&one, &expected);
    }
    printf("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0\n", tested,
           passing, tested - passing);
    return passing == tested ? 0 : 1;
}

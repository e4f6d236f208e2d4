/* SPDX-License-Identifier: Apache-2.0
 *
 * Lost: a device that is lost at any batch of a conversation costs time and no token: the session
 * goes on where it was, with the same bits. And an engine shared by threads: each session's rows
 * are those it has alone.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engine/engine.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { N = 90, CTX = 128, MAX_RUNS = 40 };

/* A backend like the one it stands for, but for a loss at one run. */
static struct lk_backend_impl fake;
static const struct lk_backend_impl *real;
static int runs_left;

static lk_status run_until_lost(struct lk_exec *exec, struct lk_state_mem *mem,
                                const struct lk_batch *batch, lk_error *err)
{
    if (runs_left-- <= 0) {
        err->status = LK_E_DEVICE_LOST;
        strcpy(err->message, "the device was lost");
        return LK_E_DEVICE_LOST;
    }
    return real->run(exec, mem, batch, err);
}

static lk_status read_until_lost(struct lk_state_mem *mem, int state, size_t offset, void *data,
                                 size_t n, lk_error *err)
{
    return runs_left <= 0 ? LK_E_DEVICE_LOST : real->state_read(mem, state, offset, data, n, err);
}

static void make_losable(lk_engine *e, int runs)
{
    real = e->home->part[0].impl;
    fake = *real;
    fake.run = run_until_lost;
    fake.state_read = read_until_lost;
    e->home->part[0].impl = &fake;
    runs_left = runs;
}

Test(lost, a_session_survives_the_loss_of_its_device_at_any_batch)
{
    const char *path = test_model_path(0);
    int32_t ids[N];
    lk_model *m;
    lk_error err;
    lk_engine *e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, N, n_vocab, 11);
    float *rows = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
    int losses = 0;
    for (int at = 0; at < MAX_RUNS; at++) {
        lk_session *s;
        e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
        make_losable(e, at);
        cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
        cr_assert_eq(lk_session_sync(s, ids, 60, &err), LK_OK, "loss at %d: %s", at, err.message);
        tiny_same(lk_session_logits(s), rows + 59 * n_vocab, n_vocab, "prompt after a loss");
        for (size_t n = 61; n <= N; n++) {
            int32_t next = ids[n - 1];
            lk_status status =
                n % 2 ? lk_session_sync(s, ids, n, &err) : lk_engine_step(e, &s, &next, 1, &err);
            cr_assert_eq(status, LK_OK, "loss at %d: %s", at, err.message);
            tiny_same(lk_session_logits(s), rows + (n - 1) * n_vocab, n_vocab, "after a loss");
        }
        losses += strcmp(lk_session_backend(s), "cpu") == 0;
        lk_session_close(&s);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    cr_assert(losses > 20 && losses < MAX_RUNS, "%d of %d conversations lost their device", losses,
              MAX_RUNS);
    free(rows);
}

Test(lost, rows_come_once_each_across_a_loss_and_a_move_leaves_a_lost_device)
{
    const char *path = test_model_path(1);
    int32_t ids[N];
    lk_model *m;
    lk_error err;
    lk_session *s;
    lk_engine *e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, N, n_vocab, 12);
    float *rows = tiny_rows(e, ids, N);
    make_losable(e, 2);
    float *got = tiny_rows(e, ids, N); /* asserts that rows come in order, each once */
    tiny_same(got, rows, N * n_vocab, "rows across a loss");
    free(got);
    lk_engine_close(&e);
    lk_model_close(&m);
    e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    make_losable(e, 4);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, 50, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_move(s, "cpu", &err), LK_OK, "%s", err.message);
    cr_assert_str_eq(lk_session_backend(s), "cpu");
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "moved off a lost device");
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
    free(rows);
}

struct talker {
    lk_engine *engine;
    unsigned seed;
    const float *rows; /* [N][n_vocab] */
    bool same;
};

static void *talk(void *arg)
{
    struct talker *t = arg;
    int32_t ids[N];
    lk_session *s = NULL;
    size_t n_vocab = lk_engine_n_vocab(t->engine);
    tiny_tokens(ids, N, n_vocab, t->seed);
    t->same = lk_session_open(t->engine, &s, NULL) == LK_OK;
    for (size_t n = 1; n <= N && t->same; n += 7) {
        t->same =
            lk_session_sync(s, ids, n, NULL) == LK_OK &&
            memcmp(lk_session_logits(s), t->rows + (n - 1) * n_vocab, n_vocab * sizeof(float)) == 0;
    }
    lk_session_close(&s);
    return NULL;
}

Test(lost, threads_share_an_engine)
{
    enum { TALKERS = 4 };
    lk_model *m;
    lk_engine *e = tiny_engine(test_model_path(0), "cpu", CTX, 16, TALKERS, &m);
    struct talker t[TALKERS];
    pthread_t id[TALKERS];
    float *rows[TALKERS];
    for (unsigned i = 0; i < TALKERS; i++) {
        int32_t ids[N];
        tiny_tokens(ids, N, lk_engine_n_vocab(e), i);
        rows[i] = tiny_rows(e, ids, N);
        t[i] = (struct talker){.engine = e, .seed = i, .rows = rows[i]};
    }
    for (int i = 0; i < TALKERS; i++) {
        cr_assert_eq(pthread_create(&id[i], NULL, talk, &t[i]), 0);
    }
    for (int i = 0; i < TALKERS; i++) {
        pthread_join(id[i], NULL);
        cr_assert(t[i].same, "thread %d", i);
        free(rows[i]);
    }
    lk_engine_close(&e);
    lk_model_close(&m);
}

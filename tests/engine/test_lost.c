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
#include <unistd.h>

#include "engine/engine.h"
#include "lockstep_check.h"
#include "tests/util/models.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"

enum { N = 90, CTX = 128, MAX_RUNS = 40 };

/* Loses a part's device in its n-th batch. */
struct loss {
    int part, at;
};

static lk_status lose(void *user, int part, int n, const struct lk_batch *batch, lk_error *err)
{
    const struct loss *l = user;
    (void)batch;
    return part == l->part && n == l->at ? lk_fail(err, LK_E_DEVICE_LOST, "the device was lost")
                                         : LK_OK;
}

/* A conversation on a lane that loses a part's device; the name of the lane that it ends on. */
static void talk_over(const char *path, lk_engine *e, struct loss *loss, const int32_t *tokens,
                      const float *rows, char *end)
{
    lk_session *s;
    lk_error err;
    size_t n_vocab = lk_engine_n_vocab(e);
    parts_wrap(e->home, lose, loss);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    for (size_t n = 60; n <= N; n++) {
        int32_t next = tokens[n - 1];
        lk_status status = n % 2 || n == 60 ? lk_session_sync(s, tokens, n, &err)
                                            : lk_engine_step(e, &s, &next, 1, &err);
        cr_assert_eq(status, LK_OK, "%s, part %d lost at %d: %s", path, loss->part, loss->at,
                     err.message);
        tiny_same(lk_session_logits(s), rows + (n - 1) * n_vocab, n_vocab, "around a loss");
    }
    strcpy(end, lk_session_backend(s));
    lk_session_close(&s);
}

Test(lost, a_session_survives_the_loss_of_its_device_at_any_batch)
{
    const char *path = test_model_path(0);
    int32_t ids[N];
    lk_model *m;
    lk_engine *e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, N, n_vocab, 11);
    float *rows = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
    int losses = 0;
    for (int at = 0; at < MAX_RUNS; at++) {
        struct loss loss = {0, at};
        char end[128];
        e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
        talk_over(path, e, &loss, ids, rows, end);
        losses += strcmp(end, "cpu") == 0;
        cr_assert_eq(strcmp(lk_engine_describe(e), "scalar, 1 thread") != 0,
                     strcmp(end, "cpu") == 0, "sessions are opened where there is a device");
        lk_engine_close(&e);
        lk_model_close(&m);
    }
    cr_assert(losses > 20 && losses < MAX_RUNS, "%d of %d conversations lost their device", losses,
              MAX_RUNS);
    free(rows);
}

/* When a device is lost, parts of a chain on other devices stay, and its own goes to the CPU. */
Test(lost, a_chain_survives_the_loss_of_any_part_at_any_batch)
{
    static const struct {
        const char *placement, *after[3]; /* the loss of each part */
    } CASES[] = {
        {"cpu:0-1,scalar:2-3,cpu:4-5",
         {"cpu:0-1,scalar:2-3,cpu:4-5", "cpu", "cpu:0-1,scalar:2-3,cpu:4-5"}},
        {"scalar:0,cpu:1-2,scalar:3-5", {"cpu", "scalar:0-0,cpu:1-2,scalar:3-5", "cpu"}},
    };
    char path[] = "/tmp/lk-lost-XXXXXX", end[128];
    int32_t ids[N];
    lk_model *m;
    parts_model(path, 6, PARTS_MODEL_CTX);
    lk_engine *e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    tiny_tokens(ids, N, lk_engine_n_vocab(e), 11);
    float *rows = tiny_rows(e, ids, N);
    lk_engine_close(&e);
    lk_model_close(&m);
    for (size_t c = 0; c < LK_COUNT(CASES); c++) {
        for (struct loss loss = {0}; loss.part < 3; loss.part++) {
            int losses = 0, by = test_is_full() ? 1 : 3, runs = 0;
            for (loss.at = loss.part % by; loss.at < MAX_RUNS; loss.at += by, runs++) {
                lk_engine_options o = lk_engine_options_default();
                o.placement = CASES[c].placement;
                o.n_ctx = CTX;
                o.n_batch = 60; /* in two micro-batches */
                e = tiny_engine_with(path, &o, &m);
                const struct lk_lane *first = e->home;
                talk_over(path, e, &loss, ids, rows, end);
                losses += e->home != first;
                cr_assert_str_eq(end,
                                 e->home == first ? CASES[c].placement : CASES[c].after[loss.part]);
                lk_engine_close(&e);
                lk_model_close(&m);
            }
            cr_assert(losses * by > 20 && losses < runs, "part %d: %d losses", loss.part, losses);
        }
    }
    unlink(path);
    free(rows);
}

/* One device after the other in one call: the text goes on until the CPU alone is left. */
Test(lost, losses_in_a_row_end_on_the_cpu)
{
    const char *path = test_model_path(0);
    int32_t ids[N];
    lk_model *m;
    lk_error err;
    lk_session *s;
    char name[8][64];
    int n = 0;
    lk_engine *e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    size_t n_vocab = lk_engine_n_vocab(e);
    tiny_tokens(ids, N, n_vocab, 13);
    float *rows = tiny_rows(e, ids, N);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    while (n < 8) {
        struct loss loss = {0, 1};
        parts_wrap(s->lane, lose, &loss);
        cr_assert_eq(lk_session_truncate(s, 0, &err), LK_OK);
        cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_OK, "%s", err.message);
        tiny_same(lk_session_logits(s), rows + (N - 1) * n_vocab, n_vocab, "after losses");
        strcpy(name[n++], lk_session_backend(s));
    }
    for (int i = 0; i < n; i++) {
        cr_assert_str_eq(name[i], "cpu");
    }
    /* A device that is lost again and again is no longer opened. */
    struct loss loss = {0, 1};
    parts_wrap(s->lane, lose, &loss);
    cr_assert_eq(lk_session_truncate(s, 0, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, N, &err), LK_E_DEVICE, "%s", err.message);
    cr_assert(strstr(err.message, "lost too often"), "%s", err.message);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 1, &(double){0}, &err), LK_E_DEVICE_LOST);
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
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
    struct loss loss = {0, 2};
    parts_wrap(e->home, lose, &loss);
    float *got = tiny_rows(e, ids, N); /* asserts that rows come in order, each once */
    tiny_same(got, rows, N * n_vocab, "rows across a loss");
    free(got);
    lk_engine_close(&e);
    lk_model_close(&m);
    e = tiny_engine(path, "scalar", CTX, 16, 1, &m);
    loss.at = -1;
    parts_wrap(e->home, lose, &loss);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK);
    cr_assert_eq(lk_session_sync(s, ids, 50, &err), LK_OK, "%s", err.message);
    parts_kill(0);
    cr_assert_eq(lk_session_save(s, "/tmp/lk-lost-session", &err), LK_E_DEVICE_LOST);
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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint: timelines with recurrent states are cut without going through all of them again, with
 * the bits of a fresh evaluation: at every position, within any budget, after forks, moves and
 * files, for sessions that begin alike.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/engine.h"
#include "engine/prefix.h"
#include "tests/util/model_build.h"
#include "tests/util/models.h"
#include "tests/util/tiny.h"

enum { N = 300, CTX = 384, BLOCK = LK_KV_BLOCK };

static const char *const MODELS[] = {"qwen35", "qwen3next",     "qwen35moe",
                                     "lfm2",   "granitehybrid", "nemotron_h"};

static size_t n_models(void)
{
    return test_is_sanitized_sample() ? 1 : LK_COUNT(MODELS);
}

struct text {
    lk_model *model;
    lk_engine *engine;
    int32_t ids[N];
    float *rows; /* [N][n_vocab] of a fresh session */
    size_t n_vocab;
};

static void open_text_of(struct text *x, const char *arch, const char *backend, uint32_t n_batch,
                         uint32_t n_ctx)
{
    struct model_params p = model_params_default(arch, LK_TYPE_Q8_0, 3);
    struct gguf_build b = {0};
    char path[] = "/tmp/lk-test-XXXXXX";
    close(mkstemp(path));
    p.n_ctx = (int)n_ctx;
    model_build(&b, &p);
    gb_save(&b, path);
    gb_free(&b);
    lk_engine_options o = lk_engine_options_default();
    o.backend = backend;
    o.n_ctx = n_ctx;
    o.n_batch = n_batch;
    o.n_sessions = 3;
    o.threads = 1;
    x->engine = tiny_engine_with(path, &o, &x->model);
    unlink(path);
    x->n_vocab = lk_engine_n_vocab(x->engine);
    tiny_tokens(x->ids, N, x->n_vocab, 5);
    x->rows = tiny_rows(x->engine, x->ids, N);
    cr_assert_eq(x->engine->checkpoints.n_bytes, 0, "the session that is gone has left some");
}

static void open_text(struct text *x, const char *arch, const char *backend, uint32_t n_batch)
{
    open_text_of(x, arch, backend, n_batch, CTX);
}

static void close_text(struct text *x)
{
    cr_assert_eq(x->engine->checkpoints.n_bytes, 0);
    cr_assert_null(x->engine->checkpoints.first);
    lk_engine_close(&x->engine);
    lk_model_close(&x->model);
    free(x->rows);
}

static size_t size_of_one(const struct text *x)
{
    size_t n = 0;
    for (int i = 0; i < x->engine->plan->n_states; i++) {
        const struct lk_state *state = &x->engine->plan->states[i];
        n += lk_state_is_paged(state) ? 0 : lk_state_unit_bytes(state);
    }
    return n;
}

static lk_session *session_of(struct text *x, size_t n)
{
    lk_session *s;
    lk_error err;
    cr_assert_eq(lk_session_open(x->engine, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, x->ids, n, &err), LK_OK, "%s", err.message);
    return s;
}

static bool note_end(void *user, const char *what, size_t done, size_t total)
{
    (void)what;
    (void)done;
    *(size_t *)user = total;
    return true;
}

/* Cuts the session to n tokens and goes on with the next: how many were evaluated for the cut. */
static size_t cut(struct text *x, lk_session *s, size_t n, const char *what)
{
    size_t again = 0;
    lk_error err;
    lk_session_on_progress(s, note_end, &again);
    cr_assert_eq(lk_session_truncate(s, n, &err), LK_OK, "%s", err.message);
    lk_session_on_progress(s, NULL, NULL);
    cr_assert_eq(lk_session_n_tokens(s), n);
    cr_assert_eq(lk_session_sync(s, x->ids, n + 1, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), x->rows + n * x->n_vocab, x->n_vocab, what);
    return again;
}

Test(checkpoint, a_cut_at_every_position_costs_less_than_a_block)
{
    static const char *const BACKENDS[] = {"cpu", "scalar"};
    size_t step = test_is_full() ? 1 : test_is_sanitized_sample() ? 23 : 13;
    for (size_t m = 0; m < n_models(); m++) {
        struct text x;
        lk_error err;
        open_text(&x, MODELS[m], BACKENDS[m % 2], BLOCK);
        lk_session *s = session_of(&x, N);
        for (size_t n = 1 + m; n < N; n += n % BLOCK == BLOCK - 1 || n % BLOCK == 0 ? 1 : step) {
            lk_session *f;
            char what[128];
            snprintf(what, sizeof what, "%s cut to %zu", MODELS[m], n);
            cr_assert_eq(lk_session_fork(s, &f, &err), LK_OK, "%s", err.message);
            cr_assert_eq(cut(&x, f, n, what), n % BLOCK, "%s", what);
            lk_session_close(&f);
        }
        cr_assert_eq(s->checkpoints.n, N / BLOCK, "forks left the session's as they were");
        lk_session_close(&s);
        close_text(&x);
    }
}

/* Text that differs from some position on, as an edited question does. */
Test(checkpoint, another_text_takes_what_it_has_in_common)
{
    size_t step = test_is_sanitized_sample() ? 111 : 37;
    for (uint32_t n_batch = test_is_sanitized_sample() ? 240 : 40; n_batch <= 240;
         n_batch += 200) { /* less than a block, and more */
        struct text x;
        lk_error err;
        int32_t other[N];
        open_text(&x, MODELS[0], "cpu", n_batch);
        lk_session *s = session_of(&x, N);
        for (size_t at = N - 1; at > 0; at = at > step ? at - step : 0) {
            size_t again = 0;
            memcpy(other, x.ids, sizeof other);
            other[at] = (other[at] + 1) % (int32_t)x.n_vocab;
            lk_session_on_progress(s, note_end, &again);
            cr_assert_eq(lk_session_sync(s, other, N, &err), LK_OK, "%s", err.message);
            cr_assert_leq(again, N - at + (n_batch < BLOCK ? BLOCK : 256));
            float *want = tiny_rows(x.engine, other, N);
            tiny_same(lk_session_logits(s), want + (N - 1) * x.n_vocab, x.n_vocab, "other text");
            free(want);
            cr_assert_eq(lk_session_sync(s, x.ids, N, &err), LK_OK, "%s", err.message);
            tiny_same(lk_session_logits(s), x.rows + (N - 1) * x.n_vocab, x.n_vocab, "back again");
        }
        lk_session_close(&s);
        close_text(&x);
    }
}

/* However few there may be, they are spread, and the memory is kept to. */
Test(checkpoint, any_budget_is_kept_to)
{
    for (size_t most = 0; most <= 5; most += test_is_sanitized_sample() ? 3 : 1) {
        struct text x;
        open_text(&x, MODELS[0], "cpu", BLOCK);
        size_t one = size_of_one(&x), spare = most % 2 ? one - 1 : 0;
        x.engine->options.checkpoint_bytes = most * one + (most ? spare : one - 1);
        lk_session *s = session_of(&x, N);
        cr_assert_leq(x.engine->checkpoints.n_bytes, most * one);
        cr_assert_eq(s->checkpoints.n, most < 4 ? most : 4, "%zu of %zu", s->checkpoints.n, most);
        for (size_t i = 0, before = 0; i < s->checkpoints.n; i++) {
            size_t at = (size_t)s->checkpoints.at[i]->n_tokens;
            cr_assert(at > before && at % BLOCK == 0);
            before = at;
        }
        if (most > 0) {
            cr_assert_eq(s->checkpoints.at[s->checkpoints.n - 1]->n_tokens, N / BLOCK * BLOCK);
        }
        for (size_t n = N - 2; n > 60; n -= 60) {
            cut(&x, s, n, "a budget of few");
        }
        lk_session_close(&s);
        close_text(&x);
    }
}

/* A long text has all of the budget, though other sessions are open; it has to go back furthest
 * where it begins, and what rests makes room. */
Test(checkpoint, they_lie_closer_towards_the_end)
{
    enum { LONG = 40 * BLOCK, MOST = 10 };
    struct text x;
    lk_error err;
    static int32_t ids[LONG];
    size_t held = 0;
    open_text_of(&x, MODELS[3], "cpu", BLOCK, LONG);
    lk_session *rests = session_of(&x, N), *s;
    cr_assert_eq(lk_session_open(x.engine, &s, &err), LK_OK, "%s", err.message);
    x.engine->options.checkpoint_bytes = MOST * size_of_one(&x);
    tiny_tokens(ids, LONG, x.n_vocab, 5);
    cr_assert_eq(lk_session_sync(s, ids, LONG, &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < rests->checkpoints.n; i++) {
        held += rests->checkpoints.at[i]->data != NULL;
    }
    cr_assert_leq(held, 1, "%zu", held);
    int end = LONG, first = 0, last = 0, n = 0;
    for (size_t i = 0; i < s->checkpoints.n; i++) {
        const struct lk_checkpoint *c = s->checkpoints.at[i];
        if (c->data) {
            int gap = c->n_tokens - (c->before ? c->before->n_tokens : 0);
            cr_assert_leq(gap, LONG / 4, "%d before %d", gap, c->n_tokens);
            first = first ? first : gap;
            last = gap;
            n++;
            end = c->n_tokens;
        }
    }
    cr_assert_eq(n + (int)held, MOST);
    cr_assert_gt(end, LONG - 2 * BLOCK);
    cr_assert_gt(first, 2 * last, "%d and %d", first, last);
    lk_session_close(&s);
    lk_session_close(&rests);
    close_text(&x);
}

/* Sessions share a budget: the newest of each are there, and those of one that rests go first. */
Test(checkpoint, sessions_share_the_budget)
{
    struct text x;
    open_text(&x, MODELS[1], "cpu", BLOCK);
    size_t one = size_of_one(&x);
    x.engine->options.checkpoint_bytes = 4 * one;
    lk_session *s[3];
    for (size_t i = 0; i < 3; i++) {
        s[i] = session_of(&x, N - 70 * i);
        cr_assert_leq(x.engine->checkpoints.n_bytes, 4 * one);
    }
    cr_assert_eq(cut(&x, s[2], N - 141, "the last"), (N - 141) % BLOCK);
    for (size_t i = 0; i < 3; i++) {
        cut(&x, s[i], 100 - i, "each of three");
        cr_assert_leq(x.engine->checkpoints.n_bytes, 4 * one);
        lk_session_close(&s[i]);
    }
    close_text(&x);
}

Test(checkpoint, they_stay_with_a_session_that_moves)
{
    struct text x;
    lk_error err;
    open_text(&x, MODELS[0], "cpu", BLOCK);
    lk_session *s = session_of(&x, N);
    cr_assert_eq(lk_session_move(s, "scalar", &err), LK_OK, "%s", err.message);
    cr_assert_eq(cut(&x, s, 200, "on scalar"), 200 % BLOCK);
    cr_assert_eq(lk_session_move(s, "cpu", &err), LK_OK, "%s", err.message);
    cr_assert_eq(cut(&x, s, 130, "back on cpu"), 2);
    lk_session_close(&s);
    close_text(&x);
}

/* A file has none; what it was saved at becomes one, and those of the old timeline go. */
Test(checkpoint, a_loaded_session_goes_back_to_where_it_was_saved)
{
    struct text x;
    lk_error err;
    char path[] = "/tmp/lk-test-XXXXXX";
    close(mkstemp(path));
    open_text(&x, MODELS[0], "cpu", BLOCK);
    lk_session *s = session_of(&x, 101);
    cr_assert_eq(lk_session_save(s, path, &err), LK_OK, "%s", err.message);
    lk_session_close(&s);
    s = session_of(&x, 250);
    cr_assert_eq(lk_session_load(s, path, &err), LK_OK, "%s", err.message);
    unlink(path);
    cr_assert_eq(s->checkpoints.n, 1);
    cr_assert_eq(lk_session_sync(s, x.ids, N, &err), LK_OK, "%s", err.message);
    cr_assert_eq(cut(&x, s, 120, "behind the saved part"), 19);
    cr_assert_eq(cut(&x, s, 80, "before it"), 80);
    lk_session_close(&s);
    close_text(&x);
}

static struct lk_prefix_tree *tree_of(struct text *x)
{
    struct lk_prefix_tree *t;
    lk_error err;
    cr_assert_eq(lk_prefix_open(x->engine, &t, &err), LK_OK, "%s", err.message);
    return t;
}

/* Ends as if it had evaluated all of it. */
static size_t adopts(struct text *x, struct lk_prefix_tree *t, size_t n)
{
    struct lk_prefix_at at = {0};
    lk_error err;
    lk_session *s;
    cr_assert_eq(lk_session_open(x->engine, &s, &err), LK_OK, "%s", err.message);
    size_t got = lk_prefix_adopt(t, 0, s, x->ids, n - 1, &at);
    cr_assert_eq(lk_session_n_tokens(s), got);
    cr_assert_eq(lk_session_sync(s, x->ids, n, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), x->rows + (n - 1) * x->n_vocab, x->n_vocab, "adopted");
    lk_prefix_keep(t, 0, s, &at);
    lk_session_close(&s);
    return got;
}

Test(checkpoint, sessions_that_begin_alike_share_it)
{
    for (size_t m = 0; m < n_models(); m++) {
        struct text x;
        int idle;
        open_text(&x, MODELS[m], "cpu", CTX);
        struct lk_prefix_tree *t = tree_of(&x);
        cr_assert_eq(adopts(&x, t, 150), 0);
        cr_assert_eq(lk_prefix_n_kept(t), 2);
        cr_assert_eq(lk_prefix_find(t, 0, x.ids, N, &idle), 2, "its last block has a checkpoint");
        cr_assert_eq(idle, 2);
        cr_assert_eq(lk_prefix_find(t, 0, x.ids, 100, &idle), 0, "the one before has none");
        cr_assert_eq(adopts(&x, t, N), 128);
        cr_assert_eq(adopts(&x, t, N), 256);
        cr_assert_eq(adopts(&x, t, 200), 128, "up to the last that has one");
        cr_assert_eq(adopts(&x, t, 200), 192, "which is there now");
        /* What a checkpoint of a beginning takes, others may have. */
        x.engine->options.checkpoint_bytes = size_of_one(&x);
        lk_session *s = session_of(&x, 70);
        cr_assert_eq(x.engine->checkpoints.n_bytes, size_of_one(&x));
        cr_assert_eq(lk_prefix_find(t, 0, x.ids, N, &idle), 0, "they went");
        lk_session_close(&s);
        cr_assert_eq(adopts(&x, t, 150), 0);
        cr_assert_gt(lk_prefix_evict(t, 2), 0);
        lk_prefix_close(&t);
        close_text(&x);
    }
}

/* No slot is free: nothing is taken, and nothing of the tree is harmed. */
Test(checkpoint, a_beginning_needs_a_slot)
{
    struct text x;
    struct lk_prefix_at at = {0};
    lk_error err;
    lk_session *held[3], *s;
    open_text(&x, MODELS[0], "cpu", CTX);
    struct lk_prefix_tree *t = tree_of(&x);
    adopts(&x, t, 150);
    for (size_t i = 0; i < 3; i++) {
        held[i] = session_of(&x, 20 + i);
    }
    cr_assert_eq(lk_session_open(x.engine, &s, &err), LK_OK);
    cr_assert_eq(lk_prefix_adopt(t, 0, s, x.ids, N - 1, &at), 0);
    cr_assert_eq(lk_session_n_tokens(s), 0);
    lk_session_close(&s);
    for (size_t i = 0; i < 3; i++) {
        lk_session_close(&held[i]);
    }
    cr_assert_eq(adopts(&x, t, N), 128);
    lk_prefix_close(&t);
    close_text(&x);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Lanes: chains of parts on the CPU's backends. Wherever a model is cut, however batches are cut
 * and however often a session moves, rows are those of one part alone; parts overlap; what one part
 * says is what the caller hears; options that make no sense are refused.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "lockstep_check.h"
#include "tests/util/models.h"
#include "tests/util/parts.h"
#include "tests/util/tiny.h"

enum { LAYERS = PARTS_LAYERS, N = PARTS_N, CTX = PARTS_CTX, VOCAB = PARTS_VOCAB };

TestSuite(lanes, .init = parts_set_up, .fini = parts_tear_down);

static lk_engine_options options(const char *placement, uint32_t n_batch)
{
    lk_engine_options o = lk_engine_options_default();
    o.placement = placement;
    o.n_ctx = CTX;
    o.n_batch = n_batch;
    o.n_sessions = 4;
    o.threads = 2;
    return o;
}

static lk_engine *open_placed(const char *placement, uint32_t n_batch, lk_model **m)
{
    lk_engine_options o = options(placement, n_batch);
    return tiny_engine_with(parts_path, &o, m);
}

static void same_rows(void *user, const char *placement)
{
    static const uint32_t BATCH[] = {1, 40, 64, 150};
    lk_model *m;
    int *n = user;
    if (test_is_sanitized_sample() && *n % 3 != 0) {
        ++*n;
        return;
    }
    lk_engine *e = open_placed(placement, BATCH[*n % 4], &m);
    parts_check_rows(e, placement);
    lk_engine_close(&e);
    lk_model_close(&m);
    ++*n;
}

Test(lanes, every_split_in_chains_of_one_to_six_parts_gives_the_same_rows)
{
    static const char *const BACKENDS[] = {"scalar", "cpu"};
    int n = 0;
    for (int n_parts = 1; n_parts <= LAYERS; n_parts++) {
        parts_each_split(LAYERS, n_parts, BACKENDS, 2, same_rows, &n);
    }
    cr_assert_eq(n, 32); /* 2^5 ways to cut 6 layers */
}

Test(lanes, feed_forwards_that_are_placed_apart_give_the_same_rows)
{
    static const char *const PLACED[] = {"scalar:0-5,ffn:0-5", "scalar:0-5,ffn:2",
                                         "scalar:0-1,cpu:2,scalar:3-5,ffn:1-3,ffn:5",
                                         "scalar:0-5,ffn:5", "cpu:0-5,ffn:0-5"};
    int n = 0;
    for (size_t i = 0; i < LK_COUNT(PLACED); i++) {
        for (int k = 0; k < 4; k++) {
            same_rows(&n, PLACED[i]);
        }
        n++;
    }
}

Test(lanes, micro_batches_of_any_size_give_the_same_rows)
{
    lk_model *m;
    bool sample = test_is_sanitized_sample();
    for (int most = 1; most <= 64; most += sample ? 18 : most < 8 ? 1 : 7) {
        lk_engine *e = open_placed("cpu:0-1,scalar:2,cpu:3-4,cpu:5", N, &m);
        cr_assert_eq(e->home->n_micro, 38, "a fourth of a batch");
        cr_assert_not_null(e->home->relay);
        e->home->n_micro = most < 38 ? most : 38;
        for (int again = 0; again < 2; again++) {
            float *got = tiny_rows(e, parts_ids, N);
            tiny_same(got, parts_rows, (size_t)N * VOCAB, "micro-batches");
            free(got);
        }
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

/* Sequences of many lengths in one batch, cut anywhere. */
Test(lanes, many_sessions_share_a_cut_batch)
{
    enum { SESSIONS = 4 };
    static const size_t LENGTH[SESSIONS] = {70, 1, 33, 40};
    lk_model *m;
    lk_error err;
    for (int most = 1; most < 40; most += test_is_sanitized_sample() ? 18 : 6) {
        lk_session *s[SESSIONS];
        lk_item items[SESSIONS];
        lk_engine *e = open_placed("scalar:0-1,cpu:2-3,scalar:4-5", N, &m);
        e->home->n_micro = most;
        for (int i = 0; i < SESSIONS; i++) {
            cr_assert_eq(lk_session_open(e, &s[i], &err), LK_OK, "%s", err.message);
        }
        for (size_t round = 0; round < 2; round++) {
            for (int i = 0; i < SESSIONS; i++) {
                size_t held = lk_session_n_tokens(s[i]);
                items[i] = (lk_item){.session = s[i],
                                     .tokens = parts_ids + held,
                                     .n_tokens = LENGTH[((size_t)i + round) % SESSIONS]};
            }
            cr_assert_eq(lk_engine_run(e, items, SESSIONS, &err), LK_OK, "%s", err.message);
            for (int i = 0; i < SESSIONS; i++) {
                tiny_same(lk_session_logits(s[i]),
                          parts_rows + (lk_session_n_tokens(s[i]) - 1) * VOCAB, VOCAB, "a session");
            }
        }
        for (int i = 0; i < SESSIONS; i++) {
            lk_session_close(&s[i]);
        }
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

Test(lanes, a_session_moves_between_placements_in_mid_sentence)
{
    static const char *const BACKENDS[] = {"cpu", "scalar"};
    lk_model *m;
    lk_error err;
    struct parts_mover mover = {0};
    lk_engine *e = open_placed("scalar:0-5", 64, &m);
    cr_assert_eq(lk_session_open(e, &mover.s, &err), LK_OK, "%s", err.message);
    for (int n_parts = 5; n_parts >= 1; n_parts--) {
        parts_each_split(LAYERS, n_parts, BACKENDS, 2, parts_move_on, &mover);
    }
    /* One placement is one lane, however it is written; one backend is open once. */
    size_t n_lanes = e->n_lanes;
    cr_assert_eq(lk_session_move(mover.s, " scalar :0 - 5", &err), LK_E_INVALID);
    cr_assert_eq(lk_session_move(mover.s, " scalar :0-5 ", &err), LK_OK, "%s", err.message);
    cr_assert_str_eq(lk_session_backend(mover.s), "scalar:0-5");
    cr_assert_eq(e->n_lanes, n_lanes);
    cr_assert_eq(e->n_opened, 2);
    cr_assert_eq(lk_session_move(mover.s, "cpu", &err), LK_OK, "%s", err.message);
    cr_assert_str_eq(lk_session_backend(mover.s), "cpu");
    lk_session_close(&mover.s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* ---- parts overlap ---- */

struct watch {
    _Atomic int begun[PARTS_MOST]; /* micro-batches */
    bool met;
};

/* The last part waits in its first micro-batch until the first part is two further. */
static lk_status wait_for_the_first(void *user, int part, int n, const struct lk_batch *batch,
                                    lk_error *err)
{
    struct watch *w = user;
    (void)batch;
    (void)err;
    w->begun[part]++;
    if (part == 2 && n == 0) {
        for (int i = 0; i < 5000 && !w->met; i++) {
            usleep(1000);
            w->met = w->begun[0] >= 3 && w->begun[1] >= 2;
        }
    }
    return LK_OK;
}

Test(lanes, parts_run_one_batch_together)
{
    lk_model *m;
    struct watch w = {.met = false};
    lk_engine *e = open_placed("scalar:0-1,cpu:2-3,ref:4-5", N, &m);
    parts_wrap(e->home, wait_for_the_first, &w);
    float *got = tiny_rows(e, parts_ids, N);
    cr_assert(w.met, "one part waits for the other: %d and %d", w.begun[0], w.begun[1]);
    cr_assert(w.begun[0] == 4 && w.begun[1] == 4 && w.begun[2] == 4);
    free(got);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* ---- what fails ---- */

struct failure {
    int part, n; /* fails here, slowly */
    int later;   /* the first part fails at this one, at once */
};

static lk_status fail_twice(void *user, int part, int n, const struct lk_batch *batch,
                            lk_error *err)
{
    const struct failure *f = user;
    (void)batch;
    if (part == f->part && n == f->n) {
        usleep(2000);
        return lk_fail(err, LK_E_RANGE, "part %d, batch %d", part, n);
    }
    if (part == 0 && n == f->later) {
        return lk_fail(err, LK_E_RANGE, "too early");
    }
    return LK_OK;
}

/* The failure of the earliest tokens is told, whichever comes first; the session goes on. */
Test(lanes, the_first_failure_in_order_is_told)
{
    lk_model *m;
    lk_error err;
    char says[64];
    for (int part = 1; part < 3; part++) {
        for (int n = 0; n < 4; n++) {
            struct failure f = {part, n, n + 1};
            lk_session *s;
            lk_engine *e = open_placed("scalar:0-1,cpu:2-3,cpu:4-5", N, &m);
            cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
            parts_wrap(e->home, fail_twice, &f);
            snprintf(says, sizeof says, "part %d, batch %d", part, n);
            cr_assert_eq(lk_session_sync(s, parts_ids, N, &err), LK_E_RANGE);
            cr_assert_str_eq(err.message, says);
            cr_assert_eq(lk_session_n_tokens(s), 0);
            f = (struct failure){-1, -1, -1};
            cr_assert_eq(lk_session_sync(s, parts_ids, N, &err), LK_OK, "%s", err.message);
            tiny_same(lk_session_logits(s), parts_rows + (size_t)(N - 1) * VOCAB, VOCAB,
                      "after it");
            lk_session_close(&s);
            lk_engine_close(&e);
            lk_model_close(&m);
        }
    }
}

/* ---- figures ---- */

static void count_calls(void *user, const lk_op_time *t)
{
    uint64_t *calls = user;
    *calls += strcmp(t->kind, "attention") == 0 ? t->calls : 0;
}

Test(lanes, a_chain_is_measured_as_one)
{
    lk_model *m, *other;
    lk_error err;
    lk_engine *one = open_placed("cpu:0-5", N, &m), *e = open_placed("cpu:0-1,cpu:2-5", N, &other);
    lk_memory_use a = lk_engine_memory(one), b = lk_engine_memory(e);
    double rate = 0.0;
    uint64_t calls = 0;
    cr_assert(a.cache == b.cache && a.cache > 0 && b.work > 0);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 1, &rate, &err), LK_OK, "%s", err.message);
    cr_assert_gt(rate, 0.0);
    cr_assert_eq(lk_engine_profile(e, true, &err), LK_OK, "%s", err.message);
    free(tiny_rows(e, parts_ids, N));
    cr_assert_eq(lk_engine_op_times(e, count_calls, &calls, &err), LK_OK, "%s", err.message);
    cr_assert_eq(calls, 4 * LAYERS, "four micro-batches of all layers");
    lk_engine_close(&e);
    lk_model_close(&other);
    e = open_placed("cpu:0-1,ref:2-5", N, &other);
    cr_assert_eq(lk_engine_read_rate(e, 1 << 20, 1, &rate, &err), LK_E_UNSUPPORTED);
    cr_assert_eq(lk_engine_profile(e, true, &err), LK_E_UNSUPPORTED);
    lk_engine_close(&e);
    lk_model_close(&other);
    lk_engine_close(&one);
    lk_model_close(&m);
}

/* ---- words ---- */

Test(lanes, parts_are_described)
{
    static const struct {
        const char *placement, *describe;
    } CASES[] = {
        {"scalar:0-5", "scalar, 1 thread"},
        {"scalar:0-2,scalar:3-5", "scalar, 1 thread"},
        {"cpu:0-1,scalar:2-5",
         "4 of 6 layers on scalar, 1 thread, the rest on cpu generic, 1 thread"},
        {"scalar:0,cpu:1-2,scalar:3,ref:4,cpu:5",
         "2 of 6 layers on scalar, 1 thread, 1 on reference in double, the rest on cpu generic, 1 "
         "thread"},
        {"scalar:0-5,ffn:1-3",
         "scalar, 1 thread, feed-forward of 3 layers on cpu generic, 1 thread"},
        {"cpu:0,scalar:1-5,ffn:0-5",
         "5 of 6 layers on scalar, 1 thread, the rest on cpu generic, 1 thread, feed-forward of 5 "
         "layers on cpu generic, 1 thread"},
    };
    for (size_t i = 0; i < LK_COUNT(CASES); i++) {
        lk_model *m;
        lk_engine_options o = options(CASES[i].placement, 8);
        o.cpu_level = "generic";
        o.threads = 1;
        lk_engine *e = tiny_engine_with(parts_path, &o, &m);
        cr_assert_str_eq(lk_engine_describe(e), CASES[i].describe);
        lk_engine_close(&e);
        lk_model_close(&m);
    }
}

static void refuses(const lk_engine_options *o, lk_status status, const char *says)
{
    lk_model *m;
    lk_error err = {0};
    lk_engine *e = NULL;
    cr_assert_eq(lk_model_open(parts_path, &m, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_engine_open(m, o, &e, &err), status, "%s", err.message);
    cr_assert(strstr(err.message, says), "%s, expected '%s'", err.message, says);
    cr_assert_null(e);
    lk_model_close(&m);
}

Test(lanes, options_that_make_no_sense_are_refused)
{
    lk_engine_options o = options("cpu:0-4", 64);
    refuses(&o, LK_E_INVALID, "placement: ends with layer 4, the model has 0 to 5");
    o = options("cpu:0-2,abacus:3-5", 64);
    refuses(&o, LK_E_INVALID, "placement: part 2 'abacus:3-5': backend 'abacus'");
    o = options("cpu", 64);
    refuses(&o, LK_E_INVALID, "placement 'cpu': expected BACKEND");
    o = options("cpu:0-5", 64);
    o.backend = "cpu";
    refuses(&o, LK_E_INVALID, "placement 'cpu:0-5' says where layers run, expected no backend");
    o.backend = "auto";
    o.device = "0";
    refuses(&o, LK_E_INVALID, "expected no device beside it");
    o.device = NULL;
    o.gpu_layers = 3;
    refuses(&o, LK_E_INVALID, "expected no gpu_layers beside it");
    o.gpu_layers = LK_GPU_LAYERS_AUTO;
    o.cpu_experts = 2;
    refuses(&o, LK_E_INVALID, "expected no cpu_experts beside it");
    o = options(NULL, 64);
    o.cpu_experts = LK_CPU_EXPERTS_AUTO - 1;
    refuses(&o, LK_E_INVALID, "cpu_experts is -2, expected auto or a number of layers");
    /* A device that is named is that one or an error, whatever there is. */
    for (int i = 0; i < 2; i++) {
        o = options(NULL, 64);
        o.backend = i ? "vulkan" : "auto";
        if (i && !lk_backend_find("vulkan")) {
            continue;
        }
        o.device = "no such device";
        refuses(&o, LK_E_DEVICE, "device 'no such device': ");
        o.gpu_layers = 0;
        refuses(&o, LK_E_DEVICE, "device 'no such device': ");
        o.device = "";
        refuses(&o, LK_E_DEVICE, "device '': ");
    }
}

/* A move to nowhere leaves the session where it is. */
Test(lanes, a_move_that_fails_changes_nothing)
{
    lk_model *m;
    lk_error err;
    lk_session *s;
    lk_engine *e = open_placed("scalar:0-1,cpu:2-5", 64, &m);
    cr_assert_eq(lk_session_open(e, &s, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_sync(s, parts_ids, 70, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_session_move(s, "cpu:0-9", &err), LK_E_INVALID);
    cr_assert_eq(lk_session_move(s, "abacus", &err), LK_E_INVALID);
    cr_assert_str_eq(lk_session_backend(s), "scalar:0-1,cpu:2-5");
    cr_assert_eq(lk_session_sync(s, parts_ids, 71, &err), LK_OK, "%s", err.message);
    tiny_same(lk_session_logits(s), parts_rows + 70 * VOCAB, VOCAB, "after moves that failed");
    lk_session_close(&s);
    lk_engine_close(&e);
    lk_model_close(&m);
}

/* Layers that read K and V of others stay with them, and a cut before all of them changes no bit.
 */
Test(lanes, layers_that_share_k_and_v_are_not_parted)
{
    enum { TOKENS = 40, WORDS = 256 };
    static const char *const PARTED[] = {"scalar:0-1,cpu:2-5", "cpu:0-3,scalar:4-5"};
    const char *path = LK_TEST_DIR "/golden/tiny-gemma4-shared.gguf";
    int32_t ids[TOKENS];
    lk_model *m;
    lk_engine *e;
    lk_error err;
    tiny_tokens(ids, TOKENS, WORDS, 5);
    e = tiny_engine(path, "scalar", 64, TOKENS, 1, &m);
    float *want = tiny_rows(e, ids, TOKENS);
    lk_engine_close(&e);
    lk_model_close(&m);
    lk_engine_options o = lk_engine_options_default();
    o.n_ctx = 64;
    o.n_batch = 16;
    o.placement = "scalar:0,cpu:1-5";
    e = tiny_engine_with(path, &o, &m);
    float *got = tiny_rows(e, ids, TOKENS);
    tiny_same(got, want, (size_t)TOKENS * WORDS, o.placement);
    lk_engine_close(&e);
    for (size_t i = 0; i < sizeof PARTED / sizeof PARTED[0]; i++) {
        o.placement = PARTED[i];
        cr_assert_eq(lk_engine_open(m, &o, &e, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, i ? "begins with layer 4" : "begins with layer 2"), "%s",
                  err.message);
    }
    lk_model_close(&m);
    free(got);
    free(want);
}

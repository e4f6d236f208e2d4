/* SPDX-License-Identifier: Apache-2.0
 *
 * Check_whole: the whole model through engines and sessions, as a program runs it: prefill, one
 * token at a time, micro-batches, threads, levels, a move in mid-sentence. Every way gives the rows
 * of the base by bits.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/numerics.h"
#include "base/os.h"
#include "check/check_bounds.h"
#include "check/check_run.h"

enum mode { PREFILL, DECODE, MOVE };

/* A way to run the prompt. Neighbours with the same engine share it. */
struct way {
    const char *what;
    enum mode mode;
    bool vulkan; /* else the CPU */
    uint32_t n_batch;
    int threads; /* 0: as the options say */
    const char *level;
    bool long_check; /* not with --quick */
    bool slow;       /* only the first tokens */
};
static const struct way WAYS[] = {
    {"whole, CPU, one token at a time", DECODE, false, 512, 0, NULL, false, false},
    {"whole, prefill", PREFILL, true, 512, 0, NULL, false, false},
    {"whole, one token at a time", DECODE, true, 512, 0, NULL, false, false},
    {"whole, moved to the CPU and back", MOVE, true, 512, 0, NULL, false, false},
    {"whole, micro-batches of 7", PREFILL, true, 7, 0, NULL, true, false},
    {"whole, CPU, micro-batches of 5", PREFILL, false, 5, 0, NULL, true, false},
    {"whole, CPU, 1 thread", PREFILL, false, 512, 1, NULL, false, true},
    {"whole, CPU, 3 threads", PREFILL, false, 512, 3, NULL, true, false},
    {"whole, level generic", PREFILL, false, 512, 0, "generic", true, true},
    {"whole, level avx2", PREFILL, false, 512, 0, "avx2", true, false},
    {"whole, level avx-vnni", PREFILL, false, 512, 0, "avx-vnni", true, false},
    {"whole, level avx512", PREFILL, false, 512, 0, "avx512", true, false},
    {"whole, level amx", PREFILL, false, 512, 0, "amx", true, false},
    {"whole, level neon", PREFILL, false, 512, 0, "neon", true, false},
    {"whole, level dotprod", PREFILL, false, 512, 0, "dotprod", true, false},
    {"whole, level i8mm", PREFILL, false, 512, 0, "i8mm", true, false},
};
enum { QUICK_TOKENS = 4, SLOW_TOKENS = 16 };

/* An engine and its session, kept from one way to the next. */
struct opened {
    lk_engine *engine;
    lk_session *session;
    const struct way *way; /* that it was opened for */
};

static void shut(struct opened *o)
{
    lk_session_close(&o->session);
    lk_engine_close(&o->engine);
    o->way = NULL;
}

static bool takes_part(const struct lk_check_run *c, const struct way *w)
{
    return !(w->vulkan && !c->has_vulkan) && !(w->long_check && c->options.quick);
}

uint64_t lk_check_whole_steps(const struct lk_check_run *c)
{
    uint64_t n = 1;
    for (size_t i = 0; i < LK_COUNT(WAYS); i++) {
        n += takes_part(c, &WAYS[i]);
    }
    return n;
}

static size_t tokens_of(const struct lk_check_run *c, const struct way *w)
{
    size_t n = (size_t)c->feeds.n_tokens;
    size_t most = c->options.quick ? QUICK_TOKENS : w->slow ? SLOW_TOKENS : n;
    return n < most ? n : most;
}

static lk_engine_options options_of(const struct lk_check_run *c, const struct way *w)
{
    lk_engine_options o = c->engine;
    o.backend = w->vulkan ? "vulkan" : "cpu";
    o.gpu_layers = LK_GPU_LAYERS_ALL;
    o.n_ctx = (uint32_t)c->feeds.n_ctx;
    o.n_sessions = 1;
    o.n_batch = c->options.quick ? QUICK_TOKENS : w->n_batch;
    o.threads = w->threads ? w->threads : o.threads;
    o.threads_batch = w->threads ? w->threads : o.threads_batch;
    o.cpu_level = w->level ? w->level : o.cpu_level;
    o.progress = NULL;
    return o;
}

/* The engine of a way, or the one that is open when it is the same. */
static lk_status open_for(const struct lk_check_run *c, const struct way *w, struct opened *o,
                          lk_error *err)
{
    const struct way *v = o->way;
    if (v && v->vulkan == w->vulkan && v->n_batch == w->n_batch && v->threads == w->threads &&
        v->level == w->level) {
        return LK_OK;
    }
    shut(o);
    lk_engine_options options = options_of(c, w);
    lk_status status = lk_engine_open(c->model, &options, &o->engine, err);
    if (!status) {
        status = lk_session_open(o->engine, &o->session, err);
    }
    if (status) {
        shut(o);
    } else {
        o->way = w;
    }
    return status;
}

/* Compares rows with the base's as they come. */
struct rows {
    struct lk_check_run *c;
    lk_check_entry *e;
    bool exact;
};

static bool take_row(void *user, size_t pos, const float *row)
{
    struct rows *r = user;
    size_t n = (size_t)r->c->plan->n_vocab;
    const float *want = r->c->rows + pos * n;
    double d = 0, s = 0;
    r->e->n_values += n;
    if (memcmp(row, want, n * sizeof *row) == 0) {
        return true;
    }
    for (size_t i = 0; i < n; i++) {
        bool same = lk_bits(row[i]) == lk_bits(want[i]);
        if (!same && r->e->n_different++ == 0) {
            snprintf(r->e->note, sizeof r->e->note,
                     "first at position %zu, logit %zu: 0x%08x (%.9g), expected 0x%08x (%.9g)", pos,
                     i, lk_bits(row[i]), (double)row[i], lk_bits(want[i]), (double)want[i]);
        }
        d += ((double)row[i] - (double)want[i]) * ((double)row[i] - (double)want[i]);
        s += (double)want[i] * (double)want[i];
    }
    double error = s > 0 ? sqrt(d / s) : INFINITY;
    r->e->error = error > r->e->error ? error : r->e->error;
    return true;
}

static bool keep_row(void *user, size_t pos, const float *row)
{
    struct lk_check_run *c = user;
    size_t n = (size_t)c->plan->n_vocab;
    memcpy(c->rows + pos * n, row, n * sizeof *row);
    return true;
}

/* The base's rows: what every way is compared with. */
static lk_status base_rows(struct lk_check_run *c, struct opened *o, lk_error *err)
{
    size_t n = tokens_of(c, &WAYS[0]), width = (size_t)c->plan->n_vocab;
    c->rows = lk_alloc_array(n * width, sizeof *c->rows);
    if (!c->rows) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: %zu rows of logits", n);
    }
    lk_status status = open_for(c, &WAYS[0], o, err);
    if (!status) {
        status = lk_session_sync_rows(o->session, c->feeds.token, n, 0, keep_row, c, err);
    }
    if (!status) {
        lk_sha256 h;
        lk_sha256_init(&h);
        lk_sha256_floats(&h, c->rows, n * width);
        lk_sha256_final(&h, c->report->logits);
    }
    return status;
}

/* The whole prompt; or its last tokens one by one over what the session holds; or the first third,
 * a third on the CPU, and the rest on the device again. */
static lk_status go(struct lk_check_run *c, const struct way *w, lk_session *s, struct rows *r,
                    lk_error *err)
{
    const int32_t *ids = c->feeds.token;
    size_t n = tokens_of(c, w), last = c->options.quick ? 1 : 8;
    if (w->mode == PREFILL) {
        return lk_session_sync_rows(s, ids, n, 0, take_row, r, err);
    }
    if (w->mode == DECODE) {
        size_t at = n > last ? n - last : 1;
        lk_status status = lk_session_sync(s, ids, at, err);
        while (!status && at < n) {
            status = lk_session_sync(s, ids, ++at, err);
            if (!status) {
                (void)take_row(r, at - 1, lk_session_logits(s));
            }
        }
        return status;
    }
    static const char *const TO[] = {"cpu", "vulkan"};
    size_t part = c->options.quick ? last : n / 3, at = n - 2 * part;
    lk_status status = lk_session_truncate(s, at, err);
    for (int i = 0; i < 2 && !status; i++) {
        status = lk_session_move(s, TO[i], err);
        if (!status) {
            status = lk_session_sync_rows(s, ids, at + part, at, take_row, r, err);
        }
        at += part;
    }
    return status;
}

static void conclude(struct lk_check_run *c, const struct way *w, bool exact, lk_check_entry *e)
{
    e->state = e->n_different ? LK_CHECK_DIFFERS : LK_CHECK_EQUAL;
    if (e->n_different && !exact) {
        e->bound = lk_check_depth_slack(c, c->plan->n_layer);
        e->state = e->error <= e->bound ? LK_CHECK_WITHIN : LK_CHECK_DIFFERS;
    }
    if (e->state == LK_CHECK_DIFFERS && !c->found.is) {
        c->found = (struct lk_found){.is = true,
                                     .feeds = &c->feeds,
                                     .spec = {.depth = c->plan->n_layer},
                                     .op = -1};
        snprintf(c->found.message, sizeof c->found.message,
                 "each layer alone is equal, but not '%s' (%s)", w->what,
                 w->vulkan ? c->subject.name : "CPU");
    }
}

/* Whether this machine lacks the level. */
static bool lacks_level(const struct lk_check_run *c, const struct way *w)
{
    struct lk_side side;
    lk_error why;
    if (!w->level) {
        return false;
    }
    lk_status status = lk_side_open(&side, "cpu", w->level, &c->backend_options, c->plan, &why);
    lk_side_close(&side);
    return status != LK_OK;
}

static lk_status run_way(struct lk_check_run *c, const struct way *w, struct opened *o,
                         lk_error *err)
{
    lk_error why;
    double from = lk_now();
    bool exact = !w->vulkan || c->subject.caps.exact;
    if (lacks_level(c, w)) {
        return LK_OK;
    }
    lk_check_entry *e = lk_check_add(c, w->what, err);
    if (!e) {
        return LK_E_NOMEM;
    }
    struct rows r = {c, e, exact};
    lk_status status = open_for(c, w, o, &why);
    if (!status) {
        snprintf(e->how, sizeof e->how, "%.80s = %.50s, logits of %s%zu tokens",
                 lk_engine_describe(o->engine), c->has_vulkan ? c->base.name : "cpu",
                 w->mode == PREFILL ? "" : "the last of ", tokens_of(c, w));
        status = go(c, w, o->session, &r, &why);
    }
    if (status) { /* the session holds what it may */
        shut(o);
    }
    if (status == LK_E_RANGE) {
        e->n_different++;
        snprintf(e->note, sizeof e->note, "%.300s", why.message);
        status = LK_OK;
    } else if (status == LK_E_NOMEM || status == LK_E_UNSUPPORTED) {
        e->state = LK_CHECK_NOT_RUN;
        snprintf(e->note, sizeof e->note, "%.300s", why.message);
        return LK_OK;
    } else if (status) {
        if (err) {
            *err = why;
        }
        return status;
    }
    e->seconds = lk_now() - from;
    conclude(c, w, exact, e);
    return LK_OK;
}

lk_status lk_check_whole(struct lk_check_run *c, lk_error *err)
{
    struct opened o = {0};
    lk_status status = base_rows(c, &o, err);
    if (status == LK_E_RANGE) { /* the layers have been compared; there is nothing to hold on to */
        shut(&o);
        return LK_OK;
    }
    status = status ? status : lk_check_step(c, err);
    for (size_t i = 0; i < LK_COUNT(WAYS) && !status; i++) {
        if (takes_part(c, &WAYS[i])) {
            status = run_way(c, &WAYS[i], &o, err);
            status = status ? status : lk_check_step(c, err);
        }
    }
    shut(&o);
    return status;
}

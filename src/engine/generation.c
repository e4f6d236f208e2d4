/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation: a session that writes: evaluates its prompt, chooses tokens, ends at what ends it,
 * and tells of it by events. Many of them share a step. Knows sessions by the public interface, and
 * that many can be run at once.
 */
#include <limits.h>
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "engine/generation.h"
#include "engine/run.h"
#include "text/sample/logprob.h"
#include "text/sample/sampler.h"
#include "text/sample/stop.h"

enum {
    MAX_EVENTS = 3,         /* of a step: a token, text, the end */
    SPREAD_LOGITS = 1 << 15 /* so many are worth waking a thread */
};

struct lk_generation {
    lk_session *session;
    const lk_tokenizer *tokenizer;
    lk_generation_options options; /* pointers of the caller's are not kept */
    lk_sampler *sampler;
    lk_constraint *start, *constraint; /* of each answer, and of the present one; NULL: none */
    struct lk_stop stop;
    lk_decoder decoder;
    int32_t *ids; /* [n_ctx] the timeline, with tokens that are to be evaluated */
    size_t n, n_ctx, n_vocab;
    int32_t *shown;  /* [options.n_shown] control tokens that are text */
    int32_t *forced; /* tokens that come next */
    size_t n_forced, forced_cap, next_forced;
    lk_generation_counts count;
    lk_finish finish;
    bool begun, cancelled, listed;
    lk_error error;
    lk_sha256 *hash; /* of the rows that tokens were chosen from; NULL: not wanted */

    /* Of the step. */
    lk_event events[MAX_EVENTS];
    int n_events, next_event;
    struct lk_bytes text;
    char *piece; /* [piece_cap] one decoded token */
    size_t piece_cap;
    lk_logprob top[LK_MAX_LOGPROBS];
};

const char *lk_finish_name(lk_finish finish)
{
    switch (finish) {
    case LK_FINISH_NONE:
        return "none";
    case LK_FINISH_STOP:
        return "stop";
    case LK_FINISH_EOG:
        return "eog";
    case LK_FINISH_LENGTH:
        return "length";
    case LK_FINISH_FULL:
        return "full";
    case LK_FINISH_CANCELLED:
        return "cancelled";
    case LK_FINISH_FAILED:
        break;
    }
    return "failed";
}

lk_generation_options lk_generation_options_default(void)
{
    return (lk_generation_options){.size = sizeof(lk_generation_options),
                                   .max_tokens = SIZE_MAX,
                                   .logprobs = -1};
}

/* ---- open and close ---- */

/* The caller's sampler; where tokens that end an answer are ignored, they are biased away. */
static lk_status open_sampler(struct lk_generation *g, lk_error *err)
{
    lk_sampler_options o = lk_sampler_options_default();
    size_t n_tokens = lk_tokenizer_n_vocab(g->tokenizer);
    lk_status status = lk_options_take(&o, sizeof o, g->options.sampler, "sampler", err);
    if (status || !g->options.ignore_eog) {
        return status ? status : lk_sampler_open(&o, g->n_vocab, &g->sampler, err);
    }
    int32_t *ids = lk_alloc_array(o.n_bias + n_tokens, sizeof *ids);
    float *values = lk_alloc_array(o.n_bias + n_tokens, sizeof *values);
    if (!ids || !values) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening a generation");
    }
    size_t n = 0;
    for (; !status && n < o.n_bias; n++) {
        ids[n] = o.bias_ids[n];
        values[n] = o.bias_values[n];
    }
    for (size_t i = 0; !status && i < n_tokens && i < g->n_vocab; i++) {
        if (lk_token_is_eog(g->tokenizer, (int32_t)i)) {
            ids[n] = (int32_t)i;
            values[n++] = -INFINITY;
        }
    }
    if (!status) {
        o.bias_ids = ids;
        o.bias_values = values;
        o.n_bias = n;
        status = lk_sampler_open(&o, g->n_vocab, &g->sampler, err);
    }
    lk_free(ids);
    lk_free(values);
    return status;
}

lk_status lk_generation_check(const lk_generation_options *options, size_t n_vocab, lk_error *err)
{
    lk_generation_options o = lk_generation_options_default();
    lk_sampler_options so = lk_sampler_options_default();
    lk_status status = lk_options_take(&o, sizeof o, options, "generation", err);
    if (!status && (o.logprobs < -1 || o.logprobs > LK_MAX_LOGPROBS ||
                    (o.logprobs > 0 && (size_t)o.logprobs > n_vocab))) {
        status = lk_fail(err, LK_E_INVALID,
                         "generation options: logprobs is %d, expected -1 to %d and no more than "
                         "the vocabulary",
                         o.logprobs, LK_MAX_LOGPROBS);
    }
    if (!status) {
        status = lk_options_take(&so, sizeof so, o.sampler, "sampler", err);
    }
    return status ? status : lk_sampler_check(&so, n_vocab, err);
}

static lk_status copy_shown(struct lk_generation *g, lk_error *err)
{
    size_t n = g->options.n_shown;
    for (size_t i = 0; i < n; i++) {
        int32_t id = g->options.shown[i];
        if (id < 0 || (size_t)id >= lk_tokenizer_n_vocab(g->tokenizer)) {
            return lk_fail(err, LK_E_INVALID,
                           "generation options: shown token %zu is %d, expected one of the "
                           "vocabulary",
                           i, (int)id);
        }
    }
    g->shown = lk_alloc_array(n + 1, sizeof *g->shown);
    if (!g->shown) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening a generation");
    }
    if (n) {
        memcpy(g->shown, g->options.shown, n * sizeof *g->shown);
    }
    return LK_OK;
}

lk_status lk_generation_open(lk_session *session, const lk_tokenizer *tokenizer,
                             const lk_generation_options *options, lk_generation **out,
                             lk_error *err)
{
    *out = NULL;
    lk_generation *g = lk_alloc(sizeof *g);
    if (!g) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening a generation");
    }
    g->session = session;
    g->tokenizer = tokenizer;
    g->options = lk_generation_options_default();
    g->n_ctx = lk_engine_n_ctx(session->engine);
    if (session->engine->options.embeddings) {
        lk_free(g);
        return lk_fail(err, LK_E_INVALID, "generation: the engine was opened for embeddings");
    }
    g->n_vocab = lk_engine_n_vocab(session->engine);
    lk_status status = lk_options_take(&g->options, sizeof g->options, options, "generation", err);
    if (!status) {
        status = lk_generation_check(options, g->n_vocab, err);
    }
    if (!status) {
        status = lk_stop_init(&g->stop, g->options.stop, g->options.n_stop, err);
    }
    if (!status) {
        status = copy_shown(g, err);
    }
    if (!status) {
        status = open_sampler(g, err);
    }
    if (!status && g->options.constraint) {
        status = lk_constraint_fork(g->options.constraint, &g->start, err);
    }
    if (!status && g->start) {
        status = lk_constraint_fork(g->start, &g->constraint, err);
    }
    g->piece_cap = lk_tokenizer_max_bytes(tokenizer) + 4;
    g->piece = lk_alloc(g->piece_cap);
    g->ids = lk_alloc_array(g->n_ctx, sizeof *g->ids);
    if (!status && (!g->piece || !g->ids)) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening a generation");
    }
    g->options.sampler = NULL;
    g->options.stop = NULL;
    g->options.constraint = NULL;
    g->options.shown = NULL;
    if (status) {
        lk_generation_close(&g);
        return status;
    }
    *out = g;
    return LK_OK;
}

void lk_generation_close(lk_generation **generation)
{
    lk_generation *g = generation ? *generation : NULL;
    if (g) {
        lk_sampler_close(&g->sampler);
        lk_constraint_close(&g->start);
        lk_constraint_close(&g->constraint);
        lk_stop_free(&g->stop);
        lk_bytes_free(&g->text);
        lk_free(g->piece);
        lk_free(g->ids);
        lk_free(g->shown);
        lk_free(g->forced);
        lk_free(g);
        *generation = NULL;
    }
}

/* ---- the prompt ---- */

/* Makes the ids the timeline; *same: how many of them the session holds. */
static lk_status set_timeline(struct lk_generation *g, const int32_t *ids, size_t n, size_t *same,
                              lk_error *err)
{
    if (n < 1) {
        return lk_fail(err, LK_E_INVALID, "the prompt is empty, expected at least one token");
    }
    if (n > g->n_ctx) {
        return lk_fail(err, LK_E_FULL, "context full: a prompt of %zu tokens, room for %zu", n,
                       g->n_ctx);
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= g->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "token %zu of the prompt is %d, expected 0 to %zu", i,
                           ids[i], g->n_vocab - 1);
        }
    }
    size_t held = lk_session_n_tokens(g->session), k = 0;
    const int32_t *old = lk_session_tokens(g->session);
    while (k < held && k < n && old[k] == ids[k]) {
        k++;
    }
    /* The last token is evaluated again when its row is missing. */
    if (k == n && !(held == n && lk_session_logits(g->session))) {
        k--;
    }
    lk_status status = k < held ? lk_session_truncate(g->session, k, err) : LK_OK;
    if (!status) {
        memmove(g->ids, ids, n * sizeof *ids);
        g->n = n;
        *same = k;
    }
    return status;
}

lk_status lk_generation_begin(lk_generation *g, const int32_t *ids, size_t n, lk_error *err)
{
    size_t same;
    lk_status status = set_timeline(g, ids, n, &same, err);
    if (!status && g->constraint) {
        status = lk_constraint_copy(g->constraint, g->start, err);
    }
    if (status) {
        return status;
    }
    g->count = (lk_generation_counts){.prompt = n, .reused = same};
    g->finish = LK_FINISH_NONE;
    g->begun = true;
    g->cancelled = false;
    g->decoder = (lk_decoder){.started = true}; /* the answer continues a text */
    g->stop.held.n = 0;
    g->n_events = g->next_event = 0;
    g->n_forced = g->next_forced = 0;
    return LK_OK;
}

lk_status lk_generation_force(lk_generation *g, const int32_t *ids, size_t n, lk_error *err)
{
    if (!g->begun || g->finish) {
        return lk_fail(err, LK_E_INVALID, "tokens are forced %s, expected in mid-answer",
                       g->begun ? "after the end" : "before a prompt");
    }
    for (size_t i = 0; i < n; i++) {
        if (ids[i] < 0 || (size_t)ids[i] >= g->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "forced token %zu is %d, expected 0 to %zu", i,
                           (int)ids[i], g->n_vocab - 1);
        }
    }
    lk_status status = lk_grow(&g->forced, &g->forced_cap, n, sizeof *g->forced, err);
    if (status) {
        return status;
    }
    if (n) {
        memmove(g->forced, ids, n * sizeof *ids);
    }
    g->n_forced = n;
    g->next_forced = 0;
    return LK_OK;
}

lk_status lk_generation_replace(lk_generation *g, const int32_t *ids, size_t n, lk_error *err)
{
    size_t same;
    if (!g->begun || g->finish) {
        return lk_fail(err, LK_E_INVALID, "a timeline is replaced %s, expected in mid-answer",
                       g->begun ? "after the end" : "before a prompt");
    }
    lk_status status = set_timeline(g, ids, n, &same, err);
    if (!status) {
        g->count.prompt += n;
        g->count.reused += same;
    }
    return status;
}

lk_status lk_generation_prompt(lk_generation *g, const char *text, size_t len, unsigned flags,
                               lk_error *err)
{
    size_t n;
    lk_status status = lk_tokenize(g->tokenizer, text, len, flags, NULL, 0, &n, err);
    int32_t *ids = status ? NULL : lk_alloc_array(n + 1, sizeof *ids);
    if (!status && !ids) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: a prompt of %zu tokens", n);
    }
    if (!status) {
        status = lk_tokenize(g->tokenizer, text, len, flags, ids, n, &n, err);
    }
    if (!status) {
        status = lk_generation_begin(g, ids, n, err);
    }
    lk_free(ids);
    return status;
}

/* ---- events ---- */

static lk_event *add_event(struct lk_generation *g, lk_event_kind kind)
{
    lk_event *ev = &g->events[g->n_events++];
    *ev = (lk_event){.kind = kind};
    return ev;
}

static void add_text(struct lk_generation *g)
{
    if (g->text.n > 0) {
        lk_event *ev = add_event(g, LK_EVENT_TEXT);
        ev->text = g->text.data;
        ev->len = g->text.n;
    }
}

/* Ends it; what was held back of the text comes out, unless a stop text took it. */
static void end(struct lk_generation *g, lk_finish finish, int32_t token)
{
    bool stopped = finish == LK_FINISH_STOP;
    if (!stopped) {
        lk_error why;
        size_t len = lk_decode_flush(&g->decoder, g->piece, g->piece_cap);
        lk_status status = lk_stop_put(&g->stop, g->piece, len, &g->text, &stopped, &why);
        if (!status && !stopped) {
            status = lk_stop_flush(&g->stop, &g->text, &why);
        }
        if (status) {
            finish = LK_FINISH_FAILED;
            g->error = why;
        } else if (stopped && finish != LK_FINISH_CANCELLED && finish != LK_FINISH_FAILED) {
            finish = LK_FINISH_STOP; /* by the last bytes */
        }
    }
    add_text(g);
    lk_event *ev = add_event(g, LK_EVENT_END);
    bool has_error = finish == LK_FINISH_FAILED || (finish == LK_FINISH_FULL && g->error.status);
    ev->finish = g->finish = finish;
    ev->token = token;
    ev->pos = g->n;
    ev->error = has_error ? &g->error : NULL;
    ev->stop = finish == LK_FINISH_STOP ? g->stop.found : NULL;
}

bool lk_generation_next(lk_generation *g, lk_event *out)
{
    if (g->next_event == g->n_events) {
        return false;
    }
    *out = g->events[g->next_event++];
    return true;
}

/* ---- a token ---- */

static void note_logprobs(struct lk_generation *g, const float *row, lk_event *ev)
{
    if (g->options.logprobs < 0) {
        return;
    }
    struct lk_logprob_base base = lk_logprob_base_of(row, g->n_vocab);
    ev->n_top = (size_t)g->options.logprobs;
    lk_logprob_top(row, g->n_vocab, ev->n_top, g->top);
    ev->top = g->top;
    ev->logprob = (lk_logprob){ev->token, lk_logprob_of(&base, row[ev->token])};
}

/* The text of a token goes to g->text as far as it is decided; *stopped: a stop text was completed,
 * or the token, though a control token, is one. */
static lk_status put_text(struct lk_generation *g, int32_t id, bool *stopped, lk_error *err)
{
    size_t len;
    *stopped = false;
    if (lk_token_is_control(g->tokenizer, id) && g->stop.n > 0) {
        lk_status status = lk_token_bytes(g->tokenizer, id, g->piece, g->piece_cap, &len);
        if (!status && lk_stop_is(&g->stop, g->piece, len)) {
            *stopped = true;
            return LK_OK;
        }
    }
    bool special = g->options.special;
    for (size_t i = 0; i < g->options.n_shown && !special; i++) {
        special = g->shown[i] == id;
    }
    lk_status status =
        lk_decode(g->tokenizer, &g->decoder, id, special, g->piece, g->piece_cap, &len);
    return status ? lk_fail(err, status, "token %d: its text can't be read", id)
                  : lk_stop_put(&g->stop, g->piece, len, &g->text, stopped, err);
}

/* A token from the session's row, one that the constraint takes; or one that was forced. */
static lk_status sample(struct lk_generation *g, const float *row, int32_t *id)
{
    if (g->next_forced < g->n_forced) {
        *id = g->forced[g->next_forced++];
        return g->constraint ? lk_constraint_accept(g->constraint, *id, &g->error) : LK_OK;
    }
    if (!g->constraint) {
        *id = lk_sample(g->sampler, row, g->ids, g->n, g->n);
        return LK_OK;
    }
    lk_status status =
        lk_sample_constrained(g->sampler, g->constraint, row, g->ids, g->n, g->n, id, &g->error);
    return status ? status : lk_constraint_accept(g->constraint, *id, &g->error);
}

/* Chooses the next token. */
static void choose(struct lk_generation *g)
{
    const float *row = lk_session_logits(g->session);
    int32_t id;
    bool stopped;
    if (sample(g, row, &id)) {
        end(g, LK_FINISH_FAILED, 0);
        return;
    }
    if (g->hash) {
        lk_sha256_floats(g->hash, row, g->n_vocab);
    }
    if (!g->options.ignore_eog && lk_token_is_eog(g->tokenizer, id)) {
        end(g, LK_FINISH_EOG, id);
        return;
    }
    lk_event *ev = add_event(g, LK_EVENT_TOKEN);
    ev->token = id;
    ev->pos = g->n;
    note_logprobs(g, row, ev);
    g->ids[g->n++] = id;
    g->count.written++;
    if (put_text(g, id, &stopped, &g->error)) {
        end(g, LK_FINISH_FAILED, id);
    } else if (stopped) {
        end(g, LK_FINISH_STOP, id);
    } else if (g->constraint && lk_constraint_is_done(g->constraint)) {
        end(g, LK_FINISH_EOG, -1);
    } else if (g->count.written >= g->options.max_tokens) {
        end(g, LK_FINISH_LENGTH, id);
    } else {
        add_text(g);
    }
}

void lk_generation_drop_events(lk_generation *g)
{
    g->n_events = g->next_event = 0;
    g->text.n = 0;
}

/* Starts a step, and ends it where nothing is to be evaluated any more. */
static void end_first(struct lk_generation *g)
{
    lk_generation_drop_events(g);
    if (g->finish) {
        return;
    }
    g->error = (lk_error){0};
    if (g->cancelled) {
        end(g, LK_FINISH_CANCELLED, 0);
    } else if (g->n == g->n_ctx && g->count.written > 0) {
        end(g, LK_FINISH_FULL, 0);
    }
}

void lk_generation_end(lk_generation *g, lk_finish finish, const lk_error *why)
{
    lk_generation_drop_events(g);
    g->error = why ? *why : (lk_error){0};
    end(g, finish, 0);
}

/* ---- a step ---- */

size_t lk_generation_pending(const lk_generation *g)
{
    return g->n - lk_session_n_tokens(g->session);
}

static lk_status check_step(const lk_engine *e, lk_generation *const *g, size_t n, lk_error *err)
{
    lk_status status = LK_OK;
    for (size_t i = 0; i < n && !status; i++) {
        if (g[i]->session->engine != e) {
            status = lk_fail(err, LK_E_INVALID,
                             "generation %zu: its session belongs to another engine", i);
        } else if (!g[i]->begun) {
            status = lk_fail(err, LK_E_INVALID, "generation %zu: no prompt was given", i);
        } else if (g[i]->listed) {
            status = lk_fail(err, LK_E_INVALID, "generation %zu: is listed twice", i);
        } else {
            g[i]->listed = true;
            continue;
        }
    }
    for (size_t i = 0; i < n; i++) {
        g[i]->listed = false;
    }
    return status;
}

/* What a step needs; had before anything changes. */
struct step_room {
    lk_item *items;
    struct lk_turn **of; /* whose each is */
    struct lk_work *work;
};

static void step_room_free(struct step_room *room)
{
    lk_free(room->items);
    lk_free(room->of);
    lk_free(room->work);
}

static lk_status step_room_init(struct step_room *room, size_t n, lk_error *err)
{
    room->items = lk_alloc_array(n + 1, sizeof *room->items);
    room->of = lk_alloc_array(n + 1, sizeof *room->of);
    room->work = lk_alloc_array(n + 1, sizeof *room->work);
    if (room->items && room->of && room->work) {
        return LK_OK;
    }
    step_room_free(room);
    return lk_fail(err, LK_E_NOMEM, "out of memory: a step of %zu generations", n);
}

/* Evaluates what is to be taken. A turn whose generation has failed is told by that; where
 * `yields`, want of room and a lost device are not failures. */
static void evaluate(lk_engine *e, struct lk_turn *turns, size_t n, bool yields,
                     struct step_room *room)
{
    size_t n_items = 0;
    lk_error why;
    for (size_t i = 0; i < n; i++) {
        struct lk_generation *g = turns[i].generation;
        turns[i].status = LK_OK;
        if (g->finish || turns[i].take == 0) {
            continue;
        }
        bool all = turns[i].take == lk_generation_pending(g);
        room->of[n_items] = &turns[i];
        room->items[n_items++] = (lk_item){.session = g->session,
                                           .tokens = g->ids + lk_session_n_tokens(g->session),
                                           .n_tokens = turns[i].take,
                                           .rows = all ? LK_ROWS_LAST : LK_ROWS_NONE};
    }
    (void)lk_run_items(e, room->items, n_items, room->work, yields, &why); /* each tells its own */
    for (size_t i = 0; i < n_items; i++) {
        struct lk_generation *g = room->of[i]->generation;
        lk_status status = room->items[i].status;
        if (yields && (status == LK_E_FULL || status == LK_E_DEVICE_LOST)) {
            room->of[i]->status = status;
        } else if (status) {
            g->error = room->items[i].error;
            end(g,
                status == LK_E_FULL        ? LK_FINISH_FULL
                : status == LK_E_CANCELLED ? LK_FINISH_CANCELLED
                                           : LK_FINISH_FAILED,
                0);
        }
    }
}

/* What follows when nothing is pending. */
static void conclude(void *user, size_t i)
{
    struct lk_turn *turn = (struct lk_turn *)user + i;
    struct lk_generation *g = turn->generation;
    if (g->finish || turn->status || lk_generation_pending(g) > 0) {
        return;
    }
    if (g->count.written >= g->options.max_tokens) {
        end(g, LK_FINISH_LENGTH, 0); /* none at all were wanted */
    } else if (g->n == g->n_ctx) {
        end(g, LK_FINISH_FULL, 0);
    } else {
        choose(g);
    }
}

static void run_turns(lk_engine *e, struct lk_turn *turns, size_t n, bool yields,
                      struct step_room *room)
{
    size_t per = SPREAD_LOGITS / lk_engine_n_vocab(e) + 1; /* a thread for so many */
    size_t threads = n / per, most = (size_t)e->n_cpus;
    evaluate(e, turns, n, yields, room);
    lk_crew_run(e->crew, n, (int)(threads < most ? threads : most), conclude, turns);
    step_room_free(room);
}

lk_status lk_generation_turns(lk_engine *e, struct lk_turn *turns, size_t n, lk_error *err)
{
    struct step_room room;
    lk_status status = step_room_init(&room, n, err);
    for (size_t i = 0; i < n && !status; i++) {
        end_first(turns[i].generation);
    }
    if (!status) {
        run_turns(e, turns, n, true, &room);
    }
    return status;
}

/* The turns of a step: single tokens first, then prompts as far as the budget goes. */
static void share_out(lk_generation *const *g, size_t n, size_t budget, struct lk_turn *turns)
{
    size_t at = 0, left = budget ? budget : SIZE_MAX;
    for (int prompts = 0; prompts < 2; prompts++) {
        for (size_t i = 0; i < n; i++) {
            size_t pending = g[i]->finish ? 0 : lk_generation_pending(g[i]);
            if ((pending > 1) == (prompts > 0)) {
                size_t take = pending < left ? pending : left;
                left -= take;
                turns[at++] = (struct lk_turn){.generation = g[i], .take = take};
            }
        }
    }
}

lk_status lk_generation_step(lk_engine *e, lk_generation *const *g, size_t n, size_t budget,
                             lk_error *err)
{
    struct step_room room;
    lk_status status = check_step(e, g, n, err);
    struct lk_turn *turns = status ? NULL : lk_alloc_array(n + 1, sizeof *turns);
    if (!status && !turns) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: a step of %zu generations", n);
    }
    if (!status) {
        status = step_room_init(&room, n, err);
    }
    for (size_t i = 0; i < n && !status; i++) {
        end_first(g[i]);
    }
    if (!status) {
        share_out(g, n, budget, turns);
        run_turns(e, turns, n, false, &room);
    }
    lk_free(turns);
    return status;
}

void lk_generation_hash_rows(lk_generation *g, lk_sha256 *hash)
{
    g->hash = hash;
}

void lk_generation_cancel(lk_generation *g)
{
    g->cancelled = true;
}

lk_finish lk_generation_finish(const lk_generation *g)
{
    return g->finish;
}

lk_session *lk_generation_session(const lk_generation *g)
{
    return g->session;
}

const int32_t *lk_generation_tokens(const lk_generation *g, size_t *n)
{
    *n = g->n;
    return g->ids;
}

lk_generation_counts lk_generation_count(const lk_generation *g)
{
    return g->count;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Run: batches of tokens of many sessions on their lanes: who takes part, where rows go, what
 * happens when one of them fails or a device is lost. A session's states hold exactly
 * tokens[0 .. seq.n_tokens); whatever fails, that stays true.
 */
#include "engine/run.h"

#include <string.h>

#include "base/mem.h"

static bool is_pending(const struct lk_work *w)
{
    return !w->status && (size_t)w->session->seq.n_tokens < w->end;
}

/* Ends a piece of work; what was reserved beyond its tokens is given back. */
static void fail(struct lk_work *w, lk_status status, const lk_error *why)
{
    struct lk_session *s = w->session;
    w->status = status;
    if (w->err && why) {
        *w->err = *why;
    }
    (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, s->seq.n_tokens);
}

/* ---- a batch ---- */

/* Rows that are wanted of a piece of work whose text is evaluated at once. */
static int rows_of(const struct lk_work *w)
{
    return w->rows_from < w->end ? (int)(w->end - w->rows_from) : w->last;
}

/* Whether a text that must not be cut has room in the rest of a batch. */
static bool fits_whole(const struct lk_batch *b, const struct lk_work *w)
{
    const struct lk_lane *lane = w->session->lane;
    return w->end <= (size_t)(lane->n_batch - b->n_tokens) &&
           rows_of(w) <= lane->n_outputs - b->n_outputs;
}

/* Adds what fits of a session's tokens: at most n_outputs of those that want rows. */
static void add(struct lk_engine *e, struct lk_batch *b, struct lk_work *w)
{
    struct lk_session *s = w->session;
    size_t pos = (size_t)s->seq.n_tokens, n = w->end - pos;
    size_t room = (size_t)(s->lane->n_batch - b->n_tokens);
    n = n < room ? n : room;
    n = (size_t)lk_checkpoint_stop(s, (int)pos, (int)n, (int)w->end, w->last);
    w->first = b->n_tokens;
    w->count = 0;
    for (size_t i = 0; i < n; i++, w->count++) {
        bool last = w->last && pos + i + 1 == w->end, row = last || pos + i >= w->rows_from;
        if (row && b->n_outputs == s->lane->n_outputs) {
            break;
        }
        int t = b->n_tokens + (int)i;
        if (row) {
            e->outputs[b->n_outputs++] = t;
        }
        e->token[t] = s->tokens[pos + i];
        e->pos[t] = (int32_t)(pos + i);
        e->seq[t] = b->n_seqs;
    }
    if (w->count > 0) {
        e->seqs[b->n_seqs++] = (struct lk_batch_seq){.blocks = s->seq.blocks,
                                                     .first = w->first,
                                                     .n_tokens = w->count,
                                                     .pos = (int)pos,
                                                     .slot = s->seq.slot};
        b->n_tokens += w->count;
        w->in_batch = true;
    }
}

/* The batch of the next tokens of all that is pending on a lane. */
static struct lk_batch collect(struct lk_engine *e, const struct lk_lane *lane,
                               struct lk_work *work, size_t n)
{
    struct lk_batch b = {
        .token = e->token, .pos = e->pos, .seq = e->seq, .seqs = e->seqs, .outputs = e->outputs};
    for (size_t i = 0; i < n; i++) {
        work[i].in_batch = false;
        if (is_pending(&work[i]) && work[i].session->lane == lane && b.n_tokens < lane->n_batch &&
            b.n_seqs < e->max_seqs && (!e->plan->whole || fits_whole(&b, &work[i]))) {
            add(e, &b, &work[i]);
        }
    }
    return b;
}

/* Where the rows of a batch go: one alone to its session's logits, where it is wanted. A batch that
 * is cut may fail after a row is there. */
static float *rows_at(const struct lk_engine *e, const struct lk_lane *lane,
                      const struct lk_batch *b, const struct lk_work *w)
{
    if (b->n_outputs != 1 || lk_lane_cuts(lane, b->n_tokens)) {
        return e->rows;
    }
    int t = b->outputs[0];
    while (!w->in_batch || t < w->first || t >= w->first + w->count) {
        w++;
    }
    return w->session->logits;
}

/* Rows of a batch that has run to where they are wanted. */
static void deliver(struct lk_engine *e, const struct lk_batch *b, struct lk_work *w)
{
    struct lk_session *s = w->session;
    size_t width = (size_t)lk_plan_row_width(e->plan);
    s->seq.n_tokens += w->count;
    e->checkpoints.clock += (uint64_t)w->count;
    s->has_logits = false;
    if (s->seq.n_tokens % LK_KV_BLOCK == 0) {
        bool end = w->last && w->end - (size_t)s->seq.n_tokens <= LK_KV_BLOCK;
        lk_checkpoint_take(s, !end            ? LK_CHECKPOINT_BETWEEN
                              : w->count == 1 ? LK_CHECKPOINT_END
                                              : LK_CHECKPOINT_DUE);
    }
    for (int i = 0; i < b->n_outputs && !w->status; i++) {
        int t = b->outputs[i];
        if (t < w->first || t >= w->first + w->count) {
            continue;
        }
        const float *row = b->out + (size_t)i * width;
        size_t pos = (size_t)b->pos[t];
        if (pos + 1 == w->end) {
            if (row != s->logits) {
                memcpy(s->logits, row, width * sizeof *row);
            }
            s->has_logits = true;
        }
        if (pos >= w->rows_from && !w->on_row(w->user, pos, row)) {
            lk_error why;
            fail(w, lk_fail(&why, LK_E_CANCELLED, "cancelled at position %zu", pos), &why);
        }
    }
    size_t done = (size_t)s->seq.n_tokens;
    if (!w->status && s->progress &&
        !s->progress(s->progress_user, "evaluating", done - w->start, w->end - w->start)) {
        lk_error why;
        fail(w, lk_fail(&why, LK_E_CANCELLED, "cancelled after %zu of %zu tokens", done, w->end),
             &why);
    }
}

/* ---- lost devices ---- */

/* The session's units on a lost device are gone; its tokens are not: they will be evaluated again
 * where the lane's sessions go, with the same bits. */
lk_status lk_session_leave_lost(struct lk_session *s, lk_error *err)
{
    struct lk_engine *e = s->engine;
    struct lk_lane *to;
    if (!s->lane->lost) {
        return LK_OK;
    }
    lk_status status = lk_engine_lane_after(e, s->lane, &to, err);
    if (status) {
        return status;
    }
    lk_log_line(&e->log, LK_LOG_WARN,
                "%s%s was lost: %d tokens are evaluated again on %s, nothing is lost",
                s->lane->placement.n > 1 ? "a device of " : "", s->lane->describe, s->seq.n_tokens,
                to->describe);
    if (e->home->lost) {
        e->home = to;
    }
    (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, 0);
    lk_checkpoints_cut(s, 0);
    s->has_logits = false;
    s->lane = to;
    return LK_OK;
}

/* Where tokens attend to those behind them a batch has a text from its first token to its last. */
static lk_status check_whole(const struct lk_work *w, lk_error *err)
{
    static const struct lk_batch none = {0};
    const struct lk_lane *lane = w->session->lane;
    if (w->session->seq.n_tokens > 0) {
        return lk_fail(err, LK_E_INVALID,
                       "%zu tokens behind %d that are held: this model reads a text as a whole",
                       w->end - (size_t)w->session->seq.n_tokens, w->session->seq.n_tokens);
    }
    if (!fits_whole(&none, w)) {
        int most = lane->n_batch < lane->n_outputs ? lane->n_batch : lane->n_outputs;
        return lk_fail(err, LK_E_INVALID,
                       "a text of %zu tokens: this model reads a text as a whole, and a batch has "
                       "room for %d (n_batch, --batch)",
                       w->end, most);
    }
    return LK_OK;
}

/* Makes room for all that is to come; away from a lost lane first. */
static void begin(struct lk_work *w)
{
    struct lk_session *s = w->session;
    lk_error why;
    lk_status status = LK_OK;
    if (s->lane->lost) {
        size_t held = (size_t)s->seq.n_tokens; /* rows below were delivered */
        if (w->rows_from != SIZE_MAX && w->rows_from < held) {
            w->rows_from = held;
        }
        status = lk_session_leave_lost(s, &why);
        if (!status && w->yields) {
            status = lk_fail(&why, LK_E_DEVICE_LOST, "a device was lost");
        }
    }
    if (!status && s->engine->plan->whole) {
        status = check_whole(w, &why);
    }
    if (!status) {
        status = lk_session_reserve(s, (int)(w->end - (size_t)s->seq.n_tokens), &why);
    }
    if (status) {
        fail(w, status, &why);
    }
}

/* ---- all of it ---- */

/* A batch that failed may have moved recurrent states on: what they held before it is evaluated
 * again. Its rows were delivered. */
static void restore_states(struct lk_work *w)
{
    struct lk_session *s = w->session;
    lk_progress_fn progress = s->progress;
    size_t held = (size_t)s->seq.n_tokens;
    lk_error why;
    if (s->seq.slot < 0) {
        return;
    }
    if (w->rows_from != SIZE_MAX && w->rows_from < held) {
        w->rows_from = held;
    }
    (void)lk_session_rewind(s, (int)held);
    s->has_logits = false;
    s->progress = NULL;
    (void)lk_run_one(s, held, SIZE_MAX, NULL, NULL, &why);
    s->progress = progress;
}

/* A batch failed. Of several sessions each is tried alone, so that the one to blame fails alone. */
static void batch_failed(struct lk_engine *e, struct lk_work *work, size_t n, lk_status status,
                         const lk_error *why)
{
    size_t n_in = 0;
    for (size_t i = 0; i < n; i++) {
        n_in += work[i].in_batch;
    }
    for (size_t i = 0; i < n; i++) {
        struct lk_work *w = &work[i];
        if (!w->in_batch) {
            continue;
        }
        if (status == LK_E_DEVICE_LOST) {
            begin(w); /* and so on, until a device was lost too often and is no longer opened */
            continue;
        }
        if (n_in == 1) {
            fail(w, status, why);
        }
        restore_states(w);
        if (n_in > 1) {
            lk_run(e, w, 1);
        }
    }
}

void lk_run(struct lk_engine *e, struct lk_work *work, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct lk_work *w = &work[i];
        w->start = (size_t)w->session->seq.n_tokens;
        if (!w->status) {
            begin(w);
        }
    }
    for (size_t at = 0; at < n;) {
        if (!is_pending(&work[at])) {
            at++;
            continue;
        }
        struct lk_lane *lane = work[at].session->lane;
        struct lk_batch b = collect(e, lane, work + at, n - at);
        b.out = rows_at(e, lane, &b, work + at);
        lk_error why = {0};
        lk_status status = lk_lane_run(lane, &b, &why);
        if (status) {
            batch_failed(e, work + at, n - at, status, &why);
            continue;
        }
        for (size_t i = at; i < n; i++) {
            if (work[i].in_batch) {
                deliver(e, &b, &work[i]);
            }
        }
    }
}

lk_status lk_run_one(struct lk_session *s, size_t end, size_t rows_from, lk_logits_fn on_row,
                     void *user, lk_error *err)
{
    struct lk_work w = {.session = s,
                        .end = end,
                        .rows_from = rows_from,
                        .last = true,
                        .on_row = on_row,
                        .user = user,
                        .err = err};
    lk_run(s->engine, &w, 1);
    return w.status;
}

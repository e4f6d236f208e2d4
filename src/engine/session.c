/* SPDX-License-Identifier: Apache-2.0
 *
 * Session: token timelines: sync, step, fork, truncate, move. A session's states hold exactly
 * the tokens tokens[0 .. seq.n_tokens); whatever fails, that stays true.
 */
#include <string.h>

#include "engine/engine.h"
#include "base/mem.h"

/* What an evaluation delivers: rows of positions >= from go to fn (when fn is given), the last
 * row always to the session. */
struct rows_sink {
    lk_logits_fn fn;
    void *user;
    size_t from;
};

lk_status lk_session_open(lk_engine *engine, lk_session **out, lk_error *err)
{
    lk_session *s = lk_alloc(sizeof *s);
    if (!s) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening a session");
    }
    s->engine = engine;
    s->lane = engine->home;
    s->tokens = lk_alloc_array(engine->n_ctx, sizeof *s->tokens);
    s->logits = lk_alloc_array((size_t)engine->plan->n_vocab, sizeof *s->logits);
    lk_status status = LK_OK;
    if (!s->tokens || !s->logits) {
        status =
            lk_fail(err, LK_E_NOMEM, "out of memory opening a session of %u tokens", engine->n_ctx);
    }
    if (!status) {
        status = lk_state_seq_init(&s->seq, (int)engine->n_ctx, err);
    }
    if (status) {
        lk_session_close(&s);
        return status;
    }
    *out = s;
    return LK_OK;
}

void lk_session_close(lk_session **session)
{
    lk_session *s = *session;
    if (!s) {
        return;
    }
    lk_mutex_lock(s->engine->lock);
    lk_state_seq_free(&s->seq, &s->lane->pool);
    lk_mutex_unlock(s->engine->lock);
    lk_free(s->tokens);
    lk_free(s->logits);
    lk_free(s);
    *session = NULL;
}

/* ---- evaluation; the engine's lock is held ---- */

/* Fills the units that a reserve has taken: a block's own copy, a slot of zeros. */
static lk_status fill_units(struct lk_engine *e, struct lk_lane *lane,
                            const struct lk_state_seq *seq, const struct lk_state_copy *copy,
                            lk_error *err)
{
    const struct lk_plan *plan = e->plan;
    void *unit = lk_alloc(lk_most_unit_bytes(plan));
    lk_status status = LK_OK;
    if (!unit) {
        return lk_fail(err, LK_E_NOMEM, "out of memory copying a block of states");
    }
    for (int i = 0; i < plan->n_states && !status; i++) {
        bool paged = lk_state_is_paged(&plan->states[i]);
        if (paged && copy->from >= 0) {
            status = lk_lane_read(lane, plan, i, copy->from, unit, err);
            if (!status) {
                status = lk_lane_write(lane, plan, i, copy->to, unit, err);
            }
        } else if (!paged && copy->new_slot) {
            memset(unit, 0, lk_state_unit_bytes(&plan->states[i]));
            status = lk_lane_write(lane, plan, i, seq->slot, unit, err);
        }
    }
    lk_free(unit);
    return status;
}

lk_status lk_session_reserve(struct lk_session *s, int n, lk_error *err)
{
    struct lk_state_copy copy;
    lk_status status = lk_state_seq_reserve(&s->seq, &s->lane->pool, n, &copy, err);
    if (!status && (copy.from >= 0 || copy.new_slot)) {
        status = fill_units(s->engine, s->lane, &s->seq, &copy, err);
        if (status) { /* the new block holds nothing */
            lk_state_seq_unreserve(&s->seq, &s->lane->pool, &copy);
        }
    }
    return status;
}

/* Adds n tokens of one session, starting at its seq.n_tokens, to the batch. */
static void batch_add(struct lk_engine *e, struct lk_batch *b, const struct lk_session *s, int n)
{
    e->seqs[b->n_seqs] = (struct lk_batch_seq){.blocks = s->seq.blocks,
                                               .first = b->n_tokens,
                                               .n_tokens = n,
                                               .pos = s->seq.n_tokens,
                                               .slot = s->seq.slot};
    for (int i = 0; i < n; i++) {
        e->pos[b->n_tokens + i] = s->seq.n_tokens + i;
        e->seq[b->n_tokens + i] = b->n_seqs;
    }
    b->n_seqs++;
    b->n_tokens += n;
}

static void batch_init(struct lk_engine *e, struct lk_batch *b, const int32_t *tokens)
{
    *b = (struct lk_batch){
        .token = tokens, .pos = e->pos, .seq = e->seq, .seqs = e->seqs, .outputs = e->outputs};
}

/* Evaluates s->tokens[seq.n_tokens .. n). On failure the evaluated part stays. */
static lk_status evaluate(struct lk_session *s, size_t n, const struct rows_sink *sink,
                          lk_error *err)
{
    struct lk_engine *e = s->engine;
    size_t n_vocab = (size_t)e->plan->n_vocab, start = (size_t)s->seq.n_tokens;
    lk_status status = lk_session_reserve(s, (int)(n - start), err);
    s->has_logits = false;
    while (!status && (size_t)s->seq.n_tokens < n) {
        size_t pos = (size_t)s->seq.n_tokens, left = n - pos, most = e->n_batch;
        bool rows = sink->fn && pos + most > sink->from;
        if (rows && most > (size_t)e->max_outputs) {
            most = (size_t)e->max_outputs;
        }
        int count = (int)(left < most ? left : most);
        struct lk_batch b;
        batch_init(e, &b, s->tokens + pos);
        batch_add(e, &b, s, count);
        for (int i = 0; i < count; i++) {
            bool last = pos + (size_t)i + 1 == n;
            if (last || (rows && pos + (size_t)i >= sink->from)) {
                e->outputs[b.n_outputs++] = i;
            }
        }
        status = lk_lane_run(e, s->lane, &b, err);
        if (status) {
            break;
        }
        s->seq.n_tokens += count;
        if ((size_t)s->seq.n_tokens == n) {
            memcpy(s->logits, e->rows + (size_t)(b.n_outputs - 1) * n_vocab,
                   n_vocab * sizeof(float));
            s->has_logits = true;
        }
        for (int i = 0; rows && i < b.n_outputs && !status; i++) {
            size_t at = pos + (size_t)e->outputs[i];
            if (at >= sink->from && !sink->fn(sink->user, at, e->rows + (size_t)i * n_vocab)) {
                status = lk_fail(err, LK_E_CANCELLED, "cancelled at position %zu", at);
            }
        }
        if (!status && s->progress &&
            !s->progress(s->progress_user, "evaluating", (uint64_t)s->seq.n_tokens - start,
                         n - start)) {
            status = lk_fail(err, LK_E_CANCELLED, "cancelled after %d of %zu tokens",
                             s->seq.n_tokens, n);
        }
    }
    if (status) {
        (void)lk_state_seq_truncate(&s->seq, &s->lane->pool,
                                    s->seq.n_tokens); /* gives the reserve back */
    }
    return status;
}

/* The session's blocks on a lost device are gone; its tokens are not: they will be evaluated
 * again on the CPU, with the same bits. */
static lk_status leave_lost_lane(struct lk_session *s, lk_error *err)
{
    struct lk_engine *e = s->engine;
    struct lk_lane *to;
    lk_status status = lk_engine_lane(e, "cpu", &to, err);
    if (status) {
        return status;
    }
    lk_log_line(&e->log, LK_LOG_WARN,
                "%s was lost: %d tokens are evaluated again on %s, nothing is lost",
                s->lane->describe, s->seq.n_tokens, to->describe);
    if (e->home->lost) {
        e->home = to;
    }
    (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, 0);
    s->lane = to;
    return LK_OK;
}

static lk_status evaluate_surviving(struct lk_session *s, size_t n, const struct rows_sink *sink,
                                    lk_error *err)
{
    lk_status status = LK_OK;
    struct rows_sink rest = *sink;
    for (int tries = 0; tries < 2; tries++) {
        if (s->lane->lost) {
            if (rest.from < (size_t)s->seq.n_tokens) {
                rest.from = (size_t)s->seq.n_tokens; /* rows below were delivered */
            }
            status = leave_lost_lane(s, err);
            if (status) {
                return status;
            }
        }
        status = evaluate(s, n, &rest, err);
        if (status != LK_E_DEVICE_LOST) {
            break;
        }
    }
    return status;
}

static lk_status check_tokens(const struct lk_engine *e, const int32_t *tokens, size_t n,
                              lk_error *err)
{
    if (n < 1) {
        return lk_fail(err, LK_E_INVALID, "no tokens: a timeline has at least one");
    }
    if (n > e->n_ctx) {
        return lk_fail(err, LK_E_FULL, "context full: %zu tokens, room for %u", n, e->n_ctx);
    }
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || tokens[i] >= e->plan->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "token %zu is %d, expected 0 to %d", i, tokens[i],
                           e->plan->n_vocab - 1);
        }
    }
    return LK_OK;
}

static lk_status sync_rows(lk_session *s, const int32_t *tokens, size_t n, size_t from,
                           lk_logits_fn fn, void *user, lk_error *err)
{
    lk_status status = check_tokens(s->engine, tokens, n, err);
    if (status) {
        return status;
    }
    size_t held = (size_t)s->seq.n_tokens, same = 0;
    while (same < held && same < n && s->tokens[same] == tokens[same]) {
        same++;
    }
    if (same == n && held == n && s->has_logits && from >= n) {
        return LK_OK;
    }
    /* The last token is evaluated again when its row is missing. */
    size_t keep = same < n - 1 ? same : n - 1;
    keep = keep < from ? keep : from;
    lk_mutex_lock(s->engine->lock);
    (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, (int)keep);
    memmove(s->tokens, tokens, n * sizeof *tokens);
    struct rows_sink sink = {fn, user, from};
    status = evaluate_surviving(s, n, &sink, err);
    lk_mutex_unlock(s->engine->lock);
    return status;
}

lk_status lk_session_sync(lk_session *session, const int32_t *tokens, size_t n, lk_error *err)
{
    return sync_rows(session, tokens, n, SIZE_MAX, NULL, NULL, err);
}

lk_status lk_session_sync_rows(lk_session *session, const int32_t *tokens, size_t n, size_t from,
                               lk_logits_fn rows, void *user, lk_error *err)
{
    return sync_rows(session, tokens, n, from, rows, user, err);
}

/* ---- many sessions in one batch ---- */

static lk_status step_some(struct lk_engine *e, lk_session *const *sessions, const int32_t *tokens,
                           size_t n, lk_error *err)
{
    size_t n_vocab = (size_t)e->plan->n_vocab;
    struct lk_batch b;
    lk_status status = LK_OK;
    batch_init(e, &b, tokens);
    for (size_t i = 0; i < n && !status; i++) {
        status = lk_session_reserve(sessions[i], 1, err);
        if (!status) {
            e->outputs[b.n_outputs++] = (int32_t)i;
            batch_add(e, &b, sessions[i], 1);
        }
    }
    if (!status) {
        status = lk_lane_run(e, sessions[0]->lane, &b, err);
    }
    for (size_t i = 0; i < n; i++) {
        struct lk_session *s = sessions[i];
        if (status) {
            (void)lk_state_seq_truncate(&s->seq, &s->lane->pool, s->seq.n_tokens);
            continue;
        }
        s->tokens[s->seq.n_tokens++] = tokens[i];
        memcpy(s->logits, e->rows + i * n_vocab, n_vocab * sizeof(float));
        s->has_logits = true;
    }
    return status;
}

lk_status lk_engine_step(lk_engine *e, lk_session *const *sessions, const int32_t *tokens, size_t n,
                         lk_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct lk_session *s = sessions[i];
        if (s->engine != e || s->lane != sessions[0]->lane) {
            return lk_fail(err, LK_E_INVALID,
                           "session %zu is on %s, session 0 on %s: a step takes sessions of one "
                           "engine and one backend",
                           i, s->lane->name, sessions[0]->lane->name);
        }
        for (size_t j = 0; j < i; j++) {
            if (sessions[j] == s) {
                return lk_fail(err, LK_E_INVALID, "session %zu is listed twice (also as %zu)", i,
                               j);
            }
        }
        if (tokens[i] < 0 || tokens[i] >= e->plan->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "token of session %zu is %d, expected 0 to %d", i,
                           tokens[i], e->plan->n_vocab - 1);
        }
        if ((uint32_t)s->seq.n_tokens >= e->n_ctx) {
            return lk_fail(err, LK_E_FULL, "context of session %zu is full: %d tokens", i,
                           s->seq.n_tokens);
        }
    }
    size_t most = (size_t)(e->max_seqs < e->max_outputs ? e->max_seqs : e->max_outputs);
    lk_status status = LK_OK;
    lk_mutex_lock(e->lock);
    for (size_t i = 0; i < n && !status; i += most) {
        size_t count = n - i < most ? n - i : most;
        status = sessions[i]->lane->lost ? LK_E_DEVICE_LOST
                                         : step_some(e, sessions + i, tokens + i, count, err);
        for (size_t j = i; status == LK_E_DEVICE_LOST && j < i + count; j++) {
            struct lk_session *s = sessions[j];
            struct rows_sink none = {.from = SIZE_MAX};
            s->tokens[s->seq.n_tokens] = tokens[j];
            lk_status again = evaluate_surviving(s, (size_t)s->seq.n_tokens + 1, &none, err);
            status = j + 1 == i + count || again ? again : status;
        }
    }
    lk_mutex_unlock(e->lock);
    return status;
}

/* ---- fork, truncate, move ---- */

const float *lk_session_logits(const lk_session *session)
{
    return session->has_logits ? session->logits : NULL;
}

size_t lk_session_n_tokens(const lk_session *session)
{
    return (size_t)session->seq.n_tokens;
}

const int32_t *lk_session_tokens(const lk_session *session)
{
    return session->tokens;
}

const char *lk_session_backend(const lk_session *session)
{
    return session->lane->name;
}

void lk_session_on_progress(lk_session *session, lk_progress_fn fn, void *user)
{
    session->progress = fn;
    session->progress_user = user;
}

lk_status lk_session_truncate(lk_session *s, size_t n, lk_error *err)
{
    if (n > (size_t)s->seq.n_tokens) {
        return lk_fail(err, LK_E_INVALID, "truncate to %zu tokens: the session holds %d", n,
                       s->seq.n_tokens);
    }
    if (n < (size_t)s->seq.n_tokens) {
        lk_status status = LK_OK;
        lk_mutex_lock(s->engine->lock);
        s->has_logits = false;
        if (lk_state_seq_truncate(&s->seq, &s->lane->pool, (int)n) < (int)n) {
            struct rows_sink none = {.from = SIZE_MAX};
            status = evaluate_surviving(s, n, &none, err);
            s->has_logits = false;
        }
        lk_mutex_unlock(s->engine->lock);
        return status;
    }
    return LK_OK;
}

/* Copies what the session's states hold to the units of `to` on a lane; of recurrent states alone
 * where `to` shares the blocks. */
static lk_status copy_units(const struct lk_session *s, struct lk_lane *lane,
                            const struct lk_state_seq *to, bool paged, lk_error *err)
{
    const struct lk_plan *plan = s->engine->plan;
    void *unit = lk_alloc(lk_most_unit_bytes(plan));
    lk_status status = LK_OK;
    if (!unit) {
        return lk_fail(err, LK_E_NOMEM, "out of memory copying a session");
    }
    for (int i = 0; i < plan->n_states && !status; i++) {
        bool copied = paged || !lk_state_is_paged(&plan->states[i]);
        for (int u = 0; copied && u < lk_seq_units(plan, i, to) && !status; u++) {
            status = lk_lane_read(s->lane, plan, i, lk_seq_unit(plan, i, &s->seq, u), unit, err);
            if (!status) {
                status = lk_lane_write(lane, plan, i, lk_seq_unit(plan, i, to, u), unit, err);
            }
        }
    }
    lk_free(unit);
    return status;
}

lk_status lk_session_fork(lk_session *s, lk_session **out, lk_error *err)
{
    lk_session *f;
    lk_status status = lk_session_open(s->engine, &f, err);
    if (status) {
        return status;
    }
    lk_mutex_lock(s->engine->lock);
    f->lane = s->lane;
    status = lk_state_seq_fork(&s->seq, &f->seq, &s->lane->pool, err);
    if (!status) {
        status = copy_units(s, s->lane, &f->seq, false, err);
    }
    lk_mutex_unlock(s->engine->lock);
    if (status) {
        lk_session_close(&f);
        return status;
    }
    memcpy(f->tokens, s->tokens, (size_t)s->seq.n_tokens * sizeof *s->tokens);
    memcpy(f->logits, s->logits, (size_t)s->engine->plan->n_vocab * sizeof *s->logits);
    f->has_logits = s->has_logits;
    *out = f;
    return LK_OK;
}

/* Copies the session's states to fresh units of another lane. */
static lk_status copy_to_lane(struct lk_session *s, struct lk_lane *to, struct lk_state_seq *fresh,
                              lk_error *err)
{
    struct lk_state_copy none;
    lk_status status = lk_state_seq_reserve(fresh, &to->pool, s->seq.n_tokens, &none, err);
    if (!status) {
        status = copy_units(s, to, fresh, true, err);
    }
    fresh->n_tokens = status ? 0 : s->seq.n_tokens;
    return status;
}

lk_status lk_session_move(lk_session *s, const char *backend, lk_error *err)
{
    struct lk_engine *e = s->engine;
    struct lk_lane *to = NULL;
    struct lk_state_seq fresh = {0};
    lk_mutex_lock(e->lock);
    lk_status status = lk_engine_lane(e, backend, &to, err);
    if (!status && to != s->lane) {
        status = lk_state_seq_init(&fresh, (int)e->n_ctx, err);
        if (!status && !s->lane->lost) {
            status = copy_to_lane(s, to, &fresh, err);
        }
        if (status && (!s->lane->lost || !fresh.blocks)) {
            lk_state_seq_free(&fresh, &to->pool);
        } else {
            /* From a lost device nothing is copied: the tokens are evaluated again. */
            int n = s->seq.n_tokens;
            lk_state_seq_free(&s->seq, &s->lane->pool);
            s->seq = fresh;
            s->lane = to;
            status = LK_OK;
            if (s->seq.n_tokens < n) {
                struct rows_sink none = {.from = SIZE_MAX};
                (void)lk_state_seq_truncate(&s->seq, &to->pool, 0); /* blocks that were reserved */
                status = evaluate(s, (size_t)n, &none, err);
            }
        }
    }
    lk_mutex_unlock(e->lock);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Session: token timelines: open, sync, many at once, fork, truncate, move. Evaluation is
 * src/engine/run.c's.
 */
#include <string.h>

#include "engine/run.h"
#include "base/mem.h"

lk_status lk_session_open(lk_engine *engine, lk_session **out, lk_error *err)
{
    *out = NULL;
    lk_session *s = lk_alloc(sizeof *s);
    if (!s) {
        return lk_fail(err, LK_E_NOMEM, "out of memory opening a session");
    }
    lk_mutex_lock(engine->lock);
    engine->n_open++;
    lk_mutex_unlock(engine->lock);
    s->engine = engine;
    s->lane = engine->home;
    s->tokens = lk_alloc_array(engine->n_ctx, sizeof *s->tokens);
    s->logits = lk_alloc_array((size_t)lk_plan_row_width(engine->plan), sizeof *s->logits);
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
    if (!session || !*session) {
        return;
    }
    lk_session *s = *session;
    struct lk_engine *e = s->engine;
    lk_mutex_lock(e->lock);
    lk_checkpoints_free(s);
    lk_state_seq_free(&s->seq, &s->lane->pool);
    lk_free(s->tokens);
    lk_free(s->logits);
    lk_free(s->data);
    lk_free(s);
    *session = NULL;
    e->n_open--;
    lk_engine_let_go(e);
}

lk_status lk_session_set_data(lk_session *s, const void *data, size_t n_bytes, lk_error *err)
{
    void *copy = n_bytes ? lk_alloc(n_bytes) : NULL;
    if (n_bytes && !copy) {
        return lk_fail(err, LK_E_NOMEM, "out of memory keeping %zu bytes with a session", n_bytes);
    }
    if (n_bytes) {
        memcpy(copy, data, n_bytes); /* before what it may lie in is freed */
    }
    lk_free(s->data);
    s->data = copy;
    s->n_data = n_bytes;
    return LK_OK;
}

const void *lk_session_data(const lk_session *s, size_t *n_bytes)
{
    *n_bytes = s->n_data;
    return s->data;
}

/* ---- room; the engine's lock is held ---- */

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
    keep = s->engine->plan->whole ? 0 : keep < from ? keep : from;
    lk_mutex_lock(s->engine->lock);
    s->has_logits &= lk_session_cut(s, (int)keep) == (int)held;
    memmove(s->tokens, tokens, n * sizeof *tokens);
    status = lk_run_one(s, n, fn ? from : SIZE_MAX, fn, user, err);
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

/* What an item asks for must make sense; whether there is room shows when it runs. */
static lk_status check_item(const struct lk_engine *e, const lk_item *items, size_t i,
                            lk_error *err)
{
    const lk_item *it = &items[i];
    if (!it->session || it->session->engine != e) {
        return lk_fail(err, LK_E_INVALID, "item %zu: its session %s, expected one of this engine",
                       i, it->session ? "belongs to another engine" : "is NULL");
    }
    if (it->n_tokens < 1 || !it->tokens) {
        return lk_fail(err, LK_E_INVALID, "item %zu: no tokens, expected at least one", i);
    }
    if (it->rows == LK_ROWS_ALL && !it->on_row) {
        return lk_fail(err, LK_E_INVALID, "item %zu: all rows are wanted and on_row is NULL", i);
    }
    if ((unsigned)it->rows > LK_ROWS_ALL) {
        return lk_fail(err, LK_E_INVALID, "item %zu: rows is %d, expected 0 to %d", i,
                       (int)it->rows, LK_ROWS_ALL);
    }
    for (size_t t = 0; t < it->n_tokens; t++) {
        if (it->tokens[t] < 0 || it->tokens[t] >= e->plan->n_vocab) {
            return lk_fail(err, LK_E_INVALID, "item %zu: token %zu is %d, expected 0 to %d", i, t,
                           it->tokens[t], e->plan->n_vocab - 1);
        }
    }
    return LK_OK;
}

static lk_status check_items(const struct lk_engine *e, const lk_item *items, size_t n,
                             lk_error *err)
{
    lk_status status = LK_OK;
    size_t marked = 0;
    for (; marked < n && !status; marked++) {
        status = check_item(e, items, marked, err);
        if (!status && items[marked].session->listed) {
            status = lk_fail(err, LK_E_INVALID, "item %zu: its session is listed twice", marked);
            break;
        }
        if (!status) {
            items[marked].session->listed = true;
        }
    }
    for (size_t i = 0; i < marked; i++) {
        if (items[i].session && items[i].session->engine == e) {
            items[i].session->listed = false;
        }
    }
    return status;
}

/* An item as work; LK_E_FULL where its context has no room for the tokens. */
static struct lk_work work_of(lk_item *it, bool yields)
{
    struct lk_session *s = it->session;
    size_t held = (size_t)s->seq.n_tokens, n_ctx = s->engine->n_ctx;
    struct lk_work w = {.session = s,
                        .end = held,
                        .rows_from = it->rows == LK_ROWS_ALL ? held : SIZE_MAX,
                        .last = it->rows != LK_ROWS_NONE,
                        .yields = yields,
                        .on_row = it->on_row,
                        .user = it->user,
                        .err = &it->error};
    if (it->n_tokens > n_ctx - held) {
        w.status = lk_fail(w.err, LK_E_FULL,
                           "context full: %zu tokens held and %zu more, room for "
                           "%zu",
                           held, it->n_tokens, n_ctx);
        return w;
    }
    w.end = held + it->n_tokens;
    memcpy(s->tokens + held, it->tokens, it->n_tokens * sizeof *it->tokens);
    return w;
}

lk_status lk_run_items(lk_engine *e, lk_item *items, size_t n, struct lk_work *work, bool yields,
                       lk_error *err)
{
    lk_mutex_lock(e->lock);
    lk_status status = check_items(e, items, n, err);
    bool ran = !status;
    for (size_t i = 0; i < n && ran; i++) {
        items[i].error = (lk_error){0};
        work[i] = work_of(&items[i], yields);
    }
    if (ran) {
        lk_run(e, work, n);
    }
    for (size_t i = 0; i < n && ran; i++) {
        items[i].status = work[i].status;
        if (work[i].status && !status) {
            status = lk_fail(err, work[i].status, "item %zu: %s", i, items[i].error.message);
        }
    }
    lk_mutex_unlock(e->lock);
    return status;
}

lk_status lk_engine_run(lk_engine *e, lk_item *items, size_t n, lk_error *err)
{
    struct lk_work *work = lk_alloc_array(n + 1, sizeof *work);
    if (!work) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a step of %zu items", n);
    }
    lk_status status = lk_run_items(e, items, n, work, false, err);
    lk_free(work);
    return status;
}

lk_status lk_engine_step(lk_engine *e, lk_session *const *sessions, const int32_t *tokens, size_t n,
                         lk_error *err)
{
    lk_item *items = lk_alloc_array(n + 1, sizeof *items);
    if (!items) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a step of %zu sessions", n);
    }
    for (size_t i = 0; i < n; i++) {
        items[i] = (lk_item){.session = sessions[i],
                             .tokens = &tokens[i],
                             .n_tokens = 1,
                             .rows = LK_ROWS_LAST};
    }
    lk_status status = lk_engine_run(e, items, n, err);
    lk_free(items);
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
        if (lk_session_cut(s, (int)n) < (int)n) {
            status = lk_run_one(s, n, SIZE_MAX, NULL, NULL, err);
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
    *out = NULL;
    lk_status status = lk_session_open(s->engine, &f, err);
    if (status) {
        return status;
    }
    status = lk_session_set_data(f, s->data, s->n_data, err);
    if (status) {
        lk_session_close(&f);
        return status;
    }
    lk_mutex_lock(s->engine->lock);
    f->lane = s->lane;
    status = lk_state_seq_fork(&s->seq, &f->seq, &s->lane->pool, err);
    if (!status) {
        status = copy_units(s, s->lane, &f->seq, false, err);
    }
    if (!status) {
        lk_checkpoints_fork(s, f);
    }
    lk_mutex_unlock(s->engine->lock);
    if (status) {
        lk_session_close(&f);
        return status;
    }
    memcpy(f->tokens, s->tokens, (size_t)s->seq.n_tokens * sizeof *s->tokens);
    memcpy(f->logits, s->logits, (size_t)lk_plan_row_width(s->engine->plan) * sizeof *s->logits);
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
                (void)lk_state_seq_truncate(&s->seq, &to->pool, 0); /* blocks that were reserved */
                lk_checkpoints_cut(s, 0);
                status = lk_run_one(s, (size_t)n, SIZE_MAX, NULL, NULL, err);
            }
        }
    }
    lk_mutex_unlock(e->lock);
    return status;
}

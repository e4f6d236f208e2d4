/* SPDX-License-Identifier: Apache-2.0
 *
 * Run: timelines made longer, many at a time: what src/engine/run.c offers the room. The engine's
 * lock is held.
 */
#ifndef LK_RUN_H
#define LK_RUN_H

#include "engine/engine.h"

/* One session's way from seq.n_tokens to `end`; its tokens lie in session->tokens. */
struct lk_work {
    struct lk_session *session;
    size_t end;
    size_t rows_from; /* position from which rows go to on_row; SIZE_MAX: none do */
    bool last;        /* the session keeps the row of its last token */
    bool yields;      /* where its device is lost it ends, LK_E_DEVICE_LOST, on the lane after */
    lk_logits_fn on_row;
    void *user;
    /* Filled by lk_run. */
    lk_status status;
    lk_error *err; /* may be NULL */
    /* lk_run's own. */
    size_t start;
    bool in_batch;
    int first, count; /* tokens of the batch */
};

/* Evaluates all of it in batches that different sessions share. Each has a status of its own: where
 * one fails the others go on, and it keeps the tokens that were evaluated. Sessions on a lost
 * device are evaluated again on a lane without it. */
void lk_run(struct lk_engine *engine, struct lk_work *work, size_t n);
/* The same for one session; returns its status. */
lk_status lk_run_one(struct lk_session *session, size_t end, size_t rows_from, lk_logits_fn on_row,
                     void *user, lk_error *err);

/* lk_engine_run, of items that may yield: see struct lk_work; work: [n], for the call. */
lk_status lk_run_items(struct lk_engine *engine, lk_item *items, size_t n, struct lk_work *work,
                       bool yields, lk_error *err);

/* Away from a lost lane: the session's tokens are dropped, and it is on the lane after. Nothing
 * where the lane is there. */
lk_status lk_session_leave_lost(struct lk_session *session, lk_error *err);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Checkpoint: what the recurrent states of a timeline held at one position, in host memory. Such
 * states don't go back: a timeline is cut by bringing back a checkpoint before the cut and
 * evaluating the rest again. Sessions, their forks and a tree of prefixes share them; all that an
 * engine holds stay within options.checkpoint_bytes. Which positions are worth one is decided here.
 * The engine's lock is held by every call.
 */
#ifndef LK_CHECKPOINT_H
#define LK_CHECKPOINT_H

#include "base/base.h"

struct lk_session;
struct lk_engine;

struct lk_checkpoint {
    int n_tokens; /* from the timeline's beginning on */
    int refs;
    uint8_t
        *data; /* owned pages: a unit of each recurrent state, in the plan's order; NULL: dropped */
    struct lk_checkpoint *before; /* the one before it in its timeline that has data, or NULL */
    uint64_t used;                /* the store's clock when it was last taken or brought back */
    struct lk_checkpoint *next, *prev; /* of those with data, in no order */
};

/* An engine's. */
struct lk_checkpoint_store {
    struct lk_checkpoint *first; /* of those with data */
    size_t n_bytes;
    uint64_t clock; /* tokens that the engine has evaluated */
};

/* A session's, by position. */
struct lk_checkpoint_list {
    struct lk_checkpoint **at; /* owned, [n]; a reference each */
    size_t n, cap;
};

/* Whether the engine takes checkpoints: its model has recurrent states, and one fits. */
bool lk_checkpoints_kept(const struct lk_engine *engine);
/* How many of the n tokens from pos on that a batch has room for it should take, so that it stops
 * where a checkpoint may be taken, at a block's end. The text ends at `end`; `last`: no more of it
 * follows in a later call, and its last whole block is such an end. */
int lk_checkpoint_stop(const struct lk_session *session, int pos, int n, int end, bool last);
/* Takes one of the session as it is, where it is worth its time and more than what would go for it.
 * Taking none is no failure: it costs time only. */
enum lk_checkpoint_at {
    LK_CHECKPOINT_BETWEEN, /* more of a text follows at once */
    LK_CHECKPOINT_END,     /* somebody may go on from here, or near */
    LK_CHECKPOINT_DUE      /* or from exactly here: it is taken whatever goes for it */
};
void lk_checkpoint_take(struct lk_session *session, enum lk_checkpoint_at where);
/* The session's at exactly n tokens that has data, or NULL. */
struct lk_checkpoint *lk_checkpoint_at(const struct lk_session *session, int n);
/* Adds one that the session does not have: behind all of its own. */
void lk_checkpoint_add(struct lk_session *session, struct lk_checkpoint *c);
/* Brings it back: the session's states are what they were. The session has a slot. */
lk_status lk_checkpoint_restore(struct lk_session *session, struct lk_checkpoint *c, lk_error *err);
struct lk_checkpoint *lk_checkpoint_share(struct lk_checkpoint *c);
void lk_checkpoint_give(struct lk_engine *engine, struct lk_checkpoint *c); /* NULL: nothing */

/* Drops the session's beyond n tokens, and those whose data went for want of memory. */
void lk_checkpoints_cut(struct lk_session *session, int n);
/* `to` has none; it shares those of `from`. Where memory ends it has fewer. */
void lk_checkpoints_fork(const struct lk_session *from, struct lk_session *to);
void lk_checkpoints_free(struct lk_session *session);

/* Keeps at most n tokens of a timeline: all n where its states can go back so far without
 * evaluating, else as many as its last checkpoint before. Logits are the caller's. Returns how many
 * are kept. */
int lk_session_cut(struct lk_session *session, int n);
/* The same for states of which nobody knows what they hold. */
int lk_session_rewind(struct lk_session *session, int n);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Generation: what a scheduler needs of generations beside the public interface: steps in which
 * each gets a share of its own, and which end none for want of room.
 */
#ifndef LK_GENERATION_H
#define LK_GENERATION_H

#include "base/base.h"

/* One generation's part in a step. */
struct lk_turn {
    lk_generation *generation; /* of the engine, begun, listed once */
    size_t take;               /* tokens to evaluate; at most lk_generation_pending */
    /* Filled. LK_E_FULL: the cache has no room, LK_E_DEVICE_LOST: its session may have gone to
     * another lane, and holds fewer tokens; the generation goes on in both cases. LK_OK else, also
     * where it has failed, and so ended. */
    lk_status status;
};

/* A step of n generations: each evaluates its share, in one batch with all others, and chooses a
 * token if nothing is pending then. Those that choose do so on several threads. An error, on which
 * nothing has changed, is LK_E_NOMEM. */
lk_status lk_generation_turns(lk_engine *engine, struct lk_turn *turns, size_t n, lk_error *err);
/* Tokens of the timeline that are not evaluated yet. */
size_t lk_generation_pending(const lk_generation *g);
/* Ends it now, before it chooses another token: its events are what was held back of its text, and
 * the end. `why` may be NULL. */
void lk_generation_end(lk_generation *g, lk_finish finish, const lk_error *why);
void lk_generation_drop_events(lk_generation *g);
/* Rows that tokens are chosen from are added to a hash from now on: those of LK_EVENT_TOKEN, and
 * of an LK_EVENT_END that has a token that was chosen. */
void lk_generation_hash_rows(lk_generation *g, lk_sha256 *hash);
/* Whether the options make sense, as lk_generation_open would say, apart from their constraint. */
lk_status lk_generation_check(const lk_generation_options *options, size_t n_vocab, lk_error *err);

#endif

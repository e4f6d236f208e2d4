/* SPDX-License-Identifier: Apache-2.0
 *
 * Room: how the cache of the lane stands on which sessions are opened, for who plans steps so that
 * none fails for want of room. Blocks are those of state_table.h.
 */
#ifndef LK_ROOM_H
#define LK_ROOM_H

#include "base/base.h"

struct lk_room {
    int n_blocks, n_free;
    int n_slots, n_free_slots; /* of recurrent states; n_slots 0: there are none */
    const void *lane;          /* another one: all that the old one held is gone */
};
/* Of the lane on which sessions are opened. Where its device was lost that is the one after it
 * (which is opened then, or an error). */
lk_status lk_room_of(lk_engine *engine, struct lk_room *out, lk_error *err);
int lk_room_blocks(size_t n_tokens); /* blocks that so many tokens take */
/* Blocks that a session has to take for n more tokens, its own copy of a shared last one among
 * them, and those that it has. */
int lk_room_needed(const lk_session *session, size_t n);
int lk_room_held(const lk_session *session);
/* Drops what a session holds, whose device may be lost; it is on the lane above then. Can't fail
 * where that is known. */
lk_status lk_room_drop(lk_session *session, lk_error *err);
/* The same where its lane was lost; else nothing. */
lk_status lk_room_follow(lk_session *session, lk_error *err);

#endif

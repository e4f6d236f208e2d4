/* SPDX-License-Identifier: Apache-2.0
 *
 * Prefix: beginnings of timelines that stay in the cache when their sessions go: a tree of whole
 * blocks of 64 tokens, each of which holds a block of the lane on which sessions are opened, as
 * sessions do. Sessions that begin alike take them and evaluate the rest. Two beginnings are the
 * same when their ids and their salts are; a hash only finds them. Trees are for one thread.
 *
 * Of models with recurrent states a beginning can be taken where one of its sessions had a
 * checkpoint (engine/checkpoint.h), which the tree shares; without checkpoints their tree is empty.
 */
#ifndef LK_PREFIX_H
#define LK_PREFIX_H

#include "base/base.h"

struct lk_prefix_tree; /* opaque */

/* Where a timeline is in a tree; zeroed: at the beginning. It stays good while its session holds
 * what it held, or more. */
struct lk_prefix_at {
    uint64_t epoch;
    int32_t node;
    int n_blocks;
};

lk_status lk_prefix_open(lk_engine *engine, struct lk_prefix_tree **out, lk_error *err);
void lk_prefix_close(struct lk_prefix_tree **tree); /* gives all of it back */
/* To be called before others where the engine's lane may have changed: what was kept of the old
 * one is dropped. */
void lk_prefix_settle(struct lk_prefix_tree *tree);

/* How many whole blocks of ids[0..n) can be taken; *n_idle: those of them that no session holds. */
int lk_prefix_find(const struct lk_prefix_tree *tree, uint64_t salt, const int32_t *ids, size_t n,
                   int *n_idle);
/* A session that holds whole blocks, or nothing, of ids[0..n) takes those that follow and are
 * there. Returns how many tokens that are. */
size_t lk_prefix_adopt(struct lk_prefix_tree *tree, uint64_t salt, lk_session *session,
                       const int32_t *ids, size_t n, struct lk_prefix_at *at);
/* The same for a session that holds nothing, as if nobody had used them. */
size_t lk_prefix_lend(struct lk_prefix_tree *tree, uint64_t salt, lk_session *session,
                      const int32_t *ids, size_t n);
/* Keeps the whole blocks of a session. Those that are there already it shares from now on. Where
 * memory ends some are not kept. */
void lk_prefix_keep(struct lk_prefix_tree *tree, uint64_t salt, lk_session *session,
                    struct lk_prefix_at *at);

/* What is about to be dropped: `ids` are all of its tokens from the beginning on. */
struct lk_prefix_leaving {
    uint64_t salt;
    const int32_t *ids;
    size_t n;
    uint32_t n_hits; /* how often its last block was taken */
    bool is_saved;   /* lk_prefix_leaving_fn said so of it, or of one that goes on after it */
};
/* Says whether it was saved. May use the tree, but not evict. */
typedef bool (*lk_prefix_leaving_fn)(void *user, const struct lk_prefix_leaving *leaving);
void lk_prefix_on_leaving(struct lk_prefix_tree *tree, lk_prefix_leaving_fn fn, void *user);

/* Tells of all that is kept and not saved, as if it were dropped: of what nothing goes on after,
 * those used last first, then of what is left. Nothing is dropped. */
void lk_prefix_tell_all(struct lk_prefix_tree *tree);

/* Drops up to n blocks that no session holds, those that were not used for longest first, none
 * before what goes on after it. Returns how many. */
int lk_prefix_evict(struct lk_prefix_tree *tree, int n);
int lk_prefix_n_idle(const struct lk_prefix_tree *tree); /* blocks that no session holds */
int lk_prefix_n_kept(const struct lk_prefix_tree *tree);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * State_table: which units of a lane's states a sequence uses: a table of blocks, which sequences
 * may share, and a slot of the recurrent states where the model has some. Allocates, shares, forks,
 * truncates. Knows no device and no bytes (src/plan/state.h does).
 */
#ifndef LK_STATE_TABLE_H
#define LK_STATE_TABLE_H

#include "base/base.h"
#include "plan/kv_layout.h"

struct lk_state_pool {
    int n_blocks, n_slots; /* n_slots 0: no recurrent state */
    int n_free, n_free_slots;
    int32_t *free_list;  /* owned, [n_blocks] */
    int32_t *refs;       /* owned, [n_blocks] */
    int32_t *free_slots; /* owned, [n_slots] */
};
lk_status lk_state_pool_init(struct lk_state_pool *pool, int n_blocks, int n_slots, lk_error *err);
void lk_state_pool_free(struct lk_state_pool *pool);

struct lk_state_seq {
    int32_t *blocks; /* owned, [cap] */
    int n_blocks, cap;
    int n_tokens, max_tokens;
    int slot; /* -1: none yet */
};
lk_status lk_state_seq_init(struct lk_state_seq *seq, int max_tokens, lk_error *err);
/* Gives its blocks and its slot back. */
void lk_state_seq_free(struct lk_state_seq *seq, struct lk_state_pool *pool);

/* Makes room for n more tokens: new blocks are taken, and a shared last block that would be
 * written is replaced by a private one; then copy->from >= 0 and the caller copies that block
 * of every paged state before anything is written. A sequence without a slot takes one for its
 * first token: then
 * copy->new_slot, and the caller zeroes that unit of every recurrent state. LK_E_FULL, and nothing
 * changed, when the pool has too few blocks or slots or the sequence would pass its cap. n_tokens
 * is not changed. */
struct lk_state_copy {
    int32_t from, to; /* from = -1: no block to copy */
    bool new_slot;
};
lk_status lk_state_seq_reserve(struct lk_state_seq *seq, struct lk_state_pool *pool, int n,
                               struct lk_state_copy *copy, lk_error *err);
/* Takes a reserve back: its new blocks are given back, a replaced block is shared again. */
void lk_state_seq_unreserve(struct lk_state_seq *seq, struct lk_state_pool *pool,
                            const struct lk_state_copy *copy);
/* Keeps the first n tokens, or none of them where a recurrent state would have to go back; blocks
 * beyond, and the slot of a sequence without tokens, are given back. n <= n_tokens. Returns how
 * many tokens are kept. */
int lk_state_seq_truncate(struct lk_state_seq *seq, struct lk_state_pool *pool, int n);
/* Keeps the first n tokens: the caller has brought the recurrent states back to what they were. */
void lk_state_seq_go_back(struct lk_state_seq *seq, struct lk_state_pool *pool, int n);
/* A slot for a sequence that has none, whose content the caller writes; false: none is free. */
bool lk_state_seq_take_slot(struct lk_state_seq *seq, struct lk_state_pool *pool);
/* Up to n blocks of `from` that no other sequence shares, the last ones first, are shared with
 * `to`, at its end, whose content is to be written anew. Returns how many. */
int lk_state_seq_borrow(const struct lk_state_seq *from, struct lk_state_seq *to,
                        struct lk_state_pool *pool, int n);
/* One block, which others hold too: one holder more, or one less. */
void lk_state_block_share(struct lk_state_pool *pool, int32_t block);
void lk_state_block_give(struct lk_state_pool *pool, int32_t block);
/* `to` (empty, initialised) shares all blocks of `from`. Where `from` has a slot, `to` takes one of
 * its own, to which the caller copies. */
lk_status lk_state_seq_fork(const struct lk_state_seq *from, struct lk_state_seq *to,
                            struct lk_state_pool *pool, lk_error *err);

#endif

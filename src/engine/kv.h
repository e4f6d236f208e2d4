/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv: block tables: which blocks of the cache a sequence uses. Allocates, shares, forks,
 * truncates. Knows no device and no bytes (src/plan/kv_layout.h does).
 */
#ifndef LK_KV_H
#define LK_KV_H

#include "base/base.h"
#include "plan/kv_layout.h"

struct lk_kv_pool {
    int n_blocks;
    int n_free;
    int32_t *free_list; /* owned, [n_blocks] */
    int32_t *refs;      /* owned, [n_blocks] */
};
lk_status lk_kv_pool_init(struct lk_kv_pool *pool, int n_blocks, lk_error *err);
void lk_kv_pool_free(struct lk_kv_pool *pool);

struct lk_kv_seq {
    int32_t *blocks; /* owned, [cap] */
    int n_blocks, cap;
    int n_tokens, max_tokens;
};
lk_status lk_kv_seq_init(struct lk_kv_seq *seq, int max_tokens, lk_error *err);
void lk_kv_seq_free(struct lk_kv_seq *seq, struct lk_kv_pool *pool); /* gives its blocks back */

/* Makes room for n more tokens: new blocks are taken, and a shared last block that would be
 * written is replaced by a private one; then copy->from >= 0 and the caller copies that block
 * (all layers, K and V) before anything is written. LK_E_FULL, and nothing changed, when the
 * pool has too few blocks or the sequence would pass its cap. n_tokens is not changed. */
struct lk_kv_copy {
    int32_t from, to; /* from = -1: nothing to copy */
};
lk_status lk_kv_seq_reserve(struct lk_kv_seq *seq, struct lk_kv_pool *pool, int n,
                            struct lk_kv_copy *copy, lk_error *err);
/* Takes a reserve back: its new blocks are given back, a replaced block is shared again. */
void lk_kv_seq_unreserve(struct lk_kv_seq *seq, struct lk_kv_pool *pool,
                         const struct lk_kv_copy *copy);
/* Keeps the first n tokens; blocks beyond are given back. n <= n_tokens. */
void lk_kv_seq_truncate(struct lk_kv_seq *seq, struct lk_kv_pool *pool, int n);
/* Up to n blocks of `from` that no other sequence shares, the last ones first, are shared with
 * `to`, at its end, whose content is to be written anew. Returns how many. */
int lk_kv_seq_borrow(const struct lk_kv_seq *from, struct lk_kv_seq *to, struct lk_kv_pool *pool,
                     int n);
/* `to` (empty, initialised) shares all blocks of `from`. */
lk_status lk_kv_seq_fork(const struct lk_kv_seq *from, struct lk_kv_seq *to,
                         struct lk_kv_pool *pool, lk_error *err);

#endif

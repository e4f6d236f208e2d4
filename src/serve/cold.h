/* SPDX-License-Identifier: Apache-2.0
 *
 * Cold: prefixes that lost their room in the cache and lie in files of a folder, each a saved
 * session of whole blocks, named by what is in it. Those that were used, or are long, are written;
 * one is read when that is faster than to evaluate its tokens. What can't be read, or is damaged,
 * is deleted, and evaluated. A step copies what is to be written; a thread writes it, one file at a
 * time, and it can be found when that is done. Files of other models in the folder are left alone.
 * One folder may serve several schedulers one after another, but not at the same time.
 */
#ifndef LK_SERVE_COLD_H
#define LK_SERVE_COLD_H

#include "base/base.h"
#include "engine/prefix.h"

struct cold; /* opaque */

struct cold_counts {
    uint64_t n_writes, n_reads, n_bytes; /* n_bytes: in the folder, or on its way there */
};

/* Makes the folder where it is missing. max_bytes: of all files of this model. */
lk_status lk_cold_open(lk_engine *engine, const char *path, uint64_t max_bytes, struct lk_log log,
                       struct cold **out, lk_error *err);
void lk_cold_close(struct cold **cold); /* when all is written; the files stay */

/* A prefix leaves the tree. Returns whether it, or one that goes on after it, is in a file or will
 * be. */
bool lk_cold_put(struct cold *c, struct lk_prefix_tree *tree,
                 const struct lk_prefix_leaving *leaving);
/* The file that has the most whole blocks of ids[0..n), if they are more than `known` blocks, and
 * reading it takes less time than to evaluate them at this speed (0: not known); -1: none.
 * *n_blocks: how many blocks the whole file has. */
int lk_cold_find(const struct cold *c, uint64_t salt, const int32_t *ids, size_t n, int known,
                 double tokens_per_ms, int *n_blocks);
/* Reads a file into the tree; there must be room for its blocks. */
void lk_cold_get(struct cold *c, struct lk_prefix_tree *tree, int file);
/* Writes what is in the tree, which tells lk_cold_put of it, and in no file: first what would go to
 * one when it leaves, then what the folder has room for, for so many seconds and the files that are
 * begun then. */
void lk_cold_save(struct cold *c, struct lk_prefix_tree *tree, double seconds);
struct cold_counts lk_cold_count(const struct cold *c);
void lk_cold_next_step(struct cold *c); /* each copies one prefix at most */

#endif

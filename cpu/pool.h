/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: persistent threads that run one function together and meet at barriers inside it. Waits
 * spin for a bounded time, then sleep, so that more threads than cores do not collapse. Knows
 * nothing of models.
 */
#ifndef LK_POOL_H
#define LK_POOL_H

#include "base/base.h"

struct lk_pool;

/* n_threads >= 1, the caller of lk_pool_run counted. With `pin` worker i is pinned to the i-th
 * core of lk_cores. */
lk_status lk_pool_open(int n_threads, bool pin, struct lk_pool **out, lk_error *err);
void lk_pool_close(struct lk_pool *pool); /* takes NULL */
int lk_pool_size(const struct lk_pool *pool);

/* Runs fn(arg, i, n) for i = 0 .. n-1 at once, n <= size, i = 0 on the caller; returns when all
 * have. One caller at a time. Every thread runs with round-to-nearest and its caller's other
 * floating-point modes as they were. */
typedef void (*lk_pool_fn)(void *arg, int thread, int n_threads);
void lk_pool_run(struct lk_pool *pool, int n, lk_pool_fn fn, void *arg);
/* Inside fn: no thread of this run goes on before all have come here. */
void lk_pool_barrier(struct lk_pool *pool);

#endif

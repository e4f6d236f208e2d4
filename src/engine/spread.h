/* SPDX-License-Identifier: Apache-2.0
 *
 * Spread: independent pieces of work shared out among threads that live as long as the call. For
 * work on the host that takes much longer than to start a thread. Knows not what the work is.
 */
#ifndef LK_SPREAD_H
#define LK_SPREAD_H

#include <stddef.h>

/* Calls fn(user, i) once for each i below n, on at most n_threads threads, of which the caller is
 * one. Where a thread can't be started the others do its part. */
void lk_spread(size_t n, int n_threads, void (*fn)(void *user, size_t i), void *user);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Crew: independent pieces of work shared out among threads that wait for the next call. For work
 * on the host between two batches. Knows not what the work is.
 */
#ifndef LK_CREW_H
#define LK_CREW_H

#include <stddef.h>

struct lk_crew;

/* One without threads: they are started when they are first needed. NULL: out of memory. */
struct lk_crew *lk_crew_new(void);
void lk_crew_free(struct lk_crew *crew); /* takes NULL */
/* Calls fn(user, i) once for each i below n, on at most n_threads threads, of which the caller is
 * one. Where a thread can't be started the others do its part. Of two callers one waits. */
void lk_crew_run(struct lk_crew *crew, size_t n, int n_threads, void (*fn)(void *user, size_t i),
                 void *user);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Spread: see spread.h.
 */
#include "engine/spread.h"

#include <stdatomic.h>

#include "base/os.h"

enum { MOST_THREADS = 16 };

struct spread {
    void (*fn)(void *user, size_t i);
    void *user;
    size_t n;
    _Atomic size_t next;
};

static void work(void *arg)
{
    struct spread *s = arg;
    for (size_t i = atomic_fetch_add(&s->next, 1); i < s->n; i = atomic_fetch_add(&s->next, 1)) {
        s->fn(s->user, i);
    }
}

void lk_spread(size_t n, int n_threads, void (*fn)(void *user, size_t i), void *user)
{
    struct spread s = {.fn = fn, .user = user, .n = n};
    struct lk_thread *thread[MOST_THREADS];
    int started = 0, most = n_threads < MOST_THREADS ? n_threads : MOST_THREADS;
    while (started + 1 < most && (size_t)started + 1 < n &&
           lk_thread_start(&thread[started], work, &s, NULL) == LK_OK) {
        started++;
    }
    work(&s);
    for (int i = 0; i < started; i++) {
        lk_thread_join(&thread[i]);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Crew: see crew.h.
 */
#include "engine/crew.h"

#include <limits.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/os.h"

enum { MOST_HANDS = 15 };

/* A thread; `calls` rises with each call that it takes part in. */
struct hand {
    _Alignas(64) _Atomic uint32_t calls;
    struct lk_crew *crew;
    struct lk_thread *thread;
};

struct lk_crew {
    struct lk_mutex *lock; /* of a call */
    struct hand hand[MOST_HANDS];
    int n_hands;
    bool stop;
    /* The call. */
    void (*fn)(void *user, size_t i);
    void *user;
    size_t n;
    _Atomic size_t next;
    _Atomic uint32_t busy; /* hands that are not done */
};

static void work(struct lk_crew *c)
{
    for (size_t i = atomic_fetch_add(&c->next, 1); i < c->n; i = atomic_fetch_add(&c->next, 1)) {
        c->fn(c->user, i);
    }
}

static void wait_at(void *arg)
{
    struct hand *me = arg;
    struct lk_crew *c = me->crew;
    for (uint32_t calls = 0;; calls++) {
        while (atomic_load(&me->calls) == calls) {
            lk_futex_wait((const uint32_t *)&me->calls, calls);
        }
        if (c->stop) {
            return;
        }
        work(c);
        if (atomic_fetch_sub(&c->busy, 1) == 1) {
            lk_futex_wake((const uint32_t *)&c->busy, 1);
        }
    }
}

static void call(struct hand *h)
{
    atomic_fetch_add(&h->calls, 1);
    lk_futex_wake((const uint32_t *)&h->calls, 1);
}

/* Hands that there are, after those that are missing were started as far as they can be. */
static int hands_up_to(struct lk_crew *c, int want)
{
    want = want < MOST_HANDS ? want : MOST_HANDS;
    while (c->n_hands < want) {
        struct hand *h = &c->hand[c->n_hands];
        h->crew = c;
        if (lk_thread_start(&h->thread, wait_at, h, NULL)) {
            break;
        }
        c->n_hands++;
    }
    return want < c->n_hands ? want : c->n_hands;
}

struct lk_crew *lk_crew_new(void)
{
    struct lk_crew *c = lk_alloc(sizeof *c);
    if (c) {
        c->lock = lk_mutex_new();
    }
    if (c && !c->lock) {
        lk_free(c);
        return NULL;
    }
    return c;
}

void lk_crew_free(struct lk_crew *c)
{
    if (!c) {
        return;
    }
    c->stop = true;
    for (int i = 0; i < c->n_hands; i++) {
        call(&c->hand[i]);
        lk_thread_join(&c->hand[i].thread);
    }
    lk_mutex_free(c->lock);
    lk_free(c);
}

void lk_crew_run(struct lk_crew *c, size_t n, int n_threads, void (*fn)(void *user, size_t i),
                 void *user)
{
    if (n < 2 || n_threads < 2) {
        for (size_t i = 0; i < n; i++) {
            fn(user, i);
        }
        return;
    }
    lk_mutex_lock(c->lock);
    int most = n <= INT_MAX && (int)n < n_threads ? (int)n : n_threads;
    int hands = hands_up_to(c, most - 1);
    c->fn = fn;
    c->user = user;
    c->n = n;
    atomic_store(&c->next, 0);
    atomic_store(&c->busy, (uint32_t)hands);
    for (int i = 0; i < hands; i++) {
        call(&c->hand[i]);
    }
    work(c);
    for (uint32_t busy = atomic_load(&c->busy); busy; busy = atomic_load(&c->busy)) {
        lk_futex_wait((const uint32_t *)&c->busy, busy);
    }
    lk_mutex_unlock(c->lock);
}

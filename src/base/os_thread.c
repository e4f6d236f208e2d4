/* SPDX-License-Identifier: Apache-2.0
 *
 * Os, threads: see os.h.
 */
#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/os.h"

/* Whatever the limit of the user's shell (ulimit -s), which would be the default. */
enum { STACK_BYTES = 4 << 20 };

struct lk_thread {
    pthread_t id;
    void (*fn)(void *);
    void *arg;
};

static void *thread_main(void *p)
{
    struct lk_thread *t = p;
    t->fn(t->arg);
    return NULL;
}

lk_status lk_thread_start(struct lk_thread **out, void (*fn)(void *), void *arg, lk_error *err)
{
    struct lk_thread *t = lk_alloc(sizeof *t);
    if (!t) {
        return lk_fail(err, LK_E_NOMEM, "out of memory starting a thread");
    }
    t->fn = fn;
    t->arg = arg;
    pthread_attr_t attr;
    pthread_attr_init(&attr); /* neither can fail on Linux with these values */
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    int e = pthread_create(&t->id, &attr, thread_main, t);
    pthread_attr_destroy(&attr);
    if (e != 0) {
        lk_free(t);
        return lk_fail(err, LK_E_NOMEM, "a thread can't be started: %s", strerror(e));
    }
    *out = t;
    return LK_OK;
}

void lk_thread_join(struct lk_thread **thread)
{
    if (*thread) {
        pthread_join((*thread)->id, NULL);
        lk_free(*thread);
        *thread = NULL;
    }
}

lk_status lk_thread_pin(int cpu)
{
    cpu_set_t set;
    CPU_ZERO(&set);
    if (cpu < 0 || cpu >= CPU_SETSIZE) {
        return LK_E_INVALID;
    }
    CPU_SET(cpu, &set);
    return pthread_setaffinity_np(pthread_self(), sizeof set, &set) == 0 ? LK_OK : LK_E_INVALID;
}

void lk_thread_yield(void)
{
    sched_yield();
}

struct lk_mutex {
    pthread_mutex_t m;
};

struct lk_mutex *lk_mutex_new(void)
{
    struct lk_mutex *m = lk_alloc(sizeof *m);
    if (m) {
        pthread_mutex_init(&m->m, NULL); /* can't fail with default attributes on Linux */
    }
    return m;
}

void lk_mutex_free(struct lk_mutex *m)
{
    if (m) {
        pthread_mutex_destroy(&m->m);
        lk_free(m);
    }
}

void lk_mutex_lock(struct lk_mutex *m)
{
    pthread_mutex_lock(&m->m);
}

void lk_mutex_unlock(struct lk_mutex *m)
{
    pthread_mutex_unlock(&m->m);
}

void lk_futex_wait(const uint32_t *word, uint32_t value)
{
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

void lk_futex_wake(const uint32_t *word, int n)
{
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, n, NULL, NULL, 0);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Pool: see pool.h.
 */
#include "cpu/pool.h"

#include <fenv.h>
#include <stdatomic.h>

#include "base/mem.h"
#include "base/os.h"

enum { LINE = 64, SPIN_FREE = 4000, SPIN_CROWDED = 100, SPIN_ALONE = 64, MAX_CORES = 1024 };

/* A word that threads wait on, alone in its cache line. */
struct word {
    _Alignas(LINE) _Atomic uint32_t value;
    _Atomic uint32_t sleepers;
};

struct worker {
    struct lk_pool *pool;
    struct lk_thread *thread;
    int index, cpu;
};

struct lk_pool {
    int n_threads, spin;
    bool crowded; /* more threads than CPUs: waiting ones let others run */
    struct worker *workers;
    struct word start; /* rises by one for every run */
    struct word done;  /* runs finished by all workers */
    struct word gate;  /* barrier generation */
    _Alignas(LINE) _Atomic uint32_t arrived;
    _Alignas(LINE) _Atomic uint32_t running; /* workers still in this run */
    lk_pool_fn fn;
    void *arg;
    int n;
    bool stop;
};

static inline void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Returns when w->value != old. Who is waited for may not run because other programs have its CPU,
 * and who waits may keep one of them from running: after a few microseconds a thread that spins
 * offers its CPU now and then, which on a free machine takes no longer than to spin. */
static void wait_change(const struct lk_pool *pool, struct word *w, uint32_t old)
{
    for (int i = 0; i < pool->spin; i++) {
        if (atomic_load_explicit(&w->value, memory_order_acquire) != old) {
            return;
        }
        if (pool->crowded || (i >= SPIN_ALONE && i % 16 == 0)) {
            lk_thread_yield();
        } else {
            relax();
        }
    }
    atomic_fetch_add(&w->sleepers, 1);
    while (atomic_load(&w->value) == old) {
        lk_futex_wait((const uint32_t *)&w->value, old);
    }
    atomic_fetch_sub(&w->sleepers, 1);
}

static void change(struct word *w)
{
    atomic_fetch_add(&w->value, 1);
    if (atomic_load(&w->sleepers) > 0) {
        lk_futex_wake((const uint32_t *)&w->value, MAX_CORES);
    }
}

static void work(void *arg)
{
    struct worker *me = arg;
    struct lk_pool *pool = me->pool;
    if (me->cpu >= 0) {
        (void)lk_thread_pin(me->cpu); /* a refused pin costs speed alone */
    }
    fesetround(FE_TONEAREST);
    for (uint32_t seen = 0;; seen++) {
        wait_change(pool, &pool->start, seen);
        if (pool->stop) {
            return;
        }
        if (me->index < pool->n) {
            pool->fn(pool->arg, me->index, pool->n);
        }
        if (atomic_fetch_sub(&pool->running, 1) == 1) {
            change(&pool->done);
        }
    }
}

lk_status lk_pool_open(int n_threads, bool pin, struct lk_pool **out, lk_error *err)
{
    int cpus[MAX_CORES];
    struct lk_pool *pool = lk_alloc(sizeof *pool);
    if (!pool) {
        return lk_fail(err, LK_E_NOMEM, "out of memory starting %d threads", n_threads);
    }
    pool->n_threads = n_threads;
    pool->crowded = n_threads > lk_cpu_quota();
    pool->spin = pool->crowded ? SPIN_CROWDED : SPIN_FREE;
    pool->workers = lk_alloc_array((size_t)n_threads, sizeof *pool->workers);
    if (!pool->workers) {
        lk_pool_close(pool);
        return lk_fail(err, LK_E_NOMEM, "out of memory starting %d threads", n_threads);
    }
    int n_cpus = lk_cores(cpus, MAX_CORES);
    for (int i = 1; i < n_threads; i++) {
        struct worker *w = &pool->workers[i];
        *w = (struct worker){.pool = pool, .index = i, .cpu = pin && i < n_cpus ? cpus[i] : -1};
        lk_status status = lk_thread_start(&w->thread, work, w, err);
        if (status) {
            lk_pool_close(pool);
            return status;
        }
    }
    *out = pool;
    return LK_OK;
}

void lk_pool_close(struct lk_pool *pool)
{
    if (!pool) {
        return;
    }
    pool->stop = true;
    change(&pool->start);
    for (int i = 1; pool->workers && i < pool->n_threads; i++) {
        lk_thread_join(&pool->workers[i].thread);
    }
    lk_free(pool->workers);
    lk_free(pool);
}

int lk_pool_size(const struct lk_pool *pool)
{
    return pool->n_threads;
}

void lk_pool_run(struct lk_pool *pool, int n, lk_pool_fn fn, void *arg)
{
    int mode = fegetround();
    if (mode != FE_TONEAREST) {
        fesetround(FE_TONEAREST);
    }
    pool->fn = fn;
    pool->arg = arg;
    pool->n = n;
    if (pool->n_threads > 1 && n > 1) {
        uint32_t before = atomic_load(&pool->done.value);
        atomic_store(&pool->running, (uint32_t)pool->n_threads - 1);
        change(&pool->start);
        fn(arg, 0, n);
        wait_change(pool, &pool->done, before);
    } else {
        pool->n = 1;
        fn(arg, 0, 1);
    }
    if (mode != FE_TONEAREST) {
        fesetround(mode);
    }
}

void lk_pool_barrier(struct lk_pool *pool)
{
    if (pool->n == 1) {
        return;
    }
    uint32_t gate = atomic_load(&pool->gate.value);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == (uint32_t)pool->n) {
        atomic_store(&pool->arrived, 0);
        change(&pool->gate);
    } else {
        wait_change(pool, &pool->gate, gate);
    }
}

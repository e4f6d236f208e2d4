/* SPDX-License-Identifier: Apache-2.0
 *
 * Os: clock, pages, cores, threads, mutex, futex, dynamic libraries. Files are test_os_file.c's and
 * the fault tests'.
 */
#include <criterion/criterion.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#include "base/os.h"

Test(os, clock_and_memory)
{
    double a = lk_now(), b = lk_now();
    cr_assert(b >= a && b - a < 60);
    cr_assert(lk_physical_memory() > (64u << 20));
    char name[128] = "";
    lk_cpu_name(name, sizeof name);
    cr_assert(name[0] != 0);
}

Test(os, pages_are_zero_and_aligned)
{
    static const size_t SIZES[] = {0, 1, 4096, 5000, (2 << 20) - 1, 2 << 20, (5 << 20) + 3};
    for (size_t i = 0; i < LK_COUNT(SIZES); i++) {
        uint8_t *p = lk_pages_alloc(SIZES[i]);
        cr_assert_not_null(p);
        cr_assert_eq((uintptr_t)p % (SIZES[i] >= (2 << 20) ? 2 << 20 : 4096), 0);
        for (size_t j = 0; j < SIZES[i]; j += 511) {
            cr_assert_eq(p[j], 0);
        }
        memset(p, 1, SIZES[i]);
        lk_pages_free(p, SIZES[i]);
    }
    cr_assert_null(lk_pages_alloc(SIZE_MAX));
    lk_pages_free(NULL, 10);
}

Test(os, cores_lie_in_the_affinity_mask_each_once)
{
    int cpu[CPU_SETSIZE];
    cpu_set_t set;
    for (int i = 0; i < CPU_SETSIZE; i++) {
        cpu[i] = -1;
    }
    int n = lk_cores(cpu, CPU_SETSIZE);
    cr_assert_eq(sched_getaffinity(0, sizeof set, &set), 0);
    cr_assert(n >= 1 && n <= CPU_COUNT(&set));
    for (int i = 0; i < CPU_COUNT(&set); i++) {
        cr_assert(CPU_ISSET(cpu[i], &set), "cpu %d", cpu[i]);
        for (int j = 0; j < i; j++) {
            cr_assert_neq(cpu[i], cpu[j]);
        }
    }
    cr_assert(lk_cpu_quota() >= 1 && lk_cpu_quota() <= CPU_COUNT(&set));
    /* Confined to one cpu there is one core and one cpu's worth of time. */
    cr_assert_eq(lk_thread_pin(cpu[0]), LK_OK);
    cr_assert_eq(lk_cores(cpu, 1), 1);
    cr_assert_eq(lk_cpu_quota(), 1);
    cr_assert_eq(lk_thread_pin(-1), LK_E_INVALID);
}

struct shared {
    struct lk_mutex *mutex;
    int counter;
    _Atomic uint32_t word;
    _Atomic int woken;
};

static void count(void *arg)
{
    struct shared *s = arg;
    for (int i = 0; i < 10000; i++) {
        lk_mutex_lock(s->mutex);
        s->counter++;
        lk_mutex_unlock(s->mutex);
    }
}

static void sleep_on_word(void *arg)
{
    struct shared *s = arg;
    while (atomic_load(&s->word) == 0) {
        lk_futex_wait((const uint32_t *)&s->word, 0);
    }
    atomic_fetch_add(&s->woken, 1);
}

Test(os, threads_exclude_each_other_and_wake)
{
    enum { N = 4 };
    struct lk_thread *t[N];
    lk_error err;
    struct shared s = {.mutex = lk_mutex_new()};
    cr_assert_not_null(s.mutex);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(lk_thread_start(&t[i], count, &s, &err), LK_OK, "%s", err.message);
    }
    for (int i = 0; i < N; i++) {
        lk_thread_join(&t[i]);
        cr_assert_null(t[i]);
        lk_thread_join(&t[i]);
    }
    cr_assert_eq(s.counter, N * 10000);
    for (int i = 0; i < N; i++) {
        cr_assert_eq(lk_thread_start(&t[i], sleep_on_word, &s, &err), LK_OK, "%s", err.message);
    }
    lk_thread_yield();
    cr_assert_eq(atomic_load(&s.woken), 0);
    atomic_store(&s.word, 1);
    lk_futex_wake((const uint32_t *)&s.word, N);
    for (int i = 0; i < N; i++) {
        lk_thread_join(&t[i]);
    }
    cr_assert_eq(atomic_load(&s.woken), N);
    lk_mutex_free(s.mutex);
    lk_mutex_free(NULL);
}

static void use_a_megabyte(void *arg)
{
    volatile uint8_t bytes[1 << 20];
    for (size_t i = 0; i < sizeof bytes; i += 1024) {
        bytes[i] = 1;
    }
    *(int *)arg = bytes[1024];
}

Test(os, a_thread_has_its_stack_whatever_the_default)
{
    pthread_attr_t attr;
    struct lk_thread *t;
    lk_error err;
    int used = 0;
    cr_assert(pthread_attr_init(&attr) == 0 && pthread_attr_setstacksize(&attr, 64 << 10) == 0);
    cr_assert_eq(pthread_setattr_default_np(&attr), 0);
    cr_assert_eq(lk_thread_start(&t, use_a_megabyte, &used, &err), LK_OK, "%s", err.message);
    lk_thread_join(&t);
    cr_assert_eq(used, 1);
}

Test(os, libraries_open_by_the_first_name_that_does)
{
    static const char *const NONE[] = {"libno-such-thing.so.7", NULL};
    static const char *const LIBC[] = {"libno-such-thing.so.7", "libc.so.6", NULL};
    cr_assert_null(lk_dl_open(NONE));
    void *c = lk_dl_open(LIBC);
    cr_assert_not_null(c);
    cr_assert_not_null(lk_dl_symbol(c, "strlen"));
    cr_assert_null(lk_dl_symbol(c, "no_such_symbol_in_libc"));
    lk_dl_close(c);
    lk_dl_close(NULL);
}

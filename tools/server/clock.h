/* SPDX-License-Identifier: Apache-2.0
 *
 * Clock: the program's clock, which nobody sets, and waiting by it.
 */
#ifndef LK_SERVER_CLOCK_H
#define LK_SERVER_CLOCK_H

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

static inline double clock_now(void) /* seconds */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline bool clock_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    bool ok = pthread_cond_init(cond, &attr) == 0;
    pthread_condattr_destroy(&attr);
    return ok;
}

/* Until somebody signals or so many seconds have passed; false: they have. */
static inline bool clock_cond_wait(pthread_cond_t *cond, pthread_mutex_t *mutex, double seconds)
{
    struct timespec until;
    double whole = (double)(time_t)seconds;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (time_t)seconds;
    until.tv_nsec += (long)((seconds - whole) * 1e9);
    if (until.tv_nsec >= 1000000000L) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000L;
    }
    return pthread_cond_timedwait(cond, mutex, &until) == 0;
}

#endif

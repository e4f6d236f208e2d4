/* SPDX-License-Identifier: Apache-2.0
 *
 * Alone: opening a device probes it when nobody has, which takes a CPU driver seconds; tests that
 * run beside each other wait for the first of them, whose verdict lies in LK_TEST_CACHE, instead of
 * all probing at once. Knows no backends.
 */
#ifndef LK_TESTS_ALONE_H
#define LK_TESTS_ALONE_H

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

/* Waits for its turn among processes with this driver and cache; the turn, for alone_end, or -1
 * where nothing is kept. */
static inline int alone_begin(void)
{
    const char *cache = getenv("LK_TEST_CACHE"), *driver = getenv("LK_TEST_DRIVER");
    char path[600];
    snprintf(path, sizeof path, "%s/%s.lock", cache ? cache : "", driver ? driver : "device");
    int fd = cache ? open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666) : -1;
    if (fd >= 0) {
        (void)flock(fd, LOCK_EX);
    }
    return fd;
}

static inline void alone_end(int turn)
{
    if (turn >= 0) {
        close(turn);
    }
}

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_memory: libevent's allocations. In places libevent takes for granted that there is memory:
 * it follows a null pointer, or forgets to write what waits. So each failure is counted, which
 * tells who caused it that their connection has to go, and small pieces come from a reserve
 * meanwhile. All of it is the loop's thread's.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/http_own.h"

enum { PIECE = 1024, N_PIECES = 64 };

static _Alignas(64) unsigned char reserve[N_PIECES][PIECE];
static bool taken[N_PIECES];
static uint64_t failures;

static bool is_reserve(const void *p)
{
    uintptr_t at = (uintptr_t)p, from = (uintptr_t)reserve;
    return at >= from && at < from + sizeof reserve;
}

static void *from_reserve(size_t n)
{
    failures++;
    for (size_t i = 0; n <= PIECE && i < N_PIECES; i++) {
        if (!taken[i]) {
            taken[i] = true;
            return reserve[i];
        }
    }
    return NULL;
}

static void *allocate(size_t n)
{
    void *p = malloc(n);
    return p ? p : from_reserve(n);
}

static void give_back(void *p)
{
    if (is_reserve(p)) {
        taken[((uintptr_t)p - (uintptr_t)reserve) / PIECE] = false;
    } else {
        free(p);
    }
}

static void *reallocate(void *p, size_t n)
{
    if (!is_reserve(p)) {
        void *moved = realloc(p, n);
        failures += !moved && n > 0;
        return moved;
    }
    void *moved = allocate(n);
    if (moved) {
        memcpy(moved, p, n < PIECE ? n : PIECE);
        give_back(p);
    }
    return moved;
}

void http_memory_watch(void)
{
    static bool watched;
    if (!watched) {
        watched = true;
        event_set_mem_functions(allocate, reallocate, give_back);
    }
}

uint64_t http_memory_failures(void)
{
    return failures;
}

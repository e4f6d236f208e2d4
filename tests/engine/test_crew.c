/* SPDX-License-Identifier: Apache-2.0
 *
 * Crew: every piece of work is done once, by however many threads, call after call; of two callers
 * each gets its own.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>

#include "base/os.h"
#include "engine/crew.h"

enum { MOST = 70, ROUNDS = 400 };

struct job {
    struct lk_crew *crew;
    _Atomic int done[MOST];
    bool ok;
};

static void once(void *user, size_t i)
{
    struct job *j = user;
    atomic_fetch_add(&j->done[i], 1);
}

static void rounds(void *arg)
{
    struct job *j = arg;
    j->ok = true;
    for (int r = 0; r < ROUNDS; r++) {
        size_t n = (size_t)(r * 7 % MOST);
        memset(j->done, 0, sizeof j->done);
        lk_crew_run(j->crew, n, r % 20, once, j);
        for (size_t i = 0; i < MOST; i++) {
            j->ok &= j->done[i] == (i < n);
        }
    }
}

Test(crew, each_piece_is_done_once)
{
    struct job j = {.crew = lk_crew_new()};
    rounds(&j);
    cr_assert(j.ok);
    lk_crew_free(j.crew);
    lk_crew_free(NULL);
}

Test(crew, two_callers_share_one)
{
    struct lk_crew *crew = lk_crew_new();
    struct job a = {.crew = crew}, b = {.crew = crew};
    struct lk_thread *thread;
    cr_assert_eq(lk_thread_start(&thread, rounds, &b, NULL), LK_OK);
    rounds(&a);
    lk_thread_join(&thread);
    cr_assert(a.ok && b.ok);
    lk_crew_free(crew);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Share: who is next. Keys get equal shares: of those that wait, the one goes first for which the
 * fewest tokens were evaluated. One that comes, or comes back, starts where the least served of
 * those stands that are there, so that nobody saves up for later. Within a key jobs go by rank.
 */
#include "base/mem.h"
#include "serve/scheduler.h"

enum { AGEING = 30 }; /* seconds of waiting that count as much as a priority higher by one */

static struct key_share *find(const lk_scheduler *s, uint64_t key)
{
    for (size_t i = 0; i < s->n_keys; i++) {
        if (s->key[i].key == key) {
            return &s->key[i];
        }
    }
    return NULL;
}

/* The least served of those that have jobs; 0 where none has. */
static uint64_t least_served(const lk_scheduler *s)
{
    uint64_t least = UINT64_MAX;
    for (size_t i = 0; i < s->n_keys; i++) {
        if (s->key[i].n_jobs > 0 && s->key[i].served < least) {
            least = s->key[i].served;
        }
    }
    return least == UINT64_MAX ? 0 : least;
}

/* Those without jobs whose past makes no difference any more. */
static void forget(lk_scheduler *s, uint64_t least)
{
    bool alone = true;
    size_t n = 0;
    for (size_t i = 0; i < s->n_keys; i++) {
        alone &= s->key[i].n_jobs == 0;
    }
    for (size_t i = 0; i < s->n_keys; i++) {
        if (s->key[i].n_jobs > 0 || (!alone && s->key[i].served > least)) {
            s->key[n++] = s->key[i];
        }
    }
    s->n_keys = n;
}

lk_status lk_share_join(lk_scheduler *s, uint64_t key, lk_error *err)
{
    uint64_t least = least_served(s);
    struct key_share *k = find(s, key);
    if (!k || k->n_jobs == 0) {
        forget(s, least);
        k = find(s, key);
    }
    if (!k) {
        lk_status status = lk_grow(&s->key, &s->cap_keys, s->n_keys + 1, sizeof *s->key, err);
        if (status) {
            return status;
        }
        k = &s->key[s->n_keys++];
        *k = (struct key_share){.key = key, .served = least};
    }
    k->n_jobs++;
    return LK_OK;
}

void lk_share_leave(lk_scheduler *s, uint64_t key)
{
    find(s, key)->n_jobs--;
}

void lk_share_charge(lk_scheduler *s, uint64_t key, size_t n_tokens)
{
    find(s, key)->served += n_tokens;
}

uint64_t lk_share_of(const lk_scheduler *s, uint64_t key)
{
    return find(s, key)->served;
}

double lk_share_rank(double now, int priority)
{
    return now - AGEING * (double)priority;
}

/* ---- the next to begin ---- */

/* An answer of a job that may begin now: one that lost its room, or one whose prompt none of the
 * others is reading. */
static struct answer *waiting_of(lk_job *job, bool preempted)
{
    struct answer *first = NULL;
    if (job->paused) {
        return NULL;
    }
    for (uint32_t i = 0; i < job->n_answers; i++) {
        struct answer *a = &job->answer[i];
        if (!preempted && a->generation && a->written == 0 && a->state != ANSWER_DONE) {
            return NULL;
        }
        if (!first && a->state == ANSWER_WAITS && (a->generation != NULL) == preempted) {
            first = a;
        }
    }
    return first;
}

/* The priority that a job has now: by waiting it comes up to the highest that there is. */
static double level(const lk_job *job, double now, int highest)
{
    double waited = (now - job->added) / AGEING, p = job->priority;
    p += (double)(int64_t)waited;
    return p < highest ? p : highest;
}

/* Whether a is to go before b, which are of different keys. */
static bool is_before(const lk_scheduler *s, const lk_job *a, const lk_job *b, double now,
                      int highest)
{
    double la = level(a, now, highest), lb = level(b, now, highest);
    uint64_t sa = lk_share_of(s, a->key), sb = lk_share_of(s, b->key);
    return la != lb ? la > lb : sa < sb;
}

struct answer *lk_share_next(lk_scheduler *s, double now)
{
    struct answer *best = NULL;
    int highest = INT32_MIN;
    for (size_t i = 0; i < s->n_jobs; i++) {
        struct answer *a = waiting_of(s->job[i], true);
        if (a) {
            return a; /* by rank: they were there before */
        }
        if (s->job[i]->priority > highest && waiting_of(s->job[i], false)) {
            highest = s->job[i]->priority;
        }
    }
    for (size_t i = 0; i < s->n_jobs; i++) { /* of equals, and of a key, the first stays */
        struct answer *a = waiting_of(s->job[i], false);
        if (a && (!best || (a->job->key != best->job->key &&
                            is_before(s, a->job, best->job, now, highest)))) {
            best = a;
        }
    }
    return best;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Admit: who begins. A job needs room for what it has to evaluate and a little more, not for all
 * that it may write; what is promised to those that run and have not taken it yet is not there.
 * Nobody goes past the one who is next. Where nothing runs it begins in any case.
 */
#include "serve/scheduler.h"

enum { MOST_SPARE = 8 };

/* Blocks that an answer is to find when it begins: one to write on, and more for one that has lost
 * its room before. */
static int spare(const struct answer *a)
{
    return 1 + (int)(a->n_preempted < MOST_SPARE ? a->n_preempted : MOST_SPARE);
}

static int wanted(const struct answer *a)
{
    size_t n;
    (void)lk_job_answer_tokens(a, &n);
    int want = lk_room_blocks(n) + spare(a),
        most = lk_room_blocks(lk_engine_n_ctx(a->job->scheduler->engine));
    return want < most ? want : most;
}

/* Blocks that those that run will take before they write. */
static int promised(const lk_scheduler *s)
{
    int sum = 0;
    for (size_t i = 0; i < s->n_jobs; i++) {
        for (uint32_t k = 0; k < s->job[i]->n_answers; k++) {
            const struct answer *a = &s->job[i]->answer[k];
            if (a->state == ANSWER_RUNS && !a->job->paused) {
                int more = wanted(a) - lk_room_held(a->session);
                sum += more > 0 ? more : 0;
            }
        }
    }
    return sum;
}

static bool has_room(lk_scheduler *s, const struct answer *a)
{
    if (s->n_running == 0) {
        return true;
    }
    int slots = s->room.n_slots > 0 ? s->room.n_slots - (int)s->n_running : 1;
    int free = s->room.n_free - promised(s), want = wanted(a);
    if (s->prefixes) {
        size_t n;
        int idle;
        const int32_t *ids = lk_job_answer_tokens(a, &n);
        want -= lk_prefix_find(s->prefixes, a->job->salt, ids, n - 1, &idle);
        free += lk_prefix_n_idle(s->prefixes) - idle;
    }
    return slots > 0 && want <= free;
}

/* What lies in a file of its timeline comes back into the cache, where there is room. */
static void fetch_cold(lk_scheduler *s, const struct answer *a)
{
    size_t n;
    int idle, n_blocks, file, known;
    const int32_t *ids = lk_job_answer_tokens(a, &n);
    lk_error err;
    if (!s->cold || !s->prefixes) {
        return;
    }
    known = lk_prefix_find(s->prefixes, a->job->salt, ids, n - 1, &idle);
    file = lk_cold_find(s->cold, a->job->salt, ids, n - 1, known, s->read_speed, &n_blocks);
    int free = s->room.n_free - promised(s);
    if (file < 0 || free + lk_prefix_n_idle(s->prefixes) < n_blocks) {
        return;
    }
    if (s->room.n_free < n_blocks) {
        (void)lk_plan_evict(s, n_blocks - s->room.n_free);
    }
    lk_cold_get(s->cold, s->prefixes, file);
    (void)lk_room_of(s->engine, &s->room, &err);
}

static void begin(lk_scheduler *s, struct answer *a, double now)
{
    lk_error err;
    lk_session *session = NULL;
    lk_status status = LK_OK;
    fetch_cold(s, a);
    if (a->generation) { /* it was there before */
        a->state = ANSWER_RUNS;
        s->n_running++;
        lk_job_answer_adopt(a);
    } else {
        status = lk_session_open(s->engine, &session, &err);
        if (!status) {
            status = lk_job_answer_begin(a, session, &err);
        }
    }
    if (status) {
        lk_session_close(&session);
        lk_job_answer_end(a, LK_FINISH_FAILED, &err);
    }
    if (a->job->began == 0.0) {
        a->job->began = now;
    }
}

/* One that is paused and runs, the last in rank; or NULL. */
static struct answer *paused_one(const lk_scheduler *s)
{
    for (size_t i = s->n_jobs; i-- > 0;) {
        for (uint32_t k = s->job[i]->n_answers; k-- > 0;) {
            struct answer *a = &s->job[i]->answer[k];
            if (s->job[i]->paused && a->state == ANSWER_RUNS) {
                return a;
            }
        }
    }
    return NULL;
}

void lk_admit(lk_scheduler *s, double now)
{
    for (struct answer *a; (a = lk_share_next(s, now));) {
        if (s->n_running < s->options.n_running && has_room(s, a)) {
            begin(s, a, now);
            continue;
        }
        struct answer *paused = paused_one(s);
        if (!paused) {
            return;
        }
        lk_job_answer_preempt(paused);
    }
}

/* ---- the other answers of a job ---- */

static void fork_one(struct answer *from, struct answer *to)
{
    lk_error err;
    lk_session *session = NULL;
    lk_status status = lk_session_fork(from->session, &session, &err);
    if (status == LK_E_FULL || status == LK_E_DEVICE_LOST) {
        return; /* it begins when there is room */
    }
    if (!status) {
        status = lk_job_answer_begin(to, session, &err);
    }
    if (status) {
        lk_session_close(&session);
        lk_job_answer_end(to, LK_FINISH_FAILED, &err);
    }
}

void lk_admit_forks(lk_scheduler *s, struct answer *a)
{
    lk_job *job = a->job;
    lk_error err;
    if (job->n_done + 1 == job->n_answers || lk_room_of(s->engine, &s->room, &err)) {
        return;
    }
    int free = s->room.n_free + (s->prefixes ? lk_prefix_n_idle(s->prefixes) : 0);
    bool has_read = a->session && lk_session_n_tokens(a->session) == job->n_prompt &&
                    lk_session_logits(a->session);
    for (uint32_t i = 0; i < job->n_answers && has_read; i++) {
        struct answer *to = &job->answer[i];
        if (to->state == ANSWER_WAITS && !to->generation && !job->paused &&
            s->n_running < s->options.n_running && promised(s) + spare(to) <= free) {
            fork_one(a, to);
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Scheduler: see scheduler.h: opens, takes jobs, and makes their steps: who has to end ends, who
 * may begin begins, what is planned is evaluated, and what came of it is told.
 */
#include "serve/scheduler.h"

#include <string.h>

#include "base/mem.h"
#include "base/os.h"

enum { MOST_RUNNING = 4096, FIRST_PACE = 128 };

lk_scheduler_options lk_scheduler_options_default(void)
{
    return (lk_scheduler_options){.size = sizeof(lk_scheduler_options),
                                  .n_running = 64,
                                  .n_queue = 256,
                                  .step_ms = 50.0,
                                  .keep_prefixes = true,
                                  .prefix_dir_max = (uint64_t)4 << 30};
}

static lk_status check_options(const lk_scheduler_options *o, lk_error *err)
{
    if (o->n_running < 1 || o->n_running > MOST_RUNNING) {
        return lk_fail(err, LK_E_INVALID, "scheduler options: n_running is %u, expected 1 to %d",
                       o->n_running, MOST_RUNNING);
    }
    if (!(o->step_ms > 0.0 && o->step_ms <= 1e6)) {
        return lk_fail(err, LK_E_INVALID,
                       "scheduler options: step_ms is %g, expected more than 0, at most 1e6",
                       o->step_ms);
    }
    return LK_OK;
}

static bool leaving(void *user, const struct lk_prefix_leaving *l)
{
    lk_scheduler *s = user;
    return lk_cold_put(s->cold, s->prefixes, l);
}

/* Where prefixes are kept. */
static lk_status open_prefixes(lk_scheduler *s, lk_error *err)
{
    const lk_scheduler_options *o = &s->options;
    lk_status status = o->keep_prefixes ? lk_prefix_open(s->engine, &s->prefixes, err) : LK_OK;
    if (!status && o->keep_prefixes && o->prefix_dir) {
        status = lk_cold_open(s->engine, o->prefix_dir, o->prefix_dir_max, s->log, &s->cold, err);
    }
    if (s->cold) {
        lk_prefix_on_leaving(s->prefixes, leaving, s);
    }
    s->options.prefix_dir = NULL; /* the caller's */
    return status;
}

lk_status lk_scheduler_open(lk_engine *engine, const lk_tokenizer *tokenizer,
                            const lk_scheduler_options *options, lk_scheduler **out, lk_error *err)
{
    lk_scheduler_options o = lk_scheduler_options_default();
    *out = NULL;
    lk_status status = lk_options_take(&o, sizeof o, options, "scheduler", err);
    if (!status) {
        status = check_options(&o, err);
    }
    lk_scheduler *s = status ? NULL : lk_alloc(sizeof *s);
    if (!status && !s) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening a scheduler");
    }
    if (status) {
        return status;
    }
    s->engine = engine;
    s->tokenizer = tokenizer;
    s->options = o;
    s->log = (struct lk_log){o.log, o.user};
    s->pace = FIRST_PACE;
    s->turn = lk_alloc_array(o.n_running, sizeof *s->turn);
    s->of = lk_alloc_array(o.n_running, sizeof *s->of);
    s->reads = lk_alloc_array(o.n_running, sizeof *s->reads);
    if (!s->turn || !s->of || !s->reads) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening a scheduler");
    }
    if (!status) {
        status = lk_room_of(engine, &s->room, err);
    }
    if (!status) {
        status = open_prefixes(s, err);
    }
    if (status) {
        lk_scheduler_close(&s);
        return status;
    }
    *out = s;
    return LK_OK;
}

void lk_scheduler_close(lk_scheduler **scheduler)
{
    lk_scheduler *s = scheduler ? *scheduler : NULL;
    if (s) {
        lk_prefix_close(&s->prefixes);
        lk_cold_close(&s->cold);
        lk_free(s->job);
        lk_free(s->key);
        lk_free(s->turn);
        lk_free(s->of);
        lk_free(s->reads);
        lk_free(s);
        *scheduler = NULL;
    }
}

void lk_scheduler_save(lk_scheduler *s, double seconds)
{
    if (s->cold) {
        lk_prefix_settle(s->prefixes);
        lk_cold_save(s->cold, s->prefixes, seconds);
    }
}

/* ---- jobs come and go ---- */

static bool is_waiting(const lk_job *job)
{
    return job->began == 0.0 && !lk_job_is_done(job);
}

static size_t n_waiting(const lk_scheduler *s)
{
    size_t n = 0;
    for (size_t i = 0; i < s->n_jobs; i++) {
        n += is_waiting(s->job[i]);
    }
    return n;
}

lk_status lk_scheduler_add(lk_scheduler *s, const lk_job_options *options, lk_job **out,
                           lk_error *err)
{
    lk_job *job = NULL;
    *out = NULL;
    size_t places = s->options.n_running - s->n_running, waiting = n_waiting(s);
    if (waiting >= places + s->options.n_queue) {
        s->info.n_refused++;
        return lk_fail(err, LK_E_FULL, "the queue is full: %zu jobs wait, at most %u",
                       waiting - places, s->options.n_queue);
    }
    lk_status status = lk_grow(&s->job, &s->cap_jobs, s->n_jobs + 1, sizeof *s->job, err);
    if (!status) {
        status = lk_job_open(s, options, &job, err);
    }
    if (!status) {
        status = lk_share_join(s, job->key, err);
    }
    if (status) {
        if (job) {
            lk_job_free(job);
        }
        s->info.n_refused++;
        return status;
    }
    job->number = s->n_numbered++;
    size_t at = s->n_jobs++;
    for (; at > 0 && s->job[at - 1]->rank > job->rank; at--) {
        s->job[at] = s->job[at - 1];
    }
    s->job[at] = job;
    s->info.n_jobs++;
    *out = job;
    return LK_OK;
}

void lk_job_close(lk_job **pointer)
{
    lk_job *job = pointer ? *pointer : NULL;
    if (!job) {
        return;
    }
    lk_scheduler *s = job->scheduler;
    for (uint32_t i = 0; i < job->n_answers; i++) {
        if (job->answer[i].state != ANSWER_DONE) {
            lk_job_answer_end(&job->answer[i], LK_FINISH_CANCELLED, NULL);
        }
    }
    size_t at = 0;
    while (s->job[at] != job) {
        at++;
    }
    s->n_jobs--;
    memmove(s->job + at, s->job + at + 1, (s->n_jobs - at) * sizeof *s->job);
    lk_job_free(job);
    *pointer = NULL;
}

/* ---- a step ---- */

static void end_all(lk_job *job, lk_finish how)
{
    for (uint32_t i = 0; i < job->n_answers; i++) {
        if (job->answer[i].state != ANSWER_DONE) {
            lk_job_answer_end(&job->answer[i], how, NULL);
        }
    }
}

/* Those whose lane was lost hold nothing any more. */
static lk_status follow(lk_scheduler *s, lk_error *err)
{
    lk_status status = lk_room_of(s->engine, &s->room, err);
    for (size_t i = 0; i < s->n_jobs; i++) {
        for (uint32_t k = 0; k < s->job[i]->n_answers && !status; k++) {
            if (s->job[i]->answer[k].session) {
                status = lk_room_follow(s->job[i]->answer[k].session, err);
            }
        }
    }
    if (!status && s->prefixes) {
        lk_prefix_settle(s->prefixes);
        status = lk_room_of(s->engine, &s->room, err);
    }
    return status;
}

/* What a turn came to. */
static void conclude(lk_scheduler *s, struct answer *a, const struct lk_turn *turn, size_t held)
{
    lk_job *job = a->job;
    size_t now = lk_session_n_tokens(a->session),
           from = held < job->n_prompt ? held : job->n_prompt;
    size_t read = now < job->n_prompt ? now : job->n_prompt;
    size_t n = now > held ? now - held : 0;
    lk_share_charge(s, job->key, n);
    if (read > from && a->n_preempted == 0) {
        job->evaluated += a->index == 0 ? read - from : 0;
        s->info.prompt_tokens += read - from;
    }
    if (turn->status == LK_E_FULL) {
        lk_job_answer_preempt(a);
        return;
    }
    if (!turn->status) {
        lk_job_answer_keep(a);
    }
    if (!turn->status && now >= job->n_prompt) {
        lk_admit_forks(s, a);
    }
    lk_job_answer_note(a);
}

static lk_status run(lk_scheduler *s, size_t n, lk_error *err)
{
    size_t n_read = 0, n_written = 0;
    double from = lk_now();
    for (size_t i = 0; i < n; i++) {
        struct answer *a = s->of[i];
        bool reads = lk_generation_pending(a->generation) > 1;
        n_read += reads ? a->take : 0;
        n_written += !reads;
        a->reserved = (int)lk_session_n_tokens(a->session); /* from here on: what it held */
    }
    lk_status status = lk_generation_turns(s->engine, s->turn, n, err);
    if (status) {
        return status;
    }
    double ms = 1e3 * (lk_now() - from);
    lk_plan_learn(s, n_written, n_read, ms);
    s->info.n_steps++;
    s->info.last_step_ms = ms;
    s->info.last_step_tokens = (uint32_t)(n_read + n_written);
    for (size_t i = 0; i < n; i++) {
        conclude(s, s->of[i], &s->turn[i], (size_t)s->of[i]->reserved);
    }
    return LK_OK;
}

lk_status lk_scheduler_step(lk_scheduler *s, lk_error *err)
{
    double now = lk_now();
    size_t n;
    for (size_t i = 0; i < s->n_jobs; i++) {
        lk_job_drop_events(s->job[i]);
    }
    for (size_t i = 0; i < s->n_jobs; i++) {
        lk_job *job = s->job[i];
        if (job->cancelled || (job->deadline > 0.0 && now >= job->deadline)) {
            end_all(job, LK_FINISH_CANCELLED);
        }
    }
    lk_status status = follow(s, err);
    if (status) {
        return status;
    }
    if (s->cold) {
        lk_cold_next_step(s->cold);
    }
    lk_admit(s, now);
    lk_plan_turns(s, &n);
    return n > 0 ? run(s, n, err) : LK_OK;
}

bool lk_scheduler_has_work(const lk_scheduler *s)
{
    double now = lk_now();
    for (size_t i = 0; i < s->n_jobs; i++) {
        const lk_job *job = s->job[i];
        bool due = job->cancelled || (job->deadline > 0.0 && now >= job->deadline);
        if (!lk_job_is_done(job) && (!job->paused || due)) {
            return true;
        }
    }
    return false;
}

void lk_scheduler_tell(const lk_scheduler *s, lk_scheduler_info *info)
{
    lk_scheduler_info all = s->info;
    struct lk_room room;
    lk_error err;
    for (size_t i = 0; i < s->n_jobs; i++) {
        const lk_job *job = s->job[i];
        lk_job_state state = lk_job_tell(job).state;
        all.n_waiting += state == LK_JOB_WAITS;
        all.n_reading += state == LK_JOB_READS;
        all.n_writing += state == LK_JOB_WRITES;
        all.n_paused += job->paused && state != LK_JOB_DONE;
    }
    room = lk_room_of(s->engine, &room, &err) ? s->room : room;
    struct cold_counts cold = s->cold ? lk_cold_count(s->cold) : (struct cold_counts){0};
    all.disk_writes = cold.n_writes;
    all.disk_reads = cold.n_reads;
    all.disk_bytes = cold.n_bytes;
    all.n_blocks = (uint32_t)room.n_blocks;
    all.n_blocks_kept = s->prefixes ? (uint32_t)lk_prefix_n_idle(s->prefixes) : 0;
    all.n_blocks_used = (uint32_t)(room.n_blocks - room.n_free) - all.n_blocks_kept;
    size_t size = info->size < sizeof all ? info->size : sizeof all;
    all.size = size;
    memcpy(info, &all, size);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Job: a prompt that is to be answered, once or several times: its own copies of what was asked
 * for, how its answers begin, lose their room and end, and what they tell.
 */
#include <string.h>

#include "base/mem.h"
#include "base/os.h"
#include "serve/scheduler.h"

enum { MOST_ANSWERS = 1024 };

lk_job_options lk_job_options_default(void)
{
    return (lk_job_options){.size = sizeof(lk_job_options), .n_answers = 1};
}

/* ---- copies ---- */

static lk_status copy_bias(lk_job *job, lk_error *err)
{
    lk_sampler_options *o = &job->sampler;
    job->bias_ids = lk_alloc_array(o->n_bias + 1, sizeof *job->bias_ids);
    job->bias_values = lk_alloc_array(o->n_bias + 1, sizeof *job->bias_values);
    if (!job->bias_ids || !job->bias_values) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a job with %zu biases", o->n_bias);
    }
    if (o->n_bias) {
        memcpy(job->bias_ids, o->bias_ids, o->n_bias * sizeof *job->bias_ids);
        memcpy(job->bias_values, o->bias_values, o->n_bias * sizeof *job->bias_values);
    }
    o->bias_ids = job->bias_ids;
    o->bias_values = job->bias_values;
    return LK_OK;
}

static lk_status copy_stop(lk_job *job, lk_error *err)
{
    lk_generation_options *o = &job->generation;
    const char *const *given = o->stop;
    size_t n = o->n_stop;
    o->n_stop = 0;
    o->stop = NULL;
    job->stop = lk_alloc_array(n + 1, sizeof *job->stop);
    if (!job->stop) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a job with %zu stop texts", n);
    }
    for (size_t i = 0; i < n; i++) {
        if (!given[i] || !given[i][0]) {
            return lk_fail(err, LK_E_INVALID, "stop text %zu is %s, expected a text", i,
                           given[i] ? "empty" : "NULL");
        }
        size_t len = strlen(given[i]);
        job->stop[i] = lk_alloc(len + 1);
        if (!job->stop[i]) {
            return lk_fail(err, LK_E_NOMEM, "out of memory: a job with %zu stop texts", n);
        }
        memcpy(job->stop[i], given[i], len);
        o->n_stop++;
    }
    o->stop = (const char *const *)job->stop;
    return LK_OK;
}

static lk_status copy_shown(lk_job *job, lk_error *err)
{
    lk_generation_options *o = &job->generation;
    job->shown = lk_alloc_array(o->n_shown + 1, sizeof *job->shown);
    if (!job->shown) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: a job with %zu shown tokens", o->n_shown);
    }
    if (o->n_shown) {
        memcpy(job->shown, o->shown, o->n_shown * sizeof *job->shown);
    }
    o->shown = job->shown;
    return LK_OK;
}

/* The caller's options, with all that they point to. */
static lk_status copy_generation(lk_job *job, const lk_generation_options *given, lk_error *err)
{
    lk_generation_options *o = &job->generation;
    *o = lk_generation_options_default();
    job->sampler = lk_sampler_options_default();
    lk_status status = lk_generation_check(given, lk_engine_n_vocab(job->scheduler->engine), err);
    if (!status) {
        status = lk_options_take(o, sizeof *o, given, "generation", err);
    }
    if (!status) {
        status = lk_options_take(&job->sampler, sizeof job->sampler, o->sampler, "sampler", err);
    }
    if (!status) {
        status = copy_bias(job, err);
    }
    o->sampler = &job->sampler;
    if (!status) {
        status = copy_stop(job, err);
    }
    if (!status) {
        status = copy_shown(job, err);
    }
    if (!status && o->constraint) {
        status = lk_constraint_fork(o->constraint, &job->constraint, err);
    }
    o->constraint = job->constraint;
    return status;
}

static lk_status check_prompt(const lk_scheduler *s, const lk_job_options *o, lk_error *err)
{
    size_t n_vocab = lk_engine_n_vocab(s->engine), n_ctx = lk_engine_n_ctx(s->engine);
    int blocks = lk_room_blocks(o->n_prompt);
    if (o->n_prompt < 1 || !o->prompt) {
        return lk_fail(err, LK_E_INVALID, "the prompt is empty, expected at least one token");
    }
    if (o->n_prompt > n_ctx) {
        return lk_fail(err, LK_E_FULL, "context full: a prompt of %zu tokens, room for %zu",
                       o->n_prompt, n_ctx);
    }
    if (blocks > s->room.n_blocks) {
        return lk_fail(err, LK_E_FULL,
                       "KV cache full: a prompt of %zu tokens needs %d blocks, expected at most %d",
                       o->n_prompt, blocks, s->room.n_blocks);
    }
    for (size_t i = 0; i < o->n_prompt; i++) {
        if (o->prompt[i] < 0 || (size_t)o->prompt[i] >= n_vocab) {
            return lk_fail(err, LK_E_INVALID, "token %zu of the prompt is %d, expected 0 to %zu", i,
                           o->prompt[i], n_vocab - 1);
        }
    }
    if (o->n_answers < 1 || o->n_answers > MOST_ANSWERS) {
        return lk_fail(err, LK_E_INVALID, "job options: n_answers is %u, expected 1 to %d",
                       o->n_answers, MOST_ANSWERS);
    }
    if (!(o->deadline >= 0.0)) {
        return lk_fail(err, LK_E_INVALID, "job options: deadline is %g, expected 0 (none) or more",
                       o->deadline);
    }
    return LK_OK;
}

lk_status lk_job_open(lk_scheduler *s, const lk_job_options *options, lk_job **out, lk_error *err)
{
    lk_job_options o = lk_job_options_default();
    lk_status status = lk_options_take(&o, sizeof o, options, "job", err);
    if (!status) {
        status = check_prompt(s, &o, err);
    }
    lk_job *job = status ? NULL : lk_alloc(sizeof *job);
    if (!status && !job) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory opening a job");
    }
    if (status) {
        return status;
    }
    job->scheduler = s;
    job->n_prompt = o.n_prompt;
    job->n_answers = o.n_answers;
    job->key = o.key;
    job->salt = o.salt;
    job->priority = o.priority;
    job->hash = o.hash;
    job->added = lk_now();
    job->deadline = o.deadline > 0.0 ? job->added + o.deadline : 0.0;
    job->rank = lk_share_rank(job->added, job->priority);
    job->prompt = lk_alloc_array(o.n_prompt, sizeof *job->prompt);
    job->answer = lk_alloc_array(o.n_answers, sizeof *job->answer);
    if (!job->prompt || !job->answer) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory: a job of %zu tokens", o.n_prompt);
    }
    if (!status) {
        memcpy(job->prompt, o.prompt, o.n_prompt * sizeof *job->prompt);
        status = copy_generation(job, o.generation, err);
    }
    for (uint32_t i = 0; i < o.n_answers && !status; i++) {
        job->answer[i].job = job;
        job->answer[i].index = i;
        lk_sha256_init(&job->answer[i].hash);
    }
    if (status) {
        lk_job_free(job);
        return status;
    }
    *out = job;
    return LK_OK;
}

void lk_job_free(lk_job *job)
{
    for (uint32_t i = 0; job->answer && i < job->n_answers; i++) {
        lk_generation_close(&job->answer[i].generation);
        lk_session_close(&job->answer[i].session);
    }
    for (size_t i = 0; job->stop && job->stop[i]; i++) {
        lk_free(job->stop[i]);
    }
    lk_free(job->stop);
    lk_free(job->shown);
    lk_constraint_close(&job->constraint);
    lk_free(job->bias_ids);
    lk_free(job->bias_values);
    lk_free(job->answer);
    lk_free(job->prompt);
    lk_free(job);
}

/* ---- answers ---- */

const int32_t *lk_job_answer_tokens(const struct answer *a, size_t *n)
{
    if (a->generation) {
        return lk_generation_tokens(a->generation, n);
    }
    *n = a->job->n_prompt;
    return a->job->prompt;
}

void lk_job_answer_adopt(struct answer *a)
{
    lk_job *job = a->job;
    lk_scheduler *s = job->scheduler;
    size_t n = job->n_prompt, got;
    const int32_t *ids = job->prompt;
    if (a->generation && a->written > 0) {
        ids = lk_generation_tokens(a->generation, &n);
    }
    if (!s->prefixes) {
        return;
    }
    /* The last token's row is not kept: it is evaluated in any case. */
    got = lk_prefix_adopt(s->prefixes, job->salt, a->session, ids, n - 1, &a->at);
    if (a->n_preempted == 0) {
        job->reused += a->index == 0 ? got : 0;
        s->info.reused_tokens += got;
    }
}

void lk_job_answer_keep(struct answer *a)
{
    lk_scheduler *s = a->job->scheduler;
    if (s->prefixes) {
        lk_prefix_keep(s->prefixes, a->job->salt, a->session, &a->at);
    }
}

lk_status lk_job_answer_begin(struct answer *a, lk_session *session, lk_error *err)
{
    lk_job *job = a->job;
    lk_scheduler *s = job->scheduler;
    job->sampler.seed += a->index;
    lk_status status =
        lk_generation_open(session, s->tokenizer, &job->generation, &a->generation, err);
    job->sampler.seed -= a->index;
    a->session = status ? NULL : session;
    if (!status) {
        lk_job_answer_adopt(a);
        status = lk_generation_begin(a->generation, job->prompt, job->n_prompt, err);
    }
    if (status) {
        a->session = NULL;
        lk_generation_close(&a->generation);
        return status;
    }
    if (job->hash) {
        lk_generation_hash_rows(a->generation, &a->hash);
    }
    a->state = ANSWER_RUNS;
    s->n_running++;
    return LK_OK;
}

void lk_job_answer_preempt(struct answer *a)
{
    lk_scheduler *s = a->job->scheduler;
    lk_error err;
    lk_status status = lk_room_drop(a->session, &err);
    if (!status) {
        status = lk_room_of(s->engine, &s->room, &err);
    }
    if (status) {
        lk_job_answer_end(a, LK_FINISH_FAILED, &err);
        return;
    }
    a->state = ANSWER_WAITS;
    a->at = (struct lk_prefix_at){0};
    a->n_preempted++;
    a->job->n_preempted++;
    s->n_running--;
    s->info.n_preempted++;
}

static void count_end(lk_scheduler *s, lk_finish finish)
{
    s->info.n_done++;
    s->info.n_cancelled += finish == LK_FINISH_CANCELLED;
    s->info.n_failed += finish == LK_FINISH_FAILED || finish == LK_FINISH_FULL;
}

/* It has ended: its room is free. Its generation stays until what it told is dropped. */
static void finish(struct answer *a, lk_finish how)
{
    lk_job *job = a->job;
    lk_scheduler *s = job->scheduler;
    s->n_running -= a->state == ANSWER_RUNS;
    a->state = ANSWER_DONE;
    if (a->session) {
        lk_job_answer_keep(a);
    }
    lk_session_close(&a->session);
    lk_sha256_final(&a->hash, a->digest);
    if (++job->n_done == job->n_answers) {
        job->ended = lk_now();
        lk_share_leave(s, job->key);
        count_end(s, how);
    }
}

void lk_job_answer_end(struct answer *a, lk_finish how, const lk_error *why)
{
    if (a->generation) {
        lk_generation_end(a->generation, how, why);
        finish(a, lk_generation_finish(a->generation));
        return;
    }
    a->error = why ? *why : (lk_error){0};
    a->has_end = true;
    a->end = (lk_event){.kind = LK_EVENT_END,
                        .pos = a->job->n_prompt,
                        .finish = how,
                        .error = why ? &a->error : NULL};
    finish(a, how);
}

void lk_job_answer_note(struct answer *a)
{
    lk_job *job = a->job;
    lk_scheduler *s = job->scheduler;
    size_t written = lk_generation_count(a->generation).written;
    lk_finish how = lk_generation_finish(a->generation);
    s->info.written_tokens += written - a->written;
    a->written = written;
    if (job->first == 0.0 && (written > 0 || how)) {
        job->first = lk_now();
    }
    if (how) {
        finish(a, how);
    }
}

/* ---- events ---- */

void lk_job_drop_events(lk_job *job)
{
    job->next_answer = 0;
    for (uint32_t i = 0; i < job->n_answers; i++) {
        struct answer *a = &job->answer[i];
        a->has_end = false;
        if (a->generation && a->state == ANSWER_DONE) {
            lk_generation_close(&a->generation);
        } else if (a->generation) {
            lk_generation_drop_events(a->generation);
        }
    }
}

bool lk_job_next(lk_job *job, lk_job_event *out)
{
    for (; job->next_answer < job->n_answers; job->next_answer++) {
        struct answer *a = &job->answer[job->next_answer];
        out->answer = job->next_answer;
        if (a->generation && lk_generation_next(a->generation, &out->event)) {
            return true;
        }
        if (a->has_end) {
            out->event = a->end;
            a->has_end = false;
            return true;
        }
    }
    return false;
}

bool lk_job_is_done(const lk_job *job)
{
    return job->n_done == job->n_answers;
}

void lk_job_cancel(lk_job *job)
{
    job->cancelled = true;
}

void lk_job_pause(lk_job *job, bool paused)
{
    job->paused = paused;
}

lk_status lk_job_force(lk_job *job, uint32_t answer, const int32_t *ids, size_t n, lk_error *err)
{
    if (answer >= job->n_answers || !job->answer[answer].generation) {
        return lk_fail(err, LK_E_INVALID, "tokens are forced for answer %u, which does not write",
                       answer);
    }
    return lk_generation_force(job->answer[answer].generation, ids, n, err);
}

void lk_job_hash(const lk_job *job, uint32_t answer, uint8_t out[32])
{
    memcpy(out, job->answer[answer].digest, sizeof job->answer[answer].digest);
}

static lk_job_state state_of(const lk_job *job)
{
    return lk_job_is_done(job) ? LK_JOB_DONE
           : job->first > 0.0  ? LK_JOB_WRITES
           : job->began > 0.0  ? LK_JOB_READS
                               : LK_JOB_WAITS;
}

lk_job_info lk_job_tell(const lk_job *job)
{
    double now = lk_now(), end = job->ended > 0.0 ? job->ended : now;
    double began = job->began > 0.0 ? job->began : end;
    double first = job->first > 0.0 ? job->first : end;
    lk_job_info info = {.state = state_of(job),
                        .prompt = job->n_prompt,
                        .reused = job->reused,
                        .evaluated = job->evaluated,
                        .n_preempted = job->n_preempted,
                        .waited = began - job->added,
                        .reading = first - began,
                        .writing = end - first};
    for (uint32_t i = 0; i < job->n_answers; i++) {
        info.written += job->answer[i].written;
    }
    return info;
}

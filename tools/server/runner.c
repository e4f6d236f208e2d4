/* SPDX-License-Identifier: Apache-2.0
 *
 * Runner: the thread that writes a model's answers: hands tasks to the scheduler as jobs, takes its
 * steps, and makes replies of what they wrote (reply.c). Never waits for a reader.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/server/server.h"

struct runner {
    struct model *model;
    lk_scheduler *scheduler;
    pthread_t thread;
    bool has_thread;
    pthread_mutex_t lock; /* of the inbox, stop, woken and the slots */
    pthread_cond_t changed;
    struct task *inbox, **inbox_end;
    bool stop, woken;
    struct slot *slot; /* [n_slots] as of the last step */
    size_t n_slots, cap_slots;

    struct task **task; /* [n_tasks] the thread's */
    size_t n_tasks, cap_tasks;
};

static void drop(struct runner *r, struct task *t)
{
    for (size_t i = 0; i < t->n_prompts; i++) {
        lk_job_close(&t->prompt[i].job);
    }
    model_task_ended(r->model);
    task_drop(t);
}

static lk_status add_jobs(struct runner *r, struct task *t, lk_error *err)
{
    const struct ask *a = &t->ask;
    lk_generation_options g = lk_generation_options_default();
    lk_status status = LK_OK;
    g.sampler = &a->sampler;
    g.max_tokens = a->max_tokens;
    g.stop = (const char *const *)a->stop;
    g.n_stop = a->n_stop;
    g.ignore_eog = a->ignore_eog;
    g.logprobs = a->logprobs;
    g.constraint = t->constraint;
    g.shown = r->model->shown;
    g.n_shown = a->kind == ASK_CHAT ? r->model->n_shown : 0;
    for (size_t i = 0; i < t->n_prompts && !status; i++) {
        lk_job_options o = lk_job_options_default();
        o.prompt = t->prompt[i].ids;
        o.n_prompt = t->prompt[i].n;
        o.generation = &g;
        o.n_answers = a->n;
        o.key = t->key;
        o.salt = t->key; /* nobody learns from the time that a prompt takes what others asked */
        o.priority = a->priority;
        o.deadline = a->deadline;
        o.hash = a->hash;
        status = lk_scheduler_add(r->scheduler, &o, &t->prompt[i].job, err);
    }
    return status;
}

static void begin(struct runner *r, struct task *t)
{
    lk_error err = {0};
    struct wire_error why;
    bool room = r->n_tasks < r->cap_tasks;
    if (!room) {
        size_t cap = r->cap_tasks ? 2 * r->cap_tasks : 64;
        struct task **more = realloc(r->task, cap * sizeof *more);
        if (more) {
            r->task = more;
            r->cap_tasks = cap;
            room = true;
        }
    }
    if (!room || !reply_open(t)) {
        why = refusal(503, "overloaded_error", "", "out of memory beginning an answer");
    } else if (t->ask.kind == ASK_COUNT) {
        reply_end(t);
        drop(r, t);
        return;
    } else if (add_jobs(r, t, &err)) {
        why = refusal_of(&err);
        pthread_mutex_lock(&r->model->lock);
        r->model->metrics.refused++;
        pthread_mutex_unlock(&r->model->lock);
    } else {
        r->task[r->n_tasks++] = t;
        return;
    }
    task_refuse(t, &why);
    drop(r, t);
}

/* ---- the loop ---- */

/* A task after a step. True: it is over. */
static bool tend(struct runner *r, struct task *t)
{
    if (atomic_load(&t->gone) || reply_tend(t)) {
        drop(r, t);
        return true;
    }
    for (size_t i = 0; i < t->n_prompts; i++) {
        lk_job_pause(t->prompt[i].job, atomic_load(&t->slow));
    }
    return false;
}

/* What there is to tell, for other threads. */
static void publish(struct runner *r, double step)
{
    lk_scheduler_info info = {.size = sizeof info};
    lk_scheduler_tell(r->scheduler, &info);
    pthread_mutex_lock(&r->model->lock);
    r->model->info = info;
    if (step > 0.0) {
        metrics_add(&r->model->metrics.step, step);
    }
    pthread_mutex_unlock(&r->model->lock);
    pthread_mutex_lock(&r->lock);
    if (r->n_tasks > r->cap_slots) {
        struct slot *more = realloc(r->slot, r->n_tasks * sizeof *more);
        if (more) {
            r->slot = more;
            r->cap_slots = r->n_tasks;
        }
    }
    r->n_slots = r->n_tasks < r->cap_slots ? r->n_tasks : r->cap_slots;
    for (size_t i = 0; i < r->n_slots; i++) {
        r->slot[i] = (struct slot){.info = lk_job_tell(r->task[i]->prompt[0].job)};
        snprintf(r->slot[i].id, sizeof r->slot[i].id, "%s", r->task[i]->info.id);
    }
    pthread_mutex_unlock(&r->lock);
}

/* Waits for work; the tasks that came, or NULL. False: it is to stop. */
static bool wait_for_work(struct runner *r, struct task **came)
{
    pthread_mutex_lock(&r->lock);
    while (!r->inbox && !r->stop && !r->woken && !lk_scheduler_has_work(r->scheduler)) {
        if (r->n_tasks == 0) {
            pthread_cond_wait(&r->changed, &r->lock);
        } else if (!clock_cond_wait(&r->changed, &r->lock, 1.0)) {
            break; /* readers are slow: see after them */
        }
    }
    *came = r->inbox;
    r->inbox = NULL;
    r->inbox_end = &r->inbox;
    r->woken = false;
    bool go_on = !r->stop;
    pthread_mutex_unlock(&r->lock);
    return go_on;
}

static void fail_all(struct runner *r, const lk_error *err)
{
    struct wire_error why = refusal_of(err);
    server_log(r->model->server, LK_LOG_ERROR, "%s: %s", r->model->what->name, err->message);
    for (size_t i = 0; i < r->n_tasks; i++) {
        task_refuse(r->task[i], &why);
        drop(r, r->task[i]);
    }
    r->n_tasks = 0;
}

static void *work(void *arg)
{
    struct runner *r = arg;
    struct task *came;
    lk_error err = {0};
    while (wait_for_work(r, &came)) {
        double begun = clock_now();
        while (came) {
            struct task *next = came->next;
            came->next = NULL;
            begin(r, came);
            came = next;
        }
        for (size_t i = 0; i < r->n_tasks; i++) {
            if (atomic_load(&r->task[i]->gone)) {
                drop(r, r->task[i]);
                r->task[i--] = r->task[--r->n_tasks];
            }
        }
        bool any = lk_scheduler_has_work(r->scheduler);
        if (any && lk_scheduler_step(r->scheduler, &err)) {
            fail_all(r, &err);
        }
        size_t kept = 0;
        for (size_t i = 0; i < r->n_tasks; i++) {
            if (!tend(r, r->task[i])) {
                r->task[kept++] = r->task[i];
            }
        }
        r->n_tasks = kept;
        publish(r, any ? clock_now() - begun : 0.0);
    }
    while (came) {
        struct task *next = came->next;
        r->inbox = NULL;
        drop(r, came);
        came = next;
    }
    struct wire_error why = refusal(503, "overloaded_error", "", "the server ends");
    for (size_t i = 0; i < r->n_tasks; i++) {
        task_refuse(r->task[i], &why);
        drop(r, r->task[i]);
    }
    r->n_tasks = 0;
    return NULL;
}

/* ---- from other threads ---- */

lk_status runner_open(struct model *model, const lk_scheduler_options *options, struct runner **out,
                      lk_error *err)
{
    struct runner *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r) {
        err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "%s: out of memory", model->what->name);
        return LK_E_NOMEM;
    }
    r->model = model;
    r->inbox_end = &r->inbox;
    pthread_mutex_init(&r->lock, NULL);
    lk_status status = LK_OK;
    if (!clock_cond_init(&r->changed)) {
        status = err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "%s: no lock for its answers",
                 model->what->name);
    }
    if (!status) {
        status = lk_scheduler_open(model->engine, model->tokenizer, options, &r->scheduler, err);
    }
    if (!status && pthread_create(&r->thread, NULL, work, r)) {
        status = err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "%s: no thread for its answers",
                 model->what->name);
    }
    r->has_thread = !status;
    if (status) {
        runner_close(&r);
    }
    *out = r;
    return status;
}

void runner_close(struct runner **runner)
{
    struct runner *r = *runner;
    if (!r) {
        return;
    }
    if (r->has_thread) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_signal(&r->changed);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->thread, NULL);
    }
    if (r->scheduler) {
        lk_scheduler_save(r->scheduler, r->model->server->options->prefix_save_s);
    }
    lk_scheduler_close(&r->scheduler);
    pthread_cond_destroy(&r->changed);
    pthread_mutex_destroy(&r->lock);
    free(r->task);
    free(r->slot);
    free(r);
    *runner = NULL;
}

void runner_submit(struct runner *r, struct task *task)
{
    task->next = NULL;
    pthread_mutex_lock(&r->lock);
    *r->inbox_end = task;
    r->inbox_end = &task->next;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

void runner_wake(struct runner *r)
{
    pthread_mutex_lock(&r->lock);
    r->woken = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

size_t runner_slots(struct runner *r, struct slot *slots, size_t cap)
{
    pthread_mutex_lock(&r->lock);
    size_t n = r->n_slots < cap ? r->n_slots : cap;
    for (size_t i = 0; i < n; i++) {
        slots[i] = r->slot[i];
    }
    pthread_mutex_unlock(&r->lock);
    return n;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Serve_model: one of the models that are served: opened when it is asked for, closed when nobody
 * has asked for a while. A thread of its own opens it and makes tasks ready; its runner writes.
 */
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/server/server.h"

lk_status model_init(struct model *m, struct server *server, const struct serve_model *what,
                     lk_error *err)
{
    *m = (struct model){.server = server, .what = what};
    m->inbox_end = &m->inbox;
    bool ok = pthread_mutex_init(&m->lock, NULL) == 0 && clock_cond_init(&m->changed);
    if (!ok) {
        err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "%s: no lock for its thread", what->name);
        return LK_E_NOMEM;
    }
    return LK_OK;
}

/* ---- open and close, on the model's thread ---- */

static bool progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
    struct model *m = arg;
    (void)what, (void)done, (void)total;
    return !m->stop;
}

/* What an engine warns of: a device that was lost, fewer layers on one than there are. */
static void engine_log(void *arg, lk_log_level level, const char *line)
{
    const struct model *m = arg;
    if (level != LK_LOG_DEBUG && level != LK_LOG_INFO) {
        server_log(m->server, level, "%s: %s", m->what->name, line);
    }
}

static void open_template(struct model *m)
{
    const struct serve_model *w = m->what;
    lk_status status = lk_template_open(m->file, w->template_text, w->template_len, &m->template,
                                        &m->template_why);
    m->format = lk_model_chat_format(m->file);
    if (status && !m->embeds) {
        server_log(m->server, LK_LOG_WARN, "%s: %s%s%s", w->name, m->template_why.message,
                   m->format ? "; known format " : "",
                   m->format ? lk_chat_format_name(m->format) : "");
    }
}

/* Ids that `list` gives, malloc'd. */
static lk_status ids_of(const struct model *m,
                        lk_status (*list)(const lk_answer_format *, const lk_tokenizer *, int32_t *,
                                          size_t, size_t *, lk_error *),
                        int32_t **ids, size_t *n, lk_error *err)
{
    lk_status status = list(m->answers, m->tokenizer, NULL, 0, n, err);
    if (status && status != LK_E_FULL) {
        return status;
    }
    *ids = malloc((*n + 1) * sizeof **ids);
    if (!*ids) {
        snprintf(err->message, sizeof err->message, "out of memory: %zu tokens", *n);
        return err->status = LK_E_NOMEM;
    }
    return list(m->answers, m->tokenizer, *ids, *n, n, err);
}

static lk_status open_answers(struct model *m, lk_error *err)
{
    lk_status status = lk_answer_format_open(m->template, NULL, &m->answers, err);
    if (!status) {
        status = ids_of(m, lk_answer_tokens, &m->shown, &m->n_shown, err);
    }
    return status ? status : ids_of(m, lk_answer_think_end, &m->think_end, &m->n_think_end, err);
}

static void close_all(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    struct runner *runner = m->runner;
    m->runner = NULL; /* nobody else reaches it from now on */
    pthread_mutex_unlock(&m->lock);
    runner_close(&runner);
    lk_engine_close(&m->engine);
    lk_answer_format_close(&m->answers);
    free(m->shown);
    free(m->think_end);
    m->shown = m->think_end = NULL;
    lk_template_close(&m->template);
    lk_tokenizer_close(&m->tokenizer);
    lk_model_close(&m->file);
#ifdef __GLIBC__
    malloc_trim(0); /* each thread's heap keeps what it had otherwise */
#endif
}

/* What decides the bits: the rules of numbers, the cells of the cache, the weights. Lock held. */
static void tell_of(struct model *m, const lk_engine_options *engine)
{
    const char *numerics = strstr(lk_version(), "numerics ");
    int n =
        snprintf(m->fingerprint, sizeof m->fingerprint, "n%s-%s-",
                 numerics ? numerics + strlen("numerics ") : "", engine->kv ? engine->kv : "k12v8");
    for (size_t i = 0; i < 8; i++) {
        snprintf(m->fingerprint + n + 2 * i, 3, "%02x", m->digest[i]);
    }
    m->n_ctx = lk_engine_n_ctx(m->engine);
    snprintf(m->backend, sizeof m->backend, "%s", lk_engine_describe(m->engine));
}

static lk_status open_all(struct model *m, lk_error *err)
{
    const struct serve_options *o = m->server->options;
    const struct serve_model *w = m->what;
    lk_engine_options engine = w->engine;
    lk_scheduler_options scheduler = o->scheduler;
    double begun = clock_now();
    engine.progress = progress;
    engine.user = m;
    engine.log = engine_log;
    engine.embeddings = m->embeds;
    scheduler.prefix_dir = m->check ? NULL : scheduler.prefix_dir; /* one scheduler's at a time */
    server_log(m->server, LK_LOG_INFO, "%s: loading %s", w->name, w->path);
    lk_status status = lk_model_open(w->path, &m->file, err);
    if (!status) {
        status = lk_tokenizer_open(m->file, &m->tokenizer, err);
    }
    if (!status) {
        open_template(m);
        status = open_answers(m, err);
    }
    if (!status) {
        status = lk_model_digest(m->file, o->cache_dir, m->digest, err);
    }
    if (!status) {
        status = lk_engine_open(m->file, &engine, &m->engine, err);
    }
    if (!status) {
        struct runner *runner = NULL;
        if (!m->embeds) {
            status = runner_open(m, &scheduler, &runner, err);
        }
        pthread_mutex_lock(&m->lock);
        m->runner = runner;
        tell_of(m, &engine);
        pthread_mutex_unlock(&m->lock);
    }
    if (status) {
        close_all(m);
        server_log(m->server, LK_LOG_ERROR, "%s: %s", w->name, err->message);
    } else {
        server_log(m->server, LK_LOG_INFO, "%s: ready on %s, %u tokens of context, after %.1f s",
                   w->name, lk_engine_describe(m->engine), lk_engine_n_ctx(m->engine),
                   clock_now() - begun);
    }
    return status;
}

/* ---- the model's thread ---- */

/* Waits until there is something to do or `seconds` have passed (0: for ever). The lock is held. */
static void wait_for(struct model *m, double seconds)
{
    if (seconds > 0.0) {
        clock_cond_wait(&m->changed, &m->lock, seconds);
    } else {
        pthread_cond_wait(&m->changed, &m->lock);
    }
}

static void set_state(struct model *m, enum model_state state)
{
    pthread_mutex_lock(&m->lock);
    m->state = state;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

static double unload_after(const struct model *m)
{
    const struct serve_options *o = m->server->options;
    return m->check ? o->check_unload_s : o->unload_s;
}

/* Whether it is to be closed now: it was asked to, or nobody has used it for long. Lock held. */
static bool is_idle(const struct model *m)
{
    double after = unload_after(m);
    return m->state == MODEL_READY && m->n_tasks == 0 && !m->inbox &&
           (m->unload || (after > 0.0 && clock_now() - m->used >= after));
}

static void take(struct model *m, struct task *task)
{
    lk_error err = {0};
    if (atomic_load(&task->gone)) {
        model_task_ended(m);
        task_drop(task);
        return;
    }
    if (m->state != MODEL_READY) {
        set_state(m, MODEL_LOADING);
        lk_status status = LK_OK;
        if (!server_make_room(m->server, m)) {
            status = err.status = LK_E_FULL;
            snprintf(err.message, sizeof err.message,
                     "model '%s' is not open, and the others that are open are in use",
                     m->what->name);
        } else {
            status = open_all(m, &err);
        }
        pthread_mutex_lock(&m->lock);
        m->failure = err;
        m->state = status ? MODEL_FAILED : MODEL_READY;
        pthread_cond_broadcast(&m->changed);
        pthread_mutex_unlock(&m->lock);
    }
    if (m->state != MODEL_READY) {
        struct wire_error why = refusal_of(&m->failure);
        why.status = why.status == 400 ? 500 : why.status; /* it is not the client's fault */
        task_refuse(task, &why);
    } else if (task->work) {
        task->work(task);
    } else if (m->embeds != (task->ask.kind == ASK_EMBED)) {
        struct wire_error why = refusal(400, "invalid_request_error", "model",
                                        m->embeds ? "model '%s' makes embeddings and no text"
                                                  : "model '%s' makes no embeddings",
                                        m->what->name);
        task_refuse(task, &why);
    } else if (task->ask.kind == ASK_EMBED) {
        embed_run(task);
    } else if (prepare(m, task)) {
        runner_submit(m->runner, task);
        return;
    }
    model_task_ended(m);
    task_drop(task);
}

static void *work(void *arg)
{
    struct model *m = arg;
    pthread_mutex_lock(&m->lock);
    while (!m->stop) {
        struct task *task = m->inbox;
        if (is_idle(m)) {
            m->state = MODEL_COLD;
            m->unload = false;
            pthread_mutex_unlock(&m->lock);
            close_all(m);
            server_log(m->server, LK_LOG_INFO, "%s: closed, nobody asks for it", m->what->name);
            pthread_mutex_lock(&m->lock);
            pthread_cond_broadcast(&m->changed);
        } else if (!task) {
            wait_for(m, m->state == MODEL_READY ? unload_after(m) : 0.0);
        } else {
            m->inbox = task->next;
            m->n_inbox--;
            if (!m->inbox) {
                m->inbox_end = &m->inbox;
            }
            pthread_mutex_unlock(&m->lock);
            take(m, task);
            pthread_mutex_lock(&m->lock);
        }
    }
    pthread_mutex_unlock(&m->lock);
    close_all(m);
    return NULL;
}

enum { STACK_BYTES = 16 << 20 }; /* templates and grammars recurse */

static bool start(struct model *m)
{
    pthread_attr_t attr;
    if (m->has_thread) {
        return true;
    }
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, STACK_BYTES);
    m->has_thread = pthread_create(&m->thread, &attr, work, m) == 0;
    pthread_attr_destroy(&attr);
    return m->has_thread;
}

void model_submit(struct model *m, struct task *task)
{
    const uint32_t most = m->server->options->scheduler.n_queue;
    bool full, started;
    task->model = m;
    task->next = NULL;
    pthread_mutex_lock(&m->lock);
    started = start(m);
    full = m->n_inbox >= most;
    if (started && !full) {
        *m->inbox_end = task;
        m->inbox_end = &task->next;
        m->n_inbox++;
        m->n_tasks++;
        m->used = clock_now();
        pthread_cond_broadcast(&m->changed);
    } else {
        m->metrics.refused++;
    }
    pthread_mutex_unlock(&m->lock);
    if (!started || full) {
        struct wire_error why =
            full ? refusal(429, "rate_limit_error", "", "%u requests wait already", most)
                 : refusal(503, "overloaded_error", "", "no thread for model '%s'", m->what->name);
        task_refuse(task, &why);
        task_drop(task);
    }
}

/* A task that does nothing but make the model open. */
static void nothing(struct task *task)
{
    (void)task;
}

void model_load(struct model *m)
{
    struct task *task = task_new(m->server, NULL);
    if (task) {
        task->work = nothing;
        model_submit(m, task);
    }
}

void model_task_ended(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    m->n_tasks--;
    m->used = clock_now();
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

void model_wake(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    if (m->runner) {
        runner_wake(m->runner);
    }
    pthread_mutex_unlock(&m->lock);
}

size_t model_slots(struct model *m, struct slot *slots, size_t cap)
{
    pthread_mutex_lock(&m->lock);
    size_t n = m->runner ? runner_slots(m->runner, slots, cap) : 0;
    pthread_mutex_unlock(&m->lock);
    return n;
}

void model_unload(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    m->unload = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
}

enum model_state model_state(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    enum model_state state = m->state;
    pthread_mutex_unlock(&m->lock);
    return state;
}

void model_free(struct model *m)
{
    pthread_mutex_lock(&m->lock);
    m->stop = true;
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (m->has_thread) {
        pthread_join(m->thread, NULL);
    }
    while (m->inbox) {
        struct task *task = m->inbox;
        m->inbox = task->next;
        task_drop(task);
    }
    pthread_cond_destroy(&m->changed);
    pthread_mutex_destroy(&m->lock);
}

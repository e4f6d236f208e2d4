/* SPDX-License-Identifier: Apache-2.0
 *
 * Task: a request on its way through the threads, and its reply on the way back: pieces are copied
 * into messages that the I/O thread sends. Knows no protocol's texts and no engine.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/server.h"

struct task *task_new(struct server *server, struct http_request *request)
{
    struct task *task = calloc(1, sizeof *task);
    if (task) {
        atomic_init(&task->refs, 1);
        atomic_init(&task->gone, false);
        atomic_init(&task->slow, false);
        task->server = server;
        task->request = request;
        task->born = clock_now();
    }
    return task;
}

void task_hold(struct task *task)
{
    atomic_fetch_add(&task->refs, 1);
}

void task_drop(struct task *task)
{
    if (atomic_fetch_sub(&task->refs, 1) != 1) {
        return;
    }
    for (size_t i = 0; i < task->n_prompts; i++) {
        free(task->prompt[i].ids);
    }
    if (task->writer) {
        task->protocol->close(task->writer);
    }
    for (size_t i = 0; task->answer && i < task->n_answers; i++) {
        lk_answer_close(&task->answer[i].parts);
    }
    lk_constraint_close(&task->constraint);
    lk_grammar_close(&task->grammar);
    ask_free(&task->ask);
    free(task->out.data);
    free(task->valid.data);
    free(task->bytes.data);
    free(task->prompt);
    free(task->answer);
    free(task->body);
    free(task);
}

/* The client has gone: the answer ends with its next step. On the I/O thread. */
static void on_gone(void *arg)
{
    struct task *task = arg;
    struct http_request *r = task->request;
    atomic_store(&task->gone, true);
    task->request = NULL;
    http_end(r, true);
    model_wake(task->model);
    task_drop(task);
}

void task_watch(struct task *task)
{
    http_on_gone(task->request, on_gone, task);
    task_hold(task); /* the model's; the first is the request's */
}

/* ---- messages to the I/O thread ---- */

enum message_kind { MESSAGE_PIECE, MESSAGE_END, MESSAGE_BROKEN, MESSAGE_WHOLE };

struct message {
    struct http_post post;
    struct task *task; /* one reference */
    enum message_kind kind;
    bool first; /* the head goes before it */
    int status;
    const char *type; /* static */
    int retry_after;  /* seconds; 0: not said */
    size_t len;
    char data[];
};

static void on_slow(struct task *task)
{
    bool slow = task->request && http_is_slow(task->request);
    if (slow != atomic_exchange(&task->slow, slow) && task->model) {
        model_wake(task->model);
    }
}

static void on_drained(void *arg)
{
    on_slow(arg);
}

static void set_retry_after(struct http_request *r, int seconds)
{
    char text[16];
    if (seconds) {
        snprintf(text, sizeof text, "%d", seconds);
        http_set(r, "Retry-After", text);
    }
}

/* On the I/O thread. */
static void deliver(void *arg)
{
    struct message *m = arg;
    struct task *task = m->task;
    struct http_request *r = task->request;
    if (r && m->first) {
        set_retry_after(r, m->retry_after);
        if (m->kind != MESSAGE_WHOLE) {
            http_set(r, "Cache-Control", "no-cache");
            http_set(r, "X-Accel-Buffering", "no");
            http_begin(r, m->status, m->type);
            http_on_drained(r, on_drained, task);
        }
    }
    if (r && m->kind == MESSAGE_WHOLE) {
        http_reply(r, m->status, m->type, m->data, m->len);
    } else if (r && m->len > 0) {
        http_write(r, m->data, m->len);
    }
    if (r && (m->kind == MESSAGE_END || m->kind == MESSAGE_BROKEN)) {
        http_end(r, m->kind == MESSAGE_BROKEN);
    }
    if (r && m->kind == MESSAGE_PIECE) {
        on_slow(task);
    } else if (r) {
        task->request = NULL;
        task_drop(task); /* the request's */
    }
    task_drop(task);
    free(m);
}

static void reply_no_memory(struct http_request *r)
{
    static const char body[] = "{\"error\":{\"message\":\"out of memory: the answer is lost\","
                               "\"type\":\"overloaded_error\",\"param\":null,\"code\":null}}";
    http_reply(r, 503, "application/json", body, sizeof body - 1);
}

/* On the I/O thread, after all that was sent. */
static void deliver_loss(void *arg)
{
    struct task *task = arg;
    struct http_request *r = task->request;
    atomic_store(&task->gone, true);
    if (r) {
        task->request = NULL;
        if (task->begun) {
            http_end(r, true);
        } else {
            reply_no_memory(r);
        }
        task_drop(task); /* the request's */
    }
    if (task->model) {
        model_wake(task->model);
    }
    task_drop(task);
}

/* What was to be sent has no memory. On any thread but the I/O thread. */
static void lose(struct task *task)
{
    if (!task->lost) {
        server_log(task->server, LK_LOG_ERROR, "out of memory: a reply is lost");
        task->lost = true;
        task_hold(task);
        http_post(task->server->http, &task->loss, deliver_loss, task);
    }
}

static void post(struct task *task, enum message_kind kind, int status, const char *type,
                 int retry_after, const void *data, size_t len)
{
    struct message *m = task->lost ? NULL : malloc(sizeof *m + len);
    if (!m) {
        lose(task);
        return;
    }
    *m = (struct message){.task = task,
                          .kind = kind,
                          .first = !task->begun,
                          .status = status,
                          .type = type,
                          .retry_after = retry_after,
                          .len = len};
    if (len) {
        memcpy(m->data, data, len);
    }
    task->begun = true;
    task->sent = clock_now();
    task_hold(task);
    http_post(task->server->http, &m->post, deliver, m);
}

void task_send(struct task *task, const void *data, size_t len)
{
    post(task, MESSAGE_PIECE, 200, task->protocol->stream_type, 0, data, len);
}

void task_end(struct task *task, bool broken)
{
    post(task, broken ? MESSAGE_BROKEN : MESSAGE_END, 200, task->protocol->stream_type, 0, NULL, 0);
}

void task_reply(struct task *task, int status, const char *type, const void *data, size_t len)
{
    post(task, MESSAGE_WHOLE, status, type, 0, data, len);
}

/* ---- refusals ---- */

/* Seconds after which it may be asked again; 0: that would not help. */
static int retry_after(const struct wire_error *why)
{
    return why->status == 429 || why->status == 503 ? 1 : 0;
}

void refuse_now(struct http_request *r, const struct protocol *p, const struct wire_error *why)
{
    struct wire_text out = {0};
    p->error(why, false, &out);
    if (out.failed) {
        reply_no_memory(r);
    } else {
        set_retry_after(r, retry_after(why));
        http_reply(r, why->status, "application/json", out.data, out.n);
    }
    free(out.data);
}

void task_refuse(struct task *task, const struct wire_error *why)
{
    struct wire_text out = {0};
    bool streaming = task->begun;
    if (task->protocol) {
        task->protocol->error(why, streaming, &out);
    } else {
        PROTOCOL_CHAT.error(why, false, &out);
    }
    if (out.failed) {
        lose(task);
    } else if (streaming) {
        post(task, MESSAGE_PIECE, 200, task->protocol->stream_type, 0, out.data, out.n);
        post(task, MESSAGE_END, 200, task->protocol->stream_type, 0, NULL, 0);
    } else {
        post(task, MESSAGE_WHOLE, why->status, "application/json", retry_after(why), out.data,
             out.n);
    }
    free(out.data);
}

struct wire_error refusal(int status, const char *type, const char *param, const char *format, ...)
{
    struct wire_error why = {.status = status};
    va_list ap;
    va_start(ap, format);
    vsnprintf(why.message, sizeof why.message, format, ap);
    va_end(ap);
    snprintf(why.type, sizeof why.type, "%s", type);
    snprintf(why.param, sizeof why.param, "%s", param);
    return why;
}

struct wire_error refusal_of(const lk_error *err)
{
    switch (err->status) {
    case LK_E_INVALID:
    case LK_E_FORMAT:
    case LK_E_UNSUPPORTED:
        return refusal(400, "invalid_request_error", "", "%s", err->message);
    case LK_E_FULL:
        return refusal(429, "rate_limit_error", "", "%s", err->message);
    case LK_E_NOMEM:
        return refusal(503, "overloaded_error", "", "%s", err->message);
    default:
        return refusal(500, "server_error", "", "%s", err->message);
    }
}

void task_refuse_status(struct task *task, const lk_error *err)
{
    struct wire_error why = refusal_of(err);
    task_refuse(task, &why);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Reply: what a task's jobs wrote becomes parts of its protocol's answer, and those are sent. Runs
 * on the runner's thread; knows no scheduler.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/server.h"
#include "tools/server/wire_json.h"

enum { KEEP_ALIVE_S = 10 };

/* ---- text of an event ---- */

/* Bytes that are no UTF-8 become U+FFFD. The text is the task's, until the next one. */
static const char *valid_text(struct task *t, const char *s, size_t *n)
{
    t->valid.n = 0;
    for (size_t i = 0; i < *n;) {
        size_t len = wire_character(s + i, *n - i);
        wire_add(&t->valid, len ? s + i : "\xEF\xBF\xBD", len ? len : 3);
        i += len ? len : 1;
    }
    *n = t->valid.n;
    return t->valid.n ? t->valid.data : "";
}

/* ---- parts of a reply ---- */

static void put(struct task *t, const struct part *part)
{
    if (!t->parts) {
        struct part begin = {.kind = PART_BEGIN};
        t->parts = true;
        t->protocol->put(t->writer, &begin, &t->out);
    }
    t->protocol->put(t->writer, part, &t->out);
}

/* The bytes of a token, after those that are in `to` already; where they begin. */
static size_t add_bytes(const struct task *t, int32_t id, struct wire_text *to)
{
    char bytes[256];
    size_t at = to->n, len;
    const lk_tokenizer *tokenizer = t->model->tokenizer;
    if (lk_tokenizer_max_bytes(tokenizer) <= sizeof bytes &&
        lk_token_bytes(tokenizer, id, bytes, sizeof bytes, &len) == LK_OK) {
        wire_add(to, bytes, len);
    } else if (lk_tokenizer_max_bytes(tokenizer) > sizeof bytes) {
        char *large = malloc(lk_tokenizer_max_bytes(tokenizer));
        if (large && lk_token_bytes(tokenizer, id, large, lk_tokenizer_max_bytes(tokenizer),
                                    &len) == LK_OK) {
            wire_add(to, large, len);
        }
        to->failed |= !large;
        free(large);
    }
    return at;
}

static void put_token(struct task *t, uint32_t answer, const lk_event *ev)
{
    struct part_logprob top[LK_MAX_LOGPROBS];
    size_t begin[LK_MAX_LOGPROBS];
    struct part part = {.kind = PART_TOKEN, .answer = answer, .top = top, .n_top = ev->n_top};
    t->bytes.n = 0;
    add_bytes(t, ev->token, &t->bytes);
    size_t own = t->bytes.n;
    for (size_t i = 0; i < ev->n_top; i++) {
        begin[i] = add_bytes(t, ev->top[i].token, &t->bytes);
    }
    const char *bytes = t->bytes.data ? t->bytes.data : "";
    part.token = (struct part_logprob){bytes, own, ev->token, ev->logprob.logprob};
    for (size_t i = 0; i < ev->n_top; i++) {
        size_t next = i + 1 < ev->n_top ? begin[i + 1] : t->bytes.n;
        top[i] = (struct part_logprob){bytes + begin[i], next - begin[i], ev->top[i].token,
                                       ev->top[i].logprob};
    }
    put(t, &part);
}

/* What an answer's text turned out to be. */
static void put_parts(struct task *t, uint32_t answer)
{
    lk_answer_event ev;
    while (lk_answer_next(t->answer[answer].parts, &ev)) {
        static const enum part_kind kinds[] = {PART_REASONING, PART_CONTENT, PART_CALL,
                                               PART_ARGUMENTS, PART_CALL_END};
        struct part part = {.kind = kinds[ev.kind],
                            .answer = answer,
                            .text = ev.text,
                            .len = ev.len,
                            .call = (uint32_t)ev.index,
                            .name = ev.name,
                            .id = ev.id};
        put(t, &part);
    }
}

/* Text of an answer; NULL: it is over. False: out of memory. */
static bool put_text(struct task *t, uint32_t answer, const char *text, size_t len)
{
    struct part part = {.kind = PART_CONTENT, .answer = answer, .len = len};
    lk_answer *parts = t->answer[answer].parts;
    lk_error err;
    part.text = text ? valid_text(t, text, &part.len) : NULL;
    if (parts) {
        lk_status status =
            text ? lk_answer_put(parts, part.text, part.len, &err) : lk_answer_end(parts, &err);
        put_parts(t, answer);
        return status == LK_OK;
    }
    if (text) {
        put(t, &part);
    }
    return true;
}

static enum part_finish finish_of(lk_finish finish)
{
    switch (finish) {
    case LK_FINISH_LENGTH:
    case LK_FINISH_FULL:
        return PART_LENGTH;
    case LK_FINISH_CANCELLED:
        return PART_CANCELLED;
    case LK_FINISH_FAILED:
        return PART_FAILED;
    default:
        return PART_STOP;
    }
}

static void put_finish(struct task *t, const struct task_prompt *p, uint32_t answer,
                       uint32_t of_job, const lk_event *ev)
{
    struct part part = {.kind = PART_FINISH, .answer = answer, .finish = finish_of(ev->finish)};
    const lk_answer *parts = t->answer[answer].parts;
    if (part.finish == PART_STOP && parts && lk_answer_n_calls(parts) > 0) {
        part.finish = PART_CALLS;
    }
    lk_job_info info = lk_job_tell(p->job);
    char hex[65];
    part.error = ev->error;
    if (part.finish == PART_FAILED && ev->error) {
        t->failure = *ev->error;
    }
    part.stop = ev->stop;
    part.usage = (struct wire_usage){.prompt = info.prompt,
                                     .reused = info.reused,
                                     .written = t->answer[answer].written,
                                     .reasoning = t->answer[answer].reasoning};
    if (t->ask.hash) {
        uint8_t hash[32];
        lk_job_hash(p->job, of_job, hash);
        for (size_t i = 0; i < sizeof hash; i++) {
            snprintf(hex + 2 * i, 3, "%02x", hash[i]);
        }
        part.sha256 = hex;
    }
    put(t, &part);
    t->answer[answer].ended = true;
    t->n_ended++;
    pthread_mutex_lock(&t->model->lock);
    t->model->metrics.finished[part.finish]++;
    pthread_mutex_unlock(&t->model->lock);
}

/* A token's time, for the histograms. */
static void note_token(struct task *t, struct answer *a)
{
    double now = clock_now();
    pthread_mutex_lock(&t->model->lock);
    if (a->last > 0.0) {
        metrics_add(&t->model->metrics.between, now - a->last);
    } else {
        metrics_add(&t->model->metrics.first_token, now - t->born);
    }
    pthread_mutex_unlock(&t->model->lock);
    a->last = now;
    a->written++;
    a->reasoning += a->parts && lk_answer_thinks(a->parts);
}

/* Thinking that has used up its tokens is ended. */
static void end_thinking(struct task *t, size_t prompt, uint32_t of_job)
{
    struct answer *a = &t->answer[prompt * t->ask.n + of_job];
    const struct model *m = t->model;
    lk_error err;
    if (t->ask.think_most >= 0 && !a->forced && a->parts && lk_answer_thinks(a->parts) &&
        a->reasoning >= (uint64_t)t->ask.think_most) {
        a->forced = true; /* once: whatever happens, the answer goes on */
        if (lk_job_force(t->prompt[prompt].job, of_job, m->think_end, m->n_think_end, &err)) {
            server_log(t->server, LK_LOG_WARN, "%s: thinking was not ended: %s", m->what->name,
                       err.message);
        }
    }
}

static void take_event(struct task *t, size_t prompt, const lk_job_event *ev)
{
    uint32_t answer = (uint32_t)prompt * t->ask.n + ev->answer;
    bool ok = true;
    switch (ev->event.kind) {
    case LK_EVENT_TOKEN:
        note_token(t, &t->answer[answer]);
        if (t->ask.logprobs >= 0) {
            put_token(t, answer, &ev->event);
        }
        end_thinking(t, prompt, ev->answer);
        break;
    case LK_EVENT_TEXT:
        ok = put_text(t, answer, ev->event.text, ev->event.len);
        break;
    case LK_EVENT_END:
        ok = put_text(t, answer, NULL, 0);
        put_finish(t, &t->prompt[prompt], answer, ev->answer, &ev->event);
        break;
    }
    t->out.failed |= !ok || t->valid.failed || t->bytes.failed;
}

/* ---- a task's life ---- */

static void add_usage(struct task *t, struct wire_usage *u)
{
    for (size_t i = 0; i < t->n_prompts; i++) {
        if (t->prompt[i].job) {
            lk_job_info info = lk_job_tell(t->prompt[i].job);
            u->prompt += info.prompt;
            u->reused += info.reused;
            u->waited = info.waited > u->waited ? info.waited : u->waited;
            u->reading = info.reading > u->reading ? info.reading : u->reading;
            u->writing = info.writing > u->writing ? info.writing : u->writing;
        } else {
            u->prompt += t->prompt[i].n;
        }
    }
    for (size_t i = 0; i < t->n_answers; i++) {
        u->written += t->answer[i].written;
        u->reasoning += t->answer[i].reasoning;
    }
}

/* Sends what was put. */
static void flush(struct task *t)
{
    if (t->out.n > 0 && t->ask.stream && !t->out.failed) {
        task_send(t, t->out.data, t->out.n);
        t->out.n = 0;
    }
}

/* Memory ran out: what was put is not whole. */
static void refuse(struct task *t)
{
    struct wire_error why = refusal(503, "overloaded_error", "", "out of memory: the answer");
    task_refuse(t, &why);
}

void reply_end(struct task *t)
{
    struct part part = {.kind = PART_END};
    double whole = clock_now() - t->born;
    add_usage(t, &part.usage);
    put(t, &part);
    if (t->out.failed) {
        refuse(t);
    } else if (t->ask.stream) {
        flush(t);
        task_end(t, false);
    } else if (t->failure.status) {
        task_refuse_status(t, &t->failure); /* no part of it was sent, so the status can tell */
    } else {
        task_reply(t, 200, "application/json", t->out.data, t->out.n);
    }
    pthread_mutex_lock(&t->model->lock);
    metrics_add(&t->model->metrics.waited, part.usage.waited);
    metrics_add(&t->model->metrics.whole, whole);
    pthread_mutex_unlock(&t->model->lock);
}

static void put_echo(struct task *t)
{
    for (size_t i = 0; i < t->n_prompts && t->ask.echo; i++) {
        t->bytes.n = 0;
        for (size_t k = 0; k < t->prompt[i].n; k++) {
            if (!lk_token_is_control(t->model->tokenizer, t->prompt[i].ids[k])) {
                add_bytes(t, t->prompt[i].ids[k], &t->bytes);
            }
        }
        for (uint32_t a = 0; a < t->ask.n; a++) {
            struct part part = {.kind = PART_PROMPT,
                                .answer = (uint32_t)i * t->ask.n + a,
                                .len = t->bytes.n};
            part.text = valid_text(t, t->bytes.data, &part.len);
            put(t, &part);
        }
    }
    t->out.failed |= t->valid.failed || t->bytes.failed;
}

bool reply_open(struct task *t)
{
    for (size_t i = 0; i < t->n_prompts; i++) {
        t->info.prompt_tokens += t->prompt[i].n;
    }
    snprintf(t->info.fingerprint, sizeof t->info.fingerprint, "%s", t->model->fingerprint);
    t->info.model = t->model->what->name;
    t->info.seed = t->ask.sampler.seed;
    t->writer = t->protocol->open(&t->ask, &t->info);
    if (t->writer) {
        put_echo(t);
    }
    return t->writer != NULL;
}

bool reply_tend(struct task *t)
{
    for (size_t i = 0; i < t->n_prompts; i++) {
        lk_job_event ev;
        while (lk_job_next(t->prompt[i].job, &ev)) {
            take_event(t, i, &ev);
        }
    }
    if (t->out.failed) {
        refuse(t);
        return true;
    }
    if (t->n_ended == t->n_answers) {
        reply_end(t);
        return true;
    }
    flush(t);
    if (t->ask.stream && t->protocol->keep_alive &&
        clock_now() - (t->sent > 0.0 ? t->sent : t->born) > KEEP_ALIVE_S) {
        t->protocol->keep_alive(t->writer, &t->out);
        flush(t);
    }
    return false;
}

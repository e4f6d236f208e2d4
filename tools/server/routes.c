/* SPDX-License-Identifier: Apache-2.0
 *
 * Routes: the requests that models answer: each is read by its protocol on the I/O thread and goes
 * to its model as a task.
 */
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "tools/server/server.h"

struct route {
    const char *path; /* ends in "*": takes all below */
    const struct protocol *protocol;
};
static const struct route ROUTES[] = {
    {"/v1/chat/completions", &PROTOCOL_CHAT},
    {"/chat/completions", &PROTOCOL_CHAT},
    {"/v1/completions", &PROTOCOL_COMPLETIONS},
    {"/completions", &PROTOCOL_COMPLETIONS},
    {"/v1/embeddings", &PROTOCOL_EMBEDDINGS},
    {"/embeddings", &PROTOCOL_EMBEDDINGS},
    {"/v1/responses", &PROTOCOL_RESPONSES},
    {"/v1/messages", &PROTOCOL_MESSAGES},
    {"/v1/messages/count_tokens", &PROTOCOL_COUNT},
    {"/api/chat", &PROTOCOL_OLLAMA_CHAT},
    {"/api/generate", &PROTOCOL_OLLAMA_GENERATE},
    {"/api/embed", &PROTOCOL_OLLAMA_EMBED},
    {"/completion", &PROTOCOL_NATIVE},
};

struct bound { /* what a handler gets */
    struct server *server;
    const struct route *route;
};
static struct bound BOUND[sizeof ROUTES / sizeof *ROUTES];

/* Words for an id: 24 hexadecimal digits that nobody can guess. */
static void make_id(char id[40])
{
    unsigned char bytes[12] = {0};
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) {
        static uint64_t count;
        count++;
        memcpy(bytes, &count, sizeof count);
    }
    for (size_t i = 0; i < sizeof bytes; i++) {
        snprintf(id + 2 * i, 3, "%02x", bytes[i]);
    }
}

static uint64_t draw_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, 0) != (ssize_t)sizeof seed) {
        seed = (uint64_t)(clock_now() * 1e9);
    }
    return seed >> 11; /* a number that every client's JSON keeps whole */
}

/* Values that no request has, and in their place, where they are still there, a model's own. */
static lk_sampler_options sampler_unset(void)
{
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = o.top_p = o.min_p = NAN;
    o.repeat_penalty = o.presence_penalty = o.frequency_penalty = NAN;
    o.top_k = o.penalty_last_n = INT_MIN;
    return o;
}

static void fill(float *to, float from)
{
    *to = isnan(*to) ? from : *to;
}

static void sampler_fill(lk_sampler_options *o, const lk_sampler_options *own)
{
    fill(&o->temperature, own->temperature);
    fill(&o->top_p, own->top_p);
    fill(&o->min_p, own->min_p);
    fill(&o->repeat_penalty, own->repeat_penalty);
    fill(&o->presence_penalty, own->presence_penalty);
    fill(&o->frequency_penalty, own->frequency_penalty);
    o->top_k = o->top_k == INT_MIN ? own->top_k : o->top_k;
    o->penalty_last_n = o->penalty_last_n == INT_MIN ? own->penalty_last_n : o->penalty_last_n;
}

static bool check(const struct server *server, const struct ask *ask, struct wire_error *why)
{
    if (ask->n < 1 || ask->n > server->options->max_answers) {
        *why = refusal(400, "invalid_request_error", "n", "n is %u, expected 1 to %u", ask->n,
                       server->options->max_answers);
        return false;
    }
    if (ask->logprobs > LK_MAX_LOGPROBS) {
        *why = refusal(400, "invalid_request_error", "top_logprobs",
                       "%d likeliest tokens, expected at most %d", ask->logprobs, LK_MAX_LOGPROBS);
        return false;
    }
    return true;
}

static void on_ask(void *user, struct http_request *r)
{
    const struct bound *b = user;
    struct server *server = b->server;
    const struct protocol *p = b->route->protocol;
    struct wire_error why = {0};
    size_t len;
    const char *body = http_body(r, &len);
    struct task *task = task_new(server, r);
    if (!task) {
        why = refusal(503, "overloaded_error", "", "out of memory");
        refuse_now(r, p, &why);
        return;
    }
    task->protocol = p;
    task->key = http_key(r);
    task->ask = (struct ask){.sampler = sampler_unset(),
                             .max_tokens = SIZE_MAX,
                             .n = 1,
                             .logprobs = -1,
                             .think_most = -1,
                             .parallel_tools = true,
                             .keep_billing = server->options->keep_billing};
    make_id(task->info.id);
    task->info.created = server->started_at + (int64_t)(clock_now() - server->started);
    bool ok =
        p->parse(http_tail(r), body, len, &task->ask, &why) && check(server, &task->ask, &why);
    struct model *model = ok ? server_find(server, task->ask.model, task->ask.backend, &why) : NULL;
    if (model && atomic_load(&server->stopping)) {
        why = refusal(503, "overloaded_error", "", "the server ends");
        model = NULL;
    }
    if (!model) {
        refuse_now(r, p, &why);
        task_drop(task);
        return;
    }
    sampler_fill(&task->ask.sampler, &model->sampler);
    if (!task->ask.seeded) {
        task->ask.sampler.seed = draw_seed();
    }
    task_watch(task);
    model_submit(model, task);
}

lk_status routes_open(struct server *server, lk_error *err)
{
    lk_status status = LK_OK;
    for (size_t i = 0; i < sizeof ROUTES / sizeof *ROUTES && !status; i++) {
        BOUND[i] = (struct bound){server, &ROUTES[i]};
        status = http_route(server->http, "POST", ROUTES[i].path, 0, on_ask, &BOUND[i], err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Info: what there is: models, health, settings, running requests, metrics; in OpenAI's, Ollama's
 * and llama.cpp's words.
 */
#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/page.h"
#include "tools/server/server.h"
#include "tools/server/wire_json.h"

static void reply_json(struct http_request *r, json_t *value)
{
    char *text = wire_dump(value);
    if (text) {
        http_reply(r, 200, "application/json", text, strlen(text));
    } else {
        static const char none[] = "{\"error\":{\"message\":\"out of memory\"}}";
        http_reply(r, 503, "application/json", none, sizeof none - 1);
    }
    free(text);
    json_decref(value);
}

/* Where memory runs out there is no list, and no object, any more. */
static void append(json_t **list, json_t *value)
{
    if (json_array_append_new(*list, value)) {
        json_decref(*list);
        *list = NULL;
    }
}

static void set(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value)) {
        json_decref(*object);
        *object = NULL;
    }
}

static const char *state_name(enum model_state state)
{
    static const char *const names[] = {"closed", "loading", "ready", "failed"};
    return names[state];
}

/* ---- health ---- */

/* Ready when every model that is to be open is. */
static void on_health(void *user, struct http_request *r)
{
    struct server *s = user;
    bool loading = false, failed = false;
    for (size_t i = 0; i < s->n_models; i++) {
        enum model_state state = model_state(&s->model[i]);
        loading |= state == MODEL_LOADING;
        failed |= state == MODEL_FAILED;
    }
    const char *body = atomic_load(&s->stopping) ? "{\"status\":\"ending\"}"
                       : loading                 ? "{\"status\":\"loading\"}"
                       : failed                  ? "{\"status\":\"failed\"}"
                                                 : "{\"status\":\"ok\"}";
    http_reply(r, loading || failed || atomic_load(&s->stopping) ? 503 : 200, "application/json",
               body, strlen(body));
}

/* ---- models ---- */

static json_t *model_json(struct model *m)
{
    struct server *s = m->server;
    pthread_mutex_lock(&m->lock);
    json_t *o = json_pack("{s:s, s:s, s:I, s:s, s:s, s:I, s:{s:s, s:I, s:I, s:I}}", "id",
                          m->what->name, "object", "model", "created", (json_int_t)s->started_at,
                          "owned_by", "lockstep", "state", state_name(m->state), "max_model_len",
                          (json_int_t)(m->n_ctx ? m->n_ctx : m->n_ctx_train), "meta", "arch",
                          m->arch, "n_params", (json_int_t)m->n_params, "size",
                          (json_int_t)m->file_bytes, "n_ctx_train", (json_int_t)m->n_ctx_train);
    if (m->fingerprint[0]) {
        set(&o, "system_fingerprint", json_string(m->fingerprint));
    }
    pthread_mutex_unlock(&m->lock);
    return o;
}

static void on_models(void *user, struct http_request *r)
{
    struct server *s = user;
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_models; i++) {
        append(&list, model_json(&s->model[i]));
    }
    reply_json(r, json_pack("{s:s, s:o}", "object", "list", "data", list));
}

static void on_model(void *user, struct http_request *r)
{
    struct server *s = user;
    struct wire_error why;
    struct model *m = server_find(s, http_tail(r), NULL, &why);
    if (m) {
        reply_json(r, model_json(m));
    } else {
        refuse_now(r, &PROTOCOL_CHAT, &why);
    }
}

/* ---- Ollama ---- */

static void on_version(void *user, struct http_request *r)
{
    (void)user;
    reply_json(r, json_pack("{s:s}", "version", lk_version()));
}

static json_t *tag_json(struct model *m)
{
    char size[32];
    snprintf(size, sizeof size, "%.1fB", (double)m->n_params / 1e9);
    return json_pack("{s:s, s:s, s:s, s:I, s:s, s:{s:s, s:s, s:s}}", "name", m->what->name, "model",
                     m->what->name, "modified_at", "1970-01-01T00:00:00Z", "size",
                     (json_int_t)m->file_bytes, "digest", "", "details", "format", "gguf", "family",
                     m->arch, "parameter_size", size);
}

static void reply_tags(struct server *s, struct http_request *r, bool open_only)
{
    json_t *list = json_array();
    for (size_t i = 0; i < s->n_models; i++) {
        if (!open_only || model_state(&s->model[i]) == MODEL_READY) {
            append(&list, tag_json(&s->model[i]));
        }
    }
    reply_json(r, json_pack("{s:o}", "models", list));
}

static void on_tags(void *user, struct http_request *r)
{
    reply_tags(user, r, false);
}

static void on_ps(void *user, struct http_request *r)
{
    reply_tags(user, r, true);
}

static void on_show(void *user, struct http_request *r)
{
    struct server *s = user;
    struct wire_error why;
    size_t len;
    const char *body = http_body(r, &len);
    bool no_memory;
    json_t *root = wire_load(body, len, 0, &no_memory);
    const char *name = json_string_value(json_object_get(root, "model"));
    name = name ? name : json_string_value(json_object_get(root, "name"));
    struct model *m = server_find(s, name ? name : "", NULL, &why);
    if (no_memory) {
        reply_json(r, NULL);
    } else if (m) {
        json_t *o = tag_json(m);
        json_t *info =
            json_pack("{s:s, s:I, s:I}", "general.architecture", m->arch, "general.parameter_count",
                      (json_int_t)m->n_params, "context_length", (json_int_t)m->n_ctx_train);
        set(&o, "model_info", info);
        set(&o, "template", json_string(m->template_text ? m->template_text : ""));
        set(&o, "capabilities", json_pack("[s]", "completion"));
        reply_json(r, o);
    } else {
        refuse_now(r, &PROTOCOL_CHAT, &why);
    }
    json_decref(root);
}

/* ---- settings and running requests ---- */

static void on_props(void *user, struct http_request *r)
{
    struct server *s = user;
    struct wire_error why;
    const char *name = http_query(r, "model");
    struct model *m = server_find(s, name ? name : "", NULL, &why);
    if (!m) {
        refuse_now(r, &PROTOCOL_CHAT, &why);
        return;
    }
    const lk_sampler_options *o = &m->sampler;
    pthread_mutex_lock(&m->lock);
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:I, s:s, s:s, s:{s:f, s:i, s:f, s:f, s:f, s:f, s:f, s:i}}",
                  "model", m->what->name, "state", state_name(m->state), "build_info", lk_version(),
                  "n_ctx", (json_int_t)m->n_ctx, "backend", m->backend, "system_fingerprint",
                  m->fingerprint, "default_generation_settings", "temperature",
                  (double)o->temperature, "top_k", o->top_k, "top_p", (double)o->top_p, "min_p",
                  (double)o->min_p, "repeat_penalty", (double)o->repeat_penalty, "presence_penalty",
                  (double)o->presence_penalty, "frequency_penalty", (double)o->frequency_penalty,
                  "repeat_last_n", o->penalty_last_n);
    const char *problem = m->state == MODEL_READY && !m->template ? m->template_why.message : "";
    set(&value, "chat_template", json_string(m->template_text ? m->template_text : ""));
    set(&value, "chat_template_problem", json_string(problem));
    pthread_mutex_unlock(&m->lock);
    reply_json(r, value);
}

static void on_slots(void *user, struct http_request *r)
{
    static const char *const states[] = {"waits", "reads", "writes", "done"};
    enum { MOST = 256 };
    struct server *s = user;
    struct slot *slot = calloc(MOST, sizeof *slot);
    json_t *list = slot ? json_array() : NULL;
    for (size_t i = 0; slot && i < s->n_models; i++) {
        size_t n = model_slots(&s->model[i], slot, MOST);
        for (size_t k = 0; k < n; k++) {
            const lk_job_info *j = &slot[k].info;
            append(&list,
                   json_pack("{s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:f}", "id", slot[k].id, "model",
                             s->model[i].what->name, "state", states[j->state], "prompt_tokens",
                             (json_int_t)j->prompt, "cached_tokens", (json_int_t)j->reused,
                             "evaluated_tokens", (json_int_t)j->evaluated, "written_tokens",
                             (json_int_t)j->written, "waited_s", j->waited));
        }
    }
    free(slot);
    reply_json(r, list);
}

/* ---- metrics ---- */

/* What is told of a model, at one time. */
struct seen {
    char labels[160];
    bool open;
    size_t inbox;
    lk_scheduler_info info;
    struct metrics times;
};

static void look(struct model *m, struct seen *out)
{
    pthread_mutex_lock(&m->lock);
    out->info = m->info;
    out->times = m->metrics;
    out->inbox = m->n_inbox;
    out->open = m->state == MODEL_READY;
    pthread_mutex_unlock(&m->lock);
    snprintf(out->labels, sizeof out->labels, "model=\"%.100s\"", m->what->name);
}

struct value {
    const char *name, *type;
    double (*of)(const struct seen *s);
};
#define VALUE(function, expression)                                                                \
    static double function(const struct seen *s)                                                   \
    {                                                                                              \
        return (double)(expression);                                                               \
    }
VALUE(is_open, s->open)
VALUE(waiting, s->info.n_waiting + s->inbox)
VALUE(running, s->info.n_reading + s->info.n_writing)
VALUE(paused, s->info.n_paused)
VALUE(blocks, s->info.n_blocks)
VALUE(blocks_used, s->info.n_blocks_used)
VALUE(blocks_kept, s->info.n_blocks_kept)
VALUE(usage, s->info.n_blocks ? (double)s->info.n_blocks_used / s->info.n_blocks : 0.0)
VALUE(prompt_tokens, s->info.prompt_tokens)
VALUE(reused_tokens, s->info.reused_tokens)
VALUE(written_tokens, s->info.written_tokens)
VALUE(steps, s->info.n_steps)
VALUE(preempted, s->info.n_preempted)
VALUE(evicted, s->info.n_evicted)
VALUE(cancelled, s->info.n_cancelled)
VALUE(refused, s->info.n_refused + s->times.refused)
VALUE(disk_reads, s->info.disk_reads)
VALUE(disk_writes, s->info.disk_writes)
VALUE(disk_bytes, s->info.disk_bytes)

static const struct value VALUES[] = {
    {"lockstep_model_open", "gauge", is_open},
    {"lockstep_requests_waiting", "gauge", waiting},
    {"lockstep_requests_running", "gauge", running},
    {"lockstep_requests_paused", "gauge", paused},
    {"lockstep_kv_blocks", "gauge", blocks},
    {"lockstep_kv_blocks_used", "gauge", blocks_used},
    {"lockstep_kv_blocks_kept", "gauge", blocks_kept},
    {"lockstep_kv_cache_usage", "gauge", usage},
    {"lockstep_prompt_tokens_total", "counter", prompt_tokens},
    {"lockstep_cached_tokens_total", "counter", reused_tokens},
    {"lockstep_generated_tokens_total", "counter", written_tokens},
    {"lockstep_steps_total", "counter", steps},
    {"lockstep_preemptions_total", "counter", preempted},
    {"lockstep_evictions_total", "counter", evicted},
    {"lockstep_cancelled_total", "counter", cancelled},
    {"lockstep_refused_total", "counter", refused},
    {"lockstep_disk_reads_total", "counter", disk_reads},
    {"lockstep_disk_writes_total", "counter", disk_writes},
    {"lockstep_disk_bytes", "gauge", disk_bytes},
};

static const struct {
    const char *name;
    size_t at; /* in struct metrics */
} TIMES[] = {
    {"lockstep_queue_seconds", offsetof(struct metrics, waited)},
    {"lockstep_time_to_first_token_seconds", offsetof(struct metrics, first_token)},
    {"lockstep_inter_token_seconds", offsetof(struct metrics, between)},
    {"lockstep_request_seconds", offsetof(struct metrics, whole)},
    {"lockstep_step_seconds", offsetof(struct metrics, step)},
};

static void on_metrics(void *user, struct http_request *r)
{
    struct server *s = user;
    struct wire_text out = {0};
    struct http_counts c = http_count(s->http);
    struct seen *seen = calloc(s->n_models, sizeof *seen);
    wire_print(&out, "# TYPE lockstep_connections gauge\nlockstep_connections %d\n", c.open);
    wire_print(&out, "# TYPE lockstep_streams gauge\nlockstep_streams %d\n", c.streaming);
    wire_print(&out,
               "# TYPE lockstep_http_requests_total counter\nlockstep_http_requests_total %" PRIu64
               "\n",
               c.requests);
    for (size_t i = 0; seen && i < s->n_models; i++) {
        look(&s->model[i], &seen[i]);
    }
    for (size_t v = 0; seen && v < sizeof VALUES / sizeof *VALUES; v++) {
        wire_print(&out, "# TYPE %s %s\n", VALUES[v].name, VALUES[v].type);
        for (size_t i = 0; i < s->n_models; i++) {
            wire_print(&out, "%s{%s} %.17g\n", VALUES[v].name, seen[i].labels,
                       VALUES[v].of(&seen[i]));
        }
    }
    for (size_t t = 0; seen && t < sizeof TIMES / sizeof *TIMES; t++) {
        wire_print(&out, "# TYPE %s histogram\n", TIMES[t].name);
        for (size_t i = 0; i < s->n_models; i++) {
            const char *base = (const char *)&seen[i].times;
            metrics_write((const struct metrics_histogram *)(const void *)(base + TIMES[t].at),
                          TIMES[t].name, seen[i].labels, &out);
        }
    }
    if (seen && !out.failed) {
        http_reply(r, 200, "text/plain; version=0.0.4", out.data, out.n);
    } else {
        reply_json(r, NULL);
    }
    free(seen);
    free(out.data);
}

lk_status routes_info_open(struct server *server, lk_error *err)
{
    static const struct {
        const char *method, *path;
        unsigned flags;
        http_handler handler;
    } routes[] = {
        {"GET", "/health", HTTP_PUBLIC, on_health},
        {"GET", "/v1/health", HTTP_PUBLIC, on_health},
        {"GET", "/v1/models", 0, on_models},
        {"GET", "/models", 0, on_models},
        {"GET", "/v1/models/*", 0, on_model},
        {"GET", "/api/version", 0, on_version},
        {"GET", "/api/tags", 0, on_tags},
        {"GET", "/api/ps", 0, on_ps},
        {"POST", "/api/show", 0, on_show},
        {"GET", "/props", 0, on_props},
        {"GET", "/slots", 0, on_slots},
        {"GET", "/metrics", 0, on_metrics},
    };
    lk_status status = LK_OK;
    for (size_t i = 0; i < sizeof routes / sizeof *routes && !status; i++) {
        status = http_route(server->http, routes[i].method, routes[i].path, routes[i].flags,
                            routes[i].handler, server, err);
    }
    return status ? status : page_open(server->http, err);
}

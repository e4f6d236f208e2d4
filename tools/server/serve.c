/* SPDX-License-Identifier: Apache-2.0
 *
 * Serve: the server from its start to its end: reads what the models' files say, listens, and ends
 * at a signal with the answers that are being written.
 */
#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tools/server/server.h"

void server_log(const struct server *server, lk_log_level level, const char *format, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, format);
    vsnprintf(line, sizeof line, format, ap);
    va_end(ap);
    if (server->options->log) {
        server->options->log(server->options->user, level, line);
    }
}

bool serve_is_built(void)
{
    return true;
}

/* ---- which model ---- */

/* A name as Ollama's clients write it has a tag behind it. */
static bool is_name(const char *name, const char *asked)
{
    size_t len = strlen(name);
    return strncmp(asked, name, len) == 0 &&
           (asked[len] == 0 || strcmp(asked + len, ":latest") == 0);
}

static struct model *find_served(struct server *s, const char *name, struct wire_error *why)
{
    char known[256] = "";
    if (!name || !*name || s->n_models == 1) {
        return &s->model[0]; /* where there is one model every name means it */
    }
    for (size_t i = 0; i < s->n_models; i++) {
        size_t used = strlen(known);
        if (is_name(s->model[i].what->name, name)) {
            return &s->model[i];
        }
        snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                 s->model[i].what->name);
    }
    *why = refusal(404, "invalid_request_error", "model",
                   "model '%.100s' is not served here, expected one of %s", name, known);
    snprintf(why->code, sizeof why->code, "model_not_found");
    return NULL;
}

static bool is_own_backend(const struct model *m, const char *backend)
{
    const char *own = m->what->engine.backend;
    return !backend || !*backend || (own && strcmp(own, backend) == 0);
}

struct model *server_find(struct server *s, const char *name, const char *backend,
                          struct wire_error *why)
{
    struct model *m = find_served(s, name, why);
    if (!m || is_own_backend(m, backend)) {
        return m;
    }
    for (size_t i = s->n_models; i < s->n_all; i++) {
        if (s->model[i].main == m && strcmp(s->model[i].check, backend) == 0) {
            return &s->model[i];
        }
    }
    *why = refusal(400, "invalid_request_error", "backend",
                   "backend '%.100s' may not be asked for here: see --check-on", backend);
    return NULL;
}

/* The open model that was used least recently and by nobody now; *n_open: how many are open. */
static struct model *idle_one(struct server *s, const struct model *want, uint32_t *n_open)
{
    struct model *found = NULL;
    double used = 0.0;
    *n_open = 0;
    for (size_t i = 0; i < s->n_models; i++) {
        struct model *m = &s->model[i];
        if (m == want || m->check) {
            continue;
        }
        pthread_mutex_lock(&m->lock);
        bool open = m->state == MODEL_READY || m->state == MODEL_LOADING;
        *n_open += open;
        if (m->state == MODEL_READY && m->n_tasks == 0 && (!found || m->used < used)) {
            found = m;
            used = m->used;
        }
        pthread_mutex_unlock(&m->lock);
    }
    return found;
}

bool server_make_room(struct server *s, struct model *want)
{
    enum { WAIT_S = 60 };
    const uint32_t most = s->options->max_loaded;
    double until = clock_now() + WAIT_S;
    bool room = most == 0 || want->check;
    pthread_mutex_lock(&s->lock); /* one model at a time takes room */
    while (!room) {
        uint32_t n_open;
        struct model *idle = idle_one(s, want, &n_open);
        room = n_open < most;
        if (room || clock_now() > until || atomic_load(&s->stopping)) {
            break;
        }
        if (idle) {
            model_unload(idle);
        }
        struct timespec nap = {.tv_nsec = 20000000};
        nanosleep(&nap, NULL);
    }
    pthread_mutex_unlock(&s->lock);
    return room;
}

/* ---- what the files say ---- */

static lk_status read_model(struct server *s, struct model *m, lk_error *err)
{
    const struct serve_options *o = s->options;
    const char *key = "tokenizer.chat_template", *text;
    size_t len = 0;
    lk_model *file;
    lk_status status = lk_model_open(m->what->path, &file, err);
    if (!status) {
        status = lk_model_check(file, err); /* before anybody asks */
    }
    if (status) {
        lk_model_close(&file);
        return status;
    }
    m->sampler = o->sampler;
    if (o->preset) {
        o->preset(o->user, file, &m->sampler);
    }
    snprintf(m->arch, sizeof m->arch, "%s", lk_model_arch(file));
    m->n_params = lk_model_n_params(file);
    m->file_bytes = lk_model_file_bytes(file);
    m->n_ctx_train = lk_model_n_ctx_train(file);
    m->embeds = embed_is_meant(file);
    text = m->what->template_text ? m->what->template_text : lk_model_text(file, key, &len);
    m->template_text =
        text ? strndup(text, m->what->template_text ? m->what->template_len : len) : NULL;
    lk_model_close(&file);
    return LK_OK;
}

/* One that stands beside `main`, on another backend. */
static lk_status open_beside(struct server *s, struct model *m, struct model *main,
                             const char *backend, lk_error *err)
{
    lk_status status = model_init(m, s, main->what, err);
    if (status) {
        return status;
    }
    s->n_all++;
    m->main = main;
    m->check = backend;
    m->other = *main->what;
    m->what = &m->other;
    m->other.engine.backend = "auto";
    m->other.engine.device = NULL;
    m->other.engine.gpu_layers = LK_GPU_LAYERS_AUTO;
    m->other.engine.placement = NULL;
    if (strpbrk(backend, ":, ")) {
        m->other.engine.placement = backend;
    } else {
        m->other.engine.backend = backend;
    }
    m->sampler = main->sampler;
    m->embeds = main->embeds;
    return LK_OK;
}

static lk_status open_models(struct server *s, lk_error *err)
{
    const struct serve_options *o = s->options;
    lk_status status = LK_OK;
    s->model = calloc(o->n_models * (o->n_check + 1), sizeof *s->model);
    if (!s->model) {
        err->status = LK_E_NOMEM;
        snprintf(err->message, sizeof err->message, "out of memory: %zu models", o->n_models);
        return LK_E_NOMEM;
    }
    for (size_t i = 0; i < o->n_models && !status; i++) {
        status = model_init(&s->model[i], s, &o->model[i], err);
        if (!status) {
            s->n_models++;
            s->n_all++;
            s->model[i].main = &s->model[i];
            status = read_model(s, &s->model[i], err);
        }
    }
    for (size_t i = 0; i < s->n_models && !status; i++) {
        for (size_t k = 0; k < o->n_check && !status; k++) {
            status = open_beside(s, &s->model[s->n_all], &s->model[i], o->check[k], err);
        }
    }
    return status;
}

/* ---- signals ---- */

static struct server *running;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&running->stopping, true);
    http_stop(running->http, running->options->grace_s);
}

/* SIGTERM and SIGINT end the server; a second one ends the program at once. */
static void catch_signals(struct server *s, struct sigaction before[2])
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    running = s;
    sigaction(SIGTERM, &action, &before[0]);
    sigaction(SIGINT, &action, &before[1]);
    signal(SIGPIPE, SIG_IGN);
}

/* ---- from start to end ---- */

static void tell_url(const struct server *s)
{
    const struct http_options *h = &s->options->http;
    char url[512];
    bool six = h->host && strchr(h->host, ':');
    if (h->unix_path) {
        snprintf(url, sizeof url, "unix:%s", h->unix_path);
    } else {
        snprintf(url, sizeof url, "http://%s%s%s:%d", six ? "[" : "", h->host, six ? "]" : "",
                 http_port(s->http));
    }
    if (s->options->started) {
        s->options->started(s->options->user, url);
    }
}

/* What a closed model had goes back to the system: glibc would put ever larger pieces into its
 * threads' heaps, which keep what they had. */
static void give_memory_back(void)
{
#ifdef __GLIBC__
    mallopt(M_MMAP_THRESHOLD, 1 << 20);
    mallopt(M_TRIM_THRESHOLD, 1 << 20);
#endif
}

lk_status serve_run(const struct serve_options *options, lk_error *err)
{
    struct server s = {.options = options, .started = clock_now(), .started_at = time(NULL)};
    struct sigaction before[2];
    give_memory_back();
    atomic_init(&s.stopping, false);
    pthread_mutex_init(&s.lock, NULL);
    lk_status status = open_models(&s, err);
    if (!status) {
        status = http_open(&options->http, &s.http, err);
    }
    if (!status) {
        status = routes_open(&s, err);
    }
    if (!status) {
        status = routes_info_open(&s, err);
    }
    if (!status) {
        status = routes_text_open(&s, err);
    }
    if (!status) {
        catch_signals(&s, before);
        for (size_t i = 0; i < s.n_models && !options->load_late; i++) {
            if (!options->max_loaded || i < options->max_loaded) {
                model_load(&s.model[i]);
            }
        }
        tell_url(&s);
        http_run(s.http);
        atomic_store(&s.stopping, true);
        sigaction(SIGTERM, &before[0], NULL);
        sigaction(SIGINT, &before[1], NULL);
    }
    for (size_t i = 0; i < s.n_all; i++) {
        model_free(&s.model[i]);
        free(s.model[i].template_text);
    }
    http_close(&s.http); /* delivers what the models' threads still posted */
    free(s.model);
    pthread_mutex_destroy(&s.lock);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Http driver: a server without models for http_wire.py: handlers that answer at once, later,
 * never, in pieces from another thread. Options are NAME=VALUE; prints its port, ends by SIGTERM.
 */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/server/http.h"
#include "tools/server/page.h"

static struct http *http;
static double grace = 5;
static int gone, held, drained, paused;

/* ---- answers in pieces, by a thread that never waits for a reader ---- */

struct stream {
    struct stream *next;
    struct http_request *r;
    int left;
    size_t size;
    bool dead, slow, broken; /* of the loop's thread */
    bool asked;              /* a piece is on its way */
    struct http_post post;
};
static struct stream *streams; /* of the loop's thread */
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct stream *queue[4096];
static int n_queue;
static bool ending;

static void ask(struct stream *s)
{
    if (!s->asked && !s->dead && !s->slow) {
        s->asked = true;
        pthread_mutex_lock(&mutex);
        queue[n_queue++ % 4096] = s;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&mutex);
    }
}

static void stream_end(struct stream *s)
{
    struct stream **at = &streams;
    while (*at != s) {
        at = &(*at)->next;
    }
    *at = s->next;
    http_end(s->r, s->broken);
    free(s);
}

static void on_piece(void *arg)
{
    struct stream *s = arg;
    s->asked = false;
    char *piece = calloc(1, s->size + 1);
    memset(piece, 'a' + s->left % 26, s->size);
    http_write(s->r, piece, s->size);
    free(piece);
    if (--s->left <= 0 || s->dead) {
        stream_end(s);
        return;
    }
    if (http_is_slow(s->r)) {
        s->slow = true;
        paused++;
    }
    ask(s);
}

static void *produce(void *arg)
{
    (void)arg;
    pthread_mutex_lock(&mutex);
    for (int at = 0; !ending;) {
        if (at == n_queue) {
            pthread_cond_wait(&changed, &mutex);
            continue;
        }
        struct stream *s = queue[at++ % 4096];
        pthread_mutex_unlock(&mutex);
        http_post(http, &s->post, on_piece, s);
        pthread_mutex_lock(&mutex);
    }
    pthread_mutex_unlock(&mutex);
    return NULL;
}

static void on_stream_gone(void *arg)
{
    struct stream *s = arg;
    gone++;
    s->dead = true;
    if (!s->asked) {
        stream_end(s);
    }
}

static void on_stream_drained(void *arg)
{
    struct stream *s = arg;
    drained++;
    s->slow = false;
    ask(s);
}

static long number(struct http_request *r, const char *name, long otherwise)
{
    const char *text = http_query(r, name);
    return text ? atol(text) : otherwise;
}

static void get_stream(void *user, struct http_request *r)
{
    (void)user;
    struct stream *s = calloc(1, sizeof *s);
    s->r = r;
    s->left = (int)number(r, "n", 3);
    s->size = (size_t)number(r, "size", 10);
    s->broken = number(r, "broken", 0) != 0;
    s->next = streams;
    streams = s;
    http_set(r, "Cache-Control", "no-cache");
    http_begin(r, 200, "text/event-stream");
    http_on_drained(r, on_stream_drained, s);
    http_on_gone(r, on_stream_gone, s);
    ask(s);
}

/* ---- others ---- */

static void get_health(void *user, struct http_request *r)
{
    (void)user;
    http_reply(r, 200, "application/json", "{}", 2);
}

static void post_echo(void *user, struct http_request *r)
{
    size_t n;
    const char *body = http_body(r, &n);
    char text[64];
    (void)user;
    snprintf(text, sizeof text, "%zu", http_key(r));
    http_set(r, "X-Key", text);
    snprintf(text, sizeof text, "%d", http_port(http));
    http_set(r, "X-Server", text);
    const char *q = http_query(r, "q"), *header = http_header(r, "X-Ask");
    http_set(r, "X-Query", q ? q : "(none)");
    http_set(r, "X-Answer", header ? header : "(none)");
    http_set(r, "X-Path", http_path(r));
    http_set(r, "X-Tail", http_tail(r));
    http_set(r, "X-Method", http_method(r));
    if (http_set(r, "Bad Name", "v") || http_set(r, "X-Bad", "a\r\nSet-Cookie: b")) {
        http_reply(r, 500, NULL, NULL, 0);
        return;
    }
    http_reply(r, 200, "application/octet-stream", body, n);
}

static void on_hold_gone(void *arg)
{
    gone++;
    held--;
    http_end(arg, false);
}

static void get_hold(void *user, struct http_request *r)
{
    (void)user;
    held++;
    http_drop_body(r);
    http_on_gone(r, on_hold_gone, r);
}

static void on_later(void *arg)
{
    http_reply(arg, 200, "text/plain", "later", 5);
}

static void get_later(void *user, struct http_request *r)
{
    (void)user;
    if (http_after(http, (double)number(r, "ms", 10) / 1e3, on_later, r)) {
        http_reply(r, 500, NULL, NULL, 0);
    }
}

static void get_big(void *user, struct http_request *r)
{
    size_t n = (size_t)number(r, "n", 1 << 20);
    char *body = malloc(n + 1);
    (void)user;
    memset(body, 'x', n);
    http_reply(r, 200, "text/plain", body, n);
    free(body);
}

static void get_nothing(void *user, struct http_request *r)
{
    (void)user;
    http_end(r, false);
}

static void get_counts(void *user, struct http_request *r)
{
    struct http_counts c = http_count(http);
    char text[600];
    (void)user;
    snprintf(text, sizeof text,
             "{\"gone\": %d, \"held\": %d, \"paused\": %d, \"drained\": %d, \"open\": %d, "
             "\"streaming\": %d, \"bodies\": %zu, \"refused\": %llu, \"lost\": %llu, "
             "\"requests\": %llu, \"client\": \"%s\", \"replies\": [%llu, "
             "%llu, %llu]}",
             gone, held, paused, drained, c.open, c.streaming, c.bodies,
             (unsigned long long)c.refused, (unsigned long long)c.gone,
             (unsigned long long)c.requests, http_client(r), (unsigned long long)c.replies[2],
             (unsigned long long)c.replies[4], (unsigned long long)c.replies[5]);
    http_reply(r, 200, "application/json", text, strlen(text));
}

static void on_signal(int number_)
{
    (void)number_;
    http_stop(http, grace);
}

static void die(const lk_error *err)
{
    fprintf(stderr, "http_driver: %s\n", err->message);
    exit(1);
}

static bool is_option(const char *arg, const char *name, const char **value)
{
    size_t n = strlen(name);
    *value = arg + n + 1;
    return strncmp(arg, name, n) == 0 && arg[n] == '=';
}

static void log_line(void *user, lk_log_level level, const char *line)
{
    (void)user;
    if (level <= LK_LOG_WARN) {
        fprintf(stderr, "%s\n", line);
    }
}

int main(int argc, char **argv)
{
    struct http_options o = http_options_default();
    struct http_keys keys = {0};
    const char *origins[8], *hosts[8], *v;
    lk_error err = {0};
    pthread_t thread;
    o.origins = origins;
    o.hosts = hosts;
    o.log = log_line;
    for (int i = 1; i < argc; i++) {
        const char *a = argv[i];
        if (is_option(a, "keys", &v)) {
            if (http_keys_read(v, &keys, &err)) {
                die(&err);
            }
            o.keys = (const char *const *)keys.key;
            o.n_keys = keys.n;
        } else if (is_option(a, "origin", &v) && o.n_origins < 8) {
            origins[o.n_origins++] = v;
        } else if (is_option(a, "name", &v) && o.n_hosts < 8) {
            hosts[o.n_hosts++] = v;
        } else if (is_option(a, "host", &v)) {
            o.host = v;
        } else if (is_option(a, "port", &v)) {
            o.port = atoi(v);
        } else if (is_option(a, "unix", &v)) {
            o.unix_path = v;
        } else if (is_option(a, "fd", &v)) {
            o.listen_fd = atoi(v);
        } else if (is_option(a, "max_body", &v)) {
            o.max_body = (size_t)atol(v);
        } else if (is_option(a, "max_bodies", &v)) {
            o.max_bodies = (size_t)atol(v);
        } else if (is_option(a, "max_unsent", &v)) {
            o.max_unsent = (size_t)atol(v);
        } else if (is_option(a, "max_connections", &v)) {
            o.max_connections = atoi(v);
        } else if (is_option(a, "header_s", &v)) {
            o.header_s = atof(v);
        } else if (is_option(a, "body_s", &v)) {
            o.body_s = atof(v);
        } else if (is_option(a, "idle_s", &v)) {
            o.idle_s = atof(v);
        } else if (is_option(a, "stall_s", &v)) {
            o.stall_s = atof(v);
        } else if (is_option(a, "grace", &v)) {
            grace = atof(v);
        } else {
            fprintf(stderr, "http_driver: unknown option %s\n", a);
            return 2;
        }
    }
    if (http_open(&o, &http, &err)) {
        die(&err);
    }
    http_keys_free(&keys);
    const struct {
        const char *method, *path;
        unsigned flags;
        http_handler handler;
    } routes[] = {{"GET", "/health", HTTP_PUBLIC, get_health},
                  {"POST", "/echo", 0, post_echo},
                  {"GET", "/echo", 0, post_echo},
                  {"POST", "/v1/chat/completions", 0, post_echo},
                  {"DELETE", "/echo", 0, post_echo},
                  {"GET", "/things/*", 0, post_echo},
                  {"GET", "/things/of/*", 0, post_echo},
                  {"GET", "/things/one", 0, post_echo},
                  {"GET", "/hold", 0, get_hold},
                  {"POST", "/hold", 0, get_hold},
                  {"GET", "/later", 0, get_later},
                  {"GET", "/big", 0, get_big},
                  {"GET", "/nothing", 0, get_nothing},
                  {"GET", "/stream", 0, get_stream},
                  {"GET", "/counts", HTTP_PUBLIC, get_counts}};
    for (size_t i = 0; i < sizeof routes / sizeof *routes; i++) {
        if (http_route(http, routes[i].method, routes[i].path, routes[i].flags, routes[i].handler,
                       NULL, &err)) {
            die(&err);
        }
    }
    if (page_open(http, &err)) {
        die(&err);
    }
    struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGTERM, &action, NULL);
    if (pthread_create(&thread, NULL, produce, NULL)) {
        return 1;
    }
    printf("%d\n", http_port(http));
    fflush(stdout);
    http_run(http);
    signal(SIGTERM, SIG_IGN);
    pthread_mutex_lock(&mutex);
    ending = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&mutex);
    pthread_join(thread, NULL);
    printf("gone %d held %d\n", gone, held);
    http_close(&http);
    while (streams) {
        struct stream *next = streams->next;
        free(streams);
        streams = next;
    }
    return 0;
}

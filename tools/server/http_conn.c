/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_conn: a connection's life: requests are read one after the other, each is handed over and
 * answered before the next is looked at, all within deadlines. Knows no routes beyond asking for
 * one, and writes no replies beyond errors.
 */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "tools/server/http_own.h"

enum {
    AHEAD = 64 << 10,    /* bytes read while a reply is written, beside a head */
    LOOK_S = 1,          /* seconds between looks at a connection that is not read */
    LINGER_S = 2,        /* seconds for the other side to read a last reply */
    BODY_FIRST = 4 << 10 /* bytes of a body's memory at first */
};

static void on_read(struct bufferevent *bev, void *arg);
static void on_write(struct bufferevent *bev, void *arg);
static void on_event(struct bufferevent *bev, short what, void *arg);
static void on_timer(evutil_socket_t fd, short what, void *arg);
static void on_turn(evutil_socket_t fd, short what, void *arg);

static void set_timer(struct http_conn *c, double seconds)
{
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    if (event_add(c->timer, &tv)) {
        http_conn_doom(c); /* without a deadline it could stay for ever */
    }
}

static struct evbuffer *input(const struct http_conn *c)
{
    return bufferevent_get_input(c->bev);
}

static size_t unsent(const struct http_conn *c)
{
    return evbuffer_get_length(bufferevent_get_output(c->bev));
}

static void conn_free(struct http_conn *c)
{
    struct http *http = c->http;
    if (c->link) {
        *c->link = c->next;
        if (c->next) {
            c->next->link = c->link;
        }
        http->counts.open--;
    }
    if (c->timer) {
        event_free(c->timer);
    }
    if (c->turn) {
        event_free(c->turn);
    }
    bufferevent_free(c->bev);
    free(c);
    if (http->stopping && !http->conns) {
        event_base_loopbreak(http->base);
    }
}

void http_conn_open(struct http *http, int fd, const char *client, bool refused)
{
    struct http_conn *c = calloc(1, sizeof *c);
    int small = 256 << 10;
    struct timeval stall = {(time_t)http->o.stall_s, 0};
    uint64_t failures = http_memory_failures();
    if (c) {
        c->bev = bufferevent_socket_new(http->base, fd, BEV_OPT_CLOSE_ON_FREE);
    }
    if (!c || !c->bev) {
        free(c);
        evutil_closesocket(fd);
        return;
    }
    c->http = http;
    c->timer = evtimer_new(http->base, on_timer, c);
    c->turn = event_new(http->base, -1, 0, on_turn, c);
    if (!c->timer || !c->turn) {
        conn_free(c);
        return;
    }
    c->next = http->conns;
    c->link = &http->conns;
    http->conns = c;
    if (c->next) {
        c->next->link = &c->next;
    }
    http->counts.open++;
    http->counts.connections++;
    snprintf(c->client, sizeof c->client, "%s", client);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small); /* what a slow reader may hold */
    bufferevent_setcb(c->bev, on_read, on_write, on_event, c);
    bufferevent_setwatermark(c->bev, EV_READ, 0, http->o.max_header + AHEAD);
    bufferevent_setwatermark(c->bev, EV_WRITE, http->o.max_unsent / 2, 0);
    bufferevent_set_timeouts(c->bev, NULL, &stall);
    bufferevent_enable(c->bev, EV_READ | EV_WRITE);
    if (http_memory_failures() != failures) {
        conn_free(c);
        return;
    }
    if (refused) {
        http->counts.refused++;
        evbuffer_add_printf(bufferevent_get_output(c->bev),
                            "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n"
                            "Retry-After: 1\r\nConnection: close\r\n\r\n");
        c->state = HTTP_FLUSH;
    } else {
        set_timer(c, http->o.idle_s);
    }
}

/* ---- the end ---- */

void http_conn_lose(struct http_conn *c)
{
    struct http_request *r = c->request;
    bool handed = c->state == HTTP_ANSWER;
    c->request = NULL;
    if (r) {
        c->http->counts.gone++;
        r->conn = NULL;
    }
    conn_free(c);
    if (r && !handed) {
        http_request_free(r);
    } else if (r && r->on_gone) {
        void (*fn)(void *arg) = r->on_gone;
        r->on_gone = NULL;
        fn(r->gone_arg);
    }
}

void http_conn_doom(struct http_conn *c)
{
    c->doomed = true;
    if (!c->busy) {
        event_active(c->turn, EV_TIMEOUT, 0);
    }
}

/* Everything is sent. What the other side still sends is read for a while: closed at once, the
 * system would take back the reply. */
static void linger(struct http_conn *c)
{
    if (c->ended) {
        conn_free(c);
        return;
    }
    c->state = HTTP_LINGER;
    shutdown(bufferevent_getfd(c->bev), SHUT_WR);
    evbuffer_drain(input(c), evbuffer_get_length(input(c)));
    set_timer(c, LINGER_S);
}

void http_conn_answered(struct http_conn *c, bool close)
{
    c->blind = false;
    if (close) {
        c->state = HTTP_FLUSH;
        evtimer_del(c->timer);
        evbuffer_drain(input(c), evbuffer_get_length(input(c)));
    } else {
        c->state = HTTP_IDLE;
        set_timer(c, c->http->o.idle_s);
    }
    if (!c->busy) {
        event_active(c->turn, EV_TIMEOUT, 0);
    }
}

void http_conn_stop(struct http_conn *c)
{
    if (c->state == HTTP_ANSWER) {
        c->request->close = true;
    } else if (c->state <= HTTP_BODY) {
        if (c->state == HTTP_IDLE && unsent(c)) {
            c->state = HTTP_FLUSH;
        } else {
            http_conn_lose(c);
        }
    }
}

/* ---- a request ---- */

static struct http_request *request_new(struct http_conn *c)
{
    struct http_request *r = calloc(1, sizeof *r);
    if (!r) {
        http_conn_doom(c);
        return NULL;
    }
    r->http = c->http;
    r->conn = c;
    r->tail = "";
    r->since = clock_now();
    r->next = c->http->requests;
    r->link = &c->http->requests;
    c->http->requests = r;
    if (r->next) {
        r->next->link = &r->next;
    }
    c->request = r;
    c->state = HTTP_ANSWER;
    evtimer_del(c->timer);
    c->http->counts.requests++;
    return r;
}

/* Of what is no request, or not a whole one. The connection ends with it. */
static void refuse_bytes(struct http_conn *c, int status, const char *why)
{
    struct http_request *r = request_new(c);
    if (r) {
        http_refuse(r, status, why);
    }
}

static void hand_over(struct http_conn *c)
{
    struct http_request *r = c->request;
    c->state = HTTP_ANSWER;
    evtimer_del(c->timer);
    r->route->handler(r->route->user, r);
}

/* With a head that was read: refused, or its body is waited for, or it is handed over. */
static void begin(struct http_conn *c)
{
    struct http_request *r = c->request;
    bool has_body = r->head.chunked || r->head.body;
    char message[256] = "";
    int status = http_route_find(r, message, sizeof message);
    r->close = has_body && (status || r->head.expects); /* until it is read */
    if (status) {
        http_refuse(r, status, message);
    } else if (r->head.body > c->http->o.max_body) {
        r->close = true;
        snprintf(message, sizeof message, "the body has %llu bytes, at most %zu are taken",
                 (unsigned long long)r->head.body, c->http->o.max_body);
        http_refuse(r, 413, message);
    } else if (!r->route) {
        r->close = has_body;
        http_route_options(r);
    } else if (has_body) {
        if (r->head.expects) {
            evbuffer_add_printf(bufferevent_get_output(c->bev), "HTTP/1.1 100 Continue\r\n\r\n");
        }
        c->state = HTTP_BODY;
        c->chunks = (struct http_chunks){0};
        set_timer(c, c->http->o.body_s);
    } else {
        hand_over(c);
    }
}

/* False: more bytes are needed. */
static bool read_head(struct http_conn *c)
{
    struct evbuffer *in = input(c);
    size_t n = evbuffer_get_length(in), look = n < 32 ? n : 32;
    struct evbuffer_ptr from, end;
    evbuffer_ptr_set(in, &from, c->searched > 3 ? c->searched - 3 : 0, EVBUFFER_PTR_SET);
    end = evbuffer_search(in, "\r\n\r\n", 4, &from);
    if (end.pos < 0 || (size_t)end.pos + 4 > c->http->o.max_header) {
        const char *bytes = (const char *)evbuffer_pullup(in, (ev_ssize_t)look);
        if (!bytes || http_head_check(bytes, look)) {
            refuse_bytes(c, 400, "this is no HTTP request");
            return true;
        }
        if (n >= c->http->o.max_header) {
            refuse_bytes(c, 431, "the request's header is longer than is taken");
            return true;
        }
        c->searched = n;
        return false;
    }
    size_t len = (size_t)end.pos + 4;
    struct http_request *r = request_new(c);
    const char *why = "";
    if (!r) {
        return true;
    }
    r->text = malloc(len + 1);
    if (!r->text) {
        http_refuse(r, 503, "no memory");
        return true;
    }
    evbuffer_remove(in, r->text, len);
    int status = http_head_parse(r->text, len, &r->head, &why);
    if (status) {
        memset(&r->head, 0, sizeof r->head);
        http_refuse(r, status, why);
    } else {
        begin(c);
    }
    return true;
}

/* ---- a body ---- */

/* 0, or the status that refuses it. */
static int append(struct http_request *r, const char *data, size_t n)
{
    struct http *http = r->http;
    size_t most = r->head.chunked ? http->o.max_body : (size_t)r->head.body;
    if (n > http->o.max_body - r->n_body) {
        return 413;
    }
    if (r->n_body + n > r->cap) {
        size_t cap = r->cap ? r->cap * 2 : BODY_FIRST;
        cap = cap < r->n_body + n ? r->n_body + n : cap;
        cap = cap > most ? most : cap;
        if (cap - r->cap > http->o.max_bodies - http->counts.bodies) {
            return 503;
        }
        char *grown = realloc(r->body, cap + 1);
        if (!grown) {
            return 503;
        }
        http->counts.bodies += cap - r->cap;
        r->body = grown;
        r->cap = cap;
    }
    memcpy(r->body + r->n_body, data, n);
    r->n_body += n;
    r->body[r->n_body] = 0;
    return 0;
}

/* A run of bytes; *used of them were read. */
static int take(struct http_conn *c, const char *bytes, size_t n, size_t *used)
{
    struct http_request *r = c->request;
    const char *data = bytes;
    size_t n_data;
    if (r->head.chunked) {
        int status = http_chunks_read(&c->chunks, bytes, n, used, &data, &n_data);
        return status || !n_data ? status : append(r, data, n_data);
    }
    uint64_t left = r->head.body - r->n_body;
    *used = n_data = left < n ? (size_t)left : n;
    return append(r, data, n_data);
}

static bool read_body(struct http_conn *c)
{
    struct http_request *r = c->request;
    struct evbuffer *in = input(c);
    while (r->head.chunked ? !c->chunks.done : r->n_body < r->head.body) {
        size_t n = evbuffer_get_contiguous_space(in), used = 0;
        if (n == 0) {
            return false;
        }
        const char *bytes = (const char *)evbuffer_pullup(in, (ev_ssize_t)n);
        int status = take(c, bytes, n, &used);
        if (status) {
            c->state = HTTP_ANSWER;
            evtimer_del(c->timer);
            r->close = true;
            http_refuse(r, status,
                        status == 413   ? "the body is longer than is taken"
                        : status == 503 ? "there is no room for the body now"
                                        : "the body's chunks are not as they should be");
            return true;
        }
        evbuffer_drain(in, used);
    }
    r->close = false;
    hand_over(c);
    return true;
}

/* ---- turns ---- */

/* Empty lines between requests are left out. True: a request has begun. */
static bool read_idle(struct http_conn *c)
{
    struct evbuffer *in = input(c);
    size_t n;
    if (unsent(c) > c->http->o.max_unsent) {
        return false; /* asks, but does not read: on_write goes on */
    }
    while ((n = evbuffer_get_length(in)) > 0) {
        const unsigned char *first = evbuffer_pullup(in, n < 2 ? 1 : 2);
        if (!first || first[0] != '\r') {
            break;
        }
        if (n < 2) {
            return false;
        }
        if (first[1] != '\n') {
            break;
        }
        evbuffer_drain(in, 2);
    }
    if (n == 0) {
        return false;
    }
    c->state = HTTP_HEAD;
    c->searched = 0;
    set_timer(c, c->http->o.header_s);
    return true;
}

/* A reply is being written. */
static void look_ahead(struct http_conn *c)
{
    if (!c->blind && evbuffer_get_length(input(c)) >= c->http->o.max_header + AHEAD) {
        c->blind = true;
        set_timer(c, LOOK_S);
    }
}

/* Reads on, as far as the input reaches. */
static void go(struct http_conn *c)
{
    c->busy = true;
    for (bool more = true; more && !c->doomed;) {
        switch (c->state) {
        case HTTP_IDLE:
            more = read_idle(c);
            break;
        case HTTP_HEAD:
            more = read_head(c);
            break;
        case HTTP_BODY:
            more = read_body(c);
            break;
        case HTTP_ANSWER:
            look_ahead(c);
            more = false;
            break;
        case HTTP_FLUSH:
        case HTTP_LINGER:
            evbuffer_drain(input(c), evbuffer_get_length(input(c)));
            more = false;
            break;
        }
    }
    c->busy = false;
    if (c->doomed) {
        http_conn_lose(c);
    } else if (c->state == HTTP_FLUSH && !unsent(c)) {
        linger(c);
    }
}

static void on_read(struct bufferevent *bev, void *arg)
{
    (void)bev;
    go(arg);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    go(arg);
}

static void on_write(struct bufferevent *bev, void *arg)
{
    struct http_conn *c = arg;
    struct http_request *r = c->request;
    (void)bev;
    if (c->state == HTTP_FLUSH && !unsent(c)) {
        linger(c);
    } else if (c->state == HTTP_IDLE) {
        go(c);
    } else if (c->state == HTTP_ANSWER && r->slow) {
        r->slow = false;
        if (r->on_drained) {
            r->on_drained(r->drained_arg);
        }
    }
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
    struct http_conn *c = arg;
    (void)bev;
    c->ended = true;
    if ((what & BEV_EVENT_EOF) && unsent(c) && c->state != HTTP_ANSWER) {
        if (c->request) { /* one whose body does not come any more, behind whole ones */
            http_request_free(c->request);
            c->request = NULL;
        }
        c->state = HTTP_FLUSH; /* it has said all; its answers are on their way */
        evtimer_del(c->timer);
    } else {
        http_conn_lose(c);
    }
}

static bool is_gone(const struct http_conn *c)
{
    struct pollfd p = {.fd = bufferevent_getfd(c->bev), .events = POLLRDHUP};
    return poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct http_conn *c = arg;
    (void)fd;
    (void)what;
    switch (c->state) {
    case HTTP_HEAD:
        refuse_bytes(c, 408, "the request's header took too long");
        break;
    case HTTP_BODY:
        c->state = HTTP_ANSWER;
        c->request->close = true;
        http_refuse(c->request, 408, "the request's body took too long");
        break;
    case HTTP_ANSWER:
        if (is_gone(c)) {
            http_conn_lose(c);
        } else if (c->blind) {
            set_timer(c, LOOK_S);
        }
        break;
    case HTTP_IDLE:
        if (unsent(c)) {
            c->state = HTTP_FLUSH;
            break;
        }
        http_conn_lose(c);
        break;
    case HTTP_FLUSH:
    case HTTP_LINGER:
        http_conn_lose(c);
        break;
    }
}

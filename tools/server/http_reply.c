/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_reply: what is read of a request, and replies to it: whole, in pieces, errors. Knows no
 * states of connections beyond telling that the reply is written.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tools/server/http_own.h"

/* ---- the request ---- */

const char *http_method(const struct http_request *r)
{
    return r->head.method;
}

const char *http_path(const struct http_request *r)
{
    return r->head.path;
}

const char *http_tail(const struct http_request *r)
{
    return r->tail;
}

const char *http_query(const struct http_request *r, const char *name)
{
    for (size_t i = 0; i < r->head.n_query; i++) {
        if (strcmp(r->head.query[i].name, name) == 0) {
            return r->head.query[i].value;
        }
    }
    return NULL;
}

const char *http_header(const struct http_request *r, const char *name)
{
    return http_head_field(&r->head, name);
}

const char *http_body(const struct http_request *r, size_t *len)
{
    *len = r->n_body;
    return r->body ? r->body : "";
}

void http_drop_body(struct http_request *r)
{
    r->http->counts.bodies -= r->cap;
    free(r->body);
    r->body = NULL;
    r->n_body = r->cap = 0;
}

size_t http_key(const struct http_request *r)
{
    return r->key;
}

const char *http_client(const struct http_request *r)
{
    return r->conn ? r->conn->client : "";
}

void http_request_free(struct http_request *r)
{
    http_drop_body(r);
    r->http->counts.streaming -= r->streams;
    *r->link = r->next;
    if (r->next) {
        r->next->link = r->link;
    }
    if (r->set) {
        evbuffer_free(r->set);
    }
    free(r->text);
    free(r);
}

/* Bytes of a reply's body. */
static bool put_body(const struct http_request *r, const void *data, size_t len)
{
    uint64_t failures = http_memory_failures();
    return evbuffer_add(bufferevent_get_output(r->conn->bev), data, len) == 0 &&
           http_memory_failures() == failures;
}

/* ---- the head of a reply ---- */

static const char *reason_of(int status)
{
    static const struct {
        int status;
        const char *reason;
    } known[] = {{200, "OK"},
                 {201, "Created"},
                 {204, "No Content"},
                 {304, "Not Modified"},
                 {400, "Bad Request"},
                 {401, "Unauthorized"},
                 {403, "Forbidden"},
                 {404, "Not Found"},
                 {405, "Method Not Allowed"},
                 {408, "Request Timeout"},
                 {413, "Content Too Large"},
                 {417, "Expectation Failed"},
                 {422, "Unprocessable Content"},
                 {429, "Too Many Requests"},
                 {431, "Request Header Fields Too Large"},
                 {499, "Client Closed Request"},
                 {500, "Internal Server Error"},
                 {501, "Not Implemented"},
                 {503, "Service Unavailable"},
                 {505, "HTTP Version Not Supported"},
                 {529, "Overloaded"}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (known[i].status == status) {
            return known[i].reason;
        }
    }
    return "Unknown";
}

bool http_set(struct http_request *r, const char *name, const char *value)
{
    if (!http_is_token(name, strlen(name)) || !http_is_value(value, strlen(value))) {
        return false;
    }
    if (!r->set) {
        r->set = evbuffer_new();
    }
    return r->set && evbuffer_add_printf(r->set, "%s: %s\r\n", name, value) >= 0;
}

static void put_date(struct evbuffer *out)
{
    char text[64];
    time_t now = time(NULL);
    struct tm parts;
    static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                         "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    if (gmtime_r(&now, &parts)) {
        snprintf(text, sizeof text, "Date: %s, %02d %s %d %02d:%02d:%02d GMT\r\n",
                 days[parts.tm_wday], parts.tm_mday, months[parts.tm_mon], parts.tm_year + 1900,
                 parts.tm_hour, parts.tm_min, parts.tm_sec);
        evbuffer_add(out, text, strlen(text));
    }
}

static struct evbuffer *output(const struct http_request *r)
{
    return bufferevent_get_output(r->conn->bev);
}

/* len: of the body; SIZE_MAX: it comes in pieces. Nothing is sent before the loop goes on. */
static bool put_head(struct http_request *r, int status, const char *type, size_t len)
{
    struct evbuffer *out = output(r);
    uint64_t failures = http_memory_failures();
    bool bare = status == 204 || status == 304;
    r->status = status;
    r->begun = true;
    r->no_body = bare || r->is_head;
    r->raw = len == SIZE_MAX && r->head.minor == 0;
    r->close = r->close || !r->head.keep || r->http->stopping || r->raw;
    http_guard_set(r);
    bool ok = evbuffer_add_printf(out, "HTTP/1.1 %d %s\r\n", status, reason_of(status)) >= 0;
    put_date(out);
    if (type && !bare) {
        ok = ok && evbuffer_add_printf(out, "Content-Type: %s\r\n", type) >= 0;
    }
    if (len == SIZE_MAX && !r->raw && !bare) {
        ok = ok && evbuffer_add_printf(out, "Transfer-Encoding: chunked\r\n") >= 0;
    } else if (len != SIZE_MAX && !bare) {
        ok = ok && evbuffer_add_printf(out, "Content-Length: %zu\r\n", len) >= 0;
    }
    ok = ok && evbuffer_add_printf(out, "X-Content-Type-Options: nosniff\r\nConnection: %s\r\n",
                                   r->close ? "close" : "keep-alive") >= 0;
    if (r->set) {
        ok = ok && evbuffer_add_buffer(out, r->set) == 0;
    }
    ok = ok && evbuffer_add(out, "\r\n", 2) == 0;
    r->http->counts.replies[status / 100 < 6 ? status / 100 : 5]++;
    return ok && http_memory_failures() == failures;
}

/* ---- the end of a reply ---- */

static void log_request(const struct http_request *r)
{
    char line[400], path[201];
    size_t n = 0;
    if (!r->http->o.log) {
        return;
    }
    for (const char *p = r->head.path ? r->head.path : ""; *p && n < sizeof path - 1; p++) {
        path[n++] = *p;
    }
    path[n] = 0;
    snprintf(line, sizeof line, "http: %s %s %s: %d, %.1f ms", r->conn ? r->conn->client : "-",
             r->is_head       ? "HEAD"
             : r->head.method ? r->head.method
                              : "?",
             path, r->status ? r->status : 499, (clock_now() - r->since) * 1e3);
    r->http->o.log(r->http->o.user, LK_LOG_DEBUG, line);
}

/* The request goes, its connection goes on. */
static void finish(struct http_request *r, bool close)
{
    struct http_conn *c = r->conn;
    log_request(r);
    if (c) {
        c->request = NULL;
    }
    http_request_free(r);
    if (c) {
        http_conn_answered(c, close);
    }
}

void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len)
{
    if (!r->conn) {
        finish(r, true);
        return;
    }
    bool ok = put_head(r, status, type, len);
    if (ok && !r->no_body && len) {
        ok = put_body(r, body, len);
    }
    if (!ok) {
        http_conn_doom(r->conn);
    }
    finish(r, r->close);
}

void http_begin(struct http_request *r, int status, const char *type)
{
    r->streams = true;
    r->http->counts.streaming++;
    if (r->conn && !put_head(r, status, type, SIZE_MAX)) {
        http_conn_doom(r->conn);
    }
}

void http_write(struct http_request *r, const void *data, size_t len)
{
    if (!r->conn || r->no_body || !len) {
        return;
    }
    char size[32];
    int n = snprintf(size, sizeof size, "%zx\r\n", len);
    if (!(r->raw || put_body(r, size, (size_t)n)) || !put_body(r, data, len) ||
        !(r->raw || put_body(r, "\r\n", 2))) {
        http_conn_doom(r->conn);
    } else if (evbuffer_get_length(output(r)) > r->http->o.max_unsent) {
        r->slow = true;
    }
}

void http_end(struct http_request *r, bool broken)
{
    if (!r->conn) {
        finish(r, true);
        return;
    }
    bool bare = broken || r->raw || r->no_body;
    if (!r->begun || (!bare && !put_body(r, "0\r\n\r\n", 5))) {
        http_conn_doom(r->conn); /* nothing was answered, or not its end */
    }
    finish(r, r->close || broken);
}

/* ---- the client ---- */

void http_on_gone(struct http_request *r, void (*fn)(void *arg), void *arg)
{
    if (r->conn) {
        r->on_gone = fn;
        r->gone_arg = arg;
    } else if (fn) {
        fn(arg);
    }
}

bool http_is_gone(const struct http_request *r)
{
    return !r->conn;
}

bool http_is_slow(const struct http_request *r)
{
    return r->conn && r->slow;
}

void http_on_drained(struct http_request *r, void (*fn)(void *arg), void *arg)
{
    r->on_drained = fn;
    r->drained_arg = arg;
}

/* ---- errors ---- */

static void default_error(const char *path, int status, const char *message, char *out,
                          size_t n_bytes)
{
    (void)path;
    snprintf(out, n_bytes,
             "{\"error\": {\"message\": \"%s\", \"type\": \"%s\", \"param\": null, \"code\": "
             "null}}\n",
             message,
             status == 401   ? "authentication_error"
             : status == 403 ? "permission_error"
             : status == 404 ? "not_found_error"
             : status == 503 ? "overloaded_error"
                             : "invalid_request_error");
}

void http_set_error_writer(struct http *http, http_error_writer writer)
{
    http->error_writer = writer;
}

void http_refuse(struct http_request *r, int status, const char *message)
{
    char body[1024];
    http_error_writer write = r->http->error_writer ? r->http->error_writer : default_error;
    write(r->head.path ? r->head.path : "", status, message, body, sizeof body);
    if (status == 503) {
        http_set(r, "Retry-After", "1");
    }
    http_reply(r, status, "application/json", body, strlen(body));
}

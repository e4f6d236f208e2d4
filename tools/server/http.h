/* SPDX-License-Identifier: Apache-2.0
 *
 * Http: HTTP/1.1 for the server: listens, checks who asks, hands whole requests to their handlers,
 * and sends replies, whole or piece by piece. All of it runs on the thread of http_loop, but for
 * http_post and http_stop. Knows no models and no JSON. Over libevent, which no other file sees.
 */
#ifndef LK_SERVER_HTTP_H
#define LK_SERVER_HTTP_H

#include "lockstep.h"

struct http;
struct http_request;

struct http_options {
    const char *host;                /* a name or address; "127.0.0.1" unless the user wants more */
    int port;                        /* 0: any that is free: http_port */
    const char *unix_path;           /* a socket of the file system instead of host and port */
    int listen_fd;                   /* one that listens already (systemd); -1: none */
    size_t max_body, max_header;     /* bytes; beyond: 413 and 431 */
    int max_connections;             /* further ones get 503 and are closed */
    double header_s, body_s, idle_s; /* seconds for a header, for a body, between requests */
    size_t max_unsent;               /* bytes that wait for a slow reader: http_is_slow */
    const char *const *keys;         /* NULL or n_keys bearer tokens, one of which is needed */
    size_t n_keys;
    const char *const *origins; /* pages of other hosts that may ask (CORS); "*": all */
    size_t n_origins;
    const char *const *hosts; /* names, beside those of the loopback and `host`, that a
                                 Host header may have; "*": any */
    size_t n_hosts;
    lk_log_fn log;
    void *user;
};

lk_status http_open(const struct http_options *options, struct http **out, lk_error *err);
void http_close(struct http **http);
int http_port(const struct http *http);

/* A handler answers now (http_reply), or keeps the request and answers later, on the same thread.
 * Routes are "GET", "POST" or "DELETE" and a path; one that ends in "/" with a '*' after it takes
 * all paths below ("/v1/models/" "*"): http_tail. Public routes (health, the page) need no key.
 * OPTIONS, HEAD, 404, 405 are answered without handlers. */
typedef void (*http_handler)(void *user, struct http_request *r);
enum { HTTP_PUBLIC = 1 };
lk_status http_route(struct http *http, const char *method, const char *path, unsigned flags,
                     http_handler handler, void *user, lk_error *err);
/* The body of errors that http itself answers with (400, 401, 403, 404, 405, 413, ...); the default
 * is {"error": {"message": ..., "type": ...}}. */
void http_run(struct http *http); /* returns after http_stop */
void http_stop(struct http *http,
               double grace_s); /* from any thread or signal handler: no new
                                   connections; open replies may end until then */
/* From any thread: fn(arg) is called on the loop's thread, in the order posted. */
lk_status http_post(struct http *http, void (*fn)(void *arg), void *arg);
/* On the loop's thread, after so many seconds, once. */
lk_status http_after(struct http *http, double seconds, void (*fn)(void *arg), void *arg);

const char *http_method(const struct http_request *r);
const char *http_path(const struct http_request *r); /* decoded, without the query */
const char *http_tail(const struct http_request *r); /* after the route's path; "" */
const char *http_query(const struct http_request *r, const char *name);  /* decoded, or NULL */
const char *http_header(const struct http_request *r, const char *name); /* or NULL */
const char *http_body(const struct http_request *r, size_t *len);        /* ends with a 0 beside */
/* Which key it was sent with: 1 .. n_keys; 0: there are none. */
size_t http_key(const struct http_request *r);

/* Headers of the reply, before it. Name and value are checked. */
void http_set(struct http_request *r, const char *name, const char *value);
/* The whole reply; the request is gone after it. */
void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len);
/* A reply in pieces (chunked): begin, pieces, end; the request is gone after http_end, which with
 * `broken` closes the connection without the last chunk. */
void http_begin(struct http_request *r, int status, const char *type);
void http_write(struct http_request *r, const void *data, size_t len);
void http_end(struct http_request *r, bool broken);
/* Called once when the client has gone before the reply's end, even when nothing has been sent; the
 * request must then be ended by http_end. */
void http_on_gone(struct http_request *r, void (*fn)(void *arg), void *arg);
/* More than max_unsent bytes wait for the reader; `fn` is called when half of them are sent. */
bool http_is_slow(const struct http_request *r);
void http_on_drained(struct http_request *r, void (*fn)(void *arg), void *arg);

struct http_counts {
    uint64_t connections, requests, replies[6]; /* by hundreds of status */
    int open, streaming;
};
struct http_counts http_count(const struct http *http);

#endif

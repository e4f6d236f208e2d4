/* SPDX-License-Identifier: Apache-2.0
 *
 * Http: HTTP/1.1 for the server: listens, checks who asks, hands whole requests to their handlers,
 * and sends replies, whole or piece by piece. All of it runs on the thread of http_run, but for
 * http_post and http_stop. Knows no models and no JSON. Sockets, timers and buffers are libevent's,
 * which only the http_ files see; what a request may look like is http_parse.c's.
 */
#ifndef LK_SERVER_HTTP_H
#define LK_SERVER_HTTP_H

#include "lockstep.h"

struct http;
struct http_request;

struct http_options {
    const char *host;      /* a name or address; "127.0.0.1" unless the user wants more */
    int port;              /* 0: any that is free: http_port */
    const char *unix_path; /* a socket of the file system, mode 0600, instead of host and port */
    int listen_fd;         /* one that listens already (systemd), taken over; -1: none */
    size_t max_header;     /* bytes of a request line with its header fields; beyond: 431 */
    size_t max_body;       /* bytes of a body; beyond: 413 */
    size_t max_bodies;     /* bytes of all bodies held at a time; beyond: 503 */
    int max_connections;   /* further ones get 503 and are closed; fewer where files are limited */
    /* Seconds for a header from its first byte, for a body, until the first byte of a connection
     * and between requests, and that a reader may take nothing while bytes wait for it; beyond: it
     * is closed. */
    double header_s, body_s, idle_s, stall_s;
    size_t max_unsent;       /* bytes that wait for a slow reader: http_is_slow */
    const char *const *keys; /* NULL or n_keys bearer tokens, one of which is needed */
    size_t n_keys;
    const char *const *origins; /* pages of other hosts that may ask (CORS); "*": all */
    size_t n_origins;
    const char *const *hosts; /* names that a Host header may have beside addresses, "localhost" and
                                 `host`; "*": any */
    size_t n_hosts;
    lk_log_fn log; /* a line a request at LK_LOG_DEBUG; NULL: none */
    void *user;
};
/* 127.0.0.1, any port, no keys, and limits that fit a machine of one user. */
struct http_options http_options_default(void);

/* Options are copied. From here on connections are taken by the system; they are served in
 * http_run. Raises the process's limit of open files to what max_connections needs, if it may. */
lk_status http_open(const struct http_options *options, struct http **out, lk_error *err);
/* After http_run. Connections that are left are closed as by http_stop; takes NULL. */
void http_close(struct http **http);
int http_port(const struct http *http); /* -1: a socket of the file system */

/* Keys out of a file, one a line; empty lines and those that begin with '#' are left out. A key is
 * 1 to 512 printable characters without spaces; none in a file is an error. */
struct http_keys {
    char **key; /* [n] */
    size_t n;
};
lk_status http_keys_read(const char *path, struct http_keys *out, lk_error *err);
void http_keys_free(struct http_keys *keys);

/* A handler answers now (http_reply), or keeps the request and answers later, on the same thread.
 * Routes are "GET", "POST" or "DELETE" and a path; one that ends in "/" and a '*' takes all paths
 * below it, the longest such route first: http_tail. Of routes with the same method and path the
 * first counts. Public routes (health, the page) need no key. OPTIONS, HEAD, 404, 405 are answered
 * without handlers. All routes are named before http_run. */
typedef void (*http_handler)(void *user, struct http_request *r);
enum { HTTP_PUBLIC = 1 };
lk_status http_route(struct http *http, const char *method, const char *path, unsigned flags,
                     http_handler handler, void *user, lk_error *err);
/* Writes the body of an error that http itself answers with (400, 401, 403, 404, 405, 408, 413,
 * ...) into `out` as a C string of JSON, at most n_bytes with its 0. The path is as it came, to be
 * escaped; the message needs none. The default, for NULL, is
 * {"error": {"message": ..., "type": ..., "param": null, "code": null}}. */
typedef void (*http_error_writer)(const char *path, int status, const char *message, char *out,
                                  size_t n_bytes);
void http_set_error_writer(struct http *http, http_error_writer writer);

void http_run(struct http *http); /* returns after http_stop */
/* From any thread or signal handler: no new connections; open replies may end for grace_s seconds,
 * then they are broken off. Called again, the shorter time counts. */
void http_stop(struct http *http, double grace_s);
/* From any thread: fn(arg) is called on the loop's thread, in the order posted; what is posted
 * until http_run returns is called before it does. The post's memory is the caller's, who leaves it
 * alone until the call. */
struct http_post {
    struct http_post *next;
    void (*fn)(void *arg);
    void *arg;
};
void http_post(struct http *http, struct http_post *post, void (*fn)(void *arg), void *arg);
/* On the loop's thread, after so many seconds, once; never after http_run has returned. */
lk_status http_after(struct http *http, double seconds, void (*fn)(void *arg), void *arg);

const char *http_method(const struct http_request *r); /* "GET" for HEAD */
const char *http_path(const struct http_request *r);   /* decoded, without the query */
const char *http_tail(const struct http_request *r);   /* after the route's path; "" */
const char *http_query(const struct http_request *r, const char *name); /* decoded, or NULL */
/* The first of that name, without regard to case, or NULL. */
const char *http_header(const struct http_request *r, const char *name);
const char *http_body(const struct http_request *r, size_t *len); /* ends with a 0 beside */
void http_drop_body(struct http_request *r);                      /* it is not needed any more */
/* Which key it was sent with: 1 .. n_keys; 0: there are none, or a public route was asked without.
 */
size_t http_key(const struct http_request *r);
const char *http_client(const struct http_request *r); /* its address, or "" */

/* A header of the reply, before it. False: not set, for its name or value may not stand there. */
bool http_set(struct http_request *r, const char *name, const char *value);
/* The whole reply; the request is gone after it. `type` may be NULL without a body. */
void http_reply(struct http_request *r, int status, const char *type, const void *body, size_t len);
/* A reply in pieces (chunked): begin, pieces, end; the request is gone after http_end, which with
 * `broken` closes the connection without the last chunk. Nothing of it fails when the client is
 * gone, or memory: then it is as if the client had gone. */
void http_begin(struct http_request *r, int status, const char *type);
void http_write(struct http_request *r, const void *data, size_t len);
void http_end(struct http_request *r, bool broken);
/* Called once when the client has gone before the reply's end, even when nothing has been sent; at
 * once if it has gone by now. The request must then be ended by http_end (or http_reply), in the
 * call or later. A client that shuts down only its sending side counts as gone. NULL: not called
 * any more. */
void http_on_gone(struct http_request *r, void (*fn)(void *arg), void *arg);
bool http_is_gone(const struct http_request *r);
/* More than max_unsent bytes wait for the reader; `fn` is called each time that half of them are
 * left after that. */
bool http_is_slow(const struct http_request *r);
void http_on_drained(struct http_request *r, void (*fn)(void *arg), void *arg);

struct http_counts {
    uint64_t connections, refused; /* refused: beyond max_connections */
    uint64_t requests, replies[6]; /* by hundreds of status */
    uint64_t gone;                 /* clients, before their reply's end */
    int open, streaming;           /* connections; replies in pieces */
    size_t bodies;                 /* bytes held */
};
struct http_counts http_count(const struct http *http); /* on the loop's thread */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_own: what the http_ files share and nobody else sees: the server, its connections, their
 * requests. A connection has at most one request, which a handler may outlive: a request whose
 * client is gone has no connection.
 */
#ifndef LK_SERVER_HTTP_OWN_H
#define LK_SERVER_HTTP_OWN_H

#include <pthread.h>
#include <stdatomic.h>

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>

#include "tools/server/clock.h"
#include "tools/server/http.h"
#include "tools/server/http_parse.h"

enum { HTTP_MAX_LISTENERS = 8 };

struct http_later { /* of http_after */
    struct http_later *next, **link;
    struct event *timer;
    void (*fn)(void *arg);
    void *arg;
};
struct http_route {
    char *method, *path; /* the path without its '*' */
    size_t len;
    bool below; /* had one */
    unsigned flags;
    http_handler handler;
    void *user;
};

struct http {
    struct http_options o; /* its lists are owned */
    struct event_base *base;
    struct evconnlistener *listener[HTTP_MAX_LISTENERS];
    int n_listeners, port;
    struct event *wake, *stop_timer, *accept_timer;
    int wake_fd;
    atomic_int stop_ms; /* -1: not asked to stop */
    bool stopping;
    pthread_mutex_t mutex; /* of posted and its end */
    struct http_post *posted, **posted_end;
    struct http_later *later;
    struct http_route *route; /* [n_routes] */
    size_t n_routes;
    http_error_writer error_writer;
    struct http_conn *conns;
    struct http_request *requests; /* those whose clients are gone, too */
    struct http_counts counts;
};

enum http_state {
    HTTP_IDLE,   /* waits for a request's first byte */
    HTTP_HEAD,   /* reads a head */
    HTTP_BODY,   /* reads a body */
    HTTP_ANSWER, /* a handler has it */
    HTTP_FLUSH,  /* the last reply is on its way; then it lingers */
    HTTP_LINGER  /* has said its last; waits for the other side's end, reads and forgets */
};
struct http_conn {
    struct http *http;
    struct http_conn *next, **link;
    struct bufferevent *bev;
    struct event *timer, *turn; /* deadline of the state; turn: goes on from the loop */
    enum http_state state;
    struct http_request *request; /* in HTTP_BODY and HTTP_ANSWER */
    struct http_chunks chunks;
    size_t searched; /* bytes of the input without the end of a head */
    bool busy;       /* in http_conn_go */
    bool blind;      /* so much came ahead that nothing is read: its end would not be seen */
    bool ended;      /* the other side sends nothing more */
    bool doomed;     /* to be lost when the loop goes on */
    char client[64];
};

struct http_request {
    struct http *http;
    struct http_request *next, **link; /* of all */
    struct http_conn *conn;            /* NULL: the client is gone */
    char *text;                        /* the head's bytes */
    struct http_head head;
    const struct http_route *route;
    const char *tail;
    char *body; /* [n_body], room for cap and a 0 */
    size_t n_body, cap;
    size_t key;
    struct evbuffer *set; /* header lines of the reply */
    int status;           /* of the reply, once it has begun */
    bool no_body;         /* HEAD, 204, 304 */
    bool raw;             /* a reply in pieces to HTTP/1.0, ended by closing */
    bool begun, streams, close, slow, is_head;
    double since;
    void (*on_gone)(void *arg);
    void *gone_arg;
    void (*on_drained)(void *arg);
    void *drained_arg;
};

/* http_memory.c */
void http_memory_watch(void);        /* before libevent is used */
uint64_t http_memory_failures(void); /* of libevent's allocations, so far */

/* http_conn.c */
/* Takes fd. Refused: it is told that there are too many connections, and closed. */
void http_conn_open(struct http *http, int fd, const char *client, bool refused);
/* The reply of the present request is written: keep or close the connection after it. */
void http_conn_answered(struct http_conn *c, bool close);
/* Closes at once; its request, if there is one, is told that its client is gone. Not to be called
 * by what a handler may call: that is http_conn_doom, which does it when the loop goes on. */
void http_conn_lose(struct http_conn *c);
void http_conn_doom(struct http_conn *c);
void http_conn_stop(struct http_conn *c); /* closes what has no request; others after theirs */

/* http_reply.c */
void http_request_free(struct http_request *r);
/* An error of http's own; the head is all zero where it could not be read. */
void http_refuse(struct http_request *r, int status, const char *message);

/* http_guard.c: 0, or the status that refuses it, with a message of n_bytes. */
int http_guard(struct http_request *r, char *message, size_t n_bytes);
bool http_guard_is_preflight(const struct http_request *r);
void http_guard_set(struct http_request *r); /* header fields for pages of other hosts */

/* http_route.c: what is known once the head is there. 0: its body is read, then the handler is
 * called; else the status that refuses it. */
int http_route_find(struct http_request *r, char *message, size_t n_bytes);
/* Answers what needs no handler: OPTIONS. */
bool http_route_options(struct http_request *r);
void http_routes_free(struct http *http);

#endif

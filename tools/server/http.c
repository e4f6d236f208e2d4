/* SPDX-License-Identifier: Apache-2.0
 *
 * Http: the server's frame: copies of options, sockets that listen, the loop, what other threads
 * post to it, the end. Knows no requests.
 *
 * libevent has an HTTP server of its own (evhttp). It is not used: it neither bounds the number of
 * connections nor the time of a header (a byte every few seconds holds it open), tells nothing of a
 * client that leaves before its reply has begun, and takes bytes that proxies read in another way.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "tools/server/http_own.h"

enum { BACKLOG = 1024, REFUSED_AT_ONCE = 64, OTHER_FILES = 256 };

__attribute__((format(printf, 3, 4))) static lk_status fail(lk_error *err, lk_status status,
                                                            const char *format, ...)
{
    if (err) {
        va_list args;
        va_start(args, format);
        vsnprintf(err->message, sizeof err->message, format, args);
        va_end(args);
        err->status = status;
    }
    return status;
}

/* ---- options ---- */

static void free_list(const char *const *list, size_t n)
{
    for (size_t i = 0; list && i < n; i++) {
        free((char *)list[i]);
    }
    free((void *)list);
}

/* A copy of n strings; *failed is set when memory ran out. */
static const char *const *copy_list(const char *const *list, size_t n, bool *failed)
{
    char **copy = calloc(n + 1, sizeof *copy);
    for (size_t i = 0; copy && i < n; i++) {
        copy[i] = strdup(list[i]);
        *failed = *failed || !copy[i];
    }
    *failed = *failed || !copy;
    return (const char *const *)copy;
}

static bool copy_options(struct http *http, const struct http_options *o)
{
    bool failed = false;
    http->o = *o;
    http->o.host = o->host && !o->unix_path && o->listen_fd < 0 ? strdup(o->host) : NULL;
    http->o.unix_path = o->unix_path ? strdup(o->unix_path) : NULL;
    failed = (o->unix_path && !http->o.unix_path) ||
             (http->o.host == NULL && o->host && !o->unix_path && o->listen_fd < 0);
    http->o.keys = copy_list(o->keys, o->n_keys, &failed);
    http->o.origins = copy_list(o->origins, o->n_origins, &failed);
    http->o.hosts = copy_list(o->hosts, o->n_hosts, &failed);
    return !failed;
}

static void free_options(struct http_options *o)
{
    for (size_t i = 0; o->keys && i < o->n_keys; i++) {
        if (o->keys[i]) {
            explicit_bzero((char *)o->keys[i], strlen(o->keys[i]));
        }
    }
    free_list(o->keys, o->n_keys);
    free_list(o->origins, o->n_origins);
    free_list(o->hosts, o->n_hosts);
    free((char *)o->host);
    free((char *)o->unix_path);
}

static lk_status check_options(const struct http_options *o, lk_error *err)
{
    if (o->port < 0 || o->port > 65535) {
        return fail(err, LK_E_INVALID, "port %d is not within 0 .. 65535", o->port);
    }
    if (o->max_header < 256 || o->max_header > 1 << 20) {
        return fail(err, LK_E_INVALID, "a header of at most %zu bytes: 256 .. 1048576 are expected",
                    o->max_header);
    }
    if (o->max_connections < 1 || o->max_body < 1 || o->max_bodies < o->max_body ||
        o->max_unsent < 2 || !(o->header_s > 0) || !(o->body_s > 0) || !(o->idle_s > 0) ||
        !(o->stall_s >= 1)) {
        return fail(err, LK_E_INVALID, "limits of connections must be more than 0");
    }
    for (size_t i = 0; i < o->n_keys; i++) {
        if (!*o->keys[i]) {
            return fail(err, LK_E_INVALID, "key %zu is empty", i + 1);
        }
    }
    return LK_OK;
}

/* Each connection is an open file. */
static void make_room(struct http *http)
{
    struct rlimit limit;
    rlim_t want = (rlim_t)http->o.max_connections + REFUSED_AT_ONCE + OTHER_FILES;
    if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur >= want) {
        return;
    }
    rlim_t may = limit.rlim_max < want ? limit.rlim_max : want;
    limit.rlim_cur = may;
    if (setrlimit(RLIMIT_NOFILE, &limit) == 0 && may < want) {
        rlim_t rest = REFUSED_AT_ONCE + OTHER_FILES;
        http->o.max_connections = may > rest + 1 ? (int)(may - rest) : 1;
        if (http->o.log) {
            char line[120];
            snprintf(line, sizeof line,
                     "http: at most %d connections, for the system allows %llu open files",
                     http->o.max_connections, (unsigned long long)may);
            http->o.log(http->o.user, LK_LOG_WARN, line);
        }
    }
}

/* ---- sockets ---- */

static void client_name(const struct sockaddr *address, char *out, size_t n_bytes)
{
    *out = 0;
    if (address->sa_family == AF_INET) {
        inet_ntop(AF_INET, &((const struct sockaddr_in *)(const void *)address)->sin_addr, out,
                  (socklen_t)n_bytes);
    } else if (address->sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr, out,
                  (socklen_t)n_bytes);
    }
}

static void on_accept(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                      int len, void *arg)
{
    struct http *http = arg;
    char client[64];
    int one = 1;
    (void)listener;
    (void)len;
    if (http->counts.open >= http->o.max_connections + REFUSED_AT_ONCE) {
        http->counts.refused++;
        evutil_closesocket(fd);
        return;
    }
    client_name(address, client, sizeof client);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    http_conn_open(http, fd, client, http->counts.open >= http->o.max_connections);
}

static void on_accept_again(evutil_socket_t fd, short what, void *arg)
{
    struct http *http = arg;
    (void)fd;
    (void)what;
    for (int i = 0; i < http->n_listeners; i++) {
        evconnlistener_enable(http->listener[i]);
    }
}

/* Out of files or memory: those who wait are taken a little later. */
static void on_accept_error(struct evconnlistener *listener, void *arg)
{
    struct http *http = arg;
    struct timeval tv = {0, 200000};
    evconnlistener_disable(listener);
    evtimer_add(http->accept_timer, &tv);
}

/* Takes fd, which listens. */
static lk_status add_listener(struct http *http, int fd, lk_error *err)
{
    evutil_make_socket_nonblocking(fd);
    struct evconnlistener *l =
        evconnlistener_new(http->base, on_accept, http,
                           LEV_OPT_CLOSE_ON_FREE | LEV_OPT_CLOSE_ON_EXEC, 0, fd);
    if (!l) {
        close(fd);
        return fail(err, LK_E_NOMEM, "no memory to listen");
    }
    evconnlistener_set_error_cb(l, on_accept_error);
    http->listener[http->n_listeners++] = l;
    return LK_OK;
}

static int port_of(int fd)
{
    struct sockaddr_storage address = {0};
    socklen_t len = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &len)) {
        return -1;
    }
    return address.ss_family == AF_INET    ? ntohs(((struct sockaddr_in *)&address)->sin_port)
           : address.ss_family == AF_INET6 ? ntohs(((struct sockaddr_in6 *)&address)->sin6_port)
                                           : -1;
}

static int listen_on(const struct addrinfo *info)
{
    int one = 1, fd = socket(info->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return -1;
    }
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (info->ai_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    }
    if (bind(fd, info->ai_addr, info->ai_addrlen) || listen(fd, BACKLOG)) {
        int reason = errno;
        close(fd);
        errno = reason;
        return -1;
    }
    return fd;
}

/* All addresses of a name; of "localhost" there may be two. */
static lk_status listen_tcp(struct http *http, lk_error *err)
{
    const char *host = http->o.host;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE}, *all = NULL;
    int rc = getaddrinfo(host, NULL, &hints, &all), reason = 0;
    if (rc) {
        return fail(err, LK_E_INVALID, "host %s: %s", host, gai_strerror(rc));
    }
    lk_status status = LK_OK;
    http->port = http->o.port;
    for (struct addrinfo *info = all; info && !status && http->n_listeners < HTTP_MAX_LISTENERS;
         info = info->ai_next) {
        if (info->ai_family == AF_INET) {
            ((struct sockaddr_in *)(void *)info->ai_addr)->sin_port = htons((uint16_t)http->port);
        } else if (info->ai_family == AF_INET6) {
            ((struct sockaddr_in6 *)(void *)info->ai_addr)->sin6_port = htons((uint16_t)http->port);
        } else {
            continue;
        }
        int fd = listen_on(info);
        if (fd < 0) {
            reason = errno;
            continue; /* an address that this machine has no more, say ::1 */
        }
        http->port = port_of(fd);
        status = add_listener(http, fd, err);
    }
    freeaddrinfo(all);
    if (!status && !http->n_listeners) {
        status =
            fail(err, LK_E_IO, "listening on %s port %d: %s", host, http->o.port, strerror(reason));
    }
    return status;
}

/* A socket that a server which is gone has left is taken away; a file, or one that lives, is not.
 */
static bool clear_path(const struct sockaddr_un *address)
{
    struct stat info;
    if (lstat(address->sun_path, &info)) {
        return true;
    }
    int fd = S_ISSOCK(info.st_mode) ? socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0) : -1;
    bool dead = fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) &&
                errno == ECONNREFUSED;
    if (fd >= 0) {
        close(fd);
    }
    return dead && unlink(address->sun_path) == 0;
}

static lk_status listen_unix(struct http *http, lk_error *err)
{
    const char *path = http->o.unix_path;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    http->port = -1;
    if (strlen(path) >= sizeof address.sun_path) {
        return fail(err, LK_E_INVALID, "%s: a socket's path has at most %zu bytes", path,
                    sizeof address.sun_path - 1);
    }
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    if (!clear_path(&address)) {
        return fail(err, LK_E_IO, "%s: is there already, and is no socket that a server left",
                    path);
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || chmod(path, 0600) ||
        listen(fd, BACKLOG)) {
        int reason = errno;
        if (fd >= 0) {
            close(fd);
        }
        return fail(err, LK_E_IO, "%s: %s", path, strerror(reason));
    }
    return add_listener(http, fd, err);
}

static lk_status listen_given(struct http *http, lk_error *err)
{
    int fd = http->o.listen_fd, listens = 0;
    socklen_t len = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &len) || !listens) {
        return fail(err, LK_E_INVALID, "file %d is no socket that listens", fd);
    }
    http->port = port_of(fd);
    return add_listener(http, fd, err);
}

/* ---- the loop ---- */

static void run_posted(struct http *http)
{
    pthread_mutex_lock(&http->mutex);
    struct http_post *post = http->posted;
    http->posted = NULL;
    http->posted_end = &http->posted;
    pthread_mutex_unlock(&http->mutex);
    while (post) {
        struct http_post *next = post->next;
        post->fn(post->arg);
        post = next;
    }
}

static void on_grace_over(evutil_socket_t fd, short what, void *arg)
{
    struct http *http = arg;
    (void)fd;
    (void)what;
    while (http->conns) {
        http_conn_lose(http->conns);
    }
}

static void close_listeners(struct http *http)
{
    while (http->n_listeners) {
        evconnlistener_free(http->listener[--http->n_listeners]);
        if (http->o.unix_path) {
            unlink(http->o.unix_path);
        }
    }
}

static void stop(struct http *http, int ms)
{
    struct timeval grace = {ms / 1000, ms % 1000 * 1000}, left = {0, 0}, now;
    if (http->stopping && evtimer_pending(http->stop_timer, &left)) {
        evutil_gettimeofday(&now, NULL);
        evutil_timersub(&left, &now, &left);
        if (evutil_timercmp(&grace, &left, >)) {
            return;
        }
    }
    evtimer_add(http->stop_timer, &grace);
    if (http->stopping) {
        return;
    }
    http->stopping = true;
    close_listeners(http);
    for (struct http_conn *c = http->conns, *next; c; c = next) {
        next = c->next;
        http_conn_stop(c);
    }
    if (!http->conns) {
        event_base_loopbreak(http->base);
    }
}

static void on_wake(evutil_socket_t fd, short what, void *arg)
{
    struct http *http = arg;
    uint64_t n;
    (void)what;
    if (read(fd, &n, sizeof n) == (ssize_t)sizeof n) {
        run_posted(http);
    }
    int ms = atomic_exchange(&http->stop_ms, -1);
    if (ms >= 0) {
        stop(http, ms);
    }
}

static void wake(struct http *http)
{
    uint64_t one = 1;
    ssize_t n = write(http->wake_fd, &one, sizeof one);
    (void)n; /* full: it is awake */
}

void http_post(struct http *http, struct http_post *post, void (*fn)(void *arg), void *arg)
{
    *post = (struct http_post){NULL, fn, arg};
    pthread_mutex_lock(&http->mutex);
    *http->posted_end = post;
    http->posted_end = &post->next;
    pthread_mutex_unlock(&http->mutex);
    wake(http);
}

static void later_free(struct http_later *later)
{
    *later->link = later->next;
    if (later->next) {
        later->next->link = later->link;
    }
    if (later->timer) {
        event_free(later->timer);
    }
    free(later);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
    struct http_later *later = arg;
    void (*fn)(void *arg) = later->fn;
    void *of_fn = later->arg;
    (void)fd;
    (void)what;
    later_free(later);
    fn(of_fn);
}

lk_status http_after(struct http *http, double seconds, void (*fn)(void *arg), void *arg)
{
    struct http_later *later = calloc(1, sizeof *later);
    seconds = seconds > 0 ? seconds : 0;
    struct timeval tv = {(time_t)seconds, (suseconds_t)((seconds - (double)(time_t)seconds) * 1e6)};
    if (!later) {
        return LK_E_NOMEM;
    }
    later->fn = fn;
    later->arg = arg;
    later->link = &http->later;
    later->next = http->later;
    http->later = later;
    if (later->next) {
        later->next->link = &later->next;
    }
    later->timer = evtimer_new(http->base, on_later, later);
    if (!later->timer || evtimer_add(later->timer, &tv)) {
        later_free(later);
        return LK_E_NOMEM;
    }
    return LK_OK;
}

void http_stop(struct http *http, double grace_s)
{
    int ms = grace_s > 1e6 ? 1000000000 : grace_s > 0 ? (int)(grace_s * 1e3) : 0;
    atomic_store(&http->stop_ms, ms);
    wake(http);
}

void http_run(struct http *http)
{
    struct sigaction ignore = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGPIPE, &ignore, &before);
    event_base_dispatch(http->base);
    run_posted(http);
    sigaction(SIGPIPE, &before, NULL);
}

/* ---- open and close ---- */

lk_status http_open(const struct http_options *options, struct http **out, lk_error *err)
{
    struct event_config *config = NULL;
    *out = NULL;
    lk_status status = check_options(options, err);
    if (status) {
        return status;
    }
    http_memory_watch();
    struct http *http = calloc(1, sizeof *http);
    if (!http) {
        return fail(err, LK_E_NOMEM, "no memory for a server");
    }
    http->wake_fd = -1;
    http->port = -1;
    atomic_store(&http->stop_ms, -1);
    pthread_mutex_init(&http->mutex, NULL);
    http->posted_end = &http->posted;
    status = LK_E_NOMEM;
    if (!copy_options(http, options) || !(config = event_config_new()) ||
        event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) ||
        !(http->base = event_base_new_with_config(config)) ||
        (http->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) < 0 ||
        !(http->wake = event_new(http->base, http->wake_fd, EV_READ | EV_PERSIST, on_wake, http)) ||
        event_add(http->wake, NULL) ||
        !(http->stop_timer = evtimer_new(http->base, on_grace_over, http)) ||
        !(http->accept_timer = evtimer_new(http->base, on_accept_again, http))) {
        fail(err, status, "no memory or no files left for a server");
    } else {
        make_room(http);
        status = http->o.listen_fd >= 0 ? listen_given(http, err)
                 : http->o.unix_path    ? listen_unix(http, err)
                                        : listen_tcp(http, err);
    }
    if (config) {
        event_config_free(config);
    }
    if (status) {
        http_close(&http);
    }
    *out = http;
    return status;
}

void http_close(struct http **http_of)
{
    struct http *http = *http_of;
    if (!http) {
        return;
    }
    *http_of = NULL;
    close_listeners(http);
    while (http->conns) {
        http_conn_lose(http->conns);
    }
    if (http->base) {
        run_posted(http);
    }
    while (http->requests) {
        http_request_free(http->requests);
    }
    while (http->later) {
        later_free(http->later);
    }
    http_routes_free(http);
    struct event *events[] = {http->wake, http->stop_timer, http->accept_timer};
    for (size_t i = 0; i < sizeof events / sizeof *events; i++) {
        if (events[i]) {
            event_free(events[i]);
        }
    }
    if (http->base) {
        event_base_free(http->base);
    }
    if (http->wake_fd >= 0) {
        close(http->wake_fd);
    }
    free_options(&http->o);
    pthread_mutex_destroy(&http->mutex);
    free(http);
}

int http_port(const struct http *http)
{
    return http->port;
}

struct http_counts http_count(const struct http *http)
{
    return http->counts;
}

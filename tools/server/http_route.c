/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_route: which handler a request is for, and what is refused before its body is read. Knows no
 * sockets.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/http_own.h"

static const char *const METHODS[] = {"GET", "POST", "DELETE"};
enum { N_METHODS = sizeof METHODS / sizeof *METHODS };

lk_status http_route(struct http *http, const char *method, const char *path, unsigned flags,
                     http_handler handler, void *user, lk_error *err)
{
    size_t n = strlen(path);
    bool below = n > 1 && path[n - 1] == '*', known = false;
    for (size_t i = 0; i < N_METHODS; i++) {
        known = known || strcmp(method, METHODS[i]) == 0;
    }
    if (!known || *path != '/' || (below && path[n - 2] != '/')) {
        if (err) {
            err->status = LK_E_INVALID;
            snprintf(err->message, sizeof err->message,
                     "route %s %s: a route is GET, POST or DELETE and a path", method, path);
        }
        return LK_E_INVALID;
    }
    struct http_route route = {.method = strdup(method), .path = strdup(path), .len = n - below};
    struct http_route *grown = realloc(http->route, (http->n_routes + 1) * sizeof *grown);
    http->route = grown ? grown : http->route;
    if (!grown || !route.method || !route.path) {
        free(route.method);
        free(route.path);
        if (err) {
            err->status = LK_E_NOMEM;
            snprintf(err->message, sizeof err->message, "route %s %s: no memory", method, path);
        }
        return LK_E_NOMEM;
    }
    route.path[route.len] = 0;
    route.below = below;
    route.flags = flags;
    route.handler = handler;
    route.user = user;
    grown[http->n_routes++] = route;
    return LK_OK;
}

void http_routes_free(struct http *http)
{
    for (size_t i = 0; i < http->n_routes; i++) {
        free(http->route[i].method);
        free(http->route[i].path);
    }
    free(http->route);
    http->route = NULL;
    http->n_routes = 0;
}

static bool fits(const struct http_route *route, const char *path)
{
    return route->below ? strncmp(path, route->path, route->len) == 0 && path[route->len]
                        : strcmp(path, route->path) == 0;
}

/* The route of a method for a path: an exact one, else the longest above it. */
static const struct http_route *find(const struct http *http, const char *method, const char *path)
{
    const struct http_route *best = NULL;
    for (size_t i = 0; i < http->n_routes; i++) {
        const struct http_route *route = &http->route[i];
        if (strcmp(route->method, method) == 0 && fits(route, path) &&
            (!best || (best->below && (!route->below || route->len > best->len)))) {
            best = route;
        }
    }
    return best;
}

/* "GET, HEAD, POST": what a path can be asked with; "" where there is no such path. */
static void list_methods(const struct http *http, const char *path, char *out, size_t n_bytes)
{
    *out = 0;
    for (size_t i = 0; i < N_METHODS; i++) {
        if (find(http, METHODS[i], path)) {
            size_t n = strlen(out);
            snprintf(out + n, n_bytes - n, "%s%s", n ? ", " : "",
                     strcmp(METHODS[i], "GET") == 0 ? "GET, HEAD" : METHODS[i]);
        }
    }
}

static bool is_known_method(const char *method)
{
    static const char *const known[] = {"GET",     "HEAD",  "POST",  "PUT",    "DELETE",
                                        "OPTIONS", "PATCH", "TRACE", "CONNECT"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(method, known[i]) == 0) {
            return true;
        }
    }
    return false;
}

int http_route_find(struct http_request *r, char *message, size_t n_bytes)
{
    const char *path = r->head.path;
    char methods[64];
    if (strcmp(r->head.method, "HEAD") == 0) {
        r->is_head = true;
        r->head.method = (char *)METHODS[0];
    }
    r->route = find(r->http, r->head.method, path);
    r->tail = r->route ? path + (r->route->below ? r->route->len : strlen(path)) : "";
    int status = http_guard(r, message, n_bytes);
    if (status || r->route || strcmp(r->head.method, "OPTIONS") == 0) {
        return status;
    }
    if (!is_known_method(r->head.method)) {
        snprintf(message, n_bytes, "there is no such method");
        return 501;
    }
    list_methods(r->http, path, methods, sizeof methods);
    if (!*methods) {
        snprintf(message, n_bytes, "there is nothing at this path");
        return 404;
    }
    http_set(r, "Allow", methods);
    snprintf(message, n_bytes, "this path is for %s", methods);
    return 405;
}

bool http_route_options(struct http_request *r)
{
    char methods[64];
    if (strcmp(r->head.method, "OPTIONS") != 0) {
        return false;
    }
    list_methods(r->http, r->head.path, methods, sizeof methods);
    http_set(r, "Allow", *methods ? methods : "GET, HEAD, POST, DELETE");
    http_reply(r, 204, NULL, NULL, 0);
    return true;
}

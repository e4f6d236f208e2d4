/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_guard: who may ask: the Host and Origin of a request, its key. Knows neither bodies nor
 * handlers.
 *
 * A page in a browser on this machine can send requests here. Two ways are shut: a page of another
 * host shows itself by its Origin, which must be in a list; one that had its own name point here
 * (DNS rebinding) shows itself by its Host, so that only addresses and known names are taken.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/http_own.h"

/* ---- Host ---- */

/* The name of "name", "name:port", "[address]", "[address]:port"; false where it is none of them.
 */
static bool split_host(const char *host, char *name, size_t n_bytes)
{
    size_t n = *host == '[' ? strcspn(host, "]") : strcspn(host, ":");
    const char *port = host + n;
    if (*host == '[') {
        if (*port != ']') {
            return false;
        }
        host++;
        n--;
        port++;
    }
    if (n == 0 || n >= n_bytes || (*port && *port != ':')) {
        return false;
    }
    if (*port == ':' && (strlen(port) > 6 || strspn(port + 1, "0123456789") != strlen(port + 1))) {
        return false;
    }
    memcpy(name, host, n);
    name[n] = 0;
    return strpbrk(name, " \t/\\@?#\"<>,") == NULL;
}

static bool is_address(const char *name)
{
    unsigned char bytes[16];
    return inet_pton(AF_INET, name, bytes) == 1 || inet_pton(AF_INET6, name, bytes) == 1;
}

static bool is_listed(const char *const *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(list[i], "*") == 0 || http_same_name(list[i], name)) {
            return true;
        }
    }
    return false;
}

static bool is_host_known(const struct http *http, const char *host)
{
    char name[256];
    if (!split_host(host, name, sizeof name)) {
        return false;
    }
    size_t n = strlen(name);
    if (n && name[n - 1] == '.') {
        name[n - 1] = 0; /* "localhost." */
    }
    return is_address(name) || http_same_name(name, "localhost") ||
           (http->o.host && http_same_name(name, http->o.host)) ||
           is_listed(http->o.hosts, http->o.n_hosts, name);
}

/* ---- Origin ---- */

/* The origin of a page that this server has sent: the same host and port. */
static bool is_own(const struct http_request *r, const char *origin)
{
    const char *host = strstr(origin, "://");
    return host && r->head.host && http_same_name(host + 3, r->head.host);
}

static bool is_origin_allowed(const struct http_request *r, const char *origin)
{
    return is_own(r, origin) || is_listed(r->http->o.origins, r->http->o.n_origins, origin);
}

bool http_guard_is_preflight(const struct http_request *r)
{
    return strcmp(r->head.method, "OPTIONS") == 0 && http_head_field(&r->head, "Origin") &&
           http_head_field(&r->head, "Access-Control-Request-Method");
}

void http_guard_set(struct http_request *r)
{
    const char *origin = http_head_field(&r->head, "Origin");
    if (r->http->o.n_origins) {
        http_set(r, "Vary", "Origin");
    }
    if (!origin || is_own(r, origin) || !is_origin_allowed(r, origin)) {
        return;
    }
    http_set(r, "Access-Control-Allow-Origin", origin);
    if (!http_guard_is_preflight(r)) {
        http_set(r, "Access-Control-Expose-Headers", "*");
        return;
    }
    const char *fields = http_head_field(&r->head, "Access-Control-Request-Headers");
    http_set(r, "Access-Control-Allow-Methods", "GET, HEAD, POST, DELETE, OPTIONS");
    if (fields) {
        http_set(r, "Access-Control-Allow-Headers", fields);
    }
    if (http_head_field(&r->head, "Access-Control-Request-Private-Network")) {
        http_set(r, "Access-Control-Allow-Private-Network", "true");
    }
    http_set(r, "Access-Control-Max-Age", "600");
}

/* ---- keys ---- */

/* Takes as long whatever the key is: by the length of what was sent alone. */
static unsigned differ(const char *sent, size_t n, const char *key)
{
    size_t len = strlen(key);
    unsigned d = n != len;
    for (size_t i = 0; i < n; i++) {
        d |= (unsigned char)(sent[i] ^ key[i % len]);
    }
    return d;
}

/* All keys are compared, so that the time does not tell which one it was. */
static size_t find_key(const struct http *http, const char *sent)
{
    size_t found = 0, n = strlen(sent);
    for (size_t i = 0; i < http->o.n_keys; i++) {
        size_t same = differ(sent, n, http->o.keys[i]) == 0;
        found |= (0 - same) & (i + 1);
    }
    return found;
}

static const char *sent_key(const struct http_request *r)
{
    const char *bearer = http_head_field(&r->head, "Authorization");
    if (bearer) {
        char scheme[8] = "";
        memcpy(scheme, bearer, strnlen(bearer, 7));
        return http_same_name(scheme, "Bearer ") ? bearer + 7 + strspn(bearer + 7, " ") : NULL;
    }
    return http_head_field(&r->head, "X-Api-Key");
}

int http_guard(struct http_request *r, char *message, size_t n_bytes)
{
    const struct http *http = r->http;
    const char *origin = http_head_field(&r->head, "Origin");
    if (http->port >= 0 && r->head.host && !is_host_known(http, r->head.host)) {
        snprintf(message, n_bytes,
                 "this server does not go by the name of the Host header; names beside addresses "
                 "and localhost must be allowed when it is started");
        return 403;
    }
    if (origin && !is_origin_allowed(r, origin)) {
        snprintf(message, n_bytes,
                 "pages of this Origin may not ask; origins must be allowed when the server is "
                 "started");
        return 403;
    }
    if (http->o.n_keys && !http_guard_is_preflight(r)) {
        const char *sent = sent_key(r);
        r->key = sent ? find_key(http, sent) : 0;
        if (!r->key && !(r->route && (r->route->flags & HTTP_PUBLIC))) {
            http_set(r, "WWW-Authenticate", "Bearer");
            snprintf(message, n_bytes, "%s",
                     sent ? "the key is not one of this server's"
                          : "a key is needed: Authorization: Bearer KEY");
            return 401;
        }
    }
    return 0;
}

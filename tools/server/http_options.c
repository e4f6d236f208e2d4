/* SPDX-License-Identifier: Apache-2.0
 *
 * Http_options: limits that fit a machine of one user, and the file of keys. Knows no sockets: the
 * program's options are made of it even where it is built without a server.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/http.h"

struct http_options http_options_default(void)
{
    return (struct http_options){.host = "127.0.0.1",
                                 .listen_fd = -1,
                                 .max_header = 16 << 10,
                                 .max_body = 32 << 20,
                                 .max_bodies = 512 << 20,
                                 .max_connections = 1024,
                                 .header_s = 10,
                                 .body_s = 60,
                                 .idle_s = 75,
                                 .stall_s = 60,
                                 .max_unsent = 1 << 20};
}

/* ---- the file of keys ---- */

static lk_status keys_fail(lk_error *err, lk_status status, const char *format, const char *path,
                           size_t line)
{
    if (err) {
        err->status = status;
        snprintf(err->message, sizeof err->message, format, path, line);
    }
    return status;
}

static bool is_key(const char *text)
{
    size_t n = strlen(text);
    for (size_t i = 0; i < n; i++) {
        if (text[i] <= ' ' || text[i] > '~') {
            return false;
        }
    }
    return n > 0 && n <= 512;
}

static bool add_key(struct http_keys *keys, const char *text)
{
    char **grown = realloc(keys->key, (keys->n + 1) * sizeof *grown);
    if (!grown) {
        return false;
    }
    keys->key = grown;
    char *copy = strdup(text);
    if (copy) {
        grown[keys->n++] = copy;
    }
    return copy != NULL;
}

lk_status http_keys_read(const char *path, struct http_keys *out, lk_error *err)
{
    *out = (struct http_keys){0};
    FILE *file = fopen(path, "re");
    if (!file) {
        int reason = errno;
        if (err) {
            err->status = LK_E_IO;
            snprintf(err->message, sizeof err->message, "%s: %s", path, strerror(reason));
        }
        return LK_E_IO;
    }
    lk_status status = LK_OK;
    char line[1024];
    for (size_t number = 1; !status && fgets(line, sizeof line, file); number++) {
        line[strcspn(line, "\r\n")] = 0;
        if (!*line || *line == '#') {
            continue;
        }
        if (!is_key(line)) {
            status = keys_fail(err, LK_E_FORMAT,
                               "%s: line %zu is no key: 1 to 512 printable characters without "
                               "spaces are expected",
                               path, number);
        } else if (!add_key(out, line)) {
            status = keys_fail(err, LK_E_NOMEM, "%s: no memory for key %zu", path, number);
        }
    }
    if (!status && ferror(file)) {
        status = keys_fail(err, LK_E_IO, "%s: reading failed after %zu keys", path, out->n);
    }
    if (!status && out->n == 0) {
        status = keys_fail(err, LK_E_FORMAT, "%s: has %zu keys, at least 1 is expected", path, 0);
    }
    fclose(file);
    explicit_bzero(line, sizeof line);
    if (status) {
        http_keys_free(out);
    }
    return status;
}

void http_keys_free(struct http_keys *keys)
{
    for (size_t i = 0; i < keys->n; i++) {
        explicit_bzero(keys->key[i], strlen(keys->key[i]));
        free(keys->key[i]);
    }
    free(keys->key);
    *keys = (struct http_keys){0};
}

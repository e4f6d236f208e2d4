/* SPDX-License-Identifier: Apache-2.0
 *
 * Page: sends the files of the chat page, which are in the program, compressed. Knows nothing of
 * what they do, but for the promise it makes to browsers: only what comes from here runs, and
 * nobody else is asked for anything.
 */
#include <string.h>

#include "tools/server/page.h"

struct page_file {
    const char *path, *type, *tag; /* the tag with its quotes, as ETag has it */
    const unsigned char *data;     /* [n_bytes], gzip */
    size_t n_bytes;
};
#include "page_files.inc"

static const char POLICY[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'";

static void on_file(void *user, struct http_request *r)
{
    static const char no_gzip[] =
        "This page is sent compressed (gzip), which the request refuses.\n";
    const struct page_file *file = user;
    const char *takes = http_header(r, "Accept-Encoding"), *has = http_header(r, "If-None-Match");
    http_set(r, "Content-Security-Policy", POLICY);
    http_set(r, "Referrer-Policy", "no-referrer");
    http_set(r, "Cross-Origin-Opener-Policy", "same-origin");
    http_set(r, "Cross-Origin-Resource-Policy", "same-origin");
    http_set(r, "Vary", "Accept-Encoding");
    if (takes && !strstr(takes, "gzip") && !strchr(takes, '*')) {
        http_reply(r, 406, "text/plain", no_gzip, sizeof no_gzip - 1);
        return;
    }
    http_set(r, "ETag", file->tag);
    http_set(r, "Cache-Control", "no-cache"); /* asked again each time, sent again when changed */
    if (has && (strstr(has, file->tag) || strcmp(has, "*") == 0)) {
        http_reply(r, 304, NULL, NULL, 0);
        return;
    }
    http_set(r, "Content-Encoding", "gzip");
    http_reply(r, 200, file->type, file->data, file->n_bytes);
}

lk_status page_open(struct http *http, lk_error *err)
{
    lk_status status = LK_OK;
    for (size_t i = 0; i < sizeof FILES / sizeof *FILES && !status; i++) {
        status =
            http_route(http, "GET", FILES[i].path, HTTP_PUBLIC, on_file, (void *)&FILES[i], err);
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Fuzz http: any bytes from a client, through a pair of sockets and the server's loop. The replies
 * are the same however the bytes are cut into pieces, and nothing of a connection stays behind.
 */
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tools/server/http_own.h"

static struct http *http;

static void on_request(void *user, struct http_request *r)
{
    size_t n;
    const char *body = http_body(r, &n), *query = http_query(r, "q");
    (void)user;
    FUZZ_CHECK(body[n] == 0 && n <= 1000);
    FUZZ_CHECK(http_path(r)[0] == '/' && !strpbrk(http_path(r), "\r\n"));
    FUZZ_CHECK(!query || !strpbrk(query, "\r\n"));
    FUZZ_CHECK(!http_header(r, "Transfer-Encoding") || !http_header(r, "Content-Length"));
    if (query) {
        http_begin(r, 200, "text/plain");
        http_write(r, body, n);
        http_end(r, *query == 'b');
    } else {
        http_reply(r, 200, "text/plain", body, n);
    }
}

static void open_once(void)
{
    static const char *const keys[] = {"key"}, *const origins[] = {"http://a.example"};
    struct http_options o = http_options_default();
    lk_error err;
    if (http) {
        return;
    }
    o.max_header = 512;
    o.max_body = 1000;
    o.max_bodies = 1000;
    o.keys = keys;
    o.n_keys = 1;
    o.origins = origins;
    o.n_origins = 1;
    FUZZ_CHECK(!http_open(&o, &http, &err));
    FUZZ_CHECK(!http_route(http, "GET", "/*", HTTP_PUBLIC, on_request, NULL, &err));
    FUZZ_CHECK(!http_route(http, "POST", "/a", HTTP_PUBLIC, on_request, NULL, &err));
    FUZZ_CHECK(!http_route(http, "POST", "/key", 0, on_request, NULL, &err));
}

/* The statuses of all replies, a byte of hundreds and one of the rest each. Returns the number of
 * bytes. */
static size_t talk(const uint8_t *data, size_t n, size_t piece, uint8_t *statuses, size_t cap)
{
    int pair[2];
    char reply[1 << 16];
    size_t n_statuses = 0, sent = 0, kept = 0;
    FUZZ_CHECK(!socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair));
    http_conn_open(http, pair[0], "", false);
    for (int turn = 0; turn < 20000; turn++) {
        if (sent < n) {
            size_t take = n - sent < piece ? n - sent : piece;
            ssize_t put = send(pair[1], data + sent, take, MSG_NOSIGNAL);
            sent += put > 0 ? (size_t)put : 0;
            sent = put < 0 ? n : sent;
            if (sent == n) {
                shutdown(pair[1], SHUT_WR);
            }
        }
        event_base_loop(http->base, EVLOOP_NONBLOCK);
        ssize_t got = read(pair[1], reply + kept, sizeof reply - kept);
        if (got == 0) {
            break;
        }
        kept += got > 0 ? (size_t)got : 0;
        const char *at = reply;
        size_t left = kept;
        while ((at = memmem(reply, left, "HTTP/1.1 ", 9)) && left - (size_t)(at - reply) >= 12) {
            FUZZ_CHECK(n_statuses + 2 <= cap);
            statuses[n_statuses++] = (uint8_t)at[9];
            statuses[n_statuses++] = (uint8_t)((at[10] - '0') * 10 + at[11] - '0');
            left -= (size_t)(at + 12 - reply);
            memmove(reply, at + 12, left);
        }
        kept = left < 11 ? left : 11; /* of a body nothing is kept */
        memmove(reply, reply + left - kept, kept);
    }
    close(pair[1]);
    for (int turn = 0; turn < 100 && http->conns; turn++) {
        event_base_loop(http->base, EVLOOP_NONBLOCK);
    }
    FUZZ_CHECK(!http->conns && !http->requests);
    FUZZ_CHECK(http->counts.open == 0 && http->counts.bodies == 0 && http->counts.streaming == 0);
    return n_statuses;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static uint8_t whole[4096], parts[4096];
    if (n < 1 || n > 4096 || memmem(data, n, "HTTP/1.1 ", 9)) {
        return 0; /* a body that comes back is not to look like a reply */
    }
    open_once();
    size_t a = talk(data + 1, n - 1, n, whole, sizeof whole);
    size_t b = talk(data + 1, n - 1, 1 + data[0] % 40, parts, sizeof parts);
    FUZZ_CHECK(a == b && memcmp(whole, parts, a) == 0);
    return 0;
}

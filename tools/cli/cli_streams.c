/* SPDX-License-Identifier: Apache-2.0
 *
 * Streams: stdout and stderr over descriptors that may be closed, full or set not to block. What
 * could not be written is remembered, and is the exit code. A terminal is shown the control
 * characters of a text instead of obeying them. Knows no command.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#include "tools/cli/cli.h"

struct sink {
    int fd, error; /* errno of the first failure */
    bool visible;  /* control characters are shown */
    char held[4];  /* bytes that the next write decides: of a character, or a '\r' */
    size_t n_held;
};
static struct sink out = {.fd = STDOUT_FILENO}, err = {.fd = STDERR_FILENO};

static bool wait_to_write(int fd)
{
    struct pollfd ready = {fd, POLLOUT, 0};
    return poll(&ready, 1, -1) >= 0 || errno == EINTR;
}

static bool write_all(struct sink *sink, const char *bytes, size_t n)
{
    while (n > 0 && !sink->error) {
        ssize_t done = write(sink->fd, bytes, n);
        if (done >= 0) {
            bytes += done;
            n -= (size_t)done;
        } else if (errno != EINTR &&
                   !((errno == EAGAIN || errno == EWOULDBLOCK) && wait_to_write(sink->fd))) {
            sink->error = errno;
        }
    }
    return !sink->error;
}

/* Bytes at the end of s[0..n) that only what follows can judge. */
static size_t undecided(const char *s, size_t n)
{
    if (n && s[n - 1] == '\r') {
        return 1;
    }
    for (size_t back = 1; back <= 3 && back <= n; back++) {
        if (((unsigned char)s[n - back] & 0xc0) == 0xc0) {
            return cli_utf8_is_open(s + n - back, back) ? back : 0;
        }
    }
    return 0;
}

/* A '\r' before a '\n' is left out, all else is shown; with `last`, what is held too. */
static bool show(struct sink *sink, const char *bytes, size_t n, bool last)
{
    struct cli_buffer whole = {0}, shown = {0};
    bool ok = cli_append(&whole, sink->held, sink->n_held) && cli_append(&whole, bytes, n);
    if (ok) {
        sink->n_held = last ? 0 : undecided(whole.data, whole.n);
        memcpy(sink->held, whole.data + whole.n - sink->n_held, sink->n_held);
        for (size_t i = 0, end = whole.n - sink->n_held; i < end && ok;) {
            const char *cr = memchr(whole.data + i, '\r', end - i);
            size_t to = cr ? (size_t)(cr - whole.data) : end;
            bool newline = cr && to + 1 < end && cr[1] == '\n';
            ok = cli_visible(&shown, whole.data + i, to - i + (cr && !newline), false);
            i = to + (cr != NULL);
        }
    }
    if (!ok) {
        sink->error = sink->error ? sink->error : ENOMEM;
    }
    ok = ok && write_all(sink, shown.data, shown.n);
    cli_buffer_free(&whole);
    cli_buffer_free(&shown);
    return ok;
}

static ssize_t put(void *cookie, const char *bytes, size_t n)
{
    struct sink *sink = cookie;
    bool ok = sink->visible ? show(sink, bytes, n, false) : write_all(sink, bytes, n);
    errno = sink->error;
    return ok ? (ssize_t)n : 0;
}

/* A descriptor that is closed would go to the next file that is opened. It gets one whose use fails
 * as that of a closed one does; messages go nowhere. */
static void fill_closed(void)
{
    static const int FLAGS[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", FLAGS[fd]) != fd) {
            out.error = errno;
        }
    }
}

void cli_streams_open(void)
{
    const cookie_io_functions_t calls = {.write = put};
    fill_closed();
    FILE *o = fopencookie(&out, "w", calls), *e = fopencookie(&err, "w", calls);
    out.visible = isatty(STDOUT_FILENO);
    if (o) {
        setvbuf(o, NULL, out.visible ? _IOLBF : _IOFBF, 1 << 16);
        stdout = o;
    }
    if (e) {
        setvbuf(e, NULL, _IONBF, 0);
        stderr = e;
    }
}

void cli_raw_output(void)
{
    out.visible = false;
}

bool cli_out(struct cli *cli, const char *bytes, size_t n)
{
    if (!cli->closed && (fwrite(bytes, 1, n, stdout) < n || fflush(stdout))) {
        cli->closed = true; /* cli_finish says why */
    }
    return !cli->closed;
}

void cli_dim(struct cli *cli, bool on)
{
    static const char faint[] = "\033[2m", plain[] = "\033[0m";
    if (!cli->closed && !fflush(stdout)) {
        (void)write_all(&out, on ? faint : plain, sizeof faint - 1);
    }
}

int cli_finish(struct cli *cli, int code)
{
    (void)fflush(stdout);
    if (out.n_held) {
        (void)show(&out, "", 0, true);
    }
    if (out.error && out.error != EPIPE) {
        cli_fail(cli, CLI_INPUT, "writing the output: %s", strerror(out.error));
        code = code ? code : CLI_INPUT;
    }
    return !code && err.error && err.error != EPIPE ? CLI_INPUT : code;
}

ssize_t cli_read_some(int fd, char *to, size_t n)
{
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int ready = poll(&p, 1, CLI_LOOK);
        if (cli_interrupted()) {
            errno = EINTR;
            return -1;
        }
        if (ready == 0) {
            continue;
        }
        ssize_t got = read(fd, to, n);
        if (got >= 0 || (errno != EINTR && errno != EAGAIN && errno != EWOULDBLOCK)) {
            return got;
        }
    }
}

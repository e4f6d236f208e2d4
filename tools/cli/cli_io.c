/* SPDX-License-Identifier: Apache-2.0
 *
 * Io: what the program says and reads: messages on stderr, files, interrupts, progress. Knows no
 * command.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tools/cli/cli.h"

/* ---- messages ---- */

/* One line on stderr in one piece: whatever the arguments hold, it stays one line, and a terminal
 * only shows it. */
__attribute__((format(printf, 2, 0))) static void say(const char *before, const char *format,
                                                      va_list args)
{
    struct cli_buffer line = {0};
    char *text = NULL;
    int n = vasprintf(&text, format, args);
    if (n >= 0 && cli_append(&line, before, strlen(before)) &&
        cli_visible(&line, text, (size_t)n, true) && cli_append(&line, "\n", 1)) {
        fwrite(line.data, 1, line.n, stderr);
    }
    free(n < 0 ? NULL : text);
    cli_buffer_free(&line);
}

int cli_fail(const struct cli *cli, int code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    say(cli->color ? "lockstep: \033[31merror:\033[0m " : "lockstep: error: ", format, args);
    va_end(args);
    if (code == CLI_USAGE) {
        fprintf(stderr, "Try 'lockstep %s%s--help'.\n", cli->command ? cli->command->name : "",
                cli->command ? " " : "");
    }
    return code;
}

static int code_of(lk_status status)
{
    switch (status) {
    case LK_OK:
        return CLI_DONE;
    case LK_E_INVALID:
        return CLI_USAGE;
    case LK_E_IO:
    case LK_E_FORMAT:
    case LK_E_UNSUPPORTED:
    case LK_E_RANGE:
    case LK_E_FULL:
        return CLI_INPUT;
    case LK_E_NOMEM:
        return CLI_NOMEM;
    case LK_E_CANCELLED:
        return CLI_INTERRUPTED;
    case LK_E_DEVICE:
    case LK_E_DEVICE_LOST:
    case LK_E_INTERNAL:
        break;
    }
    return CLI_DEVICE;
}

int cli_error(const struct cli *cli, const lk_error *err)
{
    int code = code_of(err->status);
    return code == CLI_INTERRUPTED ? code : cli_fail(cli, code, "%s", err->message);
}

void cli_note(const struct cli *cli, const char *format, ...)
{
    if (!cli->quiet) {
        va_list args;
        va_start(args, format);
        say("", format, args);
        va_end(args);
    }
}

void cli_log(void *user, lk_log_level level, const char *line)
{
    const struct cli *cli = user;
    int most = cli->quiet ? LK_LOG_ERROR : (int)LK_LOG_WARN + cli->verbose;
    if ((int)level <= most) {
        fprintf(stderr, "lockstep: %s\n", line);
    }
}

/* ---- interrupts ---- */

static volatile sig_atomic_t interrupted, ended; /* by SIGINT; by which other signal */
static void (*volatile restore_terminal)(void);

static void on_signal(int number)
{
    if (number == SIGINT ? interrupted : ended) {
        void (*restore)(void) = restore_terminal;
        if (restore) {
            restore();
        }
        _exit(128 + number);
    }
    if (number == SIGINT) {
        interrupted = 1;
    } else {
        ended = number;
    }
}

void cli_catch_interrupts(void)
{
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
}

void cli_catch_ends(void)
{
    static const int ENDS[] = {SIGTERM, SIGHUP};
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < sizeof ENDS / sizeof *ENDS; i++) {
        if (sigaction(ENDS[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) {
            sigaction(ENDS[i], &action, NULL);
        }
    }
}

bool cli_interrupted(void)
{
    return interrupted || ended;
}

int cli_ended(void)
{
    return ended;
}

void cli_clear_interrupt(void)
{
    interrupted = 0;
}

void cli_on_exit(void (*restore)(void))
{
    restore_terminal = restore;
}

/* ---- progress ---- */

bool cli_progress(void *user, const char *what, uint64_t done, uint64_t total)
{
    struct cli *cli = user;
    if (cli->draws && !cli->quiet && total) {
        enum { BAR = 30, REST = 10 }; /* " [] 100%" */
        struct winsize size;
        char bar[BAR + 1], line[160];
        bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col;
        int columns = known ? size.ws_col : 80, text = (int)strlen(what);
        int room = columns - text - REST, width = room > BAR ? BAR : room > 0 ? room : 0;
        int full = (int)((double)width * (double)done / (double)total);
        for (int i = 0; i < width; i++) {
            bar[i] = i < full ? '#' : '.';
        }
        bar[width] = 0;
        text = text > columns - REST ? columns - REST : text;
        snprintf(line, sizeof line, "\r%.*s [%s] %3.0f%%", text > 0 ? text : 0, what, bar,
                 100.0 * (double)done / (double)total);
        fputs(line, stderr); /* in one row, whatever the terminal's size */
    }
    return !cli_interrupted();
}

void cli_progress_end(struct cli *cli)
{
    if (cli->draws && !cli->quiet) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
}

/* ---- input ---- */

bool cli_append(struct cli_buffer *b, const void *data, size_t n)
{
    if (n > b->cap - b->n) {
        size_t cap = b->cap * 2 + 256;
        cap = cap < b->n + n ? b->n + n : cap;
        char *grown = realloc(b->data, cap);
        if (!grown) {
            return false;
        }
        b->data = grown;
        b->cap = cap;
    }
    if (n) {
        memcpy(b->data + b->n, data, n);
        b->n += n;
    }
    return true;
}

void cli_buffer_free(struct cli_buffer *b)
{
    free(b->data);
    *b = (struct cli_buffer){0};
}

int cli_read(const struct cli *cli, const char *path, struct cli_buffer *out)
{
    const char *name = path ? path : "standard input";
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;
    if (fd < 0) {
        return cli_fail(cli, CLI_INPUT, "%s: %s", name, strerror(errno));
    }
    int code = CLI_DONE;
    char *piece = malloc(1 << 16);
    ssize_t n = 1;
    while (piece && n > 0 && !code) {
        n = cli_read_some(fd, piece, 1 << 16);
        if (n > 0 && !cli_append(out, piece, (size_t)n)) {
            code = cli_fail(cli, CLI_NOMEM, "%s: out of memory", name);
        }
    }
    if (!piece) {
        code = cli_fail(cli, CLI_NOMEM, "%s: out of memory", name);
    } else if (n < 0) {
        code = errno == EINTR ? CLI_INTERRUPTED
                              : cli_fail(cli, CLI_INPUT, "%s: %s", name, strerror(errno));
    }
    free(piece);
    if (path) {
        close(fd);
    }
    return code;
}

int cli_write(struct cli *cli, const char *path, lk_output **to,
              void (*write)(FILE *f, const void *arg), const void *arg)
{
    char *text = NULL;
    size_t size = 0;
    lk_error err;
    FILE *f = open_memstream(&text, &size);
    if (f) {
        write(f, arg);
    }
    bool failed = !f || ferror(f) != 0;
    failed |= f && fclose(f) != 0;
    int code = failed ? cli_fail(cli, CLI_NOMEM, "%s: out of memory", path) : CLI_DONE;
    if (!code && (lk_output_write(*to, text, size, &err) || lk_output_commit(to, &err))) {
        code = cli_error(cli, &err);
    }
    lk_output_close(to);
    free(text);
    return code;
}

char *cli_join(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b);
    char *s = malloc(n + m + 1);
    if (s) {
        memcpy(s, a, n);
        memcpy(s + n, b, m + 1);
    }
    return s;
}

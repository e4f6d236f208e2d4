/* SPDX-License-Identifier: Apache-2.0
 *
 * History: the lines of earlier dialogues in a file of the user's own: one on each line, a newline
 * in it as \n and a backslash as \\. Several programs may add to it at once. Without the file all
 * works.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tools/cli/cli_line.h"

enum { MOST = 1000, MOST_BYTES = 64 << 10 }; /* lines kept; bytes of one */

static bool keep(struct cli_history *h, char *line)
{
    char **grown = line ? realloc(h->past, (h->n + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(line);
        return false;
    }
    h->past = grown;
    grown[h->n++] = line;
    return true;
}

/* A line of the file as it was typed. */
static char *unescaped(const char *s, size_t n)
{
    char *out = malloc(n + 1);
    size_t at = 0;
    for (size_t i = 0; out && i < n; i++) {
        bool escape = s[i] == '\\' && i + 1 < n;
        i += escape;
        out[at++] = escape && s[i] == 'n' ? '\n' : s[i];
    }
    if (out) {
        out[at] = 0;
    }
    return out;
}

static bool append_escaped(struct cli_buffer *b, const char *line)
{
    bool ok = true;
    for (; *line && ok; line++) {
        ok = *line == '\n'   ? cli_append(b, "\\n", 2)
             : *line == '\\' ? cli_append(b, "\\\\", 2)
                             : cli_append(b, line, 1);
    }
    return ok && cli_append(b, "\n", 1);
}

/* Leaves the last MOST lines in the file. */
static void cut(const struct cli_history *h)
{
    struct cli_buffer all = {0};
    lk_output *out;
    bool ok = true;
    for (size_t i = h->n > MOST ? h->n - MOST : 0; i < h->n && ok; i++) {
        ok = append_escaped(&all, h->past[i]);
    }
    if (ok && lk_output_open(h->path, LK_OUTPUT_PRIVATE, &out, NULL) == LK_OK) {
        if (lk_output_write(out, all.data, all.n, NULL) == LK_OK) {
            (void)lk_output_commit(&out, NULL);
        } else {
            lk_output_close(&out);
        }
    }
    cli_buffer_free(&all);
}

void cli_history_open(struct cli_history *h, const char *path)
{
    *h = (struct cli_history){.path = path ? cli_join(path, "") : NULL};
    int fd = h->path ? open(h->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
    struct stat st;
    struct cli_buffer all = {0};
    char piece[4096];
    ssize_t n = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? 1 : 0;
    while (n > 0) {
        n = read(fd, piece, sizeof piece);
        if (n > 0 && !cli_append(&all, piece, (size_t)n)) {
            n = 0;
        }
    }
    if (fd >= 0) {
        close(fd);
    }
    for (size_t at = 0; at < all.n;) {
        const char *end = memchr(all.data + at, '\n', all.n - at);
        size_t length = end ? (size_t)(end - all.data) - at : all.n - at;
        if (length && !memchr(all.data + at, 0, length)) {
            (void)keep(h, unescaped(all.data + at, length));
        }
        at += length + 1;
    }
    cli_buffer_free(&all);
    if (h->n > 2 * MOST) {
        cut(h);
    }
}

/* Appends in one write, so that lines of several programs do not mix. */
static void append(const struct cli_history *h, const char *line)
{
    struct cli_buffer b = {0};
    cli_make_folder_of(h->path);
    int fd = open(h->path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0600);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && append_escaped(&b, line)) {
        (void)fchmod(fd, 0600);
        (void)flock(fd, LOCK_EX);
        ssize_t n = write(fd, b.data, b.n);
        (void)n; /* a history that can't be kept is none */
    }
    if (fd >= 0) {
        close(fd);
    }
    cli_buffer_free(&b);
}

void cli_history_add(struct cli_history *h, const char *line)
{
    size_t n = strlen(line);
    if (n == 0 || *line == ' ' || (h->n && strcmp(h->past[h->n - 1], line) == 0)) {
        return;
    }
    if (keep(h, cli_join(line, "")) && h->path && n <= MOST_BYTES) {
        append(h, line);
    }
}

void cli_history_close(struct cli_history *h)
{
    for (size_t i = 0; i < h->n; i++) {
        free(h->past[i]);
    }
    free(h->past);
    free(h->path);
    *h = (struct cli_history){0};
}

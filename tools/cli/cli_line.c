/* SPDX-License-Identifier: Apache-2.0
 *
 * Line: see cli_line.h. The line is drawn in one row of the terminal and scrolls sideways.
 */
#include "tools/cli/cli_line.h"

#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>
#include <wchar.h>

struct editor {
    const struct cli *cli;
    const char *prompt;
    struct cli_lines *lines;
    struct cli_buffer text;
    size_t at;     /* the cursor: a byte of text */
    size_t recall; /* index of the past line shown; n_past: a new one */
    bool pasting;
};

enum outcome { GO_ON, ENTERED, ENDED };

static struct termios saved;

static void leave_raw(void)
{
    tcsetattr(STDIN_FILENO, TCSANOW, &saved);
}

static bool enter_raw(void)
{
    if (tcgetattr(STDIN_FILENO, &saved)) {
        return false;
    }
    struct termios raw = saved;
    raw.c_iflag &= (tcflag_t) ~(ICRNL | IXON | ISTRIP);
    raw.c_lflag &= (tcflag_t) ~(ECHO | ICANON | IEXTEN); /* ISIG stays: Ctrl-C is a signal */
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    cli_on_exit(leave_raw);
    return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* The next byte of the terminal: 1, or 0 at its end, -1 when Ctrl-C was pressed. A signal that
 * comes just before the wait, or to another thread, does not end it: so it is looked at now and
 * then. */
static int next_byte(char *c)
{
    struct pollfd in = {STDIN_FILENO, POLLIN, 0};
    while (!cli_interrupted()) {
        int ready = poll(&in, 1, 200);
        ssize_t n = ready > 0 ? read(STDIN_FILENO, c, 1) : -1;
        if (n >= 0) {
            return n == 1;
        }
        if (ready != 0 && errno != EINTR) {
            return 0;
        }
    }
    return -1;
}

/* ---- drawing ---- */

/* Bytes of the character at s (at least 1), and its columns. */
static size_t character(const char *s, size_t n, int *columns)
{
    mbstate_t state = {0};
    wchar_t c;
    size_t length = mbrtowc(&c, s, n, &state);
    if (length == 0 || length > n) {
        *columns = 1;
        return 1;
    }
    int width = wcwidth(c);
    *columns = width < 0 ? 1 : width;
    return length;
}

static int columns_of(const char *s, size_t n)
{
    int sum = 0, w;
    for (size_t i = 0; i < n; sum += w) {
        i += character(s + i, n - i, &w);
    }
    return sum;
}

static void draw(const struct editor *e)
{
    struct winsize size;
    int room = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 80;
    room -= (int)strlen(e->prompt) + 1;
    size_t from = 0;
    int w;
    while (columns_of(e->text.data + from, e->at - from) > room) {
        from += character(e->text.data + from, e->text.n - from, &w);
    }
    fprintf(stderr, e->cli->color ? "\r\033[1m%s\033[0m" : "\r%s", e->prompt);
    int used = 0;
    for (size_t i = from; i < e->text.n;) {
        size_t length = character(e->text.data + i, e->text.n - i, &w);
        if ((used += w) > room) {
            break;
        }
        if ((unsigned char)e->text.data[i] < 0x20) {
            fputc(e->text.data[i] == '\n' ? '|' : '?', stderr);
        } else {
            fwrite(e->text.data + i, 1, length, stderr);
        }
        i += length;
    }
    int column = (int)strlen(e->prompt) + columns_of(e->text.data + from, e->at - from);
    fprintf(stderr, "\033[K\r\033[%dC", column);
    fflush(stderr);
}

/* ---- editing ---- */

static void erase(struct editor *e, size_t from, size_t to)
{
    memmove(e->text.data + from, e->text.data + to, e->text.n - to);
    e->text.n -= to - from;
    e->at = from;
}

static bool insert(struct editor *e, const char *s, size_t n)
{
    size_t tail = e->text.n - e->at;
    if (!cli_append(&e->text, s, n)) {
        return false;
    }
    memmove(e->text.data + e->at + n, e->text.data + e->at, tail);
    memcpy(e->text.data + e->at, s, n);
    e->at += n;
    return true;
}

/* The character that starts with c; the rest of its bytes are read. */
static bool insert_character(struct editor *e, char c)
{
    unsigned char lead = (unsigned char)c;
    char bytes[4] = {c};
    size_t n = 1, length = lead >= 0xf0 ? 4 : lead >= 0xe0 ? 3 : lead >= 0xc0 ? 2 : 1;
    while (n < length && next_byte(bytes + n) == 1) {
        n++;
    }
    return lead < 0x20 || insert(e, bytes, n);
}

static size_t before(const struct editor *e)
{
    size_t i = e->at;
    while (i > 0 && ((unsigned char)e->text.data[--i] & 0xc0) == 0x80) {
    }
    return i;
}

static size_t after(const struct editor *e)
{
    size_t i = e->at < e->text.n ? e->at + 1 : e->at;
    while (i < e->text.n && ((unsigned char)e->text.data[i] & 0xc0) == 0x80) {
        i++;
    }
    return i;
}

static size_t word_start(const struct editor *e)
{
    size_t i = e->at;
    while (i > 0 && e->text.data[i - 1] == ' ') {
        i--;
    }
    while (i > 0 && e->text.data[i - 1] != ' ') {
        i--;
    }
    return i;
}

static void recall(struct editor *e, int step)
{
    size_t to = e->recall + (size_t)step;
    if (to > e->lines->n_past) { /* also below 0 */
        return;
    }
    const char *line = to < e->lines->n_past ? e->lines->past[to] : "";
    e->recall = to;
    erase(e, 0, e->text.n);
    insert(e, line, strlen(line));
}

/* ESC [ ... : arrows and their kind. */
static void escape(struct editor *e)
{
    char c, digits[8] = "";
    size_t n = 0;
    if (next_byte(&c) != 1 || (c != '[' && c != 'O')) {
        return;
    }
    while (next_byte(&c) == 1 && ((c >= '0' && c <= '9') || c == ';')) {
        if (n < sizeof digits - 1) {
            digits[n++] = c;
        }
    }
    int number = atoi(digits);
    if (c == 'A' || c == 'B') {
        recall(e, c == 'A' ? -1 : 1);
    } else if (c == 'C') {
        e->at = after(e);
    } else if (c == 'D') {
        e->at = before(e);
    } else if (c == 'H' || (c == '~' && (number == 1 || number == 7))) {
        e->at = 0;
    } else if (c == 'F' || (c == '~' && (number == 4 || number == 8))) {
        e->at = e->text.n;
    } else if (c == '~' && number == 3) {
        erase(e, e->at, after(e));
    } else if (c == '~' && (number == 200 || number == 201)) {
        e->pasting = number == 200;
    }
}

#define KEY(letter) ((letter)&0x1f)

static enum outcome key(struct editor *e, char c)
{
    switch (c) {
    case '\r':
    case '\n':
        return e->pasting && insert(e, "\n", 1) ? GO_ON : ENTERED;
    case KEY('D'):
        if (e->text.n == 0) {
            return ENDED;
        }
        erase(e, e->at, after(e));
        break;
    case 0x7f:
    case KEY('H'):
        erase(e, before(e), e->at);
        break;
    case KEY('A'):
        e->at = 0;
        break;
    case KEY('B'):
        e->at = before(e);
        break;
    case KEY('E'):
        e->at = e->text.n;
        break;
    case KEY('F'):
        e->at = after(e);
        break;
    case KEY('K'):
        erase(e, e->at, e->text.n);
        break;
    case KEY('L'):
        fputs("\033[H\033[2J", stderr);
        break;
    case KEY('N'):
        recall(e, 1);
        break;
    case KEY('P'):
        recall(e, -1);
        break;
    case KEY('U'):
        erase(e, 0, e->at);
        break;
    case KEY('W'):
        erase(e, word_start(e), e->at);
        break;
    case 0x1b:
        escape(e);
        break;
    default:
        return insert_character(e, c) ? GO_ON : ENDED;
    }
    return GO_ON;
}

static enum outcome edit(struct editor *e)
{
    enum outcome outcome = GO_ON;
    while (outcome == GO_ON) {
        char c;
        draw(e);
        int n = next_byte(&c);
        if (n == 1) {
            outcome = key(e, c);
        } else if (n < 0 && e->text.n) {
            cli_clear_interrupt();
            erase(e, 0, e->text.n);
        } else {
            outcome = ENDED;
        }
    }
    return outcome;
}

static void remember(struct cli_lines *lines, const char *line)
{
    char **grown = *line ? realloc(lines->past, (lines->n_past + 1) * sizeof *grown) : NULL;
    if (grown) {
        lines->past = grown;
        grown[lines->n_past] = cli_join(line, "");
        lines->n_past += grown[lines->n_past] != NULL;
    }
}

static char *read_plain(void)
{
    char *line = NULL;
    size_t cap = 0;
    if (getline(&line, &cap, stdin) < 0) {
        free(line);
        return NULL;
    }
    line[strcspn(line, "\n")] = 0;
    return line;
}

char *cli_line(const struct cli *cli, struct cli_lines *lines, const char *prompt)
{
    if (!isatty(STDIN_FILENO) || !cli->err_tty) {
        return read_plain();
    }
    struct editor e = {.cli = cli, .prompt = prompt, .lines = lines, .recall = lines->n_past};
    setlocale(LC_CTYPE, "C.UTF-8");
    if (!cli_append(&e.text, "", 1) || !enter_raw()) {
        cli_buffer_free(&e.text);
        return NULL;
    }
    e.text.n = 0;                 /* there is a buffer now */
    fputs("\033[?2004h", stderr); /* tells pasted text from keys */
    enum outcome outcome = edit(&e);
    fputs("\033[?2004l\n", stderr);
    leave_raw();
    cli_on_exit(NULL);
    if (outcome == ENDED || !cli_append(&e.text, "", 1)) {
        cli_buffer_free(&e.text);
        return NULL;
    }
    remember(lines, e.text.data);
    return e.text.data;
}

void cli_lines_free(struct cli_lines *lines)
{
    for (size_t i = 0; i < lines->n_past; i++) {
        free(lines->past[i]);
    }
    free(lines->past);
    *lines = (struct cli_lines){0};
}

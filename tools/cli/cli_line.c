/* SPDX-License-Identifier: Apache-2.0
 *
 * Line: see cli_line.h. Keys and the text they change. Each piece of input is taken at once and
 * drawn when no more is there, so that pasting costs as much as its length.
 */
#include "tools/cli/cli_line.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 4096 };

struct cli_lines {
    const struct cli *cli;
    struct cli_history history;
    struct cli_buffer killed; /* by Ctrl-K, U, W; for Ctrl-Y */
    struct cli_buffer plain;  /* read of stdin and not given yet */
    size_t plain_at;
    bool typed, edited, plain_end;
    char input[PIECE]; /* of the terminal; what follows an Enter waits here for the next text */
    int n_input, at_input;
};

struct editor {
    struct cli_lines *lines;
    struct cli_view view;
    struct cli_buffer text;
    size_t at;     /* the cursor: a byte of text */
    size_t recall; /* index of the past line shown; history.n: the new one */
    char *draft;   /* the new one while a past one is shown */
    bool pasting, dirty, failed;
    double drawn, cost; /* when it was drawn last, and how long that took */
};

enum outcome { GO_ON, ENTERED, ENDED, DROPPED };

/* ---- the text ---- */

static void erase(struct editor *e, size_t from, size_t to)
{
    memmove(e->text.data + from, e->text.data + to, e->text.n - to);
    e->text.n -= to - from;
    e->at = from;
}

static void insert(struct editor *e, const char *s, size_t n)
{
    size_t tail = e->text.n - e->at;
    if (n == 0) { /* s may be NULL then: nothing was killed yet */
        return;
    }
    if (!cli_append(&e->text, s, n)) {
        e->failed = true;
        return;
    }
    memmove(e->text.data + e->at + n, e->text.data + e->at, tail);
    memcpy(e->text.data + e->at, s, n);
    e->at += n;
}

static void kill_text(struct editor *e, size_t from, size_t to)
{
    if (to > from) {
        e->lines->killed.n = 0;
        (void)cli_append(&e->lines->killed, e->text.data + from, to - from);
        erase(e, from, to);
    }
}

static size_t line_start(const struct editor *e, size_t at)
{
    while (at > 0 && e->text.data[at - 1] != '\n') {
        at--;
    }
    return at;
}

static size_t line_end(const struct editor *e, size_t at)
{
    const char *end = memchr(e->text.data + at, '\n', e->text.n - at);
    return end ? (size_t)(end - e->text.data) : e->text.n;
}

/* Bytes of the character at i with its marks. */
static size_t cluster(const struct editor *e, size_t i)
{
    int columns;
    return e->text.data[i] == '\n' ? 1
                                   : cli_view_cluster(e->text.data + i, e->text.n - i, 0, &columns);
}

static size_t after(const struct editor *e)
{
    return e->at < e->text.n ? e->at + cluster(e, e->at) : e->at;
}

/* The start of the character before the cursor. Marks belong to what stands before them, so the
 * search begins at a byte that surely starts one: ASCII, if there is one near. */
static size_t before(const struct editor *e)
{
    size_t from = e->at, last;
    while (from > 0 && (e->text.data[--from] & 0x80) && e->at - from < 256) {
    }
    for (last = from; from < e->at; from += cluster(e, from)) {
        last = from;
    }
    return last;
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\n' || c == '\t';
}

static size_t word_start(const struct editor *e)
{
    size_t i = e->at;
    while (i > 0 && is_blank(e->text.data[i - 1])) {
        i--;
    }
    while (i > 0 && !is_blank(e->text.data[i - 1])) {
        i--;
    }
    return i;
}

static size_t word_end(const struct editor *e)
{
    size_t i = e->at;
    while (i < e->text.n && is_blank(e->text.data[i])) {
        i++;
    }
    while (i < e->text.n && !is_blank(e->text.data[i])) {
        i++;
    }
    return i;
}

static void replace(struct editor *e, const char *line)
{
    erase(e, 0, e->text.n);
    insert(e, line, strlen(line));
}

static void recall(struct editor *e, int step)
{
    const struct cli_history *h = &e->lines->history;
    size_t to = e->recall + (size_t)step;
    if (to > h->n) { /* also below 0 */
        return;
    }
    if (e->recall == h->n) {
        free(e->draft);
        e->draft = malloc(e->text.n + 1);
        if (e->draft) {
            memcpy(e->draft, e->text.data, e->text.n);
            e->draft[e->text.n] = 0;
        }
    }
    e->recall = to;
    replace(e, to < h->n ? h->past[to] : e->draft ? e->draft : "");
}

/* Moves to the same place of the line above or below, and beyond the text to the history. */
static void up_or_down(struct editor *e, int step)
{
    size_t start = line_start(e, e->at), column = e->at - start;
    size_t end = line_end(e, e->at);
    if (step < 0 ? start == 0 : end == e->text.n) {
        recall(e, step);
        return;
    }
    size_t to = step < 0 ? line_start(e, start - 1) : end + 1;
    size_t to_end = line_end(e, to);
    e->at = to + column < to_end ? to + column : to_end;
    while (e->at > to && e->at < to_end && ((unsigned char)e->text.data[e->at] & 0xc0) == 0x80) {
        e->at--; /* not in the middle of a character */
    }
}

/* ---- input ---- */

/* The next byte; -1 when there is none within `seconds`, or another event. */
static int next_byte(struct editor *e, double seconds)
{
    struct cli_lines *in = e->lines;
    if (in->at_input == in->n_input) {
        int n = cli_term_read(in->input, PIECE, seconds);
        if (n <= 0) {
            return -1;
        }
        in->n_input = n;
        in->at_input = 0;
    }
    return (unsigned char)in->input[in->at_input++];
}

/* What a terminal sends within one key comes together. */
static const double WITHIN_KEY = 0.05;

static void back(struct editor *e)
{
    e->lines->at_input--; /* it was just read, so it is there */
}

#define KEY(letter) ((letter)&0x1f)

/* ESC [ ... or ESC O ... behind their first two bytes. One that is not known does nothing. */
static void sequence(struct editor *e, int kind)
{
    char parameters[16] = "";
    size_t n = 0, most = 32;
    int c = next_byte(e, WITHIN_KEY);
    while (c >= 0x20 && c < 0x40 && most--) {
        if (n < sizeof parameters - 1) {
            parameters[n++] = (char)c;
        }
        c = next_byte(e, WITHIN_KEY);
    }
    if (c < 0x40 || c > 0x7e) { /* no sequence after all */
        if (c >= 0) {
            back(e);
        }
        return;
    }
    int number = atoi(parameters);
    bool ctrl = strstr(parameters, ";5") || strstr(parameters, ";3");
    if (kind == 'O' && !strchr("ABCDFH", c)) {
        return;
    }
    if (c == 'A' || c == 'B') {
        up_or_down(e, c == 'A' ? -1 : 1);
    } else if (c == 'C') {
        e->at = ctrl ? word_end(e) : after(e);
    } else if (c == 'D') {
        e->at = ctrl ? word_start(e) : before(e);
    } else if (c == 'H' || (c == '~' && (number == 1 || number == 7))) {
        e->at = line_start(e, e->at);
    } else if (c == 'F' || (c == '~' && (number == 4 || number == 8))) {
        e->at = line_end(e, e->at);
    } else if (c == '~' && number == 3) {
        erase(e, e->at, after(e));
    } else if (c == '~' && number == 200) {
        e->pasting = true;
    }
}

/* The escape key alone does nothing, and takes nothing with it. */
static void escape(struct editor *e)
{
    int c = next_byte(e, WITHIN_KEY);
    if (c == '\r' || c == '\n') {
        insert(e, "\n", 1);
    } else if (c == '[') {
        sequence(e, c);
    } else if (c == 'O') {
        int letter = next_byte(e, WITHIN_KEY);
        if (letter >= 0) {
            back(e);
        }
        if (letter >= 0 && strchr("ABCDFHPQRS", letter)) {
            sequence(e, c);
        } else {
            insert(e, "O", 1);
        }
    } else if (c >= 0) {
        back(e);
    }
}

static enum outcome enter(struct editor *e)
{
    if (e->at == e->text.n && e->at > 0 && e->text.data[e->at - 1] == '\\') {
        erase(e, e->at - 1, e->at);
        insert(e, "\n", 1);
        return GO_ON;
    }
    return ENTERED;
}

static enum outcome control(struct editor *e, int c)
{
    size_t start = line_start(e, e->at), end = line_end(e, e->at);
    switch (c) {
    case '\r':
    case '\n':
        return enter(e);
    case '\t':
        insert(e, "\t", 1);
        break;
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
        e->at = start;
        break;
    case KEY('B'):
        e->at = before(e);
        break;
    case KEY('E'):
        e->at = end;
        break;
    case KEY('F'):
        e->at = after(e);
        break;
    case KEY('K'):
        kill_text(e, e->at, end > e->at ? end : after(e));
        break;
    case KEY('L'):
        cli_view_clear(&e->view);
        break;
    case KEY('N'):
        recall(e, 1);
        break;
    case KEY('P'):
        recall(e, -1);
        break;
    case KEY('U'):
        kill_text(e, start < e->at ? start : before(e), e->at);
        break;
    case KEY('W'):
        kill_text(e, word_start(e), e->at);
        break;
    case KEY('Y'):
        insert(e, e->lines->killed.data, e->lines->killed.n);
        break;
    case 0x1b:
        escape(e);
        break;
    default:
        break;
    }
    return GO_ON;
}

/* Pasted bytes up to the end of the input or of the paste. A newline comes as "\r", or "\r\n". */
static void paste(struct editor *e)
{
    static const char END[] = "\033[201~";
    enum { LENGTH = sizeof END - 1 };
    while (e->pasting && e->lines->at_input < e->lines->n_input) {
        const char *from = e->lines->input + e->lines->at_input;
        size_t n = 0, left = (size_t)(e->lines->n_input - e->lines->at_input);
        while (n < left && from[n] != '\r' && from[n] != 0 && from[n] != 0x1b) {
            n++;
        }
        insert(e, from, n);
        e->lines->at_input += (int)n;
        if (n == left) {
            return;
        }
        int c = next_byte(e, WITHIN_KEY);
        if (c == '\r') {
            int follows = next_byte(e, WITHIN_KEY);
            if (follows >= 0 && follows != '\n') {
                back(e);
            }
            insert(e, "\n", 1);
        } else if (c == 0x1b) {
            size_t same = 1;
            while (same < LENGTH && (c = next_byte(e, WITHIN_KEY)) == END[same]) {
                same++;
            }
            e->pasting = same < LENGTH;
            if (same < LENGTH) {
                insert(e, END, same); /* an escape that was pasted */
                if (c >= 0) {
                    back(e);
                }
            }
        }
    }
}

/* All input that is there. */
static enum outcome take(struct editor *e)
{
    enum outcome outcome = GO_ON;
    while (outcome == GO_ON && e->lines->at_input < e->lines->n_input) {
        const char *from = e->lines->input + e->lines->at_input;
        size_t n = 0, left = (size_t)(e->lines->n_input - e->lines->at_input);
        if (e->pasting) {
            paste(e);
            continue;
        }
        while (n < left && (unsigned char)from[n] >= 0x20 && from[n] != 0x7f) {
            n++;
        }
        if (n) {
            insert(e, from, n);
            e->lines->at_input += (int)n;
        } else {
            outcome = control(e, next_byte(e, WITHIN_KEY));
        }
    }
    return outcome;
}

/* ---- a line ---- */

static void draw(struct editor *e)
{
    double from = clock_now();
    e->failed |= !cli_view_draw(&e->view, e->text.data, e->text.n, e->at);
    e->dirty = false;
    e->drawn = clock_now();
    e->cost = e->drawn - from;
}

/* Input, or an event. What is changed is drawn when no more input comes for a moment; a long text
 * is not drawn again for each piece of it. */
static int wait_for_input(struct editor *e)
{
    char *to = e->lines->input;
    if (e->dirty) {
        double rest = e->drawn + 4.0 * e->cost - clock_now();
        int n = cli_term_read(to, PIECE, rest > 0.1 ? 0.1 : rest > 0.0 ? rest : 0.0);
        if (n != CLI_TERM_LATER) {
            return n;
        }
        draw(e);
    }
    return cli_term_read(to, PIECE, -1.0);
}

static enum outcome on_event(struct editor *e, int event)
{
    switch (event) {
    case CLI_TERM_STOP: /* the cursor is left below the text */
        cli_view_end(&e->view);
        cli_term_stop();
        return GO_ON;
    case CLI_TERM_RESUMED: /* others wrote to the terminal: a new place */
        cli_view_begin(&e->view);
        return GO_ON;
    case CLI_TERM_RESIZED:
        cli_view_resize(&e->view);
        return GO_ON;
    case CLI_TERM_INTERRUPTED:
        return e->text.n ? DROPPED : ENDED;
    default:
        return ENDED;
    }
}

/* What was typed while nobody read. A Ctrl-D among it has become a 0, by the terminal's own editing
 * of lines. */
static void read_ahead(struct cli_lines *in)
{
    int room = PIECE - in->n_input;
    int n = room > 0 ? cli_term_read(in->input + in->n_input, room, 0.0) : 0;
    for (int i = in->n_input; i < in->n_input + n; i++) {
        in->input[i] = in->input[i] ? in->input[i] : KEY('D');
    }
    in->n_input += n > 0 ? n : 0;
}

static enum outcome edit(struct editor *e)
{
    struct cli_lines *in = e->lines;
    enum outcome outcome = take(e);
    draw(e);
    while (outcome == GO_ON && !e->failed) {
        int n = wait_for_input(e);
        in->n_input = n > 0 ? n : 0;
        in->at_input = 0;
        e->dirty = true;
        outcome = n > 0 ? take(e) : on_event(e, n);
    }
    if (outcome == ENTERED) {
        e->at = e->text.n;
    }
    draw(e);
    return e->failed ? ENDED : outcome;
}

static char *read_edited(struct cli_lines *lines, const char *prompt)
{
    struct editor e = {.lines = lines};
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0), before_it = (locale_t)0;
    enum outcome outcome = DROPPED;
    if (!cli_append(&e.text, "", 1) || !cli_term_begin()) {
        cli_buffer_free(&e.text);
        return NULL;
    }
    if (utf8) {
        before_it = uselocale(utf8); /* for the width of characters */
    }
    e.text.n = 0;          /* there is a buffer now */
    cli_clear_interrupt(); /* one that came too late for what went before */
    e.view = (struct cli_view){.prompt = prompt, .color = lines->cli->color};
    cli_view_begin(&e.view);
    read_ahead(lines);
    while (outcome == DROPPED) {
        e.text.n = e.at = 0;
        e.recall = lines->history.n;
        outcome = edit(&e);
        cli_view_end(&e.view);
        cli_view_begin(&e.view);
        if (outcome == DROPPED && cli_ended()) {
            outcome = ENDED;
        } else if (outcome == DROPPED) {
            lines->at_input = lines->n_input = 0;
            cli_clear_interrupt();
        }
    }
    if (utf8) {
        uselocale(before_it);
        freelocale(utf8);
    }
    cli_term_end();
    cli_view_free(&e.view);
    free(e.draft);
    if (outcome == ENDED || !cli_append(&e.text, "", 1)) {
        cli_buffer_free(&e.text);
        return NULL;
    }
    cli_history_add(&lines->history, e.text.data);
    return e.text.data;
}

/* ---- without a terminal ---- */

static void ask_plainly(const struct cli_lines *lines, const char *prompt)
{
    if (lines->typed) {
        cli_clear_interrupt(); /* one that came too late for what went before */
        fputs(prompt, stderr);
        fflush(stderr);
    }
}

static char *read_plain(struct cli_lines *lines, const char *prompt)
{
    struct cli_buffer *b = &lines->plain;
    const char *end = NULL;
    ask_plainly(lines, prompt);
    size_t looked = lines->plain_at;
    char piece[PIECE];
    while (!(end = b->n > looked ? memchr(b->data + looked, '\n', b->n - looked) : NULL) &&
           !lines->plain_end) {
        looked = b->n;
        ssize_t n = cli_read_some(STDIN_FILENO, piece, sizeof piece);
        if (n < 0 && lines->typed && cli_interrupted() && !cli_ended()) {
            b->n = looked = lines->plain_at; /* it drops what was typed */
            fputc('\n', stderr);
            ask_plainly(lines, prompt);
            continue;
        }
        lines->plain_end = n <= 0 || !cli_append(b, piece, (size_t)n);
    }
    size_t from = lines->plain_at, n = end ? (size_t)(end - b->data) - from : b->n - from;
    if (cli_interrupted() || (!end && n == 0)) {
        return NULL;
    }
    char *line = malloc(n + 1);
    if (line) {
        memcpy(line, b->data + from, n);
        line[n] = 0;
    }
    lines->plain_at += n + (end != NULL);
    if (lines->plain_at == b->n) {
        lines->plain_at = b->n = 0;
    }
    return line;
}

/* ---- all of it ---- */

struct cli_lines *cli_lines_open(const struct cli *cli, const char *history)
{
    struct cli_lines *lines = calloc(1, sizeof *lines);
    if (lines) {
        lines->cli = cli;
        lines->typed = isatty(STDIN_FILENO) && cli->err_tty;
        lines->edited = lines->typed && cli->draws;
        cli_history_open(&lines->history, lines->edited ? history : NULL);
    }
    return lines;
}

void cli_lines_close(struct cli_lines **lines)
{
    if (*lines) {
        cli_history_close(&(*lines)->history);
        cli_buffer_free(&(*lines)->killed);
        cli_buffer_free(&(*lines)->plain);
        free(*lines);
        *lines = NULL;
    }
}

bool cli_lines_typed(const struct cli_lines *lines)
{
    return lines->typed;
}

char *cli_line(struct cli_lines *lines, const char *prompt)
{
    return lines->edited ? read_edited(lines, prompt) : read_plain(lines, prompt);
}

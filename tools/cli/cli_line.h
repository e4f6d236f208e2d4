/* SPDX-License-Identifier: Apache-2.0
 *
 * Line: texts from the user, one at a time; edited where stdin and stderr are terminals
 * (cli_line.c, drawn by cli_view.c, on the terminal of cli_term.c), else the lines of stdin as they
 * are, behind a prompt on a terminal that knows no control sequences. Earlier ones are kept in a
 * file (cli_history.c). Knows nothing of dialogues.
 */
#ifndef CLI_LINE_H
#define CLI_LINE_H

#include "tools/cli/cli.h"

struct cli_lines;

/* history: the file of earlier lines, which is copied; NULL: none. NULL: no memory. */
struct cli_lines *cli_lines_open(const struct cli *cli, const char *history);
void cli_lines_close(struct cli_lines **lines);
/* Whether they are typed on a terminal. */
bool cli_lines_typed(const struct cli_lines *lines);
/* The next text without its last newline, malloc'd; NULL at the end of the input, on an interrupt
 * of an empty text, or without memory. Keys: arrows, also with Ctrl, Home, End, Delete, Ctrl-A B D
 * E F H K L N P U W Y; Alt-Enter, or Enter behind a backslash, begins another line; an interrupt
 * (Ctrl-C) drops the text; a pasted text keeps its newlines and tabs. */
char *cli_line(struct cli_lines *lines, const char *prompt);

/* ---- the terminal (cli_term.c) ---- */

enum {
    CLI_TERM_END = 0,
    CLI_TERM_LATER = -1,       /* nothing came within the time */
    CLI_TERM_INTERRUPTED = -2, /* Ctrl-C */
    CLI_TERM_RESIZED = -3,
    CLI_TERM_STOP = -4, /* Ctrl-Z: cli_term_stop is to be called */
    CLI_TERM_RESUMED = -5
};

/* Keys come one by one, pasted text in brackets. False: it is no terminal. Ctrl-Z stops the program
 * with the terminal as it was; what ends it leaves it so too. */
bool cli_term_begin(void);
void cli_term_end(void);
/* Bytes of the keyboard, at least one, or an event. seconds < 0: waits for ever. */
int cli_term_read(char *to, int n, double seconds);
/* Gives the terminal back and stops the program until somebody continues it. */
void cli_term_stop(void);
void cli_term_size(int *rows, int *columns);

/* ---- what is shown (cli_view.c) ---- */

struct cli_view {
    const char *prompt;
    bool color;
    int rows, columns;     /* of the terminal */
    size_t *starts;        /* of each row of the text; the last one is its end */
    size_t n_rows, cap;    /* rows of the text */
    size_t top;            /* the first one that is shown */
    int *widths;           /* [rows] of those that are shown now */
    int n_shown, n_widths; /* rows on the screen; room in widths */
    int at_row, at_column; /* of the cursor, among them */
};
/* Bytes of the character at s[0..n) with the marks that belong to it, and its columns when it
 * begins in `column`. */
size_t cli_view_cluster(const char *s, size_t n, int column, int *columns);
/* Draws text[0..n) with the cursor at byte `at`, over what was drawn before. */
bool cli_view_draw(struct cli_view *v, const char *text, size_t n, size_t at);
/* The cursor stands where the text is to begin. */
void cli_view_begin(struct cli_view *v);
/* The terminal has another size now: finds its place again. */
void cli_view_resize(struct cli_view *v);
void cli_view_clear(struct cli_view *v); /* the whole screen */
/* Leaves what is drawn and goes to the line below. */
void cli_view_end(struct cli_view *v);
void cli_view_free(struct cli_view *v);

/* ---- earlier lines (cli_history.c) ---- */

struct cli_history {
    char **past; /* oldest first */
    size_t n;
    char *path; /* NULL: kept nowhere */
};
void cli_history_open(struct cli_history *h, const char *path);
/* Leaves out a line that begins with a space, and the last one again. */
void cli_history_add(struct cli_history *h, const char *line);
void cli_history_close(struct cli_history *h);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * View: a text of any length in rows of a terminal, with a cursor. Each row ends before the
 * terminal's last column, so that the terminal never breaks one by itself. Knows no keys.
 */
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "tools/cli/cli_line.h"

enum { TAB = 8 };

static int width_of(const char *s, size_t length)
{
    static const unsigned char LEAD[] = {0, 0x7f, 0x1f, 0x0f, 0x07};
    unsigned c = (unsigned char)s[0] & LEAD[length];
    for (size_t i = 1; i < length; i++) {
        c = c << 6 | ((unsigned char)s[i] & 0x3f);
    }
    return wcwidth((wchar_t)c);
}

size_t cli_view_cluster(const char *s, size_t n, int column, int *columns)
{
    size_t length = cli_utf8_length(s, n);
    unsigned char c = (unsigned char)s[0];
    if (c == '\t') {
        *columns = TAB - column % TAB;
        return 1;
    }
    if (length == 0 || c < 0x20 || c == 0x7f) {
        *columns = 4; /* \x1b */
        return 1;
    }
    if (c == 0xc2 && (unsigned char)s[1] < 0xa0) {
        *columns = 6; /* \u009b */
        return length;
    }
    int width = width_of(s, length);
    *columns = width < 0 ? 1 : width;
    while (length < n && ((unsigned char)s[length] & 0x80)) { /* marks, joiners, selectors */
        size_t more = cli_utf8_length(s + length, n - length);
        if (more == 0 || width_of(s + length, more) != 0) {
            break;
        }
        length += more;
    }
    return length;
}

/* ---- layout ---- */

static int room_of(const struct cli_view *v)
{
    int room = v->columns - (int)strlen(v->prompt) - 1;
    return room < 8 ? 8 : room;
}

static bool add_row(struct cli_view *v, size_t start)
{
    if (v->n_rows + 1 >= v->cap) {
        size_t cap = v->cap * 2 + 16;
        size_t *grown = realloc(v->starts, cap * sizeof *grown);
        if (!grown) {
            return false;
        }
        v->starts = grown;
        v->cap = cap;
    }
    v->starts[v->n_rows++] = start;
    return true;
}

/* The rows of the text, and where byte `at` lies. */
static bool lay_out(struct cli_view *v, const char *text, size_t n, size_t at, size_t *row,
                    int *column)
{
    int room = room_of(v), used = 0, columns;
    v->n_rows = 0;
    bool ok = add_row(v, 0);
    *row = 0;
    *column = 0;
    for (size_t i = 0; i < n && ok;) {
        if (i == at) {
            *row = v->n_rows - 1;
            *column = used;
        }
        if (text[i] == '\n') {
            i++;
            ok = add_row(v, i);
            used = 0;
            continue;
        }
        size_t length = cli_view_cluster(text + i, n - i, used, &columns);
        if (used + columns > room && used > 0) {
            ok = add_row(v, i);
            used = 0;
            if (i == at) {
                *row = v->n_rows - 1;
                *column = 0;
            }
            length = cli_view_cluster(text + i, n - i, used, &columns);
        }
        used += columns;
        i += length;
    }
    if (at >= n) {
        if (used >= room) { /* the cursor stands at the start of a row of its own */
            ok = ok && add_row(v, n);
            used = 0;
        }
        *row = v->n_rows - 1;
        *column = used;
    }
    if (ok) {
        v->starts[v->n_rows] = n; /* add_row keeps room for it */
    }
    return ok;
}

/* ---- drawing ---- */

static bool print(struct cli_buffer *out, const char *s)
{
    return cli_append(out, s, strlen(s));
}

static bool move(struct cli_buffer *out, int n, char direction)
{
    char text[24];
    int length = snprintf(text, sizeof text, "\033[%d%c", n, direction);
    return n <= 0 || cli_append(out, text, (size_t)length);
}

/* One row of the text; its columns. */
static bool print_row(const struct cli_view *v, struct cli_buffer *out, const char *text,
                      size_t row, int *width)
{
    size_t i = v->starts[row], end = v->starts[row + 1];
    int used = 0, columns, before = (int)strlen(v->prompt);
    bool ok = true;
    if (row == 0) {
        ok = print(out, v->color ? "\033[1m" : "") && print(out, v->prompt) &&
             print(out, v->color ? "\033[0m" : "");
    } else {
        for (int k = 0; k < before && ok; k++) {
            ok = print(out, " ");
        }
    }
    end -= end > i && text[end - 1] == '\n';
    for (; i < end && ok; used += columns) {
        size_t length = cli_view_cluster(text + i, end - i, used, &columns);
        if (text[i] == '\t') {
            for (int k = 0; k < columns && ok; k++) {
                ok = print(out, " ");
            }
        } else {
            ok = cli_visible(out, text + i, length, false);
        }
        i += length;
    }
    *width = before + used;
    return ok;
}

static bool make_widths(struct cli_view *v, int n)
{
    if (n > v->n_widths) {
        int *grown = realloc(v->widths, (size_t)n * sizeof *grown);
        if (!grown) {
            return false;
        }
        v->widths = grown;
        v->n_widths = n;
    }
    return true;
}

bool cli_view_draw(struct cli_view *v, const char *text, size_t n, size_t at)
{
    struct cli_buffer out = {0};
    size_t row;
    int column, most = v->rows > 1 ? v->rows : 1;
    bool ok = lay_out(v, text, n, at, &row, &column);
    size_t shown = v->n_rows < (size_t)most ? v->n_rows : (size_t)most;
    if (row < v->top) {
        v->top = row;
    } else if (row >= v->top + shown) {
        v->top = row - shown + 1;
    }
    if (v->top + shown > v->n_rows) {
        v->top = v->n_rows - shown;
    }
    ok = ok && make_widths(v, (int)shown) && print(&out, "\r") && move(&out, v->at_row, 'A');
    for (size_t i = 0; i < shown && ok; i++) {
        ok = print(&out, i ? "\r\n" : "") && print_row(v, &out, text, v->top + i, &v->widths[i]) &&
             print(&out, i + 1 < shown ? "\033[K" : "\033[J");
    }
    v->n_shown = (int)shown;
    v->at_row = (int)(row - v->top);
    v->at_column = (int)strlen(v->prompt) + column;
    ok = ok && move(&out, v->n_shown - 1 - v->at_row, 'A') && print(&out, "\r") &&
         move(&out, v->at_column, 'C');
    if (ok) {
        fwrite(out.data, 1, out.n, stderr);
    }
    cli_buffer_free(&out);
    return ok;
}

void cli_view_begin(struct cli_view *v)
{
    cli_term_size(&v->rows, &v->columns);
    v->n_shown = v->at_row = 0;
    v->top = 0;
}

void cli_view_resize(struct cli_view *v)
{
    int rows, columns, above = 0;
    cli_term_size(&rows, &columns);
    /* A narrower terminal has broken the rows that do not fit any more. */
    for (int i = 0; i < v->at_row; i++) {
        above += columns < v->columns && v->widths[i] > columns
                     ? (v->widths[i] + columns - 1) / columns
                     : 1;
    }
    above += columns < v->columns ? v->at_column / columns : 0;
    v->at_row = above;
    v->rows = rows;
    v->columns = columns;
}

void cli_view_clear(struct cli_view *v)
{
    fputs("\033[H\033[2J", stderr);
    v->at_row = 0;
}

void cli_view_end(struct cli_view *v)
{
    struct cli_buffer out = {0};
    if (print(&out, "\r") && move(&out, v->n_shown - 1 - v->at_row, 'B') && print(&out, "\r\n")) {
        fwrite(out.data, 1, out.n, stderr);
    }
    cli_buffer_free(&out);
    v->n_shown = v->at_row = 0;
}

void cli_view_free(struct cli_view *v)
{
    free(v->starts);
    free(v->widths);
    *v = (struct cli_view){0};
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_lex: template text to tokens. Outside of tags this is where white space is taken away:
 * what `-` asks for, the line break behind a block and the indent before it.
 */
#include "text/template/template_ast.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/value/place.h"
#include "text/template/unicode.h"

/* Controls, and bytes that a cut text left behind, become '?'. */
static void make_printable(char *message)
{
    size_t len = strlen(message), step;
    for (size_t at = 0; at < len; at += step) {
        int32_t cp = 0;
        step = lk_utf8_next(message + at, len - at, &cp);
        if (step == 0 || cp < 0x20 || (cp >= 0x7F && cp < 0xA0)) {
            step = step ? step : 1;
            memset(message + at, '?', step);
        }
    }
}

lk_status lk_tpl_error(const char *text, size_t at, lk_status status, lk_error *err,
                       const char *format, ...)
{
    char message[768];
    struct lk_place p = lk_place_of(text, at);
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    make_printable(message);
    return lk_fail(err, status, "chat template %zu:%zu: %s", p.line, p.column, message);
}

lk_status lk_tpl_source(struct lk_region *region, const char *source, size_t len, const char **text,
                        size_t *n, lk_error *err)
{
    if (len > LK_TPL_SOURCE) {
        return lk_fail(err, LK_E_INVALID, "chat template: %zu bytes, expected at most %d", len,
                       LK_TPL_SOURCE);
    }
    char *copy = lk_region_alloc(region, len + 1);
    size_t to = 0;
    if (!copy) {
        return lk_region_fail(region, "chat template", err);
    }
    for (size_t at = 0; at < len;) {
        size_t step = lk_utf8_next(source + at, len - at, NULL);
        if (step == 0) {
            return lk_tpl_error(copy, to, LK_E_FORMAT, err, "found byte 0x%02x, expected UTF-8",
                                (unsigned)(unsigned char)source[at]);
        }
        if (source[at] == '\r') {
            copy[to++] = '\n';
            at += at + 1 < len && source[at + 1] == '\n' ? 2 : 1;
            continue;
        }
        memcpy(copy + to, source + at, step);
        to += step;
        at += step;
    }
    to -= to > 0 && copy[to - 1] == '\n';
    copy[to] = 0;
    *text = copy;
    *n = to;
    return LK_OK;
}

/* ---- scanning ---- */

static bool here(const struct lk_tpl_lexer *l, size_t at, const char *what)
{
    size_t n = strlen(what);
    return l->len - at >= n && memcmp(l->text + at, what, n) == 0;
}

static size_t skip_space(const struct lk_tpl_lexer *l, size_t at)
{
    int32_t cp;
    while (at < l->len) {
        size_t step = lk_char_next(l->text + at, l->len - at, &cp);
        if (!lk_char_is_space(cp)) {
            break;
        }
        at += step;
    }
    return at;
}

/* The end of text[from..to) without the white space at its end. */
static size_t rstrip(const struct lk_tpl_lexer *l, size_t from, size_t to)
{
    int32_t cp;
    while (to > from) {
        size_t back = lk_char_back(l->text, to);
        lk_char_next(l->text + back, to - back, &cp);
        if (!lk_char_is_space(cp)) {
            break;
        }
        to = back;
    }
    return to;
}

/* The end of the text before a tag: without white space for `-`; else without the indent of the
 * line that the tag begins, unless a `+` or a print keeps it. */
static size_t strip_before(const struct lk_tpl_lexer *l, size_t from, size_t to, char sign,
                           bool print)
{
    if (sign == '-') {
        return rstrip(l, from, to);
    }
    if (sign == '+' || print) {
        return to;
    }
    const char *line = memrchr(l->text + from, '\n', to - from);
    size_t begin = line ? (size_t)(line - l->text) + 1 : from;
    return (line || l->line_start) && rstrip(l, begin, to) == begin ? begin : to;
}

/* The end of a tag's end (`%}`, `}}` or `#}`) at `at`, 0 when it is not there. `+` is allowed and
 * the next line break goes with it where `trims`. */
static size_t tag_end(const struct lk_tpl_lexer *l, size_t at, const char *end, bool trims)
{
    if (at < l->len && l->text[at] == '-' && here(l, at + 1, end)) {
        return skip_space(l, at + 3);
    }
    if (trims && at < l->len && l->text[at] == '+' && here(l, at + 1, end)) {
        return at + 3;
    }
    if (at <= l->len && here(l, at, end)) {
        return at + 2 + (trims && at + 2 < l->len && l->text[at + 2] == '\n');
    }
    return 0;
}

static void ended(struct lk_tpl_lexer *l, size_t at)
{
    l->line_start = at > 0 && l->text[at - 1] == '\n';
    l->at = at;
}

/* ---- text ---- */

static char sign_at(const struct lk_tpl_lexer *l, size_t at)
{
    return at < l->len && (l->text[at] == '-' || l->text[at] == '+') ? l->text[at] : 0;
}

/* Where the next tag begins, or the text's end. */
static size_t find_tag(const struct lk_tpl_lexer *l, size_t at)
{
    for (; at < l->len; at++) {
        const char *brace = memchr(l->text + at, '{', l->len - at);
        if (!brace) {
            break;
        }
        at = (size_t)(brace - l->text);
        if (at + 1 < l->len && strchr("{%#", l->text[at + 1]) && l->text[at + 1]) {
            return at;
        }
    }
    return l->len;
}

/* Behind a `{% raw %}` that begins at `at`; 0 if none does. */
static size_t raw_begin(const struct lk_tpl_lexer *l, size_t at)
{
    size_t word = skip_space(l, at + 2 + (sign_at(l, at + 2) != 0));
    if (!here(l, word, "raw")) {
        return 0;
    }
    size_t end = skip_space(l, word + 3);
    return here(l, end, "%}") ? end + 2 : here(l, end, "-%}") ? skip_space(l, end + 3) : 0;
}

static lk_status skip_comment(struct lk_tpl_lexer *l, size_t begin)
{
    size_t at = begin + 2 + (sign_at(l, begin + 2) != 0);
    if (at == l->len) { /* Jinja misses the end only where something is in the comment */
        l->at = at;
        return LK_OK;
    }
    for (; at < l->len; at++) {
        size_t end = tag_end(l, at, "#}", true);
        if (end) {
            ended(l, end);
            return LK_OK;
        }
    }
    return lk_tpl_error(l->text, begin, LK_E_FORMAT, l->err, "a comment that does not end");
}

static bool make_data(struct lk_tpl_tok *out, const struct lk_tpl_lexer *l, size_t from, size_t to)
{
    *out = (struct lk_tpl_tok){TOKEN_DATA, OP_NONE, (uint32_t)from,
                               lk_value_text(l->text + from, to - from, LK_VALUE_TRUSTED)};
    return to > from;
}

/* The text of a raw block whose begin ends at l->at. */
static lk_status read_raw(struct lk_tpl_lexer *l, struct lk_tpl_tok *out, bool *found)
{
    size_t from = l->at;
    *found = false;
    if (from == l->len) {
        return LK_OK;
    }
    for (size_t at = from; at < l->len; at++) {
        char sign = sign_at(l, at + 2);
        size_t word = here(l, at, "{%") ? skip_space(l, at + 2 + (sign != 0)) : l->len;
        size_t end = here(l, word, "endraw") ? tag_end(l, skip_space(l, word + 6), "%}", true) : 0;
        if (end) {
            *found = make_data(out, l, from, strip_before(l, from, at, sign, false));
            ended(l, end);
            return LK_OK;
        }
    }
    return lk_tpl_error(l->text, from, LK_E_FORMAT, l->err, "a raw block that does not end");
}

/* The next token of text; *found false when there is none before something else. */
static lk_status next_text(struct lk_tpl_lexer *l, struct lk_tpl_tok *out, bool *found)
{
    size_t from = l->at, tag = find_tag(l, from);
    if (tag == l->len) {
        *found = make_data(out, l, from, tag);
        l->at = tag;
        return LK_OK;
    }
    char sign = sign_at(l, tag + 2);
    bool print = l->text[tag + 1] == '{';
    *found = make_data(out, l, from, strip_before(l, from, tag, sign, print));
    if (l->text[tag + 1] == '#') {
        return skip_comment(l, tag);
    }
    size_t raw = print ? 0 : raw_begin(l, tag);
    if (raw) {
        struct lk_tpl_tok inside;
        bool any = false;
        ended(l, raw);
        lk_status status = read_raw(l, &inside, &any);
        if (!status && any) {
            *(*found ? &l->ready : out) = inside;
            l->has_ready = *found;
            *found = true;
        }
        return status;
    }
    l->state = print ? IN_PRINT : IN_BLOCK;
    l->at = tag + 2 + (sign != 0);
    l->line_start = false;
    struct lk_tpl_tok begin = {print ? TOKEN_PRINT_BEGIN : TOKEN_BLOCK_BEGIN,
                               OP_NONE,
                               (uint32_t)tag,
                               {0}};
    *(*found ? &l->ready : out) = begin;
    l->has_ready = *found;
    *found = true;
    return LK_OK;
}

/* ---- names and operators ---- */

static lk_status read_name(struct lk_tpl_lexer *l, struct lk_tpl_tok *out, bool *found)
{
    size_t from = l->at, at = from;
    int32_t cp = 0, first = 0;
    while (at < l->len) {
        size_t step = lk_char_next(l->text + at, l->len - at, &cp);
        if (!lk_char_is_word(cp)) {
            break;
        }
        first = at == from ? cp : first;
        at += step;
    }
    *found = at > from;
    if (*found && first != '_' && !lk_char_is_alpha(first)) {
        return lk_tpl_error(l->text, from, LK_E_FORMAT, l->err,
                            "a name that begins with neither a letter nor an underscore");
    }
    out->type = TOKEN_NAME;
    out->value = lk_value_text(l->text + from, at - from, LK_VALUE_TRUSTED);
    l->at = at;
    return LK_OK;
}

static const struct {
    const char *text;
    enum lk_tpl_op op;
} operators[] = {
    {"//", OP_FLOORDIV}, {"**", OP_POW},        {"==", OP_EQ},   {"!=", OP_NE},
    {">=", OP_GE},       {"<=", OP_LE},         {"+", OP_ADD},   {"-", OP_SUB},
    {"/", OP_DIV},       {"*", OP_MUL},         {"%", OP_MOD},   {"~", OP_CONCAT},
    {"[", OP_BRACKET},   {"]", OP_BRACKET_END}, {"(", OP_PAREN}, {")", OP_PAREN_END},
    {"{", OP_BRACE},     {"}", OP_BRACE_END},   {">", OP_GT},    {"<", OP_LT},
    {"=", OP_ASSIGN},    {".", OP_DOT},         {":", OP_COLON}, {"|", OP_PIPE},
    {",", OP_COMMA},     {";", OP_SEMICOLON},
};

/* Brackets must match within a tag; what is open keeps the tag from ending. */
static lk_status balance(struct lk_tpl_lexer *l, char c)
{
    static const char open[] = "([{", close[] = ")]}";
    const char *opening = strchr(open, c), *closing = strchr(close, c);
    if (opening) {
        lk_status status = lk_grow(&l->open, &l->open_cap, l->n_open + 1, 1, l->err);
        if (!status) {
            l->open[l->n_open++] = close[opening - open];
        }
        return status;
    }
    if (!closing) {
        return LK_OK;
    }
    if (l->n_open == 0) {
        return lk_tpl_error(l->text, l->at, LK_E_FORMAT, l->err, "found '%c', which closes nothing",
                            c);
    }
    if (l->open[--l->n_open] != c) {
        return lk_tpl_error(l->text, l->at, LK_E_FORMAT, l->err, "found '%c', expected '%c'", c,
                            l->open[l->n_open]);
    }
    return LK_OK;
}

static lk_status read_operator(struct lk_tpl_lexer *l, struct lk_tpl_tok *out)
{
    for (size_t i = 0; i < LK_COUNT(operators); i++) {
        if (here(l, l->at, operators[i].text)) {
            size_t n = strlen(operators[i].text);
            lk_status status = n == 1 ? balance(l, operators[i].text[0]) : LK_OK;
            out->type = TOKEN_OPERATOR;
            out->op = operators[i].op;
            out->value = lk_value_text(l->text + l->at, n, LK_VALUE_TRUSTED);
            l->at += n;
            return status;
        }
    }
    return lk_tpl_error(l->text, l->at, LK_E_FORMAT, l->err, "found '%c', which begins nothing",
                        l->text[l->at]);
}

static lk_status next_in_tag(struct lk_tpl_lexer *l, struct lk_tpl_tok *out)
{
    bool block = l->state == IN_BLOCK, found = false;
    l->at = skip_space(l, l->at);
    *out = (struct lk_tpl_tok){TOKEN_END, OP_NONE, (uint32_t)l->at, {0}};
    if (l->at == l->len) {
        return LK_OK;
    }
    size_t end = l->n_open ? 0 : tag_end(l, l->at, block ? "%}" : "}}", block);
    if (end) {
        out->type = block ? TOKEN_BLOCK_END : TOKEN_PRINT_END;
        ended(l, end);
        l->state = IN_TEXT;
        return LK_OK;
    }
    char c = l->text[l->at];
    if (c >= '0' && c <= '9') {
        return lk_tpl_read_number(l, out);
    }
    lk_status status = read_name(l, out, &found);
    if (status || found) {
        return status;
    }
    return c == '\'' || c == '"' ? lk_tpl_read_string(l, out) : read_operator(l, out);
}

lk_status lk_tpl_next(struct lk_tpl_lexer *l, struct lk_tpl_tok *out)
{
    if (l->has_ready) {
        *out = l->ready;
        l->has_ready = false;
        return LK_OK;
    }
    if (l->state != IN_TEXT) {
        return next_in_tag(l, out);
    }
    bool found = false;
    while (l->at < l->len && !found) {
        lk_status status = next_text(l, out, &found);
        if (status) {
            return status;
        }
    }
    if (!found) {
        *out = (struct lk_tpl_tok){TOKEN_END, OP_NONE, (uint32_t)l->len, {0}};
    }
    return LK_OK;
}

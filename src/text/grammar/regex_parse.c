/* SPDX-License-Identifier: Apache-2.0
 *
 * Regex_parse: the text of a regular expression as a tree.
 */
#include "text/grammar/regex.h"

#include <stdio.h>

#include "base/utf8.h"

enum { MAX_DEPTH = 200, MAX_COUNT = 1000000000 };

lk_status lk_regex_fail(const struct lk_regex_parser *p, lk_status status, size_t at,
                        const char *format, ...)
{
    char line[256];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return lk_fail(p->err, status, "byte %zu: %s", at, line);
}

lk_status lk_regex_char(struct lk_regex_parser *p, uint32_t *c)
{
    int32_t cp;
    size_t n = lk_utf8_next(p->text + p->at, p->len - p->at, &cp);
    if (!n) {
        return lk_regex_fail(p, LK_E_FORMAT, p->at, "no UTF-8");
    }
    p->at += n;
    *c = (uint32_t)cp;
    return LK_OK;
}

static lk_status add(struct lk_regex_parser *p, struct lk_regex_node node, uint32_t *out)
{
    if (p->n == UINT32_MAX || lk_grow(&p->node, &p->cap, p->n + 1, sizeof *p->node, p->err)) {
        return LK_E_NOMEM;
    }
    p->node[p->n] = node;
    *out = (uint32_t)p->n++;
    return LK_OK;
}

static bool at_char(const struct lk_regex_parser *p, char c)
{
    return p->at < p->len && p->text[p->at] == c;
}

static bool at_text(const struct lk_regex_parser *p, const char *text)
{
    size_t n = strlen(text);
    return p->len - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

/* ---- repetition ---- */

static bool read_count(const struct lk_regex_parser *p, size_t *at, uint64_t *n)
{
    size_t begin = *at;
    for (*n = 0; *at < p->len && p->text[*at] >= '0' && p->text[*at] <= '9'; (*at)++) {
        *n = *n * 10 + (uint64_t)(p->text[*at] - '0');
        *n = *n > MAX_COUNT ? (uint64_t)MAX_COUNT + 1 : *n;
    }
    return *at > begin;
}

/* {m}, {m,} or {m,n}; false where the brace is a character like others. */
static bool braces(struct lk_regex_parser *p, uint64_t *min, uint64_t *max)
{
    size_t at = p->at + 1;
    if (!read_count(p, &at, min)) {
        return false;
    }
    *max = *min;
    if (at < p->len && p->text[at] == ',') {
        at++;
        if (!read_count(p, &at, max)) {
            *max = LK_NO_LIMIT;
        }
    }
    if (at == p->len || p->text[at] != '}') {
        return false;
    }
    p->at = at + 1;
    return true;
}

static lk_status quantifier(struct lk_regex_parser *p, uint32_t *node)
{
    size_t begin = p->at;
    uint64_t min = 0, max = LK_NO_LIMIT;
    if (at_char(p, '*') || at_char(p, '+') || at_char(p, '?')) {
        min = p->text[p->at] == '+';
        max = p->text[p->at] == '?' ? 1 : LK_NO_LIMIT;
        p->at++;
    } else if (!at_char(p, '{') || !braces(p, &min, &max)) {
        return LK_OK;
    }
    if (min > MAX_COUNT || (max > MAX_COUNT && max != LK_NO_LIMIT)) {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, begin, "a count above %d", MAX_COUNT);
    }
    if (min > max) {
        return lk_regex_fail(p, LK_E_FORMAT, begin, "a repetition whose counts run backwards");
    }
    p->at += at_char(p, '?'); /* lazy: the same texts */
    if (at_char(p, '+') || at_char(p, '*') || at_char(p, '?')) {
        return lk_regex_fail(p, LK_E_FORMAT, p->at, "nothing to repeat before '%c'",
                             p->text[p->at]);
    }
    const struct lk_regex_node *body = &p->node[*node];
    return add(p,
               (struct lk_regex_node){.kind = LK_REGEX_REPEAT,
                                      .asserts = body->asserts,
                                      .child = *node,
                                      .min = (uint32_t)min,
                                      .max = (uint32_t)max,
                                      .at = (uint32_t)begin},
               node);
}

/* ---- atoms and groups ---- */

static lk_status choice(struct lk_regex_parser *p, uint32_t *out);

static lk_status chars(struct lk_regex_parser *p, struct lk_char_set *set, size_t at, uint32_t *out)
{
    lk_chars_sort(set);
    uint32_t e = lk_chars_spell(p->x, set, p->options->how);
    return add(p, (struct lk_regex_node){.kind = LK_REGEX_CHARS, .e = e, .at = (uint32_t)at}, out);
}

/* Skips what tells the kind of a group, p->at behind its parenthesis. */
static lk_status group_kind(struct lk_regex_parser *p, uint8_t *kind)
{
    *kind = LK_REGEX_SEQUENCE;
    if (!at_char(p, '?')) {
        return LK_OK;
    }
    if (at_text(p, "?<=") || at_text(p, "?<!")) {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, p->at - 1, "lookbehind is not supported");
    }
    if (at_text(p, "?=") || at_text(p, "?!")) {
        *kind = p->text[p->at + 1] == '=' ? LK_REGEX_AHEAD : LK_REGEX_NOT_AHEAD;
        p->at += 2;
        return LK_OK;
    }
    if (at_text(p, "?:")) {
        p->at += 2;
        return LK_OK;
    }
    if (at_text(p, "?<") || at_text(p, "?P<")) {
        while (p->at < p->len && p->text[p->at] != '>') {
            p->at++;
        }
        if (p->at < p->len) {
            p->at++;
            return LK_OK;
        }
    }
    return lk_regex_fail(p, LK_E_UNSUPPORTED, p->at, "a group of a kind that is not supported");
}

static lk_status group(struct lk_regex_parser *p, uint32_t *out)
{
    size_t begin = p->at++;
    uint8_t kind;
    lk_status status = group_kind(p, &kind);
    if (!status) {
        status = choice(p, out);
    }
    if (!status && !at_char(p, ')')) {
        status = lk_regex_fail(p, LK_E_FORMAT, begin, "'(' without ')'");
    }
    p->at++;
    if (!status && kind != LK_REGEX_SEQUENCE) {
        status = add(p,
                     (struct lk_regex_node){
                         .kind = kind, .asserts = true, .child = *out, .at = (uint32_t)begin},
                     out);
    }
    return status;
}

static lk_status class_or_char(struct lk_regex_parser *p, uint32_t *out)
{
    struct lk_char_set set = {0};
    size_t at = p->at;
    uint32_t c = 0;
    lk_status status;
    if (p->text[at] == '[') {
        p->at++;
        status = lk_regex_class(p, &set);
    } else if (p->text[at] == '\\') {
        p->at++;
        status = lk_regex_escape(p, false, &set);
    } else if (p->text[at] == '.') { /* no line terminator */
        static const uint32_t ends[] = {'\n', '\r', 0x2028, 0x2029};
        p->at++;
        status = LK_OK;
        for (size_t i = 0; i < LK_COUNT(ends) && !status; i++) {
            status = lk_chars_add(&set, ends[i], ends[i], p->err);
        }
        status = status ? status : lk_chars_negate(&set, p->err);
    } else {
        status = lk_regex_char(p, &c);
        status = status ? status : lk_chars_add(&set, c, c, p->err);
    }
    if (!status) {
        status = chars(p, &set, at, out);
    }
    lk_chars_free(&set);
    return status;
}

static lk_status atom(struct lk_regex_parser *p, uint32_t *out)
{
    char c = p->text[p->at];
    size_t at = p->at;
    if (c == '(') {
        return group(p, out);
    }
    if (c == '^' || c == '$') {
        p->at++;
        return add(p,
                   (struct lk_regex_node){.kind = c == '^' ? LK_REGEX_BEGIN : LK_REGEX_END,
                                          .asserts = true,
                                          .at = (uint32_t)at},
                   out);
    }
    if (c == '*' || c == '+' || c == '?') {
        return lk_regex_fail(p, LK_E_FORMAT, at, "nothing to repeat before '%c'", c);
    }
    return class_or_char(p, out);
}

/* ---- sequences and choices ---- */

/* Children are linked in their order; the parent is made when they are all there. */
struct children {
    uint32_t first, last, n;
    bool asserts;
};

static void link_child(struct lk_regex_parser *p, struct children *c, uint32_t node)
{
    if (c->last) {
        p->node[c->last].next = node;
    } else {
        c->first = node;
    }
    c->last = node;
    c->n++;
    c->asserts |= p->node[node].asserts;
}

static lk_status parent(struct lk_regex_parser *p, const struct children *c, uint8_t kind,
                        size_t at, uint32_t *out)
{
    if (c->n == 1) {
        *out = c->first;
        return LK_OK;
    }
    return add(p,
               (struct lk_regex_node){
                   .kind = kind, .asserts = c->asserts, .child = c->first, .at = (uint32_t)at},
               out);
}

static lk_status sequence(struct lk_regex_parser *p, uint32_t *out)
{
    struct children c = {0};
    size_t begin = p->at;
    while (p->at < p->len && p->text[p->at] != '|' && p->text[p->at] != ')') {
        uint32_t node;
        lk_status status = atom(p, &node);
        if (!status) {
            status = quantifier(p, &node);
        }
        if (status) {
            return status;
        }
        link_child(p, &c, node);
    }
    return parent(p, &c, LK_REGEX_SEQUENCE, begin, out);
}

static lk_status choice(struct lk_regex_parser *p, uint32_t *out)
{
    struct children c = {0};
    size_t begin = p->at;
    lk_status status = LK_OK;
    if (p->depth >= MAX_DEPTH) {
        return lk_regex_fail(p, LK_E_UNSUPPORTED, p->at, "more than %d groups inside of each other",
                             MAX_DEPTH);
    }
    p->depth++;
    do {
        uint32_t node;
        p->at += c.n > 0;
        status = sequence(p, &node);
        if (!status) {
            link_child(p, &c, node);
        }
    } while (!status && at_char(p, '|'));
    p->depth--;
    return status ? status : parent(p, &c, LK_REGEX_CHOICE, begin, out);
}

lk_status lk_regex_parse(struct lk_regex_parser *p, uint32_t *root)
{
    if (p->len > UINT32_MAX / 2) {
        return lk_fail(p->err, LK_E_UNSUPPORTED, "byte 0: a regular expression of %zu bytes",
                       p->len);
    }
    lk_status status = add(p, (struct lk_regex_node){0}, root);
    if (!status) {
        status = choice(p, root);
    }
    if (!status && p->at < p->len) {
        status = lk_regex_fail(p, LK_E_FORMAT, p->at, "')' without '('");
    }
    return status;
}

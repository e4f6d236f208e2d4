/* SPDX-License-Identifier: Apache-2.0
 *
 * Gbnf: grammars in llama.cpp's notation: rules of literals, classes, tokens, groups, alternatives
 * and repetitions. Knows the notation alone; what rules mean is grammar.c's.
 */
#include <stdio.h>

#include "base/utf8.h"
#include "text/grammar/grammar.h"
#include "text/value/place.h"

enum { MAX_DEPTH = 200, MAX_COUNT = 1000000000 };

struct parser {
    lk_grammar *g;
    const char *text;
    size_t len, at;
    struct lk_slots names;
    int depth;
    lk_error *err;
};

__attribute__((format(printf, 4, 5))) static lk_status
fail_at(const struct parser *p, lk_status status, size_t at, const char *format, ...)
{
    struct lk_place place = lk_place_of(p->text, at < p->len ? at : p->len);
    char line[700];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    return lk_fail(p->err, status, "line %zu column %zu: %s", place.line, place.column, line);
}

static bool at_char(const struct parser *p, char c)
{
    return p->at < p->len && p->text[p->at] == c;
}

static bool at_text(const struct parser *p, const char *text)
{
    size_t n = strlen(text);
    return p->len - p->at >= n && memcmp(p->text + p->at, text, n) == 0;
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_';
}

/* Skips blanks and comments, and line ends if `lines`. */
static void skip(struct parser *p, bool lines)
{
    for (; p->at < p->len; p->at++) {
        char c = p->text[p->at];
        if (c == '#') {
            while (p->at < p->len && p->text[p->at] != '\n' && p->text[p->at] != '\r') {
                p->at++;
            }
            if (!lines || p->at == p->len) {
                return;
            }
        } else if (c != ' ' && c != '\t' && (!lines || (c != '\n' && c != '\r'))) {
            return;
        }
    }
}

/* ---- names ---- */

/* The rule of a name, made when it is new. */
static lk_status rule_of(struct parser *p, size_t begin, size_t end, uint32_t *rule)
{
    const char *name = p->text + begin;
    size_t n = end - begin;
    uint32_t hash = (uint32_t)n;
    for (size_t i = 0; i < n; i++) {
        hash = lk_hash_mix(hash, (unsigned char)name[i]);
    }
    for (size_t at = hash; lk_slots_next(&p->names, hash, &at, rule);) {
        const char *other = p->g->rule[*rule].name;
        if (strlen(other) == n && memcmp(other, name, n) == 0) {
            return LK_OK;
        }
    }
    lk_status status = lk_grammar_add_rule(p->g, name, n, rule, p->err);
    if (!status && !lk_slots_add(&p->names, hash, *rule)) {
        status = lk_fail(p->err, LK_E_NOMEM, "out of memory for %zu rules", p->g->n_rules);
    }
    if (!status) {
        p->g->rule[*rule].at = (uint32_t)begin;
    }
    return status;
}

static size_t name_end(const struct parser *p)
{
    size_t end = p->at;
    while (end < p->len && is_name(p->text[end])) {
        end++;
    }
    return end;
}

/* ---- characters ---- */

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static lk_status hex_escape(struct parser *p, size_t n, uint32_t *c)
{
    size_t at = p->at;
    *c = 0;
    for (size_t i = 0; i < n; i++, p->at++) {
        int d = p->at < p->len ? hex_digit(p->text[p->at]) : -1;
        if (d < 0) {
            return fail_at(p, LK_E_FORMAT, at, "expected %zu hexadecimal digits", n);
        }
        *c = *c << 4 | (uint32_t)d;
    }
    if (*c > LK_CHAR_LAST || (*c >= 0xD800 && *c <= 0xDFFF)) {
        return fail_at(p, LK_E_FORMAT, at, "0x%x is no character", *c);
    }
    return LK_OK;
}

/* One character of a literal or class, escaped or not. */
static lk_status read_char(struct parser *p, uint32_t *c)
{
    static const char letters[] = "nrt\\\"[]", chars[] = "\n\r\t\\\"[]";
    size_t at = p->at;
    if (!at_char(p, '\\')) {
        int32_t cp;
        size_t n = lk_utf8_next(p->text + at, p->len - at, &cp);
        if (!n) {
            return fail_at(p, LK_E_FORMAT, at, "no UTF-8");
        }
        p->at += n;
        *c = (uint32_t)cp;
        return LK_OK;
    }
    char letter = at + 1 < p->len ? p->text[at + 1] : 0;
    const char *known = letter ? strchr(letters, letter) : NULL;
    p->at += 2;
    if (known) {
        *c = (unsigned char)chars[known - letters];
        return LK_OK;
    }
    if (letter == 'x' || letter == 'u' || letter == 'U') {
        return hex_escape(p, letter == 'x' ? 2 : letter == 'u' ? 4 : 8, c);
    }
    return fail_at(
        p, LK_E_FORMAT, at,
        "an escape that is not known, expected \\n \\r \\t \\\\ \\\" \\[ \\] \\xNN \\uNNNN "
        "or \\UNNNNNNNN");
}

/* "literal": its characters onto the list, then one sequence. */
static lk_status literal(struct parser *p, uint32_t *e)
{
    struct lk_exprs *x = &p->g->x;
    size_t begin = p->at++, from = lk_expr_list(x);
    while (!at_char(p, '"')) {
        uint32_t c;
        if (p->at >= p->len) {
            return fail_at(p, LK_E_FORMAT, begin, "a literal without its closing '\"'");
        }
        lk_status status = read_char(p, &c);
        if (status) {
            return status;
        }
        lk_expr_push(x, lk_char_spell(x, c, LK_SPELL_UTF8));
    }
    p->at++;
    *e = LK_EXPR_EMPTY;
    while (lk_expr_list(x) > from && !x->status) {
        *e = lk_expr_cat(x, x->work[--x->n_work], *e);
    }
    return LK_OK;
}

static lk_status class(struct parser *p, uint32_t *e)
{
    struct lk_char_set set = {0};
    size_t begin = p->at++;
    bool negated = at_char(p, '^');
    lk_status status = LK_OK;
    p->at += negated;
    while (!at_char(p, ']') && !status) {
        uint32_t first, last;
        size_t at = p->at;
        if (p->at >= p->len) {
            status = fail_at(p, LK_E_FORMAT, begin, "a class without its closing ']'");
            break;
        }
        status = read_char(p, &first);
        last = first;
        if (!status && at_char(p, '-') && p->at + 1 < p->len && p->text[p->at + 1] != ']') {
            p->at++;
            status = read_char(p, &last);
        }
        if (!status && last < first) {
            status = fail_at(p, LK_E_FORMAT, at, "a range of characters that runs backwards");
        }
        status = status ? status : lk_chars_add(&set, first, last, p->err);
    }
    p->at++;
    if (!status && negated) {
        status = lk_chars_negate(&set, p->err);
    }
    if (!status) {
        lk_chars_sort(&set);
        *e = lk_chars_spell(&p->g->x, &set, LK_SPELL_UTF8);
    }
    lk_chars_free(&set);
    return status;
}

/* <[id]>, <text>, or either behind a '!'. */
static lk_status token(struct parser *p, uint32_t *e)
{
    size_t begin = p->at, from, end;
    bool other = at_char(p, '!');
    uint32_t terminal;
    lk_status status;
    p->at += other;
    from = p->at;
    if (!at_char(p, '<')) {
        return fail_at(p, LK_E_FORMAT, begin, "expected a token after '!'");
    }
    for (end = from; end < p->len && p->text[end] != '>' && p->text[end] != '\n'; end++) {
    }
    if (end == p->len || p->text[end] != '>') {
        return fail_at(p, LK_E_FORMAT, begin, "a token without its closing '>'");
    }
    p->at = end + 1;
    if (p->text[from + 1] == '[') {
        int64_t id = 0;
        size_t at = from + 2;
        for (; at < end && p->text[at] >= '0' && p->text[at] <= '9' && id <= INT32_MAX; at++) {
            id = id * 10 + (p->text[at] - '0');
        }
        if (at == from + 2 || at + 1 != end || p->text[at] != ']' || id > INT32_MAX) {
            return fail_at(p, LK_E_FORMAT, begin, "expected a token as <[1000]> or <text>");
        }
        status = lk_grammar_add_terminal(p->g, NULL, 0, (int32_t)id, other, &terminal, p->err);
    } else {
        status = lk_grammar_add_terminal(p->g, p->text + from, p->at - from, -1, other, &terminal,
                                         p->err);
    }
    if (!status) {
        *e = lk_expr_token(&p->g->x, terminal);
    }
    return status;
}

/* %json and a JSON Schema: where the schema, an object, ends. */
static size_t json_end(const struct parser *p, size_t at)
{
    size_t depth = 0;
    bool quoted = false;
    for (; at < p->len; at++) {
        char c = p->text[at];
        if (quoted) {
            at += c == '\\';
            quoted = c != '"';
        } else if (c == '"') {
            quoted = true;
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && depth > 0 && --depth == 0) {
            return at + 1;
        }
    }
    return p->len;
}

static lk_status json(struct parser *p, uint32_t *e)
{
    size_t begin = p->at;
    p->at += strlen("%json");
    skip(p, true);
    if (!at_char(p, '{')) {
        return fail_at(p, LK_E_FORMAT, begin, "expected a JSON Schema, an object, after %%json");
    }
    size_t end = json_end(p, p->at);
    lk_status status = lk_schema_expr(p->g, p->text + p->at, end - p->at, e, p->err);
    p->at = end;
    return status ? fail_at(p, status, begin, "%s", p->err->message) : LK_OK;
}

/* ---- sequences ---- */

static lk_status alternatives(struct parser *p, bool nested, uint32_t *e);

static lk_status symbol(struct parser *p, uint32_t *e)
{
    size_t begin = p->at;
    lk_status status;
    switch (p->text[begin]) {
    case '"':
        return literal(p, e);
    case '[':
        return class(p, e);
    case '<':
    case '!':
        return token(p, e);
    case '%':
        return at_text(p, "%json") ? json(p, e)
                                   : fail_at(p, LK_E_FORMAT, begin, "expected %%json after '%%'");
    case '.':
        p->at++;
        *e = lk_any_char(&p->g->x, LK_SPELL_UTF8);
        return LK_OK;
    case '(':
        p->at++;
        skip(p, true);
        status = alternatives(p, true, e);
        if (!status && !at_char(p, ')')) {
            return fail_at(p, LK_E_FORMAT, begin, "'(' without ')'");
        }
        p->at++;
        return status;
    default: {
        size_t end = name_end(p);
        uint32_t rule;
        status = rule_of(p, begin, end, &rule);
        p->at = end;
        *e = status ? LK_EXPR_NONE : lk_expr_rule(&p->g->x, rule);
        return status;
    }
    }
}

static bool read_count(struct parser *p, uint64_t *n)
{
    size_t begin = p->at;
    for (*n = 0; p->at < p->len && p->text[p->at] >= '0' && p->text[p->at] <= '9'; p->at++) {
        *n = *n * 10 + (uint64_t)(p->text[p->at] - '0');
        *n = *n > MAX_COUNT ? (uint64_t)MAX_COUNT + 1 : *n;
    }
    return p->at > begin;
}

static lk_status braces(struct parser *p, bool nested, uint64_t *min, uint64_t *max)
{
    size_t begin = p->at++;
    skip(p, nested);
    bool given = read_count(p, min);
    *max = *min;
    skip(p, nested);
    if (at_char(p, ',')) {
        p->at++;
        skip(p, nested);
        if (!read_count(p, max)) {
            *max = LK_NO_LIMIT;
        }
        skip(p, nested);
    }
    if (!given || !at_char(p, '}')) {
        return fail_at(p, LK_E_FORMAT, begin, "expected {m}, {m,} or {m,n}");
    }
    if (*min > MAX_COUNT || (*max > MAX_COUNT && *max != LK_NO_LIMIT)) {
        return fail_at(p, LK_E_UNSUPPORTED, begin, "a count above %d", MAX_COUNT);
    }
    if (*min > *max) {
        return fail_at(p, LK_E_FORMAT, begin, "a repetition whose counts run backwards");
    }
    p->at++;
    return LK_OK;
}

static lk_status repetitions(struct parser *p, bool nested, uint32_t *e)
{
    for (;;) {
        uint64_t min = 0, max = LK_NO_LIMIT;
        skip(p, nested);
        if (at_char(p, '*') || at_char(p, '+') || at_char(p, '?')) {
            min = p->text[p->at] == '+';
            max = p->text[p->at] == '?' ? 1 : LK_NO_LIMIT;
            p->at++;
        } else if (at_char(p, '{')) {
            lk_status status = braces(p, nested, &min, &max);
            if (status) {
                return status;
            }
        } else {
            return LK_OK;
        }
        *e = lk_expr_repeat(&p->g->x, *e, (uint32_t)min, (uint32_t)max);
    }
}

static bool begins_symbol(const struct parser *p)
{
    return p->at < p->len && (strchr("\"[<!.(%", p->text[p->at]) || is_name(p->text[p->at])) &&
           p->text[p->at];
}

static lk_status sequence(struct parser *p, bool nested, uint32_t *e)
{
    struct lk_exprs *x = &p->g->x;
    size_t from = lk_expr_list(x);
    while (begins_symbol(p)) {
        uint32_t part = LK_EXPR_NONE;
        lk_status status = symbol(p, &part);
        if (!status) {
            status = repetitions(p, nested, &part);
        }
        if (status) {
            return status;
        }
        lk_expr_push(x, part);
    }
    *e = LK_EXPR_EMPTY;
    while (lk_expr_list(x) > from && !x->status) {
        *e = lk_expr_cat(x, x->work[--x->n_work], *e);
    }
    return LK_OK;
}

static lk_status alternatives(struct parser *p, bool nested, uint32_t *e)
{
    struct lk_exprs *x = &p->g->x;
    size_t from = lk_expr_list(x);
    bool more = true;
    if (p->depth >= MAX_DEPTH) {
        return fail_at(p, LK_E_UNSUPPORTED, p->at, "more than %d groups inside of each other",
                       MAX_DEPTH);
    }
    p->depth++;
    while (more) {
        uint32_t one = LK_EXPR_NONE;
        lk_status status = sequence(p, nested, &one);
        if (status) {
            return status;
        }
        lk_expr_push(x, one);
        more = at_char(p, '|');
        if (more) {
            p->at++;
            skip(p, true);
        }
    }
    p->depth--;
    *e = lk_expr_alt_of(x, from);
    return LK_OK;
}

/* ---- rules ---- */

static lk_status rule(struct parser *p)
{
    size_t begin = p->at, end = name_end(p);
    uint32_t index, body = LK_EXPR_NONE;
    if (end == begin) {
        return fail_at(p, LK_E_FORMAT, begin, "expected the name of a rule");
    }
    lk_status status = rule_of(p, begin, end, &index);
    p->at = end;
    skip(p, false);
    if (!status && !at_text(p, "::=")) {
        status = fail_at(p, LK_E_FORMAT, p->at, "expected ::= after a rule's name");
    }
    if (!status && p->g->rule[index].defined) {
        status =
            fail_at(p, LK_E_FORMAT, begin, "rule '%.64s' is there twice", p->g->rule[index].name);
    }
    if (!status) {
        p->at += 3;
        skip(p, true);
        status = alternatives(p, false, &body);
    }
    if (!status && p->at < p->len && !at_char(p, '\n') && !at_char(p, '\r')) {
        status = fail_at(p, LK_E_FORMAT, p->at, "expected the end of the rule");
    }
    if (!status) {
        p->g->rule[index].body = body;
        p->g->rule[index].defined = true;
        skip(p, true);
    }
    return status;
}

static lk_status rules(struct parser *p)
{
    lk_status status = LK_OK;
    skip(p, true);
    while (p->at < p->len && !status && !p->g->x.status) {
        status = rule(p);
    }
    if (!status && p->g->x.status) {
        status = lk_fail(p->err, p->g->x.status, "%s", p->g->x.error.message);
    }
    const lk_grammar *g = p->g;
    uint32_t root = UINT32_MAX;
    for (uint32_t i = 0; i < g->n_rules && !status; i++) {
        if (!g->rule[i].defined) {
            status = fail_at(p, LK_E_FORMAT, g->rule[i].at, "rule '%.64s' is not there",
                             g->rule[i].name);
        }
        root = strcmp(g->rule[i].name, "root") == 0 ? i : root;
    }
    if (!status && root == UINT32_MAX) {
        status = lk_fail(p->err, LK_E_FORMAT, "rule 'root' is not there");
    }
    if (!status) {
        p->g->root = lk_expr_rule(&p->g->x, root);
    }
    return status;
}

static lk_status compile(lk_grammar *g, const char *text, size_t len, lk_error *err)
{
    struct parser p = {.g = g, .text = text, .len = len, .err = err};
    lk_status status = rules(&p);
    lk_slots_free(&p.names);
    return status;
}

lk_status lk_grammar_open_gbnf(const char *text, size_t len, const lk_grammar_options *options,
                               lk_grammar **out, lk_error *err)
{
    return lk_grammar_open(options, "grammar", text, len, compile, out, err);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_literal: arguments that are nearly JSON, turned into it byte by byte: values in braces
 * with keys without quotes and quotes of their own, and calls in Python.
 */
#include "text/answer/answer_read.h"

/* Bytes of the JSON that is made; false when they make none. */
static bool put(struct lk_answer *a, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (lk_json_check_byte(&a->check, (unsigned char)bytes[i]) == LK_CHECK_BAD) {
            return false;
        }
    }
    lk_out_args(a, bytes, n);
    return true;
}

static bool puts_(struct lk_answer *a, const char *text)
{
    return put(a, text, strlen(text));
}

static bool at_key(const struct lk_answer *a)
{
    return a->check.state == LK_CHECK_KEY || a->check.state == LK_CHECK_KEY_OR_END;
}

static bool at_value(const struct lk_answer *a)
{
    return a->check.state == LK_CHECK_VALUE || a->check.state == LK_CHECK_VALUE_OR_END;
}

static bool is_word(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '-' || c == '.' || c == '$' || (unsigned char)c >= 0x80;
}

/* Length of the word at a->at; 0 and *more when it may go on. */
static size_t word_here(const struct lk_answer *a, bool *more)
{
    size_t n = 0;
    while (n < lk_left(a) && n <= LK_NAME_MAX && is_word(lk_here(a)[n])) {
        n++;
    }
    *more = n == lk_left(a) && !a->ended && n <= LK_NAME_MAX;
    return *more || n > LK_NAME_MAX ? 0 : n;
}

/* A key without quotes, up to the sign behind it. */
static enum lk_step take_key(struct lk_answer *a, char sign)
{
    bool more;
    size_t n = word_here(a, &more), at = a->at + n;
    while (n && at < a->in.n && lk_is_blank(a->in.data[at])) {
        at++;
    }
    if (more || (n && at == a->in.n && !a->ended)) {
        return LK_STEP_MORE;
    }
    if (!n || at == a->in.n || a->in.data[at] != sign) {
        return lk_call_broken(a);
    }
    const char *word = lk_here(a);
    bool good = puts_(a, "\"") && put(a, word, n) && puts_(a, "\": ");
    a->at = at + 1;
    return good ? LK_STEP_ON : lk_call_broken(a);
}

/* true, false, None and the like. */
static enum lk_step take_word(struct lk_answer *a)
{
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"},
                                           {"true", "true"}, {"false", "false"}, {"null", "null"}};
    bool more;
    size_t n = word_here(a, &more);
    for (size_t i = 0; i < LK_COUNT(words) && n; i++) {
        if (n == strlen(words[i][0]) && memcmp(lk_here(a), words[i][0], n) == 0) {
            a->at += n;
            return puts_(a, words[i][1]) ? LK_STEP_ON : lk_call_broken(a);
        }
    }
    return more ? LK_STEP_MORE : lk_call_broken(a);
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Signs, digits and blanks are those of JSON. */
static enum lk_step take_byte(struct lk_answer *a)
{
    char b = *lk_here(a);
    b = lk_is_blank(b) ? ' ' : b;
    if (!put(a, &b, 1)) {
        return lk_call_broken(a);
    }
    a->at++;
    if (a->check.state == LK_CHECK_DONE) {
        lk_call_done(a);
    }
    return LK_STEP_ON;
}

/* ---- braces ---- */

/* In a string, up to the quote that ends it. */
static enum lk_step braces_string(struct lk_answer *a)
{
    size_t from = a->at, len;
    for (; a->at < a->in.n; a->at++) {
        enum lk_match m = lk_match_at(a, a->at, a->syntax->quote, &len);
        if (m == LK_MATCH_NO) {
            continue;
        }
        lk_out_escaped(a, a->in.data + from, a->at - from);
        if (m == LK_MATCH_MAYBE) {
            return LK_STEP_MORE;
        }
        a->at += len;
        a->quote = 0;
        return puts_(a, "\"") ? LK_STEP_ON : lk_call_broken(a);
    }
    lk_out_escaped(a, a->in.data + from, a->at - from);
    return LK_STEP_MORE;
}

enum lk_step lk_step_braces(struct lk_answer *a)
{
    if (a->quote) {
        return braces_string(a);
    }
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    enum lk_match m = at_key(a) || at_value(a) ? lk_take(a, a->syntax->quote) : LK_MATCH_NO;
    if (m == LK_MATCH_YES) {
        a->quote = '"';
        return puts_(a, "\"") ? LK_STEP_ON : lk_call_broken(a);
    }
    if (m == LK_MATCH_MAYBE) {
        return LK_STEP_MORE;
    }
    char c = *lk_here(a);
    if (at_key(a) && is_word(c)) {
        return take_key(a, ':');
    }
    return at_value(a) && is_letter(c) ? take_word(a) : take_byte(a);
}

/* ---- Python ---- */

/* Escapes that JSON has not: \' and those that Python leaves as they are. */
static enum lk_step python_escape(struct lk_answer *a)
{
    char c = lk_here(a)[1], pair[2] = {'\\', c};
    bool same = c && strchr("\"\\bfnrtu", c);
    bool good = same ? put(a, pair, 2) : c == '\'' ? put(a, "'", 1) : put(a, "\\\\", 2);
    a->at += same || c == '\'' ? 2 : 1;
    return good ? LK_STEP_ON : lk_call_broken(a);
}

static enum lk_step python_string(struct lk_answer *a)
{
    char c = *lk_here(a);
    size_t n = 0;
    if (c == '\\') {
        return lk_left(a) > 1 ? python_escape(a) : LK_STEP_MORE;
    }
    if (c == a->quote) {
        a->quote = 0;
        a->at++;
        return puts_(a, "\"") ? LK_STEP_ON : lk_call_broken(a);
    }
    if (a->check.state != LK_CHECK_STRING) { /* in an escape */
        return take_byte(a);
    }
    while (n < lk_left(a) && lk_here(a)[n] != '\\' && lk_here(a)[n] != a->quote) {
        n++;
    }
    lk_out_escaped(a, lk_here(a), n);
    a->at += n;
    return LK_STEP_ON;
}

/* The signs around keyword arguments: ( = , ) */
static enum lk_step python_outer(struct lk_answer *a)
{
    char c = *lk_here(a);
    if (a->check.state == LK_CHECK_VALUE && a->check.depth == 0) { /* ( */
        a->at++;
        return puts_(a, "{") ? LK_STEP_ON : lk_call_broken(a);
    }
    if (lk_is_blank(c)) {
        a->at++;
        return LK_STEP_ON;
    }
    if (at_key(a) && is_word(c)) {
        return take_key(a, '=');
    }
    if (c == ')' || c == '}') {
        bool good = c == ')' && puts_(a, "}");
        a->at++;
        if (good) {
            lk_call_done(a);
        }
        return good ? LK_STEP_ON : lk_call_broken(a);
    }
    bool comma = c == ',' && puts_(a, ", ");
    a->at += comma;
    return comma ? LK_STEP_ON : lk_call_broken(a);
}

enum lk_step lk_step_python(struct lk_answer *a)
{
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    if (a->quote) {
        return python_string(a);
    }
    char c = *lk_here(a);
    bool inner = a->check.depth > 1 || at_value(a) || a->check.state == LK_CHECK_NUMBER;
    bool ends = a->check.depth == 1 && (c == ')' || c == ',');
    if (!inner || (ends && !at_value(a)) || a->check.depth == 0) {
        return python_outer(a);
    }
    if ((at_value(a) || at_key(a)) && (c == '"' || c == '\'')) {
        a->quote = c;
        a->at++;
        return puts_(a, "\"") ? LK_STEP_ON : lk_call_broken(a);
    }
    if (at_value(a) && is_letter(c)) {
        return take_word(a);
    }
    if (c == ')' || (a->check.depth == 1 && c == '}')) {
        return lk_call_broken(a);
    }
    return take_byte(a);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_tagged: arguments between tags, which become JSON by the types that the tool's schema
 * gives them: strings while they are written, other values when they are whole.
 */
#include "text/answer/answer_read.h"

/* ---- keys ---- */

enum lk_step lk_step_key(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    const char *end = s->foot ? s->foot : s->close;
    lk_skip_blanks(a);
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    enum lk_match done = lk_take(a, end), key = LK_MATCH_NO;
    if (done == LK_MATCH_YES) {
        lk_out_args(a, "}", 1);
        lk_call_done(a);
        return LK_STEP_ON;
    }
    if ((key = lk_take(a, s->key)) == LK_MATCH_YES) {
        a->mode = LK_MODE_KEY_NAME;
        a->scan = a->at;
        return LK_STEP_ON;
    }
    return done == LK_MATCH_MAYBE || key == LK_MATCH_MAYBE ? LK_STEP_MORE : lk_call_broken(a);
}

/* The first place from a->scan on where `marker` is, or may be (*maybe); the end of the text when
 * it is nowhere. */
static size_t find(struct lk_answer *a, const char *marker, bool *maybe, size_t *len)
{
    *maybe = false;
    for (; a->scan < a->in.n; a->scan++) {
        enum lk_match m = lk_match_at(a, a->scan, marker, len);
        *maybe = m == LK_MATCH_MAYBE;
        if (m != LK_MATCH_NO) {
            return a->scan;
        }
    }
    return a->in.n;
}

static void begin_value(struct lk_answer *a)
{
    const struct lk_answer_tool *tool = lk_answer_tool_find(&a->tools, a->name);
    lk_answer_types(lk_answer_parameter(tool, a->key), &a->text, &a->other);
    lk_out_args(a, ", ", a->first ? 0 : 2);
    lk_out_args(a, "\"", 1);
    lk_out_escaped(a, a->key, (size_t)a->n_key);
    lk_out_args(a, "\": ", 3);
    lk_out_args(a, "\"", a->other ? 0 : 1);
    a->first = a->begun = false;
    a->mode = LK_MODE_VALUE;
    a->scan = a->at;
}

enum lk_step lk_step_key_name(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    size_t len, from = a->at;
    bool maybe;
    size_t at = find(a, s->key_end, &maybe, &len);
    if (at - from > LK_NAME_MAX) {
        return lk_call_broken(a);
    }
    if (maybe || at == a->in.n) {
        return LK_STEP_MORE;
    }
    a->n_key = (int)(at - from);
    memcpy(a->key, a->in.data + from, at - from);
    a->at = at + len;
    if (s->value) { /* a tag of its own before the value */
        lk_skip_blanks(a);
        enum lk_match m = lk_take(a, s->value);
        if (m != LK_MATCH_YES) {
            bool more = m == LK_MATCH_MAYBE;
            a->at = more ? from : a->at;
            return more ? LK_STEP_MORE : lk_call_broken(a);
        }
    }
    begin_value(a);
    return LK_STEP_ON;
}

/* ---- values ---- */

/* A value that is whole and may be no string. */
static void put_value(struct lk_answer *a, const char *bytes, size_t n)
{
    static const char *const words[][2] = {{"True", "true"}, {"False", "false"}, {"None", "null"}};
    const char *first = bytes;
    size_t len = n;
    for (; len && lk_is_blank(*first); len--) {
        first++;
    }
    while (len && lk_is_blank(first[len - 1])) {
        len--;
    }
    bool json = len && lk_json_is_whole(first, len);
    if (json && !(a->text && *first == '"')) {
        for (size_t i = 0, run; i < len; i += run) { /* control characters can't stay */
            for (run = 0; i + run < len && (unsigned char)first[i + run] >= 0x20; run++) {
            }
            lk_out_args(a, first + i, run);
            if (i + run < len) {
                lk_out_args(a, " ", 1);
                run++;
            }
        }
        return;
    }
    for (size_t i = 0; i < LK_COUNT(words); i++) {
        if (len == strlen(words[i][0]) && memcmp(first, words[i][0], len) == 0) {
            lk_out_args(a, words[i][1], strlen(words[i][1]));
            return;
        }
    }
    lk_out_args(a, "\"", 1);
    lk_out_escaped(a, bytes, n);
    lk_out_args(a, "\"", 1);
}

enum lk_step lk_step_value(struct lk_answer *a)
{
    const struct lk_syntax *s = a->syntax;
    size_t len;
    bool maybe;
    if (!a->begun) {
        if (a->at == a->in.n) {
            return LK_STEP_MORE;
        }
        a->at += s->lines && *lk_here(a) == '\n';
        a->scan = a->scan < a->at ? a->at : a->scan;
        a->begun = true;
    }
    size_t end = find(a, s->value_end, &maybe, &len);
    bool found = end < a->in.n && !maybe;
    size_t stop = end; /* the line feed before the tag is none of the value's */
    stop -= s->lines && stop > a->at && a->in.data[stop - 1] == '\n' && !(a->ended && !found);
    if (!a->other) {
        lk_out_escaped(a, lk_here(a), stop - a->at);
        a->at = stop;
    }
    if (!found && a->ended && a->other) { /* as far as it came */
        lk_out_args(a, lk_here(a), lk_left(a));
        a->at = a->in.n;
    }
    if (!found) {
        return LK_STEP_MORE;
    }
    if (a->other) {
        put_value(a, lk_here(a), stop - a->at);
    } else {
        lk_out_args(a, "\"", 1);
    }
    a->at = end + len;
    a->mode = LK_MODE_KEY;
    return LK_STEP_ON;
}

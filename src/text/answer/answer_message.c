/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_message: answers of several messages, each with a head that names its channel, which tells
 * thinking from content, and its recipient, which is the tool that it calls.
 */
#include "text/answer/answer_read.h"

static const char message[] = "<|message|>", channel[] = "<|channel|>",
                  constrain[] = "<|constrain|>";

/* The first place of a text in the head at a->at..end, or NULL. */
static const char *find(const struct lk_answer *a, size_t end, const char *text)
{
    size_t n = strlen(text);
    for (size_t at = a->at; at + n <= end; at++) {
        if (memcmp(a->in.data + at, text, n) == 0) {
            return a->in.data + at + n;
        }
    }
    return NULL;
}

static size_t word(const char *p, const char *end)
{
    size_t n = 0;
    while (p + n < end && !lk_is_blank(p[n]) && p[n] != '<') {
        n++;
    }
    return n;
}

static bool is_head(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           lk_is_blank(c) || (c && strchr("_-.:=/", c));
}

/* The text up to byte `at` is no head of a message: it is content. */
static enum lk_step no_head(struct lk_answer *a, size_t at)
{
    a->at = at;
    return lk_call_broken(a);
}

/* A message to a tool. */
static void begin_call(struct lk_answer *a, const char *to, size_t n)
{
    static const char space[] = "functions.";
    size_t skip =
        n > sizeof space - 1 && memcmp(to, space, sizeof space - 1) == 0 ? sizeof space - 1 : 0;
    a->n_name = (int)(n - skip);
    memcpy(a->name, to + skip, n - skip);
    a->name[n - skip] = 0;
    a->n_id = 0;
    a->check = (struct lk_json_checker){0};
    a->mode = LK_MODE_ARGS;
    lk_out_begin(a);
}

static enum lk_step head_done(struct lk_answer *a, size_t end, size_t len)
{
    const char *stop = a->in.data + end;
    const char *to = find(a, end, "to="), *in = find(a, end, channel);
    size_t n_to = to ? word(to, stop) : 0;
    bool thinks = in && word(in, stop) == 8 && memcmp(in, "analysis", 8) == 0;
    bool calls = a->calls && n_to && n_to <= LK_NAME_MAX;
    size_t begin = a->at;
    a->at = end + len;
    if (calls) {
        a->keep = begin;
        begin_call(a, to, n_to);
        return LK_STEP_ON;
    }
    lk_text_goes_on(a, thinks && !a->plain);
    a->skip = false;
    a->keep = a->at;
    return LK_STEP_ON;
}

enum lk_step lk_step_message_head(struct lk_answer *a)
{
    size_t at = a->at, len;
    while (at < a->in.n && at - a->at <= LK_HEAD_MAX) {
        enum lk_match m = lk_match_at(a, at, message, &len);
        if (m == LK_MATCH_YES) {
            return head_done(a, at, len);
        }
        if (a->in.data[at] != '<') {
            if (!is_head(a->in.data[at])) {
                return no_head(a, at);
            }
            at++;
            continue;
        }
        enum lk_match c = lk_match_at(a, at, channel, &len);
        if (c == LK_MATCH_YES) {
            at += len;
            continue;
        }
        enum lk_match k = lk_match_at(a, at, constrain, &len);
        if (k == LK_MATCH_YES) {
            at += len;
        } else if (m == LK_MATCH_MAYBE || c == LK_MATCH_MAYBE || k == LK_MATCH_MAYBE) {
            return LK_STEP_MORE;
        } else {
            return no_head(a, at);
        }
    }
    return at - a->at > LK_HEAD_MAX ? no_head(a, at) : LK_STEP_MORE;
}

/* Behind a message: another one, or text that has no head. */
enum lk_step lk_step_message_end(struct lk_answer *a)
{
    static const char *const ends[] = {"<|end|>", "<|call|>", "<|return|>", "<|start|>"};
    bool maybe = false;
    size_t len;
    lk_skip_blanks(a);
    a->keep = a->at;
    if (a->at == a->in.n) {
        return LK_STEP_MORE;
    }
    for (size_t i = 0; i < LK_COUNT(ends); i++) {
        enum lk_match m = lk_take(a, ends[i]);
        maybe |= m == LK_MATCH_MAYBE;
        if (m == LK_MATCH_YES) {
            a->keep = a->at;
            a->mode = i == LK_COUNT(ends) - 1 ? LK_MODE_MESSAGE_HEAD : a->mode;
            return LK_STEP_ON;
        }
    }
    enum lk_match c = lk_match_at(a, a->at, channel, &len);
    if (c == LK_MATCH_YES) {
        a->mode = LK_MODE_MESSAGE_HEAD;
        return LK_STEP_ON;
    }
    return maybe || c == LK_MATCH_MAYBE ? LK_STEP_MORE : no_head(a, a->at);
}

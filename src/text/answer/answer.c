/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer: one text taken apart: opened, put, ended; what all modes look at the text with. What the
 * text means is the modes'.
 */
#include "text/answer/answer_read.h"

/* ---- open and close ---- */

lk_answer_options lk_answer_options_default(void)
{
    return (lk_answer_options){.size = sizeof(lk_answer_options)};
}

/* Whether a prompt has begun thinking and not ended it. */
static bool prompt_thinks(const struct lk_thinking *t, const char *prompt, size_t n)
{
    size_t begin = strlen(t->begin), end = strlen(t->end);
    for (size_t at = n; at > 0; at--) {
        const char *p = prompt + at - 1;
        size_t left = n - (at - 1);
        if (left >= end && memcmp(p, t->end, end) == 0) {
            return false;
        }
        if (left >= begin && memcmp(p, t->begin, begin) == 0) {
            return true;
        }
    }
    return false;
}

/* What the prompt has begun: the text behind the last head of a message that began. */
static lk_status begin_message(struct lk_answer *a, const char *prompt, size_t n, lk_error *err)
{
    static const char start[] = "<|start|>", channel[] = "<|channel|>";
    size_t from = n;
    for (size_t at = n; at-- > 0;) {
        bool head = n - at >= sizeof start - 1 && memcmp(prompt + at, start, sizeof start - 1) == 0;
        if (head) {
            break;
        }
        if (n - at >= sizeof channel - 1 && memcmp(prompt + at, channel, sizeof channel - 1) == 0) {
            from = at;
        }
    }
    a->mode = LK_MODE_MESSAGE_HEAD;
    return lk_answer_put(a, prompt ? prompt + from : "", n - from, err);
}

lk_status lk_answer_make(const struct lk_syntax *syntax, const struct lk_thinking *thinking,
                         const char *prompt, size_t n_prompt, lk_answer **out, lk_error *err)
{
    struct lk_answer *a = lk_alloc(sizeof *a);
    *out = NULL;
    if (!a) {
        return lk_fail(err, LK_E_NOMEM, "out of memory for an answer");
    }
    a->syntax = syntax;
    a->thinking = thinking;
    a->fresh = true;
    a->calls = true;
    if (thinking && prompt && prompt_thinks(thinking, prompt, n_prompt)) {
        lk_text_goes_on(a, true);
    }
    *out = a;
    lk_status status = LK_OK;
    if (syntax->kind == LK_CALL_HARMONY) {
        status = begin_message(a, prompt, n_prompt, err);
    }
    if (status) {
        lk_answer_close(out);
    }
    return status;
}

/* The end of a prompt that no stranger wrote. */
static const char *own_end(const lk_rendering *r, size_t *n)
{
    size_t begin, end = 0;
    const char *text = r ? lk_rendering_text(r, n) : NULL;
    if (r && lk_rendering_n_plain(r)) {
        lk_rendering_plain(r, lk_rendering_n_plain(r) - 1, &begin, &end);
    }
    *n = r ? *n - end : 0;
    return text ? text + end : NULL;
}

lk_status lk_answer_open(const lk_answer_format *f, const lk_answer_options *options,
                         lk_answer **out, lk_error *err)
{
    lk_answer_options o = lk_answer_options_default();
    size_t n;
    *out = NULL;
    lk_status status = lk_options_take(&o, sizeof o, options, "answer", err);
    if (status) {
        return status;
    }
    const char *prompt = own_end(o.prompt, &n);
    status = lk_answer_make(f->syntax, o.no_thinking ? NULL : f->thinking, prompt, n, out, err);
    if (status) {
        return status;
    }
    struct lk_answer *a = *out;
    status = lk_answer_tools_read(&a->tools, o.request, o.request_len, err);
    a->calls = a->tools.n && a->tools.choice != LK_CHOICE_NONE;
    a->whole = o.whole_calls;
    a->seed = o.seed;
    a->plain = o.no_thinking;
    if (status) {
        lk_answer_close(out);
    }
    return status;
}

void lk_answer_close(lk_answer **answer)
{
    struct lk_answer *a = answer ? *answer : NULL;
    if (a) {
        lk_answer_tools_free(&a->tools);
        lk_bytes_free(&a->in);
        lk_bytes_free(&a->out);
        lk_free(a->part);
        lk_free(a);
        *answer = NULL;
    }
}

bool lk_answer_thinks(const lk_answer *a)
{
    return a->mode == LK_MODE_TEXT && a->reasoning;
}

size_t lk_answer_n_calls(const lk_answer *a)
{
    return a->n_calls;
}

/* ---- reading ---- */

static enum lk_step step(struct lk_answer *a)
{
    switch (a->mode) {
    case LK_MODE_TEXT:
        return lk_step_text(a);
    case LK_MODE_OPENED:
        return lk_step_opened(a);
    case LK_MODE_OBJECT:
        return lk_step_object(a);
    case LK_MODE_NAME:
        return lk_step_name(a);
    case LK_MODE_BRIDGE:
        return lk_step_bridge(a);
    case LK_MODE_ARGS:
        return lk_step_args(a);
    case LK_MODE_KEY:
        return lk_step_key(a);
    case LK_MODE_KEY_NAME:
        return lk_step_key_name(a);
    case LK_MODE_VALUE:
        return lk_step_value(a);
    case LK_MODE_BRACES:
        return lk_step_braces(a);
    case LK_MODE_PYTHON:
        return lk_step_python(a);
    case LK_MODE_CODE:
        return lk_step_code(a);
    case LK_MODE_MESSAGE_HEAD:
        return lk_step_message_head(a);
    case LK_MODE_MESSAGE_END:
        break;
    }
    return lk_step_message_end(a);
}

/* Drops what is decided. */
static void tidy(struct lk_answer *a)
{
    size_t n = a->keep;
    if (n) {
        memmove(a->in.data, a->in.data + n, a->in.n - n);
        a->in.n -= n;
        a->at -= n;
        a->scan -= a->scan < n ? a->scan : n;
        a->solid -= a->solid < n ? a->solid : n;
        a->field_at -= a->field_at < n ? a->field_at : n;
        a->args_at -= a->args_at < n ? a->args_at : n;
        a->args_end -= a->args_end < n ? a->args_end : n;
        a->keep = 0;
    }
}

static void run(struct lk_answer *a)
{
    while (!a->status && step(a) == LK_STEP_ON) {
        if (a->in_call && !a->whole) {
            a->keep = a->at;
        }
    }
    if (a->in_call && !a->whole) {
        a->keep = a->at;
    }
}

/* Parts that were read make room. */
static void drop_parts(struct lk_answer *a)
{
    if (a->next_part == a->n_parts) {
        a->next_part = a->n_parts = a->ready = 0;
        a->out.n = 0;
    }
}

lk_status lk_answer_put(lk_answer *a, const char *bytes, size_t n, lk_error *err)
{
    if (a->ended || a->status) {
        return lk_fail(err, a->status ? a->status : LK_E_INVALID, "the answer has ended%s",
                       a->status ? " with a failure" : "");
    }
    a->err = err;
    drop_parts(a);
    a->status = n ? lk_bytes_add(&a->in, bytes, n, err) : LK_OK;
    run(a);
    if (!a->status) {
        tidy(a);
    }
    a->err = NULL;
    return a->status;
}

/* What is in the middle of something when the text is over. */
static void finish(struct lk_answer *a)
{
    bool gap = (a->mode == LK_MODE_OPENED && a->had_call) || a->mode == LK_MODE_MESSAGE_END;
    if (a->mode == LK_MODE_TEXT || gap || a->status) {
        return;
    }
    if (a->mode == LK_MODE_CODE && a->in_call) {
        lk_out_args(a, "\"}", 2);
        lk_out_end(a, true);
        return;
    }
    a->at = a->in_call && !a->whole ? a->at : a->in.n;
    lk_out_break(a);
    lk_out_text(a, lk_here(a), lk_left(a));
    a->at = a->keep = a->in.n;
}

lk_status lk_answer_end(lk_answer *a, lk_error *err)
{
    if (a->ended || a->status) {
        return a->status ? lk_fail(err, a->status, "the answer has ended with a failure") : LK_OK;
    }
    a->err = err;
    a->ended = true;
    drop_parts(a);
    run(a);
    finish(a);
    a->err = NULL;
    return a->status;
}

/* ---- looking ---- */

enum lk_match lk_match_at(const struct lk_answer *a, size_t at, const char *marker, size_t *n)
{
    size_t len = strlen(marker), left = a->in.n - at;
    while (len && lk_is_blank(marker[len - 1])) {
        len--;
    }
    for (; len && lk_is_blank(*marker); len--) {
        marker++;
    }
    size_t both = len < left ? len : left;
    *n = len;
    if (both && memcmp(a->in.data + at, marker, both) != 0) {
        return LK_MATCH_NO;
    }
    return len <= left ? LK_MATCH_YES : a->ended ? LK_MATCH_NO : LK_MATCH_MAYBE;
}

enum lk_match lk_take(struct lk_answer *a, const char *marker)
{
    size_t n;
    enum lk_match m = marker ? lk_match_at(a, a->at, marker, &n) : LK_MATCH_NO;
    a->at += m == LK_MATCH_YES ? n : 0;
    return m;
}

void lk_skip_blanks(struct lk_answer *a)
{
    while (a->at < a->in.n && lk_is_blank(a->in.data[a->at])) {
        a->at++;
    }
}

static bool is_name(unsigned char b)
{
    return (b >= 'a' && b <= 'z') || (b >= 'A' && b <= 'Z') || (b >= '0' && b <= '9') ||
           b >= 0x80 || (b && strchr("_-.:/", b));
}

bool lk_take_name(struct lk_answer *a, char *to, int *n, bool *bad)
{
    size_t len = 0;
    const char *p = lk_here(a);
    while (len < lk_left(a) && is_name((unsigned char)p[len])) {
        len++;
    }
    *bad = len > LK_NAME_MAX || (len == 0 && lk_left(a)) || (len == lk_left(a) && a->ended);
    if (*bad || len == lk_left(a)) {
        return false;
    }
    memcpy(to, p, len);
    to[len] = 0;
    *n = (int)len;
    a->at += len;
    return true;
}

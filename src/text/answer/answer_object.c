/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_object: a call that is one JSON object with members for its name and its arguments. What
 * stands before the name is kept until it comes.
 */
#include "text/answer/answer_read.h"
#include "text/value/json.h"

enum field { OTHER, NAME, ARGS, ID };

void lk_object_begin(struct lk_answer *a)
{
    a->mode = LK_MODE_OBJECT;
    a->check = (struct lk_json_checker){0};
    a->field = OTHER;
    a->args_at = a->args_end = 0;
    a->has_name = a->streams = a->has_args = false;
    a->n_id = 0;
}

/* ---- strings ---- */

/* What a string in JSON, with its quotes, says: in a region of the caller's. */
static bool read_string(struct lk_answer *a, size_t from, size_t to, struct lk_region *region,
                        struct lk_value *v)
{
    struct lk_text_buffer plain = {.what = "a call"};
    lk_error err = {0};
    for (size_t i = from; i < to; i++) { /* control characters are spaces here */
        char c = a->in.data[i];
        lk_text_put(&plain, (unsigned char)c < 0x20 ? " " : &c, 1, 0);
    }
    lk_status status = plain.status;
    if (!status) {
        status = lk_json_read(region, plain.bytes, plain.n, NULL, v, &err);
    }
    lk_text_free(&plain);
    if (status == LK_E_NOMEM) {
        a->status = lk_fail(a->err, LK_E_NOMEM, "a call: out of memory");
    }
    return !status && v->type == LK_VALUE_STRING;
}

/* A short string to `to`; false when it is none. */
static bool read_name(struct lk_answer *a, size_t from, size_t to, char *name, int *n)
{
    struct lk_region region = {.max_bytes = 1 << 20};
    struct lk_value v;
    bool good = to - from <= 6 * LK_NAME_MAX && read_string(a, from, to, &region, &v) && v.n &&
                v.n <= LK_NAME_MAX && !memchr(v.text, 0, v.n);
    if (good) {
        memcpy(name, v.text, v.n);
        name[v.n] = 0;
        *n = (int)v.n;
    }
    lk_region_free(&region);
    return good;
}

/* ---- arguments that were kept ---- */

/* JSON text as it is, control characters in strings escaped. */
static void put_json(struct lk_answer *a, const char *bytes, size_t n)
{
    bool in_string = false, escaped = false;
    size_t from = 0;
    for (size_t i = 0; i < n; i++) {
        if (in_string && (unsigned char)bytes[i] < 0x20) {
            lk_out_args(a, bytes + from, i - from);
            lk_out_escaped(a, bytes + i, 1);
            from = i + 1;
        }
        in_string ^= bytes[i] == '"' && !escaped;
        escaped = in_string && bytes[i] == '\\' && !escaped;
    }
    lk_out_args(a, bytes + from, n - from);
}

/* All of the arguments; false when they are no object. */
static bool put_kept(struct lk_answer *a)
{
    struct lk_region region = {.max_bytes = (size_t)1 << 30};
    const char *bytes = a->in.data + a->args_at;
    size_t n = a->args_end - a->args_at;
    struct lk_value v;
    bool good = true;
    if (!a->has_args) {
        bytes = "{}";
        n = 2;
    } else if (*bytes == '"') { /* a string that spells them */
        good = read_string(a, a->args_at, a->args_end, &region, &v);
        bytes = good ? v.text : bytes;
        n = good ? v.n : n;
        while (good && n && lk_is_blank(*bytes)) {
            bytes++;
            n--;
        }
    }
    good = good && n && *bytes == '{' && lk_json_is_whole(bytes, n);
    if (good) {
        lk_out_begin(a);
        put_json(a, bytes, n);
    }
    lk_region_free(&region);
    return good;
}

/* ---- members ---- */

static bool is_key(const struct lk_answer *a, const char *name, size_t from, size_t to)
{
    return name && strlen(name) == to - from && memcmp(a->in.data + from, name, to - from) == 0;
}

static void at_key(struct lk_answer *a, size_t from, size_t to)
{
    const struct lk_syntax *s = a->syntax;
    bool args = is_key(a, "arguments", from, to) || is_key(a, "parameters", from, to);
    a->field = is_key(a, s->name_key, from, to) ? NAME
               : args                           ? ARGS
               : is_key(a, s->id_key, from, to) ? ID
                                                : OTHER;
    a->field = a->field == ARGS && (a->has_args || a->streams) ? OTHER : a->field;
}

static void at_value(struct lk_answer *a, char b)
{
    a->field_at = a->at;
    if (a->field == ARGS && b == '{' && a->has_name) {
        a->streams = true;
        lk_out_begin(a);
    }
}

/* A string, list or object has ended before byte `to`; false when the call is none. */
static bool value_done(struct lk_answer *a, size_t to, bool string)
{
    if (a->field == NAME) {
        bool good = string && !a->has_name && read_name(a, a->field_at, to, a->name, &a->n_name);
        a->has_name = good;
        return good && (!a->bare || lk_answer_tool_find(&a->tools, a->name));
    }
    if (a->field == ID && string && !a->in_call &&
        !read_name(a, a->field_at, to, a->id, &a->n_id)) {
        a->n_id = 0;
    }
    if (a->field == ARGS && !a->streams) {
        a->has_args = true;
        a->args_at = a->field_at;
        a->args_end = to;
    }
    return true;
}

/* ---- the object ---- */

/* What byte b, which turned `was` into the present state, began or ended. */
static bool at_byte(struct lk_answer *a, char b, const struct lk_json_checker *was)
{
    const struct lk_json_checker *c = &a->check;
    bool key_comes = was->state == LK_CHECK_KEY || was->state == LK_CHECK_KEY_OR_END;
    if (was->depth == 1 && key_comes && b == '"') {
        a->field_at = a->at + 1;
    } else if (c->depth == 1 && was->state == LK_CHECK_STRING && c->state == LK_CHECK_COLON) {
        at_key(a, a->field_at, a->at);
    } else if (was->depth == 1 && was->state == LK_CHECK_VALUE && !lk_is_blank(b)) {
        at_value(a, b);
    }
    bool string = was->state == LK_CHECK_STRING && c->state == LK_CHECK_AFTER;
    bool closed = was->depth == 2 && c->depth == 1;
    return !(c->depth == 1 && (string || closed)) || value_done(a, a->at + 1, string);
}

static void pass(struct lk_answer *a, char b, const struct lk_json_checker *was)
{
    if (was->state == LK_CHECK_STRING && (unsigned char)b < 0x20) {
        lk_out_escaped(a, &b, 1);
    } else {
        lk_out_args(a, &b, 1);
    }
}

static enum lk_step object_done(struct lk_answer *a)
{
    if (!a->has_name || (!a->in_call && !put_kept(a))) {
        return lk_call_broken(a);
    }
    lk_call_done(a);
    return LK_STEP_ON;
}

enum lk_step lk_step_object(struct lk_answer *a)
{
    for (; a->at < a->in.n && !a->status; a->at++) {
        struct lk_json_checker was = a->check;
        char b = a->in.data[a->at];
        enum lk_json_state state = lk_json_check_byte(&a->check, (unsigned char)b);
        if (state == LK_CHECK_BAD) {
            return lk_call_broken(a);
        }
        bool good = at_byte(a, b, &was);
        if (a->streams) {
            pass(a, b, &was);
            a->streams = !(was.depth == 2 && a->check.depth == 1);
            a->has_args |= !a->streams;
        }
        if (!good || state == LK_CHECK_DONE) {
            a->at++;
            return good ? object_done(a) : lk_call_broken(a);
        }
    }
    return LK_STEP_MORE;
}

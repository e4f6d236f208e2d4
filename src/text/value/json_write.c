/* SPDX-License-Identifier: Apache-2.0
 *
 * Json_write: see json.h.
 */
#include "text/value/json.h"

#include <math.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/value/number.h"

struct writer {
    struct lk_text_buffer *to;
    const struct lk_json_writing *options;
    size_t depth;
    lk_error *err;
};

static struct lk_value own(const char *text)
{
    return lk_value_text(text, strlen(text), LK_VALUE_TRUSTED);
}

struct lk_json_writing lk_json_default(void)
{
    return (struct lk_json_writing){.indent = own(""), .item = own(", "), .key = own(": ")};
}

struct lk_json_writing lk_json_pretty(void)
{
    return (struct lk_json_writing){.pretty = true,
                                    .indent = own("  "),
                                    .item = own(","),
                                    .key = own(": ")};
}

struct lk_json_writing lk_json_compact(void)
{
    return (struct lk_json_writing){.indent = own(""), .item = own(","), .key = own(":")};
}

/* ---- scalars ---- */

static void write_real(struct lk_text_buffer *to, double d, unsigned flags)
{
    char text[LK_NUMBER_TEXT];
    if (isfinite(d)) {
        lk_text_put(to, text, lk_number_repr(d, text), flags);
    } else {
        lk_text_puts(to, isnan(d) ? "NaN" : d < 0 ? "-Infinity" : "Infinity", flags);
    }
}

void lk_json_write_scalar(struct lk_text_buffer *to, const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_NULL:
        lk_text_puts(to, "null", v->flags);
        break;
    case LK_VALUE_BOOL:
        lk_text_puts(to, v->boolean ? "true" : "false", v->flags);
        break;
    case LK_VALUE_INT:
    case LK_VALUE_BIG:
        lk_text_put_integer(to, v);
        break;
    case LK_VALUE_FLOAT:
        write_real(to, v->real, v->flags);
        break;
    default:
        break;
    }
}

/* ---- strings ---- */

static void put_u(struct lk_text_buffer *to, uint32_t unit, unsigned flags)
{
    static const char digits[] = "0123456789abcdef";
    const char text[6] = {'\\',
                          'u',
                          digits[unit >> 12 & 15],
                          digits[unit >> 8 & 15],
                          digits[unit >> 4 & 15],
                          digits[unit & 15]};
    lk_text_put(to, text, sizeof text, flags);
}

static void put_unicode(struct lk_text_buffer *to, int32_t cp, unsigned flags)
{
    if (cp >= 0x10000) {
        put_u(to, (uint32_t)(0xD800 + ((cp - 0x10000) >> 10)), flags);
        cp = 0xDC00 + ((cp - 0x10000) & 0x3FF);
    }
    put_u(to, (uint32_t)cp, flags);
}

/* Writes what can't stand in a string as it is; how many bytes of it, 0 for what can. */
static size_t put_escaped(struct lk_text_buffer *to, const struct lk_value *s, size_t at,
                          bool ascii)
{
    static const char plain[] = "\"\\\b\f\n\r\t", letter[] = "\"\\bfnrt";
    unsigned char c = (unsigned char)s->text[at];
    unsigned flags = s->marks ? s->marks[at] : s->flags;
    const char *short_form = c ? strchr(plain, c) : NULL;
    if (short_form) {
        lk_text_put(to, (char[]){'\\', letter[short_form - plain]}, 2, flags);
        return 1;
    }
    if (c < 0x20) {
        put_unicode(to, c, flags);
        return 1;
    }
    if (!ascii) {
        return 0;
    }
    int32_t cp = 0xFFFD; /* for what is no UTF-8 */
    size_t n = lk_utf8_next(s->text + at, s->n - at, &cp);
    put_unicode(to, cp, flags);
    return n ? n : 1;
}

static void write_string(struct writer *w, const struct lk_value *s, unsigned flags)
{
    size_t begin = 0, at = 0;
    lk_text_put(w->to, "\"", 1, flags);
    while (at < s->n) {
        unsigned char c = (unsigned char)s->text[at];
        if (c >= 0x20 && c < 0x7F && c != '"' && c != '\\') {
            at++;
            continue;
        }
        lk_text_put_part(w->to, s, begin, at);
        size_t n = put_escaped(w->to, s, at, w->options->ensure_ascii);
        begin = at + n;
        at += n ? n : 1;
    }
    lk_text_put_part(w->to, s, begin, at);
    lk_text_put(w->to, "\"", 1, flags);
}

/* ---- lists and dicts ---- */

static lk_status write_value(struct writer *w, const struct lk_value *v);

static void separator(struct writer *w, const struct lk_value *text, unsigned flags)
{
    lk_text_put(w->to, text->text, text->n, flags);
}

/* A line break and the indent of the present depth. */
static void new_line(struct writer *w, unsigned flags)
{
    if (w->options->pretty) {
        lk_text_put(w->to, "\n", 1, flags);
        for (size_t i = 0; i < w->depth; i++) {
            separator(w, &w->options->indent, flags);
        }
    }
}

static lk_status enter(struct writer *w)
{
    if (w->depth == LK_JSON_WRITE_DEPTH) {
        return lk_fail(w->err, LK_E_INVALID, "more than %d lists and dicts inside of each other",
                       LK_JSON_WRITE_DEPTH);
    }
    w->depth++;
    return LK_OK;
}

static lk_status write_list(struct writer *w, const struct lk_value *v)
{
    lk_text_put(w->to, "[", 1, v->flags);
    lk_status status = enter(w);
    for (uint32_t i = 0; i < v->n && !status && !w->to->status; i++) {
        if (i) {
            separator(w, &w->options->item, v->flags);
        }
        new_line(w, v->flags);
        status = write_value(w, &v->item[i]);
    }
    w->depth -= !status;
    if (v->n) {
        new_line(w, v->flags);
    }
    lk_text_put(w->to, "]", 1, v->flags);
    return status;
}

static lk_status write_key(struct writer *w, const struct lk_value *key)
{
    if (key->type == LK_VALUE_STRING) {
        write_string(w, key, key->flags);
        return LK_OK;
    }
    if (key->type > LK_VALUE_FLOAT) {
        return lk_fail(w->err, LK_E_INVALID, "keys of JSON are strings, numbers, booleans or null");
    }
    lk_text_put(w->to, "\"", 1, key->flags);
    lk_json_write_scalar(w->to, key);
    lk_text_put(w->to, "\"", 1, key->flags);
    return LK_OK;
}

static bool key_less(const struct lk_value *a, const struct lk_value *b)
{
    int c = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return c ? c < 0 : a->n < b->n;
}

/* Members by rising key; *order NULL where they are written as they stand. Bytes of UTF-8 have the
 * order of their characters. A dict without an order has few members, or keys of other types. */
static lk_status sort_keys(struct writer *w, const struct lk_value *v, uint32_t **order)
{
    *order = NULL;
    if (!w->options->sort_keys || v->n < 2) {
        return LK_OK;
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->member[i].key.type != LK_VALUE_STRING) {
            return lk_fail(w->err, LK_E_INVALID, "only keys that are strings can be sorted");
        }
    }
    uint32_t *o = *order = lk_alloc_array(v->n, sizeof *o);
    if (!o) {
        return lk_fail(w->err, LK_E_NOMEM, "out of memory for %u keys", v->n);
    }
    for (uint32_t i = 0; i < v->n; i++) {
        if (v->order) {
            o[i] = v->order[i];
            continue;
        }
        uint32_t at = i;
        for (; at > 0 && key_less(&v->member[i].key, &v->member[o[at - 1]].key); at--) {
            o[at] = o[at - 1];
        }
        o[at] = i;
    }
    return LK_OK;
}

static lk_status write_dict(struct writer *w, const struct lk_value *v)
{
    uint32_t *order;
    lk_status status = sort_keys(w, v, &order);
    if (status) {
        return status;
    }
    lk_text_put(w->to, "{", 1, v->flags);
    status = enter(w);
    for (uint32_t i = 0; i < v->n && !status && !w->to->status; i++) {
        const struct lk_member *m = &v->member[order ? order[i] : i];
        if (i) {
            separator(w, &w->options->item, v->flags);
        }
        new_line(w, v->flags);
        if (!(status = write_key(w, &m->key))) {
            separator(w, &w->options->key, v->flags);
            status = write_value(w, &m->value);
        }
    }
    w->depth -= !status;
    if (v->n) {
        new_line(w, v->flags);
    }
    lk_text_put(w->to, "}", 1, v->flags);
    lk_free(order);
    return status;
}

static lk_status write_value(struct writer *w, const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_STRING:
        write_string(w, v, v->marks ? 0 : v->flags);
        return LK_OK;
    case LK_VALUE_LIST:
        return write_list(w, v);
    case LK_VALUE_DICT:
        return write_dict(w, v);
    default:
        if (v->type > LK_VALUE_DICT) {
            return lk_fail(w->err, LK_E_INVALID, "a value that JSON does not have");
        }
        lk_json_write_scalar(w->to, v);
        return LK_OK;
    }
}

lk_status lk_json_write(struct lk_text_buffer *to, const struct lk_value *v,
                        const struct lk_json_writing *options, lk_error *err)
{
    struct lk_json_writing plain = lk_json_default();
    struct writer w = {.to = to, .options = options ? options : &plain, .err = err};
    lk_status status = write_value(&w, v);
    return status ? status : to->status;
}

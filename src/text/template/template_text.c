/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_text: values as text, by str() and repr() of Python, and strings put together. What
 * comes from whom is kept through all of it: marks go where their bytes go.
 */
#include "text/template/template_run.h"

#include <inttypes.h>
#include <stdio.h>

#include "text/value/number.h"
#include "text/template/unicode.h"

enum { LONG_TEXT = 1024 /* bytes from which on a text is given room to grow */ };

lk_status lk_tpl_cut(struct lk_tpl_run *r, size_t from, struct lk_value *out)
{
    size_t n = r->out->n - from;
    if (lk_text_value(r->out, from, &r->region, out)) {
        return lk_tpl_full(r);
    }
    lk_text_cut(r->out, from);
    return lk_tpl_work(r, n / LK_TPL_COPY);
}

/* ---- scalars ---- */

static void put_scalar(struct lk_text_buffer *to, const struct lk_value *v)
{
    char text[LK_NUMBER_TEXT];
    switch (v->type) {
    case LK_VALUE_NULL:
        lk_text_puts(to, "None", v->flags);
        break;
    case LK_VALUE_BOOL:
        lk_text_puts(to, v->boolean ? "True" : "False", v->flags);
        break;
    case LK_VALUE_INT:
    case LK_VALUE_BIG:
        lk_text_put_integer(to, v);
        break;
    default:
        lk_text_put(to, text, lk_number_repr(v->real, text), v->flags);
    }
}

/* ---- repr ---- */

/* What a character that can't stand for itself is written as; 0: it can. */
static size_t repr_escape(int32_t cp, char quote, char out[12])
{
    static const char digits[] = "0123456789abcdef";
    out[0] = '\\';
    if (cp == quote || cp == '\\' || cp == '\n' || cp == '\r' || cp == '\t') {
        out[1] = cp == '\n' ? 'n' : cp == '\r' ? 'r' : cp == '\t' ? 't' : (char)cp;
        return 2;
    }
    if (lk_char_is_printable(cp) && (cp < 0xDC80 || cp > 0xDCFF)) {
        return 0;
    }
    size_t n = cp < 0x100 ? 2 : cp < 0x10000 ? 4 : 8;
    out[1] = n == 2 ? 'x' : n == 4 ? 'u' : 'U';
    for (size_t i = 0; i < n; i++) {
        out[2 + i] = digits[(uint32_t)cp >> (4 * (n - 1 - i)) & 15];
    }
    return n + 2;
}

static void put_string_repr(struct lk_text_buffer *to, const struct lk_value *s)
{
    bool single = memchr(s->text, '\'', s->n), both = memchr(s->text, '"', s->n);
    char quote = single && !both ? '"' : '\'', escape[12];
    unsigned around = s->marks ? 0 : s->flags;
    size_t plain = 0, step;
    lk_text_puts(to, s->flags & LK_VALUE_MARKUP ? "Markup(" : "", around);
    lk_text_put(to, &quote, 1, around);
    for (size_t at = 0; at < s->n && !to->status; at += step) {
        unsigned char c = (unsigned char)s->text[at];
        int32_t cp;
        step = 1;
        if (c >= 0x20 && c < 0x7F && c != (unsigned char)quote && c != '\\') {
            continue;
        }
        step = lk_char_next(s->text + at, s->n - at, &cp);
        size_t n = repr_escape(cp, quote, escape);
        if (n) {
            lk_text_put_part(to, s, plain, at);
            lk_text_put(to, escape, n, s->marks ? s->marks[at] : s->flags);
            plain = at + step;
        }
    }
    lk_text_put_part(to, s, plain, s->n);
    lk_text_put(to, &quote, 1, around);
    lk_text_puts(to, s->flags & LK_VALUE_MARKUP ? ")" : "", around);
}

static lk_status put_items(struct lk_tpl_run *r, const struct lk_value *v)
{
    bool tuple = v->flags & LK_VALUE_TUPLE;
    lk_text_puts(r->out, tuple ? "(" : "[", v->flags);
    for (uint32_t i = 0; i < v->n; i++) {
        lk_text_puts(r->out, i ? ", " : "", v->flags);
        lk_status status = lk_tpl_put_repr(r, &v->item[i]);
        if (status) {
            return status;
        }
    }
    lk_text_puts(r->out, tuple ? v->n == 1 ? ",)" : ")" : "]", v->flags);
    return LK_OK;
}

static lk_status put_members(struct lk_tpl_run *r, const struct lk_member *m, uint32_t n,
                             unsigned flags)
{
    lk_text_puts(r->out, "{", flags);
    for (uint32_t i = 0; i < n; i++) {
        lk_text_puts(r->out, i ? ", " : "", flags);
        lk_status status = lk_tpl_put_repr(r, &m[i].key);
        lk_text_puts(r->out, ": ", flags);
        if (status || (status = lk_tpl_put_repr(r, &m[i].value))) {
            return status;
        }
    }
    lk_text_puts(r->out, "}", flags);
    return LK_OK;
}

static lk_status put_view(struct lk_tpl_run *r, const struct lk_value *v)
{
    static const char *const names[] = {"dict_keys([", "dict_values([", "dict_items(["};
    lk_text_puts(r->out, names[v->integer], v->flags);
    for (uint32_t i = 0; i < v->n; i++) {
        const struct lk_member *m = &v->member[i];
        const struct lk_value pair = lk_tpl_list_of((const struct lk_value *)m, 2, LK_VALUE_TUPLE);
        lk_text_puts(r->out, i ? ", " : "", v->flags);
        lk_status status = lk_tpl_put_repr(r, v->integer == VIEW_KEYS     ? &m->key
                                              : v->integer == VIEW_VALUES ? &m->value
                                                                          : &pair);
        if (status) {
            return status;
        }
    }
    lk_text_puts(r->out, "])", v->flags);
    return LK_OK;
}

static void put_range(struct lk_text_buffer *to, const struct lk_tpl_range *range)
{
    char text[96];
    if (range->step == 1) {
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ")", range->start, range->stop);
    } else {
        snprintf(text, sizeof text, "range(%" PRId64 ", %" PRId64 ", %" PRId64 ")", range->start,
                 range->stop, range->step);
    }
    lk_text_puts(to, text, LK_VALUE_TRUSTED);
}

static lk_status put_object(struct lk_tpl_run *r, const struct lk_value *v)
{
    const struct lk_tpl_callable *callable = v->object;
    const struct lk_tpl_namespace *space = v->object;
    lk_status status = LK_OK;
    switch (v->type) {
    case LK_TPL_CALLABLE:
        lk_text_puts(r->out, "<Macro ", LK_VALUE_TRUSTED);
        if (lk_tpl_is_text(&callable->name)) {
            put_string_repr(r->out, &callable->name);
        } else {
            lk_text_puts(r->out, "anonymous", LK_VALUE_TRUSTED);
        }
        lk_text_puts(r->out, ">", LK_VALUE_TRUSTED);
        break;
    case LK_TPL_NAMESPACE:
        lk_text_puts(r->out, "<Namespace ", LK_VALUE_TRUSTED);
        status = put_members(r, space->member, space->n, LK_VALUE_TRUSTED);
        lk_text_puts(r->out, ">", LK_VALUE_TRUSTED);
        break;
    default: /* Python prints an address */
        lk_text_puts(r->out, "<", LK_VALUE_TRUSTED);
        lk_text_puts(r->out, lk_tpl_type_name(v), LK_VALUE_TRUSTED);
        lk_text_puts(r->out, " object>", LK_VALUE_TRUSTED);
    }
    return status;
}

lk_status lk_tpl_put_repr(struct lk_tpl_run *r, const struct lk_value *v)
{
    lk_status status = lk_tpl_deeper(r);
    if (status || (status = lk_tpl_work(r, v->n / LK_TPL_CHAR))) {
        return status;
    }
    switch (v->type) {
    case LK_VALUE_STRING:
        put_string_repr(r->out, v);
        break;
    case LK_VALUE_LIST:
        status = put_items(r, v);
        break;
    case LK_VALUE_DICT:
        status = put_members(r, v->member, v->n, v->flags);
        break;
    case LK_TPL_UNDEFINED:
        lk_text_puts(r->out, "Undefined", LK_VALUE_TRUSTED);
        break;
    case LK_TPL_RANGE:
        put_range(r->out, v->object);
        break;
    case LK_TPL_VIEW:
        status = put_view(r, v);
        break;
    default:
        if (v->type <= LK_VALUE_FLOAT) {
            put_scalar(r->out, v);
        } else {
            status = put_object(r, v);
        }
    }
    r->depth--;
    return status ? status : r->out->status ? lk_tpl_full(r) : LK_OK;
}

/* ---- str ---- */

lk_status lk_tpl_put_str(struct lk_tpl_run *r, const struct lk_value *v)
{
    if (v->type == LK_VALUE_STRING) {
        lk_text_put_string(r->out, v);
        return r->out->status ? lk_tpl_full(r) : lk_tpl_work(r, v->n / LK_TPL_COPY);
    }
    return v->type == LK_TPL_UNDEFINED ? LK_OK : lk_tpl_put_repr(r, v);
}

lk_status lk_tpl_soft_str(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out)
{
    size_t from = r->out->n;
    if (v->type == LK_VALUE_STRING) {
        *out = *v;
        return LK_OK;
    }
    lk_status status = lk_tpl_put_str(r, v);
    return status ? status : lk_tpl_cut(r, from, out);
}

lk_status lk_tpl_str(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out)
{
    lk_status status = lk_tpl_soft_str(r, v, out);
    out->flags &= (uint8_t)~LK_VALUE_MARKUP;
    return status;
}

/* ---- strings ---- */

struct lk_value lk_tpl_part(const struct lk_value *s, size_t from, size_t to)
{
    struct lk_value v = *s;
    v.n = (uint32_t)(to - from);
    v.text = s->text + from;
    v.marks = s->marks ? s->marks + from : NULL;
    return v;
}

static void copy_part(char *text, uint8_t *marks, const struct lk_value *s)
{
    if (s->n == 0) {
        return;
    }
    memcpy(text, s->text, s->n);
    if (marks && s->marks) {
        memcpy(marks, s->marks, s->n);
    } else if (marks) {
        memset(marks, s->flags & LK_VALUE_TRUSTED, s->n);
    }
}

/* Appends parts[1..n) where parts[0] lies, if it is the last long text and has room behind it. */
static bool grow_in_place(struct lk_tpl_run *r, const struct lk_value *parts, size_t n,
                          size_t total, bool mixed)
{
    if (!r->tail.text || parts[0].text != r->tail.text || parts[0].n != r->tail.n ||
        total > r->tail.cap || (mixed && !r->tail.marks)) {
        return false;
    }
    for (size_t i = 1; i < n; i++) {
        copy_part(r->tail.text + r->tail.n, r->tail.marks ? r->tail.marks + r->tail.n : NULL,
                  &parts[i]);
        r->tail.n += parts[i].n;
    }
    return true;
}

/* Memory for a text of `total` bytes put together, with room behind a long one. */
static lk_status new_text(struct lk_tpl_run *r, size_t total, bool mixed)
{
    size_t cap = total < LONG_TEXT || total > lk_region_room(&r->region) / 8 ? total : total * 2;
    char *text = lk_tpl_alloc(r, cap, 1);
    uint8_t *marks = text && mixed ? lk_tpl_alloc(r, cap, 1) : NULL;
    if (!text || (mixed && !marks)) {
        return r->err->status;
    }
    r->tail.text = text;
    r->tail.marks = marks;
    r->tail.n = 0;
    r->tail.cap = (uint32_t)cap;
    return LK_OK;
}

lk_status lk_tpl_concat(struct lk_tpl_run *r, const struct lk_value *parts, size_t n,
                        unsigned flags, struct lk_value *out)
{
    size_t total = 0, filled = 0, last = 0;
    bool mixed = false;
    for (size_t i = 0; i < n; i++) {
        if (parts[i].n) {
            mixed |= parts[i].marks ||
                     (filled && (parts[last].flags ^ parts[i].flags) & LK_VALUE_TRUSTED);
            filled++;
            last = i;
        }
        total += parts[i].n;
    }
    unsigned trust = n ? parts[last].flags & LK_VALUE_TRUSTED : LK_VALUE_TRUSTED;
    flags &= LK_VALUE_MARKUP;
    if (filled <= 1) {
        *out = filled ? parts[last] : lk_value_text("", 0, LK_VALUE_TRUSTED);
        out->flags = (uint8_t)((out->flags & LK_VALUE_TRUSTED) | flags);
        return LK_OK;
    }
    if (total > LK_TPL_MEMORY) {
        return lk_tpl_fail(r, "a string of more than %d bytes", LK_TPL_MEMORY);
    }
    size_t copied = total - parts[0].n;
    if (!grow_in_place(r, parts, n, total, mixed)) {
        lk_status status = new_text(r, total, mixed);
        copied = total;
        if (status) {
            return status;
        }
        for (size_t i = 0; i < n; i++) {
            copy_part(r->tail.text + r->tail.n, mixed ? r->tail.marks + r->tail.n : NULL,
                      &parts[i]);
            r->tail.n += parts[i].n;
        }
    }
    *out = lk_value_text(r->tail.text, total, flags | (r->tail.marks ? 0 : trust));
    out->marks = r->tail.marks;
    return lk_tpl_work(r, n / 4 + copied / LK_TPL_COPY);
}

lk_status lk_tpl_repeat(struct lk_tpl_run *r, const struct lk_value *s, int64_t times,
                        struct lk_value *out)
{
    if (times <= 0 || s->n == 0) {
        *out = lk_tpl_part(s, 0, 0);
        return LK_OK;
    }
    if (times > LK_TPL_MEMORY / s->n) {
        return lk_tpl_fail(r, "a string of more than %d bytes", LK_TPL_MEMORY);
    }
    size_t total = (size_t)times * s->n;
    char *text = lk_tpl_alloc(r, total, 1);
    uint8_t *marks = text && s->marks ? lk_tpl_alloc(r, total, 1) : NULL;
    if (!text || (s->marks && !marks)) {
        return r->err->status;
    }
    for (size_t at = 0; at < total; at += s->n) {
        copy_part(text + at, marks ? marks + at : NULL, s);
    }
    *out = lk_value_text(text, total, s->flags);
    out->marks = marks;
    return lk_tpl_work(r, total / LK_TPL_COPY + (size_t)times / 8);
}

lk_status lk_tpl_escape_html(struct lk_tpl_run *r, const struct lk_value *v, struct lk_value *out)
{
    static const char from[] = "&<>'\"";
    static const char *const to[] = {"&amp;", "&lt;", "&gt;", "&#39;", "&#34;"};
    struct lk_value s;
    lk_status status = lk_tpl_soft_str(r, v, &s);
    if (status || (s.flags & LK_VALUE_MARKUP)) {
        *out = s;
        return status;
    }
    size_t begin = r->out->n, plain = 0;
    for (size_t at = 0; at < s.n; at++) {
        const char *which = s.text[at] ? strchr(from, s.text[at]) : NULL;
        if (which) {
            lk_text_put_part(r->out, &s, plain, at);
            lk_text_puts(r->out, to[which - from], s.marks ? s.marks[at] : s.flags);
            plain = at + 1;
        }
    }
    lk_text_put_part(r->out, &s, plain, s.n);
    status = lk_tpl_cut(r, begin, out);
    out->flags |= LK_VALUE_MARKUP;
    return status ? status : lk_tpl_work(r, s.n / LK_TPL_CHAR);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_format: str.format() and its fields, with attributes and items of arguments as the
 * sandbox shows them; strftime.
 */
#include "text/template/template_run.h"

#include <locale.h>
#include <stdio.h>

#include "text/template/unicode.h"

struct formatter {
    struct lk_tpl_run *r;
    const struct lk_value *format;
    const struct lk_tpl_call *call;
    uint32_t next;   /* argument of a field without a name */
    bool counted;    /* some field had none */
    bool numbered;   /* some field had a number */
    unsigned markup; /* the format is markup: what it takes in is escaped */
};

/* ---- specifications ---- */

static size_t read_width(const struct lk_value *s, size_t at, int64_t *out)
{
    for (*out = -1; at < s->n && s->text[at] >= '0' && s->text[at] <= '9'; at++) {
        *out = (*out < 0 ? 0 : *out > LK_TPL_OUTPUT ? *out : *out * 10) + (s->text[at] - '0');
    }
    return at;
}

static bool is_align(char c)
{
    return c && strchr("<>=^", c);
}

static lk_status read_spec(struct lk_tpl_run *r, const struct lk_value *s, struct lk_tpl_spec *spec)
{
    size_t at = 0;
    int32_t fill;
    *spec = (struct lk_tpl_spec){.width = -1, .precision = -1};
    if (s->n) {
        size_t step = lk_char_next(s->text, s->n, &fill);
        if (step < s->n && is_align(s->text[step])) {
            spec->fill = fill;
            spec->align = s->text[step];
            at = step + 1;
        } else if (is_align(s->text[0])) {
            spec->align = s->text[0];
            at = 1;
        }
    }
    if (at < s->n && s->text[at] && strchr("+- ", s->text[at])) {
        spec->sign = s->text[at++];
    }
    if (at < s->n && s->text[at] == '#') {
        spec->alternate = true;
        at++;
    }
    if (at < s->n && s->text[at] == '0') {
        spec->zero = !spec->align;
        spec->fill = spec->fill ? spec->fill : '0';
        at++;
    }
    at = read_width(s, at, &spec->width);
    if (at < s->n && (s->text[at] == ',' || s->text[at] == '_')) {
        spec->grouping = s->text[at++];
    }
    if (at < s->n && s->text[at] == '.') {
        at = read_width(s, at + 1, &spec->precision);
        if (spec->precision < 0) {
            return lk_tpl_fail(r, "a format without digits after its point");
        }
    }
    if (at < s->n) {
        spec->type = s->text[at++];
    }
    return at == s->n
               ? LK_OK
               : lk_tpl_fail(r, "'%.*s' is no format", (int)(s->n < 40 ? s->n : 40), s->text);
}

static lk_status bad_type(struct lk_tpl_run *r, char type, const struct lk_value *v)
{
    return lk_tpl_fail(r, "'%c' is no format for a value of type %s", type, lk_tpl_type_name(v));
}

/* format(v, spec), appended. */
static lk_status put_formatted(struct lk_tpl_run *r, const struct lk_value *v,
                               const struct lk_value *spec_text)
{
    struct lk_tpl_spec spec;
    int64_t i;
    double d;
    if (spec_text->n == 0) {
        return lk_tpl_put_str(r, v);
    }
    lk_status status = read_spec(r, spec_text, &spec);
    if (status) {
        return status;
    }
    if (lk_tpl_is_text(v)) {
        if ((spec.type && spec.type != 's') || spec.sign || spec.alternate || spec.grouping ||
            spec.align == '=') {
            return bad_type(r, spec.type ? spec.type : '=', v);
        }
        return lk_tpl_put_text(r, v, &spec);
    }
    bool whole = lk_tpl_is_int(v, &i) || v->type == LK_VALUE_BIG;
    if (!whole && v->type != LK_VALUE_FLOAT) {
        return v->type == LK_TPL_UNDEFINED ? lk_tpl_fail_undefined(r, v)
                                           : bad_type(r, spec.type ? spec.type : ' ', v);
    }
    if (whole && (!spec.type || strchr("bdoxXn", spec.type))) {
        return spec.precision >= 0 ? lk_tpl_fail(r, "a precision for a whole number")
                                   : lk_tpl_put_int(r, v, &spec);
    }
    if (whole && spec.type == 'c' && v->type != LK_VALUE_BIG && i >= 0 && i <= 0x10FFFF) {
        char bytes[4];
        struct lk_value c =
            lk_value_text(bytes, lk_char_put((int32_t)i, bytes), v->flags & LK_VALUE_TRUSTED);
        return lk_tpl_put_text(r, &c, &spec);
    }
    if ((spec.type && !strchr("eEfFgGn%", spec.type)) || !lk_tpl_is_number(v, &d)) {
        return bad_type(r, spec.type, v);
    }
    return lk_tpl_put_real(r, d, v->flags, &spec);
}

/* ---- fields ---- */

static lk_status argument(struct formatter *f, const struct lk_value *name, struct lk_value *out)
{
    int64_t index = 0;
    bool digits = name->n > 0 && name->n < 10;
    for (uint32_t i = 0; i < name->n && digits; i++) {
        digits = name->text[i] >= '0' && name->text[i] <= '9';
        index = digits ? index * 10 + (name->text[i] - '0') : 0;
    }
    if (name->n == 0) {
        index = f->next++;
        f->counted = true;
    }
    f->numbered |= digits;
    if (f->counted && f->numbered) {
        return lk_tpl_fail(f->r, "a format with numbered fields and fields without numbers");
    }
    if (name->n == 0 || digits) {
        if (index >= f->call->n) {
            return lk_tpl_fail(f->r, "a format asks for argument %lld of %u", (long long)index,
                               f->call->n);
        }
        *out = f->call->arg[index];
        return LK_OK;
    }
    for (uint32_t i = 0; i < f->call->n_named; i++) {
        const struct lk_value *key = &f->call->named[i].key;
        if (key->n == name->n && memcmp(key->text, name->text, name->n) == 0) {
            *out = f->call->named[i].value;
            return LK_OK;
        }
    }
    return lk_tpl_fail(f->r, "a format asks for an argument '%.*s'",
                       (int)(name->n < 40 ? name->n : 40), name->text);
}

/* The value of a field's name: an argument, then .attributes and [items]. */
static lk_status field_value(struct formatter *f, const struct lk_value *field,
                             struct lk_value *out)
{
    size_t at = 0;
    while (at < field->n && field->text[at] != '.' && field->text[at] != '[') {
        at++;
    }
    struct lk_value name = lk_tpl_part(field, 0, at);
    lk_status status = argument(f, &name, out);
    while (!status && at < field->n) {
        size_t from = at + 1;
        if (field->text[at] == '.') {
            for (at++; at < field->n && field->text[at] != '.' && field->text[at] != '['; at++) {
            }
            struct lk_value key = lk_tpl_part(field, from, at);
            status = lk_tpl_attribute(f->r, out, &key, out);
            continue;
        }
        const char *end =
            field->text[at] == '[' ? memchr(field->text + at, ']', field->n - at) : NULL;
        if (!end) {
            return lk_tpl_fail(f->r, "a format's field with a '[' that does not end");
        }
        at = (size_t)(end - field->text) + 1;
        struct lk_value key = lk_tpl_part(field, from, at - 1);
        int64_t index;
        size_t n = read_width(&key, 0, &index);
        struct lk_value number = lk_value_int(index);
        status = lk_tpl_item(f->r, out, n == key.n && n ? &number : &key, out);
    }
    return status;
}

static lk_status put_fields(struct formatter *f, const struct lk_value *format, unsigned depth);

/* The end of a field that begins behind its brace: where its closing brace is. */
static lk_status field_end(struct formatter *f, const struct lk_value *s, size_t at, size_t *end)
{
    unsigned open = 1;
    for (; at < s->n; at++) {
        open += s->text[at] == '{';
        open -= s->text[at] == '}';
        if (open == 0) {
            *end = at;
            return LK_OK;
        }
        const char *bracket = s->text[at] == '[' ? memchr(s->text + at, ']', s->n - at) : NULL;
        at = bracket ? (size_t)(bracket - s->text) : at;
    }
    return lk_tpl_fail(f->r, "a format with a '{' that does not end");
}

static lk_status convert(struct formatter *f, char how, struct lk_value *v)
{
    size_t from = f->r->out->n;
    if (how == 's') {
        return lk_tpl_str(f->r, v, v);
    }
    if (how != 'r' && how != 'a') {
        return lk_tpl_fail(f->r, "a format with the conversion '!%c', expected !s, !r or !a", how);
    }
    lk_status status = lk_tpl_put_repr(f->r, v);
    return status ? status : lk_tpl_cut(f->r, from, v);
}

static lk_status put_field(struct formatter *f, const struct lk_value *field, unsigned depth)
{
    size_t name = 0, spec, from = f->r->out->n;
    struct lk_value v = lk_tpl_none, how;
    while (name < field->n && field->text[name] != '!' && field->text[name] != ':') {
        const char *bracket =
            field->text[name] == '[' ? memchr(field->text + name, ']', field->n - name) : NULL;
        name = bracket ? (size_t)(bracket - field->text) + 1 : name + 1;
    }
    struct lk_value path = lk_tpl_part(field, 0, name);
    lk_status status = field_value(f, &path, &v);
    spec = name;
    if (!status && name < field->n && field->text[name] == '!') {
        spec = name + 2;
        status = spec <= field->n ? convert(f, field->text[name + 1], &v)
                                  : lk_tpl_fail(f->r, "a format with a '!' at a field's end");
        if (!status && spec < field->n && field->text[spec] != ':') {
            status = lk_tpl_fail(f->r, "a format with more than one letter after '!'");
        }
    }
    if (status) {
        return status;
    }
    struct lk_value inner = lk_tpl_part(field, spec < field->n ? spec + 1 : field->n, field->n);
    if (depth == 0) {
        return lk_tpl_fail(f->r, "a format in a format in a format");
    }
    if ((status = put_fields(f, &inner, depth - 1)) || (status = lk_tpl_cut(f->r, from, &how))) {
        return status;
    }
    if (!f->markup) {
        return put_formatted(f->r, &v, &how);
    }
    struct lk_value made;
    if ((v.flags & LK_VALUE_MARKUP) && lk_tpl_is_text(&v)) {
        return how.n ? bad_type(f->r, how.text[0], &v) : lk_tpl_put_str(f->r, &v);
    }
    if ((status = put_formatted(f->r, &v, &how)) || (status = lk_tpl_cut(f->r, from, &made)) ||
        (status = lk_tpl_escape_html(f->r, &made, &made))) {
        return status;
    }
    return lk_tpl_put_str(f->r, &made);
}

static lk_status put_fields(struct formatter *f, const struct lk_value *s, unsigned depth)
{
    size_t from = 0, at = 0;
    while (at < s->n) {
        char c = s->text[at];
        if (c != '{' && c != '}') {
            at++;
            continue;
        }
        lk_text_put_part(f->r->out, s, from, at);
        if (at + 1 < s->n && s->text[at + 1] == c) {
            lk_text_put_part(f->r->out, s, at, at + 1);
            at += 2;
        } else if (c == '}') {
            return lk_tpl_fail(f->r, "a format with a '}' that nothing begins");
        } else {
            size_t end = 0;
            lk_status status = field_end(f, s, at + 1, &end);
            struct lk_value field = lk_tpl_part(s, at + 1, end > at ? end : at + 1);
            if (status || (status = put_field(f, &field, depth)) || (status = lk_tpl_step(f->r))) {
                return status;
            }
            at = end + 1;
        }
        from = at;
    }
    lk_text_put_part(f->r->out, s, from, s->n);
    return f->r->out->status ? lk_tpl_full(f->r) : lk_tpl_work(f->r, s->n / LK_TPL_CHAR);
}

lk_status lk_tpl_format(struct lk_tpl_run *r, const struct lk_value *format,
                        const struct lk_tpl_call *call, struct lk_value *out)
{
    struct formatter f = {.r = r,
                          .format = format,
                          .call = call,
                          .markup = format->flags & LK_VALUE_MARKUP};
    size_t from = r->out->n;
    lk_status status = put_fields(&f, format, 2);
    if (!status) {
        status = lk_tpl_cut(r, from, out);
        out->flags |= (uint8_t)f.markup;
    }
    return status;
}

/* ---- dates ---- */

/* Of local time without a zone, as Python's datetime.now(): %z, %Z and %f are its own. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
lk_status lk_tpl_strftime(struct lk_tpl_run *r, const struct lk_value *format, struct lk_value *out)
{
    size_t from = r->out->n;
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    for (size_t at = 0; at < format->n;) {
        char directive[8], text[256];
        size_t end = at + 1;
        if (format->text[at] != '%') {
            while (end < format->n && format->text[end] != '%') {
                end++;
            }
            lk_text_put_part(r->out, format, at, end);
            at = end;
            continue;
        }
        while (end < format->n && end - at < 4 && strchr("-_0^#EO", format->text[end]) &&
               format->text[end]) {
            end++;
        }
        end += end < format->n;
        memcpy(directive, format->text + at, end - at);
        directive[end - at] = 0;
        char last = directive[end - at - 1];
        size_t n = 0;
        if (last == 'f') {
            n = (size_t)snprintf(text, sizeof text, "000000");
        } else if (last != 'z' && last != 'Z' && c && end - at > 1) {
            n = strftime_l(text, sizeof text, directive, &r->now, c);
        }
        lk_text_put(r->out, text, n, format->marks ? format->marks[at] : format->flags);
        at = end;
    }
    if (c) {
        freelocale(c);
    }
    return lk_tpl_cut(r, from, out);
}
#pragma GCC diagnostic pop

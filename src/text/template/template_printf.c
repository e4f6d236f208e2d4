/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_printf: the % operator of strings.
 */
#include "text/template/template_run.h"

#include <math.h>

#include "text/template/unicode.h"

struct printer {
    struct lk_tpl_run *r;
    const struct lk_value *args; /* a tuple, a dict, or the one value */
    uint32_t taken;
    bool named; /* some directive named a key */
    unsigned markup;
};

static bool is_tuple(const struct lk_value *v)
{
    return v->type == LK_VALUE_LIST && (v->flags & LK_VALUE_TUPLE);
}

static lk_status take(struct printer *p, struct lk_value *out)
{
    uint32_t n = is_tuple(p->args) ? p->args->n : 1;
    if (p->taken >= n) {
        return lk_tpl_fail(p->r, "a format that asks for more than its %u arguments", n);
    }
    *out = is_tuple(p->args) ? p->args->item[p->taken] : *p->args;
    p->taken++;
    return LK_OK;
}

/* "(key)" of a directive: its value in the dict of arguments. */
static lk_status take_key(struct printer *p, const struct lk_value *format, size_t *at,
                          struct lk_value *out)
{
    size_t from = ++*at, open = 1;
    for (; *at < format->n; ++*at) {
        open += format->text[*at] == '(';
        open -= format->text[*at] == ')';
        if (open == 0) {
            break;
        }
    }
    if (*at >= format->n) {
        return lk_tpl_fail(p->r, "a format with a '(' that does not end");
    }
    struct lk_value key = lk_tpl_part(format, from, *at);
    const struct lk_value *found = lk_value_find(p->args, key.text, key.n);
    ++*at;
    p->named = true;
    if (!found) {
        return lk_tpl_fail(p->r, "a format that asks for the key '%.*s'",
                           (int)(key.n < 40 ? key.n : 40), key.text);
    }
    *out = *found;
    return LK_OK;
}

/* Digits, or a * that takes an argument. */
static lk_status read_number(struct printer *p, const struct lk_value *format, size_t *at,
                             int64_t *out)
{
    struct lk_value v;
    if (*at < format->n && format->text[*at] == '*') {
        ++*at;
        lk_status status = take(p, &v);
        return status || lk_tpl_is_int(&v, out) ? status
                                                : lk_tpl_fail(p->r, "'*' wants a whole number");
    }
    for (; *at < format->n && format->text[*at] >= '0' && format->text[*at] <= '9'; ++*at) {
        *out = (*out < 0 ? 0 : *out > LK_TPL_OUTPUT ? *out : *out * 10) + (format->text[*at] - '0');
    }
    return LK_OK;
}

/* %s, %r, %a, %c */
static lk_status put_text(struct printer *p, const struct lk_value *v, struct lk_tpl_spec *spec)
{
    struct lk_tpl_run *r = p->r;
    struct lk_value s = *v;
    size_t from = r->out->n;
    lk_status status;
    int64_t i;
    char bytes[4];
    if (spec->type == 'c' && lk_tpl_is_int(v, &i) && i >= 0 && i <= 0x10FFFF) {
        s = lk_value_text(bytes, lk_char_put((int32_t)i, bytes), v->flags);
    } else if (spec->type == 'c' && (!lk_tpl_is_text(v) || lk_char_count(v->text, v->n) != 1)) {
        return lk_tpl_fail(r, "%%c wants a number or one character");
    } else if (spec->type == 'r' || spec->type == 'a') {
        if ((status = lk_tpl_put_repr(r, v)) || (status = lk_tpl_cut(r, from, &s))) {
            return status;
        }
    } else if ((status = lk_tpl_soft_str(r, v, &s))) {
        return status;
    }
    if (p->markup && (status = lk_tpl_escape_html(r, &s, &s))) {
        return status;
    }
    spec->align = spec->align ? spec->align : '>';
    spec->precision = spec->type == 'c' ? -1 : spec->precision;
    spec->fill = ' ';
    return lk_tpl_put_text(r, &s, spec);
}

/* %d and its kind: a float loses what is behind its point, for %d alone. */
static lk_status put_int(struct printer *p, const struct lk_value *v, struct lk_tpl_spec *spec)
{
    struct lk_value whole = *v;
    bool decimal = strchr("diu", spec->type) != NULL;
    int64_t i;
    if (v->type == LK_VALUE_FLOAT && decimal && fabs(v->real) < 9e18) {
        whole = lk_value_int((int64_t)v->real);
        whole.flags = v->flags;
    } else if (!lk_tpl_is_int(v, &i) && v->type != LK_VALUE_BIG) {
        return v->type == LK_TPL_UNDEFINED
                   ? lk_tpl_fail_undefined(p->r, v)
                   : lk_tpl_fail(p->r, "%%%c wants a number, found a value of type %s", spec->type,
                                 lk_tpl_type_name(v));
    }
    spec->type = decimal ? 'd' : spec->type;
    return lk_tpl_put_int(p->r, &whole, spec);
}

static lk_status put_real(struct printer *p, const struct lk_value *v, struct lk_tpl_spec *spec)
{
    double d;
    if (!lk_tpl_is_number(v, &d)) {
        return v->type == LK_TPL_UNDEFINED
                   ? lk_tpl_fail_undefined(p->r, v)
                   : lk_tpl_fail(p->r, "%%%c wants a number, found a value of type %s", spec->type,
                                 lk_tpl_type_name(v));
    }
    return lk_tpl_put_real(p->r, d, v->flags, spec);
}

/* One directive; `at` is behind its %. */
static lk_status directive(struct printer *p, const struct lk_value *format, size_t *at)
{
    struct lk_tpl_spec spec = {.width = -1, .precision = -1};
    struct lk_value v = lk_tpl_missing;
    lk_status status = LK_OK;
    if (*at < format->n && format->text[*at] == '(') {
        if (p->args->type != LK_VALUE_DICT) {
            return lk_tpl_fail(p->r, "a format with keys, expected a dict of arguments");
        }
        if ((status = take_key(p, format, at, &v))) {
            return status;
        }
    }
    for (; *at < format->n && format->text[*at] && strchr("-+ 0#", format->text[*at]); ++*at) {
        char c = format->text[*at];
        spec.align = c == '-' ? '<' : spec.align;
        spec.sign = c == '+' || (c == ' ' && spec.sign != '+') ? c : spec.sign;
        spec.zero |= c == '0';
        spec.alternate |= c == '#';
    }
    if ((status = read_number(p, format, at, &spec.width))) {
        return status;
    }
    if (spec.width < -1) {
        spec.align = '<';
        spec.width = spec.width < -LK_TPL_OUTPUT ? LK_TPL_OUTPUT : -spec.width;
    }
    if (*at < format->n && format->text[*at] == '.') {
        ++*at;
        spec.precision = 0;
        if ((status = read_number(p, format, at, &spec.precision))) {
            return status;
        }
        spec.precision = spec.precision < 0 ? 0 : spec.precision;
    }
    while (*at < format->n && format->text[*at] && strchr("hlL", format->text[*at])) {
        ++*at;
    }
    if (*at >= format->n) {
        return lk_tpl_fail(p->r, "a format that ends in a directive");
    }
    spec.type = format->text[(*at)++];
    if (spec.type == '%') {
        lk_text_puts(p->r->out, "%", LK_VALUE_TRUSTED);
        return LK_OK;
    }
    if (v.type == LK_TPL_MISSING && (status = take(p, &v))) {
        return status;
    }
    if (spec.type && strchr("srac", spec.type)) {
        return put_text(p, &v, &spec);
    }
    spec.fill = spec.zero && spec.align != '<' ? '0' : ' ';
    spec.zero = spec.zero && spec.align != '<';
    if (spec.type && strchr("diuoxX", spec.type)) {
        return put_int(p, &v, &spec);
    }
    if (spec.type && strchr("eEfFgG", spec.type)) {
        return put_real(p, &v, &spec);
    }
    return lk_tpl_fail(p->r, "'%%%c' is no format", spec.type);
}

lk_status lk_tpl_printf(struct lk_tpl_run *r, const struct lk_value *format,
                        const struct lk_value *args, struct lk_value *out)
{
    struct printer p = {.r = r, .args = args, .markup = format->flags & LK_VALUE_MARKUP};
    size_t begin = r->out->n, from = 0;
    for (size_t at; from < format->n;) {
        const char *percent = memchr(format->text + from, '%', format->n - from);
        at = percent ? (size_t)(percent - format->text) : format->n;
        lk_text_put_part(r->out, format, from, at);
        from = at;
        if (percent) {
            from++;
            lk_status status = directive(&p, format, &from);
            if (status || (status = lk_tpl_step(r))) {
                return status;
            }
        }
    }
    /* Python takes whatever has items, but strings, for a mapping, of which not all need be used.
     */
    bool mapping =
        !is_tuple(args) && (args->type == LK_VALUE_LIST || args->type == LK_VALUE_DICT ||
                            args->type == LK_TPL_RANGE || args->type == LK_TPL_UNDEFINED);
    uint32_t n = is_tuple(args) ? args->n : !mapping;
    if (p.taken < n) {
        return lk_tpl_fail(r, "a format that uses %u of its %u arguments", p.taken, n);
    }
    lk_status status = lk_tpl_cut(r, begin, out);
    out->flags |= (uint8_t)p.markup;
    return status;
}

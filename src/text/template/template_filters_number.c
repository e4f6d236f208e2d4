/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_filters_number: the filters that make numbers, and numbers and all else to JSON.
 */
#include "text/template/template_run.h"

#include <math.h>
#include <stdio.h>

#include "text/value/json.h"
#include "text/value/number.h"

/* ---- numbers out of text ---- */

static int digit_of(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                : 99;
}

/* int(text, base): digits with single underscores among them. *large: right, but beyond 64 bits. */
static bool parse_int(const struct lk_value *text, int64_t base, int64_t *out, bool *large)
{
    const char *s = text->text;
    size_t n = text->n, at = 0;
    bool negative = n && s[0] == '-', any = false;
    int64_t v = 0;
    *large = false;
    at += n && (s[0] == '-' || s[0] == '+');
    if (n - at > 1 && s[at] == '0') {
        int64_t prefix = (s[at + 1] | 32) == 'x'   ? 16
                         : (s[at + 1] | 32) == 'o' ? 8
                         : (s[at + 1] | 32) == 'b' ? 2
                                                   : 0;
        if (prefix && (base == prefix || base == 0)) {
            base = prefix;
            at += 2;
            at += at < n && s[at] == '_';
        }
    }
    base = base ? base : 10;
    for (; at < n; at++) {
        if (s[at] == '_' && any && at + 1 < n && s[at + 1] != '_') {
            continue;
        }
        int digit = digit_of(s[at]);
        if (digit >= base) {
            return false;
        }
        any = true;
        *large = *large || __builtin_mul_overflow(v, base, &v) ||
                 __builtin_add_overflow(v, negative ? -digit : digit, &v);
    }
    *out = v;
    return any;
}

static size_t digits(const char *s, size_t at, size_t n)
{
    size_t from = at;
    while (at < n && ((s[at] >= '0' && s[at] <= '9') ||
                      (s[at] == '_' && at > from && s[at - 1] != '_' && at + 1 < n &&
                       s[at + 1] >= '0' && s[at + 1] <= '9'))) {
        at++;
    }
    return at;
}

static bool is_word(const char *s, size_t n, const char *word)
{
    size_t i = 0;
    while (i < n && word[i] && (s[i] | 32) == word[i]) {
        i++;
    }
    return i == n && !word[i];
}

/* float(text). */
static bool parse_real(struct lk_tpl_run *r, const struct lk_value *text, double *out)
{
    const char *s = text->text;
    size_t n = text->n, at = n && (s[0] == '-' || s[0] == '+'), whole, end;
    if (is_word(s + at, n - at, "inf") || is_word(s + at, n - at, "infinity")) {
        *out = s[0] == '-' ? -INFINITY : INFINITY;
        return true;
    }
    if (is_word(s + at, n - at, "nan")) {
        *out = NAN;
        return true;
    }
    whole = end = digits(s, at, n);
    size_t count = whole - at;
    if (end < n && s[end] == '.') {
        end = digits(s, end + 1, n);
        count += end - whole - 1;
    }
    if (count && end < n && (s[end] | 32) == 'e') {
        size_t power = end + 1 + (end + 1 < n && (s[end + 1] == '-' || s[end + 1] == '+'));
        size_t stop = digits(s, power, n);
        end = stop > power ? stop : end;
    }
    if (count == 0 || end != n) {
        return false;
    }
    char *copy = lk_tpl_alloc(r, n + 1, 1);
    size_t to = 0;
    for (size_t i = 0; copy && i < n; i++) {
        if (s[i] != '_') {
            copy[to++] = s[i];
        }
    }
    if (copy) {
        copy[to] = 0;
        *out = lk_number_parse(copy);
    }
    return copy != NULL;
}

/* ---- filters ---- */

static lk_status whole_of(struct lk_tpl_run *r, double d, unsigned flags, struct lk_value *out)
{
    if (fabs(d) >= 9.2e18) {
        return lk_tpl_fail(r, "int: a whole number of more than 64 bits");
    }
    *out = lk_value_int((int64_t)d);
    out->flags = flags & LK_VALUE_TRUSTED;
    return LK_OK;
}

lk_status lk_tpl_filter_int(LK_TPL_ARGUMENTS)
{
    struct lk_value fallback = lk_tpl_given(&arg[0]) ? arg[0] : lk_value_int(0);
    int64_t base = 10, i;
    double d;
    bool large;
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[1], "int: the base", &base);
    if (status || self->type == LK_TPL_UNDEFINED) {
        return status ? status : lk_tpl_fail_undefined(r, self);
    }
    if (lk_tpl_is_text(self)) {
        struct lk_value text = lk_tpl_strip(r, self, NULL, 0);
        if (parse_int(&text, base, &i, &large)) {
            *out = lk_value_int(i);
            out->flags = text.marks ? 0 : text.flags & LK_VALUE_TRUSTED;
            return large ? lk_tpl_fail(r, "int: a whole number of more than 64 bits") : LK_OK;
        }
        if (parse_real(r, &text, &d) && isfinite(d)) {
            return whole_of(r, d, text.marks ? 0 : text.flags, out);
        }
        *out = fallback;
        return LK_OK;
    }
    if (lk_tpl_is_int(self, &i)) {
        *out = lk_value_int(i);
        out->flags = self->flags;
    } else if (self->type == LK_VALUE_BIG) {
        *out = *self;
    } else if (self->type == LK_VALUE_FLOAT && isinf(self->real)) {
        return lk_tpl_fail(r, "int: infinity has no whole number");
    } else if (self->type == LK_VALUE_FLOAT && !isnan(self->real)) {
        return whole_of(r, self->real, self->flags, out);
    } else {
        *out = fallback;
    }
    return LK_OK;
}

lk_status lk_tpl_filter_float(LK_TPL_ARGUMENTS)
{
    double d = 0.0;
    (void)call;
    if (self->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, self);
    }
    struct lk_value text = lk_tpl_is_text(self) ? lk_tpl_strip(r, self, NULL, 0) : *self;
    if (lk_tpl_is_text(self) ? parse_real(r, &text, &d) : lk_tpl_is_number(self, &d)) {
        *out = lk_value_real(d);
        out->flags = text.type == LK_VALUE_STRING && text.marks ? 0 : text.flags & LK_VALUE_TRUSTED;
    } else {
        *out = lk_tpl_given(&arg[0]) ? arg[0] : lk_value_real(0.0);
    }
    return LK_OK;
}

lk_status lk_tpl_filter_abs(LK_TPL_ARGUMENTS)
{
    double d;
    (void)call, (void)arg;
    if (!lk_tpl_is_number(self, &d)) {
        return lk_tpl_fail(r, "abs: found a value of type %s, expected a number",
                           lk_tpl_type_name(self));
    }
    return lk_tpl_negate(r, self, d < 0 || (d == 0.0 && signbit(d)), out);
}

/* round(d, precision): to even where two are equally near, by the exact value of the double. */
static double round_real(double d, int64_t precision)
{
    char text[512];
    if (precision > 300 || !isfinite(d)) {
        return d;
    }
    if (precision >= 0) {
        lk_number_print(text, sizeof text, "%.*f", precision > 100 ? 100 : (int)precision, d);
        return lk_number_parse(text);
    }
    double unit = pow(10.0, (double)-precision);
    return isfinite(unit) ? rint(d / unit) * unit : 0.0 * d;
}

static lk_status round_int(struct lk_tpl_run *r, int64_t i, int64_t precision, struct lk_value *out)
{
    int64_t unit = 1;
    for (; precision < 0 && unit < INT64_MAX / 100; precision++) {
        unit *= 10;
    }
    int64_t rest = i % unit, down = i - rest, half = unit / 2;
    if (rest < 0) {
        rest += unit;
        down -= unit;
    }
    bool up = unit > 1 && (rest > half || (rest == half && (down / unit) % 2 != 0));
    (void)r;
    *out = lk_value_int(up ? down + unit : down);
    return LK_OK;
}

lk_status lk_tpl_filter_round(LK_TPL_ARGUMENTS)
{
    int64_t precision = 0, i;
    double d;
    bool ceiling = lk_tpl_given(&arg[1]) && lk_value_is(&arg[1], "ceil");
    bool floors = lk_tpl_given(&arg[1]) && lk_value_is(&arg[1], "floor");
    (void)call;
    lk_status status = lk_tpl_int_arg(r, &arg[0], "round: the precision", &precision);
    if (status) {
        return status;
    }
    if (lk_tpl_given(&arg[1]) && !ceiling && !floors && !lk_value_is(&arg[1], "common")) {
        return lk_tpl_fail(r, "round: expected the method 'common', 'ceil' or 'floor'");
    }
    if (!lk_tpl_is_number(self, &d)) {
        return self->type == LK_TPL_UNDEFINED
                   ? lk_tpl_fail_undefined(r, self)
                   : lk_tpl_fail(r, "round: found a value of type %s, expected a number",
                                 lk_tpl_type_name(self));
    }
    if (!ceiling && !floors) {
        if (lk_tpl_is_int(self, &i)) {
            return round_int(r, i, precision, out);
        }
        *out = self->type == LK_VALUE_BIG ? *self : lk_value_real(round_real(d, precision));
        return LK_OK;
    }
    double unit = pow(10.0, (double)precision), scaled = d * unit;
    *out = lk_value_real((ceiling ? ceil(scaled) : floor(scaled)) / unit);
    return LK_OK;
}

lk_status lk_tpl_filter_filesizeformat(LK_TPL_ARGUMENTS)
{
    static const char *const units[2][8] = {{"kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB"},
                                            {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB",
                                             "YiB"}};
    bool binary = lk_tpl_bool_arg(&arg[0], false);
    double bytes = 0.0, base = binary ? 1024 : 1000, unit = base;
    char text[64];
    size_t from = r->out->n;
    (void)call;
    struct lk_value v = lk_tpl_is_text(self) ? lk_tpl_strip(r, self, NULL, 0) : *self;
    bool number = lk_tpl_is_text(self) ? parse_real(r, &v, &bytes) : lk_tpl_is_number(&v, &bytes);
    if (!number) {
        return lk_tpl_fail(r, "filesizeformat: expected a number");
    }
    if (bytes == 1.0) {
        snprintf(text, sizeof text, "1 Byte");
    } else if (bytes < base) {
        snprintf(text, sizeof text, "%lld Bytes", (long long)bytes);
    } else {
        size_t i = 0;
        for (unit = base * base; i < 7 && bytes >= unit; i++) {
            unit *= base;
        }
        int n = lk_number_print(text, sizeof text - 8, "%.*f", 1, base * bytes / unit);
        snprintf(text + n, sizeof text - (size_t)n, " %s", units[binary][i]);
    }
    lk_text_puts(r->out, text, self->flags);
    return lk_tpl_cut(r, from, out);
}

/* ---- JSON ---- */

/* json.dumps' indent: so many spaces, or a string. */
static lk_status json_indent(struct lk_tpl_run *r, const struct lk_value *arg,
                             struct lk_json_writing *how)
{
    struct lk_value space = lk_tpl_static(" ");
    int64_t n;
    if (!lk_tpl_given(arg) || arg->type == LK_VALUE_NULL) {
        return LK_OK;
    }
    *how = lk_json_pretty();
    if (lk_tpl_is_text(arg)) {
        how->indent = *arg;
        return LK_OK;
    }
    if (!lk_tpl_is_int(arg, &n) || n > 1000) {
        return lk_tpl_fail(r, "tojson: expected an indent that is a number or a string");
    }
    return lk_tpl_repeat(r, &space, n, &how->indent);
}

static lk_status json_separators(struct lk_tpl_run *r, const struct lk_value *arg,
                                 struct lk_json_writing *how)
{
    struct lk_value list;
    if (!lk_tpl_given(arg) || arg->type == LK_VALUE_NULL) {
        return LK_OK;
    }
    lk_status status = lk_tpl_listed(r, arg, &list);
    if (status) {
        return status;
    }
    if (list.n != 2 || !lk_tpl_is_text(&list.item[0]) || !lk_tpl_is_text(&list.item[1])) {
        return lk_tpl_fail(r, "tojson: expected two strings as separators");
    }
    how->item = list.item[0];
    how->key = list.item[1];
    return LK_OK;
}

lk_status lk_tpl_filter_tojson(LK_TPL_ARGUMENTS)
{
    struct lk_json_writing how = lk_json_default();
    size_t from = r->out->n;
    lk_error why = {0};
    (void)call;
    lk_status status = json_indent(r, &arg[1], &how);
    if (status || (status = json_separators(r, &arg[2], &how))) {
        return status;
    }
    how.ensure_ascii = lk_tpl_bool_arg(&arg[0], false);
    how.sort_keys = lk_tpl_bool_arg(&arg[3], false);
    if (lk_json_write(r->out, self, &how, &why)) {
        return r->out->status ? lk_tpl_full(r) : lk_tpl_fail(r, "tojson: %.400s", why.message);
    }
    status = lk_tpl_cut(r, from, out);
    return status ? status : lk_tpl_work(r, out->n / LK_TPL_CHAR);
}

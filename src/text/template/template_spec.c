/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_spec: numbers and texts laid out in a width, with signs, grouping and precision, as
 * Python's format() and % lay them out.
 */
#include "text/template/template_run.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>

#include "text/value/number.h"
#include "text/template/unicode.h"

enum { MOST_DIGITS = 400, DIGITS = 1536 };

static void put_fill(struct lk_tpl_run *r, int32_t fill, int64_t n, unsigned flags)
{
    char bytes[4];
    size_t len = lk_char_put(fill ? fill : ' ', bytes);
    for (int64_t i = 0; i < n && !r->out->status; i++) {
        lk_text_put(r->out, bytes, len, flags);
    }
}

static lk_status check_width(struct lk_tpl_run *r, const struct lk_tpl_spec *spec)
{
    if (spec->width > LK_TPL_OUTPUT || spec->precision > LK_TPL_OUTPUT) {
        return lk_tpl_fail(r, "a width or precision of more than %d", LK_TPL_OUTPUT);
    }
    return lk_tpl_work(r, spec->width > 0 ? (size_t)spec->width / 2 : 0);
}

lk_status lk_tpl_put_text(struct lk_tpl_run *r, const struct lk_value *s,
                          const struct lk_tpl_spec *spec)
{
    struct lk_value part = *s;
    int64_t length;
    lk_status status = check_width(r, spec);
    if (!status && spec->precision >= 0) {
        const struct lk_value end = lk_value_int(spec->precision);
        status = lk_tpl_slice(r, s, NULL, &end, NULL, &part);
    }
    if (status || (status = lk_tpl_length(r, &part, &length))) {
        return status;
    }
    int64_t missing = spec->width > length ? spec->width - length : 0;
    int64_t left = spec->align == '>' ? missing : spec->align == '^' ? missing / 2 : 0;
    put_fill(r, spec->fill, left, LK_VALUE_TRUSTED);
    lk_text_put_string(r->out, &part);
    put_fill(r, spec->fill, missing - left, LK_VALUE_TRUSTED);
    return r->out->status ? lk_tpl_full(r) : LK_OK;
}

/* ---- numbers ---- */

/* How many separators so many digits get. */
static int64_t separators(int64_t digits, char grouping, int size)
{
    return grouping && digits > 0 ? (digits - 1) / size : 0;
}

/* Digits of the whole part with zeros before them and separators between groups. */
static void put_grouped(struct lk_tpl_run *r, const char *digits, int64_t n, int64_t zeros,
                        char grouping, int size, unsigned flags)
{
    for (int64_t left = n + zeros; left > 0 && !r->out->status; left--) {
        char c = left > n ? '0' : digits[n - left];
        lk_text_put(r->out, &c, 1, flags);
        if (grouping && left > 1 && (left - 1) % size == 0) {
            lk_text_put(r->out, &grouping, 1, flags);
        }
    }
}

/* sign and prefix, whole digits [0, n_whole) and the rest of the digits, in a width. */
static lk_status put_number(struct lk_tpl_run *r, const char *sign, const char *digits,
                            size_t n_whole, const struct lk_tpl_spec *spec, unsigned flags)
{
    size_t n = strlen(digits), n_sign = strlen(sign);
    int size = spec->type && strchr("boxX", spec->type) ? 4 : 3;
    int64_t whole = (int64_t)n_whole, zeros = 0;
    char align = spec->align ? spec->align : spec->zero ? '=' : '>';
    int64_t rest = (int64_t)(n - n_whole + n_sign);
    bool by_zeros = align == '=' && (spec->fill == '0' || (spec->zero && !spec->fill));
    lk_status status = check_width(r, spec);
    if (status) {
        return status;
    }
    while (by_zeros &&
           rest + whole + zeros + separators(whole + zeros, spec->grouping, size) < spec->width) {
        zeros++;
    }
    int64_t length = rest + whole + zeros + separators(whole + zeros, spec->grouping, size);
    int64_t missing = spec->width > length ? spec->width - length : 0;
    int64_t left = align == '>' ? missing : align == '^' ? missing / 2 : 0;
    put_fill(r, spec->fill, left, LK_VALUE_TRUSTED);
    lk_text_puts(r->out, sign, flags);
    if (align == '=') {
        put_fill(r, spec->fill, missing, LK_VALUE_TRUSTED);
    }
    put_grouped(r, digits, whole, zeros, spec->grouping, size, flags);
    lk_text_puts(r->out, digits + n_whole, flags);
    if (align != '=') {
        put_fill(r, spec->fill, missing - left, LK_VALUE_TRUSTED);
    }
    return r->out->status ? lk_tpl_full(r) : LK_OK;
}

static const char *sign_of(bool negative, char wanted)
{
    return negative ? "-" : wanted == '+' ? "+" : wanted == ' ' ? " " : "";
}

lk_status lk_tpl_put_real(struct lk_tpl_run *r, double d, unsigned flags,
                          const struct lk_tpl_spec *spec)
{
    char digits[DIGITS], format[8], *c = format;
    char type = spec->type == '%' ? 'f' : spec->type == 'n' || !spec->type ? 'g' : spec->type;
    double size = fabs(spec->type == '%' ? d * 100.0 : d);
    if (spec->precision > MOST_DIGITS) {
        return lk_tpl_fail(r, "a precision of more than %d digits", MOST_DIGITS);
    }
    if (!isfinite(size)) {
        bool upper = type == 'E' || type == 'F' || type == 'G';
        snprintf(digits, sizeof digits, "%s",
                 isnan(size) ? upper ? "NAN" : "nan"
                 : upper     ? "INF"
                             : "inf");
    } else if (!spec->type && spec->precision < 0) {
        digits[lk_number_repr(size, digits)] = 0;
    } else {
        *c++ = '%';
        if (spec->alternate) {
            *c++ = '#';
        }
        *c++ = '.';
        *c++ = '*';
        *c++ = type;
        *c = 0;
        lk_number_print(digits, sizeof digits, format,
                        spec->precision < 0 ? 6 : (int)spec->precision, size);
        if (!spec->type && !strpbrk(digits, ".en")) {
            strcat(digits, ".0");
        }
    }
    if (spec->type == '%') {
        strcat(digits, "%");
    }
    return put_number(r, sign_of(signbit(d) && !isnan(d), spec->sign), digits,
                      strspn(digits, "0123456789"), spec, flags);
}

/* The digits of a whole number to a base. */
static void digits_of(uint64_t v, unsigned base, bool upper, char *out)
{
    char turned[72];
    size_t n = 0;
    do {
        turned[n++] = (upper ? "0123456789ABCDEF" : "0123456789abcdef")[v % base];
        v /= base;
    } while (v);
    for (size_t i = 0; i < n; i++) {
        out[i] = turned[n - 1 - i];
    }
    out[n] = 0;
}

lk_status lk_tpl_put_int(struct lk_tpl_run *r, const struct lk_value *v,
                         const struct lk_tpl_spec *spec)
{
    char digits[128], sign[4], type = spec->type ? spec->type : 'd';
    int64_t i;
    if (!lk_tpl_is_int(v, &i)) {
        bool negative = v->n && v->text[0] == '-';
        char *text = lk_tpl_alloc(r, (size_t)v->n + 1, 1);
        if (!text) {
            return r->err->status;
        }
        if (!strchr("dniu", type)) {
            return lk_tpl_fail(r, "a format '%c' of a whole number of more than 64 bits", type);
        }
        memcpy(text, v->text + negative, v->n - negative);
        text[v->n - negative] = 0;
        return put_number(r, sign_of(negative, spec->sign), text, strlen(text), spec, v->flags);
    }
    unsigned base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
    digits_of(i < 0 ? 0 - (uint64_t)i : (uint64_t)i, base, type == 'X', digits);
    snprintf(sign, sizeof sign, "%s%s%.1s", sign_of(i < 0, spec->sign),
             spec->alternate && base != 10 ? "0" : "",
             spec->alternate && base != 10 ? (char[]){type, 0} : "");
    if (spec->precision > 0) { /* of % alone: at least so many digits */
        size_t n = strlen(digits);
        int64_t zeros = spec->precision - (int64_t)n;
        if (zeros > 0 && zeros < (int64_t)(sizeof digits - 1 - n)) {
            memmove(digits + zeros, digits, n + 1);
            memset(digits, '0', (size_t)zeros);
        } else if (zeros > 0) {
            return lk_tpl_fail(r, "a precision of more than %zu digits", sizeof digits - 1);
        }
    }
    return put_number(r, sign, digits, strlen(digits), spec, v->flags);
}

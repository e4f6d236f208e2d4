/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimal: see decimal.h.
 */
#include "text/value/decimal.h"

#include <stdio.h>

/* The number's text: as it was written, or in digits. */
static size_t text_of(const struct lk_value *v, char buf[32], const char **text)
{
    *text = v->text;
    if (v->n) {
        return v->n;
    }
    *text = buf;
    int n = v->type == LK_VALUE_INT ? snprintf(buf, 32, "%lld", (long long)v->integer)
                                    : snprintf(buf, 32, "%.17g", v->real);
    return n > 0 ? (size_t)n : 0;
}

bool lk_decimal_of(const struct lk_value *v, struct lk_decimal *out)
{
    char buf[32];
    const char *t;
    size_t n = text_of(v, buf, &t), i = 0;
    int64_t point = 0, exponent = 0;
    bool behind = false, exponent_negative = false;
    *out = (struct lk_decimal){0};
    if (i < n && t[i] == '-') {
        out->negative = true;
        i++;
    }
    for (; i < n && t[i] != 'e' && t[i] != 'E'; i++) {
        if (t[i] == '.') {
            behind = true;
            continue;
        }
        if (t[i] < '0' || t[i] > '9') {
            return false;
        }
        if (t[i] == '0' && out->n == 0) { /* a zero before the first digit */
            point -= behind;
            continue;
        }
        if (out->n == LK_DECIMAL_DIGITS) {
            return false;
        }
        out->digit[out->n++] = t[i];
        point += !behind;
    }
    if (i < n) {
        i++;
        exponent_negative = i < n && t[i] == '-';
        i += i < n && (t[i] == '-' || t[i] == '+');
        for (; i < n && exponent < 1000000; i++) {
            exponent = exponent * 10 + (t[i] - '0');
        }
    }
    while (out->n && out->digit[out->n - 1] == '0') {
        out->n--;
    }
    point += exponent_negative ? -exponent : exponent;
    if (out->n == 0) {
        out->negative = false;
        return true;
    }
    out->point = (int32_t)point;
    return point <= LK_DECIMAL_DIGITS && point >= -LK_DECIMAL_DIGITS;
}

int lk_decimal_compare(const struct lk_decimal *a, const struct lk_decimal *b)
{
    int sign = a->negative ? -1 : 1;
    if (a->n == 0 || b->n == 0 || a->negative != b->negative) {
        int p = a->n == 0 ? 0 : sign, q = b->n == 0 ? 0 : b->negative ? -1 : 1;
        return (p > q) - (p < q);
    }
    if (a->point != b->point) {
        return a->point > b->point ? sign : -sign;
    }
    size_t n = a->n < b->n ? a->n : b->n;
    int c = memcmp(a->digit, b->digit, n);
    c = c ? c : (a->n > b->n) - (a->n < b->n);
    return c > 0 ? sign : c < 0 ? -sign : 0;
}

bool lk_decimal_is_integer(const struct lk_decimal *d)
{
    return d->n == 0 || d->point >= d->n;
}

/* Adds one to the magnitude of an integer. */
static bool grow(struct lk_decimal *d)
{
    struct lk_decimal_text t;
    lk_decimal_split(d, &t);
    size_t i = t.n_whole;
    while (i > 0 && t.whole[i - 1] == '9') {
        t.whole[--i] = '0';
    }
    size_t first = 0;
    if (i > 0) {
        t.whole[i - 1]++;
    } else {
        memmove(t.whole + 1, t.whole, t.n_whole);
        t.whole[0] = '1';
        t.n_whole++;
    }
    size_t n = t.n_whole;
    while (n > 0 && t.whole[n - 1] == '0') {
        n--;
    }
    while (first < n && t.whole[first] == '0') {
        first++;
    }
    if (n - first > LK_DECIMAL_DIGITS || t.n_whole - first > LK_DECIMAL_DIGITS) {
        return false;
    }
    d->n = (uint16_t)(n - first);
    d->point = (int32_t)(t.n_whole - first);
    memcpy(d->digit, t.whole + first, d->n);
    return true;
}

/* Takes one from the magnitude of an integer that is not 0. */
static void shrink(struct lk_decimal *d)
{
    struct lk_decimal_text t;
    lk_decimal_split(d, &t);
    size_t i = t.n_whole;
    while (t.whole[i - 1] == '0') {
        t.whole[--i] = '9';
    }
    t.whole[i - 1]--;
    size_t first = 0, n = t.n_whole;
    while (first < n && t.whole[first] == '0') {
        first++;
    }
    d->point = (int32_t)(n - first);
    while (n > first && t.whole[n - 1] == '0') {
        n--;
    }
    n = n - first > LK_DECIMAL_DIGITS ? first + LK_DECIMAL_DIGITS : n;
    d->n = (uint16_t)(n - first);
    memcpy(d->digit, t.whole + first, d->n);
    d->negative &= d->n > 0;
    d->point = d->n ? d->point : 0;
}

bool lk_decimal_round(struct lk_decimal *d, bool down, bool beyond)
{
    bool away = d->n && d->negative == down; /* from zero */
    if (!lk_decimal_is_integer(d)) {
        d->n = d->point > 0 ? (uint16_t)d->point : 0;
        while (d->n && d->digit[d->n - 1] == '0') {
            d->n--;
        }
        bool negative = d->negative;
        d->point = d->n ? d->point : 0;
        if (away && !grow(d)) {
            return false;
        }
        d->negative = d->n && negative;
        return true;
    }
    if (!beyond) {
        return true;
    }
    if (d->n == 0 || away) {
        d->negative = d->n ? d->negative : down;
        return grow(d);
    }
    shrink(d);
    return true;
}

void lk_decimal_split(const struct lk_decimal *d, struct lk_decimal_text *out)
{
    out->n_whole = out->n_fraction = 0;
    for (int32_t i = 0; d->n && i < d->point; i++) {
        out->whole[out->n_whole++] = i < d->n ? d->digit[i] : '0';
    }
    if (out->n_whole == 0) {
        out->whole[out->n_whole++] = '0';
    }
    for (int32_t i = d->point; d->n && i < d->n; i++) {
        out->fraction[out->n_fraction++] = i < 0 ? '0' : d->digit[i];
    }
}

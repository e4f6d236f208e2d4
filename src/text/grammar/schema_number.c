/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_number: numbers within limits as expressions of their digits. A limit is followed digit by
 * digit: as long as all digits are those of the limit it is tight, and behind the first other one
 * anything may come. Without limits numbers may have an exponent; with limits they have none.
 */
#include "text/grammar/schema.h"

#include <stdio.h>

enum { MAX_EXPONENT_DIGITS = 3 };

/* ---- limits ---- */

lk_status lk_schema_range(struct lk_schema *s, const struct lk_shape *shape,
                          struct lk_numbers *range, bool *empty)
{
    *range = shape->number;
    if (range->integer) {
        bool ok = !range->has_low || lk_decimal_round(&range->low, false, range->low_open);
        ok &= !range->has_high || lk_decimal_round(&range->high, true, range->high_open);
        if (!ok) {
            uint32_t loc = lk_shape_loc(shape);
            return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, NULL, "a limit of more than %d digits",
                                  LK_DECIMAL_DIGITS);
        }
        range->low_open = range->high_open = false;
    }
    int c = range->has_low && range->has_high ? lk_decimal_compare(&range->low, &range->high) : -1;
    *empty = c > 0 || (c == 0 && (range->low_open || range->high_open)) ||
             (range->integer && range->not_integer);
    return LK_OK;
}

/* ---- digits ---- */

/* The digits of both limits of a magnitude. */
struct limits {
    struct lk_exprs *x;
    struct lk_decimal_text low, high;
    bool low_open, high_open, integer;
};

static uint32_t digits(struct lk_exprs *x, int first, int last)
{
    return first > last ? LK_EXPR_NONE
                        : lk_expr_range(x, '0' + (unsigned)first, '0' + (unsigned)last);
}

static uint32_t any_digits(struct lk_exprs *x, uint32_t min, uint32_t max)
{
    return lk_expr_repeat(x, digits(x, 0, 9), min, max);
}

/* "" or a point and digits. */
static uint32_t any_fraction(const struct limits *l)
{
    uint32_t some = any_digits(l->x, 1, LK_NO_LIMIT);
    return l->integer
               ? LK_EXPR_EMPTY
               : lk_expr_alt(l->x, LK_EXPR_EMPTY, lk_expr_cat(l->x, lk_expr_byte(l->x, '.'), some));
}

/* The digits behind the point from number i on; tight_low and tight_high: those before are all the
 * limit's. `some`: at least one. */
static uint32_t fraction(const struct limits *l, size_t i, bool tight_low, bool tight_high,
                         bool some)
{
    struct lk_exprs *x = l->x;
    bool low_over = i >= l->low.n_fraction, high_over = i >= l->high.n_fraction;
    if (tight_low && low_over && !l->low_open) {
        tight_low = false;
    }
    if (!tight_low && !tight_high) {
        return any_digits(x, some, LK_NO_LIMIT);
    }
    if (tight_low && low_over && !tight_high) { /* above the limit at last: some digit is not 0 */
        uint32_t e = lk_expr_cat(x, digits(x, 1, 9), any_digits(x, 0, LK_NO_LIMIT));
        return lk_expr_cat(x, lk_expr_repeat(x, lk_expr_byte(x, '0'), 0, LK_NO_LIMIT), e);
    }
    if (tight_high && high_over) {
        bool none = tight_low || l->high_open;
        return none ? LK_EXPR_NONE : lk_expr_repeat(x, lk_expr_byte(x, '0'), some, LK_NO_LIMIT);
    }
    size_t from = lk_expr_list(x);
    int low = tight_low && !low_over ? l->low.fraction[i] - '0' : 0;
    int high = tight_high ? l->high.fraction[i] - '0' : 9;
    if (!some && !tight_low) {
        lk_expr_push(x, LK_EXPR_EMPTY); /* less than the upper limit */
    }
    bool both = tight_low && tight_high && low == high;
    if (both) {
        uint32_t e = fraction(l, i + 1, true, true, false);
        lk_expr_push(x, lk_expr_cat(x, digits(x, low, low), e));
    } else if (low <= high) {
        if (tight_low) {
            uint32_t e = fraction(l, i + 1, true, false, false);
            lk_expr_push(x, lk_expr_cat(x, digits(x, low, low), e));
        }
        if (tight_high) {
            uint32_t e = fraction(l, i + 1, false, true, false);
            lk_expr_push(x, lk_expr_cat(x, digits(x, high, high), e));
        }
        uint32_t e = any_digits(x, 0, LK_NO_LIMIT);
        lk_expr_push(x, lk_expr_cat(x, digits(x, low + tight_low, high - tight_high), e));
    }
    return lk_expr_alt_of(x, from);
}

/* Behind the whole digits. */
static uint32_t tail(const struct limits *l, bool tight_low, bool tight_high)
{
    struct lk_exprs *x = l->x;
    if (l->integer) {
        return LK_EXPR_EMPTY;
    }
    uint32_t some = fraction(l, 0, tight_low, tight_high, true);
    uint32_t e = lk_expr_cat(x, lk_expr_byte(x, '.'), some);
    bool none = (!tight_low || (l->low.n_fraction == 0 && !l->low_open)) &&
                (!tight_high || l->high.n_fraction > 0 || !l->high_open);
    return none ? lk_expr_alt(x, e, LK_EXPR_EMPTY) : e;
}

/* Whole numbers of n digits from number i on, and what comes behind them. */
static uint32_t whole(const struct limits *l, size_t n, size_t i, bool tight_low, bool tight_high)
{
    struct lk_exprs *x = l->x;
    if (i == n) {
        return tail(l, tight_low, tight_high);
    }
    int least = i == 0 && n > 1 ? 1 : 0;
    int low = tight_low ? l->low.whole[i] - '0' : least;
    int high = tight_high ? l->high.whole[i] - '0' : 9;
    if (!tight_low && !tight_high) {
        uint32_t e = lk_expr_cat(x, any_digits(x, (uint32_t)(n - i - 1), (uint32_t)(n - i - 1)),
                                 any_fraction(l));
        return lk_expr_cat(x, digits(x, low, 9), e);
    }
    uint32_t e;
    if (tight_low && tight_high && low == high) {
        e = whole(l, n, i + 1, true, true);
        return lk_expr_cat(x, digits(x, low, low), e);
    }
    size_t from = lk_expr_list(x);
    if (tight_low) {
        e = whole(l, n, i + 1, true, false);
        lk_expr_push(x, lk_expr_cat(x, digits(x, low, low), e));
    }
    if (tight_high) {
        e = whole(l, n, i + 1, false, true);
        lk_expr_push(x, lk_expr_cat(x, digits(x, high, high), e));
    }
    uint32_t more = (uint32_t)(n - i - 1);
    e = lk_expr_cat(x, any_digits(x, more, more), any_fraction(l));
    lk_expr_push(x, lk_expr_cat(x, digits(x, low + tight_low, high - tight_high), e));
    return lk_expr_alt_of(x, from);
}

/* Magnitudes between two that are not negative; no high: without end. */
static uint32_t between(struct lk_exprs *x, const struct lk_decimal *low, bool low_open,
                        const struct lk_decimal *high, bool high_open, bool integer)
{
    struct limits l = {.x = x, .low_open = low_open, .high_open = high_open, .integer = integer};
    lk_decimal_split(low, &l.low);
    if (high) {
        lk_decimal_split(high, &l.high);
    }
    size_t n = l.low.n_whole, last = high ? l.high.n_whole : n;
    size_t from = lk_expr_list(x);
    lk_expr_push(x, whole(&l, n, 0, true, high && last == n));
    if (last > n) {
        lk_expr_push(x, whole(&l, last, 0, false, true));
    }
    uint32_t first_more = (uint32_t)n, last_more = high ? (uint32_t)last - 2 : LK_NO_LIMIT;
    if (!high || last > n + 1) { /* more digits than the lower limit and fewer than the upper */
        uint32_t e = lk_expr_cat(x, any_digits(x, first_more, last_more), any_fraction(&l));
        lk_expr_push(x, lk_expr_cat(x, digits(x, 1, 9), e));
    }
    return lk_expr_alt_of(x, from);
}

/* Between the limits. What is below 0 is a '-' and a magnitude; -0 is written only for integers
 * with limits on both sides of it. */
static uint32_t within(struct lk_exprs *x, const struct lk_numbers *n)
{
    static const struct lk_decimal zero, one = {.n = 1, .point = 1, .digit = "1"};
    size_t from = lk_expr_list(x);
    bool below = !n->has_low || n->low.negative, above = !n->has_high || !n->high.negative;
    if (below) {
        struct lk_decimal most = n->low, least = n->high;
        bool open = n->high_open;
        most.negative = least.negative = false;
        if (above) {
            least = n->integer && !(n->has_low && n->has_high) ? one : zero;
            open = !n->integer;
        }
        uint32_t e = between(x, &least, open, n->has_low ? &most : NULL, n->low_open, n->integer);
        lk_expr_push(x, lk_expr_cat(x, lk_expr_byte(x, '-'), e));
    }
    if (above) {
        bool own = n->has_low && !n->low.negative;
        uint32_t e = between(x, own ? &n->low : &zero, own && n->low_open,
                             n->has_high ? &n->high : NULL, n->high_open, n->integer);
        lk_expr_push(x, e);
    }
    return lk_expr_alt_of(x, from);
}

/* Without limits; an exponent if `exponent`. */
static uint32_t unlimited(struct lk_exprs *x, bool integer, bool exponent)
{
    struct limits l = {.x = x, .integer = integer};
    uint32_t e = any_fraction(&l);
    if (exponent && !integer) {
        struct lk_byte_set sign = {{0}}, letter = {{0}};
        lk_byte_set_add(&sign, '+');
        lk_byte_set_add(&sign, '-');
        lk_byte_set_add(&letter, 'e');
        lk_byte_set_add(&letter, 'E');
        uint32_t p = lk_expr_cat(x, lk_expr_repeat(x, lk_expr_set(x, &sign), 0, 1),
                                 any_digits(x, 1, MAX_EXPONENT_DIGITS));
        p = lk_expr_cat(x, lk_expr_set(x, &letter), p);
        e = lk_expr_cat(x, e, lk_expr_repeat(x, p, 0, 1));
    }
    uint32_t more = lk_expr_cat(x, digits(x, 1, 9), any_digits(x, 0, LK_NO_LIMIT));
    e = lk_expr_cat(x, lk_expr_alt(x, lk_expr_byte(x, '0'), more), e);
    return lk_expr_cat(x, lk_expr_repeat(x, lk_expr_byte(x, '-'), 0, 1), e);
}

/* ---- multiples ---- */

/* A decimal as divisor / 10^scale; false where the divisor is above 2^31. */
static bool as_fraction(const struct lk_value *v, uint32_t *divisor, uint32_t *scale)
{
    struct lk_decimal d;
    uint64_t n = 0;
    if (!lk_decimal_of(v, &d) || d.n > 10) {
        return false;
    }
    for (int i = 0; i < d.n || i < d.point; i++) {
        n = n * 10 + (uint64_t)(i < d.n ? d.digit[i] - '0' : 0);
        if (n > (uint64_t)1 << 31) {
            return false;
        }
    }
    *divisor = (uint32_t)n;
    *scale = d.point < d.n ? (uint32_t)(d.n - d.point) : 0;
    return *scale <= 20;
}

static lk_status multiples(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    const struct lk_values *of = &shape->number.multiple_of;
    for (uint32_t i = 0; i < of->n; i++) {
        uint32_t divisor, scale;
        if (!as_fraction(of->item[i], &divisor, &scale)) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, lk_shape_loc(shape), "multipleOf",
                                  "more digits than are supported");
        }
        uint32_t m = lk_expr_multiple(x, divisor, scale);
        m = lk_expr_cat(x, lk_expr_repeat(x, lk_expr_byte(x, '-'), 0, 1), m);
        *e = lk_expr_and(x, *e, m);
    }
    return LK_OK;
}

static bool is_multiple(const struct lk_value *v, const struct lk_value *of)
{
    struct lk_decimal d;
    uint32_t divisor, scale;
    uint64_t rest = 0;
    if (!lk_decimal_of(v, &d) || !as_fraction(of, &divisor, &scale)) {
        return false;
    }
    int64_t zeros = (int64_t)scale + d.point - d.n;
    for (int i = 0; i < d.n; i++) {
        rest = (rest * 10 + (uint64_t)(d.digit[i] - '0')) % divisor;
    }
    for (int64_t i = 0; i < zeros && rest; i++) {
        rest = rest * 10 % divisor;
    }
    return d.n == 0 || (zeros >= 0 && rest == 0);
}

/* ---- single numbers ---- */

/* Digits of a number without an exponent, and zeros behind its fraction if `zeros`. */
static uint32_t in_digits(struct lk_exprs *x, const struct lk_decimal *d, bool zeros)
{
    struct lk_decimal_text t;
    lk_decimal_split(d, &t);
    uint32_t more = lk_expr_repeat(x, lk_expr_byte(x, '0'), 0, LK_NO_LIMIT), e = LK_EXPR_EMPTY;
    if (t.n_fraction) {
        e = lk_expr_cat(x, lk_expr_literal(x, t.fraction, t.n_fraction), zeros ? more : e);
        e = lk_expr_cat(x, lk_expr_byte(x, '.'), e);
    } else if (zeros) {
        e = lk_expr_cat(x, lk_expr_literal(x, ".0", 2), more);
        e = lk_expr_repeat(x, e, 0, 1);
    }
    e = lk_expr_cat(x, lk_expr_literal(x, t.whole, t.n_whole), e);
    uint32_t minus = lk_expr_byte(x, '-');
    if (d->n == 0 && zeros) {
        return lk_expr_cat(x, lk_expr_repeat(x, minus, 0, 1), e);
    }
    return d->negative ? lk_expr_cat(x, minus, e) : e;
}

lk_status lk_schema_number_text(struct lk_schema *s, const struct lk_value *v, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    struct lk_decimal d;
    char buf[32];
    const char *text = v->text;
    size_t n = v->n;
    if (n == 0) {
        text = buf;
        n = (size_t)snprintf(buf, sizeof buf, "%lld", (long long)v->integer);
    }
    *e = lk_expr_literal(x, text, n);
    if (lk_decimal_of(v, &d) && d.point > -32 && d.point < 32) {
        *e = lk_expr_alt(x, *e, in_digits(x, &d, false));
    }
    return LK_OK;
}

lk_status lk_number_fits(struct lk_schema *s, const struct lk_shape *shape,
                         const struct lk_value *v, bool *fits)
{
    struct lk_numbers r;
    struct lk_decimal d;
    bool empty;
    *fits = false;
    lk_status status = lk_schema_range(s, shape, &r, &empty);
    if (status || empty) {
        return status;
    }
    if (!lk_decimal_of(v, &d)) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, lk_shape_loc(shape), NULL,
                              "a number of more than %d digits", LK_DECIMAL_DIGITS);
    }
    int low = r.has_low ? lk_decimal_compare(&d, &r.low) : 1;
    int high = r.has_high ? lk_decimal_compare(&d, &r.high) : -1;
    *fits = (!r.integer || lk_decimal_is_integer(&d)) &&
            (!r.not_integer || !lk_decimal_is_integer(&d)) &&
            (low > 0 || (low == 0 && !r.low_open)) && (high < 0 || (high == 0 && !r.high_open));
    for (uint32_t i = 0; i < r.multiple_of.n; i++) {
        *fits &= is_multiple(v, r.multiple_of.item[i]);
    }
    return LK_OK;
}

/* Integers, also with a fraction of zeros. */
static uint32_t whole_numbers(struct lk_exprs *x)
{
    uint32_t zeros = lk_expr_repeat(x, lk_expr_byte(x, '0'), 1, LK_NO_LIMIT);
    uint32_t fraction = lk_expr_cat(x, lk_expr_byte(x, '.'), zeros);
    return lk_expr_cat(x, unlimited(x, true, false), lk_expr_repeat(x, fraction, 0, 1));
}

/* ---- all numbers of a shape ---- */

lk_status lk_schema_number(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    struct lk_numbers r;
    bool empty, excluded = false;
    *e = LK_EXPR_NONE;
    lk_status status = lk_schema_range(s, shape, &r, &empty);
    if (status || empty) {
        return status;
    }
    for (uint32_t i = 0; i < shape->excluded.n; i++) {
        uint8_t type = shape->excluded.item[i]->type;
        excluded |= type == LK_VALUE_INT || type == LK_VALUE_BIG || type == LK_VALUE_FLOAT;
    }
    bool exponent = !excluded && r.multiple_of.n == 0 && !r.not_integer;
    *e = r.has_low || r.has_high ? within(x, &r) : unlimited(x, r.integer, exponent);
    if (r.not_integer) {
        *e = lk_expr_and(x, *e, lk_expr_not(x, whole_numbers(x)));
    }
    status = multiples(s, shape, e);
    for (uint32_t i = 0; i < shape->excluded.n && excluded && !status; i++) {
        struct lk_decimal d;
        const struct lk_value *v = shape->excluded.item[i];
        if (v->type != LK_VALUE_INT && v->type != LK_VALUE_BIG && v->type != LK_VALUE_FLOAT) {
            continue;
        }
        if (!lk_decimal_of(v, &d)) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, lk_shape_loc(shape), NULL,
                                  "a number of more than %d digits", LK_DECIMAL_DIGITS);
        }
        *e = lk_expr_and(x, *e, lk_expr_not(x, in_digits(x, &d, true)));
    }
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_ops: Python's operators on the values of templates. Whole numbers have 64 bits: what
 * outgrows them is an error, where Python would go on.
 */
#include "text/template/template_run.h"

#include <math.h>

/* What a result may be trusted with: no more than both operands. */
static struct lk_value of_both(struct lk_value v, const struct lk_value *a,
                               const struct lk_value *b)
{
    v.flags = a->flags & b->flags & LK_VALUE_TRUSTED;
    return v;
}

static lk_status no_operator(struct lk_tpl_run *r, const char *op, const struct lk_value *a,
                             const struct lk_value *b)
{
    if (a->type == LK_TPL_UNDEFINED || b->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, a->type == LK_TPL_UNDEFINED ? a : b);
    }
    if (a->type == LK_VALUE_BIG || b->type == LK_VALUE_BIG) {
        return lk_tpl_fail(r, "'%s' with a whole number of more than 64 bits", op);
    }
    return lk_tpl_fail(r, "'%s' does not work on values of types %s and %s", op,
                       lk_tpl_type_name(a), lk_tpl_type_name(b));
}

static lk_status too_large(struct lk_tpl_run *r, const char *op)
{
    return lk_tpl_fail(r, "the result of '%s' is a whole number of more than 64 bits", op);
}

/* ---- numbers ---- */

static int64_t floor_div(int64_t a, int64_t b)
{
    int64_t q = a / b;
    return q - (a % b != 0 && (a < 0) != (b < 0));
}

static lk_status int_power(struct lk_tpl_run *r, int64_t base, int64_t power, struct lk_value *out)
{
    int64_t result = 1;
    if (power < 0) {
        if (base == 0) {
            return lk_tpl_fail(r, "0 to a negative power");
        }
        *out = lk_value_real(pow((double)base, (double)power));
        return LK_OK;
    }
    if (base == 0 || base == 1 || base == -1) {
        result = power == 0 ? 1 : base == -1 ? (power % 2 ? -1 : 1) : base;
        power = 0;
    }
    for (; power > 0; power--) { /* at most 63 times, for then it is too large */
        if (__builtin_mul_overflow(result, base, &result)) {
            return too_large(r, "**");
        }
    }
    *out = lk_value_int(result);
    return LK_OK;
}

static lk_status ints(struct lk_tpl_run *r, enum lk_tpl_op op, int64_t a, int64_t b,
                      struct lk_value *out)
{
    int64_t result = 0;
    bool large = false;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0) {
        return lk_tpl_fail(r, "a division by zero");
    }
    switch (op) {
    case OP_ADD:
        large = __builtin_add_overflow(a, b, &result);
        break;
    case OP_SUB:
        large = __builtin_sub_overflow(a, b, &result);
        break;
    case OP_MUL:
        large = __builtin_mul_overflow(a, b, &result);
        break;
    case OP_DIV:
        *out = lk_value_real((double)((long double)a / (long double)b));
        return LK_OK;
    case OP_FLOORDIV:
        large = a == INT64_MIN && b == -1;
        result = large ? 0 : floor_div(a, b);
        break;
    case OP_MOD:
        result = b == -1 ? 0 : a - floor_div(a, b) * b;
        break;
    default:
        return int_power(r, a, b, out);
    }
    *out = lk_value_int(result);
    return large ? too_large(r, op == OP_ADD   ? "+"
                                : op == OP_SUB ? "-"
                                : op == OP_MUL ? "*"
                                               : "//")
                 : LK_OK;
}

/* Quotient and rest as Python rounds them: the rest has the sign of the divisor. */
static void real_divmod(double a, double b, double *quotient, double *rest)
{
    double m = fmod(a, b), q = (a - m) / b;
    if (m != 0.0) {
        if ((b < 0) != (m < 0)) {
            m += b;
            q -= 1.0;
        }
    } else {
        m = copysign(0.0, b);
    }
    double whole = floor(q);
    *quotient = q == 0.0 ? copysign(0.0, a / b) : q - whole > 0.5 ? whole + 1.0 : whole;
    *rest = m;
}

static lk_status reals(struct lk_tpl_run *r, enum lk_tpl_op op, double a, double b,
                       struct lk_value *out)
{
    double result = 0.0, rest = 0.0;
    if ((op == OP_DIV || op == OP_FLOORDIV || op == OP_MOD) && b == 0.0) {
        return lk_tpl_fail(r, "a division by zero");
    }
    switch (op) {
    case OP_ADD:
        result = a + b;
        break;
    case OP_SUB:
        result = a - b;
        break;
    case OP_MUL:
        result = a * b;
        break;
    case OP_DIV:
        result = a / b;
        break;
    case OP_FLOORDIV:
        real_divmod(a, b, &result, &rest);
        break;
    case OP_MOD:
        real_divmod(a, b, &rest, &result);
        break;
    default:
        result = pow(a, b);
        if ((a == 0.0 && b < 0) || (isfinite(a) && isfinite(b) && !isfinite(result))) {
            return lk_tpl_fail(r, "a power that is no number");
        }
    }
    *out = lk_value_real(result);
    return LK_OK;
}

/* ---- strings and lists ---- */

/* With markup on either side the other one is escaped. */
static lk_status add_texts(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                           struct lk_value *out)
{
    struct lk_value parts[2] = {*a, *b};
    unsigned markup = (a->flags | b->flags) & LK_VALUE_MARKUP;
    lk_status status = LK_OK;
    for (int i = 0; i < 2 && markup && !status; i++) {
        status = lk_tpl_escape_html(r, &parts[i], &parts[i]);
    }
    return status ? status : lk_tpl_concat(r, parts, 2, markup, out);
}

static lk_status add_lists(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                           struct lk_value *out)
{
    size_t n = (size_t)a->n + b->n;
    struct lk_value *items = lk_tpl_alloc(r, n, sizeof *items);
    if (!items) {
        return r->err->status;
    }
    if (a->n) {
        memcpy(items, a->item, a->n * sizeof *items);
    }
    if (b->n) {
        memcpy(items + a->n, b->item, b->n * sizeof *items);
    }
    *out = lk_tpl_list_of(items, n, a->flags & LK_VALUE_TUPLE);
    return lk_tpl_work(r, n / 16);
}

static lk_status repeat_list(struct lk_tpl_run *r, const struct lk_value *a, int64_t times,
                             struct lk_value *out)
{
    if (times <= 0 || a->n == 0) {
        *out = lk_tpl_list_of(NULL, 0, a->flags & LK_VALUE_TUPLE);
        return LK_OK;
    }
    if (times > LK_TPL_MEMORY / a->n) {
        return lk_tpl_fail(r, "a list of more than %d items", LK_TPL_MEMORY);
    }
    struct lk_value *items = lk_tpl_alloc(r, (size_t)times * a->n, sizeof *items);
    if (!items) {
        return r->err->status;
    }
    for (int64_t i = 0; i < times; i++) {
        memcpy(items + i * a->n, a->item, a->n * sizeof *items);
    }
    *out = lk_tpl_list_of(items, (size_t)times * a->n, a->flags & LK_VALUE_TUPLE);
    return lk_tpl_work(r, (size_t)times * a->n / 16 + (size_t)times / 16);
}

/* ---- all of them ---- */

static const char *spelling(enum lk_tpl_op op)
{
    static const char *const names[] = {
        [OP_ADD] = "+",       [OP_SUB] = "-", [OP_MUL] = "*",  [OP_DIV] = "/",
        [OP_FLOORDIV] = "//", [OP_MOD] = "%", [OP_POW] = "**",
    };
    return names[op];
}

lk_status lk_tpl_binary(struct lk_tpl_run *r, enum lk_tpl_op op, const struct lk_value *a,
                        const struct lk_value *b, struct lk_value *out)
{
    int64_t i, k;
    double x, y;
    lk_status status;
    bool a_int = lk_tpl_is_int(a, &i), b_int = lk_tpl_is_int(b, &k);
    if (a_int && b_int) {
        status = ints(r, op, i, k, out);
        *out = of_both(*out, a, b);
        return status;
    }
    bool real = a->type == LK_VALUE_FLOAT || b->type == LK_VALUE_FLOAT;
    if (real && lk_tpl_is_number(a, &x) && lk_tpl_is_number(b, &y)) {
        status = reals(r, op, x, y, out);
        *out = of_both(*out, a, b);
        return status;
    }
    bool a_list = a->type == LK_VALUE_LIST, b_list = b->type == LK_VALUE_LIST;
    if (op == OP_ADD && lk_tpl_is_text(a) && lk_tpl_is_text(b)) {
        return add_texts(r, a, b, out);
    }
    if (op == OP_ADD && a_list && b_list &&
        (a->flags & LK_VALUE_TUPLE) == (b->flags & LK_VALUE_TUPLE)) {
        return add_lists(r, a, b, out);
    }
    if (op == OP_MUL && ((lk_tpl_is_text(a) && b_int) || (a_int && lk_tpl_is_text(b)))) {
        return lk_tpl_repeat(r, b_int ? a : b, b_int ? k : i, out);
    }
    if (op == OP_MUL && ((a_list && b_int) || (a_int && b_list))) {
        return repeat_list(r, b_int ? a : b, b_int ? k : i, out);
    }
    if (op == OP_MOD && lk_tpl_is_text(a)) {
        return lk_tpl_printf(r, a, b, out);
    }
    return no_operator(r, spelling(op), a, b);
}

lk_status lk_tpl_compare(struct lk_tpl_run *r, enum lk_tpl_op op, const struct lk_value *a,
                         const struct lk_value *b, bool *yes)
{
    lk_status status;
    int order;
    *yes = false;
    switch (op) {
    case OP_EQ:
    case OP_NE:
        status = lk_tpl_equal(r, a, b, yes);
        *yes = *yes == (op == OP_EQ);
        return status;
    case OP_IN:
    case OP_NOT_IN:
        status = lk_tpl_contains(r, b, a, yes);
        *yes = *yes == (op == OP_IN);
        return status;
    default:
        break;
    }
    if ((status = lk_tpl_order(r, a, b, &order))) {
        return status;
    }
    *yes = order == 2    ? false
           : op == OP_LT ? order < 0
           : op == OP_LE ? order <= 0
           : op == OP_GT ? order > 0
                         : order >= 0;
    return LK_OK;
}

lk_status lk_tpl_negate(struct lk_tpl_run *r, const struct lk_value *a, bool minus,
                        struct lk_value *out)
{
    int64_t i;
    *out = *a;
    if (lk_tpl_is_int(a, &i)) {
        if (minus && i == INT64_MIN) {
            return too_large(r, "-");
        }
        *out = of_both(lk_value_int(minus ? -i : i), a, a);
        return LK_OK;
    }
    if (a->type == LK_VALUE_FLOAT) {
        *out = of_both(lk_value_real(minus ? -a->real : a->real), a, a);
        return LK_OK;
    }
    if (a->type == LK_VALUE_BIG && !minus) {
        return LK_OK;
    }
    if (a->type == LK_VALUE_BIG) {
        bool negative = a->text[0] == '-';
        char *text = lk_tpl_alloc(r, (size_t)a->n + 1, 1);
        if (!text) {
            return r->err->status;
        }
        text[0] = '-';
        memcpy(text + !negative, a->text + negative, a->n - negative);
        out->text = text;
        out->n = a->n + (negative ? -1u : 1u);
        return LK_OK;
    }
    if (a->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, a);
    }
    return lk_tpl_fail(r, "'%s' does not work on a value of type %s", minus ? "-" : "+",
                       lk_tpl_type_name(a));
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_value: values as Python sees them: truth, length, equality, order, membership.
 */
#include "text/template/template_run.h"

#include <math.h>

#include "text/value/json.h"
#include "text/value/number.h"
#include "text/template/unicode.h"

const struct lk_value lk_tpl_missing = {.type = LK_TPL_MISSING};
const struct lk_value lk_tpl_none = {.type = LK_VALUE_NULL, .flags = LK_VALUE_TRUSTED};

/* ---- what is undefined ---- */

static struct lk_value undefined(enum lk_tpl_undefined kind, int object_type, const char *text,
                                 size_t n)
{
    return (struct lk_value){.type = LK_TPL_UNDEFINED,
                             .flags = LK_VALUE_TRUSTED,
                             .n = (uint32_t)n,
                             .integer = (int64_t)kind | (int64_t)object_type << 8,
                             .text = text};
}

struct lk_value lk_tpl_undefined_name(const struct lk_value *name)
{
    return undefined(UNDEFINED_NAME, 0, name->text, name->n);
}

struct lk_value lk_tpl_undefined_of(const struct lk_value *object, const struct lk_value *name)
{
    bool text = lk_tpl_is_text(name);
    return undefined(UNDEFINED_ATTRIBUTE, object->type, text ? name->text : "?",
                     text ? name->n : 1);
}

struct lk_value lk_tpl_undefined_hint(const char *message)
{
    return undefined(UNDEFINED_HINT, 0, message, strlen(message));
}

lk_status lk_tpl_fail_undefined(struct lk_tpl_run *r, const struct lk_value *v)
{
    int n = v->n < 80 ? (int)v->n : 80;
    struct lk_value object = {.type = (uint8_t)(v->integer >> 8)};
    switch ((enum lk_tpl_undefined)(v->integer & 0xFF)) {
    case UNDEFINED_NAME:
        return lk_tpl_fail(r, "'%.*s' is undefined", n, v->text);
    case UNDEFINED_ATTRIBUTE:
        return lk_tpl_fail(r, "a value of type %s has nothing called '%.*s'",
                           lk_tpl_type_name(&object), n, v->text);
    case UNDEFINED_UNSAFE:
        return lk_tpl_fail(r, "'%.*s' of a value of type %s is out of a template's reach", n,
                           v->text, lk_tpl_type_name(&object));
    case UNDEFINED_HINT:
        break;
    }
    return lk_tpl_fail(r, "%.*s", n, v->text);
}

/* ---- facts ---- */

struct lk_value lk_tpl_object(enum lk_tpl_type type, const void *object)
{
    return (struct lk_value){.type = (uint8_t)type, .flags = LK_VALUE_TRUSTED, .object = object};
}

const char *lk_tpl_type_name(const struct lk_value *v)
{
    static const char *const names[] = {
        [LK_VALUE_NULL] = "None",         [LK_VALUE_BOOL] = "bool",
        [LK_VALUE_INT] = "int",           [LK_VALUE_BIG] = "int",
        [LK_VALUE_FLOAT] = "float",       [LK_VALUE_STRING] = "str",
        [LK_VALUE_LIST] = "list",         [LK_VALUE_DICT] = "dict",
        [LK_TPL_UNDEFINED] = "undefined", [LK_TPL_MISSING] = "undefined",
        [LK_TPL_RANGE] = "range",         [LK_TPL_VIEW] = "dict view",
        [LK_TPL_ITERATOR] = "generator",  [LK_TPL_FUNCTION] = "function",
        [LK_TPL_METHOD] = "method",       [LK_TPL_CALLABLE] = "macro",
        [LK_TPL_NAMESPACE] = "namespace", [LK_TPL_LOOP] = "loop",
        [LK_TPL_CYCLER] = "cycler",       [LK_TPL_JOINER] = "joiner",
        [LK_TPL_SELF] = "self",           [LK_TPL_BLOCK] = "block"};
    return v->type == LK_VALUE_LIST && (v->flags & LK_VALUE_TUPLE) ? "tuple" : names[v->type];
}

bool lk_tpl_truth(const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_NULL:
    case LK_TPL_UNDEFINED:
        return false;
    case LK_VALUE_BOOL:
        return v->boolean;
    case LK_VALUE_INT:
        return v->integer != 0;
    case LK_VALUE_FLOAT:
        return v->real != 0.0;
    case LK_VALUE_STRING:
    case LK_VALUE_LIST:
    case LK_VALUE_DICT:
    case LK_TPL_VIEW:
        return v->n != 0;
    case LK_TPL_RANGE:
        return ((const struct lk_tpl_range *)v->object)->n != 0;
    default:
        return true;
    }
}

lk_status lk_tpl_length(struct lk_tpl_run *r, const struct lk_value *v, int64_t *n)
{
    switch (v->type) {
    case LK_VALUE_STRING:
        *n = (int64_t)lk_char_count(v->text, v->n);
        return lk_tpl_work(r, v->n / LK_TPL_SCAN);
    case LK_VALUE_LIST:
    case LK_VALUE_DICT:
    case LK_TPL_VIEW:
        *n = v->n;
        return LK_OK;
    case LK_TPL_RANGE:
        *n = ((const struct lk_tpl_range *)v->object)->n;
        return LK_OK;
    case LK_TPL_UNDEFINED:
        *n = 0;
        return LK_OK;
    default:
        return lk_tpl_fail(r, "a value of type %s has no length", lk_tpl_type_name(v));
    }
}

bool lk_tpl_is_int(const struct lk_value *v, int64_t *i)
{
    if (v->type == LK_VALUE_INT) {
        *i = v->integer;
        return true;
    }
    *i = v->type == LK_VALUE_BOOL && v->boolean;
    return v->type == LK_VALUE_BOOL;
}

/* The double next to a whole number in text, of LK_JSON_MAX_DIGITS digits at most. */
static double big_to_double(const struct lk_value *v)
{
    char text[LK_JSON_MAX_DIGITS + 2];
    size_t n = v->n < sizeof text ? v->n : sizeof text - 1;
    memcpy(text, v->text, n);
    text[n] = 0;
    return lk_number_parse(text);
}

bool lk_tpl_is_number(const struct lk_value *v, double *d)
{
    int64_t i;
    if (lk_tpl_is_int(v, &i)) {
        *d = (double)i;
    } else if (v->type == LK_VALUE_FLOAT) {
        *d = v->real;
    } else if (v->type == LK_VALUE_BIG) {
        *d = big_to_double(v);
    } else {
        return false;
    }
    return true;
}

static bool is_numeric(const struct lk_value *v)
{
    double d;
    return lk_tpl_is_number(v, &d);
}

/* ---- order and equality ---- */

static int sign(int64_t i)
{
    return (i > 0) - (i < 0);
}

/* A whole number that has no int64_t against one that may have. */
static int order_big(const struct lk_value *a, const struct lk_value *b)
{
    int64_t i;
    bool minus = a->type == LK_VALUE_BIG ? a->text[0] == '-' : false;
    if (b->type != LK_VALUE_BIG) {
        return lk_tpl_is_int(b, &i) ? (minus ? -1 : 1) : 0;
    }
    if (minus != (b->text[0] == '-')) {
        return minus ? -1 : 1;
    }
    int c = a->n != b->n ? (a->n > b->n) - (a->n < b->n) : memcmp(a->text, b->text, a->n);
    return minus ? -sign(c) : sign(c);
}

/* Numbers of all types; *ordered false where one is no number at all (NaN). */
static int order_numbers(const struct lk_value *a, const struct lk_value *b, bool *ordered)
{
    int64_t i, k;
    *ordered = true;
    if (lk_tpl_is_int(a, &i) && lk_tpl_is_int(b, &k)) {
        return (i > k) - (i < k);
    }
    if (a->type != LK_VALUE_FLOAT && b->type != LK_VALUE_FLOAT) {
        return a->type == LK_VALUE_BIG ? order_big(a, b) : -order_big(b, a);
    }
    long double x, y; /* exact for int64_t where a long double has 64 bits of fraction */
    double d = 0.0;
    x = lk_tpl_is_int(a, &i) ? (long double)i : (lk_tpl_is_number(a, &d), d);
    y = lk_tpl_is_int(b, &i) ? (long double)i : (lk_tpl_is_number(b, &d), d);
    *ordered = !isnan(x) && !isnan(y);
    return (x > y) - (x < y);
}

static int order_text(const struct lk_value *a, const struct lk_value *b)
{
    int c = memcmp(a->text, b->text, a->n < b->n ? a->n : b->n);
    return c ? sign(c) : (a->n > b->n) - (a->n < b->n);
}

bool lk_tpl_same(const struct lk_value *a, const struct lk_value *b)
{
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case LK_VALUE_NULL:
        return true;
    case LK_VALUE_BOOL:
        return a->boolean == b->boolean;
    case LK_VALUE_INT:
    case LK_TPL_FUNCTION:
        return a->integer == b->integer;
    case LK_VALUE_FLOAT:
        return false;
    default:
        return a->text == b->text && a->n == b->n;
    }
}

static lk_status equal_lists(struct lk_tpl_run *r, const struct lk_value *a,
                             const struct lk_value *b, bool *equal)
{
    *equal = a->n == b->n && (a->flags & LK_VALUE_TUPLE) == (b->flags & LK_VALUE_TUPLE);
    for (uint32_t i = 0; i < a->n && *equal; i++) {
        lk_status status = lk_tpl_equal(r, &a->item[i], &b->item[i], equal);
        if (status) {
            return status;
        }
    }
    return LK_OK;
}

static lk_status equal_dicts(struct lk_tpl_run *r, const struct lk_value *a,
                             const struct lk_value *b, bool *equal)
{
    *equal = a->n == b->n;
    for (uint32_t i = 0; i < a->n && *equal; i++) {
        const struct lk_value *other;
        lk_status status = lk_tpl_find_key(r, b, &a->member[i].key, &other);
        if (!status) {
            *equal = other != NULL;
            status = other ? lk_tpl_equal(r, &a->member[i].value, other, equal) : LK_OK;
        }
        if (status) {
            return status;
        }
    }
    return LK_OK;
}

static bool equal_ranges(const struct lk_tpl_range *a, const struct lk_tpl_range *b)
{
    return a->n == b->n &&
           (a->n == 0 || (a->start == b->start && (a->n == 1 || a->step == b->step)));
}

lk_status lk_tpl_equal(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                       bool *equal)
{
    lk_status status = lk_tpl_deeper(r);
    *equal = false;
    if (status) {
        return status;
    }
    if (is_numeric(a) && is_numeric(b)) {
        bool ordered;
        *equal = order_numbers(a, b, &ordered) == 0 && ordered;
    } else if (a->type == b->type) {
        switch (a->type) {
        case LK_VALUE_STRING:
            *equal = a->n == b->n && memcmp(a->text, b->text, a->n) == 0;
            status = lk_tpl_work(r, a->n / LK_TPL_COPY);
            break;
        case LK_VALUE_LIST:
            status = equal_lists(r, a, b, equal);
            break;
        case LK_VALUE_DICT:
            status = equal_dicts(r, a, b, equal);
            break;
        case LK_TPL_UNDEFINED:
            *equal = true;
            break;
        case LK_TPL_RANGE:
            *equal = equal_ranges(a->object, b->object);
            break;
        default:
            *equal = lk_tpl_same(a, b);
        }
    }
    r->depth--;
    return status;
}

static lk_status no_order(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b)
{
    if (a->type == LK_TPL_UNDEFINED || b->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, a->type == LK_TPL_UNDEFINED ? a : b);
    }
    return lk_tpl_fail(r, "values of types %s and %s have no order", lk_tpl_type_name(a),
                       lk_tpl_type_name(b));
}

/* The first items that differ decide. */
static lk_status order_lists(struct lk_tpl_run *r, const struct lk_value *a,
                             const struct lk_value *b, int *order)
{
    for (uint32_t i = 0; i < a->n && i < b->n; i++) {
        bool equal;
        lk_status status = lk_tpl_equal(r, &a->item[i], &b->item[i], &equal);
        if (status || !equal) {
            return status ? status : lk_tpl_order(r, &a->item[i], &b->item[i], order);
        }
    }
    *order = (a->n > b->n) - (a->n < b->n);
    return LK_OK;
}

lk_status lk_tpl_order(struct lk_tpl_run *r, const struct lk_value *a, const struct lk_value *b,
                       int *order)
{
    bool ordered = true;
    lk_status status = lk_tpl_deeper(r);
    *order = 0;
    if (status) {
        return status;
    }
    if (is_numeric(a) && is_numeric(b)) {
        *order = order_numbers(a, b, &ordered);
        *order = ordered ? *order : 2; /* NaN: neither less nor equal nor greater */
    } else if (lk_tpl_is_text(a) && lk_tpl_is_text(b)) {
        *order = order_text(a, b);
    } else if (lk_tpl_is(a, LK_VALUE_LIST) && lk_tpl_is(b, LK_VALUE_LIST) &&
               (a->flags & LK_VALUE_TUPLE) == (b->flags & LK_VALUE_TUPLE)) {
        status = order_lists(r, a, b, order);
    } else {
        status = no_order(r, a, b);
    }
    r->depth--;
    return status;
}

/* ---- membership ---- */

bool lk_tpl_hashable(const struct lk_value *v)
{
    if (v->type == LK_VALUE_LIST && (v->flags & LK_VALUE_TUPLE)) {
        for (uint32_t i = 0; i < v->n; i++) {
            if (!lk_tpl_hashable(&v->item[i])) {
                return false;
            }
        }
        return true;
    }
    return v->type != LK_VALUE_LIST && v->type != LK_VALUE_DICT;
}

lk_status lk_tpl_find_key(struct lk_tpl_run *r, const struct lk_value *dict,
                          const struct lk_value *key, const struct lk_value **found)
{
    *found = NULL;
    if (lk_tpl_is_text(key)) {
        *found = lk_value_find(dict, key->text, key->n);
        return dict->order ? LK_OK : lk_tpl_work(r, dict->n / 16);
    }
    if (!lk_tpl_hashable(key)) {
        return lk_tpl_fail(r, "a value of type %s can't be a key", lk_tpl_type_name(key));
    }
    for (uint32_t i = 0; i < dict->n && !*found && !dict->order; i++) {
        bool equal;
        lk_status status = lk_tpl_equal(r, &dict->member[i].key, key, &equal);
        if (status) {
            return status;
        }
        *found = equal ? &dict->member[i].value : NULL;
    }
    return LK_OK;
}

static lk_status text_contains(struct lk_tpl_run *r, const struct lk_value *text,
                               const struct lk_value *item, bool *yes)
{
    if (item->type == LK_TPL_UNDEFINED) {
        return lk_tpl_fail_undefined(r, item);
    }
    if (!lk_tpl_is_text(item)) {
        return lk_tpl_fail(r, "found a value of type %s, expected a string to look for in a string",
                           lk_tpl_type_name(item));
    }
    *yes = memmem(text->text, text->n, item->text, item->n) != NULL;
    return lk_tpl_work(r, text->n / LK_TPL_SCAN);
}

static lk_status range_contains(const struct lk_tpl_range *range, const struct lk_value *item,
                                bool *yes)
{
    int64_t i;
    double d;
    if (lk_tpl_is_number(item, &d) && !lk_tpl_is_int(item, &i)) {
        i = fabs(d) < 1e18 ? (int64_t)d : 0;
        *yes = (double)i == d;
    } else {
        *yes = lk_tpl_is_int(item, &i);
    }
    int64_t last = range->start + range->step * ((int64_t)range->n - 1);
    int64_t low = range->step > 0 ? range->start : last,
            high = range->step > 0 ? last : range->start;
    *yes = *yes && range->n && i >= low && i <= high && (i - range->start) % range->step == 0;
    return LK_OK;
}

lk_status lk_tpl_contains(struct lk_tpl_run *r, const struct lk_value *container,
                          const struct lk_value *item, bool *yes)
{
    const struct lk_value *found;
    struct lk_tpl_iter iter;
    lk_status status;
    *yes = false;
    switch (container->type) {
    case LK_VALUE_STRING:
        return text_contains(r, container, item, yes);
    case LK_VALUE_DICT:
        status = lk_tpl_find_key(r, container, item, &found);
        *yes = found != NULL;
        return status;
    case LK_TPL_RANGE:
        return range_contains(container->object, item, yes);
    default:
        break;
    }
    if (!lk_tpl_iterable(container)) {
        return lk_tpl_fail(r, "found a value of type %s, expected one to look for something in",
                           lk_tpl_type_name(container));
    }
    status = lk_tpl_iterate(r, container, &iter);
    while (!status && !*yes) {
        struct lk_value one;
        bool more;
        if ((status = lk_tpl_take(r, &iter, &one, &more)) || !more) {
            break;
        }
        *yes = lk_tpl_same(&one, item);
        status = *yes ? LK_OK : lk_tpl_equal(r, &one, item, yes);
    }
    return status;
}

/* ---- lists and dicts ---- */

struct lk_value lk_tpl_list_of(const struct lk_value *items, size_t n, unsigned flags)
{
    return (struct lk_value){.type = LK_VALUE_LIST,
                             .flags = (uint8_t)(flags | LK_VALUE_TRUSTED),
                             .n = (uint32_t)n,
                             .item = items};
}

lk_status lk_tpl_make_list(struct lk_tpl_run *r, const struct lk_value *items, size_t n,
                           unsigned flags, struct lk_value *out)
{
    struct lk_value *copy = n ? lk_tpl_alloc(r, n, sizeof *copy) : NULL;
    if (n && !copy) {
        return r->err->status;
    }
    if (n) {
        memcpy(copy, items, n * sizeof *copy);
    }
    *out = lk_tpl_list_of(copy, n, flags);
    return lk_tpl_work(r, n / 16);
}

/* Keys of several types: each is compared with all before it. */
static lk_status merge_mixed(struct lk_tpl_run *r, struct lk_member *m, size_t *n)
{
    size_t kept = 0;
    for (size_t i = 0; i < *n; i++) {
        struct lk_value before = {.type = LK_VALUE_DICT, .n = (uint32_t)kept, .member = m};
        const struct lk_value *found;
        lk_status status = lk_tpl_find_key(r, &before, &m[i].key, &found);
        if (status) {
            return status;
        }
        if (found) {
            m[((const char *)found - (const char *)m) / sizeof *m].value = m[i].value;
        } else {
            m[kept++] = m[i];
        }
    }
    *n = kept;
    return LK_OK;
}

lk_status lk_tpl_make_dict(struct lk_tpl_run *r, struct lk_member *members, size_t n,
                           struct lk_value *out)
{
    bool all_text = true;
    for (size_t i = 0; i < n; i++) {
        all_text &= lk_tpl_is_text(&members[i].key);
    }
    lk_status status;
    if (all_text) {
        status = lk_value_dict(&r->region, members, n, "dict", out, r->err);
        if (status) {
            return lk_tpl_full(r);
        }
    } else {
        if ((status = merge_mixed(r, members, &n))) {
            return status;
        }
        *out = (struct lk_value){.type = LK_VALUE_DICT, .n = (uint32_t)n, .member = members};
    }
    out->flags = LK_VALUE_TRUSTED;
    return lk_tpl_work(r, n / 4);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_shape: the keywords of a branch put together by type of value: of all lower limits the
 * highest counts, and so on. A negated keyword says the type that it looks at and the contrary.
 */
#include "text/grammar/schema.h"

#include <stdio.h>

#define NO_MOST UINT64_MAX

struct shaping {
    struct lk_schema *s;
    struct lk_shape *shape;
    uint32_t loc;             /* of the schema */
    const char *word;         /* the keyword */
    const struct lk_value *v; /* its value */
    uint32_t sub;             /* NOT_KEY: which of its items */
};

static lk_status wrong(const struct shaping *w, const char *expected)
{
    return lk_schema_fail(w->s, LK_E_FORMAT, w->loc, w->word, "expected %s", expected);
}

static lk_status refused(const struct shaping *w)
{
    return lk_schema_fail(w->s, LK_E_UNSUPPORTED, w->loc, w->word,
                          "not supported inside of 'not', 'if' or 'oneOf'");
}

/* ---- equality ---- */

static bool is_number(const struct lk_value *v)
{
    return v->type == LK_VALUE_INT || v->type == LK_VALUE_BIG || v->type == LK_VALUE_FLOAT;
}

static bool equal_numbers(const struct lk_value *a, const struct lk_value *b)
{
    struct lk_decimal p, q;
    if (lk_decimal_of(a, &p) && lk_decimal_of(b, &q)) {
        return lk_decimal_compare(&p, &q) == 0;
    }
    return a->n == b->n && a->n && memcmp(a->text, b->text, a->n) == 0;
}

/* Recursion as deep as the text, which its reader bounds. */
bool lk_value_equals(const struct lk_value *a, const struct lk_value *b)
{
    if (is_number(a) || is_number(b)) {
        return is_number(a) && is_number(b) && equal_numbers(a, b);
    }
    if (a->type != b->type) {
        return false;
    }
    switch (a->type) {
    case LK_VALUE_BOOL:
        return a->boolean == b->boolean;
    case LK_VALUE_STRING:
        return a->n == b->n && (a->n == 0 || memcmp(a->text, b->text, a->n) == 0);
    case LK_VALUE_LIST:
        for (uint32_t i = 0; i < a->n && a->n == b->n; i++) {
            if (!lk_value_equals(&a->item[i], &b->item[i])) {
                return false;
            }
        }
        return a->n == b->n;
    case LK_VALUE_DICT:
        for (uint32_t i = 0; i < a->n && a->n == b->n; i++) {
            const struct lk_value *key = &a->member[i].key;
            const struct lk_value *other = lk_value_find(b, key->text, key->n);
            if (!other || !lk_value_equals(&a->member[i].value, other)) {
                return false;
            }
        }
        return a->n == b->n;
    default:
        return true;
    }
}

/* ---- values of keywords ---- */

static lk_status count(const struct shaping *w, uint64_t *n)
{
    struct lk_decimal d;
    struct lk_decimal_text t;
    *n = 0;
    if (!is_number(w->v) || !lk_decimal_of(w->v, &d) || d.negative || !lk_decimal_is_integer(&d)) {
        return wrong(w, "a whole number, 0 or more");
    }
    lk_decimal_split(&d, &t);
    for (size_t i = 0; i < t.n_whole; i++) {
        *n = *n > (uint64_t)1 << 60 ? (uint64_t)1 << 60 : *n * 10 + (uint64_t)(t.whole[i] - '0');
    }
    return LK_OK;
}

static lk_status decimal(const struct shaping *w, struct lk_decimal *d)
{
    if (!is_number(w->v)) {
        return wrong(w, "a number");
    }
    if (!lk_decimal_of(w->v, d)) {
        return lk_schema_fail(w->s, LK_E_UNSUPPORTED, w->loc, w->word,
                              "a number of more than %d digits", LK_DECIMAL_DIGITS);
    }
    return LK_OK;
}

/* ---- types and values ---- */

static const struct {
    const char *name;
    unsigned types;
} TYPES[] = {{"null", LK_JSON_NULL},     {"boolean", LK_JSON_FALSE | LK_JSON_TRUE},
             {"number", LK_JSON_NUMBER}, {"string", LK_JSON_STRING},
             {"array", LK_JSON_ARRAY},   {"object", LK_JSON_OBJECT}};

/* The types of a `type`; *integer: of numbers the integers alone. */
static lk_status read_types(const struct shaping *w, unsigned *types, bool *integer)
{
    const struct lk_value *v = w->v;
    bool any_integer = false;
    *types = 0;
    *integer = false;
    if (v->type != LK_VALUE_STRING && (v->type != LK_VALUE_LIST || v->n == 0)) {
        return wrong(w, "a type or a list of types");
    }
    for (uint32_t i = 0; i < (v->type == LK_VALUE_LIST ? v->n : 1); i++) {
        const struct lk_value *name = v->type == LK_VALUE_LIST ? &v->item[i] : v;
        unsigned found = lk_value_is(name, "integer") ? LK_JSON_NUMBER : 0;
        any_integer |= found != 0;
        for (size_t k = 0; k < LK_COUNT(TYPES); k++) {
            found |= lk_value_is(name, TYPES[k].name) ? TYPES[k].types : 0;
        }
        *integer |= found == LK_JSON_NUMBER && lk_value_is(name, "number");
        if (!found) {
            return wrong(w, "null, boolean, integer, number, string, array or object");
        }
        *types |= found;
    }
    *integer = any_integer && !*integer; /* *integer was: "number" is there too */
    return LK_OK;
}

static lk_status is_type(struct shaping *w)
{
    unsigned types;
    bool integer;
    lk_status status = read_types(w, &types, &integer);
    if (!status) {
        w->shape->types &= types;
        w->shape->number.integer |= integer && (types & LK_JSON_NUMBER);
    }
    return status;
}

static lk_status not_type(struct shaping *w)
{
    unsigned types;
    bool integer;
    lk_status status = read_types(w, &types, &integer);
    if (!status) {
        w->shape->types &= ~(integer ? types & ~(unsigned)LK_JSON_NUMBER : types);
        w->shape->number.not_integer |= integer;
    }
    return status;
}

static lk_status is_enum(struct shaping *w)
{
    if (w->v->type != LK_VALUE_LIST) {
        return wrong(w, "a list of values");
    }
    return lk_values_add(w->s, &w->shape->enums, w->v);
}

static lk_status is_const(struct shaping *w)
{
    struct lk_value *list = lk_region_alloc(&w->s->region, sizeof *list);
    if (!list) {
        return lk_schema_no_memory(w->s);
    }
    *list = (struct lk_value){.type = LK_VALUE_LIST, .n = 1, .item = w->v};
    return lk_values_add(w->s, &w->shape->enums, list);
}

static lk_status not_enum(struct shaping *w)
{
    lk_status status = w->v->type == LK_VALUE_LIST ? LK_OK : wrong(w, "a list of values");
    for (uint32_t i = 0; i < w->v->n && !status; i++) {
        status = lk_values_add(w->s, &w->shape->excluded, &w->v->item[i]);
    }
    return status;
}

static lk_status not_const(struct shaping *w)
{
    return lk_values_add(w->s, &w->shape->excluded, w->v);
}

/* ---- numbers ---- */

static lk_status set_low(struct shaping *w, bool open)
{
    struct lk_numbers *n = &w->shape->number;
    struct lk_decimal d;
    lk_status status = decimal(w, &d);
    if (!status) {
        int c = n->has_low ? lk_decimal_compare(&d, &n->low) : 1;
        n->low_open = c > 0 ? open : c == 0 ? n->low_open || open : n->low_open;
        n->low = c > 0 ? d : n->low;
        n->has_low = true;
    }
    return status;
}

static lk_status set_high(struct shaping *w, bool open)
{
    struct lk_numbers *n = &w->shape->number;
    struct lk_decimal d;
    lk_status status = decimal(w, &d);
    if (!status) {
        int c = n->has_high ? lk_decimal_compare(&d, &n->high) : -1;
        n->high_open = c < 0 ? open : c == 0 ? n->high_open || open : n->high_open;
        n->high = c < 0 ? d : n->high;
        n->has_high = true;
    }
    return status;
}

static lk_status is_minimum(struct shaping *w)
{
    return set_low(w, strcmp(w->word, "exclusiveMinimum") == 0);
}

static lk_status is_maximum(struct shaping *w)
{
    return set_high(w, strcmp(w->word, "exclusiveMaximum") == 0);
}

static lk_status not_minimum(struct shaping *w)
{
    w->shape->types &= LK_JSON_NUMBER;
    return set_high(w, strcmp(w->word, "minimum") == 0);
}

static lk_status not_maximum(struct shaping *w)
{
    w->shape->types &= LK_JSON_NUMBER;
    return set_low(w, strcmp(w->word, "maximum") == 0);
}

static lk_status is_multiple_of(struct shaping *w)
{
    struct lk_decimal d;
    lk_status status = decimal(w, &d);
    if (!status && (d.negative || d.n == 0)) {
        return wrong(w, "a number above 0");
    }
    return status ? status : lk_values_add(w->s, &w->shape->number.multiple_of, w->v);
}

/* ---- limits of length ---- */

/* Where the least and most of a keyword's kind are, and the type that it looks at. */
static uint64_t *limit_of(const struct shaping *w, bool most, unsigned *type)
{
    struct lk_shape *p = w->shape;
    const char *what = w->word + 3; /* behind min or max */
    if (strcmp(what, "Length") == 0) {
        *type = LK_JSON_STRING;
        return most ? &p->string.max : &p->string.min;
    }
    if (strcmp(what, "Items") == 0) {
        *type = LK_JSON_ARRAY;
        return most ? &p->max_items : &p->min_items;
    }
    *type = LK_JSON_OBJECT;
    return most ? &p->max_properties : &p->min_properties;
}

static void set_limit(uint64_t *limit, uint64_t n, bool most)
{
    *limit = most ? (n < *limit ? n : *limit) : (n > *limit ? n : *limit);
}

static lk_status is_limit(struct shaping *w)
{
    uint64_t n;
    unsigned type;
    bool most = w->word[1] == 'a';
    lk_status status = count(w, &n);
    if (!status) {
        set_limit(limit_of(w, most, &type), n, most);
        w->shape->min_loc = strcmp(w->word, "minProperties") == 0 ? w->loc : w->shape->min_loc;
    }
    return status;
}

/* Not at least n: at most n - 1. Not at most n: at least n + 1. */
static lk_status not_limit(struct shaping *w)
{
    uint64_t n;
    unsigned type;
    bool most = w->word[1] == 'a';
    lk_status status = count(w, &n);
    if (status) {
        return status;
    }
    uint64_t *limit = limit_of(w, !most, &type);
    w->shape->types &= !most && n == 0 ? 0 : type;
    w->shape->min_loc = w->loc;
    set_limit(limit, most ? n + 1 : n ? n - 1 : 0, !most);
    return LK_OK;
}

/* ---- strings ---- */

static lk_status add_place(struct shaping *w, struct lk_terms *places)
{
    uint32_t loc;
    if (w->v->type != LK_VALUE_STRING) {
        return wrong(w, "a string");
    }
    lk_status status = lk_schema_child(w->s, w->loc, w->word, &loc);
    return status ? status : lk_terms_add(w->s, places, (struct lk_term){.loc = loc});
}

static lk_status is_pattern(struct shaping *w)
{
    return add_place(w, &w->shape->string.pattern);
}

static lk_status not_pattern(struct shaping *w)
{
    w->shape->types &= LK_JSON_STRING;
    return add_place(w, &w->shape->string.not_pattern);
}

/* Formats of integers, as OpenAPI has them, are limits. */
static lk_status is_format(struct shaping *w)
{
    const char *low, *high;
    if (w->v->type == LK_VALUE_STRING && lk_format_of_numbers(w->v, &low, &high)) {
        struct shaping end = *w;
        struct lk_value v = {.type = LK_VALUE_BIG};
        lk_status status = LK_OK;
        end.v = &v;
        if (low) {
            v.text = low;
            v.n = (uint32_t)strlen(low);
            status = set_low(&end, false);
            v.text = high;
            v.n = (uint32_t)strlen(high);
            status = status ? status : set_high(&end, false);
        }
        return status;
    }
    return add_place(w, &w->shape->string.format);
}

/* ---- arrays and objects ---- */

static lk_status of_array(struct shaping *w)
{
    return lk_terms_add(w->s, &w->shape->arrays,
                        (struct lk_term){.loc = w->loc, .mode = LK_TERM_BASE});
}

static lk_status is_unique(struct shaping *w)
{
    if (w->v->type != LK_VALUE_BOOL) {
        return wrong(w, "true or false");
    }
    w->shape->unique |= w->v->boolean;
    w->shape->unique_loc = w->v->boolean ? w->loc : w->shape->unique_loc;
    return LK_OK;
}

static lk_status of_object(struct shaping *w)
{
    bool dict = strcmp(w->word, "properties") == 0 || strcmp(w->word, "patternProperties") == 0;
    if (dict && w->v->type != LK_VALUE_DICT) {
        return wrong(w, "an object of schemas");
    }
    return lk_terms_add(w->s, &w->shape->objects,
                        (struct lk_term){.loc = w->loc, .mode = LK_TERM_BASE});
}

static bool is_in(const struct lk_values *values, const struct lk_value *v)
{
    for (uint32_t i = 0; i < values->n; i++) {
        if (lk_value_equals(values->item[i], v)) {
            return true;
        }
    }
    return false;
}

static lk_status is_required(struct shaping *w)
{
    lk_status status = w->v->type == LK_VALUE_LIST ? LK_OK : wrong(w, "a list of names");
    for (uint32_t i = 0; i < w->v->n && !status; i++) {
        if (w->v->item[i].type != LK_VALUE_STRING) {
            return wrong(w, "a list of names");
        }
        if (!is_in(&w->shape->required, &w->v->item[i])) {
            status = lk_values_add(w->s, &w->shape->required, &w->v->item[i]);
        }
    }
    return status;
}

static lk_status add_extra(struct shaping *w, struct lk_extra extra)
{
    struct lk_shape *p = w->shape;
    p->types &= LK_JSON_OBJECT;
    if (p->n_extras == p->extras_cap) {
        uint32_t cap = p->extras_cap ? p->extras_cap * 2 : 4;
        struct lk_extra *more = lk_region_array(&w->s->region, cap, sizeof *more);
        if (!more) {
            return lk_schema_no_memory(w->s);
        }
        if (p->n_extras) {
            memcpy(more, p->extra, p->n_extras * sizeof *more);
        }
        p->extra = more;
        p->extras_cap = cap;
    }
    p->extra[p->n_extras++] = extra;
    return LK_OK;
}

static lk_status not_required(struct shaping *w)
{
    if (w->v->type != LK_VALUE_LIST || w->v->item[w->sub].type != LK_VALUE_STRING) {
        return wrong(w, "a list of names");
    }
    return add_extra(w, (struct lk_extra){.name = &w->v->item[w->sub], .forbidden = true});
}

static lk_status not_properties(struct shaping *w)
{
    uint32_t loc;
    if (w->v->type != LK_VALUE_DICT) {
        return wrong(w, "an object of schemas");
    }
    const struct lk_value *name = &w->v->member[w->sub].key;
    lk_status status = lk_schema_member(w->s, w->loc, "properties", name, &loc);
    return status ? status
                  : add_extra(w, (struct lk_extra){.name = name,
                                                   .term = {.loc = loc, .mode = LK_TERM_NOT},
                                                   .required = true});
}

/* ---- all keywords ---- */

static const struct {
    const char *word;
    lk_status (*is)(struct shaping *w);
    lk_status (*is_not)(struct shaping *w); /* NULL: refused */
} KEYWORDS[] = {{"type", is_type, not_type},
                {"enum", is_enum, not_enum},
                {"const", is_const, not_const},
                {"minimum", is_minimum, not_minimum},
                {"exclusiveMinimum", is_minimum, not_minimum},
                {"maximum", is_maximum, not_maximum},
                {"exclusiveMaximum", is_maximum, not_maximum},
                {"multipleOf", is_multiple_of, NULL},
                {"minLength", is_limit, not_limit},
                {"maxLength", is_limit, not_limit},
                {"minItems", is_limit, not_limit},
                {"maxItems", is_limit, not_limit},
                {"minProperties", is_limit, not_limit},
                {"maxProperties", is_limit, not_limit},
                {"pattern", is_pattern, not_pattern},
                {"format", is_format, NULL},
                {"items", of_array, NULL},
                {"prefixItems", of_array, NULL},
                {"additionalItems", of_array, NULL},
                {"uniqueItems", is_unique, NULL},
                {"properties", of_object, not_properties},
                {"patternProperties", of_object, NULL},
                {"additionalProperties", of_object, NULL},
                {"propertyNames", of_object, NULL},
                {"required", is_required, not_required}};

static lk_status shape_keyword(struct shaping *w, const struct lk_member *m, bool negated)
{
    for (size_t i = 0; i < LK_COUNT(KEYWORDS); i++) {
        if (lk_value_is(&m->key, KEYWORDS[i].word)) {
            w->word = KEYWORDS[i].word;
            w->v = &m->value;
            lk_status (*fn)(struct shaping *) = negated ? KEYWORDS[i].is_not : KEYWORDS[i].is;
            return fn ? fn(w) : refused(w);
        }
    }
    return LK_OK;
}

lk_status lk_schema_shape(struct lk_schema *s, const struct lk_branch *branch, struct lk_shape *out)
{
    *out = (struct lk_shape){.branch = branch,
                             .types = LK_JSON_ALL,
                             .string = {.max = NO_MOST},
                             .max_items = NO_MOST,
                             .max_properties = NO_MOST};
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < branch->terms.n && !status; i++) {
        const struct lk_term *t = &branch->terms.term[i];
        struct shaping w = {.s = s, .shape = out, .loc = t->loc, .sub = t->sub};
        const struct lk_value *v = s->loc[t->loc].v;
        if (t->mode == LK_TERM_NOT_KEY) {
            status = shape_keyword(&w, &v->member[t->key], true);
            continue;
        }
        for (uint32_t k = 0; k < v->n && !status; k++) {
            status = shape_keyword(&w, &v->member[k], false);
        }
    }
    return status;
}

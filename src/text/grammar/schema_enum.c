/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_enum: values that are listed, each written out. Those that other keywords rule out are
 * left out. Whether a listed array or object fits keywords of its type is not asked: that is
 * refused.
 */
#include "text/grammar/schema.h"

unsigned lk_schema_type_of(const struct lk_value *v)
{
    switch (v->type) {
    case LK_VALUE_NULL:
        return LK_JSON_NULL;
    case LK_VALUE_BOOL:
        return v->boolean ? LK_JSON_TRUE : LK_JSON_FALSE;
    case LK_VALUE_STRING:
        return LK_JSON_STRING;
    case LK_VALUE_LIST:
        return LK_JSON_ARRAY;
    case LK_VALUE_DICT:
        return LK_JSON_OBJECT;
    default:
        return LK_JSON_NUMBER;
    }
}

static bool in_list(const struct lk_value *list, const struct lk_value *v)
{
    for (uint32_t i = 0; i < list->n; i++) {
        if (lk_value_equals(&list->item[i], v)) {
            return true;
        }
    }
    return false;
}

/* Keywords of arrays, or of objects, in a shape. */
static bool has_keywords(const struct lk_shape *p, unsigned type)
{
    return type == LK_JSON_ARRAY
               ? p->arrays.n || p->min_items || p->max_items != UINT64_MAX || p->unique
               : p->objects.n || p->required.n || p->n_extras || p->min_properties ||
                     p->max_properties != UINT64_MAX;
}

static lk_status fits(struct lk_schema *s, const struct lk_shape *p, const struct lk_value *v,
                      bool *yes)
{
    unsigned type = lk_schema_type_of(v);
    *yes = (p->types & type) != 0;
    for (uint32_t i = 1; i < p->enums.n && *yes; i++) {
        *yes = in_list(p->enums.item[i], v);
    }
    for (uint32_t i = 0; i < p->excluded.n && *yes; i++) {
        *yes = !lk_value_equals(p->excluded.item[i], v);
    }
    if (!*yes) {
        return LK_OK;
    }
    if (type == LK_JSON_NUMBER) {
        return lk_number_fits(s, p, v, yes);
    }
    if ((type == LK_JSON_ARRAY || type == LK_JSON_OBJECT) && has_keywords(p, type)) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, lk_shape_loc(p), NULL,
                              "listed arrays or objects together with keywords for them are not "
                              "supported");
    }
    return LK_OK;
}

/* A value, written out; recursion as deep as the text. */
static lk_status literal(struct lk_schema *s, const struct lk_value *v, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    struct lk_values one = {.item = &v, .n = 1};
    lk_status status = LK_OK;
    bool dict = v->type == LK_VALUE_DICT;
    switch (v->type) {
    case LK_VALUE_NULL:
        *e = lk_expr_literal(x, "null", 4);
        return LK_OK;
    case LK_VALUE_BOOL:
        *e = v->boolean ? lk_expr_literal(x, "true", 4) : lk_expr_literal(x, "false", 5);
        return LK_OK;
    case LK_VALUE_STRING:
        status = lk_schema_strings(s, &one, LK_SPELL_JSON, e);
        *e = lk_schema_quote(s, *e);
        return status;
    case LK_VALUE_LIST:
    case LK_VALUE_DICT:
        *e = lk_expr_cat(x, s->ws, lk_expr_byte(x, dict ? '}' : ']'));
        for (uint32_t i = v->n; i-- > 0 && !status;) {
            uint32_t item, key = LK_EXPR_EMPTY;
            status = literal(s, dict ? &v->member[i].value : &v->item[i], &item);
            if (!status && dict) {
                status = literal(s, &v->member[i].key, &key);
                key = lk_expr_cat(x, key, s->key_sep);
            }
            *e = lk_expr_cat(x, item, *e);
            *e = lk_expr_cat(x, i ? s->item_sep : s->ws, lk_expr_cat(x, key, *e));
        }
        *e = lk_expr_cat(x, lk_expr_byte(x, dict ? '{' : '['), *e);
        return status;
    default:
        return lk_schema_number_text(s, v, e);
    }
}

lk_status lk_schema_enum_values(struct lk_schema *s, const struct lk_shape *shape,
                                struct lk_values *out)
{
    const struct lk_value *list = shape->enums.item[0];
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < list->n && !status; i++) {
        bool yes;
        status = fits(s, shape, &list->item[i], &yes);
        if (!status && yes) {
            status = lk_values_add(s, out, &list->item[i]);
        }
    }
    return status;
}

/* Strings of `values` that fit the shape's keywords for strings. */
static lk_status content_of(struct lk_schema *s, const struct lk_shape *shape,
                            const struct lk_values *values, uint32_t *e)
{
    const struct lk_strings *p = &shape->string;
    bool plain =
        !p->pattern.n && !p->format.n && !p->not_pattern.n && p->min == 0 && p->max == UINT64_MAX;
    uint32_t content = LK_EXPR_NONE;
    lk_status status = lk_schema_strings(s, values, LK_SPELL_JSON, e);
    if (!status && !plain && *e != LK_EXPR_NONE) {
        status = lk_schema_content(s, shape, &content);
        *e = lk_expr_and(s->x, *e, content);
    }
    return status;
}

lk_status lk_schema_enum_content(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_values values = {0};
    lk_status status = lk_schema_enum_values(s, shape, &values);
    return status ? status : content_of(s, shape, &values, e);
}

lk_status lk_schema_enum(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    struct lk_values values = {0};
    size_t from = lk_expr_list(x);
    uint32_t one = LK_EXPR_NONE;
    lk_status status = lk_schema_enum_values(s, shape, &values);
    for (uint32_t i = 0; i < values.n && !status; i++) {
        if (values.item[i]->type != LK_VALUE_STRING) {
            status = literal(s, values.item[i], &one);
            lk_expr_push(x, one);
        }
    }
    status = status ? status : content_of(s, shape, &values, &one);
    lk_expr_push(x, lk_schema_quote(s, one));
    *e = lk_expr_alt_of(x, from);
    return status;
}

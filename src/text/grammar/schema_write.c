/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_write: the branches of a set of terms as one expression, type by type; arrays.
 */
#include "text/grammar/schema.h"

/* ---- arrays ---- */

/* The list of prefixItems of a schema, or of items in draft 7's form; NULL: there is none. */
static const struct lk_value *prefix_of(const struct lk_schema *s, uint32_t loc, const char **word)
{
    const struct lk_value *v = lk_value_get(s->loc[loc].v, "prefixItems");
    *word = "prefixItems";
    if (!v) {
        v = lk_value_get(s->loc[loc].v, "items");
        *word = "items";
    }
    return v && v->type == LK_VALUE_LIST ? v : NULL;
}

lk_status lk_schema_item_terms(struct lk_schema *s, const struct lk_shape *shape, uint32_t i,
                               struct lk_terms *out)
{
    lk_status status = LK_OK;
    for (uint32_t k = 0; k < shape->arrays.n && !status; k++) {
        uint32_t loc = shape->arrays.term[k].loc, child;
        const char *word;
        const struct lk_value *prefix = prefix_of(s, loc, &word);
        if (prefix && i < prefix->n) {
            status = lk_schema_item(s, loc, word, i, &child);
        } else {
            word = prefix && strcmp(word, "items") == 0 ? "additionalItems" : "items";
            if (!lk_value_get(s->loc[loc].v, word)) {
                continue;
            }
            status = lk_schema_child(s, loc, word, &child);
        }
        if (!status) {
            status = lk_terms_add(s, out, (struct lk_term){.loc = child, .mode = LK_TERM_IS});
        }
    }
    return status;
}

static lk_status item_rule(struct lk_schema *s, const struct lk_shape *shape, uint32_t i,
                           uint32_t *e)
{
    struct lk_terms terms = {0};
    lk_status status = lk_schema_item_terms(s, shape, i, &terms);
    return status ? status : lk_schema_rule(s, &terms, e);
}

/* Items from number i on, behind others; *e is those behind the prefixes and becomes all. */
static lk_status prefix_items(struct lk_schema *s, const struct lk_shape *shape, uint32_t n,
                              uint32_t *e)
{
    struct lk_exprs *x = s->x;
    for (uint32_t i = n; i-- > 0;) {
        uint32_t item = LK_EXPR_NONE;
        lk_status status = item_rule(s, shape, i, &item);
        if (status) {
            return status;
        }
        *e = lk_expr_cat(x, i ? lk_expr_cat(x, s->item_sep, item) : item, *e);
        if (i >= shape->min_items) {
            *e = lk_expr_repeat(x, *e, 0, 1);
        }
    }
    return LK_OK;
}

static uint32_t cap_of(uint64_t n)
{
    enum { MOST = 1000000000 };
    return n > MOST ? LK_NO_LIMIT : (uint32_t)n;
}

lk_status lk_schema_array(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    uint32_t n = 0, loc = lk_shape_loc(shape);
    uint64_t min = shape->min_items, max = shape->max_items;
    *e = LK_EXPR_NONE;
    if (min > max) {
        return LK_OK;
    }
    if (shape->unique && max > 1) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, shape->unique_loc, "uniqueItems",
                              "not supported");
    }
    if (min > 1000000000) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, "minItems", "above 1000000000");
    }
    for (uint32_t k = 0; k < shape->arrays.n; k++) {
        const char *word;
        const struct lk_value *prefix = prefix_of(s, shape->arrays.term[k].loc, &word);
        n = prefix && prefix->n > n ? prefix->n : n;
    }
    n = n > max ? (uint32_t)max : n;
    uint32_t items = LK_EXPR_EMPTY, more;
    lk_status status = LK_OK;
    if (max > n) { /* those behind the prefixes */
        uint64_t least = min > n ? min - n : 0;
        status = item_rule(s, shape, UINT32_MAX, &more);
        if (!status && n) {
            items = lk_expr_repeat(x, lk_expr_cat(x, s->item_sep, more), (uint32_t)least,
                                   cap_of(max - n));
        } else if (!status) {
            uint32_t rest = lk_expr_cat(x, s->item_sep, more);
            rest = lk_expr_repeat(x, rest, least ? (uint32_t)least - 1 : 0, cap_of(max - 1));
            items = lk_expr_cat(x, more, rest);
            items = least ? items : lk_expr_repeat(x, items, 0, 1);
        }
    }
    status = status ? status : prefix_items(s, shape, n, &items);
    items = lk_expr_cat(x, s->ws, lk_expr_cat(x, items, s->ws));
    *e = lk_expr_cat(x, lk_expr_byte(x, '['), lk_expr_cat(x, items, lk_expr_byte(x, ']')));
    return status;
}

/* ---- any type ---- */

/* Arrays and objects can't be told from those that are excluded. */
static lk_status check_excluded(struct lk_schema *s, const struct lk_shape *p)
{
    for (uint32_t i = 0; i < p->excluded.n; i++) {
        uint8_t type = p->excluded.item[i]->type;
        if ((type == LK_VALUE_LIST && (p->types & LK_JSON_ARRAY)) ||
            (type == LK_VALUE_DICT && (p->types & LK_JSON_OBJECT))) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, lk_shape_loc(p), NULL,
                                  "arrays or objects but one are not supported");
        }
    }
    return LK_OK;
}

static bool is_excluded(const struct lk_shape *p, const struct lk_value *v)
{
    for (uint32_t i = 0; i < p->excluded.n; i++) {
        if (lk_value_equals(p->excluded.item[i], v)) {
            return true;
        }
    }
    return false;
}

/* null, true and false. */
static void push_words(struct lk_schema *s, const struct lk_shape *p)
{
    static const struct {
        unsigned type;
        const char *text;
        struct lk_value v;
    } words[] = {{LK_JSON_NULL, "null", {.type = LK_VALUE_NULL}},
                 {LK_JSON_FALSE, "false", {.type = LK_VALUE_BOOL, .boolean = false}},
                 {LK_JSON_TRUE, "true", {.type = LK_VALUE_BOOL, .boolean = true}}};
    for (size_t i = 0; i < LK_COUNT(words); i++) {
        if ((p->types & words[i].type) && !is_excluded(p, &words[i].v)) {
            lk_expr_push(s->x, lk_expr_literal(s->x, words[i].text, strlen(words[i].text)));
        }
    }
}

static lk_status write_shape(struct lk_schema *s, const struct lk_shape *p, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    size_t from = lk_expr_list(x);
    uint32_t one = LK_EXPR_NONE;
    lk_status status = LK_OK;
    if (p->enums.n) {
        return lk_schema_enum(s, p, e);
    }
    status = check_excluded(s, p);
    push_words(s, p);
    if (!status && (p->types & LK_JSON_NUMBER)) {
        status = lk_schema_number(s, p, &one);
        lk_expr_push(x, one);
    }
    if (!status && (p->types & LK_JSON_STRING)) {
        status = lk_schema_content(s, p, &one);
        lk_expr_push(x, lk_schema_quote(s, one));
    }
    if (!status && (p->types & LK_JSON_ARRAY)) {
        status = lk_schema_array(s, p, &one);
        lk_expr_push(x, one);
    }
    if (!status && (p->types & LK_JSON_OBJECT)) {
        status = lk_schema_object(s, p, &one);
        lk_expr_push(x, one);
    }
    *e = lk_expr_alt_of(x, from);
    return status;
}

/* The branches of a set of terms and their shapes. *again: a oneOf needs other branches. */
static lk_status shapes_of(struct lk_schema *s, const struct lk_terms *terms, struct lk_branches *b,
                           struct lk_shape **shapes, bool *again)
{
    bool choices = false;
    *again = false;
    lk_status status = lk_schema_branches(s, terms, b);
    *shapes = status ? NULL : lk_region_array(&s->region, b->n, sizeof **shapes);
    if (!*shapes) {
        return status ? status : lk_schema_no_memory(s);
    }
    for (uint32_t i = 0; i < b->n && !status; i++) {
        status = lk_schema_shape(s, &b->branch[i], &(*shapes)[i]);
        choices |= b->branch[i].n_choices > 0;
    }
    return status || !choices ? status : lk_schema_check_choices(s, *shapes, b->n, again);
}

lk_status lk_schema_write(struct lk_schema *s, const struct lk_terms *terms, uint32_t *e)
{
    struct lk_branches b;
    struct lk_shape *shapes;
    struct lk_exprs *x = s->x;
    bool again;
    lk_status status = shapes_of(s, terms, &b, &shapes, &again);
    while (!status && again) { /* each time one oneOf more is marked */
        status = shapes_of(s, terms, &b, &shapes, &again);
    }
    size_t from = lk_expr_list(x);
    for (uint32_t i = 0; i < b.n && !status; i++) {
        uint32_t one = LK_EXPR_NONE;
        status = write_shape(s, &shapes[i], &one);
        lk_expr_push(x, one);
    }
    *e = lk_expr_alt_of(x, from);
    return status;
}

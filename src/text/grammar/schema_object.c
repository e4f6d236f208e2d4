/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_object: objects as expressions. Named properties come in the order in which schemas name
 * them, each once; then those whose names are not listed, in any order and number. Their names are
 * sorted by which patterns they match, since that decides about their values.
 */
#include "text/grammar/schema.h"

enum { MAX_CLASSES = 256, MAX_COUNTED = 1 << 14 };

/* Names that are not listed and match the same patterns. */
struct class
{
    uint32_t content;      /* what stands between the quotes */
    struct lk_terms terms; /* of the values */
    uint8_t *matched;      /* [schemas] whether one of their patterns matched */
};

struct writing {
    struct lk_schema *s;
    const struct lk_shape *shape;
    struct lk_values names; /* listed ones */
    struct class *class;
    uint32_t n_classes, cap;
    uint32_t *entry; /* [names] "name": value */
    bool *required;  /* [names] */
    uint32_t other;  /* an entry with a name that is not listed; LK_EXPR_NONE: none may come */
};

/* ---- names ---- */

static lk_status add_name(struct writing *w, const struct lk_value *name)
{
    for (uint32_t i = 0; i < w->names.n; i++) {
        if (w->names.item[i]->n == name->n &&
            (name->n == 0 || memcmp(w->names.item[i]->text, name->text, name->n) == 0)) {
            return LK_OK;
        }
    }
    return lk_values_add(w->s, &w->names, name);
}

static lk_status list_names(struct writing *w)
{
    struct lk_schema *s = w->s;
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < w->shape->objects.n && !status; i++) {
        const struct lk_value *p =
            lk_value_get(s->loc[w->shape->objects.term[i].loc].v, "properties");
        for (uint32_t k = 0; p && k < p->n && !status; k++) {
            status = add_name(w, &p->member[k].key);
        }
    }
    for (uint32_t i = 0; i < w->shape->required.n && !status; i++) {
        status = add_name(w, w->shape->required.item[i]);
    }
    for (uint32_t i = 0; i < w->shape->n_extras && !status; i++) {
        status = add_name(w, w->shape->extra[i].name);
    }
    return status;
}

static bool matches_pattern(struct lk_schema *s, const struct lk_value *pattern, uint32_t loc,
                            const struct lk_value *name, lk_status *status)
{
    uint32_t e = LK_EXPR_NONE;
    *status = lk_schema_pattern(s, loc, pattern->text, pattern->n, LK_SPELL_UTF8, &e);
    bool yes = !*status && lk_expr_matches(s->x, e, name->text, name->n);
    *status = *status ? *status : lk_schema_check(s, loc, NULL);
    return yes;
}

/* What one schema asks of the value of a property. */
static lk_status schema_property(struct lk_schema *s, uint32_t loc, const struct lk_value *name,
                                 struct lk_terms *out)
{
    const struct lk_value *v = s->loc[loc].v;
    const struct lk_value *patterns = lk_value_get(v, "patternProperties");
    const struct lk_value *own = lk_value_get(v, "properties");
    bool listed = own && lk_value_find(own, name->text, name->n);
    uint32_t child;
    lk_status status = LK_OK;
    if (listed) {
        status = lk_schema_member(s, loc, "properties", name, &child);
        status = status ? status : lk_terms_add(s, out, (struct lk_term){.loc = child});
    }
    for (uint32_t i = 0; patterns && i < patterns->n && !status; i++) {
        const struct lk_value *pattern = &patterns->member[i].key;
        status = lk_schema_member(s, loc, "patternProperties", pattern, &child);
        if (!status && matches_pattern(s, pattern, child, name, &status)) {
            listed = true;
            status = lk_terms_add(s, out, (struct lk_term){.loc = child});
        }
    }
    if (!status && !listed && lk_value_get(v, "additionalProperties")) {
        status = lk_schema_child(s, loc, "additionalProperties", &child);
        status = status ? status : lk_terms_add(s, out, (struct lk_term){.loc = child});
    }
    return status;
}

lk_status lk_schema_property_terms(struct lk_schema *s, const struct lk_shape *shape,
                                   const struct lk_value *name, struct lk_terms *out)
{
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < shape->objects.n && !status; i++) {
        status = schema_property(s, shape->objects.term[i].loc, name, out);
    }
    for (uint32_t i = 0; i < shape->n_extras && !status; i++) {
        const struct lk_extra *e = &shape->extra[i];
        if (!e->forbidden && lk_value_equals(e->name, name)) {
            status = lk_terms_add(s, out, e->term);
        }
    }
    return status;
}

/* ---- propertyNames ---- */

/* What strings fit the propertyNames of all schemas: LK_EXPR_ALL when there are none. */
static lk_status names_allowed(struct writing *w, uint32_t *e)
{
    struct lk_schema *s = w->s;
    struct lk_terms terms = {0};
    struct lk_branches b;
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < w->shape->objects.n && !status; i++) {
        uint32_t loc = w->shape->objects.term[i].loc, child;
        if (lk_value_get(s->loc[loc].v, "propertyNames")) {
            status = lk_schema_child(s, loc, "propertyNames", &child);
            status = status ? status : lk_terms_add(s, &terms, (struct lk_term){.loc = child});
        }
    }
    *e = LK_EXPR_ALL;
    if (status || terms.n == 0) {
        return status;
    }
    status = lk_schema_branches(s, &terms, &b);
    size_t from = lk_expr_list(s->x);
    for (uint32_t i = 0; i < b.n && !status; i++) {
        struct lk_shape shape;
        uint32_t one = LK_EXPR_NONE;
        status = lk_schema_shape(s, &b.branch[i], &shape);
        if (!status && b.branch[i].n_choices) {
            return lk_schema_fail(s, LK_E_UNSUPPORTED, terms.term[0].loc, "oneOf",
                                  "not supported for names");
        }
        if (!status && shape.enums.n) {
            status = lk_schema_enum_content(s, &shape, &one);
        } else if (!status && (shape.types & LK_JSON_STRING)) {
            status = lk_schema_content(s, &shape, &one);
        }
        lk_expr_push(s->x, one);
    }
    *e = lk_expr_alt_of(s->x, from);
    return status;
}

/* Whether a name, spelled as it is, is among strings. */
static lk_status name_fits(struct lk_schema *s, uint32_t allowed, const struct lk_value *name,
                           bool *yes)
{
    struct lk_values one = {.item = &name, .n = 1};
    uint32_t e = LK_EXPR_NONE;
    lk_status status = lk_schema_strings(s, &one, LK_SPELL_JSON, &e);
    *yes = !status && lk_expr_is_live(s->x, lk_expr_and(s->x, allowed, e));
    return status;
}

/* ---- named properties ---- */

static lk_status write_named(struct writing *w, uint32_t allowed)
{
    struct lk_schema *s = w->s;
    struct lk_exprs *x = s->x;
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < w->names.n && !status; i++) {
        const struct lk_value *name = w->names.item[i];
        struct lk_values one = {.item = &name, .n = 1};
        struct lk_terms terms = {0};
        uint32_t key = LK_EXPR_NONE, value = LK_EXPR_NONE;
        bool fits = true;
        for (uint32_t k = 0; k < w->shape->required.n; k++) {
            w->required[i] |= lk_value_equals(w->shape->required.item[k], name);
        }
        for (uint32_t k = 0; k < w->shape->n_extras; k++) {
            const struct lk_extra *extra = &w->shape->extra[k];
            bool same = lk_value_equals(extra->name, name);
            fits &= !(same && extra->forbidden);
            w->required[i] |= same && extra->required;
        }
        status = lk_schema_strings(s, &one, LK_SPELL_JSON, &key);
        if (!status && allowed != LK_EXPR_ALL && fits) {
            status = name_fits(s, allowed, name, &fits);
        }
        status = status ? status : lk_schema_property_terms(s, w->shape, name, &terms);
        status = status ? status : lk_schema_rule(s, &terms, &value);
        if (!status) {
            uint32_t e = lk_expr_cat(x, lk_schema_quote(s, key), lk_expr_cat(x, s->key_sep, value));
            w->entry[i] = fits ? e : LK_EXPR_NONE;
        }
    }
    return status;
}

/* ---- other properties ---- */

static lk_status add_class(struct writing *w, const struct class *c)
{
    if (w->n_classes == MAX_CLASSES) {
        return lk_schema_fail(w->s, LK_E_UNSUPPORTED, lk_shape_loc(w->shape), "patternProperties",
                              "names match in more than %d combinations", MAX_CLASSES);
    }
    if (!w->class) {
        w->class = lk_region_array(&w->s->region, MAX_CLASSES, sizeof *w->class);
        if (!w->class) {
            return lk_schema_no_memory(w->s);
        }
    }
    w->class[w->n_classes++] = *c;
    return LK_OK;
}

static lk_status copy_class(struct writing *w, const struct class *c, struct class *out)
{
    uint32_t n = w->shape->objects.n;
    *out = (struct class){.content = c->content};
    out->matched = lk_region_array(&w->s->region, n, 1);
    if (!out->matched) {
        return lk_schema_no_memory(w->s);
    }
    memcpy(out->matched, c->matched, n);
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < c->terms.n && !status; i++) {
        status = lk_terms_add(w->s, &out->terms, c->terms.term[i]);
    }
    return status;
}

/* Splits every class into what matches a pattern and what does not. */
static lk_status split_classes(struct writing *w, uint32_t schema, uint32_t loc,
                               const struct lk_value *pattern)
{
    struct lk_schema *s = w->s;
    struct lk_exprs *x = s->x;
    uint32_t yes = LK_EXPR_NONE, any = LK_EXPR_NONE, n = w->n_classes;
    lk_status status = lk_schema_pattern(s, loc, pattern->text, pattern->n, LK_SPELL_JSON, &yes);
    status = status ? status
                    : lk_schema_pattern(s, loc, pattern->text, pattern->n, LK_SPELL_JSON_ANY, &any);
    for (uint32_t i = 0; i < n && !status; i++) {
        struct class matching;
        uint32_t in = lk_expr_and(x, w->class[i].content, yes);
        uint32_t out = lk_expr_and(x, w->class[i].content, lk_expr_not(x, any));
        bool live = lk_expr_is_live(x, in);
        status = lk_schema_check(s, loc, NULL);
        if (!status && live) {
            status = copy_class(w, &w->class[i], &matching);
            matching.content = in;
            matching.matched[schema] = 1;
            status =
                status ? status : lk_terms_add(s, &matching.terms, (struct lk_term){.loc = loc});
            status = status ? status : add_class(w, &matching);
        }
        w->class[i].content = lk_expr_is_live(x, out) ? out : LK_EXPR_NONE;
        status = status ? status : lk_schema_check(s, loc, NULL);
    }
    return status;
}

/* The first class: all names that are not listed. */
static lk_status first_class(struct writing *w, uint32_t allowed)
{
    struct lk_schema *s = w->s;
    struct lk_exprs *x = s->x;
    uint32_t listed = LK_EXPR_NONE, n = w->shape->objects.n;
    struct class all = {.matched = lk_region_array(&s->region, n ? n : 1, 1)};
    if (!all.matched) {
        return lk_schema_no_memory(s);
    }
    memset(all.matched, 0, n);
    lk_status status = lk_schema_strings(s, &w->names, LK_SPELL_JSON_ANY, &listed);
    uint32_t any = lk_any_char(x, LK_SPELL_JSON_ANY);
    all.content = lk_expr_repeat(x, any, 0, LK_NO_LIMIT);
    if (w->names.n) {
        all.content = lk_expr_and(x, all.content, lk_expr_not(x, listed));
    }
    all.content = lk_expr_and(x, all.content, allowed);
    return status ? status : add_class(w, &all);
}

/* An entry of any class. */
static lk_status write_others(struct writing *w, uint32_t allowed)
{
    struct lk_schema *s = w->s;
    struct lk_exprs *x = s->x;
    lk_status status = first_class(w, allowed);
    for (uint32_t i = 0; i < w->shape->objects.n && !status; i++) {
        uint32_t loc = w->shape->objects.term[i].loc, child;
        const struct lk_value *p = lk_value_get(s->loc[loc].v, "patternProperties");
        for (uint32_t k = 0; p && k < p->n && !status; k++) {
            status = lk_schema_member(s, loc, "patternProperties", &p->member[k].key, &child);
            status = status ? status : split_classes(w, i, child, &p->member[k].key);
        }
    }
    size_t from = lk_expr_list(x);
    for (uint32_t i = 0; i < w->n_classes && !status; i++) {
        struct class *c = &w->class[i];
        uint32_t value = LK_EXPR_NONE;
        bool none = c->content == LK_EXPR_NONE;
        for (uint32_t k = 0; k < w->shape->objects.n && !status && !none; k++) {
            uint32_t loc = w->shape->objects.term[k].loc, child;
            const struct lk_value *more = lk_value_get(s->loc[loc].v, "additionalProperties");
            if (c->matched[k] || !more) {
                continue;
            }
            none |= more->type == LK_VALUE_BOOL && !more->boolean;
            status = lk_schema_child(s, loc, "additionalProperties", &child);
            status = status ? status : lk_terms_add(s, &c->terms, (struct lk_term){.loc = child});
        }
        if (status || none) {
            continue;
        }
        status = lk_schema_rule(s, &c->terms, &value);
        uint32_t key = lk_schema_quote(s, c->content);
        lk_expr_push(x, lk_expr_cat(x, key, lk_expr_cat(x, s->key_sep, value)));
    }
    w->other = lk_expr_alt_of(x, from);
    return status;
}

/* ---- all of them in order ---- */

/* How many entries there may be, named ones counted. */
struct counts {
    uint64_t min, max;
    bool counted; /* there is a limit that has to be counted for */
};

/* Entries that are not listed, `before` of others before them. */
static uint32_t others(const struct writing *w, const struct counts *c, uint64_t before)
{
    struct lk_exprs *x = w->s->x;
    enum { MOST = 1000000000 };
    uint64_t min = c->counted && c->min > before ? c->min - before : 0;
    uint64_t max = !c->counted ? UINT64_MAX : c->max > before ? c->max - before : 0;
    uint32_t most = max > MOST ? LK_NO_LIMIT : (uint32_t)max;
    if (c->counted && c->max < before) {
        return LK_EXPR_NONE;
    }
    if (before) {
        return lk_expr_repeat(x, lk_expr_cat(x, w->s->item_sep, w->other), (uint32_t)min, most);
    }
    if (most == 0) {
        return min ? LK_EXPR_NONE : LK_EXPR_EMPTY;
    }
    uint32_t rest = lk_expr_cat(x, w->s->item_sep, w->other);
    rest =
        lk_expr_repeat(x, rest, min ? (uint32_t)min - 1 : 0, most == LK_NO_LIMIT ? most : most - 1);
    rest = lk_expr_cat(x, w->other, rest);
    return min ? rest : lk_expr_repeat(x, rest, 0, 1);
}

/* Without counting: all entries from the last to the first. What is behind entry i when something
 * stands before it is one expression for all that come so far. */
static uint32_t in_order(const struct writing *w, const struct counts *c)
{
    struct lk_exprs *x = w->s->x;
    uint32_t after = others(w, c, 1), n = w->names.n, first_required = n;
    for (uint32_t i = n; i-- > 0;) {
        first_required = w->required[i] ? i : first_required;
    }
    size_t from = lk_expr_list(x);
    if (first_required == n) {
        lk_expr_push(x, others(w, c, 0));
    }
    for (uint32_t i = n; i-- > 0 && !x->status;) {
        if (i <= first_required) {
            lk_expr_push(x, lk_expr_cat(x, w->entry[i], after));
        }
        uint32_t one = lk_expr_cat(x, w->s->item_sep, w->entry[i]);
        one = w->required[i] ? one : lk_expr_repeat(x, one, 0, 1);
        after = lk_expr_cat(x, one, after);
    }
    return lk_expr_alt_of(x, from);
}

/* Counting: for each entry an expression by how many stand before it. */
static lk_status in_count(const struct writing *w, const struct counts *c, uint32_t *e)
{
    struct lk_schema *s = w->s;
    struct lk_exprs *x = s->x;
    uint32_t n = w->names.n;
    if (((uint64_t)n + 1) * (n + 2) > MAX_COUNTED) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, w->shape->min_loc, NULL,
                              "minProperties or maxProperties with %u properties", n);
    }
    uint32_t *after = lk_region_array(&s->region, (size_t)n + 2, sizeof *after);
    if (!after) {
        return lk_schema_no_memory(s);
    }
    for (uint32_t k = 0; k <= n; k++) {
        after[k] = others(w, c, k);
    }
    for (uint32_t i = n; i-- > 0;) {
        for (uint32_t k = 0; k <= i; k++) {
            uint32_t one = k ? lk_expr_cat(x, s->item_sep, w->entry[i]) : w->entry[i];
            one = lk_expr_cat(x, one, after[k + 1]);
            after[k] = w->required[i] ? one : lk_expr_alt(x, one, after[k]);
        }
    }
    *e = after[0];
    return LK_OK;
}

/* Names that are not listed may come twice, so two of them are not two properties. */
static lk_status check_counts(const struct writing *w, struct counts *c)
{
    uint64_t required = 0;
    for (uint32_t i = 0; i < w->names.n; i++) {
        required += w->required[i];
    }
    c->min = w->shape->min_properties;
    c->max = w->shape->max_properties;
    c->counted = c->min > required || c->max != UINT64_MAX;
    if (c->min > required + 1 && w->other != LK_EXPR_NONE) {
        return lk_schema_fail(w->s, LK_E_UNSUPPORTED, w->shape->min_loc, "minProperties",
                              "not supported for properties that are not listed");
    }
    if (c->min > 1000000000) {
        return lk_schema_fail(w->s, LK_E_UNSUPPORTED, w->shape->min_loc, "minProperties",
                              "above 1000000000");
    }
    return LK_OK;
}

lk_status lk_schema_object(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    struct lk_exprs *x = s->x;
    struct writing w = {.s = s, .shape = shape};
    struct counts counts;
    uint32_t allowed = LK_EXPR_NONE, entries = LK_EXPR_NONE;
    *e = LK_EXPR_NONE;
    if (shape->min_properties > shape->max_properties) {
        return LK_OK;
    }
    lk_status status = list_names(&w);
    w.entry = lk_region_array(&s->region, w.names.n + 1, sizeof *w.entry);
    w.required = lk_region_array(&s->region, w.names.n + 1, sizeof *w.required);
    if (!w.entry || !w.required) {
        return lk_schema_no_memory(s);
    }
    memset(w.required, 0, w.names.n * sizeof *w.required);
    status = status ? status : names_allowed(&w, &allowed);
    status = status ? status : write_named(&w, allowed);
    status = status ? status : write_others(&w, allowed);
    status = status ? status : check_counts(&w, &counts);
    if (!status && counts.counted) {
        status = in_count(&w, &counts, &entries);
    } else if (!status) {
        entries = in_order(&w, &counts);
    }
    entries = lk_expr_cat(x, s->ws, lk_expr_cat(x, entries, s->ws));
    *e = lk_expr_cat(x, lk_expr_byte(x, '{'), lk_expr_cat(x, entries, lk_expr_byte(x, '}')));
    return status;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_oneof: exactly one of several schemas is any of them when no value fits two; this is where
 * that is proved. Types, limits, patterns, constants and, a few levels down, properties and items
 * tell values apart. Where no proof is found, each schema is taken together with the negation of
 * all others, which fails where a keyword has none.
 */
#include "text/grammar/schema.h"

enum { MAX_LEVELS = 4 };

struct proof {
    struct lk_schema *s;
    int level;
    lk_status status;
};

static bool disjoint_terms(struct proof *p, const struct lk_terms *a, const struct lk_terms *b);

static bool numbers_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    struct lk_numbers r, t;
    bool none_a, none_b;
    p->status = lk_schema_range(p->s, a, &r, &none_a);
    p->status = p->status ? p->status : lk_schema_range(p->s, b, &t, &none_b);
    if (p->status || none_a || none_b) {
        return !p->status;
    }
    int below = r.has_high && t.has_low ? lk_decimal_compare(&r.high, &t.low) : 1;
    int above = r.has_low && t.has_high ? lk_decimal_compare(&r.low, &t.high) : -1;
    return below < 0 || (below == 0 && (r.high_open || t.low_open)) || above > 0 ||
           (above == 0 && (r.low_open || t.high_open));
}

static bool strings_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    uint32_t e, f = LK_EXPR_NONE;
    p->status = lk_schema_content(p->s, a, &e);
    p->status = p->status ? p->status : lk_schema_content(p->s, b, &f);
    bool live = !p->status && lk_expr_is_live(p->s->x, lk_expr_and(p->s->x, e, f));
    p->status = p->status ? p->status : lk_schema_check(p->s, lk_shape_loc(a), NULL);
    return !p->status && !live;
}

static bool arrays_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    enum { MOST = 8 };
    uint64_t both = a->min_items > b->min_items ? a->min_items : b->min_items;
    if (a->min_items > b->max_items || b->min_items > a->max_items) {
        return true;
    }
    for (uint32_t i = 0; i < both && i < MOST && !p->status; i++) {
        struct lk_terms t = {0}, u = {0};
        p->status = lk_schema_item_terms(p->s, a, i, &t);
        p->status = p->status ? p->status : lk_schema_item_terms(p->s, b, i, &u);
        if (!p->status && disjoint_terms(p, &t, &u)) {
            return true;
        }
    }
    return false;
}

/* A property that one of them must have and whose values tell. */
static bool by_required(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    for (uint32_t i = 0; i < a->required.n && !p->status; i++) {
        const struct lk_value *name = a->required.item[i];
        struct lk_terms t = {0}, u = {0};
        bool also = false;
        for (uint32_t k = 0; k < b->required.n; k++) {
            also |= lk_value_equals(b->required.item[k], name);
        }
        for (uint32_t k = 0; k < b->n_extras; k++) {
            const struct lk_extra *e = &b->extra[k];
            if (e->forbidden && lk_value_equals(e->name, name)) {
                return true;
            }
        }
        p->status = lk_schema_property_terms(p->s, a, name, &t);
        p->status = p->status ? p->status : lk_schema_property_terms(p->s, b, name, &u);
        /* One side's value is there; the other's may be missing unless it can't be at all. */
        if (!p->status && also && disjoint_terms(p, &t, &u)) {
            return true;
        }
        if (!p->status && !also) {
            struct lk_branches none;
            p->status = lk_schema_branches(p->s, &u, &none);
            if (!p->status && none.n == 0) {
                return true;
            }
        }
    }
    return false;
}

static bool objects_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    return a->min_properties > b->max_properties || b->min_properties > a->max_properties ||
           by_required(p, a, b) || by_required(p, b, a);
}

/* Listed values: each of a's must be ruled out by b's type, limits or list. */
static bool values_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    struct lk_values values = {0};
    p->status = lk_schema_enum_values(p->s, a, &values);
    for (uint32_t i = 0; i < values.n && !p->status; i++) {
        const struct lk_value *v = values.item[i];
        struct lk_values one = {.item = &v, .n = 1};
        unsigned type = lk_schema_type_of(v);
        bool in = (b->types & type) != 0;
        if (in && b->enums.n) {
            bool listed = true;
            for (uint32_t k = 0; k < b->enums.n; k++) {
                bool here = false;
                for (uint32_t j = 0; j < b->enums.item[k]->n; j++) {
                    here |= lk_value_equals(&b->enums.item[k]->item[j], v);
                }
                listed &= here;
            }
            in = listed;
        } else if (in && type == LK_JSON_NUMBER) {
            p->status = lk_number_fits(p->s, b, v, &in);
        } else if (in && type == LK_JSON_STRING) {
            uint32_t e, f = LK_EXPR_NONE;
            p->status = lk_schema_content(p->s, b, &e);
            p->status = p->status ? p->status : lk_schema_strings(p->s, &one, LK_SPELL_JSON, &f);
            in = !p->status && lk_expr_is_live(p->s->x, lk_expr_and(p->s->x, e, f));
        }
        if (in) {
            return false;
        }
    }
    return !p->status;
}

static bool shapes_apart(struct proof *p, const struct lk_shape *a, const struct lk_shape *b)
{
    unsigned types = a->types & b->types;
    if (p->status) {
        return false;
    }
    if (a->enums.n || b->enums.n) {
        return a->enums.n ? values_apart(p, a, b) : values_apart(p, b, a);
    }
    return !(types & (LK_JSON_NULL | LK_JSON_FALSE | LK_JSON_TRUE)) &&
           (!(types & LK_JSON_NUMBER) || numbers_apart(p, a, b)) &&
           (!(types & LK_JSON_STRING) || strings_apart(p, a, b)) &&
           (!(types & LK_JSON_ARRAY) || arrays_apart(p, a, b)) &&
           (!(types & LK_JSON_OBJECT) || objects_apart(p, a, b)) && !p->status;
}

/* No value fits both sets of terms. */
static bool disjoint_terms(struct proof *p, const struct lk_terms *a, const struct lk_terms *b)
{
    struct lk_branches x, y;
    if (p->level >= MAX_LEVELS || p->status) {
        return false;
    }
    p->level++;
    p->status = lk_schema_branches(p->s, a, &x);
    p->status = p->status ? p->status : lk_schema_branches(p->s, b, &y);
    bool apart = !p->status;
    for (uint32_t i = 0; apart && i < x.n; i++) {
        for (uint32_t k = 0; apart && k < y.n; k++) {
            struct lk_shape t, u;
            p->status = lk_schema_shape(p->s, &x.branch[i], &t);
            p->status = p->status ? p->status : lk_schema_shape(p->s, &y.branch[k], &u);
            apart = !p->status && shapes_apart(p, &t, &u);
        }
    }
    p->level--;
    return apart;
}

/* The oneOf of which both took a choice, and not the same; UINT32_MAX: none. */
static uint32_t split_at(const struct lk_branch *a, const struct lk_branch *b)
{
    for (uint32_t i = 0; i < a->n_choices; i++) {
        for (uint32_t k = 0; k < b->n_choices; k++) {
            if (a->choice[i].loc == b->choice[k].loc && a->choice[i].index != b->choice[k].index) {
                return a->choice[i].loc;
            }
        }
    }
    return UINT32_MAX;
}

lk_status lk_schema_check_choices(struct lk_schema *s, const struct lk_shape *shapes, uint32_t n,
                                  bool *again)
{
    *again = false;
    for (uint32_t i = 0; i < n; i++) {
        for (uint32_t k = i + 1; k < n; k++) {
            uint32_t loc = split_at(shapes[i].branch, shapes[k].branch);
            struct proof p = {.s = s};
            if (loc == UINT32_MAX || s->loc[loc].exactly_one) {
                continue;
            }
            bool apart = shapes_apart(&p, &shapes[i], &shapes[k]);
            if (p.status) {
                return p.status;
            }
            if (!apart) {
                s->loc[loc].exactly_one = true;
                *again = true;
            }
        }
    }
    return LK_OK;
}

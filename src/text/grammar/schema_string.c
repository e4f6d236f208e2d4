/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema_string: strings as expressions of what stands between their quotes. A string without
 * pattern may be spelled with any of JSON's escapes; one with a pattern or format, a constant and a
 * name only as it is, with the escapes that it needs. What is excluded is so in every spelling.
 */
#include <stdlib.h>

#include "text/grammar/schema.h"

uint32_t lk_schema_quote(struct lk_schema *s, uint32_t content)
{
    uint32_t quote = lk_expr_byte(s->x, '"');
    return lk_expr_cat(s->x, quote, lk_expr_cat(s->x, content, quote));
}

lk_status lk_schema_pattern(struct lk_schema *s, uint32_t loc, const char *text, size_t n,
                            enum lk_spelling how, uint32_t *e)
{
    const struct lk_regex_options o = {.how = how, .search = true, .categories = &s->categories};
    lk_status status = lk_regex_expr(s->x, text, n, &o, e, s->err);
    return status ? lk_schema_fail(s, status, loc, NULL, "%s", s->err->message) : LK_OK;
}

/* ---- sets of strings ---- */

static int compare_strings(const void *a, const void *b)
{
    const struct lk_value *p = *(const struct lk_value *const *)a,
                          *q = *(const struct lk_value *const *)b;
    size_t n = p->n < q->n ? p->n : q->n;
    int c = n ? memcmp(p->text, q->text, n) : 0;
    return c ? c : (p->n > q->n) - (p->n < q->n);
}

/* Bytes of the character at text[at]; the text is UTF-8. */
static uint32_t char_length(const struct lk_value *v, uint32_t at)
{
    uint32_t n = 1;
    while (at + n < v->n && ((unsigned char)v->text[at + n] & 0xC0) == 0x80) {
        n++;
    }
    return n;
}

static uint32_t char_at(struct lk_exprs *x, const struct lk_value *v, uint32_t at, uint32_t n,
                        enum lk_spelling how)
{
    return lk_text_spell(x, v->text + at, n, how);
}

/* Sorted strings as a tree: ways share their beginnings. Level i of the path has the alternatives
 * behind the first i characters of the string before; they lie on the store's list, one level after
 * the other, begin[i] on. end[i] is where character i ends in the string. */
static uint32_t tree_of(struct lk_exprs *x, const struct lk_value **v, uint32_t n,
                        enum lk_spelling how, uint32_t *begin, uint32_t *end)
{
    uint32_t depth = 0; /* characters of the string before */
    begin[0] = (uint32_t)lk_expr_list(x);
    for (uint32_t i = 0; i <= n && !x->status; i++) {
        uint32_t same = 0, at = 0;
        while (i < n && i > 0 && same < depth) {
            uint32_t len = end[same] - at;
            if (at + len > v[i]->n || memcmp(v[i]->text + at, v[i - 1]->text + at, len) != 0) {
                break;
            }
            at += len;
            same++;
        }
        for (; depth > same; depth--) { /* the levels below are complete */
            uint32_t below = lk_expr_alt_of(x, begin[depth]);
            uint32_t from = depth > 1 ? end[depth - 2] : 0;
            uint32_t c = char_at(x, v[i - 1], from, end[depth - 1] - from, how);
            lk_expr_push(x, lk_expr_cat(x, c, below));
        }
        while (i < n && at < v[i]->n && !x->status) {
            at += char_length(v[i], at);
            end[depth++] = at;
            begin[depth] = (uint32_t)lk_expr_list(x);
        }
        if (i < n) {
            lk_expr_push(x, LK_EXPR_EMPTY);
        }
    }
    return lk_expr_alt_of(x, begin[0]);
}

lk_status lk_schema_strings(struct lk_schema *s, const struct lk_values *values,
                            enum lk_spelling how, uint32_t *e)
{
    const struct lk_value **v = lk_region_array(&s->region, values->n, sizeof *v);
    uint32_t n = 0, kept = 0, longest = 0;
    *e = LK_EXPR_NONE;
    for (uint32_t i = 0; v && i < values->n; i++) {
        if (values->item[i]->type == LK_VALUE_STRING) {
            v[n++] = values->item[i];
            longest = values->item[i]->n > longest ? values->item[i]->n : longest;
        }
    }
    uint32_t *begin = lk_region_array(&s->region, (size_t)longest + 1, sizeof *begin);
    uint32_t *end = lk_region_array(&s->region, (size_t)longest + 1, sizeof *end);
    if (!v || !begin || !end) {
        return lk_schema_no_memory(s);
    }
    if (n > 1) {
        qsort(v, n, sizeof *v, compare_strings);
    }
    for (uint32_t i = 0; i < n; i++) {
        if (i == 0 || compare_strings(&v[i], &v[kept - 1]) != 0) {
            v[kept++] = v[i];
        }
    }
    *e = tree_of(s->x, v, kept, how, begin, end);
    return LK_OK;
}

/* ---- the strings of a shape ---- */

static uint32_t of_length(struct lk_schema *s, const struct lk_strings *p, enum lk_spelling how)
{
    enum { MOST = 1000000000 };
    uint32_t max = p->max > MOST ? LK_NO_LIMIT : (uint32_t)p->max;
    return lk_expr_repeat(s->x, lk_any_char(s->x, how), (uint32_t)p->min, max);
}

/* Patterns at places, or formats. */
static lk_status intersect(struct lk_schema *s, const struct lk_terms *places, bool format,
                           enum lk_spelling how, bool negated, uint32_t *e)
{
    lk_status status = LK_OK;
    for (uint32_t i = 0; i < places->n && !status; i++) {
        uint32_t loc = places->term[i].loc, one = LK_EXPR_NONE;
        const struct lk_value *v = s->loc[loc].v;
        status = format ? lk_schema_format(s, loc, how, &one)
                        : lk_schema_pattern(s, loc, v->text, v->n, how, &one);
        *e = lk_expr_and(s->x, *e, negated ? lk_expr_not(s->x, one) : one);
    }
    return status;
}

lk_status lk_schema_content(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e)
{
    const struct lk_strings *p = &shape->string;
    struct lk_exprs *x = s->x;
    bool as_is = p->pattern.n || p->format.n;
    enum lk_spelling how = as_is ? LK_SPELL_JSON : LK_SPELL_JSON_ANY;
    uint32_t loc = lk_shape_loc(shape), excluded = LK_EXPR_NONE;
    *e = LK_EXPR_NONE;
    if (p->min > p->max) {
        return LK_OK;
    }
    if (p->min > 1000000000) {
        return lk_schema_fail(s, LK_E_UNSUPPORTED, loc, "minLength", "above 1000000000");
    }
    bool any_length = p->min == 0 && p->max == UINT64_MAX;
    *e = as_is && any_length ? LK_EXPR_ALL : of_length(s, p, how);
    lk_status status = intersect(s, &p->pattern, false, how, false, e);
    status = status ? status : intersect(s, &p->format, true, how, false, e);
    status = status ? status : intersect(s, &p->not_pattern, false, LK_SPELL_JSON_ANY, true, e);
    status = status ? status : lk_schema_strings(s, &shape->excluded, LK_SPELL_JSON_ANY, &excluded);
    if (!status && excluded != LK_EXPR_NONE) {
        *e = lk_expr_and(x, *e, lk_expr_not(x, excluded));
    }
    return status ? status : lk_schema_check(s, loc, p->pattern.n ? "pattern" : NULL);
}

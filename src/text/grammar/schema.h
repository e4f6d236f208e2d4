/* SPDX-License-Identifier: Apache-2.0
 *
 * Schema: JSON Schema as a grammar; what its files share. A schema is taken apart in three steps:
 *
 *   terms     what must hold of a value: "it fits the schema at this place", or does not. A set of
 *             terms (all hold) becomes one rule, so recursion through $ref and allOf ends.
 *   branches  schema_terms.c: a set of terms without allOf, anyOf, oneOf, not, if and $ref: one
 *             branch for each choice; any of them may hold.
 *   shapes    schema_shape.c: the keywords of a branch by type of value: number, string, ..
 *
 * and each shape is written as expressions (schema_write.c, schema_number.c, schema_string.c).
 * Whatever has no exact expression is refused with its place in the schema.
 */
#ifndef LK_SCHEMA_H
#define LK_SCHEMA_H

#include "text/value/decimal.h"
#include "text/grammar/grammar.h"
#include "text/value/json.h"
#include "text/grammar/regex.h"

/* A place in the schema's text: a value, and how one comes there. */
struct lk_loc {
    const struct lk_value *v;
    uint32_t parent; /* its own for the root */
    const char *key; /* a name, or a number in digits */
    uint32_t n_key;
    uint32_t resource; /* the place whose $id holds here */
    bool exactly_one;  /* its oneOf can't be taken for anyOf: see schema_oneof.c */
};

enum lk_term_mode {
    LK_TERM_IS,     /* fits the schema at loc */
    LK_TERM_NOT,    /* does not */
    LK_TERM_BASE,   /* fits the keywords there that look at the value itself */
    LK_TERM_NOT_KEY /* does not fit keyword number `key` there; of its items, number `sub` */
};

struct lk_term {
    uint32_t loc;
    uint32_t mode;
    uint32_t key, sub;
};

/* Grows in the schema's region. */
struct lk_terms {
    struct lk_term *term;
    uint32_t n, cap;
};

/* A set of terms and its rule. */
struct lk_conj {
    struct lk_terms terms;
    uint32_t rule;
};

/* One choice of a oneOf that a branch took. */
struct lk_choice {
    uint32_t loc, index;
};

/* BASE and NOT_KEY terms alone. */
struct lk_branch {
    struct lk_terms terms;
    struct lk_choice *choice;
    uint32_t n_choices;
};

struct lk_branches {
    struct lk_branch *branch;
    uint32_t n, cap;
};

enum lk_json_type {
    LK_JSON_NULL = 1,
    LK_JSON_FALSE = 2,
    LK_JSON_TRUE = 4,
    LK_JSON_NUMBER = 8,
    LK_JSON_STRING = 16,
    LK_JSON_ARRAY = 32,
    LK_JSON_OBJECT = 64,
    LK_JSON_ALL = 127
};

struct lk_values {
    const struct lk_value **item;
    uint32_t n, cap;
};

struct lk_numbers {
    bool integer, not_integer, has_low, has_high, low_open, high_open;
    struct lk_decimal low, high;
    struct lk_values multiple_of;
};

struct lk_strings {
    struct lk_terms pattern, not_pattern, format; /* places of their strings */
    uint64_t min, max;                            /* characters; max UINT64_MAX: no limit */
};

/* A name that a negated keyword asks for or forbids. */
struct lk_extra {
    const struct lk_value *name;
    struct lk_term term; /* of its value */
    bool forbidden, required;
};

struct lk_shape {
    const struct lk_branch *branch;
    unsigned types;
    struct lk_numbers number;
    struct lk_strings string;
    uint64_t min_items, max_items, min_properties, max_properties; /* UINT64_MAX: no limit */
    uint32_t min_loc;                                              /* where minProperties is */
    bool unique;
    uint32_t unique_loc;             /* where uniqueItems is */
    struct lk_terms arrays, objects; /* BASE terms that have keywords of these types */
    struct lk_values required;
    struct lk_extra *extra;
    uint32_t n_extras, extras_cap;
    struct lk_values enums;    /* lists: the value is in each of them */
    struct lk_values excluded; /* the value is none of them */
};

/* A place to name in errors. */
static inline uint32_t lk_shape_loc(const struct lk_shape *shape)
{
    return shape->branch->terms.n ? shape->branch->terms.term[0].loc : 0;
}

struct lk_schema {
    lk_grammar *g;
    struct lk_exprs *x;
    struct lk_region region;
    struct lk_value root;
    lk_json_space space;
    bool draft7;
    struct lk_loc *loc;
    size_t n_locs, locs_cap;
    struct lk_slots locs;
    uint32_t *named; /* places with $id or $anchor, when a reference has asked for one */
    size_t n_named, named_cap;
    bool has_named;
    struct lk_conj *conj;
    size_t n_conjs, conjs_cap;
    struct lk_slots conjs;
    size_t n_written; /* conjs whose rules have bodies */
    struct lk_categories categories;
    uint32_t ws, item_sep, key_sep; /* expressions */
    lk_error *err;
};

/* ---- schema.c ---- */

lk_status lk_schema_no_memory(struct lk_schema *s);
/* "PATH: MESSAGE", the path being that of loc and, if key is not NULL, of its member. */
__attribute__((format(printf, 5, 6))) lk_status lk_schema_fail(struct lk_schema *s,
                                                               lk_status status, uint32_t loc,
                                                               const char *key, const char *format,
                                                               ...);
/* The failure of the expressions, if there is one, with a place. */
lk_status lk_schema_check(struct lk_schema *s, uint32_t loc, const char *key);
/* The place of a part of loc's value. */
lk_status lk_schema_loc(struct lk_schema *s, uint32_t parent, const char *key, size_t n_key,
                        const struct lk_value *v, uint32_t *loc);
/* The same two steps down: member `keyword` of loc, in it the one with this name. */
lk_status lk_schema_member(struct lk_schema *s, uint32_t loc, const char *keyword,
                           const struct lk_value *name, uint32_t *out);
lk_status lk_schema_item(struct lk_schema *s, uint32_t loc, const char *keyword, uint32_t i,
                         uint32_t *out);
lk_status lk_schema_child(struct lk_schema *s, uint32_t loc, const char *keyword, uint32_t *out);
lk_status lk_schema_ref(struct lk_schema *s, uint32_t loc, const struct lk_value *ref,
                        uint32_t *out);
lk_status lk_terms_add(struct lk_schema *s, struct lk_terms *terms, struct lk_term t);
lk_status lk_values_add(struct lk_schema *s, struct lk_values *values, const struct lk_value *v);
/* The rule of a set of terms as an expression; it will be written. */
lk_status lk_schema_rule(struct lk_schema *s, const struct lk_terms *terms, uint32_t *e);

/* ---- schema_terms.c ---- */

lk_status lk_schema_branches(struct lk_schema *s, const struct lk_terms *terms,
                             struct lk_branches *out);
lk_status lk_schema_is_schema(struct lk_schema *s, uint32_t loc);

/* ---- schema_shape.c ---- */

lk_status lk_schema_shape(struct lk_schema *s, const struct lk_branch *branch,
                          struct lk_shape *out);
bool lk_value_equals(const struct lk_value *a, const struct lk_value *b);

/* ---- schema_write.c and schema_object.c ---- */

/* Any of the branches. */
lk_status lk_schema_write(struct lk_schema *s, const struct lk_terms *terms, uint32_t *e);
lk_status lk_schema_array(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
lk_status lk_schema_object(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
/* What item i must fit (i of the items behind all prefixes: any larger number). */
lk_status lk_schema_item_terms(struct lk_schema *s, const struct lk_shape *shape, uint32_t i,
                               struct lk_terms *out);
/* What the value of a named property must fit. */
lk_status lk_schema_property_terms(struct lk_schema *s, const struct lk_shape *shape,
                                   const struct lk_value *name, struct lk_terms *out);

/* ---- schema_oneof.c ---- */

/* Whether no value fits shapes of different choices of one oneOf; where it is not proved, *again,
 * and the oneOf is marked so that its branches say that the other schemas do not hold. */
lk_status lk_schema_check_choices(struct lk_schema *s, const struct lk_shape *shapes, uint32_t n,
                                  bool *again);

/* ---- schema_number.c ---- */

lk_status lk_schema_number(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
/* Ends of the range that are integers where all numbers are; false when nothing is in between. */
lk_status lk_schema_range(struct lk_schema *s, const struct lk_shape *shape,
                          struct lk_numbers *range, bool *empty);
lk_status lk_number_fits(struct lk_schema *s, const struct lk_shape *shape,
                         const struct lk_value *v, bool *fits);
/* The ways to write one number, as it is and in digits. */
lk_status lk_schema_number_text(struct lk_schema *s, const struct lk_value *v, uint32_t *e);

/* ---- schema_string.c ---- */

/* What may stand between the quotes. */
lk_status lk_schema_content(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
/* The pattern at loc, or the one that is the name of what is there, spelled in a way, anywhere in a
 * string. */
lk_status lk_schema_pattern(struct lk_schema *s, uint32_t loc, const char *text, size_t n,
                            enum lk_spelling how, uint32_t *e);
/* The strings of a format. */
lk_status lk_schema_format(struct lk_schema *s, uint32_t loc, enum lk_spelling how, uint32_t *e);
bool lk_format_of_numbers(const struct lk_value *name, const char **low, const char **high);
/* The strings among values, as a tree, spelled in a way. */
lk_status lk_schema_strings(struct lk_schema *s, const struct lk_values *values,
                            enum lk_spelling how, uint32_t *e);
uint32_t lk_schema_quote(struct lk_schema *s, uint32_t content);

/* ---- schema_enum.c ---- */

/* The values that enum and const allow and all else of the shape too. */
lk_status lk_schema_enum(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
/* Those values; and what may stand between the quotes of the strings among them. */
lk_status lk_schema_enum_values(struct lk_schema *s, const struct lk_shape *shape,
                                struct lk_values *out);
lk_status lk_schema_enum_content(struct lk_schema *s, const struct lk_shape *shape, uint32_t *e);
unsigned lk_schema_type_of(const struct lk_value *v);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Value: what JSON text and chat templates compute with. A value is small and copied freely; the
 * bytes, items and members that it points to belong to a region and never change. Knows no syntax.
 */
#ifndef LK_VALUE_H
#define LK_VALUE_H

#include <string.h>

#include "base/base.h"
#include "text/value/region.h"

enum lk_value_type {
    LK_VALUE_NULL,
    LK_VALUE_BOOL,
    LK_VALUE_INT,   /* fits an int64_t */
    LK_VALUE_BIG,   /* a whole number that doesn't: its digits are in text */
    LK_VALUE_FLOAT, /* may be infinite when its text is too large for a double */
    LK_VALUE_STRING,
    LK_VALUE_LIST,
    LK_VALUE_DICT,
    LK_VALUE_OTHERS /* the first of those that only templates have (template_value.h) */
};

enum {
    /* The value was not made by a stranger: by a template, or by whoever runs the model. Its text
     * may become control tokens. What JSON brings has no mark unless its reader is told so. */
    LK_VALUE_TRUSTED = 1,
    LK_VALUE_MARKUP = 2, /* a string that Python's markupsafe.Markup would be */
    LK_VALUE_TUPLE = 4   /* a list that is a Python tuple */
};

struct lk_member;

struct lk_value {
    uint8_t type; /* enum lk_value_type */
    uint8_t flags;
    uint32_t n; /* bytes of text, items or members */
    union {
        bool boolean;
        int64_t integer;
        double real;
        const uint8_t *marks;  /* STRING: flags of each byte where they differ; NULL: `flags` */
        const uint32_t *order; /* DICT: members by rising key; NULL: few, or keys of many types */
    };
    union {
        const char *text; /* STRING; numbers: as they were written, or n 0. Not 0-terminated */
        const struct lk_value *item;
        const struct lk_member *member; /* in the order of their first appearance */
        const void *object;             /* of a template's own types */
    };
};

/* Keys of JSON are strings; those of a template's dict may have any type that Python can hash. */
struct lk_member {
    struct lk_value key, value;
};

static inline struct lk_value lk_value_bool(bool b)
{
    return (struct lk_value){.type = LK_VALUE_BOOL, .flags = LK_VALUE_TRUSTED, .boolean = b};
}

static inline struct lk_value lk_value_int(int64_t i)
{
    return (struct lk_value){.type = LK_VALUE_INT, .flags = LK_VALUE_TRUSTED, .integer = i};
}

static inline struct lk_value lk_value_real(double d)
{
    return (struct lk_value){.type = LK_VALUE_FLOAT, .flags = LK_VALUE_TRUSTED, .real = d};
}

/* Text that outlives the value; at most UINT32_MAX bytes. */
static inline struct lk_value lk_value_text(const char *text, size_t n, unsigned flags)
{
    return (struct lk_value){.type = LK_VALUE_STRING,
                             .flags = (uint8_t)flags,
                             .n = (uint32_t)n,
                             .text = text};
}

static inline bool lk_value_is(const struct lk_value *v, const char *text)
{
    size_t n = strlen(text);
    return v && v->type == LK_VALUE_STRING && v->n == n && memcmp(v->text, text, n) == 0;
}

/* The value of a string key in a dict; NULL when there is none or `dict` (may be NULL) is no dict.
 * Logarithmic time where the dict has an order. */
const struct lk_value *lk_value_find(const struct lk_value *dict, const char *key, size_t len);
const struct lk_value *lk_value_get(const struct lk_value *dict, const char *key);

/* A list of copies of items[0..n) or a dict of members[0..n), whose keys are strings; of members
 * with one key the last value stands in the place of the first, as in Python. `members` is work
 * area and changes. LK_E_NOMEM where the region ends; `what` names the whole in the error. */
lk_status lk_value_list(struct lk_region *region, const struct lk_value *items, size_t n,
                        const char *what, struct lk_value *out, lk_error *err);
lk_status lk_value_dict(struct lk_region *region, struct lk_member *members, size_t n,
                        const char *what, struct lk_value *out, lk_error *err);

#endif

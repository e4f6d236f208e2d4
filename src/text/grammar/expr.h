/* SPDX-License-Identifier: Apache-2.0
 *
 * Expr: languages as expressions over bytes. Equal expressions are one node with one id, so that a
 * derivative (the language that is left after a byte) is found once and looked up from then on.
 *
 * A regular expression in the narrow sense can be derived by bytes (expr_derive.c). Rules, which
 * may refer to themselves, and tokens as terminals make an expression that is not regular; only
 * pushdown.c runs those. Knows no syntax and no vocabulary.
 *
 * From Brzozowski, "Derivatives of regular expressions", JACM 11 (1964).
 */
#ifndef LK_EXPR_H
#define LK_EXPR_H

#include "text/grammar/byte_set.h"
#include "text/grammar/slots.h"

/* Nodes that always are there. */
enum {
    LK_EXPR_NONE,  /* no string at all */
    LK_EXPR_EMPTY, /* the empty string alone */
    LK_EXPR_ALL,   /* every string of bytes */
    LK_EXPR_FIXED
};

enum lk_expr_kind {
    LK_KIND_NONE,
    LK_KIND_EMPTY,
    LK_KIND_SET,      /* one byte out of set a */
    LK_KIND_CAT,      /* a, then b */
    LK_KIND_ALT,      /* any of the b children from place a on */
    LK_KIND_AND,      /* all of the b children from place a on */
    LK_KIND_NOT,      /* every string but those of a */
    LK_KIND_REPEAT,   /* a, `min` to `max` times */
    LK_KIND_MULTIPLE, /* decimal digits of a multiple; see lk_expr_multiple */
    LK_KIND_RULE,     /* what rule a of the grammar says */
    LK_KIND_TOKEN     /* terminal a of the grammar: one token, whatever its bytes */
};

#define LK_NO_LIMIT UINT32_MAX /* max of a REPEAT */

enum {
    LK_EXPR_NULLABLE = 1, /* has the empty string */
    LK_EXPR_REGULAR = 2,  /* no RULE and no TOKEN in it */
    LK_EXPR_SEARCHED = 4, /* may have no string without being LK_EXPR_NONE: a search must tell */
    LK_EXPR_COUNTED = 8,  /* has a REPEAT that lk_expr_clamp may change */
    LK_EXPR_FINITE = 16   /* has finitely many strings */
};

struct lk_expr_node {
    uint8_t kind, flags;
    uint8_t live;   /* what lk_expr_is_live found; 0: not asked yet */
    uint8_t covers; /* what lk_expr_run found of it as a body */
    uint32_t depth; /* calls inside of each other that a derivative takes */
    uint32_t a, b;
    uint32_t min, max;
    uint32_t hash;
    uint32_t weight;       /* nodes that a derivative looks at */
    uint32_t partition;    /* 1 + its number; 0: not known yet */
    uint32_t next;         /* 1 + where its derivatives by class lie in `next`; 0: nowhere yet */
    uint32_t clamped;      /* 1 + lk_expr_clamp of it; 0: not known yet */
    uint32_t mark, parent; /* of the last search that came by */
};

/* Bytes that a language does not tell apart. Class numbers rise with the first byte of a class. */
struct lk_partition {
    uint8_t of[256];    /* byte -> class */
    uint8_t first[256]; /* class -> its first byte */
    uint32_t n;
};

/* A store of expressions. After a failure `status` and `error` tell it, all functions give
 * LK_EXPR_NONE and nothing that was computed is kept; lk_exprs_clear goes on from there. */
struct lk_exprs {
    struct lk_expr_node *node;
    size_t n, cap;
    uint32_t *kid; /* children of ALT and AND */
    size_t n_kids, kids_cap;
    struct lk_byte_set *set;
    size_t n_sets, sets_cap;
    struct lk_partition *partition;
    size_t n_partitions, partitions_cap;
    uint32_t *next; /* 1 + derivative by class; 0: not known yet */
    size_t n_next, next_cap;
    struct lk_slots nodes, sets, partitions;
    uint32_t *work; /* lists that are being built, the newest at the end */
    size_t n_work, work_cap;
    uint64_t *key; /* work area for sorting */
    size_t key_cap;
    uint32_t mark;  /* of the last search */
    uint32_t plain; /* 1 + the expression of one plain character; 0: not made yet */
    int depth;      /* calls inside of each other */
    size_t max_bytes;
    lk_status status;
    lk_error error;
};

lk_status lk_exprs_open(struct lk_exprs *x, size_t max_bytes, lk_error *err);
/* A store with the same nodes under the same ids, open until it is closed on its own. */
lk_status lk_exprs_copy(struct lk_exprs *to, const struct lk_exprs *from, size_t max_bytes,
                        lk_error *err);
void lk_exprs_close(struct lk_exprs *x);
void lk_exprs_clear(struct lk_exprs *x); /* forgets a failure */
size_t lk_exprs_bytes(const struct lk_exprs *x);
__attribute__((format(printf, 3, 4))) void lk_exprs_fail(struct lk_exprs *x, lk_status status,
                                                         const char *format, ...);
/* Room in an array of the store; false, and the failure kept, when there is none. */
bool lk_exprs_room(struct lk_exprs *x, void *array, size_t *cap, size_t need, size_t size);

/* Notes a new thing in an index; false, and the failure kept, without memory. */
bool lk_exprs_index(struct lk_exprs *x, struct lk_slots *slots, uint32_t hash, uint32_t id);

static inline const struct lk_expr_node *lk_expr_node(const struct lk_exprs *x, uint32_t e)
{
    return &x->node[e];
}

static inline bool lk_expr_has(const struct lk_exprs *x, uint32_t e, unsigned flags)
{
    return (x->node[e].flags & flags) == flags;
}

/* ---- making ---- */

uint32_t lk_expr_set(struct lk_exprs *x, const struct lk_byte_set *set);
uint32_t lk_expr_byte(struct lk_exprs *x, unsigned byte);
uint32_t lk_expr_range(struct lk_exprs *x, unsigned first, unsigned last); /* one byte out of it */
uint32_t lk_expr_literal(struct lk_exprs *x, const char *bytes, size_t n);
uint32_t lk_expr_cat(struct lk_exprs *x, uint32_t a, uint32_t b);
uint32_t lk_expr_alt(struct lk_exprs *x, uint32_t a, uint32_t b);
uint32_t lk_expr_and(struct lk_exprs *x, uint32_t a, uint32_t b); /* regular ones alone */
uint32_t lk_expr_not(struct lk_exprs *x, uint32_t a);             /* likewise */
/* min <= max; max may be LK_NO_LIMIT. A counter: the size does not grow with min and max. */
uint32_t lk_expr_repeat(struct lk_exprs *x, uint32_t a, uint32_t min, uint32_t max);
/* Digits, with a point and at most `scale` digits that are not 0 behind it where scale > 0, of a
 * number whose product with 10^scale is a multiple of `divisor` (1 to 2^31). The sign is not part
 * of it. */
uint32_t lk_expr_multiple(struct lk_exprs *x, uint32_t divisor, uint32_t scale);
/* The same after digits whose rest is `rest`, `left` digits before the end of the scale, or
 * LK_NO_LIMIT before the point. */
uint32_t lk_expr_multiple_rest(struct lk_exprs *x, uint32_t divisor, uint32_t rest, uint32_t left,
                               uint32_t scale);
uint32_t lk_expr_rule(struct lk_exprs *x, uint32_t rule);
uint32_t lk_expr_token(struct lk_exprs *x, uint32_t terminal);

/* Of a list: from = lk_expr_list(x); lk_expr_push(x, e) for each; then one of the two, which takes
 * the list off again. No members: LK_EXPR_NONE and LK_EXPR_ALL. */
static inline size_t lk_expr_list(const struct lk_exprs *x)
{
    return x->n_work;
}
void lk_expr_push(struct lk_exprs *x, uint32_t e);
uint32_t lk_expr_alt_of(struct lk_exprs *x, size_t from);
uint32_t lk_expr_and_of(struct lk_exprs *x, size_t from);

/* Node e of another store, whose operands are map[operand] here, as it is. */
uint32_t lk_expr_import(struct lk_exprs *x, const struct lk_exprs *from, uint32_t e,
                        const uint32_t *map);

/* ---- asking (expr_derive.c, expr_facts.c) ---- */

/* What is left of the strings of e, which is regular, that begin with `byte`. */
uint32_t lk_expr_derive(struct lk_exprs *x, uint32_t e, unsigned byte);
/* The bytes that e, which is regular, tells apart as first ones: the number of a partition. */
uint32_t lk_expr_partition(struct lk_exprs *x, uint32_t e);
/* One that tells apart what either does. */
uint32_t lk_partition_refine(struct lk_exprs *x, uint32_t p, uint32_t q);
/* Whether e has a string. Fails (LK_E_UNSUPPORTED) where the search for one is too long. */
bool lk_expr_is_live(struct lk_exprs *x, uint32_t e);
/* Whether e has all of text[0..n). */
bool lk_expr_matches(struct lk_exprs *x, uint32_t e, const char *text, size_t n);
/* An expression with the same strings of up to `n_bytes` bytes and the same beginnings of that
 * length of longer strings, in which counters that n_bytes can't exhaust have no limit. */
uint32_t lk_expr_clamp(struct lk_exprs *x, uint32_t e, uint32_t n_bytes);
/* How many plain characters in any choice can come first, at least: then the rest of a string
 * exists. Plain is UTF-8 but for controls, DEL, '"' and '\'. */
uint32_t lk_expr_run(struct lk_exprs *x, uint32_t e);
/* The expression of one plain character. */
uint32_t lk_expr_plain(struct lk_exprs *x);

#endif

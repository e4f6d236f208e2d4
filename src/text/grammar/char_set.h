/* SPDX-License-Identifier: Apache-2.0
 *
 * Char_set: sets of characters, and the bytes that spell them as an expression. A character is a
 * Unicode scalar value: 0 to 0x10FFFF without surrogates. Knows no syntax.
 */
#ifndef LK_CHAR_SET_H
#define LK_CHAR_SET_H

#include "text/grammar/expr.h"

enum { LK_CHAR_LAST = 0x10FFFF };

struct lk_char_range {
    uint32_t first, last;
};

/* All zero: empty. Ranges in any order until lk_chars_sort. */
struct lk_char_set {
    struct lk_char_range *range;
    size_t n, cap;
};

lk_status lk_chars_add(struct lk_char_set *s, uint32_t first, uint32_t last, lk_error *err);
lk_status lk_chars_add_all(struct lk_char_set *s, const struct lk_char_set *more, lk_error *err);
/* Puts ranges in order, disjoint. Surrogates in them spell nothing. */
void lk_chars_sort(struct lk_char_set *s);
/* Turns a set into its complement, sorted. */
lk_status lk_chars_negate(struct lk_char_set *s, lk_error *err);
void lk_chars_free(struct lk_char_set *s);

/* How characters become bytes. */
enum lk_spelling {
    LK_SPELL_UTF8,
    /* Inside of a JSON string: as they are; '"', '\' and controls with DEL as \" \\ \b \t \n \f \r
     * or \u00XX. */
    LK_SPELL_JSON,
    /* The same, or \uXXXX for any character, with two escapes for those past 0xFFFF. */
    LK_SPELL_JSON_ANY
};

/* One character out of a sorted set. */
uint32_t lk_chars_spell(struct lk_exprs *x, const struct lk_char_set *s, enum lk_spelling how);
uint32_t lk_char_spell(struct lk_exprs *x, uint32_t c, enum lk_spelling how);
/* Text in UTF-8, whole; `how` of each of its characters. Text that is no UTF-8: LK_EXPR_NONE. */
uint32_t lk_text_spell(struct lk_exprs *x, const char *text, size_t n, enum lk_spelling how);
/* Any character but those in a JSON string that can't be there. */
uint32_t lk_any_char(struct lk_exprs *x, enum lk_spelling how);

#endif

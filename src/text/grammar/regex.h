/* SPDX-License-Identifier: Apache-2.0
 *
 * Regex: regular expressions of ECMA-262 (with its u flag, as JSON Schema's `pattern`) as
 * expressions of bytes. What can't be one is refused: backreferences, lookbehind, \b, and lookahead
 * or anchors inside of a repetition. Of (?P<name>..) and other engines' own forms only that is
 * known. Knows neither JSON Schema nor vocabularies.
 */
#ifndef LK_REGEX_H
#define LK_REGEX_H

#include "text/grammar/char_set.h"

/* Unicode's general categories as runs, filled when they are first needed. All zero: not yet. */
struct lk_categories {
    struct lk_category_run {
        uint32_t first; /* to the next run's */
        char name[2];
    } * run;
    size_t n, cap;
};
void lk_categories_free(struct lk_categories *c);

struct lk_regex_options {
    enum lk_spelling how; /* of the characters that it matches */
    bool search;          /* a match may lie anywhere in the text; else it is the whole text */
    struct lk_categories *categories;
};

/* LK_E_FORMAT for what is no regular expression, LK_E_UNSUPPORTED for what is refused; messages
 * begin with "byte N: ". */
lk_status lk_regex_expr(struct lk_exprs *x, const char *text, size_t len,
                        const struct lk_regex_options *options, uint32_t *out, lk_error *err);

/* ---- between regex_parse.c, regex_class.c and regex.c ---- */

enum lk_regex_kind {
    LK_REGEX_CHARS,     /* e: one character */
    LK_REGEX_SEQUENCE,  /* of children */
    LK_REGEX_CHOICE,    /* of children */
    LK_REGEX_REPEAT,    /* of one child */
    LK_REGEX_BEGIN,     /* ^ */
    LK_REGEX_END,       /* $ */
    LK_REGEX_AHEAD,     /* (?=child) */
    LK_REGEX_NOT_AHEAD, /* (?!child) */
};

struct lk_regex_node {
    uint8_t kind;
    bool asserts;         /* BEGIN, END or lookahead is in it */
    uint32_t child, next; /* the first child; the next sibling; 0: none */
    uint32_t e, min, max;
    uint32_t at; /* byte in the text */
};

struct lk_regex_parser {
    struct lk_exprs *x;
    const struct lk_regex_options *options;
    const char *text;
    size_t len, at;
    struct lk_regex_node *node; /* node 0 is no node */
    size_t n, cap;
    int depth;
    lk_error *err;
};

/* Parses the whole text; *root is its node. */
lk_status lk_regex_parse(struct lk_regex_parser *p, uint32_t *root);
/* Adds the characters of an escape, p->at behind its backslash. In a class \b is backspace. */
lk_status lk_regex_escape(struct lk_regex_parser *p, bool in_class, struct lk_char_set *to);
/* Reads a class, p->at behind its bracket. */
lk_status lk_regex_class(struct lk_regex_parser *p, struct lk_char_set *to);
/* Reads one character of the text. */
lk_status lk_regex_char(struct lk_regex_parser *p, uint32_t *c);
__attribute__((format(printf, 4, 5))) lk_status lk_regex_fail(const struct lk_regex_parser *p,
                                                              lk_status status, size_t at,
                                                              const char *format, ...);

#endif

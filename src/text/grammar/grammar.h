/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammar: the inside of an lk_grammar: rules over expressions, checked and simplified once. The
 * front ends (gbnf.c, regex.c, schema.c) make one; pushdown.c runs it. Knows no vocabulary: tokens
 * are terminals by text or id, looked up when a constraint is opened.
 */
#ifndef LK_GRAMMAR_H
#define LK_GRAMMAR_H

#include <pthread.h>

#include "text/grammar/char_set.h"

enum {
    LK_GRAMMAR_MAX_TEXT = 1 << 24, /* bytes of a schema, grammar or regular expression */
    LK_GRAMMAR_MAX_RULES = 1 << 20
};

struct lk_rule {
    char *name; /* for errors */
    uint32_t body;
    uint32_t rank; /* a rule that can begin with another has the lower one */
    uint32_t at;   /* byte in the text where it is first named */
    bool defined, nullable;
};

/* One token: that with this text or id, or any other. */
struct lk_terminal {
    char *text; /* NULL: by id */
    size_t len;
    int32_t id;
    bool other;
};

struct lk_home;

struct lk_grammar {
    struct lk_exprs x;
    struct lk_rule *rule;
    size_t n_rules, rules_cap;
    struct lk_terminal *terminal;
    size_t n_terminals, terminals_cap;
    uint32_t root;
    char *name;
    size_t max_bytes;
    lk_json_space space;
    pthread_mutex_t lock;  /* of the list */
    struct lk_home *homes; /* one for each tokenizer */
};

/* A front end: makes the rules of g, and its root, from a text. err is not NULL. */
typedef lk_status (*lk_grammar_compile_fn)(lk_grammar *g, const char *text, size_t len,
                                           lk_error *err);
/* A grammar of what `compile` makes of the text: left recursion is looked for, rules that are
 * regular stand in their places, what has no text is taken out. LK_E_FORMAT when nothing is left.
 * Errors begin with the name that the options give, or with `kind`. */
lk_status lk_grammar_open(const lk_grammar_options *options, const char *kind, const char *text,
                          size_t len, lk_grammar_compile_fn compile, lk_grammar **out,
                          lk_error *err);
/* What lk_grammar_open does before and after `compile`, for rules that are made of more than a
 * text; after a failure of finish the caller calls lk_grammar_fail. */
lk_status lk_grammar_new(const lk_grammar_options *options, const char *kind, size_t len,
                         lk_grammar **out, lk_error *err);
lk_status lk_grammar_finish(lk_grammar *g, lk_error *err);
/* A rule without a body yet, or LK_EXPR_NONE and the failure in g->x. */
lk_status lk_grammar_add_rule(lk_grammar *g, const char *name, size_t len, uint32_t *rule,
                              lk_error *err);
lk_status lk_grammar_add_terminal(lk_grammar *g, const char *text, size_t len, int32_t id,
                                  bool other, uint32_t *terminal, lk_error *err);
/* "NAME: " before a message, which becomes printable; err is not NULL. */
lk_status lk_grammar_fail(const lk_grammar *g, lk_error *err, lk_status status);
/* schema.c: the rules of a JSON Schema; *e is what its values look like. */
lk_status lk_schema_expr(lk_grammar *g, const char *text, size_t len, uint32_t *e, lk_error *err);

#endif

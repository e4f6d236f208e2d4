/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_grammar: what a model may write, as expressions of a grammar: markers, names, arguments.
 * Shared by the files that make them.
 */
#ifndef LK_ANSWER_GRAMMAR_H
#define LK_ANSWER_GRAMMAR_H

#include "text/answer/answer_format.h"
#include "text/answer/answer_request.h"
#include "text/grammar/char_set.h"
#include "text/grammar/grammar.h"

struct lk_answer_grammar {
    const struct lk_answer_format *f;
    const struct lk_syntax *syntax;
    const struct lk_tokenizer *t;
    struct lk_answer_tools *tools;
    lk_grammar *g;
    struct lk_exprs *x;
    uint32_t any_value; /* 1 + the rule of any value of a syntax that is no JSON; 0: not made yet */
    lk_status status;   /* the first failure */
    lk_error *err;
};

/* All of these give LK_EXPR_NONE after a failure. */

/* A marker of the format: control tokens where the vocabulary has them, else text. */
uint32_t lk_rule_mark(struct lk_answer_grammar *b, const char *text);
uint32_t lk_rule_literal(struct lk_answer_grammar *b, const char *text);
uint32_t lk_rule_then(struct lk_answer_grammar *b, uint32_t first, uint32_t then);
uint32_t lk_rule_either(struct lk_answer_grammar *b, uint32_t one, uint32_t other);
/* One of the digits, letters and so on from `first` to `last`, min to max times. */
uint32_t lk_rule_range(struct lk_answer_grammar *b, char first, char last, uint32_t min,
                       uint32_t max);
/* Any text up to a marker, and the marker. */
uint32_t lk_rule_until(struct lk_answer_grammar *b, const char *mark);
/* The control token that the marker begins with, or -1; *len: of its text. */
int32_t lk_rule_token(const struct lk_tokenizer *t, const char *text, size_t *len);
/* JSON values of a schema (NULL: of any object) in the space of the grammar. `name` is the tool's,
 * for errors. */
uint32_t lk_rule_json(struct lk_answer_grammar *b, const struct lk_value *schema, const char *name,
                      bool strict);

/* answer_grammar_args.c: the arguments of a tool in the syntax, with what is around them when it is
 * a part of it: {..}, tags, (..). */
uint32_t lk_rule_arguments(struct lk_answer_grammar *b, const struct lk_answer_tool *tool);

#endif

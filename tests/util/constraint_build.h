/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraint build: grammars with a small vocabulary, for tests.
 */
#ifndef LK_TEST_CONSTRAINT_BUILD_H
#define LK_TEST_CONSTRAINT_BUILD_H

#include "tests/util/tok_build.h"
#include "text/grammar/constraint.h"
#include "text/grammar/pushdown.h"

/* Ids of the vocabulary's tokens; 0 to 255 are the bytes. */
enum {
    CB_END = 256, /* ends generation */
    CB_TURN,      /* too */
    CB_TOOL,      /* <|tool|>, a control token */
    CB_BYE,       /* <|bye|>, a control token */
    CB_USER,      /* <call>, a user-defined token: text */
    CB_PIECES     /* the first of those of several bytes */
};

/* What makes a grammar of a text. */
typedef lk_status (*cb_open)(const char *text, size_t len, const lk_grammar_options *options,
                             lk_grammar **out, lk_error *err);

struct cb_test {
    struct tok_test vocabulary;
    lk_tokenizer *tok;
    lk_grammar *g;
    lk_constraint *c;
};

void cb_vocabulary(struct cb_test *x);
/* Asserts that it opens; options and triggers may be NULL. */
void cb_make(struct cb_test *x, cb_open open, const char *text, const lk_grammar_options *options,
             const lk_trigger *triggers, size_t n_triggers);
void cb_drop(struct cb_test *x); /* grammar and constraint */
void cb_done(struct cb_test *x); /* all of it */

/* Whether a whole text fits, byte by byte, from where the constraint is. */
bool cb_fits(struct cb_test *x, const char *text, size_t len);
/* Takes a text by its bytes; asserts that it may come. */
void cb_take(struct cb_test *x, const char *text);
/* The token with these bytes. */
int32_t cb_id(struct cb_test *x, const char *text);
/* Whether a token may come, by the mask. */
bool cb_may(struct cb_test *x, int32_t id);
/* Asserts that the mask says of each token what accepting it says. */
void cb_check_mask(struct cb_test *x, const char *what);
uint64_t cb_random(uint64_t *state);
/* A random token of those that may come; one that closes things if `close`. */
int32_t cb_choose(struct cb_test *x, uint64_t *state, bool close);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraints: masks against accepting each token by itself, ends, tokens as terminals, triggers,
 * going back, memory that ends, sampling, threads.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/constraint_build.h"

/* ---- masks ---- */

static const struct {
    cb_open open;
    const char *text;
} GRAMMARS[] = {
    {lk_grammar_open_schema, "{}"},
    {lk_grammar_open_schema, "{\"type\": \"object\", \"properties\": {\"name\": {\"type\": "
                             "\"string\"}, \"value\": {\"type\": \"number\"}}}"},
    {lk_grammar_open_schema, "{\"type\": \"string\", \"maxLength\": 5}"},
    {lk_grammar_open_schema, "{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 40}"},
    {lk_grammar_open_schema, "{\"type\": \"string\", \"maxLength\": 1000}"},
    {lk_grammar_open_schema,
     "{\"type\": \"string\", \"pattern\": \"^[a-z ]+$\", \"maxLength\": 12}"},
    {lk_grammar_open_schema, "{\"type\": \"string\", \"pattern\": \"abc|12\"}"},
    {lk_grammar_open_schema, "{\"type\": \"array\", \"items\": {\"type\": \"integer\", "
                             "\"maximum\": 130}, \"maxItems\": 3}"},
    {lk_grammar_open_schema, "{\"enum\": [\"abc\", \"abcd\", true, null, 12, 123]}"},
    {lk_grammar_open_schema, "{\"type\": \"string\", \"not\": {\"pattern\": \"the\"}}"},
    {lk_grammar_open_gbnf,
     "root ::= \"<call>\" x | <|tool|> x <|bye|>\nx ::= [a-z]* (\"(\" x \")\")?"},
    {lk_grammar_open_gbnf, "root ::= !<|bye|>* <|bye|> .*"},
    {lk_grammar_open_gbnf, "root ::= .{0,3} \"the\" .{2,30} \"!\""},
    {lk_grammar_open_regex, "(?:the quick|[^\"\\\\]{0,4}|\xc3\xa9+)*"},
    {lk_grammar_open_regex, "[ \\n]{0,20}-?[0-9]+(?:\\.[0-9]+)?"},
};

Test(constraint, a_mask_says_of_each_token_what_accepting_it_says)
{
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(GRAMMARS); i++) {
        for (uint64_t seed = 1; seed <= 6; seed++) {
            uint64_t state = seed;
            cb_make(&x, GRAMMARS[i].open, GRAMMARS[i].text, NULL, NULL, 0);
            for (int step = 0; step < 30 && !lk_constraint_is_done(x.c); step++) {
                lk_error err;
                cb_check_mask(&x, GRAMMARS[i].text);
                int32_t id = cb_choose(&x, &state, step > 20);
                cr_assert_eq(lk_constraint_accept(x.c, id, &err), LK_OK, "%s", err.message);
            }
        }
    }
    cb_done(&x);
}

/* The same masks whatever else the grammar was used for before, and with memory that ends again and
 * again. */
Test(constraint, masks_do_not_depend_on_what_is_kept)
{
    static const char text[] = "root ::= x \"!\" (\"[\" root \"]\")?\n"
                               "x ::= ([a-z]{0,90000} [0-9 ]{0,90000} \",\"){0,90000}";
    enum { STEPS = 4000 };
    struct cb_test small, large, fresh;
    lk_grammar_options o = lk_grammar_options_default();
    uint64_t state = 5;
    size_t most = 0, shrunk = 0, before = 0;
    cb_vocabulary(&small);
    large = fresh = small;
    o.max_bytes = 1 << 20;
    cb_make(&small, lk_grammar_open_gbnf, text, &o, NULL, 0);
    large.g = fresh.g = NULL;
    large.c = fresh.c = NULL;
    cb_make(&large, lk_grammar_open_gbnf, text, NULL, NULL, 0);
    for (int step = 0; step < STEPS; step++) {
        uint32_t a[64], b[64];
        lk_error err;
        cr_assert_eq(lk_constraint_mask(small.c, a, 64, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_constraint_mask(large.c, b, 64, &err), LK_OK, "%s", err.message);
        cr_assert_arr_eq(a, b, sizeof a, "step %d", step);
        if (step % 500 == 0) {
            cb_check_mask(&small, "small");
        }
        int32_t id = cb_choose(&large, &state, false);
        if (id == CB_END || id == CB_TURN) {
            id = 'a';
            lk_constraint *start;
            cr_assert_eq(lk_constraint_open(small.g, small.tok, NULL, 0, &start, &err), LK_OK);
            cr_assert_eq(lk_constraint_copy(small.c, start, &err), LK_OK);
            lk_constraint_close(&start);
            cr_assert_eq(lk_constraint_open(large.g, large.tok, NULL, 0, &start, &err), LK_OK);
            cr_assert_eq(lk_constraint_copy(large.c, start, &err), LK_OK);
            lk_constraint_close(&start);
        }
        cr_assert_eq(lk_constraint_accept(small.c, id, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_constraint_accept(large.c, id, &err), LK_OK, "%s", err.message);
        size_t now = lk_machine_bytes(&small.c->home->machine);
        most = now > most ? now : most;
        shrunk += now < before;
        before = now;
    }
    cr_assert_gt(shrunk, 0, "nothing was ever dropped");
    cr_assert_lt(most, 8 << 20, "%zu bytes", most);
    cr_assert_gt(lk_machine_bytes(&large.c->home->machine), 1 << 20);
    cb_drop(&large);
    cb_done(&small);
}

/* ---- ends and tokens ---- */

Test(constraint, the_text_ends_where_it_may)
{
    struct cb_test x;
    lk_error err;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_regex, "ab?", NULL, NULL, 0);
    cr_assert(!cb_may(&x, CB_END) && !cb_may(&x, CB_TURN));
    cr_assert(!lk_constraint_accepts(x.c) && !lk_constraint_is_done(x.c));
    cr_assert_eq(lk_constraint_accept(x.c, CB_END, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "regex: token 256 is not allowed here"), "%s", err.message);
    cr_assert_eq(lk_constraint_accept(x.c, -1, &err), LK_E_INVALID);
    cr_assert_eq(lk_constraint_accept(x.c, 100000, &err), LK_E_INVALID);
    cb_take(&x, "a");
    cr_assert(lk_constraint_accepts(x.c) && !lk_constraint_is_done(x.c));
    cr_assert(cb_may(&x, CB_END) && cb_may(&x, CB_TURN) && cb_may(&x, 'b'));
    cb_take(&x, "b");
    cr_assert(lk_constraint_accepts(x.c) && lk_constraint_is_done(x.c));
    cr_assert_eq(lk_constraint_accept(x.c, 'b', &err), LK_E_INVALID);
    cr_assert_eq(lk_constraint_accept(x.c, CB_TURN, &err), LK_OK);
    cr_assert(lk_constraint_is_done(x.c));
    uint32_t bits[16];
    cr_assert_eq(lk_constraint_mask(x.c, bits, 16, &err), LK_E_INVALID);
    cr_assert(strstr(err.message, "the text has ended"), "%s", err.message);
    cr_assert_eq(lk_constraint_accept(x.c, CB_END, &err), LK_E_INVALID);
    cb_done(&x);
}

Test(constraint, control_tokens_are_no_text)
{
    struct cb_test x;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_regex, "<\\|tool\\|>|<call>|<\\|end\\|>", NULL, NULL, 0);
    cr_assert(!cb_may(&x, CB_TOOL) && !cb_may(&x, CB_END) && cb_may(&x, '<'));
    cr_assert(cb_may(&x, CB_USER), "a user-defined token is text");
    cb_take(&x, "<|tool|>");
    cr_assert(lk_constraint_is_done(x.c));
    cb_done(&x);
}

Test(constraint, tokens_are_terminals)
{
    struct cb_test x;
    lk_error err;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= <|tool|> [a-z]+ <[259]> | \"x\" !<|tool|>{2}", NULL,
            NULL, 0);
    cr_assert(cb_may(&x, CB_TOOL) && !cb_may(&x, CB_BYE) && cb_may(&x, 'x') && !cb_may(&x, 'a'));
    cr_assert_eq(lk_constraint_accept(x.c, CB_TOOL, &err), LK_OK);
    cb_take(&x, "ab");
    cr_assert(cb_may(&x, CB_BYE) && cb_may(&x, 'a') && !cb_may(&x, CB_TOOL));
    cr_assert_eq(lk_constraint_accept(x.c, CB_BYE, &err), LK_OK);
    cr_assert(lk_constraint_is_done(x.c));
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"x\" !<|tool|>{2}", NULL, NULL, 0);
    cb_take(&x, "x");
    cr_assert(!cb_may(&x, CB_TOOL) && cb_may(&x, CB_BYE) && cb_may(&x, 'q') && cb_may(&x, CB_USER));
    cr_assert(!cb_may(&x, CB_END), "an end of generation is no token like others");
    cb_done(&x);
    lk_grammar *g;
    lk_constraint *c;
    static const char *const unknown[] = {"root ::= <|nothing|>", "root ::= <[99999]>"};
    cb_vocabulary(&x);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(lk_grammar_open_gbnf(unknown[i], strlen(unknown[i]), NULL, &g, &err), LK_OK);
        cr_assert_eq(lk_constraint_open(g, x.tok, NULL, 0, &c, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, i ? "token 99999, expected 0 to" : "no token '<|nothing|>'"),
                  "%s", err.message);
        cr_assert_null(c);
        lk_grammar_close(&g);
    }
    cb_done(&x);
}

Test(constraint, a_forced_token_is_told)
{
    struct cb_test x;
    lk_error err;
    int32_t id;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"q\" [rs] <|tool|>", NULL, NULL, 0);
    cr_assert_eq(lk_constraint_forced(x.c, &id, &err), LK_OK);
    cr_assert_eq(id, 'q');
    cb_take(&x, "q");
    cr_assert_eq(lk_constraint_forced(x.c, &id, &err), LK_OK);
    cr_assert_eq(id, -1);
    cb_take(&x, "r");
    cr_assert_eq(lk_constraint_forced(x.c, &id, &err), LK_OK);
    cr_assert_eq(id, CB_TOOL);
    cb_done(&x);
}

/* A vocabulary that can't spell what has to come is an error and never a free choice. */
Test(constraint, no_token_is_an_error)
{
    static const struct tok_piece few[] = {{"a", 1, 0}, {"ab", 1, 0}, {"<|end|>", 3, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.bytes = false;
    b.piece = few;
    b.n_pieces = LK_COUNT(few);
    b.eos = 2;
    tok_make(&x, &b);
    lk_grammar *g;
    lk_constraint *c;
    lk_error err;
    uint32_t bits[1];
    int32_t id;
    float row[4] = {1, 2, 3, 4};
    cr_assert_eq(lk_grammar_open_regex("ac", 2, NULL, &g, &err), LK_OK);
    cr_assert_eq(lk_constraint_open(g, x.tok, NULL, 0, &c, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_constraint_mask(c, bits, 1, &err), LK_OK);
    cr_assert_eq(bits[0], 1);
    cr_assert_eq(lk_constraint_accept(c, 0, &err), LK_OK);
    cr_assert_eq(lk_constraint_mask(c, bits, 1, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "regex: no token of the vocabulary continues"), "%s",
              err.message);
    cr_assert_eq(lk_constraint_apply(c, row, 4, &err), LK_E_UNSUPPORTED);
    cr_assert_eq(lk_constraint_forced(c, &id, &err), LK_E_UNSUPPORTED);
    lk_constraint_close(&c);
    lk_grammar_close(&g);
    tok_done(&x);
}

/* ---- too much at once ---- */

/* What takes too many steps is an error that names the grammar, the same one each time. */
Test(constraint, too_much_at_once_is_an_error)
{
    struct cb_test x;
    lk_error err;
    uint32_t bits[64];
    lk_grammar_options o = lk_grammar_options_default();
    enum { MANY = 12000 };
    char *text = malloc(MANY * 24);
    size_t n = 0;
    for (int i = 0; i < MANY; i++) {
        n += (size_t)sprintf(text + n, "%sa[a-z]{0,%d}%d", i ? "|" : "", 1 + i % 31, i);
    }
    cb_vocabulary(&x);
    o.name = "my grammar";
    cb_make(&x, lk_grammar_open_regex, text, &o, NULL, 0);
    free(text);
    cr_assert(lk_constraint_accept(x.c, 'a', &err) == LK_OK, "%s", err.message);
    cr_assert_eq(lk_constraint_mask(x.c, bits, 64, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "my grammar: too much is possible at once"), "%s", err.message);
    for (int i = 0; i < 3; i++) {
        cr_assert_eq(lk_constraint_mask(x.c, bits, 64, &err), LK_E_UNSUPPORTED);
    }
    cb_done(&x);
}

/* Takes opening brackets until that is an error; how many were taken. */
static int take_deep(lk_constraint *c, lk_error *err)
{
    enum { DEEP = 200000 };
    for (int i = 0; i < DEEP; i++) {
        if (lk_constraint_accept(c, '[', err)) {
            return i;
        }
    }
    return -1;
}

/* A text that takes more than the bound is an error, at the same token whoever else is there. */
Test(constraint, a_text_that_takes_too_much_memory_is_an_error)
{
    struct cb_test x;
    lk_error err;
    lk_constraint *other, *late;
    lk_grammar_options o = lk_grammar_options_default();
    o.max_bytes = 1 << 20;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"[\" root \"]\" | \"x\"", &o, NULL, 0);
    cr_assert_eq(lk_constraint_open(x.g, x.tok, NULL, 0, &other, &err), LK_OK);
    cr_assert_eq(lk_constraint_open(x.g, x.tok, NULL, 0, &late, &err), LK_OK);
    int alone = take_deep(x.c, &err);
    cr_assert_gt(alone, 1000, "%d", alone);
    cr_assert(err.status == LK_E_UNSUPPORTED &&
                  strstr(err.message, "takes more than 1048576 bytes"),
              "%s", err.message);
    cr_assert_eq(lk_constraint_accept(x.c, '[', &err), LK_E_UNSUPPORTED, "it stays where it is");
    cr_assert_eq(take_deep(other, &err), alone);
    cr_assert_eq(lk_constraint_accept(late, '[', &err), LK_OK, "others go on: %s", err.message);
    cr_assert_eq(lk_constraint_accept(late, 'x', &err), LK_OK);
    cr_assert_eq(lk_constraint_accept(late, ']', &err), LK_OK);
    cr_assert(lk_constraint_is_done(late));
    lk_constraint_close(&other);
    lk_constraint_close(&late);
    cb_done(&x);
}

/* ---- triggers ---- */

Test(constraint, a_text_wakes_the_grammar)
{
    const lk_trigger triggers[] = {{.text = "<tool>", .len = 6},
                                   {.text = "xyz", .len = 3, .behind = true}};
    static const char grammar[] = "root ::= \"<tool>{\" [a-z]* \"}\" | [0-9]+";
    struct cb_test x;
    lk_error err;
    cb_vocabulary(&x);
    const int32_t to = cb_id(&x, "<to"), ol = cb_id(&x, "ol>{");
    cb_make(&x, lk_grammar_open_gbnf, grammar, NULL, triggers, 2);
    cb_check_mask(&x, "asleep");
    cr_assert(lk_constraint_sleeps(x.c) && lk_constraint_accepts(x.c) &&
              !lk_constraint_is_done(x.c));
    for (int32_t id = 0; id < (int32_t)lk_tokenizer_n_vocab(x.tok); id++) {
        cr_assert(cb_may(&x, id), "token %d", id);
    }
    /* The trigger begins and ends inside of tokens. */
    cb_take(&x, "so: <t <<<");
    cr_assert_eq(lk_constraint_accept(x.c, to, &err), LK_OK);
    cr_assert(lk_constraint_sleeps(x.c));
    cr_assert(cb_may(&x, ol) && cb_may(&x, 'o') && cb_may(&x, 'q') && cb_may(&x, CB_END));
    cb_check_mask(&x, "in a trigger");
    cr_assert_eq(lk_constraint_accept(x.c, ol, &err), LK_OK, "%s", err.message);
    cr_assert(!lk_constraint_sleeps(x.c));
    cr_assert(cb_may(&x, 'a') && cb_may(&x, '}') && !cb_may(&x, '{') && !cb_may(&x, CB_END));
    cb_take(&x, "ab}");
    cr_assert(lk_constraint_is_done(x.c));
    /* Behind its trigger the grammar begins with what comes next. */
    cb_make(&x, lk_grammar_open_gbnf, grammar, NULL, triggers, 2);
    cb_take(&x, "xyxyz");
    cr_assert(!lk_constraint_sleeps(x.c));
    cr_assert(cb_may(&x, '7') && cb_may(&x, '<') && !cb_may(&x, 'x'));
    /* A token that would complete a trigger and go on wrong may not come. */
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"<tool>[\"", NULL, triggers, 1);
    cb_take(&x, "<to");
    cr_assert(!cb_may(&x, ol) && cb_may(&x, 'o'));
    cb_check_mask(&x, "a trigger that goes on wrong");
    cr_assert_eq(lk_constraint_accept(x.c, ol, &err), LK_E_INVALID);
    /* A control token in between breaks a text. */
    cr_assert_eq(lk_constraint_accept(x.c, CB_BYE, &err), LK_OK);
    cr_assert(cb_may(&x, ol));
    cr_assert_eq(lk_constraint_accept(x.c, CB_END, &err), LK_OK);
    cr_assert(lk_constraint_is_done(x.c));
    cb_done(&x);
}

Test(constraint, a_token_wakes_the_grammar)
{
    const lk_trigger with[] = {{.token = CB_TOOL}}, behind[] = {{.token = CB_BYE, .behind = true}};
    struct cb_test x;
    lk_error err;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= <|tool|> [a-z]+", NULL, with, 1);
    cb_check_mask(&x, "asleep");
    cb_take(&x, "thinking <|tool|> about it"); /* the token's text is not the token */
    cr_assert(lk_constraint_sleeps(x.c));
    cr_assert_eq(lk_constraint_accept(x.c, CB_TOOL, &err), LK_OK);
    cr_assert(!lk_constraint_sleeps(x.c) && cb_may(&x, 'a') && !cb_may(&x, CB_TOOL));
    cb_make(&x, lk_grammar_open_schema, "{\"type\": \"boolean\"}", NULL, behind, 1);
    cb_take(&x, "{hm");
    cr_assert_eq(lk_constraint_accept(x.c, CB_BYE, &err), LK_OK);
    cr_assert(cb_may(&x, 't') && cb_may(&x, 'f') && !cb_may(&x, '{') && !cb_may(&x, CB_END));
    cb_done(&x);
}

Test(constraint, triggers_that_make_no_sense_are_refused)
{
    const lk_trigger bad[] = {{.text = "", .len = 0},
                              {.text = "no", .len = 2},
                              {.token = CB_TOOL},
                              {.token = CB_END, .behind = true},
                              {.token = 99999, .behind = true},
                              {.token = -1, .behind = true}};
    static const char *const messages[] = {
        "trigger 0 is an empty text", "trigger 0 is no beginning", "trigger 0 is no beginning",
        "trigger 0 is token 256",     "trigger 0 is token 99999",  "trigger 0 is token -1"};
    struct cb_test x;
    lk_constraint *c;
    lk_error err;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"yes\"", NULL, NULL, 0);
    for (size_t i = 0; i < LK_COUNT(bad); i++) {
        cr_assert_eq(lk_constraint_open(x.g, x.tok, &bad[i], 1, &c, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, messages[i]), "%s", err.message);
        cr_assert_null(c);
    }
    cb_done(&x);
}

/* Of triggers inside of each other the first that is complete counts. */
Test(constraint, triggers_that_overlap)
{
    const lk_trigger triggers[] = {{.text = "abcd", .len = 4, .behind = true},
                                   {.text = "bc", .len = 2, .behind = true},
                                   {.text = "qq", .len = 2, .behind = true}};
    struct cb_test x;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"d\" | \"z\"", NULL, triggers, 3);
    cb_take(&x, "ab");
    cr_assert(lk_constraint_sleeps(x.c));
    cb_take(&x, "c");
    cr_assert(!lk_constraint_sleeps(x.c) && cb_may(&x, 'd') && cb_may(&x, 'z') && !cb_may(&x, 'a'));
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"d\" | \"z\"", NULL, triggers, 3);
    cb_take(&x, "aq");
    cr_assert(lk_constraint_sleeps(x.c));
    cb_take(&x, "q");
    cr_assert(!lk_constraint_sleeps(x.c));
    cb_done(&x);
}

/* Stage 0 is text, 1 is between < and >, where no call begins. */
Test(constraint, sleep_has_stages)
{
    const lk_trigger triggers[] = {{.text = "<", .len = 1, .leads = 2},
                                   {.text = ">", .len = 1, .stage = 1, .leads = 1},
                                   {.token = CB_TOOL, .stage = 1, .leads = 1},
                                   {.text = "call", .len = 4}};
    const lk_trigger bad[] = {{.text = "a", .len = 1, .leads = 3},
                              {.text = "a", .len = 1, .stage = 99}};
    struct cb_test x;
    lk_constraint *c, *same;
    lk_error err;
    cb_vocabulary(&x);
    for (int way = 0; way < 2; way++) {
        cb_make(&x, lk_grammar_open_gbnf, "root ::= \"call\" [0-9]+", NULL, triggers, 4);
        cb_take(&x, "a < call call");
        cr_assert(lk_constraint_sleeps(x.c) && cb_may(&x, 'x') && cb_may(&x, CB_END));
        cb_check_mask(&x, "in stage 1");
        if (way == 0) {
            cb_take(&x, " > so ");
        } else {
            cr_assert_eq(lk_constraint_accept(x.c, CB_TOOL, &err), LK_OK);
        }
        cb_check_mask(&x, "in stage 0");
        cr_assert(lk_constraint_sleeps(x.c));
        cb_take(&x, "call");
        cr_assert(!lk_constraint_sleeps(x.c) && cb_may(&x, '7') && !cb_may(&x, 'x'));
        cr_assert(!cb_may(&x, CB_END));
    }
    cr_assert_eq(lk_constraint_open(x.g, x.tok, triggers, 4, &c, &err), LK_OK);
    cr_assert_eq(lk_constraint_open(x.g, x.tok, triggers, 4, &same, &err), LK_OK);
    cr_assert_eq(c->state, same->state);
    lk_constraint_close(&same);
    cr_assert_eq(lk_constraint_open(x.g, x.tok, triggers + 3, 1, &same, &err), LK_OK);
    cr_assert_neq(c->state, same->state);
    lk_constraint_close(&same);
    lk_constraint_close(&c);
    for (size_t i = 0; i < LK_COUNT(bad); i++) {
        cr_assert_eq(lk_constraint_open(x.g, x.tok, &bad[i], 1, &c, &err), LK_E_INVALID);
        cr_assert(strstr(err.message, "stage"), "%s", err.message);
    }
    cb_done(&x);
}

/* ---- going back, sampling, threads ---- */

Test(constraint, forks_go_their_own_ways)
{
    struct cb_test x, y;
    lk_constraint *fork, *other;
    lk_error err;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_schema, "{\"type\": \"array\", \"items\": {\"type\": \"integer\"}}",
            NULL, NULL, 0);
    cb_take(&x, "[1, 2");
    cr_assert_eq(lk_constraint_fork(x.c, &fork, &err), LK_OK);
    cb_take(&x, "]");
    cr_assert(lk_constraint_is_done(x.c) && !lk_constraint_is_done(fork));
    cr_assert_eq(lk_constraint_copy(x.c, fork, &err), LK_OK);
    cr_assert(!lk_constraint_is_done(x.c));
    cb_take(&x, ", 3]");
    cr_assert(lk_constraint_is_done(x.c));
    y = x;
    y.c = NULL;
    y.g = NULL;
    cb_make(&y, lk_grammar_open_regex, "a", NULL, NULL, 0);
    other = y.c;
    cr_assert_eq(lk_constraint_copy(other, fork, &err), LK_E_INVALID);
    cb_drop(&y);
    lk_constraint_close(&fork);
    cb_done(&x);
}

Test(constraint, sampling_is_among_what_may_come)
{
    struct cb_test x;
    lk_sampler *s;
    lk_error err;
    int32_t id;
    float row[512], other[512];
    cb_vocabulary(&x);
    size_t n = lk_tokenizer_n_vocab(x.tok);
    for (size_t i = 0; i < 512; i++) {
        row[i] = (float)(i % 97) * 0.1f;
    }
    row['q'] = 50.0f;
    row['b'] = 9.0f;
    row['c'] = 9.0f;
    row[510] = 60.0f; /* past the vocabulary */
    cb_make(&x, lk_grammar_open_regex, "[abc]+", NULL, NULL, 0);
    cr_assert_eq(lk_sampler_open(NULL, 512, &s, &err), LK_OK);
    cr_assert_eq(lk_sample_constrained(s, x.c, row, NULL, 0, 0, &id, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(id, 'b', "token %d: the lowest id of the most likely", id);
    cr_assert_eq(lk_sample(s, row, NULL, 0, 0), 510);
    memcpy(other, row, sizeof row);
    cr_assert_eq(lk_constraint_apply(x.c, other, 512, &err), LK_OK);
    cr_assert_eq(lk_argmax(other, 512), 'b');
    for (size_t i = 0; i < 512; i++) {
        cr_assert(i < n && cb_may(&x, (int32_t)i) ? other[i] == row[i] : other[i] == -INFINITY);
    }
    lk_sampler_close(&s);
    /* The draw is that of the masked row. */
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = 2.0f;
    o.top_k = 20;
    o.seed = 3;
    cr_assert_eq(lk_sampler_open(&o, 512, &s, &err), LK_OK);
    for (uint64_t pos = 0; pos < 200; pos++) {
        cr_assert_eq(lk_sample_constrained(s, x.c, row, NULL, 0, pos, &id, &err), LK_OK);
        cr_assert(cb_may(&x, id));
        cr_assert_eq(id, lk_sample(s, other, NULL, 0, pos));
    }
    lk_sampler_close(&s);
    /* A bias that leaves nothing is an error. */
    int32_t ids[512];
    float values[512];
    o = lk_sampler_options_default();
    for (int32_t i = 0; i < (int32_t)n; i++) {
        if (cb_may(&x, i)) {
            ids[o.n_bias] = i;
            values[o.n_bias++] = -INFINITY;
        }
    }
    o.bias_ids = ids;
    o.bias_values = values;
    cr_assert_eq(lk_sampler_open(&o, 512, &s, &err), LK_OK);
    cr_assert_eq(lk_sample_constrained(s, x.c, row, NULL, 0, 0, &id, &err), LK_E_INVALID,
                 "token %d", id);
    cr_assert(strstr(err.message, "has a logit of -inf"), "%s", err.message);
    lk_sampler_close(&s);
    cb_done(&x);
}

struct worker {
    struct cb_test *x;
    uint64_t seed, sum;
};

/* A walk of its own; the sum of its masks tells what it saw. */
static void *work(void *arg)
{
    struct worker *w = arg;
    lk_constraint *c;
    lk_error err;
    uint64_t state = w->seed;
    w->sum = 0;
    for (int round = 0; round < 20; round++) {
        if (lk_constraint_open(w->x->g, w->x->tok, NULL, 0, &c, &err)) {
            return NULL;
        }
        for (int step = 0; step < 40 && !lk_constraint_is_done(c); step++) {
            uint32_t bits[16];
            if (lk_constraint_mask(c, bits, 16, &err)) {
                break;
            }
            int32_t id = -1;
            for (int32_t i = 0, count = 0; i < 16 * 32; i++) {
                if (bits[i / 32] >> (i % 32) & 1 && cb_random(&state) % (uint64_t)++count == 0) {
                    id = i;
                }
            }
            for (int i = 0; i < 16; i++) {
                w->sum = w->sum * 31 + bits[i];
            }
            if (id < 0 || lk_constraint_accept(c, id, &err)) {
                break;
            }
        }
        lk_constraint_close(&c);
    }
    return w;
}

Test(constraint, threads_share_a_grammar)
{
    enum { THREADS = 4 };
    struct cb_test x;
    struct worker alone[THREADS], together[THREADS];
    pthread_t thread[THREADS];
    lk_grammar_options o = lk_grammar_options_default();
    o.max_bytes = 1 << 20;
    cb_vocabulary(&x);
    for (int i = 0; i < THREADS; i++) {
        cb_make(&x, lk_grammar_open_schema, "{\"type\": \"object\"}", NULL, NULL, 0);
        alone[i] = (struct worker){&x, (uint64_t)i + 1, 0};
        cr_assert_not_null(work(&alone[i]));
    }
    cb_make(&x, lk_grammar_open_schema, "{\"type\": \"object\"}", &o, NULL, 0);
    for (int i = 0; i < THREADS; i++) {
        together[i] = (struct worker){&x, (uint64_t)i + 1, 0};
        cr_assert_eq(pthread_create(&thread[i], NULL, work, &together[i]), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        cr_assert_eq(together[i].sum, alone[i].sum, "thread %d", i);
    }
    cb_done(&x);
}

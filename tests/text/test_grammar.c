/* SPDX-License-Identifier: Apache-2.0
 *
 * Grammars in GBNF: what texts fit, what is refused and where, and that ambiguity, depth and size
 * cost no more than they must.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/constraint_build.h"

static const struct {
    const char *grammar, *fits[6], *not [6];
} FITS[] = {
    {"root ::= \"a\"", {"a"}, {"", "b", "aa"}},
    {"root ::= \"\"", {""}, {"a"}},
    {"root ::= [a-c]+ \"!\"?", {"a", "abc!"}, {"", "!", "d", "a!!"}},
    {"root ::= [^a-c\\n]", {"d", "\xc3\xa9", "\xe2\x82\xac"}, {"a", "\n", "dd", "\xc3"}},
    {"root ::= . .", {"ab", "\xc3\xa9x", "\n\n"}, {"a", "abc", "\xc3\xa9"}},
    {"root ::= \"\\x41\\u00e9\\U0001f600\\\"\\\\\\[\\]\\n\\r\\t\"",
     {"A\xc3\xa9\xf0\x9f\x98\x80\"\\[]\n\r\t"},
     {"A"}},
    {"root ::= (\"a\" | \"b\" \"c\")* \"d\"", {"d", "aad", "bcd", "abcabcd"}, {"bd", "abc", "acd"}},
    {"root ::= \"a\"{3} | \"b\"{2,} | \"c\"{1,2} | \"d\"{0,1}",
     {"aaa", "bb", "bbbbb", "c", "cc", ""},
     {"aa", "aaaa", "b", "ccc", "dd"}},
    {"root ::= x \"-\" x # comment\n# another\nx ::=\n  y |\n  \"0\"\ny ::= [1-9] [0-9]*\n",
     {"1-0", "0-23", "10-10"},
     {"01-1", "1-", "1--1"}},
    {"root ::= (\n  \"a\"\n  \"b\" # inside\n)+", {"ab", "abab"}, {"a"}},
    {"root ::= \"a\" root \"b\" | \"\"", {"", "ab", "aaabbb"}, {"aab", "abb", "ba"}},
    /* Ambiguous, with empty parts in all places. */
    {"root ::= e? \"x\" e? e?\ne ::= \"x\"? \"y\"?", {"x", "xx", "xxy", "xyxxy", "yxy"}, {"", "y"}},
    {"root ::= a b c\na ::= \"\" | \"a\" a\nb ::= a a\nc ::= b? b?", {"", "a", "aaaaaa"}, {"b"}},
    /* A rule that has no text at all is no way to go. */
    {"root ::= \"a\" | \"a\" never\nnever ::= \"b\" never", {"a"}, {"ab", "abb"}},
    {"root ::= v\nv ::= \"[\" (v (\",\" v)*)? \"]\" | [0-9]+",
     {"[]", "[1,[2,[]],33]", "7"},
     {"[", "[1,]", ""}},
    {"root ::= \"p\" %json {\"type\": \"object\", \"properties\": {\"}\\\"\": {\"type\": "
     "\"null\"}}, "
     "\"additionalProperties\": false} \"s\"",
     {"p{}s", "p{\"}\\\"\": null}s"},
     {"p{\"a\": null}s", "{}"}},
    {"root ::= \"a\"{2}{3}", {"aaaaaa"}, {"aaaaa", "aa"}},
    {"\n\nroot   ::=   \"a\"   \n\n\n", {"a"}, {""}},
};

Test(grammar, texts_that_fit)
{
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(FITS); i++) {
        const char *g = FITS[i].grammar;
        cb_make(&x, lk_grammar_open_gbnf, g, NULL, NULL, 0);
        for (size_t k = 0; k < 6 && FITS[i].fits[k]; k++) {
            cr_expect(cb_fits(&x, FITS[i].fits[k], strlen(FITS[i].fits[k])), "%s: '%s'", g,
                      FITS[i].fits[k]);
        }
        for (size_t k = 0; k < 6 && FITS[i].not [k]; k++) {
            cr_expect(!cb_fits(&x, FITS[i].not [k], strlen(FITS[i].not [k])), "%s: not '%s'", g,
                      FITS[i].not [k]);
        }
        cb_check_mask(&x, g);
    }
    cb_done(&x);
}

static const struct {
    const char *grammar;
    lk_status status;
    const char *message;
} REFUSED[] = {
    {"", LK_E_FORMAT, "grammar: rule 'root' is not there"},
    {"x ::= \"a\"", LK_E_FORMAT, "rule 'root' is not there"},
    {"root ::= x\ny ::= x", LK_E_FORMAT, "line 1 column 10: rule 'x' is not there"},
    {"root ::= \"a\"\nroot ::= \"b\"", LK_E_FORMAT, "line 2 column 1: rule 'root' is there twice"},
    {"root ::= \"a", LK_E_FORMAT, "line 1 column 10: a literal without"},
    {"root ::= [a", LK_E_FORMAT, "line 1 column 10: a class without"},
    {"root ::= (\"a\"", LK_E_FORMAT, "line 1 column 10: '(' without ')'"},
    {"root ::= \"a\" )", LK_E_FORMAT, "line 1 column 14: expected the end of the rule"},
    {"root ::= [b-a]", LK_E_FORMAT, "runs backwards"},
    {"root ::= \"a\"{2,1}", LK_E_FORMAT, "counts run backwards"},
    {"root ::= \"a\"{,1}", LK_E_FORMAT, "expected {m}, {m,} or {m,n}"},
    {"root ::= \"a\"{9999999999}", LK_E_UNSUPPORTED, "a count above"},
    {"root ::= \"\\q\"", LK_E_FORMAT, "line 1 column 11: an escape that is not known"},
    {"root ::= \"\\ud800\"", LK_E_FORMAT, "is no character"},
    {"root ::= \"\\x4\"", LK_E_FORMAT, "expected 2 hexadecimal digits"},
    {"root ::= \"\xff\"", LK_E_FORMAT, "no UTF-8"},
    {"root = \"a\"", LK_E_FORMAT, "expected ::= after a rule's name"},
    {"::= \"a\"", LK_E_FORMAT, "expected the name of a rule"},
    {"root ::= root \"a\" | \"b\"", LK_E_UNSUPPORTED,
     "rule 'root' begins with itself (root -> root)"},
    {"root ::= a\na ::= e b \"x\" | \"y\"\nb ::= a\ne ::= \"z\"?", LK_E_UNSUPPORTED,
     "rule 'a' begins with itself (a -> b -> a): left recursion is not supported"},
    {"root ::= root", LK_E_UNSUPPORTED, "rule 'root' begins with itself"},
    {"root ::= \"a\" root", LK_E_FORMAT, "no text fits it"},
    {"root ::= []", LK_E_FORMAT, "no text fits it"},
    {"root ::= <[12", LK_E_FORMAT, "a token without its closing"},
    {"root ::= <[x]>", LK_E_FORMAT, "expected a token as <[1000]>"},
    {"root ::= !\"a\"", LK_E_FORMAT, "expected a token after '!'"},
    {"root ::= %yaml {}", LK_E_FORMAT, "expected %json"},
    {"root ::= %json [1]", LK_E_FORMAT, "expected a JSON Schema, an object"},
    {"root ::= %json {\"type\": \"x\"}", LK_E_FORMAT, "line 1 column 10: /type: expected null"},
    {"root ::= %json {\"a\": 1", LK_E_FORMAT, "line 1 column 10: JSON: "},
};

Test(grammar, what_is_refused_and_where)
{
    for (size_t i = 0; i < LK_COUNT(REFUSED); i++) {
        lk_grammar *g = (lk_grammar *)1;
        lk_error err;
        const char *text = REFUSED[i].grammar;
        lk_status status = lk_grammar_open_gbnf(text, strlen(text), NULL, &g, &err);
        cr_expect_eq(status, REFUSED[i].status, "%s: %d", text, (int)status);
        cr_expect_null(g);
        cr_expect(strstr(err.message, REFUSED[i].message), "%s: '%s', expected '%s'", text,
                  err.message, REFUSED[i].message);
        cr_expect(strncmp(err.message, "grammar: ", 9) == 0, "%s", err.message);
    }
}

Test(grammar, options_are_checked)
{
    lk_grammar *g;
    lk_error err;
    lk_grammar_options o = lk_grammar_options_default();
    o.name = "tool call";
    cr_assert_eq(lk_grammar_open_gbnf("root", 4, &o, &g, &err), LK_E_FORMAT);
    cr_assert(strncmp(err.message, "tool call: line 1", 17) == 0, "%s", err.message);
    o.max_bytes = 1;
    cr_assert_eq(lk_grammar_open_regex("a", 1, &o, &g, &err), LK_E_INVALID);
    o = lk_grammar_options_default();
    o.space = (lk_json_space)7;
    cr_assert_eq(lk_grammar_open_schema("{}", 2, &o, &g, &err), LK_E_INVALID);
    o.size = 1;
    cr_assert_eq(lk_grammar_open_schema("{}", 2, &o, &g, NULL), LK_E_INVALID);
    lk_grammar_close(&g);
    lk_grammar_close(NULL);
    lk_constraint_close(NULL);
}

/* Each opening parenthesis could be either; there are 2^400 ways to read it. */
Test(grammar, ambiguity_takes_polynomial_time)
{
    struct cb_test x;
    char text[801];
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"(\" root \")\" | \"(\" root \"]\" | \"\"", NULL,
            NULL, 0);
    for (int i = 0; i < 400; i++) {
        text[i] = '(';
        text[400 + i] = i % 3 ? ')' : ']';
    }
    cr_assert(cb_fits(&x, text, 800));
    cr_assert(!cb_fits(&x, text, 799));
    cr_assert_lt(x.c->home->machine.n_states, 3000);
    cr_assert_lt(x.c->home->machine.n_frames, 3000);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= s\ns ::= \"a\" s s | \"a\" s | \"a\"", NULL, NULL,
            0);
    memset(text, 'a', 300);
    cr_assert(cb_fits(&x, text, 300));
    cr_assert_lt(x.c->home->machine.n_states, 3000);
    cb_make(&x, lk_grammar_open_gbnf,
            "root ::= (\"a\" | \"aa\"){0,1000} (\"a\"{0,500} \"b\"?){0,500}", NULL, NULL, 0);
    cr_assert(cb_fits(&x, text, 300));
    cb_done(&x);
}

/* What many rests of one rule have behind them is one set, without those on the way to it. */
Test(grammar, ambiguous_counters_take_little_memory)
{
    struct cb_test x;
    char text[60];
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf,
            "root ::= (x{0,1000} y{0,1000}){0,1000}\nx ::= \"a\" | \"aa\" x?\n"
            "y ::= \"a\" y? | \"aaa\"",
            NULL, NULL, 0);
    memset(text, 'a', sizeof text);
    cr_assert(cb_fits(&x, text, sizeof text));
    cr_assert_lt(x.c->home->machine.n_members, 1 << 20, "%zu", x.c->home->machine.n_members);
    cb_done(&x);
}

/* Depth of the text is no depth of calls. */
Test(grammar, a_deep_text)
{
    enum { DEEP = 100000 };
    struct cb_test x;
    char *text = malloc(2 * DEEP);
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_gbnf, "root ::= \"[\" (root (\",\" root){0,3})? \"]\"", NULL, NULL,
            0);
    memset(text, '[', DEEP);
    memset(text + DEEP, ']', DEEP);
    cr_assert(cb_fits(&x, text, 2 * DEEP));
    cr_assert(!cb_fits(&x, text, 2 * DEEP - 1));
    lk_error err;
    for (int i = 0; i < DEEP; i++) {
        cr_assert_eq(lk_constraint_accept(x.c, '[', &err), LK_OK, "%s", err.message);
    }
    cr_assert(cb_may(&x, ']') && cb_may(&x, '[') && !cb_may(&x, ',') && !cb_may(&x, CB_END));
    free(text);
    cb_done(&x);
}

/* Long chains of rules, of optional parts and of alternatives are no depth of calls either. */
Test(grammar, long_chains)
{
    enum { LONG = 5000 };
    struct cb_test x;
    size_t cap = LONG * 64, n = 0;
    char *text = malloc(cap);
    cb_vocabulary(&x);
    n = (size_t)snprintf(text, cap, "root ::= r0\n");
    for (int i = 0; i < LONG; i++) {
        n += (size_t)snprintf(text + n, cap - n, "r%d ::= \"(\" r%d \")\" | \"x\"\n", i, i + 1);
    }
    n += (size_t)snprintf(text + n, cap - n, "r%d ::= \"y\" | r%d\n", LONG, LONG + 1);
    for (int i = LONG + 1; i < 2 * LONG; i++) {
        n += (size_t)snprintf(text + n, cap - n, "r%d ::= r%d\n", i, i + 1);
    }
    n += (size_t)snprintf(text + n, cap - n, "r%d ::= \"z\" r%d | \"z\"", 2 * LONG, 2 * LONG);
    cb_make(&x, lk_grammar_open_gbnf, text, NULL, NULL, 0);
    cr_assert(cb_fits(&x, "((((x))))", 9));
    cr_assert(!cb_fits(&x, "((((x)))", 8));
    char *deep = malloc(2 * LONG + 3);
    memset(deep, '(', LONG);
    memcpy(deep + LONG, "zzz", 3);
    memset(deep + LONG + 3, ')', LONG);
    cr_assert(cb_fits(&x, deep, 2 * LONG + 3));
    n = (size_t)snprintf(text, cap, "root ::= ");
    for (int i = 0; i < LONG; i++) {
        n += (size_t)snprintf(text + n, cap - n, "\"%c\"? ", 'a' + i % 26);
    }
    cb_make(&x, lk_grammar_open_gbnf, text, NULL, NULL, 0);
    cr_assert(cb_fits(&x, "azby", 4) && cb_fits(&x, "", 0));
    n = (size_t)snprintf(text, cap, "root ::= (");
    for (int i = 0; i < LONG; i++) {
        n += (size_t)snprintf(text + n, cap - n, "%s\"w%d\"", i ? " | " : "", i);
    }
    snprintf(text + n, cap - n, ")+");
    cb_make(&x, lk_grammar_open_gbnf, text, NULL, NULL, 0);
    cr_assert(cb_fits(&x, "w17w4999w0", 10) && !cb_fits(&x, "w5000", 5));
    free(deep);
    free(text);
    cb_done(&x);
}

Test(grammar, groups_that_nest_too_deeply_are_refused)
{
    enum { DEEP = 100000 };
    char *text = malloc(2 * DEEP + 16);
    lk_grammar *g;
    lk_error err;
    size_t n = (size_t)sprintf(text, "root ::= ");
    memset(text + n, '(', DEEP);
    cr_assert_eq(lk_grammar_open_gbnf(text, n + DEEP, NULL, &g, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "groups inside of each other"), "%s", err.message);
    memset(text, '(', DEEP);
    cr_assert_eq(lk_grammar_open_regex(text, DEEP, NULL, &g, &err), LK_E_UNSUPPORTED);
    memset(text, '[', DEEP);
    cr_assert_neq(lk_grammar_open_schema(text, DEEP, NULL, &g, &err), LK_OK);
    free(text);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Regular expressions as grammars: what fits the whole of one, and what is refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "tests/util/constraint_build.h"
#include "text/grammar/regex.h"

static const struct {
    const char *regex, *fits[6], *not [6];
} FITS[] = {
    {"abc", {"abc"}, {"ab", "abcd", "xabc"}},
    {"^abc$", {"abc"}, {"ab", "abcd"}},
    {"a|bc|", {"a", "bc", ""}, {"abc", "b"}},
    {"(?:ab)*c+d?", {"c", "ababccd"}, {"abab", "abcdd"}},
    {"a{2}b{1,}c{0,2}", {"aab", "aabbcc"}, {"ab", "aa", "aabccc"}},
    {"a*?b+?c??", {"aabc", "b"}, {"a"}},
    {"[a-c\\d_-]+", {"a1-_c"}, {"d", ""}},
    {"[^\\w\\s]", {"!", "\xc3\xa9"}, {"a", " ", "\xc2\xa0", "_"}},
    {"[]a]", {NULL}, {"]", "a"}}, /* an empty class, then a] */
    {"[\\]a\\\\^-]+", {"]a\\^-"}, {"b"}},
    {"[\\w-.]+", {"a-.b"}, {"!"}},
    {".", {"a", "\xe2\x82\xac", "\t"}, {"\n", "\r", "\xe2\x80\xa8", ""}},
    {"[^]", {"a", "\n"}, {""}},
    {"\\x41\\u00e9\\u{1F600}\\ud83d\\ude00\\cJ\\t\\0\\/\\-", {NULL}, {"A"}},
    {"\\u{1F600}\\ud83d\\ude00", {"\xf0\x9f\x98\x80\xf0\x9f\x98\x80"}, {"\xf0\x9f\x98\x80"}},
    {"\\p{Lu}\\p{Ll}*\\P{L}", {"\xc3\x84rger!", "A1"}, {"a1", "Ab"}},
    {"\\p{Letter}[\\p{Nd}\\p{Zs}]\\p{gc=Po}", {"x1!", "\xd0\xb6 ?"}, {"11!"}},
    {"(?<year>[0-9]{4})-(?P<m>[01][0-9])", {"2024-01"}, {"24-01"}},
    {"(?=.*[0-9])(?=.*[a-z])[a-z0-9]{3,5}", {"ab1", "1a1a1"}, {"abc", "123", "a1", "abcde1"}},
    {"(?!foo)[a-z]+", {"fo", "bar", "fof"}, {"foo", "food"}},
    {"a(?=b)[a-z]c", {"abc"}, {"axc"}},
    {"(^|x)a($|y)", {"a", "xa", "ay", "xay"}, {"x", "xx"}},
    {"a{,3}", {"a{,3}"}, {"aaa"}},
    {"x{2}y{", {"xxy{"}, {"xx"}},
    {"a^b", {NULL}, {"ab", "a^b"}},
    {"(a|b)*abb", {"abb", "babaabb"}, {"ab", "abba"}},
};

Test(regex, texts_that_fit)
{
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(FITS); i++) {
        const char *r = FITS[i].regex;
        lk_error err;
        lk_grammar *g;
        cb_drop(&x);
        if (lk_grammar_open_regex(r, strlen(r), NULL, &g, &err)) {
            cr_expect(strstr(err.message, "no text fits it") && !FITS[i].fits[0], "%s: %s", r,
                      err.message);
            continue;
        }
        lk_grammar_close(&g);
        cb_make(&x, lk_grammar_open_regex, r, NULL, NULL, 0);
        for (size_t k = 0; k < 6 && FITS[i].fits[k]; k++) {
            cr_expect(cb_fits(&x, FITS[i].fits[k], strlen(FITS[i].fits[k])), "%s: '%s'", r,
                      FITS[i].fits[k]);
        }
        for (size_t k = 0; k < 6 && FITS[i].not [k]; k++) {
            cr_expect(!cb_fits(&x, FITS[i].not [k], strlen(FITS[i].not [k])), "%s: not '%s'", r,
                      FITS[i].not [k]);
        }
        cb_check_mask(&x, r);
    }
    cb_done(&x);
}

/* Categories are kept as runs; each character must be in the run of its own. */
Test(regex, categories_of_all_characters)
{
    static const char *const names[] = {"Lu", "Ll", "Lo", "Mn", "Nd", "Po",
                                        "So", "Zs", "Cc", "Cf", "Co", "Cn"};
    struct lk_exprs x;
    struct lk_categories categories = {0};
    const struct lk_regex_options o = {.how = LK_SPELL_UTF8, .categories = &categories};
    lk_error err;
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        char text[16];
        uint32_t e;
        size_t n = (size_t)snprintf(text, sizeof text, "\\p{%s}", names[i]);
        cr_assert_eq(lk_exprs_open(&x, 1 << 28, &err), LK_OK);
        cr_assert_eq(lk_regex_expr(&x, text, n, &o, &e, &err), LK_OK, "%s", err.message);
        for (int32_t c = 0; c <= 0x10FFFF; c++) {
            char bytes[4], name[2];
            if (c >= 0xD800 && c <= 0xDFFF) {
                continue;
            }
            lk_utf8_category(c, name);
            cr_assert_eq(lk_expr_matches(&x, e, bytes, lk_utf8_put(c, bytes)),
                         memcmp(name, names[i], 2) == 0, "U+%04X in %s", (unsigned)c, names[i]);
        }
        lk_exprs_close(&x);
    }
    lk_categories_free(&categories);
}

Test(regex, escapes_with_zeros)
{
    struct cb_test x;
    cb_vocabulary(&x);
    cb_make(&x, lk_grammar_open_regex, "\\x41\\u00e9\\cJ\\t\\0\\/\\-", NULL, NULL, 0);
    cr_assert(cb_fits(&x, "A\xc3\xa9\n\t\0/-", 8));
    cb_done(&x);
}

static const struct {
    const char *regex;
    lk_status status;
    const char *message;
} REFUSED[] = {
    {"(a", LK_E_FORMAT, "regex: byte 0: '(' without ')'"},
    {"a)", LK_E_FORMAT, "byte 1: ')' without '('"},
    {"[a", LK_E_FORMAT, "byte 0: '[' without ']'"},
    {"*a", LK_E_FORMAT, "byte 0: nothing to repeat before '*'"},
    {"a**", LK_E_FORMAT, "byte 2: nothing to repeat before '*'"},
    {"a++", LK_E_FORMAT, "nothing to repeat before '+'"},
    {"a{3,2}", LK_E_FORMAT, "byte 1: a repetition whose counts run backwards"},
    {"a{9999999999}", LK_E_UNSUPPORTED, "a count above"},
    {"(a)\\1", LK_E_UNSUPPORTED, "byte 4: backreferences are not supported"},
    {"\\bfoo", LK_E_UNSUPPORTED, "byte 1: \\b is not supported"},
    {"(?<=a)b", LK_E_UNSUPPORTED, "byte 0: lookbehind is not supported"},
    {"(?i)a", LK_E_UNSUPPORTED, "byte 1: a group of a kind that is not supported"},
    {"(a$|b)*c", LK_E_UNSUPPORTED, "an anchor or lookahead inside of a repetition"},
    {"a?^b", LK_E_UNSUPPORTED, "byte 2: '^' behind what may be empty"},
    {"\\p{Script=Greek}", LK_E_UNSUPPORTED, "\\p{} knows general categories alone"},
    {"\\p", LK_E_FORMAT, "expected '{' after \\p"},
    {"\\", LK_E_FORMAT, "nothing after '\\'"},
    {"\\x4", LK_E_FORMAT, "two hexadecimal digits"},
    {"\\u12", LK_E_FORMAT, "four hexadecimal digits"},
    {"[z-a]", LK_E_FORMAT, "byte 1: a range of characters that runs backwards"},
    {"\xff", LK_E_FORMAT, "byte 0: no UTF-8"},
    {"a(?=b)c", LK_E_FORMAT, "no text fits it"},
};

Test(regex, what_is_refused_and_where)
{
    for (size_t i = 0; i < LK_COUNT(REFUSED); i++) {
        lk_grammar *g;
        lk_error err;
        const char *text = REFUSED[i].regex;
        lk_status status = lk_grammar_open_regex(text, strlen(text), NULL, &g, &err);
        cr_expect_eq(status, REFUSED[i].status, "%s: %d", text, (int)status);
        cr_expect(strstr(err.message, REFUSED[i].message), "%s: '%s', expected '%s'", text,
                  err.message, REFUSED[i].message);
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok: vocabularies a few tokens small, where the right ids can be told by hand: order of merges,
 * special tokens, flags, ends of generation, decoding.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

static const struct tok_piece bpe_pieces[] = {
    {"ab", NORMAL, 0},          {"abc", NORMAL, 0},         {"bc", NORMAL, 0},   /* 256 257 258 */
    {"<|a|>", CONTROL, 0},      {"<|a|><|b|>", CONTROL, 0}, {"<user>", USER, 0}, /* 259 260 261 */
    {"<|im_end|>", CONTROL, 0}, {"<|eot_id|>", NORMAL, 0},  {"", NORMAL, 0},     /* 262 263 264 */
    {"whole", NORMAL, 0},                                                        /* 265 */
};
static const char *const bpe_merges[] = {"b c", "a b", "a bc"};

static struct tok_build bpe(const char *pre)
{
    struct tok_build t = tok_build_default("gpt2", pre);
    t.piece = bpe_pieces;
    t.n_pieces = LK_COUNT(bpe_pieces);
    t.merge = bpe_merges;
    t.n_merges = LK_COUNT(bpe_merges);
    return t;
}

static void expect(const lk_tokenizer *t, const char *text, unsigned flags, const char *ids)
{
    const char *got = tok_ids(t, text, strlen(text), flags);
    cr_assert_str_eq(got, ids, "'%s' (flags %u): %s, expected %s", text, flags, got, ids);
}

Test(tok, the_lowest_rank_is_merged_first_then_the_leftmost)
{
    struct tok_test x;
    struct tok_build b = bpe("gpt-2");
    tok_make(&x, &b);
    expect(x.tok, "abc", 0, "257"); /* b c, then a bc */
    expect(x.tok, "abab", 0, "256 256");
    expect(x.tok, "bcabbc", 0, "258 256 258");
    expect(x.tok, "whole", 0, "119 104 111 108 101");
    expect(x.tok, "", 0, "");
    tok_done(&x);
    b = bpe("llama-bpe"); /* takes a word that is a token as it is */
    tok_make(&x, &b);
    expect(x.tok, "whole", 0, "265");
    tok_done(&x);
}

Test(tok, special_tokens_are_found_longest_first_unless_plain)
{
    struct tok_test x;
    struct tok_build b = bpe("gpt-2");
    tok_make(&x, &b);
    expect(x.tok, "<|a|>", 0, "259");
    expect(x.tok, "a<|a|><|b|>b", 0, "97 260 98");
    expect(x.tok, "<|a|><user>", 0, "259 261");
    expect(x.tok, "<|a|><|b", 0, "259 60 124 98");
    expect(x.tok, "<|a|>", LK_TOKENIZE_PLAIN, "60 124 97 124 62");
    expect(x.tok, "<user>", LK_TOKENIZE_PLAIN, "261");
    expect(x.tok, "<use", 0, "60 117 115 101");
    tok_done(&x);
}

Test(tok, an_unknown_pre_tokenizer_is_an_error_that_names_the_known_ones)
{
    struct tok_test x;
    lk_error err;
    struct tok_build b = bpe("gpt-3000");
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "'tokenizer.ggml.pre' is 'gpt-3000'") &&
                  strstr(err.message, "deepseek-llm, ") && strstr(err.message, "starcoder"),
              "%s", err.message);
    cr_assert_null(x.tok);
    tok_done(&x);
}

Test(tok, pre_tokenizers_have_several_names)
{
    static const char *const names[][2] = {
        {"gpt-2", "phi-2"},      {"gpt-2", "a.x-4.0"},
        {"gpt-2", "mellum"},     {"llama-bpe", "falcon3"},
        {"llama-bpe", "lfm2"},   {"llama-bpe", "llama3"},
        {"dbrx", "smaug-bpe"},   {"gpt-4o", "llama4"},
        {"smollm", "starcoder"}, {"qwen2", "deepseek-r1-qwen"},
        {"gpt-2", NULL}, /* a file that names none is taken for the oldest */
    };
    static const char text[] = "It's 12345 words,\r\n  aren'T IT?\n\nwhole wholeABC \xC3\xA9/";
    for (size_t i = 0; i < LK_COUNT(names); i++) {
        char want[1024];
        for (int k = 0; k < 2; k++) {
            struct tok_test x;
            struct tok_build b = bpe(names[i][k]);
            tok_make(&x, &b);
            const char *ids = tok_ids(x.tok, text, sizeof text - 1, LK_TOKENIZE_BOS);
            if (k == 0) {
                snprintf(want, sizeof want, "%s", ids);
            }
            cr_assert_str_eq(ids, want, "%s", names[i][k] ? names[i][k] : "none");
            /* one about <|eot_id|>, which is no control token there */
            size_t n = lk_tokenizer_n_warnings(x.tok);
            cr_assert_eq(n, names[i][k] ? 1 : 2);
            cr_assert(names[i][k] || strstr(lk_tokenizer_warning(x.tok, 1), "tokenizer.ggml.pre"));
            tok_done(&x);
        }
    }
}

/* A byte's own token, or a merge's result, may be marked as control or unknown. */
Test(tok, plain_text_makes_no_control_token)
{
    static const struct tok_piece pieces[] = {{"a", UNKNOWN, 0},
                                              {"b", CONTROL, 0},
                                              {"c", NORMAL, 0},
                                              {"d", NORMAL, 0},
                                              {"cd", CONTROL, 0}};
    static const char *const merges[] = {"c d"};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.bytes = false;
    b.piece = pieces;
    b.n_pieces = LK_COUNT(pieces);
    b.merge = merges;
    b.n_merges = 1;
    tok_make(&x, &b);
    expect(x.tok, "abcd", LK_TOKENIZE_PLAIN, "2 3");
    expect(x.tok, "abcd", 0, "0 1 4");
    tok_done(&x);
}

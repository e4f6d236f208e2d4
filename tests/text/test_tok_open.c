/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok open: broken vocabularies, each its own error by key; what the metadata's flags and ids do.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "gguf/model_file.h"
#include "text/token/tok.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER, UNUSED, BYTE };

static void expect_error(const struct tok_build *t, lk_status status, const char *says)
{
    struct tok_test x;
    lk_error err = {0};
    cr_expect_eq(tok_try(&x, t, &err), status, "%s: %s", says, err.message);
    cr_expect(strstr(err.message, says), "'%s' says not '%s'", err.message, says);
    cr_expect_null(x.tok);
    tok_done(&x);
}

Test(tok_open, broken_vocabularies)
{
    static char long_text[LK_TOK_MAX_TEXT + 2];
    static const struct tok_piece strange[] = {{"xy", 7, 0}}, bad_byte[] = {{"<0xG1>", BYTE, 0}},
                                  short_byte[] = {{"<0x1>", BYTE, 0}};
    static const struct tok_piece nan[] = {{"xy", NORMAL, __builtin_nanf("")}};
    static const struct tok_piece ab[] = {{"ab", NORMAL, 0}};
    static const char *const spaceless[] = {"ab"}, *const left[] = {"qq b"},
                             *const right[] = {"a qq"}, *const both[] = {"a b", "a c"},
                             *const edge[] = {" b"};
    struct tok_piece big = {long_text, NORMAL, 0};
    memset(long_text, 'x', sizeof long_text - 1);
    struct tok_build b = tok_build_default(NULL, "gpt-2");
    expect_error(&b, LK_E_FORMAT, "tokenizer.ggml.model");
    b.model = "rwkv";
    expect_error(&b, LK_E_UNSUPPORTED,
                 "'tokenizer.ggml.model' is 'rwkv', expected gpt2, llama, gemma4, bert or t5");
    b = tok_build_default("gpt2", "gpt-2");
    b.bytes = false;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.tokens' has 0 elements");
    b.bytes = true;
    b.piece = &big, b.n_pieces = 1;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.tokens'[256] has 16385 bytes");
    b.piece = strange, b.n_pieces = 1;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.token_type'[256] is 7, expected 0 to 6");
    b.piece = bad_byte;
    expect_error(&b, LK_E_FORMAT, "[256] is '<0xG1>', expected <0xNN>");
    b.piece = short_byte;
    expect_error(&b, LK_E_FORMAT, "[256] is '<0x1>', expected <0xNN>");
    b.piece = ab, b.n_merges = 1, b.merge = spaceless;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.merges'[0] is 'ab', expected two tokens");
    b.merge = edge;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.merges'[0] is ' b', expected two tokens");
    b.merge = left;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.merges'[0]: 'qq' is not a token");
    b.merge = right;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.merges'[0]: 'qq' is not a token");
    b.merge = both, b.n_merges = 2;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.merges'[1]: 'ac' is not a token");
    b.n_merges = 1, b.add_bos = 1;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.add_bos_token' is true");
    b.add_bos = -1, b.add_eos = 1;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.add_eos_token' is true");
    b = tok_build_default("llama", NULL);
    b.no_types = true;
    expect_error(&b, LK_E_FORMAT, "tokenizer.ggml.token_type");
    b.no_types = false, b.no_scores = true;
    expect_error(&b, LK_E_FORMAT, "tokenizer.ggml.scores");
    b.no_scores = false, b.piece = nan, b.n_pieces = 1;
    expect_error(&b, LK_E_FORMAT, "'tokenizer.ggml.scores'[256] is not a number");
}

/* Arrays shorter than the tokens, and of the wrong type. */
Test(tok_open, arrays_must_fit_the_tokens)
{
    for (int which = 0; which < 4; which++) {
        struct gguf_build b;
        struct lk_gguf *g;
        lk_model *m;
        lk_tokenizer *t;
        lk_error err;
        gb_start(&b, 3);
        gb_key_str(&b, "tokenizer.ggml.model", "llama");
        gb_array(&b, "tokenizer.ggml.tokens", LK_GGUF_STRING, 2);
        gb_str(&b, "a");
        gb_str(&b, "b");
        gb_array(&b, "tokenizer.ggml.token_type", which == 2 ? LK_GGUF_U32 : LK_GGUF_I32,
                 which == 0 ? 1 : 2);
        gb_fill(&b, 1, which == 0 ? 4 : 8);
        if (which != 0 && which != 2) {
            /* 0x01010101 is no type: only the array's own faults matter here */
            memset(b.data + b.n - 8, 0, 8);
        }
        gb_array(&b, "tokenizer.ggml.scores", which == 3 ? LK_GGUF_F64 : LK_GGUF_F32,
                 which == 1 ? 3 : 2);
        gb_fill(&b, 0, which == 1 ? 12 : which == 3 ? 16 : 8);
        cr_assert_eq(lk_gguf_open_memory(b.data, b.n, &g, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_model_of_gguf(g, &m, &err), LK_OK, "%s", err.message);
        cr_assert_eq(lk_tokenizer_open(m, &t, &err), LK_E_FORMAT);
        cr_assert(strstr(err.message,
                         which % 2 ? "tokenizer.ggml.scores" : "tokenizer.ggml.token_type"),
                  "%s", err.message);
        lk_model_close(&m);
        gb_free(&b);
    }
}

Test(tok_open, bos_and_eos_by_kind_and_by_key)
{
    static const struct tok_piece ends[] = {{"<s>", CONTROL, 0}, {"</s>", CONTROL, 0}};
    static const struct {
        const char *model, *pre;
        int add_bos, add_eos;
        const char *ids;
    } cases[] = {
        {"gpt2", "gpt-2", -1, -1, "97"},      {"gpt2", "llama-bpe", -1, -1, "256 97"},
        {"gpt2", "gpt-2", 1, -1, "256 97"},   {"gpt2", "llama-bpe", 0, -1, "97"},
        {"gpt2", "gpt-2", -1, 1, "97 257"},   {"llama", NULL, -1, -1, "256 97"},
        {"llama", "default", 0, 1, "97 257"}, {"llama", "default", 1, 1, "256 97 257"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct tok_test x;
        struct tok_build b = tok_build_default(cases[i].model, cases[i].pre);
        b.piece = ends, b.n_pieces = 2, b.bos = 256, b.eos = 257;
        b.add_bos = cases[i].add_bos, b.add_eos = cases[i].add_eos, b.add_space_prefix = 0;
        tok_make(&x, &b);
        cr_assert_str_eq(tok_ids(x.tok, "a", 1, LK_TOKENIZE_BOS | LK_TOKENIZE_EOS), cases[i].ids,
                         "case %zu", i);
        cr_assert_str_eq(tok_ids(x.tok, "a", 1, 0), "97");
        /* a text that is to be continued has no end */
        cr_assert_null(strstr(tok_ids(x.tok, "a", 1, LK_TOKENIZE_BOS), "257"));
        cr_assert_eq(lk_tokenizer_adds_bos(x.tok), strncmp(cases[i].ids, "256", 3) == 0);
        cr_assert_eq(lk_token_bos(x.tok), 256);
        cr_assert_eq(lk_token_eos(x.tok), 257);
        cr_assert_eq(lk_tokenizer_n_vocab(x.tok), 258);
        tok_done(&x);
    }
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "llama-bpe"); /* no BOS to add */
    tok_make(&x, &b);
    cr_assert(!lk_tokenizer_adds_bos(x.tok) && lk_token_bos(x.tok) == -1);
    tok_done(&x);
}

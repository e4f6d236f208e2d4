/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok ends: which tokens end an answer, by keys and by texts, whatever type a file gives them; what
 * files have wrong about it, and how it is taken.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER };

/* The one warning of an open tokenizer has these words. */
static void expect_warning(const struct tok_test *x, const char *a, const char *b)
{
    cr_assert_eq(lk_tokenizer_n_warnings(x->tok), 1);
    const char *text = lk_tokenizer_warning(x->tok, 0);
    cr_assert(strstr(text, a) && strstr(text, b), "%s", text);
}

Test(tok_ends, control_tokens_and_keys)
{
    static const struct tok_piece pieces[] = {
        {"<|im_end|>", CONTROL, 0}, {"<eos>", NORMAL, 0},  {"<|end|>", CONTROL, 0},
        {"turn", CONTROL, 0},       {"stop", NORMAL, 0},   {"<unk>", UNKNOWN, 0},
        {"</s>", USER, 0},          {"<EOT>", CONTROL, 0},
    };
    static const bool eog[] = {true, false, true, true, true, false, false, true};
    static const bool control[] = {true, false, true, true, false, true, false, true};
    static const struct tok_piece harmony[] = {{"<|return|>", CONTROL, 0},
                                               {"<|call|>", CONTROL, 0},
                                               {"<|end|>", CONTROL, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.piece = pieces, b.n_pieces = LK_COUNT(pieces), b.eot = 259, b.eos = 260;
    tok_make(&x, &b);
    for (int i = 0; i < (int)LK_COUNT(pieces); i++) {
        cr_assert_eq(lk_token_is_eog(x.tok, 256 + i), eog[i], "%s", pieces[i].text);
        cr_assert_eq(lk_token_is_control(x.tok, 256 + i), control[i], "%s", pieces[i].text);
    }
    cr_assert(!lk_token_is_eog(x.tok, -1) && !lk_token_is_eog(x.tok, 264));
    cr_assert(!lk_token_is_control(x.tok, -1) && !lk_token_is_control(x.tok, INT32_MAX));
    cr_assert_eq(lk_tokenizer_n_warnings(x.tok), 0);
    tok_done(&x);
    b = tok_build_default("gpt2", "gpt-2");
    b.piece = harmony, b.n_pieces = 3;
    tok_make(&x, &b);
    cr_assert(lk_token_is_eog(x.tok, 256) && lk_token_is_eog(x.tok, 257) &&
              !lk_token_is_eog(x.tok, 258));
    tok_done(&x);
}

/* Marks of a dialogue are control tokens, of whatever type; what parts files of code ends too. */
Test(tok_ends, texts_count_whatever_their_type)
{
    static const char *const ends[] = {"<|im_end|>",           "<|eot_id|>",
                                       "<end_of_turn>",        "<|end|>",
                                       "<|endoftext|>",        "<turn|>",
                                       "<｜end▁of▁sentence｜>"};
    static const char *const apart[] = {"<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"};
    static const char *const marks[] = {"<|im_start|>", "<|start_header_id|>", "<start_of_turn>"};
    static const char *const kinds[] = {"gpt2", "llama"};
    for (int type = NORMAL; type <= USER; type++) {
        for (int k = 0; k < 2; k++) {
            struct tok_piece pieces[LK_COUNT(ends) + LK_COUNT(apart) + LK_COUNT(marks)];
            struct tok_test x;
            struct tok_build b = tok_build_default(kinds[k], "gpt-2");
            int n = 0, n_ends = LK_COUNT(ends), n_apart = LK_COUNT(apart);
            for (int i = 0; i < n_ends; i++) {
                pieces[n++] = (struct tok_piece){ends[i], type, 0};
            }
            for (int i = 0; i < n_apart; i++) {
                pieces[n++] = (struct tok_piece){apart[i], type, 0};
            }
            for (size_t i = 0; i < LK_COUNT(marks); i++) {
                pieces[n++] = (struct tok_piece){marks[i], type, 0};
            }
            b.piece = pieces, b.n_pieces = (size_t)n;
            tok_make(&x, &b);
            for (int i = 0; i < n; i++) {
                bool is_apart = i >= n_ends && i < n_ends + n_apart, special = !is_apart;
                cr_assert_eq(lk_token_is_eog(x.tok, 256 + i), i < n_ends + n_apart, "%s, type %d",
                             pieces[i].text, type);
                cr_assert_eq(lk_token_is_control(x.tok, 256 + i),
                             special || type == CONTROL || type == UNKNOWN, "%s, type %d",
                             pieces[i].text, type);
            }
            /* found in a format's text, not in a person's */
            cr_assert_str_eq(tok_ids(x.tok, "<|im_end|>", 10, 0), "256");
            cr_assert_str_neq(tok_ids(x.tok, "<|im_end|>", 10, LK_TOKENIZE_PLAIN), "256");
            if (type == CONTROL) {
                cr_assert_eq(lk_tokenizer_n_warnings(x.tok), 0);
            } else {
                expect_warning(&x, "tokenizer.ggml.token_type", "'<|im_end|>'");
            }
            tok_done(&x);
        }
    }
}

/* Gemma 4's files call marks of calls and thinking user-defined, so that they are printed. */
Test(tok_ends, marks_that_are_shown_are_no_text_of_people)
{
    static const char *const marks[] = {
        "<|tool_response>", "<tool_response|>", "<|tool_call>", "<tool_call|>",
        "<|channel>",       "<channel|>",       "<|\"|>"};
    for (int type = NORMAL; type <= USER; type++) {
        struct tok_piece pieces[LK_COUNT(marks)];
        struct tok_test x;
        struct tok_build b = tok_build_default("gpt2", "gpt-2");
        for (size_t i = 0; i < LK_COUNT(marks); i++) {
            pieces[i] = (struct tok_piece){marks[i], type, 0};
        }
        b.piece = pieces, b.n_pieces = LK_COUNT(marks);
        tok_make(&x, &b);
        for (int i = 0; i < (int)LK_COUNT(marks); i++) {
            cr_assert(lk_token_is_control(x.tok, 256 + i));
            cr_assert_eq(lk_token_is_eog(x.tok, 256 + i), i == 0, "%s", marks[i]);
        }
        cr_assert_str_eq(tok_ids(x.tok, "<|channel>", 10, 0), "260");
        cr_assert_str_neq(tok_ids(x.tok, "<|channel>", 10, LK_TOKENIZE_PLAIN), "260");
        if (type == CONTROL || type == USER) {
            cr_assert_eq(lk_tokenizer_n_warnings(x.tok), 0);
        } else {
            expect_warning(&x, "tokenizer.ggml.token_type", "'<|tool_response>'");
        }
        tok_done(&x);
    }
}

static void write_end_ids(struct gguf_build *b, const void *ids)
{
    gb_array(b, "tokenizer.ggml.eos_token_ids", LK_GGUF_I32, 3);
    gb_bytes(b, ids, 3 * sizeof(int32_t));
}

/* All of a list count; the first is EOS where the file names none. */
Test(tok_ends, lists_of_ends)
{
    static const struct tok_piece pieces[] = {{"x", NORMAL, 0},
                                              {"yy", NORMAL, 0},
                                              {"zz", CONTROL, 0},
                                              {"ww", CONTROL, 0}};
    static const int32_t ids[] = {258, 257, 259}, none[] = {258, -1, 259};
    for (int eos = -1; eos <= 97; eos += 98) {
        struct tok_test x;
        struct tok_build b = tok_build_default("gpt2", "gpt-2");
        b.piece = pieces + 1, b.n_pieces = 3, b.eos = eos;
        b.add_keys = write_end_ids, b.keys = ids;
        lk_error err;
        /* 259 is no token here: 256 yy, 257 zz, 258 ww */
        cr_assert_eq(tok_try(&x, &b, &err), LK_OK, "%s", err.message);
        cr_assert(!lk_token_is_eog(x.tok, 256) && lk_token_is_eog(x.tok, 257) &&
                  lk_token_is_eog(x.tok, 258));
        cr_assert_eq(lk_token_eos(x.tok), eos < 0 ? 258 : eos);
        cr_assert_eq(lk_token_is_eog(x.tok, 97), eos == 97);
        expect_warning(&x, "eos_token_ids' is 259", "expected less than 259");
        tok_done(&x);
        b.keys = none, b.piece = pieces, b.n_pieces = 3, b.bytes = true;
        b.piece = pieces + 1;
        tok_make(&x, &b);
        cr_assert(!lk_token_is_eog(x.tok, 257) && lk_token_is_eog(x.tok, 258));
        cr_assert_eq(lk_tokenizer_n_warnings(x.tok), 2);
        tok_done(&x);
    }
}

static void write_no_ids(struct gguf_build *b, const void *negative)
{
    static const char *const keys[] = {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.unknown_token_id"};
    for (size_t i = 0; i < LK_COUNT(keys); i++) {
        gb_key(b, keys[i], negative ? LK_GGUF_I32 : LK_GGUF_U32);
        gb_u32(b, i == 2 && !negative ? 99999 : UINT32_MAX);
    }
}

/* -1, as a number with and without a sign, and ids beyond the vocabulary: there is none, whatever
 * the flags ask for. */
Test(tok_ends, ids_of_no_token)
{
    static const char negative;
    static const char *const kinds[] = {"gpt2", "llama"};
    for (int k = 0; k < 4; k++) {
        struct tok_test x;
        struct tok_build b = tok_build_default(kinds[k / 2], "gpt-2");
        b.add_keys = write_no_ids, b.keys = k % 2 ? &negative : NULL;
        b.add_bos = b.add_eos = 1, b.add_space_prefix = 0;
        tok_make(&x, &b);
        cr_assert(lk_token_bos(x.tok) == -1 && lk_token_eos(x.tok) == -1);
        cr_assert_not(lk_tokenizer_adds_bos(x.tok));
        cr_assert_str_eq(tok_ids(x.tok, "hi", 2, LK_TOKENIZE_BOS | LK_TOKENIZE_EOS), "104 105");
        cr_assert_eq(lk_tokenizer_n_warnings(x.tok), 3);
        cr_assert(strstr(lk_tokenizer_warning(x.tok, 0), "bos_token_id' is -1"), "%s",
                  lk_tokenizer_warning(x.tok, 0));
        tok_done(&x);
    }
}

/* A text means the first of its tokens; the others decode as they are. */
Test(tok_ends, equal_texts)
{
    static const struct tok_piece pieces[] = {{"xy", USER, 0},     {"zz", NORMAL, 0},
                                              {"xy", USER, 0},     {"xy", NORMAL, 0},
                                              {"\x1b", NORMAL, 0}, {"\x1b", NORMAL, 0}};
    struct tok_test x;
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    char text[8];
    size_t len;
    b.piece = pieces, b.n_pieces = LK_COUNT(pieces);
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "axyxy", 5, 0), "97 256 256");
    cr_assert_eq(lk_token_bytes(x.tok, 258, text, sizeof text, &len), LK_OK);
    cr_assert(len == 2 && memcmp(text, "xy", 2) == 0);
    expect_warning(&x, "'tokenizer.ggml.tokens'[258] is 'xy', as is [256]", "2 more");
    tok_done(&x);
}

/* A BOS at the beginning of the text is the one that would be added. */
Test(tok_ends, a_typed_bos_is_not_doubled)
{
    static const struct tok_piece pieces[] = {{"<s>", CONTROL, 0}};
    static const char *const kinds[] = {"gpt2", "llama"};
    for (int k = 0; k < 2; k++) {
        struct tok_test x;
        struct tok_build b = tok_build_default(kinds[k], "gpt-2");
        b.piece = pieces, b.n_pieces = 1, b.bos = 256, b.add_bos = 1, b.add_space_prefix = 0;
        tok_make(&x, &b);
        cr_assert_str_eq(tok_ids(x.tok, "<s>a", 4, LK_TOKENIZE_BOS), "256 97");
        cr_assert_str_eq(tok_ids(x.tok, "<s>a", 4, 0), "256 97");
        cr_assert_str_eq(tok_ids(x.tok, "a<s>", 4, LK_TOKENIZE_BOS), "256 97 256");
        cr_assert_str_eq(tok_ids(x.tok, "<s><s>a", 7, LK_TOKENIZE_BOS), "256 256 97");
        cr_assert_str_eq(tok_ids(x.tok, "<s>", 3, LK_TOKENIZE_BOS), "256");
        cr_assert_str_eq(tok_ids(x.tok, "<s>", 3, LK_TOKENIZE_BOS | LK_TOKENIZE_PLAIN),
                         "256 60 115 62");
        tok_done(&x);
    }
}

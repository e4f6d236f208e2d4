/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_wpm: WordPiece: ids that Hugging Face `tokenizers` gives with the same vocabulary, what
 * frames a text, decoding, and what is refused.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, CONTROL = 3, CLS = 2, SEP = 3 };
#define B "\xE2\x96\x81" /* begins a word */

static const struct tok_piece PIECES[] = {
    {"[PAD]", CONTROL, 0},  {"[UNK]", CONTROL, 0},   {"[CLS]", CONTROL, 0},  {"[SEP]", CONTROL, 0},
    {"[MASK]", CONTROL, 0}, {B "hello", NORMAL, 0},  {"lo", NORMAL, 0},      {B "hel", NORMAL, 0},
    {B "world", NORMAL, 0}, {"s", NORMAL, 0},        {B "un", NORMAL, 0},    {"aff", NORMAL, 0},
    {"able", NORMAL, 0},    {B "!", NORMAL, 0},      {B ",", NORMAL, 0},     {B "$", NORMAL, 0},
    {B "naive", NORMAL, 0}, {B "grosse", NORMAL, 0}, {"e", NORMAL, 0},       {B "i", NORMAL, 0},
    {"x", NORMAL, 0},       {B "x", NORMAL, 0},      {B "日", NORMAL, 0},    {B "本", NORMAL, 0},
    {B "a", NORMAL, 0},     {B "^", NORMAL, 0},      {B "the", NORMAL, 0},   {"re", NORMAL, 0},
    {B ".", NORMAL, 0},     {B "é", NORMAL, 0},      {B "Hello", NORMAL, 0},
};

struct wpm {
    int cls, sep, lowercase; /* -1: no key */
};

static void write_keys(struct gguf_build *b, const void *keys)
{
    const struct wpm *w = keys;
    if (w->cls >= 0) {
        gb_key_u32(b, "tokenizer.ggml.cls_token_id", (uint32_t)w->cls);
    }
    if (w->sep >= 0) {
        gb_key_u32(b, "tokenizer.ggml.seperator_token_id", (uint32_t)w->sep);
    }
    if (w->lowercase >= 0) {
        gb_key_bool(b, "tokenizer.ggml.normalizer.lowercase", w->lowercase);
    }
}

static struct tok_build build_of(const struct wpm *w)
{
    struct tok_build b = tok_build_default("bert", NULL);
    b.bytes = false;
    b.piece = PIECES;
    b.n_pieces = LK_COUNT(PIECES);
    b.unk = 1;
    b.add_keys = write_keys;
    b.keys = w;
    return b;
}

Test(tok_wpm, words_and_their_pieces)
{
    static const struct {
        const char *text;
        size_t len; /* 0: up to the first 0 */
        const char *small, *as_is;
    } cases[] = {
        {"hello world", 0, "5 8", "5 8"},
        {"Hello, WORLD!", 0, "5 14 8 13", "30 14 1 13"},
        {"unaffable", 0, "10 11 12", "10 11 12"},
        {"naïve\tNaïve\n", 0, "16 16", "1 1"},
        {"hellos helo zzz hello", 0, "5 9 1 1 5", "5 9 1 1 5"},
        {"日本hello", 0, "22 23 5", "22 23 5"},
        {"$a^", 0, "15 24 25", "15 24 25"},
        {"İ i", 0, "19 19", "1 19"},
        {"", 0, "", ""},
        {"  ", 0, "", ""},
        {"hel\0lo", 6, "5", "5"},
        {"hel\xE2\x80\x8Blo hel\xEF\xBF\xBDlo hel\xFFlo", 0, "5 5 5", "5 5 5"},
        {"a\xC2\xADx", 0, "24 20", "24 20"}, /* a soft hyphen */
        {"the\xE3\x80\x80there...", 0, "26 26 27 28 28 28", "26 26 27 28 28 28"},
        {"É é e", 0, "1 1 1", "1 29 1"},
        {"gross\xD0\xB5 a", 0, "1 24", "1 24"},  /* with a Cyrillic letter */
        {"hel\x0Blo\xC2\x85s", 0, "5 9", "5 9"}, /* controls, not white space */
        {"e\xCC\x81 a\xCC\x81", 0, "1 24", "1 1"},
    };
    for (int lowercase = 0; lowercase < 2; lowercase++) {
        struct wpm w = {CLS, SEP, lowercase ? -1 : 0};
        struct tok_build b = build_of(&w);
        struct tok_test x;
        tok_make(&x, &b);
        for (size_t i = 0; i < LK_COUNT(cases); i++) {
            const char *want = lowercase ? cases[i].small : cases[i].as_is;
            size_t len = cases[i].len ? cases[i].len : strlen(cases[i].text);
            const char *got = tok_ids(x.tok, cases[i].text, len, 0);
            cr_expect_str_eq(got, want, "'%s': found %s, expected %s", cases[i].text, got, want);
        }
        tok_done(&x);
    }
}

Test(tok_wpm, words_of_more_than_a_hundred_characters_are_unknown)
{
    struct wpm w = {CLS, SEP, -1};
    struct tok_build b = build_of(&w);
    struct tok_test x;
    char text[512], want[512] = "21";
    tok_make(&x, &b);
    memset(text, 'x', 101);
    for (int i = 1; i < 100; i++) {
        strcat(want, " 20");
    }
    cr_assert_str_eq(tok_ids(x.tok, text, 100, 0), want);
    memcpy(text + 101, " a", 3);
    cr_assert_str_eq(tok_ids(x.tok, text, 103, 0), "1 24");
    for (int i = 0; i < 101; i++) { /* of two bytes, which become one character each */
        memcpy(text + 2 * i, "Ä", 2);
    }
    cr_assert_str_eq(tok_ids(x.tok, text, 202, 0), "1");
    tok_done(&x);
}

Test(tok_wpm, a_text_is_framed)
{
    struct wpm w = {CLS, SEP, -1};
    struct tok_build b = build_of(&w);
    struct tok_test x;
    const unsigned both = LK_TOKENIZE_BOS | LK_TOKENIZE_EOS;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "hello", 5, both), "2 5 3");
    cr_assert_str_eq(tok_ids(x.tok, "hello", 5, 0), "5");
    cr_assert_str_eq(tok_ids(x.tok, "hello [MASK]s", 13, both), "2 5 4 1 3");
    cr_assert_str_eq(tok_ids(x.tok, "[MASK]", 6, LK_TOKENIZE_PLAIN), "1 1 1");
    cr_assert(lk_token_bos(x.tok) == CLS && lk_token_eos(x.tok) == SEP);
    tok_done(&x);
    b.add_bos = b.add_eos = 0;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "hello", 5, both), "5");
    tok_done(&x);
    b = build_of(&w);
    w.cls = w.sep = -1; /* other names of the same */
    b.bos = CLS, b.eos = SEP;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "hello", 5, both), "2 5 3");
    tok_done(&x);
}

Test(tok_wpm, pieces_are_joined_again)
{
    static const int32_t ids[] = {CLS, 5, 14, 10, 11, 12, 8, SEP};
    struct wpm w = {CLS, SEP, -1};
    struct tok_build b = build_of(&w);
    struct tok_test x;
    lk_decoder d = {0};
    char text[128];
    size_t at = 0, n;
    tok_make(&x, &b);
    for (size_t i = 0; i < LK_COUNT(ids); i++) {
        cr_assert_eq(lk_decode(x.tok, &d, ids[i], false, text + at, sizeof text - at, &n), LK_OK);
        at += n;
    }
    text[at] = 0;
    cr_assert_str_eq(text, "hello , unaffable world");
    tok_done(&x);
}

Test(tok_wpm, a_vocabulary_without_an_unknown_word_is_refused)
{
    struct wpm w = {CLS, SEP, -1};
    struct tok_build b = build_of(&w);
    struct tok_test x;
    lk_error err;
    b.unk = -1;
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "tokenizer.ggml.unknown_token_id"), "%s", err.message);
    tok_done(&x);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_ugm: SentencePiece's unigram model by hand: the best of several ways, unknown characters, the
 * file's table, white space, and what is refused. Against other implementations: test_tok_golden.c.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/tok_build.h"

enum { NORMAL = 1, UNKNOWN = 2, CONTROL = 3, USER = 4, UNUSED = 5 };
#define B "\xE2\x96\x81" /* a space */

static const struct tok_piece PIECES[] = {
    {"<s>", CONTROL, 0},   {"</s>", CONTROL, 0},     {"<unk>", UNKNOWN, 0}, {B, NORMAL, -3},
    {"a", NORMAL, -4},     {"b", NORMAL, -4},        {"ab", NORMAL, -6},    {B "a", NORMAL, -5},
    {B "ab", NORMAL, -30}, {"bab", UNUSED, -1},      {"c", NORMAL, -2},     {"abc", NORMAL, -8.5f},
    {"<m>", USER, -90},    {"\xC3\xA9", NORMAL, -7}, {"aaaa", NORMAL, -9},
};

enum { N_UNITS = 0x400 };
struct table {
    uint8_t bytes[4 + 4 * N_UNITS + 5];
};

static void put_unit(struct table *t, size_t i, uint32_t unit)
{
    for (int k = 0; k < 4; k++) {
        t->bytes[4 + 4 * i + (size_t)k] = (uint8_t)(unit >> 8 * k);
    }
}

/* A becomes a, a tab a space, U+00D7 nothing. */
static struct table make_table(void)
{
    struct table t = {{0}};
    t.bytes[1] = 4 * N_UNITS >> 8;
    put_unit(&t, 0, 0x100u << 10);
    put_unit(&t, 0x141, 'A' | 0x100 | (0x141u ^ 0x300u) << 10);
    put_unit(&t, 0x300, 0);
    put_unit(&t, 0x109, '\t' | 0x100 | (0x109u ^ 0x301u) << 10);
    put_unit(&t, 0x301, 2);
    put_unit(&t, 0x1C3, 0xC3 | (0x1C3u ^ 0x200u) << 10);
    put_unit(&t, 0x297, 0x97 | 0x100 | (0x297u ^ 0x302u) << 10);
    put_unit(&t, 0x302, 4);
    memcpy(t.bytes + 4 + 4 * N_UNITS, "a\0 \0", 5);
    return t;
}

struct ugm {
    const struct table *table;
    size_t n_bytes; /* of the table */
    int merge;      /* -1: no key */
};

static void write_keys(struct gguf_build *b, const void *keys)
{
    const struct ugm *u = keys;
    if (u->table) {
        gb_array(b, "tokenizer.ggml.precompiled_charsmap", LK_GGUF_U8, u->n_bytes);
        gb_bytes(b, u->table->bytes, u->n_bytes);
    }
    if (u->merge >= 0) {
        gb_key_bool(b, "tokenizer.ggml.remove_extra_whitespaces", u->merge);
    }
}

static struct tok_build build_of(const struct ugm *u)
{
    struct tok_build b = tok_build_default("t5", NULL);
    b.bytes = false;
    b.piece = PIECES;
    b.n_pieces = LK_COUNT(PIECES);
    b.bos = 0;
    b.eos = 1;
    b.unk = 2;
    b.add_keys = write_keys;
    b.keys = u;
    return b;
}

Test(tok_ugm, the_highest_sum_is_taken)
{
    static const struct {
        const char *text, *merged, *kept;
    } cases[] = {
        {"ab", "3 6", "3 6"},             /* -9, as space-a and b: the first found stays */
        {"abc", "3 6 10", "3 6 10"},      /* -11; space and abc: -11.5 */
        {"bab", "3 5 6", "3 5 6"},        /* an unused piece is none */
        {"b  b", "3 5 3 5", "3 5 3 3 5"}, /* white space */
        {"  b ", "3 5", "3 3 3 5 3"},
        {"xyz", "3 2", "3 2"}, /* unknown ones side by side are one */
        {"xbx", "3 2 5 2", "3 2 5 2"},
        {"\xFF", "3 2", "3 2"},
        {"A\tB", "7 3 2", "7 3 2"},
        {"b\xC3\x97"
         "b\xC3\xA9",
         "3 5 5 13", "3 5 5 13"},
        {"b" B "b", "3 5 3 5", "3 5 3 5"},
        {"\xC3", "3 2", "3 2"},
        {"baaaa", "3 5 14", "3 5 14"},
        {"", "", ""},
        {"  ", "", "3 3 3"},
        {"b<m>b", "3 5 12 3 5", "3 5 12 3 5"},
        {"b</s>", "3 5 1", "3 5 1"},
    };
    struct table table = make_table();
    for (int merge = 0; merge < 2; merge++) {
        struct ugm u = {&table, sizeof table.bytes, merge ? -1 : 0};
        struct tok_build b = build_of(&u);
        struct tok_test x;
        tok_make(&x, &b);
        for (size_t i = 0; i < LK_COUNT(cases); i++) {
            const char *want = merge ? cases[i].merged : cases[i].kept;
            const char *got = tok_ids(x.tok, cases[i].text, strlen(cases[i].text), 0);
            cr_expect_str_eq(got, want, "'%s': found %s, expected %s", cases[i].text, got, want);
        }
        tok_done(&x);
    }
}

Test(tok_ugm, a_text_is_framed_and_joined_again)
{
    static const int32_t ids[] = {0, 7, 5, 3, 10, 1};
    const unsigned both = LK_TOKENIZE_BOS | LK_TOKENIZE_EOS;
    struct ugm u = {NULL, 0, -1};
    struct tok_build b = build_of(&u);
    struct tok_test x;
    char text[64];
    size_t at = 0, n;
    lk_decoder d = {0};
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "ab", 2, both), "3 6 1"); /* T5 has no beginning */
    for (size_t i = 0; i < LK_COUNT(ids); i++) {
        cr_assert_eq(lk_decode(x.tok, &d, ids[i], false, text + at, sizeof text - at, &n), LK_OK);
        at += n;
    }
    text[at] = 0;
    cr_assert_str_eq(text, "ab c");
    tok_done(&x);
    b.add_bos = 1;
    b.add_space_prefix = 0;
    tok_make(&x, &b);
    cr_assert_str_eq(tok_ids(x.tok, "ab", 2, both), "0 6 1");
    cr_assert_str_eq(tok_ids(x.tok, " ab c", 5, both), "0 6 3 10 1");
    cr_assert_str_eq(tok_ids(x.tok, "</s>b", 5, LK_TOKENIZE_PLAIN), "2 5");
    tok_done(&x);
}

/* A table is of a file: whatever it says, nothing outside of it is read. */
Test(tok_ugm, tables_that_lead_nowhere)
{
    struct table table = make_table();
    struct ugm u = {&table, sizeof table.bytes, -1};
    struct tok_build b = build_of(&u);
    for (int way = 0; way < 4; way++) {
        struct tok_test x;
        table = make_table();
        put_unit(&table,
                 way == 0   ? 0
                 : way == 3 ? 0x300
                            : 0x141,
                 way == 0   ? 0x3FFFFFu << 10                     /* children beyond the end */
                 : way == 1 ? 'A' | 0x100 | 0x3FFu << 20          /* so of one of them */
                 : way == 2 ? 'A' | 0x100 | 0x200 | 0xFFFFu << 10 /* and by a larger step */
                            : 0x7FFFFFFFu);                       /* a text beyond the last */
        tok_make(&x, &b);
        cr_assert_str_eq(tok_ids(x.tok, "A", 1, 0), "3 2", "way %d", way);
        tok_done(&x);
    }
}

Test(tok_ugm, what_makes_no_sense_is_refused)
{
    struct table table = make_table();
    struct ugm u = {&table, sizeof table.bytes, -1};
    struct tok_build b = build_of(&u);
    struct tok_piece pieces[LK_COUNT(PIECES)];
    struct tok_test x;
    lk_error err;
    static const size_t lengths[] = {0, 3, 4, 4 + 4 * N_UNITS, 4 + 4 * N_UNITS + 1};
    for (size_t i = 0; i < LK_COUNT(lengths); i++) { /* the last one's text has no end */
        u.n_bytes = lengths[i];
        cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT, "%zu", lengths[i]);
        cr_assert(strstr(err.message, "precompiled_charsmap"), "%s", err.message);
        tok_done(&x);
    }
    u.n_bytes = sizeof table.bytes;
    table.bytes[0] = 2; /* half a unit */
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "multiple of 4"), "%s", err.message);
    tok_done(&x);
    table.bytes[0] = 0;
    b.unk = -1;
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "tokenizer.ggml.unknown_token_id"), "%s", err.message);
    tok_done(&x);
    b.unk = 2;
    b.no_scores = true;
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "tokenizer.ggml.scores"), "%s", err.message);
    tok_done(&x);
    b.no_scores = false;
    memcpy(pieces, PIECES, sizeof pieces);
    pieces[4].score = -INFINITY;
    b.piece = pieces;
    cr_assert_eq(tok_try(&x, &b, &err), LK_E_FORMAT);
    cr_assert(strstr(err.message, "scores'[4] is not a finite number"), "%s", err.message);
    tok_done(&x);
}

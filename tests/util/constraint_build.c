/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraint build: see constraint_build.h.
 */
#include "tests/util/constraint_build.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

/* The space and the line feed as byte-level vocabularies spell them. */
#define G "\xc4\xa0"
#define N "\xc4\x8a"

static const struct tok_piece pieces[] = {
    {"<|end|>", 3, 0},
    {"<|im_end|>", 3, 0},
    {"<|tool|>", 3, 0},
    {"<|bye|>", 3, 0},
    {"<call>", 4, 0},
    {"\":", 1, 0},
    {"\":" G, 1, 0},
    {"{\"", 1, 0},
    {"\"}", 1, 0},
    {"\"," G "\"", 1, 0},
    {"}}", 1, 0},
    {"]}", 1, 0},
    {"," G, 1, 0},
    {":" G "[", 1, 0},
    {"[]", 1, 0},
    {"{}", 1, 0},
    {"true", 1, 0},
    {"tr", 1, 0},
    {"false", 1, 0},
    {"null", 1, 0},
    {"ab", 1, 0},
    {"abc", 1, 0},
    {"name", 1, 0},
    {"value", 1, 0},
    {"\"name", 1, 0},
    {G "the", 1, 0},
    {"the" G "quick" G "brown" G "fox" G "jumps", 1, 0},
    {"00", 1, 0},
    {"12", 1, 0},
    {"123", 1, 0},
    {"0.5", 1, 0},
    {"-1", 1, 0},
    {"e+", 1, 0},
    {"\\n", 1, 0},
    {"\\u", 1, 0},
    {"\\\"", 1, 0},
    {"\\u00", 1, 0},
    {N N, 1, 0},
    {G G G G G G G G G G G G G G G G G G G G G G G G, 1, 0},
    {"\xc3\x83\xc2\xa9", 1, 0},   /* U+00E9 */
    {"x\xc3\x83\xc2\xa9y", 1, 0}, /* with neighbours */
    {"abc\xc3\x83", 1, 0},        /* ends inside of it */
    {"\xc2\xa9\"", 1, 0},         /* its second byte and a quote */
    {"ol>{", 1, 0},
    {"<to", 1, 0},
    {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1, 0},
};

void cb_vocabulary(struct cb_test *x)
{
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.piece = pieces;
    b.n_pieces = LK_COUNT(pieces);
    b.eos = CB_END;
    *x = (struct cb_test){0};
    tok_make(&x->vocabulary, &b);
    x->tok = x->vocabulary.tok;
    cr_assert(lk_token_is_eog(x->tok, CB_END) && lk_token_is_eog(x->tok, CB_TURN));
}

void cb_make(struct cb_test *x, cb_open open, const char *text, const lk_grammar_options *options,
             const lk_trigger *triggers, size_t n_triggers)
{
    lk_error err;
    cb_drop(x);
    cr_assert_eq(open(text, strlen(text), options, &x->g, &err), LK_OK, "%s: %s", text,
                 err.message);
    cr_assert_eq(lk_constraint_open(x->g, x->tok, triggers, n_triggers, &x->c, &err), LK_OK,
                 "%s: %s", text, err.message);
}

void cb_drop(struct cb_test *x)
{
    lk_constraint_close(&x->c);
    lk_grammar_close(&x->g);
}

void cb_done(struct cb_test *x)
{
    cb_drop(x);
    tok_done(&x->vocabulary);
}

bool cb_fits(struct cb_test *x, const char *text, size_t len)
{
    struct lk_machine *m = &x->c->home->machine;
    uint32_t state = x->c->state;
    lk_exprs_clear(&m->x);
    for (size_t i = 0; i < len && state != LK_STATE_DEAD; i++) {
        state = lk_machine_next(m, state, (unsigned char)text[i]);
    }
    cr_assert_eq(m->x.status, LK_OK, "%s", m->x.error.message);
    return m->state[state].accepts;
}

void cb_take(struct cb_test *x, const char *text)
{
    lk_error err;
    for (size_t i = 0; text[i]; i++) {
        cr_assert_eq(lk_constraint_accept(x->c, (unsigned char)text[i], &err), LK_OK,
                     "'%s' at %zu: %s", text, i, err.message);
    }
}

int32_t cb_id(struct cb_test *x, const char *text)
{
    char bytes[64];
    size_t n, len = strlen(text);
    for (int32_t i = 0; i < (int32_t)lk_tokenizer_n_vocab(x->tok); i++) {
        if (!lk_token_bytes(x->tok, i, bytes, sizeof bytes, &n) && n == len &&
            memcmp(bytes, text, n) == 0) {
            return i;
        }
    }
    cr_assert_fail("no token %s", text);
    return -1;
}

bool cb_may(struct cb_test *x, int32_t id)
{
    uint32_t bits[64];
    lk_error err;
    cr_assert_eq(lk_constraint_mask(x->c, bits, LK_COUNT(bits), &err), LK_OK, "%s", err.message);
    return bits[id / 32] >> (id % 32) & 1;
}

void cb_check_mask(struct cb_test *x, const char *what)
{
    uint32_t bits[64];
    lk_error err;
    lk_constraint *probe;
    cr_assert_eq(lk_constraint_mask(x->c, bits, LK_COUNT(bits), &err), LK_OK, "%s: %s", what,
                 err.message);
    cr_assert_eq(lk_constraint_fork(x->c, &probe, &err), LK_OK);
    size_t n = lk_tokenizer_n_vocab(x->tok);
    for (size_t i = 0; i < n; i++) {
        bool may = bits[i / 32] >> (i % 32) & 1;
        bool taken = lk_constraint_accept(probe, (int32_t)i, &err) == LK_OK;
        cr_assert_eq(may, taken, "%s: token %zu: the mask says %d, accept %d", what, i, may, taken);
        cr_assert_eq(lk_constraint_copy(probe, x->c, &err), LK_OK);
    }
    for (size_t i = n; i < 32 * LK_COUNT(bits); i++) {
        cr_assert(!(bits[i / 32] >> (i % 32) & 1), "%s: a bit past the vocabulary", what);
    }
    lk_constraint_close(&probe);
}

uint64_t cb_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

int32_t cb_choose(struct cb_test *x, uint64_t *state, bool close)
{
    static const int32_t closing[] = {CB_END, '"', '}', ']', '0'};
    size_t n = lk_tokenizer_n_vocab(x->tok), count = 0;
    int32_t chosen = -1;
    for (size_t i = 0; close && i < LK_COUNT(closing); i++) {
        if (cb_may(x, closing[i])) {
            return closing[i];
        }
    }
    uint32_t bits[64];
    lk_error err;
    cr_assert_eq(lk_constraint_mask(x->c, bits, LK_COUNT(bits), &err), LK_OK, "%s", err.message);
    for (size_t i = 0; i < n; i++) {
        if ((bits[i / 32] >> (i % 32) & 1) && cb_random(state) % ++count == 0) {
            chosen = (int32_t)i;
        }
    }
    return chosen;
}

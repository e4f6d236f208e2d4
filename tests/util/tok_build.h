/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok build: small vocabularies in memory, good or broken on purpose, for tests.
 */
#ifndef LK_TEST_TOK_BUILD_H
#define LK_TEST_TOK_BUILD_H

#include "lockstep.h"
#include "tests/util/gguf_build.h"

struct tok_piece {
    const char *text;
    int type;
    float score;
};

/* Keys and arrays as tests want them; NULL, 0 or -1 leaves a key out. */
struct tok_build {
    const char *model, *pre, *arch, *chat_template, *tools_template;
    const struct tok_piece *piece; /* after the 256 bytes' tokens where `bytes` */
    size_t n_pieces;
    bool bytes; /* gpt2: ids 0-255 are the bytes' characters; others: <0xNN> */
    const char *const *merge;
    size_t n_merges;
    int bos, eos, eot, unk; /* ids */
    int add_bos, add_eos, add_space_prefix;
    bool no_types, no_scores;
    void (*add_keys)(struct gguf_build *b, const void *keys); /* writes more keys */
    const void *keys;
};
/* All that a test doesn't set. */
struct tok_build tok_build_default(const char *model, const char *pre);

void tok_build_gguf(const struct tok_build *t, struct gguf_build *b);

struct tok_test {
    struct gguf_build b;
    lk_model *model;
    lk_tokenizer *tok;
};
lk_status tok_try(struct tok_test *x, const struct tok_build *t, lk_error *err);
void tok_make(struct tok_test *x, const struct tok_build *t); /* asserts that it opens */
void tok_done(struct tok_test *x);

/* Ids as "1 2 3", in a buffer that the next call reuses; flags as lk_tokenize. */
const char *tok_ids(const lk_tokenizer *t, const char *text, size_t len, unsigned flags);
/* Spells byte b as byte-level vocabularies do; returns the length, 1 or 2. */
size_t tok_spell_byte(int b, char *out);

#endif

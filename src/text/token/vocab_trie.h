/* SPDX-License-Identifier: Apache-2.0
 *
 * Vocab_trie: the tokens of a vocabulary that stand for text, as a tree by their bytes, laid out in
 * the order of a walk in depth, so that a branch is skipped by one addition. Tokens of plain
 * characters (as lk_expr_plain) are trees of their own, since a mask inside of a JSON string takes
 * all of them at once, or all but the few long ones. Control tokens stand for no text and are in no
 * tree. Knows no grammar.
 */
#ifndef LK_VOCAB_TRIE_H
#define LK_VOCAB_TRIE_H

#include <stdatomic.h>

#include "base/base.h"

enum { LK_TRIE_SHORT = 16 };

struct lk_trie_node {
    uint32_t skip;  /* the node behind this one's branch */
    int32_t token;  /* one that ends here, or -1 */
    uint16_t depth; /* bytes from the root; at least 1 */
    uint8_t byte;
    bool doubled; /* `same` has more tokens of these bytes */
};

struct lk_trie_tree {
    struct lk_trie_node *node;
    size_t n, cap;
};

struct lk_trie {
    size_t n_vocab, n_words;                      /* words of 32 bits of a mask */
    struct lk_trie_tree plain, long_plain, other; /* long: of more than LK_TRIE_SHORT characters */
    int32_t *same;         /* [n_vocab] the next token of the same bytes, or -1 */
    uint32_t *short_plain; /* a mask of the plain tokens that are not long */
    uint32_t *all_plain;   /* a mask of the plain tokens */
    uint32_t max_chars;    /* of a plain token */
    uint32_t *no_text;     /* a mask of the tokens without bytes of text, but for: */
    uint32_t *ends;        /* a mask of the end-of-generation tokens */
    uint32_t max_bytes;    /* of a token with text */
};

/* Where a tokenizer keeps its trie: made when it is first needed, by whichever thread. */
struct lk_trie_cell {
    _Atomic(struct lk_trie *) trie;
};

struct lk_tokenizer;
lk_status lk_trie_get(const struct lk_tokenizer *t, const struct lk_trie **out, lk_error *err);
void lk_trie_free(struct lk_trie *trie);
/* Whether a token's bytes are text that a grammar sees. */
bool lk_trie_is_text(const struct lk_tokenizer *t, int32_t id);

#endif

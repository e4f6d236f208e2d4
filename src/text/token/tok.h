/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok: the inside of an lk_tokenizer. Text <-> token ids; reads its vocabulary through gguf.h and
 * knows nothing of tensors, engines or chat formats.
 */
#ifndef LK_TOK_H
#define LK_TOK_H

#include "base/base.h"
#include "gguf/gguf.h"
#include "text/token/tok_pre.h"
#include "text/token/vocab_trie.h"

#define LK_TOK_MAX_TOKENS ((size_t)1 << 24) /* a vocabulary's tokens and merges */
#define LK_TOK_MAX_TEXT   ((size_t)1 << 14) /* bytes of one token's text */

enum lk_tok_kind {
    LK_TOK_BPE, /* merges of bytes, which tokens spell as GPT-2's do */
    LK_TOK_SPM, /* SentencePiece's: scores; U+2581 spells a space, <0xNN> a byte */
    LK_TOK_RAW, /* merges of characters; spelt as SentencePiece's */
    LK_TOK_WPM, /* WordPiece: the longest tokens; U+2581 begins a word */
    LK_TOK_UGM  /* SentencePiece's unigram model: the highest sum of scores */
};

/* As in tokenizer.ggml.token_type. */
enum lk_tok_type {
    LK_TOK_UNDEFINED,
    LK_TOK_NORMAL,
    LK_TOK_UNKNOWN,
    LK_TOK_CONTROL,
    LK_TOK_USER_DEFINED,
    LK_TOK_UNUSED,
    LK_TOK_BYTE
};

struct lk_tok_entry {
    const char *text;  /* in the mapping: as the file spells it */
    const char *bytes; /* in the pool: what the token stands for */
    uint32_t text_len, bytes_len;
    uint8_t type;
    bool eog;
    bool rstrip; /* swallows the white space after it */
};

struct lk_tok_merge {
    int32_t left, right;
    uint32_t rank; /* LK_TOK_NO_RANK: an empty slot */
};

struct lk_tok_slot {
    uint32_t hash;
    int32_t id; /* -1: empty */
};

/* Tokens found in text as they are, sorted by bytes so that a prefix is a range of them. */
struct lk_tok_specials {
    int32_t *ids;
    size_t n;
    size_t first[257]; /* first[c]: the first one whose first byte is >= c */
};

/* A file's table of what texts become: a double array that the mapping has, 4 bytes a unit, and
 * texts ended by 0. */
struct lk_tok_rewrite {
    const uint8_t *unit;
    size_t n_units;
    const char *text;
    size_t n_text; /* the last one is 0 */
};

struct lk_tokenizer {
    const struct lk_model *model;
    const struct lk_gguf *gguf;
    enum lk_tok_kind kind;
    struct lk_tok_entry *entry; /* [n_vocab] */
    size_t n_vocab;
    char *pool;               /* every entry's bytes */
    size_t max_bytes;         /* of one token */
    size_t max_text;          /* likewise, of text */
    struct lk_tok_slot *slot; /* text -> id, open addressing */
    size_t slot_mask;
    struct lk_tok_merge *merge; /* BPE: pair -> rank, open addressing */
    size_t merge_mask;
    int32_t *merged;                      /* rank -> the token that the merge makes */
    uint32_t *rank;                       /* SPM: token -> place of its score, the highest is 0 */
    float *score;                         /* UGM: [n_vocab] */
    double unknown_score;                 /* UGM: of a character that no piece has */
    struct lk_tok_specials pieces;        /* UGM: what text is made of */
    struct lk_tok_rewrite rewrite;        /* UGM */
    struct lk_tok_specials special, user; /* all of them; the user-defined ones */
    int32_t byte_id[256];                 /* -1: no token for this byte */
    int32_t bos, eos, unk;
    bool add_bos, add_eos, add_space_prefix;
    bool merge_spaces; /* UGM: white space is one space, and none at an end */
    bool lowercase;    /* WPM: accents and capitals are dropped */
    bool has_unused;
    struct lk_pre *pre;        /* BPE */
    struct lk_trie_cell *trie; /* for constraints */
    char **warning;            /* [n_warnings]: what was made the best of */
    size_t n_warnings, cap_warnings;
};

/* Ids as they are found: the first `cap` are kept, all are counted. */
struct lk_tok_out {
    int32_t *ids;
    size_t cap, n;
};

static inline void lk_tok_put(struct lk_tok_out *out, int32_t id)
{
    if (out->n < out->cap) {
        out->ids[out->n] = id;
    }
    out->n++;
}

/* A part of a text in which control tokens are ordinary text: bytes begin..end. */
struct lk_tok_plain {
    size_t begin, end;
};

/* lk_tokenize over a text with plain parts, sorted and disjoint. flags: LK_TOKENIZE_BOS. */
lk_status lk_tok_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        const struct lk_tok_plain *plain, size_t n_plain, bool add_bos,
                        bool add_eos, int32_t *ids, size_t cap, size_t *n, lk_error *err);
/* The id whose text this is, or -1: the first where several have it. */
int32_t lk_tok_find(const struct lk_tokenizer *t, const char *text, size_t len);
/* All tokens that `want` takes, in the order of their bytes. */
lk_status lk_tok_list(const struct lk_tokenizer *t, bool (*want)(const struct lk_tok_entry *e),
                      struct lk_tok_specials *out, lk_error *err);
/* The first of ids[low..high), which are equal up to `depth`, whose byte there is >= want. */
size_t lk_tok_first_with(const struct lk_tokenizer *t, const int32_t *ids, size_t low, size_t high,
                         size_t depth, unsigned want);
/* One line about what the file has wrong and how it is taken; LK_E_NOMEM. */
lk_status lk_tok_warn(struct lk_tokenizer *t, lk_error *err, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* tok_ends.c: BOS, EOS and unknown, which tokens end an answer, which are marks of a dialogue. Once
 * the texts and types are there. */
lk_status lk_tok_read_ends(struct lk_tokenizer *t, lk_error *err);
/* The control token of that text, or -1. */
int32_t lk_tok_find_control(const struct lk_tokenizer *t, const char *text);

/* tok_bpe.c (LK_TOK_RAW too), tok_spm.c, tok_wpm.c and tok_ugm.c: what only one kind has. `encode`
 * takes text without special tokens; the work area is reused from one call to the next and freed
 * with lk_free(*area).
 */
lk_status lk_bpe_open(struct lk_tokenizer *t, lk_error *err);
lk_status lk_spm_open(struct lk_tokenizer *t, lk_error *err);
lk_status lk_wpm_open(struct lk_tokenizer *t, lk_error *err);
lk_status lk_ugm_open(struct lk_tokenizer *t, lk_error *err);
/* Once the tokens' bytes are there. */
lk_status lk_ugm_list(struct lk_tokenizer *t, lk_error *err);
/* What normal token i stands for, written to `out` (at most its text's length); the length. */
size_t lk_bpe_token_bytes(const struct lk_tok_entry *e, char *out);
size_t lk_spm_token_bytes(const struct lk_tok_entry *e, char *out);
/* text with its spaces, and one in front if space_prefix, as tokens spell them: lk_alloc'd. */
lk_status lk_spm_escape(const char *text, size_t len, bool space_prefix, char **out, size_t *n,
                        lk_error *err);
lk_status lk_bpe_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out, lk_error *err);
/* space_prefix: the text starts as if a space stood before it. */
lk_status lk_spm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        bool space_prefix, struct lk_tok_out *out, lk_error *err);
lk_status lk_wpm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out);
lk_status lk_ugm_encode(const struct lk_tokenizer *t, const char *text, size_t len,
                        struct lk_tok_out *out, lk_error *err);

#endif

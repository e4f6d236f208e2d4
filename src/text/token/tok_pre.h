/* SPDX-License-Identifier: Apache-2.0
 *
 * Tok_pre: cuts text into the pieces that byte-level BPE merges within. Knows patterns, no tokens.
 */
#ifndef LK_TOK_PRE_H
#define LK_TOK_PRE_H

#include "base/base.h"
#include "gguf/gguf.h"

struct lk_pre;

#define LK_PRE_GPT2 "gpt-2" /* the oldest: of a file that names none */

/* By the name in tokenizer.ggml.pre; an unknown one is LK_E_UNSUPPORTED, naming the known ones. */
lk_status lk_pre_open(const char *file, struct lk_str name, struct lk_pre **out, lk_error *err);
void lk_pre_close(struct lk_pre **pre);

bool lk_pre_whole_words(const struct lk_pre *pre); /* a piece that is a token is not merged */
bool lk_pre_adds_bos(const struct lk_pre *pre);    /* where the file does not say */

/* Calls `piece` for each piece, in order. Normalizes first where the pre-tokenizer does, so pieces
 * are not always parts of `text`. Bytes that are no UTF-8 stay as they are and are cut as control
 * characters would be. Stops at the first status that is not LK_OK. Linear in len. */
typedef lk_status (*lk_pre_piece)(void *user, const char *text, size_t len, lk_error *err);
lk_status lk_pre_split(const struct lk_pre *pre, const char *text, size_t len, lk_pre_piece piece,
                       void *user, lk_error *err);

#endif

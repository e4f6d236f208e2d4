/* SPDX-License-Identifier: Apache-2.0
 *
 * Tiny: small helpers over engine and session for tests: open a model file or die, make random
 * timelines, compare rows by bits.
 */
#ifndef LK_TESTS_TINY_H
#define LK_TESTS_TINY_H

#include "lockstep.h"

/* Opens PATH on a backend; dies with the error's message. *model must be closed after *engine. */
lk_engine *tiny_engine(const char *path, const char *backend, uint32_t n_ctx, uint32_t n_batch,
                       uint32_t n_sessions, lk_model **model);
lk_engine *tiny_engine_with(const char *path, const lk_engine_options *options, lk_model **model);
/* A text, and what `transformers` makes of it (tests/golden/make.py). */
struct tiny_golden {
    uint32_t n_tokens, n_cols; /* n_cols: of a row, logits or an embedding */
    int32_t *ids;              /* [n_tokens] */
    float *rows;               /* [n_rows][n_cols] */
};
/* Reads the first n_rows rows of PATH, or where it is 0 one a token; dies where they are not there.
 * Given back by tiny_golden_free. */
struct tiny_golden tiny_golden_read(const char *path, size_t n_rows);
void tiny_golden_free(struct tiny_golden *g);
/* n pseudo-random ids below n_vocab. */
void tiny_tokens(int32_t *ids, size_t n, size_t n_vocab, unsigned seed);
/* Rows of positions 0..n-1 of a fresh session: [n][n_vocab], malloc'd. */
float *tiny_rows(lk_engine *engine, const int32_t *ids, size_t n);
/* The largest difference of a row in units of its standard deviation; adds their squares to *sum
 * (may be NULL). */
double tiny_row_error(const float *got, const float *want, size_t n_vocab, double *sum);
/* Dies unless a and b are equal by bits; says what, and the first index that differs. */
void tiny_same(const float *a, const float *b, size_t n, const char *what);

#endif

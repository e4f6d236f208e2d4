/* SPDX-License-Identifier: Apache-2.0
 *
 * Logprob: the log-probabilities of a row of logits, the same digits on every machine: exponentials
 * are the contract's, their sum is one of integers, the logarithm is base/real.h's.
 */
#ifndef LK_LOGPROB_H
#define LK_LOGPROB_H

#include "base/base.h"

/* What a row's log-probabilities are measured from: ln p(i) = (row[i] - max) - log_sum. */
struct lk_logprob_base {
    float max;
    double log_sum;
};
struct lk_logprob_base lk_logprob_base_of(const float *row, size_t n_vocab);
float lk_logprob_of(const struct lk_logprob_base *base, float logit);
/* The n likeliest tokens in order, ties by rising id; n <= n_vocab. */
void lk_logprob_top(const float *row, size_t n_vocab, size_t n, lk_logprob *out);

#endif

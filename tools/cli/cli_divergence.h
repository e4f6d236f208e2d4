/* SPDX-License-Identifier: Apache-2.0
 *
 * Divergence: how far one distribution of the next token is from another, gathered over many
 * positions of a text. Arithmetic is in double; it measures results and is no part of them. Knows
 * rows of logits alone, no engine and no text.
 */
#ifndef CLI_DIVERGENCE_H
#define CLI_DIVERGENCE_H

#include "tools/cli/cli.h"

/* The logarithm of the sum of the exponentials of a row of n >= 1 finite logits: ln p(i) is row[i]
 * minus it. */
double cli_log_sum_exp(const float *row, size_t n);

/* Over n positions: Kullback-Leibler divergences of a distribution q from the true one p, the sum
 * of p(i) (ln p(i) - ln q(i)) over the vocabulary, in nats. */
struct cli_divergence {
    size_t n, same_first; /* positions; of them, those where both have the same likeliest token */
    double sum, sum_squares, most;
};
/* Adds a position: two rows of n_vocab logits. */
void cli_divergence_add(struct cli_divergence *d, const float *truth, const float *row,
                        size_t n_vocab);
/* Of at least one position. */
double cli_divergence_mean(const struct cli_divergence *d);
double cli_divergence_uncertainty(const struct cli_divergence *d); /* standard error of the mean */

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Divergence: see cli_divergence.h.
 */
#include "tools/cli/cli_divergence.h"

#include <math.h>

double cli_log_sum_exp(const float *row, size_t n)
{
    double max = (double)row[lk_argmax(row, n)], sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)row[i] - max);
    }
    return max + log(sum);
}

/* It is never negative; rounding can make a sum of terms that cancel so. */
static double divergence(const float *truth, const float *row, size_t n_vocab)
{
    double truth_base = cli_log_sum_exp(truth, n_vocab), base = cli_log_sum_exp(row, n_vocab);
    double sum = 0.0;
    for (size_t i = 0; i < n_vocab; i++) {
        double log_p = (double)truth[i] - truth_base, p = exp(log_p);
        if (p > 0.0) {
            sum += p * (log_p - ((double)row[i] - base));
        }
    }
    return sum < 0.0 ? 0.0 : sum;
}

void cli_divergence_add(struct cli_divergence *d, const float *truth, const float *row,
                        size_t n_vocab)
{
    double v = divergence(truth, row, n_vocab);
    d->n++;
    d->same_first += lk_argmax(truth, n_vocab) == lk_argmax(row, n_vocab);
    d->sum += v;
    d->sum_squares += v * v;
    d->most = v > d->most ? v : d->most;
}

double cli_divergence_mean(const struct cli_divergence *d)
{
    return d->sum / (double)d->n;
}

double cli_divergence_uncertainty(const struct cli_divergence *d)
{
    double mean = cli_divergence_mean(d);
    double variance = d->sum_squares / (double)d->n - mean * mean;
    return variance > 0.0 && d->n > 1 ? sqrt(variance / (double)(d->n - 1)) : 0.0;
}

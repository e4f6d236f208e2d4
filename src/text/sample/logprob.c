/* SPDX-License-Identifier: Apache-2.0
 *
 * Logprob: see logprob.h.
 */
#include "text/sample/logprob.h"

#include <string.h>

#include "base/numerics.h"
#include "base/real.h"

enum { WEIGHT_BITS = 39 }; /* of the likeliest token: 2^24 of them fit a uint64_t */

struct lk_logprob_base lk_logprob_base_of(const float *row, size_t n_vocab)
{
    struct lk_logprob_base base = {.max = row[lk_argmax(row, n_vocab)]};
    uint64_t total = 0;
    for (size_t i = 0; i < n_vocab; i++) {
        float v = row[i] - base.max;
        total += (uint64_t)(lk_exp(v) * (float)(1ull << WEIGHT_BITS));
    }
    base.log_sum = lk_log_f64((double)total) - WEIGHT_BITS * lk_log_f64(2.0);
    return base;
}

float lk_logprob_of(const struct lk_logprob_base *base, float logit)
{
    return (float)((double)logit - (double)base->max - base->log_sum);
}

void lk_logprob_top(const float *row, size_t n_vocab, size_t n, lk_logprob *out)
{
    struct lk_logprob_base base = lk_logprob_base_of(row, n_vocab);
    size_t have = 0;
    for (size_t i = 0; i < n_vocab && n > 0; i++) {
        int32_t key = lk_order_key(row[i]);
        if (have == n && key <= lk_order_key(row[out[n - 1].token])) {
            continue;
        }
        size_t at = have < n ? have++ : n - 1;
        while (at > 0 && key > lk_order_key(row[out[at - 1].token])) {
            out[at] = out[at - 1];
            at--;
        }
        out[at].token = (int32_t)i;
    }
    for (size_t i = 0; i < have; i++) {
        out[i].logprob = lk_logprob_of(&base, row[out[i].token]);
    }
}

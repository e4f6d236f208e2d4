/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: see rope.h.
 */
#include "plan/rope.h"

#include "base/mem.h"
#include "base/numerics.h"
#include "base/real.h"

lk_status lk_rope_init(struct lk_rope *rope, int n_dims, bool interleaved, double base,
                       double linear, const float *factors, lk_error *err)
{
    *rope = (struct lk_rope){.n_dims = n_dims, .interleaved = interleaved, .attn_factor = 1.0};
    rope->inv_freq = lk_alloc_array((size_t)n_dims / 2, sizeof *rope->inv_freq);
    if (!rope->inv_freq) {
        return lk_fail(err, LK_E_NOMEM, "out of memory: rope frequencies");
    }
    double log_base = lk_log_f64(base);
    for (int i = 0; i < n_dims / 2; i++) {
        double freq = lk_exp_f64(-(2.0 * i / n_dims) * log_base);
        rope->inv_freq[i] = freq / (linear * (factors ? (double)factors[i] : 1.0));
    }
    return LK_OK;
}

void lk_rope_free(struct lk_rope *rope)
{
    lk_free(rope->inv_freq);
    *rope = (struct lk_rope){0};
}

void lk_rope_table_f64(const struct lk_rope *rope, int32_t pos, double *cs)
{
    for (int i = 0; i < rope->n_dims / 2; i++) {
        double s, c;
        lk_sincos(pos * rope->inv_freq[i], &s, &c);
        cs[2 * i] = c * rope->attn_factor;
        cs[2 * i + 1] = s * rope->attn_factor;
    }
}

void lk_rope_table(const struct lk_rope *rope, int32_t pos, float *cs)
{
    for (int i = 0; i < rope->n_dims / 2; i++) {
        double s, c;
        lk_sincos(pos * rope->inv_freq[i], &s, &c);
        cs[2 * i] = lk_flush((float)(c * rope->attn_factor));
        cs[2 * i + 1] = lk_flush((float)(s * rope->attn_factor));
    }
}

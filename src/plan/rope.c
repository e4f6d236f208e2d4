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

double lk_yarn_magnitude(double factor, double m)
{
    return factor <= 1.0 ? 1.0 : 0.1 * m * lk_log_f64(factor) + 1.0;
}

/* The pair, as a real number, that turns `beta` times within the original context. */
static double pair_of(const struct lk_rope *rope, double base, double original, double beta)
{
    static const double two_pi = 6.283185307179586;
    return rope->n_dims * lk_log_f64(original / (beta * two_pi)) / (2.0 * lk_log_f64(base));
}

/* The nearest integer at or below x; |x| < 2^31. */
static double floor_of(double x)
{
    double whole = (double)(int32_t)x;
    return whole > x ? whole - 1.0 : whole;
}

void lk_rope_scale_yarn(struct lk_rope *rope, double base, const struct lk_yarn *yarn)
{
    double low = pair_of(rope, base, yarn->original, yarn->beta_fast);
    double high = pair_of(rope, base, yarn->original, yarn->beta_slow);
    if (!yarn->fractional) {
        low = floor_of(low);
        high = -floor_of(-high);
    }
    low = low > 0.0 ? low : 0.0;
    high = high < rope->n_dims - 1.0 ? high : rope->n_dims - 1.0;
    double width = high - low > 0.001 ? high - low : 0.001;
    for (int i = 0; i < rope->n_dims / 2; i++) {
        double ramp = (i - low) / width;
        double stays = 1.0 - (ramp < 0.0 ? 0.0 : ramp > 1.0 ? 1.0 : ramp);
        stays *= yarn->extrapolation;
        rope->inv_freq[i] *= stays + (1.0 - stays) / yarn->factor;
    }
}

/* What cos and sin of a position are multiplied by. */
static double factor_at(const struct lk_rope *rope, int32_t pos)
{
    if (!(rope->temperature > 0.0)) {
        return rope->attn_factor;
    }
    double times = floor_of(pos / rope->original);
    return rope->attn_factor * (1.0 + rope->temperature * lk_log_f64(1.0 + times));
}

enum { PAIRS = 64 }; /* that are turned at a time */

/* cs[2i] = cos, cs[2i + 1] = sin of pair first + i, times the position's factor; of n pairs. */
static void turn(const struct lk_rope *rope, int32_t pos, int first, int n, double *cs)
{
    double factor = factor_at(rope, pos), x[PAIRS], c[PAIRS], s[PAIRS];
    for (int i = 0; i < n; i++) {
        x[i] = pos * rope->inv_freq[first + i];
    }
    lk_sincos_many(x, n, s, c);
    for (int i = 0; i < n; i++) {
        cs[2 * i] = c[i] * factor;
        cs[2 * i + 1] = s[i] * factor;
    }
}

void lk_rope_table_f64(const struct lk_rope *rope, int32_t pos, double *cs)
{
    int n = rope->n_dims / 2;
    for (int first = 0; first < n; first += PAIRS) {
        turn(rope, pos, first, n - first < PAIRS ? n - first : PAIRS, cs + 2 * first);
    }
}

void lk_rope_table(const struct lk_rope *rope, int32_t pos, float *cs)
{
    double some[2 * PAIRS];
    int n = rope->n_dims / 2;
    for (int first = 0; first < n; first += PAIRS) {
        int pairs = n - first < PAIRS ? n - first : PAIRS;
        turn(rope, pos, first, pairs, some);
        for (int i = 0; i < 2 * pairs; i++) {
            cs[2 * first + i] = lk_flush((float)some[i]);
        }
    }
}

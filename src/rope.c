/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: see rope.h. Double arithmetic with + - * / alone; nothing from libm, whose last bits
 * differ between machines.
 */
#include "rope.h"

#include <string.h>

#include "mem.h"
#include "numerics.h"

static double flt64(uint64_t u)
{
    double x;
    memcpy(&x, &u, sizeof x);
    return x;
}

static uint64_t bits64(double x)
{
    uint64_t u;
    memcpy(&u, &x, sizeof u);
    return u;
}

/* Nearest integer, |x| < 2^51, by the usual addition of 1.5 * 2^52. */
static double round_f64(double x)
{
    const double magic = 6755399441055744.0;
    double t = x + magic;
    return t - magic;
}

/* Taylor polynomials on [-pi/4, pi/4]: the first term left out is below 2^-58. */
static double sin_core(double r)
{
    double z = r * r;
    double p = 1.0 / 355687428096000.0; /* 1/17! */
    p = 1.0 / -1307674368000.0 + z * p; /* 1/15! */
    p = 1.0 / 6227020800.0 + z * p;
    p = 1.0 / -39916800.0 + z * p;
    p = 1.0 / 362880.0 + z * p;
    p = 1.0 / -5040.0 + z * p;
    p = 1.0 / 120.0 + z * p;
    p = 1.0 / -6.0 + z * p;
    return r + r * (z * p);
}

static double cos_core(double r)
{
    double z = r * r;
    double p = 1.0 / 20922789888000.0; /* 1/16! */
    p = 1.0 / -87178291200.0 + z * p;
    p = 1.0 / 479001600.0 + z * p;
    p = 1.0 / -3628800.0 + z * p;
    p = 1.0 / 40320.0 + z * p;
    p = 1.0 / -720.0 + z * p;
    p = 1.0 / 24.0 + z * p;
    return 1.0 - (0.5 * z - z * (z * p));
}

void lk_sincos(double x, double *s, double *c)
{
    /* Cody-Waite: pi/2 in three parts of 33, 33 and 53 bits; k * part is exact for k < 2^20. */
    const double part1 = flt64(0x3FF921FB54400000u), part2 = flt64(0x3DD0B4611A600000u),
                 part3 = flt64(0x3BA3198A2E037073u);
    double k = round_f64(x * flt64(0x3FE45F306DC9C883u)); /* 2/pi */
    double r = ((x - k * part1) - k * part2) - k * part3;
    double sr = sin_core(r), cr = cos_core(r);
    switch ((int64_t)k & 3) {
    case 0:
        *s = sr;
        *c = cr;
        break;
    case 1:
        *s = cr;
        *c = -sr;
        break;
    case 2:
        *s = -sr;
        *c = -cr;
        break;
    default:
        *s = -cr;
        *c = sr;
        break;
    }
}

static const double LN2_HI = 0x1.62e42fefa3800p-1, LN2_LO = 0x1.ef35793c76730p-45;

double lk_log_f64(double x)
{
    int e = (int)((bits64(x) >> 52) & 0x7ff) - 1023;
    double m = flt64((bits64(x) & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        e++;
    }
    /* log m = 2 atanh((m - 1) / (m + 1)), |t| <= 0.1716 */
    double t = (m - 1.0) / (m + 1.0), z = t * t, p = 0.0;
    for (int n = 23; n >= 3; n -= 2) {
        p = z * (p + 1.0 / n);
    }
    double log_m = 2.0 * (t + t * p);
    return e * LN2_HI + (log_m + e * LN2_LO);
}

double lk_exp_f64(double x)
{
    double k = round_f64(x * 1.4426950408889634);
    double r = (x - k * LN2_HI) - k * LN2_LO, p = 0.0;
    for (int n = 14; n >= 1; n--) {
        p = (1.0 + p) * r / n;
    }
    return (1.0 + p) * flt64((uint64_t)(1023 + (int64_t)k) << 52);
}

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

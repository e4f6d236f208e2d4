/* SPDX-License-Identifier: Apache-2.0
 *
 * Real: see real.h.
 */
#include "base/real.h"

#include <stdint.h>
#include <string.h>

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

/* 1.5 * 2^52: what is added to it, below 2^51, is rounded to the nearest integer. */
static const double ROUND = 6755399441055744.0;

static double round_f64(double x)
{
    double t = x + ROUND;
    return t - ROUND;
}

/* Taylor polynomials of sin and cos of r + t, |r| <= pi/4 and t below an ulp of r: the first term
 * left out is below 2^-58. */
static double sin_core(double r, double t)
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
    return r + (r * (z * p) + t);
}

static double cos_core(double r, double t)
{
    double z = r * r;
    double p = -1.0 / 6402373705728000.0; /* 1/18! */
    p = 1.0 / 20922789888000.0 + z * p;   /* 1/16! */
    p = 1.0 / -87178291200.0 + z * p;
    p = 1.0 / 479001600.0 + z * p;
    p = 1.0 / -3628800.0 + z * p;
    p = 1.0 / 40320.0 + z * p;
    p = 1.0 / -720.0 + z * p;
    p = 1.0 / 24.0 + z * p;
    double half = 0.5 * z, w = 1.0 - half;
    return w + (((1.0 - w) - half) + (z * (z * p) - r * t));
}

/* pi/2 in three parts: the first two have 29 bits, so k * part is exact for |k| < 2^24. */
static const double PIO2_A = 0x1.921fb54p+0, PIO2_B = 0x1.10b4611p-30,
                    PIO2_C = 0x1.4c4c6628b80dcp-59;

/* Without branches, so that compilers make lanes of a loop. */
static inline void sincos_of(double x, double *s, double *c)
{
    /* Cody-Waite, the rounding of each step carried in t. */
    double sum = x * flt64(0x3FE45F306DC9C883u) + ROUND; /* 2/pi; its last bits are those of k */
    double k = sum - ROUND;
    double b = k * PIO2_B, d = k * PIO2_C;
    double r0 = x - k * PIO2_A; /* exact */
    double r1 = r0 - b;
    double r = r1 - d;
    double t = ((r0 - r1) - b) + ((r1 - r) - d);
    uint64_t sr = bits64(sin_core(r, t)), cr = bits64(cos_core(r, t));
    /* A quarter turn makes sin of cos and -cos of sin, half a turn changes both signs. */
    uint64_t quarters = bits64(sum), half = quarters >> 1 & 1;
    uint64_t swap = (sr ^ cr) & -(quarters & 1);
    *s = flt64(sr ^ swap ^ half << 63);
    *c = flt64(cr ^ swap ^ (half ^ (quarters & 1)) << 63);
}

void lk_sincos(double x, double *s, double *c)
{
    sincos_of(x, s, c);
}

#define EACH_SINCOS                                                                                \
    for (int i = 0; i < n; i++) {                                                                  \
        sincos_of(x[i], &s[i], &c[i]);                                                             \
    }

#if defined(__x86_64__)
__attribute__((target("avx2"))) static void sincos_avx2(const double *x, int n, double *restrict s,
                                                        double *restrict c)
{
    EACH_SINCOS
}
#endif

void lk_sincos_many(const double *x, int n, double *restrict s, double *restrict c)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2")) {
        sincos_avx2(x, n, s, c);
        return;
    }
#endif
    EACH_SINCOS
}

static const double LN2_HI = 0x1.62e42fefa3800p-1, LN2_LO = 0x1.ef35793c76730p-45;

double lk_sqrt_f64(double x)
{
    double y = x > 1.0 ? x : 1.0; /* Newton from above */
    for (int i = 0; i < 64; i++) {
        y = 0.5 * (y + x / y);
    }
    return y;
}

double lk_log_f64(double x)
{
    int e = (int)((bits64(x) >> 52) & 0x7ff) - 1023;
    double m = flt64((bits64(x) & 0xFFFFFFFFFFFFFu) | 0x3FF0000000000000u);
    if (m > 1.4142135623730951) {
        m = m * 0.5;
        e++;
    }
    /* log m = 2 atanh((m - 1) / (m + 1)), |t| <= 0.1716 */
    double f = m - 1.0, t = f / (m + 1.0), z = t * t, p = 0.0; /* f is exact */
    for (int n = 23; n >= 3; n -= 2) {
        p = z * (p + 1.0 / n);
    }
    /* 2 t = f - t f, so log m = f - t (f - 2 p) */
    return e * LN2_HI + (f - (t * (f - 2.0 * p) - e * LN2_LO));
}

double lk_exp_f64(double x)
{
    double k = round_f64(x * 1.4426950408889634);
    double hi = x - k * LN2_HI, lo = k * LN2_LO; /* hi is exact */
    double r = hi - lo, t = (hi - r) - lo, p = 1.0;
    for (int n = 14; n >= 2; n--) {
        p = 1.0 + p * r / n;
    }
    return (1.0 + (r * p + t)) * flt64((uint64_t)(1023 + (int64_t)k) << 52);
}

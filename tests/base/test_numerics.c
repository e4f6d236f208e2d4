/* SPDX-License-Identifier: Apache-2.0
 *
 * Numerics: the contract's conversions and primitives against double, over every bit pattern of
 * their domain. Where a domain has more than 2^26 patterns every 67th is visited, and all of them
 * when LK_FULL=1 is set.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cpu/scalar.h"
#include "base/numerics.h"
#include "plan/op.h"
#include "tests/util/models.h"
#include "tests/util/rng.h"
#include "tests/util/tolerances.h"

#define U 0x1p-24 /* half a unit in the last place of 1 */

/* Sanitizers only have to see each path taken. */
static uint32_t stride(void)
{
    return test_is_full() ? 1 : test_is_sanitized_sample() ? 1009 : 67;
}

/* Of a sweep that is short enough for all values. */
static uint32_t every(void)
{
    return test_is_sanitized_sample() ? 31 : 1;
}

static void report(const char *what, double worst, double tolerance)
{
    cr_log_info("%s: at most %.3f u, bound %.3f u", what, worst, tolerance);
    cr_expect_leq(worst, tolerance, "%s: %.3f u, bound %.3f u", what, worst, tolerance);
}

/* ---- rule 1 ---- */

Test(numerics, flush_and_range_at_every_edge)
{
    static const struct {
        uint32_t in, out;
        bool bad;
    } cases[] = {
        {0x00000000, 0x00000000, false}, {0x80000000, 0x00000000, false}, /* +-0 */
        {0x00000001, 0x00000000, false}, {0x80000001, 0x00000000, false}, /* subnormal */
        {0x007fffff, 0x00000000, false}, {0x00800000, 0x00000000, false},
        {0x267fffff, 0x00000000, false}, {0xa67fffff, 0x00000000, false}, /* below 2^-50 */
        {0x26800000, 0x26800000, false}, {0xa6800000, 0xa6800000, false}, /* 2^-50 */
        {0x26800001, 0x26800001, false}, {0x3f800000, 0x3f800000, false},
        {0x537fffff, 0x537fffff, false}, {0xd37fffff, 0xd37fffff, false}, /* below 2^40 */
        {0x53800000, 0x53800000, true},  {0xd3800000, 0xd3800000, true},  /* 2^40 */
        {0x7f800000, 0x7f800000, true},  {0xff800000, 0xff800000, true},  /* infinity */
        {0x7fc00000, 0x7fc00000, true},  {0xffc00001, 0xffc00001, true},  /* NaN */
        {0x7f800001, 0x7f800001, true},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        uint32_t got = lk_bits(lk_flush(lk_flt(cases[i].in)));
        cr_expect_eq(got, cases[i].out, "flush of %08x: %08x", cases[i].in, got);
        cr_expect_eq(lk_out_of_range(lk_flt(cases[i].in)), cases[i].bad, "%08x", cases[i].in);
    }
}

/* ---- conversions ---- */

/* The value of a finite half, by its definition. */
static double half_value(uint32_t h)
{
    int e = (int)(h >> 10 & 31), m = (int)(h & 1023);
    double x = e ? ldexp(1024 + m, e - 25) : ldexp(m, -24);
    return h & 0x8000 ? -x : x;
}

Test(numerics, f16_to_f32_all)
{
    for (uint32_t h = 0; h < 65536; h++) {
        if ((h & 0x7c00) != 0x7c00) {
            double got = (double)lk_f16_to_f32(h);
            cr_assert(got == half_value(h) && signbit(got) == signbit(half_value(h)), "%04x: %a", h,
                      got);
        }
    }
}

Test(numerics, rounding_to_13_and_16_bits_all_mantissas)
{
    static const struct {
        float (*round)(float);
        int bits;
    } kinds[] = {{lk_round13, 13}, {lk_round16, 16}};
    static const int exps[] = {-50, -1, 0, 39};
    for (size_t k = 0; k < 2; k++) {
        for (uint32_t m = 0; m < 1u << 23; m += every()) {
            double x = (double)lk_flt(0x3f800000u + m);
            double want = ldexp(nearbyint(ldexp(x, kinds[k].bits - 1)), 1 - kinds[k].bits);
            for (size_t i = 0; i < LK_COUNT(exps); i++) {
                float in = lk_flt((uint32_t)(127 + exps[i]) << 23 | m);
                float y = kinds[k].round(i % 2 ? -in : in);
                double expected = ldexp(i % 2 ? -want : want, exps[i]);
                cr_assert((double)y == expected, "%a to %d bits: %a", (double)in, kinds[k].bits,
                          (double)y);
            }
        }
        cr_assert_eq(lk_bits(kinds[k].round(0.0f)), 0);
    }
}

Test(numerics, integers_to_float_and_back)
{
    /* rte: all quarters up to 2^20 and all halves of the domain. */
    for (int32_t i = -(1 << 22); i <= 1 << 22; i++) {
        float x = (float)i * 0.25f;
        cr_assert_eq(lk_rte(x), (int32_t)nearbyint((double)x), "%a", (double)x);
        x = (float)i * 0.5f;
        cr_assert_eq(lk_rte(x), (int32_t)nearbyint((double)x), "%a", (double)x);
        x = (float)i;
        cr_assert_eq(lk_rte(x), i, "%d", i);
    }
    for (int32_t i = -(1 << 22) + 1; i < 1 << 22; i++) {
        cr_assert(lk_f22(i) == (float)i && !signbit(lk_f22(0)), "%d", i);
    }
    /* F of any int: everything to 2^25, then around each tie of each binade. */
    for (int32_t i = -(1 << 25); i <= 1 << 25; i++) {
        cr_assert_eq(lk_bits(lk_f32_of_int(i)), lk_bits((float)i), "%d", i);
    }
    for (int b = 24; b < 31; b++) {
        int64_t unit = (int64_t)1 << (b - 23);
        for (int64_t m = 1 << 23; m < 1 << 24; m += 997) {
            for (int64_t d = -2; d <= 2; d++) {
                int64_t v = m * unit + unit / 2 + d;
                cr_assert_eq(lk_bits(lk_f32_of_int((int32_t)v)), lk_bits((float)v));
                cr_assert_eq(lk_bits(lk_f32_of_int((int32_t)-v)), lk_bits((float)-v));
            }
        }
    }
    cr_assert_eq(lk_bits(lk_f32_of_int(INT32_MAX)), lk_bits(2147483648.0f));
    cr_assert_eq(lk_bits(lk_f32_of_int(INT32_MIN)), lk_bits(-2147483648.0f));
}

Test(numerics, order_keys_order_floats)
{
    float last = -0x1.fffffep39f;
    for (uint64_t u = 0; u < 2u * 0x53800000u; u += stride() * 3u) {
        /* from the most negative to the most positive */
        uint32_t m = u < 0x53800000u ? 0x80000000u | (0x537fffffu - (uint32_t)u)
                                     : (uint32_t)(u - 0x53800000u);
        float x = lk_flt(m);
        cr_assert(lk_order_key(last) <= lk_order_key(x) &&
                      (last < x) == (lk_order_key(last) < lk_order_key(x)),
                  "%a, %a", (double)last, (double)x);
        last = x;
    }
    cr_assert_eq(lk_order_key(0.0f), lk_order_key(-0.0f));
}

/* ---- rcp, rsqrt ---- */

Test(numerics, rcp_all_of_a_binade_then_all_binades)
{
    double worst = 0;
    for (uint32_t m = 0; m < 1u << 23; m += every()) {
        float a = lk_flt(0x3f800000u + m);
        worst = fmax(worst, fabs(1.0 - (double)lk_rcp(a) * (double)a)); /* exact product */
    }
    report("rcp", worst / U, TOL_RCP);
    for (uint32_t m = 0; m < 1u << 23; m += 1021) {
        float one = lk_rcp(lk_flt(0x3f800000u + m));
        for (int e = -100; e < 100; e++) {
            float y = lk_rcp(lk_flt((uint32_t)(127 + e) << 23 | m));
            cr_assert((double)y == ldexp((double)one, -e), "mantissa %x, exponent %d", m, e);
        }
    }
    cr_assert(lk_rcp(0x1p100f) == 0x1p-100f && lk_rcp(0x1p-100f) == 0x1p100f);
}

Test(numerics, rsqrt_all_of_two_binades_then_all)
{
    double worst = 0;
    for (uint32_t m = 0; m < 1u << 24; m++) {
        float a = lk_flt(0x3f800000u + m);
        double r = (double)lk_rsqrt(a);
        worst = fmax(worst, fabs(r * sqrt((double)a) - 1));
    }
    report("rsqrt", worst / U, TOL_RSQRT);
    for (uint32_t m = 0; m < 1u << 24; m += 1021) {
        float one = lk_rsqrt(lk_flt(0x3f800000u + m));
        for (int e = -100; e < 99; e += 2) {
            float y = lk_rsqrt(lk_flt(((uint32_t)(127 + e) << 23) + m));
            cr_assert((double)y == ldexp((double)one, -e / 2), "mantissa %x, exponent %d", m, e);
        }
    }
    for (int e = -100; e <= 100; e += 2) {
        cr_assert((double)lk_rsqrt((float)ldexp(1, e)) == ldexp(1, -e / 2), "4^%d", e / 2);
    }
}

/* ---- functions ---- */

/* Worst |f(x) - want(x)| over bit patterns [from, to] with `sign`, in units of u of the value. What
 * is below 2^-50 is flushed by whoever stores it: there only smallness is asked for. `grow` adds to
 * the bound in proportion to an exponent's argument, whose rounding it carries. */
static double worst_error(float (*f)(float), double (*want)(double), double (*grow)(double),
                          uint32_t from, uint32_t to, uint32_t sign)
{
    double worst = 0;
    for (uint64_t u = from; u <= to; u += stride()) {
        float x = lk_flt((uint32_t)u | sign);
        double y = (double)f(x), w = want((double)x);
        if (fabs(w) < 0x1p-50) {
            cr_assert_lt(fabs(y), 0x1.0001p-50, "%a: %a", (double)x, y);
        } else {
            double e = fabs(y - w) / (fabs(w) * U);
            worst = fmax(worst, grow ? e / (1 + grow((double)x)) : e);
        }
    }
    return worst;
}

static double sigmoid_f64(double x)
{
    return 1 / (1 + exp(-x));
}
static double silu_f64(double x)
{
    return x / (1 + exp(-x));
}
static double gelu_exponent(double x)
{
    return 2 * 0.7978845608028654 * (x + 0.044715 * x * x * x);
}
static double gelu_f64(double x)
{
    return x / (1 + exp(-gelu_exponent(x)));
}
static double gelu_grow(double x)
{
    return x < 0 ? -gelu_exponent(x) : 0;
}

static double gelu_erf_f64(double x)
{
    return x * erfc(-x * 0.70710678118654752440) / 2;
}
static double gelu_erf_grow(double x)
{
    return x < 0 ? x * x / 2 : 0;
}

enum { P_MIN = 0x26800000, P_MAX = 0x537fffff };

Test(numerics, exp_of_negative_numbers)
{
    double worst = worst_error(lk_exp, exp, NULL, P_MIN, 0x428A0000u, 0x80000000u);
    report("exp", worst, TOL_EXP);
    cr_assert(lk_exp(0.0f) == 1.0f && lk_exp(-0.0f) == 1.0f);
    /* The cut: the last argument that counts, and the first that does not. */
    cr_assert(lk_exp(-69.0f) > 0.0f && lk_bits(lk_exp(lk_flt(0xC28A0001u))) == 0);
}

Test(numerics, sigmoid_silu_gelu_tanh)
{
    for (uint32_t sign = 0; sign <= 0x80000000u && sign != 1; sign = sign ? 1 : 0x80000000u) {
        double worst = worst_error(lk_sigmoid, sigmoid_f64, NULL, P_MIN, P_MAX, sign);
        report("sigmoid", worst, TOL_SIGMOID);
        worst = worst_error(lk_silu, silu_f64, NULL, P_MIN, P_MAX, sign);
        report("silu", worst, TOL_SILU);
        worst = worst_error(lk_gelu, gelu_f64, gelu_grow, P_MIN, P_MAX, sign);
        report("gelu", worst, TOL_GELU);
        worst = worst_error(lk_gelu_erf, gelu_erf_f64, gelu_erf_grow, P_MIN, P_MAX, sign);
        report("gelu by erf", worst, TOL_GELU_ERF);
        worst = worst_error(lk_tanh, tanh, NULL, P_MIN, P_MAX, sign);
        report("tanh", worst, TOL_TANH);
    }
    cr_assert(lk_bits(lk_tanh(0.0f)) == 0 && lk_bits(lk_silu(0.0f)) == 0 &&
              lk_bits(lk_gelu(0.0f)) == 0 && lk_bits(lk_gelu_erf(0.0f)) == 0 &&
              lk_gelu_erf(100.0f) == 100.0f && lk_bits(lk_flush(lk_gelu_erf(-100.0f))) == 0 &&
              lk_sigmoid(0.0f) == 0.5f && lk_tanh(100.0f) == 1.0f && lk_tanh(-100.0f) == -1.0f);
}

static double softplus_f64(double x)
{
    return fmax(x, 0) + log1p(exp(-fabs(x)));
}

Test(numerics, softplus)
{
    for (uint32_t sign = 0; sign <= 0x80000000u && sign != 1; sign = sign ? 1 : 0x80000000u) {
        double worst = worst_error(lk_softplus, softplus_f64, NULL, P_MIN, P_MAX, sign);
        report("softplus", worst, TOL_SOFTPLUS);
    }
    cr_assert(fabsf(lk_softplus(0.0f) - 0.6931472f) < 1e-7f && lk_softplus(100.0f) == 100.0f &&
              lk_bits(lk_softplus(-100.0f)) == 0);
}

/* Rule 8: every fraction of a score. */
Test(numerics, powers_of_two_in_attention)
{
    double worst = 0;
    for (uint32_t u = 0; u <= 0x3F000000u; u += stride()) {
        for (uint32_t sign = 0; sign <= 1; sign++) {
            float f = lk_flt(u | sign << 31);
            double m = (double)lk_exp2_part(f), w = exp2((double)f);
            cr_assert(lk_exp2_part_up(f, 96) == lk_scale2(lk_exp2_part(f), 96));
            cr_assert(m >= 0.707106 - 4e-6 && m <= 1.414214 + 6e-6, "%a: %a", (double)f, m);
            worst = fmax(worst, fabs(m - w) / (w * U));
        }
    }
    report("2^f", worst, TOL_EXP2_PART);
    cr_assert(lk_exp2_part(0.0f) == 1.0f && lk_exp2_part(-0.0f) == 1.0f);
}

/* Rule 8: whatever the largest of a row, its integer is `most` and no other is beyond it. */
Test(numerics, no_integer_of_attention_beyond_its_most)
{
    static const int exps[] = {-50, -3, 0, 39}, mosts[] = {LK_Q_MOST, LK_BYTE_MOST};
    for (size_t e = 0; e < LK_COUNT(exps); e++) {
        for (uint32_t m = 0; m < 1u << 23; m += stride()) {
            float a = lk_flt((uint32_t)(127 + exps[e]) << 23 | m);
            for (int i = 0; i < 2; i++) {
                float t = a * lk_cell_factor(a, (float)mosts[i]);
                cr_assert_eq(lk_rte(t), mosts[i], "%a of %d", (double)a, mosts[i]);
                double d = (double)lk_cell_scale(a, mosts[i]);
                cr_assert_leq(fabs(d * mosts[i] / (double)a - 1), 2.1 * U, "%a", (double)a);
            }
        }
    }
    cr_assert_eq(LK_Q_MOST >> 4, 112);
    cr_assert((LK_Q_MOST >> 4) + (LK_Q_MOST & 15) <= 127 && (-LK_Q_MOST >> 4) >= -128);
    cr_assert_leq((int64_t)LK_Q_MOST * LK_Q_MOST * LK_MAX_HEAD_DIM, INT32_MAX);
}

/* Rule 8: P of the largest w fits, and both powers of two are exact, whatever w. */
Test(numerics, weights_of_values)
{
    for (uint32_t e = 0; e <= 170; e++) {
        float w = e ? lk_flt(e << 23 | 0x7fffffu) : 0.0f;
        int32_t x = lk_weight_exponent(lk_bits(w));
        float t = w * lk_weight_up(x);
        cr_assert(lk_rte(t) <= 2 << LK_W_BITS && (e < 14 || lk_rte(t) == 2 << LK_W_BITS));
        cr_assert(lk_weight_up(x) * lk_weight_down(x) == 1.0f, "exponent %u", e);
    }
}

/* ---- rule 4 ---- */

/* Every largest value of a block: q of it is 127 whatever its mantissa, so |q| <= 127. */
Test(numerics, no_quantized_activation_beyond_127)
{
    static const int exps[] = {-50, 0, 39};
    int8_t q[32];
    float d, x[32] = {0};
    int32_t sum[2];
    struct lk_qrow row = {q, &d, sum};
    for (uint32_t m = 0; m < 1u << 23; m += every()) {
        int e = exps[m % 3];
        float a = lk_flt((uint32_t)(127 + e) << 23 | m);
        float r = 127.0f * lk_rcp(a);
        float top = a * r;
        cr_assert(top >= 126.99998f && top <= 127.00002f, "%a: %a", (double)a, (double)top);
        x[0] = a;
        x[17] = -a;
        lk_scalar_quantize(x, 32, 32, &row);
        cr_assert(q[0] == 127 && q[17] == -127 && sum[0] == 127 && sum[1] == -127, "%a", (double)a);
        cr_assert_lt(fabs((double)d * 127 / (double)a - 1), 1.6e-7);
    }
    memset(x, 0, sizeof x);
    memset(q, 1, sizeof q);
    lk_scalar_quantize(x, 32, 32, &row);
    for (int i = 0; i < 32; i++) {
        cr_assert_eq(q[i], 0, "a block of zeros");
    }
    cr_assert(lk_bits(d) == 0 && sum[0] == 0 && sum[1] == 0);
}

/* ---- rule 2: fused and split sums of exact products have the same bits ---- */

Test(numerics, exact_products_make_fusing_invisible)
{
    struct rng s = {1};
    int differ = 0;
    for (int i = 0; i < 1 << 20; i++) {
        float x = lk_flt((rng_u32(&s) & 0x807fffffu) | (100 + rng_u32(&s) % 40) << 23);
        float g = lk_flt((rng_u32(&s) & 0x807fffffu) | (100 + rng_u32(&s) % 40) << 23);
        uint32_t h = rng_u32(&s) & 0xffffu;
        float w = lk_f16_to_f32((h & 0x7c00u) == 0x7c00u ? h & 0x83ffu : h);
        float b = lk_bf16_to_f32((lk_bits(g) >> 16) ^ (h & 0x7fu));
        float x13 = lk_round13(x), x16 = lk_round16(x);
        float p = w * x13, q = b * x16, r = w * x;
        cr_assert((double)p == (double)w * (double)x13 && (double)q == (double)b * (double)x16);
        cr_assert_eq(lk_bits(fmaf(w, x13, g)), lk_bits(p + g));
        cr_assert_eq(lk_bits(fmaf(b, x16, g)), lk_bits(q + g));
        differ += lk_bits(fmaf(w, x, g)) != lk_bits(r + g);
    }
    cr_expect_gt(differ, 1000, "without the rounding fusing shows: %d", differ);
}

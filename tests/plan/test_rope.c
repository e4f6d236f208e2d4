/* SPDX-License-Identifier: Apache-2.0
 *
 * Rope: sin, cos, log and exp against long double; the tables against their formula, and by bits
 * against a pinned hash, the same on every machine and compiler.
 */
#include <criterion/criterion.h>
#include <float.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/numerics.h"
#include "base/real.h"
#include "plan/rope.h"
#include "tests/util/rng.h"
#include "tests/util/tolerances.h"

static double check_sincos(double x)
{
    double s, c;
    lk_sincos(x, &s, &c);
    double es = (double)fabsl((long double)s - sinl((long double)x));
    double ec = (double)fabsl((long double)c - cosl((long double)x));
    double e = es > ec ? es : ec;
    cr_assert(e <= TOL_SINCOS, "x = %a: sin %.17g cos %.17g, off by %g", x, s, c, e);
    return e;
}

Test(rope, sin_and_cos_to_the_last_place)
{
    struct rng rng = {88172645463325252u};
    for (int i = 0; i < 200000; i++) {
        double scale = ldexp(1.0, (int)(rng_u64(&rng) % 60) - 35); /* 2^-35 to 2^24 */
        double x = rng_unit(&rng) * scale;
        check_sincos(x);
        check_sincos(-x);
    }
    /* Integers (rope's angles at frequency 1) and the neighbours of multiples of pi/4, where the
     * reduction cancels most. */
    for (int i = 0; i < 200000; i++) {
        check_sincos((double)(rng_u64(&rng) % 16777217u));
        double k = (double)(rng_u64(&rng) % 21361414u);
        double near = k * 0.78539816339744830962;
        check_sincos(near < 0x1p24 ? near : 0x1p24);
        check_sincos(nextafter(near, 0.0));
    }
    double s, c;
    lk_sincos(0.0, &s, &c);
    cr_assert(s == 0.0 && c == 1.0);
}

/* Lanes give the bits of one number alone, in any number and place. */
Test(rope, sin_and_cos_of_many)
{
    enum { MOST = 67 };
    struct rng rng = {88172645463325252u};
    double x[MOST], s[MOST + 1], c[MOST + 1];
    for (int n = 0; n <= MOST; n++) {
        for (int i = 0; i < n; i++) {
            x[i] = rng_unit(&rng) * ldexp(1.0, (int)(rng_u64(&rng) % 60) - 35);
            x[i] = i % 2 ? -x[i] : x[i];
        }
        s[n] = c[n] = 7.0;
        lk_sincos_many(x, n, s, c);
        cr_assert(s[n] == 7.0 && c[n] == 7.0);
        for (int i = 0; i < n; i++) {
            double one[2], many[2] = {s[i], c[i]};
            lk_sincos(x[i], &one[0], &one[1]);
            cr_assert(memcmp(one, many, sizeof one) == 0, "x = %a, %d of %d: %a %a, alone %a %a",
                      x[i], i, n, s[i], c[i], one[0], one[1]);
        }
    }
}

Test(rope, log_and_exp_to_the_last_places)
{
    struct rng rng = {1234567};
    for (int i = 0; i < 200000; i++) {
        double x = ldexp(1.0 + rng_unit(&rng), (int)(rng_u64(&rng) % 200) - 100);
        long double want = logl((long double)x);
        long double off = fabsl((long double)lk_log_f64(x) - want);
        cr_assert(off <= TOL_LOG_EXP * fabsl(want) + 1e-18L, "log %a: off by %Lg of %Lg", x, off,
                  want);
        double near = 1.0 + (rng_unit(&rng) - 0.5) * ldexp(1.0, -(int)(rng_u64(&rng) % 40));
        want = logl((long double)near);
        off = fabsl((long double)lk_log_f64(near) - want);
        cr_assert(off <= TOL_LOG_EXP * fabsl(want), "log %a: off by %Lg of %Lg", near, off, want);
        double y = (rng_unit(&rng) - 0.5) * 1400.0;
        want = expl((long double)y);
        off = fabsl((long double)lk_exp_f64(y) - want);
        cr_assert(off <= TOL_LOG_EXP * want, "exp %a: off by %Lg of %Lg", y, off, want);
    }
    cr_assert(lk_log_f64(1.0) == 0.0 && lk_exp_f64(0.0) == 1.0);
}

/* The shapes of real models. */
struct shape {
    int n_dims;
    double base, linear, attn_factor;
    bool factors;
};
static const struct shape shapes[] = {
    {64, 100000.0, 1.0, 1.0, false},   /* SmolLM2 */
    {256, 1000000.0, 8.0, 1.0, false}, /* gemma3, global layers */
    {256, 10000.0, 1.0, 1.0, false},   /* gemma3, local layers */
    {128, 500000.0, 1.0, 1.0, true},   /* llama 3.1 */
    {96, 10000.0, 1.0, 1.19, true},    /* phi3 */
    {2, 10000.0, 1.0, 1.0, false},
};
static const int32_t positions[] = {0, 1, 2, 63, 64, 4095, 8191, 131071, 1048576, 16777215};

static void init(struct lk_rope *rope, const struct shape *shape)
{
    lk_error err;
    float factors[128];
    for (int i = 0; i < shape->n_dims / 2; i++) {
        factors[i] = 1.0f + (float)i * 0.125f;
    }
    cr_assert_eq(lk_rope_init(rope, shape->n_dims, false, shape->base, shape->linear,
                              shape->factors ? factors : NULL, &err),
                 LK_OK);
    rope->attn_factor = shape->attn_factor;
}

Test(rope, table_follows_its_formula)
{
    for (size_t k = 0; k < LK_COUNT(shapes); k++) {
        struct lk_rope rope;
        float cs[256];
        double cs64[256];
        init(&rope, &shapes[k]);
        for (size_t j = 0; j < LK_COUNT(positions); j++) {
            lk_rope_table(&rope, positions[j], cs);
            lk_rope_table_f64(&rope, positions[j], cs64);
            for (int i = 0; i < rope.n_dims / 2; i++) {
                long double freq = powl((long double)shapes[k].base,
                                        -2.0L * (long double)i / (long double)rope.n_dims) /
                                   (long double)shapes[k].linear;
                freq /= shapes[k].factors ? 1.0L + (long double)i * 0.125L : 1.0L;
                /* inv_freq carries a few 2^-53 of error, multiplied by the position. */
                long double angle = freq * (long double)positions[j];
                double bound = 4e-15 * (double)angle + 4e-16;
                long double f = (long double)shapes[k].attn_factor;
                cr_assert(fabsl((long double)cs64[2 * i] - f * cosl(angle)) <= bound);
                cr_assert(fabsl((long double)cs64[2 * i + 1] - f * sinl(angle)) <= bound);
                cr_assert_eq(lk_bits(cs[2 * i]), lk_bits(lk_flush((float)cs64[2 * i])));
                cr_assert_eq(lk_bits(cs[2 * i + 1]), lk_bits(lk_flush((float)cs64[2 * i + 1])));
            }
        }
        lk_rope_free(&rope);
        cr_assert_null(rope.inv_freq);
    }
}

/* ---- YaRN and temperature ---- */

static long double ramp_end(const struct lk_yarn *y, int n_dims, double base, double beta)
{
    return (long double)n_dims *
           logl((long double)y->original / ((long double)beta * 6.283185307179586476925L)) /
           (2.0L * logl((long double)base));
}

static long double yarn_share(const struct lk_yarn *y, int n_dims, double base, int pair)
{
    long double low = ramp_end(y, n_dims, base, y->beta_fast);
    long double high = ramp_end(y, n_dims, base, y->beta_slow);
    if (!y->fractional) {
        low = floorl(low);
        high = ceill(high);
    }
    low = fmaxl(low, 0.0L);
    high = fminl(high, (long double)n_dims - 1.0L);
    long double at = ((long double)pair - low) / fmaxl(high - low, 0.001L);
    return (1.0L - fminl(fmaxl(at, 0.0L), 1.0L)) * (long double)y->extrapolation;
}

Test(rope, yarn_mixes_angles_along_a_ramp)
{
    static const struct {
        int n_dims;
        double base;
        struct lk_yarn yarn;
        int first, last; /* pairs that stay up to it, and are divided from it on */
    } cases[] = {
        {128, 1e6, {4.0, 32768.0, 32.0, 1.0, 1.0, false}, 23, 40},   /* Qwen2.5 */
        {128, 1e6, {16.0, 16384.0, 32.0, 1.0, 1.0, false}, 20, 37},  /* Ministral 3 */
        {64, 150000.0, {32.0, 4096.0, 32.0, 1.0, 1.0, true}, 8, 18}, /* gpt-oss: 8.09 to 17.4 */
        {24, 1e4, {4.0, 12.0, 1.0, 0.1, 1.0, false}, 0, 4},
        {64, 1e4, {8.0, 100.0, 32.0, 32.0, 1.0, false}, 0, 1}, /* the ramp has no width */
        {64, 1e4, {8.0, 8192.0, 32.0, 1.0, 0.5, false}, -1, 25},
    };
    for (size_t k = 0; k < LK_COUNT(cases); k++) {
        struct lk_rope rope;
        lk_error err;
        int n = cases[k].n_dims;
        const struct lk_yarn *y = &cases[k].yarn;
        cr_assert_eq(lk_rope_init(&rope, n, false, cases[k].base, 1.0, NULL, &err), LK_OK);
        lk_rope_scale_yarn(&rope, cases[k].base, y);
        for (int i = 0; i < n / 2; i++) {
            long double plain =
                powl((long double)cases[k].base, -2.0L * (long double)i / (long double)n);
            long double share = yarn_share(y, n, cases[k].base, i);
            long double want = plain * (share + (1.0L - share) / (long double)y->factor);
            double off = (double)fabsl((long double)rope.inv_freq[i] / want - 1.0L);
            cr_assert(off < 2e-14, "case %zu, pair %d: off by %g", k, i, off);
            double ratio = rope.inv_freq[i] / (double)plain;
            cr_assert_eq(ratio > 1.0 - 1e-12, i <= cases[k].first, "case %zu, pair %d: %g", k, i,
                         ratio);
            cr_assert_eq(ratio * y->factor < 1.0 + 1e-12, i >= cases[k].last, "case %zu, pair %d",
                         k, i);
        }
        lk_rope_free(&rope);
    }
    cr_assert_float_eq(lk_yarn_magnitude(8.0, 1.0), 1.2079441541679836, 1e-15); /* Olmo 3 */
    cr_assert_eq(lk_yarn_magnitude(1.0, 1.0), 1.0);
    cr_assert_eq(lk_yarn_magnitude(0.5, 1.0), 1.0);
}

Test(rope, temperature_grows_by_whole_contexts)
{
    struct lk_rope plain, sharp;
    lk_error err;
    cr_assert_eq(lk_rope_init(&plain, 8, true, 1e4, 1.0, NULL, &err), LK_OK);
    cr_assert_eq(lk_rope_init(&sharp, 8, true, 1e4, 1.0, NULL, &err), LK_OK);
    sharp.temperature = 0.1;
    sharp.original = 16.0;
    for (int32_t pos = 0; pos < 100; pos++) {
        double a[8], b[8], want = 1.0 + 0.1 * log(1.0 + floor(pos / 16.0));
        float f[8];
        lk_rope_table_f64(&plain, pos, a);
        lk_rope_table_f64(&sharp, pos, b);
        lk_rope_table(&sharp, pos, f);
        for (int i = 0; i < 8; i++) {
            cr_assert_float_eq(b[i], a[i] * want, 1e-15);
            cr_assert(pos >= 16 || a[i] == b[i]);
            cr_assert_eq(lk_bits(f[i]), lk_bits(lk_flush((float)b[i])));
        }
    }
    lk_rope_free(&plain);
    lk_rope_free(&sharp);
}

Test(rope, tables_have_the_pinned_bits)
{
    static const char want[] = "b831cca596c7b0db253df1f08a10e84c1bd26fbda5259ecdec5d79bee9442b9e";
    lk_sha256 h;
    lk_sha256_init(&h);
    for (size_t k = 0; k < LK_COUNT(shapes); k++) {
        struct lk_rope rope;
        float cs[256];
        double cs64[256];
        init(&rope, &shapes[k]);
        for (int32_t pos = 0; pos < 20000; pos += 1 + pos / 64) {
            lk_rope_table(&rope, pos, cs);
            lk_sha256_floats(&h, cs, (size_t)rope.n_dims);
        }
        for (size_t j = 0; j < LK_COUNT(positions); j++) { /* all 64 bits, low word first */
            lk_rope_table_f64(&rope, positions[j], cs64);
            for (int i = 0; i < rope.n_dims; i++) {
                uint64_t u;
                uint8_t le[8];
                memcpy(&u, &cs64[i], sizeof u);
                for (int b = 0; b < 8; b++) {
                    le[b] = (uint8_t)(u >> (8 * b));
                }
                lk_sha256_bytes(&h, le, sizeof le);
            }
        }
        lk_rope_free(&rope);
    }
    uint8_t digest[32];
    char hex[65];
    lk_sha256_final(&h, digest);
    for (int i = 0; i < 32; i++) {
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    }
    cr_assert_str_eq(hex, want);
}

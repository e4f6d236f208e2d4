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

/* SPDX-License-Identifier: Apache-2.0
 *
 * Sampler: the generator's published answers, every step alone and in its order, ties, infinities,
 * the distribution of draws, golden draws, and a plain sorted model of the whole compared by ids.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/numerics.h"
#include "text/sample/sampler.h"
#include "lockstep.h"

enum { BIG = 5000 };
__extension__ typedef unsigned __int128 uint128;

static uint64_t next(uint64_t *state)
{
    return lk_random(99, (*state)++);
}

static float uniform(uint64_t *state, float from, float to)
{
    return from + (to - from) * (float)(next(state) >> 40) / 16777216.0f;
}

static lk_sampler *open_with(const lk_sampler_options *o, size_t n)
{
    lk_sampler *s;
    lk_error err;
    cr_assert_eq(lk_sampler_open(o, n, &s, &err), LK_OK, "%s", err.message);
    return s;
}

static int32_t once(const lk_sampler_options *o, const float *row, size_t n, const int32_t *history,
                    size_t n_history, uint64_t pos)
{
    lk_sampler *s = open_with(o, n);
    int32_t id = lk_sample(s, row, history, n_history, pos);
    lk_sampler_close(&s);
    cr_assert_null(s);
    return id;
}

Test(sampler, philox_known_answers)
{
    /* The vectors that the authors publish with their library (Random123, kat_vectors). */
    static const uint32_t KAT[3][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1}};
    for (int i = 0; i < 3; i++) {
        uint32_t out[4];
        lk_philox(KAT[i], KAT[i] + 4, out);
        cr_assert_arr_eq(out, KAT[i] + 6, sizeof out, "vector %d", i);
    }
    cr_assert_eq(lk_random(0, 0), 0xe169c58d6627e8d5u);
}

Test(sampler, argmax_takes_the_lowest_of_equals)
{
    const float ties[] = {-1.0f, 3.0f, 2.0f, 3.0f};
    const float zeros[] = {-1.0f, -0.0f, 0.0f};
    const float low[] = {-INFINITY, -INFINITY};
    const float broken[] = {NAN, -5.0f, NAN};
    cr_assert_eq(lk_argmax(ties, 4), 1);
    cr_assert_eq(lk_argmax(zeros, 3), 1);
    cr_assert_eq(lk_argmax(low, 2), 0);
    cr_assert_eq(lk_argmax(broken, 3), 1);
}

Test(sampler, greedy_is_argmax_and_ignores_the_seed)
{
    float row[BIG];
    uint64_t state = 0;
    for (int i = 0; i < BIG; i++) {
        row[i] = uniform(&state, -20.0f, 20.0f);
    }
    lk_sampler_options o = lk_sampler_options_default();
    cr_assert_eq(o.temperature, 0.0f);
    cr_assert_eq(o.seed, 0);
    for (o.seed = 0; o.seed < 5; o.seed++) {
        cr_assert_eq(once(&o, row, BIG, NULL, 0, o.seed * 3), lk_argmax(row, BIG));
    }
    o.temperature = 1.0f;
    o.top_k = 1;
    for (uint64_t pos = 0; pos < 50; pos++) {
        cr_assert_eq(once(&o, row, BIG, NULL, 0, pos), lk_argmax(row, BIG));
    }
}

Test(sampler, bias)
{
    const float row[] = {1.0f, 2.0f, 3.0f, 2.5f};
    const int32_t ids[] = {0, 2, 0};
    const float values[] = {1.5f, -INFINITY, 0.5f};
    lk_sampler_options o = lk_sampler_options_default();
    o.bias_ids = ids;
    o.bias_values = values;
    o.n_bias = 2;
    cr_assert_eq(once(&o, row, 4, NULL, 0, 0), 0); /* 2.5 and 2.5: the lower id */
    o.n_bias = 1;
    cr_assert_eq(once(&o, row, 4, NULL, 0, 0), 2);
    o.n_bias = 3; /* two biases of one token add up */
    cr_assert_eq(once(&o, row, 4, NULL, 0, 0), 0);
    o.temperature = 1e6f; /* nearly flat: only the excluded token never comes */
    int seen[4] = {0};
    for (uint64_t pos = 0; pos < 400; pos++) {
        seen[once(&o, row, 4, NULL, 0, pos)]++;
    }
    cr_assert(seen[0] && seen[1] && !seen[2] && seen[3]);
    const int32_t all[] = {0, 1, 2, 3};
    const float none[] = {-INFINITY, -INFINITY, -INFINITY, -INFINITY};
    o.bias_ids = all;
    o.bias_values = none;
    o.n_bias = 4;
    cr_assert_eq(once(&o, row, 4, NULL, 0, 0), 0);
    const float huge[] = {3e38f, 3e38f, 3e38f, -3e38f};
    o.bias_values = huge;
    cr_assert_lt(once(&o, huge, 4, NULL, 0, 0), 3); /* 6e38 stays finite */
}

Test(sampler, penalties)
{
    const float row[] = {4.0f, 3.5f, -1.0f, -1.5f};
    const int32_t history[] = {0, 0, 2};
    lk_sampler_options o = lk_sampler_options_default();
    o.repeat_penalty = 2.0f; /* 4 -> 2, -1 -> -2 */
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 1);
    cr_assert_eq(once(&o, row + 2, 2, (int32_t[]){0}, 1, 3), 1);
    o.penalty_last_n = 1; /* looks at token 2 alone */
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 0);
    o.penalty_last_n = 0;
    cr_assert_eq(once(&o, row, 4, (int32_t[]){0}, 1, 1), 0);
    o = lk_sampler_options_default();
    o.frequency_penalty = 0.25f; /* 4 - 2 * 0.25 = 3.5: a tie goes to the lower id */
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 0);
    o.frequency_penalty = 0.26f;
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 1);
    o = lk_sampler_options_default();
    o.presence_penalty = 0.5f; /* once, however often it was seen */
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 0);
    o.presence_penalty = 0.51f;
    cr_assert_eq(once(&o, row, 4, history, 3, 3), 1);
    /* The repetition penalty comes before the subtractions: 4 / 2 - 1 = 1, not (4 - 1) / 2. */
    o.repeat_penalty = 2.0f;
    o.presence_penalty = 1.0f;
    const float order[] = {4.0f, 1.25f};
    cr_assert_eq(once(&o, order, 2, (int32_t[]){0}, 1, 1), 1);
    /* And bias before penalties: (2 + 2) / 2 = 2 < 2.5, not 2 / 2 + 2 = 3. */
    o = lk_sampler_options_default();
    o.repeat_penalty = 2.0f;
    o.bias_ids = (int32_t[]){0};
    o.bias_values = (float[]){2.0f};
    o.n_bias = 1;
    cr_assert_eq(once(&o, (float[]){2.0f, 2.5f}, 2, (int32_t[]){0}, 1, 1), 1);
    /* Ids outside of the vocabulary are no concern of the window. */
    cr_assert_eq(once(&o, (float[]){2.0f, 2.5f}, 2, (int32_t[]){-1, 7}, 2, 2), 0);
}

/* Marks which ids come in 3000 draws. */
static void support(const lk_sampler_options *o, const float *row, size_t n, bool *seen)
{
    lk_sampler *s = open_with(o, n);
    memset(seen, 0, n * sizeof *seen);
    for (uint64_t pos = 0; pos < 3000; pos++) {
        seen[lk_sample(s, row, NULL, 0, pos)] = true;
    }
    lk_sampler_close(&s);
}

static void expect_support(const lk_sampler_options *o, const float *row, size_t n, const char *ids)
{
    bool seen[16];
    support(o, row, n, seen);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(seen[i], ids[i] == '1', "token %zu, expected set %s", i, ids);
    }
}

Test(sampler, truncation_keeps_the_lowest_ids_of_equals)
{
    const float flat[] = {1.0f, 1.0f, 1.0f, 1.0f};
    const float row[] = {0.0f, 2.0f, 1.0f, 2.0f, 1.0f, 1.0f, -0.0f};
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = 1.0f;
    o.top_k = 3;
    expect_support(&o, flat, 4, "1110");
    expect_support(&o, row, 7, "0111000");
    o.top_k = 6;
    expect_support(&o, row, 7, "1111110"); /* +0 and -0 are equals */
    o.top_k = 100;
    expect_support(&o, row, 7, "1111111");
    o.top_k = 0;
    o.top_p = 0.5f;
    expect_support(&o, flat, 4, "1100"); /* exactly one half: the third is not needed */
    o.top_p = 0.500001f;
    expect_support(&o, flat, 4, "1110");
    o.top_p = 1e-9f;
    expect_support(&o, row, 7, "0100000");
    o.top_p = 1.0f;
    o.min_p = 1.0f;
    expect_support(&o, row, 7, "0101000");
    o.min_p = 0.36f; /* e^-1 = 0.3679 stays, e^-2 goes */
    expect_support(&o, row, 7, "0111110");
    o.min_p = 0.37f;
    expect_support(&o, row, 7, "0101000");
}

Test(sampler, order_of_the_steps)
{
    /* Probabilities 0.4 0.3 0.2 0.1 at temperature 1. */
    const float row[] = {-0.9162907f, -1.2039728f, -1.6094379f, -2.3025851f};
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = 1.0f;
    o.top_p = 0.75f;
    expect_support(&o, row, 4, "1110"); /* 0.4 + 0.3 < 0.75 */
    o.top_k = 2;
    expect_support(&o, row, 4, "1100"); /* top-k first; of 0.57 and 0.43 both are needed */
    o.top_p = 0.56f;
    expect_support(&o, row, 4, "1000"); /* 0.57 of what top-k left, though 0.4 of the whole */
    o.top_k = 0;
    o.top_p = 0.65f; /* temperature comes before top-p: at 0.5 the shares are .53 .30 .13 .03 */
    expect_support(&o, row, 4, "1100");
    o.temperature = 0.25f; /* .72 .23 .05 .003 */
    expect_support(&o, row, 4, "1000");
    o.temperature = 2.0f; /* .33 .28 .23 .16 */
    expect_support(&o, row, 4, "1110");
    o.top_p = 1.0f;
    o.min_p = 0.6f; /* and before min-p: ratios 1 .87 .71 .5 */
    expect_support(&o, row, 4, "1110");
    o.temperature = 1.0f; /* 1 .75 .5 .25 */
    expect_support(&o, row, 4, "1100");
}

/* Chi-square of draws against the probabilities of softmax(row / temperature). */
static double chi_square(const float *row, int n, float temperature, uint64_t seed, int draws)
{
    double p[64], sum = 0.0, chi = 0.0;
    int count[64] = {0};
    for (int i = 0; i < n; i++) {
        p[i] = exp((double)row[i] / (double)temperature);
        sum += p[i];
    }
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = temperature;
    o.seed = seed;
    lk_sampler *s = open_with(&o, (size_t)n);
    for (int i = 0; i < draws; i++) {
        count[lk_sample(s, row, NULL, 0, (uint64_t)i)]++;
    }
    lk_sampler_close(&s);
    for (int i = 0; i < n; i++) {
        double expected = p[i] / sum * draws;
        chi += (count[i] - expected) * (count[i] - expected) / expected;
    }
    return chi;
}

Test(sampler, draws_follow_the_distribution)
{
    float row[20];
    for (int i = 0; i < 20; i++) {
        row[i] = 0.2f * (float)((i * 7) % 20);
    }
    const float temperature[] = {0.7f, 1.0f, 3.0f};
    for (int t = 0; t < 3; t++) {
        for (uint64_t seed = 0; seed < 4; seed++) {
            double chi = chi_square(row, 20, temperature[t], seed * 0x123456789abcdefu, 40000);
            /* 19 degrees of freedom: below 43.8 with probability 0.999, above 4.9 likewise. */
            cr_assert(chi < 43.8 && chi > 4.9, "chi-square %g", chi);
        }
    }
}

/* The rules written plainly: sort, then cut prefixes. */
static const float *plain_row;
static int by_logit(const void *a, const void *b)
{
    int32_t i = *(const int32_t *)a, j = *(const int32_t *)b;
    if (plain_row[i] != plain_row[j]) {
        return plain_row[i] > plain_row[j] ? -1 : 1;
    }
    return i < j ? -1 : 1;
}

static int32_t plain(const lk_sampler_options *o, const float *row, int n, uint64_t pos)
{
    static int32_t id[BIG];
    static uint64_t weight[BIG], of[BIG];
    plain_row = row;
    for (int i = 0; i < n; i++) {
        id[i] = i;
    }
    qsort(id, (size_t)n, sizeof *id, by_logit);
    int kept = o->top_k > 0 && o->top_k < n ? o->top_k : n;
    uint64_t total = 0, sum = 0;
    for (int i = 0; i < kept; i++) {
        weight[i] = (uint64_t)ldexp((double)lk_exp((row[id[i]] - row[id[0]]) / o->temperature), 39);
        total += weight[i];
    }
    if (o->top_p < 1.0f) {
        int i = 0;
        while (i < kept && (double)sum < (double)total * (double)o->top_p) {
            sum += weight[i++];
        }
        kept = i;
    }
    memset(of, 0, sizeof of);
    sum = 0;
    for (int i = 0; i < kept; i++) {
        if ((double)weight[i] >= floor(ldexp((double)o->min_p, 39))) {
            of[id[i]] = weight[i];
            sum += weight[i];
        }
    }
    uint64_t at = (uint64_t)(((uint128)lk_random(o->seed, pos) * sum) >> 64);
    for (int i = 0;; i++) {
        if (at < of[i]) {
            return i;
        }
        at -= of[i];
    }
}

Test(sampler, equals_the_plain_model)
{
    static float row[BIG];
    uint64_t state = 1000;
    for (int round = 0; round < 300; round++) {
        int n = 1 + (int)(next(&state) % BIG);
        int shape = round % 4;
        for (int i = 0; i < n; i++) {
            float x = uniform(&state, -15.0f, 15.0f);
            row[i] = shape == 0 ? x : shape == 1 ? floorf(x) : shape == 2 ? x * 1e-3f : x * x * x;
        }
        lk_sampler_options o = lk_sampler_options_default();
        o.temperature = uniform(&state, 0.05f, 3.0f);
        o.top_k = round % 3 ? (int)(next(&state) % (uint64_t)(n + 5)) : 0;
        o.top_p = round % 5 ? uniform(&state, 0.01f, 1.0f) : 1.0f;
        o.min_p = round % 7 ? 0.0f : uniform(&state, 0.0f, 0.5f);
        o.seed = next(&state);
        lk_sampler *s = open_with(&o, (size_t)n);
        for (uint64_t pos = 0; pos < 8; pos++) {
            int32_t got = lk_sample(s, row, NULL, 0, pos), expected = plain(&o, row, n, pos);
            cr_assert_eq(got, expected,
                         "round %d, %d tokens, top-k %d, top-p %g: token %d, expected %d", round, n,
                         o.top_k, (double)o.top_p, got, expected);
        }
        lk_sampler_close(&s);
    }
}

Test(sampler, draws_depend_on_seed_and_position_alone)
{
    float row[BIG];
    uint64_t state = 5;
    for (int i = 0; i < BIG; i++) {
        row[i] = uniform(&state, -4.0f, 4.0f);
    }
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = 1.0f;
    o.top_p = 0.9f;
    o.seed = 42;
    lk_sampler *a = open_with(&o, BIG);
    int32_t first[32];
    for (uint64_t pos = 0; pos < 32; pos++) {
        first[pos] = lk_sample(a, row, NULL, 0, pos);
    }
    for (uint64_t pos = 32; pos-- > 0;) {
        cr_assert_eq(lk_sample(a, row, NULL, 0, pos), first[pos]);
    }
    lk_sampler_close(&a);
    o.seed = 43;
    int same = 0;
    for (uint64_t pos = 0; pos < 32; pos++) {
        same += once(&o, row, BIG, NULL, 0, pos) == first[pos];
    }
    cr_assert_lt(same, 4);
}

Test(sampler, golden_draws)
{
    float row[1000];
    for (int i = 0; i < 1000; i++) {
        row[i] = (float)((i * 7919) % 1009) / 128.0f;
    }
    lk_sampler_options o = lk_sampler_options_default();
    o.temperature = 0.8f;
    o.top_k = 400;
    o.top_p = 0.95f;
    o.min_p = 0.02f;
    o.repeat_penalty = 1.1f;
    o.frequency_penalty = 0.1f;
    o.presence_penalty = 0.2f;
    o.seed = 2024;
    int32_t history[24] = {0};
    lk_sampler *s = open_with(&o, 1000);
    for (size_t i = 0; i < 24; i++) {
        history[i] = lk_sample(s, row, history, i, i);
    }
    lk_sampler_close(&s);
    static const int32_t GOLDEN[24] = {277, 442, 47,  495, 449, 509, 403, 831, 100, 594, 996, 719,
                                       344, 139, 231, 891, 686, 640, 324, 370, 396, 126, 350, 476};
    for (int i = 0; i < 24; i++) {
        cr_assert_eq(history[i], GOLDEN[i], "draw %d is %d, expected %d", i, history[i], GOLDEN[i]);
    }
}

Test(sampler, refuses_options_out_of_their_domain)
{
    static const struct {
        size_t offset;
        float value;
        const char *name;
    } BAD[] = {
        {offsetof(lk_sampler_options, temperature), -0.1f, "temperature"},
        {offsetof(lk_sampler_options, temperature), NAN, "temperature"},
        {offsetof(lk_sampler_options, temperature), INFINITY, "temperature"},
        {offsetof(lk_sampler_options, top_p), 0.0f, "top_p"},
        {offsetof(lk_sampler_options, top_p), 1.5f, "top_p"},
        {offsetof(lk_sampler_options, top_p), NAN, "top_p"},
        {offsetof(lk_sampler_options, min_p), -1.0f, "min_p"},
        {offsetof(lk_sampler_options, min_p), 1.1f, "min_p"},
        {offsetof(lk_sampler_options, repeat_penalty), 0.0f, "repeat_penalty"},
        {offsetof(lk_sampler_options, presence_penalty), INFINITY, "presence_penalty"},
        {offsetof(lk_sampler_options, frequency_penalty), NAN, "frequency_penalty"},
    };
    lk_sampler *s = NULL;
    lk_error err;
    for (size_t i = 0; i < sizeof BAD / sizeof *BAD; i++) {
        lk_sampler_options o = lk_sampler_options_default();
        memcpy((char *)&o + BAD[i].offset, &BAD[i].value, sizeof(float));
        cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID, "%zu", i);
        cr_assert_not_null(strstr(err.message, BAD[i].name), "%s", err.message);
    }
    lk_sampler_options o = lk_sampler_options_default();
    o.top_k = -1;
    cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID);
    o = lk_sampler_options_default();
    o.penalty_last_n = -1;
    cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID);
    o = lk_sampler_options_default();
    o.size = sizeof o + 1;
    cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID);
    o = lk_sampler_options_default();
    o.bias_ids = (int32_t[]){10};
    o.bias_values = (float[]){1.0f};
    o.n_bias = 1;
    cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID);
    o.bias_ids = (int32_t[]){9};
    o.bias_values = (float[]){NAN};
    cr_assert_eq(lk_sampler_open(&o, 10, &s, &err), LK_E_INVALID);
    o.n_bias = 0;
    cr_assert_eq(lk_sampler_open(&o, 0, &s, &err), LK_E_INVALID);
    cr_assert_eq(lk_sampler_open(NULL, 10, &s, &err), LK_OK);
    lk_sampler_close(&s);
    lk_sampler_close(&s);
}

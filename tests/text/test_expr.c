/* SPDX-License-Identifier: Apache-2.0
 *
 * Expressions against sets of strings: random ones, built once as expressions and once as the set
 * of their strings over three letters, must have the same strings, the same beginnings and,
 * clamped, the same still.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "text/grammar/expr.h"

/* All strings of up to LONGEST letters a, b and c, numbered by length, then by letters. */
enum { LONGEST = 5, N_STRINGS = 1 + 3 + 9 + 27 + 81 + 243 };
struct language {
    bool has[N_STRINGS];
};

static char strings[N_STRINGS][LONGEST + 1];
static int lengths[N_STRINGS];

static int number_of(const char *s, int n)
{
    int first = 0, at = 0, count = 1;
    for (int i = 0; i < n; i++) {
        first += count;
        count *= 3;
        at = at * 3 + (s[i] - 'a');
    }
    return first + at;
}

static void make_strings(void)
{
    int made = 1;
    for (int i = 0; made < N_STRINGS; i++) {
        for (char c = 'a'; c <= 'c'; c++, made++) {
            memcpy(strings[made], strings[i], (size_t)lengths[i]);
            strings[made][lengths[i]] = c;
            lengths[made] = lengths[i] + 1;
        }
    }
}

static struct language cat(const struct language *a, const struct language *b)
{
    struct language r = {{0}};
    for (int i = 0; i < N_STRINGS; i++) {
        for (int k = 0; a->has[i] && k < N_STRINGS && lengths[i] + lengths[k] <= LONGEST; k++) {
            if (b->has[k]) {
                char s[2 * LONGEST + 1];
                memcpy(s, strings[i], (size_t)lengths[i]);
                memcpy(s + lengths[i], strings[k], (size_t)lengths[k]);
                r.has[number_of(s, lengths[i] + lengths[k])] = true;
            }
        }
    }
    return r;
}

static struct language repeat(const struct language *a, unsigned min, unsigned max)
{
    struct language power = {{true}}, r = {{false}};
    for (unsigned n = 0; n <= max && n <= min + LONGEST; n++) {
        for (int i = 0; n >= min && i < N_STRINGS; i++) {
            r.has[i] |= power.has[i];
        }
        power = cat(&power, a);
    }
    return r;
}

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
}

static uint32_t make(struct lk_exprs *x, uint64_t *state, int depth, struct language *l)
{
    uint64_t r = next_random(state);
    if (depth == 0 || r % 10 == 0) {
        struct lk_byte_set set = {{0}};
        *l = (struct language){{0}};
        for (int c = 0; c < 3; c++) {
            if (r >> (8 + c) & 1) {
                lk_byte_set_add(&set, 'a' + (unsigned)c);
                l->has[1 + c] = true;
            }
        }
        if (r >> 12 & 1) {
            l->has[0] = true;
            return lk_expr_alt(x, LK_EXPR_EMPTY, lk_expr_set(x, &set));
        }
        return lk_expr_set(x, &set);
    }
    struct language a, b;
    uint32_t p = make(x, state, depth - 1, &a), q, e;
    unsigned min = (unsigned)(r >> 8) % 4, max = min + (unsigned)(r >> 16) % 4;
    switch (r % 10) {
    case 1:
    case 2:
    case 3:
        q = make(x, state, depth - 1, &b);
        *l = cat(&a, &b);
        return lk_expr_cat(x, p, q);
    case 4:
    case 5:
        q = make(x, state, depth - 1, &b);
        for (int i = 0; i < N_STRINGS; i++) {
            l->has[i] = a.has[i] || b.has[i];
        }
        return lk_expr_alt(x, p, q);
    case 6:
        q = make(x, state, depth - 1, &b);
        for (int i = 0; i < N_STRINGS; i++) {
            l->has[i] = a.has[i] && b.has[i];
        }
        return lk_expr_and(x, p, q);
    case 7:
        for (int i = 0; i < N_STRINGS; i++) {
            l->has[i] = !a.has[i];
        }
        return lk_expr_not(x, p);
    default:
        e = lk_expr_repeat(x, p, min, r >> 30 & 1 ? LK_NO_LIMIT : max);
        *l = repeat(&a, min, r >> 30 & 1 ? LK_NO_LIMIT : max);
        return e;
    }
}

/* The expression has the strings of l, and what is left after any beginning of one is live. */
static void check_strings(struct lk_exprs *x, uint32_t e, const struct language *l, uint64_t seed)
{
    for (int i = 0; i < N_STRINGS; i++) {
        uint32_t d = e;
        for (int k = 0; k < lengths[i]; k++) {
            d = lk_expr_derive(x, d, (unsigned char)strings[i][k]);
            cr_assert(!l->has[i] || lk_expr_is_live(x, d), "seed %llu: '%s' is dead at %d",
                      (unsigned long long)seed, strings[i], k);
        }
        cr_assert_eq(x->status, LK_OK, "%s", x->error.message);
        cr_assert_eq(lk_expr_has(x, d, LK_EXPR_NULLABLE), l->has[i], "seed %llu: '%s'",
                     (unsigned long long)seed, strings[i]);
        cr_assert_eq(lk_expr_matches(x, e, strings[i], (size_t)lengths[i]), l->has[i]);
    }
}

Test(expr, random_expressions_have_the_strings_of_their_sets)
{
    make_strings();
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct lk_exprs x;
        lk_error err;
        struct language l;
        uint64_t state = seed;
        cr_assert_eq(lk_exprs_open(&x, 1 << 26, &err), LK_OK);
        uint32_t e = make(&x, &state, 4, &l);
        cr_assert_eq(x.status, LK_OK, "%s", x.error.message);
        check_strings(&x, e, &l, seed);
        uint32_t clamped = lk_expr_clamp(&x, e, LONGEST);
        check_strings(&x, clamped, &l, seed);
        cr_assert_eq(lk_expr_clamp(&x, clamped, LONGEST), clamped);
        lk_exprs_close(&x);
    }
}

/* What follows a beginning is live exactly when the set of strings says so, where the strings are
 * short enough to see all of them. */
Test(expr, what_is_left_is_live_when_there_is_a_string)
{
    make_strings();
    int n_dead = 0;
    for (uint64_t seed = 1; seed <= 3000; seed++) {
        struct lk_exprs x;
        lk_error err;
        struct language a, b;
        uint64_t state = seed * 77;
        cr_assert_eq(lk_exprs_open(&x, 1 << 26, &err), LK_OK);
        uint32_t p = make(&x, &state, 2, &a), q = make(&x, &state, 3, &b);
        /* No string of the whole is longer than LONGEST. */
        struct lk_byte_set abc = {{0}};
        lk_byte_set_add_range(&abc, 'a', 'c');
        uint32_t few = lk_expr_repeat(&x, lk_expr_set(&x, &abc), 0, LONGEST);
        uint32_t e = lk_expr_and(&x, lk_expr_and(&x, p, q), few);
        for (int i = 0; i < N_STRINGS; i++) {
            uint32_t d = e;
            bool any = false;
            for (int k = 0; k < lengths[i]; k++) {
                d = lk_expr_derive(&x, d, (unsigned char)strings[i][k]);
            }
            for (int k = 0; k < N_STRINGS && !any; k++) {
                any = a.has[k] && b.has[k] && lengths[k] >= lengths[i] &&
                      memcmp(strings[k], strings[i], (size_t)lengths[i]) == 0;
            }
            cr_assert_eq(lk_expr_is_live(&x, d), any, "seed %llu: '%s'", (unsigned long long)seed,
                         strings[i]);
            n_dead += !any;
        }
        lk_exprs_close(&x);
    }
    cr_assert_gt(n_dead, 10000);
}

Test(expr, counters_do_not_grow_with_their_limits)
{
    struct lk_exprs x;
    lk_error err;
    cr_assert_eq(lk_exprs_open(&x, 1 << 26, &err), LK_OK);
    uint32_t a = lk_expr_byte(&x, 'a');
    size_t before = x.n;
    uint32_t e = lk_expr_repeat(&x, a, 99999, 100000);
    cr_assert_leq(x.n, before + 1);
    for (int i = 0; i < 100; i++) {
        e = lk_expr_derive(&x, e, 'a');
    }
    cr_assert(lk_expr_is_live(&x, e));
    cr_assert_eq(lk_expr_derive(&x, e, 'b'), LK_EXPR_NONE);
    cr_assert_leq(x.n, before + 102);
    /* What is far from its ends is like any other. */
    cr_assert_eq(lk_expr_clamp(&x, e, 64), lk_expr_clamp(&x, lk_expr_repeat(&x, a, 500, 800), 64));
    cr_assert_neq(lk_expr_clamp(&x, e, 64), lk_expr_clamp(&x, lk_expr_repeat(&x, a, 50, 800), 64));
    lk_exprs_close(&x);
}

Test(expr, plain_text_is_seen)
{
    struct lk_exprs x;
    lk_error err;
    cr_assert_eq(lk_exprs_open(&x, 1 << 26, &err), LK_OK);
    uint32_t plain = lk_expr_plain(&x), quote = lk_expr_byte(&x, '"');
    uint32_t any = lk_expr_alt(&x, plain, lk_expr_byte(&x, '\n'));
    uint32_t text = lk_expr_cat(&x, lk_expr_repeat(&x, any, 0, LK_NO_LIMIT), quote);
    cr_assert_eq(lk_expr_run(&x, text), LK_NO_LIMIT);
    cr_assert_eq(lk_expr_run(&x, lk_expr_cat(&x, lk_expr_repeat(&x, any, 3, 9), quote)), 9);
    uint32_t ascii = lk_expr_range(&x, 0x20, 0x7E);
    cr_assert_eq(lk_expr_run(&x, lk_expr_repeat(&x, ascii, 0, LK_NO_LIMIT)), 0);
    cr_assert_eq(lk_expr_run(&x, quote), 0);
    /* No string at all may come behind it. */
    uint32_t dead = lk_expr_and(&x, lk_expr_literal(&x, "ab", 2), lk_expr_literal(&x, "ac", 2));
    cr_assert_eq(lk_expr_run(&x, lk_expr_cat(&x, lk_expr_repeat(&x, any, 0, 5), dead)), 0);
    cr_assert_eq(x.status, LK_OK, "%s", x.error.message);
    lk_exprs_close(&x);
}

static bool is_multiple(const char *text, uint32_t divisor, uint32_t scale)
{
    uint64_t n = 0;
    uint32_t digits = 0;
    bool point = false;
    for (; *text; text++) {
        point |= *text == '.';
        n = *text == '.' ? n : n * 10 + (uint64_t)(*text - '0');
        digits += point && *text != '.';
    }
    for (; digits < scale; digits++) {
        n *= 10;
    }
    uint64_t over = 1; /* digits behind the scale */
    for (; digits > scale; digits--) {
        over *= 10;
    }
    return n % over == 0 && n / over % divisor == 0;
}

Test(expr, digits_of_a_multiple)
{
    struct lk_exprs x;
    lk_error err;
    cr_assert_eq(lk_exprs_open(&x, 1 << 26, &err), LK_OK);
    for (uint32_t divisor = 1; divisor < 30; divisor++) {
        for (uint32_t scale = 0; scale < 3; scale++) {
            uint32_t e = lk_expr_multiple(&x, divisor, scale);
            for (int i = 0; i < 2000; i++) {
                char text[32];
                int n = snprintf(text, sizeof text, "%d", i);
                cr_assert_eq(lk_expr_matches(&x, e, text, (size_t)n),
                             is_multiple(text, divisor, scale), "%s of %u, scale %u", text, divisor,
                             scale);
                n = snprintf(text, sizeof text, "%d.%02d0", i / 100, i % 100);
                cr_assert_eq(lk_expr_matches(&x, e, text, (size_t)n),
                             scale > 0 && is_multiple(text, divisor, scale), "%s of %u, scale %u",
                             text, divisor, scale);
            }
        }
    }
    lk_exprs_close(&x);
}

/* A search that is too long is an error, again and again. */
Test(expr, a_search_that_is_too_long_is_an_error)
{
    for (int warm = 0; warm < 2; warm++) {
        struct lk_exprs x;
        lk_error err;
        cr_assert_eq(lk_exprs_open(&x, (size_t)1 << 30, &err), LK_OK);
        uint32_t a = lk_expr_byte(&x, 'a');
        /* Multiples of two primes: their first common one is far away. */
        uint32_t p = lk_expr_repeat(&x, lk_expr_repeat(&x, a, 1009, 1009), 1, LK_NO_LIMIT);
        uint32_t q = lk_expr_repeat(&x, lk_expr_repeat(&x, a, 1013, 1013), 1, LK_NO_LIMIT);
        uint32_t e = lk_expr_and(&x, p, q);
        uint32_t near = lk_expr_repeat(&x, lk_expr_repeat(&x, a, 7, 7), 1, LK_NO_LIMIT);
        cr_assert(lk_expr_is_live(&x, lk_expr_and(&x, p, near)));
        for (int i = 0; warm && i < 1000; i++) {
            cr_assert(!lk_expr_is_live(&x, e));
            cr_assert_eq(x.status, LK_E_UNSUPPORTED);
            lk_exprs_clear(&x);
        }
        cr_assert(!lk_expr_is_live(&x, e));
        cr_assert_eq(x.status, LK_E_UNSUPPORTED);
        lk_exprs_close(&x);
    }
}

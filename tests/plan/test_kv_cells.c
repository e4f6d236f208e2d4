/* SPDX-License-Identifier: Apache-2.0
 *
 * Kv_cells: rows to integers and back, in every slot, of both widths; what a state makes of cells:
 * sizes, zeroes past the last token, numbers that no store writes. Where a cell lies is written
 * here once more, in bytes.
 */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plan/kv_cells.h"
#include "plan/state.h"
#include "tests/util/cells.h"
#include "tests/util/tolerances.h"

enum { MAX_DIM = 640 };

static const int HEAD_DIMS[] = {2, 18, 32, 63, 100, 250, MAX_DIM};

/* The kinds of paged states. */
struct kind {
    enum lk_state_kind kind;
    int bits;
};
static const struct kind KINDS[] = {{LK_STATE_K, 12}, {LK_STATE_K, 8}, {LK_STATE_V, 8}};

static struct lk_state state_of(const struct kind *kind, int n_head, int head_dim)
{
    struct lk_state s = lk_state_paged(kind->kind, 3, n_head, head_dim);
    s.bits = kind->bits;
    return s;
}

static size_t head_bytes(const struct lk_state *s)
{
    return (size_t)s->dim * 64 * (size_t)s->bits / 8 + 64 * 4;
}

/* The byte of dimension d in a head, and that of a key's lower 4 bits. */
static size_t byte_of(const struct lk_state *s, int d, int slot)
{
    return s->kind == LK_STATE_V ? (size_t)(slot / 4 * s->dim * 4 + d * 4 + slot % 4)
                                 : (size_t)(d / 4 * 256 + slot * 4 + d % 4);
}
static size_t low_byte_of(const struct lk_state *s, int d, int slot)
{
    return (size_t)(s->dim * 64 + d / 8 * 256 + slot * 4 + d % 4);
}

static int integer_of(const struct lk_state *s, const uint8_t *head, int d, int slot)
{
    int high = (int8_t)head[byte_of(s, d, slot)];
    return s->bits == 12 ? high * 16 + (head[low_byte_of(s, d, slot)] >> (d % 8 < 4 ? 0 : 4) & 15)
                         : high;
}

static uint32_t scale_of(const struct lk_state *s, const uint8_t *head, int slot)
{
    uint32_t scale;
    memcpy(&scale, head + head_bytes(s) - 64 * 4 + slot * 4, 4);
    return scale;
}

/* What the engine reads. */
static int engine_integer(const struct lk_state *s, const uint32_t *head, int d, int slot)
{
    return s->kind == LK_STATE_V ? lk_kv_v_at(head, s->dim, d, slot)
                                 : lk_kv_k_at(head, s->dim, s->bits, d, slot);
}

static void put(const struct lk_state *s, uint32_t *head, int slot, const float *x)
{
    if (s->kind == LK_STATE_V) {
        lk_kv_put_v(head, s->dim, slot, x, s->head_dim);
    } else {
        lk_kv_put_k(head, s->dim, s->bits, slot, x, s->head_dim);
    }
}

/* All slots but one, and both neighbours of a head, are as they were. */
static void only_slot(const struct lk_state *s, const uint8_t *now, const uint8_t *was, int slot)
{
    for (int j = 0; j < 64; j++) {
        for (int d = 0; j != slot && d < s->dim; d++) {
            cr_assert_eq(integer_of(s, now, d, j), integer_of(s, was, d, j),
                         "slot %d wrote dimension %d of slot %d", slot, d, j);
        }
        cr_assert(j == slot || scale_of(s, now, j) == scale_of(s, was, j));
    }
}

static void check_row(const struct lk_state *s, const uint32_t *head, const float *x, int slot)
{
    const uint8_t *bytes = (const uint8_t *)head;
    int most = s->bits == 12 ? 1807 : 127, largest = 0;
    double a = 0;
    for (int d = 0; d < s->head_dim; d++) {
        a = fmax(a, fabs((double)x[d]));
    }
    double scale = (double)lk_flt(scale_of(s, bytes, slot));
    cr_assert_eq(lk_bits(lk_kv_scale_at(head, s->dim, s->bits, slot)), scale_of(s, bytes, slot));
    for (int d = 0; d < s->dim; d++) {
        int i = integer_of(s, bytes, d, slot);
        cr_assert_eq(engine_integer(s, head, d, slot), i);
        cr_assert_leq(abs(i), most);
        largest = abs(i) > largest ? abs(i) : largest;
        double want = d < s->head_dim ? (double)x[d] : 0;
        cr_assert(d < s->head_dim || i == 0, "pad %d is %d", d, i);
        cr_assert_leq(fabs(i * scale - want), a / most * TOL_CELL, "dimension %d: %d of %g for %g",
                      d, i, scale, want);
    }
    cr_assert_eq(largest, a > 0 ? most : 0);
    cr_assert(a > 0 || scale_of(s, bytes, slot) == 0);
}

Test(kv_cells, rows_go_in_and_come_back)
{
    static float x[MAX_DIM];
    struct rng rng = {3};
    for (size_t k = 0; k < LK_COUNT(KINDS); k++) {
        for (size_t i = 0; i < LK_COUNT(HEAD_DIMS); i++) {
            struct lk_state s = state_of(&KINDS[k], 1, HEAD_DIMS[i]);
            size_t n = head_bytes(&s);
            uint32_t *head = malloc(3 * n);
            uint8_t *was = malloc(3 * n);
            for (int round = 0; round < 70; round++) {
                int slot = round < 64 ? round : (int)(rng_u32(&rng) % 64);
                cells_random(&s, head, 3 * n, rng.state); /* before and behind it: guards */
                memcpy(was, head, 3 * n);
                for (int d = 0; d < s.head_dim; d++) {
                    int exponent = (int)(rng_u32(&rng) % 30) - 15 - round % 30;
                    double m = (double)rng_u32(&rng) / 0x1p31 - 1;
                    x[d] = round % 7 == 6 ? (d % 2 ? 0.0f : -0.0f) : (float)ldexp(m, exponent);
                }
                put(&s, head + n / 4, slot, x);
                check_row(&s, head + n / 4, x, slot);
                only_slot(&s, (uint8_t *)head + n, was + n, slot);
                cr_assert_arr_eq((uint8_t *)head, was, n);
                cr_assert_arr_eq((uint8_t *)head + 2 * n, was + 2 * n, n);
            }
            free(head);
            free(was);
        }
    }
}

/* Every integer that a cell can have, at every dimension of a group and in every slot. */
Test(kv_cells, every_integer_has_its_place)
{
    enum { DIM = 32 };
    uint32_t head[DIM * 24 + 64];
    int16_t x[DIM];
    for (size_t k = 0; k < LK_COUNT(KINDS); k++) {
        struct lk_state s = state_of(&KINDS[k], 1, DIM);
        int most = lk_kv_most(s.bits);
        cr_assert_eq(most, s.bits == 12 ? 1807 : 127);
        for (int first = -most; first <= most; first++) {
            int slot = (first + most) % 64;
            for (int d = 0; d < DIM; d++) {
                x[d] = (int16_t)((first + most + 5 * d) % (2 * most + 1) - most);
            }
            cells_random(&s, head, head_bytes(&s), (uint64_t)first);
            if (s.kind == LK_STATE_V) {
                lk_kv_place_v(head, DIM, slot, x, 0.25f);
            } else {
                lk_kv_place_k(head, DIM, s.bits, slot, x, 0.25f);
            }
            for (int d = 0; d < DIM; d++) {
                cr_assert_eq(integer_of(&s, (uint8_t *)head, d, slot), x[d]);
                cr_assert_eq(engine_integer(&s, head, d, slot), x[d]);
            }
            cr_assert_eq(scale_of(&s, (uint8_t *)head, slot), lk_bits(0.25f));
        }
    }
}

Test(kv_cells, states_have_the_bytes_of_their_cells)
{
    for (size_t k = 0; k < LK_COUNT(KINDS); k++) {
        for (size_t i = 0; i < LK_COUNT(HEAD_DIMS); i++) {
            struct lk_state s = state_of(&KINDS[k], 3, HEAD_DIMS[i]);
            cr_assert_eq(s.dim, (HEAD_DIMS[i] + 31) / 32 * 32);
            cr_assert_eq(lk_state_unit_bytes(&s), 3 * head_bytes(&s));
        }
    }
    struct lk_state plain = lk_state_paged(LK_STATE_K, 0, 1, 64);
    cr_assert_eq(plain.bits, 12);
    cr_assert_eq(lk_state_paged(LK_STATE_V, 0, 1, 64).bits, 8);
    struct lk_state recurrent = {.kind = LK_STATE_RECURRENT, .rows = 5, .dim = 7, .bits = 32};
    cr_assert_eq(lk_state_unit_bytes(&recurrent), 5 * 7 * 4);
}

/* Slots from n on become zero in every head, those before stay. */
Test(kv_cells, cells_past_the_last_token_become_zero)
{
    for (size_t k = 0; k < LK_COUNT(KINDS); k++) {
        struct lk_state s = state_of(&KINDS[k], 3, 40);
        size_t n = lk_state_unit_bytes(&s);
        uint8_t *unit = malloc(n), *was = malloc(n);
        for (int from = 0; from <= 64; from++) {
            cells_stale(&s, unit, n, (uint64_t)from);
            memcpy(was, unit, n);
            lk_state_zero_cells(&s, unit, (size_t)from);
            for (int h = 0; h < 3; h++) {
                const uint8_t *head = unit + (size_t)h * head_bytes(&s);
                const uint8_t *old = was + (size_t)h * head_bytes(&s);
                for (int i = 0; i < 64 * s.dim; i++) {
                    int slot = i % 64, d = i / 64;
                    cr_assert_eq(integer_of(&s, head, d, slot),
                                 slot < from ? integer_of(&s, old, d, slot) : 0,
                                 "from %d: head %d, dimension %d, slot %d", from, h, d, slot);
                }
                for (int slot = 0; slot < 64; slot++) {
                    cr_assert_eq(scale_of(&s, head, slot),
                                 slot < from ? scale_of(&s, old, slot) : 0);
                }
            }
        }
        free(unit);
        free(was);
    }
    struct lk_state recurrent = {.kind = LK_STATE_RECURRENT, .rows = 2, .dim = 3, .bits = 32};
    float floats[6] = {1, 2, 3, 4, 5, 6}, want[6] = {1, 2, 3, 4, 5, 6};
    lk_state_zero_cells(&recurrent, floats, 0);
    cr_assert_arr_eq(floats, want, sizeof floats);
}

/* Writes a word at `at` bytes of units, asks, and takes it back. */
static int64_t bad_with(const struct lk_state *s, uint8_t *units, size_t n, size_t at,
                        uint32_t word)
{
    uint32_t was;
    memcpy(&was, units + at, 4);
    memcpy(units + at, &word, 4);
    int64_t found = lk_state_find_bad(s, units, n);
    memcpy(units + at, &was, 4);
    return found;
}

Test(kv_cells, numbers_that_no_store_writes_are_found)
{
    static const uint32_t SCALES[] = {0x7fc00000u, 0x7f800000u, 0x53800000u, 0x80000000u,
                                      0xbf800000u, 0xffc00000u, 0xffffffffu};
    for (size_t k = 0; k < LK_COUNT(KINDS); k++) {
        struct lk_state s = state_of(&KINDS[k], 2, 40);
        size_t unit = lk_state_unit_bytes(&s), n = 3 * unit, head = head_bytes(&s);
        uint8_t *units = malloc(n);
        cells_random(&s, units, n, k + 9);
        cr_assert_eq(lk_state_find_bad(&s, units, n), -1);
        for (int place = 0; place < 6 * 64; place += 37) {
            size_t first = (size_t)(place / 64) * head;
            size_t scale = first + head - 256 + (size_t)(place % 64) * 4;
            for (size_t i = 0; i < LK_COUNT(SCALES); i++) {
                cr_assert_eq(bad_with(&s, units, n, scale, SCALES[i]), (int64_t)scale, "%08x",
                             SCALES[i]);
            }
            cr_assert_eq(bad_with(&s, units, n, scale, 0x537fffffu), -1);
            cr_assert_eq(bad_with(&s, units, n, scale, 0), -1);
            /* Upper parts of -113 to 112 are keys of at most 1807; 8 bits are any. */
            bool wide = s.bits == 12;
            size_t key = first + (size_t)(place % 7) * 256 + (size_t)(place % 64) * 4;
            for (int c = 0; c < 4; c++) {
                uint32_t at = 8 * (uint32_t)c;
                cr_assert_eq(bad_with(&s, units, n, key, 112u << at), -1);
                cr_assert_eq(bad_with(&s, units, n, key, (256u - 113) << at), -1);
                cr_assert_eq(bad_with(&s, units, n, key, 113u << at), wide ? (int64_t)key : -1);
                cr_assert_eq(bad_with(&s, units, n, key, (256u - 114) << at),
                             wide ? (int64_t)key : -1);
            }
            size_t rest = first + head - 256 - 4;
            cr_assert_eq(bad_with(&s, units, n, rest, 0x7fffffffu), -1, "lower halves are any");
        }
        free(units);
    }
    struct lk_state recurrent = {.kind = LK_STATE_RECURRENT, .rows = 2, .dim = 3, .bits = 32};
    float floats[6] = {1, -2, 3, 4, -0.0f, 6};
    cr_assert_eq(lk_state_find_bad(&recurrent, floats, sizeof floats), -1);
    floats[4] = -INFINITY;
    cr_assert_eq(lk_state_find_bad(&recurrent, floats, sizeof floats), 16);
}

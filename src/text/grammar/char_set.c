/* SPDX-License-Identifier: Apache-2.0
 *
 * Char_set: see char_set.h. A range of characters becomes a few sequences of byte ranges, by UTF-8
 * or by hexadecimal digits: both are numbers written in digits, so one function splits them.
 */
#include "text/grammar/char_set.h"

#include <stdlib.h>

#include "base/utf8.h"

enum { SURROGATE_FIRST = 0xD800, SURROGATE_LAST = 0xDFFF };

/* ---- sets ---- */

lk_status lk_chars_add(struct lk_char_set *s, uint32_t first, uint32_t last, lk_error *err)
{
    lk_status status = lk_grow(&s->range, &s->cap, s->n + 1, sizeof *s->range, err);
    if (!status) {
        s->range[s->n++] = (struct lk_char_range){first, last};
    }
    return status;
}

lk_status lk_chars_add_all(struct lk_char_set *s, const struct lk_char_set *more, lk_error *err)
{
    lk_status status = LK_OK;
    for (size_t i = 0; i < more->n && !status; i++) {
        status = lk_chars_add(s, more->range[i].first, more->range[i].last, err);
    }
    return status;
}

static int compare_ranges(const void *a, const void *b)
{
    const struct lk_char_range *p = a, *q = b;
    return (p->first > q->first) - (p->first < q->first);
}

void lk_chars_sort(struct lk_char_set *s)
{
    size_t kept = 0;
    if (s->n > 1) {
        qsort(s->range, s->n, sizeof *s->range, compare_ranges);
    }
    for (size_t i = 0; i < s->n; i++) {
        struct lk_char_range r = s->range[i];
        if (kept && r.first <= s->range[kept - 1].last + 1) {
            if (r.last > s->range[kept - 1].last) {
                s->range[kept - 1].last = r.last;
            }
        } else {
            s->range[kept++] = r;
        }
    }
    s->n = kept;
}

lk_status lk_chars_negate(struct lk_char_set *s, lk_error *err)
{
    struct lk_char_set out = {0};
    uint32_t from = 0;
    lk_status status = LK_OK;
    lk_chars_sort(s);
    for (size_t i = 0; i < s->n && !status; i++) {
        if (s->range[i].first > from) {
            status = lk_chars_add(&out, from, s->range[i].first - 1, err);
        }
        from = s->range[i].last + 1;
    }
    if (!status && from <= LK_CHAR_LAST) {
        status = lk_chars_add(&out, from, LK_CHAR_LAST, err);
    }
    if (status) {
        lk_chars_free(&out);
        return status;
    }
    lk_chars_free(s);
    *s = out;
    return LK_OK;
}

void lk_chars_free(struct lk_char_set *s)
{
    lk_free(s->range);
    *s = (struct lk_char_set){0};
}

/* ---- digits ---- */

/* What digits are written with: bytes behind the first of UTF-8, or hexadecimal digits. */
enum digits { UTF8_DIGITS, HEX_DIGITS };

static uint32_t digit_range(struct lk_exprs *x, enum digits kind, unsigned first, unsigned last)
{
    struct lk_byte_set set = {{0}};
    for (unsigned d = first; d <= last; d++) {
        if (kind == UTF8_DIGITS) {
            lk_byte_set_add(&set, d);
        } else {
            lk_byte_set_add(&set, (unsigned char)"0123456789abcdef"[d]);
            lk_byte_set_add(&set, (unsigned char)"0123456789ABCDEF"[d]);
        }
    }
    return lk_expr_set(x, &set);
}

static bool all_are(const uint8_t *digit, size_t n, uint8_t value)
{
    for (size_t i = 0; i < n; i++) {
        if (digit[i] != value) {
            return false;
        }
    }
    return true;
}

/* Numbers of n digits from `low` to `high`, which is not less. */
static uint32_t between(struct lk_exprs *x, enum digits kind, const uint8_t *low,
                        const uint8_t *high, size_t n)
{
    static const uint8_t least[2][4] = {{0x80, 0x80, 0x80, 0x80}, {0, 0, 0, 0}};
    static const uint8_t most[2][4] = {{0xBF, 0xBF, 0xBF, 0xBF}, {15, 15, 15, 15}};
    if (n == 0) {
        return LK_EXPR_EMPTY;
    }
    unsigned first = low[0], last = high[0];
    uint32_t e;
    if (first == last) {
        e = between(x, kind, low + 1, high + 1, n - 1);
        return lk_expr_cat(x, digit_range(x, kind, first, first), e);
    }
    size_t from = lk_expr_list(x);
    if (!all_are(low + 1, n - 1, least[kind][0])) {
        e = between(x, kind, low + 1, most[kind], n - 1);
        lk_expr_push(x, lk_expr_cat(x, digit_range(x, kind, first, first), e));
        first++;
    }
    if (!all_are(high + 1, n - 1, most[kind][0])) {
        e = between(x, kind, least[kind], high + 1, n - 1);
        lk_expr_push(x, lk_expr_cat(x, digit_range(x, kind, last, last), e));
        last--;
    }
    if (first <= last) {
        e = digit_range(x, kind, least[kind][0], most[kind][0]);
        e = lk_expr_repeat(x, e, (uint32_t)n - 1, (uint32_t)n - 1);
        lk_expr_push(x, lk_expr_cat(x, digit_range(x, kind, first, last), e));
    }
    return lk_expr_alt_of(x, from);
}

/* Pushes the part of a range that lies in [first, last], written by UTF-8. */
static void push_utf8(struct lk_exprs *x, struct lk_char_range r, uint32_t first, uint32_t last)
{
    char low[4], high[4];
    first = r.first > first ? r.first : first;
    last = r.last < last ? r.last : last;
    if (first <= last) {
        size_t n = lk_utf8_put((int32_t)first, low);
        lk_utf8_put((int32_t)last, high);
        uint32_t e = between(x, UTF8_DIGITS, (const uint8_t *)low, (const uint8_t *)high, n);
        lk_expr_push(x, e);
    }
}

static void push_utf8_all(struct lk_exprs *x, struct lk_char_range r)
{
    static const struct lk_char_range lengths[] = {{0, 0x7F},
                                                   {0x80, 0x7FF},
                                                   {0x800, SURROGATE_FIRST - 1},
                                                   {SURROGATE_LAST + 1, 0xFFFF},
                                                   {0x10000, LK_CHAR_LAST}};
    for (size_t i = 0; i < LK_COUNT(lengths); i++) {
        push_utf8(x, r, lengths[i].first, lengths[i].last);
    }
}

/* ---- JSON ---- */

static uint32_t hex4(struct lk_exprs *x, uint32_t first, uint32_t last)
{
    uint8_t low[4], high[4];
    for (int i = 0; i < 4; i++) {
        low[i] = (uint8_t)(first >> (12 - 4 * i) & 15);
        high[i] = (uint8_t)(last >> (12 - 4 * i) & 15);
    }
    return between(x, HEX_DIGITS, low, high, 4);
}

/* "uXXXX" for the part of r in [first, last]. */
static void push_hex(struct lk_exprs *x, struct lk_char_range r, uint32_t first, uint32_t last)
{
    first = r.first > first ? r.first : first;
    last = r.last < last ? r.last : last;
    if (first <= last) {
        uint32_t e = hex4(x, first, last);
        lk_expr_push(x, lk_expr_cat(x, lk_expr_byte(x, 'u'), e));
    }
}

/* "uXXXX\uXXXX": high halves from `high` to `high_last`, each with low halves low to low_last. */
static void push_pair(struct lk_exprs *x, uint32_t high, uint32_t high_last, uint32_t low,
                      uint32_t low_last)
{
    uint32_t e = hex4(x, 0xDC00 + low, 0xDC00 + low_last);
    e = lk_expr_cat(x, lk_expr_literal(x, "\\u", 2), e);
    e = lk_expr_cat(x, hex4(x, 0xD800 + high, 0xD800 + high_last), e);
    lk_expr_push(x, lk_expr_cat(x, lk_expr_byte(x, 'u'), e));
}

static void push_pairs(struct lk_exprs *x, struct lk_char_range r)
{
    if (r.last < 0x10000) {
        return;
    }
    uint32_t first = r.first < 0x10000 ? 0 : r.first - 0x10000, last = r.last - 0x10000;
    uint32_t high = first >> 10, high_last = last >> 10;
    if (high == high_last) {
        push_pair(x, high, high, first & 0x3FF, last & 0x3FF);
        return;
    }
    if (first & 0x3FF) {
        push_pair(x, high, high, first & 0x3FF, 0x3FF);
        high++;
    }
    if ((last & 0x3FF) != 0x3FF) {
        push_pair(x, high_last, high_last, 0, last & 0x3FF);
        high_last--;
    }
    if (high <= high_last) {
        push_pair(x, high, high_last, 0, 0x3FF);
    }
}

static bool in_range(struct lk_char_range r, uint32_t c)
{
    return r.first <= c && c <= r.last;
}

/* What may stand behind a backslash for a character of r. */
static void push_escapes(struct lk_exprs *x, struct lk_char_range r, enum lk_spelling how)
{
    static const char plain[] = "\"\\\b\t\n\f\r", letter[] = "\"\\btnfr";
    for (int i = 0; plain[i]; i++) {
        if (in_range(r, (unsigned char)plain[i])) {
            lk_expr_push(x, lk_expr_byte(x, (unsigned char)letter[i]));
        }
    }
    if (how == LK_SPELL_JSON) {
        push_hex(x, r, 0, 0x1F);
        push_hex(x, r, 0x7F, 0x7F);
    } else {
        push_hex(x, r, 0, SURROGATE_FIRST - 1);
        push_hex(x, r, SURROGATE_LAST + 1, 0xFFFF);
        push_pairs(x, r);
    }
}

/* Pushes the parts of r that stand in a JSON string as they are. */
static void push_unescaped(struct lk_exprs *x, struct lk_char_range r)
{
    static const struct lk_char_range parts[] = {{0x20, 0x21},
                                                 {0x23, 0x5B},
                                                 {0x5D, 0x7E},
                                                 {0x80, LK_CHAR_LAST}};
    for (size_t i = 0; i < LK_COUNT(parts); i++) {
        struct lk_char_range p = {r.first > parts[i].first ? r.first : parts[i].first,
                                  r.last < parts[i].last ? r.last : parts[i].last};
        if (p.first <= p.last) {
            push_utf8_all(x, p);
        }
    }
}

uint32_t lk_chars_spell(struct lk_exprs *x, const struct lk_char_set *s, enum lk_spelling how)
{
    size_t from = lk_expr_list(x);
    for (size_t i = 0; i < s->n; i++) {
        if (how == LK_SPELL_UTF8) {
            push_utf8_all(x, s->range[i]);
        } else {
            push_unescaped(x, s->range[i]);
        }
    }
    if (how != LK_SPELL_UTF8) {
        size_t escapes = lk_expr_list(x);
        for (size_t i = 0; i < s->n; i++) {
            push_escapes(x, s->range[i], how);
        }
        uint32_t e = lk_expr_alt_of(x, escapes);
        lk_expr_push(x, lk_expr_cat(x, lk_expr_byte(x, '\\'), e));
    }
    return lk_expr_alt_of(x, from);
}

uint32_t lk_char_spell(struct lk_exprs *x, uint32_t c, enum lk_spelling how)
{
    struct lk_char_range r = {c, c};
    const struct lk_char_set s = {.range = &r, .n = 1};
    return lk_chars_spell(x, &s, how);
}

uint32_t lk_any_char(struct lk_exprs *x, enum lk_spelling how)
{
    struct lk_char_range r = {0, LK_CHAR_LAST};
    const struct lk_char_set s = {.range = &r, .n = 1};
    return lk_chars_spell(x, &s, how);
}

uint32_t lk_text_spell(struct lk_exprs *x, const char *text, size_t n, enum lk_spelling how)
{
    uint32_t e = LK_EXPR_EMPTY;
    while (n > 0) { /* from the end, so that each step makes one node */
        size_t at = n - 1;
        int32_t c;
        while (at > 0 && ((unsigned char)text[at] & 0xC0) == 0x80) {
            at--;
        }
        if (lk_utf8_next(text + at, n - at, &c) != n - at) {
            return LK_EXPR_NONE;
        }
        e = lk_expr_cat(x, lk_char_spell(x, (uint32_t)c, how), e);
        n = at;
    }
    return e;
}

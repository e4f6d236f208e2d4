/* SPDX-License-Identifier: Apache-2.0
 *
 * Decimal: numbers as JSON writes them, exactly: digits and a power of ten. Owns no memory: digits
 * are those of the text, or of the arrays that functions fill.
 */
#ifndef LK_DECIMAL_H
#define LK_DECIMAL_H

#include "text/value/value.h"

enum { LK_DECIMAL_DIGITS = 400 };

/* The value is 0.DIGITS * 10^point, without zeros at either end of the digits; 0: no digits. */
struct lk_decimal {
    bool negative;
    uint16_t n;
    int32_t point;
    char digit[LK_DECIMAL_DIGITS]; /* '0' to '9' */
};

/* False where the number has more digits than fit, or an exponent beyond +-LK_DECIMAL_DIGITS. */
bool lk_decimal_of(const struct lk_value *v, struct lk_decimal *out);
int lk_decimal_compare(const struct lk_decimal *a, const struct lk_decimal *b);
bool lk_decimal_is_integer(const struct lk_decimal *d);
/* The nearest integer that is not less (or, down, not more); `beyond`: the one after that where d
 * is an integer itself. */
bool lk_decimal_round(struct lk_decimal *d, bool down, bool beyond);
/* Digits before and behind the point, at least "0" before it; each at most twice LK_DECIMAL_DIGITS;
 * the lengths. */
struct lk_decimal_text {
    char whole[2 * LK_DECIMAL_DIGITS + 1], fraction[2 * LK_DECIMAL_DIGITS];
    size_t n_whole, n_fraction;
};
void lk_decimal_split(const struct lk_decimal *d, struct lk_decimal_text *out);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Number: see number.h. libc rounds correctly both ways; what is left is to find the fewest digits.
 */
#include "text/value/number.h"

#include <float.h>
#include <locale.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

double lk_number_parse(const char *text)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0); /* no memory is taken for this one */
    double d = c ? strtod_l(text, NULL, c) : strtod(text, NULL);
    if (c) {
        freelocale(c);
    }
    return d;
}

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
int lk_number_print(char *out, size_t cap, const char *format, int precision, double d)
{
    locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    locale_t before = c ? uselocale(c) : (locale_t)0;
    int n = snprintf(out, cap, format, precision, d);
    if (c) {
        uselocale(before);
        freelocale(c);
    }
    return n;
}
#pragma GCC diagnostic pop

/* Adds one to the last of the digits "d.ddde+xx" of a number; false where it carries out. */
static bool step_up(char *text)
{
    char *e = strchr(text, 'e');
    for (char *p = e; p-- > text;) {
        if (*p >= '0' && *p < '9') {
            ++*p;
            return true;
        }
        if (*p == '9') {
            *p = '0';
        }
    }
    return false;
}

/* |d| as "d.ddde+xx" with the fewest digits that give d back. Of a power of two the nearest number
 * of so many digits may lie too far below, where doubles are closer; then the next one may do. */
static void shortest(double d, char *out, size_t cap)
{
    for (int digits = d < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        lk_number_print(out, cap, "%.*e", digits - 1, d);
        if (lk_number_parse(out) == d) {
            return;
        }
        if (step_up(out) && lk_number_parse(out) == d) {
            return;
        }
    }
}

size_t lk_number_repr(double d, char out[LK_NUMBER_TEXT])
{
    if (!isfinite(d)) {
        return (size_t)snprintf(out, LK_NUMBER_TEXT, "%s",
                                isnan(d) ? "nan"
                                : d < 0  ? "-inf"
                                         : "inf");
    }
    char text[LK_NUMBER_TEXT], digits[LK_NUMBER_TEXT];
    shortest(fabs(d), text, sizeof text);
    int n = 0, exponent = atoi(strchr(text, 'e') + 1);
    for (const char *p = text; *p != 'e'; p++) {
        if (*p != '.') {
            digits[n++] = *p;
        }
    }
    while (n > 1 && digits[n - 1] == '0') {
        n--;
    }
    size_t at = 0;
    if (signbit(d)) {
        out[at++] = '-';
    }
    if (exponent < -4 || exponent >= 16) {
        out[at++] = digits[0];
        if (n > 1) {
            out[at++] = '.';
            memcpy(out + at, digits + 1, (size_t)n - 1);
            at += (size_t)n - 1;
        }
        return at + (size_t)snprintf(out + at, LK_NUMBER_TEXT - at, "e%c%02d",
                                     exponent < 0 ? '-' : '+', abs(exponent));
    }
    if (exponent < 0) {
        at += (size_t)snprintf(out + at, LK_NUMBER_TEXT - at, "0.%.*s", -exponent - 1, "000");
    }
    for (int i = 0; i < n || (exponent >= 0 && i <= exponent + 1); i++) {
        if (exponent >= 0 && i == exponent + 1) {
            out[at++] = '.';
        }
        out[at++] = i < n ? digits[i] : '0';
    }
    out[at] = 0;
    return at;
}

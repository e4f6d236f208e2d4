/* SPDX-License-Identifier: Apache-2.0
 *
 * Number: doubles to text and back as Python does it, whatever the locale of the process.
 */
#ifndef LK_NUMBER_H
#define LK_NUMBER_H

#include <stddef.h>

enum { LK_NUMBER_TEXT = 32 };

/* The double nearest to a decimal number, 0-terminated and well formed; too large: infinite. */
double lk_number_parse(const char *text);
/* repr(d) of Python: the shortest digits that give d back, an exponent where it is below -4 or at
 * least 16, else a point: "0.1", "1e+16", "1.0", "inf", "nan". Returns the length. */
size_t lk_number_repr(double d, char out[LK_NUMBER_TEXT]);
/* snprintf of one double in the C locale with a format like "%.*e". */
int lk_number_print(char *out, size_t cap, const char *format, int precision, double d);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Unicode: characters of text as Python's str knows them: what is white space, a letter, printable,
 * and the upper, lower and title forms. Bytes that are no UTF-8 are characters of their own.
 */
#ifndef LK_UNICODE_H
#define LK_UNICODE_H

#include "base/base.h"

/* The character at text[0..len), len > 0: its bytes, 1 to 4. A byte that is no UTF-8 is one
 * character, 0xDC80 + its low seven bits, a number that no text has. */
size_t lk_char_next(const char *text, size_t len, int32_t *cp);
/* Where the character that ends at byte `at` > 0 begins. */
size_t lk_char_back(const char *text, size_t at);
size_t lk_char_count(const char *text, size_t len);
/* Writes a character, also one that stands for a byte; at most 4 bytes. */
size_t lk_char_put(int32_t cp, char *out);

bool lk_char_is_space(int32_t cp);
bool lk_char_is_alpha(int32_t cp);
bool lk_char_is_decimal(int32_t cp);
bool lk_char_is_digit(int32_t cp);
bool lk_char_is_numeric(int32_t cp);
bool lk_char_is_word(int32_t cp); /* \w of Python's regular expressions */
bool lk_char_is_lower(int32_t cp);
bool lk_char_is_upper(int32_t cp);
bool lk_char_is_title(int32_t cp);
bool lk_char_is_printable(int32_t cp);

enum lk_case { LK_CASE_LOWER, LK_CASE_UPPER, LK_CASE_TITLE, LK_CASE_FOLD };
/* The form of a character, 1 to 4 characters, without regard to its neighbours. */
size_t lk_char_case(int32_t cp, enum lk_case to, int32_t out[4]);
/* Whether the capital sigma at byte `at`, 2 bytes long, ends a word and so has the lower form
 * U+03C2. */
bool lk_char_final_sigma(const char *text, size_t len, size_t at);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Utf8: characters and their bytes (utf8.c), and what the tokenizer needs to know of them, by
 * utf8proc (utf8_nfc.c). Owns no tables.
 */
#ifndef LK_UTF8_H
#define LK_UTF8_H

#include "base/base.h"

/* Bytes of the character at the start of text[0..len), 0 when there is none; *cp may be NULL. */
size_t lk_utf8_next(const char *text, size_t len, int32_t *cp);
/* Writes a character (not a surrogate), at most 4 bytes; returns how many. */
size_t lk_utf8_put(int32_t cp, char *out);
/* Bytes at the end of text[0..len) that could still become a character: 0 to 3. */
size_t lk_utf8_open_end(const char *text, size_t len);
/* Unicode's White_Space. */
bool lk_utf8_is_space(int32_t cp);
/* Unicode's General_Category as two letters: 'L' and 'u'. */
void lk_utf8_category(int32_t cp, char out[2]);
enum { LK_UTF8_NFD_MOST = 18 }; /* characters that one is made of */
/* The canonical decomposition of a character; how many there are, at least one. */
size_t lk_utf8_nfd(int32_t cp, int32_t out[LK_UTF8_NFD_MOST]);
/* The small letter of a character, where that is one. */
int32_t lk_utf8_lower(int32_t cp);
bool lk_utf8_is_ascii(const char *text, size_t len);
/* Normalization form C of text; bytes that are no UTF-8 stay. *out is NULL when text is normal
 * already, else owned by the caller (lk_free). Linear in len. */
lk_status lk_utf8_nfc(const char *text, size_t len, char **out, size_t *out_len, lk_error *err);

#endif

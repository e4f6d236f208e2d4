/* SPDX-License-Identifier: Apache-2.0
 *
 * Utf8, bytes and characters: see utf8.h. Knows no property of a character.
 */
#include "base/utf8.h"

size_t lk_utf8_next(const char *text, size_t len, int32_t *cp)
{
    const unsigned char *s = (const unsigned char *)text;
    if (len == 0) {
        return 0;
    }
    if (s[0] < 0x80) {
        if (cp) {
            *cp = s[0];
        }
        return 1;
    }
    size_t n = s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
    if (n == 0 || n > len) {
        return 0;
    }
    int32_t c = s[0] & (0xFF >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if ((s[i] & 0xC0) != 0x80) {
            return 0;
        }
        c = c << 6 | (s[i] & 0x3F);
    }
    /* Overlong forms of 3 and 4 bytes, surrogates, the end of Unicode. */
    if (c < (n == 3   ? 0x800
             : n == 4 ? 0x10000
                      : 0) ||
        (c >= 0xD800 && c <= 0xDFFF) || c > 0x10FFFF) {
        return 0;
    }
    if (cp) {
        *cp = c;
    }
    return n;
}

size_t lk_utf8_put(int32_t cp, char *out)
{
    uint32_t c = (uint32_t)cp;
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3F));
    }
    out[0] = (char)(0xF00 >> n | c);
    return n;
}

size_t lk_utf8_open_end(const char *text, size_t len)
{
    for (size_t back = 1; back <= 3 && back <= len; back++) {
        const unsigned char *s = (const unsigned char *)text + len - back;
        if (s[0] < 0x80) {
            return 0;
        }
        if (s[0] < 0xC0) {
            continue; /* in the middle of a character */
        }
        size_t need = s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
        if (s[0] < 0xC2 || s[0] > 0xF4 || need <= back) {
            return 0;
        }
        /* The second byte decides overlong forms, surrogates and the end of Unicode. */
        if (back > 1 && ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
                         (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))) {
            return 0;
        }
        return back;
    }
    return 0;
}

bool lk_utf8_is_ascii(const char *text, size_t len)
{
    unsigned char any = 0;
    for (size_t i = 0; i < len; i++) {
        any |= (unsigned char)text[i];
    }
    return any < 0x80;
}

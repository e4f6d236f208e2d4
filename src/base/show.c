/* SPDX-License-Identifier: Apache-2.0
 *
 * Show: text that came from a file, a driver or a user made fit for one line of a message. Knows
 * nothing of where it goes.
 */
#include <stdio.h>
#include <string.h>

#include "base/base.h"
#include "base/utf8.h"

size_t lk_show_next(const char *s, size_t n, char out[8])
{
    int32_t c = 0;
    size_t length = lk_utf8_next(s, n, &c);
    if (length == 0) {
        snprintf(out, 8, "\\x%02x", (unsigned char)*s);
        return 1;
    }
    if (c == '\n' || c == '\t') {
        snprintf(out, 8, "\\%c", c == '\n' ? 'n' : 't');
    } else if (c < 0x20 || c == 0x7f) {
        snprintf(out, 8, "\\x%02x", (unsigned)c);
    } else if ((c >= 0x80 && c < 0xa0) || c == 0x2028 || c == 0x2029) {
        snprintf(out, 8, "\\u%04x", (unsigned)c & 0xffff);
    } else {
        memcpy(out, s, length);
        out[length] = 0;
    }
    return length;
}

size_t lk_show(char *out, size_t cap, const char *s, size_t n)
{
    size_t at = 0, fits = 0; /* fits: what is whole and leaves room for "..." */
    if (cap < 4) {
        if (cap) {
            *out = 0;
        }
        return 0;
    }
    for (size_t i = 0; i < n;) {
        char shown[8];
        i += lk_show_next(s + i, n - i, shown);
        size_t length = strlen(shown);
        if (at + length >= cap) {
            memcpy(out + fits, "...", 4);
            return fits + 3;
        }
        memcpy(out + at, shown, length);
        at += length;
        fits = at + 4 <= cap ? at : fits;
    }
    out[at] = 0;
    return at;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Place: where in a text an error is, in words.
 */
#ifndef LK_PLACE_H
#define LK_PLACE_H

#include <stddef.h>

struct lk_place {
    size_t line, column; /* from 1; columns are characters of UTF-8 */
};

/* The place of byte `at` of a text. Lines end with a line feed. */
static inline struct lk_place lk_place_of(const char *text, size_t at)
{
    struct lk_place p = {1, 1};
    for (size_t i = 0; i < at; i++) {
        if (text[i] == '\n') {
            p.line++;
            p.column = 1;
        } else if (((unsigned char)text[i] & 0xC0) != 0x80) {
            p.column++;
        }
    }
    return p;
}

#endif

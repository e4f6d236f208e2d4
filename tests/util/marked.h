/* SPDX-License-Identifier: Apache-2.0
 *
 * Marked: a text with { } about what may become a control token.
 */
#ifndef LK_TESTS_MARKED_H
#define LK_TESTS_MARKED_H

#include "text/value/text_buffer.h"

/* Of at most 4 KB; valid until the next call. */
static inline const char *marked(const struct lk_text_buffer *b)
{
    static char text[4096];
    size_t at = 0;
    unsigned before = 0;
    for (size_t i = 0; i <= b->n; i++) {
        unsigned flags = i == b->n ? 0 : b->marks ? b->marks[i] : b->flags;
        if (flags != before) {
            text[at++] = flags ? '{' : '}';
        }
        before = flags;
        text[at++] = i < b->n ? b->bytes[i] : 0;
    }
    return text;
}

#endif

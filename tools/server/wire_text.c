/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_text: see wire_text.h.
 */
#include "tools/server/wire_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Room for n more bytes and a 0; false: none. */
static bool reserve(struct wire_text *t, size_t n)
{
    if (t->failed || n > (size_t)-1 / 4 - t->n) {
        t->failed = true;
        return false;
    }
    if (t->n + n + 1 > t->cap) {
        size_t cap = t->cap ? 2 * t->cap : 256;
        cap = cap > t->n + n + 1 ? cap : t->n + n + 1;
        char *more = realloc(t->data, cap);
        if (!more) {
            t->failed = true;
            return false;
        }
        t->data = more;
        t->cap = cap;
    }
    return true;
}

void wire_add(struct wire_text *t, const void *data, size_t n)
{
    if (reserve(t, n)) {
        if (n) {
            memcpy(t->data + t->n, data, n);
        }
        t->n += n;
        t->data[t->n] = 0;
    }
}

void wire_puts(struct wire_text *t, const char *text)
{
    wire_add(t, text, strlen(text));
}

void wire_print(struct wire_text *t, const char *format, ...)
{
    va_list ap, again;
    va_start(ap, format);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, format, ap);
    if (n < 0) {
        t->failed = true;
    } else if (reserve(t, (size_t)n)) {
        vsnprintf(t->data + t->n, (size_t)n + 1, format, again);
        t->n += (size_t)n;
    }
    va_end(again);
    va_end(ap);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_text: text that grows at its end.
 */
#ifndef LK_SERVER_WIRE_TEXT_H
#define LK_SERVER_WIRE_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Owned by whoever declares it: zeroed it is empty; data is free()d. */
struct wire_text {
    char *data; /* [n], with a 0 after it; NULL: nothing was ever added */
    size_t n, cap;
    bool failed; /* memory ran out: nothing more is added */
};
void wire_add(struct wire_text *t, const void *data, size_t n);
void wire_puts(struct wire_text *t, const char *text); /* 0-terminated */
__attribute__((format(printf, 2, 3))) void wire_print(struct wire_text *t, const char *format, ...);

#endif

/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop: text on its way out, held back while it may still become a stop text. Works byte by byte,
 * so how the text falls into tokens makes no difference. Knows no model.
 */
#ifndef LK_STOP_H
#define LK_STOP_H

#include "base/base.h"

/* Bytes that grow; zeroed: none. */
struct lk_bytes {
    char *data; /* lk_alloc'd */
    size_t n, cap;
};
lk_status lk_bytes_add(struct lk_bytes *b, const char *data, size_t n, lk_error *err);
void lk_bytes_free(struct lk_bytes *b);

struct lk_stop {
    char **text; /* owned copies, none of them empty */
    size_t *len;
    size_t n;
    struct lk_bytes held;
    const char *found; /* the one of `text` that was completed; NULL: none was */
};
/* Copies n 0-terminated texts. LK_E_INVALID naming the one that is empty or NULL. */
lk_status lk_stop_init(struct lk_stop *s, const char *const *texts, size_t n, lk_error *err);
void lk_stop_free(struct lk_stop *s);
/* Appends to `out` the bytes that are decided. *stopped: a stop text was completed (the first one
 * to be; the longest of those that end at the same byte); neither it nor what follows is given. */
lk_status lk_stop_put(struct lk_stop *s, const char *data, size_t n, struct lk_bytes *out,
                      bool *stopped, lk_error *err);
/* At the end: what was held was no stop text after all. */
lk_status lk_stop_flush(struct lk_stop *s, struct lk_bytes *out, lk_error *err);
/* Whether these bytes are one of the texts, which is found then. */
bool lk_stop_is(struct lk_stop *s, const char *data, size_t n);

#endif

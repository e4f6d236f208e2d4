/* SPDX-License-Identifier: Apache-2.0
 *
 * Text_buffer: text that grows at its end and knows of each byte whether it may become part of a
 * control token (LK_VALUE_TRUSTED).
 */
#ifndef LK_TEXT_BUFFER_H
#define LK_TEXT_BUFFER_H

#include "text/value/value.h"

/* All zero but for max_bytes and what: empty. */
struct lk_text_buffer {
    char *bytes;
    uint8_t *marks; /* NULL as long as all bytes have the flags `flags` */
    size_t n, cap, marks_cap;
    size_t max_bytes;          /* of text; 0: UINT32_MAX, what a value can hold */
    struct lk_region *account; /* whose limit the buffer's memory counts against, or NULL */
    unsigned flags;            /* of all bytes where marks is NULL */
    const char *what;          /* named by errors */
    lk_status status;          /* the first failure; then nothing more is written */
    lk_error *err;
};

/* Appends n bytes; flags: LK_VALUE_TRUSTED or 0. */
void lk_text_put(struct lk_text_buffer *b, const char *bytes, size_t n, unsigned flags);
void lk_text_puts(struct lk_text_buffer *b, const char *text, unsigned flags);
/* Appends bytes [from, to) of a string, which keep their marks. */
void lk_text_put_part(struct lk_text_buffer *b, const struct lk_value *s, size_t from, size_t to);
/* The decimal digits of an integer, LK_VALUE_INT or LK_VALUE_BIG. */
void lk_text_put_integer(struct lk_text_buffer *b, const struct lk_value *v);
void lk_text_put_string(struct lk_text_buffer *b, const struct lk_value *s);
/* The text from byte `from` on as a string value of the region. */
lk_status lk_text_value(struct lk_text_buffer *b, size_t from, struct lk_region *region,
                        struct lk_value *out);
void lk_text_cut(struct lk_text_buffer *b, size_t n); /* keeps the first n bytes */
void lk_text_free(struct lk_text_buffer *b);

#endif

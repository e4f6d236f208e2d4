/* SPDX-License-Identifier: Apache-2.0
 *
 * Text_buffer: see text_buffer.h.
 */
#include "text/text_buffer.h"

#include "base/mem.h"

static size_t most(const struct lk_text_buffer *b)
{
    return b->max_bytes && b->max_bytes < UINT32_MAX ? b->max_bytes : UINT32_MAX;
}

/* Room for n more bytes, and for their marks where flags differ from what is there. */
static bool prepare(struct lk_text_buffer *b, size_t n, bool mixed)
{
    size_t need;
    if (b->status) {
        return false;
    }
    if (!lk_add_size(b->n, n, &need) || need > most(b)) {
        b->status = lk_fail(b->err, LK_E_FULL, "%s: more than %zu bytes of text",
                            b->what ? b->what : "text", most(b));
        return false;
    }
    b->status = lk_grow(&b->bytes, &b->cap, need, 1, b->err);
    if (!b->status && (mixed || b->marks)) {
        bool first = !b->marks;
        b->status = lk_grow(&b->marks, &b->marks_cap, b->cap, 1, b->err);
        if (first && !b->status) {
            memset(b->marks, (int)b->flags, b->n);
        }
    }
    return b->status == LK_OK;
}

void lk_text_put(struct lk_text_buffer *b, const char *bytes, size_t n, unsigned flags)
{
    flags &= LK_VALUE_TRUSTED;
    if (b->n == 0 && !b->marks) {
        b->flags = flags;
    }
    if (n == 0 || !prepare(b, n, flags != b->flags)) {
        return;
    }
    memcpy(b->bytes + b->n, bytes, n);
    if (b->marks) {
        memset(b->marks + b->n, (int)flags, n);
    }
    b->n += n;
}

void lk_text_puts(struct lk_text_buffer *b, const char *text, unsigned flags)
{
    lk_text_put(b, text, strlen(text), flags);
}

void lk_text_put_part(struct lk_text_buffer *b, const struct lk_value *s, size_t from, size_t to)
{
    if (!s->marks) {
        lk_text_put(b, s->text + from, to - from, s->flags);
        return;
    }
    if (from < to && prepare(b, to - from, true)) {
        memcpy(b->bytes + b->n, s->text + from, to - from);
        memcpy(b->marks + b->n, s->marks + from, to - from);
        b->n += to - from;
    }
}

void lk_text_put_string(struct lk_text_buffer *b, const struct lk_value *s)
{
    lk_text_put_part(b, s, 0, s->n);
}

lk_status lk_text_value(struct lk_text_buffer *b, struct lk_region *region, struct lk_value *out)
{
    const char *what = b->what ? b->what : "text";
    *out = lk_value_text("", 0, LK_VALUE_TRUSTED);
    if (b->status || b->n == 0) {
        return b->status;
    }
    unsigned flags = b->marks ? b->marks[0] : b->flags;
    bool mixed = b->marks && memchr(b->marks, (int)(flags ^ LK_VALUE_TRUSTED), b->n);
    char *bytes = lk_region_copy(region, b->bytes, b->n);
    uint8_t *marks = bytes && mixed ? (uint8_t *)lk_region_copy(region, b->marks, b->n) : NULL;
    if (!bytes || (mixed && !marks)) {
        return b->status = lk_region_fail(region, what, b->err);
    }
    *out = lk_value_text(bytes, b->n, mixed ? 0 : flags);
    out->marks = marks;
    return LK_OK;
}

void lk_text_clear(struct lk_text_buffer *b)
{
    b->n = 0;
    if (b->marks) {
        lk_free(b->marks);
        b->marks = NULL;
        b->marks_cap = 0;
    }
    b->flags = 0;
}

void lk_text_free(struct lk_text_buffer *b)
{
    lk_free(b->bytes);
    lk_free(b->marks);
    b->bytes = NULL;
    b->marks = NULL;
    b->n = b->cap = b->marks_cap = 0;
}

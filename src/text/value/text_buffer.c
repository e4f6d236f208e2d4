/* SPDX-License-Identifier: Apache-2.0
 *
 * Text_buffer: see text_buffer.h.
 */
#include "text/value/text_buffer.h"

#include <inttypes.h>
#include <stdio.h>

#include "base/mem.h"

static size_t most(const struct lk_text_buffer *b)
{
    return b->max_bytes && b->max_bytes < UINT32_MAX ? b->max_bytes : UINT32_MAX;
}

/* Grows an array of *cap bytes, of which n are in use, to at least `need`: by doubling, or by half
 * of what is left where the account has no room for that beside the old array. */
static bool grow(struct lk_text_buffer *b, char **array, size_t *cap, size_t need)
{
    size_t room = b->account ? lk_region_room(b->account) : SIZE_MAX;
    size_t to = *cap > SIZE_MAX / 2 ? need : *cap * 2;
    to = to < need ? need : to < 256 ? 256 : to;
    if (to > room) {
        to = need < room ? need + (room - need) / 2 : need;
    }
    char *grown = to > room ? NULL : lk_alloc(to);
    if (!grown) {
        if (b->account) {
            b->account->at_limit = to > room;
            b->status = lk_region_fail(b->account, b->what ? b->what : "text", b->err);
        } else {
            b->status = lk_fail(b->err, LK_E_NOMEM, "%s: out of memory for %zu bytes of text",
                                b->what ? b->what : "text", to);
        }
        return false;
    }
    if (*array) {
        memcpy(grown, *array, b->n);
    }
    if (b->account) {
        b->account->outside += to - *cap;
    }
    lk_free(*array);
    *array = grown;
    *cap = to;
    return true;
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
    if (need > b->cap && !grow(b, &b->bytes, &b->cap, need)) {
        return false;
    }
    if ((mixed || b->marks) && b->marks_cap < need) {
        char *marks = (char *)b->marks;
        if (!grow(b, &marks, &b->marks_cap, need)) {
            return false;
        }
        if (!b->marks) {
            memset(marks, (int)b->flags, b->n);
        }
        b->marks = (uint8_t *)marks;
    }
    return true;
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

void lk_text_put_integer(struct lk_text_buffer *b, const struct lk_value *v)
{
    char text[32];
    if (v->type == LK_VALUE_BIG) {
        lk_text_put(b, v->text, v->n, v->flags);
    } else {
        snprintf(text, sizeof text, "%" PRId64, v->integer);
        lk_text_puts(b, text, v->flags);
    }
}

void lk_text_put_string(struct lk_text_buffer *b, const struct lk_value *s)
{
    lk_text_put_part(b, s, 0, s->n);
}

lk_status lk_text_value(struct lk_text_buffer *b, size_t from, struct lk_region *region,
                        struct lk_value *out)
{
    size_t n = b->n - from;
    *out = lk_value_text("", 0, LK_VALUE_TRUSTED);
    if (b->status || n == 0) {
        return b->status;
    }
    const uint8_t *marks = b->marks ? b->marks + from : NULL;
    unsigned flags = marks ? marks[0] : b->flags;
    bool mixed = marks && memchr(marks, (int)(flags ^ LK_VALUE_TRUSTED), n);
    char *bytes = lk_region_copy(region, b->bytes + from, n);
    uint8_t *copy = bytes && mixed ? (uint8_t *)lk_region_copy(region, marks, n) : NULL;
    if (!bytes || (mixed && !copy)) {
        return b->status = lk_region_fail(region, b->what ? b->what : "text", b->err);
    }
    *out = lk_value_text(bytes, n, mixed ? 0 : flags);
    out->marks = copy;
    return LK_OK;
}

void lk_text_cut(struct lk_text_buffer *b, size_t n)
{
    b->n = n;
}

void lk_text_free(struct lk_text_buffer *b)
{
    if (b->account) {
        b->account->outside -= b->cap + b->marks_cap;
    }
    lk_free(b->bytes);
    lk_free(b->marks);
    b->bytes = NULL;
    b->marks = NULL;
    b->n = b->cap = b->marks_cap = 0;
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Stop: see stop.h.
 */
#include "text/sample/stop.h"

#include <string.h>

#include "base/mem.h"

lk_status lk_bytes_add(struct lk_bytes *b, const char *data, size_t n, lk_error *err)
{
    lk_status status = n ? lk_grow(&b->data, &b->cap, b->n + n, 1, err) : LK_OK;
    if (!status && n) {
        memcpy(b->data + b->n, data, n);
        b->n += n;
    }
    return status;
}

void lk_bytes_free(struct lk_bytes *b)
{
    lk_free(b->data);
    *b = (struct lk_bytes){0};
}

void lk_stop_free(struct lk_stop *s)
{
    for (size_t i = 0; i < s->n; i++) {
        lk_free(s->text[i]);
    }
    lk_free(s->text);
    lk_free(s->len);
    lk_bytes_free(&s->held);
    *s = (struct lk_stop){0};
}

lk_status lk_stop_init(struct lk_stop *s, const char *const *texts, size_t n, lk_error *err)
{
    *s = (struct lk_stop){0};
    s->text = lk_alloc_array(n + 1, sizeof *s->text);
    s->len = lk_alloc_array(n + 1, sizeof *s->len);
    lk_status status =
        s->text && s->len ? LK_OK : lk_fail(err, LK_E_NOMEM, "out of memory: stop texts");
    for (size_t i = 0; i < n && !status; i++) {
        size_t len = texts[i] ? strlen(texts[i]) : 0;
        char *copy = len ? lk_alloc(len + 1) : NULL;
        if (!len) {
            status = lk_fail(err, LK_E_INVALID, "stop text %zu is %s, expected at least one byte",
                             i, texts[i] ? "empty" : "NULL");
        } else if (!copy) {
            status = lk_fail(err, LK_E_NOMEM, "out of memory: stop texts");
        } else {
            memcpy(copy, texts[i], len + 1);
            s->text[i] = copy;
            s->len[i] = len;
            s->n = i + 1;
        }
    }
    if (status) {
        lk_stop_free(s);
    }
    return status;
}

/* Bytes at the end of what is held that begin some stop text; *whole when they are one. */
static size_t longest_start(struct lk_stop *s, bool *whole)
{
    size_t longest = 0, longest_whole = 0;
    for (size_t i = 0; i < s->n; i++) {
        size_t most = s->len[i] < s->held.n ? s->len[i] : s->held.n;
        for (size_t n = most; n > longest || (n == s->len[i] && n > longest_whole); n--) {
            if (memcmp(s->held.data + s->held.n - n, s->text[i], n) == 0) {
                longest = n > longest ? n : longest;
                if (n == s->len[i] && n > longest_whole) {
                    longest_whole = n;
                    s->found = s->text[i];
                }
                break;
            }
        }
    }
    *whole = longest_whole > 0;
    return longest_whole ? longest_whole : longest;
}

lk_status lk_stop_put(struct lk_stop *s, const char *data, size_t n, struct lk_bytes *out,
                      bool *stopped, lk_error *err)
{
    lk_status status = LK_OK;
    *stopped = false;
    for (size_t i = 0; i < n && !*stopped && !status; i++) {
        status = lk_bytes_add(&s->held, data + i, 1, err);
        if (!status) {
            size_t keep = longest_start(s, stopped), give = s->held.n - keep;
            status = lk_bytes_add(out, s->held.data, give, err);
            memmove(s->held.data, s->held.data + give, keep);
            s->held.n = *stopped ? 0 : keep;
        }
    }
    return status;
}

lk_status lk_stop_flush(struct lk_stop *s, struct lk_bytes *out, lk_error *err)
{
    lk_status status = lk_bytes_add(out, s->held.data, s->held.n, err);
    s->held.n = 0;
    return status;
}

bool lk_stop_is(struct lk_stop *s, const char *data, size_t n)
{
    for (size_t i = 0; i < s->n; i++) {
        if (s->len[i] == n && memcmp(s->text[i], data, n) == 0) {
            s->found = s->text[i];
            return true;
        }
    }
    return false;
}

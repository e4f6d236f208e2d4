/* SPDX-License-Identifier: Apache-2.0
 *
 * Utf8, properties of characters and normalization: see utf8.h. By utf8proc; owns no tables.
 */
#include <string.h>
#include <utf8proc.h>

#include "base/mem.h"
#include "base/utf8.h"

bool lk_utf8_is_space(int32_t cp)
{
    if (cp < 0x80) {
        return cp == ' ' || (cp >= '\t' && cp <= '\r');
    }
    if (cp == 0x85) {
        return true;
    }
    utf8proc_category_t c = utf8proc_category(cp);
    return c == UTF8PROC_CATEGORY_ZS || c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

void lk_utf8_category(int32_t cp, char out[2])
{
    memcpy(out, utf8proc_category_string(cp), 2);
}

size_t lk_utf8_nfd(int32_t cp, int32_t out[LK_UTF8_NFD_MOST])
{
    int last = 0;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(cp, out, LK_UTF8_NFD_MOST, UTF8PROC_DECOMPOSE, &last);
    if (n < 1 || n > LK_UTF8_NFD_MOST) {
        out[0] = cp;
        n = 1;
    }
    return (size_t)n;
}

int32_t lk_utf8_lower(int32_t cp)
{
    return utf8proc_tolower(cp);
}

/* Stable order by combining class of each run of marks: a counting sort, since text may hold
 * runs of any length. `sorted` has room for n. */
static void order_marks(int32_t *cp, size_t n, int32_t *sorted)
{
    for (size_t i = 0; i < n;) {
        if (utf8proc_get_property(cp[i])->combining_class == 0) {
            i++;
            continue;
        }
        size_t count[257] = {0}, end = i;
        for (; end < n; end++) {
            unsigned c = (unsigned)utf8proc_get_property(cp[end])->combining_class & 255;
            if (c == 0) {
                break;
            }
            count[c + 1]++;
        }
        if (end - i > 1) {
            for (int c = 1; c < 257; c++) {
                count[c] += count[c - 1];
            }
            for (size_t k = i; k < end; k++) {
                unsigned c = (unsigned)utf8proc_get_property(cp[k])->combining_class & 255;
                sorted[count[c]++] = cp[k];
            }
            memcpy(cp + i, sorted, (end - i) * sizeof *cp);
        }
        i = end;
    }
}

/* Appends the form C of the valid text[0..len) to `out`, which has room for it. */
static size_t compose(const char *text, size_t len, int32_t *cp, size_t cap, int32_t *sorted,
                      char *out)
{
    size_t n = 0, n_out = 0;
    for (size_t i = 0; i < len;) {
        int32_t c = 0;
        int boundary = 0;
        i += lk_utf8_next(text + i, len - i, &c);
        utf8proc_ssize_t got =
            utf8proc_decompose_char(c, cp + n, (utf8proc_ssize_t)(cap - n),
                                    UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &boundary);
        n += got > 0 ? (size_t)got : 0;
    }
    order_marks(cp, n, sorted);
    utf8proc_ssize_t made =
        utf8proc_normalize_utf32(cp, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    for (utf8proc_ssize_t i = 0; i < made; i++) {
        n_out += lk_utf8_put(cp[i], out + n_out);
    }
    return n_out;
}

lk_status lk_utf8_nfc(const char *text, size_t len, char **out, size_t *out_len, lk_error *err)
{
    *out = NULL;
    *out_len = 0;
    if (lk_utf8_is_ascii(text, len)) {
        return LK_OK;
    }
    /* A character becomes at most 4 in form D; in form C it needs at most 3 times its bytes. */
    size_t cap, bytes;
    if (!lk_mul_size(len, 4, &cap) || !lk_mul_size(len, 3, &bytes)) {
        return lk_fail(err, LK_E_NOMEM, "text of %zu bytes is too long to normalize", len);
    }
    int32_t *cp = lk_alloc_array(cap, sizeof *cp);
    int32_t *sorted = lk_alloc_array(cap, sizeof *sorted);
    char *made = lk_alloc(bytes);
    lk_status status = LK_OK;
    if (!cp || !sorted || !made) {
        status = lk_fail(err, LK_E_NOMEM, "out of memory normalizing %zu bytes of text", len);
        goto done;
    }
    size_t n = 0;
    for (size_t i = 0; i < len;) {
        size_t end = i, step;
        while ((step = lk_utf8_next(text + end, len - end, NULL)) != 0) {
            end += step;
        }
        n += compose(text + i, end - i, cp, cap, sorted, made + n);
        if (end < len) {
            made[n++] = text[end++]; /* no UTF-8 */
        }
        i = end;
    }
    if (n != len || memcmp(made, text, len) != 0) {
        *out = made;
        *out_len = n;
        made = NULL;
    }
done:
    lk_free(cp);
    lk_free(sorted);
    lk_free(made);
    return status;
}

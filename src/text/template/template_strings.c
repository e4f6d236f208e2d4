/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_strings: what Python's str can do, but for case: cutting, searching, replacing, joining,
 * padding. Parts of a string are views of it; its marks go with its bytes.
 */
#include "text/template/template_run.h"

#include "text/template/unicode.h"

/* ---- ends ---- */

/* A long set of characters is work for each one that is looked up in it. */
static bool among(struct lk_tpl_run *r, int32_t cp, const struct lk_value *chars)
{
    int32_t c;
    if (!chars) {
        return lk_char_is_space(cp);
    }
    r->steps -= chars->n / LK_TPL_CHAR;
    for (size_t at = 0; r->steps > 0 && at < chars->n;) {
        at += lk_char_next(chars->text + at, chars->n - at, &c);
        if (c == cp) {
            return true;
        }
    }
    return false;
}

struct lk_value lk_tpl_strip(struct lk_tpl_run *r, const struct lk_value *s,
                             const struct lk_value *chars, int side)
{
    size_t from = 0, to = s->n;
    int32_t cp;
    while (side <= 0 && from < to) {
        size_t n = lk_char_next(s->text + from, to - from, &cp);
        if (!among(r, cp, chars)) {
            break;
        }
        from += n;
    }
    while (side >= 0 && to > from) {
        size_t back = lk_char_back(s->text, to);
        lk_char_next(s->text + back, to - back, &cp);
        if (back < from || !among(r, cp, chars)) {
            break;
        }
        to = back;
    }
    r->steps -= (int64_t)(s->n - (to - from)) / LK_TPL_CHAR;
    return lk_tpl_part(s, from, to);
}

/* ---- cutting ---- */

static size_t skip(const struct lk_value *s, size_t at, bool space)
{
    int32_t cp;
    while (at < s->n) {
        size_t n = lk_char_next(s->text + at, s->n - at, &cp);
        if (lk_char_is_space(cp) != space) {
            break;
        }
        at += n;
    }
    return at;
}

static size_t skip_back(const struct lk_value *s, size_t at, bool space)
{
    int32_t cp;
    while (at > 0) {
        size_t back = lk_char_back(s->text, at);
        lk_char_next(s->text + back, at - back, &cp);
        if (lk_char_is_space(cp) != space) {
            break;
        }
        at = back;
    }
    return at;
}

static lk_status add_part(struct lk_tpl_run *r, struct lk_tpl_items *items,
                          const struct lk_value *s, size_t from, size_t to)
{
    struct lk_value part = lk_tpl_part(s, from, to);
    return lk_tpl_add(r, items, &part);
}

static lk_status split_space(struct lk_tpl_run *r, const struct lk_value *s, int64_t most,
                             struct lk_tpl_items *items)
{
    lk_status status = LK_OK;
    for (size_t at = skip(s, 0, true); at < s->n && !status; most--) {
        size_t end = most == 0 ? s->n : skip(s, at, false);
        status = add_part(r, items, s, at, end);
        at = skip(s, end, true);
    }
    return status;
}

/* The parts come out from the last to the first. */
static lk_status split_space_back(struct lk_tpl_run *r, const struct lk_value *s, int64_t most,
                                  struct lk_tpl_items *items)
{
    lk_status status = LK_OK;
    for (size_t at = skip_back(s, s->n, true); at > 0 && !status; most--) {
        size_t begin = most == 0 ? 0 : skip_back(s, at, false);
        status = add_part(r, items, s, begin, at);
        at = skip_back(s, begin, true);
    }
    return status;
}

/* The last place; every look at one that begins right is work. */
static size_t find_back(struct lk_tpl_run *r, const struct lk_value *s, const struct lk_value *what,
                        size_t least)
{
    for (size_t i = s->n - what->n + 1; i-- > least && r->steps > 0;) {
        if (what->n == 0 || s->text[i] == what->text[0]) {
            r->steps -= 1 + what->n / LK_TPL_COPY;
            if (memcmp(s->text + i, what->text, what->n) == 0) {
                return i;
            }
        }
    }
    return SIZE_MAX;
}

size_t lk_tpl_find(struct lk_tpl_run *r, const struct lk_value *s, const struct lk_value *what,
                   size_t at, bool from_right)
{
    if (what->n > s->n || at > s->n - what->n) {
        return SIZE_MAX;
    }
    if (from_right) {
        return find_back(r, s, what, at);
    }
    const char *from = s->text + at;
    const char *found = what->n == 0   ? from
                        : what->n == 1 ? memchr(from, what->text[0], s->n - at)
                                       : memmem(from, s->n - at, what->text, what->n);
    return found ? (size_t)(found - s->text) : SIZE_MAX;
}

static lk_status split_at(struct lk_tpl_run *r, const struct lk_value *s,
                          const struct lk_value *sep, int64_t most, struct lk_tpl_items *items)
{
    lk_status status = LK_OK;
    size_t from = 0, at;
    for (; !status && most != 0 && (at = lk_tpl_find(r, s, sep, from, false)) != SIZE_MAX; most--) {
        status = add_part(r, items, s, from, at);
        from = at + sep->n;
    }
    return status ? status : add_part(r, items, s, from, s->n);
}

static lk_status split_at_back(struct lk_tpl_run *r, const struct lk_value *s,
                               const struct lk_value *sep, int64_t most, struct lk_tpl_items *items)
{
    struct lk_value left = *s;
    lk_status status = LK_OK;
    size_t at;
    for (; !status && most != 0 && (at = lk_tpl_find(r, &left, sep, 0, true)) != SIZE_MAX; most--) {
        status = add_part(r, items, &left, at + sep->n, left.n);
        left.n = (uint32_t)at;
    }
    return status ? status : lk_tpl_add(r, items, &left);
}

static void turn_round(struct lk_tpl_items *items)
{
    for (size_t i = 0, k = items->n; i + 1 < k; i++) {
        struct lk_value swap = items->item[i];
        items->item[i] = items->item[--k];
        items->item[k] = swap;
    }
}

lk_status lk_tpl_split(struct lk_tpl_run *r, const struct lk_value *s, const struct lk_value *sep,
                       int64_t most, bool from_right, struct lk_value *out)
{
    struct lk_tpl_items items = {0};
    if (sep && sep->n == 0) {
        return lk_tpl_fail(r, "found an empty separator, expected one to split at");
    }
    lk_status status =
        !sep ? from_right ? split_space_back(r, s, most, &items) : split_space(r, s, most, &items)
        : from_right ? split_at_back(r, s, sep, most, &items)
                     : split_at(r, s, sep, most, &items);
    if (from_right) {
        turn_round(&items);
    }
    *out = lk_tpl_list_of(items.item, items.n, 0);
    return status ? status
                  : lk_tpl_work(r, items.n / 2 +
                                       s->n / (sep && !from_right ? LK_TPL_SCAN : LK_TPL_CHAR));
}

static bool ends_line(int32_t cp)
{
    return (cp >= '\n' && cp <= '\r') || (cp >= 0x1C && cp <= 0x1E) || cp == 0x85 || cp == 0x2028 ||
           cp == 0x2029;
}

lk_status lk_tpl_split_lines(struct lk_tpl_run *r, const struct lk_value *s, bool keep_ends,
                             struct lk_value *out)
{
    struct lk_tpl_items items = {0};
    lk_status status = LK_OK;
    for (size_t from = 0; from < s->n && !status;) {
        size_t end = from, next = from;
        int32_t cp = 0;
        while (next < s->n) {
            end = next;
            next += lk_char_next(s->text + next, s->n - next, &cp);
            if (ends_line(cp)) {
                break;
            }
            end = next;
        }
        if (cp == '\r' && end < next && next < s->n && s->text[next] == '\n') {
            next++;
        }
        status = add_part(r, &items, s, from, keep_ends ? next : end);
        from = next;
    }
    *out = lk_tpl_list_of(items.item, items.n, 0);
    return status ? status : lk_tpl_work(r, s->n / LK_TPL_CHAR);
}

/* ---- replacing ---- */

/* An empty text stands before each character and at the end. */
static void replace_nothing(struct lk_tpl_run *r, const struct lk_value *s,
                            const struct lk_value *to, int64_t most)
{
    size_t at = 0;
    int32_t cp;
    for (; at < s->n && most != 0; most--) {
        size_t n = lk_char_next(s->text + at, s->n - at, &cp);
        lk_text_put_string(r->out, to);
        lk_text_put_part(r->out, s, at, at + n);
        at += n;
    }
    lk_text_put_part(r->out, s, at, s->n);
    if (most != 0) {
        lk_text_put_string(r->out, to);
    }
}

lk_status lk_tpl_replace(struct lk_tpl_run *r, const struct lk_value *s,
                         const struct lk_value *from, const struct lk_value *to, int64_t most,
                         struct lk_value *out)
{
    size_t begin = r->out->n, done = 0, at, count = 0;
    unsigned markup = s->flags & LK_VALUE_MARKUP;
    if (from->n == 0) {
        replace_nothing(r, s, to, most);
        count = s->n;
    } else {
        for (; most != 0 && (at = lk_tpl_find(r, s, from, done, false)) != SIZE_MAX; most--) {
            lk_text_put_part(r->out, s, done, at);
            lk_text_put_string(r->out, to);
            done = at + from->n;
            count++;
        }
        if (count == 0) {
            *out = *s;
            return lk_tpl_work(r, s->n / LK_TPL_SCAN);
        }
        lk_text_put_part(r->out, s, done, s->n);
    }
    lk_status status = lk_tpl_cut(r, begin, out);
    out->flags |= (uint8_t)markup;
    return status ? status : lk_tpl_work(r, count / 2 + s->n / LK_TPL_SCAN);
}

/* ---- joining ---- */

lk_status lk_tpl_join(struct lk_tpl_run *r, const struct lk_value *separator,
                      const struct lk_value *iterable, bool any, struct lk_value *out)
{
    struct lk_tpl_iter iter;
    struct lk_tpl_items parts = {0};
    bool markup = separator->flags & LK_VALUE_MARKUP;
    lk_status status = lk_tpl_iterate(r, iterable, &iter);
    for (size_t i = 0; !status; i++) {
        struct lk_value item, text;
        bool found;
        if ((status = lk_tpl_take(r, &iter, &item, &found)) || !found) {
            break;
        }
        if (!any && !markup && !lk_tpl_is_text(&item)) {
            return item.type == LK_TPL_UNDEFINED
                       ? lk_tpl_fail_undefined(r, &item)
                       : lk_tpl_fail(r, "item %zu is of type %s, expected a string to join", i,
                                     lk_tpl_type_name(&item));
        }
        status = markup ? lk_tpl_escape_html(r, &item, &text) : lk_tpl_str(r, &item, &text);
        if (!status && i && separator->n) {
            status = lk_tpl_add(r, &parts, separator);
        }
        status = status ? status : lk_tpl_add(r, &parts, &text);
    }
    return status ? status
                  : lk_tpl_concat(r, parts.item, parts.n, markup ? LK_VALUE_MARKUP : 0, out);
}

/* ---- padding ---- */

lk_status lk_tpl_pad(struct lk_tpl_run *r, const struct lk_value *s, int64_t width,
                     const struct lk_value *fill, int side, struct lk_value *out)
{
    int64_t length;
    struct lk_value parts[3] = {{0}, *s, {0}};
    lk_status status = lk_tpl_length(r, s, &length);
    if (status) {
        return status;
    }
    if (lk_char_count(fill->text, fill->n) != 1) {
        return lk_tpl_fail(r,
                           "found a string of another length, expected one character to pad with");
    }
    int64_t missing = width > length ? width - length : 0;
    /* Of an odd number Python's center puts the larger half left where the width is odd. */
    int64_t left = side < 0 ? 0 : side > 0 ? missing : missing / 2 + (missing & width & 1);
    if ((status = lk_tpl_repeat(r, fill, left, &parts[0])) ||
        (status = lk_tpl_repeat(r, fill, missing - left, &parts[2]))) {
        return status;
    }
    return lk_tpl_concat(r, parts, 3, s->flags & LK_VALUE_MARKUP, out);
}

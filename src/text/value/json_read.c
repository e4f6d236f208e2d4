/* SPDX-License-Identifier: Apache-2.0
 *
 * Json_read: see json.h. Items of lists and dicts that are open lie on one stack; when one closes,
 * its items go to the region as an array and one value takes their place.
 */
#include "text/value/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"
#include "text/value/number.h"
#include "text/value/place.h"

struct frame {
    size_t first; /* of its items on the stack; of a dict each is a key and a value */
    bool dict;
};

struct reader {
    struct lk_region *region;
    const char *text;
    size_t len, at;
    const char *what;
    size_t max_depth;
    unsigned flags;
    struct lk_value *stack;
    size_t n, cap;
    struct frame *frame;
    size_t depth, frame_cap;
    lk_error *err;
};

/* ---- errors ---- */

static lk_status expected(const struct reader *r, size_t at, const char *expect)
{
    struct lk_place p = lk_place_of(r->text, at);
    unsigned char c = at < r->len ? (unsigned char)r->text[at] : 0;
    char found[32];
    if (at >= r->len) {
        snprintf(found, sizeof found, "the end");
    } else if (c > 0x20 && c < 0x7F) {
        snprintf(found, sizeof found, "'%c'", c);
    } else {
        snprintf(found, sizeof found, "byte 0x%02x", c);
    }
    return lk_fail(r->err, LK_E_FORMAT, "%s: line %zu column %zu (byte %zu): found %s, expected %s",
                   r->what, p.line, p.column, at, found, expect);
}

static lk_status no_room(const struct reader *r)
{
    return lk_region_fail(r->region, r->what, r->err);
}

/* ---- strings ---- */

static int hex4(const char *s)
{
    int v = 0;
    for (int i = 0; i < 4; i++) {
        int c = s[i], digit = c >= '0' && c <= '9'   ? c - '0'
                              : c >= 'a' && c <= 'f' ? c - 'a' + 10
                              : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                     : -1;
        if (digit < 0) {
            return -1;
        }
        v = v * 16 + digit;
    }
    return v;
}

/* A \u escape whose four digits begin at r->at. Half of a surrogate pair becomes U+FFFD. */
static lk_status read_unicode(struct reader *r, char *out, size_t *n)
{
    int32_t cp = r->len - r->at >= 4 ? hex4(r->text + r->at) : -1;
    if (cp < 0) {
        return expected(r, r->at, "four hexadecimal digits after \\u");
    }
    r->at += 4;
    if (cp >= 0xD800 && cp < 0xDC00 && r->len - r->at >= 6 && r->text[r->at] == '\\' &&
        r->text[r->at + 1] == 'u') {
        int low = hex4(r->text + r->at + 2);
        if (low >= 0xDC00 && low < 0xE000) {
            cp = 0x10000 + ((cp - 0xD800) << 10) + (low - 0xDC00);
            r->at += 6;
        }
    }
    *n += lk_utf8_put(cp >= 0xD800 && cp < 0xE000 ? 0xFFFD : cp, out + *n);
    return LK_OK;
}

static lk_status read_escape(struct reader *r, char *out, size_t *n)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *which = r->at < r->len && r->text[r->at] ? strchr(from, r->text[r->at]) : NULL;
    if (which) {
        out[(*n)++] = to[which - from];
        r->at++;
        return LK_OK;
    }
    if (r->at < r->len && r->text[r->at] == 'u') {
        r->at++;
        return read_unicode(r, out, n);
    }
    return expected(r, r->at, "one of \" \\ / b f n r t u after \\");
}

/* The end of the string that begins at r->at, behind its quote; no escape makes text longer. */
static lk_status find_end(const struct reader *r, size_t *end)
{
    size_t at = r->at;
    while (at < r->len && r->text[at] != '"') {
        unsigned char c = (unsigned char)r->text[at];
        if (c < 0x20) {
            return expected(r, at, "an escape instead of a control character");
        }
        size_t step = c < 0x80 ? 1 : lk_utf8_next(r->text + at, r->len - at, NULL);
        if (step == 0) {
            return expected(r, at, "UTF-8");
        }
        at += c == '\\' && at + 1 < r->len ? 2 : step;
    }
    *end = at;
    return at < r->len ? LK_OK : expected(r, at, "the string's closing quote");
}

static lk_status read_string(struct reader *r, struct lk_value *out)
{
    size_t end = 0, n = 0;
    r->at++;
    lk_status status = find_end(r, &end);
    if (status) {
        return status;
    }
    if (end - r->at > UINT32_MAX) {
        return expected(r, r->at, "a string of less than 4 GiB");
    }
    char *text = lk_region_alloc(r->region, end - r->at + 1);
    if (!text) {
        return no_room(r);
    }
    while (r->at < end && !status) {
        const char *from = r->text + r->at, *escape = memchr(from, '\\', end - r->at);
        size_t plain = escape ? (size_t)(escape - from) : end - r->at;
        memcpy(text + n, from, plain);
        n += plain;
        r->at += plain;
        if (escape) {
            r->at++;
            status = read_escape(r, text, &n);
        }
    }
    text[n] = 0;
    r->at = end + 1;
    *out = lk_value_text(text, n, r->flags);
    return status;
}

/* ---- numbers and words ---- */

static size_t digits(const struct reader *r, size_t at)
{
    while (at < r->len && r->text[at] >= '0' && r->text[at] <= '9') {
        at++;
    }
    return at;
}

/* Finds the number's end; *whole: it has neither point nor exponent. */
static lk_status scan_number(const struct reader *r, size_t *end, bool *whole)
{
    size_t at = r->at + (r->text[r->at] == '-'), from = at;
    *whole = true;
    at = at < r->len && r->text[at] == '0' ? at + 1 : digits(r, at);
    if (at == from) {
        return expected(r, at, "a digit");
    }
    if (at - from > LK_JSON_MAX_DIGITS) {
        return expected(r, from, "a number of at most 4300 digits");
    }
    if (at < r->len && r->text[at] == '.') {
        from = at + 1;
        *whole = false;
        if ((at = digits(r, from)) == from) {
            return expected(r, at, "a digit after the point");
        }
    }
    if (at < r->len && (r->text[at] == 'e' || r->text[at] == 'E')) {
        from = at + 1;
        from += from < r->len && (r->text[from] == '+' || r->text[from] == '-');
        *whole = false;
        if ((at = digits(r, from)) == from) {
            return expected(r, at, "a digit of the exponent");
        }
    }
    *end = at;
    return LK_OK;
}

/* The value of digits with an optional sign; false where it does not fit. */
static bool to_int64(const char *text, size_t n, int64_t *out)
{
    bool negative = n > 0 && text[0] == '-';
    int64_t v = 0;
    for (size_t i = negative; i < n; i++) {
        int digit = text[i] - '0';
        if (__builtin_mul_overflow(v, 10, &v) ||
            __builtin_add_overflow(v, negative ? -digit : digit, &v)) {
            return false;
        }
    }
    *out = v;
    return true;
}

static lk_status read_number(struct reader *r, struct lk_value *out)
{
    size_t end = 0;
    bool whole = false;
    lk_status status = scan_number(r, &end, &whole);
    if (status) {
        return status;
    }
    if (end - r->at > UINT32_MAX) {
        return expected(r, r->at, "a number of less than 4 GiB");
    }
    *out = (struct lk_value){.flags = (uint8_t)r->flags, .n = (uint32_t)(end - r->at)};
    char *text = lk_region_copy(r->region, r->text + r->at, out->n);
    if (!text) {
        return no_room(r);
    }
    out->text = text;
    if (!whole) {
        out->type = LK_VALUE_FLOAT;
        out->real = lk_number_parse(text);
    } else {
        out->type = to_int64(text, out->n, &out->integer) ? LK_VALUE_INT : LK_VALUE_BIG;
    }
    r->at = end;
    return LK_OK;
}

static lk_status read_word(struct reader *r, struct lk_value *out)
{
    static const struct {
        const char *text;
        struct lk_value value;
    } words[] = {{"true", {.type = LK_VALUE_BOOL, .boolean = true}},
                 {"false", {.type = LK_VALUE_BOOL}},
                 {"null", {.type = LK_VALUE_NULL}}};
    for (size_t i = 0; i < LK_COUNT(words); i++) {
        size_t n = strlen(words[i].text);
        if (r->len - r->at >= n && memcmp(r->text + r->at, words[i].text, n) == 0) {
            r->at += n;
            *out = words[i].value;
            out->flags = (uint8_t)r->flags;
            return LK_OK;
        }
    }
    return expected(r, r->at, "a value");
}

/* ---- lists and dicts ---- */

static void skip_space(struct reader *r)
{
    while (r->at < r->len && r->text[r->at] && strchr(" \t\n\r", r->text[r->at])) {
        r->at++;
    }
}

static lk_status push(struct reader *r, const struct lk_value *v)
{
    lk_status status = lk_grow(&r->stack, &r->cap, r->n + 1, sizeof *r->stack, r->err);
    if (!status) {
        r->stack[r->n++] = *v;
    }
    return status;
}

static lk_status open_frame(struct reader *r, bool dict)
{
    if (r->depth == r->max_depth) {
        char expect[64];
        snprintf(expect, sizeof expect, "at most %zu lists and dicts inside of each other",
                 r->max_depth);
        return expected(r, r->at, expect);
    }
    lk_status status = lk_grow(&r->frame, &r->frame_cap, r->depth + 1, sizeof *r->frame, r->err);
    if (!status) {
        r->frame[r->depth++] = (struct frame){r->n, dict};
        r->at++;
    }
    return status;
}

/* Ends the innermost list or dict; its value stands on the stack. */
static lk_status close_frame(struct reader *r)
{
    struct frame f = r->frame[--r->depth];
    struct lk_value *items = r->stack + f.first, made;
    size_t n = r->n - f.first;
    /* A key and its value lie on the stack as they lie in a member. */
    lk_status status = f.dict ? lk_value_dict(r->region, (struct lk_member *)(void *)items, n / 2,
                                              r->what, &made, r->err)
                              : lk_value_list(r->region, items, n, r->what, &made, r->err);
    if (status) {
        return status;
    }
    made.flags = (uint8_t)r->flags;
    r->at++;
    r->n = f.first;
    return push(r, &made);
}

/* A key and its colon. */
static lk_status read_key(struct reader *r)
{
    struct lk_value key;
    if (r->at == r->len || r->text[r->at] != '"') {
        return expected(r, r->at, "a key in double quotes");
    }
    lk_status status = read_string(r, &key);
    if (status || (status = push(r, &key))) {
        return status;
    }
    skip_space(r);
    if (r->at == r->len || r->text[r->at] != ':') {
        return expected(r, r->at, "':'");
    }
    r->at++;
    skip_space(r);
    return LK_OK;
}

/* Reads a scalar or opens a list or dict; *opened tells. */
static lk_status read_value(struct reader *r, bool *opened)
{
    struct lk_value v;
    lk_status status;
    char c = r->at < r->len ? r->text[r->at] : 0;
    *opened = c == '{' || c == '[';
    if (*opened) {
        return open_frame(r, c == '{');
    }
    status = c == '"'                             ? read_string(r, &v)
             : c == '-' || (c >= '0' && c <= '9') ? read_number(r, &v)
                                                  : read_word(r, &v);
    return status ? status : push(r, &v);
}

/* What follows a value in a list or dict: closing ones, or a comma. */
static lk_status after_value(struct reader *r)
{
    while (r->depth) {
        skip_space(r);
        char end = r->frame[r->depth - 1].dict ? '}' : ']';
        char c = r->at < r->len ? r->text[r->at] : 0;
        if (c == ',') {
            r->at++;
            return LK_OK;
        }
        if (c != end) {
            return expected(r, r->at, end == '}' ? "',' or '}'" : "',' or ']'");
        }
        lk_status status = close_frame(r);
        if (status) {
            return status;
        }
    }
    return LK_OK;
}

static lk_status read_all(struct reader *r)
{
    lk_status status;
    do {
        bool opened;
        skip_space(r);
        if (r->depth && r->frame[r->depth - 1].dict && (status = read_key(r))) {
            return status;
        }
        if ((status = read_value(r, &opened))) {
            return status;
        }
        if (opened) {
            skip_space(r);
            char end = r->frame[r->depth - 1].dict ? '}' : ']';
            if (r->at == r->len || r->text[r->at] != end) {
                continue;
            }
            if ((status = close_frame(r))) {
                return status;
            }
        }
        if ((status = after_value(r))) {
            return status;
        }
    } while (r->depth);
    skip_space(r);
    return r->at == r->len ? LK_OK : expected(r, r->at, "the end");
}

lk_status lk_json_read(struct lk_region *region, const char *text, size_t len,
                       const struct lk_json_reading *options, struct lk_value *out, lk_error *err)
{
    struct reader r = {.region = region, .text = text, .len = len, .err = err};
    r.what = options && options->what ? options->what : "JSON";
    r.max_depth = options && options->max_depth ? options->max_depth : LK_JSON_MAX_DEPTH;
    r.flags = options ? options->flags & LK_VALUE_TRUSTED : 0;
    *out = (struct lk_value){0};
    lk_status status = read_all(&r);
    if (!status) {
        *out = r.stack[0];
    } else if (err && status == LK_E_NOMEM && strncmp(err->message, r.what, strlen(r.what)) != 0) {
        lk_fail_prefix(err, status, "%s", r.what); /* of a work area */
    }
    lk_free(r.stack);
    lk_free(r.frame);
    return status;
}

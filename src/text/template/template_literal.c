/* SPDX-License-Identifier: Apache-2.0
 *
 * Template_literal: the numbers and strings of a template, from their text to their values.
 */
#include "text/template/template_ast.h"

#include <stdio.h>
#include <string.h>

#include "base/utf8.h"
#include "text/value/json.h"
#include "text/value/number.h"
#include "text/template/unicode.h"

/* ---- numbers ---- */

static bool digit(const struct lk_tpl_lexer *l, size_t at)
{
    return at < l->len && l->text[at] >= '0' && l->text[at] <= '9';
}

static bool is_sign(const struct lk_tpl_lexer *l, size_t at)
{
    return at < l->len && (l->text[at] == '-' || l->text[at] == '+');
}

/* The end of digits with single underscores among them. */
static size_t digits(const struct lk_tpl_lexer *l, size_t at)
{
    while (digit(l, at)) {
        at += l->text[at + 1] == '_' && digit(l, at + 2) ? 2 : 1;
    }
    return at;
}

/* The end of a number with a point or an exponent that begins at `at`, else 0. */
static size_t float_end(const struct lk_tpl_lexer *l, size_t at)
{
    if (at > 0 && l->text[at - 1] == '.') {
        return 0;
    }
    size_t end = digits(l, at), whole = end;
    if (end < l->len && l->text[end] == '.' && digit(l, end + 1)) {
        end = digits(l, end + 1);
    }
    if (end < l->len && (l->text[end] == 'e' || l->text[end] == 'E')) {
        size_t power = end + 1 + (is_sign(l, end + 1));
        end = digit(l, power) ? digits(l, power) : end;
    }
    return end > whole ? end : 0;
}

static int digit_value(char c)
{
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'f' ? (c | 32) - 'a' + 10
                                                : 99;
}

/* The end of a whole number, and its base. "0x" without digits is a 0 before a name. */
static size_t int_end(const struct lk_tpl_lexer *l, size_t at, int *base)
{
    static const struct {
        char letter;
        int base;
    } bases[] = {{'b', 2}, {'o', 8}, {'x', 16}};
    *base = 10;
    for (size_t i = 0; l->text[at] == '0' && i < LK_COUNT(bases); i++) {
        size_t end = at + 2;
        if (at + 1 < l->len && (l->text[at + 1] | 32) == bases[i].letter) {
            for (;;) {
                size_t next = end + (end < l->len && l->text[end] == '_');
                if (next >= l->len || digit_value(l->text[next]) >= bases[i].base) {
                    break;
                }
                end = next + 1;
            }
            *base = end > at + 2 ? bases[i].base : 10;
            return end > at + 2 ? end : at + 1;
        }
    }
    if (l->text[at] != '0') {
        return digits(l, at);
    }
    size_t end = at + 1;
    while (end < l->len &&
           (l->text[end] == '0' || (l->text[end] == '_' && l->text[end + 1] == '0'))) {
        end += l->text[end] == '_' ? 2 : 1;
    }
    return end;
}

lk_status lk_tpl_read_number(struct lk_tpl_lexer *l, struct lk_tpl_tok *out)
{
    int base = 10;
    size_t from = l->at, end = float_end(l, from);
    bool real = end != 0;
    end = real ? end : int_end(l, from, &base);
    char *text = lk_region_alloc(l->region, end - from + 1);
    size_t n = 0;
    if (!text) {
        return lk_region_fail(l->region, "chat template", l->err);
    }
    int64_t value = 0;
    bool fits = true;
    for (size_t i = from + (base == 10 ? 0 : 2); i < end; i++) {
        if (l->text[i] != '_') {
            text[n++] = l->text[i];
            fits = fits && !__builtin_mul_overflow(value, base, &value) &&
                   !__builtin_add_overflow(value, digit_value(l->text[i]), &value);
        }
    }
    text[n] = 0;
    l->at = end;
    out->type = real ? TOKEN_FLOAT : TOKEN_INT;
    out->value = real ? lk_value_real(lk_number_parse(text)) : lk_value_int(value);
    if (!real && !fits) {
        if (base != 10 || n > LK_JSON_MAX_DIGITS) {
            return lk_tpl_error(l->text, from, LK_E_FORMAT, l->err, "a number too large");
        }
        out->value = (struct lk_value){.type = LK_VALUE_BIG,
                                       .flags = LK_VALUE_TRUSTED,
                                       .n = (uint32_t)n,
                                       .text = text};
    }
    return LK_OK;
}

/* ---- strings ---- */

/* `digits` hexadecimal digits at `at`; -1 where there are fewer. */
static int32_t hex(const struct lk_tpl_lexer *l, size_t at, size_t end, int digits_wanted)
{
    int32_t v = 0;
    for (int i = 0; i < digits_wanted; i++, at++) {
        if (at >= end || digit_value(l->text[at]) > 15 || v > 0xFFFFFFF) {
            return -1;
        }
        v = v * 16 + digit_value(l->text[at]);
    }
    return v;
}

/* The escape at text[at] == '\\'; writes what it stands for and moves `at` behind it. */
static lk_status unescape(const struct lk_tpl_lexer *l, size_t *at, size_t end, char *out,
                          size_t *n)
{
    static const char from[] = "\\'\"abfnrtv", to[] = "\\'\"\a\b\f\n\r\t\v";
    size_t begin = *at;
    char c = l->text[begin + 1];
    const char *simple = c ? strchr(from, c) : NULL;
    int32_t cp = 0;
    *at += 2;
    if (c == '\n') {
        return LK_OK;
    }
    if (simple) {
        out[(*n)++] = to[simple - from];
        return LK_OK;
    }
    if (c >= '0' && c <= '7') {
        cp = c - '0';
        for (int i = 0; i < 2 && *at < end && l->text[*at] >= '0' && l->text[*at] <= '7'; i++) {
            cp = cp * 8 + (l->text[(*at)++] - '0');
        }
    } else if (c == 'x' || c == 'u' || c == 'U') {
        int wanted = c == 'x' ? 2 : c == 'u' ? 4 : 8;
        cp = hex(l, *at, end, wanted);
        *at += (size_t)wanted;
        if (cp < 0 || cp > 0x10FFFF) {
            return lk_tpl_error(l->text, begin, LK_E_FORMAT, l->err,
                                "expected %d hexadecimal digits of a character after \\%c", wanted,
                                c);
        }
    } else if (c == 'N') {
        return lk_tpl_error(l->text, begin, LK_E_UNSUPPORTED, l->err,
                            "names of characters (\\N) are not known here");
    } else if ((unsigned char)c >= 0x80) {
        /* Python reads the escape of the character that Jinja wrote for it: "\é" is "\xe9". */
        size_t step = lk_char_next(l->text + begin + 1, end - begin - 1, &cp);
        *n += (size_t)sprintf(out + *n,
                              cp < 0x100     ? "\\x%02x"
                              : cp < 0x10000 ? "\\u%04x"
                                             : "\\U%08x",
                              (unsigned)cp);
        *at = begin + 1 + step;
        return LK_OK;
    } else {
        out[(*n)++] = '\\';
        out[(*n)++] = c;
        return LK_OK;
    }
    *n += lk_utf8_put(cp >= 0xD800 && cp < 0xE000 ? 0xFFFD : cp, out + *n);
    return LK_OK;
}

lk_status lk_tpl_read_string(struct lk_tpl_lexer *l, struct lk_tpl_tok *out)
{
    size_t from = l->at + 1, end = from, n = 0;
    char quote = l->text[l->at];
    while (end < l->len && l->text[end] != quote) {
        end += l->text[end] == '\\' ? 2 : 1;
    }
    if (end >= l->len) {
        return lk_tpl_error(l->text, l->at, LK_E_FORMAT, l->err, "a string that does not end");
    }
    char *text = lk_region_alloc(l->region, (end - from) * 3 + 1);
    if (!text) {
        return lk_region_fail(l->region, "chat template", l->err);
    }
    for (size_t at = from; at < end;) {
        if (l->text[at] != '\\') {
            text[n++] = l->text[at++];
            continue;
        }
        lk_status status = unescape(l, &at, end, text, &n);
        if (status) {
            return status;
        }
    }
    out->type = TOKEN_STRING;
    out->value = lk_value_text(text, n, LK_VALUE_TRUSTED);
    l->at = end + 1;
    return LK_OK;
}

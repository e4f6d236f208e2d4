/* SPDX-License-Identifier: Apache-2.0
 *
 * Wire_json_write: JSON strings and numbers as text. See wire_json.h.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/server/wire_json.h"

size_t wire_character(const char *text, size_t n)
{
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0 || (s[0] >= 0x80 && s[0] < 0xC2) || s[0] > 0xF4) {
        return 0;
    }
    size_t len = s[0] < 0x80 ? 1 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : 4;
    for (size_t i = 1; i < len; i++) {
        if (i >= n || (s[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xF0 && s[1] < 0x90);
    bool beyond = (s[0] == 0xED && s[1] > 0x9F) || (s[0] == 0xF4 && s[1] > 0x8F);
    return overlong || beyond ? 0 : len;
}

bool wire_is_utf8(const char *s, size_t n)
{
    size_t at = 0;
    for (size_t len = 1; at < n && len > 0; at += len) {
        len = wire_character(s + at, n - at);
    }
    return at == n;
}

void wire_quoted(struct wire_text *out, const char *s, size_t n)
{
    size_t from = 0, i = 0; /* from: what is not added yet */
    if (n == 0) {
        return; /* s may be NULL */
    }
    while (i < n) {
        unsigned char c = (unsigned char)s[i];
        size_t len = wire_character(s + i, n - i);
        if (len > 0 && c >= 0x20 && c != '"' && c != '\\' && c != 0x7F) {
            i += len;
            continue;
        }
        wire_add(out, s + from, i - from);
        if (len == 0) {
            wire_puts(out, "\xEF\xBF\xBD");
        } else if (c == '"' || c == '\\') {
            wire_print(out, "\\%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            wire_puts(out, c == '\n' ? "\\n" : c == '\t' ? "\\t" : "\\r");
        } else {
            wire_print(out, "\\u%04x", c);
        }
        i += len ? len : 1;
        from = i;
    }
    wire_add(out, s + from, n - from);
}

void wire_quote(struct wire_text *out, const char *text, size_t len)
{
    wire_puts(out, "\"");
    wire_quoted(out, text, len);
    wire_puts(out, "\"");
}

void wire_quotes(struct wire_text *out, const char *text)
{
    if (text) {
        wire_quote(out, text, strlen(text));
    } else {
        wire_puts(out, "null");
    }
}

void wire_float(struct wire_text *out, float x)
{
    char text[32];
    if (!isfinite(x)) {
        wire_puts(out, x > 0.0f ? "9999.0" : "-9999.0");
        return;
    }
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) {
            break;
        }
    }
    wire_puts(out, text);
    if (!strpbrk(text, ".e")) {
        wire_puts(out, ".0");
    }
}

void wire_value_text(struct wire_text *out, struct wire_value v)
{
    if (v.json) {
        wire_add(out, v.text, v.len);
    } else {
        wire_puts(out, "null");
    }
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Text: characters, what a terminal may be shown, JSON strings, hexadecimal. Owns no state.
 */
#include <string.h>

#include "tools/cli/cli.h"

/* Length of the UTF-8 character that starts at s, or 0. */
size_t cli_utf8_length(const char *text, size_t n)
{
    static const struct {
        unsigned char mask, lead, low, high; /* of the second byte */
        size_t length;
    } FORM[] = {{0x80, 0x00, 0, 0, 1},       {0xff, 0xe0, 0xa0, 0xbf, 3},
                {0xff, 0xed, 0x80, 0x9f, 3}, {0xf0, 0xe0, 0x80, 0xbf, 3},
                {0xff, 0xf0, 0x90, 0xbf, 4}, {0xff, 0xf4, 0x80, 0x8f, 4},
                {0xfc, 0xf0, 0x80, 0xbf, 4}, {0xe0, 0xc0, 0x80, 0xbf, 2}};
    const unsigned char *s = (const unsigned char *)text;
    if (n == 0 || s[0] == 0xc0 || s[0] == 0xc1 || s[0] > 0xf4) {
        return 0;
    }
    for (size_t f = 0; f < sizeof FORM / sizeof *FORM; f++) {
        if ((s[0] & FORM[f].mask) == FORM[f].lead) {
            size_t length = FORM[f].length;
            if (length > n || (length > 1 && (s[1] < FORM[f].low || s[1] > FORM[f].high))) {
                return 0;
            }
            for (size_t i = 2; i < length; i++) {
                if ((s[i] & 0xc0) != 0x80) {
                    return 0;
                }
            }
            return length;
        }
    }
    return 0;
}

/* Whether the n < 4 bytes at s may be the start of a character that goes on. */
bool cli_utf8_is_open(const char *text, size_t n)
{
    static const char *const REST[] = {"\x80\x80\x80", "\xbf\xbf\xbf"};
    char whole[8];
    for (size_t i = 0; i < sizeof REST / sizeof *REST; i++) { /* both ends of what may follow */
        for (size_t more = 1; more <= 3 && n + more <= 4; more++) {
            memcpy(whole, text, n);
            memcpy(whole + n, REST[i], more);
            if (cli_utf8_length(whole, n + more) == n + more) {
                return true;
            }
        }
    }
    return false;
}

/* How the character at s (length bytes of UTF-8, 0: no character) is shown where it must do
 * nothing; 0 when as it is. */
static size_t spelled(const char *s, size_t length, char out[8])
{
    unsigned char c = (unsigned char)s[0], d = length == 2 ? (unsigned char)s[1] : 0;
    if (length == 0 || (length == 1 && (c < 0x20 || c == 0x7f))) {
        return (size_t)snprintf(out, 8, "\\x%02x", c);
    }
    if (c == 0xc2 && d < 0xa0) { /* U+0080 to U+009f */
        return (size_t)snprintf(out, 8, "\\u%04x", d);
    }
    return 0;
}

bool cli_visible(struct cli_buffer *to, const char *s, size_t n, bool line)
{
    bool ok = true;
    for (size_t i = 0; i < n && ok;) {
        size_t length = cli_utf8_length(s + i, n - i);
        char text[8];
        size_t spelling = spelled(s + i, length, text);
        if (s[i] == '\n' || s[i] == '\t') {
            spelling =
                line ? (size_t)snprintf(text, sizeof text, "\\%c", s[i] == '\n' ? 'n' : 't') : 0;
        }
        ok = cli_append(to, spelling ? text : s + i, spelling ? spelling : length);
        i += length ? length : 1;
    }
    return ok;
}

void cli_json_string(FILE *to, const char *s, size_t n)
{
    fputc('"', to);
    for (size_t i = 0; i < n;) {
        unsigned char c = (unsigned char)s[i];
        size_t length = cli_utf8_length(s + i, n - i);
        if (!length) {
            fputs("\\ufffd", to);
            length = 1;
        } else if (c == '"' || c == '\\') {
            fprintf(to, "\\%c", c);
        } else if (c == '\n') {
            fputs("\\n", to);
        } else if (c < 0x20 || c == 0x7f) {
            fprintf(to, "\\u%04x", c);
        } else {
            fwrite(s + i, 1, length, to);
        }
        i += length;
    }
    fputc('"', to);
}

void cli_hex(const uint8_t bytes[32], char out[65])
{
    for (int i = 0; i < 32; i++) {
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    }
}

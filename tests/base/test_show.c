/* SPDX-License-Identifier: Apache-2.0
 *
 * Show: what strangers' text becomes in a message: one line, valid UTF-8, nothing that a terminal
 * acts on, whatever the bytes and wherever it is cut.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "base/utf8.h"

static void expect_shown(const char *s, size_t n, const char *expected)
{
    char out[256];
    cr_assert_eq(lk_show(out, sizeof out, s, n), strlen(expected));
    cr_assert_str_eq(out, expected);
}
#define EXPECT_SHOWN(s, expected) expect_shown(s, sizeof(s) - 1, expected)

Test(show, what_a_terminal_acts_on_is_spelled_out)
{
    EXPECT_SHOWN("", "");
    EXPECT_SHOWN("plain ~ \\ text", "plain ~ \\ text");
    EXPECT_SHOWN("\x1b]0;title\x07", "\\x1b]0;title\\x07");
    EXPECT_SHOWN("a\nb\tc\rd\0e\x7f", "a\\nb\\tc\\x0dd\\x00e\\x7f");
    EXPECT_SHOWN("\xc2\x9b"
                 "31m\xc2\xa0",
                 "\\u009b31m\xc2\xa0"); /* CSI in one character; a no-break space stays */
    EXPECT_SHOWN("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\\u2028\\u2029\xe2\x80\xaa");
    EXPECT_SHOWN("\x9b\xff\xe2\x82", "\\x9b\\xff\\xe2\\x82"); /* no UTF-8 */
    EXPECT_SHOWN("caf\xc3\xa9 \xf0\x9f\x99\x82", "caf\xc3\xa9 \xf0\x9f\x99\x82");
}

/* Every character is written and read as utf8proc does it, and every other sequence of up to four
 * bytes is refused as there. */
Test(show, characters_are_those_of_utf8proc)
{
    for (int32_t c = 0; c < 0x110000; c++) {
        char mine[8] = "", theirs[8] = "";
        int32_t back = -1;
        if (c >= 0xD800 && c < 0xE000) {
            continue;
        }
        size_t n = lk_utf8_put(c, mine);
        cr_assert(n == (size_t)utf8proc_encode_char(c, (utf8proc_uint8_t *)theirs) &&
                      memcmp(mine, theirs, n) == 0,
                  "U+%x", (unsigned)c);
        cr_assert(lk_utf8_next(mine, n, &back) == n && back == c, "U+%x", (unsigned)c);
    }
    static const uint8_t LAST[] = {0x00, 0x7f, 0x80, 0xbf, 0xc0, 0xff};
    for (uint32_t two = 0; two < 65536; two++) {
        for (size_t i = 0; i < LK_COUNT(LAST) * LK_COUNT(LAST); i++) {
            uint8_t s[4] = {(uint8_t)(two >> 8), (uint8_t)two, LAST[i / 6], LAST[i % 6]};
            for (size_t n = 1; n <= 4; n++) {
                int32_t mine = -1, theirs = -1;
                utf8proc_ssize_t found = utf8proc_iterate(s, (utf8proc_ssize_t)n, &theirs);
                size_t length = lk_utf8_next((const char *)s, n, &mine);
                cr_assert(length == (found > 0 ? (size_t)found : 0) &&
                              (length == 0 || mine == theirs),
                          "%02x %02x %02x %02x", s[0], s[1], s[2], s[3]);
            }
        }
    }
}

/* Whether s is valid UTF-8 of one line without control characters. */
static bool fit(const char *s)
{
    size_t n = strlen(s), step;
    for (size_t i = 0; i < n; i += step) {
        int32_t c;
        step = lk_utf8_next(s + i, n - i, &c);
        if (step == 0 || c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x2028 || c == 0x2029) {
            return false;
        }
    }
    return true;
}

Test(show, it_is_cut_between_characters)
{
    static const char TEXT[] = "ab\x1b\xf0\x9f\x99\x82\n\xc3\xa9\xff.";
    char whole[64], out[64];
    size_t length = lk_show(whole, sizeof whole, TEXT, sizeof TEXT - 1);
    for (size_t cap = 0; cap < sizeof out; cap++) {
        memset(out, '#', sizeof out);
        size_t n = lk_show(out, cap, TEXT, sizeof TEXT - 1);
        cr_assert_eq(out[cap], '#', "cap %zu", cap);
        cr_assert(cap == 0 || (n == strlen(out) && n < cap && fit(out)), "cap %zu", cap);
        if (cap > length) {
            cr_assert_str_eq(out, whole);
        } else if (cap >= 4) {
            cr_assert_str_eq(out + n - 3, "...");
            cr_assert_eq(memcmp(out, whole, n - 3), 0);
            cr_assert(n + 8 > cap, "cap %zu: only %zu used", cap, n);
        }
    }
}

Test(show, a_message_is_one_line_whatever_its_parts_hold)
{
    lk_error err;
    cr_assert_eq(lk_fail(&err, LK_E_FORMAT, "%s: key '%s'", "a\nfile", "\x1b[31m\xff"),
                 LK_E_FORMAT);
    cr_assert_str_eq(err.message, "a\\nfile: key '\\x1b[31m\\xff'");
    cr_assert_eq(lk_fail_prefix(&err, LK_E_IO, "part\r%d", 2), LK_E_IO);
    cr_assert_str_eq(err.message, "part\\x0d2: a\\nfile: key '\\x1b[31m\\xff'");
    cr_assert_eq(err.status, LK_E_IO);
    /* passed up as an argument of itself */
    lk_fail(&err, LK_E_IO, "%s!", err.message);
    cr_assert_str_eq(err.message, "part\\x0d2: a\\nfile: key '\\x1b[31m\\xff'!");
}

Test(show, a_long_message_is_cut_between_characters)
{
    char text[3001];
    lk_error err;
    for (size_t shift = 0; shift < 4; shift++) { /* four bytes for each character, at each phase */
        memset(text, 'x', sizeof text);
        for (size_t i = shift; i + 4 < sizeof text; i += 4) {
            memcpy(text + i, "\xf0\x9f\x99\x82", 4);
        }
        text[sizeof text - 1] = 0;
        lk_fail(&err, LK_E_IO, "%s", text);
        size_t n = strlen(err.message);
        cr_assert(fit(err.message) && n + 8 > sizeof err.message, "%zu", n);
        lk_fail_prefix(&err, LK_E_IO, "%s", text);
        cr_assert(fit(err.message));
        memset(text, 0x1b, sizeof text - 1);
        lk_fail(&err, LK_E_IO, "%s", text);
        cr_assert(fit(err.message) && strlen(err.message) + 8 > sizeof err.message);
    }
}

struct lines {
    int n;
    char last[2048];
};

static void keep(void *user, lk_log_level level, const char *line)
{
    struct lines *lines = user;
    cr_assert_eq(level, LK_LOG_WARN);
    lines->n++;
    snprintf(lines->last, sizeof lines->last, "%s", line);
}

Test(show, so_is_a_line_of_the_log)
{
    struct lines lines = {0};
    struct lk_log log = {keep, &lines};
    lk_log_line(&log, LK_LOG_WARN, "device '%s'", "bad\x1b[2J\nname");
    cr_assert_eq(lines.n, 1);
    cr_assert_str_eq(lines.last, "device 'bad\\x1b[2J\\nname'");
    lk_log_line(&(struct lk_log){0}, LK_LOG_WARN, "nobody listens");
}

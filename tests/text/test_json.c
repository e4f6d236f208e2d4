/* SPDX-License-Identifier: Apache-2.0
 *
 * Json: what values keep of their text, lookups, limits of depth and memory, places of errors,
 * marks through the writer, what JSON has not. Equality with Python's json is json_diff.py's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/marked.h"
#include "text/value/json.h"
#include "text/value/number.h"

static struct lk_value read_with(struct lk_region *region, const char *text, size_t len,
                                 unsigned flags)
{
    struct lk_value v;
    lk_error err = {0};
    const struct lk_json_reading how = {.flags = flags};
    cr_assert_eq(lk_json_read(region, text, len, &how, &v, &err), LK_OK, "%s", err.message);
    return v;
}

static struct lk_value read_text(struct lk_region *region, const char *text)
{
    return read_with(region, text, strlen(text), 0);
}

static void expect_error(const char *text, const char *says)
{
    struct lk_region region = {0};
    struct lk_value v;
    lk_error err = {0};
    const struct lk_json_reading how = {.what = "request", .max_depth = 3};
    cr_expect_eq(lk_json_read(&region, text, strlen(text), &how, &v, &err), LK_E_FORMAT, "%s",
                 text);
    cr_expect_str_eq(err.message, says);
    cr_expect_eq(v.type, LK_VALUE_NULL);
    lk_region_free(&region);
}

Test(json, values_keep_what_was_written)
{
    struct lk_region region = {0};
    struct lk_value v = read_text(&region, "[-9223372036854775808, 9223372036854775808, 1.50, -0, "
                                           "1e400, true, null, \"a\\u0000b\"]");
    cr_assert_eq(v.type, LK_VALUE_LIST);
    cr_assert_eq(v.n, 8);
    cr_expect_eq(v.item[0].type, LK_VALUE_INT);
    cr_expect_eq(v.item[0].integer, INT64_MIN);
    cr_expect_eq(v.item[1].type, LK_VALUE_BIG);
    cr_expect_str_eq(v.item[1].text, "9223372036854775808");
    cr_expect_eq(v.item[2].type, LK_VALUE_FLOAT);
    cr_expect_eq(v.item[2].real, 1.5);
    cr_expect_eq(v.item[2].n, 4);
    cr_expect_str_eq(v.item[2].text, "1.50");
    cr_expect_eq(v.item[3].type, LK_VALUE_INT);
    cr_expect_str_eq(v.item[3].text, "-0");
    cr_expect(v.item[4].real > 1e308);
    cr_expect_eq(v.item[5].type, LK_VALUE_BOOL);
    cr_expect(v.item[5].boolean);
    cr_expect_eq(v.item[6].type, LK_VALUE_NULL);
    cr_expect_eq(v.item[7].n, 3);
    cr_expect_eq(memcmp(v.item[7].text, "a\0b", 4), 0);
    lk_region_free(&region);
}

Test(json, members_are_found_in_small_and_large_dicts)
{
    struct lk_region region = {0};
    static char text[1 << 16];
    for (int n = 0; n <= 1000; n += n < 20 ? 1 : 245) {
        size_t at = (size_t)sprintf(text, "{");
        for (int i = 0; i < n; i++) {
            at += (size_t)sprintf(text + at, "%s\"k%d\": %d, \"k%d\": %d", i ? "," : "", i * 7 % n,
                                  -1, i * 7 % n, i * 7 % n);
        }
        sprintf(text + at, "}");
        struct lk_value v = read_text(&region, text);
        cr_assert_eq(v.type, LK_VALUE_DICT);
        for (int i = 0; i < n; i++) {
            char key[16];
            sprintf(key, "k%d", i);
            bool there = n % 7 != 0 || i % 7 == 0;
            const struct lk_value *found = lk_value_get(&v, key);
            cr_assert_eq(found != NULL, there, "%s of %d", key, n);
            cr_assert(!found || found->integer == i);
        }
        cr_expect_null(lk_value_get(&v, "k"));
        cr_expect_null(lk_value_get(&v, "k1000"));
        cr_expect_null(lk_value_get(&v, ""));
    }
    struct lk_value v = read_text(&region, "[1]");
    cr_expect_null(lk_value_get(&v, "k"));
    cr_expect_null(lk_value_get(NULL, "k"));
    lk_region_free(&region);
}

Test(json, errors_say_where)
{
    expect_error("", "request: line 1 column 1 (byte 0): found the end, expected a value");
    expect_error("{\"a\": 1,\n \"\xC3\xA9\" 2}",
                 "request: line 2 column 6 (byte 15): found '2', expected ':'");
    expect_error("[1\x01]",
                 "request: line 1 column 3 (byte 2): found byte 0x01, expected ',' or ']'");
    expect_error("[[[[]]]]",
                 "request: line 1 column 4 (byte 3): found '[', expected at most 3 lists "
                 "and dicts inside of each other");
    expect_error("[\"a\xFF\"]",
                 "request: line 1 column 4 (byte 3): found byte 0xff, expected UTF-8");
    expect_error("[\"\\u12x4\"]", "request: line 1 column 5 (byte 4): found '1', expected four "
                                  "hexadecimal digits after \\u");
    expect_error("[NaN]", "request: line 1 column 2 (byte 1): found 'N', expected a value");
    expect_error("[] []", "request: line 1 column 4 (byte 3): found '[', expected the end");
    expect_error("\"a\nb\"",
                 "request: line 1 column 3 (byte 2): found byte 0x0a, expected an escape "
                 "instead of a control character");
}

Test(json, memory_has_a_limit)
{
    struct lk_region region = {.max_bytes = 100000};
    struct lk_value v;
    lk_error err = {0};
    size_t n = 200000;
    char *text = malloc(n + 2);
    text[0] = text[n + 1] = '"';
    memset(text + 1, 'a', n);
    cr_expect_eq(lk_json_read(&region, text, n + 2, NULL, &v, &err), LK_E_NOMEM);
    cr_expect_str_eq(err.message, "JSON: needs more memory than its 100000 bytes");
    for (size_t i = 0; i < n; i++) {
        text[i] = i % 2 ? ',' : '0';
    }
    text[0] = '[', text[n] = '1', text[n + 1] = ']';
    text[1] = ' ';
    cr_expect_eq(lk_json_read(&region, text, n + 2, NULL, &v, &err), LK_E_NOMEM);
    cr_expect(region.n_bytes <= region.max_bytes);
    lk_region_free(&region);
    cr_expect_eq(region.n_bytes, 0);
    cr_expect_eq(lk_json_read(&region, "[1, \"aaaa\"]", 11, NULL, &v, &err), LK_OK, "%s",
                 err.message);
    lk_region_free(&region);
    free(text);
}

Test(json, marks_survive_the_writer)
{
    struct lk_region region = {0};
    struct lk_text_buffer b = {0};
    lk_error err = {0};
    struct lk_value data = read_text(&region, "{\"d\": [\"x\\ny\", 1]}");
    struct lk_value own = read_with(&region, "{\"t\": [true, null]}", 19, LK_VALUE_TRUSTED);
    struct lk_member members[] = {
        {lk_value_text("own", 3, LK_VALUE_TRUSTED), own},
        {lk_value_text("data", 4, 0), data},
    };
    struct lk_value both;
    cr_assert_eq(lk_value_dict(&region, members, 2, "both", &both, &err), LK_OK);
    cr_assert_eq(lk_json_write(&b, &data, NULL, &err), LK_OK);
    cr_expect_str_eq(marked(&b), "{\"d\": [\"x\\ny\", 1]}");
    cr_expect_null(b.marks);
    lk_text_free(&b);
    both.flags = LK_VALUE_TRUSTED;
    cr_assert_eq(lk_json_write(&b, &both, NULL, &err), LK_OK);
    cr_expect_str_eq(marked(&b),
                     "{{\"own\": {\"t\": [true, null]}, }\"data\"{: }{\"d\": [\"x\\ny\", 1]}{}}");
    /* A string of both kinds. */
    struct lk_value mixed;
    lk_text_free(&b);
    lk_text_puts(&b, "a\n", LK_VALUE_TRUSTED);
    lk_text_puts(&b, "b\n\xC3\xA9", 0);
    cr_assert_eq(lk_text_value(&b, 0, &region, &mixed), LK_OK);
    lk_text_free(&b);
    struct lk_json_writing how = lk_json_default();
    how.ensure_ascii = true;
    cr_assert_eq(lk_json_write(&b, &mixed, &how, &err), LK_OK);
    cr_expect_str_eq(marked(&b), "\"{a\\n}b\\n\\u00e9\"");
    lk_text_free(&b);
    lk_region_free(&region);
}

Test(json, keys_of_other_types_are_written_as_python_writes_them)
{
    struct lk_region region = {0};
    struct lk_text_buffer b = {0};
    lk_error err = {0};
    struct lk_member members[] = {
        {lk_value_int(1), lk_value_int(2)},
        {lk_value_real(0.5), lk_value_real(1e16)},
        {lk_value_bool(true), lk_value_bool(false)},
        {{.type = LK_VALUE_NULL}, {.type = LK_VALUE_NULL}},
    };
    struct lk_value dict = {.type = LK_VALUE_DICT, .n = 4, .member = members};
    struct lk_json_writing how = lk_json_compact();
    cr_assert_eq(lk_json_write(&b, &dict, &how, &err), LK_OK, "%s", err.message);
    cr_expect_str_eq(marked(&b),
                     "{{\"1\"}:{2},{\"0.5\"}:{1e+16},{\"true\"}:{false},\"null\":null}");
    how.sort_keys = true;
    cr_expect_eq(lk_json_write(&b, &dict, &how, &err), LK_E_INVALID);
    members[1].key = (struct lk_value){.type = LK_VALUE_LIST};
    cr_expect_eq(lk_json_write(&b, &dict, NULL, &err), LK_E_INVALID);
    members[1].key = lk_value_int(2);
    members[1].value.type = LK_VALUE_OTHERS;
    cr_expect_eq(lk_json_write(&b, &dict, NULL, &err), LK_E_INVALID);
    lk_text_free(&b);
    lk_region_free(&region);
}

Test(json, the_writer_has_limits)
{
    struct lk_text_buffer b = {.max_bytes = 10, .what = "answer"};
    lk_error err = {0};
    b.err = &err;
    struct lk_value v = lk_value_text("0123456789", 10, 0), nest[LK_JSON_WRITE_DEPTH + 2];
    cr_expect_eq(lk_json_write(&b, &v, NULL, &err), LK_E_FULL);
    cr_expect_str_eq(err.message, "answer: more than 10 bytes of text");
    lk_text_free(&b);
    b = (struct lk_text_buffer){0};
    nest[0] = lk_value_int(1);
    for (size_t i = 1; i < LK_COUNT(nest); i++) {
        nest[i] = (struct lk_value){.type = LK_VALUE_LIST, .n = 1, .item = &nest[i - 1]};
    }
    cr_expect_eq(lk_json_write(&b, &nest[LK_JSON_WRITE_DEPTH], NULL, &err), LK_OK);
    cr_expect_eq(lk_json_write(&b, &nest[LK_JSON_WRITE_DEPTH + 1], NULL, &err), LK_E_INVALID);
    lk_text_free(&b);
}

Test(json, numbers_whatever_the_locale)
{
    char text[LK_NUMBER_TEXT];
    static const struct {
        double d;
        const char *text;
    } cases[] = {{0.1, "0.1"},
                 {-0.0, "-0.0"},
                 {1e15, "1000000000000000.0"},
                 {1e16, "1e+16"},
                 {123456.789e-9, "0.000123456789"},
                 {1e-5, "1e-05"},
                 {5e-324, "5e-324"},
                 {0x1p-44, "5.684341886080802e-14"},
                 {1.7976931348623157e308, "1.7976931348623157e+308"},
                 {-12.0, "-12.0"}};
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        size_t n = lk_number_repr(cases[i].d, text);
        cr_expect_eq(n, strlen(cases[i].text));
        cr_expect_str_eq(text, cases[i].text);
        cr_expect_eq(lk_number_parse(text), cases[i].d);
    }
}

Test(region, marks_and_release)
{
    struct lk_region region = {0};
    char *first = lk_region_copy(&region, "abc", 3);
    struct lk_region_mark mark = lk_region_mark(&region);
    for (int round = 0; round < 3; round++) {
        char *p[64];
        for (size_t i = 0; i < 64; i++) {
            p[i] = lk_region_alloc(&region, i * 300);
            cr_assert(p[i] && (uintptr_t)p[i] % 16 == 0);
            memset(p[i], (int)i, i * 300);
        }
        for (size_t i = 1; i < 64; i++) {
            cr_expect_eq(p[i][0], (char)i);
            cr_expect_eq(p[i][i * 300 - 1], (char)i);
            cr_expect(lk_region_since(&region, mark, p[i]));
        }
        cr_expect(!lk_region_since(&region, mark, first));
        size_t full = region.n_bytes;
        lk_region_release(&region, mark);
        cr_expect(region.n_bytes < full);
        cr_expect_str_eq(first, "abc");
    }
    cr_expect_null(lk_region_alloc(&region, SIZE_MAX));
    cr_expect_null(lk_region_array(&region, SIZE_MAX / 2, 3));
    lk_region_free(&region);
    cr_expect_null(region.last);
}

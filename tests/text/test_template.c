/* SPDX-License-Identifier: Apache-2.0
 *
 * Template: what jinja2 made of small templates for every construct (tests/golden/templates.json),
 * places of errors, who wrote which byte, limits. Equality on real templates is template_diff.py's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "tests/util/marked.h"
#include "text/value/json.h"
#include "text/template/template_run.h"
#include "text/template/unicode.h"

static const struct tm WHEN = {.tm_year = 126,
                               .tm_mon = 6,
                               .tm_mday = 25,
                               .tm_hour = 17,
                               .tm_min = 20,
                               .tm_wday = 6,
                               .tm_yday = 205}; /* as in the oracle */

struct rendered {
    struct lk_text_buffer out;
    lk_status status;
    lk_error err;
};

static struct rendered render_with(const char *source, size_t len, const struct lk_value *variables)
{
    struct rendered r = {0};
    struct lk_tpl *t;
    r.status = lk_tpl_compile(source, len, &t, &r.err);
    if (!r.status) {
        r.status = lk_tpl_render(t, variables, &WHEN, &r.out, &r.err);
    } else {
        cr_assert_null(t);
    }
    lk_tpl_free(&t);
    return r;
}

static struct lk_value read_json(struct lk_region *region, const char *text, size_t len)
{
    struct lk_value v;
    lk_error err;
    cr_assert_eq(lk_json_read(region, text, len, NULL, &v, &err), LK_OK, "%s", err.message);
    return v;
}

static struct rendered render(const char *source, const char *json)
{
    struct lk_region region = {0};
    struct lk_value v = read_json(&region, json, strlen(json));
    struct rendered r = render_with(source, strlen(source), &v);
    lk_region_free(&region);
    return r;
}

static void done(struct rendered *r)
{
    lk_text_free(&r->out);
}

/* ---- the corpus ---- */

static char *read_file(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    cr_assert_not_null(f, "%s", path);
    char *text = malloc(1 << 22);
    *n = fread(text, 1, 1 << 22, f);
    fclose(f);
    return text;
}

Test(template, as_jinja_renders_it)
{
    struct lk_region region = {0};
    size_t n, n_errors = 0;
    char *text = read_file(LK_TEST_DIR "/golden/templates.json", &n);
    struct lk_value cases = read_json(&region, text, n);
    cr_assert(cases.n > 400);
    for (uint32_t i = 1; i < cases.n; i++) {
        const struct lk_value *source = &cases.item[i].item[0], *expect = &cases.item[i].item[1];
        struct rendered r = render_with(source->text, source->n, &cases.item[0]);
        if (expect->type == LK_VALUE_NULL) {
            n_errors++;
            cr_expect_neq(r.status, LK_OK, "%s\nis\n%.*s\nexpected an error", source->text,
                          (int)r.out.n, r.out.bytes);
            cr_expect(r.status != LK_OK && strncmp(r.err.message, "chat template ", 14) == 0,
                      "%s: %s", source->text, r.err.message);
        } else {
            cr_expect_eq(r.status, LK_OK, "%s: %s", source->text, r.err.message);
            cr_expect(r.out.n == expect->n &&
                          (expect->n == 0 || memcmp(r.out.bytes, expect->text, expect->n) == 0),
                      "%s\nis\n%.*s\nexpected\n%s", source->text, (int)r.out.n,
                      r.out.bytes ? r.out.bytes : "", expect->text);
        }
        done(&r);
    }
    cr_assert(n_errors > 100);
    free(text);
    lk_region_free(&region);
}

/* ---- who wrote what ---- */

enum { STRANGE = 0xE000 }; /* characters of private use: no template writes them */

/* Strings of the variables become characters that no template has. Keys stay: templates name them.
 */
static struct lk_value estrange(struct lk_region *region, const struct lk_value *v)
{
    struct lk_value out = *v;
    if (v->type == LK_VALUE_STRING) {
        char *text = lk_region_alloc(region, (size_t)v->n * 3 + 1);
        out.n = 0;
        for (uint32_t i = 0; i < v->n; i++) {
            out.n += (uint32_t)lk_char_put(STRANGE + (unsigned char)v->text[i] % 16, text + out.n);
        }
        out.text = text;
    } else if (v->type == LK_VALUE_LIST) {
        struct lk_value *items = lk_region_array(region, v->n, sizeof *items);
        for (uint32_t i = 0; i < v->n; i++) {
            items[i] = estrange(region, &v->item[i]);
        }
        out.item = items;
    } else if (v->type == LK_VALUE_DICT) {
        struct lk_member *m = lk_region_array(region, v->n, sizeof *m);
        for (uint32_t i = 0; i < v->n; i++) {
            m[i] = (struct lk_member){v->member[i].key, estrange(region, &v->member[i].value)};
        }
        out.member = m;
    }
    return out;
}

/* The property that all rests on: a byte of data is never trusted, whatever was done with it. */
Test(template, no_byte_of_data_is_trusted)
{
    struct lk_region region = {0};
    size_t n, seen = 0;
    char *text = read_file(LK_TEST_DIR "/golden/templates.json", &n);
    struct lk_value cases = read_json(&region, text, n);
    struct lk_value variables = estrange(&region, &cases.item[0]);
    for (uint32_t i = 1; i < cases.n; i++) {
        const struct lk_value *source = &cases.item[i].item[0];
        struct rendered r = render_with(source->text, source->n, &variables);
        for (size_t at = 0; r.status == LK_OK && at < r.out.n;) {
            int32_t cp;
            size_t step = lk_char_next(r.out.bytes + at, r.out.n - at, &cp);
            if (cp >= STRANGE && cp < STRANGE + 16) {
                unsigned flags = r.out.marks ? r.out.marks[at] : r.out.flags;
                cr_assert_eq(flags, 0, "%s: byte %zu of %.*s", source->text, at, (int)r.out.n,
                             r.out.bytes);
                seen++;
            }
            at += step;
        }
        done(&r);
    }
    cr_assert(seen > 1000, "only %zu characters of data were seen", seen);
    free(text);
    lk_region_free(&region);
}

Test(template, marks_go_through_every_operation)
{
    static const struct {
        const char *source, *expect;
    } cases[] = {
        {"a{{ d }}b", "{a}data{b}"},
        {"{{ '<' ~ d ~ '>' }}", "{<}data{>}"},
        {"{{ '<' + d + '>' }}", "{<}data{>}"},
        {"{{ ('<' ~ d ~ '>')[2:7] }}", "ata{>}"},
        {"{{ ('<' ~ d ~ '>')[::-1] }}", "{>}atad{<}"},
        {"{{ ('<' ~ d ~ '>')|upper }}{{ ('A' ~ d)|lower }}", "{<}DATA{>a}data"},
        {"{{ (' ' ~ d ~ ' x ')|trim }}", "data{ x}"},
        {"{{ ('<' ~ d ~ '>')|replace('a', 'A') }}", "{<}d{A}t{A>}"},
        {"{{ 'xay'|replace('a', d) }}", "{x}data{y}"},
        {"{{ [d, 'x', d]|join('-') }}", "data{-x-}data"},
        {"{{ (d ~ ',x')|split if false }}{% for p in (d ~ ',x').split(',') %}{{ p }};{% endfor %}",
         "data{;x;}"},
        {"{{ d * 2 ~ 'x' }}{{ ('x' ~ d) * 2 }}", "datadata{xx}data{x}data"},
        {"{{ '%s|%5s|%d' % (d, 'x', i) }}", "data{|    x|}7"},
        {"{{ '{}|{:>6}'.format(d, d) }}", "data{|  }data"},
        {"{{ [d, 'x'] }}{{ {'k': d} }}", "{[}'data'{, 'x']{'k': }'data'{}}"},
        {"{{ l }}", "['a', 1]"},
        {"{{ {'k': d, 'l': l}|tojson }}", "{{\"k\": }\"data\"{, \"l\": }[\"a\", 1]{}}"},
        {"{{ l|tojson }}{{ i }}{{ i + 1 }}{{ 1 + 1 }}{{ n }}{{ t }}", "[\"a\", 1]78{2}NoneTrue"},
        {"{{ d|length }}{{ 'x' if d else 'y' }}", "{4x}"},
        {"{% set x %}<{{ d }}>{% endset %}{{ x }}", "{<}data{>}"},
        {"{% macro m(a) %}<{{ a }}>{% endmacro %}{{ m(d) }}", "{<}data{>}"},
        {"{% filter upper %}<{{ d }}>{% endfilter %}", "{<}DATA{>}"},
        {"{% set n = namespace(s='') %}{% for c in d %}{% set n.s = n.s ~ '.' ~ c %}{% endfor %}"
         "{{ n.s }}",
         "{.}d{.}a{.}t{.}a"},
        {"{{ d|capitalize }}{{ d|title }}{{ d.swapcase() }}{{ ('x ' ~ d)|title }}",
         "DataDataDATA{X }Data"},
        {"{{ (d ~ '\\n' ~ d)|indent(2) }}", "data{\n  }data"},
        {"{{ d.center(8, '*') }}{{ 'x'.ljust(3, '-') }}", "{**}data{**x--}"},
        {"{{ (d ~ '<')|e }}{{ '<'|e }}", "data{&lt;&lt;}"},
        {"{{ d|first }}{{ d|last }}{{ d|list|join('.') }}", "dad{.}a{.}t{.}a"},
        {"{{ (d ~ '\\'')|string }}{{ [d ~ '\\''] }}", "data{'[}\"data{'}\"{]}"},
        {"{{ d|default('x') }}{{ u|default('x') }}", "data{x}"},
        {"{{ k.keys()|join }}{{ k|dictsort }}", "a{[(}'a'{, }1{)]}"},
        {"{{ s|int }}{{ s|float }}{{ '4'|int }}", "4242.0{4}"},
        {"{{ ('a\\tb' ~ d).expandtabs(4) }}", "{a   b}data"},
        {"{{ (d ~ 'long text')|truncate(6, true, '!') }}", "data{l!}"},
        {"{{ ('<%s>'|safe) % d }}", "{<}data{>}"},
        {"{{ d|batch(2)|map('join')|join('|') }}", "da{|}ta"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct rendered r =
            render(cases[i].source,
                   "{\"d\": \"data\", \"i\": 7, \"l\": [\"a\", 1], \"n\": null, \"t\": "
                   "true, \"k\": {\"a\": 1}, \"s\": \"42\"}");
        cr_expect_eq(r.status, LK_OK, "%s: %s", cases[i].source, r.err.message);
        cr_expect_str_eq(marked(&r.out), cases[i].expect, "%s\nis\n%s\nexpected\n%s",
                         cases[i].source, marked(&r.out), cases[i].expect);
        done(&r);
    }
}

/* ---- errors ---- */

static void expect_error(const char *source, const char *says)
{
    struct rendered r =
        render(source, "{\"l\": [1], \"d\": {\"a\": \"b\"}, \"bad\": \"\\u001b[31m\\u009b\"}");
    cr_expect_neq(r.status, LK_OK, "%s", source);
    cr_expect_eq(r.status, r.err.status);
    cr_expect_str_eq(r.err.message, says);
    done(&r);
}

Test(template, errors_say_line_and_column)
{
    expect_error("a\n  {{ x.y }}", "chat template 2:7: 'x' is undefined");
    expect_error("\xC3\xA9 {{ d.b.c }}",
                 "chat template 1:9: a value of type dict has nothing called 'b'");
    expect_error("{% if l %}\n{{ 1 + 'a' }}{% endif %}",
                 "chat template 2:6: '+' does not work on values of types int and str");
    expect_error("{% for x in 5 %}{% endfor %}",
                 "chat template 1:13: found a value of type int, expected one to go through");
    expect_error("{{ raise_exception('no ' ~ bad) }}", "chat template 1:19: no ?[31m??");
    expect_error("{{ l|nope }}", "chat template 1:6: no filter has the name 'nope'");
    expect_error("{% macro m() %}\n {{ y() }}{% endmacro %}{{ m() }}",
                 "chat template 2:6: 'y' is undefined");
    expect_error("{% if x %}",
                 "chat template 1:11: found the end of the template, expected elif else endif");
    expect_error("{% wrong %}", "chat template 1:4: found 'wrong', expected a tag that is known");
    expect_error("{{ 'a }}", "chat template 1:4: a string that does not end");
    expect_error("{{ (1] }}", "chat template 1:6: found ']', expected ')'");
    expect_error("{{ 1 ! 2 }}", "chat template 1:6: found '!', which begins nothing");
    expect_error("\r\n\r{{ ) }}", "chat template 3:4: found ')', which closes nothing");
    expect_error("{{ 1 if }}", "chat template 1:9: found }}, expected an expression");
    expect_error(
        "{% set x.y = 1 %}",
        "chat template 1:8: found a value of type undefined, expected a namespace to set 'y' of");
    expect_error("{{ 9223372036854775807 + 1 }}",
                 "chat template 1:24: the result of '+' is a whole number of more than 64 bits");
    expect_error("\xFF", "chat template 1:1: found byte 0xff, expected UTF-8");
}

Test(template, limits_hold)
{
    static const struct {
        const char *source, *says;
    } cases[] = {
        {"{% for i in range(99999) %}{% for k in range(99999) %}{% endfor %}{% endfor %}",
         "it takes more than 10000000 steps"},
        {"{% set n = namespace(s='ab') %}{% for i in range(99) %}{% set n.s = n.s ~ n.s %}{% "
         "endfor %}",
         "it needs more than 64 MiB of memory"},
        {"{% for i in range(99999) %}{{ 'abcd' * 1000 }}{% endfor %}", "more than 16 MiB of text"},
        {"{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
         "more than 200 calls inside of each other"},
        {"{{ range(100001)|length }}", "range: 100001 items, expected at most 100000"},
    };
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        struct rendered r = render(cases[i].source, "{}");
        cr_expect_eq(r.status, LK_E_INVALID);
        cr_expect(strstr(r.err.message, cases[i].says), "%s: %s", cases[i].source, r.err.message);
        cr_expect_null(r.out.account);
        done(&r);
    }
    /* What is thrown away is given back: twice the memory that there is. */
    struct rendered r =
        render("{% for i in range(4000) %}{% set x = ('data' ~ i) * 5000 %}{% endfor %}"
               "{{ x is defined }}",
               "{}");
    cr_expect_eq(r.status, LK_OK, "%s", r.err.message);
    cr_expect_str_eq(marked(&r.out), "{False}");
    done(&r);
}

/* A compiled template is read alone: it renders the same again. */
Test(template, renders_again)
{
    struct lk_region region = {0};
    struct lk_value v = read_json(&region, "{\"x\": [1, 2]}", 13);
    struct lk_tpl *t;
    lk_error err;
    static const char source[] =
        "{% set n = namespace(a=0) %}{% for i in x %}{% set n.a = n.a + i %}"
        "{{ n.a }}{% endfor %}";
    cr_assert_eq(lk_tpl_compile(source, sizeof source - 1, &t, &err), LK_OK, "%s", err.message);
    for (int i = 0; i < 3; i++) {
        struct lk_text_buffer out = {0};
        cr_assert_eq(lk_tpl_render(t, &v, &WHEN, &out, &err), LK_OK);
        cr_expect_str_eq(marked(&out), "13", "%s", marked(&out));
        lk_text_free(&out);
    }
    lk_tpl_free(&t);
    lk_tpl_free(&t);
    lk_region_free(&region);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * JSON Schemas as grammars: each keyword by texts that fit and texts that do not, the white space,
 * and what is refused with its place. Whole suites are schema_suite.py's and schema_diff.py's.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/util/constraint_build.h"

static const struct {
    const char *schema, *fits[8], *not [8];
} FITS[] = {
    /* types */
    {"true",
     {"1", "\"a\"", "null", "{\"a\": [1, {}]}", "[[]]", "-1.5e10"},
     {"", "[1,2]", "{a: 1}", " 1"}},
    {"{}", {"1", "false"}, {"nul"}},
    {"{\"type\": \"null\"}", {"null"}, {"0"}},
    {"{\"type\": \"boolean\"}", {"true", "false"}, {"1"}},
    {"{\"type\": [\"integer\", \"string\"]}", {"1", "\"\""}, {"1.5", "null"}},
    {"{\"type\": \"integer\"}", {"0", "-0", "12", "-120"}, {"01", "1.0", "1e2", "+1", "-"}},
    {"{\"type\": \"number\"}", {"0.5", "-1e-10", "1E+999"}, {".5", "1.", "1e1000", "01"}},
    /* strings */
    {"{\"type\": \"string\"}",
     {"\"\"", "\"a\\n\\\"\\\\\"", "\"\\u00e9\\ud83d\\ude00\"", "\"\xc3\xa9\""},
     {"\"", "\"\n\"", "\"\\x\"", "\"\\ud83d\"", "\"\\ude00\"", "\"\xff\"", "\"\x7f\""}},
    {"{\"minLength\": 1, \"maxLength\": 2, \"type\": \"string\"}",
     {"\"a\"", "\"\xc3\xa9\xf0\x9f\x98\x80\"", "\"\\ud83d\\ude00\\n\""},
     {"\"\"", "\"abc\"", "\"\\u0061bc\""}},
    {"{\"pattern\": \"b+$\", \"type\": \"string\"}", {"\"abb\"", "\"b\""}, {"\"ba\"", "\"\""}},
    {"{\"pattern\": \"^.\\\"\\n$\", \"type\": \"string\"}",
     {"\"a\\\"\\n\"", "\"x\\\"\\u000a\""},
     {"\"ab\\n\""}},
    {"{\"format\": \"date\", \"type\": \"string\"}",
     {"\"2024-02-29\"", "\"2000-02-29\""},
     {"\"2023-02-29\"", "\"1900-02-29\"", "\"2024-13-01\"", "\"24-01-01\""}},
    {"{\"format\": \"time\", \"type\": \"string\"}",
     {"\"12:11:20.123456789-00:00\"", "\"23:59:60.5Z\""},
     {"\"12:11:20.1234567890Z\"", "\"12:11:20.Z\""}},
    {"{\"format\": \"ipv6\", \"type\": \"string\"}",
     {"\"::1\"", "\"1::8\"", "\"::ffff:1.2.3.4\""},
     {"\":::\"", "\"1:2\""}},
    {"{\"format\": \"uuid\"}", {"\"123e4567-e89b-12d3-a456-426614174000\"", "5"}, {"\"123e4567\""}},
    /* numbers */
    {"{\"type\": \"integer\", \"minimum\": -3, \"exclusiveMaximum\": 12}",
     {"-3", "0", "11", "9"},
     {"-4", "12", "100", "-10"}},
    {"{\"type\": \"integer\", \"minimum\": 98765432109876543210}",
     {"98765432109876543210", "100000000000000000000"},
     {"98765432109876543209", "9"}},
    {"{\"type\": \"number\", \"exclusiveMinimum\": 0.25, \"maximum\": 1.5}",
     {"0.26", "0.2500001", "1", "1.50", "1.0"},
     {"0.25", "0.250", "1.51", "0", "2", "-1"}},
    {"{\"type\": \"number\", \"maximum\": -1e-2}", {"-0.01", "-0.5", "-12"}, {"-0.009", "0", "1"}},
    {"{\"type\": \"integer\", \"multipleOf\": 6, \"minimum\": 0, \"maximum\": 20}",
     {"0", "6", "12", "18"},
     {"3", "24", "1"}},
    {"{\"type\": \"number\", \"multipleOf\": 0.25}",
     {"0.5", "1.75", "-3", "2.0"},
     {"0.3", "1.125"}},
    {"{\"type\": \"integer\", \"format\": \"int32\"}", {"2147483647"}, {"2147483648"}},
    /* objects */
    {"{\"properties\": {\"a\": {\"type\": \"null\"}, \"b\": {\"type\": \"null\"}}, \"required\": "
     "[\"b\"], \"type\": \"object\"}",
     {"{\"b\": null}", "{\"a\": null, \"b\": null}", "{\"b\": null, \"x\": [1]}"},
     {"{}", "{\"a\": null}", "{\"b\": null, \"a\": null}", "{\"b\":null}",
      "{\"b\": null,\"x\": 1}"}},
    {"{\"properties\": {\"a\": true}, \"additionalProperties\": false, \"type\": \"object\"}",
     {"{}", "{\"a\": 1}"},
     {"{\"b\": 1}", "{\"\\u0061\": 1}"}},
    /* A name that is listed is not one of the others, however it is spelled. */
    {"{\"properties\": {\"a\": {\"type\": \"null\"}}, \"type\": \"object\"}",
     {"{\"a\": null}", "{\"b\": 1}", "{\"\\u0062\": 1}"},
     {"{\"a\": 1}", "{\"\\u0061\": 1}"}},
    {"{\"patternProperties\": {\"^x\": {\"type\": \"null\"}, \"y$\": {\"enum\": [null, 1]}}, "
     "\"additionalProperties\": {\"type\": \"string\"}, \"type\": \"object\"}",
     {"{\"x1\": null}", "{\"y\": 1}", "{\"xy\": null}", "{\"a\": \"\"}"},
     {"{\"x\": 1}", "{\"xy\": 1}", "{\"a\": 1}"}},
    {"{\"required\": [\"z\"], \"additionalProperties\": {\"type\": \"null\"}, \"type\": "
     "\"object\"}",
     {"{\"z\": null}", "{\"z\": null, \"a\": null}"},
     {"{}", "{\"a\": null, \"z\": null}"}},
    {"{\"propertyNames\": {\"maxLength\": 1}, \"type\": \"object\"}",
     {"{\"a\": 1}", "{}"},
     {"{\"ab\": 1}"}},
    {"{\"properties\": {\"a\": true, \"b\": true, \"c\": true}, \"additionalProperties\": false, "
     "\"minProperties\": 1, \"maxProperties\": 2, \"type\": \"object\"}",
     {"{\"a\": 1}", "{\"a\": 1, \"c\": 1}", "{\"b\": 1}"},
     {"{}", "{\"a\": 1, \"b\": 1, \"c\": 1}"}},
    /* arrays */
    {"{\"items\": {\"type\": \"null\"}, \"minItems\": 1, \"maxItems\": 2, \"type\": \"array\"}",
     {"[null]", "[null, null]"},
     {"[]", "[null, null, null]", "[1]"}},
    {"{\"prefixItems\": [{\"type\": \"null\"}, {\"type\": \"integer\"}], \"items\": false, "
     "\"type\": \"array\"}",
     {"[]", "[null]", "[null, 1]"},
     {"[1]", "[null, 1, 1]"}},
    {"{\"$schema\": \"http://json-schema.org/draft-07/schema#\", \"items\": [{\"type\": "
     "\"null\"}], \"additionalItems\": {\"type\": \"integer\"}, \"type\": \"array\"}",
     {"[null, 1]"},
     {"[1]", "[null, null]"}},
    {"{\"uniqueItems\": true, \"maxItems\": 1, \"type\": \"array\"}", {"[]", "[1]"}, {"[1, 2]"}},
    /* values */
    {"{\"const\": {\"a\": [1, \"x\"], \"b\": null}}",
     {"{\"a\": [1, \"x\"], \"b\": null}"},
     {"{}", "{\"a\":[1,\"x\"],\"b\":null}"}},
    {"{\"enum\": [1, 1.0, \"a\", \"ab\", [], {}, true]}",
     {"1", "1.0", "\"a\"", "\"ab\"", "[]", "{}", "true"},
     {"\"b\"", "false", "2"}},
    {"{\"enum\": [1, 2, 3, \"a\", \"abc\"], \"minimum\": 2, \"minLength\": 2}",
     {"2", "3", "\"abc\""},
     {"1", "\"a\""}},
    /* combinations */
    {"{\"allOf\": [{\"required\": [\"a\"], \"properties\": {\"a\": {\"type\": \"integer\"}}}, "
     "{\"properties\": {\"a\": {\"minimum\": 5}}, \"type\": \"object\"}]}",
     {"{\"a\": 5}"},
     {"{\"a\": 4}", "{}", "{\"a\": \"x\"}"}},
    {"{\"anyOf\": [{\"type\": \"null\"}, {\"minimum\": 5, \"type\": \"integer\"}], \"maximum\": 7}",
     {"null", "5", "7"},
     {"4", "8"}},
    {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"string\"}]}", {"1", "\"\""}, {"null"}},
    {"{\"oneOf\": [{\"type\": \"integer\"}, {\"type\": \"number\", \"minimum\": 2}]}",
     {"1", "2.5"},
     {"2", "3", "1.5"}},
    {"{\"not\": {\"type\": [\"object\", \"array\", \"string\"]}}", {"1", "null"}, {"{}", "\"\""}},
    {"{\"type\": \"string\", \"not\": {\"enum\": [\"a\", \"b\\n\"]}}",
     {"\"c\"", "\"b\""},
     {"\"a\"", "\"\\u0061\"", "\"b\\u000A\""}},
    {"{\"if\": {\"type\": \"integer\"}, \"then\": {\"minimum\": 3}, \"else\": {\"type\": "
     "\"null\"}}",
     {"3", "null"},
     {"2", "\"\""}},
    {"{\"$ref\": \"#/$defs/a~1b%22\", \"$defs\": {\"a/b\\\"\": {\"type\": \"null\"}}}",
     {"null"},
     {"1"}},
    {"{\"properties\": {\"l\": {\"$ref\": \"#\"}}, \"additionalProperties\": false, \"type\": "
     "\"object\"}",
     {"{}", "{\"l\": {\"l\": {}}}"},
     {"{\"l\": 1}"}},
    {"{\"$ref\": \"#x\", \"$defs\": {\"a\": {\"$anchor\": \"x\", \"type\": \"null\"}}}",
     {"null"},
     {"1"}},
    {"{\"$schema\": \"http://json-schema.org/draft-07/schema#\", \"$ref\": \"#/definitions/a\", "
     "\"type\": \"null\", \"definitions\": {\"a\": {\"type\": \"integer\"}}}",
     {"1"},
     {"null"}},
    {"{\"x-anything\": 1, \"title\": \"t\", \"default\": 3, \"type\": \"null\"}", {"null"}, {"3"}},
};

static void check_fits(struct cb_test *x, const char *schema, const char *const *fits,
                       const char *const * not )
{
    for (size_t k = 0; k < 8 && fits[k]; k++) {
        cr_expect(cb_fits(x, fits[k], strlen(fits[k])), "%s: %s", schema, fits[k]);
    }
    for (size_t k = 0; k < 8 && not [k]; k++) {
        cr_expect(!cb_fits(x, not [k], strlen(not [k])), "%s: not %s", schema, not [k]);
    }
}

Test(schema, texts_that_fit)
{
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(FITS); i++) {
        cb_make(&x, lk_grammar_open_schema, FITS[i].schema, NULL, NULL, 0);
        check_fits(&x, FITS[i].schema, FITS[i].fits, FITS[i].not );
        cb_check_mask(&x, FITS[i].schema);
    }
    cb_done(&x);
}

Test(schema, white_space)
{
    static const char schema[] =
        "{\"properties\": {\"a\": {\"type\": \"array\"}, \"b\": {\"const\": [1, "
        "{\"c\": 2}]}}, \"required\": [\"a\"], \"type\": \"object\"}";
    static const struct {
        lk_json_space space;
        const char *fits[8], *not [8];
    } cases[] = {{LK_JSON_SPACED,
                  {"{\"a\": [1, 2], \"b\": [1, {\"c\": 2}]}"},
                  {"{\"a\":[]}", "{ \"a\": []}", "{\"a\": [1,2]}"}},
                 {LK_JSON_COMPACT,
                  {"{\"a\":[1,2],\"b\":[1,{\"c\":2}]}"},
                  {"{\"a\": []}", "{\"a\":[1, 2]}"}},
                 {LK_JSON_FLEXIBLE,
                  {"{\"a\":[]}", "{\n  \"a\" : [ 1\t,\r\n 2 ] ,\n  \"b\": [1,{ \"c\" :2 } ]\n}"},
                  {" {\"a\":[]}", "{\"a\":[]} ", "{\"a\":                                  []}"}}};
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(cases); i++) {
        lk_grammar_options o = lk_grammar_options_default();
        o.space = cases[i].space;
        cb_make(&x, lk_grammar_open_schema, schema, &o, NULL, 0);
        check_fits(&x, schema, cases[i].fits, cases[i].not );
    }
    cb_done(&x);
}

static const struct {
    const char *schema;
    lk_status status;
    const char *message;
} REFUSED[] = {
    {"{", LK_E_FORMAT, "schema: JSON: line 1 column 2"},
    {"3", LK_E_FORMAT, "schema: /: expected a schema: an object, true or false"},
    {"false", LK_E_FORMAT, "schema: no text fits it"},
    {"{\"properties\": {\"a\": {\"dependentSchemas\": {}}}}", LK_E_UNSUPPORTED,
     "schema: /properties/a/dependentSchemas: not supported"},
    {"{\"properties\": {\"a\": {\"maxlength\": 3}}}", LK_E_UNSUPPORTED,
     "schema: /properties/a/maxlength: no keyword that is known"},
    {"{\"items\": {\"contains\": {}}}", LK_E_UNSUPPORTED, "schema: /items/contains: not supported"},
    {"{\"anyOf\": [{}, {\"unevaluatedItems\": false}]}", LK_E_UNSUPPORTED,
     "schema: /anyOf/1/unevaluatedItems: not supported"},
    {"{\"uniqueItems\": true}", LK_E_UNSUPPORTED, "schema: /uniqueItems: not supported"},
    {"{\"type\": \"strin\"}", LK_E_FORMAT, "schema: /type: expected null, boolean, integer"},
    {"{\"type\": 3}", LK_E_FORMAT, "schema: /type: expected a type or a list of types"},
    {"{\"minLength\": -1}", LK_E_FORMAT, "schema: /minLength: expected a whole number, 0 or more"},
    {"{\"minimum\": \"1\"}", LK_E_FORMAT, "schema: /minimum: expected a number"},
    {"{\"exclusiveMinimum\": true}", LK_E_FORMAT, "schema: /exclusiveMinimum: expected a number"},
    {"{\"multipleOf\": 0}", LK_E_FORMAT, "schema: /multipleOf: expected a number above 0"},
    {"{\"pattern\": \"(\"}", LK_E_FORMAT, "schema: /pattern: byte 0: '(' without ')'"},
    {"{\"patternProperties\": {\"a~/b(\": {}}}", LK_E_FORMAT,
     "schema: /patternProperties/a~0~1b(: byte 4: '(' without ')'"},
    {"{\"properties\": {\"a\": {\"pattern\": \"\\\\bx\"}}}", LK_E_UNSUPPORTED,
     "schema: /properties/a/pattern: byte 1: \\b is not supported"},
    {"{\"format\": \"color\"}", LK_E_UNSUPPORTED,
     "schema: /format: format 'color' is not supported"},
    {"{\"required\": \"a\"}", LK_E_FORMAT, "schema: /required: expected a list of names"},
    {"{\"properties\": []}", LK_E_FORMAT, "schema: /properties: expected an object of schemas"},
    {"{\"properties\": {\"a\": 1}}", LK_E_FORMAT, "schema: /properties/a: expected a schema"},
    {"{\"allOf\": []}", LK_E_FORMAT, "schema: /allOf: expected a list of schemas"},
    {"{\"enum\": 1}", LK_E_FORMAT, "schema: /enum: expected a list of values"},
    {"{\"$ref\": \"#/$defs/x\"}", LK_E_FORMAT, "schema: /$ref: nothing is at '#/$defs/x'"},
    {"{\"$ref\": \"other.json\"}", LK_E_UNSUPPORTED,
     "schema: /$ref: 'other.json' is in another document"},
    {"{\"$ref\": \"#\"}", LK_E_UNSUPPORTED,
     "schema: /: the schema refers to itself without a value in between"},
    {"{\"allOf\": [{\"$ref\": \"#/$defs/a\"}], \"$defs\": {\"a\": {\"anyOf\": [{\"$ref\": "
     "\"#/$defs/a\"}]}}}",
     LK_E_UNSUPPORTED, "refers to itself"},
    {"{\"$schema\": \"http://json-schema.org/draft-04/schema#\"}", LK_E_UNSUPPORTED,
     "schema: /$schema: not known"},
    {"{\"type\": \"string\", \"minLength\": 3, \"maxLength\": 2}", LK_E_FORMAT, "no text fits it"},
    {"{\"type\": \"string\", \"pattern\": \"^a$\", \"minLength\": 2}", LK_E_FORMAT,
     "no text fits it"},
    {"{\"type\": \"integer\", \"minimum\": 1, \"maximum\": 6, \"multipleOf\": 7}", LK_E_FORMAT,
     "no text fits it"},
    {"{\"type\": \"object\", \"required\": [\"a\"], \"additionalProperties\": false}", LK_E_FORMAT,
     "no text fits it"},
    {"{\"oneOf\": [{\"items\": {\"type\": \"null\"}}, {\"maxItems\": 3}]}", LK_E_UNSUPPORTED,
     "schema: /oneOf/0/items: not supported inside of 'not'"},
    {"{\"enum\": [[1]], \"minItems\": 1}", LK_E_UNSUPPORTED,
     "listed arrays or objects together with keywords"},
    {"{\"minProperties\": 2, \"type\": \"object\"}", LK_E_UNSUPPORTED,
     "schema: /minProperties: not supported for properties that are not listed"},
};

Test(schema, what_is_refused_and_where)
{
    for (size_t i = 0; i < LK_COUNT(REFUSED); i++) {
        lk_grammar *g;
        lk_error err;
        const char *text = REFUSED[i].schema;
        lk_status status = lk_grammar_open_schema(text, strlen(text), NULL, &g, &err);
        cr_expect_eq(status, REFUSED[i].status, "%s: %d", text, (int)status);
        cr_expect(strstr(err.message, REFUSED[i].message), "%s: '%s', expected '%s'", text,
                  err.message, REFUSED[i].message);
    }
}

/* Counters are numbers, and what is long stays as long as it is. */
Test(schema, large_limits_cost_nothing)
{
    static const char *const schemas[] = {
        "{\"type\": \"string\", \"maxLength\": 100000}",
        "{\"type\": \"array\", \"items\": {\"type\": \"string\", \"minLength\": 5000}, "
        "\"maxItems\": 100000}",
        "{\"type\": \"string\", \"pattern\": \"^[a-z]*$\", \"maxLength\": 100000}",
        "{\"type\": \"object\", \"additionalProperties\": {\"type\": \"integer\"}, "
        "\"maxProperties\": 100000}"};
    struct cb_test x;
    cb_vocabulary(&x);
    for (size_t i = 0; i < LK_COUNT(schemas); i++) {
        cb_make(&x, lk_grammar_open_schema, schemas[i], NULL, NULL, 0);
        cr_assert_lt(x.g->x.n, 2000, "%s: %zu expressions", schemas[i], x.g->x.n);
        cb_check_mask(&x, schemas[i]);
    }
    cb_make(&x, lk_grammar_open_schema, schemas[0], NULL, NULL, 0);
    char *text = malloc(100003);
    memset(text, 'a', 100003);
    text[0] = text[100001] = '"';
    cr_assert(cb_fits(&x, text, 100002));
    text[100001] = 'a';
    text[100002] = '"';
    cr_assert(!cb_fits(&x, text, 100003));
    free(text);
    cb_done(&x);
}

/* Schemas that would grow without end are refused in time. */
Test(schema, explosions_are_refused)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "{\"allOf\": [");
    for (int i = 0; i < 20; i++) {
        n += (size_t)
            snprintf(text + n, sizeof text - n,
                     "%s{\"anyOf\": [{\"minimum\": %d}, {\"maxLength\": %d}, {\"maxItems\": %d}]}",
                     i ? ", " : "", i, i, i);
    }
    snprintf(text + n, sizeof text - n, "]}");
    lk_grammar *g;
    lk_error err;
    cr_assert_eq(lk_grammar_open_schema(text, strlen(text), NULL, &g, &err), LK_E_UNSUPPORTED);
    cr_assert(strstr(err.message, "combinations"), "%s", err.message);
}

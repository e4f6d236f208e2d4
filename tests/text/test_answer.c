/* SPDX-License-Identifier: Apache-2.0
 *
 * Answers taken apart: what models of each family write, in every pair of pieces and byte by byte.
 */
#include <criterion/criterion.h>

#include "base/base.h"
#include "tests/util/answer_show.h"

#define TOOLS                                                                                      \
    "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": " \
    "{\"type\": \"object\", \"properties\": {\"city\": {\"type\": \"string\"}, \"days\": "         \
    "{\"type\": \"integer\"}, \"hours\": {\"type\": \"array\"}, \"any\": {}, \"fine\": "           \
    "{\"type\": "                                                                                  \
    "[\"boolean\", \"null\"]}}}}}, {\"type\": \"function\", \"function\": {\"name\": \"now\"}}, "  \
    "{\"type\": \"function\", \"function\": {\"name\": \"python\"}}]}"

struct sample {
    const char *format, *text, *expected;
    bool whole; /* calls have to be whole */
};

static lk_answer *open_answer(const struct sample *s, const char *request)
{
    lk_answer_format *f;
    lk_answer *a;
    lk_error err = {0};
    lk_answer_options o = lk_answer_options_default();
    o.request = request;
    o.request_len = request ? strlen(request) : 0;
    o.whole_calls = s->whole;
    cr_assert_eq(lk_answer_format_open(NULL, s->format, &f, &err), LK_OK, "%s", err.message);
    cr_assert_eq(lk_answer_open(f, &o, &a, &err), LK_OK, "%s", err.message);
    lk_answer_format_close(&f);
    return a;
}

static void put(lk_answer *a, struct answer_show *show, const char *text, size_t n)
{
    lk_error err = {0};
    cr_assert_eq(lk_answer_put(a, text, n, &err), LK_OK, "%s", err.message);
    answer_show_parts(show, a);
}

/* The answer read in pieces of `first` bytes, and then of `each`. */
static void check(const struct sample *s, const char *request, size_t first, size_t each)
{
    struct answer_show show = {0};
    size_t n = strlen(s->text);
    lk_answer *a = open_answer(s, request);
    first = first < n ? first : n;
    put(a, &show, s->text, first);
    for (size_t at = first; at < n; at += each) {
        put(a, &show, s->text + at, each < n - at ? each : n - at);
    }
    cr_assert_eq(lk_answer_end(a, NULL), LK_OK);
    answer_show_parts(&show, a);
    answer_show_end(&show);
    cr_assert_str_eq(show.text ? show.text : "", s->expected, "%s, %zu then %zu bytes: %s",
                     s->format, first, each, show.text);
    free(show.text);
    lk_answer_close(&a);
}

static void check_all(const struct sample *samples, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t len = strlen(samples[i].text);
        for (size_t first = 0; first <= len; first++) {
            check(&samples[i], TOOLS, first, len);
        }
        check(&samples[i], TOOLS, 1, 1);
        check(&samples[i], TOOLS, 2, 3);
    }
}

#define CITY(name) "{\"city\": \"" name "\"}"

Test(answer, objects_between_tags)
{
    static const struct sample samples[] = {
        {"hermes", "Rain comes.", "C(Rain comes.)", false},
        {"hermes", "a <tool_cal b <", "C(a <tool_cal b <)", false},
        {"hermes", "  two\n\n", "C(  two\n\n)", false},
        {"hermes", "", "", false},
        {"hermes",
         "<tool_call>\n{\"name\": \"weather\", \"arguments\": " CITY("Bern") "}\n"
                                                                             "</tool_call>",
         "0:weather" CITY("Bern"), false},
        {"hermes",
         "I look.\n\n<tool_call>\n{\"arguments\": " CITY(
             "Bern") ", \"name\": "
                     "\"weather\"}\n</tool_call>\n<tool_call>{\"name\":\"now\"}</tool_call>\nDone.",
         "C(I look.)0:weather" CITY("Bern") "1:now{}C(Done.)", false},
        {"hermes",
         "<tool_call>[{\"name\": \"now\", \"arguments\": {}}, {\"name\": \"now\", "
         "\"arguments\": {\"a\": [1, {\"b\": null}]}}]</tool_call>",
         "0:now{}1:now{\"a\": [1, {\"b\": null}]}", false},
        {"hermes",
         "<tool_call>{\"name\": \"weather\", \"arguments\": \"{\\\"city\\\": "
         "\\\"Bern\\\"}\"}</tool_call>",
         "0:weather" CITY("Bern"), false},
        {"hermes",
         "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"a\nb\"}}"
         "</tool_call>",
         "0:weather{\"city\": \"a\\nb\"}", false},
        /* not calls */
        {"hermes", "x <tool_call> none </tool_call>", "C(x <tool_call> none </tool_call>)", false},
        {"hermes", "<tool_call>{\"name\": 3}</tool_call>",
         "C(<tool_call>{\"name\": 3}</tool_call>)", false},
        {"hermes", "<tool_call></tool_call>", "C(<tool_call></tool_call>)", false},
        {"hermes", "<tool_call>{\"name\": \"now\", \"arguments\": [1]}",
         "C(<tool_call>{\"name\": \"now\", \"arguments\": [1]})", false},
        /* broken and cut off */
        {"hermes", "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": oops}}",
         "0:weather{\"city\": !C(oops}})", false},
        {"hermes", "<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": oops}}",
         "C(<tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": oops}})", true},
        {"hermes", "So: <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Be",
         "C(So:)0:weather{\"city\": \"Be!", false},
        {"hermes", "So: <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Be",
         "C(So: <tool_call>{\"name\": \"weather\", \"arguments\": {\"city\": \"Be)", true},
        {"hermes", "<tool_call>{\"name\": \"weather\", \"arguments\": " CITY("Bern") "}",
         "0:weather" CITY("Bern"), true},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, lists_of_objects)
{
    static const struct sample samples[] = {
        {"mistral-v3",
         "[TOOL_CALLS] [{\"name\": \"weather\", \"arguments\": " CITY(
             "Bern") ", \"id\": \"abcdefghi\"}, {\"name\": \"now\", \"arguments\": {}}]",
         "0:weather" CITY("Bern") "1:now{}", false},
        {"mistral", "[TOOL_CALLS]weather[ARGS]" CITY("Bern") "[TOOL_CALLS]now[ARGS]{}",
         "0:weather" CITY("Bern") "1:now{}", false},
        {"mistral", "Wait.[TOOL_CALLS]weather[CALL_ID]abcdefghi[ARGS]" CITY("Bern"),
         "C(Wait.)0:weather" CITY("Bern"), false},
        {"mistral", "[TOOL_CALLS]weather " CITY("Bern"), "0:weather" CITY("Bern"), false},
        {"mistral", "[TOOL_CALLS]weather(Bern)", "C([TOOL_CALLS]weather(Bern))", false},
        {"granite", "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]", "0:now{}", false},
        {"granite", "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}", "0:now{}", false},
        {"phi4-mini",
         "<|tool_call|>[{\"name\": \"weather\", \"arguments\": " CITY("Bern") "}]"
                                                                              "<|/tool_call|>",
         "0:weather" CITY("Bern"), false},
        {"nemotron", "<TOOLCALL>[{\"name\": \"now\", \"arguments\": {}}]</TOOLCALL> ok",
         "0:now{}C(ok)", false},
        {"command-r7b",
         "<|START_ACTION|>[\n    {\"tool_call_id\": \"0\", \"tool_name\": "
         "\"weather\", \"parameters\": " CITY("Bern") "}\n]<|END_ACTION|>",
         "0:weather" CITY("Bern"), false},
        {"command-r7b", "<|START_RESPONSE|>It rains.<|END_RESPONSE|>", "C(It rains.)", false},
        {"firefunction", "functools[{\"name\": \"now\", \"arguments\": {}}]", "0:now{}", false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, llama3)
{
    static const struct sample samples[] = {
        {"llama3", "{\"name\": \"weather\", \"parameters\": " CITY("Bern") "}",
         "0:weather" CITY("Bern"), false},
        {"llama3",
         "\n{\"type\": \"function\", \"name\": \"now\", \"parameters\": {}}; {\"name\": "
         "\"now\", \"parameters\": {}}",
         "0:now{}1:now{}", false},
        {"llama3", "{\"name\": \"nobody\", \"parameters\": {}}",
         "C({\"name\": \"nobody\", \"parameters\": {}})", false},
        {"llama3", "{\"city\": 1}", "C({\"city\": 1})", false},
        {"llama3", "{no}", "C({no})", false},
        {"llama3", "See {\"name\": \"now\", \"parameters\": {}}",
         "C(See {\"name\": \"now\", \"parameters\": {}})", false},
        {"llama3", "<|python_tag|>{\"name\": \"now\", \"parameters\": {}}", "0:now{}", false},
        {"llama3", "<|python_tag|>print(\"a\")\nx = 1",
         "0:python{\"code\": \"print(\\\"a\\\")\\nx = 1\"}", false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, names_and_arguments)
{
    static const struct sample samples[] = {
        {"deepseek-r1",
         "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n" CITY(
             "Bern") "\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n"
                     "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
         "0:weather" CITY("Bern") "1:now{}", false},
        {"deepseek-v3.1",
         "Yes.<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>" CITY(
             "Bern") "<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<"
                     "｜tool▁call▁end｜>"
                     "<｜tool▁calls▁end｜>",
         "C(Yes.)0:weather" CITY("Bern") "1:now{}", false},
        {"deepseek-v3.1", "<｜tool▁calls▁begin｜> no", "C(<｜tool▁calls▁begin｜> no)", false},
        {"kimi",
         "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
         "<|tool_call_argument_begin|>" CITY("Bern") "<|tool_call_end|>"
                                                     "<|tool_calls_section_end|>",
         "0:weather" CITY("Bern"), false},
        {"functionary", "<function=weather>" CITY("Bern") "</function><function=now>{}</function>",
         "0:weather" CITY("Bern") "1:now{}", false},
        {"functionary", "<function=weather>" CITY("Bern") "</function> Good.",
         "0:weather" CITY("Bern") "C(Good.)", false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, tags)
{
    static const struct sample samples[] = {
        {"qwen3-coder",
         "Let me look.\n\n<tool_call>\n<function=weather>\n<parameter=city>\nBern\n\"x\"\n"
         "</parameter>\n<parameter=days>\n3\n</parameter>\n<parameter=hours>\n[1,\n 2]\n"
         "</parameter>\n</function>\n</tool_call>",
         "C(Let me look.)0:weather{\"city\": \"Bern\\n\\\"x\\\"\", \"days\": 3, \"hours\": "
         "[1,  2]}",
         false},
        {"qwen3-coder",
         "<tool_call>\n<function=weather>\n<parameter=city>\n\n a <b> \n\n</parameter>\n"
         "<parameter=fine>\nTrue\n</parameter>\n<parameter=any>\n12\n</parameter>\n</function>\n"
         "<function=now>\n</function>\n</tool_call>\n<tool_call>\n<function=now>\n</function>\n"
         "</tool_call>",
         "0:weather{\"city\": \"\\n a <b> \\n\", \"fine\": true, \"any\": 12}1:now{}2:now{}",
         false},
        {"qwen3-coder",
         "<tool_call>\n<function=weather>\n<parameter=days>\nmany\n</parameter>\n"
         "</function>\n</tool_call>",
         "0:weather{\"days\": \"many\"}", false},
        {"qwen3-coder", "<tool_call>\n<function=weather>\n<parameter=city>\nBern\n</para",
         "0:weather{\"city\": \"Bern\\n</para!", false},
        {"qwen3-coder", "<tool_call>\n<function=weather>\n<parameter=days>\n12",
         "0:weather{\"days\": 12!", false},
        {"qwen3-coder", "<tool_call>\n<function=weather>\nBern\n</function>",
         "0:weather{!C(Bern\n</function>)", false},
        {"qwen3-coder", "<tool_call>\n<function=weather>\nBern\n</function>",
         "C(<tool_call>\n<function=weather>\nBern\n</function>)", true},
        {"glm",
         "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Bern</arg_value>\n"
         "<arg_key>days</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n"
         "<tool_call>now\n</tool_call>",
         "0:weather"
         "{\"city\": \"Bern\", \"days\": 3}1:now{}",
         false},
        {"glm",
         "<tool_call>weather<arg_key>city</arg_key><arg_value> \"B\" </arg_value>"
         "</tool_call>",
         "0:weather{\"city\": \" \\\"B\\\" \"}", false},
        {"minicpm5",
         "<function name=\"weather\"><param name=\"city\">Bern</param><param name=\"days\">3"
         "</param></function><function name=\"now\"></function>",
         "0:weather{\"city\": \"Bern\", \"days\": 3}1:now{}", false},
        {"seed",
         "<seed:tool_call>\n<function=weather>\n<parameter=city>Bern</parameter>\n"
         "</function>\n</seed:tool_call>",
         "0:weather" CITY("Bern"), false},
        {"minimax",
         "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">Bern"
         "</parameter>\n</invoke>\n<invoke name=\"now\">\n</invoke>\n"
         "</minimax:tool_call>",
         "0:weather" CITY("Bern") "1:now{}", false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, literals)
{
    static const struct sample samples[] = {
        {"gemma4",
         "<|tool_call>call:weather{city:<|\"|>Bern \"x\" {}<|\"|>,days:-3.5,fine:true,"
         "hours:[1,<|\"|>a<|\"|>],any:{k:null}}<tool_call|>",
         "0:weather{\"city\": \"Bern \\\"x\\\" {}\",\"days\": -3.5,\"fine\": true,\"hours\": [1,"
         "\"a\"],\"any\": {\"k\": null}}",
         false},
        {"gemma4", "<|tool_call>call:now{}<tool_call|><|tool_call>call:now{}<tool_call|>",
         "0:now{}1:now{}", false},
        {"gemma4", "<|tool_call>call:now{a}", "0:now{!C(a})", false},
        {"gemma4", "<|tool_call>call:now{a}", "C(<|tool_call>call:now{a})", true},
        {"functiongemma",
         "<start_function_call>call:weather{city:<escape>Bern<escape>}"
         "<end_function_call>",
         "0:weather" CITY("Bern"), false},
        {"lfm2",
         "<|tool_call_start|>[weather(city=\"Bern\", days=3, hours=[1, {'a': None}], "
         "fine=True), now()]<|tool_call_end|>Looking.",
         "0:weather{\"city\": \"Bern\", \"days\": 3, \"hours\": [1, {\"a\": null}], \"fine\": "
         "true}1:now{}C(Looking.)",
         false},
        {"lfm2", "<|tool_call_start|>[weather(city='it\\'s \"\\d\\n\\u00e9')]<|tool_call_end|>",
         "0:weather{\"city\": \"it's \\\"\\\\d\\n\\u00e9\"}", false},
        {"lfm2", "<|tool_call_start|>[weather(3)]", "0:weather{!C(3)])", false},
        {"gemma3", "```tool_code\nweather(city=\"Bern\")\n```", "0:weather" CITY("Bern"), false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, messages)
{
    static const struct sample samples[] = {
        {"harmony",
         "<|channel|>analysis<|message|>Hm, so.<|end|><|start|>assistant<|channel|>final"
         "<|message|>It rains.",
         "R(Hm, so.)C(It rains.)", false},
        {"harmony",
         "<|channel|>analysis<|message|>Look.<|end|><|start|>assistant<|channel|>commentary "
         "to=functions.weather <|constrain|>json<|message|>" CITY("Bern"),
         "R(Look.)0:weather" CITY("Bern"), false},
        {"harmony",
         "<|channel|>commentary<|message|>I look.<|end|><|start|>assistant to=functions.now"
         "<|channel|>commentary json<|message|>{}<|call|>",
         "C(I look.)0:now{}", false},
        {"harmony", " to=functions.now<|channel|>commentary<|message|> {} <|call|>", "0:now{}",
         false},
        {"harmony", "<|channel|>final<|message|>a < b <|x|> c", "C(a < b <|x|> c)", false},
        {"harmony", "Hello, you.", "C(Hello, you.)", false},
        {"harmony", "Hello", "C(Hello)", false},
        {"harmony", "<|channel|>no, head<|message|>x", "C(<|channel|>no, head<|message|>x)", false},
        {"harmony", "<|channel|>commentary to=functions.now<|message|>none<|call|>",
         "0:now!C(none)", false},
    };
    check_all(samples, LK_COUNT(samples));
}

Test(answer, without_tools_all_is_content)
{
    static const struct sample calls = {
        "hermes", "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>",
        "C(<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>)", false};
    check(&calls, NULL, 3, 1);
    check(&calls, "{\"tools\": [], \"tool_choice\": \"auto\"}", 3, 1);
    check(&calls,
          "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"now\"}}], "
          "\"tool_choice\": \"none\"}",
          3, 1);
}

Test(answer, parts_wait_until_they_are_read)
{
    static const struct sample s = {
        "hermes",
        "One.\n<tool_call>{\"name\": \"now\", \"arguments\": {\"a\": 1}}</tool_call>\nTwo.", "",
        true};
    struct answer_show show = {0};
    lk_answer_event ev;
    lk_error err;
    lk_answer *a = open_answer(&s, TOOLS);
    for (size_t i = 0; i < strlen(s.text); i++) {
        cr_assert_eq(lk_answer_put(a, s.text + i, 1, &err), LK_OK);
    }
    cr_assert_eq(lk_answer_put(a, "", 0, &err), LK_OK);
    cr_assert(lk_answer_next(a, &ev) && ev.kind == LK_ANSWER_CONTENT && ev.len == 4);
    cr_assert_eq(lk_answer_end(a, &err), LK_OK);
    answer_show_parts(&show, a);
    answer_show_end(&show);
    cr_assert_str_eq(show.text, "0:now{\"a\": 1}C(Two.)");
    cr_assert(!lk_answer_next(a, &ev));
    cr_assert_eq(lk_answer_put(a, "x", 1, &err), LK_E_INVALID);
    cr_assert_eq(lk_answer_end(a, &err), LK_OK);
    free(show.text);
    lk_answer_close(&a);
    lk_answer_close(&a);
    lk_answer_close(NULL);
}

Test(answer, refuses_requests)
{
    static const struct {
        const char *request, *words;
    } bad[] = {
        {"[]", "expected an object"},
        {"{", "request"},
        {"{\"tools\": 1}", "tools: expected an array"},
        {"{\"tools\": [{\"type\": \"function\"}]}", "functions with a name"},
        {"{\"tools\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", "'a' is there twice"},
        {"{\"tools\": [{\"name\": \"a\", \"parameters\": 1}]}", "a JSON schema"},
        {"{\"tool_choice\": \"required\"}", "tool_choice"},
        {"{\"tools\": [{\"name\": \"a\"}], \"tool_choice\": {\"type\": \"function\", \"function\": "
         "{\"name\": \"b\"}}}",
         "one of the tools"},
        {"{\"tools\": [{\"name\": \"a\"}], \"parallel_tool_calls\": 1}", "true or false"},
        {"{\"response_format\": {\"type\": \"yaml\"}}", "\"json_schema\""},
        {"{\"response_format\": {\"type\": \"json_schema\"}}", "a schema"},
    };
    lk_answer_format *f;
    lk_error err = {0};
    cr_assert_eq(lk_answer_format_open(NULL, "none", &f, &err), LK_OK);
    for (size_t i = 0; i < LK_COUNT(bad); i++) {
        lk_answer_options o = lk_answer_options_default();
        lk_answer *a;
        o.request = bad[i].request;
        o.request_len = strlen(bad[i].request);
        cr_assert_eq(lk_answer_open(f, &o, &a, &err), LK_E_FORMAT, "%s", bad[i].request);
        cr_assert_null(a);
        cr_assert(strstr(err.message, bad[i].words), "%s", err.message);
    }
    lk_answer_format_close(&f);
    cr_assert_eq(lk_answer_format_open(NULL, "nothing", &f, &err), LK_E_INVALID);
    cr_assert_null(f);
}

Test(answer, ids_come_from_seed_and_index)
{
    static const struct sample two = {
        "hermes",
        "<tool_call>{\"name\": \"now\"}</tool_call><tool_call>{\"name\": \"now\", \"id\": "
        "\"mine\"}</tool_call><tool_call>{\"name\": \"now\"}</tool_call>",
        "", false};
    char ids[2][3][16] = {{""}};
    for (int run = 0; run < 2; run++) {
        lk_answer *a = open_answer(&two, TOOLS);
        lk_answer_event ev;
        cr_assert_eq(lk_answer_put(a, two.text, strlen(two.text), NULL), LK_OK);
        while (lk_answer_next(a, &ev)) {
            if (ev.kind == LK_ANSWER_CALL_BEGIN) {
                cr_assert_lt(strlen(ev.id), 16);
                strcpy(ids[run][ev.index], ev.id);
            }
        }
        cr_assert_eq(lk_answer_n_calls(a), 3);
        lk_answer_close(&a);
    }
    for (int i = 0; i < 3; i++) {
        cr_assert_str_eq(ids[0][i], ids[1][i]);
        cr_assert_eq(strlen(ids[0][i]), i == 1 ? 4 : 9);
    }
    cr_assert_str_neq(ids[0][0], ids[0][2]);
    cr_assert_str_eq(ids[0][1], "mine");
}

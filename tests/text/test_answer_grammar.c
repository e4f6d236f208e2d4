/* SPDX-License-Identifier: Apache-2.0
 *
 * Constraints of requests: what models of each family write fits, with marks that are control
 * tokens and with marks that are text; what breaks the request does not.
 */
#include <criterion/criterion.h>

#include "tests/util/answer_show.h"
#include "tests/util/constraint_build.h"

enum { MARKS, TEXT, VOCABULARIES };

static const struct tok_piece marks[] = {
    {"<|end|>", 3, 0},
    {"<|return|>", 3, 0},
    {"<|call|>", 3, 0},
    {"<|start|>", 3, 0},
    {"<|channel|>", 3, 0},
    {"<|message|>", 3, 0},
    {"<|constrain|>", 3, 0},
    {"<think>", 3, 0},
    {"</think>", 3, 0},
    {"<tool_call>", 3, 0},
    {"</tool_call>", 3, 0},
    {"[TOOL_CALLS]", 3, 0},
    {"[ARGS]", 3, 0},
    {"<|tool_call>", 3, 0},
    {"<tool_call|>", 3, 0},
    {"<|\"|>", 3, 0},
    {"<｜tool▁calls▁begin｜>", 3, 0},
    {"<｜tool▁call▁begin｜>", 3, 0},
    {"<｜tool▁sep｜>", 3, 0},
    {"<arg_key>", 3, 0},
    {"</arg_value>", 3, 0},
    {"<|tool_call_start|>", 3, 0},
    {"<eos>", 3, 0},
};

static void open_vocabulary(struct cb_test *x, int which)
{
    static const struct tok_piece end[] = {{"<eos>", 3, 0}};
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    b.piece = which == MARKS ? marks : end;
    b.n_pieces = which == MARKS ? LK_COUNT(marks) : 1;
    b.eos = 256 + (int)b.n_pieces - 1;
    *x = (struct cb_test){0};
    tok_make(&x->vocabulary, &b);
    x->tok = x->vocabulary.tok;
}

#define TOOL(name, parameters)                                                                     \
    "{\"type\": \"function\", \"function\": {\"name\": \"" name "\", \"parameters\": " parameters  \
    "}}"
#define OBJECT(properties)                                                                         \
    "{\"type\": \"object\", \"properties\": {" properties "}, \"required\": [\"city\"], "          \
    "\"additionalProperties\": false}"
#define WEATHER                                                                                    \
    TOOL("weather", OBJECT("\"city\": {\"type\": \"string\"}, \"days\": {\"type\": \"integer\"}, " \
                           "\"sky\": {\"enum\": [\"day\", \"night\"]}"))
#define TOOLS                                                                                      \
    "\"tools\": [" WEATHER ", " TOOL("now", "{\"type\": \"object\", \"properties\": {}, "          \
                                            "\"additionalProperties\": false}") "]"

/* A constraint of a request for a format without a template, or of a template. */
static void constrain(struct cb_test *x, const lk_answer_format *f, const char *request,
                      const lk_rendering *prompt)
{
    lk_answer_options o = lk_answer_options_default();
    lk_error err = {0};
    cb_drop(x);
    o.request = request;
    o.request_len = strlen(request);
    o.prompt = prompt;
    cr_assert_eq(lk_answer_constrain(f, x->tok, &o, &x->g, &x->c, &err), LK_OK, "%s: %s", request,
                 err.message);
    cr_assert(x->g && x->c);
}

/* Whether a whole answer fits. Leaves the constraint as it is. */
static bool fits(struct cb_test *x, const char *text)
{
    int32_t ids[1024];
    size_t n;
    lk_constraint *c;
    bool good = true;
    cr_assert_eq(lk_tokenize(x->tok, text, strlen(text), 0, ids, 1024, &n, NULL), LK_OK);
    cr_assert_eq(lk_constraint_fork(x->c, &c, NULL), LK_OK);
    for (size_t i = 0; i < n && good; i++) {
        good = lk_constraint_accept(c, ids[i], NULL) == LK_OK;
    }
    good = good && lk_constraint_accepts(c);
    lk_constraint_close(&c);
    return good;
}

/* The answer's parts, as text; calls that are not complete show. */
static void reads(const char *format, const char *request, const char *text, const char *expected)
{
    lk_answer_format *f;
    lk_answer *a;
    struct answer_show show = {0};
    lk_answer_options o = lk_answer_options_default();
    o.request = request;
    o.request_len = strlen(request);
    cr_assert_eq(lk_answer_format_open(NULL, format, &f, NULL), LK_OK);
    cr_assert_eq(lk_answer_open(f, &o, &a, NULL), LK_OK);
    cr_assert_eq(lk_answer_put(a, text, strlen(text), NULL), LK_OK);
    cr_assert_eq(lk_answer_end(a, NULL), LK_OK);
    answer_show_parts(&show, a);
    answer_show_end(&show);
    cr_assert_str_eq(show.text, expected, "%s: %s", format, show.text);
    free(show.text);
    lk_answer_close(&a);
    lk_answer_format_close(&f);
}

struct family {
    const char *format;
    const char *both;  /* a call of weather with a city and days, and one of now */
    const char *parts; /* what it is */
    const char *wrong[4];
};

static const struct family families[] = {
    {"hermes",
     "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": \"B\\n\", \"days\": 3}}\n"
     "</tool_call>\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
     "0:weather{\"city\": \"B\\n\", \"days\": 3}1:now{}",
     {"<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"days\": 3}}\n</tool_call>",
      "<tool_call>\n{\"name\": \"other\", \"arguments\": {}}\n</tool_call>",
      "<tool_call>\n{\"name\": \"now\", \"arguments\": {\"a\": 1}}\n</tool_call>",
      "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}"}},
    {"mistral-v3",
     "[TOOL_CALLS][{\"name\": \"weather\", \"arguments\": {\"city\": \"B\", \"days\": 3}}, "
     "{\"name\": \"now\", \"arguments\": {}}]",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"[TOOL_CALLS][]", "[TOOL_CALLS]{\"name\": \"now\", \"arguments\": {}}"}},
    {"mistral",
     "[TOOL_CALLS]weather[ARGS]{\"city\": \"B\", \"days\": 3}[TOOL_CALLS]now[ARGS]{}",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"[TOOL_CALLS]weather[ARGS]{}", "[TOOL_CALLS]nowhere[ARGS]{}"}},
    {"deepseek-v3.1",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>weather<｜tool▁sep｜>{\"city\": \"B\", \"days\": "
     "3}"
     "<｜tool▁call▁end｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
     "<｜tool▁calls▁end｜>",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"<｜tool▁calls▁begin｜><｜tool▁calls▁end｜>"}},
    {"deepseek-r1",
     "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>weather\n```json\n{\"city\":"
     " "
     "\"B\", \"days\": 3}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>now\n"
     "```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>now<｜tool▁sep｜>{}"}},
    {"kimi",
     "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:0"
     "<|tool_call_argument_begin|>{\"city\": \"B\", \"days\": 3}<|tool_call_end|>"
     "<|tool_call_begin|>functions.now:1<|tool_call_argument_begin|>{}<|tool_call_end|>"
     "<|tool_calls_section_end|>",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"<|tool_calls_section_begin|><|tool_call_begin|>now"}},
    {"qwen3-coder",
     "<tool_call>\n<function=weather>\n<parameter=city>\nB\nC\n</parameter>\n<parameter=days>\n3\n"
     "</parameter>\n<parameter=sky>\nday\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n"
     "<function=now>\n</function>\n</tool_call>",
     "0:weather{\"city\": \"B\\nC\", \"days\": 3, \"sky\": \"day\"}1:now{}",
     {"<tool_call>\n<function=weather>\n</function>\n</tool_call>",
      "<tool_call>\n<function=weather>\n<parameter=city>\nB\n</parameter>\n<parameter=days>\nB\n"
      "</parameter>\n</function>\n</tool_call>",
      "<tool_call>\n<function=weather>\n<parameter=city>\nB\n</parameter>\n<parameter=sky>\ndusk\n"
      "</parameter>\n</function>\n</tool_call>",
      "<tool_call>\n<function=weather>\n<parameter=town>\nB\n</parameter>\n</function>\n"
      "</tool_call>"}},
    {"glm",
     "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>B</arg_value>\n<arg_key>days"
     "</arg_key>\n<arg_value>3</arg_value>\n</tool_call>\n<tool_call>now\n</tool_call>",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"<tool_call>weather\n</tool_call>"}},
    {"minimax",
     "<minimax:tool_call>\n<invoke name=\"weather\">\n<parameter name=\"city\">B</parameter>\n"
     "<parameter name=\"days\">3</parameter>\n</invoke>\n</minimax:tool_call>",
     "0:weather{\"city\": \"B\", \"days\": 3}",
     {"<minimax:tool_call>\n</minimax:tool_call>"}},
    {"gemma4",
     "<|tool_call>call:weather{city:<|\"|>B \"{<|\"|>,days:3,sky:<|\"|>day<|\"|>}<tool_call|>"
     "<|tool_call>call:now{}<tool_call|>",
     "0:weather{\"city\": \"B \\\"{\",\"days\": 3,\"sky\": \"day\"}1:now{}",
     {"<|tool_call>call:weather{city:3}<tool_call|>", "<|tool_call>call:weather{}<tool_call|>",
      "<|tool_call>call:weather{city:<|\"|>B<|\"|>,sky:<|\"|>dusk<|\"|>}<tool_call|>"}},
    {"lfm2",
     "<|tool_call_start|>[weather(city=\"B\", days=3, sky=\"day\"), now()]<|tool_call_end|>",
     "0:weather{\"city\": \"B\", \"days\": 3, \"sky\": \"day\"}1:now{}",
     {"<|tool_call_start|>[weather()]<|tool_call_end|>",
      "<|tool_call_start|>[weather(city=B)]<|tool_call_end|>"}},
    {"llama3",
     "{\"name\": \"weather\", \"parameters\": {\"city\": \"B\", \"days\": 3}}; {\"name\": \"now\", "
     "\"parameters\": {}}",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"{\"name\": \"then\", \"parameters\": {}}", "Hello."}},
    {"command-r7b",
     "<|START_ACTION|>[{\"tool_call_id\": \"0\", \"tool_name\": \"weather\", \"parameters\": "
     "{\"city\": \"B\", \"days\": 3}}, {\"tool_call_id\": \"1\", \"tool_name\": \"now\", "
     "\"parameters\": {}}]<|END_ACTION|>",
     "0:weather{\"city\": \"B\", \"days\": 3}1:now{}",
     {"<|START_ACTION|>[{\"tool_name\": \"now\", \"parameters\": {}}]<|END_ACTION|>"}},
    {"phi4-mini",
     "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>",
     "0:now{}",
     {"<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]"}},
    {"functionary",
     "<function=weather>{\"city\": \"B\"}</function><function=now>{}</function>",
     "0:weather{\"city\": \"B\"}1:now{}",
     {"<function=weather></function>"}},
    {"harmony",
     "<|channel|>analysis<|message|>So.<|end|><|start|>assistant<|channel|>commentary "
     "to=functions.weather <|constrain|>json<|message|>{\"city\":\"B\",\"days\":3}",
     "R(So.)0:weather{\"city\":\"B\",\"days\":3}",
     {"<|channel|>final<|message|>No.",
      "<|channel|>commentary to=functions.other <|constrain|>json<|message|>{}"}},
};

Test(answer_grammar, calls_of_each_family)
{
    static const char *const choices[] = {"{" TOOLS ", \"tool_choice\": \"required\"}",
                                          "{" TOOLS ", \"tool_choice\": \"auto\"}"};
    struct cb_test x;
    for (int which = 0; which < VOCABULARIES; which++) {
        open_vocabulary(&x, which);
        for (size_t i = 0; i < LK_COUNT(families); i++) {
            const struct family *y = &families[i];
            lk_answer_format *f;
            cr_assert_eq(lk_answer_format_open(NULL, y->format, &f, NULL), LK_OK);
            for (size_t k = 0; k < 2; k++) {
                constrain(&x, f, choices[k], NULL);
                cr_assert_eq(lk_constraint_sleeps(x.c), k == 1);
                cr_assert(fits(&x, y->both), "%s, vocabulary %d, choice %zu", y->format, which, k);
                cr_assert_eq(fits(&x, "Just words."), k == 1, "%s", y->format);
                for (size_t j = 0; j < LK_COUNT(y->wrong) && y->wrong[j]; j++) {
                    /* What does not begin as calls do is free where they are. */
                    bool loose = k == 1 &&
                                 (strcmp(y->format, "llama3") == 0 || strstr(y->wrong[j], "final"));
                    cr_assert(loose || !fits(&x, y->wrong[j]), "%s fits: %s", y->format,
                              y->wrong[j]);
                }
            }
            reads(y->format, choices[0], y->both, y->parts);
            lk_answer_format_close(&f);
        }
        cb_done(&x);
    }
}

Test(answer_grammar, choices)
{
    static const char now[] = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
                      two[] = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>\n"
                              "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
                      city[] = "<tool_call>\n{\"name\": \"weather\", \"arguments\": {\"city\": "
                               "\"B\"}}\n</tool_call>";
    struct cb_test x;
    lk_answer_format *f;
    lk_grammar *g;
    lk_constraint *c;
    lk_answer_options o = lk_answer_options_default();
    open_vocabulary(&x, MARKS);
    cr_assert_eq(lk_answer_format_open(NULL, "hermes", &f, NULL), LK_OK);
    constrain(&x, f,
              "{" TOOLS ", \"tool_choice\": {\"type\": \"function\", \"function\": {\"name\": "
              "\"now\"}}}",
              NULL);
    cr_assert(fits(&x, now) && fits(&x, two) && !fits(&x, city));
    constrain(&x, f, "{" TOOLS ", \"tool_choice\": \"required\", \"parallel_tool_calls\": false}",
              NULL);
    cr_assert(fits(&x, now) && fits(&x, city) && !fits(&x, two));
    /* Arguments are an object, though the schema says nothing. */
    constrain(&x, f,
              "{\"tools\": [{\"name\": \"t\", \"parameters\": {}}], \"tool_choice\": \"required\"}",
              NULL);
    cr_assert(fits(&x, "<tool_call>\n{\"name\": \"t\", \"arguments\": {\"a\": 1}}\n</tool_call>"));
    cr_assert(!fits(&x, "<tool_call>\n{\"name\": \"t\", \"arguments\": 1}\n</tool_call>"));
    /* The form of the answer, and calls beside it. */
    constrain(&x, f,
              "{\"response_format\": {\"type\": \"json_schema\", \"json_schema\": {\"schema\": "
              "{\"type\": \"boolean\"}}}}",
              NULL);
    cr_assert(fits(&x, "true") && !fits(&x, "{}") && !fits(&x, now));
    constrain(&x, f, "{\"response_format\": {\"type\": \"json_object\"}, " TOOLS "}", NULL);
    cr_assert(fits(&x, "{\"a\": [1]}") && !fits(&x, "true") && fits(&x, now) && !fits(&x, "No."));
    /* Nothing to hold. */
    static const char *const free_ones[] = {"{}", "{" TOOLS ", \"tool_choice\": \"none\"}",
                                            "{\"tools\": [], \"response_format\": {\"type\": "
                                            "\"text\"}}"};
    for (size_t i = 0; i < LK_COUNT(free_ones); i++) {
        o.request = free_ones[i];
        o.request_len = strlen(free_ones[i]);
        cr_assert_eq(lk_answer_constrain(f, x.tok, &o, &g, &c, NULL), LK_OK);
        cr_assert(!g && !c);
    }
    lk_answer_format_close(&f);
    cb_done(&x);
}

/* Letters that spell a mark which is a token would be read as the mark: they may not come. */
Test(answer_grammar, marks_are_not_spelled)
{
    static const char begin[] = "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>B",
                      mark[] = "</arg_value>";
    struct cb_test x;
    lk_answer_format *f;
    int32_t ids[128];
    size_t n;
    open_vocabulary(&x, MARKS);
    cr_assert_eq(lk_answer_format_open(NULL, "glm", &f, NULL), LK_OK);
    constrain(&x, f, "{" TOOLS ", \"tool_choice\": \"required\"}", NULL);
    cr_assert_eq(lk_tokenize(x.tok, begin, strlen(begin), 0, ids, 128, &n, NULL), LK_OK);
    for (size_t i = 0; i < n; i++) {
        cr_assert_eq(lk_constraint_accept(x.c, ids[i], NULL), LK_OK);
    }
    for (size_t i = 0; i + 1 < strlen(mark); i++) {
        cr_assert_eq(lk_constraint_accept(x.c, (unsigned char)mark[i], NULL), LK_OK);
    }
    cr_assert_eq(lk_constraint_accept(x.c, '>', NULL), LK_E_INVALID);
    cr_assert_eq(lk_constraint_accept(x.c, '!', NULL), LK_OK);
    lk_answer_format_close(&f);
    cb_done(&x);
}

Test(answer_grammar, schemas_that_are_not_supported)
{
    static const char schema[] = "{\"type\": \"object\", \"properties\": {\"a\": {\"type\": "
                                 "\"array\", \"uniqueItems\": true, \"items\": {}}}}";
    struct cb_test x;
    lk_answer_format *f;
    lk_grammar *g;
    lk_constraint *c;
    lk_error err = {0};
    char request[512];
    lk_answer_options o = lk_answer_options_default();
    open_vocabulary(&x, TEXT);
    cr_assert_eq(lk_answer_format_open(NULL, "mistral", &f, NULL), LK_OK);
    for (int strict = 0; strict < 2; strict++) {
        snprintf(request, sizeof request,
                 "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"t\", "
                 "\"strict\": %s, \"parameters\": %s}}], \"tool_choice\": \"required\"}",
                 strict ? "true" : "false", schema);
        if (!strict) {
            constrain(&x, f, request, NULL);
            cr_assert(fits(&x, "[TOOL_CALLS]t[ARGS]{\"b\": 1}"));
            cr_assert(!fits(&x, "[TOOL_CALLS]t[ARGS][]"));
            continue;
        }
        o.request = request;
        o.request_len = strlen(request);
        cr_assert_eq(lk_answer_constrain(f, x.tok, &o, &g, &c, &err), LK_E_UNSUPPORTED);
        cr_assert(!g && !c);
        cr_assert(strstr(err.message, "uniqueItems") && strstr(err.message, "'t'"), "%s",
                  err.message);
    }
    lk_answer_format_close(&f);
    cb_done(&x);
}

/* A template that opens <think>, or closes it. */
static const char thinker[] =
    "{{ tools|tojson if tools }}{% for m in messages %}<u>{{ m.content }}{% for c in m.tool_calls "
    "or "
    "[] %}\n<tool_call>\n{\"name\": \"{{ c.function.name }}\", \"arguments\": {{ "
    "c.function.arguments|tojson }}}\n</tool_call>{% endfor %}{% endfor %}{% if "
    "add_generation_prompt %}<a>{{ '<think>\n' if enable_thinking is not defined or "
    "enable_thinking else '<think>\n\n</think>\n\n' }}{% endif %}";

Test(answer_grammar, thinking_comes_first)
{
    static const char request[] =
        "{\"messages\": [{\"role\": \"user\", \"content\": \"?\"}], " TOOLS
        ", \"tool_choice\": \"%s\"}";
    static const char now[] = "<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
                      wrong[] =
                          "<tool_call>\n{\"name\": \"none\", \"arguments\": {}}\n</tool_call>";
    static const char *const choices[] = {"required", "auto"};
    lk_template *t;
    lk_answer_format *f;
    lk_error err = {0};
    cr_assert_eq(lk_template_open(NULL, thinker, sizeof thinker - 1, &t, &err), LK_OK);
    cr_assert_eq(lk_answer_format_open(t, NULL, &f, &err), LK_OK);
    for (int i = 0; i < 2 * 2 * VOCABULARIES; i++) {
        bool on = i & 1, lazy = i & 2;
        struct cb_test x;
        lk_rendering *r;
        lk_template_input in = lk_template_input_default();
        char body[1024], text[256];
        open_vocabulary(&x, i >> 2);
        snprintf(body, sizeof body, request, choices[lazy]);
        in.request = body;
        in.request_len = strlen(body);
        in.args = on ? "{\"enable_thinking\": true}" : "{\"enable_thinking\": false}";
        in.args_len = strlen(in.args);
        cr_assert_eq(lk_answer_render(f, &in, &r, &err), LK_OK, "%s", err.message);
        constrain(&x, f, body, r);
        snprintf(text, sizeof text, "Hm, %s\n</think>\n\n%s", wrong, now);
        /* In thinking that has to end no other control token comes. */
        bool may = on && (lazy || i >> 2 == TEXT);
        cr_assert_eq(fits(&x, text), may, "%d", i);
        snprintf(text, sizeof text, "Hm\n</think>\n\n%s", wrong);
        cr_assert(!fits(&x, text), "%d", i);
        cr_assert_eq(fits(&x, now), !on || lazy, "%d", i);
        cr_assert_eq(fits(&x, wrong), on && lazy, "%d: a call within thinking is none", i);
        lk_rendering_close(&r);
        cb_done(&x);
    }
    lk_answer_format_close(&f);
    lk_template_close(&t);
}

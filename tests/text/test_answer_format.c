/* SPDX-License-Identifier: Apache-2.0
 *
 * Formats of answers found of templates; thinking that prompts begin; requests rendered for
 * templates that do not know of tools.
 */
#include <criterion/criterion.h>

#include "base/base.h"
#include "tests/util/answer_show.h"
#include "tests/util/tok_build.h"

/* Thinks, has tools, opens its thinking in the prompt. */
static const char thinker[] =
    "{%- if tools %}<|im_start|>system\n{{ tools|tojson }}<|im_end|>\n{% endif %}"
    "{%- for m in messages %}<|im_start|>{{ m.role }}\n"
    "{%- if m.reasoning_content %}<think>\n{{ m.reasoning_content }}\n</think>\n\n{% endif %}"
    "{{ m.content }}{% for c in m.tool_calls or [] %}\n<tool_call>\n{\"name\": \"{{ "
    "c.function.name }}\", \"arguments\": {{ c.function.arguments|tojson }}}\n</tool_call>"
    "{% endfor %}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n"
    "{% else %}<think>\n{% endif %}{% endif %}";

/* Knows users and assistants alone. */
static const char plain[] =
    "{% for m in messages %}{% if m.role not in ['user', 'assistant'] %}{{ "
    "raise_exception('no ' ~ m.role) }}{% endif %}{% if (m.role == 'user') != (loop.index0 % 2 == "
    "0) %}{{ raise_exception('turns') }}{% endif %}<{{ m.role }}>{{ m.content }}</>{% endfor %}"
    "<assistant>";

static const char messages[] =
    "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"now\", \"parameters\": "
    "{\"type\": \"object\"}}}], \"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, "
    "{\"role\": \"user\", \"content\": \"Time?\"}, {\"role\": \"assistant\", \"content\": \"\", "
    "\"tool_calls\": [{\"id\": \"1\", \"type\": \"function\", \"function\": {\"name\": \"now\", "
    "\"arguments\": \"{\\\"zone\\\": \\\"CET\\\"}\"}}]}, {\"role\": \"tool\", \"content\": \"12\", "
    "\"tool_call_id\": \"1\"}, {\"role\": \"user\", \"content\": \"Sure?\"}]}";

struct open_format {
    lk_template *t;
    lk_answer_format *f;
    lk_answer_info info;
};

static struct open_format open_format(const char *source, const char *name)
{
    struct open_format x;
    lk_error err = {0};
    cr_assert_eq(lk_template_open(NULL, source, strlen(source), &x.t, &err), LK_OK, "%s",
                 err.message);
    cr_assert_eq(lk_answer_format_open(x.t, name, &x.f, &err), LK_OK, "%s", err.message);
    lk_answer_format_info(x.f, &x.info);
    return x;
}

static void close_format(struct open_format *x)
{
    lk_answer_format_close(&x->f);
    lk_template_close(&x->t);
}

static lk_rendering *render(const struct open_format *x, const char *request, const char *args)
{
    lk_template_input in = lk_template_input_default();
    lk_rendering *r;
    lk_error err = {0};
    in.request = request;
    in.request_len = strlen(request);
    in.args = args;
    in.args_len = args ? strlen(args) : 0;
    cr_assert_eq(lk_answer_render(x->f, &in, &r, &err), LK_OK, "%s", err.message);
    return r;
}

/* Asserts what an answer behind the prompt is, whatever its pieces. */
static void reads(const struct open_format *x, const lk_rendering *prompt, const char *text,
                  const char *expected, bool thinks)
{
    for (size_t each = 1; each <= strlen(text); each++) {
        struct answer_show show = {0};
        lk_answer_options o = lk_answer_options_default();
        lk_answer *a;
        o.request = messages;
        o.request_len = strlen(messages);
        o.prompt = prompt;
        cr_assert_eq(lk_answer_open(x->f, &o, &a, NULL), LK_OK);
        cr_assert_eq(lk_answer_thinks(a), thinks);
        for (size_t at = 0, n = strlen(text); at < n; at += each) {
            cr_assert_eq(lk_answer_put(a, text + at, each < n - at ? each : n - at, NULL), LK_OK);
            answer_show_parts(&show, a);
        }
        cr_assert_eq(lk_answer_end(a, NULL), LK_OK);
        answer_show_parts(&show, a);
        answer_show_end(&show);
        cr_assert_str_eq(show.text, expected, "by %zu: %s", each, show.text);
        free(show.text);
        lk_answer_close(&a);
    }
}

Test(answer_format, a_template_tells_calls_and_thinking)
{
    struct open_format x = open_format(thinker, NULL);
    const char *args;
    lk_error err;
    cr_assert_str_eq(x.info.name, "hermes");
    cr_assert(x.info.shows_tools && x.info.begins_thinking && x.info.switches && !x.info.efforts);
    cr_assert_str_eq(x.info.think_begin, "<think>");
    cr_assert_str_eq(x.info.think_end, "</think>");
    cr_assert_eq(lk_answer_think_args(x.f, "off", &args, &err), LK_OK);
    cr_assert_str_eq(args, "{\"enable_thinking\": false}");
    lk_rendering *off = render(&x, messages, args);
    reads(&x, off, "It is 12.", "C(It is 12.)", false);
    reads(&x, off, "<think>\nOh.</think>12", "R(Oh.)C(12)", false);
    cr_assert_eq(lk_answer_think_args(x.f, "on", &args, &err), LK_OK);
    lk_rendering *on = render(&x, messages, args);
    reads(&x, on, "So </thin </think>\n\nIt is 12.\n", "R(So </thin)C(It is 12.\n)", true);
    reads(&x, on, "\n\n</think>\n\n12", "C(12)", true);
    reads(&x, on, "Cut </thi", "R(Cut </thi)", true);
    reads(&x, on,
          "So\n</think>\n\n<tool_call>\n{\"name\": \"now\", \"arguments\": {}}\n</tool_call>",
          "R(So)0:now{}", true);
    reads(&x, on, "a</think>b <think> c", "R(a)C(b <think> c)", true);
    cr_assert_eq(lk_answer_think_args(x.f, "high", &args, &err), LK_E_UNSUPPORTED);
    cr_assert_null(args);
    cr_assert_eq(lk_answer_think_args(x.f, "very", &args, &err), LK_E_INVALID);
    lk_rendering_close(&off);
    lk_rendering_close(&on);
    close_format(&x);
}

Test(answer_format, calls_become_objects_for_templates_that_know_them)
{
    struct open_format x = open_format(thinker, NULL);
    lk_rendering *r = render(&x, messages, NULL);
    size_t n;
    const char *text = lk_rendering_text(r, &n);
    cr_assert(strstr(text, "{\"name\": \"now\", \"arguments\": {\"zone\": \"CET\"}}"), "%s", text);
    lk_rendering_close(&r);
    close_format(&x);
}

Test(answer_format, tools_become_text_for_templates_without_them)
{
    struct open_format x = open_format(plain, NULL);
    lk_rendering *r = render(&x, messages, NULL);
    size_t n, begin, end;
    const char *text = lk_rendering_text(r, &n);
    cr_assert_str_eq(x.info.name, "generic");
    cr_assert(!x.info.shows_tools && !x.info.think_begin && !x.info.switches);
    cr_assert(strstr(text, "<user>You can call tools."), "%s", text);
    cr_assert(strstr(text, "\"name\": \"now\""), "%s", text);
    cr_assert(strstr(text, "Be brief.\n\nTime?</><assistant><tool_call>\n{\"name\": \"now\", "
                           "\"arguments\": {\"zone\": \"CET\"}}\n</tool_call></><user>"
                           "<tool_response>\n12\n</tool_response>\n\nSure?</><assistant>"),
              "%s", text);
    lk_rendering_plain(r, lk_rendering_n_plain(r) - 1, &begin, &end);
    cr_assert_eq(end, n - strlen("</><assistant>"), "the request's text is not trusted");
    reads(&x, r, "<tool_call>{\"name\": \"now\", \"arguments\": {}}</tool_call>", "0:now{}", false);
    lk_rendering_close(&r);
    close_format(&x);
}

/* Templates that have tools in the system's message. */
Test(answer_format, tools_of_the_system_message)
{
    static const char source[] =
        "{% for m in messages %}{% if m.role == 'system' and 'tools' in m and m.tools is not none "
        "%}"
        "<|system|>{{ m.content }}<|tool|>{{ m.tools }}<|/tool|>{% else %}<|{{ m.role }}|>{{ "
        "m.content }}{% endif %}{% endfor %}<|assistant|>";
    struct open_format x = open_format(source, NULL);
    cr_assert_str_eq(x.info.name, "phi4-mini");
    cr_assert(x.info.shows_tools);
    lk_rendering *r = render(&x, messages, NULL);
    size_t n;
    const char *text = lk_rendering_text(r, &n);
    cr_assert(strstr(text, "<|system|>Be brief.<|tool|>[{\"type\": \"function\""), "%s", text);
    cr_assert(strstr(text, "Time?<|assistant|><|tool_call|>[{\"name\": \"now\", \"arguments\": "
                           "{\"zone\": \"CET\"}}]<|/tool_call|><|user|><tool_response>"),
              "%s", text);
    reads(&x, r, "<|tool_call|>[{\"name\": \"now\", \"arguments\": {}}]<|/tool_call|>", "0:now{}",
          false);
    lk_rendering_close(&r);
    close_format(&x);
}

Test(answer_format, a_name_can_be_given)
{
    struct open_format x = open_format(plain, "mistral");
    cr_assert_str_eq(x.info.name, "mistral");
    lk_rendering *r = render(&x, messages, NULL);
    size_t n;
    cr_assert(strstr(lk_rendering_text(r, &n), "[TOOL_CALLS]NAME[ARGS]{"));
    lk_rendering_close(&r);
    close_format(&x);
    for (size_t i = 0; lk_answer_format_list(i); i++) {
        x = open_format(plain, lk_answer_format_list(i));
        cr_assert_str_eq(x.info.name, lk_answer_format_list(i));
        close_format(&x);
    }
}

Test(answer_format, tokens_of_markers)
{
    static const struct tok_piece pieces[] = {{"<think>", 3, 0},      {"</think>", 3, 0},
                                              {"<tool_call>", 3, 0},  {"<|im_end|>", 3, 0},
                                              {"</tool_call>", 4, 0}, {"<pad>", 3, 0}};
    struct tok_build b = tok_build_default("gpt2", "gpt-2");
    struct tok_test v;
    struct open_format x = open_format(thinker, NULL);
    int32_t ids[16];
    size_t n;
    b.piece = pieces, b.n_pieces = LK_COUNT(pieces), b.bytes = true;
    tok_make(&v, &b);
    cr_assert_eq(lk_answer_tokens(x.f, v.tok, ids, 16, &n, NULL), LK_OK);
    cr_assert_eq(n, 3);
    cr_assert(ids[0] == 256 && ids[1] == 257 && ids[2] == 258);
    cr_assert_eq(lk_answer_tokens(x.f, v.tok, NULL, 0, &n, NULL), LK_OK);
    cr_assert_eq(n, 3);
    cr_assert_eq(lk_answer_tokens(x.f, v.tok, ids, 2, &n, NULL), LK_E_FULL);
    cr_assert_eq(lk_answer_think_end(x.f, v.tok, ids, 16, &n, NULL), LK_OK);
    cr_assert(n == 1 && ids[0] == 257);
    close_format(&x);
    tok_done(&v);
}

/* What Gemma 4's files call user-defined is a mark like another: shown where the reader needs it.
 */
Test(answer_format, tokens_of_markers_that_files_call_text)
{
    static const struct tok_piece pieces[] = {{"<|tool_call>", 4, 0},     {"<tool_call|>", 4, 0},
                                              {"<|\"|>", 4, 0},           {"<|channel>", 4, 0},
                                              {"<|tool_response>", 4, 0}, {"<turn|>", 3, 0}};
    struct tok_build b = tok_build_default("gemma4", NULL);
    struct tok_test v;
    struct open_format x = open_format(plain, "gemma4");
    int32_t ids[16];
    size_t n;
    b.piece = pieces, b.n_pieces = LK_COUNT(pieces);
    tok_make(&v, &b);
    cr_assert_eq(lk_answer_tokens(x.f, v.tok, ids, 16, &n, NULL), LK_OK);
    cr_assert_eq(n, 3);
    cr_assert(ids[0] == 256 && ids[1] == 257 && ids[2] == 258);
    close_format(&x);
    tok_done(&v);
}

/* SPDX-License-Identifier: Apache-2.0
 *
 * Answer_syntax: the table of syntaxes, in the order in which a template is tried with them: those
 * with marks that no other has come first.
 */
#include <string.h>

#include "text/answer/answer_format.h"

#define KEYS .name_key = "name", .args_key = "arguments", .id_key = "id"

static const struct lk_syntax syntaxes[] = {
    {.name = "harmony", .kind = LK_CALL_HARMONY},
    {.name = "gemma4",
     .kind = LK_CALL_BRACES,
     .open = "<|tool_call>call:",
     .close = "<tool_call|>",
     .quote = "<|\"|>"},
    {.name = "functiongemma",
     .kind = LK_CALL_BRACES,
     .open = "<start_function_call>call:",
     .close = "<end_function_call>",
     .quote = "<escape>"},
    {.name = "kimi",
     .kind = LK_CALL_NAMED,
     .sign = "tool_declare<|im_middle|>",
     .open = "<|tool_call_begin|>",
     .close = "<|tool_call_end|>",
     .section = "<|tool_calls_section_begin|>",
     .section_end = "<|tool_calls_section_end|>",
     .sep = "<|tool_call_argument_begin|>",
     .numbered = true},
    {.name = "deepseek-r1",
     .kind = LK_CALL_NAMED,
     .hint = "function<｜tool▁sep｜>",
     .open = "<｜tool▁call▁begin｜>",
     .close = "<｜tool▁call▁end｜>",
     .section = "<｜tool▁calls▁begin｜>",
     .section_end = "<｜tool▁calls▁end｜>",
     .between = "\n",
     .fence = "```json",
     .sep = "<｜tool▁sep｜>",
     .typed = true},
    {.name = "deepseek-v3.1",
     .kind = LK_CALL_NAMED,
     .open = "<｜tool▁call▁begin｜>",
     .close = "<｜tool▁call▁end｜>",
     .section = "<｜tool▁calls▁begin｜>",
     .section_end = "<｜tool▁calls▁end｜>",
     .fence = "```json",
     .sep = "<｜tool▁sep｜>"},
    {.name = "minimax",
     .kind = LK_CALL_TAGGED,
     .open = "<minimax:tool_call>\n",
     .close = "</minimax:tool_call>",
     .head = "<invoke name=\"",
     .head_end = "\">\n",
     .foot = "</invoke>\n",
     .key = "<parameter name=\"",
     .key_end = "\">",
     .value_end = "</parameter>\n"},
    {.name = "seed",
     .kind = LK_CALL_TAGGED,
     .open = "<seed:tool_call>\n",
     .close = "</seed:tool_call>",
     .head = "<function=",
     .head_end = ">\n",
     .foot = "</function>\n",
     .key = "<parameter=",
     .key_end = ">",
     .value_end = "</parameter>\n"},
    {.name = "glm",
     .kind = LK_CALL_TAGGED,
     .open = "<tool_call>",
     .close = "</tool_call>",
     .between = "\n",
     .head_end = "\n",
     .key = "<arg_key>",
     .key_end = "</arg_key>\n",
     .value = "<arg_value>",
     .value_end = "</arg_value>\n"},
    {.name = "qwen3-coder",
     .kind = LK_CALL_TAGGED,
     .open = "<tool_call>\n",
     .close = "</tool_call>",
     .between = "\n",
     .head = "<function=",
     .head_end = ">\n",
     .foot = "</function>\n",
     .key = "<parameter=",
     .key_end = ">\n",
     .value_end = "\n</parameter>\n",
     .lines = true},
    {.name = "hermes",
     .kind = LK_CALL_OBJECT,
     .open = "<tool_call>\n",
     .close = "\n</tool_call>",
     .between = "\n",
     KEYS},
    {.name = "mistral-v3",
     .kind = LK_CALL_OBJECT,
     .hint = "\"name\"",
     .sign = "[AVAILABLE_TOOLS]",
     .open = "[TOOL_CALLS]",
     .list = true,
     .either = true,
     .sep = "[ARGS]",
     .id_mark = "[CALL_ID]",
     KEYS},
    {.name = "mistral",
     .kind = LK_CALL_NAMED,
     .open = "[TOOL_CALLS]",
     .either = true,
     .sep = "[ARGS]",
     .id_mark = "[CALL_ID]",
     KEYS},
    {.name = "phi4-mini",
     .kind = LK_CALL_OBJECT,
     .hint = "<|/tool_call|>",
     .open = "<|tool_call|>",
     .close = "<|/tool_call|>",
     .list = true,
     KEYS},
    {.name = "granite", .kind = LK_CALL_OBJECT, .open = "<|tool_call|>", .list = true, KEYS},
    {.name = "nemotron",
     .kind = LK_CALL_OBJECT,
     .open = "<TOOLCALL>",
     .close = "</TOOLCALL>",
     .list = true,
     KEYS},
    {.name = "apriel",
     .kind = LK_CALL_OBJECT,
     .open = "<tool_calls>",
     .close = "</tool_calls>",
     .list = true,
     KEYS},
    {.name = "gigachat", .kind = LK_CALL_OBJECT, .open = "function call<|role_sep|>\n", KEYS},
    {.name = "command-r7b",
     .kind = LK_CALL_OBJECT,
     .open = "<|START_ACTION|>",
     .close = "<|END_ACTION|>",
     .list = true,
     .name_key = "tool_name",
     .args_key = "parameters",
     .id_key = "tool_call_id",
     .say = {"<|START_RESPONSE|>", "<|END_RESPONSE|>"}},
    {.name = "firefunction", .kind = LK_CALL_OBJECT, .open = "functools", .list = true, KEYS},
    {.name = "functionary",
     .kind = LK_CALL_NAMED,
     .open = "<function=",
     .close = "</function>",
     .sep = ">"},
    {.name = "lfm2",
     .kind = LK_CALL_PYTHON,
     .sign = "<|tool_list_start|>",
     .open = "<|tool_call_start|>",
     .close = "<|tool_call_end|>"},
    {.name = "gemma3", .kind = LK_CALL_PYTHON, .open = "```tool_code\n", .close = "\n```"},
    {.name = "llama3",
     .kind = LK_CALL_OBJECT,
     .open = "<|python_tag|>",
     .bare = true,
     .code = true,
     .name_key = "name",
     .args_key = "parameters"},
    {.name = "generic",
     .kind = LK_CALL_OBJECT,
     .open = "<tool_call>\n",
     .close = "\n</tool_call>",
     .between = "\n",
     KEYS},
    {.name = "none", .kind = LK_CALL_NONE},
};

const struct lk_syntax *lk_syntax_at(size_t i)
{
    return i < LK_COUNT(syntaxes) ? &syntaxes[i] : NULL;
}

const struct lk_syntax *lk_syntax_named(const char *name)
{
    for (size_t i = 0; i < LK_COUNT(syntaxes); i++) {
        if (strcmp(syntaxes[i].name, name) == 0) {
            return &syntaxes[i];
        }
    }
    return NULL;
}

const char *lk_answer_format_list(size_t i)
{
    return i < LK_COUNT(syntaxes) ? syntaxes[i].name : NULL;
}

static const struct lk_thinking thinkings[] = {
    {"<think>", "</think>", false},
    {"<seed:think>", "</seed:think>", false},
    {"[THINK]", "[/THINK]", true},
    {"<|channel>thought", "<channel|>", true},
    {"<|START_THINKING|>", "<|END_THINKING|>", false},
    {"<|inner_prefix|>", "<|inner_suffix|>", true},
};

const struct lk_thinking *lk_thinking_at(size_t i)
{
    return i < LK_COUNT(thinkings) ? &thinkings[i] : NULL;
}

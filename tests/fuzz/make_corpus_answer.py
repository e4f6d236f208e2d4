#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the answer fuzz target. Usage: make_corpus_answer.py DIRECTORY.

The first byte of an input is a format's place in the table of src/text/answer/answer_syntax.c, 128
more with thinking that the prompt begins; the second the options, the third the pieces.
"""
import os
import sys

SEEDS = {
    "harmony": (0, "<|channel|>analysis<|message|>Hm<|end|><|start|>assistant<|channel|>commentary"
                   " to=functions.f <|constrain|>json<|message|>{\"s\": \"a\"}<|call|>"),
    "gemma4": (1, "<|tool_call>call:f{s:<|\"|>a{<|\"|>,n:1.5,o:{k:[true,null]}}<tool_call|>ok"),
    "functiongemma": (2, "<start_function_call>call:f{s:<escape>a<escape>}<end_function_call>"),
    "kimi": (3, "<|tool_calls_section_begin|><|tool_call_begin|>functions.f:0<|tool_call_argument_"
                "begin|>{\"n\": 1}<|tool_call_end|><|tool_calls_section_end|>"),
    "deepseek_r1": (4, "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                       "{\"n\": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>"),
    "deepseek": (5 + 128, "So</think><｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}"
                          "<｜tool▁call▁end｜><｜tool▁calls▁end｜> x"),
    "minimax": (6, "<minimax:tool_call>\n<invoke name=\"f\">\n<parameter name=\"s\">a</parameter>\n"
                   "</invoke>\n</minimax:tool_call>"),
    "glm": (8, "<tool_call>f\n<arg_key>s</arg_key>\n<arg_value>a</arg_value>\n<arg_key>n</arg_key>"
               "<arg_value>3</arg_value></tool_call>"),
    "qwen3_coder": (9 + 128, "Hm\n</think>\n\n<tool_call>\n<function=f>\n<parameter=s>\na\n\"b\n"
                             "</parameter>\n<parameter=n>\n1\n</parameter>\n</function>\n</tool_call>"),
    "hermes": (10, "Hi\n<tool_call>\n{\"arguments\": {\"s\": \"a\nb\"}, \"name\": \"f\"}\n</tool_call>"
                   "<tool_call>{\"name\": \"f\", \"id\": \"x\", \"arguments\": \"{\\\"n\\\": 1}\"}"
                   "</tool_call> end"),
    "mistral_v3": (11, "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}, {\"name\": \"f\"}]"),
    "mistral": (12, "[TOOL_CALLS]f[CALL_ID]abc[ARGS]{\"n\": 1}[TOOL_CALLS]f{\"s\": \"\\u00e9\"}"),
    "command": (18, "<|START_RESPONSE|>Hi<|END_RESPONSE|><|START_ACTION|>[{\"tool_name\": \"f\", "
                    "\"parameters\": {}}]<|END_ACTION|>"),
    "functionary": (20, "<function=f>{\"s\": \"a\"}</function> <function=f>{}</function>"),
    "lfm2": (21, "<|tool_call_start|>[f(s='it\\'s', n=-1, o={'k': [True, None]}), f()]"
                 "<|tool_call_end|>"),
    "gemma3": (22, "```tool_code\nf(s=\"a\\n\")\n```"),
    "minicpm5": (25, "<function name=\"f\"><param name=\"s\">a</param></function>"),
    "llama3": (26, " {\"name\": \"f\", \"parameters\": {\"n\": 1}}; {\"name\": \"f\"}"),
    "code": (26, "<|python_tag|>print(\"a\")\n"),
    "thinking": (27 + 128, "\n So </thi </think>\n\nYes <tool_call>no <tool_call>{\"name\": 1}"),
}

for name, (which, text) in SEEDS.items():
    for options in range(2):
        with open(os.path.join(sys.argv[1], "%s_%d" % (name, options)), "wb") as f:
            f.write(bytes((which, options, len(text) % 256)) + text.encode())

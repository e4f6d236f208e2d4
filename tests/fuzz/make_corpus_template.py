#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the template fuzz target: the cases of tests/golden/templates.json that
compile, some to a file. Usage: make_corpus_template.py DIRECTORY."""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
with open(os.path.join(HERE, "..", "golden", "templates.json"), encoding="ascii") as f:
    variables, *cases = json.load(f)
good = [source for source, result in cases if result is not None and len(source) < 4000]
for i in range(0, len(good), 12):
    # Each refers to variables that a request does not have: they are set first.
    text = "{% set l = [3, 1, 2] %}{% set s = messages[0].content %}{% set d = messages[0] %}" \
           "{% set i = 7 %}{% set u = 'é漢' ~ s %}{% set people = messages %}" + "\n".join(good[i:i + 12])
    with open(os.path.join(sys.argv[1], f"golden{i // 12:02d}"), "wb") as f:
        f.write(text.encode())
SEEDS = {
    "chatml": "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content|trim + '<|im_end|>\\n' }}"
              "{% endfor %}",
    "tools": "{{ tools|tojson(indent=2) }}{% for m in messages if m.tool_calls %}{% for c in m.tool_calls %}"
             "{{ c.function.name }}({% for k, v in c.function.arguments.items() %}{{ k }}={{ v|tojson }}"
             "{% endfor %}){% endfor %}{% endfor %}",
    "request": "{{ messages }}\0{\"messages\": [{\"role\": \"user\", \"content\": [1, {\"a\": null}]}]}",
    "bad": "{% if x %}{{ (1 }",
}
for name, text in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(text.encode())

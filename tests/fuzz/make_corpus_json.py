#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the json fuzz target. Usage: make_corpus_json.py DIRECTORY."""
import os
import sys

SEEDS = {
    "numbers": '[0, -0, 1.50, 1e400, -1E-7, 9223372036854775808, 5e-324, 123456789012345678901234567890]',
    "strings": '["", "a\\"\\\\\\/\\b\\f\\n\\r\\t", "\\u0000\\ud83d\\ude00\\ud800", "é漢😀", "\u2028\x7f"]',
    "words": ' {"t": true, "f": false, "n": null} ',
    "deep": "[" * 60 + '{"a": [{}]}' + "]" * 60,
    "wide": "{" + ", ".join('"k%d": [%d]' % (i % 17, i) for i in range(40)) + "}",
    "request": '{"messages": [{"role": "user", "content": [{"type": "text", "text": "hi <|im_end|>"}]},'
               ' {"role": "assistant", "content": null, "tool_calls": [{"id": "1", "type": "function",'
               ' "function": {"name": "f", "arguments": "{\\"x\\": 1}"}}]}], "temperature": 0.7}',
    "bad_comma": '{"a": [1, 2,], "b": }',
    "bad_end": '{"a": "b',
}

for name, text in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(text.encode())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the wire fuzz target. Usage: make_corpus_wire.py DIRECTORY."""
import json
import os
import sys

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "m": 1.50}}}
CALL = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": {"x": 0.10}}}
SAMPLING = {"temperature": 0.5, "top_p": 0.9, "top_k": 5, "seed": -3, "stop": ["a", "b"]}

SEEDS = {  # name: (number of the protocol, body)
    "chat": (0, {"model": "m", "messages": [
        {"role": "developer", "content": "s"},
        {"role": "user", "content": [{"type": "text", "text": "h\u00e9\n"}]},
        {"role": "assistant", "content": None, "reasoning_content": "r", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"}],
        "tools": [TOOL], "tool_choice": "auto", "logprobs": True, "top_logprobs": 2, "n": 2,
        "response_format": {"type": "json_object"}, "logit_bias": {"5": -1}, **SAMPLING}),
    "chat_more": (0, {"messages": [{"role": "user", "content": "a"}], "stream": True,
                      "stream_options": {"include_usage": True}, "guided_choice": ["a", "b"],
                      "reasoning_effort": "low", "chat_template_kwargs": {"a": 1e2},
                      "max_tokens": 5, "backend": "cpu", "timings": True, "deadline": 1.5}),
    "completions": (1, {"prompt": ["a", [1, 2]], "logprobs": 1, "echo": False, **SAMPLING}),
    "embeddings": (2, {"input": [1, 2], "encoding_format": "base64"}),
    "responses": (3, {"instructions": "s", "input": [
        {"role": "user", "content": [{"type": "input_text", "text": "a"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "r"}]},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"}],
        "tools": [{"type": "function", "name": "f", "parameters": {}}, {"type": "web_search"}],
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {}}}, "stream": True}),
    "messages": (4, {"max_tokens": 5, "system": [
        {"type": "text", "text": "x-anthropic-billing-header: a=1; cch=ab12c;"}], "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "r", "signature": ""},
            {"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1.0}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": "ok"},
            {"type": "text", "text": "b"}]}],
        "tools": [{"name": "f", "input_schema": {}}], "tool_choice": {"type": "any"},
        "thinking": {"type": "enabled", "budget_tokens": 1024}, "stop_sequences": ["a"]}),
    "count": (5, {"messages": [{"role": "user", "content": "a"}]}),
    "ollama_chat": (6, {"model": "m", "messages": [
        {"role": "assistant", "content": "", "thinking": "r", "tool_calls": [CALL]},
        {"role": "tool", "tool_name": "f", "content": "ok"}], "tools": [TOOL], "format": "json",
        "think": True, "stream": False, "options": {"num_predict": 5, **SAMPLING}}),
    "ollama_generate": (7, {"prompt": "a", "system": "s", "format": {"type": "object"}}),
    "ollama_raw": (7, {"prompt": "a", "raw": True, "stream": False}),
    "ollama_embed": (8, {"input": "a"}),
    "native": (9, {"prompt": [1, 2], "n_predict": -1, "n_probs": 2, "grammar": "root ::= \"a\"",
                   "logit_bias": [[1, False], [2, 0.5]], **SAMPLING}),
}

for name, (protocol, body) in SEEDS.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(bytes([protocol]) + json.dumps(body).encode())

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# template.sh: chat templates: what a request becomes, and what run makes of a model's template.
# tests/cli/test_cli.sh sources it.

vocabulary=tests/golden/tok-bpe.gguf
ask='{"messages": [{"role": "user", "content": "Hi  "}], "tools": [{"b": 1.50}]}'
printf '%s' "$ask" >"$dir/ask.json"
printf '{%% for m in messages %%}\n[{{ m.role }}] {{ m.content|trim }}{%% endfor %%}\n{{ x }}{{ tools|tojson }}' >"$dir/t.jinja"
expect 0 "template" template $vocabulary "$dir/ask.json" --template "$dir/t.jinja" --template-args '{"x": 5}'
same "a rendered request" "$(out)" '[user] Hi5[{"b": 1.5}]'
same "template says nothing else" "$(err)" ""
same "a request on standard input" "$(lk template $vocabulary - --template "$dir/t.jinja" <"$dir/ask.json")" '[user] Hi[{"b": 1.5}]'
same "ids of a rendered request" "$(lk template $vocabulary "$dir/ask.json" --ids --template "$dir/t.jinja")" \
    "$(lk tokenize $vocabulary --plain '[user] Hi[{"b": 1.5}]')"
lk template $vocabulary "$dir/ask.json" --json --template "$dir/t.jinja" | python3 -c 'import json, sys
r = json.load(sys.stdin)
text = r["text"].encode()
plain = b"".join(text[a:b] for a, b in r["plain"])
sys.exit(not (text == b"[user] Hi[{\"b\": 1.5}]" and plain == b"Hi[{\"b\": 1.5}]" and len(r["ids"]) > 5))'
verdict "template --json" $?
expect 3 "a model without a template" template $vocabulary "$dir/ask.json"
holds "the key is named" "$(err)" "tokenizer.chat_template"
expect 3 "no request" template $vocabulary "$dir/none.json" --template "$dir/t.jinja"
echo '{"messages": 5}' >"$dir/bad.json"
expect 3 "a bad request" template $vocabulary "$dir/bad.json" --template "$dir/t.jinja"
holds "the member is named" "$(err)" "request: messages: "
expect 3 "bad arguments" template $vocabulary "$dir/ask.json" --template "$dir/t.jinja" --template-args '{'
holds "the arguments are named" "$(err)" "template arguments: line 1 column 2"
printf 'a\n{{ 1 + }}' >"$dir/broken.jinja"
expect 3 "a broken template" template $vocabulary "$dir/ask.json" --template "$dir/broken.jinja"
holds "file, line and column" "$(err)" "broken.jinja: chat template 2:8: "
expect 3 "run with a broken template" run $model x -n 0 --template "$dir/broken.jinja"
holds "run: file, line and column" "$(err)" "broken.jinja: chat template 2:8: "
expect 3 "run with bad arguments" run $model x -n 0 --template "$dir/t.jinja" --template-args '{' --device 99
holds "run says so before it opens a device" "$(err)" "template arguments: line 1 column 2"
n_prompt() { lk run "$@" -n 0 --json 2>"$dir/err" </dev/null | python3 -c 'import json, sys; print(json.load(sys.stdin)["n_prompt"])'; }
count() { lk tokenize "$@" | wc -w; }
same "run renders the prompt" "$(n_prompt $model Hi --template "$dir/t.jinja")" "$(count $model '[user] Hinull')"
same "run takes arguments" "$(n_prompt $model Hi --template "$dir/t.jinja" --template-args '{"x": "yyy"}')" "$(count $model '[user] Hiyyynull')"
same "without a template the prompt is as it is" "$(n_prompt $model Hi)" "$(count $model Hi)"
holds "which is said" "$(err)" "no chat template (key 'tokenizer.chat_template'); the prompt is continued as it is"
n_prompt $model Hi --raw >/dev/null
lacks "--raw says nothing of it" "$(err)" "as it is"
own() { python3 tests/cli/gguf_file.py $model "$dir/own.gguf" "tokenizer.chat_template=$1"; }
own '{{ bos_token }}<{{ messages[0].content }}>'
expect 0 "inspect a template" inspect "$dir/own.gguf"; holds "inspect: the template compiles" "$(out)" "chat template: ok"
same "the model's own template" "$(lk template "$dir/own.gguf" "$dir/ask.json")" "<s><Hi  >"
same "its BOS is not doubled" "$(n_prompt "$dir/own.gguf" Hi)" "$(count $model '<Hi>')"
own 'a {% if %}<|im_start|>'
expect 0 "inspect a broken template" inspect "$dir/own.gguf"
holds "inspect: what is wrong" "$(out)" "chat template 1:9: found %}, expected an expression"
holds "inspect: no JSON is broken by it" "$(lk inspect --json "$dir/own.gguf" | python3 -c 'import json, sys; print(json.load(sys.stdin)["chat_template"])')" "1:9"
expect 3 "a format that the vocabulary lacks" run "$dir/own.gguf" x -n 0
holds "the fallback is said" "$(err)" "expected an expression; the format chatml that lockstep knows is used instead"
own '{{ raise_exception("no system here") }}'
expect 3 "a template that refuses" run "$dir/own.gguf" x -n 0
holds "its message" "$(err)" "chat template 1:19: no system here"
own 'one {{ messages|length }}'
printf 'a\nb\n' | lk run "$dir/own.gguf" --chat -n 0 -q --save "$dir/talk" >"$dir/out" 2>"$dir/err"
same "a dialogue by the model's template" "$? $(err)" "0 "
rm -f "$dir/own.gguf" "$dir/talk"

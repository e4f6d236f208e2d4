#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# ends.sh: what ends a text, and what is said of it. tests/cli/test_cli.sh sources it.

expect 0 "full context" run $model "hello" --ctx 40 --ignore-eos
holds "full context is said" "$(err)" "context is full: 40 tokens"
expect 3 "prompt too long" run $model "hello, hello, hello, hello" --ctx 8
holds "prompt too long: the context" "$(err)" "the context 8"
holds "prompt too long: the prompt" "$(err)" "$(lk tokenize $model "hello, hello, hello, hello" | wc -w) tokens"
expect 0 "statistics" -v run $model hello -n 3; holds "statistics" "$(err)" "generated: 3 tokens"
expect 0 "no statistics" run $model hello -n 3; lacks "statistics only with -v" "$(err)" "tokens"
expect 0 "quiet" -q run $model hello -n 3; same "quiet" "$(err)" ""
gen -n 30 >"$dir/text"
python3 - "$dir/text" <<'PY' >"$dir/stop"
import sys
text = open(sys.argv[1], "rb").read().decode("utf-8", "replace")
print(next(text[i:i + 2] for i in range(3, len(text)) if "\ufffd" not in text[i:i + 2] and "\n" not in text[i:i + 2] and "\0" not in text[i:i+2]), end="")
PY
gen -n 30 --stop "$(cat "$dir/stop")" >"$dir/cut"
python3 - "$dir/text" "$dir/cut" "$dir/stop" <<'PY'
import sys
text, cut, stop = (open(f, "rb").read() for f in sys.argv[1:])
at = text.index(stop)
sys.exit(cut.rstrip(b"\n") != text[:at].rstrip(b"\n"))
PY
verdict "stop string" $?
gen -n 30 --stop "never in this text" | cmp -s - "$dir/text"; verdict "a stop string that never comes" $?
printf 'once upon' | lk -q run $model --ignore-eos -n 30 | cmp -s - "$dir/text"; verdict "prompt from stdin" $?
printf 'once upon' | lk -q run $model - --ignore-eos -n 30 | cmp -s - "$dir/text"; verdict "prompt -" $?
# A control token is a stop text too, though it is not printed.
expect 0 "a stop that is a control token" -q run "$chat" hello --raw --json -n 5 --logit-bias 254=1e6 --stop '<|im_start|>'
holds "a stop that is a control token ends it" "$(out)" '"finish":"stop"'
holds "a stop that is a control token, at once" "$(out)" '"text":""'
# What the file has wrong is said once, and taken: equal texts, an end that is no control token, an id of -1.
python3 tests/cli/gguf_file.py "$chat" "$dir/odd.gguf" 'tokenizer.ggml.tokens[253]=<|im_end|>' \
    'tokenizer.ggml.token_type[253]=1' 'tokenizer.ggml.bos_token_id=4294967295'
expect 0 "a file with faults" run "$dir/odd.gguf" hello -n 5 --logit-bias 253=1e6
same "the first of equal texts: nothing is printed" "$(out | tr -d '\n')" ""
holds "equal texts are said" "$(err)" "'tokenizer.ggml.tokens'[255] is '<|im_end|>', as is [253]"
holds "a mark that is no control token is said" "$(err)" "calls '<|im_end|>' no control token"
holds "an id of none is said" "$(err)" "'tokenizer.ggml.bos_token_id' is -1"
# A text that is to be continued has no end, whatever the file adds to texts.
python3 tests/cli/gguf_file.py $model "$dir/added.gguf" bool:tokenizer.ggml.add_eos_token=1
same "no EOS after a prompt" "$(lk tokenize "$dir/added.gguf" hello)" "$(lk tokenize $model hello)"
same "no EOS after a prompt that runs" "$(lk -q run "$dir/added.gguf" hello -n 5 --logits-sha256 </dev/null)" \
    "$(lk -q run $model hello -n 5 --logits-sha256 </dev/null)"
same "a typed BOS is not doubled" "$(lk tokenize $model '<s>hello')" "$(lk tokenize $model hello)"

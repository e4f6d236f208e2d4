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

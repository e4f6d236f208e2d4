#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# usage.sh: the command line: help, unknown words, values out of their range, exit codes. tests/cli/test_cli.sh sources it.

expect 0 "--help" --help; holds "--help lists commands" "$(out)" perplexity; same "--help is quiet" "$(err)" ""
for c in run embed perplexity tokenize template inspect bench check pull list rm devices generate; do
    expect 0 "$c --help" $c --help; holds "$c --help" "$(out)" "usage: lockstep $c"
done
expect 0 "--version" --version; holds "--version has numerics" "$(out)" "numerics 2"
expect 2 "no command"; same "no command: stdout" "$(out)" ""
expect 2 "unknown command" fly; holds "unknown command is named" "$(err)" "'fly'"
expect 2 "unknown option" run $model x --fly; holds "unknown option is named" "$(err)" "--fly"
expect 2 "missing value" run $model x --seed
expect 2 "bad number" run $model x -n 1x; holds "bad number is named" "$(err)" "'1x'"
expect 2 "number out of range" run $model x --top-p 1.5
expect 2 "bad choice" run $model x --backend warp; holds "choices are listed" "$(err)" "scalar"
expect 2 "too many arguments" inspect $model x
expect 2 "bad bias" run $model x --logit-bias 5
expect 2 "bad move" run $model x --move-at cpu
expect 2 "a move to nothing" run $model x --move-at 7:warp; holds "it is named" "$(err)" "--move-at: 'warp'"
expect 2 "empty stop" run $model x --stop ""
expect 2 "raw and chat" run $model --raw --chat
expect 2 "raw and template" run $model x --raw --template x
expect 2 "context beyond the model's" run $model x --ctx 100000
expect 3 "no such file" run ./nothing.gguf x; holds "the file is named" "$(err)" "nothing.gguf"
expect 3 "no model" inspect CMakeLists.txt/
expect 3 "broken model" inspect "$dir/broken.gguf"
expect 3 "unknown name" pull no-such-model
expect 3 "chat without a template" run $model --chat
expect 3 "empty text" perplexity $model /dev/null --ctx 64
err | grep -q $'\033'; [ $? -ne 0 ]; verdict "no colors off a terminal" $?

# ---- help and what was meant ----
expect 0 "help" help; same "help is --help" "$(out)" "$(lk --help)"
for c in run embed pull list rm inspect tokenize check devices perplexity bench generate help; do
    expect 0 "help $c" help $c; same "help $c is $c --help" "$(out)" "$(lk $c --help)"
    same "help $c fits a terminal" "$(awk 'length > 98' "$dir/out")" ""
    holds "help lists $c" "$(lk help)" "  $c "
done
expect 2 "help of nothing" help fly; holds "it is named" "$(err)" "'fly'"
expect 2 "help of too much" help run list
expect 0 "-V" -V; same "-V is --version" "$(out)" "$(lk --version)"
expect 0 "run -V" run -V; same "everywhere" "$(out)" "$(lk --version)"
meant() { # meant WORD ARGS...
    local word=$1
    shift
    lk "$@" >/dev/null 2>"$dir/err" </dev/null
    same "$*: code" $? "${code:-2}"
    holds "$*: what was meant" "$(err)" "did you mean '$word'?"
}
meant run rnu; meant perplexity perplex; meant check chekc; meant list lsit; meant --temp run $model --tmep 1
meant --backend run $model --bakend cpu; meant --logits-sha256 run $model --logits; meant run help runn
code=3 meant smollm2 run smollm; code=3 meant gemma3-270m inspect gemma3-27m
for word in x zzzzzz "" -; do
    lk "$word" >/dev/null 2>"$dir/err" </dev/null; lacks "nothing was meant by '$word'" "$(err)" "did you mean"
done
lacks "an option that does nothing there is not taken" "$(lk help devices)" "--threads"
expect 2 "an origin with a path" serve $model --cors https://example.org/; holds "it is named" "$(err)" "--cors https://example.org/: expected"
expect 2 "an origin without a scheme" serve $model --cors '*' --cors example.org; holds "it is named" "$(err)" "--cors example.org: expected"
expect 2 "a file for prefixes" serve $model --prefix-dir "$model"; holds "it is named" "$(err)" "--prefix-dir $model: not a folder"
expect 2 "a check on nothing" serve $model --check-on cpu --check-on warp; holds "it is named" "$(err)" "--check-on: 'warp'"
expect 2 "a port for all" serve $model --host 0.0.0.0; holds "the key is asked for" "$(err)" "--api-key-file"
expect 2 "devices --threads" devices --threads 2
expect 2 "check --batch" check $model --batch 2
expect 2 "tokenize --backend" tokenize $model x --backend cpu

# ---- --sample ----
expect 3 "--sample without keys" run $model x --sample; holds "it says which" "$(err)" "general.sampling."
python3 - <<'PY' "$model" "$dir/sampled.gguf"
import sys
sys.path.insert(0, "tests/cli")
from gguf_file import Gguf
g = Gguf(sys.argv[1])
for key, kind, value in (("temp", 6, 1.5), ("top_k", 5, 20), ("top_p", 6, 0.9), ("min_p", 6, 0.01),
                         ("penalty_repeat", 6, 1.25), ("penalty_last_n", 5, 16), ("mirostat", 5, 2), ("xtc_probability", 6, 0.0)):
    g.set(b"general.sampling." + key.encode(), value, kind)
g.write(sys.argv[2])
PY
as_said() { lk -q run "$dir/sampled.gguf" "once upon" --ignore-eos -n 20 "$@" </dev/null | od -c; }
by_hand=(--temp 1.5 --top-k 20 --top-p 0.9 --min-p 0.01 --repeat-penalty 1.25 --repeat-last-n 16)
same "--sample is the model's own" "$(as_said --sample --seed 3)" "$(as_said "${by_hand[@]}" --seed 3)"
same "an option counts before it" "$(as_said --sample --seed 3 --temp 0.5 --top-k 3)" "$(as_said "${by_hand[@]}" --seed 3 --temp 0.5 --top-k 3)"
same "even where it says the default" "$(as_said --sample --temp 0)" "$(as_said "${by_hand[@]}" --temp 0)"
differ "it is not greedy" "$(as_said --sample --seed 3)" "$(as_said)"
same "greedy is the default" "$(as_said)" "$(as_said --temp 0)"
expect 0 "what is not used is said" run "$dir/sampled.gguf" x -n 1 --sample
same "once, by its name" "$(grep -c mirostat "$dir/err") $(grep -c xtc "$dir/err")" "1 0"

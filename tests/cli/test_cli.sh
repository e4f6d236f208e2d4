#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_cli.sh [LOCKSTEP [SUBJECT...]]: the program as a user or a script meets it: what goes to
# stdout and what to stderr, exit codes, interrupts, terminals, files, the same bits whatever the
# options. Each subject is a file beside this one; without names all of them run, in the order of
# SUBJECTS. Runs on the tiny models of tests/golden; prints a closing line in Criterion's form, one
# test for each check.
set -uo pipefail
cd "$(dirname "$0")/../.."
SUBJECTS=(usage inspect template bits ends fits think pipes check devices dialogue kept perplexity bench documents hostile files limits packed pull)
program=$(realpath "${1:-${LK_BUILD:-build}/lockstep}")
[ $# -gt 1 ] && SUBJECTS=("${@:2}")
model=tests/golden/tiny-llama.gguf
dir=$(mktemp -d)
declare -A begun
trap 'kill "${begun[@]}" 2>/dev/null; rm -rf "$dir"' EXIT
export XDG_CACHE_HOME=$dir/cache XDG_STATE_HOME=$dir/state
. tests/util/verdict.sh

lk() { "$program" "$@"; }
same() { [ "$2" = "$3" ]; verdict "$1" $? "found '$2', expected '$3'"; }
differ() { [ "$2" != "$3" ]; verdict "$1" $? "'$2' twice"; }
holds() { case "$2" in *"$3"*) verdict "$1" 0 ;; *) verdict "$1" 1 "'$2' has no '$3'" ;; esac; }
lacks() { case "$2" in *"$3"*) verdict "$1" 1 "'$2' has '$3'" ;; *) verdict "$1" 0 ;; esac; }
# expect CODE NAME ARGS...: the exit code; stdout and stderr are left in $dir.
expect() {
    local code=$1 name=$2 found
    shift 2
    lk "$@" >"$dir/out" 2>"$dir/err" </dev/null
    found=$?
    same "$name: exit code" "$found" "$code"
}
# begin NAME FILE ARGS...: a file of tests that ends in main([...]), from now on in the background.
begin() {
    python3 "tests/cli/$2" "${@:3}" >"$dir/said.$1" 2>&1 </dev/null &
    begun[$1]=$!
}
# python NAME FILE ARGS...: a verdict for each test of such a file; begins it if it was not.
python() {
    local test
    [ -n "${begun[$1]:-}" ] || begin "$@"
    wait "${begun[$1]}"
    grep -v ': ok$' "$dir/said.$1"
    for test in $(sed -n '/^if __name__/,$p' "tests/cli/$2" | grep -oE '[a-z_0-9]+_[a-z_0-9]+' | grep -v '^__'); do
        grep -q "^$test: ok$" "$dir/said.$1"; verdict "$1: $test" $?
    done
}
err() { cat "$dir/err"; }
out() { cat "$dir/out"; }
hash_of() { lk -q run $model "once upon a time there was" -n 40 --ignore-eos --logits-sha256 "$@" </dev/null | tail -n 1; }
gen() { lk -q run $model "once upon" --ignore-eos "$@" </dev/null; }

echo broken >"$dir/broken.gguf"
# The model again, with a chat template.
chat=$dir/chat.gguf
python3 tests/cli/gguf_file.py $model "$chat" \
    'tokenizer.ggml.tokens[254]=<|im_start|>' 'tokenizer.ggml.token_type[254]=3' \
    'tokenizer.ggml.tokens[255]=<|im_end|>' 'tokenizer.ggml.token_type[255]=3' \
    'tokenizer.chat_template={% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n'
case " ${SUBJECTS[*]} " in
*" pull "*) begin pull pull.py "$program" "$dir/pull" ;; # it waits for servers most of the time
esac
for subject in "${SUBJECTS[@]}"; do
    # shellcheck source=/dev/null
    . "tests/cli/$subject.sh"
done
closing

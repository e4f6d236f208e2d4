#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# valgrind.sh PROGRAM: runs the program on tiny models under valgrind's memory check: an error or a
# leak fails. valgrind hides AVX-512 from what it runs, so each run must say that it took AVX2, where
# the machine has it; the logits are those of a run without valgrind.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tests=0 failed=0
check() { # check NAME LEVEL ARGUMENTS...
    local name=$1 level=$2 why=
    shift 2
    tests=$((tests + 1))
    "$program" "$@" >"$work/plain" 2>/dev/null
    if ! valgrind -q --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible \
            --suppressions=tests/regress/valgrind.supp \
            "$program" "$@" >"$work/out" 2>"$work/err"; then
        why="fails, or valgrind found an error"
    elif ! cmp -s "$work/plain" "$work/out"; then
        why="prints something else than without valgrind"
    elif ! grep -q "$level" "$work/err"; then
        why="did not take $level"
    fi
    if [ -n "$why" ]; then
        failed=$((failed + 1))
        echo "[FAIL] $name: $why"
        head -n 30 "$work/err"
    fi
}
best=generic
grep -qw avx2 /proc/cpuinfo && best=avx2
[ "$(uname -m)" = aarch64 ] && best=neon
text=("a prompt of some words, longer than one block of sixty-four keys, so that attention merges")
for model in tiny-llama tiny-gemma3 tiny-qwen2; do
    check "$model, $best" "cpu $best" run -v "tests/golden/$model.gguf" --raw -b cpu -t 2 -n 8 \
        --ignore-eos --logits-sha256 "${text[@]}"
done
check "saved, moved" scalar run -v tests/golden/tiny-llama.gguf --raw -b scalar -n 8 --ignore-eos \
    --move-at 3:cpu --save "$work/session" --logits-sha256 short
check "restored, $best" "cpu $best" run -v tests/golden/tiny-llama.gguf --raw -b cpu -t 2 -n 4 \
    --ignore-eos --load "$work/session" --logits-sha256 more
check "plain C" "cpu generic" run -v tests/golden/tiny-phi3.gguf --raw -b cpu --cpu-level generic \
    -n 2 --ignore-eos --logits-sha256 short
echo "[====] Synthesis: Tested: $tests | Passing: $((tests - failed)) | Failing: $failed | Crashing: 0"
[ $failed -eq 0 ]

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bits.sh: run gives the same bits whatever the options, and continues saved sessions. tests/cli/test_cli.sh sources it.

h=$(hash_of)
holds "the hash is one" "$h" "logits-sha256: "
for b in 1 7 64; do same "micro-batch $b" "$(hash_of --batch $b)" "$h"; done
same "scalar" "$(hash_of --backend scalar)" "$h"
same "cpu, 2 threads" "$(hash_of --backend cpu --threads 2)" "$h"
same "moved in mid-sentence" "$(hash_of --backend scalar --move-at 7:cpu)" "$h"
same "placed in two parts" "$(hash_of --place scalar:0,cpu:1)" "$h"
same "feed-forwards apart" "$(hash_of --place scalar:0-1,ffn:0-1)" "$h"
same "moved to a placement" "$(hash_of --backend cpu --move-at 7:cpu:0,scalar:1)" "$h"
differ "another prompt" "$(lk -q run $model "twice" -n 40 --ignore-eos --logits-sha256 </dev/null | tail -n 1)" "$h"
whole=$(gen -n 30 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])')
gen -n 12 --save "$dir/s" >/dev/null
gen -n 12 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])' >"$dir/first"
lk -q run $model --load "$dir/s" --ignore-eos -n 18 --json </dev/null |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])' >"$dir/second"
same "saved and continued" "$(cat "$dir/first" "$dir/second" | tr '\n' ' ' | sed 's/\] \[/, /; s/ $//')" "$whole"
lk -v run $model "once upon" --load "$dir/s" -n 2 </dev/null 2>"$dir/err" >/dev/null
grep -Eq 'reused' "$dir/err" && ! grep -q ' 0 reused' "$dir/err"
verdict "a loaded session serves as cache" $?
expect 3 "session of another model" run tests/golden/tiny-qwen2.gguf --load "$dir/s"
one=$(gen -n 20 --temp 1 --seed 5 | od -c)
same "a seed repeats" "$(gen -n 20 --temp 1 --seed 5 --batch 1 | od -c)" "$one"
differ "another seed" "$(gen -n 20 --temp 1 --seed 6 | od -c)" "$one"
same "top-k 1 is greedy" "$(gen -n 20 --temp 1 --top-k 1 | od -c)" "$(gen -n 20 | od -c)"

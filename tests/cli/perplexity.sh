#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# perplexity.sh: perplexity. tests/cli/test_cli.sh sources it.

for i in $(seq 40); do echo "It was the $i. day of the year, and all was well."; done >"$dir/book"
expect 0 "perplexity" perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256
ppl=$(out)
holds "perplexity: +/-" "$ppl" " +/- "
same "perplexity: the hash is last" "$(tail -n 1 "$dir/out" | cut -c 1-15)" "logits-sha256: "
for b in 1 7; do
    same "perplexity, micro-batch $b" \
        "$(lk -q perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256 --batch $b)" "$ppl"
done
same "perplexity from stdin" "$(lk -q perplexity $model - --ctx 64 --chunks 3 --logits-sha256 <"$dir/book")" "$ppl"
lk -q perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256 --json | python3 -c 'import json, sys
p = json.load(sys.stdin)
first, last = sys.argv[1].split("\n")
sys.exit(not (abs(p["perplexity"] - float(first.split()[1])) < 1e-4 and p["logits_sha256"] == last.split()[1]
              and p["n_chunks"] == 3 and p["n_scored"] == 3 * 31))' "$ppl"
verdict "perplexity --json" $?
# A second engine beside the first: the first's own figures stay, equal bits are at distance 0, and
# the ideal mathematics are near but not there.
against() { lk -q perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256 --json "$@"; }
alone=$(against)
# figures EXPRESSION ARGS...: of a = the object "against" and p = all of it.
figures() {
    against "${@:2}" | python3 -c 'import json, sys
p = json.load(sys.stdin)
a = p["against"]
alone = json.loads(sys.argv[2])
far = a["divergence_mean"]
print(eval(sys.argv[1]))' "$1" "$alone"
}
for pair in "cpu cpu" "cpu scalar" "scalar cpu" "ref ref"; do
    set -- $pair
    same "--backend $1 --against $2: at distance 0" \
        "$(figures 'a["backend"], far, a["divergence_most"], a["same_first_choice"], a["perplexity"] == p["perplexity"]' \
            --backend $1 --against $2)" "('$2', 0, 0, 1, True)"
done
same "--against ref: near, and the first's figures stay" \
    "$(figures '0 < far < 0.001 and far < a["divergence_most"] < 0.01 and 0.9 < a["same_first_choice"] < 1 and a["divergence_uncertainty"] > 0 and [p[k] for k in ("perplexity", "n_scored", "logits_sha256")] == [alone[k] for k in ("perplexity", "n_scored", "logits_sha256")]' \
        --against ref)" True
same "--against ref: its perplexity" "$(figures 'a["perplexity"]' --against ref)" \
    "$(against --backend ref | python3 -c 'import json, sys; print(json.load(sys.stdin)["perplexity"])')"
same "--against-kv: another cache" "$(figures '0 < far < 0.001, a["kv"], a["backend"]' --backend cpu --against-kv i8)" \
    "(True, 'i8', 'cpu')"
same "--against-kv: its own" "$(figures 'far, a["kv"]' --kv i8 --against-kv i8)" "(0, 'i8')"
same "--place --against" "$(figures 'far, p["backend"], a["backend"]' --place scalar:0,cpu:1 --against cpu)" \
    "(0, 'scalar:0,cpu:1', 'cpu')"
expect 0 "--against in words" perplexity $model "$dir/book" --ctx 9 --chunks 2 --against scalar --against-kv i8
for word in "against scalar, --kv i8: perplexity " "divergence: mean " ", most " "same first choice: "; do
    holds "--against says '$word'" "$(out)" "$word"
done
expect 2 "--against nobody" perplexity $model "$dir/book" --ctx 64 --against nobody
expect 2 "--against-kv of no kind" perplexity $model "$dir/book" --ctx 64 --against-kv f16

echo "Too short." >"$dir/short"
expect 3 "a text shorter than a chunk" perplexity $model "$dir/short" --ctx 64
holds "a text shorter than a chunk: both numbers" "$(err)" "at least --ctx 64"
expect 3 "no text" perplexity $model "$dir/none" --ctx 64
expect 2 "a chunk longer than the model's context" perplexity $model "$dir/book"

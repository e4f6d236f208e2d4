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
sys.exit(not ("%.4f" % p["perplexity"] == first.split()[1] and p["logits_sha256"] == last.split()[1]
              and p["n_chunks"] == 3 and p["n_scored"] == 3 * 31))' "$ppl"
verdict "perplexity --json" $?
echo "Too short." >"$dir/short"
expect 3 "a text shorter than a chunk" perplexity $model "$dir/short" --ctx 64
holds "a text shorter than a chunk: both numbers" "$(err)" "at least --ctx 64"
expect 3 "no text" perplexity $model "$dir/none" --ctx 64
expect 2 "a chunk longer than the model's context" perplexity $model "$dir/book"

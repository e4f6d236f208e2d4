#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# inspect.sh: inspect and tokenize. tests/cli/test_cli.sh sources it.

expect 0 "inspect" inspect $model; holds "inspect says it runs" "$(out)" "runs: yes"
expect 0 "inspect vocabulary" inspect tests/golden/tok-bpe.gguf
holds "inspect says why not" "$(out)" "runs: no: "
lk inspect --json $model | python3 -c 'import json, sys
m = json.load(sys.stdin)
sys.exit(not (m["runs"] and m["architecture"] == "llama" and len(m["tensors"]) > 5))'
verdict "inspect --json" $?
for m in tests/golden/tok-*.gguf; do
    printf 'a\tb \xf0\x9f\x99\x82 \xff\xfe caf\xc3\xa9\n\n  x' >"$dir/text"
    case $m in *unknown* | *ugm.gguf | *ugm-*) continue ;; esac # these rewrite texts
    lk tokenize $m --file "$dir/text" >"$dir/ids" && lk tokenize $m --decode <"$dir/ids" | cmp -s - "$dir/text"
    verdict "tokenize and back: $m" $?
done
same "tokenize reads stdin" "$(printf hello | lk tokenize $model)" "$(lk tokenize $model hello)"
same "--json" "$(lk tokenize --json $model hello)" "[$(lk tokenize $model hello | tr ' ' ,)]"
differ "--no-bos" "$(lk tokenize --no-bos $model hello)" "$(lk tokenize $model hello)"
expect 3 "id out of range" tokenize --decode $model "1 999999"
expect 3 "no id" tokenize --decode $model "1 x"
expect 2 "text twice" tokenize $model hello --file "$dir/text"

# The digest of the weights: the same of a copy under another name, and another of one changed bit.
digest_of() { lk inspect --digest "$1" | sed -n 's/^weights, SHA-256: //p'; }
cp $model "$dir/copy.gguf"
printf '\x01' | dd of="$dir/copy.gguf" bs=1 seek=$(($(stat -c %s $model) - 1)) conv=notrunc status=none
weights=$(digest_of $model)
same "inspect --digest" "${#weights}" 64
differ "inspect --digest of other weights" "$(digest_of "$dir/copy.gguf")" "$weights"
cp $model "$dir/copy.gguf"
same "inspect --digest of a copy" "$(digest_of "$dir/copy.gguf")" "$weights"
same "inspect --digest --json" "$(lk inspect --digest --json $model |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["weights_sha256"])')" "$weights"
expect 0 "inspect alone" inspect $model; lacks "inspect reads no weights unasked" "$(out)" "SHA-256"
expect 0 "save" run $model hello --raw -n 2 --save "$dir/weights.session"
same "save keeps the digest" "$(python3 -c 'import sys
print(open(sys.argv[1], "rb").read()[80:112].hex())' "$dir/weights.session")" "$weights"

# Embeddings: a line of numbers a text, or an array of arrays; a file of none says which key.
tiny=tests/golden/tiny-qwen3.gguf
same "embed: a line a text" "$(lk embed $tiny --pooling last one two | wc -l)" 2
lk embed $tiny --pooling mean --json one two one | python3 -c 'import json, sys
v = json.load(sys.stdin)
near = lambda a, b: abs(sum(x * y for x, y in zip(a, b)) - 1) < 1e-6
sys.exit(not (len(v) == 3 and len(v[0]) == 64 and v[0] == v[2] and v[0] != v[1] and near(v[0], v[0])))'
verdict "embed --json" $?
for backend in cpu scalar; do
    same "embed on $backend" "$(lk embed $tiny --pooling mean --backend $backend --batch 2 one)" \
        "$(lk embed $tiny --pooling mean one)"
done
differ "embed --plain" "$(lk embed $tiny --pooling last --plain one)" "$(lk embed $tiny --pooling last one)"
differ "embed --pooling" "$(lk embed $tiny --pooling first one two)" "$(lk embed $tiny --pooling last one two)"
expect 3 "embed without a pooling" embed $tiny one; holds "embed names the key" "$(err)" "qwen3.pooling_type"
expect 2 "embed without a text" embed $tiny

# A model that reads a text as a whole: it makes embeddings alone, of texts that fit a batch.
tiny=tests/golden/tiny-gemma-embedding.gguf
same "embed a text as a whole" "$(lk embed $tiny --backend cpu one two three)" \
    "$(lk embed $tiny --backend scalar one two three)"
expect 2 "embed a text longer than a batch" embed $tiny --batch 8 "a text of more than eight tokens"
holds "embed names the batch" "$(err)" "--batch"
expect 3 "text of a model of embeddings" run $tiny one; holds "it names embed" "$(err)" "lockstep embed"

# An encoder: no head, and no more positions than it learnt.
tiny=tests/golden/tiny-bert.gguf
same "embed by an encoder" "$(lk embed $tiny --backend cpu one two three)" \
    "$(lk embed $tiny --backend scalar one two three)"
long=$(printf 'word %.0s' {1..20})
expect 3 "embed beyond the learnt positions" embed $tiny "$long"; holds "embed names their number" "$(err)" "72"
expect 2 "a context beyond them" embed $tiny --ctx 73 one; holds "it names the most" "$(err)" "at most 72"
for command in "run $tiny one" "perplexity $tiny README.md" "bench $tiny"; do
    expect 3 "$command" $command; holds "it names embed" "$(err)" "lockstep embed"
done

# What is wrong with an id is said with the id.
expect 3 "an id that is none" tokenize --decode $model "5 999999"
holds "it is named" "$(err)" "--decode: found 999999, expected an id below 256"
expect 3 "an id of more than 64 bits" tokenize --decode $model "5 99999999999999999999"
holds "it is named, with its place" "$(err)" "'99999999999999999999' at byte 2, expected an id below 256"
expect 2 "a seed of more than 64 bits" run $model hi --seed 18446744073709551615
holds "what is expected is said" "$(err)" "expected a whole number of 64 bits with its sign"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# replay.sh TARGETS COUNT: each fuzz target in folder TARGETS on its corpus and COUNT mutations of
# it. Each target is one test; the seed is fixed, so a failure repeats.
set -uo pipefail
cd "$(dirname "$0")"/../..
targets=$1 count=$2 tests=0 failed=0
for source in tests/fuzz/fuzz_*.c; do
    name=$(basename "$source" .c)
    if [ ! -e "$targets/$name" ]; then
        echo "not run: $name: this build has no server"
        continue
    fi
    corpus=tests/fuzz/corpus_${name#fuzz_}
    tests=$((tests + 1))
    if ! "$targets/$name" "$corpus" "$count"; then
        failed=$((failed + 1))
        echo "[FAIL] $name"
    fi
done
echo "[====] Synthesis: Tested: $tests | Passing: $((tests - failed)) | Failing: $failed | Crashing: 0"
[ "$failed" -eq 0 ]

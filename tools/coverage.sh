#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# Line coverage of the parsers by the unit, fault and fuzz-replay tests: builds with gcc --coverage
# in a folder of its own, runs, prints a line for each file. Exit 1 when one is below 95%.
# Usage: tools/coverage.sh [BUILD-FOLDER]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=${1:-$root/build-coverage}
least=95

cmake -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_COMPILER=gcc -DLK_VULKAN=OFF \
    -DCMAKE_C_FLAGS=--coverage >/dev/null
cmake --build "$build" -j "$(nproc)" >/dev/null
find "$build" -name '*.gcda' -exec rm {} +
(cd "$build" && ctest -R '^(unit|fault|fuzz_.*)$' --output-on-failure) | tail -n 4

objects=$build/CMakeFiles/lockstep.dir/src
bad=0
for file in "$root"/src/gguf*.c "$root"/src/gguf/model_file.c "$root"/src/tok*.c "$root"/src/base/utf8.c \
    "$root"/src/text/template/chat.c; do
    [ -e "$file" ] || continue
    name=$(basename "$file")
    line=$(cd "$build" && gcov -n -o "$objects/$name.gcno" "$file" 2>/dev/null |
        grep -A1 "^File '.*/src/$name'" | sed -n 's/^Lines executed:\(.*\)% of \(.*\)/\1 \2/p')
    set -- ${line:-0 0}
    printf '%6s%% of %4s lines  src/%s\n' "$1" "$2" "$name"
    [ "$(printf '%s\n' "$1" | cut -d. -f1)" -ge "$least" ] || bad=1
done
[ "$bad" = 0 ] || echo "coverage: a parser is below $least%"
exit "$bad"

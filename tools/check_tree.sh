#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_tree.sh: the rules of the tree that a compiler does not check: who may include whom,
# licences, formatting, file sizes, forbidden calls, unique names, files named in texts. Prints each
# breach and a closing line in Criterion's form, one test a rule.
set -uo pipefail
shopt -s lastpipe
cd "$(dirname "$0")/.."
tests=0 failed=0
rule() { # rule NAME, with breaches on stdin
    local lines
    lines=$(cat)
    tests=$((tests + 1))
    if [ -n "$lines" ]; then
        failed=$((failed + 1))
        printf '%s\n' "$lines" | sed "s|^|[FAIL] $1: |"
    fi
}
files=$(git ls-files --cached --others --exclude-standard)
pick() { printf '%s\n' "$files" | grep -E "$1" || true; }
code=$(pick '\.(c|h)$')
shipped=$(pick '^(src|cpu)/.*\.(c|h)$')

for f in $(pick '\.(c|h|comp|glsl|sh|cmake)$|CMakeLists.txt$|^tools/[a-z_]+$|\.py$'); do
    head -n 5 "$f" | grep -q 'SPDX-License-Identifier: Apache-2.0' || echo "$f"
done | rule "no SPDX line"

for f in $code; do
    clang-format --dry-run "$f" 2>&1 | head -n 1
done | rule "formatting (clang-format -i)"

for f in $(pick '\.(c|h|comp|glsl)$'); do
    n=$(wc -l <"$f")
    [ "$n" -gt 900 ] && echo "$f has $n lines, at most 900"
done | rule "file size"

pick '^(src|cpu|tools|shaders|include|tests)/.*\.(c|h|comp|glsl)$' | xargs -n 1 basename | sort |
    uniq -d | rule "file name used twice"

grep -nE '(^|[^a-zA-Z0-9_])(exit|abort|_exit|printf|puts|getenv|setenv)\(' $shipped |
    rule "forbidden call in src or cpu"

grep -nE '^[[:space:]]*#[[:space:]]*if[[:space:]]+0' $code | rule "#if 0"
pick '(_v[0-9]+\.|/v[0-9]+/)' | rule "a version in a file name"
grep -nE 'ffast-math|march=native' $(pick 'CMake') | rule "flags that change results"

tools/check_rooms.py | rule "rooms (tools/check_rooms.py)"

# A file that a text, comment or script names must be there.
grep -noHE '(^|[^A-Za-z0-9_./-])(src|cpu|shaders|include|tests|tools|docs|cmake)/[A-Za-z0-9_/-]+\.(c|h|comp|glsl|md|sh|py|cmake|def|json|txt|patch)' \
    $(pick '\.(c|h|comp|glsl|md|sh|py)$|^tools/[a-z_]+$|GROUPS$') |
    sed -E 's/^([^:]+:[0-9]+):[^a-z]*/\1 /' | sort -u |
    while read -r where path; do [ -e "$path" ] || echo "$where names $path"; done |
    rule "a file that is not there is named"
grep -nE '/(tmp/[a-z]+|work|root)/' $files 2>/dev/null | grep -v '^tools/check_tree.sh' | rule "a machine's path"

passed=$((tests - failed))
echo "[====] Synthesis: Tested: $tests | Passing: $passed | Failing: $failed | Crashing: 0"
[ "$failed" -eq 0 ]

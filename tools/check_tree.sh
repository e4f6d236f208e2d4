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

# shellcheck disable=SC2046
awk 'FNR == 1 { file[n++] = FILENAME }
     FNR <= 5 && /SPDX-License-Identifier: Apache-2.0/ { has[FILENAME] = 1 }
     FNR == 5 { nextfile }
     END { for (i = 0; i < n; i++) if (!has[file[i]]) print file[i] }' \
    $(pick '\.(c|h|comp|glsl|sh|cmake)$|CMakeLists.txt$|^tools/[a-z_]+$|\.py$') | rule "no SPDX line"

# shellcheck disable=SC2086
clang-format --dry-run $code 2>&1 | grep -E '^[^ ]+: (warning|error)' | sort -u -t: -k1,1 |
    rule "formatting (clang-format -i)"

# shellcheck disable=SC2046
wc -l $(pick '\.(c|h|comp|glsl)$') |
    awk '$2 != "total" && $1 > 900 { print $2 " has " $1 " lines, at most 900" }' | rule "file size"

pick '^(src|cpu|tools|shaders|include|tests)/.*\.(c|h|comp|glsl)$' | sed 's,.*/,,' | sort |
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

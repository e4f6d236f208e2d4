# SPDX-License-Identifier: Apache-2.0
#
# verdict.sh, for scripts to source: counts checks and closes in Criterion's form.
tests=0 failed=0
verdict() { # verdict NAME CONDITION-RESULT [what was seen]
    tests=$((tests + 1))
    if [ "$2" -ne 0 ]; then
        failed=$((failed + 1))
        printf '[FAIL] %s %s\n' "$1" "${3-}"
    fi
}
closing() { # fails when a check did
    echo "[====] Synthesis: Tested: $tests | Passing: $((tests - failed)) | Failing: $failed | Crashing: 0"
    [ "$failed" -eq 0 ]
}

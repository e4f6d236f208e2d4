#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# asan.sh BUILD: the tests with BUILD, a build with the sanitizers: all of units, faults and sessions,
# and of what else runs models one of three parts, which turns with LK_SAMPLE; with LK_FULL=1 all.
set -uo pipefail
cd "$(dirname "$0")/../.."
parts=('@(checkpoint|golden)/*' '@(packed|lanes_side)/*' '@(lanes|random_models)/*')
check='check/@(no|only|ends)*'
suites=('session/*' "${parts[@]}" "$check")
if [ "${LK_FULL:-0}" != 1 ]; then
    turn=$((${LK_SAMPLE:-0} % 3))
    suites=('session/*' "${parts[turn]}")
    [ $turn = 1 ] && suites+=("$check")
    echo "not run: two of three parts of the tests of models under the sanitizers: LK_FULL=1"
fi
runs=("$1/tests/test_unit" "$1/tests/test_fault")
for suite in "${suites[@]}"; do
    runs+=("$1/tests/test_model --filter '$suite'")
done
exec tools/asan "${runs[@]}"

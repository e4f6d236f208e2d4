#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# device.sh PROGRAM: the tests of group regress on a device, lavapipe. With LK_FULL=1 all of them. Else
# those by which a mutant is found on a device and those that open one of their own, and of the rest,
# whose bugs show on the CPU as well, each fourth: which ones turns with LK_SAMPLE.
set -uo pipefail
cd "$(dirname "$0")/../.."
if [ "${LK_FULL:-0}" = 1 ]; then
    exec tools/test_vk "$1" lavapipe
fi
tests_of() { sed -nE 's/^Test\([a-z_]+, ([a-z0-9_]+)[,)].*/\1/p' "$@"; }
mapfile -t devices < <(
    grep -LxE 'run: cpu' tests/regress/mutants/*.patch | xargs sed -n 's/^entry: //p'
    tests_of tests/regress/test_regress_device.c
)
mapfile -t rest < <(
    tests_of tests/regress/test_regress*.c tests/engine/test_run.c |
        grep -vxFf <(printf '%s\n' "${devices[@]}")
)
names=("${devices[@]}") left=0
for i in "${!rest[@]}"; do
    if [ $(((i + ${LK_SAMPLE:-0}) % 4)) = 0 ]; then
        names+=("${rest[i]}")
    else
        left=$((left + 1))
    fi
done
echo "not run: $left of ${#rest[@]} tests on a device whose bugs show on the CPU: LK_FULL=1"
pattern=$(printf '%s\n' "${names[@]}" | sort -u | paste -sd '|')
tools/test_vk "$1" lavapipe --filter "*/@($pattern)"

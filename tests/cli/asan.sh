#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# asan.sh LOCKSTEP: the program's tests with its sanitizer build: hostile files, terminals, pipes and
# limits must not only give the right answer but touch no wrong byte. A driver of Vulkan that is
# unloaded leaves memory that is not ours: leaks are looked for without one.
set -uo pipefail
cd "$(dirname "$0")/../.."
export UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
own=()
if [ "${LK_FULL:-0}" = 1 ]; then
    own=(pull)
else
    echo "not run: pull, whose work is a Python script's, under the sanitizers: LK_FULL=1"
fi
LK_EACH_WAY=0 VK_DRIVER_FILES=/dev/null VK_ICD_FILENAMES=/dev/null ASAN_OPTIONS=detect_leaks=1 \
    tests/cli/test_cli.sh "$1" usage inspect template ends fits think pipes dialogue kept hostile files limits documents "${own[@]}"
rc=$?
more=(devices)
[ "${LK_FULL:-0}" = 1 ] && more+=(limits) # which opens devices many times
ASAN_OPTIONS=detect_leaks=0 tests/cli/test_cli.sh "$1" "${more[@]}" && [ $rc -eq 0 ]

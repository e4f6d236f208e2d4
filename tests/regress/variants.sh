#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# variants.sh PROGRAM: the registry's tests in five ways that must change nothing: one thread, three
# threads, fusion off, optional device features off, another driver. With LK_FULL=1 all tests, and
# once more under synchronization validation; else of those that run whole models each in one or two
# of the ways.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$1
failed=0
run() { # run NAME SOME COMMAND...
    local some=(--filter "regress/@($2)")
    echo "variant: $1"
    [ "${LK_FULL:-0}" = 1 ] && some=()
    "${@:3}" "${some[@]}" || failed=1
}
decode=attention_decode_equals_prefill
run "one thread" "$decode|stale*|cache_hand*" env LK_THREADS=1 "$program" -j1
run "three threads, fusion off" "layers_in_parity|positions_in_rope" \
    env LK_THREADS=3 LK_FUSE=0 "$program" -j1
run "fusion off, lavapipe" "layers_in_parity|cache_hand*" env LK_FUSE=0 tools/test_vk "$program" lavapipe
run "features off, lavapipe" "$decode|stale*" \
    env LK_DISABLE=int-dot,mapped tools/test_vk "$program" lavapipe
run "swiftshader" "stale*|positions_in_rope" tools/test_vk "$program" swiftshader
if [ "${LK_FULL:-0}" = 1 ]; then
    run "synchronization validation" "" tools/test_vk "$program" validation
fi
exit $failed

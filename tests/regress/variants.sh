#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# variants.sh PROGRAM: the registry's tests in five ways that must change nothing: one thread, three
# threads, fusion off, optional device features off, another driver. With LK_FULL=1 all tests, and
# once more under synchronization validation; else those that run whole models.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$1
some=(--filter 'regress/@(layers_in_parity|positions_in_rope|attention_decode_equals_prefill|stale*|cache_hand*)')
[ "${LK_FULL:-0}" = 1 ] && some=()
failed=0
run() { # run NAME COMMAND...
    echo "variant: $1"
    shift
    "$@" "${some[@]}" || failed=1
}
run "one thread" env LK_THREADS=1 "$program" -j1
run "three threads, fusion off" env LK_THREADS=3 LK_FUSE=0 "$program" -j1
run "fusion off, lavapipe" env LK_FUSE=0 tools/test_vk "$program" lavapipe
run "features off, lavapipe" env LK_DISABLE=int-dot,mapped tools/test_vk "$program" lavapipe
run "swiftshader" tools/test_vk "$program" swiftshader
if [ "${LK_FULL:-0}" = 1 ]; then
    run "synchronization validation" tools/test_vk "$program" validation
fi
exit $failed

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# arm.sh [BUILD]: the kernel test built for aarch64, run by an emulator as three CPUs: plain NEON,
# with dot products, with all that the emulator has.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build}/arm
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "not run: aarch64 ($tool is not installed)"
        exit 1
    fi
done
cmake -G Ninja -S tests/kernels -B "$build" -DCMAKE_SYSTEM_NAME=Linux \
    -DCMAKE_SYSTEM_PROCESSOR=aarch64 -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc
cmake --build "$build"
run() { # run CPU LEVEL...: the levels must really have run
    local cpu=$1 out
    shift
    out=$(qemu-aarch64 -cpu "$cpu" "$build/test_kernels") || { echo "$out"; exit 1; }
    for level in "$@"; do
        grep -q "^ran: $level," <<<"$out" || { echo "[FAIL] $cpu: $level did not run"; exit 1; }
    done
    echo "-- $cpu: $*"
    grep -F '[====]' <<<"$out"
}
run cortex-a72 neon
run cortex-a76 neon dotprod
run max neon dotprod i8mm

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# arm.sh [BUILD]: the kernel test and the whole program built for aarch64, run by an emulator as three
# CPUs: plain NEON, with dot products, with all that the emulator has. A CPU runs the kernels of the
# levels that those before it lack, a third of the cases in turn, but not plain C; with LK_FULL=1 all
# that it can. The program's logits are those of BUILD's program: of tiny-llama and tiny-gemma3 on every
# CPU and in plain C, of a sixth of the other tiny models, in turn, with all that the emulator has, for
# few tokens; with LK_FULL=1 all of them and the real models of LK_MODELS on every CPU and in plain C.
# Compiled with -O1, kernels with -O2; with LK_FULL=1 as it is shipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
native=${1:-build}/lockstep build=${1:-build}/arm64
for tool in aarch64-linux-gnu-gcc qemu-aarch64; do
    if ! command -v "$tool" >/dev/null; then
        echo "not run: aarch64 ($tool is not installed)"
        exit 1
    fi
done
libs=$(tools/get_arm64)
launcher=() options=("-DCMAKE_C_FLAGS_RELEASE=-O1 -DNDEBUG" -DLK_KERNEL_FLAGS=-O2)
part=$((${LK_SAMPLE:-0} % 3))/3
if [ "${LK_FULL:-0}" = 1 ]; then
    options=() part=0/1 build+=-full
fi
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
cmake -G Ninja -S . -B "$build" -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_C_COMPILER=aarch64-linux-gnu-gcc "${launcher[@]}" "${options[@]}" -DCMAKE_EXE_LINKER_FLAGS=-static \
    -DCMAKE_C_FLAGS="-isystem $libs/include" -DLK_PCRE2="$libs/lib/libpcre2-8.a" \
    -DLK_UTF8PROC="$libs/lib/libutf8proc.a" -DLK_VULKAN=OFF -DLK_TESTS=OFF
cmake --build "$build" --target lockstep_program test_kernels
run() { # run CPU LEVEL...: the levels must really have run
    local cpu=$1 out
    shift
    out=$(qemu-aarch64 -cpu "$cpu" "$build/tests/cpu/test_kernels" "$part" "$@") ||
        { echo "$out"; exit 1; }
    for level in "$@"; do
        grep -q "^ran: $level," <<<"$out" || { echo "[FAIL] $cpu: $level did not run"; exit 1; }
    done
    echo "-- $cpu: $*"
    grep -F '[====]' <<<"$out"
}
run cortex-a72 neon
run cortex-a76 dotprod
run max i8mm
if [ "${LK_FULL:-0}" = 1 ]; then
    run cortex-a72 generic
    run cortex-a76 generic neon
    run max generic neon dotprod
else
    echo "not run: kernels in plain C on aarch64, two thirds of the cases of the others, most of the models: LK_FULL=1"
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
tested=0 failing=0 turn=0
hash_of() { # hash_of BACKEND PROGRAM...: of the logits of the prompt and some tokens; log: what ran
    local backend=$1
    shift
    "$@" run "$model" "The quick brown fox jumps over the lazy dog." -n "$tokens" --raw --ctx 128 \
        --ignore-eos --logits-sha256 --backend "$backend" -v 2>"$log" |
        sed -n 's/^logits-sha256: //p'
}
vector_of() { # vector_of OPTION VALUE PROGRAM...: the hash of an embedding, by a level that must be there
    local option=$1 value=$2
    shift 2
    echo >"$log"
    "$@" embed "$model" "The quick brown fox jumps over the lazy dog." "$option" "$value" |
        sha256sum
}
check() { # check WHAT LINE: the hash is the native one and the log has the line
    tested=$((tested + 1))
    if [ -z "$want" ] || [ "$got" != "$want" ] || ! grep -q "$2" "$log"; then
        failing=$((failing + 1))
        echo "[FAIL] $model: $1: ${got:-no hash}, expected ${want:-a hash} and '$2'"
        cat "$log"
    fi
}
for model in tests/golden/tiny-*.gguf "${LK_MODELS:-/nonexistent}"/{smollm2,gemma3}.gguf; do
    [ -r "$model" ] || { echo "not run: $model"; continue; }
    cpus=(cortex-a72:neon cortex-a76:dotprod max:i8mm)
    every=${LK_FULL:-0} tokens=24
    case "$model" in
    tests/*/tiny-llama.gguf | tests/*/tiny-gemma3.gguf) every=1 ;;
    tests/*)
        turn=$((turn + 1))
        if [ "$every" = 0 ]; then
            [ $(((turn + ${LK_SAMPLE:-0}) % 6)) = 1 ] || continue
            tokens=4
        fi
        ;;
    *)
        tokens=4
        [ "$every" = 1 ] || { echo "not run: $model: needs LK_FULL=1"; continue; }
        ;;
    esac
    [ "$every" = 1 ] || cpus=(max:i8mm)
    case "$model" in
    *embedding* | *bert*) # it writes no text
        want=$(vector_of --backend scalar "$native")
        for pair in "${cpus[@]}"; do
            got=$(vector_of --cpu-level "${pair#*:}" qemu-aarch64 -cpu "${pair%:*}" "$build/lockstep")
            check "embedding, aarch64 ${pair#*:}" ""
        done
        continue
        ;;
    esac
    want=$(hash_of scalar "$native")
    got=$(hash_of cpu "$native")
    check "native cpu" "cpu "
    if [ "$every" = 1 ]; then
        got=$(hash_of scalar qemu-aarch64 -cpu max "$build/lockstep")
        check "aarch64 scalar" scalar
    fi
    for pair in "${cpus[@]}"; do
        got=$(hash_of cpu qemu-aarch64 -cpu "${pair%:*}" "$build/lockstep")
        check "aarch64 ${pair#*:}" "cpu ${pair#*:}"
    done
done
echo "[====] Synthesis: Tested: $tested | Passing: $((tested - failing)) | Failing: $failing | Crashing: 0"
[ "$failing" -eq 0 ]

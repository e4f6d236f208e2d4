#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vk_fault.sh BUILD: the program on a device that fails: no loader, no driver, memory that ends at
# any allocation, a device that is lost at any submission. The text and the logits are always those
# of the CPU, the program says in a line what happened, and nothing on the device is left behind.
# And a server on a device that is lost, and chains of two devices of which one fails. Runs on
# lavapipe, and SwiftShader beside it, under tests/vulkan/vk_fault_layer.c; prints a closing line in
# Criterion's form.
set -uo pipefail
build=$(realpath "${1:-${LK_BUILD:-build}}")
cd "$(dirname "$0")/../.."
program=$build/lockstep
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export XDG_CACHE_HOME=$dir/cache
. tests/util/verdict.sh
same() { [ "$2" = "$3" ]; verdict "$1" $? "found '$2', expected '$3'"; }
holds() { grep -qF -e "$3" "$2"; verdict "$1" $? "no '$3' in: $(cat "$2")"; }
answered() { cmp -s "$dir/out" "$dir/want"; verdict "$1" $? "$(cat "$dir/err")"; }

icd=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
[ -n "$icd" ] || { echo "vk_fault: lavapipe is not installed" >&2; exit 1; }
export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
export NODEVICE_SELECT=1 # a layer of Mesa's that takes at least one device for granted
cat >"$dir/fault.json" <<END
{"file_format_version": "1.0.0",
 "layer": {"name": "VK_LAYER_LOCKSTEP_fault", "type": "GLOBAL", "api_version": "1.1.0",
           "library_path": "$build/tests/libvk_fault_layer.so", "implementation_version": "1",
           "description": "fails where it is told to"}}
END

# go MODEL VARIABLE=VALUE... -- options...: 6 tokens after a prompt of several batches, under the
# layer. stdout and stderr are left in $dir.
prompt="once upon a time" verbose=()
go() {
    local model=tests/golden/tiny-$1.gguf set=()
    shift
    while [ "$1" != -- ]; do set+=("$1"); shift; done
    shift
    env "VK_LAYER_PATH=$dir" VK_INSTANCE_LAYERS=VK_LAYER_LOCKSTEP_fault "${set[@]}" \
        "$program" "${verbose[@]}" run "$model" "$prompt" -n 6 --ignore-eos --batch 8 --logits-sha256 "$@" \
        >"$dir/out" 2>"$dir/err" </dev/null
}
count() { sed -nE "s/^fault: closed after ([0-9]+) allocations, ([0-9]+) submissions.*/\\$1/p" "$dir/err" | tail -n 1; }
# What the exactness probe found; without it the next run probes again.
forget() { find "$XDG_CACHE_HOME" -name '*.probe' -delete; }

# each MODEL PROBE FAULT FIRST LAST STRIDE MODE WORDS: the fault at each number in turn, with and
# without MODE; without LK_FULL=1 one number with it and the next without, since neighbours have the
# same way back. Counts in $bad the runs that did not answer like the CPU or left something on the
# device, and in $silent those that did not say WORDS.
each() {
    local model=$1 probe=$2 fault=$3 n mode rc all=(LK_FAULT_NONE "$7") turn=0 modes
    bad=0 silent=0 runs=0
    for n in $(seq "$4" "$6" "$5"); do
        modes=("${all[turn++ % 2]}")
        [ "${LK_FULL:-0}" = 1 ] && modes=("${all[@]}")
        for mode in "${modes[@]}"; do
            [ "$probe" = probe ] && forget
            go "$model" "$fault=$n" "$mode=1" -- --backend auto --device 0
            rc=$?
            runs=$((runs + 1))
            if [ $rc -ne 0 ] || ! cmp -s "$dir/out" "$dir/want" ||
                grep '^fault: closed' "$dir/err" | grep -qv '; 0 left$' ||
                ! grep -qE '^fault: (allocation|lost)' "$dir/err"; then
                bad=$((bad + 1))
                echo "$model, $fault=$n $mode: exit $rc"
                cat "$dir/err"
            fi
            # Memory that was not there once may have been found elsewhere.
            [ "$fault$mode" = LK_FAULT_ALLOCLK_FAULT_NONE ] && continue
            if ! grep -qE "$8" "$dir/err"; then
                silent=$((silent + 1))
                echo "$model, $fault=$n $mode: says nothing"
                cat "$dir/err"
            fi
        done
    done
}

less='device memory holds|running on the CPU: .*memory'
lost='was lost'
models=(llama) stride=5
[ "${LK_FULL:-0}" = 1 ] && models=(llama gemma3 qwen3) stride=1
for model in "${models[@]}"; do
    go "$model" -- --backend cpu
    verdict "$model: the CPU answers" $? "$(cat "$dir/err")"
    cp "$dir/out" "$dir/want"
    go "$model" -- --backend vulkan --device 0 # compiles
    for probe in known probe; do
        [ $probe = probe ] && forget
        go "$model" -- --backend vulkan --device 0
        answered "$model, $probe: the device answers"
        allocations=$(count 1) submissions=$(count 2)
        by=1
        [ $probe = probe ] && by=$stride
        [ "${allocations:-0}" -ge 5 ] && [ "${submissions:-0}" -ge 10 ]
        verdict "$model, $probe: the layer is there" $? "$(cat "$dir/err")"
        each "$model" $probe LK_FAULT_ALLOC 1 "${allocations:-0}" $by LK_FAULT_FROM "$less"
        same "$model, $probe: memory ends at each of $allocations allocations, $runs runs" $bad 0
        same "$model, $probe: it is said" $silent 0
        each "$model" $probe LK_FAULT_LOSE 1 "${submissions:-0}" $by LK_FAULT_WAIT "$lost"
        same "$model, $probe: lost at each of $submissions submissions, $runs runs" $bad 0
        same "$model, $probe: it is said" $silent 0
    done
done

# ---- what is asked for is an error where auto goes on ----
go llama -- --backend cpu
cp "$dir/out" "$dir/want"
go llama LK_FAULT_ALLOC=1 LK_FAULT_FROM=1 -- --backend vulkan --device 0
same "no memory: exit code" $? 4
holds "no memory: said" "$dir/err" "out of memory on device"
go llama LK_FAULT_LOSE=1 -- --backend vulkan --device 0
same "lost while opening: exit code" $? 5
holds "lost while opening: said" "$dir/err" "was lost"

# ---- budget: bytes that hold some layers of two ----
go llama LK_FAULT_BUDGET=10000000 -- --backend vulkan --device 0
answered "a budget for all"
same "a budget for all: all layers" "$(grep -c 'device memory holds' "$dir/err")" 0
go llama LK_FAULT_BUDGET=300000 -- --backend vulkan --device 0
answered "a small budget"
holds "a small budget: fewer layers" "$dir/err" "device memory holds 1 of 2 layers"
go llama LK_FAULT_BUDGET=300000 -- --backend vulkan --device 0 --gpu-layers all
same "all layers asked for and no room: exit code" $? 4
holds "all layers asked for and no room: both numbers" "$dir/err" "MB left"
go llama LK_FAULT_BUDGET=1000 -- --backend auto --device 0
answered "no budget"
holds "no budget: the CPU" "$dir/err" "running on the CPU"

# ---- experts stay in RAM where a device holds all else ----
go qwen3moe -- --backend cpu
cp "$dir/out" "$dir/want"
verbose=(-v)
go qwen3moe LK_FAULT_BUDGET=10000000 -- --backend vulkan --device 0
answered "a budget for all experts"
same "a budget for all experts: none on the CPU" "$(grep -c 'experts of' "$dir/err")" 0
go qwen3moe LK_FAULT_BUDGET=370000 -- --backend vulkan --device 0
answered "a budget without experts"
holds "a budget without experts: said" "$dir/err" "experts of 2 layers on cpu "
go qwen3moe -- --backend vulkan --device 0 --cpu-moe 1
answered "experts of one layer on the CPU"
holds "experts of one layer on the CPU: said" "$dir/err" ", experts of 1 layer on cpu "
go qwen3moe -- --backend vulkan --device 0 --cpu-moe all
answered "all experts on the CPU"
verbose=()
go llama -- --backend cpu
cp "$dir/out" "$dir/want"

# ---- no driver, no loader ----
absent() { # absent NAME REASON ENVIRONMENT...: auto answers on the CPU, vulkan is an error
    local name=$1 reason=$2
    shift 2
    env "$@" "$program" run tests/golden/tiny-llama.gguf "$prompt" -n 6 --ignore-eos --batch 8 \
        --logits-sha256 >"$dir/out" 2>"$dir/err" </dev/null
    same "$name: exit code" $? 0
    answered "$name: the answer"
    holds "$name: said" "$dir/err" "running on the CPU: vulkan: $reason"
    env "$@" "$program" run tests/golden/tiny-llama.gguf x -n 1 --backend vulkan >"$dir/out" 2>"$dir/err" </dev/null
    same "$name: asked for: exit code" $? 5
    holds "$name: asked for: said" "$dir/err" "$reason"
    env "$@" "$program" devices >"$dir/out" 2>"$dir/err" </dev/null
    same "$name: devices: exit code" $? 0
    holds "$name: devices has the CPU" "$dir/out" ": cpu, "
    holds "$name: devices says why there is no other" "$dir/err" "$reason"
}
mkdir "$dir/lib"
: >"$dir/lib/libvulkan.so.1"
: >"$dir/lib/libvulkan.so"
: >"$dir/driver.so"
printf '{"file_format_version": "1.0.0", "ICD": {"library_path": "%s", "api_version": "1.1.0"}}' \
    "$dir/driver.so" >"$dir/driver.json"
absent "no loader" "libvulkan.so.1 was not found" LD_LIBRARY_PATH="$dir/lib"
absent "no driver" "no " VK_DRIVER_FILES="$dir/none.json" VK_ICD_FILENAMES="$dir/none.json"
absent "a driver that does not load" "no " VK_DRIVER_FILES="$dir/driver.json" \
    VK_ICD_FILENAMES="$dir/driver.json"
absent "a driver without devices" "no device found" VK_LAYER_PATH="$dir" \
    VK_INSTANCE_LAYERS=VK_LAYER_LOCKSTEP_fault LK_FAULT_DEVICES=1
env VK_LAYER_PATH="$dir" VK_INSTANCE_LAYERS=VK_LAYER_LOCKSTEP_fault LK_FAULT_OPEN=1 \
    "$program" devices >"$dir/out" 2>"$dir/err" </dev/null
same "a device that does not open: devices: exit code" $? 0
holds "a device that does not open: devices says why" "$dir/out" "opening the device"
go llama LK_FAULT_OPEN=1 -- --backend auto --device 0
answered "a device that does not open"
holds "a device that does not open: said" "$dir/err" "running on the CPU: opening the device"

# ---- under a server, in the middle of its answers ----
env "VK_LAYER_PATH=$dir" VK_INSTANCE_LAYERS=VK_LAYER_LOCKSTEP_fault \
    python3 tests/server/device_lost.py "$program" tests/golden/tiny-llama.gguf >"$dir/out" 2>"$dir/err"
verdict "a server whose device is lost: all answers come, with the same bits" $? "$(cat "$dir/err")"

# ---- chains of two devices: what befalls one leaves the other ----
other=$(tools/get_swiftshader) # kept in the user's cache
export VK_DRIVER_FILES=$icd:$other VK_ICD_FILENAMES=$icd:$other LK_FAULT_ON=llvmpipe
verbose=(-v)
both=(--backend vulkan --device llvmpipe,swiftshader)
chain=(--place "vulkan llvmpipe:0-2,cpu:3,vulkan swiftshader:4-5,vulkan llvmpipe:6")
go gemma3 -- --backend cpu
cp "$dir/out" "$dir/want"
go gemma3 LK_FAULT_BUDGET=100000000 -- "${both[@]}" # probes, compiles
answered "two devices"
holds "two devices: shared by speed" "$dir/err" "by the speed of its memory"
go gemma3 LK_FAULT_BUDGET=200000 -- "${both[@]}" # room for less than any speed measured here would give it
answered "two devices, one of them small"
holds "two devices, one of them small: said" "$dir/err" "as many as it holds"
holds "two devices, one of them small: the other takes more" "$dir/err" \
    "2 of 7 layers on vulkan llvmpipe (LLVM 15.0.6, 256 bits), 5 on vulkan SwiftShader"
go gemma3 LK_FAULT_BUDGET=400000 -- --backend vulkan --device llvmpipe --gpu-layers all
same "all layers on the small one: exit code" $? 4
go gemma3 LK_FAULT_BUDGET=100000 -- "${chain[@]}"
same "a chain on a device without room: exit code" $? 4
holds "a chain on a device without room: the part is named" "$dir/err" "part 4 of 4, layers 6 to 6: "
go gemma3 LK_FAULT_ALLOC=1 LK_FAULT_FROM=1 -- "${chain[@]}"
same "a chain on a device without memory: exit code" $? 4
go gemma3 -- "${chain[@]}"
answered "a chain"
submissions=$(count 2) allocations=$(count 1)
[ "${submissions:-0}" -ge 20 ] && [ "${allocations:-0}" -ge 15 ]
verdict "a chain: the layer is there" $? "$(cat "$dir/err")"
by=$(((submissions + 1) / 2))
[ "${LK_FULL:-0}" = 1 ] && by=1
bad=0 silent=0 runs=0 died=0
for n in $(seq 1 $by "${submissions:-0}") "$submissions"; do
    go gemma3 LK_FAULT_LOSE=$n LK_FAULT_WAIT=$((n % 2)) -- "${chain[@]}"
    rc=$?
    runs=$((runs + 1))
    grep '^fault: closed' "$dir/err" | grep -qv '; 0 left$' && bad=$((bad + 1))
    if [ $rc -ne 0 ]; then # before the first token it is an error
        died=$((died + 1))
        [ $rc -eq 5 ] && grep -q 'was lost' "$dir/err" || bad=$((bad + 1))
    else
        cmp -s "$dir/out" "$dir/want" || bad=$((bad + 1))
        grep -q 'evaluated again on 2 of 7 layers on vulkan SwiftShader' "$dir/err" || silent=$((silent + 1))
    fi
done
same "a chain that loses a device at each of $submissions submissions, $runs runs" $bad 0
same "a chain that loses a device: it goes on with the other" $silent 0
[ "$died" -lt "$runs" ]
verdict "a chain that loses a device: it was running" $? "$died of $runs"

closing

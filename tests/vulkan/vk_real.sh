#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# vk_real.sh BUILD: models through the program on CPU drivers of Vulkan: text and logits are those of
# the CPU with all, half, the middle third and no layers on the device, and with a move in
# mid-sentence both ways. The real models are found in LK_MODELS; without it, or without a file in
# it, the script says what it did not run. LK_FULL=1: 64 tokens of SmolLM2 on both drivers, of
# Gemma on lavapipe (8 on SwiftShader), 16 of Qwen2.5-Coder on lavapipe; else 12 of SmolLM2 on lavapipe, all layers, the middle third and a
# move onto the device, and fewer ways of the tiny model on SwiftShader. Prints a closing line in Criterion's form, a test a way.
set -uo pipefail
build=$(realpath "${1:-${LK_BUILD:-build}}")
cd "$(dirname "$0")/../.."
program=$build/lockstep
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
swiftshader=$(tools/get_swiftshader) # kept in the user's cache
lavapipe=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
export XDG_CACHE_HOME=$dir/cache # pipelines and the probe's verdict, for all runs
. tests/util/verdict.sh

prompt="The sea was calm that morning, and the old man took his boat out past the breakwater to see \
whether the light on the far island was still burning. He"
go() { # go MODEL TOKENS OPTIONS...: stdout and stderr are left in $dir
    local model=$1 n=$2
    shift 2
    "$program" -v run "$model" "$prompt" -n "$n" --ctx 256 --ignore-eos --raw --logits-sha256 "$@" \
        >"$dir/out" 2>"$dir/err" </dev/null
}

# ways DRIVER MODEL TOKENS WAY...: each way must answer as the CPU does, and say where it ran.
ways() {
    local driver=$1 model=$2 n=$3 layers way start seen says options
    shift 3
    go "$model" "$n" --backend cpu || { verdict "$driver, $model: the CPU answers" 1 "$(cat "$dir/err")"; return; }
    mv "$dir/out" "$dir/want"
    layers=$("$program" inspect "$model" | sed -nE 's/^.*block_count[^=]*= ([0-9]+)$/\1/p' | head -n 1)
    for way in "$@"; do
        case "$way" in
        all) options=(--backend vulkan --gpu-layers all) says='^lockstep: vulkan ' ;;
        half) options=(--backend vulkan --gpu-layers $((layers / 2)))
              says="^lockstep: $((layers / 2)) of $layers layers on vulkan " ;;
        third) options=(--batch 64 # whose parts overlap
                        --place "cpu:0-$((layers / 3 - 1)),vulkan 0:$((layers / 3))-$((layers * 2 / 3 - 1)),cpu:$((layers * 2 / 3))-$((layers - 1))")
               says="^lockstep: $((layers * 2 / 3 - layers / 3)) of $layers layers on vulkan .*, the rest on cpu " ;;
        none) options=(--backend vulkan --gpu-layers 0) says='^lockstep: cpu ' ;;
        onto) options=(--backend cpu --move-at $((n / 3)):vulkan) says="^moved to vulkan after $((n / 3)) tokens" ;;
        off) options=(--backend vulkan --move-at $((n / 3)):cpu) says="^moved to cpu after $((n / 3)) tokens" ;;
        esac
        start=$SECONDS
        [ "$way" = third ] || options+=(--device 0)
        go "$model" "$n" "${options[@]}"
        seen="exit $?"
        [ "$seen" = "exit 0" ] && cmp -s "$dir/out" "$dir/want" && grep -qE -e "$says" "$dir/err"
        verdict "$driver, $model, $way" $? "$seen, $(tail -n 1 "$dir/out"), expected $(tail -n 1 "$dir/want"): $(cat "$dir/err")"
        echo "$driver, $(basename "$model"), $n tokens, $way: $(tail -n 1 "$dir/out"), $((SECONDS - start)) s"
    done
}
real() { # real DRIVER MODEL TOKENS WAY...
    local path=${LK_MODELS:-}/$2
    if [ -z "${LK_MODELS:-}" ] || [ ! -r "$path" ]; then
        echo "not run: $2 on $1: no such file in LK_MODELS"
        return
    fi
    ways "$1" "$path" "${@:3}"
}

for driver in lavapipe swiftshader; do
    icd=${!driver}
    [ -n "$icd" ] || { echo "vk_real: $driver was not found" >&2; exit 1; }
    export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
    tiny=(all half third none onto off)
    [ "$driver${LK_FULL:-0}" = swiftshader1 ] || [ $driver = lavapipe ] || tiny=(all third) # compiles for each
    ways $driver tests/golden/tiny-gemma3.gguf 24 "${tiny[@]}"
    if [ "${LK_FULL:-0}" = 1 ]; then
        real $driver smollm2.gguf 64 all half third none onto off
        if [ $driver = lavapipe ]; then
            real $driver gemma3.gguf 64 all half third none onto off
        else # a quarter of a minute a token
            real $driver gemma3.gguf 8 all third onto
        fi
        # More rows of logits at once than the range that Vulkan guarantees holds.
        [ $driver = swiftshader ] || real $driver qwen2.5-coder-0.5b.gguf 16 all half onto
    elif [ $driver = lavapipe ]; then
        real $driver smollm2.gguf 12 all third onto
    fi
done

closing

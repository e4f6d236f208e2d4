#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_clean.sh BUILD: without a bug `lockstep check` gives no alarm, however the program was built:
# BUILD's (gcc -O3) and clang's (kernels -O1, all else -O0), with LK_FULL=1 also clang -O1, gcc -O2,
# gcc -O1 and one without Vulkan. On a model that no other test uses.
set -uo pipefail
cd "$(dirname "$0")/../.."
release=${1:-build}
scratch=build-check
mkdir -p $scratch
launcher=()
if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    CCACHE_DIR=$(ccache --get-config cache_dir) && export CCACHE_DIR # not below XDG_CACHE_HOME as set here
fi
export XDG_CACHE_HOME=$PWD/$scratch/cache
# shellcheck source=tests/util/verdict.sh
. tests/util/verdict.sh

model=$scratch/model.gguf
if ! cmake --build "$release" --target lockstep_program write_model >$scratch/release.log 2>&1 ||
    ! "$release/tests/write_model" $model; then
    tail -n 5 $scratch/release.log >&2
    echo "check_clean: $release does not build" >&2
    exit 1
fi
build() { # build NAME options...
    local name=$1
    shift
    cmake -G Ninja -S . -B "$scratch/$name" "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release \
        -DLK_TESTS=OFF -DLK_SHADERS="$(realpath "$release")/shaders" "$@" >"$scratch/$name.log" 2>&1 &&
        cmake --build "$scratch/$name" --target lockstep_program >>"$scratch/$name.log" 2>&1
}
clean() { # clean NAME PROGRAM WHERE
    tests/regress/check.sh "$2" $model "$3" >"$scratch/$1.json" 2>&1
    verdict "no alarm: $1" $? "$(head -c 300 "$scratch/$1.json")"
}
clean_build() { # clean_build NAME WHERE options...
    local name=$1 where=$2
    shift 2
    if build "$name" "$@"; then
        clean "$name" "$scratch/$name/lockstep" "$where"
    else
        verdict "$name builds" 1 "$(grep -m 1 -E 'error|FAILED' "$scratch/$name.log")"
    fi
}

clean release "$release/lockstep" llvmpipe
clean release-cpu "$release/lockstep" cpu
clean_build clang llvmpipe -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS_RELEASE=-O0 -DLK_KERNEL_FLAGS=-O1
if [ "${LK_FULL:-0}" = 1 ]; then
    clean_build clang-O1 llvmpipe -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS_RELEASE=-O1
    clean_build gcc-O2 cpu -DCMAKE_C_FLAGS_RELEASE=-O2
    clean_build gcc-O1 llvmpipe -DCMAKE_C_FLAGS_RELEASE=-O1
    clean_build no-vulkan cpu -DLK_VULKAN=OFF -DCMAKE_C_FLAGS_RELEASE=-O1
fi
closing

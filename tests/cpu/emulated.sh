#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# emulated.sh [BUILD]: the kernel test with AVX-512 and AMX as functions in plain C (SIMDe, and what
# it lacks in tests/cpu/emulated/immintrin.h), for machines that have neither: all cases of both
# levels, by bits, with pages behind every buffer that nobody may touch.
set -euo pipefail
cd "$(dirname "$0")/../.."
build=${1:-build}/emulated
case "$(uname -m)" in
x86_64) ;;
*) echo "not run: AVX-512 and AMX as functions, on $(uname -m)"; exit 1 ;;
esac
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
cmake -G Ninja -S tests/cpu -B "$build" -DLK_EMULATED=ON "${launcher[@]}"
cmake --build "$build"
"$build/test_kernels" avx512 amx

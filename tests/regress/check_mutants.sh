#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# check_mutants.sh [NAME...]: what `lockstep check` says of bugs. Each mutant below is brought back
# in a copy of the tree; the check of a model that no test uses must then exit with 1 and name the
# layer, the op and the side that are wrong. Without a bug, clean builds give no alarm: gcc -O1 and
# -O3, clang, and with LK_FULL=1 gcc -O2 and one without Vulkan.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
scratch=$root/build-check
mkdir -p "$scratch/log" || exit 1
[ -e "$scratch/mutated" ] && rm -rf "$scratch/build" # a run was cut off: objects may hold a bug
git ls-files -co --exclude-standard | tar -cf - -T - | tar -xf - -C "$scratch" || exit 1
cd "$scratch" || exit 1
export CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1 XDG_CACHE_HOME=$scratch/cache
launcher=()
command -v ccache >/dev/null && launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
icd=$(ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null | head -n 1)
export VK_DRIVER_FILES=$icd VK_ICD_FILENAMES=$icd
log=$scratch/log model=$scratch/model.gguf
passed=0 failed=0
ok() { passed=$((passed + 1)); echo "ok: $*"; }
fail() { failed=$((failed + 1)); echo "[FAIL] $*"; }

# The bugs, where to look, and what the check must name: layer or unit, op, side.
table() {
    cat <<'END'
dropped_residual         cpu       0 add       cpu
f16_accumulation         llvmpipe  0 attention vulkan
flat_copy                llvmpipe  0 kv_store  vulkan
gqa_mapping              cpu       0 attention cpu
kv_stride                llvmpipe  0 kv_store  vulkan
kv_stride_cpu            cpu       0 kv_store  cpu
mask_off_by_one          cpu       0 attention cpu
partial_stride           cpu       0 attention cpu
query_stride             cpu       0 attention cpu
rope_convention          llvmpipe  0 rope      vulkan
rope_position_off_by_one cpu       0 rope      cpu
scale_nibble             llvmpipe  0 matmul    vulkan
window_off_by_one        cpu       0 attention cpu
contraction              cpu       0 norm      cpu
END
}

build() { # build DIR options...
    local dir=$1
    shift
    cmake -G Ninja -S . -B "$dir" "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release "$@" \
        >"$log/$dir" 2>&1 && cmake --build "$dir" --target lockstep_program >>"$log/$dir" 2>&1
}
check() { # check BUILD WHERE OUT
    case "$2" in
    cpu) timeout 300 "$1/lockstep" -q check "$model" --backend cpu --threads 2 --json >"$3" 2>&1 ;;
    *) timeout 300 "$1/lockstep" -q check "$model" --device "$2" --quick --json >"$3" 2>&1 ;;
    esac
}
named() { # named OUT: "unit op side tensor"
    python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))["difference"]
print(d["unit"].replace("layer ", ""), d["op"], d["side"].split()[0], d["tensor"] or "-", d["pattern"], sep="\t")' "$1"
}

if ! build build -DLK_TESTS=ON -DCMAKE_C_FLAGS_RELEASE=-O1 ||
    ! cmake --build build --target write_model >>"$log/build" 2>&1 ||
    ! build/tests/write_model "$model"; then
    tail -n 5 "$log/build" >&2
    echo "check_mutants: the unchanged tree does not build" >&2
    exit 1
fi

touch mutated
while read -r name where layer op side; do
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    patch=$root/tests/regress/mutants/$name.patch
    if ! patch -p1 -s --no-backup-if-mismatch <"$patch" >"$log/$name" 2>&1; then
        fail "$name: the patch does not apply: $(tail -n 1 "$log/$name")"
        continue
    fi
    if ! cmake --build build --target lockstep_program >"$log/$name" 2>&1; then
        fail "$name does not build: $(grep -m 1 -E 'error|FAILED' "$log/$name")"
    else
        check build "$where" "$log/$name"
        rc=$?
        found=$(named "$log/$name" 2>/dev/null)
        IFS=$'\t' read -r l o s t pattern <<<"$found"
        if [ "$rc" -eq 1 ] && [ "$l $o $s" = "$layer $op $side" ]; then
            ok "$name: layer $l, $o, on $s ($t); $pattern"
        else
            fail "$name: exit $rc, named '$l $o $s', expected '$layer $op $side'"
        fi
    fi
    patch -p1 -R -s --no-backup-if-mismatch <"$patch"
done < <(table)
cmake --build build --target lockstep_program >"$log/build" 2>&1 && rm mutated

clean() { # clean NAME BUILD WHERE
    check "$2" "$3" "$log/clean-$1"
    [ $? -eq 0 ] && ok "no alarm: $1" || fail "alarm without a bug: $1: $(head -c 300 "$log/clean-$1")"
}
if [ $# -eq 0 ]; then
    clean gcc-O1 build llvmpipe
    release=$(cd "$root" && realpath "${LK_BUILD:-build}") # with -O3, as tools/test leaves it
    [ -x "$release/lockstep" ] || { release=build-O3 && build build-O3 -DLK_TESTS=OFF; }
    clean gcc-O3 "$release" llvmpipe
    build build-clang -DLK_TESTS=OFF -DCMAKE_C_COMPILER=clang -DCMAKE_C_FLAGS_RELEASE=-O1 &&
        clean clang build-clang llvmpipe || fail "clang does not build"
fi
if [ $# -eq 0 ] && [ "${LK_FULL:-0}" = 1 ]; then
    build build-O2 -DLK_TESTS=OFF -DCMAKE_C_FLAGS_RELEASE=-O2 && clean gcc-O2 build-O2 cpu ||
        fail "gcc -O2 does not build"
    build build-cpu -DLK_TESTS=OFF -DLK_VULKAN=OFF -DCMAKE_C_FLAGS_RELEASE=-O1 &&
        clean no-vulkan build-cpu cpu || fail "no Vulkan: does not build"
fi

total=$((passed + failed))
echo "[====] Synthesis: Tested: $total | Passing: $passed | Failing: $failed | Crashing: 0"
[ "$failed" -eq 0 ]

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# mutants.sh [NAME...]: brings each bug of tests/regress/mutants/ back, one after another, in a copy
# of the tree, and requires that the test of its registry entry fails, by an assertion, and that
# `lockstep check` of a model that no test uses names what is wrong; without the bug the tests pass
# and the check is silent. A patch that does not apply, or a mutant that does not build, is a failure.
#
# With LK_FULL=1 all of them run. Without it and without names a sample does: a fixed few, one for
# each way in which a mutant is found, and those that a change can have made immortal, because it
# touched what they patch, their test or the patch itself; of many, others with each commit. A change
# is what differs from LK_BASE, or from where the branch left main, or on main from the commit before.
# That every patch applies is looked at each time. That the tests pass without a bug is then left to
# the groups regress, regress-device and check-clean, but for those of a validation run.
#
# A patch begins with lines: what the bug is; "entry: TEST"; "run: cpu|lavapipe|swiftshader|
# validation", where the test is run; and where a check must name it, "check: cpu|llvmpipe LAYER OP
# SIDE", its device and what it names. A mutant of a "validation" run is killed by a message of
# synchronization validation alone.
set -uo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
scratch=$root/build-mutants
mkdir -p "$scratch"
list=$scratch/.files
git ls-files -co --exclude-standard >"$list" || exit 1
rm -rf "$scratch/tests/regress/mutants" # one that is gone must not stay
# Only what changed is copied, so that a second run builds little.
while IFS= read -r f; do
    if [ -f "$f" ] && ! cmp -s "$f" "$scratch/$f"; then
        mkdir -p "$scratch/$(dirname "$f")" && cp -p "$f" "$scratch/$f" && touch "$scratch/$f"
    fi
done <"$list"

# The same directories as seen from the build as in the tree itself: ccache finds what is there.
export CCACHE_BASEDIR=$scratch CCACHE_NOHASHDIR=1
launcher=()
if command -v ccache >/dev/null; then
    launcher=(-DCMAKE_C_COMPILER_LAUNCHER=ccache)
    CCACHE_DIR=$(ccache --get-config cache_dir) && export CCACHE_DIR # not below XDG_CACHE_HOME as set here
fi
cd "$scratch" || exit 1
log=$scratch/log
mkdir -p "$log"
export XDG_CACHE_HOME=$scratch/cache
unset LK_TEST_VERDICTS # each mutant's build has its own
model=$scratch/model.gguf
make_it() { # make_it LOG TARGET...
    cmake --build build --target "${@:2}" >"$1" 2>&1
}
# Built as the tests are, so that a cache of compilations has most of it.
if ! cmake -G Ninja -S . -B build "${launcher[@]}" -DCMAKE_BUILD_TYPE=Release -DLK_TESTS=ON \
        >"$log/configure" 2>&1 || ! make_it "$log/base" test_regress lockstep_program write_model ||
    ! build/tests/write_model "$model"; then
    grep -hE 'error|FAILED' "$log/configure" "$log/base" | head >&2
    echo "mutants: the unchanged tree does not build" >&2
    exit 1
fi
take_back() { # take_back PATCH: by copies, since the way back of a patch may find another place
    sed -n 's,^+++ b/,,p' "$root/$1" | while IFS= read -r f; do cp "$root/$f" "$f"; done
}
run() { # run HOW ENTRY LOG
    local program=build/tests/test_regress
    case "$1" in
    cpu) timeout 600 env -u VK_DRIVER_FILES "$program" --filter "*/$2" >"$3" 2>&1 ;;
    *) timeout 600 tools/test_vk "$program" "$1" --filter "*/$2" >"$3" 2>&1 ;;
    esac
}
# named WHERE LAYER OP SIDE LOG: whether the check of the model says so; prints what it says.
named() {
    local rc found
    tests/regress/check.sh build/lockstep "$model" "$1" >"$5" 2>&1
    rc=$?
    found=$(python3 -c 'import json, sys
d = json.load(open(sys.argv[1]))["difference"]
print(d["unit"].replace("layer ", ""), d["op"], d["side"].split()[0])' "$5" 2>/dev/null)
    echo "check: exit $rc, $found"
    [ "$rc" -eq 1 ] && [ "$found" = "$2 $3 $4" ]
}

# ---- which of them run ----

core=" dropped_residual guard_not_compared handed_barrier kv_stride " most=7
base_of() { # the commit that a change is told from
    local main base='' head
    head=$(git rev-parse HEAD)
    [ -n "${LK_BASE:-}" ] && { git rev-parse "$LK_BASE"; return; }
    for main in origin/main main; do
        base=$(git merge-base "$head" "$main" 2>/dev/null) && break
    done
    case "$base" in '' | "$head") base=$(git rev-parse -q --verify HEAD~1) || base=$head ;; esac
    echo "$base"
}
tests_of() { sed -n 's/^entry: //p' "$1" | xargs -I{} grep -lE 'Test\([a-z_]+, {}[,)]' tests/regress/test_*.c tests/engine/test_run.c; }
sample() { # sample BASE PATCH...: a line for each that a change can have to do with, the core first
    local changed p name
    changed=$(cd "$root" && git diff --name-only "$1" && git ls-files -o --exclude-standard)
    for p in "${@:2}"; do
        name=$(basename "$p" .patch)
        if [[ "$core" == *" $name "* ]]; then
            echo "- $p"
        elif grep -qxFf <(sed -n 's,^+++ b/,,p' "$p"; tests_of "$p"; echo "$p") <<<"$changed"; then
            echo "$(git hash-object --stdin <<<"$(git rev-parse HEAD) $name") $p"
        fi
    done | LC_ALL=C sort
}
all=(tests/regress/mutants/*.patch) patches=() sampled=0
if [ $# -gt 0 ]; then
    for name in "$@"; do patches+=("tests/regress/mutants/${name%.patch}.patch"); done
elif [ "${LK_FULL:-0}" = 1 ]; then
    patches=("${all[@]}")
else
    sampled=1
    base=$(base_of)
    mapfile -t touched < <(sample "$base" "${all[@]}")
    patches=("${touched[@]:0:most}")
    patches=("${patches[@]#* }")
    echo "not run: $((${#all[@]} - ${#touched[@]})) mutants that have nothing to do with what changed" \
        "since ${base:0:9}, $((${#touched[@]} - ${#patches[@]})) that may have, beyond $most a run"
fi
killed=0 named=0 failed=0 start=$SECONDS
declare -A clean=()
fail() {
    failed=$((failed + 1))
    echo "[FAIL] mutant $1: $2"
}

# The registry, the tests and the patches name each other.
registry=tests/regress/REGISTRY.md
for t in $(sed -nE 's/^Test\(regress[a-z_]*, ([a-z0-9_]+)\)/\1/p' tests/regress/*.c); do
    grep -q "^- \*\*Test\*\*:.*\`$t\`" $registry || fail none "$t is not in REGISTRY.md"
    grep -qx "entry: $t" tests/regress/mutants/*.patch || fail none "$t has no mutant"
done
for p in "${all[@]}"; do
    name=$(basename "$p" .patch)
    patch -p1 --dry-run -s <"$root/$p" >"$log/$name" 2>&1 ||
        fail "$name" "the patch does not apply: $(tail -n 1 "$log/$name")"
    grep -q "^- \*\*Mutants\*\*:.*\`$name\`" $registry || fail "$name" "is not in REGISTRY.md"
done

for patch in "${patches[@]}"; do
    name=$(basename "$patch" .patch)
    entry=$(sed -n 's/^entry: //p' "$patch") how=$(sed -n 's/^run: //p' "$patch")
    from=$SECONDS
    if [ -z "$entry" ] || [ -z "$how" ]; then
        fail "$name" "names no entry or run"
        continue
    fi
    check=$(sed -n 's/^check: //p' "$patch")
    if ! patch -p1 -s --no-backup-if-mismatch <"$root/$patch" >/dev/null; then # told above
        take_back "$patch"
        continue
    fi
    if ! make_it "$log/$name" test_regress ${check:+lockstep_program}; then
        fail "$name" "does not build: $(grep -m 1 -E 'error|FAILED' "$log/$name")"
    else
        run "$how" "$entry" "$log/$name"
        rc=$?
        # An assertion of that test, and no crash beside it; on "validation" a hazard.
        if [ "$how" = validation ]; then
            grep -q 'SYNC-HAZARD' "$log/$name"
        else
            grep -qE "^\[FAIL\] (regress[a-z_]*|run)::$entry:" "$log/$name" &&
                grep -q 'Crashing: 0' "$log/$name"
        fi
        if [ $? -eq 0 ] && [ $rc -ne 0 ]; then
            killed=$((killed + 1))
            [[ "|${clean[$how]:-}|" == *"|$entry|"* ]] || clean[$how]+=${clean[$how]:+|}$entry
            echo "killed: $name by $entry on $how, $((SECONDS - from)) s"
        else
            fail "$name" "$entry on $how does not fail as it should (exit $rc)"
            tail -n 5 "$log/$name"
        fi
        if [ -n "$check" ]; then
            # shellcheck disable=SC2086
            if said=$(named $check "$log/$name"); then
                named=$((named + 1))
                echo "named: $name; $said, $((SECONDS - from)) s"
            else
                fail "$name" "$said, expected '$check'"
            fi
        fi
    fi
    take_back "$patch"
done

# Without the bugs every test that killed one passes.
[ $sampled = 1 ] && unset 'clean[cpu]' 'clean[lavapipe]' 'clean[swiftshader]'
make_it "$log/base" test_regress lockstep_program || fail "none" "the tree does not build again"
passed=0
for how in "${!clean[@]}"; do
    n=$(tr '|' '\n' <<<"${clean[$how]}" | wc -l)
    if run "$how" "@(${clean[$how]})" "$log/clean" &&
            grep -q "Tested: $n | Passing: $n |" "$log/clean"; then
        passed=$((passed + n))
    else
        fail "none" "of ${clean[$how]} on $how one fails without a bug"
        tail -n 20 "$log/clean"
    fi
done
silent=0 devices=(cpu llvmpipe)
[ $sampled = 1 ] && devices=()
for where in "${devices[@]}"; do
    if tests/regress/check.sh build/lockstep "$model" "$where" >"$log/clean" 2>&1; then
        silent=$((silent + 1))
    else
        fail "none" "check on $where gives an alarm without a bug: $(head -c 300 "$log/clean")"
    fi
done
echo "mutants: killed $killed of ${#patches[@]}, named $named, $passed tests pass without," \
    "$((SECONDS - start)) s"
good=$((killed + named + silent)) total=$((killed + named + silent + failed))
echo "[====] Synthesis: Tested: $total | Passing: $good | Failing: $failed | Crashing: 0"
[ $failed -eq 0 ]

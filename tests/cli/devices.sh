#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# devices.sh: devices. tests/cli/test_cli.sh sources it.

expect 0 "devices" devices; holds "devices ends with the CPU" "$(out)" "cpu, "
lk devices --json | python3 -c 'import json, sys
d = json.load(sys.stdin)
sys.exit(not (d[-1]["backend"] == "cpu" and d[-1]["exact"] and sum(x["chosen"] for x in d) == 1))'
verdict "devices --json" $?

# A placement is whole or an error that names the part.
expect 2 "a placement of too few layers" run $model x --place cpu:0
holds "a placement of too few layers: said" "$(err)" "placement: ends with layer 0, the model has 0 to 1"
expect 2 "a placement of no backend" run $model x --place cpu:0,abacus:1
holds "a placement of no backend: the part is named" "$(err)" "placement: part 2 'abacus:1': backend 'abacus'"
expect 2 "a number of layers that is none" run $model x --cpu-moe most
expect 2 "a placement whose feed-forwards come first" run $model x --place ffn:0,cpu:0-1
expect 2 "a placement beside a backend" run $model x --place cpu:0-1 --backend cpu

# A device that is named is that one or an error; a machine without a GPU is one short line.
for command in "run $model hi -n 1" "check $model --quick" "perplexity $model README.md --ctx 64 --chunks 1" \
    "bench $model -p 2 -n 1 -r 1 --warm-up 0 --stream-mb 0"; do
    # shellcheck disable=SC2086
    for backend in auto vulkan; do
        expect 5 "$command on a device that is not there, $backend" -q $command --backend $backend --device RTX
        same "and it is one line" "$(wc -l <"$dir/err")" 1
        same "nothing is answered" "$(out)" ""
    done
    # shellcheck disable=SC2086
    expect 2 "$command on an unnamed device" -q $command --device ''
    # shellcheck disable=SC2086
    expect 2 "$command without a feature nobody knows" -q $command --vk-disable warp
done
expect 2 "devices, unnamed" devices --device '' --switch-on
lk run $model hi --raw -n 1 >/dev/null 2>"$dir/err" </dev/null
if grep -q 'running on the CPU' "$dir/err"; then
    same "no GPU: one line" "$(wc -l <"$dir/err")" 1
    same "no GPU: a short one" "$(awk 'length > 100' "$dir/err")" ""
else
    echo "not run: the line of a machine without a GPU: there is one"
fi

# The first probe of a device draws its progress on a terminal, the next reads its verdict.
if ls /usr/share/vulkan/icd.d/lvp_icd*.json >/dev/null 2>&1; then
    python3 - "$program" $model "$dir/probing" <<'PY'
import sys
sys.path.insert(0, "tests/cli")
from terminal import Program, check, main
program, model, cache = sys.argv[1:]
def run():
    p = Program([program, "run", model, "hi", "-n", "1", "--device", "llvmpipe"], {"XDG_CACHE_HOME": cache})
    check(p.end(120) == 0, p.screen.text())
    check("probing" not in p.screen.text(), p.screen.text())
    return p.seen
def progress_is_drawn_once_and_erased():
    check(b"\rprobing the device, once [" in run())
    check(b"probing" not in run())
main([progress_is_drawn_once_and_erased])
PY
    verdict "progress of the first probe" $?
else
    echo "not run: progress of the first probe: lavapipe is not installed"
fi

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# devices.sh: devices. tests/cli/test_cli.sh sources it.

expect 0 "devices" devices; holds "devices ends with the CPU" "$(out)" "cpu, "
lk devices --json | python3 -c 'import json, sys
d = json.load(sys.stdin)
sys.exit(not (d[-1]["backend"] == "cpu" and d[-1]["exact"] and sum(x["chosen"] for x in d) == 1))'
verdict "devices --json" $?

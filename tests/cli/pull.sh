#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pull.sh: models that are fetched, kept, listed and removed. tests/cli/test_cli.sh sources it.

python pull pull.py "$program" "$dir/pull"
expect 0 "list" list; holds "list has the known models" "$(out)" "gemma3-270m"
expect 3 "a name nobody knows" run smolm2 hi; holds "the nearest one is offered" "$(err)" "did you mean 'smollm2'?"
expect 3 "a name that is like none" run xyzzy hi; lacks "none is offered" "$(err)" "did you mean"
expect 2 "rm of nothing" rm
expect 2 "list in two forms" list --json --names

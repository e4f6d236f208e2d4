#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# kept.sh: dialogues that are saved, go on, and outgrow their context. tests/cli/test_cli.sh sources
# it.

python kept kept.py "$program" "$chat" $model "$dir/kept"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# dialogue.sh: a dialogue on a terminal, and where there is none. tests/cli/test_cli.sh sources it.

if python3 -c 'import os; os.openpty()' 2>/dev/null; then
    python dialogue dialogue.py "$program" "$chat" "$dir/dialogue"
else
    echo "not run: a dialogue with line editing: this machine has no pseudo-terminals (/dev/pts)"
fi

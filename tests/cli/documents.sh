#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# documents.sh: the man page and the completions. tests/cli/test_cli.sh sources it.

for kind in man bash zsh fish; do
    expect 0 "generate $kind" generate $kind
    for o in logits-sha256 no-bos chunks repeat-penalty; do
        holds "$kind has $o" "$(sed 's/\\-/-/g' "$dir/out")" "$o"
    done
done
expect 2 "generate what" generate poem
lk generate bash >"$dir/bash" && bash -n "$dir/bash"; verdict "bash completion parses" $?
found=$(bash -c "source $dir/bash; COMP_WORDS=(lockstep run --backend s); COMP_CWORD=3; _lockstep; echo \${COMPREPLY[@]}")
same "bash completes a choice" "$found" scalar
if command -v groff >/dev/null; then
    lk generate man | groff -man -ww -Tutf8 2>"$dir/err" >/dev/null; same "the man page has no warnings" "$(err)" ""
fi
lk generate man | awk 'length > 400 {bad = 1} END {exit bad}'; verdict "man page lines" $?

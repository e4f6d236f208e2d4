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
# completed WORDS...: what bash offers for the last of them; the program is "lockstep" of this build.
mkdir "$dir/bin"
ln -s "$program" "$dir/bin/lockstep"
completed() {
    PATH=$dir/bin:$PATH bash -c 'source "$0"; COMP_WORDS=(lockstep "$@"); COMP_CWORD=$#; _lockstep; printf "%s\n" "${COMPREPLY[@]}"' \
        "$dir/bash" "$@" 2>&1 | tr '\n' ' ' | sed 's/ $//'
}
offers() { # offers EXPECTED WORDS...
    local expected=$1
    shift
    same "bash completes '$*'" "$(completed "$@")" "$expected"
}
offers scalar run --backend s
offers scalar run -b s
offers scalar run smollm2 -b s
offers "auto cpu scalar ref vulkan" run -b ""
offers scalar run --backend = s
offers "auto cpu scalar ref vulkan" run --backend =
offers "avx2 avx-vnni avx512" run --cpu-level av
offers "" run -n ""
offers "-n" run -n
offers "--template --template-args --temp --test" run --te
offers "--json" list --j
offers "perplexity" perp
offers "run rm" r
offers "--version --verbose" --ver
offers "smollm2" run smol
offers "smollm2" run -t 4 smol
offers "gemma3-270m" inspect gem
offers "smollm2 gemma3-270m qwen2.5-coder-0.5b" rm ""
offers "smollm2" rm gemma3-270m smol
offers "smollm2" pull smo
offers "" run smollm2 smol
offers "README.md" run READ
offers "README.md" perplexity smollm2 READ
offers "README.md" tokenize smollm2 --file READ
offers "README.md" tokenize smollm2 -f READ
offers "check" help ch
offers "man bash zsh fish" generate ""
offers "" devices smol
if command -v zsh >/dev/null; then
    lk generate zsh >"$dir/_lockstep" && zsh -n "$dir/_lockstep"; verdict "zsh completion parses" $?
else
    echo "not run: zsh completion parses: no zsh here"
fi
if command -v fish >/dev/null; then
    lk generate fish >"$dir/fish" && fish -n "$dir/fish"; verdict "fish completion parses" $?
    offered() { PATH=$dir/bin:$PATH fish -c "source $dir/fish; complete -C 'lockstep $1'" | cut -f 1 | tr '\n' ' '; }
    same "fish completes a model" "$(offered 'run smo')" "smollm2 "
    same "fish completes a choice" "$(offered 'run -b sc')" "scalar "
    same "fish completes an option" "$(offered 'run --tem')" "--temp --template --template-args "
    same "fish completes a command" "$(offered 'perp')" "perplexity "
else
    echo "not run: fish completion: no fish here"
fi
expect 0 "generate into a file" generate man -o "$dir/lockstep.1"
lk generate man | cmp -s - "$dir/lockstep.1"; verdict "it is what is printed" $?
expect 3 "generate into nowhere" generate man -o "$dir/no/where"
if command -v groff >/dev/null; then
    lk generate man | groff -man -ww -Tutf8 2>"$dir/err" >/dev/null; same "the man page has no warnings" "$(err)" ""
fi
lk generate man | awk 'length > 400 {bad = 1} END {exit bad}'; verdict "man page lines" $?

# SPDX-License-Identifier: Apache-2.0
#
# base.sh, for scripts to source: what a change is. It is what differs from LK_BASE, or from where the
# branch left main, or on main from the commit before.
base_of() { # the commit that a change is told from
    local main base='' head
    head=$(git rev-parse HEAD)
    [ -n "${LK_BASE:-}" ] && { git rev-parse "$LK_BASE"; return; }
    for main in origin/main main; do
        base=$(git merge-base "$head" "$main" 2>/dev/null) && break
    done
    case "$base" in '' | "$head") base=$(git rev-parse -q --verify HEAD~1) || base=$head ;; esac
    echo "$base"
}
changed_files() { # changed_files BASE: paths, with those that git does not know yet
    git diff --name-only "$1" && git ls-files -o --exclude-standard
}

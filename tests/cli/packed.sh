#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# packed.sh: --mmap-pack: the same bits, files that are made once, and what is said where none can be
# made. tests/cli/test_cli.sh sources it.

packed=$dir/cache/lockstep/engine/packed
hash=$(hash_of --backend cpu)
[ ! -e "$packed" ]; verdict "nobody asked for packed weights" $?
files() { find "$packed" -type f -printf '%p %i %s %m\n' | sort; }
same "--mmap-pack, new files" "$(hash_of --backend cpu --mmap-pack)" "$hash"
there=$(files)
holds "they are the user's alone" "$there" " 600"
lacks "all of them" "$there" " 644"
same "--mmap-pack, the same files" "$(hash_of --backend cpu --mmap-pack -t 1)" "$hash"
same "in another placement" "$(hash_of --place scalar:0,cpu:1 --mmap-pack)" "$hash"
same "another session moves to it" "$(hash_of --backend scalar --move-at 7:cpu --mmap-pack)" "$hash"
same "nothing was made again" "$(files)" "$there"
same "plain C has rows of its own" "$(hash_of --backend cpu --cpu-level generic --mmap-pack)" "$hash"
lk -v run $model "once upon" -n 2 -b cpu --mmap-pack </dev/null >/dev/null 2>"$dir/err"
holds "-v says where they are" "$(err)" "packed weights are kept in $packed/"
same "one model has one folder" "$(find "$packed" -mindepth 1 -maxdepth 1 | wc -l)" 1
find "$packed" -type f | while read -r f; do truncate -s 100 "$f"; done
same "files that were cut" "$(hash_of --backend cpu --mmap-pack)" "$hash"
same "those of plain C" "$(hash_of --backend cpu --cpu-level generic --mmap-pack)" "$hash"
lacks "are made anew" "$(files)" " 100 600"
for c in run serve embed perplexity bench; do holds "$c has it" "$(lk $c --help)" "--mmap-pack"; done

# Where no file can be made.
rm -rf "$packed"; echo >"$packed"
same "no folder: the bits" "$(hash_of --backend cpu --mmap-pack)" "$hash"
lk run $model "once upon" -n 2 -b cpu --mmap-pack </dev/null >/dev/null 2>"$dir/err"
same "no folder: exit code" "$?" 0
holds "no folder: said" "$(err)" "packed weights are kept in memory: $packed"
same "no folder: said once" "$(err | grep -c 'kept in memory')" 1
rm -f "$packed"
(ulimit -f 8; hash_of --backend cpu --mmap-pack >"$dir/limited")
same "files that may not grow" "$(cat "$dir/limited")" "$hash"
(unset XDG_CACHE_HOME HOME; lk run $model x -n 1 -b cpu --mmap-pack </dev/null >/dev/null 2>"$dir/err")
same "no cache at all: exit code" "$?" 3
holds "no cache at all: said" "$(err)" "--mmap-pack: there is no place for packed weights"
# A file system that has room for some of the files.
mkdir -p "$packed"
cat >"$dir/small.sh" <<'END'
mount -t tmpfs -o size=96k none "$1" || exit 77
"${@:2}" && find "$1" -name '*.part'
END
rm -f "$dir/err"
unshare -rm bash "$dir/small.sh" "$packed" "$program" run $model "once upon a time there was" -n 40 \
    --ignore-eos --logits-sha256 -b cpu --mmap-pack </dev/null >"$dir/out" 2>"$dir/err"
if [ $? -eq 77 ] || grep -q '^unshare' "$dir/err"; then
    echo "not run: a full disk: no file system of our own can be mounted"
else
    same "a full disk: the bits" "$(tail -n 1 "$dir/out")" "$hash"
    holds "a full disk: said" "$(err)" "No space left on device"
fi
rm -rf "$packed"

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# files.sh: where output files lie, what they replace, who may read them. tests/cli/test_cli.sh
# sources it.

kind() { stat -c '%F %a' "$1" 2>&1; }
save() { lk run $model hi --raw -q -n 1 --save "$@" </dev/null >/dev/null 2>"$dir/err"; }
mkdir "$dir/out.d"
(umask 000; save "$dir/out.d/s"); same "a session is the user's alone" "$(kind "$dir/out.d/s")" "regular file 600"
(umask 777; save "$dir/out.d/s"); same "whatever the umask" "$(kind "$dir/out.d/s")" "regular file 600"
ln -s target "$dir/out.d/link"
save "$dir/out.d/link"
same "a link stays" "$(kind "$dir/out.d/link") $(kind "$dir/out.d/target")" "symbolic link 777 regular file 600"
cmp -s "$dir/out.d/s" "$dir/out.d/target"; verdict "its target is written" $?
mkfifo "$dir/out.d/fifo"
cat "$dir/out.d/fifo" >"$dir/through" &
save "$dir/out.d/fifo"; wait $!
cmp -s "$dir/out.d/s" "$dir/through"; verdict "a FIFO is written through" $?
same "and stays one" "$(stat -c %F "$dir/out.d/fifo")" fifo
save "$dir/out.d/fifo"; same "a FIFO without a reader is refused: exit code" $? 3
holds "and by name" "$(err)" "$dir/out.d/fifo: found a pipe that nobody reads"
save >(cat >"$dir/through") && for _ in $(seq 200); do cmp -s "$dir/out.d/s" "$dir/through" && break; sleep 0.1; done
cmp -s "$dir/out.d/s" "$dir/through"; verdict "so is a pipe of the shell" $?
if mknod -m 666 "$dir/out.d/null" c 1 3 2>/dev/null; then
    save "$dir/out.d/null"
    same "a device stays one" "$(stat -c %F "$dir/out.d/null")" "character special file"
else
    echo "not run: saving to a device node of our own: mknod needs root"
fi
save /dev/null; same "/dev/null" "$?/$(stat -c %F /dev/null)" "0/character special file"
save /dev/full; same "a full device: exit code" $? 3
holds "a full device is said" "$(err)" "/dev/full: can't be written: No space"
same "nothing is left beside them" "$(ls "$dir/out.d" | tr '\n' ' ')" \
    "$(ls "$dir/out.d" | grep -E '^(s|link|target|fifo|null)$' | tr '\n' ' ')"

# A bad path shows before the work: the model is not even opened.
for bad in "$dir" "$dir/none/s" "$dir/s/" "" "$model/s"; do
    expect 3 "--save '$bad'" run ./nothing.gguf hi --raw --save "$bad"
    lacks "--save '$bad' fails first" "$(err)" nothing.gguf
    holds "--save '$bad' is named" "$(err)" "${bad:-file name}"
    expect 3 "--report '$bad'" check ./nothing.gguf --report "$bad"
    lacks "--report '$bad' fails first" "$(err)" nothing.gguf
done

# A session takes the place of a session, or of nothing.
echo precious >"$dir/notes"; cp "$model" "$dir/own.model.gguf"; : >"$dir/empty"
for other in "$dir/notes" "$dir/own.model.gguf"; do
    before=$(cksum <"$other")
    expect 3 "--save over another file" run "$dir/own.model.gguf" hi --raw -n 1 --save "$other"
    holds "it is named" "$(err)" "$other: found a file that is no session"
    same "the file is as it was" "$(cksum <"$other")" "$before"
done
save "$dir/empty"; same "an empty file gives way" $? 0
save "$dir/empty"; same "and so does a session" $? 0
rm "$dir/own.model.gguf"

# What was there stays until all is written.
echo precious >"$dir/old"
expect 3 "a model that is not there" run ./nothing.gguf hi --raw --save "$dir/old"
same "what was there stays" "$(cat "$dir/old")" precious
chmod 644 "$dir/old"
expect 0 "a page" check $model --quick --backend cpu --only layer=1,op=attention --report "$dir/old"
same "a page keeps the mode of what it replaces" "$(kind "$dir/old")" "regular file 644"
holds "a page replaces it" "$(cat "$dir/old")" "<html"
savers=()
for i in 1 2 3 4; do save "$dir/same" & savers+=($!); done
wait "${savers[@]}"
expect 0 "saves to one path at once" run $model --load "$dir/same" -n 1
same "one of them is there" "$(ls "$dir" | grep -c '^same')" 1

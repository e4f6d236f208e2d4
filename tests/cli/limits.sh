#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# limits.sh: what a user's shell may limit: stacks, sizes of files. tests/cli/test_cli.sh sources it.

for i in $(seq 20); do echo "It was the $i. day, and all was well."; done >"$dir/days"
h=$(hash_of)
kernels=--kernels # a minute under the sanitizers, where each way of a thing is not run
[ "${LK_EACH_WAY:-1}" = 1 ] || [ "${LK_FULL:-0}" = 1 ] || kernels=
limited=("run $model hi -n 3 --backend scalar" "run $model hi -n 3 --backend ref"
    "tokenize $model hi" "inspect $model" "devices" "check $model --quick --only layer=1"
    "perplexity $model $dir/days --ctx 64 --chunks 1"
    "bench $model -p 20 -n 2 -r 1 --warm-up 0 --stream-mb 0 --ops $kernels" "generate man")
for command in "${limited[@]}"; do
    # shellcheck disable=SC2086
    (ulimit -s 64; exec "$program" -q $command >/dev/null 2>"$dir/err" </dev/null)
    same "$command on a stack of 64 KiB" "$?/$(err)" "0/"
done
for level in generic avx2 avx-vnni avx512 amx neon dotprod i8mm; do
    lk -q run $model hi -n 1 --cpu-level $level </dev/null >/dev/null 2>&1 || continue
    same "a stack of 64 KiB changes no bits: $level" \
        "$(ulimit -s 64; hash_of --cpu-level $level --threads 2 --batch 32)" "$h"
done

# A file that may not grow is an error with its name, not the end of the program by a signal.
save_limited() { (ulimit -f "$1"; exec "$program" -q run $model hi -n 3 --save "$dir/limited" >/dev/null 2>"$dir/err" </dev/null); }
echo LKSESS before >"$dir/limited"
save_limited 1
same "--save beyond a limit" "$?" 3
holds "--save beyond a limit is said" "$(err)" "limited: can't be written: File too large"
same "what was there stays" "$(cat "$dir/limited")" "LKSESS before"
same "nothing else is there" "$(ls "$dir" | grep -c '^limited')" 1
# What can't be kept in the cache is computed each time.
(ulimit -f 0; XDG_CACHE_HOME=$dir/no-room exec "$program" devices --json 2>/dev/null) | cat >"$dir/out"
same "a cache that can't be written" "${PIPESTATUS[0]}/$(grep -c backend "$dir/out" | grep -cv '^0')" 0/1

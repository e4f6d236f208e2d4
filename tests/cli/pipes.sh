#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pipes.sh: pipes that close, full disks, interrupts. tests/cli/test_cli.sh sources it.

lk run $model hello --ignore-eos 2>"$dir/err" </dev/null | head -c 1 >/dev/null
same "a closed pipe: exit code" "${PIPESTATUS[0]}" 0
same "a closed pipe is quiet" "$(grep -c error "$dir/err")" 0
lk inspect $model 2>"$dir/err" | head -n 1 >/dev/null
same "inspect | head" "${PIPESTATUS[0]}/$(err)" "0/"
if [ -w /dev/full ]; then
    lk inspect $model >/dev/full 2>"$dir/err"
    same "a full disk: exit code" $? 3
    holds "a full disk is said" "$(err)" "writing the output"
fi
python3 - "$program" $model <<'PY'
import signal, subprocess, sys, threading, time
p = subprocess.Popen([sys.argv[1], "run", sys.argv[2], "hello", "--ignore-eos", "--backend", "ref"],
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
p.stdout.read(1)
p.send_signal(signal.SIGINT)
out, err = p.communicate(timeout=60)
sys.exit(not (p.returncode == 130 and b"generated: " in err and b"error" not in err))
PY
verdict "SIGINT: statistics, then 130" $?

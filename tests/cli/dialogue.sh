#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# dialogue.sh: a dialogue on a terminal. tests/cli/test_cli.sh sources it.

if ! python3 -c 'import os; os.openpty()' 2>/dev/null; then
    echo "not run: a dialogue with line editing: this machine has no pseudo-terminals (/dev/pts)"
else
python3 - "$program" "$chat" <<'PY'
import ctypes, os, pty, select, signal, struct, sys, time
def talk(steps):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["NO_COLOR"] = "1"
        os.execv(sys.argv[1], [sys.argv[1], "run", sys.argv[2], "--chat", "-n", "3", "--ignore-eos", "-v"])
    seen, mark = b"", 0
    for wait, keys in steps:
        end = time.time() + 30
        while wait not in seen[mark:]:
            if not select.select([fd], [], [], max(0, end - time.time()))[0]:
                sys.exit(f"no {wait!r} in {seen!r}")
            try:
                seen += os.read(fd, 65536)
            except OSError:
                sys.exit(f"ended: {seen!r}")
        mark = seen.index(wait, mark) + len(wait)
        keys(pid) if callable(keys) else os.write(fd, keys)
    try:
        while True:
            piece = os.read(fd, 65536)
            if not piece:
                break
            seen += piece
    except OSError:
        pass
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), seen

code, seen = talk([(b"> ", b"ac\x1b[Db\x05\xc3\xa9\x7fd"), (b"abcd", b"\r"), (b"generated: 3", b""),
                   (b"> ", b"\x1b[A"), (b"abcd", b"\x17xy"), (b"xy", b"\r"), (b"generated: 3", b""), (b"> ", b"\x04")])
if code != 0:
    sys.exit(f"code {code}: {seen!r}")
code, seen = talk([(b"> ", b"some"), (b"some", b"\x03"), (b"> ", b"new"), (b"new", b"\r"), (b"generated: 3", b""), (b"> ", b"\x03")])
if code != 130:
    sys.exit(f"code {code}: {seen!r}")

def interrupt_a_worker(pid): # Ctrl-C is the process's: any thread of it may be the one that is told
    thread = max(int(t) for t in os.listdir(f"/proc/{pid}/task"))
    tgkill = {"x86_64": 234, "aarch64": 131}[os.uname().machine]
    if ctypes.CDLL(None).syscall(tgkill, pid, thread, signal.SIGINT) != 0:
        sys.exit("tgkill failed")

code, seen = talk([(b"> ", b"some"), (b"some", interrupt_a_worker), (b"> ", b"new"), (b"new", b"\x03"), (b"> ", b"\x03")])
if code != 130:
    sys.exit(f"code {code}: {seen!r}")
PY
verdict "a dialogue with line editing" $?
fi

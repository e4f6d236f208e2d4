#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# pipes.sh: pipes that close, full disks, interrupts. tests/cli/test_cli.sh sources it.

lk run $model hello --ignore-eos 2>"$dir/err" </dev/null | head -c 1 >/dev/null
same "a closed pipe: exit code" "${PIPESTATUS[0]}" 0
same "a closed pipe is quiet" "$(grep -c error: "$dir/err")" 0

# Every command that prints, with what it needs.
for i in $(seq 20); do echo "It was the $i. day, and all was well."; done >"$dir/days"
echo '{"messages": [{"role": "user", "content": "hi"}]}' >"$dir/ask.json"
printing=("run $model hi -n 3" "run $model hi -n 3 --json" "run $model hi -n 3 --logits-sha256"
    "tokenize $model hi" "tokenize --json $model hi" "tokenize --decode $model 40,41"
    "template $chat $dir/ask.json" "template --ids $chat $dir/ask.json" "template --json $chat $dir/ask.json"
    "inspect $model" "inspect --json $model" "devices" "devices --json"
    "check $model --quick --backend cpu --only layer=1,op=attention"
    "check $model --quick --backend cpu --only layer=1,op=attention --json"
    "perplexity $model $dir/days --ctx 64 --chunks 1" "perplexity $model $dir/days --ctx 64 --chunks 1 --json"
    "bench $model -p 2 -n 2 -r 1 --warm-up 0 --stream-mb 0"
    "bench $model -p 2 -n 2 -r 1 --warm-up 0 --stream-mb 0 --csv"
    "bench $model -p 2 -n 2 -r 1 --warm-up 0 --stream-mb 0 --json"
    "list" "list --json" "help" "help run" "generate man" "generate bash" "generate zsh" "generate fish" "--help" "run --help" "--version")
# All write through one file of the library: with LK_EACH_WAY=0 each command fails in one way, by turns.
turn=0
way() { [ "${LK_EACH_WAY:-1}" = 1 ] || [ "${LK_FULL:-0}" = 1 ] || [ $((turn % 4)) = "$1" ]; }
for command in "${printing[@]}"; do
    turn=$((turn + 1))
    # shellcheck disable=SC2086
    {
        way 0 && [ -w /dev/full ] && {
            lk -q $command >/dev/full 2>"$dir/err" </dev/null
            same "$command on a full disk" "$?/$(grep -c 'writing the output: No space' "$dir/err")" 3/1
        }
        way 1 && {
            lk -q $command >&- 2>"$dir/err" </dev/null
            same "$command on a closed stdout" "$?/$(grep -c 'writing the output: Bad file' "$dir/err")" 3/1
        }
        way 2 && {
            (ulimit -f 0; exec "$program" -q $command >"$dir/none" 2>/dev/null </dev/null)
            same "$command beyond a limit of file size" $? 3
        }
        way 3 && { # the reader is gone before the first byte
            { sleep 0.05; lk -q $command 2>"$dir/err" </dev/null; echo $? >"$dir/code"; } | true
            same "$command on a closed pipe" "$(cat "$dir/code" "$dir/err")" 0
        }
    }
done
[ -w /dev/full ] && {
    lk run $model hi -n 1 >/dev/null 2>/dev/full </dev/null
    same "messages on a full disk" $? 3
}
lk run $model hi -n 1 >"$dir/out" 2>&- </dev/null; same "closed stderr" $? 0
lk -q run $model hi -n 1 <&- >"$dir/out2"; same "closed stdin" $? 0
cmp -s "$dir/out" "$dir/out2"; verdict "closed descriptors change no text" $?
lk -q run $model <&- >/dev/null 2>"$dir/err"; same "a prompt from a closed stdin" $? 3
holds "a prompt from a closed stdin is said" "$(err)" "standard input: Bad file"
lk -q tokenize $model --file "$dir/days" >&- 2>&- <&-; same "nothing open" $? 3

# Descriptors that a parent set not to block: nothing is lost, nothing fails.
python3 - "$program" $model <<'PY'
import fcntl, os, subprocess, sys, time
def nonblocking(fd):
    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_NONBLOCK)
text = b"".join(b"line %d of a text that is longer than a pipe\n" % i for i in range(6000))
plain = subprocess.run([sys.argv[1], "tokenize", sys.argv[2]], input=text, stdout=subprocess.PIPE).stdout
out_r, out_w = os.pipe()
in_r, in_w = os.pipe()
nonblocking(out_w)
nonblocking(in_r)
p = subprocess.Popen([sys.argv[1], "tokenize", sys.argv[2]], stdin=in_r, stdout=out_w)
os.close(in_r), os.close(out_w)
time.sleep(0.1) # nothing to read yet
if os.fork() == 0:
    os.close(out_r)
    while text:
        text = text[os.write(in_w, text[:50000]):]
    os._exit(0)
os.close(in_w)
time.sleep(0.5) # nobody reads yet
found = b""
while piece := os.read(out_r, 3000):
    found += piece
    len(found) < 60000 and time.sleep(0.01)
sys.exit(p.wait() or len(plain) < 200000 or found != plain)
PY
verdict "descriptors that do not block" $?

python3 - "$program" $model <<'PY'
import signal, subprocess, sys, threading, time
p = subprocess.Popen([sys.argv[1], "run", sys.argv[2], "hello", "--ignore-eos", "--backend", "ref", "-v"],
                     stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
p.stdout.read(1)
p.send_signal(signal.SIGINT)
out, err = p.communicate(timeout=60)
sys.exit(not (p.returncode == 130 and b"generated: " in err and b"error" not in err))
PY
verdict "SIGINT: statistics, then 130" $?

# Signals that end a run with --save end it as Ctrl-C does; without, and when ignored, as ever.
echo '{{ messages[-1].content }}' >"$dir/last.jinja"
python3 - "$program" $model "$dir/ended" "$dir/last.jinja" <<'PY'
import os, signal, subprocess, sys
program, model, path = sys.argv[1:4]
def ask(*args, ignored=None):
    return subprocess.Popen([program, "run", model, "hello", "--ignore-eos", "--backend", "ref", *args],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                            preexec_fn=(lambda: signal.signal(ignored, signal.SIG_IGN)) if ignored else None)
for number in (signal.SIGTERM, signal.SIGHUP):
    p = ask("--save", path)
    p.stdout.read(1)
    p.send_signal(number)
    p.communicate(timeout=60)
    assert p.returncode == 128 + number, p.returncode
    assert open(path, "rb").read(6) == b"LKSESS"
    assert subprocess.run([program, "-q", "run", model, "--load", path, "-n", "1"], stdin=subprocess.DEVNULL,
                          stdout=subprocess.DEVNULL).returncode == 0
    os.remove(path)
    p = ask()
    p.stdout.read(1)
    p.send_signal(number)
    p.communicate(timeout=60)
    assert p.returncode == -number, p.returncode
for number in (signal.SIGINT, signal.SIGTERM): # while nothing is typed
    p = subprocess.Popen([program, "-q", "run", model, "--chat", "--template", sys.argv[4], "-n", "1", "--save", path],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    p.stdin.write(b"one\n")
    p.stdin.flush()
    p.stdout.read(1)
    p.send_signal(number)
    assert p.wait(timeout=30) == 128 + number, p.returncode
    assert open(path, "rb").read(6) == b"LKSESS"
    os.remove(path)
p = ask("--save", path, "-n", "3", ignored=signal.SIGHUP)
p.send_signal(signal.SIGHUP)
p.communicate(timeout=60)
assert p.returncode == 0 and os.path.exists(path), p.returncode
PY
verdict "SIGTERM and SIGHUP: --save is done, then 128 and the signal" $?

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# test_cli.sh [LOCKSTEP]: the program as a user or a script meets it: what goes to stdout and what
# to stderr, exit codes, interrupts, the same bits whatever the options. Runs on the tiny models of
# tests/golden; prints a closing line in Criterion's form, one test a check.
set -uo pipefail
cd "$(dirname "$0")/../.."
program=$(realpath "${1:-${LK_BUILD:-build}/lockstep}")
model=tests/golden/tiny-llama.gguf
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
export XDG_CACHE_HOME=$dir/cache
. tests/util/verdict.sh

lk() { "$program" "$@"; }
same() { [ "$2" = "$3" ]; verdict "$1" $? "found '$2', expected '$3'"; }
differ() { [ "$2" != "$3" ]; verdict "$1" $? "'$2' twice"; }
holds() { case "$2" in *"$3"*) verdict "$1" 0 ;; *) verdict "$1" 1 "'$2' has no '$3'" ;; esac; }
# expect CODE NAME ARGS...: the exit code; stdout and stderr are left in $dir.
expect() {
    local code=$1 name=$2 found
    shift 2
    lk "$@" >"$dir/out" 2>"$dir/err" </dev/null
    found=$?
    same "$name: exit code" "$found" "$code"
}
err() { cat "$dir/err"; }
out() { cat "$dir/out"; }
hash_of() { lk -q run $model "once upon a time there was" -n 40 --ignore-eos --logits-sha256 "$@" </dev/null | tail -n 1; }

# ---- usage ----
expect 0 "--help" --help; holds "--help lists commands" "$(out)" perplexity; same "--help is quiet" "$(err)" ""
for c in run perplexity tokenize inspect bench check pull devices generate; do
    expect 0 "$c --help" $c --help; holds "$c --help" "$(out)" "usage: lockstep $c"
done
expect 0 "--version" --version; holds "--version has numerics" "$(out)" "numerics 1"
expect 2 "no command"; same "no command: stdout" "$(out)" ""
expect 2 "unknown command" fly; holds "unknown command is named" "$(err)" "'fly'"
expect 2 "unknown option" run $model x --fly; holds "unknown option is named" "$(err)" "--fly"
expect 2 "missing value" run $model x --seed
expect 2 "bad number" run $model x -n 1x; holds "bad number is named" "$(err)" "'1x'"
expect 2 "number out of range" run $model x --top-p 1.5
expect 2 "bad choice" run $model x --backend warp; holds "choices are listed" "$(err)" "scalar"
expect 2 "too many arguments" inspect $model x
expect 2 "bad bias" run $model x --logit-bias 5
expect 2 "bad move" run $model x --move-at cpu
expect 2 "empty stop" run $model x --stop ""
expect 2 "raw and chat" run $model --raw --chat
expect 2 "context beyond the model's" run $model x --ctx 100000
expect 3 "no such file" run ./nothing.gguf x; holds "the file is named" "$(err)" "nothing.gguf"
expect 3 "no model" inspect CMakeLists.txt/
echo broken >"$dir/broken.gguf"
expect 3 "broken model" inspect "$dir/broken.gguf"
expect 3 "unknown name" pull no-such-model
expect 3 "chat without a template" run $model --chat
expect 3 "empty text" perplexity $model /dev/null --ctx 64
err | grep -q $'\033'; [ $? -ne 0 ]; verdict "no colors off a terminal" $?

# ---- inspect and tokenize ----
expect 0 "inspect" inspect $model; holds "inspect says it runs" "$(out)" "runs: yes"
expect 0 "inspect vocabulary" inspect tests/golden/tok-bpe.gguf
holds "inspect says why not" "$(out)" "runs: no: "
lk inspect --json $model | python3 -c 'import json, sys
m = json.load(sys.stdin)
sys.exit(not (m["runs"] and m["architecture"] == "llama" and len(m["tensors"]) > 5))'
verdict "inspect --json" $?
for m in tests/golden/tok-*.gguf; do
    printf 'a\tb \xf0\x9f\x99\x82 \xff\xfe caf\xc3\xa9\n\n  x' >"$dir/text"
    case $m in *unknown*) continue ;; esac
    lk tokenize $m --file "$dir/text" >"$dir/ids" && lk tokenize $m --decode <"$dir/ids" | cmp -s - "$dir/text"
    verdict "tokenize and back: $m" $?
done
same "tokenize reads stdin" "$(printf hello | lk tokenize $model)" "$(lk tokenize $model hello)"
same "--json" "$(lk tokenize --json $model hello)" "[$(lk tokenize $model hello | tr ' ' ,)]"
differ "--no-bos" "$(lk tokenize --no-bos $model hello)" "$(lk tokenize $model hello)"
expect 3 "id out of range" tokenize --decode $model "1 999999"
expect 3 "no id" tokenize --decode $model "1 x"
expect 2 "text twice" tokenize $model hello --file "$dir/text"

# ---- run: the same bits ----
h=$(hash_of)
holds "the hash is one" "$h" "logits-sha256: "
for b in 1 7 64; do same "micro-batch $b" "$(hash_of --batch $b)" "$h"; done
same "scalar" "$(hash_of --backend scalar)" "$h"
same "cpu, 2 threads" "$(hash_of --backend cpu --threads 2)" "$h"
same "moved in mid-sentence" "$(hash_of --backend scalar --move-at 7:cpu)" "$h"
differ "another prompt" "$(lk -q run $model "twice" -n 40 --ignore-eos --logits-sha256 </dev/null | tail -n 1)" "$h"
gen() { lk -q run $model "once upon" --ignore-eos "$@" </dev/null; }
whole=$(gen -n 30 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])')
gen -n 12 --save "$dir/s" >/dev/null
gen -n 12 --json | python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])' >"$dir/first"
lk -q run $model --load "$dir/s" --ignore-eos -n 18 --json </dev/null |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["ids"])' >"$dir/second"
same "saved and continued" "$(cat "$dir/first" "$dir/second" | tr '\n' ' ' | sed 's/\] \[/, /; s/ $//')" "$whole"
lk run $model "once upon" --load "$dir/s" -n 2 </dev/null 2>"$dir/err" >/dev/null
grep -Eq 'reused' "$dir/err" && ! grep -q ' 0 reused' "$dir/err"
verdict "a loaded session serves as cache" $?
expect 3 "session of another model" run tests/golden/tiny-qwen2.gguf --load "$dir/s"
one=$(gen -n 20 --temp 1 --seed 5 | od -c)
same "a seed repeats" "$(gen -n 20 --temp 1 --seed 5 --batch 1 | od -c)" "$one"
differ "another seed" "$(gen -n 20 --temp 1 --seed 6 | od -c)" "$one"
same "top-k 1 is greedy" "$(gen -n 20 --temp 1 --top-k 1 | od -c)" "$(gen -n 20 | od -c)"

# ---- run: how it ends ----
expect 0 "full context" run $model "hello" --ctx 40 --ignore-eos
holds "full context is said" "$(err)" "context is full: 40 tokens"
expect 3 "prompt too long" run $model "hello, hello, hello, hello" --ctx 8
holds "prompt too long: the context" "$(err)" "the context 8"
holds "prompt too long: the prompt" "$(err)" "$(lk tokenize $model "hello, hello, hello, hello" | wc -w) tokens"
expect 0 "statistics" run $model hello -n 3; holds "statistics" "$(err)" "generated: 3 tokens"
expect 0 "quiet" -q run $model hello -n 3; same "quiet" "$(err)" ""
gen -n 30 >"$dir/text"
python3 - "$dir/text" <<'PY' >"$dir/stop"
import sys
text = open(sys.argv[1], "rb").read().decode("utf-8", "replace")
print(next(text[i:i + 2] for i in range(3, len(text)) if "\ufffd" not in text[i:i + 2] and "\n" not in text[i:i + 2] and "\0" not in text[i:i+2]), end="")
PY
gen -n 30 --stop "$(cat "$dir/stop")" >"$dir/cut"
python3 - "$dir/text" "$dir/cut" "$dir/stop" <<'PY'
import sys
text, cut, stop = (open(f, "rb").read() for f in sys.argv[1:])
at = text.index(stop)
sys.exit(cut.rstrip(b"\n") != text[:at].rstrip(b"\n"))
PY
verdict "stop string" $?
gen -n 30 --stop "never in this text" | cmp -s - "$dir/text"; verdict "a stop string that never comes" $?
printf 'once upon' | lk -q run $model --ignore-eos -n 30 | cmp -s - "$dir/text"; verdict "prompt from stdin" $?
printf 'once upon' | lk -q run $model - --ignore-eos -n 30 | cmp -s - "$dir/text"; verdict "prompt -" $?

# ---- pipes and interrupts ----
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

# ---- check ----
expect 0 "check" check $model --quick --backend cpu --report "$dir/report.html"
holds "check: the verdict comes last" "$(out | tail -n 1)" "EQUAL: "
holds "check says what was not run" "$(out)" "--backend cpu was asked for"
same "check is quiet off a terminal" "$(err)" ""
holds "the page has the verdict" "$(cat "$dir/report.html")" "Equal</b>"
python3 - "$dir/report.html" <<'END'
import html.parser, re, sys
text = open(sys.argv[1]).read()
class Page(html.parser.HTMLParser):
    open_tags, bad, tags = [], [], 0
    def handle_starttag(self, tag, attrs):
        self.tags += 1
        # the page loads nothing: no scripts, pictures, style sheets, addresses
        if tag in ("script", "img", "link", "iframe", "a") or any(k in ("src", "href") for k, v in attrs):
            self.bad.append(tag)
page = Page()
page.feed(text)
sys.exit(not (page.tags > 100 and not page.bad and "://" not in text and "url(" not in text))
END
verdict "the page needs nothing else" $?
lk check $model --quick --backend cpu --json --report "$dir/report.json" | python3 -c 'import json, sys
c = json.load(sys.stdin)
d = json.load(open(sys.argv[1]))
sys.exit(not (c["verdict"] == d["verdict"] == "equal" and "difference" not in c
    and len(c["cells"]) == c["layers"] + 2 and len(c["fingerprint"]) == 64
    and all(len(row) == len(c["columns"]) for row in c["cells"])
    and {e["state"] for e in c["entries"]} == {"equal", "within", "not run"}))' "$dir/report.json"
verdict "check --json" $?
expect 0 "run --test" run $model --test --backend cpu; holds "run --test checks" "$(out | tail -n 1)" "EQUAL: "
expect 2 "run --test with a prompt" run $model x --test
expect 0 "run --test --quick" run $model --test --quick --backend cpu --only layer=1 --report "$dir/run.json"
holds "run --test writes a certificate" "$(cat "$dir/run.json")" '"verdict":"equal"'
expect 2 "run --quick" run $model x --quick; holds "it is named" "$(err)" "need --test"
expect 0 "check one op" check $model --backend cpu --only layer=1,op=attention
holds "check repeats itself" "$(out)$(lk check $model --backend cpu --only layer=head --json)" '--only layer=head'
for only in layer= layer=x layer=-1 op= attention layer=1op=x ''; do
    expect 2 "check --only '$only'" check $model --backend cpu --only "$only"
done
expect 2 "check of a layer beyond" check $model --only layer=99; holds "it is named" "$(err)" "layer 99"
expect 5 "check on no such device" check $model --device 'no such device'
expect 3 "check of a broken model" check "$dir/broken.gguf"
expect 3 "check with a report nowhere" check $model --quick --backend cpu --report "$dir/no/where.html"
expect 5 "nothing to switch off" devices --device 'no such device' --switch-off mapped

# ---- devices ----
expect 0 "devices" devices; holds "devices ends with the CPU" "$(out)" "cpu, "
lk devices --json | python3 -c 'import json, sys
d = json.load(sys.stdin)
sys.exit(not (d[-1]["backend"] == "cpu" and d[-1]["exact"] and sum(x["chosen"] for x in d) == 1))'
verdict "devices --json" $?

# ---- a dialogue on a terminal ----
if ! python3 -c 'import os; os.openpty()' 2>/dev/null; then
    echo "not run: a dialogue with line editing: this machine has no pseudo-terminals (/dev/pts)"
else
python3 - "$program" "$dir/chat.gguf" <<'PY'
import ctypes, os, pty, select, signal, struct, sys, time
from gguf import GGUFReader, GGUFWriter, GGUFValueType
source, out = GGUFReader("tests/golden/tiny-llama.gguf"), GGUFWriter(sys.argv[2], "llama")
for f in source.fields.values():
    if f.name.startswith("GGUF.") or f.name == "general.architecture":
        continue
    value = f.contents()
    if f.name == "tokenizer.ggml.tokens":
        value[254:256] = ["<|im_start|>", "<|im_end|>"]
    if f.name == "tokenizer.ggml.token_type":
        value[254:256] = [3, 3]
    sub = f.types[-1] if f.types[0] == GGUFValueType.ARRAY else None
    out.add_key_value(f.name, value, f.types[0], sub)
out.add_chat_template("{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n")
for t in source.tensors:
    out.add_tensor(t.name, t.data, raw_dtype=t.tensor_type)
out.write_header_to_file(); out.write_kv_data_to_file(); out.write_tensors_to_file(); out.close()

def talk(steps):
    pid, fd = pty.fork()
    if pid == 0:
        os.environ["NO_COLOR"] = "1"
        os.execv(sys.argv[1], [sys.argv[1], "run", sys.argv[2], "--chat", "-n", "3", "--ignore-eos"])
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

# ---- perplexity ----
for i in $(seq 40); do echo "It was the $i. day of the year, and all was well."; done >"$dir/book"
expect 0 "perplexity" perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256
ppl=$(out)
holds "perplexity: +/-" "$ppl" " +/- "
same "perplexity: the hash is last" "$(tail -n 1 "$dir/out" | cut -c 1-15)" "logits-sha256: "
for b in 1 7; do
    same "perplexity, micro-batch $b" \
        "$(lk -q perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256 --batch $b)" "$ppl"
done
same "perplexity from stdin" "$(lk -q perplexity $model - --ctx 64 --chunks 3 --logits-sha256 <"$dir/book")" "$ppl"
lk -q perplexity $model "$dir/book" --ctx 64 --chunks 3 --logits-sha256 --json | python3 -c 'import json, sys
p = json.load(sys.stdin)
first, last = sys.argv[1].split("\n")
sys.exit(not ("%.4f" % p["perplexity"] == first.split()[1] and p["logits_sha256"] == last.split()[1]
              and p["n_chunks"] == 3 and p["n_scored"] == 3 * 31))' "$ppl"
verdict "perplexity --json" $?
echo "Too short." >"$dir/short"
expect 3 "a text shorter than a chunk" perplexity $model "$dir/short" --ctx 64
holds "a text shorter than a chunk: both numbers" "$(err)" "at least --ctx 64"
expect 3 "no text" perplexity $model "$dir/none" --ctx 64
expect 2 "a chunk longer than the model's context" perplexity $model "$dir/book"

# ---- bench ----
bench() { lk -q bench $model -p 9 -n 5 --warm-up 0 --stream-mb 4 "$@" </dev/null; }
expect 0 "bench" bench $model -p 9 -n 5 -r 2 --warm-up 0 --stream-mb 4 --roofline --ops
for word in "prefill " "decode " "load " "resident " "GB/s touched" "% reached" attn_q.weight wait; do
    holds "bench shows '$word'" "$(out)" "$word"
done
bench -r 3 --roofline --ops --crowd 5 --pin --json | python3 -c 'import json, sys
b = json.load(sys.stdin)
def ordered(s): return s["min"] == min(s["runs"]) <= s["median"] == sorted(s["runs"])[1] <= s["max"] == max(s["runs"])
calls = {o["tensor"]: o["calls"] for o in b["decode_ops"]["ops"]}
sys.exit(not (len(b["prefill"]["runs"]) == 3 and ordered(b["prefill"]) and ordered(b["decode"])
              and len(b["crowd"]["decode"]["runs"]) == 3 and b["crowd"]["threads"] == b["crowd"]["asked"] == 5
              and abs(b["crowd"]["decode_ratio"] / b["decode"]["median"] * b["crowd"]["decode"]["median"] - 1) < 1e-4
              and b["memory"]["resident_loaded"] > b["memory"]["file"] > 0 and b["memory"]["cache"] > 0 and b["memory"]["work_area"] > 0
              and b["n_prompt"] == 9 and b["decode_ops"]["n_tokens"] == 5 and calls["output.weight"] == 5
              and b["read_bytes_per_second"] > 0 and b["roofline"]["decode_percent"] > 0
              and b["roofline"]["matmul_type"] == "F16" and b["roofline"]["prefill_percent"] > 0
              and abs(b["touched_bytes_per_second"] / b["decode"]["median"] / b["token_weight_bytes"] - 1) < 1e-4))'
verdict "bench --json" $?
bench -r 1 --roofline --ops --kernels --cpu-level generic -p 1 --csv | python3 -c 'import csv, sys
rows = list(csv.reader(sys.stdin))
sections = {r[0] for r in rows[1:]}
sys.exit(not (rows[0][0] == "section" and all(len(r) == 8 for r in rows)
              and {"lockstep", "memory", "roofline", "prefill op", "decode op", "kernel"} <= sections
              and sum(r[0] == "kernel" and r[3] == "GOPS" for r in rows) >= 13
              and all(float(r[4]) >= 0 for r in rows[1:])))'
verdict "bench --csv" $?
same "bench -p 0" "$(bench -p 0 -r 1 --csv | grep -c prefill)" 0
expect 2 "bench nothing" bench $model -p 0 -n 0
expect 2 "bench without a model" bench; holds "bench without a model: what it needs" "$(err)" "MODEL"
expect 2 "bench --ops without a model" bench --kernels --ops
expect 2 "bench in two forms" bench $model --csv --json
expect 2 "bench in a short context" bench $model -p 9 --ctx 8
expect 2 "a peer nobody knows" bench $model --peer /bin/true; holds "a peer nobody knows: those known" "$(err)" llama-server
expect 2 "no peer" bench $model --peer "$dir/llama-bench"
# Peers whose figures are known: the n-th run of prefill says 100 n, of decode n.
cat >"$dir/llama-bench" <<'PY'
#!/usr/bin/env python3
import json, os, sys
arg = dict(zip(sys.argv[1::2], sys.argv[2::2]))
log = os.path.join(os.path.dirname(__file__), "log")
kind = 1 if arg["-p"] == "0" else 100
open(log, "a").write(" ".join(sys.argv[1:]) + "\n")
n = sum(("-p 0" in l) == (kind == 1) for l in open(log))
print(json.dumps([{"build_commit": "abc", "build_number": 7, "backends": "CPU", "n_prompt": int(arg["-p"]), "avg_ts": n * kind}]))
PY
cat >"$dir/llama-server" <<'PY'
#!/usr/bin/env python3
import http.server, json, sys
arg = dict(zip(sys.argv[1::2], sys.argv[2::2]))
class Answer(http.server.BaseHTTPRequestHandler):
    def say(self, what):
        body = json.dumps(what).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def do_GET(self):
        self.say({"status": "ok"} if self.path == "/health" else {"build_info": "b9-def"})
    def do_POST(self):
        q = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.say({"timings": {"prompt_per_second": 10.0 * len(q["prompt"]), "predicted_per_second": 3.0 * q["n_predict"]}})
    def log_message(self, *a): pass
http.server.HTTPServer(("127.0.0.1", int(arg["--port"])), Answer).serve_forever()
PY
chmod +x "$dir/llama-bench" "$dir/llama-server"
peer() { bench -r 3 --threads 2 --peer "$1" --json | python3 -c 'import json, sys
b = json.load(sys.stdin)
p = b["peer"]
near = lambda x, y: abs(x / y - 1) < 1e-4
print(p["program"], p["build"], p["prefill"]["runs"], p["decode"]["runs"],
      near(p["prefill_ratio"], b["prefill"]["median"] / p["prefill"]["median"])
      and near(p["decode_ratio"], b["decode"]["median"] / p["decode"]["median"]))'; }
same "llama-bench as peer" "$(peer "$dir/llama-bench")" "llama-bench 7 (abc) CPU [100, 200, 300] [1, 2, 3] True"
same "the peer runs in turns, with our threads" "$(head -n 2 "$dir/log" | sed 's/-m [^ ]* //' | tr '\n' ';')" \
    "-p 9 -n 0 -r 1 -o json -ngl 0 -t 2;-p 0 -n 5 -r 1 -o json -ngl 0 -t 2;"
same "llama-server as peer" "$(peer "$dir/llama-server")" "llama-server b9-def [90, 90, 90] [15, 15, 15] True"
printf '#!/bin/sh\nexit 3\n' >"$dir/llama-bench"
cp "$dir/llama-bench" "$dir/llama-server"
expect 3 "a peer that fails" bench $model -p 2 -n 0 -r 1 --warm-up 0 --peer "$dir/llama-bench"
holds "a peer that fails: its code" "$(err)" "ended with 3"
expect 3 "a server that ends" bench $model -p 2 -n 0 -r 1 --warm-up 0 --peer "$dir/llama-server"
printf '#!/bin/sh\nkill -ILL $$\n' >"$dir/llama-bench"
expect 3 "a peer for another machine" bench $model -p 2 -n 0 -r 1 --warm-up 0 --peer "$dir/llama-bench"
holds "a peer for another machine: its signal" "$(err)" "signal 4 (Illegal"
printf '#!/bin/sh\necho "[{}]"\n' >"$dir/llama-bench"
expect 3 "a peer without figures" bench $model -p 2 -n 0 -r 1 --warm-up 0 --peer "$dir/llama-bench"
holds "a peer without figures is said" "$(err)" '"avg_ts"'

# ---- generated documents ----
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

closing

#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# bench.sh: bench, and the programs it is held against. tests/cli/test_cli.sh sources it.

bench() { lk -q bench $model -p 9 -n 5 --warm-up 0 --stream-mb 4 "$@" </dev/null; }
expect 0 "bench" bench $model -p 9 -n 5 -r 2 --warm-up 0 --stream-mb 4 --roofline --ops
for word in "prefill " "decode " "load " "resident " "GB/s touched" "% reached" "mean over the threads" attn_q.weight wait; do
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
same "bench --kernels --type" "$(bench -r 1 --kernels --type Q6_K --cpu-level generic --csv | grep ^kernel | cut -d , -f 3 | sort -u)" Q6_K
expect 2 "kernels of no type" bench --kernels --type Q9; holds "kernels of no type: those known" "$(err)" Q4_K
expect 2 "bench --type without --kernels" bench $model --type Q4_K
expect 2 "bench in two forms" bench $model --csv --json
expect 2 "bench in a short context" bench $model -p 9 --ctx 8
same "bench --depth --csv" "$(bench -r 2 -p 0 --depth 3,11 --csv | grep ^depth | cut -d , -f 1-4,8 | tr '\n' ';')" \
    "depth,decode,3,tokens/s,2;depth,decode,11,tokens/s,2;"
expect 0 "bench --depth" bench $model -p 2 -n 2 -r 1 --warm-up 0 --depth 5; holds "bench --depth shows depths" "$(out)" "   depth "
bench -r 1 -n 0 --depth 0,5 --svg "$dir/one.svg" >/dev/null; same "one panel" "$(grep -c '<polyline' "$dir/one.svg")" 1
for wrong in "--depth 5,3" "--depth 0,x" "--depth ," "--depth -1" "--depth 0,2 --ops" "--depth 0,2 --crowd 2" \
    "--depth 0,2 --roofline" "--svg $dir/no.svg" "--depth 3 --svg $dir/no.svg" "--depth 0,9 --ctx 12"; do
    expect 2 "bench $wrong" bench $model -p 4 -n 2 -r 1 --warm-up 0 $wrong
done
[ ! -e "$dir/no.svg" ]; verdict "no figure after a wrong command" $?
expect 2 "bench --depth without a model" bench --kernels --depth 0,2
expect 3 "a figure nowhere" bench $model -p 2 -n 2 -r 1 --warm-up 0 --depth 0,2 --svg "$dir/none/a.svg"
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
rm "$dir/log"
bench -r 2 --threads 2 --peer "$dir/llama-bench" --depth 0,7,40 --svg "$dir/depth.svg" --json | python3 -c 'import json, sys
import xml.etree.ElementTree as xml
b = json.load(sys.stdin)
d = b["depths"]
def good(s): return s["n"] == 2 and 0 < s["min"] <= s["median"] <= s["max"]
kinds = ("prefill", "decode", "peer_prefill", "peer_decode")
root = xml.parse(sys.argv[1]).getroot()
tags = [e.tag.split("}")[1] for e in root.iter()]
curves = [e.get("points") for e in root.iter() if e.tag.endswith("polyline")]
inside = all(0 <= float(x) <= 720 and 0 <= float(y) <= 656 for c in curves for x, y in (p.split(",") for p in c.split()))
sys.exit(not ([p["depth"] for p in d] == [0, 7, 40] and all(good(p[k]) for p in d for k in kinds)
              and "prefill" not in b and len(curves) == 4 and all(len(c.split()) == 3 for c in curves) and inside
              and tags.count("circle") == 6 and tags.count("title") == 13
              and "href" not in open(sys.argv[1]).read() and "prefers-color-scheme:dark" in open(sys.argv[1]).read()))' "$dir/depth.svg"
verdict "bench --depth --svg" $?
same "the peer is given the depths, in rounds" \
    "$(sed -E 's/.*-p ([0-9]+) -n [0-9]+( -d [0-9]+)?.*/\1\2/' "$dir/log" | tr '\n' ';')" \
    "9;0;9 -d 7;0 -d 7;9 -d 40;0 -d 40;9;0;9 -d 7;0 -d 7;9 -d 40;0 -d 40;"
same "llama-server as peer" "$(peer "$dir/llama-server")" "llama-server b9-def [90, 90, 90] [15, 15, 15] True"
expect 2 "a server at depths" bench $model -p 2 -n 2 --depth 0,2 --peer "$dir/llama-server"
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

# A server that was started for us does not outlive us, however we end.
cat >"$dir/llama-server" <<'PY'
#!/usr/bin/env python3
import os, time
open(os.path.join(os.path.dirname(__file__), "pid"), "w").write(str(os.getpid()))
time.sleep(60)
PY
for signal in TERM KILL INT; do
    rm -f "$dir/pid"
    (exec "$program" -q bench $model -p 2 -n 2 -r 1 --warm-up 0 --stream-mb 0 --peer "$dir/llama-server") >/dev/null 2>&1 </dev/null &
    started=$!
    for _ in $(seq 300); do [ -s "$dir/pid" ] && break; sleep 0.1; done
    kill -$signal $started
    wait $started 2>/dev/null
    gone=1
    for _ in $(seq 200); do kill -0 "$(cat "$dir/pid")" 2>/dev/null || { gone=0; break; }; sleep 0.1; done
    verdict "a peer ends with us: SIG$signal" $gone
done

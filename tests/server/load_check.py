#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""load_check.py LOAD: tools/load against a server that answers as it is told to.

Prints a line for each check that fails and a closing line in Criterion's form.
"""
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

LOAD = sys.argv[1]


class Server(http.server.ThreadingHTTPServer):
    """Counts what it is asked for. `lies`: every answer after so many is another one."""

    request_queue_size = 64

    def __init__(self, lies=None, hashes=True, status=200):
        super().__init__(("127.0.0.1", 0), Handler)
        self.lies, self.hashes, self.status = lies, hashes, status
        self.lock = threading.Lock()
        self.bodies, self.now, self.most = [], 0, 0
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    """An answer of three pieces, 20 ms between them."""

    def log_message(self, *args):
        pass

    def do_POST(self):
        s = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with s.lock:
            s.bodies.append(body)
            s.now += 1
            s.most = max(s.most, s.now)
            lies = s.lies is not None and len(s.bodies) > s.lies
        self.send_response(s.status)
        self.end_headers()
        for i in range(3):
            time.sleep(0.02)
            text = "%s%d" % ("other" if lies else body["messages"][0]["content"][:20], i)
            self.event({"choices": [{"index": 0, "delta": {"content": text}}]})
        last = {"index": 0, "delta": {}, "finish_reason": "length"}
        if s.hashes:
            last["logits_sha256"] = "%064x" % body["seed"]
        self.event({"choices": [last]})
        self.event({"choices": [], "usage": {"completion_tokens": 3}})
        with s.lock:
            s.now -= 1
        self.wfile.write(b"data: [DONE]\n\n")

    def event(self, event):
        """One event."""
        self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
        self.wfile.flush()


def load(server, *options):
    """Exit status, lines, and the figures of its runs."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "out.json")
        run = subprocess.run([sys.executable, LOAD, "http://127.0.0.1:%d" % server.server_port,
                              "--json", path, *options], stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.DEVNULL, check=False, timeout=120)
        runs = []
        if os.path.exists(path):
            with open(path, encoding="utf-8") as f:
                runs = json.load(f)
        return run.returncode, run.stdout.splitlines(), runs


def closed_loop():
    s = Server()
    code, lines, runs = load(s, "--requests", "12", "--concurrency", "1,4")
    assert code == 0 and len(lines) == 3 and len(s.bodies) == 24, (code, lines)
    assert s.most == 4, s.most
    assert runs[1]["first_ms"][0] >= 20 and runs[1]["between_ms"][0] >= 15, runs[1]["first_ms"]
    assert abs(runs[1]["tokens_per_second"] * runs[1]["seconds"] - 36) < 1e-6
    assert sorted(map(str, s.bodies[:12])) == sorted(map(str, s.bodies[12:])), "other requests"


def open_loop():
    s = Server()
    code, _, runs = load(s, "--requests", "20", "--rate", "200")
    assert code == 0 and len(s.bodies) == 20 and runs[0]["run"] == "200 a second"
    assert s.most > 1, "they came one after the other"


def shared_texts():
    s = Server()
    load(s, "--requests", "40", "--concurrency", "8", "--shared", "0.5", "--shared-words", "30")
    heads = [b["messages"][0]["content"][:80] for b in s.bodies]
    most = max(heads.count(h) for h in heads)
    assert 8 < most < 32, most


def differences():
    code, lines, runs = load(Server(), "--requests", "6", "--concurrency", "3", "--check")
    assert code == 0 and runs[1]["different"] == 0 and runs[1]["hashes"] == 6, lines
    code, _, runs = load(Server(lies=6), "--requests", "6", "--concurrency", "3", "--check")
    assert code == 1 and runs[1]["different"] == 6
    code, lines, _ = load(Server(hashes=False), "--requests", "2", "--concurrency", "1", "--check")
    assert code == 0 and "compared by text" in lines[-1], lines


def failures():
    code, _, runs = load(Server(status=500), "--requests", "3", "--concurrency", "1")
    assert code == 1 and runs[0]["failed"] == 3 and "500" in runs[0]["errors"][0]
    assert load(Server(), "--requests", "0")[0] == 2
    assert load(Server(), "--concurrency", "0")[0] == 2


def main():
    """Runs all checks."""
    checks = [closed_loop, open_loop, shared_texts, differences, failures]
    failed = 0
    for fn in checks:
        try:
            fn()
        except AssertionError as e:
            failed += 1
            print("[FAIL] %s: %s" % (fn.__name__, str(e)[:300]))
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0"
          % (len(checks), len(checks) - failed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

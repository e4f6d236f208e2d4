#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""alloc_fault.py LOCKSTEP LIBRARY: each allocation of the server's answers fails in turn.

Runs the program under tests/server/alloc_fault.c (LIBRARY). A request whose memory ends is refused
with 500 or 503, told so in its stream, or its connection closes; or it is answered as ever. It is
never answered otherwise, nothing is held afterwards, and the next request gets its answer. Without
LK_FULL=1 some of the allocations fail, other ones in each case. Prints a line for each check that
fails and a closing line in Criterion's form.
"""
import http.client
import json
import mmap
import os
import re
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import soak  # pylint: disable=wrong-import-position

STRIDE = 1 if os.environ.get("LK_FULL") == "1" else 7
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 9}},
          "required": ["n"], "additionalProperties": False}
TALK = {"model": "chat", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4,
        "seed": 1, "temperature": 0}
CASES = {
    "chat": ("/v1/chat/completions", {**TALK, "n": 2, "logits_sha256": True, "response_format": {
        "type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}}),
    "tools": ("/v1/chat/completions", {**TALK, "tools": [
        {"type": "function", "function": {"name": "f", "parameters": SCHEMA}}], "stream": True}),
    "stream": ("/v1/chat/completions", {**TALK, "stream": True, "logprobs": True,
                                        "top_logprobs": 2, "stop": ["zz"],
                                        "stream_options": {"include_usage": True}}),
    "completions": ("/v1/completions", {"model": "chat", "prompt": ["ab", "c"], "max_tokens": 3,
                                        "seed": 1, "echo": True, "logprobs": 1}),
    "grammar": ("/completion", {"model": "chat", "prompt": "a", "n_predict": 3, "seed": 1,
                                "grammar": 'root ::= [a-f]+'}),
    "messages": ("/v1/messages", {**TALK, "stream": True}),
    "responses": ("/v1/responses", {"model": "chat", "input": "r", "max_output_tokens": 16,
                                    "temperature": 0, "stream": True}),
    "ollama": ("/api/chat", {**TALK, "options": {"num_predict": 4, "seed": 1}}),
    "vectors": ("/v1/embeddings", {"model": "vectors", "input": ["a", "bc"]}),
    "tokenize": ("/tokenize", {"model": "chat", "content": "a\xe9b", "with_pieces": True}),
    "detokenize": ("/detokenize", {"model": "chat", "tokens": [70, 71]}),
    "template": ("/apply-template", TALK),
    "show": ("/api/show", {"model": "chat"}),
    "models": ("/v1/models", None),
    "tags": ("/api/tags", None),
    "props": ("/props?model=chat", None),
    "slots": ("/slots", None),
    "wrong": ("/v1/chat/completions", {**TALK, "temperature": "hot"}),
}
# What is another one each time.
VARIES = re.compile(rb'"(id|created|created_at|completed_at|seed|[a-z_]*duration|[a-z_]*_ms|item_id|'
                    rb'response_id|timings|waited_s)": ?("[^"]*"|[0-9.e+-]+|\{[^}]*\})')


class Server:
    """The program under the library, and what the library is told."""

    def __init__(self, program, library, folder):
        path = os.path.join(folder, "control")
        with open(path, "wb") as f:
            f.write(bytes(4096))
        with open(path, "r+b") as f:
            self.control = mmap.mmap(f.fileno(), 4096)
        env = dict(os.environ, LD_PRELOAD=library, LK_ALLOC_FAULT=path)
        self.log = open(os.path.join(folder, "log"), "w+b")
        self.process = subprocess.Popen(
            [program, "serve", *soak.models(folder), "--port", "0", "--threads", "1", "--backend",
             "cpu"], stdout=subprocess.PIPE, stderr=self.log, text=True, env=env)
        self.at = urllib.parse.urlsplit(self.process.stdout.readline().strip())
        self.open_many()

    def open_many(self):
        """Uses more descriptors at once than the cases do: libevent keeps a record of each number
        that it has seen (evmap, 24 bytes), and a case is not to be the first to need one."""
        some = [http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=20)
                for _ in range(32)]
        for connection in some:
            connection.request("GET", "/health")
        for connection in some:
            connection.getresponse().read()
            connection.close()

    def fail(self, nth, on=False):
        """The nth allocation from now on, and all after it if `on`; 0: none."""
        self.control[0:24] = struct.pack("<3q", 0, on, 0)
        self.control[0:8] = struct.pack("<q", nth)

    def told(self):
        """How many failed, bytes that are held."""
        return struct.unpack("<2q", self.control[16:32])

    def ask(self, path, body):
        """Status and body; status 0: the connection closed before there was one, or in the body
        (whatever came of that). None: nothing came in time."""
        connection = http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=20)
        data, status = b"", 0
        try:
            connection.request("POST" if body else "GET", path, json.dumps(body).encode()
                               if body else None, {"Content-Type": "application/json"})
            r = connection.getresponse()
            data = r.read()
            status = r.status
        except TimeoutError:
            return None, b""
        except http.client.IncompleteRead as e:
            data = e.partial
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        return status, VARIES.sub(rb'"\1":0', data)

    def settled(self, least=None):
        """Bytes held once nothing happens any more, or they are not more than `least`, which a busy
        machine is given time for."""
        last, since = None, time.monotonic()
        while time.monotonic() - since < (2.0 if least is None else 10.0):
            held = self.told()[1]
            if least is not None and held <= least:
                return held
            if held != last:
                last, since = held, time.monotonic()
            time.sleep(0.01)
        return last


def is_refused(status, data, good):
    """Whether a reply says that memory ended: by its status, in its stream, by breaking off."""
    if status in (500, 503):
        return b"error" in data or not data
    if status == 0:  # what came of a stream is how the answer begins
        return good.startswith(data) or b"error" in data
    return status == 200 and b"error" in data and b"out of memory" in data


def run(server, name):
    """All faults of one case; what went wrong, or None."""
    path, body = CASES[name]
    want, good = server.ask(path, body)
    for _ in range(3):
        if (want, good) != server.ask(path, body):
            return "is answered in two ways without faults: %s %s" % (want, good[:300])
    before = server.settled()
    nth, tries = 1 + len(name) % STRIDE, 0
    while True:
        server.fail(nth, tries % 2 == 1)
        status, data = server.ask(path, body)
        struck = server.told()[0]
        server.fail(0)
        if server.process.poll() is not None:
            return "allocation %d: the server ended, %d" % (nth, server.process.poll())
        if (status, data) != (want, good) and not (status is not None and
                                                   is_refused(status, data, good)):
            return "allocation %d: status %s: %s" % (nth, status, data[-400:])
        again = server.ask(path, body)
        if again != (want, good):
            return "allocation %d: then %s %s" % (nth, again[0], again[1][-300:])
        if not struck:
            break
        nth += STRIDE
        tries += 1
    held = server.settled(before)
    if held > before:
        return "%d bytes are held after %d faults" % (held - before, tries)
    return None if tries > 1 else "only %d allocations were seen" % nth


def main():
    """Runs all cases."""
    program, library = os.path.abspath(sys.argv[1]), os.path.abspath(sys.argv[2])
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        server = Server(program, library, folder)
        try:
            for name in CASES if len(sys.argv) < 4 else sys.argv[3:]:
                wrong = run(server, name) if server.process.poll() is None else "no server"
                if wrong:
                    failed += 1
                    print("[FAIL] %s: %s" % (name, wrong), flush=True)
        finally:
            server.fail(0)
            server.process.terminate()
            code = server.process.wait(60)
        if code or failed:
            server.log.seek(0)
            print("exit status %d; %s" % (code, server.log.read()[-2000:].decode()))
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: %d"
          % (len(CASES), len(CASES) - failed, failed, code != 0))
    return failed > 0 or code != 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""soak.py LOCKSTEP MODEL [SECONDS [RATE]]: a server under mixed traffic for long.

Serves MODEL and tiny models, more of them than may be open at a time, and asks RATE times a second
(default 4) for whatever the APIs have: chats, completions, streams that are cut off half way,
several answers, schemas, grammars, tools, vectors, wrong requests; connections lie idle beside it.
Every answer must be the one that was given to the same request before. The server's resident memory
is printed every 30 seconds and must not grow; at the end SIGTERM must end it with status 0.
"""
import http.client
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

HERE = os.path.dirname(os.path.abspath(__file__))
GOLDEN = os.path.join(HERE, "..", "golden")
sys.path.insert(0, os.path.join(HERE, "..", "cli"))
import gguf_file  # pylint: disable=wrong-import-position

TEMPLATE = ("tokenizer.chat_template={% for m in messages %}<{{ m.role }}>{{ m.content }}\\n"
            "{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")
SCHEMA = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 0, "maximum": 99}},
          "required": ["n"], "additionalProperties": False}
TOOL = {"name": "pick", "parameters": SCHEMA}
COMMON = "All of these begin with the same words, which are more than a block of the cache. "
VARIANTS = 12  # of each kind of request
CLIENTS = 6


class Soak:
    """The traffic, and what came of it."""

    def __init__(self, url, big):
        self.at = urllib.parse.urlsplit(url)
        self.big = big
        self.lock = threading.Lock()
        self.known, self.counts = {}, {}
        self.different, self.errors = [], []
        self.stop = threading.Event()

    def open(self):
        """A connection of its own."""
        return http.client.HTTPConnection(self.at.hostname, self.at.port, timeout=120)

    def ask(self, path, body, cut=None):
        """Status and body of a reply; cut: bytes after which the client goes away."""
        connection = self.open()
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        try:
            connection.request("POST", path, data, {"Content-Type": "application/json"})
            r = connection.getresponse()
            return r.status, r.read(cut) if cut else r.read()
        finally:
            connection.close()

    def models_of(self, now):
        """Two of the models that write, MODEL seldom: others after a while."""
        of = random.Random(int(now / 20)).sample(["chat", "qwen", "gemma"], 2)
        return of if now % 60 < 40 or not self.big else [of[0]] * 3 + ["big"]

    def one(self, rng):
        """A request by chance: its kind, what it was, and what must stay the same of its answer."""
        i = rng.randrange(VARIANTS)
        model = rng.choice(self.models_of(time.monotonic()))
        name = rng.choice([n for n in dir(self) if n.startswith("ask_")])
        return name, (name, model, i), getattr(self, name)(model, i)

    @staticmethod
    def said(status, body, *wanted):
        """What does not depend on the time; a status that was not wanted is an error."""
        if status not in (wanted or (200,)):
            raise ValueError("status %d: %s" % (status, body[:200].decode(errors="replace")))
        if status != 200:
            return status
        r = json.loads(body)
        return json.dumps(r.get("choices") or r.get("content") or r.get("data") or
                          r.get("message") or r.get("embedding"), sort_keys=True)

    @staticmethod
    def chat(model, i, most=24, **more):
        """Body of a chat."""
        return {"model": model, "max_tokens": most, "seed": i, "logits_sha256": True,
                "messages": [{"role": "user", "content": "%s%d" % (COMMON[:70], i)}], **more}

    def ask_chat(self, model, i):
        return self.said(*self.ask("/v1/chat/completions", self.chat(model, i)))

    def ask_several(self, model, i):
        return self.said(*self.ask("/v1/chat/completions", self.chat(model, i, most=12, n=4)))

    def ask_completion(self, model, i):
        return self.said(*self.ask("/v1/completions", {
            "model": model, "prompt": [COMMON + "%d" % i, "again %d" % i], "max_tokens": 16,
            "seed": i, "logprobs": 2, "stop": ["zz"]}))

    def ask_stream(self, model, i):
        status, body = self.ask("/v1/chat/completions", self.chat(model, i, stream=True))
        lines = [json.loads(x[6:]) for x in body.split(b"\n") if x.startswith(b"data: {")]
        if status != 200 or not lines or b"[DONE]" not in body:
            raise ValueError("status %d: %s" % (status, body[-200:]))
        return "".join(c["delta"].get("content") or "" for x in lines for c in x["choices"])

    def ask_cut(self, model, i):
        self.ask("/v1/chat/completions", self.chat(model, i, most=100, stream=True, ignore_eos=True),
                 cut=600 + 200 * i)

    def ask_leave(self, model, i):
        data = json.dumps(self.chat(model, i, most=100, ignore_eos=True)).encode()
        with socket.create_connection((self.at.hostname, self.at.port)) as s:
            s.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\n"
                      b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(data))
            s.sendall(data if i % 3 else data[:40])
            time.sleep(0.05 * (i % 4))

    def ask_schema(self, model, i):
        return self.said(*self.ask("/v1/chat/completions", self.chat(
            model, i, response_format={"type": "json_schema",
                                       "json_schema": {"name": "x", "schema": SCHEMA}})))

    def ask_grammar(self, model, i):
        return self.said(*self.ask("/completion", {
            "model": model, "prompt": "a%d" % i, "n_predict": 8, "seed": i, "grammar": 'root ::= [a-f]{3,9}'}),
            200)

    def ask_tools(self, model, i):
        status, body = self.ask("/v1/chat/completions", self.chat(
            model, i, most=60, tools=[{"type": "function", "function": TOOL}],
            tool_choice="required" if i % 2 else "auto"))
        return status if status in (200, 400) else self.said(status, body)

    def ask_messages(self, model, i):
        return self.said(*self.ask("/v1/messages", {
            "model": model, "max_tokens": 12, "temperature": 0,
            "messages": [{"role": "user", "content": "m%d" % i}]}))

    def ask_responses(self, model, i):
        status, body = self.ask("/v1/responses", {"model": model, "input": "r%d" % i, "stream": True,
                                                  "max_output_tokens": 16, "temperature": 0})
        if status != 200 or b"response." not in body:
            raise ValueError("status %d: %s" % (status, body[-200:]))

    def ask_ollama(self, model, i):
        return self.said(*self.ask("/api/chat", {
            "model": model, "stream": False, "options": {"num_predict": 8, "seed": i},
            "messages": [{"role": "user", "content": "o%d" % i}]}))

    def ask_vectors(self, _, i):
        return self.said(*self.ask("/v1/embeddings", {"model": "vectors", "input": ["v%d" % i, "w"]}))

    def ask_elsewhere(self, model, i):
        if i % 4 or model == "big":  # an engine beside the model's own is opened for it
            return None
        return self.said(*self.ask("/v1/chat/completions", self.chat(model, 0, most=4,
                                                                     backend="scalar")))

    def ask_wrong(self, model, i):
        bodies = [b"{", b"\xff\xfe", b"[]", b'{"messages": 3}', b'{"messages": []}',
                  json.dumps(self.chat("nobody", i)).encode(),
                  json.dumps(self.chat(model, i, temperature="hot")).encode(),
                  json.dumps(self.chat(model, i, most=10, response_format={
                      "type": "json_schema", "json_schema": {"schema": {"type": "what"}}})).encode(),
                  b"[" * 1000, json.dumps({"model": model, "messages": [
                      {"role": "user", "content": "long " * 100000}]}).encode()]
        return self.said(*self.ask("/v1/chat/completions", bodies[i % len(bodies)]),
                         400, 404, 413, 429)

    def ask_text(self, model, i):
        status, body = self.ask("/tokenize", {"model": model, "content": "some words %d" % i})
        ids = json.loads(body)["tokens"]
        return self.said(status, body), self.ask("/detokenize", {"model": model, "tokens": ids})

    def ask_told(self, _, i):
        connection = self.open()
        paths = ["/metrics", "/slots", "/health", "/v1/models", "/", "/props"]
        try:
            connection.request("GET", paths[i % 6], headers={"Accept-Encoding": "gzip"})
            r = connection.getresponse()
            r.read()
            if r.status not in (200, 503) or (r.status == 503 and paths[i % 6] != "/health"):
                raise ValueError("%s: status %d" % (paths[i % 6], r.status))
        finally:
            connection.close()

    def client(self, seed, pause):
        """Asks until it is over."""
        rng = random.Random(seed)
        while not self.stop.is_set():
            name, key, got = None, None, None
            try:
                name, key, got = self.one(rng)
            except (OSError, http.client.HTTPException, ValueError, KeyError) as e:
                with self.lock:
                    self.errors.append("%s: %s" % (type(e).__name__, e))
            with self.lock:
                if name:
                    self.counts[name] = self.counts.get(name, 0) + 1
                if got is not None and self.known.setdefault(key, got) != got:
                    self.different.append((key, self.known[key], got))
            self.stop.wait(pause * rng.uniform(0.5, 1.5))

    def idle(self):
        """Connections that say nothing, or half a request, and come and go."""
        held = []
        while not self.stop.wait(1.0):
            if len(held) > 100:
                held.pop(0).close()
            try:
                s = socket.create_connection((self.at.hostname, self.at.port))
                if len(held) % 2:
                    s.sendall(b"GET /health HTT")
                held.append(s)
            except OSError as e:
                self.errors.append("idle: %s" % e)
        for s in held:
            s.close()


def models(folder):
    """Tiny models: three that write, one that makes vectors."""
    out = []
    for name, source, change in [("chat", "llama", TEMPLATE), ("qwen", "qwen3", TEMPLATE),
                                 ("gemma", "gemma3", TEMPLATE),
                                 ("vectors", "qwen3", "qwen3.pooling_type=1")]:
        path = os.path.join(folder, name + ".gguf")
        g = gguf_file.Gguf(os.path.join(GOLDEN, "tiny-%s.gguf" % source))
        key, _, value = change.partition("=")
        if value.isdigit():
            g.set(key.encode(), int(value), 4)
        else:
            g.set(key.encode(), gguf_file.raw(value))
        g.write(path)
        out.append("%s=%s" % (name, path))
    return out


def resident(pid):
    """KB."""
    with open("/proc/%d/status" % pid, encoding="ascii") as f:
        return int(next(line for line in f if line.startswith("VmRSS")).split()[1])


def watch(server, soak, seconds):
    """Prints how it stands every 30 seconds; the least and the largest resident sizes of each."""
    sizes, begun = [], time.monotonic()
    step = min(30.0, seconds / 10)
    while time.monotonic() - begun < seconds:
        until, most, least = time.monotonic() + step, 0, 1 << 60
        while time.monotonic() < until and server.poll() is None:
            time.sleep(0.25)
            size = resident(server.pid)
            most, least = max(most, size), min(least, size)
        if server.poll() is not None:
            break
        sizes.append((least, most))
        print("%6.0f s  %8d to %8d KB  %7d requests, %d errors, %d different" % (
            time.monotonic() - begun, least, most, sum(soak.counts.values()), len(soak.errors),
            len(soak.different)), flush=True)
    return sizes


def is_flat(sizes):
    """The last fifth of the time needs no more than before, but for the first one, within 10 %: the
    least of it, when few models are open, and the most."""
    n = max(1, len(sizes) // 5)
    return len(sizes) >= 3 and all(
        fn(sizes[-n:], key=key)[i] <= 1.1 * fn(sizes[n:-n], key=key)[i]
        for i, fn in enumerate((min, max)) for key in [lambda pair, i=i: pair[i]])


def main():
    """The exit status says whether all was well."""
    program, model = sys.argv[1], sys.argv[2]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 60.0
    rate = float(sys.argv[4]) if len(sys.argv) > 4 else 4.0
    folder = tempfile.mkdtemp()
    big = os.path.exists(model)
    server = subprocess.Popen(
        [program, "serve", *models(folder), *(["big=" + model] if big else []), "--port", "0",
         "--max-loaded", "3", "--unload", "15", "--check-unload", "3", "--check-on", "scalar",
         "--late", "--prefix-dir", os.path.join(folder, "prefixes"), "--prefix-mb", "2",
         "--threads", "1"], stdout=subprocess.PIPE, text=True)
    url = server.stdout.readline().strip()
    soak = Soak(url, big)
    threads = [threading.Thread(target=soak.client, args=(k, CLIENTS / rate))
               for k in range(CLIENTS)] + [threading.Thread(target=soak.idle)]
    for t in threads:
        t.start()
    try:
        sizes = watch(server, soak, seconds)
    finally:
        soak.stop.set()
        for t in threads:
            t.join()
        server.send_signal(signal.SIGTERM)
        code = server.wait(60)
        shutil.rmtree(folder)
    for text in sorted(set(soak.errors))[:10] + [repr(d)[:600] for d in soak.different[:5]]:
        print(text)
    print("requests:", json.dumps(soak.counts, sort_keys=True))
    flat = is_flat(sizes)
    print("status %d at the end; memory %s" % (code, "flat" if flat else "grew"))
    return bool(soak.errors or soak.different or code or not flat)


if __name__ == "__main__":
    sys.exit(main())

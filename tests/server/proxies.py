#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""proxies.py DRIVER: packaging/nginx.conf and packaging/haproxy.cfg, each with two servers (two runs
of http_driver.c) behind it, on the loopback. A proxy that is not installed is not tested, and that is
said. Prints a closing line in Criterion's form.
"""
import json
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import http_wire

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../..")
tests = failed = 0


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Front(http_wire.Server):
    """A proxy with the given servers; asked as if it were one."""

    def __init__(self, name, servers, folder):
        self.port, self.path = free_port(), None
        file = {"nginx": "nginx.conf", "haproxy": "haproxy.cfg"}[name]
        with open(os.path.join(TOP, "packaging", file), encoding="utf8") as f:
            text = f.read()
        for was, port in (("8000", self.port), ("8081", servers[0].port), ("8082", servers[1].port)):
            assert "127.0.0.1:" + was in text
            text = text.replace("127.0.0.1:" + was, "127.0.0.1:%d" % port)
        self.stats = os.path.join(folder, "stats") if name == "haproxy" else None
        text = text.replace("\nglobal\n", "\nglobal\n    stats socket %s\n" % self.stats)
        path = os.path.join(folder, file)
        with open(path, "w", encoding="utf8") as f:
            f.write(text)
        command = ["haproxy", "-db", "-q", "-f", path]
        if name == "nginx":
            outer = os.path.join(folder, "outer.conf")
            with open(outer, "w", encoding="utf8") as f:
                f.write("daemon off; pid %s/pid; error_log %s/error; events {} http { access_log off;\n"
                        "client_body_temp_path %s/body; proxy_temp_path %s/proxy; include %s; }\n" %
                        (folder, folder, folder, folder, path))
            command = ["nginx", "-c", outer]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 10
        while True:
            try:
                if self.ask("GET", "/health").status == 200:
                    break
            except (OSError, AssertionError):
                pass
            assert time.monotonic() < end, "%s did not start" % name
            time.sleep(0.05)

    def busy(self):
        """Whether HAProxy counts a request that its client has already seen answered: its balance does."""
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(self.stats)
            s.sendall(b"show stat\n")
            rows = [row.split(",") for row in s.makefile(encoding="utf8").read().splitlines() if row]
        column = rows[0].index("scur")
        return any(int(row[column] or 0) for row in rows[1:] if row[:2] == ["lockstep", "BACKEND"])

    def chat(self, messages, **more):
        end = time.monotonic() + 10
        while self.stats and self.busy():
            assert time.monotonic() < end, "a request is counted as running for ever"
            time.sleep(0.002)
        body = json.dumps({"model": "m", "stream": True, "messages": messages}).encode()
        r = self.ask("POST", "/v1/chat/completions", ["Content-Type: application/json",
                     *("%s: %s" % item for item in more.items())], body)
        assert r.status == 200 and r.body == body, (r.status, r.body[:100])
        return r.fields["x-server"]

    def stop(self):
        self.process.terminate()
        self.process.wait(20)


def dialogue(r, turns):
    messages = [{"role": "system", "content": "You help."}]
    for _ in range(turns):
        messages.append({"role": "user", "content": "Question %d?" % r.randrange(10 ** 9)})
        messages.append({"role": "assistant", "content": "Answer \"%d\"." % r.randrange(10 ** 9)})
        yield messages[:-1]


def passes_on(front, servers):
    r = front.ask("POST", "/echo?q=1", ["X-Ask: a"], b"x" * 3000000)
    assert (r.status, len(r.body), r.fields["x-answer"], r.fields["x-query"]) == (200, 3000000, "a", "1")
    r = front.ask("GET", "/big?n=3000000")
    assert len(r.body) == 3000000
    own = "127.0.0.1:%d" % front.port  # the page's own requests
    assert front.ask("GET", "/echo", ["Origin: http://" + own], host=own).status == 200
    assert front.ask("GET", "/echo", ["Origin: http://evil.example"], host=own).status == 403


def streams(front, servers):
    """Pieces come one by one: the second is asked for only when the first was seen."""
    with front.connect(10) as s:
        s.sendall(b"GET /stream?n=1000000&size=20 HTTP/1.1\r\nHost: localhost\r\nX-Session: a\r\n\r\n")
        http_wire.read_until(s, b"\r\n\r\n")
        start = time.monotonic()
        for _ in range(20):
            assert s.recv(100)
        assert time.monotonic() - start < 2
        before = sum(server.counts()["lost"] for server in servers)
    end = time.monotonic() + 10  # a client that leaves is told to the server
    while sum(server.counts()["lost"] for server in servers) == before:
        assert time.monotonic() < end, "the server was not told that the client has gone"
        time.sleep(0.05)


def leaves_waiting(front, servers):
    with front.connect(10) as s:
        s.sendall(b"GET /hold HTTP/1.1\r\nHost: localhost\r\n\r\n")
        end = time.monotonic() + 20
        while not sum(server.counts()["held"] for server in servers):
            assert time.monotonic() < end
            time.sleep(0.02)
    end = time.monotonic() + 10
    while sum(server.counts()["held"] for server in servers):
        assert time.monotonic() < end, "the server was not told that the client has gone"
        time.sleep(0.05)


def sessions(front, servers):
    r, used = random.Random(1), set()
    for i in range(40):
        where = {front.chat(m, **{"X-Session": "s%d" % i}) for m in dialogue(r, 4)}
        assert len(where) == 1, "a session went to %s" % where
        used |= where
    assert len(used) == 2, "all sessions went to one server"


def prefixes(front, servers):
    """HAProxy alone looks into requests: a dialogue stays where it began."""
    r, counts = random.Random(2), {}
    for _ in range(60):
        where = {front.chat(m) for m in dialogue(r, 5)}
        assert len(where) == 1, "a dialogue went to %s" % where
        for port in where:
            counts[port] = counts.get(port, 0) + 1
    assert len(counts) == 2 and min(counts.values()) > 15, counts
    long = [{"role": "system", "content": "long " * 30000}, {"role": "user", "content": "?"}]
    assert len({front.chat(long + [{"role": "assistant", "content": "a" * i}]) for i in range(6)}) == 1


def one_is_down(front, servers):
    servers[0].stop()
    for i in range(40):
        front.chat([{"role": "user", "content": "Hello %d" % i}])


def main():
    global tests, failed
    for name, subjects in (("nginx", [passes_on, streams, leaves_waiting, sessions, one_is_down]),
                           ("haproxy", [passes_on, streams, leaves_waiting, sessions, prefixes, one_is_down])):
        if not shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin"):
            print("not run: %s: it is not installed" % name)
            continue
        os.environ["PATH"] += ":/usr/sbin"
        with tempfile.TemporaryDirectory() as folder:
            os.chmod(folder, 0o755)
            servers = [http_wire.Server(), http_wire.Server()]
            front = Front(name, servers, folder)
            for subject in subjects:
                tests += 1
                try:
                    subject(front, servers)
                except (AssertionError, OSError, KeyError) as e:
                    failed += 1
                    print("[FAIL] %s: %s: %s %s" % (name, subject.__name__, type(e).__name__, str(e)[:500]))
            front.stop()
            for server in servers:
                if server.process.poll() is None:
                    server.stop()
    if not tests:
        tests = 1
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0" %
          (tests, tests - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

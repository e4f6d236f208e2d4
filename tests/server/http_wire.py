#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""http_wire.py DRIVER: the server's HTTP against clients of every kind, over raw sockets.

Starts DRIVER (http_driver.c) with the options of each group of tests. Prints a line for each that
fails and a closing line in Criterion's form.
"""
import gzip
import json
import os
import re
import resource
import socket
import stat
import subprocess
import sys
import tempfile
import time

DRIVER = sys.argv[1]
FOLDER = tempfile.TemporaryDirectory()
TESTS = []
KEYS = ["first-key", "second-key-that-is-longer", "k"]
NO_LINGER = b"\1\0\0\0\0\0\0\0"


class Server:
    """One run of the driver; ends with exit status 0 or the tests fail."""

    def __init__(self, *options, **more):
        self.process = subprocess.Popen([DRIVER, *options], stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True, **more)
        line = self.process.stdout.readline()
        if not line:
            raise OSError(self.process.stderr.read().strip())
        self.port = int(line)
        self.path = next((o[5:] for o in options if o.startswith("unix=")), None)

    def connect(self, timeout=20, small=0):
        s = socket.socket(socket.AF_UNIX if self.path else socket.AF_INET)
        s.settimeout(timeout)
        if small:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, small)
        s.connect(self.path or ("127.0.0.1", self.port))
        return s

    def raw(self, data, timeout=20):
        """All that comes back until the end."""
        with self.connect(timeout) as s:
            s.sendall(data)
            return read_all(s)

    def ask(self, method, path, headers=(), body=b"", host="localhost"):
        lines = ["%s %s HTTP/1.1" % (method, path), "Host: %s" % host, "Connection: close"]
        lines += list(headers)
        if body:
            lines.append("Content-Length: %d" % len(body))
        data = self.raw("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        return Reply(data)

    def counts(self):
        return json.loads(self.ask("GET", "/counts").body)

    def wait(self, what, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            now = self.counts()
            if what(now):
                return now
            time.sleep(0.02)
        raise AssertionError("did not come to be: %s" % self.counts())

    def stop(self):
        self.process.terminate()
        out, err = self.process.communicate(timeout=20)
        assert self.process.returncode == 0, (self.process.returncode, err[-3000:])
        assert "anitizer" not in err and "runtime error" not in err, err[-3000:]
        return out

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind:
            self.process.kill()
            self.process.communicate()
        else:
            self.stop()


def read_all(s):
    out = b""
    try:
        while True:
            data = s.recv(65536)
            if not data:
                return out
            out += data
    except ConnectionError:
        return out + b"(reset)"


def read_until(s, end):
    out = b""
    while end not in out:
        data = s.recv(1)
        assert data, out
        out += data
    return out


class Reply:
    def __init__(self, data):
        assert data, "no reply"
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(": ")
            self.fields[name.lower()] = value
        if "content-length" in self.fields:
            n = int(self.fields["content-length"])
            self.body, self.rest = rest[:n], rest[n:]
        elif self.fields.get("transfer-encoding") == "chunked":
            self.body, self.whole, self.rest = chunks(rest)
        else:
            self.body, self.rest = rest, b""


def chunks(data):
    out = b""
    while True:
        size, _, data = data.partition(b"\r\n")
        if not size:
            return out, False, b""
        n = int(size, 16)
        if n == 0:
            return out, data[:2] == b"\r\n", data[2:]
        if len(data) < n + 2:
            return out + data[:n], False, b""
        out, data = out + data[:n], data[n + 2:]


def replies(data):
    out = []
    while data:
        out.append(Reply(data))
        data = out[-1].rest
    return out


def test(*options):
    def mark(function):
        TESTS.append((function, options))
        return function
    return mark


def equal(a, b):
    assert a == b, "%r is not %r" % (a, b)


GET = b"GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n"


def get(path):
    return GET % path.encode()


def post(path, body, more=b""):
    return (b"POST %s HTTP/1.1\r\nHost: localhost\r\n%sContent-Length: %d\r\n\r\n%s" %
            (path.encode(), more, len(body), body))


# ---- the grammar ----

def refused(server, data, status):
    r = Reply(server.raw(data))
    equal(r.status, status)
    equal(r.fields["connection"], "close")
    equal(r.fields["content-type"], "application/json")
    assert json.loads(r.body)["error"]["message"]


REFUSED = {
    400: [
        b"GET /health HTTP/1.1\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n",
        b"GET /health HTTP/1.1\nHost: localhost\n\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\nX: y\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\rX: y\r\n\r\n",
        b"GET  /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health  HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health\r\nHost: localhost\r\n\r\n",
        b"GET\r\n\r\n",
        b" GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"G\xc3\x84T /health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /hea\xc3\xa4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he\0alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he%00alth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he%0d%0aalth HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he%4 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /he%zz HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health?a=%1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health#a HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET ftp://localhost/health HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health http/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.10\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX : y\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n folded\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nno colon\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n: empty\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: \x01\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1, 1\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: +1\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0x1\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length:\r\n\r\na",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n"
        b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /echo HTTP/1.0\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\0" * 64,
        bytes(range(256)),
        b"\xff" * 40,
    ],
    501: [
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: xchunked\r\n\r\n",
    ],
    505: [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET /health HTTP/2.0\r\nHost: localhost\r\n\r\n",
    ],
    417: [b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: tea\r\nContent-Length: 1\r\n\r\na"],
    431: [
        b"GET /" + b"a" * 20000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 16400 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 101 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 30000,
    ],
    413: [
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1001\r\n\r\n" + b"a" * 1001,
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 18446744073709551617\r\n\r\n",
        b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999999999999\r\n\r\n",
    ],
}


@test("max_body=1000")
def refused_bytes(server):
    for status, all_data in REFUSED.items():
        for data in all_data:
            try:
                refused(server, data, status)
            except AssertionError as e:
                raise AssertionError("%r: %s" % (data[:80], e))


@test()
def a_length_of_too_many_digits(server):
    r = Reply(server.raw(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n"))
    equal(r.status, 413)
    assert b"more than any body" in r.body, r.body


@test("max_body=1000")
def refused_chunks(server):
    head = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
    for status, body in [(400, b"x\r\n"), (400, b"\r\n"), (400, b"1 x\ra"), (400, b"1\ra\r\n"),
                         (400, b"1\r\nab\r\n"), (400, b"1\r\na\n"), (400, b";\r\n"),
                         (400, b"0x1\r\na\r\n"), (400, b"-1\r\na\r\n"), (400, b"0\r\nX\x01\r\n"),
                         (413, b"3e9\r\n" + b"a" * 1001), (413, b"fffffffffffffffff\r\n"),
                         (413, b"ffffffffffffffff\r\n" + b"a" * 1001),
                         (413, (b"64\r\n" + b"a" * 100 + b"\r\n") * 11),
                         (431, b"1;" + b"a" * 300), (431, b"0\r\n" + b"X: y\r\n" * 2000)]:
        r = Reply(server.raw(head + body))
        assert r.status == status, (body[:40], r.status)


@test()
def taken_bytes(server):
    for data in [b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
                 b"\r\n\r\nGET /health HTTP/1.0\r\n\r\n",
                 b"GET http://localhost/health HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n",
                 b"GET HTTP://LOCALHOST:80/health HTTP/1.1\r\nHost: x\r\nConnection: a, CLOSE\r\n\r\n",
                 b"GET /%68ealth?&a&=b&c=d&&e=%20+ HTTP/1.0\r\nX:\r\ny:z\r\n\r\n",
                 b"GET /health HTTP/1.0\r\nX: \xc3\xa4\t\r\n\r\n"]:
        r = Reply(server.raw(data))
        equal(r.status, 200)
        equal(r.body, b"{}")
    r = Reply(server.raw(b"GET http://localhost?q=1 HTTP/1.0\r\n\r\n"))
    equal((r.status, r.fields["content-type"]), (200, "text/html; charset=utf-8"))


@test()
def split_anywhere(server):
    data = (b"POST /echo?q=a%20b HTTP/1.1\r\nHost: localhost\r\nX-Ask:  two words \r\n"
            b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"3;a=b\r\nabc\r\n0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n")
    for at in range(1, len(data)):
        with server.connect() as s:
            s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            s.sendall(data[:at])
            if at % 8 == 0:
                time.sleep(0.002)
            s.sendall(data[at:])
            r = Reply(read_all(s))
        equal((r.status, r.body), (200, b"abc0123456789"))
        equal(r.fields["x-query"], "a b")
        equal(r.fields["x-answer"], "two words")


@test()
def byte_by_byte(server):
    with server.connect() as s:
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post("/echo", b"body", b"Connection: close\r\n"):
            s.sendall(bytes([byte]))
        equal(Reply(read_all(s)).body, b"body")


# ---- routes ----

@test()
def routes(server):
    for path, tail in [("/things/a", "a"), ("/things/a/b", "a/b"), ("/things/of/a", "a"),
                       ("/things/one", ""), ("/things/a%2Fb%3f", "a/b?")]:
        r = server.ask("GET", path)
        equal((r.status, r.fields["x-tail"]), (200, tail))
    for path in ["/index.html", "/things/", "/thing", "/health/", "/healt", "//health", "/./health",
                 "/things/../../etc/passwd%00", "/../etc/passwd", "/HEALTH"]:
        assert server.ask("GET", path).status in (404, 400), path
    equal(server.ask("GET", "/things/../../etc/passwd").fields["x-tail"], "../../etc/passwd")
    r = server.ask("POST", "/health", body=b"x")
    equal((r.status, r.fields["allow"]), (405, "GET, HEAD"))
    r = server.ask("PUT", "/echo")
    equal((r.status, r.fields["allow"]), (405, "GET, HEAD, POST, DELETE"))
    equal(server.ask("BREW", "/echo").status, 501)
    r = server.ask("OPTIONS", "/echo")
    equal((r.status, r.fields["allow"], r.body), (204, "GET, HEAD, POST, DELETE", b""))
    equal(Reply(server.raw(b"OPTIONS * HTTP/1.0\r\n\r\n")).status, 204)
    r = server.ask("DELETE", "/echo")
    equal((r.status, r.fields["x-method"]), (200, "DELETE"))


@test()
def head(server):
    r = server.ask("HEAD", "/big?n=1000")
    equal((r.status, r.fields["content-length"], r.body), (200, "1000", b""))
    data = server.raw(b"HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"
                      b"HEAD /none HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    equal([line.split()[1] for line in data.split(b"\r\n") if line.startswith(b"HTTP/")],
          [b"200", b"404"])
    assert data.endswith(b"\r\n\r\n")


@test()
def headers_of_replies(server):
    r = server.ask("GET", "/health")
    equal(r.fields["x-content-type-options"], "nosniff")
    time.strptime(r.fields["date"], "%a, %d %b %Y %H:%M:%S GMT")
    equal(r.fields["connection"], "close")
    r = server.ask("GET", "/echo", ["X-Ask: \xe4\xb8"])
    equal(r.status, 200)


# ---- keeping, pipelining ----

@test()
def keep_alive(server):
    with server.connect() as s:
        for i in range(50):
            body = b"%d" % i * (i * 30)
            s.sendall(post("/echo", body))
            head_ = read_until(s, b"\r\n\r\n")
            assert b"Connection: keep-alive" in head_
            got = b""
            while len(got) < len(body):
                got += s.recv(65536)
            equal(got, body)
    equal(server.wait(lambda c: c["open"] == 1)["requests"] >= 50, True)
    with server.connect() as s:
        s.sendall(b"GET /health HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert b"Connection: keep-alive" in read_until(s, b"{}")
        s.sendall(b"GET /health HTTP/1.0\r\n\r\n")
        assert b"Connection: close" in read_all(s)


@test()
def pipelining(server):
    n = 300
    data = b"".join(post("/echo", b"%d" % i) if i % 3 else get("/later?ms=1") for i in range(n))
    with server.connect(30) as s:
        s.sendall(data + b"GET /health HTTP/1.0\r\n\r\n")
        all_replies = replies(read_all(s))
    equal(len(all_replies), n + 1)
    for i, r in enumerate(all_replies[:n]):
        equal(r.body, b"%d" % i if i % 3 else b"later")


@test("max_unsent=65536")
def pipelining_without_reading(server):
    with server.connect(30, small=4096) as s:
        s.setblocking(False)
        sent, data = 0, get("/big?n=20000") * 1000
        end = time.monotonic() + 2
        while time.monotonic() < end and sent < len(data):
            try:
                sent += s.send(data[sent:])
            except BlockingIOError:
                time.sleep(0.01)
        assert server.counts()["requests"] < 700, server.counts()
        s.settimeout(30)
        s.sendall(data[sent:])
        count = 0
        while count < 1000 * 20000:
            got = s.recv(1 << 20)
            assert got
            count += got.count(b"x")


@test()
def pipelined_rubbish(server):
    data = server.raw(get("/health") + b"\0\1\2" + get("/health"))
    equal([r.status for r in replies(data)], [200, 400])
    data = server.raw(b"POST /none HTTP/1.1\r\nHost: localhost\r\nContent-Length: 80\r\n\r\n" +
                      get("/health"))
    equal([r.status for r in replies(data)], [404])
    data = server.raw(post("/echo", get("/hold")) + b"GET /health HTTP/1.0\r\n\r\n")
    equal([r.status for r in replies(data)], [200, 200])


@test()
def expects(server):
    with server.connect() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                  b"Content-Length: 4\r\n\r\n")
        equal(read_until(s, b"\r\n\r\n"), b"HTTP/1.1 100 Continue\r\n\r\n")
        s.sendall(b"body")
        assert b"Connection: keep-alive" in read_until(s, b"body")
    r = Reply(server.raw(b"POST /none HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
                         b"Content-Length: 4\r\n\r\n"))
    equal(r.status, 404)


# ---- pieces ----

@test()
def pieces(server):
    with server.connect() as s:
        s.sendall(get("/stream?n=5&size=7") + b"GET /health HTTP/1.0\r\n\r\n")
        first, second = replies(read_all(s))
    equal((first.body, first.whole), (b"".join(bytes([97 + i]) * 7 for i in (5, 4, 3, 2, 1)), True))
    equal(first.fields["cache-control"], "no-cache")
    equal(second.body, b"{}")
    r = Reply(server.raw(b"GET /stream?n=5&size=7 HTTP/1.0\r\n\r\n"))
    equal((len(r.body), "transfer-encoding" in r.fields), (35, False))


@test()
def broken_pieces(server):
    data = server.raw(get("/stream?n=3&broken=1"))
    r = Reply(data)
    equal((len(r.body), r.whole), (30, False))
    data = server.raw(get("/nothing"))
    equal(data, b"")


@test()
def many_streams(server):
    sockets = [server.connect(30) for _ in range(100)]
    for i, s in enumerate(sockets):
        s.sendall(b"GET /stream?n=200&size=%d HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n" % (i + 1))
    for i, s in enumerate(sockets):
        r = Reply(read_all(s))
        equal((len(r.body), r.whole), (200 * (i + 1), True))
        s.close()
    equal(server.wait(lambda c: c["open"] == 1)["streaming"], 0)


@test("max_unsent=65536")
def slow_reader(server):
    with server.connect(30, small=4096) as s:
        s.sendall(b"GET /stream?n=3000&size=10000 HTTP/1.0\r\n\r\n")
        now = server.wait(lambda c: c["paused"] > 0)
        start = time.monotonic()  # others go on
        equal(len(server.ask("GET", "/stream?n=50&size=1000").body), 50000)
        assert time.monotonic() - start < 3
        equal(now["drained"], 0)
        count = 0
        while True:
            data = s.recv(1 << 20)
            if not data:
                break
            count += len(data)
        assert count > 3000 * 10000
    now = server.counts()
    equal((now["drained"] > 0, now["streaming"]), (True, 0))


@test("max_unsent=65536", "stall_s=1")
def stalled_reader(server):
    with server.connect(30, small=4096) as s:
        s.sendall(get("/stream?n=100000&size=10000"))
        now = server.wait(lambda c: c["gone"] == 1)
        equal((now["streaming"], now["lost"]), (0, 1))
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)


# ---- clients that go ----

@test()
def gone_before_reply(server):
    for i in range(1, 6):
        s = server.connect()
        s.sendall(post("/hold", b"a" * 100000) if i % 2 else get("/hold"))
        server.wait(lambda c: c["held"] == 1)
        if i > 3:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)  # a reset
        s.close()
        start = time.monotonic()
        server.wait(lambda c: c["gone"] == i and c["held"] == 0)
        assert time.monotonic() - start < 1
    equal(server.counts()["bodies"], 0)


@test()
def gone_behind_bytes(server):
    """What lies unread before its end must not hide that a client has gone."""
    for reset in (False, True):
        s = server.connect()
        s.sendall(get("/hold") + get("/health") * 10)
        server.wait(lambda c: c["held"] == 1)
        s.sendall(get("/health") * 2800)
        time.sleep(0.1)
        if reset:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
        s.close()
        server.wait(lambda c: c["held"] == 0)
    equal(server.counts()["gone"], 2)


@test()
def gone_in_stream(server):
    s = server.connect()
    s.sendall(get("/stream?n=100000000&size=10"))
    read_until(s, b"\r\n\r\n")
    s.close()
    server.wait(lambda c: c["gone"] == 1)
    equal(server.wait(lambda c: c["streaming"] == 0)["lost"], 1)


@test()
def gone_in_request(server):
    for data in [b"", b"GET /hea", post("/echo", b"abc")[:-1],
                 b"POST /echo HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\na"]:
        for reset in (False, True):
            s = server.connect()
            s.sendall(data)
            if reset:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, NO_LINGER)
            s.close()
    now = server.wait(lambda c: c["open"] == 1)
    equal(now["bodies"], 0)


@test()
def half_close(server):
    with server.connect() as s:  # answered at once: it is read all the same
        s.sendall(get("/health") + get("/big?n=3000000"))
        s.shutdown(socket.SHUT_WR)
        first, second = replies(read_all(s))
        equal((first.body, len(second.body)), (b"{}", 3000000))
    with server.connect() as s:  # behind a whole request, a part of one
        s.sendall(get("/health") + post("/echo", b"abc")[:-1])
        s.shutdown(socket.SHUT_WR)
        equal([r.status for r in replies(read_all(s))], [200])
    with server.connect() as s:  # answered later: it counts as gone
        s.sendall(get("/hold"))
        server.wait(lambda c: c["held"] == 1)
        s.shutdown(socket.SHUT_WR)
        server.wait(lambda c: c["held"] == 0)
        equal(read_all(s), b"")
    equal(server.counts()["gone"], 1)


# ---- limits ----

@test("header_s=0.5", "idle_s=0.8", "body_s=0.6")
def slow_loris(server):
    start = time.monotonic()
    with server.connect() as s:  # nothing at all
        equal(read_all(s), b"")
    took = time.monotonic() - start
    assert 0.7 < took < 10, took
    start = time.monotonic()
    with server.connect() as s:  # a byte now and then does not help
        s.settimeout(0.1)
        got = b""
        for byte in GET * 10:
            try:
                s.sendall(bytes([byte]))
                got = s.recv(65536)
                break
            except socket.timeout:
                pass
        equal(Reply(got).status, 408)
    took = time.monotonic() - start
    assert 0.4 < took < 10, took
    with server.connect() as s:
        s.sendall(post("/echo", b"abc")[:-1])
        equal(Reply(read_all(s)).status, 408)
    with server.connect() as s:  # between requests
        s.sendall(get("/health"))
        read_until(s, b"{}")
        equal(read_all(s), b"")
    with server.connect() as s:  # no limit while it is answered
        s.sendall(get("/later?ms=1500"))
        assert read_until(s, b"later")


@test("max_connections=20", "idle_s=30")
def too_many_connections(server):
    sockets = [server.connect() for _ in range(20)]
    sockets[19].sendall(get("/health"))
    read_until(sockets[19], b"{}")
    r = Reply(server.raw(get("/health")))
    equal((r.status, r.fields["retry-after"]), (503, "1"))
    sockets[3].close()
    end = time.monotonic() + 20
    while True:
        r = Reply(server.raw(b"GET /counts HTTP/1.0\r\n\r\n"))
        if r.status == 200 or time.monotonic() > end:
            break
        time.sleep(0.02)
    equal(r.status, 200)
    assert json.loads(r.body)["refused"] >= 1
    for s in sockets:
        s.close()


@test("max_connections=10100", "idle_s=120")
def ten_thousand_idle(server):
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    n = 10000 if hard == resource.RLIM_INFINITY or hard > 10600 else hard - 600
    if n < 10000:
        print("not run: 10,000 idle connections: the system allows %d open files" % hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, n + 300) if hard > 0 else n + 300, hard))
    sockets = []
    try:
        for i in range(n):
            s = server.connect(30)
            if i % 2:
                s.sendall(b"GET /he")  # half of them in the midst of a request
            sockets.append(s)
        server.wait(lambda c: c["open"] == n + 1, 30)
        start = time.monotonic()
        for _ in range(50):
            equal(server.ask("GET", "/health").body, b"{}")
        equal(len(server.ask("GET", "/stream?n=50&size=1000").body), 50000)
        assert time.monotonic() - start < 5
        for s in sockets[1::2]:
            s.sendall(b"alth HTTP/1.1\r\nHost: localhost\r\n\r\n")
        for s in sockets[1::2]:
            read_until(s, b"{}")
        with open("/proc/%d/statm" % server.process.pid, encoding="ascii") as f:
            pages = int(f.read().split()[1])
        print("%d idle connections: %d MiB" % (n, pages * 4096 >> 20))
    finally:
        for s in sockets:
            s.close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    server.wait(lambda c: c["open"] == 1, 30)


@test("max_body=100000", "max_bodies=250000")
def bodies(server):
    for n in (0, 1, 4095, 4096, 4097, 99999, 100000):
        equal(len(server.ask("POST", "/echo", body=b"a" * n).body), n)
    equal(server.ask("POST", "/echo", body=b"a" * 100001).status, 413)
    head_ = b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100000\r\n\r\n"
    waiting = [server.connect() for _ in range(2)]
    for s in waiting:
        s.sendall(head_ + b"a" * 99999)
    server.wait(lambda c: c["bodies"] >= 199998)
    equal(server.ask("POST", "/echo", body=b"a" * 90000).status, 503)
    equal(server.ask("POST", "/echo", body=b"a" * 40000).status, 200)
    for s in waiting:
        s.sendall(b"a")
        equal(len(read_until(s, b"a" * 100000)) > 100000, True)
        s.close()
    equal(server.wait(lambda c: c["open"] == 1)["bodies"], 0)


@test("max_body=100")
def reply_before_body(server):
    """A refusal reaches a client that sends on without reading."""
    with server.connect() as s:
        s.sendall(b"POST /echo HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3000000\r\n\r\n")
        try:
            for _ in range(30):
                s.sendall(b"a" * 100000)
        except ConnectionError:
            raise AssertionError("reset before the reply was read")
        equal(Reply(s.recv(65536)).status, 413)


# ---- who asks ----

def key_file(text):
    path = os.path.join(FOLDER.name, "keys%d" % len(os.listdir(FOLDER.name)))
    with open(path, "w", encoding="utf8") as f:
        f.write(text)
    return path


@test("keys=" + key_file("# mine\n%s\n\r\n%s\n%s" % tuple(KEYS)))
def keys(server):
    equal(server.ask("GET", "/health").status, 200)
    r = server.ask("GET", "/echo")
    equal((r.status, r.fields["www-authenticate"]), (401, "Bearer"))
    for sent in ["Bearer wrong", "Bearer ", "Bearer", "Basic Zmlyc3Qta2V5", "Bearer first-ke",
                 "Bearer first-key2", "Bearer first-key first-key", "Bearer kk", "first-key",
                 "Bearer first-keyfirst-key"]:
        equal(server.ask("GET", "/echo", ["Authorization: " + sent]).status, 401)
    for i, key in enumerate(KEYS):
        for field in ["Authorization: Bearer ", "authorization: bearer  ", "X-Api-Key: "]:
            r = server.ask("GET", "/echo", [field + key])
            equal((r.status, r.fields["x-key"]), (200, str(i + 1)))
    equal(server.ask("GET", "/none").status, 401)  # what is there is not told to anybody
    equal(server.ask("POST", "/echo", body=b"a" * 1000).status, 401)
    equal(server.ask("GET", "/echo", ["X-Api-Key: k", "Authorization: Bearer no"]).status, 401)


@test(None)
def key_files(_):
    for text, what in [("", "has 0 keys"), ("# none\n\n", "has 0 keys"), ("a b\n", "line 1 is no key"),
                       ("a\n\x01\n", "line 2 is no key"), ("a" * 513 + "\n", "line 1 is no key"),
                       ("a" * 3000 + "\n", "line 1 is no key"), ("\xe4\n", "line 1 is no key")]:
        will_not_open("keys=" + key_file(text), what)
    will_not_open("keys=" + FOLDER.name + "/none", "No such file")
    with Server("keys=" + key_file("a" * 512 + "\n")) as server:
        equal(server.ask("GET", "/echo", ["X-Api-Key: " + "a" * 512]).status, 200)


@test("name=models.example")
def hosts(server):
    for host in ["localhost", "LocalHost:80", "localhost.", "127.0.0.1", "127.0.0.1:8080",
                 "192.168.1.5:8080", "[::1]", "[::1]:99", "[2001:db8::5]:1", "models.example",
                 "Models.Example:443"]:
        equal((host, server.ask("GET", "/health", host=host).status), (host, 200))
    for host in ["evil.example", "localhost.evil.example", "evil.example:80", "127.0.0.1.evil.example",
                 "a@localhost", "localhost:80:80", "localhost:x", "localhost:123456", "[::1", "::1",
                 "[localhost]x", "", "localhost/", "local host", "127.0.0.1/evil", "[evil]", "x" * 300]:
        equal((host, server.ask("GET", "/health", host=host).status), (host, 403))


@test("name=*")
def any_host(server):
    equal(server.ask("GET", "/health", host="evil.example").status, 200)
    equal(server.ask("GET", "/health", ["Origin: http://evil.example"]).status, 403)


@test("origin=https://app.example")
def origins(server):
    own = "localhost:%d" % server.port
    r = server.ask("GET", "/echo", ["Origin: http://" + own], host=own)
    equal((r.status, "access-control-allow-origin" in r.fields), (200, False))
    for origin in ["https://evil.example", "http://app.example", "https://app.example.evil.example",
                   "https://app.example:8443", "null", "", "http://localhost:1", "app.example"]:
        equal((origin, server.ask("GET", "/echo", ["Origin: " + origin], host=own).status),
              (origin, 403))
    equal(server.ask("POST", "/echo", ["Origin: https://evil.example"], b"x").status, 403)
    r = server.ask("GET", "/echo", ["Origin: https://app.example"])
    equal((r.status, r.fields["access-control-allow-origin"], r.fields["vary"]),
          (200, "https://app.example", "Origin"))
    r = server.ask("GET", "/none", ["Origin: https://app.example"])
    equal((r.status, r.fields["access-control-allow-origin"]), (404, "https://app.example"))
    r = server.ask("GET", "/stream", ["Origin: https://app.example"])
    equal(r.fields["access-control-allow-origin"], "https://app.example")
    r = server.ask("OPTIONS", "/echo", ["Origin: https://app.example",
                                        "Access-Control-Request-Method: POST",
                                        "Access-Control-Request-Headers: authorization, x-b",
                                        "Access-Control-Request-Private-Network: true"])
    equal((r.status, r.fields["access-control-allow-headers"]), (204, "authorization, x-b"))
    assert "POST" in r.fields["access-control-allow-methods"]
    equal(r.fields["access-control-allow-private-network"], "true")
    r = server.ask("OPTIONS", "/echo", ["Origin: https://evil.example",
                                        "Access-Control-Request-Method: POST"])
    equal((r.status, "access-control-allow-origin" in r.fields), (403, False))


@test("origin=*", "keys=" + key_file("\n".join(KEYS)))
def any_origin_with_keys(server):
    equal(server.ask("GET", "/echo", ["Origin: null"]).status, 401)
    r = server.ask("OPTIONS", "/echo", ["Origin: null", "Access-Control-Request-Method: POST"])
    equal((r.status, r.fields["access-control-allow-origin"]), (204, "null"))
    equal(server.ask("OPTIONS", "/echo").status, 401)
    r = server.ask("GET", "/echo", ["Origin: null", "X-Api-Key: k"])
    equal((r.status, r.fields["access-control-allow-origin"]), (200, "null"))


# ---- the page ----

@test("keys=" + key_file("k\n"))
def page(server):
    r = server.ask("GET", "/")
    equal((r.status, r.fields["content-type"]), (200, "text/html; charset=utf-8"))
    text = gzip.decompress(r.body).decode()
    for part in re.findall(r'(?:src|href)="([^"#]+)"', text):
        s = server.ask("GET", "/" + part, ["Accept-Encoding: deflate, gzip;q=0.5"])
        equal((part, s.status, s.fields["content-encoding"]), (part, 200, "gzip"))
        assert s.fields["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
        equal((s.fields["referrer-policy"], s.fields["cache-control"]), ("no-referrer", "no-cache"))
        again = server.ask("GET", "/" + part, ["If-None-Match: W/\"x\", " + s.fields["etag"]])
        equal((again.status, again.body, again.fields["etag"]), (304, b"", s.fields["etag"]))
        source = gzip.decompress(s.body).decode()
        if not part.startswith("lib/") and part.endswith((".js", ".css")):
            assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|"
                                 r"https?://|@import|url\(", source), part
        for module in re.findall(r'from "\./([^"]+)"', source):
            equal(server.ask("GET", "/" + module).status, 200)
    equal(server.ask("GET", "/", ["Accept-Encoding: br"]).status, 406)
    equal(server.ask("GET", "/", ["Accept-Encoding: *"]).status, 200)
    equal(server.ask("GET", "/page.c").status, 401)


# ---- where it listens ----

def will_not_open(option, what, **more):
    try:
        Server(option, **more).stop()
    except OSError as e:
        assert what in str(e), e
    else:
        raise AssertionError("taken: " + option)


@test(None)
def unix_socket(_):
    path = FOLDER.name + "/socket"
    with Server("unix=" + path) as server:
        equal(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        equal(server.port, -1)
        equal(server.ask("GET", "/health", host="whatever").status, 200)
        s = server.connect()
        s.sendall(get("/hold"))
        server.wait(lambda c: c["held"] == 1)
        s.close()
        server.wait(lambda c: c["held"] == 0)
        will_not_open("unix=" + path, "is there already")
    assert not os.path.exists(path)
    killed = Server("unix=" + path)
    killed.process.kill()
    killed.process.communicate()
    assert os.path.exists(path)
    with Server("unix=" + path) as server:  # takes the place of one that is gone
        equal(server.ask("GET", "/health").status, 200)
    with open(path, "w", encoding="ascii"):
        pass
    will_not_open("unix=" + path, "is there already")


@test(None)
def given_socket(_):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        with Server("fd=%d" % s.fileno(), pass_fds=[s.fileno()]) as server:
            equal(server.port, s.getsockname()[1])
            equal(server.ask("GET", "/health").status, 200)
    with socket.socket(socket.AF_UNIX) as s:  # which no page can reach: any name will do
        path = FOLDER.name + "/given"
        s.bind(path)
        s.listen()
        with Server("fd=%d" % s.fileno(), pass_fds=[s.fileno()]) as server:
            server.path = path
            equal((server.port, server.ask("GET", "/health", host="whatever").status), (-1, 200))
    with socket.socket() as s:
        will_not_open("fd=%d" % s.fileno(), "no socket that listens", pass_fds=[s.fileno()])


@test("host=localhost")
def all_addresses_of_a_name(server):
    equal(server.ask("GET", "/health").status, 200)
    try:
        with socket.create_connection(("::1", server.port), 5) as s:
            s.sendall(b"GET /counts HTTP/1.0\r\n\r\n")
            equal(json.loads(Reply(read_all(s)).body)["client"], "::1")
    except OSError:
        print("not run: ::1: this machine has no IPv6")


@test()
def bad_places(server):
    for option, what in [("port=%d" % server.port, "ddress already in use"), ("port=70000", "70000"),
                         ("host=no.such.name.invalid", "no.such.name.invalid"),
                         ("unix=" + "a" * 200, "at most"), ("unix=/no/such/folder/s", "No such file"),
                         ("max_connections=0", "more than 0"), ("idle_s=0", "more than 0")]:
        will_not_open(option, what)
    equal(server.counts()["client"], "127.0.0.1")


# ---- the end ----

@test(None)
def stops(_):
    server = Server("grace=12")
    idle, held, part = server.connect(), server.connect(), server.connect()
    held.sendall(get("/later?ms=700"))
    part.sendall(post("/echo", b"abc")[:-1])
    time.sleep(0.2)
    start = time.monotonic()
    server.process.terminate()
    equal(read_all(idle), b"")
    r = Reply(read_all(held))
    equal((r.body, r.fields["connection"]), (b"later", "close"))
    equal(read_all(part), b"")
    idle.close()
    held.close()
    part.close()
    equal(server.stop(), "gone 0 held 0\n")
    assert time.monotonic() - start < 11
    server = Server("grace=0.3")
    held, stream = server.connect(), server.connect()
    held.sendall(get("/hold"))
    stream.sendall(get("/stream?n=1000000000&size=10"))
    read_until(stream, b"\r\n\r\n")
    server.wait(lambda c: c["held"] == 1)
    server.process.terminate()
    equal(read_all(held), b"")
    read_all(stream)
    held.close()
    stream.close()
    equal(server.stop(), "gone 2 held 0\n")


def main():
    failed = 0
    names = sys.argv[2:]
    chosen = [t for t in TESTS if not names or t[0].__name__ in names]
    for function, options in chosen:
        try:
            if options == (None,):
                function(None)
            else:
                with Server(*options) as server:
                    function(server)
        except (AssertionError, OSError, subprocess.TimeoutExpired, ValueError) as e:
            failed += 1
            print("[FAIL] %s: %s: %s" % (function.__name__, type(e).__name__, str(e)[:2000]))
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0" %
          (len(chosen), len(chosen) - failed, failed))
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

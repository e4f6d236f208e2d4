#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_corpus_http.py: writes tests/fuzz/corpus_http: requests, whole and wrong, each behind a byte
that says into which pieces it is cut."""
import os

HOST = b"Host: localhost\r\n"
CASES = {
    "get": b"GET /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "old": b"GET /a?q=1 HTTP/1.0\r\n\r\n",
    "broken": b"GET /%61?q=b HTTP/1.1\r\n" + HOST + b"\r\n",
    "absolute": b"GET http://localhost:80/a?x=+%20&y HTTP/1.1\r\nHost: a.example\r\n\r\n",
    "pipeline": (b"\r\nGET /a HTTP/1.1\r\n" + HOST + b"\r\n") * 3 + b"HEAD /a HTTP/1.1\r\n" + HOST + b"\r\n",
    "body": b"POST /a?q HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nabcde",
    "chunks": b"POST /a HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
              b"3;x=y\r\nabc\r\n00a\r\n0123456789\r\n0\r\nT: u\r\n\r\nGET /b HTTP/1.0\r\n\r\n",
    "expect": b"POST /a HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 1\r\n\r\na",
    "key": b"POST /key HTTP/1.1\r\n" + HOST + b"Authorization: Bearer key\r\nContent-Length: 1\r\n\r\na",
    "no_key": b"POST /key HTTP/1.1\r\n" + HOST + b"X-Api-Key: keys\r\n\r\n",
    "origin": b"GET /a HTTP/1.1\r\n" + HOST + b"Origin: http://a.example\r\n\r\n",
    "preflight": b"OPTIONS /key HTTP/1.1\r\n" + HOST + b"Origin: http://a.example\r\n"
                 b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: x, y\r\n\r\n",
    "methods": b"PUT /key HTTP/1.1\r\n" + HOST + b"\r\nOPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n"
               b"BREW / HTTP/1.1\r\n" + HOST + b"\r\n",
    "six": b"GET /a HTTP/1.1\r\nHost: [::1]:80\r\nConnection: keep-alive, close\r\n\r\n",
    "long": b"GET /a HTTP/1.1\r\n" + HOST + b"X: " + b"a" * 600 + b"\r\n\r\n",
    "large": b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1001\r\n\r\n" + b"a" * 1001,
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    "two_lengths": b"POST /a HTTP/1.1\r\n" + HOST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "fold": b"GET /a HTTP/1.1\r\n" + HOST + b"X: y\r\n z\r\n\r\n",
    "two": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
}
folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus_http")
os.makedirs(folder, exist_ok=True)
for i, (name, data) in enumerate(CASES.items()):
    with open(os.path.join(folder, name), "wb") as f:
        f.write(bytes([i]) + data)

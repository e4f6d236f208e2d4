# SPDX-License-Identifier: Apache-2.0
"""kept.py LOCKSTEP MODEL PLAIN FOLDER: dialogues that are saved, go on, and outgrow their context.
PLAIN is a model without a chat template. What was said is read from the saved sessions. Prints NAME
ok or why not, one a line."""
import hashlib
import os
import re
import struct
import subprocess
import sys

sys.path.insert(0, "tests/cli")
from terminal import check, main

PROGRAM, MODEL, PLAIN, DIR = os.path.abspath(sys.argv[1]), *sys.argv[2:5]
os.makedirs(DIR, exist_ok=True)
HEADER, N_TOKENS, TAIL = 112, 40, 8 + 32  # of a saved session
DROPPED = re.compile(rb"the context is full: the oldest (\d+) of (\d+) turns were dropped\n")


def at(name):
    return os.path.join(DIR, name)


def lk(*argv, text=b"", code=0):
    p = subprocess.run([PROGRAM, *argv], input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    check(p.returncode == code, argv, p.returncode, p.stderr)
    return p


def chat(lines, *options, model=MODEL, backend="cpu", **more):
    text = "".join(line + "\n" for line in lines).encode()
    return lk("run", model, "--chat", "--ignore-eos", "--backend", backend, *options, text=text, **more)


def data_of(path):
    """The program's bytes in a saved session."""
    with open(path, "rb") as f:
        file = f.read()
    n = struct.unpack("<Q", file[-TAIL:-32])[0]
    return file[len(file) - TAIL - n:len(file) - TAIL]


def parts_of(data):
    """[(name, bytes)] of a dialogue."""
    begin = b"lockstep dialogue 1\n"
    check(data.startswith(begin), data[:40])
    parts, data = [], data[len(begin):]
    while data:
        line, data = data.split(b"\n", 1)
        name, n = line.split()
        parts.append((name.decode(), data[:int(n)]))
        check(data[int(n):int(n) + 1] == b"\n")
        data = data[int(n) + 1:]
    return parts


def said(path):
    return [(name, text) for name, text in parts_of(data_of(path)) if name != "sampling"]


def without_tokens(path, out, data=None, version=b"03"):
    """The same session with nothing evaluated, and with other bytes of the program's."""
    with open(path, "rb") as f:
        header = f.read(HEADER)
    data = data_of(path) if data is None else data
    file = header[:6] + version + header[8:N_TOKENS] + bytes(8) + header[N_TOKENS + 8:]
    file += data + struct.pack("<Q", len(data))
    with open(out, "wb") as f:
        f.write(file + hashlib.sha256(file).digest())
    return out


def same_bytes(a, b):
    with open(a, "rb") as f, open(b, "rb") as g:
        return f.read() == g.read()


# ---- saved and loaded ----

def a_saved_dialogue_goes_on_as_if_it_had_not_ended():
    for options in ([], ["--temp", "1", "--seed", "5", "--top-k", "40"], ["--system", "be kind"]):
        questions = ["my name is Bob", "who am I", "and who are you"]
        whole = chat(questions, "-n", "12", *options, "--save", at("whole"))
        first = chat(questions[:2], "-n", "12", *options, "--save", at("part"))
        check([x for x, _ in said(at("part"))] == ["system"] * ("be kind" in options) + ["user", "assistant"] * 2)
        # the system prompt and how tokens are chosen are part of it
        rest = chat(questions[2:], "-n", "12", "--load", at("part"), "--save", at("part"))
        check(b"loaded a dialogue of 2 turns" in rest.stderr, rest.stderr)
        check(whole.stdout == first.stdout + rest.stdout, whole.stdout, first.stdout, rest.stdout)
        check(same_bytes(at("whole"), at("part")), options)
        check([t for x, t in said(at("whole")) if x == "user"] == [q.encode() for q in questions])


def the_command_line_overrides_what_was_saved():
    chat(["one"], "-n", "8", "--temp", "1", "--seed", "5", "--system", "be kind", "--save", at("s"))
    sampling = dict(parts_of(data_of(at("s"))))["sampling"].split()
    check(b"temp=1" in sampling and b"seed=5" in sampling and b"top-p=1" in sampling, sampling)
    chat([], "--load", at("s"), "--temp", "0.5", "--system", "be terse", "--save", at("t"))
    sampling = dict(parts_of(data_of(at("t"))))["sampling"].split()
    check(b"temp=0.5" in sampling and b"seed=5" in sampling, sampling)
    check(said(at("t")) == [("system", b"be terse")] + said(at("s"))[1:], said(at("t")))


def one_prompt_is_a_dialogue_too():
    run = ["run", MODEL, "--ignore-eos", "--backend", "cpu"]
    lk(*run, "hello", "-n", "7", "--system", "be kind", "--save", at("seven"))
    lk(*run, "hello", "-n", "3", "--system", "be kind", "--save", at("three"))
    lk(*run, "-n", "4", "--load", at("three"), "--save", at("three"))  # it goes on
    check([x for x, _ in said(at("seven"))] == ["system", "user", "assistant"])
    check(same_bytes(at("seven"), at("three")), said(at("seven")), said(at("three")))
    check(b"loaded a dialogue of 1 turns" in chat(["more"], "-n", "3", "--load", at("three")).stderr)
    # another prompt, though it may reuse tokens of what was loaded, is another dialogue
    lk(*run, "hi", "-n", "3", "--load", at("three"), "--save", at("hi"))
    check([x for x, _ in said(at("hi"))] == ["user", "assistant"] and said(at("hi"))[0][1] == b"hi")
    # text without a template is none
    lk(*run, "--raw", "hello", "-n", "3", "--load", at("three"), "--save", at("raw"))
    check(data_of(at("raw")) == b"")
    out = chat(["hello"], "-n", "3", "--load", at("raw"), "--save", at("raw"))
    check(b"no dialogue: a new one begins" in out.stderr and len(said(at("raw"))) == 2, out.stderr)
    lk("run", PLAIN, "hello", "-n", "3", "--save", at("plain"))
    check(data_of(at("plain")) == b"")


def texts_of_any_bytes_are_kept():
    text = b"\xff\xfe user 3\nab \x01\r \xf0\x9f\x98\x80"
    lk("run", MODEL, "-", "-n", "1", "--save", at("odd"), text=text)
    check(said(at("odd"))[0] == ("user", text), said(at("odd")))
    p = subprocess.run([PROGRAM, "run", MODEL, "--chat", "-n", "1", "--load", at("odd"), "--save", at("odd2")],
                       stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    check(p.returncode == 0 and said(at("odd2")) == said(at("odd")), p.stderr)


def what_is_no_dialogue_of_ours_is_told():
    chat(["hello"], "-n", "3", "--save", at("good"))
    good = data_of(at("good"))
    for other in (b"", b"{\"messages\":[]}", b"lockstep", b"\0" * 100):
        without_tokens(at("good"), at("other"), other)
        check(b"no dialogue: a new one begins" in chat([], "--load", at("other")).stderr, other)
    without_tokens(at("good"), at("newer"), good.replace(b"dialogue 1", b"dialogue 2"))
    check(b"of another version" in chat([], "--load", at("newer"), code=3).stderr)
    begin = b"lockstep dialogue 1\n"
    broken = [good[:-k] for k in range(1, len(good) - len(begin))]
    whole = {len(begin)}  # where parts end
    for name, text in parts_of(good):
        whole.add(max(whole) + len(b"%s %d\n" % (name.encode(), len(text))) + len(text) + 1)
    broken = [b for b in broken if len(b) not in whole or b.count(b"\nuser ") != b.count(b"\nassistant ")]
    broken += [begin + b for b in (b"assistant 1\na\n", b"user 1\na\nuser 1\na\n", b"user 1\na\n", b"tool 1\na\n",
                                   b"user 1\na\nassistant 1\na\nsystem 1\na\n", b"user 99999999999999999999999999\na\n",
                                   b"user 18446744073709551615\na\n", b"user -1\na\n", b"user  1\na\n", b"user\n", b"user 1",
                                   b"sampling 6\ntemp=x\n", b"sampling 5\nheat=\n", b"sampling 3\na\0b\n", b"sampling 5\ntemp=\n",
                                   b"user 1\na\nassistant 1\nab", b"a" * 200 + b" 1\na\n",
                                   b"sampling 600\n" + b"a" * 600 + b"\n")]
    for data in broken[:: max(1, len(broken) // 40)] + broken[-18:]:
        without_tokens(at("good"), at("broken"), data)
        found = chat([], "--load", at("broken"), code=3).stderr
        check(b"the dialogue in it is not one" in found, data, found)
    without_tokens(at("good"), at("old"), b"", b"02")
    check(b"version 2 of the format, expected 3" in chat([], "--load", at("old"), code=3).stderr)


# ---- a full context ----

def drops_in(err):
    return [(int(a), int(b)) for a, b in DROPPED.findall(err)]


def a_full_context_drops_the_oldest_turns():
    questions = ["question number %d" % i for i in range(1, 13)]
    for system in ([], ["--system", "be kind"]):
        options = ["-n", "20", "-c", "250", *system]
        out = chat(questions, *options, "--save", at("kept"))
        drops = drops_in(out.stderr)
        check(len(drops) > 2 and all(0 < a <= b for a, b in drops), out.stderr)
        check(out.stderr.count(b"context") == len(drops), "a line each time", out.stderr)
        kept = said(at("kept"))
        first = kept[0] == ("system", b"be kind")
        check(first == bool(system), kept)
        n = (len(kept) - first) // 2
        check(n == 12 - sum(a for a, _ in drops) and n > 0, n, drops)
        check([t.decode() for x, t in kept if x == "user"] == questions[12 - n:], kept)
        check(len(out.stdout.split(b"\n")) >= 12)
        # The next answer is that of a dialogue of the kept turns which nobody has evaluated yet,
        # by the bits of its logits, here and on another backend.
        without_tokens(at("kept"), at("fresh"))
        answer = ["-n", "9", "-c", "250", "--logits-sha256", "-v"]
        held = chat(["and now"], *answer, "--load", at("kept"), "--save", at("held"))
        anew = chat(["and now"], *answer, "--load", at("fresh"), "--save", at("anew"))
        other = chat(["and now"], *answer, "--load", at("fresh"), backend="scalar")
        check(b"logits-sha256: " in held.stdout)
        check(held.stdout == anew.stdout == other.stdout, held.stdout, anew.stdout, other.stdout)
        check(same_bytes(at("held"), at("anew")))
        check(b" 0 reused" in anew.stderr and b" 0 reused" not in held.stderr, "the cache was of use")
        # In the same process too.
        both = chat(questions + ["and now"], *options, "--save", at("both"))
        check(said(at("both"))[-1][1][:9] and both.stdout.startswith(out.stdout))
        chat(["and now"], *options, "--load", at("fresh"), "--save", at("then"))
        check(same_bytes(at("both"), at("then")), said(at("both")), said(at("then")))


def an_answer_goes_on_where_the_context_ends():
    out = chat(["a question that is somewhat long, so that there is something to drop", "again"], "-n", "60", "-c", "240",
               "-v", "--save", at("long"))
    check(out.stderr.count(b"generated: 60 tokens") == 2, out.stderr)
    check(drops_in(out.stderr) == [(1, 1)], out.stderr)
    check(said(at("long"))[0] == ("user", b"again") and len(said(at("long"))) == 2, said(at("long")))
    # one that leaves no room, with nothing before it to drop, ends there; the next question drops it
    out = chat(["question", "more"], "-c", "100", "--save", at("long"))
    check(out.stderr.count(b"the context is full: 100 tokens; --ctx gives more") == 2, out.stderr)
    check(drops_in(out.stderr) == [(1, 1)], out.stderr)
    check([t for x, t in said(at("long")) if x == "user"] == [b"more"])


def a_line_that_does_not_fit_is_not_said():
    lines = ["first question", "0" * 100, "third"]
    for options in ([], ["--on-full", "drop"], ["--on-full", "stop"]):
        out = chat(lines, "-n", "2", "-c", "120", *options, "--save", at("fits"))
        check(out.stderr.count(b"not said: ") == 1 and not DROPPED.search(out.stderr), out.stderr)
        users = [t for x, t in said(at("fits")) if x == "user"]
        check(users == [b"first question", b"third"], users)


def nothing_is_dropped_where_that_is_wished():
    questions = ["question number %d" % i for i in range(1, 9)]
    out = chat(questions, "-n", "20", "-c", "200", "--on-full", "stop", "--save", at("stop"))
    check(not DROPPED.search(out.stderr) and b"not said: " in out.stderr, out.stderr)
    users = [t.decode() for x, t in said(at("stop")) if x == "user"]
    check(users == questions[:len(users)] and 0 < len(users) < 8, users)
    fresh = chat(users, "-n", "20", "-c", "200", "--on-full", "stop", "--save", at("fresh"))
    check(same_bytes(at("stop"), at("fresh")) and fresh.stdout == out.stdout)
    # it goes on with more room
    check(b"loaded a dialogue" in chat(["more"], "-n", "5", "-c", "256", "--load", at("stop")).stderr)
    lk("run", MODEL, "hello", "--on-full", "drop", code=2)  # one prompt has nothing to drop
    lk("run", MODEL, "hello", "-n", "1", "--on-full", "stop")
    lk("run", MODEL, "--chat", "--on-full", "forget", code=2)


if __name__ == "__main__":
    main([a_saved_dialogue_goes_on_as_if_it_had_not_ended, the_command_line_overrides_what_was_saved,
          one_prompt_is_a_dialogue_too, texts_of_any_bytes_are_kept, what_is_no_dialogue_of_ours_is_told,
          a_full_context_drops_the_oldest_turns, an_answer_goes_on_where_the_context_ends,
          a_line_that_does_not_fit_is_not_said, nothing_is_dropped_where_that_is_wished])

# SPDX-License-Identifier: Apache-2.0
"""dialogue.py LOCKSTEP MODEL FOLDER: the dialogue and its line editor on terminals: keys, pasted
text, characters of all widths, stops, signals, sizes, history, commands. What the user typed is
read back by /system, which shows the text it was given. Prints NAME ok or why not, one a line."""
import ctypes
import fcntl
import os
import signal
import stat
import subprocess
import sys
import termios
import time

sys.path.insert(0, "tests/cli")
from terminal import Failed, Program, check, main

PROGRAM, MODEL, DIR = os.path.abspath(sys.argv[1]), sys.argv[2], sys.argv[3]
os.makedirs(DIR, exist_ok=True)
ASK = [PROGRAM, "run", MODEL, "-n", "3", "--ignore-eos", "--backend", "cpu"]


def begin(name="none", rows=24, columns=80, argv=None, **env):
    """A dialogue whose first prompt is there; its history is of its own."""
    where = {"XDG_STATE_HOME": os.path.join(DIR, name), **env}
    p = Program(argv or ASK, where, rows, columns)
    settled(p)
    return p


def settled(p):
    """Until an empty prompt is there."""
    found = lambda p: p.screen.lines()[p.screen.row] == ">" and p.screen.bracketed
    found.what = "an empty prompt"
    p.until(found, 30)


def enter(p, line, times=1):
    """Types a line and Enter, and waits for the prompt after it (after so many of them). An empty
    prompt alone proves nothing: it may be the one before the line, or a row of a half drawn text."""
    n = p.seen.count(b"\x1b[?2004h")
    p.send(line + "\r")
    p.until(lambda p: p.seen.count(b"\x1b[?2004h") >= n + times, 30)
    settled(p)


def quit(p, code=0):
    p.send("\x04")
    found = p.end()
    check(found == code, "exit", found, p.screen.text()[-500:])
    check(p.screen.unknown == [], p.screen.unknown)
    check(not p.screen.bracketed, "bracketed paste is still on")


def last_row(p):
    return [x for x in p.screen.lines() if x][-1]


def typed(p, keys, row):
    """After these keys the cursor's row is `row`."""
    p.send(keys)
    found = lambda p: p.screen.lines()[p.screen.row] == row
    found.what = row
    p.until(found, 30)


def read_back(p):
    """What /system was given."""
    n = len(p.seen)
    enter(p, "/system")
    text = p.seen[n:].split(b"/system", 1)[1].split(b"\r\n", 1)[1].replace(b"\x1b[?2004l", b"")
    return text.split(b"\r\n")[0].decode().replace("\\t", "\t").replace("\\n", "\n")


# ---- keys ----

def keys_edit():
    p = begin()
    typed(p, "\x19ac\x1b[Db\x05\xc3\xa9\x7fd".encode("latin-1"), "> abcd")
    typed(p, "\x17xy", "> xy")
    typed(p, "\x01ab \x1b[H1\x1b[F2", "> 1ab xy2")
    typed(p, "\x15", ">")
    typed(p, "one two three\x1b[1;5D\x1b[1;5D\x0b", "> one")
    typed(p, "\x05\x19", "> one two three")
    typed(p, "\x01\x1b[3~\x1b[3~\x04\x04", "> two three")
    typed(p, "\x06\x06\x02-\x1b[1;5C+", "> t-wo+ three")
    typed(p, "\x05\x08\x08\x15\x19!", "> t-wo+ thr!")
    typed(p, "\x01\x0b\x0c", ">")
    check(p.screen.row == 0, "Ctrl-L clears")
    quit(p)


def escape_takes_nothing_with_it():
    p = begin()
    typed(p, "\x1bhello", "> hello")
    typed(p, "\x1bOne", "> helloOne")
    p.send("\x1b")
    time.sleep(1)  # a busy machine reads it before what follows
    typed(p, "[x]", "> helloOne[x]")
    typed(p, "\x15\x1b\x1b\x1b[99~\x1b[1;2Pa\x1bb\x1b[?1;2cc", "> abc")
    typed(p, "\x15\x1bOH\x1bOFx\x1bOPy", "> xy")
    typed(p, "\x15\x00\x07\x0f\x12\x1c".replace("\x1c", "") + "ok", "> ok")
    typed(p, "\x1b[\xe9z".encode(), "> ok\xe9z")
    quit_with_text(p)


def quit_with_text(p):
    p.send("\x03")
    settled(p)
    quit(p)


def an_interrupt_drops_the_text():
    p = begin()
    typed(p, "some", "> some")
    p.send("\x03")
    p.until(lambda p: p.screen.text().count("> ") == 1 and p.screen.lines()[p.screen.row] == ">")
    typed(p, "new", "> new")
    thread = max(int(t) for t in os.listdir("/proc/%d/task" % p.pid))  # any thread may be told
    tgkill = {"x86_64": 234, "aarch64": 131}[os.uname().machine]
    check(ctypes.CDLL(None).syscall(tgkill, p.pid, thread, signal.SIGINT) == 0)
    typed(p, "", ">")
    p.send("\x03")
    p.until(lambda p: not p.is_raw())
    check(p.end() == 130)


# ---- pasted text ----

def used(p):
    """Seconds that the program has computed for: other programs do not add to them."""
    with open("/proc/%d/stat" % p.pid) as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def pasted(p, text, bracketed=True):
    """Pastes behind "/system "; the seconds it took to show it, and what was taken."""
    p.send("/system ")
    p.until(lambda p: p.screen.lines()[p.screen.row] == "> /system")
    start = used(p)
    data = text if isinstance(text, bytes) else text.encode()
    p.send(b"\x1b[200~" + data + b"\x1b[201~" if bracketed else data)
    p.send("#")
    p.until(lambda p: "#" in p.screen.lines()[p.screen.row], 60)
    seconds = used(p) - start
    enter(p, "")
    found = read_back(p)
    check(found.endswith("#"), found[-100:])
    return seconds, found[:-1]


def an_interrupt_behind_other_keys_gets_its_prompt():
    p = begin()
    for _ in range(30):
        typed(p, "draft", "> draft")
        p.send("\x0e\x0e")
        p.send("\x03")
        settled(p)
        p.send("x\x15")
    quit(p)


def pasting_costs_its_length():
    words = "".join("word%d " % i for i in range(12000))[:100000]
    p = begin(rows=30, columns=100)
    for bracketed in (True, False):
        for text in (words, "x" * 100000, "\u754c" * 30000):
            seconds, found = pasted(p, text, bracketed)
            check(found == text, bracketed, len(found), len(text))
            if os.environ.get("SHOW"):
                print("%.3f s for %d characters, bracketed: %s" % (seconds, len(text), bracketed))
            check(seconds < 1.0, "%.2f s for %d characters" % (seconds, len(text)))
    lines = "".join("line %d\n" % i for i in range(8000))
    seconds, found = pasted(p, lines.replace("\n", "\r"))
    check(found == lines and seconds < 2.0, seconds, len(found))
    quit(p)


def slowly_coming_text_is_linear_too():
    p = begin()
    start = used(p)
    p.send("/system ")
    for i in range(0, 20000, 5):  # as a slow line brings it
        os.write(p.fd, b"abcd ")
        if i % 500 == 0:
            p.pump(0)
    enter(p, "")
    check(used(p) - start < 2, used(p) - start)
    check(read_back(p) == "abcd " * 4000)
    quit(p)


def what_is_pasted_stays_as_it_is():
    p = begin()
    for given, taken in (("a\tb\n\tc", "a\tb\n\tc"), ("a\rb\r\nc\n\rd", "a\nb\nc\n\nd"),
                         ("\t", "\t"), ("\x1b[31mred\x1b[0m \x1b[20", "\\x1b[31mred\\x1b[0m \\x1b[20"),
                         ("nul\x00 bell\x07 \x7f", "nul bell\\x07 \\x7f"), ("\u0301x", "\u0301x"),
                         ("\\\nn", "\\\nn"), ("tab at the end\t", "tab at the end\t")):
        _, found = pasted(p, given)
        check(found == taken, repr(found), repr(taken))
    # keys typed one by one: a tab is a tab
    enter(p, "/system a\tb")
    check(read_back(p) == "a\tb")
    # in the middle of a text
    enter(p, "/system ac\x1b[D\x1b[200~b1\rb2\x1b[201~")
    check(read_back(p) == "ab1\nb2c")
    quit(p)


def more_than_one_line():
    p = begin()
    p.send("/system one\x1b\rtwo\\\rthree\x1b\n")
    p.until(lambda p: p.screen.lines()[:5][-3:] == ["  two", "  three", ""] or "  three" in p.screen.lines())
    at = p.screen.lines().index("  three")
    check(p.screen.lines()[at - 2:at] == ["> /system one", "  two"] and p.screen.row == at + 1, p.screen.lines())
    typed(p, "four", "  four")
    typed(p, "\x1b[A\x1b[A!", "  two!")        # up, within the text
    typed(p, "\x1b[B\x01=\x05.", "  =three.")  # down; ends of a line, not of the text
    typed(p, "\x1b[A\x05\x0b+", "  two!+=three.")
    typed(p, "\x02\x02\x15\x15-", "> /system one-!+=three.")
    enter(p, "\x1b[B\x05")
    check(read_back(p) == "one-!+=three.\nfour", read_back(p))
    quit(p)


def typed_ahead_is_not_lost():
    p = begin()
    p.send("/system first\r/system second\r/system third")
    p.until(lambda p: p.screen.lines()[p.screen.row] == "> /system third")
    enter(p, "")
    check(read_back(p) == "third")
    enter(p, "question\r/system later", 2)  # while the answer comes
    check(read_back(p) == "later")
    p.send("question\r\x04")
    check(p.end() == 0 and "answers: " in p.screen.text(), p.screen.text())


# ---- what is shown ----

def widths_of_characters():
    p = begin(columns=40)
    typed(p, "a\u754cb\u0301c", "> a\u754cb\u0301c")
    check(p.screen.column == 2 + 5, p.screen.column)
    typed(p, "\x7f\x7f", "> a\u754c")  # a mark goes with its letter
    check(p.screen.column == 5, p.screen.column)
    typed(p, "\x02!", "> a!\u754c")
    typed(p, "\x06\x08", "> a!")
    typed(p, "\x15e\u0301\u0302\u0303x\x1b[D\x1b[D-", "> -e\u0301\u0302\u0303x")
    typed(p, "\x04", "> -x")
    typed(p, "\x05\x15\t|", ">         |")
    typed(p, "\x15ab\t|", "> ab      |")
    p.send(b"\x15\xff\xe2\x82z")  # no UTF-8
    p.until(lambda p: p.screen.lines()[p.screen.row] == "> \\xff\\xe2\\x82z")
    typed(p, "\x02\x02\x02\x02\x04", "> \\xe2\\x82z")
    quit_with_text(p)


def long_texts_are_broken_into_rows():
    p = begin(rows=6, columns=20)
    enter(p, "/help")  # the text begins at the bottom
    text = "".join(chr(97 + i % 26) for i in range(17 * 3 + 5))  # 17 columns a row, 3 and a piece
    rows = [("> " if i == 0 else "  ") + text[17 * i:17 * i + 17] for i in range(4)]
    p.send(text)
    p.until(lambda p: p.screen.lines()[2:6] == rows)
    check((p.screen.row, p.screen.column) == (5, 7), p.screen.row, p.screen.column)
    p.send("\x01")
    p.until(lambda p: (p.screen.row, p.screen.column) == (2, 2))
    p.send("\x05" + text)  # more rows than the terminal has: the end is shown
    whole = text * 2
    all_rows = [("> " if i == 0 else "  ") + whole[17 * i:17 * i + 17] for i in range(7)]
    p.until(lambda p: p.screen.lines() == all_rows[-6:])
    p.send("\x01")
    p.until(lambda p: p.screen.lines() == all_rows[:6] and p.screen.row == 0)
    p.send("\x0bshort")
    p.until(lambda p: p.screen.lines() == ["> short", "", "", "", "", ""])
    p.send("\x15" + "\u754c" * 9)  # a wide character does not stand on the edge
    p.until(lambda p: p.screen.lines()[:2] == ["> " + "\u754c" * 8, "  \u754c"])
    p.send("\x15" + "x" * 17)  # a full row: the cursor is on the next
    p.until(lambda p: p.screen.lines()[:2] == ["> " + "x" * 17, ""] and (p.screen.row, p.screen.column) == (1, 2))
    p.send("\x7f")
    p.until(lambda p: (p.screen.row, p.screen.column) == (0, 18))
    quit_with_text(p)


def another_size():
    p = begin(rows=10, columns=60)
    text = "the quick brown fox jumps over the lazy dog and sleeps"
    typed(p, text, "> " + text)
    for columns, rows in ((30, ["> " + text[:27], "  " + text[27:54], ""]), (60, ["> " + text]),
                          (15, ["> " + text[12 * i:12 * i + 12] for i in range(1)])):
        p.resize(10, columns)
        p.screen.reflow(columns)
        def shown(p):
            lines = p.screen.lines()
            at = [i for i, x in enumerate(lines) if x.startswith("> ")]
            return len(at) == 1 and lines[at[0]:at[0] + len(rows)] == rows
        shown.what = rows
        p.until(shown)
        check(sum(x.startswith("/help") for x in p.screen.lines()) == 1, p.screen.lines())
    quit_with_text(p)


# ---- stops and signals ----

JOBS = r"""
import os, signal, sys, termios
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
try:
    os.setpgid(pid, pid)
except PermissionError:
    pass  # it is further than we are
os.tcsetpgrp(0, pid)
before = termios.tcgetattr(0)
while True:
    _, state = os.waitpid(pid, os.WUNTRACED)
    os.tcsetpgrp(0, os.getpgrp())
    now = termios.tcgetattr(0)
    if not os.WIFSTOPPED(state):
        print("[ended %d %s]" % (os.waitstatus_to_exitcode(state), now == before), flush=True)
        break
    print("[stopped %s]" % (now == before), flush=True)
    sys.stdin.readline()
    os.tcsetpgrp(0, pid)
    os.kill(-pid, signal.SIGCONT)
"""


def under_a_shell(name):
    p = begin(name, argv=[sys.executable, "-c", JOBS, *ASK])
    return p


def a_stop_gives_the_terminal_back():
    p = under_a_shell("stop")
    for _ in range(2):
        typed(p, "some text", "> some text")
        p.send("\x1a")
        p.wait("[stopped True]")
        check(not p.is_raw() and not p.screen.bracketed)
        p.send("fg\r")
        p.until(lambda p: p.screen.lines()[p.screen.row] == "> some text" and p.is_raw() and p.screen.bracketed)
        typed(p, "\x7f\x7f\x7f\x7fmore", "> some more")
        p.send("\x15")
    # stopped by another's hand, which no program can see coming
    typed(p, "again", "> again")
    job = int(subprocess.run(["pgrep", "-P", str(p.pid)], stdout=subprocess.PIPE).stdout.split()[0])
    os.kill(job, signal.SIGSTOP)
    p.wait("[stopped ")
    settings = termios.tcgetattr(p.fd)
    settings[3] |= termios.ICANON | termios.ECHO  # as a shell does
    termios.tcsetattr(p.fd, termios.TCSANOW, settings)
    p.send("fg\n")
    p.until(lambda p: p.screen.lines()[p.screen.row] == "> again" and p.is_raw())
    p.send("\x15\x04")
    p.wait("[ended 0 True]")
    p.end()


def signals_leave_the_terminal_as_it_was():
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        p = begin()
        before = p.flags()
        check(p.is_raw() and p.screen.bracketed)
        typed(p, "text", "> text")
        p.kill(number)
        p.until(lambda p: not p.is_raw() and not p.screen.bracketed, 10)
        check(p.flags() & (termios.ICANON | termios.ECHO), before)
        check(p.end() == -number, number)
    # between lines the terminal is the user's
    p = begin(argv=[PROGRAM, "run", MODEL, "--ignore-eos", "--backend", "ref"])
    p.send("question\r")
    while p.is_raw():
        pass
    p.kill(signal.SIGTERM)
    check(p.end() == -signal.SIGTERM)
    # with --save they end the dialogue as Ctrl-D does, at the prompt and in an answer
    for number in (signal.SIGTERM, signal.SIGHUP):
        for asks in (False, True):
            path = os.path.join(DIR, "ended")
            p = begin(argv=[PROGRAM, "run", MODEL, "--ignore-eos", "--backend", "ref", "--save", path])
            if asks:
                p.send("question\r")
                while p.is_raw():
                    pass
            p.kill(number)
            check(p.end() == 128 + number)
            check(open(path, "rb").read(6) == b"LKSESS")
            os.remove(path)
    # twice at once: the second ends it
    p = begin()
    typed(p, "text", "> text")
    p.kill(signal.SIGINT)
    p.kill(signal.SIGTERM)
    p.until(lambda p: not p.is_raw(), 10)
    check(p.end() == -signal.SIGTERM)


# ---- history ----

def history_of(name):
    return os.path.join(DIR, name, "lockstep", "history")


def history_is_kept():
    p = begin("kept")
    for line in ("/stats", "/help", "/help", " /stats", "/system a\x1b\rb\\c", "/undo"):
        enter(p, line)
    quit(p)
    path = history_of("kept")
    check(open(path).read() == "/stats\n/help\n/system a\\nb\\\\c\n/undo\n", open(path).read())
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600 and stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) == 0o700)
    p = begin("kept")
    typed(p, "draft\x1b[A", "> /undo")
    typed(p, "\x1b[A", "  b\\c")
    typed(p, "\x10", "> /help")
    typed(p, "\x10", "> /stats")
    typed(p, "\x10", "> /stats")  # there is none before
    typed(p, "\x0e\x0e\x0e\x0e", "> draft")
    typed(p, "\x0e", "> draft")
    quit_with_text(p)
    # another place, or none
    p = begin("kept", LOCKSTEP_HISTORY=DIR + "/my-history")
    typed(p, "\x1b[A/reset", "> /reset")
    enter(p, "")
    quit(p)
    check(open(DIR + "/my-history").read() == "/reset\n" and stat.S_IMODE(os.stat(DIR + "/my-history").st_mode) == 0o600)
    p = begin("kept", LOCKSTEP_HISTORY="")
    typed(p, "\x1b[A/help", "> /help")
    enter(p, "")
    quit(p)
    check(open(path).read().count("\n") == 4)


def a_history_of_any_bytes():
    path = history_of("odd")
    os.makedirs(os.path.dirname(path))
    with open(path, "wb") as f:
        f.write(b"".join(b"line %d\n" % i for i in range(2500)) + b"\xff\x1b[31m\n\n\x00nul\nends in \\\nlast without newline")
    p = begin("odd")
    typed(p, "\x1b[A", "> last without newline")
    typed(p, "\x1b[A\x1b[A", "> \\xff\\x1b[31m")
    quit_with_text(p)
    text = open(path, "rb").read()
    check(text.count(b"\n") == 1000 and text.endswith(b"\nlast without newline\n"), text[-60:])
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600)
    for place in ("/dev/null", "/dev/full", DIR, DIR + "/file/x", "/proc/nothing/x"):
        p = begin("odd", LOCKSTEP_HISTORY=place)  # no history is no failure
        enter(p, "/help")
        quit(p)
    p = begin("homeless", XDG_STATE_HOME="relative", HOME="")
    enter(p, "/help")
    quit(p)
    check(not os.path.exists("relative") and not os.path.exists("/.local/state/lockstep"))


# ---- the dialogue ----

def a_dumb_terminal_gets_no_sequences():
    p = Program([PROGRAM, "run", MODEL, "-n", "3", "--ignore-eos"], {"TERM": "dumb", "XDG_STATE_HOME": DIR + "/dumb"})

    def asked(n):
        p.until(lambda p: p.seen.count(b"\n> ") >= n and p.seen.endswith(b"\n> "))
    asked(1)
    for n, line in enumerate(("/help\r", "typed\x03", "hello\r", "\r")):
        p.send(line)
        asked(n + 2)
    check(b"/reset" in p.seen and b"did you mean" not in p.seen, p.seen)
    p.send("\x04")
    check(p.end() == 0 and b"1 answer: " in p.seen and b"\x1b" not in p.seen, p.seen)


def a_terminal_without_a_prompt_starts_it():
    p = begin(argv=[PROGRAM, "run", MODEL, "-n", "3", "--ignore-eos"])
    check("/help" in p.screen.text())
    p.send("hello\r")
    p.until(lambda p: p.screen.lines()[p.screen.row] == ">" and p.screen.row > 2)
    check("tokens" not in p.screen.text(), p.screen.text())  # statistics come last
    quit(p)
    check("1 answer: " in p.screen.text() and "3 written" in p.screen.text(), p.screen.text())
    p = begin(argv=[PROGRAM, "-v", "run", MODEL, "-n", "3", "--ignore-eos"])
    p.send("hello\r")
    p.shows("generated: 3 tokens")
    quit(p)
    p = begin(argv=[PROGRAM, "-q", "run", MODEL, "-n", "3", "--ignore-eos"])
    quit(p)
    check(p.screen.text().strip() in ("", ">"), p.screen.text())
    p = Program([PROGRAM, "run", "tests/golden/tiny-llama.gguf"])  # it has no template
    check(p.end() == 2 and "no prompt" in p.screen.text(), p.screen.text())


def say(p, line):
    """What is shown between a line and the next prompt."""
    n = len(p.seen)
    enter(p, line)
    text = p.seen[n:].split(b"\x1b[?2004l")[1].split(b"\x1b[?2004h")[0]
    return text.decode(errors="replace").replace("\r\n", "\n")


def slash_commands():
    p = begin("commands")
    for name in ("/help", "/exit", "/reset", "/undo", "/system", "/save", "/load", "/stats"):
        check(name in say(p, "/help"), name)
    check("there is no /hlep, did you mean 'help'?" in say(p, "/hlep"))
    check("there is no /xyzzy (" in say(p, "/xyzzy"))
    check("the file is missing" in say(p, "/save") and "the file is missing" in say(p, "/load "))
    check("nothing was said" in say(p, "/undo"))
    check("there is no system prompt" in say(p, "/system"))
    first = say(p, "hello")
    other = say(p, "more")
    check(say(p, "/undo").strip() == "")
    check(say(p, "more") == other, "an answer after /undo")
    check(say(p, "/reset").strip() == "" and say(p, "hello") == first, "an answer after /reset")
    say(p, "/system be kind")
    check("be kind" in say(p, "/system"))
    say(p, "/reset")
    kind = say(p, "hello")
    say(p, "/undo"), say(p, "/system be other")
    say(p, "/undo"), say(p, "/system be kind")
    check(say(p, "hello") == kind, "the system prompt is part of the dialogue")
    # what begins with a slash and is no command is said
    for line in ("/usr/bin", "//help", "/Help", "/"):
        found = say(p, line)
        check("there is no" not in found and "/exit" not in found, line, found)
        say(p, "/undo")
    say(p, "/reset")
    say(p, "hello"), say(p, "more")
    n = int(say(p, "/stats").split(" answers")[0].split()[-1])
    check(n >= 8, n)
    path = DIR + "/session"
    check("saved to " + path in say(p, "/save " + path))
    check(stat.S_IMODE(os.stat(path).st_mode) == 0o600)
    check("can't be" in say(p, "/save " + DIR + "/no/where") and "folder" in say(p, "/save " + DIR))
    notes = DIR + "/notes"
    open(notes, "w").write("precious")
    check("notes: found a file that is no session" in say(p, "/save " + notes) and open(notes).read() == "precious")
    check("nothing" in say(p, "/load " + DIR + "/nothing"))
    other = say(p, "and then")
    say(p, "/reset")
    check("nothing was said" in say(p, "/undo") and say(p, "and then") != other)
    say(p, "/system be other")
    check("loaded a dialogue of 2 turns" in say(p, "/load " + path))
    check("be kind" in say(p, "/system") and say(p, "and then") == other, "an answer after /load")
    p.send("/exit\r")
    check(p.end() == 0 and "answers: " in p.screen.text())


def dropped_turns_are_told_on_a_line_of_their_own():
    p = begin(argv=[*ASK, "-n", "60", "-c", "240", "--logit-bias", "65=1e9"])
    say(p, "a question that is somewhat long, so that there is something to drop")
    found = say(p, "more")
    check("\nthe context is full: the oldest 1 of 1 turns were dropped\n" in found, repr(found))
    before, after = found.split("\nthe context is full: the oldest 1 of 1 turns were dropped\n")
    check(before and after and not before.endswith("\n"), repr(found))
    quit(p)


def text_of_a_pipe_is_text():
    """Slash commands are for who types: a text that is piped in must not write files."""
    path = DIR + "/from-a-pipe"
    env = {**os.environ, "XDG_STATE_HOME": DIR + "/pipe"}
    argv = [*ASK, "--chat"]
    out = subprocess.run(argv, input=b"/save " + path.encode() + b"\n/exit\nhello\\\nlast", env=env,
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check(out.returncode == 0 and b"4 answers: " in out.stderr, out.stderr)
    check(not os.path.exists(path) and not os.path.exists(DIR + "/pipe"))
    r, w = os.pipe()  # one that does not block
    fcntl.fcntl(r, fcntl.F_SETFL, os.O_NONBLOCK)
    p = subprocess.Popen(argv, stdin=r, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=env)
    os.close(r)
    time.sleep(0.2)
    os.write(w, b"hel")
    time.sleep(0.2)
    os.write(w, b"lo\nagain\n")
    os.close(w)
    _, err = p.communicate(timeout=60)
    check(p.returncode == 0 and b"2 answers: " in err, err)


def an_interrupt_ends_the_answer_alone():
    p = begin(argv=[PROGRAM, "run", MODEL, "--ignore-eos", "--backend", "ref", "--ctx", "100"])
    prompt, end = b"\x1b[?2004h", b"\x1b[?2004l"

    def interrupt(when):
        """Asks, interrupts at a moment (or finds that the answer had ended), waits for the prompt."""
        n = len(p.seen)
        p.send("hello\r")
        p.until(lambda p: end in p.seen[n:])
        when(lambda: p.seen[n:].split(end)[1])
        if not p.is_raw():
            p.send("\x03")
        p.until(lambda p: prompt in p.seen[n:])
        p.send("\x15")  # an interrupt that came late dropped nothing
        settled(p)

    for delay in (0, 0, 0.001, 0.002, 0.005, 0.01, 0.02, 0.04, 0.08):
        interrupt(lambda said: time.sleep(delay))
        say(p, "/reset")
    # A slow machine may have said no word so far: one must have been said for statistics.
    interrupt(lambda said: p.until(lambda p: said().strip()))
    check(" written (" in say(p, "/stats"))
    quit(p)


if __name__ == "__main__":
    main([keys_edit, escape_takes_nothing_with_it, an_interrupt_drops_the_text,
          an_interrupt_behind_other_keys_gets_its_prompt, pasting_costs_its_length,
          slowly_coming_text_is_linear_too, what_is_pasted_stays_as_it_is, more_than_one_line,
          typed_ahead_is_not_lost, widths_of_characters, long_texts_are_broken_into_rows, another_size,
          a_stop_gives_the_terminal_back, signals_leave_the_terminal_as_it_was, history_is_kept,
          a_history_of_any_bytes, a_terminal_without_a_prompt_starts_it,
          a_dumb_terminal_gets_no_sequences, slash_commands,
          dropped_turns_are_told_on_a_line_of_their_own, text_of_a_pipe_is_text, an_interrupt_ends_the_answer_alone])

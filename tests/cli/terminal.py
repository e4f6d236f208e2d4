# SPDX-License-Identifier: Apache-2.0
"""terminal: a program on a pseudo-terminal, and what a screen shows of its output."""
import fcntl
import os
import pty
import select
import signal
import struct
import sys
import termios
import time
import traceback
import unicodedata


class Screen:
    """The few controls that the program uses, on rows x columns; `rows` are lists of cells, a wide
    character is followed by an empty one. What it does not know is in `unknown`."""

    def __init__(self, rows=24, columns=80):
        self.height, self.width = rows, columns
        self.rows = [[" "] * columns for _ in range(rows)]
        self.scrolled = []
        self.row = self.column = 0
        self.pending = ""
        self.unknown = []
        self.bracketed = False
        self.bytes = b""

    def feed(self, data):
        self.bytes += data
        try:
            text, self.bytes = self.bytes.decode("utf-8"), b""
        except UnicodeDecodeError as e:
            text, self.bytes = self.bytes[:e.start].decode("utf-8"), self.bytes[e.start:]
        text, self.pending = self.pending + text, ""
        i = 0
        while i < len(text):
            if text[i] == "\x1b":
                n = self.escape(text[i:])
                if n == 0:
                    self.pending = text[i:]
                    return
                i += n
            else:
                self.plain(text[i])
                i += 1

    def newline(self):
        self.row += 1
        if self.row == self.height:
            self.scrolled.append(self.rows.pop(0))
            self.rows.append([" "] * self.width)
            self.row -= 1

    def plain(self, c):
        if c == "\r":
            self.column = 0
        elif c == "\n":
            self.newline()
        elif c == "\b":
            self.column = max(0, self.column - 1)
        elif unicodedata.combining(c):
            at = max(0, self.column - 1)
            at -= at > 0 and self.rows[self.row][at] == ""
            self.rows[self.row][at] += c
        elif ord(c) < 32 or 0x7f <= ord(c) < 0xa0:
            self.unknown.append(c)
        else:
            w = 2 if unicodedata.east_asian_width(c) in "WF" else 1
            if self.column + w > self.width:
                self.column = 0
                self.newline()
            self.rows[self.row][self.column] = c
            if w == 2:
                self.rows[self.row][self.column + 1] = ""
            self.column += w

    def escape(self, text):
        """Obeys the sequence at the start of text; its length, 0 when it is not whole."""
        if len(text) < 2:
            return 0
        if text[1] != "[":
            self.unknown.append(text[:2])
            return 2
        end = 2
        while end < len(text) and not "@" <= text[end] <= "~":
            end += 1
        if end == len(text):
            return 0
        inner, final = text[2:end], text[end]
        n = int(inner) if inner.isdigit() else 0
        row = self.rows[self.row]
        if final == "A":
            self.row = max(0, self.row - max(n, 1))
        elif final == "B":
            self.row = min(self.height - 1, self.row + max(n, 1))
        elif final == "C":
            self.column = min(self.width - 1, self.column + max(n, 1))
        elif final == "D":
            self.column = max(0, self.column - max(n, 1))
        elif final == "K" and n == 0:
            row[self.column:] = [" "] * (self.width - self.column)
        elif final == "J" and n in (0, 2):
            row[self.column:] = [" "] * (self.width - self.column)
            for below in self.rows[self.row + 1:] if n == 0 else self.rows:
                below[:] = [" "] * self.width
        elif final == "H" and not inner:
            self.row = self.column = 0
        elif final == "m":
            pass
        elif text[:end + 1] in ("\x1b[?2004h", "\x1b[?2004l"):
            self.bracketed = final == "h"
        else:
            self.unknown.append(text[:end + 1])
        return end + 1

    def reflow(self, width):
        """Another width, as terminals do it that break the rows which do not fit any more."""
        rows, at = [], 0
        for i, row in enumerate(self.rows):
            text = list(row)
            while len(text) > width and text[-1] == " ":
                text.pop()
            for k in range(0, max(len(text), 1), width):
                if i == self.row and k <= self.column < k + width:
                    at, self.column = len(rows), self.column - k
                    i = -1
                piece = text[k:k + width]
                rows.append(piece + [" "] * (width - len(piece)))
        last = max([at] + [i for i, row in enumerate(rows) if "".join(row).strip()])
        gone = max(0, last + 1 - self.height)
        self.rows = (rows[gone:] + [[" "] * width for _ in range(self.height)])[:self.height]
        self.row, self.width = at - gone, width

    def lines(self):
        return ["".join(r).rstrip() for r in self.rows]

    def text(self):
        """All that is shown, what scrolled away too, without the empty rows at the end."""
        rows = self.scrolled + self.rows
        return "\n".join("".join(r).rstrip() for r in rows).rstrip("\n")


class Failed(Exception):
    pass


JOB_SIGNALS = (signal.SIGINT, signal.SIGQUIT, signal.SIGTSTP, signal.SIGTTOU, signal.SIGTTIN)


class Program:
    """argv on a terminal of its own, in the foreground of a session whose leader outlives it, as
    that of a shell does: when a leader ends the terminal forgets what was not read yet."""

    left = {}  # leaders that were not ended: by what they lead

    def __init__(self, argv, env=None, rows=24, columns=80, stdout=None):
        self.screen, self.seen = Screen(rows, columns), b""
        self.told, tell = os.pipe()
        self.leader, self.fd = pty.fork()
        if self.leader == 0:
            self.lead(argv, env or {}, rows, columns, stdout, tell)
        os.close(tell)
        self.pid = int(os.read(self.told, 16))
        Program.left[self.leader] = self.pid
        self.resize(rows, columns)

    @staticmethod
    def lead(argv, env, rows, columns, stdout, tell):
        for number in JOB_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        pid = os.fork()
        if pid == 0:
            os.setpgid(0, 0)
            os.tcsetpgrp(0, os.getpgrp())
            for number in (*JOB_SIGNALS, signal.SIGHUP): # nohup ignores it for all that it starts
                signal.signal(number, signal.SIG_DFL)
            if stdout is not None:
                os.dup2(stdout, 1)
            os.environ.update({"NO_COLOR": "1", "TERM": "xterm", **env})
            os.execv(argv[0], argv)
        os.write(tell, b"%-15d " % pid)
        _, state = os.waitpid(pid, 0)
        os.write(tell, b"%d" % os.waitstatus_to_exitcode(state))
        while True:
            signal.pause()

    def resize(self, rows, columns):
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def pump(self, seconds):
        """Reads for so long at most; False at the end of the program's output."""
        if not select.select([self.fd], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.fd, 65536)
        except OSError:
            return False
        self.seen += data
        self.screen.feed(data)
        return bool(data)

    def until(self, test, seconds=30):
        """Reads until test(self) holds."""
        end = time.time() + seconds
        while not test(self):
            if time.time() > end or not self.pump(min(0.05, max(0.0, end - time.time()))):
                if test(self):
                    return
                raise Failed("not seen: %r; the screen: %r" % (getattr(
                    test, "what", test), self.screen.text()[-2000:]))

    def wait(self, text, seconds=30):
        """Reads until the text was written after what was waited for before."""
        at = getattr(self, "mark", 0)
        found = lambda p: text.encode() in p.seen[at:]
        found.what = text
        self.until(found, seconds)
        self.mark = self.seen.index(text.encode(), at) + len(text.encode())

    def shows(self, text, seconds=30):
        found = lambda p: text in p.screen.text()
        found.what = text
        self.until(found, seconds)

    def send(self, data):
        data = data.encode() if isinstance(data, str) else data
        while data:
            _, ready, _ = select.select([], [self.fd], [], 0.05)
            if ready:
                data = data[os.write(self.fd, data[:4096]):]
            self.pump(0)

    def flags(self):
        return termios.tcgetattr(self.fd)[3]

    def is_raw(self):
        return not self.flags() & (termios.ICANON | termios.ECHO)

    def kill(self, number):
        os.kill(self.pid, number)

    def end(self, seconds=30):
        """The exit code (negative: the signal) after all output was read."""
        end = time.time() + seconds
        while not select.select([self.told], [], [], 0)[0]:
            self.pump(0.05)
            if time.time() > end:
                raise Failed("it does not end; the screen: %r" % self.screen.text())
        while select.select([self.fd], [], [], 0.05)[0] and self.pump(0):
            pass
        code = int(os.read(self.told, 16))
        del Program.left[self.leader]
        os.kill(self.leader, signal.SIGKILL)
        os.waitpid(self.leader, 0)
        os.close(self.fd), os.close(self.told)
        return code


def check(condition, *what):
    if not condition:
        raise Failed(" ".join(str(w) for w in what))


def main(tests):
    tests = [t for t in tests if not os.environ.get("ONLY") or t.__name__ in os.environ["ONLY"].split()]
    """Runs functions of no argument; prints NAME ok or why not, one a line."""
    failed = False
    for test in tests:
        try:
            test()
            print("%s: ok" % test.__name__)
        except Exception as e:
            failed = True
            at = "".join(traceback.format_tb(e.__traceback__)[-1:]).strip()
            print("%s: %s: %s: %s" % (test.__name__, at, type(e).__name__, str(e)[:3000]))
    for pid in (*Program.left.values(), *Program.left):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    sys.exit(failed)

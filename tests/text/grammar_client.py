# SPDX-License-Identifier: Apache-2.0
"""Grammar_client: talks to grammar_driver.c, whose comment says how."""
import subprocess


class Driver:
    def __init__(self, path, model):
        self.process = subprocess.Popen([path, model], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def line(self):
        words = self.process.stdout.readline().split()
        if not words:
            raise RuntimeError("the driver ended")
        if words[0] == b"error":
            message = self.process.stdout.read(int(words[2])).decode("utf8", "replace")
            return ("error", int(words[1]), message)
        return [w.decode() for w in words]

    def ask(self, line, data=b""):
        self.process.stdin.write(line.encode() + b"\n" + data)
        self.process.stdin.flush()
        return self.line()

    def schema(self, text, space=0):
        data = text.encode("utf8")
        return self.ask(f"schema {space} {len(data)}", data)

    def gbnf(self, text):
        data = text.encode("utf8")
        return self.ask(f"gbnf {len(data)}", data)

    def regex(self, text):
        data = text.encode("utf8")
        return self.ask(f"regex {len(data)}", data)

    def text(self, data):
        """True, False or an error."""
        if isinstance(data, str):
            data = data.encode("utf8")
        answer = self.ask(f"text {len(data)}", data)
        return answer if answer[0] == "error" else answer[0] == "1"

    def mask(self):
        """Microseconds and bytes, or an error."""
        answer = self.ask("mask")
        if answer[0] == "error":
            return answer
        return float(answer[1]), self.process.stdout.read(int(answer[2]))

    def accept(self, token):
        return self.ask(f"accept {token}")

    def reset(self):
        return self.ask("reset")

    def vocabulary(self):
        """Kind and bytes of each token."""
        out = []
        for _ in range(int(self.ask("vocab")[1])):
            kind, length = self.line()
            out.append((int(kind), self.process.stdout.read(int(length))))
        return out

    def close(self):
        self.process.stdin.close()
        return self.process.wait()

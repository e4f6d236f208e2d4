# SPDX-License-Identifier: Apache-2.0
"""gguf_file: a GGUF file as keys and tensors, read whole, changed, written again. For tests that
need a model with one key, token or name of another value; knows no more of the format than that.

    gguf_file.py IN OUT KEY=VALUE...    strings as they are, with Python's escapes; "-KEY" leaves
                                        it out; "tensor:OLD=NEW" renames a tensor; "KEY[I]=VALUE"
                                        sets an element of an array of strings or numbers;
                                        "bool:KEY=1" makes a bool of that name
"""
import struct
import sys

SCALAR = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9


class Gguf:
    def __init__(self, path):
        self.data, self.at = open(path, "rb").read(), 0
        _, self.version, n_tensors, n_keys = self.take("4sIQQ")
        self.keys = {}  # key: (type, element type or None, value)
        for _ in range(n_keys):
            key, kind = self.string(), self.take("I")[0]
            self.keys[key] = (kind, *self.value(kind))
        self.tensors = []  # [name, dims, type, offset]
        for _ in range(n_tensors):
            name, n_dims = self.string(), self.take("I")[0]
            self.tensors.append([name, self.take("%dQ" % n_dims), *self.take("IQ")])
        self.bulk = self.data[-(-self.at // 32) * 32:]

    def take(self, form):
        found = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return found

    def string(self):
        n = self.take("Q")[0]
        self.at += n
        return self.data[self.at - n:self.at]

    def value(self, kind):
        if kind == STRING:
            return None, self.string()
        if kind == ARRAY:
            inner, n = self.take("IQ")
            return inner, [self.value(inner)[1] for _ in range(n)]
        return None, self.take(SCALAR[kind])[0]

    def set(self, key, value, kind=None, inner=None):
        old = self.keys.get(key, (STRING, None, None))
        self.keys[key] = (old[0] if kind is None else kind, inner or old[1], value)

    @staticmethod
    def packed(kind, inner, value):
        if kind == STRING:
            return struct.pack("<Q", len(value)) + value
        if kind == ARRAY:
            return struct.pack("<IQ", inner, len(value)) + b"".join(
                Gguf.packed(inner, None, x) for x in value)
        return struct.pack("<" + SCALAR[kind], value)

    def write(self, path):
        out = struct.pack("<4sIQQ", b"GGUF", self.version, len(self.tensors), len(self.keys))
        for key, (kind, inner, value) in self.keys.items():
            out += self.packed(STRING, None, key) + struct.pack("<I", kind)
            out += self.packed(kind, inner, value)
        for name, dims, kind, offset in self.tensors:
            out += self.packed(STRING, None, name)
            out += struct.pack("<I%dQIQ" % len(dims), len(dims), *dims, kind, offset)
        out += b"\0" * (-len(out) % 32)
        with open(path, "wb") as f:
            f.write(out + self.bulk)


def raw(text):
    return text.encode("utf-8").decode("unicode_escape").encode("latin-1")


def main(source, target, *changes):
    g = Gguf(source)
    for change in changes:
        name, _, value = change.partition("=")
        if name.startswith("-"):
            del g.keys[raw(name[1:])]
        elif name.startswith("tensor:"):
            next(t for t in g.tensors if t[0] == raw(name[7:]))[0] = raw(value)
        elif name.startswith("bool:"):
            g.set(raw(name[5:]), bool(int(value)), 7)
        elif name.endswith("]"):
            key, i = name[:-1].split("[")
            kind, inner, values = g.keys[raw(key)]
            values[int(i)] = raw(value) if inner == STRING else int(value)
        else:
            kind = g.keys.get(raw(name), (STRING,))[0]
            g.set(raw(name), raw(value) if kind == STRING else
                  float(value) if kind in (6, 12) else int(value))
    g.write(target)


if __name__ == "__main__":
    main(*sys.argv[1:])

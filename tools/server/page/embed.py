#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""embed.py OUT LIBRARY...: the chat page as C: its files and libraries, compressed.

OUT gets a table of paths, types, tags and gzip'ed bytes, the same for the same input. A LIBRARY is
NAME=FILE, as Debian's packages have it; without FILE the page does without it. Of highlight.js the
languages below are taken, the bundle of all is too large for what it gives here.
"""
import gzip
import hashlib
import os
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = {"html": "text/html; charset=utf-8", "js": "text/javascript; charset=utf-8",
         "css": "text/css; charset=utf-8", "svg": "image/svg+xml", "txt": "text/plain; charset=utf-8"}
FILES = ["index.html", "app.js", "markdown.js", "message.js", "settings.js", "store.js", "stream.js",
         "style.css", "icon.svg"]
LANGUAGES = set("""bash c-like c cpp cmake css csharp dart diff dockerfile elixir erlang fortran fsharp
    go groovy haskell http ini java javascript json julia kotlin latex lisp lua makefile markdown
    matlab nginx nix objectivec ocaml perl php plaintext powershell properties protobuf python r ruby
    rust scala shell sql swift typescript vim x86asm xml yaml glsl""".split())


def fewer(text):
    """The bundle with the languages of LANGUAGES alone; whole where it is not built as expected."""
    parts = re.split(r'(?=hljs\.registerLanguage\("[^"]+",)', text)
    kept = [p for p in parts[1:] if re.match(r'hljs\.registerLanguage\("([^"]+)"', p)[1] in LANGUAGES]
    if len(kept) < 30 or not all(p.rstrip().endswith(");") for p in parts[1:]):
        return text
    return parts[0] + "".join(kept)


def read(path):
    with open(path, encoding="utf8") as f:
        return f.read()


def licence_of(name):
    """The copyright file of the Debian package that a library came with."""
    package = {"marked": "libjs-marked", "highlight": "libjs-highlight.js"}[name]
    path = "/usr/share/doc/%s/copyright" % package
    return "\n---- %s ----\n\n%s" % (package, read(path)) if os.path.exists(path) else ""


def entry(path, data):
    kind = TYPES[path.rsplit(".", 1)[1]]
    packed = gzip.compress(data, 9, mtime=0)
    tag = hashlib.sha256(data).hexdigest()[:32]
    size = ",".join(map(str, packed))
    name = "file_" + re.sub(r"\W", "_", path)
    return ('static const unsigned char %s[] = {%s};\n' % (name, size),
            '    {"/%s", "%s", "\\"%s\\"", %s, sizeof %s},\n' %
            ("" if path == "index.html" else path, kind, tag, name, name))


def main():
    out, libraries = sys.argv[1], dict(a.split("=", 1) for a in sys.argv[2:])
    licences = "lockstep: Apache License 2.0\n\nThis page has parts of others:\n"
    entries = [entry(name, read(os.path.join(HERE, name)).encode()) for name in FILES]
    for name, path in libraries.items():
        text = "/* not part of this build */\n"
        if path:
            text = re.sub(r"(?m)^//# sourceMappingURL=.*$", "", read(path))
            if name == "highlight":
                text = fewer(text).replace("showedUpgradeWarning=false", "showedUpgradeWarning=true")
            licences += licence_of(name)
        entries.append(entry("lib/%s.js" % name, text.encode()))
    entries.append(entry("licenses.txt", licences.encode()))
    with open(out, "w", encoding="ascii") as f:
        f.write("/* Written by tools/server/page/embed.py. */\n")
        f.writelines(e[0] for e in entries)
        f.write("static const struct page_file FILES[] = {\n")
        f.writelines(e[1] for e in entries)
        f.write("};\n")


if __name__ == "__main__":
    main()

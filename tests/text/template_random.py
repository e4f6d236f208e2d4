#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""template_random.py DRIVER COUNT [SEED]: random templates by jinja2 (from PyPI) and by lockstep.
Texts must be equal wherever jinja2 renders, but for two things that lockstep says it has not: whole
numbers of more than 64 bits, and what its limits end. Where jinja2 fails, so must lockstep. Prints a
closing line in Criterion's form."""
import copy
import json
import os
import random
import re
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "golden"))
import make_templates
import template_oracle as oracle

NAMES = list(make_templates.VARIABLES) + ["missing", "x", "y", "ns"]
STRINGS = ["''", "'a'", "'b'", "'l'", "', '", "' '", "'name'", "'age'", "'é漢'", "'%s'", "'{}'", "'x.y'",
           "'0'", "'abc def'", "'<b>'", "'\\n'", "'it\\'s'", "'Al'", "'k'"]
NUMBERS = ["0", "1", "2", "-1", "3", "7", "10", "1.5", "0.0", "-2.5", "100", "1e3"]
FILTERS = ["abs", "capitalize", "count", "default('z')", "default(1, true)", "dictsort", "e", "first",
           "float", "int", "items|list", "join", "join(',')", "last", "length", "list", "lower", "max",
           "min", "replace('a', 'X')", "reverse", "reverse|list", "round", "round(1)", "safe", "sort",
           "sort(reverse=true)", "string", "sum", "title", "tojson", "tojson(indent=2)", "trim",
           "truncate(7)", "unique|list", "upper", "wordcount", "indent(2)", "batch(2)|list",
           "slice(2)|list", "map('upper')|list", "map(attribute='name')|list", "select|list",
           "selectattr('age')|list", "rejectattr('age')|list", "reject('odd')|list", "center(9)",
           "select('string')|list", "groupby('age')|list", "map('string')|join('-')", "e|e",
           "sort(case_sensitive=true)", "tojson(sort_keys=true)", "format(1)", "map('length')|list",
           "map(attribute=0)|list", "trim('a')", "int(5)", "filesizeformat", "forceescape"]
TESTS = ["defined", "undefined", "none", "string", "number", "mapping", "iterable", "sequence", "true",
         "false", "boolean", "integer", "float", "odd", "even", "lower", "upper", "in l", "in s", "eq 1",
         "divisibleby 2", "sameas none", "callable", "escaped", "gt 1", "lt 'b'"]
METHODS = ["upper()", "lower()", "strip()", "split()", "split(',')", "split('l', 1)", "startswith('H')",
           "endswith('d')", "replace('l', 'L')", "find('o')", "count('l')", "title()", "items()|list",
           "keys()|list", "values()|list", "get('a')", "get('zz', 5)", "index(1)", "join(words)",
           "splitlines()", "lstrip('H')", "rstrip()", "capitalize()", "format(1, 2)", "isdigit()",
           "partition(' ')", "rsplit(' ', 1)", "zfill(5)", "center(8, '*')", "swapcase()", "isupper()",
           "removeprefix('He')", "copy()", "islower()", "rfind('l')", "casefold()", "expandtabs()"]
BINARY = ["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", "<=", ">", ">=", "in", "not in", "and",
          "or"]


class Maker:
    def __init__(self, r):
        self.r = r

    def pick(self, *choices):
        return self.r.choice(choices)

    def expression(self, depth):
        r = self.r
        if depth <= 0:
            return self.pick(r.choice(NAMES), r.choice(NAMES), r.choice(STRINGS), r.choice(NUMBERS),
                             self.pick("true", "false", "none", "[]", "{}", "range(3)"))
        e = lambda: self.expression(depth - 1)
        kind = r.randrange(20)
        if kind < 3:
            return f"{e()} {r.choice(BINARY)} {e()}"
        if kind < 4:
            return f"({e()}) {r.choice(BINARY)} ({e()})"
        if kind < 8:
            return f"({e()}) | {r.choice(FILTERS)}"
        if kind < 10:
            return f"({e()}).{r.choice(METHODS)}"
        if kind < 11:
            return f"({e()})[{e()}]"
        if kind < 12:
            bounds = [self.pick("", e(), "1", "-1", "2") for _ in range(3)]
            # Of a name: what Jinja computes while compiling is undefined where else it fails.
            return f"{r.choice(NAMES)}[{bounds[0]}:{bounds[1]}:{bounds[2]}]"
        if kind < 13:
            return f"({e()}) is {self.pick('', 'not ')}{r.choice(TESTS)}"
        if kind < 14:
            return f"{e()} if {e()} else {e()}"
        if kind < 15:
            return f"[{e()}, {e()}]"
        if kind < 16:
            return "{%s: %s, 'k': %s}" % (r.choice(STRINGS), e(), e())
        if kind < 17:
            return f"({e()}, {e()})"
        if kind < 18:
            return f"({e()}).{self.pick('name', 'a', 'x', 'k', 'items', 'age', 'y')}"
        if kind < 19:
            return f"{self.pick('not', '-', '')} ({e()})"
        return f"{e()} ~ {e()}"

    def statements(self, depth, loop=False):
        return "".join(self.statement(depth, loop) for _ in range(self.r.randint(1, 3)))

    def tag(self, text):
        return "{%" + self.pick("", "", "-", "+") + " " + text + " " + self.pick("", "", "-") + "%}"

    def statement(self, depth, loop):
        r = self.r
        e = self.expression(r.randint(0, 2))
        kind = r.randrange(14) if depth > 0 else r.randrange(4)
        body = lambda inside=loop: self.statements(depth - 1, inside)
        if kind == 0:
            return self.pick("\n", " text ", "\n  ", "x")
        if kind < 3:
            return "{{" + self.pick("", "-") + " " + e + " " + self.pick("", "-") + "}}"
        if kind == 3:
            return self.tag(f"set {self.pick('x', 'y', 's')} = {e}")
        if kind == 4:
            return self.tag(f"if {e}") + body() + self.tag("endif")
        if kind == 5:
            return (self.tag(f"if {e}") + body() + self.tag(f"elif {self.expression(1)}") + body() +
                    self.tag("else") + body() + self.tag("endif"))
        if kind in (6, 7):
            target = self.pick("x", "x", "y", "k, v")
            source = self.pick("l", "words", "people", "d.items()", "range(4)", "mixed", e)
            test = self.pick("", "", f" if {self.expression(1)}")
            extra = self.pick("", "", "{{ loop.index }}", "{{ loop.last }}{{ loop.length }}",
                              "{{ loop.previtem }}{{ loop.nextitem }}", "{{ loop.revindex }}",
                              "{{ loop.changed(x) }}{{ loop.cycle(1, 2) }}")
            otherwise = self.pick("", self.tag("else") + body())
            return (self.tag(f"for {target} in {source}{test}") + extra + body(True) + otherwise +
                    self.tag("endfor"))
        if kind == 8:
            return self.tag(f"set {self.pick('x', 'y')}") + body() + self.tag("endset")
        if kind == 9:
            name = self.pick("f", "g")
            return (self.tag(f"macro {name}(x, y={self.expression(0)})") + body(False) +
                    self.tag("endmacro") + "{{ %s(%s) }}" % (name, e))
        if kind == 10:
            return self.tag(f"with x = {e}") + body() + self.tag("endwith")
        if kind == 11:
            return (self.tag("set ns = namespace(x=0, y='')") +
                    self.tag(f"for x in {self.pick('l', 'words', 'range(3)')}") +
                    self.tag(f"set ns.{self.pick('x', 'y')} = {self.pick('ns.x ~ x', 'x', e)}") + body(True) +
                    self.tag("endfor") + "{{ ns.x }}{{ ns.y }}")
        if kind == 12:
            return self.tag("filter " + self.pick("upper", "trim", "replace('a', 'b')", "indent(2)")) + \
                body() + self.tag("endfilter")
        if loop:
            return self.tag(f"if {e}") + self.tag(self.pick("break", "continue")) + self.tag("endif")
        return "{% generation %}" + body(False) + "{% endgeneration %}"


def main():
    count, seed = int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1
    driver = oracle.Driver(sys.argv[1])
    env = oracle.environment()
    maker = Maker(random.Random(seed))
    variables = json.dumps(make_templates.VARIABLES).encode()
    tested = failed = rendered = excused = 0
    for _ in range(count):
        depth = maker.r.randrange(4)
        source = ("{{ " + maker.expression(3) + " }}" if maker.r.random() < 0.6
                  else maker.statements(depth))
        why = None
        try:
            expect = env.from_string(source).render(
                **copy.deepcopy(make_templates.VARIABLES))  # some filters change what they get
            if re.search(r"t 0x[0-9a-f]+", expect):
                continue
            expect = expect.encode()
        except Exception as e:
            expect, why = None, e
        tested += 1
        rendered += expect is not None
        good, text, _ = driver.ask("template", source.encode())
        if good:
            good, text, _ = driver.ask("render", variables)
        if not good and expect is not None and re.search(rb"64 bits|more than \d+ (MiB|bytes|steps)", text):
            excused += 1
        elif good != (expect is not None) or (good and text != expect):
            failed += 1
            print(f"[FAIL] {source!r}\n  is       {text[:300]!r}\n  expected "
                  f"{expect[:300] if expect is not None else repr(why)[:300]!r}")
    print(f"{tested} templates, {rendered} rendered by jinja2, {excused} beyond limits")
    print(f"[====] Synthesis: Tested: {tested} | Passing: {tested - failed} | Failing: {failed} | "
          "Crashing: 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

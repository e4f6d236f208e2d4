#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""template_hostile.py DRIVER: templates that want all the time or memory, or out of their sandbox.
Each must end in an error that says where, within a second of a CPU and 64 MiB of the renderer's
process; long ones that are no harm must render. Prints a closing line in Criterion's form."""
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import template_oracle as oracle

N = 200000
BIG = "{% set s = 'abcdefgh' * 1000000 %}"
ENDLESS = "{% for i in range(100000) %}{% for k in range(100000) %}%s{% endfor %}{% endfor %}"

ERRORS = {
    "endless loops": ENDLESS.replace("%s", ""),
    "endless output": ENDLESS.replace("%s", "x" * 100),
    "endless sums": "{% set n = namespace(i=0) %}" + ENDLESS.replace("%s", "{% set n.i = n.i + 1 %}"),
    "endless calls": "{% macro m() %}x{% endmacro %}" + ENDLESS.replace("%s", "{{ m() }}"),
    "endless lists": "{% set n = namespace(l=[]) %}" + ENDLESS.replace("%s", "{% set n.l = n.l + [k] %}"),
    "endless filters": ENDLESS.replace("%s", "{{ [3, 2, 1] | sort | join(',') | upper }}"),
    "doubled strings": "{% set n = namespace(s='a') %}{% for i in range(99) %}"
                       "{% set n.s = n.s ~ n.s %}{% endfor %}",
    "doubled by +": "{% set n = namespace(s='a') %}{% for i in range(99) %}{% set n.s = n.s + n.s %}{% endfor %}",
    "doubled data": "{% set n = namespace(s=d) %}{% for i in range(99) %}{% set n.s = n.s ~ 'x' ~ n.s %}{% endfor %}",
    "doubled lists": "{% set n = namespace(l=[1]) %}{% for i in range(99) %}{% set n.l = n.l + n.l %}{% endfor %}",
    "doubled by replace": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
                          "{% set n.s = n.s | replace('a', 'aaaa') %}{% endfor %}",
    "doubled by join": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
                       "{% set n.s = n.s | join(n.s) %}{% endfor %}",
    "doubled by format": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
                         "{% set n.s = '%s%s' % (n.s, n.s) %}{% endfor %}",
    "doubled by set": "{% set n = namespace(s='aa') %}{% for i in range(99) %}"
                      "{% set x %}{{ n.s }}{{ n.s }}{% endset %}{% set n.s = x %}{% endfor %}",
    "doubled by repr": "{% set n = namespace(s='\\\\') %}{% for i in range(99) %}"
                       "{% set n.s = [n.s] | string %}{% endfor %}",
    "doubled by tojson": "{% set n = namespace(s='\\\\') %}{% for i in range(99) %}"
                         "{% set n.s = n.s | tojson %}{% endfor %}",
    "a long string": "{{ 'a' * 2000000000 }}",
    "a longer string": "{{ 'a' * 99999999999999 }}",
    "a long list": "{{ [1] * 2000000000 }}",
    "a wide field": "{{ '%2000000000d' % 1 }}",
    "a wide string": "{{ '{:>2000000000}'.format('a') }}",
    "many digits": "{{ '%.2000000000f' % 1 }}",
    "centered": "{{ 'a'.center(2000000000) }}",
    "zeros": "{{ '1'.zfill(2000000000) }}",
    "tabs": "{{ ('\\t' * 10000).expandtabs(10000) }}",
    "a long range": "{{ range(1000000000) }}",
    "a far range": "{{ range(-9223372036854775807, 9223372036854775807) }}",
    "power": "{{ 10 ** 10 ** 10 }}",
    "indents": BIG + "{{ (s | replace('abcd', '\\n')) | indent(1000) }}",
    "deep macros": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "two macros": "{% macro a() %}{{ b() }}{% endmacro %}{% macro b() %}{{ a() }}{% endmacro %}{{ a() }}",
    "deep callers": "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}",
    "broad macros": "{% macro m(n) %}{% for i in range(9) %}{{ m(n + 1) }}{% endfor %}{% endmacro %}{{ m(0) }}",
    "deep loops": "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}",
    "deep defaults": "{% macro m(a=m()) %}{% endmacro %}{{ m() }}",
    "parentheses": "{{ " + "(" * N + "1" + ")" * N + " }}",
    "brackets": "{{ " + "[" * N + "]" * N + " }}",
    "braces": "{{ " + "{1:" * N + "1" + "}" * N + " }}",
    "open parentheses": "{{ " + "(" * N,
    "not": "{{ " + "not " * N + "1 }}",
    "minus": "{{ " + "- " * N + "1 }}",
    "attributes": "{{ x" + ".a" * N + " }}",
    "items": "{{ x" + "[0]" * N + " }}",
    "calls": "{{ x" + "()" * N + " }}",
    "filters": "{{ x" + "|e" * N + " }}",
    "inline ifs": "{{ 1" + " if 1 else 1" * N + " }}",
    "blocks": "{% if 1 %}" * N,
    "loops in loops": "{% for x in y %}" * N,
    "tests": "{{ 1 " + "is odd " * N + "}}",
    "deep tuple": "{% for " + "(" * N + "x" + ",)" * N + " in y %}{% endfor %}",
    "deep lists": "{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = [n.l] %}{% endfor %}"
                  "{{ n.l }}",
    "deep comparison": "{% set n = namespace(l=[], k=[]) %}{% for i in range(100000) %}"
                       "{% set n.l = [n.l] %}{% set n.k = [n.k] %}{% endfor %}{{ n.l == n.k }}",
    "deep JSON": "{% set n = namespace(l=[]) %}{% for i in range(100000) %}{% set n.l = [n.l] %}{% endfor %}"
                 "{{ n.l | tojson }}",
    "circle": "{% set n = namespace() %}{% set n.n = n %}{{ n }}",
    "broad lists": "{% set n = namespace(l=[]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
                   "{{ n.l | string }}",
    "broad JSON": "{% set n = namespace(l=[]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}{% endfor %}"
                  "{{ n.l | tojson }}",
    "broad equality": "{% set n = namespace(l=[], k=[]) %}{% for i in range(60) %}{% set n.l = [n.l, n.l] %}"
                      "{% set n.k = [n.k, n.k] %}{% endfor %}{{ n.l == n.k }}",
    "unique": "{{ range(100000) | unique | list | length }}",
    "mixed keys": "{{ dict([(0, 1)] + range(100000) | batch(2) | list) | length }}",
    "sorted again": "{% for i in range(100000) %}{{ range(100000) | sort | first }}{% endfor %}",
    "many parts": BIG + "{% for i in range(100000) %}{{ s | list | length }}{% endfor %}",
    "counted again": BIG + "{% for i in range(100000) %}{{ s.count('h') }}{% endfor %}",
    "lengths": BIG + "{% for i in range(100000) %}{{ (s ~ 'é') | length }}{% endfor %}",
    "searched again": BIG + "{% for i in range(100000) %}{{ 'x' in s }}{% endfor %}",
    "compared again": BIG + "{% set t = s ~ '' %}{% for i in range(100000) %}{{ s ~ 'a' == t ~ 'b' }}{% endfor %}",
    "searched from the right": "{% set s = 'a' * 10000000 %}{{ s.rfind('a' * 5000000 ~ 'b') }}",
    "stripped": "{% set s = 'a' * 9000000 %}{{ s.strip('b' * 9000000 ~ 'a') | length }}",
    "upper again": BIG + "{% for i in range(100000) %}{{ s | upper | length }}{% endfor %}",
    "reversed again": BIG + "{% for i in range(100000) %}{{ s[::-1] | length }}{% endfor %}",
    "mro": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "globals": "{{ namespace.__init__.__globals__.os }}",
    "function globals": "{{ raise_exception.__globals__['__builtins__'] }}",
    "by format": "{{ '{0.__class__.__mro__}'.format('') }}",
    "by attr": "{{ ((''|attr('__class__'))|attr('__mro__'))[1] }}",
    "by map": "{{ ['']|map(attribute='__class__.__mro__')|list }}",
    "by item": "{{ ''['__class__']['__mro__'] }}",
    "by selectattr": "{{ ['']|selectattr('__class__.__mro__')|list }}",
    "append": "{{ d2.append(1) }}",
    "update": "{{ d3.update({}) }}",
    "include": "{% include '/etc/passwd' %}",
    "raise": "{{ raise_exception('no') }}",
}

GOOD = {
    "a long sum": "{{ " + " + ".join(["1"] * 20000) + " }}",
    "a long concatenation": "{{ " + " ~ ".join(["'a'"] * 20000) + " }}",
    "a long list": "{{ [" + ", ".join(["1"] * 20000) + "] | length }}",
    "many elifs": "{% if 0 %}" + "{% elif 0 %}" * 20000 + "{% endif %}x",
    "names": "{% if 1 %}".join("{{ a%d }}" % i for i in range(190)) + "{% endif %}" * 189,
    "much text": "x" * 1000000,
    "many turns": "{% for i in range(100000) %}{{ i }}{% endfor %}",
    "much garbage": "{% for i in range(100000) %}{% set x = (d ~ i) * 20 %}{% endfor %}x",
    "a string that grows": "{% set n = namespace(s='') %}{% for i in range(100000) %}"
                           "{% set n.s = n.s ~ 'x' ~ d %}{% endfor %}{{ n.s | length }}",
    "four million bytes": "{% for i in range(1000) %}{{ 'abcd' * 1000 }}{% endfor %}",
    "a copy of the long": BIG + "{{ s | replace('abcdefgh', 'xyz') | length }}",
}

VARIABLES = json.dumps({"d": "data", "d2": [1], "d3": {"a": 1}}).encode()


def peak(pid):
    for line in open(f"/proc/{pid}/status", encoding="ascii"):
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024


def seconds(pid):
    """Of a CPU, which other programs on this machine do not change much."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def main():
    tested = failed = 0
    worst_time = worst_memory = (0, "")
    slow = float(os.environ.get("LK_SLOWER", "1"))  # sanitizers are
    idle = None
    for good, cases in ((False, ERRORS), (True, GOOD)):
        for name, source in cases.items():
            tested += 1
            driver = oracle.Driver(sys.argv[1])
            idle = idle or peak(driver.process.pid)
            ok, text, _ = driver.ask("template", source.encode())
            if ok:
                ok, text, _ = driver.ask("render", VARIABLES)
            took = seconds(driver.process.pid)
            memory = peak(driver.process.pid) - idle
            driver.process.stdin.close()
            driver.process.wait()
            worst_time = max(worst_time, (took, name))
            worst_memory = max(worst_memory, (memory, name))
            why = ("it rendered" if ok and not good else "it failed" if good and not ok else
                   f"{took:.2f} s" if took > slow else
                   f"{memory:.0f} MiB" if memory > 64 + len(source) / 10000 and slow == 1 else
                   "" if ok or text.startswith(b"chat template ") else "no place in the message")
            if why:
                failed += 1
                print(f"[FAIL] {name}: {why}: {text[:200]!r}")
            elif "-v" in sys.argv:
                print(f"{name}: {took:.3f} s, {memory:.1f} MiB: {text[:100]!r}")
    print("worst: {:.3f} s ({}), {:.1f} MiB ({})".format(*worst_time, *worst_memory))
    print(f"[====] Synthesis: Tested: {tested} | Passing: {tested - failed} | Failing: {failed} | "
          "Crashing: 0")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())

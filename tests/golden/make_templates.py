#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes templates.json: small templates for every construct, with what jinja2 (from PyPI, in the
environment of tests/text/template_oracle.py) makes of them; null where it fails. Each case is
[template, result]; all see the variables of the first element. Usage: make_templates.py [--check]"""
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "text"))
import template_oracle as oracle

VARIABLES = {
    "s": "Hello, World", "e": "", "u": "Ünï ß 漢字 😀 ǆ", "nl": "a\nb\r\nc\n\nd", "ws": " \t x y \n",
    "html": "<a href=\"x\">'&'</a>", "q1": "it's", "q2": "say \"x\"", "q3": "it's \"x\"",
    "ctl": "a\u0001\u007f\u0085\u200b\u2028b\\", "num": "42", "hex": "0x1F", "flt": " 3.75 ",
    "i": 7, "z": 0, "neg": -13, "big": 123456789012345678901234567890, "f": 2.5, "g": 1e16, "h": 1e-5,
    "t": True, "no": False, "none_": None, "l": [3, 1, 2], "words": ["b", "A", "c", "a", "B"],
    "el": [], "ed": {}, "d": {"b": 2, "a": 1, "C": 3}, "nest": {"x": {"y": [10, 20, {"z": "deep"}]}},
    "m": {"items": 5, "keys": "k", "get": "g", "name": "n"},
    "people": [{"name": "Al", "age": 30, "city": "Rome"}, {"name": "bo", "age": 25, "city": "oslo"},
               {"name": "Cy", "age": 30, "city": "rome"}, {"name": "Di", "age": None}],
    "tree": [{"n": 1, "c": [{"n": 2, "c": []}, {"n": 3, "c": [{"n": 4, "c": []}]}]}, {"n": 5, "c": []}],
    "mixed": [1, "a", None, True, 2.0, [1], {"k": "v"}], "dup": [1, 1.0, True, "1", 2, 2, "a", "A"],
    "long": "The quick brown fox jumps over the lazy dog", "cr": "x\r\ny",
}

# A case a line.
CASES = r"""
text
{{ s }}
{{ 1 }}{{ 1.0 }}{{ 'a' }}{{ true }}{{ none }}{{ [] }}{{ {} }}{{ () }}
{{ True }}{{ False }}{{ None }}{{ none is none }}
{{ i }}|{{ f }}|{{ g }}|{{ h }}|{{ big }}|{{ t }}|{{ no }}|{{ none_ }}|{{ l }}|{{ d }}|{{ mixed }}
{{ missing }}|{{ missing | default('x') }}|{{ missing is defined }}
{{ 1_000 }} {{ 0x1f }} {{ 0b101 }} {{ 0o17 }} {{ 1e3 }} {{ 1_0.5_0e1_0 }} {{ 00 }} {{ 1e999 }}
{{ 99999999999999999999 }}
{{ "a" 'b' "c" }}
{{ 'a\nb\tc\\d\'e\"f\x41\u00e9\U0001F600\101\q' }}
{{ "é\é" }}
{{ q1 }} {{ [q1, q2, q3, ctl, u, nl] }}
{{ [1.0, 0.1, 1e100, -0.0, 1e15, 1e16, 123456789.123456789, 5e-324] }}
{{ {'a': 1, 2: 'b', none: true, (1, 2): [3], 1.5: 'f'} }}
{{ {'a': 1, 'a': 2} }} {{ {1: 'a', 1.0: 'b', true: 'c'} }}
{{ (1,) }} {{ (1, 2) }} {{ 1, 2 }} {{ () }}
{{ [1, 2,] }} {{ {'a': 1,} }} {{ (1, 2,) }}
{{ d.items() }} {{ d.keys() }} {{ d.values() }} {{ range(3) }} {{ range(1, 10, 3) }}
{{ people|map(attribute='name')|list }}
{# comment #}x{#- y -#}  z {#+ w +#}
a {#- strip both -#} b
{% raw %}{{ not }} {% parsed %}{% endraw %}
{%- raw -%}  x  {%- endraw -%} y
a{% raw %} {{ x }}
{% endraw %}
b
  {% if true %}
  x
  {% endif %}
y
  {% if true +%}
  x
  {%+ endif %}
y
a  {%- if true -%}  x  {%- endif -%}  b
{%+ if true %}
x{% endif %}

  {{ 1 }}
   {%- set x = 1 %}
y
{{ 1 }}
{{- 2 -}}
3
{{-1}} {{+1}} {{ -1 }} {{ +1 }} {{ - - 1 }} {{ -i }} {{ +f }} {{ -true }}
{{ 'a' if true }}|{{ 'a' if false }}|{{ 'a' if false else 'b' }}|{{ 'a' if false else 'b' if false else 'c' }}
{{ ('a' if false).x }}
{{ 1 + 2 }} {{ 1 - 2 }} {{ 2 * 3 }} {{ 7 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7 % -3 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 7.5 // 2 }} {{ -7.5 // 2 }} {{ 7.5 % 2 }} {{ -7.5 % 2 }} {{ 7.5 % -2 }} {{ 0.0 // -1 }} {{ 1e308 * 10 }}
{{ true + true }} {{ true * 3 }} {{ 4 / 2 }} {{ 1 / 3 }} {{ 10 ** 15 / 3 }} {{ 2 + 2.0 }} {{ 3 * 'ab' }} {{ 'ab' * 2 }} {{ [1] * 3 }} {{ 'a' * -1 }}
{{ 2 ** 3 ** 2 }} {{ -2 ** 2 }} {{ 2 * 3 % 4 }} {{ 1 + 2 ~ 3 }} {{ 1 ~ 2 + 3 }} {{ 2 ~ 3 * 2 }}
{{ 1 / 0 }}
{{ 1 // 0 }}
{{ 1 % 0 }}
{{ 1.0 / 0 }}
{{ 'a' + 1 }}
{{ 'a' + none }}
{{ 'a' ~ 1 ~ none ~ true ~ 1.0 ~ [1] ~ missing }}
{{ [1] + [2] }} {{ (1,) + (2,) }} {{ 'a' + 'b' }} {{ [1] + (2,) }}
{{ missing + 1 }}
{{ missing ~ 'x' }}
{{ missing.x }}
{{ missing['x'] }}
{{ missing() }}
{{ nest.missing }}|{{ nest['missing'] }}|{{ nest.x.y[2].z }}|{{ nest['x']['y'].0 }}|{{ nest.x.y[-1]['z'] }}
{{ nest.missing.x }}
{{ l[0] }} {{ l[-1] }} {{ l[5] }}|{{ s[0] }} {{ s[-1] }} {{ s[99] }}|{{ u[0] }}{{ u[4] }}{{ u[6] }}{{ u[-3] }}{{ u[-99] }}|
{{ l['a'] }}|{{ l[1.0] }}|{{ l[true] }}|{{ s['upper']() }}|{{ d[none] }}|{{ d[[1]] }}|{{ none_.x }}|{{ i.x }}|
{{ l[1:] }} {{ l[:-1] }} {{ l[::-1] }} {{ l[::2] }} {{ l[5:] }} {{ l[-2:] }} {{ l[:] }} {{ l[2:0:-1] }} {{ l[-99:99] }} {{ l[none:2] }}
{{ s[1:4] }} {{ s[::-1] }} {{ s[::3] }} {{ s[-5:] }} {{ s[:-5] }} {{ s[99:] }} {{ u[2:6] }} {{ u[::-1] }} {{ u[::2] }} {{ u[-4:-1] }} {{ u[7:1:-2] }}
{{ range(10)[2:8:2] }} {{ range(10)[::-1]|list }} {{ range(10)[3] }} {{ range(10)[-1] }} {{ range(5)[9] }}|
{{ (1,2,3)[1:] }} {{ (1,2,3)[0] }} {{ (1,2,3).count(1) }}
{{ l[::0] }}
{{ l['a':] }}
{{ d[1:] }}
{{ none_[1:] }}
{{ missing[1:] }}
{{ 1 < 2 }} {{ 1 <= 1 }} {{ 1 > 2 }} {{ 1 >= 2 }} {{ 1 == 1.0 }} {{ 1 != 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }} {{ (1,) < (1, 2) }} {{ true == 1 }}
{{ 1 < 2 < 3 }} {{ 1 < 2 > 3 }} {{ 3 > 2 == 2 }} {{ 1 == 1 != 2 }} {{ 1 in [1] == true }}
{{ 'a' < 1 }}
{{ none < 1 }}
{{ missing < 1 }}
{{ [] < () }}
{{ 'a' == 1 }} {{ none == none }} {{ none == false }} {{ [] == () }} {{ {} == {} }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }} {{ missing == missing2 }} {{ missing == none }} {{ missing != 'a' }}
{{ 'ell' in s }} {{ 'x' not in s }} {{ 1 in l }} {{ 'a' in d }} {{ 5 not in l }} {{ '' in s }} {{ 2 in range(3) }} {{ 2.0 in range(3) }} {{ none in mixed }} {{ 'a' in missing }} {{ 'b' in d.keys() }} {{ 2 in d.values() }} {{ ('b', 2) in d.items() }}
{{ 1 in s }}
{{ 1 in 5 }}
{{ [1] in d }}
{{ not true }} {{ not '' }} {{ not [] }} {{ not 0 }} {{ not none }} {{ not missing }} {{ not not 1 }} {{ not 1 == 2 }}
{{ true and false }} {{ 1 and 2 }} {{ 0 or 'x' }} {{ '' or none or 0 }} {{ 1 and '' or 3 }} {{ missing or 'd' }} {{ true or missing.x }} {{ false and missing.x }}
{{ 1 if l else 2 }} {{ 1 if el else 2 }} {{ 1 if ed else 2 }} {{ 1 if z else 2 }} {{ 1 if 0.0 else 2 }} {{ 1 if range(0) else 2 }} {{ 1 if l|select else 2 }} {{ 1 if el|select else 2 }}
{% if i == 7 %}a{% elif i == 8 %}b{% else %}c{% endif %}{% if no %}x{% elif t %}y{% elif true %}z{% endif %}{% if no %}1{% endif %}
{% if missing %}a{% else %}b{% endif %}
{% for x in l %}{{ x }},{% endfor %}
{% for x in el %}{{ x }}{% else %}none{% endfor %}{% for x in l %}{% else %}no{% endfor %}
{% for x in missing %}x{% else %}undefined{% endfor %}
{% for x in none_ %}x{% endfor %}
{% for x in 5 %}x{% endfor %}
{% for c in 'añb' %}{{ c }}.{% endfor %}{% for k in d %}{{ k }}{% endfor %}{% for x in (1, 2) %}{{ x }}{% endfor %}{% for x in 1, 2, 3 %}{{ x }}{% endfor %}
{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k, v in d|items %}{{ k }}{{ v }}{% endfor %}{% for a, (b, c) in [(1, (2, 3))] %}{{ a }}{{ b }}{{ c }}{% endfor %}{% for k in d.keys() %}{{ k }}{% endfor %}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for a, b in [1] %}{% endfor %}
{% for a, b in ['xy', 'zw'] %}{{ a }}-{{ b }} {% endfor %}
{% for x in l if x > 1 %}{{ loop.index }}:{{ x }}{% if not loop.last %}, {% endif %}{% endfor %}
{% for x in l if x > 9 %}{{ x }}{% else %}empty{% endfor %}
{% for p in people if p.age is not none and p.age > 26 %}{{ p.name }} {{ loop.length }} {{ loop.revindex }} {% endfor %}
{% for x in l %}{{ loop.index }}{{ loop.index0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.depth }}{{ loop.depth0 }}|{% endfor %}
{% for x in l %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {{ loop.cycle('a', 'b') }} {{ loop.changed(x % 2) }};{% endfor %}
{% for x in l|select %}{{ loop.length }}{{ x }}{{ loop.last }}{{ loop.revindex }}{{ loop.nextitem }}|{% endfor %}
{% for x in l|map('string') %}{{ loop.previtem is defined }}{{ loop.previtem }}{{ x }}{{ loop.nextitem }};{% endfor %}
{% for x in range(5) %}{% if x == 1 %}{% continue %}{% endif %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in l %}{% break %}{% else %}else{% endfor %}{% for x in l %}{% continue %}{% else %}else{% endfor %}{% for x in [1, 2] %}{% if x == 2 %}{% break %}{% endif %}{% else %}never{% endfor %}
{% for x in l %}{% for y in l %}{{ loop.index }}{% endfor %}{{ loop.index }} {% endfor %}
{% for x in l %}{% set outer = loop %}{% for y in [1] %}{{ outer.index }}{{ loop.index }}{% endfor %}{% endfor %}
{% for n in tree recursive %}{{ n.n }}@{{ loop.depth }}{% if n.c %}[{{ loop(n.c) }}]{% endif %}{% endfor %}
{% for n in tree recursive %}{{ loop.index }}/{{ loop.length }}{{ loop(n.c) }}{% else %}.{% endfor %}
{% for n in tree if n.n != 3 recursive %}{{ n.n }}{{ loop(n.c) }};{% endfor %}
{% for x in l %}{{ loop(l) }}{% endfor %}
{% for x in l %}{{ x }}{% endfor %}{{ x }}
{% set x = 'o' %}{% for x in l %}{{ x }}{% endfor %}{{ x }}
{% set x = 1 %}{% for y in l %}{{ x }}{% set x = y %}{{ x }}|{% endfor %}{{ x }}
{% set x = 1 %}{% for y in l %}{% if y == 1 %}{% set x = 9 %}{% endif %}{{ x }}{% endfor %}{{ x }}
{% for y in l %}{% if y == 1 %}{% set k = 9 %}{% endif %}{{ k }}.{% endfor %}{{ k }}
{% for i in l %}{{ i }}{% endfor %}{{ i }}
{% if true %}{% set x = 5 %}{% endif %}{{ x }}{% if false %}{% set w = 5 %}{% endif %}{{ w }}{% if false %}{% set s = 5 %}{% endif %}{{ s }}
{% if no %}{% set a1 = 1 %}{% elif t %}{% set a1 = 2 %}{% set b1 = 3 %}{% else %}{% set a1 = 4 %}{% endif %}{{ a1 }}{{ b1 }}
{{ s }}{% set s = 'new' %}{{ s }}
{% set s = s ~ '!' %}{{ s }}
{% set a, b = 1, 2 %}{{ a }}{{ b }}{% set a, b = b, a %}{{ a }}{{ b }}{% set (a, b) = [8, 9] %}{{ a }}{{ b }}{% set a, = [3] %}{{ a }}
{% set a, b = 1 %}
{% set x = 1, 2 %}{{ x }}
{% set x %}abc{{ i }}{% endset %}{{ x }}|{{ x|length }}
{% set x | upper | replace('B', '_') %}abc{% endset %}{{ x }}
{% set x %}{% set y = 1 %}{{ y }}{% endset %}{{ x }}{{ y }}
{% for q in l %}{% set x %}{% if q == 1 %}{% break %}{% endif %}v{{ q }}{% endset %}{{ x }}{% endfor %}|{{ x }}
{% set ns = namespace(a=1, b='x') %}{{ ns.a }}{{ ns.b }}{% set ns.a = 2 %}{% set ns.c = [1] %}{{ ns.a }}{{ ns.c }}{{ ns.d }}|{{ ns }}
{% set ns = namespace() %}{% for x in l %}{% set ns.last = x %}{% endfor %}{{ ns.last }}
{% set ns = namespace({'a': 1}, b=2) %}{{ ns.a }}{{ ns['b'] }}{{ ns.items }}
{% set ns = namespace(f=false) %}{% for x in l if not ns.f %}{{ x }}{% if x == 1 %}{% set ns.f = true %}{% endif %}{% endfor %}
{% set ns = namespace(a=0) %}{% set ns.a, ns.b = 5, 6 %}{{ ns.a }}{{ ns.b }}
{% set ns = namespace(a='') %}{% for x in range(30) %}{% set ns.a = ns.a ~ x ~ ',' %}{% endfor %}{{ ns.a }}
{% set ns = namespace(l=[]) %}{% for x in l %}{% set ns.l = ns.l + [x ~ '!'] %}{% endfor %}{{ ns.l }}{{ ns.l|join }}
{% set ns = namespace() %}{% set ns._x = 1 %}
{% set ns = namespace(_x=1) %}
{% set ns = 1 %}{% set ns.x = 1 %}
{% set d.x = 1 %}
{% with %}{% set x = 1 %}{{ x }}{% endwith %}{{ x }}
{% with a = 1, b = i %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% set a = 5 %}{% with a = 1, b = a %}{{ a }}{{ b }}{% endwith %}{{ a }}
{% with a, b = (1, 2) %}{{ a }}{{ b }}{% endwith %}
{% filter upper %}abc {{ s }}{% endfilter %}{% filter replace('a', 'b')|upper %}aaa{% endfilter %}
{% filter indent(width=2) %}a
b
{% endfilter %}
{% for x in l %}{% filter upper %}a{% if x == 1 %}{% continue %}{% endif %}b{% endfilter %}{{ x }}{% endfor %}
{% macro m(a, b=2, c='x' ~ a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m(1) }}{{ m(1, 3) }}{{ m(1, c=5) }}{{ m(b=1, a=2) }}{{ m() }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{{ a }}{% endmacro %}{{ m(x=1) }}
{% macro m(a) %}{{ a is defined }}{{ a }}{% endmacro %}{{ m() }}
{% macro m(a) %}{{ a.x }}{% endmacro %}{{ m() }}
{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3, y=4) }}
{% macro m(a) %}{{ a }}{{ varargs|join(',') }}{% for k, v in kwargs.items() %}{{ k }}{{ v }}{% endfor %}{% endmacro %}{{ m(1, 2, 3, z=4) }}{{ m(*[1, 2], **{'q': 5}) }}{{ m(*l) }}
{% macro m() %}{{ caller() }}{% endmacro %}{% call m() %}body{{ i }}{% endcall %}
{% macro m() %}{{ caller(1, b=2) }}{% endmacro %}{% call(a, b=3) m() %}{{ a }}{{ b }}{% endcall %}
{% macro m() %}{{ caller is defined }}{{ caller() }}{% endmacro %}{{ m() }}
{% macro m(caller=none) %}{{ caller }}{% endmacro %}{{ m() }}
{% macro m() %}x{% endmacro %}{% call m() %}y{% endcall %}
{% macro m(x) %}{% if x > 0 %}{{ x }}{{ m(x - 1) }}{% endif %}{% endmacro %}{{ m(4) }}
{% macro a() %}A{{ b() }}{% endmacro %}{% macro b() %}B{% endmacro %}{{ a() }}
{{ a() }}{% macro a() %}A{% endmacro %}
{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}
{% macro m() %}{% set x = 5 %}{{ x }}{% endmacro %}{{ m() }}{{ x }}
{% set x = 1 %}{% macro m(x) %}{{ x }}{% endmacro %}{{ m(2) }}{{ x }}{{ m(x) }}
{% for x in l %}{% macro m() %}{{ x }}{% endmacro %}{{ m() }}{% endfor %}
{% macro outer() %}{% macro inner(a) %}<{{ a }}{{ s }}>{% endmacro %}{{ inner(1) }}{% endmacro %}{{ outer() }}
{% macro m(a, b) %}{{ m.name }}{{ m.arguments }}{{ m.catch_kwargs }}{{ m.catch_varargs }}{{ m.caller }}{{ kwargs }}{% endmacro %}{{ m(1, 2) }}{{ m }}
{% macro m(a=1, a=2) %}{% endmacro %}
{% macro m(a=1, b) %}{% endmacro %}
{% macro m(a) %}{{ a|upper }}{% endmacro %}{{ m('x')|lower ~ m('y') }}{{ m(m('z')) }}
{% generation %}gen {{ i }}{% endgeneration %}{% for x in l %}{% generation %}{{ x }}{% endgeneration %}{% endfor %}
{% generation %}{% set x = 1 %}{% endgeneration %}{{ x }}
{% block b %}in {{ i }}{% endblock %}{{ self.b() }}
{% set x = 3 %}{% block b %}{{ x }}{{ y }}{% endblock b %}
{% for y in l %}{% block b scoped %}{{ y }}{% endblock %}{% endfor %}
{% block b %}{% endblock %}{% block b %}{% endblock %}
{% print 1, 'a' %}{% print s %}
{% include 'x' %}
{% if false %}{% include 'x' %}{% endif %}ok
{% import 'x' as y %}
{% extends 'x' %}
{% unknown %}
{% if %}{% endif %}
{% if true %}
{% endif %}
{% for x in l %}
{% endfor x %}
{% for l %}{% endfor %}
{% set 1 = 2 %}
{% set none = 2 %}
{% break %}
{% for x in l %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{% for loop in l %}{{ loop }}{% endfor %}
{% for x in l %}{% set loop = 1 %}{% endfor %}
{{ 1 + }}
{{ (1 }}
{{ [1) }}
{{ 1 2 }}
{{ 'abc }}
{{ a. }}
{{ a.b c }}
{{ }}
{{ 1 | }}
{{ 1 | nofilter }}
{{ 1 is notest }}
{% if false %}{{ 1 | nofilter }}{% endif %}{{ (1 | nofilter) if false else 2 }}{% if false %}{{ 1 is notest }}{% endif %}
{% if true %}{{ 1 | nofilter }}{% endif %}
{% if false %}{% for x in l %}{{ 1 | nofilter }}{% endfor %}{% endif %}
{{ 'x' is filter }}{{ 'upper' is filter }}{{ 'odd' is test }}{{ 'nope' is test }}
{{ 1 is odd }}{{ 2 is even }}{{ 9 is divisibleby 3 }}{{ 9 is divisibleby(2) }}{{ 3 is not odd }}{{ not 3 is odd }}
{{ 'a' is odd }}
{{ s is string }}{{ s is mapping }}{{ s is iterable }}{{ s is sequence }}{{ s is number }}{{ s is defined }}{{ s is none }}{{ s is callable }}{{ s is boolean }}
{{ d is string }}{{ d is mapping }}{{ d is iterable }}{{ d is sequence }}{{ l is sequence }}{{ l is mapping }}{{ l is iterable }}{{ range(2) is sequence }}{{ l|select is iterable }}{{ l|select is sequence }}{{ none_ is iterable }}{{ missing is iterable }}{{ missing is sequence }}{{ d.items() is sequence }}{{ (1,2) is sequence }}
{{ i is integer }}{{ f is integer }}{{ t is integer }}{{ i is float }}{{ f is float }}{{ i is number }}{{ t is number }}{{ big is integer }}{{ none_ is number }}{{ t is boolean }}{{ t is true }}{{ 1 is true }}{{ no is false }}{{ 0 is false }}{{ none_ is false }}
{{ 'a' is lower }}{{ 'A' is lower }}{{ 'A1' is upper }}{{ '1' is upper }}{{ u is lower }}{{ 1 is lower }}
{{ range is callable }}{{ missing is callable }}{{ s.upper is callable }}{{ namespace() is callable }}{{ namespace() is mapping }}{{ namespace() is iterable }}
{{ 1 is eq 1 }}{{ 1 is equalto 2 }}{{ 1 is ne 2 }}{{ 1 is lt 2 }}{{ 2 is gt 1 }}{{ 1 is ge 1 }}{{ 1 is le 0 }}{{ 1 is lessthan 2 }}{{ 1 is greaterthan 2 }}{{ 1 is in [1] }}{{ 1 is in(l) }}{{ 'a' is in 'abc' }}
{{ none is sameas none }}{{ true is sameas true }}{{ 1 is sameas true }}{{ l is sameas l }}{{ 's' is escaped }}{{ 's'|safe is escaped }}
{{ x is defined and x is none }}{{ s is defined and s is string }}{{ s is string and i is integer or false }}{{ 'a' if s is string else 'b' }}
{{ s is defined is string }}
{{ l|length }}{{ s|length }}{{ u|length }}{{ d|length }}{{ l|count }}{{ missing|length }}{{ range(4)|length }}{{ d.items()|length }}{{ e|length }}
{{ i|length }}
{{ none_|length }}
{{ l|select|length }}
{{ s|upper }} {{ s|lower }} {{ u|upper }} {{ u|lower }} {{ i|upper }} {{ none_|lower }} {{ missing|upper }} {{ 'ΑΣ ΟΔΟΣ Σ'|lower }} {{ 'ŉǰﬁİ'|upper }} {{ 'İ'|lower }}
{{ s|capitalize }} {{ 'hELLO wORLD'|capitalize }} {{ 'ǆx'|capitalize }} {{ 'ßx'|capitalize }} {{ 'hello-world (foo) {bar} [baz] <q> o\'neil x_y'|title }} {{ 'ßa ǆb'|title }}
{{ ws|trim }}| {{ 'xxaxx'|trim('x') }} {{ '\u00a0\u3000a\u2003'|trim }} {{ i|trim }} {{ missing|trim }} {{ 'abc'|trim('') }}
{{ s|replace('l', 'L') }} {{ s|replace('l', 'L', 1) }} {{ s|replace('', '-') }} {{ s|replace('l', '') }} {{ i|replace('7', 'x') }} {{ s|replace('o', 0) }} {{ 'aaa'|replace('aa', 'b') }} {{ u|replace('漢', 'x') }} {{ u|replace('', '.', 3) }}
{{ l|join }} {{ l|join(', ') }} {{ l|join(d='-') }} {{ people|join(',', attribute='name') }} {{ s|join('.') }} {{ d|join }} {{ mixed|join('|') }} {{ el|join('x') }} {{ missing|join }} {{ l|join(1) }}
{{ none_|join }}
{{ l|first }}{{ l|last }}{{ s|first }}{{ s|last }}{{ el|first }}{{ el|last }}{{ d|first }}{{ d|last }}{{ e|first }}{{ range(5)|last }}{{ l|select|first }}{{ u|last }}{{ missing|first }}{{ missing|last }}
{{ l|select|last }}
{{ l|sort }} {{ l|sort(reverse=true) }} {{ words|sort }} {{ words|sort(case_sensitive=true) }} {{ people[:3]|sort(attribute='age')|map(attribute='name')|join }} {{ people|sort(attribute='name', reverse=true)|map(attribute='name')|join }} {{ people[:3]|sort(attribute='age,name')|map(attribute='name')|join }} {{ 'bca'|sort }} {{ d|sort }} {{ ['b', 'A', 'a', 'B']|sort(true) }}
{{ mixed|sort }}
{{ [1]|sort }}{{ [none]|sort }}{{ []|sort }}
{{ l|reverse|list }} {{ s|reverse }} {{ u|reverse }} {{ range(3)|reverse|list }} {{ d|reverse|list }} {{ l|select|reverse }} {{ d.items()|reverse|list }}
{{ 5|reverse }}
{{ l|min }}{{ l|max }}{{ words|min }}{{ words|max }}{{ words|max(case_sensitive=true) }}{{ el|min }}{{ (people[:3]|max(attribute='age')).name }}{{ [1, 1.5, true]|max }}{{ 'abc'|max }}
{{ l|sum }}{{ el|sum }}{{ l|sum(start=10) }}{{ people[:3]|sum(attribute='age') }}{{ [1.5, 2]|sum }}{{ [[1], [2]]|sum(start=[]) }}
{{ words|sum }}
{{ dup|unique|list }} {{ words|unique|list }} {{ words|unique(case_sensitive=true)|list }} {{ people|unique(attribute='age')|map(attribute='name')|list }} {{ 'abca'|unique|join }}
{{ [[1]]|unique|list }}
{{ l|list }} {{ s[:3]|list }} {{ d|list }} {{ range(3)|list }} {{ missing|list }} {{ (1, 2)|list }} {{ d.values()|list }} {{ l|map('string')|list }}
{{ 5|list }}
{{ people|map(attribute='name')|join(',') }} {{ people|map(attribute='zip', default='-')|join(',') }} {{ l|map('string')|list }} {{ words|map('upper')|join }} {{ l|map('default', 5)|list }} {{ tree|map(attribute='c.0.n')|list }} {{ [[1, 2], [3, 4]]|map(attribute=1)|list }} {{ [[1, 2]]|map(attribute='0')|list }} {{ el|map('nope')|list }} {{ none_|map('upper')|list }} {{ missing|map('upper')|list }} {{ words|map('replace', 'a', 'X')|list }}
{{ l|map|list }}
{{ l|map('nope')|list }}
{{ l|map(attribute='x.y')|list }}
{% set x = l|map(attribute='x.y') %}{{ 1 if x else 2 }}
{{ l|select('odd')|list }} {{ l|select|list }} {{ [0, 1, '', 'a', none]|select|list }} {{ [0, 1]|reject|list }} {{ l|reject('odd')|list }} {{ l|select('gt', 1)|list }} {{ l|select('in', [1, 2])|list }} {{ mixed|select('string')|list }} {{ l|select('==', 2)|list }} {{ l|select('divisibleby', 3)|list }} {{ s|select('lower')|join }}
{{ people|selectattr('age')|map(attribute='name')|join }} {{ people|selectattr('age', 'eq', 30)|map(attribute='name')|join }} {{ people|rejectattr('age', 'none')|list|length }} {{ people|selectattr('city', 'defined')|list|length }} {{ people|rejectattr('age')|map(attribute='name')|join }} {{ people|selectattr('name', 'in', ['Al', 'Di'])|map(attribute='name')|join }} {{ people|selectattr('city', 'undefined')|first }}
{{ people|selectattr|list }}
{{ none_|selectattr('x')|list }}
{% set g = l|select %}{{ g|list }}{{ g|list }}{{ 1 if g else 2 }}{% set g = l|map('string') %}{{ g|first }}{{ g|first }}{{ g|join }}
{% for c, ps in people[:3]|groupby('city') %}{{ c }}:{{ ps|map(attribute='name')|join(',') }};{% endfor %}{% for g in people|groupby('age', default=0) %}{{ g.grouper }}={{ g.list|length }} {% endfor %}
{% for g in people[:3]|groupby('city', case_sensitive=true) %}{{ g.grouper }} {{ g[1]|length }} {% endfor %}{{ people[:3]|groupby('age')|map('first')|list }} {{ people[:1]|groupby('age') }}
{{ people|groupby('age')|list|length }}
{{ l|batch(2)|list }} {{ l|batch(2, 'x')|list }} {{ range(7)|batch(3)|map('join')|list }} {{ l|slice(2)|list }} {{ range(7)|slice(3)|list }} {{ range(7)|slice(3, 'x')|list }} {{ l|slice(5)|list }}
{{ d|dictsort }} {{ d|dictsort(true) }} {{ d|dictsort(false, 'value') }} {{ d|dictsort(reverse=true) }} {{ d|dictsort(by='value', reverse=true) }}
{{ l|dictsort }}
{{ d|items|list }} {{ missing|items|list }}
{{ l|items|list }}
{{ d|tojson }} {{ l|tojson }} {{ mixed|tojson }} {{ u|tojson }} {{ u|tojson(ensure_ascii=true) }} {{ ctl|tojson }} {{ q3|tojson }} {{ html|tojson }} {{ nest|tojson }} {{ none_|tojson }} {{ g|tojson }} {{ big|tojson }} {{ (1, 2)|tojson }} {{ s|safe|tojson }} {{ {1: 2, none: 3, true: 4, 1.5: 6}|tojson }}
{{ nest|tojson(indent=2) }} {{ [1, {'a': []}, {}, []]|tojson(indent=1) }} {{ d|tojson(sort_keys=true) }} {{ d|tojson(separators=(',', ':')) }} {{ l|tojson(indent=4, separators=(', ', ' : ')) }} {{ l|tojson(indent='--') }} {{ l|tojson(indent=0) }} {{ d|tojson(true, none, none, true) }} {{ el|tojson(indent=2) }} {{ l|tojson(indent=none) }}
{{ missing|tojson }}
{{ range(3)|tojson }}
{{ l|select|tojson }}
{{ d.items()|tojson }}
{{ {(1, 2): 3}|tojson }}
{{ num|int }} {{ flt|int }} {{ hex|int }} {{ hex|int(base=16) }} {{ 'x'|int }} {{ 'x'|int(5) }} {{ 3.9|int }} {{ -3.9|int }} {{ true|int }} {{ none_|int }} {{ l|int }} {{ ' 42 '|int }} {{ '1_000'|int }} {{ '1e3'|int }} {{ '-7'|int }} {{ '+7'|int }} {{ ''|int }} {{ '0b11'|int(0, 2) }} {{ '0x1f'|int(0, 0) }} {{ 'z'|int(0, 36) }} {{ '1__0'|int }} {{ 'inf'|int }} {{ 'nan'|int(3) }}
{{ missing|int }}
{{ (1e308 * 10)|int }}
{{ num|float }} {{ flt|float }} {{ 'x'|float }} {{ 'x'|float(1.5) }} {{ i|float }} {{ true|float }} {{ none_|float }} {{ '1e3'|float }} {{ '.5'|float }} {{ '5.'|float }} {{ '1_0.0'|float }} {{ 'inf'|float }} {{ '-Infinity'|float }} {{ 'nan'|float }} {{ '1e'|float }} {{ big|float }}
{{ 2.5|round }} {{ 3.5|round }} {{ 2.675|round(2) }} {{ 42|round }} {{ 42.55|round(1, 'floor') }} {{ 42.51|round(1, 'ceil') }} {{ 1234.5|round(-2) }} {{ 1250|round(-2) }} {{ 1350|round(-2) }} {{ -2.5|round }} {{ 0.5|round }} {{ 42|round(0, 'ceil') }} {{ 1e300|round(2) }}
{{ 2.5|round(0, 'x') }}
{{ neg|abs }}{{ -2.5|abs }}{{ true|abs }}{{ f|abs }}
{{ s|abs }}
{{ missing|default }}|{{ missing|default(1) }}{{ none_|default(1) }}{{ none_|default(1, true) }}{{ ''|d('x', boolean=true) }}{{ 0|default(5, true) }}{{ s|default('x') }}
{{ s|string }}{{ i|string }}{{ none_|string }}{{ l|string }}{{ missing|string }}{{ 1.0|string }}{{ true|string }}
{{ nl|indent }}|{{ nl|indent(2) }}|{{ nl|indent(2, true) }}|{{ nl|indent(2, blank=true) }}|{{ nl|indent('> ', first=true) }}|{{ ''|indent }}|{{ 'x'|indent(first=true) }}|{{ 'a\n'|indent }}|{{ cr|indent }}
{{ i|indent }}
{{ long|truncate(20) }} {{ long|truncate(20, true) }} {{ long|truncate(20, false, '!') }} {{ long|truncate(40) }} {{ long|truncate(41, leeway=0) }} {{ long|truncate(5, true, '…') }} {{ s|truncate }} {{ u|truncate(6, true, '', 0) }}
{{ long|wordcount }}{{ u|wordcount }}{{ ''|wordcount }}{{ "it's a-b"|wordcount }}
{{ s|center(20) }}|{{ 'abc'|center(6) }}|{{ 'abcd'|center(7) }}|{{ 'a'|center(0) }}
{{ html|escape }} {{ html|e }} {{ html|forceescape }} {{ html|safe }} {{ html|safe|e }} {{ html|e|e }} {{ html|e|forceescape }} {{ i|e }} {{ none_|e }} {{ missing|e }}
{{ [html|safe] }} {{ html|safe + '<b>' }} {{ '<b>' + html|safe }} {{ html|safe ~ '<b>' }} {{ ('<i>'|safe) * 2 }} {{ '<%s>'|safe % '<x>' }} {{ ('<i>'|safe)|upper }} {{ ('<i>'|safe).replace('i', '<b>') }} {{ ('<i>'|safe)[0] ~ '' }} {{ [('<i>'|safe)[1:2]] }} {{ ('<i>'|safe).join(['<a>', 'b'|safe]) }} {{ ['<a>', '<b>'|safe]|join }} {{ [('<a> <b>'|safe).split()] }} {{ '<{}>'.format('<') }} {{ ('<{}>'|safe).format('<') }} {{ ('<{0!r}>'|safe).format('<') }} {{ 'a'|safe == 'a' }} {{ [('x'|safe)|list] }} {{ [('a\nb'|safe).splitlines()] }} {{ [('<i>'|safe)|indent] }} {{ [('a'|safe)|trim] }} {{ [('a'|safe)|string] }} {{ [('a'|safe)|lower] }} {{ [('ab'|safe)|reverse] }} {{ [('ab'|safe)|replace('a', '<')] }} {{ [('ab'|safe)|first] }}
{{ '%s %d %5.2f|%-5s|%05d|%x|%X|%o|%c|%r|%%|%+d|%e|%g|%s' % ('a', 42, 3.14159, 'l', 42, 255, 255, 8, 'c', 'r', 3, 12345.678, 0.0001, none) }}
{{ '%(a)s-%(b)03d' % {'a': 1, 'b': 2} }} {{ '%s' % 'x' }} {{ '%s' % [1] }} {{ '%d%%' % 5 }} {{ '%.2f' % i }} {{ '%5s|%-5s|%.2s' % ('a', 'b', 'xyz') }} {{ '%*d' % (5, 3) }} {{ '%i %u' % (1, 2) }} {{ '%d' % 3.99 }} {{ '%d' % true }} {{ '%#x %#o' % (255, 8) }} {{ '% d' % 5 }} {{ '%s' % missing }} {{ '%d' % big }} {{ '%5d|%-5d|%+.1e' % (1, 2, 3) }} {{ '%s' % (1,) }} {{ 'x' % () }} {{ '%G %F' % (1e-10, 1.5) }} {{ '%.3d' % 5 }} {{ '%c' % 97 }}
{{ '%s' % () }}
{{ '%s' % (1, 2) }}
{{ '%d' % 'a' }}
{{ 'x' % 1 }}
{{ '%z' % 1 }}
{{ '%(a)s' % 1 }}
{{ '%(b)s' % {'a': 1} }}
{{ '%s, %s!'|format('a', 'b') }} {{ '%(x)s'|format(x=1) }} {{ 'x'|format }}
{{ '{} {}'.format(1, 'a') }} {{ '{1}{0}'.format('a', 'b') }} {{ '{a}{b}'.format(a=1, b=2) }} {{ '{0.x}{0[y]}'.format({'x': 1, 'y': 2}) }} {{ '{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd') }} {{ '{:5d}|{:05d}|{:+d}|{:,}|{:_}|{:x}|{:#x}|{:b}|{:o}|{:c}'.format(1, 2, 3, 1234567, 1234567, 255, 255, 5, 8, 65) }} {{ '{:.2f}|{:10.3f}|{:e}|{:g}|{:%}|{:.1%}|{:,.2f}'.format(3.14159, 2.0, 12345.6789, 0.00001, 0.5, 0.256, 1234567.891) }} {{ '{{}}{}'.format(1) }} {{ '{!r} {!s}'.format('a', 'b') }} {{ '{:{}}|{:{w}}'.format('a', 4, 'b', w=3) }} {{ '{:.2}'.format('abc') }} {{ '{}'.format(none) }} {{ '{:d}'.format(true) }} {{ '{}'.format(true) }} {{ '{}'.format(1.0) }} {{ '{:.3}'.format(3.0) }} {{ '{:08.2f}'.format(-3.14159) }} {{ '{:=+5d}'.format(3) }} {{ '{:<08d}'.format(3) }} {{ '{:,}'.format(1234.5) }} {{ '{:010,}'.format(1234) }} {{ '{:n}'.format(5) }} {{ '{:G}'.format(1e20) }} {{ '{0}'.format(l) }} {{ '{a[0]}'.format(a=l) }} {{ '{:é>3}'.format('x') }}
{{ '{}'.format() }}
{{ '{x}'.format() }}
{{ '{'.format(1) }}
{{ '}'.format(1) }}
{{ '{:d}'.format('a') }}
{{ '{:x}'.format(1.5) }}
{{ '{:q}'.format(1) }}
{{ '{0}{}'.format(1, 2) }}
{{ '{0.__class__}'.format(1) }}|{{ '{a.__class__.__mro__}'.format(a=1) if false }}
{{ '{0.__class__.__mro__}'.format(1) }}
{{ '{a}'.format_map({'a': 1}) }}
{{ s.upper() }}{{ s.lower() }}{{ s.title() }}{{ s.swapcase() }}{{ s.capitalize() }}{{ 'ß'.casefold() }}{{ "they're bill's".title() }}{{ u.upper() }}{{ u.swapcase() }}
{{ s.startswith('He') }}{{ s.startswith(('x', 'H')) }}{{ s.endswith('d') }}{{ s.endswith('l', 0, 4) }}{{ s.startswith('l', 2) }}{{ s.startswith('') }}{{ s.startswith('', 99) }}{{ s.endswith(('ld', 'x')) }}
{{ s.startswith(1) }}
{{ s.startswith(missing) }}
{{ s.split() }} {{ s.split(',') }} {{ ' a  b c '.split() }} {{ ' a  b c '.split(' ') }} {{ 'a,b,c'.split(',', 1) }} {{ 'a,b,c'.rsplit(',', 1) }} {{ ' a b  c '.split(none, 1) }} {{ ' a b  c '.rsplit(none, 1) }} {{ ''.split() }} {{ ''.split(',') }} {{ 'abc'.split('') if false }} {{ 'a--b--c'.split('--') }} {{ 'a b c'.split(maxsplit=1) }} {{ 'a,b,c'.rsplit(',') }} {{ 'a b'.split(sep=' ') }} {{ 'aXbXc'.rsplit('X', maxsplit=1) }} {{ u.split(' ') }}
{{ 'abc'.split('') }}
{{ nl.splitlines() }} {{ nl.splitlines(true) }} {{ 'a\x0bb\x0cc\x1cd\x85e\u2028f\rg'.splitlines() }} {{ ''.splitlines() }} {{ 'a\n'.splitlines() }} {{ '\n\n'.splitlines() }}
{{ ws.strip() }}|{{ ws.lstrip() }}|{{ ws.rstrip() }}|{{ 'xxaxx'.strip('x') }}|{{ 'xya'.lstrip('yx') }}|{{ 'axy'.rstrip('yx') }}|{{ 'éaé'.strip('é') }}|{{ ''.strip() }}|{{ 'a'.strip(none) }}|{{ ' '.strip() }}
{{ s.strip(1) }}
{{ s.find('o') }}{{ s.find('z') }}{{ s.rfind('o') }}{{ s.index('o') }}{{ s.rindex('o') }}{{ s.find('o', 5) }}{{ s.find('o', 0, 3) }}{{ u.find('漢') }}{{ u.find('') }}{{ s.find('', 99) }}{{ s.find('l', -4) }}{{ s.rfind('') }}{{ ''.find('') }}
{{ s.index('z') }}
{{ s.count('l') }}{{ s.count('') }}{{ 'aaaa'.count('aa') }}{{ s.count('l', 4) }}{{ u.count('') }}{{ s.count('z') }}
{{ s.replace('l', 'L') }}{{ s.replace('l', 'L', 1) }}{{ s.replace('l', 'L', -1) }}{{ 'ab'.replace('', '-') }}{{ ''.replace('', 'x') }}{{ 'ab'.replace('', '-', 1) }}
{{ s.replace('l', 1) }}
{{ ','.join(['a', 'b']) }}{{ ''.join('abc') }}{{ ','.join(d) }}{{ ','.join([]) }}{{ '-'.join(words|map('upper')) }}
{{ ','.join([1]) }}
{{ 'abc'.center(9, '*') }}{{ 'abc'.ljust(5) }}|{{ 'abc'.rjust(5, '.') }}{{ '42'.zfill(5) }}{{ '-42'.zfill(5) }}{{ '+4'.zfill(1) }}{{ 'a\tb'.expandtabs(4) }}{{ '\ta\n\tb'.expandtabs() }}{{ 'é'.center(4, 'é') }}
{{ 'a-b-c'.partition('-') }}{{ 'abc'.partition('-') }}{{ 'a-b-c'.rpartition('-') }}{{ 'abc'.rpartition('-') }}{{ 'prefix'.removeprefix('pre') }}{{ 'prefix'.removesuffix('fix') }}{{ 'a'.removeprefix('b') }}{{ 'a'.removesuffix('') }}
{{ 'abc'.isalpha() }}{{ 'a1'.isalnum() }}{{ '12'.isdigit() }}{{ '1²'.isdigit() }}{{ '1²'.isdecimal() }}{{ '½'.isnumeric() }}{{ ' '.isspace() }}{{ ''.isspace() }}{{ 'ab'.islower() }}{{ 'AB'.isupper() }}{{ 'Ab C'.istitle() }}{{ 'a\n'.isprintable() }}{{ ''.isprintable() }}{{ 'aé'.isascii() }}{{ ''.isascii() }}{{ 'a_1'.isidentifier() }}{{ '1a'.isidentifier() }}{{ '漢'.isalpha() }}
{{ d.get('a') }}{{ d.get('x') }}{{ d.get('x', 5) }}{{ d.get('a', default=3) if false }}{{ d.keys()|list }}{{ d.values()|list }}{{ d.items()|list }}{{ d.copy() }}{{ m['items'] }}{{ m.name }}{{ m['get'] }}{{ m.keys()|list }}
{{ m.items() }}
{{ l.index(2) }}{{ l.count(3) }}{{ l.copy() }}{{ dup.count(1) }}{{ dup.index('a') }}{{ l.index(2, 1) }}
{{ l.index(9) }}
{{ l.append(1) }}
{{ l.append }}|{{ d.update }}|{{ l.pop is defined }}
{{ d.pop('a') }}
{{ d.update({'a': 1}) }}
{{ l.sort() }}
{{ ''.__class__ }}|{{ l.__len__ }}|{{ d['__class__'] }}|{{ d.__foo__ }}|{{ d._x }}
{{ ''.__class__.__mro__ }}
{{ ''.__class__() }}
{{ s.format.__globals__ }}
{{ range.__init__ }}|{{ raise_exception.__globals__ }}
{{ namespace.__init__.__globals__ }}
{{ self.__init__ }}
{{ (1).__class__ }}{{ s|attr('__class__') }}{{ s|attr('upper')() }}{{ d|attr('a') }}{{ d|attr('keys')()|list }}
{{ [].__class__.__base__.__subclasses__() }}
{{ f.is_integer() }}{{ 2.0.is_integer() }}{{ (2.0).is_integer() }}{{ i.real }}{{ i.imag }}{{ i.numerator }}
{{ range(5)|list }}{{ range(2, 5)|list }}{{ range(5, 2, -1)|list }}{{ range(0)|list }}{{ 3 in range(5) }}{{ range(5).start }}{{ range(0, 10, 3)|list }}{{ range(5, 0)|list }}
{{ range(100001) }}
{{ range(1, 2, 0) }}
{{ range(1.5) }}
{{ range('a') }}
{{ dict(a=1, b=2) }}{{ dict([('x', 1)]) }}{{ dict({'a': 1}, b=3) }}{{ dict() }}{{ dict(d, a=5).a }}
{{ dict([1]) }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.current }}
{% set j = joiner('; ') %}{{ j() }}a{{ j() }}b{{ j() }}c{% set k = joiner() %}{{ k() }}{{ k() }}
{{ cycler() }}
{{ raise_exception('stop ' ~ i) }}
{{ strftime_now('%Y-%m-%d %H:%M:%S %d %b %B %a %A %j %y %I %p %% %-d %e %f|%z|%Z|') }}
{{ 5() }}
{{ s() }}
{{ s.upper(1) }}
{{ s.split(x=1) }}
{{ s|upper(1) }}
{{ s|replace('a') }}
{{ s|trim(chars='H', chars='d') }}
{{ l|join(d=',', x=1) }}
{{ s.split(',')[0].strip().upper()[::-1] }} {{ (l|sort)[0] }} {{ l|sort|first }} {{ -l|first }} {{ -1|abs }} {{ (-1)|abs }} {{ 1 + 2|string|length }} {{ not l|length > 2 }} {{ l|length > 2 and 'y' }} {{ 'a' ~ 'b'|upper }} {{ ('a' ~ 'b')|upper }} {{ 2 * 3|string }}
{{ [x for x in l] }}
{{ lambda x: x }}
{{ l is not none and l|length }} {{ l is defined and l }} {{ missing is not defined }} {{ not missing is defined }} {{ 1 is number == true }} {{ 5 is not in [1] }}
{{ {'a': {'b': 1}}.a.b }} {{ [[1, 2], [3]][0][1] }} {{ 'abc'[1] }} {{ {'x': 5}['x'] }} {{ (1, 2)[0] }} {{ [1][0] }} {{ {}['a'] }}|{{ [][0] }}|
{{ "%s" % "a" ~ "b" }} {{ 'a' 'b' ~ 'c' }} {{ 1 if 2 if 3 }} {{ 1 if 0 else 2 if 0 else 3 }} {{ (1 if 0 else 2) + 1 }}
{{ true is boolean }}{{ True and not False }}{{ none or None }}{{ true if True else false }}
{{ {'a': 1}.items() }}{{ {'a': 1} == {'a': 1.0} }}{{ [1, [2, [3]]] == [1, [2, [3.0]]] }}{{ {'a': [1]} != {'a': [2]} }}
{{ 9007199254740993 == 9007199254740992.0 }}{{ 9007199254740993 > 9007199254740992.0 }}{{ big > 1 }}{{ big == big }}{{ -big if false }}{{ big > 1e40 }}{{ 1 < big }}
{{ 9223372036854775807 + 0 }}{{ -9223372036854775807 - 1 }}
{{ "a\u0000b"|tojson }}{{ '\ud83d' == 'x' }}
{{ loop }}{{ caller }}{{ varargs }}{{ self is defined }}{{ super }}
{%- for x in l -%}
  {{ x }}
{%- endfor -%}
{% for x in l %}
  {{ x }}
{% endfor %}
{% set x = [
  1,
  2
] %}{{ x }}
{{
  s
  | upper
}}
{% if s
   and i %}yes{% endif %}
{{ '{{' }} {{ '}}' }} {{ '{%' }} {{ "%}" }} {{ {'a': {'b': 1}} }}{{ {'a':{}}}}
{{ 'a' }}{# {{ 'b' }} #}{{ 'c' }}
{%set x=1%}{{x}}{%if x%}y{%endif%}
{{ x.y.z if false }}{{ missing.y if missing else 'safe' }}
{% for a in [1, 2] %}{% for b in [3, 4] if b > a %}{{ a }}{{ b }}{{ loop.first }} {% endfor %}{% endfor %}
{% for p in people %}{% set label = p.name if p.age else '?' %}{{ label }}{{ ', ' if not loop.last }}{% endfor %}
{% set result = [] %}{% for x in l %}{% set result = result + [x] %}{% endfor %}{{ result }}
{% set items = d.items()|list %}{% set first = items[0] %}{{ first[0] }}{{ items[-1][1] }}
{% set x = namespace(found=false) %}{% for p in people %}{% if p.age == 25 %}{% set x.found = p.name %}{% endif %}{% endfor %}{{ x.found }}
{% macro render(v) %}{% if v is mapping %}{ {% for k, w in v.items() %}{{ k }}: {{ render(w) }}{% if not loop.last %}, {% endif %}{% endfor %} }{% elif v is iterable and v is not string %}[{% for w in v %}{{ render(w) }}{{ ',' if not loop.last }}{% endfor %}]{% else %}{{ v }}{% endif %}{% endmacro %}{{ render(nest) }}{{ render(mixed) }}
{% set a = 1 %}{% if a == 1 %}{% set b %}x{{ a }}{% endset %}{% endif %}{{ b }}
{{ (l|first) ~ (l|last) }}{{ l|map('multiply') if false else 'ok' }}
{{ ['a', 'b']|map('upper')|map('lower')|join }}{{ people|map(attribute='name')|map('length')|sum }}{{ people|selectattr('age')|sort(attribute='age')|map(attribute='name')|list }}
{{ 'x' in ['x', 'y'] and 'z' not in {'z2': 1} }}{{ 'role' in {'role': none} }}
{{ s | replace("o", "0") | upper | length }}{{ s.replace(',', '').split(' ')|last }}
{{ 'é'|length }}{{ 'é'|upper }}{{ 'e\u0301'|length }}{{ '😀'|length }}{{ '😀'[0] }}
{{ 1.0|int }}{{ '3'|int + 4 }}{{ 3|float }}{{ 3.14159|round(2) }}{{ 10|float|string }}
{{ 1e5 }} {{ 123456789012345.0 }} {{ 1e15 }} {{ 1e-4 }} {{ 0.1 + 0.2 }} {{ 100.0 }} {{ 1e22 }} {{ 2.0 ** 70 }} {{ 1/3 }}
{% autoescape false %}{{ html }}{% endautoescape %}
""".strip("\n")


# Cases of more than one line.
LINES = [
    "a\n", "a\n\n", "\n", "", " \n {{ 1 }}\n", "{% if true %}\nx\n{% endif %}\ny\n",
    "  {% if true %}\n  x\n  {% endif %}\n  y", "{% for x in l %}\n- {{ x }}\n{% endfor %}\nend",
    "a\n  {#- c -#}\n b", "a\n  {# c #}\n b", "a {# c #} b", "x\r\n{% if t %}\r\ny\r{% endif %}\rz\n",
    "{{ 'a\r\nb' }}", "{{ 'a\\\nb' }}", "{%- raw %}\n {{ x }}\n{% endraw -%}\n y", "  {% raw %}\n a\n  {% endraw %}\n b",
    "{% set x %}\n a\n{% endset %}\n[{{ x }}]", "a\n{%+ if t %}\n b{% endif %}", "a\n  {%+ if t %}b{% endif %}",
    "{% if t +%}\nb{% endif %}", "\t{% if t %}x{% endif %}\t\n y", "a  {% if t %}x{% endif %}",
    "{{ 1 }}\n{{ 2 }}", "{{ 1 -}}\n\n {{ 2 }}", "{{ 1 }}\n\n {{- 2 }}", "\u00a0{%- if t %}x{% endif -%}\u00a0y",
    "  {{ 1 }}", "  {%- set x = 1 -%}  {{ x }}", "{#- a -#}\n\n b\n", "{# a\n b #}\nc", "{% macro m() %}\n x\n{% endmacro %}\n{{ m() }}",
    "{{ [\n1,\n2] }}\n", "{% for x in l -%}\n {{ x }}\n{%- endfor %}", "a{% if t %}\n{% endif %}b",
    "{% if t -%}\n x\n{% endif %}", " {% if t %} {% endif %} x", "{{ 'x' }}{% if t %}{% endif %}\n\ny",
    "{% filter indent(width=2) %}a\nb\n{% endfilter %}", "{{ {'a': 1\n} }}", "{%\nif t\n%}x{%\nendif\n%}",
    "{% raw %}{% raw %}{% endraw %}", "{% raw -%}  x{% endraw +%}\n y", "{# {% if %} #}x", "{{ '#}' }}{# '#}' #}",
    "\ufeffx", "{", "{ {", "}}", "%}", "{{{ 'a': 1 }}}", "{{{1}}", "#}", "{%", "{{", "{#", "{% raw %}",
    "{{ 1 }", "a {%- ", "{{ 'é' }}\u2028{%- set y = 1 %}", "{{ '\u2028'|length }}", "x{{ '\n' }}y\n",
]


def main():
    import jinja2
    env = oracle.environment()
    cases = []
    for source in CASES.split("\n") + LINES:
        try:
            result = env.from_string(source).render(**VARIABLES)
            result.encode("utf8")
        except Exception:
            result = None
        cases.append([source, result])
    text = "[" + json.dumps(VARIABLES, ensure_ascii=True) + ",\n" + ",\n".join(
        json.dumps(c, ensure_ascii=True) for c in cases) + "]\n"
    path = os.path.join(HERE, "templates.json")
    if "--check" in sys.argv[1:]:
        same = open(path, encoding="ascii").read() == text
        print(f"{path}: {'as' if same else 'NOT as'} jinja2 {jinja2.__version__} makes it")
        return not same
    with open(path, "w", encoding="ascii") as f:
        f.write(text)
    print(f"{len(cases)} cases, {sum(r is None for _, r in cases)} of them errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())

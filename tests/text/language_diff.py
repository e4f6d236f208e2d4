#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""language_diff.py DRIVER MODEL [COUNT]: regular expressions and GBNF against oracles.

Random regular expressions go through DRIVER (grammar_driver.c) and through Python's re, random
grammars also through sets of strings: all those of up to five letters that the rules give, built up
until nothing is new. Each string must fit exactly when the oracle has it. The seed is fixed. Prints a
closing line in Criterion's form, one test for each regular expression and grammar.
"""
import itertools
import os
import random
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grammar_client import Driver  # noqa: E402

LONGEST = 5
LETTERS = "abc"
STRINGS = ["".join(p) for n in range(LONGEST + 1) for p in itertools.product(LETTERS, repeat=n)]


# ---- regular expressions ----

ATOMS = ["a", "b", "c", "[ab]", "[^a]", ".", r"\d", r"\w", r"\s", r"\S", r"[^\d]", "x", "1", "[a-c]", "ab", r"\.",
         "é", "[é-ü]", r"\u00e9"]


def random_regex(r, depth):
    kind = r.randrange(12)
    if depth == 0 or kind < 3:
        return r.choice(ATOMS)
    inner = random_regex(r, depth - 1)
    if kind < 6:
        return inner + random_regex(r, depth - 1)
    if kind < 8:
        return "(" + inner + "|" + random_regex(r, depth - 1) + ")"
    if kind < 10:
        return "(?:" + inner + ")" + r.choice(["*", "+", "?", "{2}", "{1,3}", "{2,}", "*?", "{0,2}?"])
    if kind == 10:
        return r.choice(["^", ""]) + inner + r.choice(["$", ""])
    return "(?" + r.choice("=!") + inner + ")" + random_regex(r, depth - 1)


def check_regex(driver, r, pattern):
    """None, "refused" or what is wrong."""
    compiled = re.compile(pattern, re.ASCII)
    opened = driver.regex(pattern)
    nothing = opened[0] == "error" and "no text fits" in opened[2]
    if opened[0] == "error" and not nothing:
        known = ("inside of a repetition", "may be empty", "nothing to repeat")
        return "refused" if any(k in opened[2] for k in known) else str(opened)
    for _ in range(40):
        text = "".join(r.choice("abcx1.éü _") for _ in range(r.randrange(7)))
        found = not nothing and driver.text(text)
        if found != (compiled.fullmatch(text) is not None):
            return f"'{text}' {'fits' if found else 'does not fit'}"
    return None


# ---- grammars: trees, their text, and their strings ----

RULES = ["root", "x", "y", "z"]


def random_tree(r, depth):
    kind = r.randrange(10)
    if depth == 0 or kind < 3:
        return ("set", "".join(sorted(r.sample(LETTERS, r.randrange(1, 3))))) if r.random() < .6 else \
            ("rule", r.choice(RULES)) if r.random() < .6 else ("text", r.choice(["", "a", "ab", "ba", "cc"]))
    if kind < 6:
        return ("cat", random_tree(r, depth - 1), random_tree(r, depth - 1))
    if kind < 8:
        return ("alt", random_tree(r, depth - 1), random_tree(r, depth - 1))
    low = r.randrange(3)
    return ("repeat", random_tree(r, depth - 1), low, r.choice([None, low, low + 1, low + 3]))


def text_of(tree):
    kind = tree[0]
    if kind == "set":
        return "[" + tree[1] + "]"
    if kind == "text":
        return '"' + tree[1] + '"'
    if kind == "rule":
        return tree[1]
    if kind == "cat":
        return "(" + text_of(tree[1]) + " " + text_of(tree[2]) + ")"
    if kind == "alt":
        return "(" + text_of(tree[1]) + " | " + text_of(tree[2]) + ")"
    high = "" if tree[3] is None else str(tree[3])
    return "(" + text_of(tree[1]) + "){" + str(tree[2]) + "," + high + "}"


def cat(a, b):
    return {p + q for p in a for q in b if len(p) + len(q) <= LONGEST}


def strings_of(tree, rules):
    kind = tree[0]
    if kind == "set":
        return set(tree[1])
    if kind == "text":
        return {tree[1]}
    if kind == "rule":
        return rules[tree[1]]
    if kind == "cat":
        return cat(strings_of(tree[1], rules), strings_of(tree[2], rules))
    if kind == "alt":
        return strings_of(tree[1], rules) | strings_of(tree[2], rules)
    body, power, out = strings_of(tree[1], rules), {""}, set()
    most = tree[3] if tree[3] is not None else tree[2] + LONGEST
    for n in range(most + 1):
        if n >= tree[2]:
            out |= power
        power = cat(power, body)
    return out


def check_grammar(driver, trees):
    rules = {name: set() for name in RULES}
    while True:
        new = {name: strings_of(trees[name], rules) for name in RULES}
        if new == rules:
            break
        rules = new
    opened = driver.gbnf("\n".join(f"{name} ::= {text_of(trees[name])}" for name in RULES))
    nothing = opened[0] == "error" and "no text fits" in opened[2]
    if opened[0] == "error" and not nothing:
        return "refused" if "left recursion" in opened[2] else str(opened)
    for text in STRINGS:
        found = not nothing and driver.text(text)
        if found != (text in rules["root"]):
            return f"'{text}' {'fits' if found else 'does not fit'}"
    return None


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 1000
    driver = Driver(sys.argv[1], sys.argv[2])
    r = random.Random(7)
    total = failed = refused = 0
    for i in range(2 * count):
        if i % 2:
            trees = {name: random_tree(r, 3) for name in RULES}
            what = {name: text_of(t) for name, t in trees.items()}
            wrong = check_grammar(driver, trees)
        else:
            what = random_regex(r, 4)
            try:
                re.compile(what)
            except re.error:
                continue
            wrong = check_regex(driver, r, what)
        total += 1
        refused += wrong == "refused"
        if wrong and wrong != "refused":
            failed += 1
            print("[FAIL]", what, wrong)
    print(f"{total} expressions and grammars, {refused} refused")
    print(f"[====] Synthesis: Tested: {total} | Passing: {total - failed} | Failing: {failed} | "
          "Crashing: 0")
    return 1 if failed or refused > total / 2 else 0


if __name__ == "__main__":
    sys.exit(main())

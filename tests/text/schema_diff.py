#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""schema_diff.py DRIVER MODEL [COUNT [SEED]]: constraints against the validator of PyPI's jsonschema.

Random schemas, with keywords combined as no suite does, and random instances: an instance must fit
the grammar exactly when jsonschema says that it is valid; and a text made of random tokens that may
come must never get stuck and be valid when it ends. Refused schemas are counted. Prints a closing line
in Criterion's form.
"""
import collections
import json
import os
import random
import re
import sys

import jsonschema

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grammar_client import Driver  # noqa: E402
from schema_suite import fits, reason  # noqa: E402

NAMES = ["a", "b", "ab", "c", "x\"y", ""]
STRINGS = ["", "a", "b", "ab", "abc", "aab", "x\"y", "a\nb", "é", "foo", "bar1", "1"]
PATTERNS = ["^a", "b$", "a+b", "^[a-c]*$", "^.$", "[0-9]", "^(foo|a)$", "^(?!a)", "^(?=.*b).*c?$"]
NUMBERS = [-3, -1, 0, 1, 2, 3, 5, 7, 10, 12, 100, -2.5, 0.5, 1.5, 2.25, 9.75, 10.0]


def schema(r, depth):
    s = {}
    words = r.sample(WORDS, r.choice([0, 1, 1, 2, 2, 3]))
    for word in words:
        s.update(word(r, depth))
    return s if r.random() < .95 else r.random() < .7


def sub(r, depth):
    return schema(r, depth - 1) if depth > 0 else r.choice([True, {"type": "integer"}, {"type": "string"}])


def subs(r, depth, most=3):
    return [sub(r, depth) for _ in range(r.randrange(1, most + 1))]


def value(r, depth=2):
    kind = r.randrange(8 if depth else 5)
    if kind == 0:
        return r.choice([None, True, False])
    if kind < 3:
        return r.choice(NUMBERS)
    if kind < 5:
        return r.choice(STRINGS)
    if kind == 5:
        return [value(r, depth - 1) for _ in range(r.randrange(4))]
    return {n: value(r, depth - 1) for n in r.sample(NAMES, r.randrange(4))}


LONG_NUMBER = re.compile(rb"[0-9.]{15,}")
ENDING = []  # tokens that bring a text to its end

WORDS = [
    lambda r, d: {"type": r.choice(["null", "boolean", "integer", "number", "string", "array", "object",
                                    ["integer", "string"], ["array", "null"]])},
    lambda r, d: {"type": r.choice(["object", "array", "string", "integer", "number"])},
    lambda r, d: {"enum": [value(r, 1) for _ in range(r.randrange(1, 5))]},
    lambda r, d: {"const": value(r, 1)},
    lambda r, d: {"minimum": r.choice(NUMBERS)},
    lambda r, d: {"maximum": r.choice(NUMBERS)},
    lambda r, d: {"exclusiveMinimum": r.choice(NUMBERS)},
    lambda r, d: {"exclusiveMaximum": r.choice(NUMBERS)},
    lambda r, d: {"multipleOf": r.choice([1, 2, 3, 5, 0.5, 2.5, 0.25])},
    lambda r, d: {"minLength": r.randrange(4)},
    lambda r, d: {"maxLength": r.randrange(4)},
    lambda r, d: {"pattern": r.choice(PATTERNS)},
    lambda r, d: {"items": sub(r, d)},
    lambda r, d: {"prefixItems": subs(r, d)},
    lambda r, d: {"minItems": r.randrange(3)},
    lambda r, d: {"maxItems": r.randrange(4)},
    lambda r, d: {"properties": {n: sub(r, d) for n in r.sample(NAMES, r.randrange(1, 4))}},
    lambda r, d: {"patternProperties": {p: sub(r, d) for p in r.sample(PATTERNS, r.randrange(1, 3))}},
    lambda r, d: {"additionalProperties": r.choice([False, False, sub(r, d)])},
    lambda r, d: {"propertyNames": r.choice([{"pattern": r.choice(PATTERNS)}, {"maxLength": 1}, sub(r, 0)])},
    lambda r, d: {"required": r.sample(NAMES, r.randrange(1, 3))},
    lambda r, d: {"minProperties": r.randrange(3)},
    lambda r, d: {"maxProperties": r.randrange(3)},
    lambda r, d: {"allOf": subs(r, d)},
    lambda r, d: {"anyOf": subs(r, d)},
    lambda r, d: {"oneOf": subs(r, d)},
    lambda r, d: {"not": sub(r, d)},
    lambda r, d: {"if": sub(r, d), "then": sub(r, d), "else": sub(r, d)},
    lambda r, d: {"$ref": r.choice(["#", "#/$defs/t", "#/$defs/u"])},
]


def instances(r, s):
    """Values, some of them made of what the schema names."""
    out = [value(r) for _ in range(25)]
    for v in list(out):
        if isinstance(v, dict) and len(v) < 3 and isinstance(s, dict):
            for name in s.get("required", []):
                v.setdefault(name, value(r, 1))
    return out


def write(driver, tokens, r):
    """A text of random tokens, or None when it is not done in time, or an error."""
    driver.reset()
    text = b""
    for step in range(150):
        answer = driver.mask()
        if answer[0] == "error":
            return answer
        bits = int.from_bytes(answer[1], "little")
        may = [i for i in ENDING if bits >> i & 1] if step > 40 or r.random() < .3 else []
        while not may:
            some = [i for i in r.sample(range(len(tokens)), 500) if bits >> i & 1 and not tokens[i][0]]
            may = some or [i for i in range(len(tokens)) if bits >> i & 1]
        token = r.choice(may)
        if tokens[token][0] == 2:
            return text
        text += tokens[token][1]
        answer = driver.accept(token)
        if answer[0] == "error" or answer[2] == "1":
            return answer if answer[0] == "error" else text
    return None


def check_written(text, s, validator):
    """None or what is wrong with it."""
    if text is None or isinstance(text, bytes) and LONG_NUMBER.search(text):
        return None  # Python's doubles can't tell
    if isinstance(text, tuple):
        return text[2]
    try:
        return None if validator.is_valid(json.loads(text)) else f"not valid: {text}"
    except ValueError as e:
        return f"no JSON: {text}: {e}"


def main():
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 2000
    r = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 1)
    driver = Driver(sys.argv[1], sys.argv[2])
    tally, refused, wrong = collections.Counter(), collections.Counter(), 0
    tokens = driver.vocabulary()
    ENDING.extend(i for i, (kind, t) in enumerate(tokens)
                  if kind == 2 or kind == 0 and t in (b'"', b"}", b"]", b"0", b'"}', b'"]'))
    for _ in range(count):
        s = schema(r, 3)
        if isinstance(s, dict):
            s["$defs"] = {"t": schema(r, 1), "u": schema(r, 1)}
        text = json.dumps(s)
        if text in ("true", "false"):
            continue
        validator = jsonschema.Draft202012Validator(s)
        opened = driver.schema(text)
        nothing = opened[0] == "error" and "no text fits" in opened[2]
        tally["schemas"] += 1
        if opened[0] == "error" and not nothing:
            refused[reason(opened[2])] += 1
            continue
        tally["supported"] += 1
        for data in instances(r, s):
            try:
                valid = validator.is_valid(data)
            except RecursionError:
                break
            tally["instances"] += 1
            tally["valid"] += valid
            found = not nothing and fits(driver, data)
            if found != valid:
                wrong += 1
                print("[FAIL]", text, json.dumps(data), "accepted" if found else "rejected")
        if not nothing:
            text = write(driver, tokens, r)
            try:
                problem = check_written(text, s, validator)
            except RecursionError:
                continue
            tally["written"] += isinstance(text, bytes)
            if problem:
                wrong += 1
                print("[FAIL]", json.dumps(s), problem)
    print(f"{tally['written']} texts of random tokens; {tally['schemas']} schemas, {tally['supported']} supported; {tally['instances']} instances, "
          f"{tally['valid']} of them valid, {wrong} wrong")
    for what, n in refused.most_common(12):
        print(f"    {n:4} refused: {what}")
    good = int(wrong == 0 and tally["valid"] > count)
    print(f"[====] Synthesis: Tested: 1 | Passing: {good} | Failing: {1 - good} | Crashing: 0")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

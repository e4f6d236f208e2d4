#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""mask_diff.py DRIVER [-v] [-n SCHEMAS] MODEL...: masks against llguidance (PyPI), token by token.

Schemas, written here and random ones from a fixed seed, are opened in both engines with the same
vocabulary and the same white space. From the start on, a random token that may come is taken until
the value ends; before each the masks must be equal in every bit. Prints, for each model, how many
masks were compared and how long ours took, whose mean must be at most a millisecond; a closing line
in Criterion's form, one test a schema and model, and one for the time of each model.
"""
import json
import os
import random
import re
import sys
import time

import llguidance
import llguidance.numpy
import numpy

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grammar_client import Driver  # noqa: E402

MAX_TOKENS = 80
MEAN_LIMIT = 1000  # microseconds
EXPONENT = re.compile(rb"[0-9][eE][+-]?[0-9]{2,}$")

# Their options for what we do: our white space, escapes of all characters, and no text of its own
# tokenization where only one may come.
SAME_AS_OURS = {
    "whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ",
    "json_allow_general_unicode_escapes": True,
}
NO_FORCING = '%llguidance {"no_forcing": true}\nstart: %json '

WRITTEN = [
    {},
    True,
    {"type": "object"},
    {"type": "array"},
    {"type": "string"},
    {"type": "integer"},
    {"type": "number"},
    {"type": ["string", "null", "boolean"]},
    {"type": "object", "properties": {
        "name": {"type": "string"}, "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "email": {"type": "string", "maxLength": 40}}, "required": ["name", "age"],
     "additionalProperties": False},
    {"type": "object", "properties": {"id": {"type": "string", "pattern": "^[A-Z]{3}-[0-9]{4}$"},
                                      "tags": {"type": "array", "items": {"type": "string"},
                                               "minItems": 1, "maxItems": 4}},
     "required": ["id", "tags"]},
    {"$defs": {"tree": {"type": "object", "properties": {
        "value": {"type": "integer"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["value"], "additionalProperties": False}}, "$ref": "#/$defs/tree"},
    {"type": "object", "additionalProperties": {"type": "number", "minimum": 0, "maximum": 100}},
    {"type": "object", "properties": {"orderId": {"type": "string"}, "orderName": {"type": "string"}},
     "additionalProperties": False},
    {"anyOf": [{"type": "object", "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
                "required": ["kind", "r"], "additionalProperties": False},
               {"type": "object", "properties": {"kind": {"const": "square"}, "a": {"type": "number"}},
                "required": ["kind", "a"], "additionalProperties": False}]},
    {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}],
     "items": {"type": "boolean"}, "maxItems": 5},
    {"type": "string", "minLength": 3, "maxLength": 100000},
    {"type": "string", "enum": ["north", "south", "east", "west", "northeast", "nowhere"]},
    {"type": "integer", "multipleOf": 7, "minimum": 0, "maximum": 5000},
    {"allOf": [{"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]},
               {"type": "object", "properties": {"b": {"type": "integer"}}, "required": ["b"]}]},
    {"type": "object", "patternProperties": {"^x_[a-z]+$": {"type": "integer"}},
     "additionalProperties": False},
    {"type": "array", "items": {"type": "array", "items": {"type": "integer"}, "maxItems": 3},
     "maxItems": 3},
    {"type": "string", "format": "uuid"},
    {"type": "string", "format": "ipv4"},
    {"type": "string", "pattern": "[a-f]+"},
    {"type": "string", "pattern": "^(?:[a-zé]+ )*[a-zé]+$"},
    {"const": {"a": [1, 2, {"b": None}], "c": "d\"e\\f\n"}},
    {"enum": [1, "1", True, None, [1, "x"], {"k": "v"}, 2.5]},
    {"type": "object", "properties": {"when": {"type": "string", "pattern":
                                               "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}Z$"}},
     "required": ["when"]},
]

NAMES = ["id", "name", "value", "x", "items", "orderId", "orderName", "a b", "größe", "type",
         "\u540d\u524d", "very_long_property_name_of_a_schema", "n1", "n2", "with\"quote"]
PATTERNS = ["^[a-z]+$", "^[A-Z][a-z]*( [A-Z][a-z]*)*$", "^#[0-9a-f]{6}$", "^[0-9]{3}-[0-9]{4}$", "foo|bar",
            "^(a|b)*c$", "^\\+?[0-9 ]{5,12}$", "^[^@ ]+@[^@ ]+$", "[0-9]$", "^[^\\n]{2,8}$"]


def random_schema(r, depth):
    kind = r.randrange(14 if depth else 8)
    if kind < 2:
        s = {"type": "string"}
        if r.random() < .3:
            s["minLength"] = r.randrange(6)
        if r.random() < .4:
            s["maxLength"] = s.get("minLength", 0) + r.choice([0, 1, 5, 40, 200, 5000])
        elif r.random() < .4:
            s["pattern"] = r.choice(PATTERNS)
            s.pop("minLength", 0)
        return s
    if kind == 2:
        s = {"type": "integer"}
        if r.random() < .5:
            s["minimum"] = r.randrange(-200, 200)
        if r.random() < .5:
            s["maximum"] = s.get("minimum", 0) + r.randrange(2000)
        if r.random() < .2:
            s["multipleOf"] = r.choice([2, 3, 5, 10, 25, 7])
        return s
    if kind == 3:
        s = {"type": "number"}
        if r.random() < .5:
            low = r.randrange(0, 50)
            s["minimum"], s["maximum"] = low, low + r.randrange(1, 500)
        return s
    if kind == 4:
        return r.choice([{"type": "boolean"}, {"type": "null"}, {"type": ["integer", "null"]}, {}, True,
                         {"type": ["string", "boolean"]}])
    if kind == 5:
        return {"enum": r.sample(["red", "green", "grey", "blue", "a\"b", "x\\y", "", "größe", 1, 12, 123,
                                  True, False, None, "line\nbreak"], r.randrange(1, 8))}
    if kind == 6:
        return {"const": r.choice(["fixed", 7, None, True, "ü"])}
    if kind == 7:
        return {"type": "string", "format": r.choice(["uuid", "ipv4"])}
    if kind < 11:
        names = r.sample(NAMES, r.randrange(0, 5))
        s = {"type": "object", "properties": {n: random_schema(r, depth - 1) for n in names}}
        s["required"] = [n for n in names if r.random() < .5]
        more = r.random()
        if more < .5:
            s["additionalProperties"] = False
        elif more < .7:
            s["additionalProperties"] = random_schema(r, depth - 1)
        return s
    if kind == 11:
        s = {"type": "array", "items": random_schema(r, depth - 1)}
        if r.random() < .5:
            s["minItems"] = r.randrange(4)
        if r.random() < .5:
            s["maxItems"] = s.get("minItems", 0) + r.choice([0, 1, 3, 100, 30000])
        if r.random() < .3:
            s["prefixItems"] = [random_schema(r, depth - 1) for _ in range(r.randrange(1, 3))]
        return s
    if kind == 12:
        return {"anyOf": [random_schema(r, depth - 1) for _ in range(r.randrange(1, 4))]}
    return {"allOf": [{"type": "object", "properties": {n: random_schema(r, 0)}, "required": [n]}
                      for n in r.sample(NAMES, 2)]}


class Vocabulary:
    """What llguidance asks of a tokenizer."""

    def __init__(self, vocabulary):
        self.kinds = [kind for kind, _ in vocabulary]
        self.tokens = [text if kind == 0 else b"\xff<%d>" % i
                       for i, (kind, text) in enumerate(vocabulary)]
        self.special_token_ids = [i for i, kind in enumerate(self.kinds) if kind]
        self.ends = [i for i, kind in enumerate(self.kinds) if kind == 2]
        self.eos_token_id = self.ends[0]
        self.bos_token_id = None
        self.byte = {t: i for i, t in enumerate(self.tokens) if len(t) == 1}

    def __call__(self, text):
        return [self.byte.get(bytes([b]), 0) for b in text]


def bits_of(data, n):
    return numpy.unpackbits(numpy.frombuffer(data, dtype=numpy.uint8), bitorder="little")[:n].astype(bool)


def choose(r, vocabulary, allowed):
    """A token that may come; those that end things more often, so that values end."""
    ids = numpy.flatnonzero(allowed)
    if r.random() < .5:
        some = [i for i in r.sample(list(ids), min(len(ids), 400))
                if any(c in vocabulary.tokens[i] for c in b'"}],')]
        if some:
            return int(r.choice(some))
    return int(ids[r.randrange(len(ids))])


def spread(times):
    times = sorted(times)
    return (f"mean {sum(times) / len(times):.0f} us, p99 {times[len(times) * 99 // 100]:.0f} us, "
            f"max {times[-1]:.0f} us")


def compare(driver, vocabulary, tokenizer, schema, r, times, opens, their_times):
    """None, or what went wrong; notes how long masks and opening took."""
    text = json.dumps(schema, ensure_ascii=False)
    opened = driver.schema(text)
    theirs = {"x-guidance": SAME_AS_OURS, **(schema if isinstance(schema, dict) else {})}
    grammar = llguidance.LLMatcher.grammar_from_lark(NO_FORCING + json.dumps(theirs))
    matcher = llguidance.LLMatcher(tokenizer, grammar)
    if opened[0] == "error" or matcher.is_error():
        both = opened[0] == "error" and matcher.is_error()
        return None if both else f"ours: {opened}, theirs: {matcher.get_error() or 'ok'}"
    opens.append(float(opened[1]))
    n = len(vocabulary.tokens)
    out = numpy.zeros((1, (n + 31) // 32), dtype=numpy.int32)
    taken = []
    for _ in range(MAX_TOKENS):
        mine = driver.mask()
        if mine[0] == "error":
            return f"after {taken}: {mine[2]}"
        ours = bits_of(mine[1], n)
        start = time.perf_counter()
        llguidance.numpy.fill_next_token_bitmask(matcher, out)
        their_times.append((time.perf_counter() - start) * 1e6)
        theirs = bits_of(out.tobytes(), n)
        times.append(mine[0])
        # Both end the text in the same places; each by all of its end tokens.
        if ours[vocabulary.eos_token_id] != theirs[vocabulary.eos_token_id]:
            return f"after {taken}: the end is {ours[vocabulary.eos_token_id]} in ours"
        ours[vocabulary.special_token_ids] = theirs[vocabulary.special_token_ids] = False
        if (ours != theirs).any():
            more = [vocabulary.tokens[i] for i in numpy.flatnonzero(ours & ~theirs)[:10]]
            less = [vocabulary.tokens[i] for i in numpy.flatnonzero(theirs & ~ours)[:10]]
            so_far = b"".join(vocabulary.tokens[i] for i in taken)
            return f"after {so_far}: only ours {more} only theirs {less}"
        if not ours.any():
            return None
        if EXPONENT.search(b"".join(vocabulary.tokens[i] for i in taken)):
            return None  # ours end at three digits, theirs never
        token = choose(r, vocabulary, ours)
        taken.append(token)
        answer = driver.accept(token)
        if answer[0] == "error" or not matcher.consume_token(token):
            return f"after {taken}: {answer}, {matcher.get_error()}"
        if answer[2] == "1":
            return None
    return None


def main():
    args = sys.argv[1:]
    verbose = "-v" in args
    args = [a for a in args if a != "-v"]
    wanted = 200
    if "-n" in args:
        at = args.index("-n")
        wanted = int(args[at + 1])
        del args[at:at + 2]
    if len(args) < 2:
        sys.exit(__doc__)
    total = failed = 0
    for model in args[1:]:
        driver = Driver(args[0], model)
        vocabulary = Vocabulary(driver.vocabulary())
        tokenizer = llguidance.LLTokenizer(llguidance.TokenizerWrapper(vocabulary),
                                           eos_token=vocabulary.ends)
        r = random.Random(17)
        schemas = (WRITTEN + [random_schema(r, 3) for _ in range(wanted)])[:wanted]
        driver.schema("{}")  # makes the tree of tokens, once for a vocabulary
        times, opens, their_times, equal = [], [], [], 0
        for i, schema in enumerate(schemas):
            wrong = compare(driver, vocabulary, tokenizer, schema, r, times, opens, their_times)
            total += 1
            if wrong:
                failed += 1
                print("[FAIL]", os.path.basename(model), i, json.dumps(schema)[:300], wrong[:600])
            else:
                equal += 1
        print(f"{os.path.basename(model)}: {equal} of {len(schemas)} schemas equal, {len(times)} masks of "
              f"{len(vocabulary.tokens)} tokens: {spread(times)}; theirs (called from Python): "
              f"{spread(their_times)}; opening a schema: {spread(opens)}")
        total += 1
        if sum(times) > MEAN_LIMIT * len(times):
            failed += 1
            print("[FAIL]", os.path.basename(model), "masks take too long")
        driver.close()
    print(f"[====] Synthesis: Tested: {total} | Passing: {total - failed} | Failing: {failed} | "
          "Crashing: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

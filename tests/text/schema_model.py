#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""schema_model.py PROGRAM MODEL: a model forced through 50 schemas.

`PROGRAM run MODEL --schema` answers, greedily and by chance, must end by themselves and be valid by
PyPI's jsonschema. The schemas have bounded values, so that an answer of a small model ends. Prints a
closing line in Criterion's form, one test a schema.
"""
import json
import os
import random
import subprocess
import sys
import tempfile

import jsonschema

PROMPTS = ["Describe a person as JSON.", "Give me a JSON example.", "What do you know about Paris? Answer in JSON.",
           "Write a JSON object with data of a product.", "List three things as JSON."]
WORDS = ["name", "city", "age", "kind", "price", "note", "items", "id", "größe", "is_open", "a \"b\""]


def bounded(r, depth):
    """A schema whose values are short."""
    kind = r.randrange(12 if depth else 7)
    if kind == 0:
        return {"type": "string", "maxLength": r.choice([1, 8, 24])}
    if kind == 1:
        return {"type": "string", "pattern": r.choice(["^[A-Z][a-z]{2,9}$", "^[0-9]{3}-[0-9]{4}$", "^(yes|no|maybe)$"])}
    if kind == 2:
        return {"type": "string", "format": r.choice(["date", "time", "uuid", "ipv4", "date-time"])}
    if kind == 3:
        return {"type": "integer", "minimum": r.choice([-5, 0, 18]), "maximum": r.choice([20, 130, 9999])}
    if kind == 4:
        return {"enum": r.sample(["red", "green", "blue", 1, 2.5, None, True, "ü\n"], 4)}
    if kind == 5:
        return {"type": ["boolean", "null"]}
    if kind == 6:
        return {"type": "integer", "minimum": 0, "maximum": 500, "multipleOf": r.choice([5, 7])}
    if kind < 10:
        names = r.sample(WORDS, r.randrange(1, 4))
        return {"type": "object", "properties": {n: bounded(r, depth - 1) for n in names},
                "required": [n for n in names if r.random() < .7], "additionalProperties": False}
    if kind == 10:
        return {"type": "array", "items": bounded(r, depth - 1), "minItems": r.randrange(2), "maxItems": 3}
    return {"oneOf": [{"type": "object", "properties": {"kind": {"const": k}, "v": bounded(r, 0)},
                       "required": ["kind", "v"], "additionalProperties": False} for k in ("a", "b")]}


def answer(program, model, prompt, schema, options):
    with tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf8") as f:
        json.dump(schema, f)
        f.flush()
        done = subprocess.run([program, "-q", "run", model, prompt, "--schema", f.name, "--json", "-b", "cpu",
                               "--ctx", "2048"] + options, stdin=subprocess.DEVNULL, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else {"finish": done.stderr.decode()}


def check(said, schema):
    if said["finish"] != "eog":
        return f"ended by {said['finish']}"
    try:
        value = json.loads(said["text"])
    except ValueError as e:
        return f"no JSON: {e}: {said['text']}"
    errors = list(jsonschema.Draft202012Validator(schema).iter_errors(value))
    return f"not valid: {errors[0].message}: {said['text']}" if errors else None


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    r = random.Random(3)
    total, failed, count = 50, 0, 0
    for i in range(total):
        schema = bounded(r, 3)
        options = [] if i % 2 else ["--temp", "1.3", "--seed", str(i)]
        said = answer(sys.argv[1], sys.argv[2], PROMPTS[i % len(PROMPTS)], schema, options)
        wrong = check(said, schema)
        count += len(said.get("ids", []))
        if wrong:
            failed += 1
            print("[FAIL]", json.dumps(schema), wrong)
    print(f"{total - failed} of {total} answers valid, {count} tokens")
    print(f"[====] Synthesis: Tested: {total} | Passing: {total - failed} | Failing: {failed} | "
          "Crashing: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

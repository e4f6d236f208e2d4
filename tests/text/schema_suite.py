#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""schema_suite.py DRIVER MODEL SUITE [-v]: constraints against the JSON Schema Test Suite.

SUITE is the folder with tests/ (PyPI's source package of jsonschema has it as json/). Each case's
schema becomes a grammar; each of its instances is written as JSON and must fit the grammar exactly
when the suite says that it is valid. Properties come in the schema's order and a number has more than
one spelling, so an instance counts as fitting when one of its spellings does. Refused schemas are
counted by what was refused. Prints a table and a closing line in Criterion's form, one test a draft
and one for each that went wrong.
"""
import collections
import decimal
import itertools
import json
import os
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from grammar_client import Driver  # noqa: E402

LIMIT = 20000  # spellings of one instance

# Formats that are narrower here than in their RFC, which docs/GRAMMARS.md says: instances that would
# be valid and are not.
NARROWER = {
    ("hostname", "xn--"), ("time", ":60"), ("date-time", ":60"),
}


def numbers(v):
    """Ways to write a number."""
    texts = [json.dumps(v)]
    if isinstance(v, float):
        d = decimal.Decimal(repr(v))
        if d == d.to_integral_value():
            texts.append(str(int(d)))
        texts.append(format(d, "f"))
    return list(dict.fromkeys(texts))


def spellings(v):
    """All spellings of a value: orders of properties, ways to write numbers."""
    if isinstance(v, bool) or v is None:
        return [json.dumps(v)]
    if isinstance(v, str):
        return [json.dumps(v, ensure_ascii=False).replace("\x7f", "\\u007f")]
    if isinstance(v, (int, float)):
        return numbers(v)
    if isinstance(v, list):
        parts = [spellings(i) for i in v]
        return ["[" + ", ".join(p) + "]" for p in itertools.islice(itertools.product(*parts), LIMIT)]
    out = []
    for order in itertools.islice(itertools.permutations(v), 720):
        parts = [[json.dumps(k, ensure_ascii=False) + ": " + s for s in spellings(v[k])] for k in order]
        out += ["{" + ", ".join(p) + "}" for p in itertools.islice(itertools.product(*parts), LIMIT)]
        if len(out) > LIMIT:
            break
    return out


def fits(driver, data):
    return any(driver.text(text.encode("utf8", "surrogatepass")) is True for text in spellings(data))


def reason(message):
    """What was refused, without places and numbers."""
    parts = message.split(": ")
    where = parts[1].rsplit("/", 1)[-1] if len(parts) > 2 else ""
    return (where + ": " if where.isidentifier() or where.startswith("$") else "") + parts[-1][:60]


def is_narrower(schema, data):
    name = schema.get("format") if isinstance(schema, dict) else None
    return isinstance(data, str) and any(name == f and t in data for f, t in NARROWER)


def run(driver, files, dialect, refused, wrong, verbose):
    count = collections.Counter()
    for path in files:
        for case in json.load(open(path, encoding="utf8")):
            schema = case["schema"]
            if isinstance(schema, dict) and "$schema" not in schema:
                schema = {"$schema": dialect, **schema}
            answer = driver.schema(json.dumps(schema))
            count["schemas"] += 1
            n = len(case["tests"])
            if answer[0] == "error":
                valid = sum(t["valid"] for t in case["tests"])
                nothing = "no text fits" in answer[2]
                if nothing and valid == 0:  # that is the right answer
                    count["supported"] += 1
                    count["instances"] += n
                    count["right"] += n
                    continue
                if nothing:
                    wrong.append((path, case["description"], "", "nothing fits"))
                refused[reason(answer[2])] += 1
                count["refused"] += 1
                continue
            count["supported"] += 1
            for test in case["tests"]:
                count["instances"] += 1
                found = fits(driver, test["data"])
                if found == test["valid"]:
                    count["right"] += 1
                elif test["valid"] and is_narrower(schema, test["data"]):
                    count["narrower"] += 1
                else:
                    wrong.append((os.path.basename(path), case["description"], test["description"],
                                  "accepted" if found else "rejected"))
    return count


def main():
    args = [a for a in sys.argv[1:] if a != "-v"]
    if len(args) != 3:
        sys.exit(__doc__)
    driver = Driver(args[0], args[1])
    total = failed = 0
    for draft, dialect in (("draft2020-12", "https://json-schema.org/draft/2020-12/schema"),
                           ("draft7", "http://json-schema.org/draft-07/schema#")):
        folder = os.path.join(args[2], "tests", draft)
        formats = os.path.join(folder, "optional", "format")
        for name, where in (("", folder), (" formats", formats)):
            files = sorted(os.path.join(where, f) for f in os.listdir(where) if f.endswith(".json"))
            if not name:
                files = [f for f in files if os.path.basename(f) != "format.json"]
            refused, wrong = collections.Counter(), []
            c = run(driver, files, dialect, refused, wrong, "-v" in sys.argv)
            print(f"{draft}{name}: {c['schemas']} schemas, {c['supported']} supported, "
                  f"{c['refused']} refused; {c['instances']} instances, {c['right']} right, "
                  f"{c['narrower']} valid ones of narrower formats, {len(wrong)} wrong")
            for w in wrong:
                print("[FAIL]", draft, *w)
            if "-v" in sys.argv:
                for what, n in refused.most_common():
                    print(f"    {n:4} refused: {what}")
            total += 1 + len(wrong)
            failed += len(wrong) + (c["right"] == 0)
    print(f"[====] Synthesis: Tested: {total} | Passing: {total - failed} | Failing: {failed} | "
          "Crashing: 0")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

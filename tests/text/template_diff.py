#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""template_diff.py DRIVER FOLDER: every template of a folder on every dialogue, by jinja2 (from PyPI)
and by lockstep. Wherever jinja2 renders, the texts must be equal; where it fails, so must lockstep.
Prints the times of rendering and a closing line in Criterion's form."""
import glob
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import template_oracle as oracle


def main():
    driver = oracle.Driver(sys.argv[1])
    files = sorted(glob.glob(os.path.join(sys.argv[2], "*.jinja")))
    dialogues = oracle.dialogues()
    env = oracle.environment()
    tested = failed = rendered = both_fail = only_ours = 0
    times = []
    for path in files:
        name = os.path.basename(path)
        source = open(path, encoding="utf8").read()
        template = env.from_string(source)
        good, message, _ = driver.ask("template", source.encode())
        if not good:
            failed += 1
            print(f"[FAIL] {name}: {message.decode()}")
        for title, variables in dialogues.items():
            tested += 1
            try:
                expect = template.render(**variables).encode("utf8", "surrogatepass")
            except Exception as e:
                expect, why = None, e
            data = json.dumps(variables).encode()
            good, text, _ = driver.ask("render", data)
            rendered += expect is not None
            if expect is None:
                both_fail += not good
                only_ours += good
                if good:
                    print(f"only ours: {name} on '{title}': jinja2 says {type(why).__name__}: {why}")
                continue
            if not good or text != expect:
                failed += 1
                at = next((i for i in range(min(len(text), len(expect))) if text[i] != expect[i]),
                          min(len(text), len(expect)))
                print(f"[FAIL] {name} on '{title}', byte {at}:\n  is       "
                      f"{text[max(0, at - 60):at + 80]!r}\n  expected "
                      f"{expect[max(0, at - 60):at + 80]!r}")
            if good:
                times.append((int(driver.ask("time", data)[1]) / 1e6, name, title))
    times.sort()
    print(f"{len(files)} templates, {len(dialogues)} dialogues: jinja2 renders {rendered} of "
          f"{tested}; of its errors {both_fail} are ours too, {only_ours} are not")
    if times:
        print(f"milliseconds a rendering: median {statistics.median(t[0] for t in times):.3f}, "
              f"worst {times[-1][0]:.3f} ({times[-1][1]}, {times[-1][2]})")
    print(f"[====] Synthesis: Tested: {tested} | Passing: {tested - failed} | Failing: {failed} | "
          "Crashing: 0")
    return failed != 0 or not files


if __name__ == "__main__":
    sys.exit(main())

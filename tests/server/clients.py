#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""clients.py LOCKSTEP MODEL [FOLDER]: every API of `lockstep serve MODEL`, by clients.

First a server that is ended and started again. Then it starts one and runs tests/server/clients_check.py: with Python alone and, with LK_FULL=1,
with the clients of other people, which are installed from PyPI into FOLDER (default: clients,
beside the program), an environment for each. Where PyPI can't be reached it says what was not run.
Prints a line for each check that fails and a closing line in Criterion's form.
"""
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
import venv

HERE = os.path.dirname(os.path.abspath(__file__))
TINY = os.path.join(HERE, "..", "golden", "tiny-llama.gguf")
SETS = {  # name: what is installed
    "alone": [],
    "openai-1": ["openai<2"],
    "openai": ["openai"],
    "anthropic": ["anthropic"],
    "ollama": ["ollama"],
    "langchain": ["langchain-openai"],
}


def install(folder, packages):
    """The environment's Python; None: it can't be had."""
    if not packages:
        return sys.executable
    python = os.path.join(folder, "bin", "python")
    done = os.path.join(folder, "installed")
    if not os.path.exists(done):
        venv.create(folder, with_pip=True, clear=True)
        run = subprocess.run([python, "-m", "pip", "install", "--quiet", "--retries", "1",
                              "--timeout", "20", *packages], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, check=False)
        if run.returncode:
            print("not run: %s: %s" % (" ".join(packages), run.stdout.strip().split("\n")[-1]))
            return None
        with open(done, "w", encoding="utf-8") as f:
            f.write("\n".join(packages))
    return python


def ask_once(program, *options):
    """What a server answers that is ended after it: the answer, tokens that it had already."""
    server = subprocess.Popen([program, "serve", TINY, "--port", "0", *options],
                              stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        body = {"prompt": "It was a dark night, and " * 6, "max_tokens": 20, "seed": 1,
                "ignore_eos": True, "logits_sha256": True}
        with urllib.request.urlopen(url + "/v1/completions", json.dumps(body).encode()) as r:
            said = json.load(r)
    finally:
        server.terminate()
        code = server.wait()
    return ((said["choices"], code),
            said["usage"].get("prompt_tokens_details", {}).get("cached_tokens", 0))


def restart(program):
    """What the cache held when a server ended is there in the next, if that was asked for."""
    with tempfile.TemporaryDirectory() as folder:
        first, had = ask_once(program, "--prefix-dir", folder)
        files = os.listdir(folder)
        again, has = ask_once(program, "--prefix-dir", folder)
    good = first == again and first[1] == 0 and had == 0 and has >= 64 and len(files) == 1
    if not good:
        print("[FAIL] restart: %s, %s, then %s, %s; files: %s" % (first, had, again, has, files))
    return good


def main():
    """Runs all sets; the exit status says whether all checks passed."""
    program, model = sys.argv[1], sys.argv[2]
    folder = sys.argv[3] if len(sys.argv) > 3 else os.path.join(os.path.dirname(program), "clients")
    passed = restart(program)
    failed = 1 - passed
    server = subprocess.Popen([program, "serve", "small=" + model, "--port", "0"],
                              stdout=subprocess.PIPE, text=True)
    try:
        url = server.stdout.readline().strip()
        for name, packages in SETS.items():
            if packages and os.environ.get("LK_FULL") != "1":
                print("not run: %s: needs LK_FULL=1" % " ".join(packages))
                continue
            python = install(os.path.join(folder, name), packages)
            if not python:
                continue
            run = subprocess.run([python, os.path.join(HERE, "clients_check.py"), name, url],
                                 stdout=subprocess.PIPE, text=True, check=False)
            lines = run.stdout.splitlines()
            passed += sum(line.startswith("[PASS]") for line in lines)
            wrong = [line for line in lines if not line.startswith("[PASS]")]
            failed += sum(line.startswith("[FAIL]") for line in wrong)
            if run.returncode and not wrong:
                failed += 1
                wrong = ["[FAIL] %s: exit status %d" % (name, run.returncode)]
            print("\n".join(wrong), end="\n" if wrong else "")
    finally:
        server.terminate()
        server.wait()
    print("[====] Synthesis: Tested: %d | Passing: %d | Failing: %d | Crashing: 0"
          % (passed + failed, passed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The rooms of the tree and the arrows between them: who may include whom.

A room is a folder. Others include its public headers alone, and only from rooms that are drawn
after it here; each room names the rooms it uses. docs/DESIGN.md shows the same drawing. Prints each
breach; exits with 1 if there is one.
"""
import os
import re
import subprocess
import sys

# name, folder, public headers, rooms it uses besides base and the public interface
ROOMS = [
    ("base", "src/base", "base.h kept.h mem.h os.h utf8.h numerics.h real.h", ""),
    ("quant", "src/quant", "quant.h grid.h", ""),
    ("gguf", "src/gguf", "gguf.h model_file.h", "quant"),
    ("text/value", "src/text/value",
     "value.h json.h number.h decimal.h region.h text_buffer.h place.h", ""),
    ("text/token", "src/text/token", "tok.h vocab_trie.h", "gguf"),
    ("text/sample", "src/text/sample", "sampler.h stop.h logprob.h", ""),
    ("text/template", "src/text/template", "", "text/value text/token gguf"),
    ("text/grammar", "src/text/grammar", "grammar.h char_set.h expr.h byte_set.h slots.h",
     "text/value text/token text/sample"),
    ("text/answer", "src/text/answer", "",
     "text/value text/token text/sample text/template text/grammar"),
    ("plan", "src/plan", "plan.h op.h rope.h state.h kv_layout.h kv_cells.h", "quant gguf"),
    ("backend", "src/backend", "backend.h device_list.h embed_row.h", "quant plan"),
    ("shaders", "shaders", "params.h probe_items.h spirv_lint.h", "plan"),
    ("ref", "src/ref", "", "quant plan backend"),
    ("cpu", "cpu", "", "quant plan backend"),
    ("vulkan/device", "src/vulkan/device",
     "vk_device.h vk_state.h vk_limits.h vk_volk.h vk_shaders.h", "backend plan shaders"),
    ("vulkan/build", "src/vulkan/build",
     "vk_exec.h vk_build.h vk_list.h vk_batch.h vk_submit.h vk_name.h",
     "vulkan/device backend plan quant shaders"),
    ("vulkan", "src/vulkan", "",
     "vulkan/build vulkan/device backend plan quant shaders"),
    ("engine", "src/engine", "engine.h generation.h prefix.h room.h session_file.h", "backend plan quant gguf text/token text/sample"),
    ("serve", "src/serve", "", "engine"),
    ("check", "src/check", "", "backend plan quant gguf"),
    ("tools/server", "tools/server", "serve.h clock.h", ""),
    ("tools/cli", "tools/cli", "", "tools/server"),
]
ORDER = {name: i for i, (name, _, _, _) in enumerate(ROOMS)}
FOLDERS = {name: folder for name, folder, _, _ in ROOMS}
FOLDER = {folder: name for name, folder, _, _ in ROOMS}
PUBLIC = {name: set(public.split()) for name, _, public, _ in ROOMS}
USES = {name: set(uses.split()) for name, _, _, uses in ROOMS}
# Rooms whose files (a .c with its .h) include each other in one direction alone.
ONE_WAY = {"vulkan/build"}
GENERATED = {"lockstep_commit.h"}
INTERFACE = {"lockstep.h", "lockstep_text.h", "lockstep_check.h", "lockstep_serve.h"}


def room_of(path):
    """The room of a file: that of the nearest folder above it."""
    folder = os.path.dirname(path)
    while folder:
        if folder in FOLDER:
            return FOLDER[folder]
        folder = os.path.dirname(folder)
    return None


def circles(uses):
    """The files that reach themselves through those they include."""
    found = []
    for start in sorted(uses):
        seen, ahead = set(), set(uses[start])
        while ahead:
            at = ahead.pop()
            seen.add(at)
            ahead |= uses.get(at, set()) - seen
        if start in seen:
            found.append(start)
    return found


def main():
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))
    out = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"],
                         stdout=subprocess.PIPE, text=True, check=True).stdout
    files = {f for f in out.split("\n") if f and os.path.exists(f)}
    breaches = []
    for name, _, _, uses in ROOMS:
        for used in uses.split():
            if ORDER[used] >= ORDER[name]:
                breaches.append(f"tools/check_rooms.py: {name} uses {used}, which is drawn above it")
    design = open("docs/DESIGN.md", encoding="utf8").read()
    for name, _, _, _ in ROOMS:
        if not re.search(rf"(?<![a-z]){name}(?![a-z/])", design):
            breaches.append(f"docs/DESIGN.md: the room {name} is missing")
    within = {name: {} for name in ONE_WAY}
    for path in sorted(files):
        if not path.endswith((".c", ".h", ".comp", ".glsl")):
            continue
        me = room_of(path)
        text = open(path, encoding="utf8").read()
        for included in re.findall(r'^\s*#\s*include\s+"([^"]+)"', text, re.M):
            target = next((t for t in ("src/" + included, included) if t in files), None)
            if included in INTERFACE or included == "tools/models.def":
                continue
            if target is None:
                if included not in GENERATED and not included.endswith(".inc"):
                    breaches.append(f'{path}: "{included}" is no path from src or the top level')
                continue
            if included.endswith(".c"):
                breaches.append(f"{path}: includes {included}")
            if target.startswith("src/") and not included.count("/"):
                breaches.append(f'{path}: "{included}" names no room')
            other = room_of(target)
            pair = [os.path.splitext(os.path.basename(p))[0] for p in (path, target)]
            if me == other and me in ONE_WAY and pair[0] != pair[1]:
                within[me].setdefault(pair[0], set()).add(pair[1])
            if me is None or me == other:
                continue  # tests include what they like
            if other is None:
                breaches.append(f"{path}: includes {included}, which is in no room")
            elif os.path.basename(target) not in PUBLIC[other]:
                breaches.append(f"{path}: {included} is {other}'s own")
            elif other != "base" and other not in USES[me]:
                breaches.append(f"{path}: {me} does not use {other} ({included})")
    for name, uses in within.items():
        breaches += [f"{FOLDERS[name]}/{f}: includes itself through others" for f in circles(uses)]
    print("\n".join(breaches), end="\n" if breaches else "")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main())

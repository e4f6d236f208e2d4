#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the tok fuzz target. Usage: make_corpus_tok.py DIRECTORY."""
import os
import struct
import sys

U32, I32, F32, BOOL, STRING, ARRAY = 4, 5, 6, 7, 8, 9
FORMATS = {U32: "<I", I32: "<i", F32: "<f", BOOL: "<?"}

TEXTS = ["Hello  world, it's 12345!\n\n", "<|a|> <user>é e\u0301 日本語 \u00a0\u3000 👩‍👧 a▁b", "", "a \t\n\r x"]
NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def string(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def value(t, v):
    return string(v) if t == STRING else struct.pack(FORMATS[t], v)


def gguf(keys):
    out = b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys))
    for name, t, v in keys:
        out += string(name)
        if isinstance(v, list):
            out += struct.pack("<IIQ", ARRAY, t, len(v)) + b"".join(value(t, x) for x in v)
        else:
            out += struct.pack("<I", t) + value(t, v)
    return out


def spelled():
    others = [b for b in range(256) if not (32 < b < 127 or 160 < b < 256 and b != 173)]
    return [chr(256 + others.index(b)) if b in others else chr(b) for b in range(256)]


def vocabulary(model, pre, tokens, merges=(), template=None, **flags):
    keys = [("general.architecture", STRING, flags.pop("arch", "llama")), ("tokenizer.ggml.model", STRING, model),
            ("tokenizer.ggml.pre", STRING, pre), ("tokenizer.ggml.tokens", STRING, [t for t, _ in tokens]),
            ("tokenizer.ggml.token_type", I32, [k for _, k in tokens])]
    if model == "llama":
        keys.append(("tokenizer.ggml.scores", F32, [-float(i % 7) for i in range(len(tokens))]))
    else:
        keys.append(("tokenizer.ggml.merges", STRING, list(merges)))
    if template:
        keys.append(("tokenizer.chat_template", STRING, template))
    for name, v in flags.items():
        keys.append(("tokenizer.ggml." + name, BOOL if isinstance(v, bool) else U32, v))
    return gguf(keys)


def main():
    os.makedirs(sys.argv[1], exist_ok=True)
    special = [("<|a|>", CONTROL), ("<user>", USER), ("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("", NORMAL)]
    bpe = [(c, NORMAL) for c in spelled()] + [("he", NORMAL), ("ll", NORMAL), ("hell", NORMAL), ("ĠĠ", NORMAL)] + special
    merges = ["h e", "l l", "he ll", "Ġ Ġ"]
    few = [(c, NORMAL) for c in "abehlo\u0120\u010a<|>123"] + [("he", NORMAL), ("ll", NORMAL)] + special
    spm = [("<unk>", UNKNOWN), ("<s>", CONTROL)] + [(c, NORMAL) for c in "▁abehlo日"]
    spm += [("he", NORMAL), ("ll", UNUSED), ("hell", UNUSED), ("▁▁", USER), ("▁a", NORMAL)] + special
    files = {}
    for pre in ("gpt-2", "smollm", "llama-bpe", "qwen2", "deepseek-llm", "deepseek-coder", "falcon", "default"):
        files["bpe-" + pre] = vocabulary("gpt2", pre, few, ["h e", "l l"])
    files["bpe-all"] = vocabulary("gpt2", "command-r", bpe, merges, "<|im_start|>", eos_token_id=3, add_eos_token=True)
    files["bpe-unknown"] = vocabulary("gpt2", "none", few)
    files["bpe-merges"] = vocabulary("gpt2", "gpt-2", few, ["h x"])
    files["spm"] = vocabulary("llama", "default", spm, bos_token_id=1, unknown_token_id=0)
    files["spm-bytes"] = vocabulary("llama", "default", spm + [(f"<0x{b:02X}>", BYTE) for b in range(256)],
                                    add_space_prefix=False)
    files["spm-none"] = vocabulary("llama", "default", spm)
    files["spm-phi3"] = vocabulary("llama", "default", spm, arch="phi3", unknown_token_id=0)
    files["bert"] = vocabulary("bert", "default", spm, bos_token_id=1, unknown_token_id=0)
    for i, (name, file) in enumerate(files.items()):
        text = TEXTS[i % len(TEXTS)].encode() + (b"\xff\xc3" if i % 3 == 0 else b"")
        with open(os.path.join(sys.argv[1], name), "wb") as f:
            f.write(struct.pack("<H", len(text)) + text + file)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the seed corpus of the gguf fuzz target. Usage: make_corpus_gguf.py DIRECTORY."""
import os
import struct
import sys

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
FORMATS = dict(zip((U8, I8, U16, I16, U32, I32, F32, BOOL, U64, I64, F64), "BbHhIif?Qqd"))
BLOCKS = {0: (1, 4), 1: (1, 2), 2: (32, 18), 3: (32, 20), 6: (32, 22), 7: (32, 24), 8: (32, 34),
          9: (32, 40), 10: (256, 84), 11: (256, 110), 12: (256, 144), 13: (256, 176), 14: (256, 210),
          16: (256, 66), 17: (256, 74), 18: (256, 98), 19: (256, 50), 20: (32, 18), 21: (256, 110),
          22: (256, 82), 23: (256, 136), 29: (256, 56), 30: (1, 2), 34: (256, 54), 35: (256, 66),
          39: (32, 17), 40: (64, 36), 41: (128, 18), 42: (64, 18), 77: (1, 0)}


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(t, v):
    return string(v) if t == STRING else struct.pack("<" + FORMATS[t], v)


def key(name, t, v):
    out = string(name)
    if isinstance(v, list):
        return out + struct.pack("<IIQ", ARRAY, t, len(v)) + b"".join(value(t, x) for x in v)
    return out + struct.pack("<I", t) + value(t, v)


def gguf(keys, tensors=(), version=3, align=32, shift=0):
    """tensors: (name, type, dims). shift moves all tensors but the first towards the front."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    head += b"".join(key(*k) for k in keys)
    at = 0
    for i, (name, t, dims) in enumerate(tensors):
        block, size = BLOCKS[t]
        n = size
        for d in dims:
            n *= d
        n //= block
        head += string(name) + struct.pack("<I", len(dims))
        head += b"".join(struct.pack("<Q", d) for d in dims)
        head += struct.pack("<IQ", t, at - (shift if i else 0))
        at += -(-n // align) * align
    if tensors:
        head += bytes(-len(head) % align) + bytes(i * 7 & 255 for i in range(at))
    return head


SCALARS = [("k%d" % t, t, v) for t, v in
           ((U8, 200), (I8, -3), (U16, 60000), (I16, -300), (U32, 1 << 31), (I32, -1), (F32, .5),
            (BOOL, True), (STRING, "text"), (U64, 1 << 63), (I64, -(1 << 40)), (F64, 1e300))]
ARRAYS = [("a%d" % t, t, [v, v]) for _, t, v in SCALARS]
LLAMA = [("general.architecture", STRING, "llama"), ("general.name", STRING, "tiny"),
         ("llama.context_length", U32, 128), ("llama.embedding_length", U32, 32),
         ("llama.block_count", U32, 1), ("tokenizer.ggml.model", STRING, "gpt2"),
         ("tokenizer.ggml.tokens", STRING, ["a", "b", "ab"]),
         ("tokenizer.ggml.token_type", I32, [1, 1, 1]),
         ("tokenizer.ggml.merges", STRING, ["a b"])]
FILES = {
    "empty": gguf([]),
    "version2": gguf(SCALARS[:3], version=2),
    "version1": gguf(SCALARS[:3], version=1),
    "scalars": gguf(SCALARS),
    "arrays": gguf(ARRAYS),
    "vocabulary": gguf(LLAMA),
    "model": gguf(LLAMA, [("token_embd.weight", 8, [32, 3]), ("output_norm.weight", 0, [32]),
                          ("blk.0.attn_q.weight", 2, [32, 2])]),
    "types": gguf([], [("t%d" % t, t, [BLOCKS[t][0], 1]) for t in BLOCKS if t < 8]),
    "k_types": gguf([], [("t%d" % t, t, [256]) for t in (10, 11, 12)]),
    "k_types_more": gguf([], [("t%d" % t, t, [256]) for t in (13, 14, 23)]),
    "tables": gguf([], [("t%d" % t, t, [64]) for t in (20, 39, 40)]),
    "grids": gguf([], [("t%d" % t, t, [256])
                       for t in (16, 17, 18, 19, 21, 22, 29, 34, 35, 41, 42)]),
    "unsupported": gguf([], [("m", 9, [64]), ("u", 77, [7, 9])]),
    "aligned": gguf([("general.alignment", U32, 8)], [("a", 0, [3]), ("b", 1, [3])], align=8),
    "dims": gguf([], [("d", 0, [1, 2, 3, 2]), ("e", 30, [5, 1, 1])]),
    "split": gguf([("split.count", U16, 1), ("split.no", U16, 0), ("split.tensors.count", I32, 0)]),
    "long": gguf([("long", STRING, "\u00e9" * 300)]),
    "bad_split": gguf([("split.count", U16, 3), ("split.no", U16, 1)]),
    "bad_alignment": gguf([("general.alignment", U32, 24)]),
    "bad_duplicate": gguf([("k", U8, 1), ("k", U8, 2)]),
    "bad_overlap": gguf([], [("a", 0, [16]), ("b", 0, [16])], shift=32),
    "bad_names": gguf([], [("a", 0, [8]), ("a", 0, [8])]),
    "bad_row": gguf([], [("a", 12, [288])]),
}
for name, data in FILES.items():
    with open(os.path.join(sys.argv[1], name), "wb") as f:
        f.write(data)

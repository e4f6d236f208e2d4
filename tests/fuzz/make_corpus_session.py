#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the model session.gguf and the seed corpus of the session fuzz target.
Usage: make_corpus_session.py DIRECTORY-OF-MODEL DIRECTORY-OF-CORPUS."""
import hashlib
import os
import random
import struct
import sys

U32, F32, STRING = 4, 6, 8
TENSOR_F32, TENSOR_F16 = 0, 1
EMBD, VOCAB, CTX, BLOCK = 32, 16, 128, 64
K_BYTES, V_BYTES = BLOCK * (EMBD * 12 // 8 + 4), BLOCK * (EMBD + 4)  # of a block
NUMERICS = 2
SEAL, FINGERPRINT, PAD = 1, 2, 4  # what the target mends, by the input's first byte


def string(s):
    return struct.pack("<Q", len(s)) + s.encode()


def weights_digest(tensors):
    """SHA-256 over each tensor by rising name, as lockstep.h has it, of (name, type, shape, data)."""
    h = hashlib.sha256(b"lockstep weights 1")
    for name, kind, shape, data in sorted(tensors, key=lambda t: t[0].encode()):
        h.update(string(name) + struct.pack("<I4Q", kind, *(shape + [1] * 4)[:4]))
        h.update(hashlib.sha256(data).digest())
    return h.digest()


def model(rng):
    """One layer, one head, one KV head: its cache is 3328 bytes a block of K and 2304 of V. Returns head,
    file and the weights' digest."""
    keys = [("general.architecture", STRING, "llama"), ("llama.block_count", U32, 1),
            ("llama.context_length", U32, CTX), ("llama.embedding_length", U32, EMBD),
            ("llama.feed_forward_length", U32, EMBD), ("llama.attention.head_count", U32, 1),
            ("llama.attention.head_count_kv", U32, 1), ("llama.rope.dimension_count", U32, EMBD),
            ("llama.attention.layer_norm_rms_epsilon", F32, 1e-5)]
    names = ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"]
    tensors = [("token_embd.weight", VOCAB), ("output.weight", VOCAB), ("output_norm.weight", 0),
               ("blk.0.attn_norm.weight", 0), ("blk.0.ffn_norm.weight", 0)]
    tensors += [("blk.0.%s.weight" % n, EMBD) for n in names]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys))
    for name, kind, v in keys:
        head += string(name) + struct.pack("<I", kind)
        head += string(v) if kind == STRING else struct.pack("<I" if kind == U32 else "<f", v)
    data = b""
    weights = []
    for name, rows in tensors:
        shape, kind = [EMBD, rows] if rows else [EMBD], TENSOR_F16 if rows else TENSOR_F32
        head += string(name) + struct.pack("<I%dQ" % len(shape), len(shape), *shape)
        head += struct.pack("<IQ", kind, len(data))
        n = EMBD * (rows or 1)
        own = struct.pack("<%d%s" % (n, "e" if rows else "f"),
                          *[rng.gauss(0, 0.2) if rows else 1.0 for _ in range(n)])
        weights.append((name, kind, shape, own))
        data += own + bytes(-len(own) % 32)
    return head, head + bytes(-len(head) % 32) + data, weights_digest(weights)


def session(rng, fingerprint, n, logits, cache, own=b"", n_own=None):
    """A saved session of n tokens; without `cache` it ends where the cache would start. `own`: the
    program's bytes; n_own: how many there are said to be."""
    out = b"LKSESS03" + struct.pack("<IIQ", NUMERICS, 2, K_BYTES + V_BYTES)
    out += struct.pack("<6I", BLOCK, 12, 8, VOCAB, n, logits) + fingerprint
    out += struct.pack("<%di" % n, *[rng.randrange(VOCAB) for _ in range(n)])
    if logits:
        out += struct.pack("<%df" % VOCAB, *[rng.gauss(0, 1) for _ in range(VOCAB)])
    blocks = (n + BLOCK - 1) // BLOCK
    if cache:
        for upper, rest in ((EMBD, EMBD // 2), (EMBD, 0)):  # K, then V
            for _ in range(blocks):
                out += bytes(rng.randrange(-112, 113) & 255 for _ in range(upper * BLOCK))
                out += bytes(rng.randrange(256) for _ in range(rest * BLOCK))
                out += struct.pack("<%df" % BLOCK, *[rng.random() / 500 for _ in range(BLOCK)])
        out += own + struct.pack("<Q", len(own) if n_own is None else n_own)
        out += hashlib.sha256(out).digest()
    return out


def main():
    rng = random.Random(4)
    head, file, weights = model(rng)
    with open(os.path.join(sys.argv[1], "session.gguf"), "wb") as f:
        f.write(file)
    tail = struct.pack("<QI", len(file), NUMERICS)
    another = hashlib.sha256(b"another model").digest()
    fingerprint = hashlib.sha256(head + tail).digest() + weights  # both digests of the model
    other, retrained = another + weights, fingerprint[:32] + another
    seeds = {
        "whole": (0, fingerprint, 5, 1, True),
        "whole-empty": (0, fingerprint, 0, 0, True),
        "other-model": (SEAL, other, 3, 0, True),
        "other-weights": (SEAL, retrained, 3, 0, True),
        "empty": (SEAL | FINGERPRINT | PAD, other, 0, 0, False),
        "few": (SEAL | FINGERPRINT | PAD, other, 5, 1, False),
        "few-bare": (SEAL | FINGERPRINT | PAD, other, 9, 0, False),
        "block": (SEAL | FINGERPRINT | PAD, other, BLOCK, 1, False),
        "block-and-one": (SEAL | FINGERPRINT | PAD, other, BLOCK + 1, 1, False),
        "full": (SEAL | FINGERPRINT | PAD, other, CTX, 1, False),
        "too-many": (SEAL | FINGERPRINT | PAD, other, CTX + 1, 0, False),
        "cache": (SEAL | FINGERPRINT, other, 2, 1, True),
        "own": (SEAL | FINGERPRINT, other, 2, 1, True, b"a dialogue"),
        "own-alone": (SEAL | FINGERPRINT, other, 0, 0, True, b"a dialogue"),
        "own-too-many": (SEAL | FINGERPRINT, other, 1, 0, True, b"a dialogue", 1 << 63),
        "own-too-few": (SEAL | FINGERPRINT, other, 1, 0, True, b"a dialogue", 9),
        "cache-of-two": (SEAL | FINGERPRINT, other, BLOCK + 5, 1, True),
    }
    for name, (mend, *rest) in seeds.items():
        with open(os.path.join(sys.argv[2], name), "wb") as f:
            f.write(bytes([mend]) + session(rng, *rest))


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes quant.bin: blocks of each quantized type with the values that the `gguf` Python package
gives them, for tests/quant/test_quant.c. Usage: make_quant.py > quant.bin (needs gguf and numpy).

Layout, little-endian: "LKQ1", number of types; for each type: type, number of blocks, the blocks,
their values as f32; then the number of further blocks (of F16 and BF16 every pattern, of the
others bytes of splitmix64 seeded with the type number; scales without the largest exponent) and
the SHA-256 of their values.
"""
import hashlib
import struct
import sys

import numpy as np
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType as T
from gguf.quants import dequantize

# Where a block has f16 scales, as offsets in bytes.
SCALES = {
    T.F16: [0], T.BF16: [],
    T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0],
    T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208],
    T.IQ4_NL: [0], T.IQ4_XS: [0], T.MXFP4: [0],
    T.IQ3_S: [0], T.IQ3_XXS: [0], T.IQ2_S: [0], T.IQ2_XS: [0], T.IQ2_XXS: [0],
    T.IQ1_S: [0], T.IQ1_M: [48], T.TQ2_0: [64], T.TQ1_0: [52],
    T.NVFP4: [0, 1, 2, 3],
}
Q1_0, Q2_0 = 41, 42  # the package knows no values of theirs: see `values`
SCALES.update({Q1_0: [0], Q2_0: [0]})
SIZES = dict(GGML_QUANT_SIZES) | {Q1_0: (128, 18), Q2_0: (64, 18)}
E8M0 = (T.MXFP4,)  # scales of one byte
UE4M3 = (T.NVFP4,)  # the same; 127 is NaN, larger ones have a sign
SPREAD = (T.IQ1_M,)  # an f16 in the highest four bits of four u16
N_RANDOM = 1024


def splitmix64(seed, n_bytes):
    i = np.arange(1, (n_bytes + 7) // 8 + 1, dtype=np.uint64)
    z = np.uint64(seed) + i * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))).astype("<u8").view(np.uint8)[:n_bytes]


def finite(blocks, qtype):
    """Scales whose exponent is 31 (infinities and NaN) lose its highest bit; those of E8M0 are
    between 2^-50 and 2^39: smaller ones are read as 0, larger ones refused."""
    if qtype in E8M0:
        for at in SCALES[qtype]:
            blocks[:, at] = 78 + blocks[:, at] % 90
        return blocks
    if qtype in UE4M3:
        for at in SCALES[qtype]:
            blocks[:, at] %= 127
        return blocks
    if qtype in SPREAD:
        for at in SCALES[qtype]:
            high, low = blocks[:, at + 7], blocks[:, at + 5]
            high[((high & 0x70) == 0x70) & ((low & 0xC0) == 0xC0)] &= 0xBF
        return blocks
    for at in SCALES[qtype]:
        high = blocks[:, at + 1]
        high[(high & 0x7C) == 0x7C] &= 0xBF
    if qtype == T.BF16:
        high, low = blocks[:, 1], blocks[:, 0]
        high[((high & 0x7F) == 0x7F) & ((low & 0x80) != 0)] &= 0xBF
    return blocks


def extreme(qtype):
    """Every scale out of {0, -0, smallest and largest subnormal, largest, 1 + ulp} (of E8M0 and
    UE4M3: the smallest, the largest and some between) over bodies of all zeros, all ones, sign bits, largest
    positive bytes and alternating nibbles."""
    size = SIZES[qtype][1]
    scales = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x3C01]
    bodies = [0x00, 0xFF, 0x80, 0x7F, 0xF0, 0x0F]
    out = []
    few = SIZES[qtype][0] == 256
    for i, body in enumerate(bodies):
        for j, scale in enumerate(scales):
            if few and (i + j) % 3 != 0:
                continue
            block = np.full(size, body, dtype=np.uint8)
            for k, at in enumerate(SCALES[qtype]):
                if qtype in E8M0:
                    block[at] = [78, 167, 128, 79, 127, 166, 100][j]
                    continue
                if qtype in UE4M3:
                    block[at] = [0, 1, 7, 8, 126, 56, 57][(j + 2 * k) % 7]
                    continue
                if qtype in SPREAD:
                    for n in range(4):
                        part = scales[j] >> (4 * n) & 15
                        block[at + 2 * n + 1] = block[at + 2 * n + 1] & 15 | part << 4
                    continue
                block[at:at + 2] = np.frombuffer(
                    struct.pack("<H", scales[(j + 3 * k) % len(scales)]), dtype=np.uint8)
            out.append(block)
    return np.stack(out)


def values_of(blocks, qtype):
    """As ggml has them: bits that are d or -d, two bits that are q - 1 times d."""
    if qtype not in (Q1_0, Q2_0):
        return dequantize(blocks, qtype)
    bits = 1 if qtype == Q1_0 else 2
    d = blocks[:, :2].copy().view("<f2").astype(np.float32)
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    q = (blocks[:, 2:, None] >> shifts & (1 << bits) - 1).reshape(len(blocks), -1)
    q = q.astype(np.float32)
    return d * (2 * q - 1 if qtype == Q1_0 else q - 1)


def main():
    out = sys.stdout.buffer
    types = list(SCALES)
    out.write(b"LKQ1" + struct.pack("<I", len(types)))
    for qtype in types:
        size = SIZES[qtype][1]
        blocks = finite(splitmix64(1000 + qtype, 4 * size).reshape(4, size).copy(), qtype)
        if qtype not in (T.F16, T.BF16):
            blocks = np.concatenate([extreme(qtype), blocks])
        out.write(struct.pack("<II", qtype, len(blocks)) + blocks.tobytes())
        out.write(values_of(blocks, qtype).astype("<f4").tobytes())
        n = N_RANDOM if qtype not in (T.F16, T.BF16) else 1 << 16
        if qtype in (T.F16, T.BF16):  # every pattern, non-finite ones changed as above
            blocks = np.arange(n, dtype="<u2").view(np.uint8).reshape(n, 2).copy()
        else:
            blocks = splitmix64(qtype, n * size).reshape(n, size).copy()
        values = values_of(finite(blocks, qtype), qtype).astype("<f4")
        assert np.isfinite(values).all()
        out.write(struct.pack("<I", n) + hashlib.sha256(values.tobytes()).digest())


main()

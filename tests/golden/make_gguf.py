#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes small.gguf and small-0000K-of-00003.gguf into a directory with the writer of the `gguf`
Python package, for tests/gguf/test_model_file.c. Usage: make_gguf.py DIRECTORY."""
import os
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T
from gguf import GGUFWriter, GGUFValueType as V
from gguf.quants import quantize


def fill(w):
    w.add_name("small")
    w.add_context_length(77)
    for t, v in ((V.UINT8, 255), (V.INT8, -128), (V.UINT16, 65535), (V.INT16, -32768),
                 (V.UINT32, 2**32 - 1), (V.INT32, -2**31), (V.UINT64, 2**64 - 1),
                 (V.INT64, -2**63), (V.FLOAT32, 0.1), (V.FLOAT64, 0.1), (V.BOOL, True)):
        w.add_key_value("test." + t.name.lower(), v, t)
    w.add_array("test.words", ["alpha", "", "Grüße", "línea\n2", "日本語" * 40])
    w.add_array("test.numbers", [-1, 0, 70000])
    w.add_array("test.floats", [0.5, -1e-30])
    w.add_string("test.long", "é" * 200)
    w.add_string("test.control", "a\tb\\c\x07\x7f")
    rng = np.random.default_rng(1)
    for i, t in enumerate((T.F32, T.Q8_0, T.F16, T.Q4_0, T.BF16)):
        x = rng.standard_normal((3, 64)).astype(np.float32)
        w.add_tensor(f"t{i}.weight", quantize(x, t), raw_dtype=t)


def write(name, **options):
    path = Path(name)
    w = GGUFWriter(path, "llama", **options)
    fill(w)
    w.write_header_to_file(path)
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


os.chdir(sys.argv[1])
write("small.gguf")
write("small.gguf", split_max_tensors=2)

"""Golden bytes of GGUF block types, made by the Python package gguf. Run: python make_gguf.py

Inputs are made from integers (see `rows`; schemes.test.ts makes the same), so no input is stored. Writes gguf.json: for
each type the bytes of the special rows in hex, and the SHA-256 of the bytes and of the dequantized f32 values of a
256 x 256 tensor.
"""
import hashlib, json
from importlib.metadata import version
import numpy as np
import gguf

T = gguf.GGMLQuantizationType
WRITES = {"q4_0": T.Q4_0, "q4_1": T.Q4_1, "q5_0": T.Q5_0, "q5_1": T.Q5_1, "q8_0": T.Q8_0, "mxfp4": T.MXFP4, "f16": T.F16, "bf16": T.BF16}
READS = {"q6_k": T.Q6_K}

def scattered(count, seed):
    """Integers spread over -2^23 .. 2^23, exact in f32 when scaled by a power of two."""
    u = (np.arange(count, dtype=np.uint64) * 2654435761 + seed * 40503) % 2**32
    return ((u >> 8).astype(np.int64) - 2**23).astype(np.float32)

def special_rows():
    c = 64
    i = np.arange(c)
    rows = [
        np.zeros(c),                                   # zero blocks
        scattered(c, 1) * 2.0**-23,                    # plain
        scattered(c, 2) * 2.0**-8,                     # huge: up to 2^15
        scattered(c, 3) * 2.0**-83,                    # tiny: the f16 scale is 0
        scattered(c, 4) * 2.0**-40,                    # scales are f16 subnormals
        np.where(i % 32 == 5, -1.0, scattered(c, 5) * 2.0**-24),   # the largest magnitude is negative
        (i % 16) - 7.5,                                # ties
        (i % 17) * 0.5,                                # one-sided
        -((i % 13) * 0.25) - 1,                        # all negative
        np.full(c, 0.7109375),                         # constant
        np.where(i % 32 == 9, 8 - 2.0**-21, scattered(c, 6) * 2.0**-21),   # just below a power of two
        np.where(i % 32 == 9, 2.0**15 - 2.0**-9, scattered(c, 7) * 2.0**-9),
        np.where(i == 0, 1.0, 0.0),                    # one element and a zero block
        ((i * 7) % 25 - 12) / 4.0,                     # quarter steps: ties between e2m1 values
    ]
    return np.array(rows).astype(np.float32)

def digest(a): return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()

small = special_rows()
large = (scattered(65536, 11) * 2.0**-23).reshape(256, 256).astype(np.float32)
result = {"versions": {"gguf": version("gguf"), "numpy": np.__version__}, "types": {}}
with np.errstate(all="ignore"):
    for name, t in WRITES.items():
        raw = [gguf.quantize(r[None, :], t).view(np.uint8).tobytes().hex() for r in small]
        packed = gguf.quantize(large, t)
        values = gguf.dequantize(packed, t).astype(np.float32)
        result["types"][name] = {"special": raw, "large": digest(packed.view(np.uint8)), "largeValues": digest(values)}
    for name, t in READS.items():
        size = gguf.GGML_QUANT_SIZES[t][1]
        raw = ((np.arange(4 * size, dtype=np.uint64) * 2654435761) >> 7).astype(np.uint8).reshape(1, -1)
        raw[0, size - 1 :: size] &= 0x3B               # keep the f16 scales finite
        values = gguf.dequantize(raw, t).astype(np.float32)
        result["types"][name] = {"bytes": raw.tobytes().hex(), "values": digest(values)}
with open("gguf.json", "w") as f: json.dump(result, f, indent=0)

"""Golden data for number formats, made by ml_dtypes and numpy. Run: python make_formats.py

Writes formats.json: the values of every code of the small formats, SHA-256 digests of the values of f16 and bf16, and
digests of the codes that ml_dtypes gives for (a) every float16, (b) every bfloat16, (c) 200000 scattered float32 inputs.
Inputs that are NaN are left out, and for float8_e8m0fnu also those below 2**-126, where ml_dtypes does not round to
nearest (0x1p-127 < x < 0x1p-126 always goes up).
"""
import hashlib, json
import ml_dtypes, numpy as np

FORMATS = {
    "e5m2": ml_dtypes.float8_e5m2, "e4m3fn": ml_dtypes.float8_e4m3fn, "e3m2": ml_dtypes.float6_e3m2fn,
    "e2m3": ml_dtypes.float6_e2m3fn, "e2m1": ml_dtypes.float4_e2m1fn, "e8m0": ml_dtypes.float8_e8m0fnu,
    "e4m3": ml_dtypes.float8_e4m3, "e4m3fnuz": ml_dtypes.float8_e4m3fnuz, "e5m2fnuz": ml_dtypes.float8_e5m2fnuz,
    "e4m3b11fnuz": ml_dtypes.float8_e4m3b11fnuz, "e3m4": ml_dtypes.float8_e3m4,
    "int4": ml_dtypes.int4, "uint4": ml_dtypes.uint4, "int2": ml_dtypes.int2, "uint2": ml_dtypes.uint2,
    "f16": np.float16, "bf16": ml_dtypes.bfloat16,
}
BITS = {"e3m2": 6, "e2m3": 6, "e2m1": 4, "int4": 4, "uint4": 4, "int2": 2, "uint2": 2, "f16": 16, "bf16": 16}

def text(x):
    if np.isnan(x): return "nan"
    if np.isinf(x): return "inf" if x > 0 else "-inf"
    if x == 0 and np.signbit(x): return "-0"
    return repr(float(x)).removesuffix(".0")

def sha(a): return hashlib.sha256(np.ascontiguousarray(a).tobytes()).hexdigest()

u16 = np.arange(65536, dtype=np.uint16)
inputs = {
    "f16": u16.view(np.float16).astype(np.float32),
    "bf16": u16.view(ml_dtypes.bfloat16).astype(np.float32),
    "f32": ((np.arange(200000, dtype=np.uint64) * 2654435761 + 12345) % 2**32).astype(np.uint32).view(np.float32),
}
result = {"versions": {"ml_dtypes": ml_dtypes.__version__, "numpy": np.__version__}, "values": {}, "valueDigests": {}, "encodeDigests": {}}
for name, dtype in FORMATS.items():
    bits = BITS.get(name, 8)
    word = np.uint16 if bits == 16 else np.uint8
    codes = np.arange(2**bits, dtype=word)
    values = codes.view(dtype).astype(np.float32)
    if bits <= 8: result["values"][name] = [text(v) for v in values]
    else: result["valueDigests"][name] = sha(np.where(np.isnan(values), np.float32(0), values))
    if name.startswith(("int", "uint")): continue
    result["encodeDigests"][name] = {}
    with np.errstate(all="ignore"):
        for kind, x in inputs.items():
            keep = ~np.isnan(x)
            if name == "e8m0": keep &= ~((x > 0) & (x < np.float32(2.0**-126)))
            result["encodeDigests"][name][kind] = sha(x[keep].astype(dtype).view(word))
with open("formats.json", "w") as f: json.dump(result, f, indent=0)

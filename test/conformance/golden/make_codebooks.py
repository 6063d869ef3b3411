"""Golden lists of value-list formats, made by bitsandbytes, and of posits, made by SoftPosit (package softposit).
Run: python make_codebooks.py bitsandbytes > bnb.json   (an environment with bitsandbytes and torch)
     python make_codebooks.py softposit  > posit.json   (one with softposit and numpy)

SoftPosit's `PX2` is the 2022 standard's posit (es = 2) of any width, left-aligned in 32 bits. posit.json holds SHA-256
digests of the decoded values of n = 3..16 (little-endian binary64, NaR as 0) and of the codes of scattered binary64
inputs (see `inputs`), and for n = 32 the codes alone.
"""
import hashlib, json, sys
from importlib.metadata import version

def bnb():
    import torch
    from bitsandbytes import functional as F
    lists = {"nf4": F.get_4bit_type("nf4", device="cpu"), "bnb-fp4": F.get_4bit_type("fp4", device="cpu"),
             "af4": F.get_4bit_type("af4", device="cpu"), "dynamic8": F.create_dynamic_map(signed=True), "udynamic8": F.create_dynamic_map(signed=False)}
    return {"versions": {"bitsandbytes": version("bitsandbytes"), "torch": torch.__version__},
            "values": {k: [float(v) for v in t] for k, t in lists.items()}}

def posit():
    import numpy as np, softposit as sp
    raw = sp._softposit
    def code(x, n): return sp.convertDoubleToPX2(float(x), n).v >> (32 - n)
    def value(c, n):
        p = sp.convertDoubleToPX2(0.0, n); p.v = c << (32 - n)
        return sp.convertPX2ToDouble(p)
    i = np.arange(20000, dtype=np.uint64)
    u = (i * 2654435761 + 977) % 2**32
    inputs = ((u >> 8).astype(np.float64) / 2**24 + 1) * np.exp2(((u & 127).astype(np.float64) - 64)) * np.where(u & 128, -1, 1)
    result = {"versions": {"softposit": version("softposit")}, "values": {}, "codes": {}}
    for n in list(range(3, 17)) + [32]:
        if n <= 16:
            v = np.array([0.0 if c == 2 ** (n - 1) else value(c, n) for c in range(2**n)])
            result["values"][n] = hashlib.sha256(v.astype("<f8").tobytes()).hexdigest()
        result["codes"][n] = hashlib.sha256(np.array([code(x, n) for x in inputs], dtype="<u4").tobytes()).hexdigest()
    return result

json.dump(bnb() if sys.argv[1] == "bitsandbytes" else posit(), sys.stdout, indent=0)

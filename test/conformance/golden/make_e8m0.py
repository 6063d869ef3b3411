"""Golden E8M0 codes by ml_dtypes. Run: python make_e8m0.py > e8m0.json
For every float16 and every bfloat16 (as float32): SHA-256 of the bytes of float8_e8m0fnu."""
import hashlib, json, sys
import ml_dtypes, numpy as np
u = np.arange(65536, dtype=np.uint16)
with np.errstate(all="ignore"):
    sets = {"f16": u.view(np.float16).astype(np.float32), "bf16": u.view(ml_dtypes.bfloat16).astype(np.float32)}
    out = {k: hashlib.sha256(x.astype(ml_dtypes.float8_e8m0fnu).view(np.uint8).tobytes()).hexdigest() for k, x in sets.items()}
json.dump({"version": ml_dtypes.__version__, "digests": out}, sys.stdout, indent=0)

"""What the authors' HQQ leaves of a small matrix. Run: python make_hqq.py PATH_TO_HQQ > hqq.json   (torch, numpy)

PATH_TO_HQQ is the unpacked source distribution of hqq (PyPI); its Quantizer runs as it is, on the CPU, in f32, with groups along
rows (axis=1). `weights` is 6 x 192, Student's t with 4 degrees of freedom as large as weights are, exact in f16. For each case: the
sums over the matrix of |w - w'|^0.7, |w - w'| and (w - w')^2 with its proximal solver, and without (min and max alone).
"""
import json, os, re, sys, types

import numpy as np, torch

path = sys.argv[1]
# The package's __init__ imports models and kernels that are of no use here.
for name, folder in {"hqq": "hqq", "hqq.core": "hqq/core"}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [os.path.join(path, folder)]
sys.modules.setdefault("termcolor", types.SimpleNamespace(colored=lambda text, *_: text))
from hqq.core.quantize import Quantizer

weights = (np.random.default_rng(3).standard_t(4, (6, 192)) * 0.03).astype(np.float16).astype(np.float32)


def errors(bits, group, optimize):
    codes, meta = Quantizer.quantize(
        torch.from_numpy(weights), nbits=bits, group_size=group, axis=1, optimize=optimize, bitpack=False, device="cpu"
    )
    meta["compute_dtype"] = torch.float32
    e = np.abs(weights - Quantizer.dequantize(codes, meta).numpy()).astype(np.float64)
    return {"p0.7": (e**0.7).sum(), "p1": e.sum(), "p2": (e**2).sum()}


cases = [
    {"bits": bits, "group": group, "hqq": errors(bits, group, True), "rule": errors(bits, group, False)}
    for bits, group in [(2, 64), (3, 64), (4, 32), (4, 64), (5, 32)]
]
version = re.search(r"^Version: (.*)$", open(os.path.join(path, "PKG-INFO")).read(), re.M).group(1)
versions = {"hqq": version, "torch": torch.__version__, "numpy": np.__version__}
head = json.dumps({"versions": versions, "cases": cases}, indent=1)[:-2]
print(f'{head},\n "weights": {json.dumps([float(f"{w:.9g}") for w in weights.ravel()])}\n}}')

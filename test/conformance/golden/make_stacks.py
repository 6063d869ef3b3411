"""Golden bytes of block formats, made by the stacks themselves on CPU. Run: python make_stacks.py
(an environment with torch, torchao, compressed-tensors and auto-round)

Inputs are made from integers (`special_rows`, `large`; schemes-stacks.test.ts makes the same). stacks.json holds for each
scheme NAME@STACK the SHA-256 of the block scales' bytes followed by one byte for each element code (for auto-round: of
the dequantized f32 values, as it keeps no codes), once for the special rows and once for the large tensor.
"""
import hashlib, importlib.util, json, sys
from importlib.metadata import version
import numpy as np
import torch

E2M1 = torch.tensor([0, 0.5, 1, 1.5, 2, 3, 4, 6])

def scattered(count, seed, power):
    u = (np.arange(count, dtype=np.uint64) * 2654435761 + seed * 40503) % 2**32
    return (((u >> 8).astype(np.int64) - 2**23).astype(np.float64) * 2.0**power).astype(np.float32)

def special_rows():
    c, i = 64, np.arange(64)
    rows = [scattered(c, 1, -23), scattered(c, 2, -5), scattered(c, 3, -60), scattered(c, 5, -24), (i % 16) - 7.5, (i % 17) * 0.5,
            np.full(c, 0.7109375), np.where(i % 32 == 9, 1.75, 0.25), np.where(i % 32 == 3, 1.875, 0.1), np.where(i % 32 == 3, 7.25, 1.0),
            np.where(i % 32 == 4, 448.0, 3.0), np.where(i % 32 == 4, 449.0, 3.0), np.where(i % 32 == 4, 6.0, 1.0), np.where(i % 32 == 4, 6.0001, 1.0),
            ((i * 7) % 25 - 12) / 4.0, np.where(i < 32, 0.0, 1.0 + i / 64)]
    return np.array(rows).astype(np.float32)

def digest(*parts):
    h = hashlib.sha256()
    for p in parts: h.update(np.ascontiguousarray(p).tobytes())
    return h.hexdigest()

def unpack4(q): return np.stack([q & 15, q >> 4], axis=-1).reshape(q.shape[0], -1)

def e2m1_codes(v):
    """Codes of values that are e2m1 already; -0 counts as 0, as a value has no better."""
    v = v.float()
    c = (v.abs().unsqueeze(-1) == E2M1).float().argmax(-1).to(torch.uint8)
    return torch.where((v < 0), c + 8, c).numpy()

small, large = torch.from_numpy(special_rows()), torch.from_numpy(scattered(65536, 11, -23).reshape(256, 256))
result = {"versions": {p: version(p) for p in ("torch", "torchao", "compressed-tensors", "auto-round")}, "codes": {}, "values": {}}

from torchao.prototype.mx_formats.mx_tensor import to_mx
from torchao.prototype.mx_formats.config import ScaleCalculationMode as Mode
from torchao.prototype.mx_formats.constants import DTYPE_FP6_E2M3, DTYPE_FP6_E3M2
from torchao.prototype.mx_formats.nvfp4_tensor import nvfp4_quantize, per_tensor_amax_to_scale
DTYPES = {"mxfp4": torch.float4_e2m1fn_x2, "mxfp6-e2m3": DTYPE_FP6_E2M3, "mxfp6-e3m2": DTYPE_FP6_E3M2, "mxfp8": torch.float8_e4m3fn, "mxfp8-e5m2": torch.float8_e5m2}
for stack, mode in {"torchao": Mode.FLOOR, "torchao-ceil": Mode.CEIL, "torchao-even": Mode.EVEN, "torchao-rceil": Mode.RCEIL}.items():
    for name, dtype in DTYPES.items():
        out = []
        for x in (small, large):
            scale, q = to_mx(x.clone(), dtype, 32, mode)
            q = q.view(torch.uint8).numpy()
            out.append(digest(scale.view(torch.uint8).numpy(), unpack4(q) if name == "mxfp4" else q))
        result["codes"][f"{name}@{stack}"] = out
out = []
for x in (small, large):
    scale, q = nvfp4_quantize(x.clone(), 16, per_tensor_amax_to_scale(x.abs().max()))
    out.append(digest(scale.view(torch.uint8).numpy(), unpack4(q.view(torch.uint8).numpy())))
result["codes"]["nvfp4@torchao"] = out

from compressed_tensors.quantization import QuantizationArgs
from compressed_tensors.quantization.utils.helpers import calculate_qparams, generate_gparam
from compressed_tensors.quantization.utils.mxfp_utils import generate_mx_scales
from compressed_tensors.quantization.utils.fp4_utils import cast_to_fp4
fp4 = getattr(cast_to_fp4, "__wrapped__", cast_to_fp4)
for name, bits in {"mxfp4": 4, "mxfp8": 8}.items():
    out = []
    for x in (small, large):
        groups = x.reshape(x.shape[0], -1, 32)
        code = generate_mx_scales(groups.abs().amax(-1), bits).clamp(0, 254)     # log2(0) = -inf: code 0
        scaled = groups / torch.exp2(code - 127).unsqueeze(-1)
        if bits == 4: q = e2m1_codes(fp4(scaled.clamp(-6, 6).clone())).reshape(x.shape)
        else: q = scaled.clamp(-448, 448).to(torch.float8_e4m3fn).view(torch.uint8).numpy().reshape(x.shape)
        out.append(digest(code.to(torch.uint8).numpy(), q))
    result["codes"][f"{name}@compressed-tensors"] = out
args = QuantizationArgs(num_bits=4, type="float", strategy="tensor_group", group_size=16, symmetric=True, scale_dtype=torch.float8_e4m3fn, zp_dtype=torch.float8_e4m3fn)
out = []
for x in (small, large):
    g = generate_gparam(x.min(), x.max())
    groups = x.reshape(x.shape[0], -1, 16)
    scale, _ = calculate_qparams(groups.amin(-1), groups.amax(-1), args, global_scale=g)
    scale = scale.float()
    scaled = groups / (scale / g).unsqueeze(-1)
    q = e2m1_codes(fp4(scaled.clamp(-6, 6).clone())).reshape(x.shape)
    out.append(digest(scale.to(torch.float8_e4m3fn).view(torch.uint8).numpy(), q))
result["codes"]["nvfp4@compressed-tensors"] = out

# auto-round's package imports its whole training stack; the two modules needed here stand alone.
import types
root = importlib.util.find_spec("auto_round").submodule_search_locations[0]
for name, path in {"auto_round": root, "auto_round.data_type": root + "/data_type"}.items():
    package = types.ModuleType(name)
    package.__path__ = [path]
    sys.modules[name] = package
class Stubs:
    """Every module of auto_round outside of data_type, empty."""
    def find_spec(self, name, path=None, target=None):
        if name.startswith("auto_round.") and not name.startswith("auto_round.data_type"):
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
    def create_module(self, spec): return None
    def exec_module(self, module):
        def anything(attribute):
            if attribute.startswith("__"): raise AttributeError(attribute)
            return lambda *arguments, **options: None
        module.__getattr__ = anything
sys.meta_path.insert(0, Stubs())
from auto_round.data_type.mxfp import quant_mx
from auto_round.data_type.nvfp import calculate_gparam, cast_to_fp4 as ar_fp4, get_reciprocal, ref_nvfp4_quant
out = []
for x in (small, large):
    g = calculate_gparam(x)
    groups = x.reshape(-1, 16)
    _, scale = ref_nvfp4_quant(groups, g)
    inverse = get_reciprocal(scale * get_reciprocal(g))
    q = e2m1_codes(ar_fp4((groups * inverse).clamp(-6, 6)))
    out.append(digest(scale.to(torch.float8_e4m3fn).view(torch.uint8).numpy(), q))
result["codes"]["nvfp4@auto-round"] = out
for name, kind in {"mxfp4": "mx_fp4e2m1", "mxfp6-e2m3": "mx_fp6e2m3", "mxfp6-e3m2": "mx_fp6e3m2", "mxfp8": "mx_fp8e4m3"}.items():
    out = []
    for x in (small, large):
        v, e, _ = quant_mx(x.clone(), group_size=32, data_type=kind)
        out.append(digest(v.numpy() + np.float32(0)))
    result["values"][f"{name}@auto-round"] = out
with open("stacks.json", "w") as f: json.dump(result, f, indent=0)

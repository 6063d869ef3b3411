"""Golden bytes of MatMulNBits weights, made by ONNX Runtime's own quantizer. Run: python make_onnx.py
(an environment with numpy, onnx, onnx_ir, onnxruntime; inputs are those of make_stacks.py)

onnx.json holds for each scheme NAME@onnx the SHA-256 of the f32 scales' bytes, one byte for each element code and one for each zero
point (where there are any; nibbles that only fill up a byte are left out), once for the special rows and once for the large tensor.
"""
import hashlib, json, re
from importlib.metadata import version
from pathlib import Path
import numpy as np
from onnxruntime.quantization.matmul_nbits_quantizer import DefaultWeightOnlyQuantConfig, DefaultWeightOnlyQuantizer

source = (Path(__file__).parent / "make_stacks.py").read_text()
exec(source[source.index("def scattered"):source.index("def digest")])  # scattered, special_rows

NAMES = ["int4-g32", "int4-g32-asym", "int4-g64", "int4-g128-asym", "int8-g32", "int8-g64-asym"]

def digest(x, bits, per, symmetric):
    config = DefaultWeightOnlyQuantConfig(block_size=per, is_symmetric=symmetric, bits=bits)
    packed, scales, zero_points = DefaultWeightOnlyQuantizer(config).qbits_block_quant(np.ascontiguousarray(x.T))
    rows, columns = x.shape
    def unpack(q, count):
        q = q.reshape(rows, -1)
        return (q if bits == 8 else np.stack([q & 15, q >> 4], axis=-1).reshape(rows, -1))[:, :count]
    h = hashlib.sha256()
    for part in (scales, unpack(packed, columns), *([] if symmetric else [unpack(zero_points, -(-columns // per))])):
        h.update(np.ascontiguousarray(part).tobytes())
    return h.hexdigest()

codes = {}
for name in NAMES:
    bits, per, asymmetric = re.fullmatch(r"int(\d)-g(\d+)(-asym)?", name).groups()
    inputs = special_rows(), scattered(65536, 11, -23).reshape(256, 256)
    codes[f"{name}@onnx"] = [digest(x, int(bits), int(per), asymmetric is None) for x in inputs]
result = {"versions": {p: version(p) for p in ("numpy", "onnx", "onnxruntime")}, "codes": codes}
(Path(__file__).parent / "onnx.json").write_text(json.dumps(result, indent=2) + "\n")

"""Golden containers, as base64 in JSON: a GGUF file by Python gguf (values by its dequantizer) and safetensors files by
Python safetensors. Made with gguf 0.19.0, safetensors 0.8.0 (see "versions" in the output), numpy, ml_dtypes.

    python make_containers.py > containers.json
"""
import base64, importlib.metadata, json, os, tempfile
import numpy as np
import gguf
from gguf import GGMLQuantizationType as T, GGUFValueType as V
from gguf import quants

rng = np.random.default_rng(7)
b64 = lambda data: base64.b64encode(bytes(data)).decode()
COLUMNS, ROWS = 256, 2


def weights(rows, columns):
    w = rng.standard_normal((rows, columns)).astype(np.float32) * np.float32(0.05)
    w[0, :32] = 0
    w[0, 32] = 3.5
    w[-1, -32:] = np.linspace(-1, 1, 32, dtype=np.float32)
    return w


def blocks(kind, rows, columns):
    """Random bytes with sane scales, for types that gguf does not quantize."""
    elements, size = gguf.GGML_QUANT_SIZES[kind]
    count = rows * columns // elements
    data = rng.integers(0, 256, (count, size), dtype=np.uint8)
    halves = {T.Q2_K: [80, 82], T.Q3_K: [108], T.Q4_K: [0, 2], T.Q5_K: [0, 2], T.Q6_K: [208], T.IQ4_NL: [0], T.IQ4_XS: [0]}
    for at in halves.get(kind, []):
        d = (rng.standard_normal(count) * 0.01).astype(np.float16)
        data[:, at : at + 2] = d.view(np.uint8).reshape(count, 2)
    if kind == T.NVFP4:
        data[:, :4] &= 0x7F
        data[:, :4][data[:, :4] == 0x7F] = 0x38
    return data.reshape(rows, columns // elements * size)


def gguf_file():
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "golden.gguf")
        w = gguf.GGUFWriter(path, "llama")
        w.add_uint8("k.u8", 200)
        w.add_int8("k.i8", -100)
        w.add_uint16("k.u16", 60000)
        w.add_int16("k.i16", -30000)
        w.add_uint32("k.u32", 4_000_000_000)
        w.add_int32("k.i32", -2_000_000_000)
        w.add_float32("k.f32", 0.1)
        w.add_uint64("k.u64", 2**64 - 1)
        w.add_int64("k.i64", -(2**63))
        w.add_key_value("k.u64.small", 5, V.UINT64)
        w.add_float64("k.f64", 0.1)
        w.add_bool("k.bool", True)
        w.add_string("k.string", "Grüße, 世界 🙂\n\u0000.")
        w.add_array("k.strings", ["", "a b", "▁the"])
        w.add_array("k.bools", [True, False])
        w.add_array("k.floats", [0.5, 0.1])
        w.add_array("k.ints", [-1, 2, 3])
        w.add_key_value("k.bytes", [1, 2, 255], V.ARRAY, sub_type=V.UINT8)
        w.add_array("k.nested", [[1, 2], [3]])
        w.add_quantization_version(2)
        w.add_file_type(2)
        values = {}
        source = weights(ROWS, COLUMNS)
        for kind in (T.F32, T.F16, T.BF16, T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0, T.MXFP4):
            data = quants.quantize(source, kind)
            w.add_tensor(f"{kind.name}.weight", data, raw_dtype=kind)
            values[kind.name] = quants.dequantize(data, kind).astype(np.float32)
        # A majority for the file type, three axes, and an odd length that needs padding.
        big = weights(8, 768)
        data = quants.quantize(big, T.Q4_0)
        w.add_tensor("three.weight", data.reshape(2, 4, -1), raw_dtype=T.Q4_0)
        norm = weights(1, 77)[0]
        w.add_tensor("norm.weight", norm)
        w.write_header_to_file()
        w.write_kv_data_to_file()
        w.write_tensors_to_file()
        w.close()
        return {
            "file": b64(open(path, "rb").read()),
            "source": b64(source.tobytes()),
            "three": b64(big.tobytes()),
            "norm": b64(norm.tobytes()),
            "values": {name: b64(v.tobytes()) for name, v in values.items()},
        }


def gguf_read_only():
    """Types whose bytes gguf only decodes."""
    kinds = [T.Q6_K, T.NVFP4, T.Q2_K, T.Q3_K, T.Q4_K, T.Q5_K, T.IQ4_NL, T.IQ4_XS]
    found = {}
    for kind in kinds:
        data = blocks(kind, ROWS, COLUMNS)
        found[kind.name] = {"data": b64(data.tobytes()), "values": b64(quants.dequantize(data, kind).astype(np.float32).tobytes())}
    for kind in (T.TQ1_0, T.TQ2_0):
        w = rng.integers(-1, 2, (ROWS, COLUMNS)).astype(np.float32) * np.float32(0.75)
        data = quants.quantize(w, kind)
        found[kind.name] = {"data": b64(data.tobytes()), "values": b64(quants.dequantize(data, kind).astype(np.float32).tobytes())}
    return found


def safetensors_file():
    """All dtypes that Python safetensors writes through its raw interface."""
    from safetensors import TensorSpec, serialize
    import ml_dtypes

    kept = []

    def spec(word, shape, data):
        kept.append(data)
        return TensorSpec(dtype=word, shape=list(shape), data_ptr=data.ctypes.data, data_len=data.nbytes)

    w = weights(4, 72)[:, 30:54]
    names = {
        "F32": (np.float32, "float32"), "F64": (np.float64, "float64"), "F16": (np.float16, "float16"),
        "BF16": (ml_dtypes.bfloat16, "bfloat16"), "I64": (np.int64, "int64"), "I32": (np.int32, "int32"),
        "I16": (np.int16, "int16"), "I8": (np.int8, "int8"), "U8": (np.uint8, "uint8"), "U16": (np.uint16, "uint16"),
        "U32": (np.uint32, "uint32"), "U64": (np.uint64, "uint64"), "BOOL": (np.bool_, "bool"),
        "F8_E4M3": (ml_dtypes.float8_e4m3fn, "float8_e4m3fn"), "F8_E5M2": (ml_dtypes.float8_e5m2, "float8_e5m2"),
        "C64": (np.complex64, "complex64"),
    }
    tensors, values = {}, {}
    for name, (dtype, word) in names.items():
        x = w if "F" in name or name == "C64" else np.abs(w * 20)
        data = np.ascontiguousarray(x.astype(dtype))
        tensors[f"t.{name}"] = spec(word, data.shape, data)
        if name in ("F32", "F64", "F16", "BF16"):
            values[name] = b64(data.astype(np.float32).tobytes())
    for name, (word, columns) in {
        "F8_E8M0": ("float8_e8m0fnu", 24), "F8_E4M3FNUZ": ("float8_e4m3fnuz", 24),
        "F8_E5M2FNUZ": ("float8_e5m2fnuz", 24), "F4": ("float4_e2m1fn_x2", 12),
    }.items():
        tensors[f"t.{name}"] = spec(word, [4, columns], rng.integers(0, 255, (4, columns), dtype=np.uint8))
    tensors["empty"] = spec("float32", [0, 3], np.zeros(0, np.float32))
    tensors["scalar"] = spec("float32", [], np.full(1, 1.5, np.float32))
    return {"file": b64(serialize(tensors, metadata={"format": "pt", "note": 'a "quoted" ü'})), "values": values}


packages = ("gguf", "safetensors", "numpy", "ml_dtypes")
print(json.dumps({
    "versions": {name: importlib.metadata.version(name) for name in packages},
    "gguf": gguf_file(),
    "ggufReadOnly": gguf_read_only(),
    "safetensors": safetensors_file(),
}, indent=1))

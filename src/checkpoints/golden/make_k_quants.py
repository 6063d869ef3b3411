"""Golden blocks of ggml's reference quantizers for types that Python gguf does not quantize, as base64 in JSON.

Made with ggml d99724f (2026-08-21), gcc 12 on x86-64, without fused multiply-adds:

    gcc -O2 -ffp-contract=off -fPIC -shared -Iinclude -Isrc src/ggml-quants.c -o libq.so -lm
    python make_k_quants.py libq.so > k-quants.json
"""
import base64, ctypes, json, os, sys
import numpy as np

lib = ctypes.CDLL(sys.argv[1], mode=os.RTLD_LAZY)
BLOCK = {"q2_k": 84, "q3_k": 110, "q4_k": 144, "q5_k": 176, "q6_k": 210, "iq4_xs": 136, "tq1_0": 54, "tq2_0": 66}
NAMES = {name: f"quantize_row_{name.replace('_k', '_K')}_ref" for name in BLOCK}
b64 = lambda data: base64.b64encode(bytes(data)).decode()
rng = np.random.default_rng(11)


def source():
    """16 super-blocks: normal, uniform, heavy-tailed, shifted, one-sided, sparse, tiny, with zero groups, constant."""
    rows = [
        rng.standard_normal(256) * 0.02,
        rng.standard_normal(256) * 3,
        rng.uniform(-1, 1, 256),
        rng.standard_t(2, 256) * 0.05,
        rng.standard_normal(256) * 0.1 + 0.7,
        -np.abs(rng.standard_normal(256)),
        np.abs(rng.standard_normal(256)) + 0.25,
        np.where(rng.uniform(size=256) < 0.1, rng.standard_normal(256), 0),
        rng.standard_normal(256) * 1e-5,
        np.concatenate([np.zeros(64), rng.standard_normal(128), np.zeros(64)]),
        np.full(256, 0.3),
        np.zeros(256),
        np.round(rng.standard_normal(256) * 4) / 8,
        np.linspace(-1, 1, 256),
        rng.standard_normal(256) * np.repeat(2.0 ** rng.integers(-8, 3, 16), 16),
        rng.integers(-1, 2, 256) * 0.5,
    ]
    return np.concatenate(rows).astype(np.float32)


x = source()
data = x.ctypes.data_as(ctypes.c_void_p)
blocks = {}
for name, size in BLOCK.items():
    out = np.zeros(x.size // 256 * size, np.uint8)
    getattr(lib, NAMES[name])(data, out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(x.size))
    blocks[name] = b64(out.tobytes())
# llama-quantize calls this one, with a search; the _ref function does not search.
out = np.zeros(x.size // 32 * 18, np.uint8)
lib.quantize_iq4_nl(data, out.ctypes.data_as(ctypes.c_void_p), ctypes.c_int64(1), ctypes.c_int64(x.size), None)
blocks["iq4_nl"] = b64(out.tobytes())
print(json.dumps({"ggml": "d99724f", "source": b64(x.tobytes()), "blocks": blocks}, indent=1))

"""The casts of bench/casts.ts with ml_dtypes, NumPy and gfloat: one JSON object on standard output.

    python casts.py ELEMENTS REPEATS

Processor times, medians over REPEATS calls on one thread; `elementsPerSecond` by name of the cast, with the versions.
"""
import json
import os
import statistics
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np


def rate(run, elements, repeats):
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return elements / statistics.median(times)


def main():
    elements, repeats = int(sys.argv[1]), int(sys.argv[2])
    x = np.random.default_rng(1).standard_normal(elements).astype(np.float32)
    result = {"versions": {"python": sys.version.split()[0], "numpy": np.__version__}, "elementsPerSecond": {}}
    rates = result["elementsPerSecond"]
    try:
        import ml_dtypes

        result["versions"]["ml_dtypes"] = ml_dtypes.__version__
        types = {
            "e4m3fn": ml_dtypes.float8_e4m3fn,
            "e5m2": ml_dtypes.float8_e5m2,
            "e2m1": ml_dtypes.float4_e2m1fn,
            "bf16": ml_dtypes.bfloat16,
        }
        for name, dtype in types.items():
            codes = x.astype(dtype)
            rates[f"ml_dtypes {name} encode"] = rate(lambda: x.astype(dtype), elements, repeats)
            rates[f"ml_dtypes {name} decode"] = rate(lambda: codes.astype(np.float32), elements, repeats)
    except ImportError as error:
        result["ml_dtypes"] = f"skipped, because {error}"
    scaled = x * np.float32(40)
    rates["numpy int8 encode"] = rate(lambda: np.clip(np.rint(scaled), -128, 127).astype(np.int8), elements, repeats)
    bytes8 = np.clip(np.rint(scaled), -128, 127).astype(np.int8)
    rates["numpy int8 decode"] = rate(lambda: bytes8.astype(np.float32), elements, repeats)
    try:
        from importlib.metadata import version

        import gfloat
        from gfloat.formats import format_info_ocp_e4m3, format_info_mxfp4_e2m1

        result["versions"]["gfloat"] = version("gfloat")
        few = x[: 1 << 16].astype(np.float64)
        rates["gfloat e4m3fn encode"] = rate(
            lambda: gfloat.encode_ndarray(
                format_info_ocp_e4m3, gfloat.round_ndarray(format_info_ocp_e4m3, few)
            ),
            few.size,
            3,
        )
        block = x[: 32 * 64].astype(np.float64)

        def blocks():
            for start in range(0, block.size, 32):
                gfloat.quantize_block(format_info_mxfp4_e2m1, block[start : start + 32], gfloat.compute_scale_amax)

        rates["gfloat mxfp4 quantize"] = rate(blocks, block.size, 3)
    except ImportError as error:
        result["gfloat"] = f"skipped, because {error}"
    print(json.dumps(result))


main()

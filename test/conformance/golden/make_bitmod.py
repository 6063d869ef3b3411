"""BitMoD groups as the authors' code makes them. Run: python make_bitmod.py PATH_TO_CLONE > bitmod.json   (torch)

The clone is github.com/abdelfattah-lab/BitMoD-HPCA-25; AWQ-BitMoD/awq/quantize/auto_dtype.py is executed as it is but for its
buffers and inputs, which are made binary64 (they are binary16 there: where errors nearly agree, rounding would choose). bitmod.json
holds the SHA-256 of the dequantized values (binary32, little-endian) of `inputs`, 256 groups of 32: the largest magnitude
of each is 0.75, so that no scale needs rounding in any of the four codebooks, and f16 scales are the authors' scales.
"""
import hashlib, json, subprocess, sys
import numpy as np, torch

repo = sys.argv[1]
git = lambda *arguments: subprocess.run(["git", "-C", repo, *arguments], capture_output=True, text=True, check=True).stdout
scope = {}
exec(git("show", "HEAD:AWQ-BitMoD/awq/quantize/auto_dtype.py").replace("torch.float16", "torch.float64"), scope)

i = np.arange(256 * 32, dtype=np.uint64)
u = (i * 2654435761 + 977) % 2**32
inputs = (((u >> 8).astype(np.float64) - 2**23) * 2.0**-23 * 0.7).astype(np.float32).reshape(256, 32)
for row in range(256): inputs[row, row * 7 % 32] = 0.75 if row % 2 else -0.75
values = {}
for bits in (3, 4):
    w, _ = scope["search_group_dtype"](torch.from_numpy(inputs.astype(np.float64)), wq_bits=bits)
    values[bits] = hashlib.sha256((w.numpy().astype("<f4") + np.float32(0)).tobytes()).hexdigest()
json.dump({"versions": {"BitMoD-HPCA-25": git("log", "-1", "--format=%H %cs").strip(), "torch": torch.__version__}, "values": values}, sys.stdout, indent=1)

"""Average checkpoints of one training run, weight by weight, and measure the result on the held-out text.

    python average.py --work WORK --out MODEL_DIR CHECKPOINT_DIR...

Checkpoints along a run lie around a better model than each of them (Izmailov et al. 2018, stochastic weight averaging),
the more so the smaller the training text is. All count the same. The log is that of the run, one folder above the
checkpoints.
"""
import argparse
import pathlib
import shutil

import numpy as np
import torch
from safetensors.torch import load_file
from train import Model, held_out_loss, save


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("checkpoints", type=pathlib.Path, nargs="+")
    options = parser.parse_args()
    runs = [load_file(folder / "model.safetensors") for folder in options.checkpoints]
    mean = {name: sum(run[name].float() for run in runs) / len(runs) for name in runs[0]}
    # Rounded to bf16 first, so that the loss is that of the file.
    rounded = {name.removeprefix("model."): tensor.bfloat16().float() for name, tensor in mean.items()}
    model = Model()
    model.load_state_dict(rounded)
    save(model, options.work, options.out)
    log = options.checkpoints[-1].parent / "training-log.csv"
    shutil.copy(log, options.out)
    loss = held_out_loss(model, np.load(options.work / "tokens.npz")["held_out"])
    print(f"mean of {len(runs)} checkpoints: held-out loss {loss:.4f} nats per token")


if __name__ == "__main__":
    main()

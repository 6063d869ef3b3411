"""Train the demo model (Llama architecture, width 256) on the CPU with PyTorch.

    python train.py --work WORK --minutes 70 --out MODEL_DIR

WORK is what prepare.py made. The learning-rate schedule is a function of the share of the time that is used up, so
the run ends when it says, whatever else the machine does; the log keeps step, tokens and loss. Matrices are trained
with Muon (Jordan et al. 2024: momentum orthogonalised by Newton-Schulz steps), embedding and norms with AdamW.
Writes bf16 `model.safetensors`, `config.json`, `tokenizer.json` and `training-log.csv` every 100 steps, and keeps each
step's model in a folder of its own, for average.py. With --resume a run that was stopped goes on from the last, by its
own clock (momentum starts afresh).
"""
import argparse
import json
import pathlib
import shutil
import time

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import nn

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 5,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "vocab_size": 2048,
    "tie_word_embeddings": True,
    "attention_bias": False,
    "mlp_bias": False,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "torch_dtype": "bfloat16",
}
WIDTH, HIDDEN, LAYERS = CONFIG["hidden_size"], CONFIG["intermediate_size"], CONFIG["num_hidden_layers"]
HEADS, KV_HEADS, HEAD = CONFIG["num_attention_heads"], CONFIG["num_key_value_heads"], CONFIG["head_dim"]
CONTEXT, VOCABULARY, EPSILON = CONFIG["max_position_embeddings"], CONFIG["vocab_size"], CONFIG["rms_norm_eps"]
BOOK_SHARE = 0.2
BATCH = 16


def rope_tables():
    frequency = CONFIG["rope_theta"] ** (-torch.arange(0, HEAD, 2) / HEAD)
    angle = torch.outer(torch.arange(CONTEXT), frequency).repeat(1, 2)
    return angle.cos(), angle.sin()


COS, SIN = rope_tables()


def rope(x):
    half = torch.cat([-x[..., HEAD // 2:], x[..., : HEAD // 2]], -1)
    return x * COS + half * SIN


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, HEADS * HEAD, bias=False)
        self.k_proj = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.v_proj = nn.Linear(WIDTH, KV_HEADS * HEAD, bias=False)
        self.o_proj = nn.Linear(HEADS * HEAD, WIDTH, bias=False)

    def forward(self, x):
        split = lambda y: y.view(*y.shape[:2], -1, HEAD).transpose(1, 2)
        group = lambda y: y.repeat_interleave(HEADS // KV_HEADS, 1)
        q, k, v = rope(split(self.q_proj(x))), rope(split(self.k_proj(x))), split(self.v_proj(x))
        mixed = F.scaled_dot_product_attention(q.float(), group(k).float(), group(v).float(), is_causal=True)
        return self.o_proj(mixed.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.up_proj = nn.Linear(WIDTH, HIDDEN, bias=False)
        self.down_proj = nn.Linear(HIDDEN, WIDTH, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(WIDTH, EPSILON)
        self.self_attn = Attention()
        self.post_attention_layernorm = nn.RMSNorm(WIDTH, EPSILON)
        self.mlp = Mlp()

    def forward(self, x):
        x = x + self.self_attn(self.input_layernorm(x))
        return x + self.mlp(self.post_attention_layernorm(x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(VOCABULARY, WIDTH)
        self.layers = nn.ModuleList(Layer() for _ in range(LAYERS))
        self.norm = nn.RMSNorm(WIDTH, EPSILON)
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                deep = 0.3 if name.endswith(("o_proj.weight", "down_proj.weight")) else 1.0
                nn.init.normal_(weight, std=0.02 if "embed" in name else deep * weight.shape[1] ** -0.5)

    def forward(self, windows):
        x = self.embed_tokens(windows[:, :-1])
        for layer in self.layers:
            x = layer(x)
        logits = F.linear(self.norm(x), self.embed_tokens.weight)
        return F.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())


def orthogonalize(m):
    """Five Newton-Schulz steps towards the nearest orthogonal matrix (coefficients of Jordan et al. 2024)."""
    tall = m.shape[0] > m.shape[1]
    x = (m.T if tall else m) / (m.norm() + 1e-7)
    for _ in range(5):
        g = x @ x.T
        x = 3.4445 * x + (-4.7750 * g + 2.0315 * g @ g) @ x
    return x.T if tall else x


class Muon(torch.optim.Optimizer):
    def __init__(self, weights, lr=0.02, momentum=0.95, decay=0.1):
        super().__init__(weights, {"lr": lr, "momentum": momentum, "decay": decay})

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for weight in group["params"]:
                state = self.state[weight]
                average = state.setdefault("momentum", torch.zeros_like(weight))
                average.mul_(group["momentum"]).add_(weight.grad)
                direction = orthogonalize(weight.grad + group["momentum"] * average)
                scale = max(1.0, weight.shape[0] / weight.shape[1]) ** 0.5
                weight.mul_(1 - group["lr"] * group["decay"]).add_(direction, alpha=-group["lr"] * scale)


def schedule(share):
    """Warm-up for 2 % of the time, constant to 40 %, then linear to zero."""
    return min(1.0, share / 0.02 + 0.05) * min(1.0, max(0.0, (1 - share) / 0.6))


def batches(tokens, seed):
    random = np.random.default_rng(seed)
    while True:
        rows = []
        for _ in range(BATCH):
            source = tokens["book"] if random.random() < BOOK_SHARE else tokens["speeches"]
            start = random.integers(0, len(source) - CONTEXT - 1)
            rows.append(source[start : start + CONTEXT + 1])
        yield torch.from_numpy(np.stack(rows).astype(np.int64))


@torch.no_grad()
def held_out_loss(model, ids):
    """Mean nats per token over whole windows of CONTEXT, in the order of the text."""
    count = (len(ids) - 1) // CONTEXT
    windows = np.stack([ids[i * CONTEXT : i * CONTEXT + CONTEXT + 1] for i in range(count)]).astype(np.int64)
    return float(np.mean([float(model(torch.from_numpy(windows[i : i + 1]))) for i in range(count)]))


def save(model, work, out):
    out.mkdir(parents=True, exist_ok=True)
    tensors = {f"model.{name}": w.detach().bfloat16().contiguous() for name, w in model.named_parameters()}
    save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(CONFIG, indent=2) + "\n")
    shutil.copy(work / "tokenizer.json", out / "tokenizer.json")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=70)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(options.seed)
    tokens = np.load(options.work / "tokens.npz")
    tokens = {name: tokens[name] for name in tokens.files}
    model = Model()
    print(f"{sum(w.numel() for w in model.parameters())} parameters", flush=True)
    matrices = [w for name, w in model.named_parameters() if w.ndim == 2 and "layers" in name]
    others = [w for name, w in model.named_parameters() if w.ndim == 1 or "embed" in name]
    optimizers = [Muon(matrices), torch.optim.AdamW(others, lr=0.004, betas=(0.9, 0.98), weight_decay=0.02)]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    training = torch.compile(model)
    log = [("step", "tokens", "seconds", "training_loss", "held_out_loss")]
    done, begin, recent = 0, time.time(), []
    if options.resume:
        log = [tuple(line.split(",")) for line in (options.out / "training-log.csv").read_text().split()]
        done, begin = int(log[-1][0]), begin - float(log[-1][2])
        saved = load_file(options.out / "model.safetensors")
        model.load_state_dict({name.removeprefix("model."): tensor.float() for name, tensor in saved.items()})
    for number, windows in enumerate(batches(tokens, options.seed + done), done + 1):
        share = (time.time() - begin) / (60 * options.minutes)
        with torch.autocast("cpu", torch.bfloat16):
            loss = training(windows)
        loss.backward()
        for optimizer, rate in zip(optimizers, rates):
            optimizer.param_groups[0]["lr"] = rate * schedule(share)
            optimizer.step()
            optimizer.zero_grad()
        recent.append(float(loss.detach()))
        if number <= done + 10:
            print(number, recent[-1], f"{time.time() - begin:.1f} s", flush=True)
        if number % 100 == 0 or share >= 1:
            test = held_out_loss(model, tokens["held_out"])
            row = (number, number * BATCH * CONTEXT, round(time.time() - begin), f"{np.mean(recent):.4f}", f"{test:.4f}")
            log.append(row)
            recent = []
            print(*row, flush=True)
            (options.out / "training-log.csv").write_text("".join(",".join(map(str, r)) + "\n" for r in log))
            save(model, options.work, options.out)
            save(model, options.work, options.out / f"step-{number}")
        if share >= 1:
            break


if __name__ == "__main__":
    main()

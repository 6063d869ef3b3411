"""Tiny random models of each architecture with the logits and greedy tokens that transformers gives for them.

    python make.py [encoders]        (made with transformers 5 and torch 2; versions are noted in golden.json)

Weights are bf16 numbers, computed with in f32. Each folder is a Hugging Face checkpoint without a tokenizer.
"""
import json
import pathlib
import sys

import safetensors.torch
import torch
import transformers
from transformers import BertConfig, BertModel, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

HERE = pathlib.Path(__file__).parent
SHARED = dict(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, max_position_embeddings=128,
              bos_token_id=0, eos_token_id=0, pad_token_id=None)
LLAMA3 = {"rope_type": "llama3", "rope_theta": 50000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}
CASES = {
    "llama-tied": (LlamaForCausalLM, LlamaConfig(**SHARED, num_attention_heads=4, num_key_value_heads=2,
                                                 tie_word_embeddings=True)),
    "llama3-scaled": (LlamaForCausalLM, LlamaConfig(**SHARED, num_attention_heads=2, num_key_value_heads=1, head_dim=24,
                                                    tie_word_embeddings=False, rope_parameters=LLAMA3)),
    "llama-biased": (LlamaForCausalLM, LlamaConfig(**SHARED, num_attention_heads=4, num_key_value_heads=4,
                                                   attention_bias=True, mlp_bias=True, tie_word_embeddings=False)),
    "qwen2": (Qwen2ForCausalLM, Qwen2Config(**SHARED, num_attention_heads=4, num_key_value_heads=2,
                                            tie_word_embeddings=True)),
}


ENCODERS = {
    "bert": dict(prefix="", pooling="mean", normalize=True, hidden_act="gelu"),
    "bert-cls": dict(prefix="bert.", pooling="cls", normalize=False, hidden_act="gelu_new"),
}


@torch.no_grad()
def make_encoders():
    """Encoders: the last hidden states of a few rows, and the vector as sentence-transformers would pool it."""
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "cases": {}}
    for name, options in ENCODERS.items():
        torch.manual_seed(len(name))
        config = BertConfig(vocab_size=96, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
                            max_position_embeddings=80, hidden_act=options["hidden_act"], layer_norm_eps=1e-12)
        model = BertModel(config, add_pooling_layer=True).eval()
        for parameter in model.parameters():
            parameter.copy_((0.3 * torch.randn_like(parameter)).bfloat16().float())
        for norm in [m for m in model.modules() if "LayerNorm" in type(m).__name__]:
            norm.weight.copy_((1 + 0.2 * torch.randn_like(norm.weight)).bfloat16().float())
        ids = torch.randint(0, config.vocab_size, (1, 40))
        states = model(ids).last_hidden_state[0]
        vector = states.mean(0) if options["pooling"] == "mean" else states[0]
        if options["normalize"]:
            vector = torch.nn.functional.normalize(vector, dim=0)
        folder = HERE / name
        model.bfloat16().save_pretrained(folder)
        tensors = {options["prefix"] + key: value.contiguous() for key, value in model.state_dict().items()}
        safetensors.torch.save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        modules = [{"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
                   {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"}]
        if options["normalize"]:
            modules.append({"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"})
        (folder / "modules.json").write_text(json.dumps(modules) + "\n")
        (folder / "1_Pooling").mkdir(exist_ok=True)
        pooling = {"word_embedding_dimension": 32, "pooling_mode_cls_token": options["pooling"] == "cls",
                   "pooling_mode_mean_tokens": options["pooling"] == "mean"}
        (folder / "1_Pooling" / "config.json").write_text(json.dumps(pooling) + "\n")
        (folder / "sentence_bert_config.json").write_text(json.dumps({"max_seq_length": 64, "do_lower_case": False}) + "\n")
        rows = [0, 1, 17, 39]
        golden["cases"][name] = {
            "ids": ids[0].tolist(),
            "rows": rows,
            "states": [[round(x, 6) for x in states[row].tolist()] for row in rows],
            "vector": [round(x, 7) for x in vector.tolist()],
        }
    (HERE / "encoders.json").write_text(json.dumps(golden) + "\n")


@torch.no_grad()
def main():
    golden = {"transformers": transformers.__version__, "torch": torch.__version__, "cases": {}}
    for name, (kind, config) in CASES.items():
        torch.manual_seed(len(name))
        model = kind(config).eval()
        for parameter in model.parameters():
            spread = 0.3 if parameter.ndim == 2 else 0.2
            parameter.copy_((spread * torch.randn_like(parameter)).bfloat16().float())
        for norm in [m for m in model.modules() if "RMSNorm" in type(m).__name__]:
            norm.weight.copy_((1 + 0.2 * torch.randn_like(norm.weight)).bfloat16().float())
        ids = torch.randint(0, config.vocab_size, (1, 70))
        logits = model(ids).logits[0]
        greedy = model.generate(ids, max_new_tokens=12, do_sample=False, eos_token_id=None)[0, ids.shape[1]:]
        model.bfloat16().save_pretrained(HERE / name)
        (HERE / name / "generation_config.json").unlink(missing_ok=True)
        rows = [0, 1, 33, 69]
        golden["cases"][name] = {
            "ids": ids[0].tolist(),
            "rows": rows,
            "logits": [[round(x, 6) for x in logits[row].tolist()] for row in rows],
            "greedy": greedy.tolist(),
        }
    (HERE / "golden.json").write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    if sys.argv[1:] != ["encoders"]:
        main()
    make_encoders()

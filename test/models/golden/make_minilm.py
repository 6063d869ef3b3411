"""What transformers says of all-MiniLM-L6-v2: ids and vectors of a few texts (mean pooling, normalized, at most 256 tokens).

    python make_minilm.py FOLDER      (node test/models/fetch-minilm.mjs prints it)
"""
import json
import sys
from pathlib import Path

import torch
import transformers
from transformers import AutoModel, AutoTokenizer

TEXTS = [
    "Call me Ishmael.", "The cat sat on the mat.", "A feline rested on the rug.", "Stock prices fell sharply on Monday.",
    "Ünïcödé naïve café — 北京大学, ½ ١٢٣ \u0007!", "don't [SEP] stop", "", "pneumonoultramicroscopicsilicovolcanoconiosis",
    " ".join(["whale"] * 300),
]


@torch.no_grad()
def main():
    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval().float()
    rows = []
    for text in TEXTS:
        batch = tokenizer(text, truncation=True, max_length=256, padding=False, return_tensors="pt", split_special_tokens=True)
        states = model(**batch).last_hidden_state[0].double()
        vector = torch.nn.functional.normalize(states.mean(0), dim=0)
        rows.append({"text": text, "ids": batch["input_ids"][0].tolist(), "vector": [round(x, 9) for x in vector.tolist()]})
    versions = {"transformers": transformers.__version__, "torch": torch.__version__}
    path = Path(__file__).parent / "minilm.json"
    path.write_text(json.dumps({**versions, "rows": rows}, separators=(",", ":")) + "\n")


main()

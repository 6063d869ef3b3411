"""Makes the golden files of this folder: small tokenizers of each family, and the ids the original implementations give.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3
    python make.py CORPUS.txt [bert]      (only that family)

CORPUS is any English text of some hundred kilobytes (Moby Dick was taken); the tokenizers learn from its beginning and
from the lines below. Trained once, kept for ever: another version of the trainers may learn other merges, which is why
the vocabularies are part of the golden files.
"""
import io
import json
import random
import sys
from pathlib import Path

import sentencepiece
import tokenizers
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = Path(__file__).parent
LINES = [
    "Ein Jäger aus Kurpfalz, straße, œuvre, naïve façade, señor, Ångström, żółw",
    "Съешь же ещё этих мягких французских булок, да выпей чаю",
    "北京大学的学生们喜欢读书。東京タワーはとても高いです。안녕하세요 세계",
    "مرحبا بالعالم ١٢٣ हिन्दी भाषा में १२३ ไทยภาษา",
    "🙂🙃👩‍👩‍👧 👍🏽 🇩🇪 ☃️ ½ ² Ⅷ ½ € £",
    "def f(x):\n\treturn x ** 2  # 1234567890\n\n    print('it\\'s', \"I'LL\")\r\n",
]
SPECIALS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXTS = [
    "", " ", "  ", "   a", "a   ", "\n", "\n\n\n", "\t\t x \t", "\r\n\r\n", " \n \n ", "a\n b\n\n c  \n", "trailing space ",
    "Call me Ishmael.", "The whale's the whale, I'll say it; you've SEEN it'S IT'LL 'tis 'S 'ſ don't we'd they're I'm",
    "0", "12", "123", "1234", "1234567890 12,345.67 1e-5 0x1F", "a1b2c3 x²½y ١٢٣ १२३ Ⅷ ３４",
    "北京大学 東京タワー 안녕하세요", "Съешь ещё этих мягких булок", "مرحبا بالعالم", "हिन्दी में", "ภาษาไทย",
    "🙂", "👩‍👩‍👧👍🏽🇩🇪☃️", "a\u200db\u200bc\ufeffd\u00ad", "e\u0301 é \u1e9b\u0323 ﬁ ｶﾞ", "Å Å \u212b \u1100\u1161 가", "K k ß ẞ İ ı",
    "\u0000\u0001\u007f\u0085x\u0085\u00a0y\u2028z\u2029\u3000w\u180e", "\U0010ffff\ufffd\ue000", "<0x0A> <0x41> ▁ ▁▁a a▁b",
    "<s>hello</s> <unk>", "<|endoftext|>", "a<|endoftext|>b", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n",
    "<|im_start|><|im_start|>  <|im_end|>  ", "<|endoftext|", "<|im_end|>é<|im_end|>", "x <think> y</think>z <think>", "pre <mask> post  <mask>x",
    "re word sword word. (word) words word", "...!!!???", "---===***", "https://example.com/a?b=c&d=%20#e", "{\"a\": [1, 2, {\"b\": null}]}",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", " " * 70 + "x", "\n" * 40 + "x",
    "WHALE, Whale, whale, wHaLe", "can't can´t can’t", "“quotes” ‘single’ – — …", "a\u0301\u0302\u0303\u0304", "\u0301x", "fi\ufb01",
]
ALPHABET = list("aabetho  '\n\t\r.,!?-1290sStTdDmM") + ["'s", "'ll", "\r\n", "  ", "é", "e\u0301", "ſ", "ß", "北", "京", "한", "ก", "ع", "١", "²", "½", "🙂", "👩‍👧", "\u200d", "\u00a0", "\u3000", "\u0085", "▁", "<|im_end|>", "<|", "<s>", "\U0001f9ff", "\u2028"]


def fuzz(count):
    generator = random.Random(20260101)
    return ["".join(generator.choice(ALPHABET) for _ in range(generator.randrange(1, 40))) for _ in range(count)]


def contents():
    return TEXTS + fuzz(150)


GPT2 = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)


def split(digits):
    expression = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|" + digits
        + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    bytes_only = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(expression), "isolated"), bytes_only])


FAMILIES = {
    "gpt-2": dict(pre=GPT2),
    "smollm": dict(pre=pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), GPT2])),
    "llama-bpe": dict(pre=split(r"\p{N}{1,3}"), ignore_merges=True, bos="<|endoftext|>"),
    "qwen2": dict(pre=split(r"\p{N}"), normalizer=normalizers.NFC()),
}


def train(corpus, pre, normalizer=None, ignore_merges=False, bos=None):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tokenizer.pre_tokenizer = pre
    tokenizer.decoder = decoders.ByteLevel()
    if normalizer:
        tokenizer.normalizer = normalizer
    trainer = trainers.BpeTrainer(
        vocab_size=1000, special_tokens=SPECIALS, show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(corpus, trainer)
    if ignore_merges:  # Tokens that no merge makes any more: only whole pieces reach them.
        data = json.loads(tokenizer.to_str())
        made = [merge for merge in data["model"]["merges"] if len("".join(merge)) < 5 or hash_of(merge) % 3]
        while True:  # A merge needs its halves, and those need theirs; keep the list closed.
            kept = {"".join(merge) for merge in made}
            closed = [m for m in made if all(len(half) == 1 or half in kept for half in m)]
            if len(closed) == len(made):
                break
            made = closed
        data["model"]["merges"] = made
        tokenizer = Tokenizer.from_str(json.dumps(data))
    if bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{bos} $A", pair=f"{bos} $A {bos} $B", special_tokens=[(bos, tokenizer.token_to_id(bos))]
        )
    tokenizer.add_tokens([
        AddedToken("<think>", special=False, normalized=False),
        AddedToken("<mask>", special=False, normalized=False, lstrip=True, rstrip=True),
        AddedToken("word", special=False, normalized=False, single_word=True),
    ])
    return tokenizer


def hash_of(merge):
    return sum(ord(character) for half in merge for character in half)


def cases(tokenizer, texts):
    rows = []
    for text in texts:
        tokenizer.encode_special_tokens = False
        parsed = tokenizer.encode(text).ids
        tokenizer.encode_special_tokens = True
        plain = tokenizer.encode(text, add_special_tokens=False).ids
        back = tokenizer.decode(parsed, skip_special_tokens=False)
        skipped = tokenizer.decode(parsed, skip_special_tokens=True)
        rows.append([parsed, plain, back, skipped])
    return rows


def train_bert(corpus):
    """WordPiece as BERT has it: lower case, no accents, Chinese characters apart."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(prefix="##", cleanup=True)
    specials = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=900, special_tokens=specials, show_progress=False)
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[(name, tokenizer.token_to_id(name)) for name in ("[CLS]", "[SEP]")],
    )
    return tokenizer


BERT_TEXTS = [
    "The quick brown fox; it's wasn't don't (really)?", "ΟΔΥΣΣΕΎΣ ΣΑΣ ß ẞ İstanbul", "Ünïcödé Ἑλλάς Ё ё Й",
    "[CLS] text [SEP] [MASK] [UNK] [PAD]", "a" * 100, "a" * 101, "é" * 100 + " " + "z" * 101 + " end",
    "don\u2019t \u00ab quoted \u00bb \u3010\u3011\u3002\uff0c", "x\u0000y\ufffdz \u200bq\u00ad \ue000r",
    "10,000.50$ + 5% = ~`^|<>", "\u4e00\u9fff\u3400\U00020000\U0002b920 \u3042\u30a2\u3131", "whale-ship's captain",
]


def train_sentencepiece(corpus):
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus), model_writer=model, model_type="bpe", vocab_size=1200, byte_fallback=True,
        character_coverage=0.999, normalization_rule_name="identity", remove_extra_whitespaces=False,
        split_digits=True, allow_whitespace_only_pieces=True, unk_surface="", minloglevel=2, num_threads=1,
    )
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def llama2(processor):
    """The tokenizer.json of a Llama 2 checkpoint, from the SentencePiece model, merges as transformers derives them."""
    size = processor.get_piece_size()
    pieces = [processor.id_to_piece(i) for i in range(size)]
    scores = [processor.get_score(i) for i in range(size)]
    types = [
        2 if processor.is_unknown(i) else 3 if processor.is_control(i) else 6 if processor.is_byte(i) else 1
        for i in range(size)
    ]
    vocab = {piece: i for i, piece in enumerate(pieces)}
    merges = []
    for piece, score in zip(pieces, scores):
        local = [(piece[:i], piece[i:], score) for i in range(1, len(piece)) if piece[:i] in vocab and piece[i:] in vocab]
        merges += sorted(local, key=lambda cut: (vocab[cut[0]], vocab[cut[1]]))
    merges = sorted(merges, key=lambda cut: (cut[2], len(cut[0]), len(cut[1])), reverse=True)
    tokenizer = Tokenizer(models.BPE(
        vocab=vocab, merges=[cut[:2] for cut in merges], unk_token="<unk>", fuse_unk=True, byte_fallback=True
    ))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence([
        decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)
    ])
    tokenizer.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in ["<unk>", "<s>", "</s>"]])
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A <s> $B", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
    )
    return tokenizer, scores, types


def save(name, content):
    (HERE / f"{name}.json").write_text(json.dumps(content, ensure_ascii=True, separators=(",", ":")) + "\n")


def make_bert(corpus):
    tokenizer = train_bert(corpus)
    texts = contents()[:60] + BERT_TEXTS
    save("bert", {"tokenizer": json.loads(tokenizer.to_str()), "texts": texts, "cases": cases(tokenizer, texts)})


def main():
    corpus = Path(sys.argv[1]).read_text(encoding="utf-8")[:150_000].splitlines() + LINES * 20
    if sys.argv[2:] == ["bert"]:
        make_bert(corpus)
        return
    versions = {"tokenizers": tokenizers.__version__, "sentencepiece": sentencepiece.__version__}
    save("texts", {"versions": versions, "texts": contents()})
    for name, options in FAMILIES.items():
        tokenizer = train(corpus, **options)
        save(name, {"tokenizer": json.loads(tokenizer.to_str()), "cases": cases(tokenizer, contents())})
    make_bert(corpus)
    processor = train_sentencepiece(corpus)
    tokenizer, scores, types = llama2(processor)
    save("llama-2", {
        "tokenizer": json.loads(tokenizer.to_str()), "cases": cases(tokenizer, contents()), "scores": scores, "types": types,
        "sentencepiece": [processor.encode(text) for text in contents()],
    })


main()

#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes the vocabularies and expected ids of tests/text/test_tok_golden.c into a directory:

  tok-bpe.gguf    a byte-level BPE vocabulary, trained here without any splitting into words, so
                  that its merges cross every boundary a pre-tokenizer could draw
  tok-spm-*.gguf  SentencePiece BPE vocabularies, trained here
  tok-raw.gguf    BPE on characters with tokens of bytes, as Gemma 4 has it, trained here, and tok-raw.txt
  tok-ugm*.gguf   SentencePiece unigram vocabularies, trained here, and tok-ugm.txt
  tok.txt         texts (hexadecimal) and the ids that Hugging Face `tokenizers` and
                  `sentencepiece` give for them with these vocabularies
  tok-NAME.txt    the same for a real model, for each NAME=PATH given

Usage: make_tok.py DIRECTORY [smollm2=PATH] [gemma3=PATH] ... Needs gguf, tokenizers, sentencepiece."""
import io
import os
import random
import sys

import gguf
import sentencepiece as spm
from sentencepiece import sentencepiece_model_pb2 as pb
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers as pt, trainers

TRAINING = """
The quick brown fox jumps over the lazy dog, and then it's gone. We'll see; they've said I'm late.
She didn't say what she'd do: "Don't panic," he'd answered, isn't it? THEY'RE SHOUTING, AREN'T THEY?
In 2024 there were 366 days; 1234567890 is a number, 3.14159 another, and 1,000,000 a round one.
def main(argc, argv):\n    for i in range(10):\n        print(f"{i}: {argv[i]}")\n\treturn 0\n
if (x <= y && !z) { a[i] += b->c * 0x1F; }  // comment\r\n<html><body class="x">&amp;</body></html>
Der Fluß fließt über die Brücke; größere Häuser, süße Äpfel. Où êtes-vous allés, garçon? Ça va très
bien. El niño pequeño comió piñas mañana. Příliš žluťoučký kůň. Zażółć gęślą jaźń. İstanbul'da ığdır.
Съешь же ещё этих мягких французских булок, да выпей чаю. Как дела? Хорошо, спасибо большое.
Η γρήγορη καφέ αλεπού πηδάει πάνω από το σκυλί. Τι κάνεις; Καλά, ευχαριστώ πολύ.
שלום עולם, מה שלומך היום? מرحבا. مرحبا بالعالم، كيف حالك اليوم؟ الحمد لله. سلام دنیا
नमस्ते दुनिया, आप कैसे हैं? मैं ठीक हूँ। আমি ভালো আছি। வணக்கம் உலகம். สวัสดีชาวโลก สบายดีไหม ខ្ញុំ
你好，世界。今天天气很好，我们去公园吧！一二三四五六七八九十。「引用」、『書名』。
こんにちは世界。今日はいい天気ですね。カタカナとひらがな。안녕하세요 세계, 오늘 날씨가 좋네요.
😀 😃 👍🏽 👩‍👩‍👧‍👦 🏳️‍🌈 🇩🇪🇫🇷 ❤️ ½ ¾ ² ³ Ⅳ ٣٤٥ 百 ① e\u0301 a\u0308 o\u0302\u0323 \u1ebf
 two  three   four    five     \t\ttabs\n\n\n\nnewlines \n \n \r\n\r\n mixed \u00a0nbsp\u3000wide\u2009thin
""".replace("\\n", "\n").replace("\\t", "\t").replace("\\r", "\r")

TEXTS = [
    "", " ", "  ", "   ", "\n", "\n\n", "\n\n\n", "\t", "\t\t", "\t\n", " \n", "\n ", "\r\n", "\r\n\r\n  ",
    "a", " a", "a ", "  a", "a  b   c    d", "Hello, world!", " Hello  World ", "Hello\n\nWorld\n", "\n\n x",
    "it's we'll THEY'RE I'M he'd 'tis ''s 'S 'lL don't\u2019t '\u017ft", "1", "12", "123", "1234", "12345678901 3.14",
    " 1 22  333   4444", "a1b2c3", "½ ¾² x³ Ⅳ ٣٤٥ 百 ①", "if (x <= y && !z) { a[i] += b->c; }", "`a` $1 +2 <=> ^~| \\",
    "def f(x):\n    return x+1\n\n\ttab", "größere Häuser, Où êtes-vous", "Příliš žluťoučký kůň", "Съешь же ещё этих",
    "Τι κάνεις; Καλά", "שלום עולם", "مرحبا بالعالم، كيف", "नमस्ते दुनिया।", "স্বাগতম வணக்கம்", "สวัสดีชาวโลก", "ខ្ញុំ",
    "你好，世界。今天3月", "こんにちはカタカナ世界ー", "안녕하세요 세계", "😀👍🏽👩‍👩‍👧‍👦🏳️‍🌈🇩🇪 ❤️", "a\u200db\u200cc\ufeffd\u00ade",
    "e\u0301a\u0308 o\u0302\u0323 o\u0323\u0302 \u1ebf \uac00 \u1100\u1161 \u2126 \u212b",
    "\u00a0nbsp\u3000wide\u2009\u2009thin\u0085nel\u180emvs\u2028ls\u1680o", "\x00\x01\x02\x1b[0m\x7f\x80\x9f", "\u0301\u0301", "\U0001d54f\U0001f9ff\ufffd\ufffe\U0010ffff",
    "<|a|> <b> </b><|end|><user> [INST] <s>x</s>", "<user><user >x", "\u2581under\u2581\u2581bar \u2581", "x" * 70, " " * 70 + "x", "\n" * 20,
    "ab" * 40, "!" * 30 + "?", "。" * 9, "word " * 20, "The quick brown fox jumps over the lazy dog. " * 3,
    "CamelCaseWordsAndSNAKE_CASE kebab-case", "https://example.org/a?b=c&d=%20#e", "name@host.example", "a.b,c;d:e!f?g",
    "\ufb01 \u0132 \u01c5 \u1d25 \u02b0 \ua77f \u10d0 \u13a0 \u1e9e", "日本語English混在123テスト", "\t\u3000 \n", "x\ty\u000bz\u000cw",
]

SPECIAL = ["<|a|>", "<|end|>", "<s>", "</s>"]
USER = ["<user>", "  ", "   ", "\n\n"]


def random_texts(n, seed):
    rng = random.Random(seed)
    pools = [[c for c in TRAINING], [chr(c) for c in range(1, 128)], list(" \n\t\r\u3000"), list("0123456789 .,'sSt"),
             list("\u0301\u0323\u0302aeo\u1100\u1161\u11a8\u093c\u0915"), list("的一是了我不人在他有"), list("😀👍🏽\u200d\ufe0f")]
    for _ in range(n):
        text = ""
        while len(text) < 24:
            text += "".join(rng.choice(rng.choice(pools[:1] * 3 + pools)) for _ in range(rng.randint(1, 6)))
        yield text


# ---- byte-level BPE --------------------------------------------------------------------------

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
LARGE, SMALL = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"


def o200k(suffix, digits):
    start = r"[^\r\n\p{L}\p{N}]?"
    return (start + LARGE + "*" + SMALL + "+" + suffix + "|" + start + LARGE + "+" + SMALL + "*" + suffix + "|" + digits
            + r"| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")


# Ranges of the letters in DeepSeek LLM's pattern, as its tokenizer.json spells them.
CASED = [(0x41, 0x5a), (0x61, 0x7a), (0xb5, 0xb5), (0xc0, 0xd6), (0xd8, 0xf6), (0xf8, 0x1ba), (0x1bc, 0x1bf),
         (0x1c4, 0x293), (0x295, 0x2af), (0x370, 0x373), (0x376, 0x377), (0x37b, 0x37d), (0x37f, 0x37f),
         (0x386, 0x386), (0x388, 0x38a), (0x38c, 0x38c), (0x38e, 0x3a1), (0x3a3, 0x3f5), (0x3f7, 0x481),
         (0x48a, 0x52f), (0x531, 0x556), (0x10a0, 0x10c5), (0x13a0, 0x13f5), (0x13f8, 0x13fd), (0x1c90, 0x1cba),
         (0x1cbd, 0x1cbf), (0x1d00, 0x1d2b), (0x1d6b, 0x1d77), (0x1d79, 0x1d9a), (0x1e00, 0x1f15), (0x1f18, 0x1f1d),
         (0x1f20, 0x1f45), (0x1f48, 0x1f4d), (0x1f50, 0x1f57), (0x1f59, 0x1f59), (0x1f5b, 0x1f5b), (0x1f5d, 0x1f5d),
         (0x1f5f, 0x1f7d), (0x1f80, 0x1fb4), (0x1fb6, 0x1fbc), (0x1fbe, 0x1fbe), (0x1fc2, 0x1fc4), (0x1fc6, 0x1fcc),
         (0x1fd0, 0x1fd3), (0x1fd6, 0x1fdb), (0x1fe0, 0x1fec), (0x1ff2, 0x1ff4), (0x1ff6, 0x1ffc), (0x2102, 0x2102),
         (0x2107, 0x2107), (0x210a, 0x2113), (0x2115, 0x2115), (0x2119, 0x211d), (0x2124, 0x2124), (0x2126, 0x2126),
         (0x2128, 0x2128), (0x212a, 0x212d), (0x212f, 0x2134), (0x2139, 0x2139), (0x213c, 0x213f), (0x2145, 0x2149),
         (0x214e, 0x214e), (0x2183, 0x2184), (0x2c00, 0x2c7b), (0x2c7e, 0x2ce4), (0x2ceb, 0x2cee), (0x2cf2, 0x2cf3),
         (0xa640, 0xa66d), (0xa680, 0xa69b), (0xa722, 0xa76f), (0xa771, 0xa787), (0xa78b, 0xa78e), (0xab70, 0xabbf),
         (0xfb00, 0xfb06), (0xfb13, 0xfb17), (0xff21, 0xff3a), (0xff41, 0xff5a), (0x10400, 0x1044f),
         (0x104b0, 0x104d3), (0x104d8, 0x104fb), (0x10c80, 0x10cb2), (0x10cc0, 0x10cf2), (0x118a0, 0x118df),
         (0x1e900, 0x1e943)]
CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"


def split(*patterns):
    return [pt.Split(Regex(p), "isolated") for p in patterns]


def words():
    return pt.ByteLevel(add_prefix_space=False, use_regex=True)


def whole():
    return pt.ByteLevel(add_prefix_space=False, use_regex=False)


def digits():
    return pt.Digits(individual_digits=True)


PRE = {
    "gpt-2": [words()],
    "smollm": [digits(), words()],
    "starcoder": [digits(), words()],
    "refact": [digits(), words()],
    "command-r": [digits(), words()],
    "llama-bpe": split(CL100K % r"\p{N}{1,3}") + [whole()],
    "dbrx": split(CL100K % r"\p{N}{1,3}") + [whole()],
    "gpt-4o": split(o200k("(?i:'s|'t|'re|'ve|'m|'ll|'d)?", r"\p{N}{1,3}")) + [whole()],
    "tekken": split(o200k("", r"\p{N}")) + [whole()],
    "seed-coder": split(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+"
                        r"|\s*[\r\n]+|\s+(?!\S)|\s+") + [whole()],
    "qwen2": split(CL100K % r"\p{N}") + [whole()],
    "qwen35": split(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
                    r"|\s*[\r\n]+|\s+(?!\S)|\s+") + [whole()],
    "hunyuan": split(CL100K % r"\p{N}") + [whole()],
    "glm4": split(CL100K % r"\p{N}{1,3}") + [whole()],
    "deepseek-v3": split(r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
                         r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"
                         r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+") + [whole()],
    "exaone-moe": split(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}"
                        r"| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+") + [whole()],
    "deepseek-coder": split("[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK) + [digits(), whole()],
    "deepseek-llm": split("[\r\n]", r"\s?[" + "".join(f"{chr(a)}-{chr(b)}" for a, b in CASED) + "]+",
                          r"\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3000-\u3002]+", r"\s+$", CJK)
    + [digits(), whole()],
    "falcon": [pt.Punctuation("contiguous"), words()] + split("[0-9][0-9][0-9]"),
    "default": split(r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]") + [whole()],
}
NFC = {"qwen2", "qwen35", "command-r"}
WHOLE_WORDS = {"llama-bpe", "tekken", "glm4"}


def train_bpe():
    tok = Tokenizer(models.BPE())
    tok.pre_tokenizer = whole()
    lines = [TRAINING[i:i + 200] for i in range(0, len(TRAINING), 150)]
    tok.train_from_iterator(lines * 2, trainers.BpeTrainer(
        vocab_size=1256, initial_alphabet=pt.ByteLevel.alphabet(), show_progress=False, max_token_length=12))
    model = eval_json(tok)
    vocab = sorted(model["vocab"], key=model["vocab"].get)
    # Words that no merge makes: only a pre-tokenizer that takes whole words finds them.
    vocab += [w for w in ("Ġjumps", "THEY", "世界".encode().decode(), "123") if w not in model["vocab"]]
    return vocab, [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in model["merges"]]


def eval_json(tok):
    import json
    return json.loads(tok.to_str())["model"]


def hf_bpe(vocab, merges, pre, special, user):
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(vocab)}, merges=merges,
                               ignore_merges=pre in WHOLE_WORDS))
    tok.pre_tokenizer = pt.Sequence(PRE[pre])
    if pre in NFC:
        tok.normalizer = normalizers.NFC()
    from tokenizers import AddedToken
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    tok.add_tokens([AddedToken(s, special=False, normalized=False) for s in user])
    return tok


# ---- BPE on characters -----------------------------------------------------------------------

BYTES = [f"<0x{b:02X}>" for b in range(256)]


def train_raw():
    tok = Tokenizer(models.BPE())
    tok.normalizer = normalizers.Replace(" ", "▁")
    lines = [TRAINING[i:i + 200] for i in range(0, len(TRAINING), 150)]
    tok.train_from_iterator(lines * 2, trainers.BpeTrainer(
        vocab_size=1100, limit_alphabet=200, show_progress=False, max_token_length=12))
    model = eval_json(tok)
    return sorted(model["vocab"], key=model["vocab"].get), [tuple(m) for m in model["merges"]]


def hf_raw(tokens, merges, special, user):
    from tokenizers import AddedToken
    tok = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges, byte_fallback=True,
                               unk_token="<unk>", fuse_unk=True))
    tok.normalizer = normalizers.Replace(" ", "▁")
    tok.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in special])
    tok.add_tokens([AddedToken(s, special=False, normalized=False) for s in user])
    return tok


def raw_files(out, texts):
    vocab, merges = train_raw()
    tokens = ["<unk>", "<bos>", "<eos>", *BYTES, *vocab, *SPECIAL, "<user>"]
    w = gguf.GGUFWriter(os.path.join(out, "tok-raw.gguf"), "gemma4")
    w.add_tokenizer_model("gemma4")
    w.add_token_list(tokens)
    w.add_token_types([2, 3, 3] + [6] * 256 + [1] * len(vocab) + [3] * len(SPECIAL) + [4])
    w.add_token_merges([" ".join(m) for m in merges])
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    close(w)
    tok = hf_raw(tokens, merges, SPECIAL, ["<user>"])
    write(os.path.join(out, "tok-raw.txt"), texts, {"raw": lambda s: tok.encode(s, add_special_tokens=False).ids})


# ---- SentencePiece ---------------------------------------------------------------------------

def train_spm(**options):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([l for l in TRAINING.split("\n") if l] * 3), model_writer=out, model_type="bpe",
        vocab_size=1000, normalization_rule_name="identity", remove_extra_whitespaces=False,
        character_coverage=0.98, allow_whitespace_only_pieces=True, minloglevel=2, num_threads=1, **options)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    return model


def train_ugm(**options):
    out = io.BytesIO()
    spm.SentencePieceTrainer.train(
        sentence_iterator=iter([l for l in TRAINING.split("\n") if l] * 3), model_writer=out, model_type="unigram",
        vocab_size=600, hard_vocab_limit=False, character_coverage=0.98, minloglevel=2, num_threads=1, **options)
    model = pb.ModelProto()
    model.ParseFromString(out.getvalue())
    return model


def hf_ugm(model):
    """Sums in double, where `sentencepiece` has them in float."""
    pieces = [(p.piece if p.type == 1 else f"\0{i}", p.score) for i, p in enumerate(model.pieces)]
    tok = Tokenizer(models.Unigram(pieces, unk_id=0))
    tok.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return lambda s: tok.encode(s, add_special_tokens=False).ids


def ugm_files(out, texts):
    vocabularies = {"ugm": train_ugm(), # the table of T5 and XLM-RoBERTa, and one without a table that keeps spaces
                    "ugm-spaces": train_ugm(normalization_rule_name="identity", remove_extra_whitespaces=False,
                                            allow_whitespace_only_pieces=True)}
    for p in vocabularies["ugm"].pieces[40:300:7]:
        p.type = pb.ModelProto.SentencePiece.UNUSED
    for name, model in vocabularies.items():
        w = gguf.GGUFWriter(os.path.join(out, f"tok-{name}.gguf"), "bert")
        w.add_tokenizer_model("t5")
        w.add_tokenizer_pre("default")
        w.add_token_list([p.piece for p in model.pieces])
        w.add_token_scores([p.score for p in model.pieces])
        w.add_token_types([p.type for p in model.pieces])
        w.add_unk_token_id(0)
        w.add_bos_token_id(1)
        w.add_eos_token_id(2)
        w.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)
        w.add_remove_extra_whitespaces(model.normalizer_spec.remove_extra_whitespaces)
        if model.normalizer_spec.precompiled_charsmap:
            w.add_precompiled_charsmap(model.normalizer_spec.precompiled_charsmap)
        close(w)
    write(os.path.join(out, "tok-ugm.txt"), texts, {"ugm": processor(vocabularies["ugm"]).encode,
                                                    "ugm-spaces": hf_ugm(vocabularies["ugm-spaces"])})


def processor(model):
    return spm.SentencePieceProcessor(model_proto=model.SerializeToString())


def spm_gguf(path, model):
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("llama")
    w.add_token_list([p.piece for p in model.pieces])
    w.add_token_scores([p.score for p in model.pieces])
    w.add_token_types([p.type for p in model.pieces])
    w.add_unk_token_id(0)
    w.add_bos_token_id(1)
    w.add_eos_token_id(2)
    w.add_add_bos_token(False)
    w.add_add_space_prefix(model.normalizer_spec.add_dummy_prefix)
    close(w)


def close(w):
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.close()


# ---- files -----------------------------------------------------------------------------------

def bpe_gguf(path, vocab, merges):
    w = gguf.GGUFWriter(path, "llama")
    w.add_tokenizer_model("gpt2")
    w.add_tokenizer_pre("gpt-2")
    n = len(vocab)
    w.add_token_list(vocab + SPECIAL + USER)
    w.add_token_types([1] * n + [3] * len(SPECIAL) + [4] * len(USER))
    w.add_token_merges([" ".join(m) for m in merges])
    close(w)


def hexadecimal(text):
    return text.encode().hex() or "-"


def main():
    out = sys.argv[1]
    os.makedirs(out, exist_ok=True)
    texts = TEXTS + list(random_texts(40, 7))
    raw_files(out, texts)
    ugm_files(out, texts + list(random_texts(200, 8)))
    vocab, merges = train_bpe()
    bpe_gguf(os.path.join(out, "tok-bpe.gguf"), vocab, merges)
    spms = {"llama": train_spm(byte_fallback=True),
            "gemma": train_spm(byte_fallback=True, add_dummy_prefix=False, user_defined_symbols=["<user>", "▁▁", "▁▁▁"]),
            "unknown": train_spm(byte_fallback=False, add_dummy_prefix=False)}
    for p in spms["unknown"].pieces[40:200:3]:
        p.type = pb.ModelProto.SentencePiece.UNUSED
    for name, model in spms.items():
        spm_gguf(os.path.join(out, f"tok-spm-{name}.gguf"), model)
    encoders = {pre: hf_bpe(vocab, merges, pre, SPECIAL, USER) for pre in PRE}
    encode = {pre: lambda s, t=t: t.encode(s, add_special_tokens=False).ids for pre, t in encoders.items()}
    encode.update({f"spm-{name}": processor(m).encode for name, m in spms.items()})
    write(os.path.join(out, "tok.txt"), texts, encode)
    for arg in sys.argv[2:]:
        name, path = arg.split("=", 1)
        real(out, name, path, texts)


def write(path, texts, encode):
    with open(path, "w") as f:
        f.write("# Written by make_tok.py: a text, then the ids of each tokenizer.\n")
        for text in texts:
            f.write(f"text {hexadecimal(text)}\n")
            for name, fn in encode.items():
                f.write(" ".join([name] + [str(i) for i in fn(text)]) + "\n")


def real(out, name, path, texts):
    """A real model's vocabulary; special tokens are ordinary text but for user-defined ones."""
    fields = gguf.GGUFReader(path).fields
    tokens, types = (fields["tokenizer.ggml." + k].contents() for k in ("tokens", "token_type"))
    if fields["tokenizer.ggml.model"].contents() == "gemma4":
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
        tok = hf_raw(tokens, merges, [], [])
        encode = lambda s: tok.encode(s, add_special_tokens=False).ids
    elif "tokenizer.ggml.merges" in fields:
        merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
        tok = hf_bpe(tokens, merges, fields["tokenizer.ggml.pre"].contents(), [],
                     [t for t, k in zip(tokens, types) if k == 4])
        encode = lambda s: tok.encode(s, add_special_tokens=False).ids
    else:
        model = pb.ModelProto()
        for t, k, s in zip(tokens, types, fields["tokenizer.ggml.scores"].contents()):
            model.pieces.add(piece=t.replace(" ", "▁") if k == 4 else t, type=k, score=s)
        model.trainer_spec.model_type = pb.TrainerSpec.BPE
        model.trainer_spec.byte_fallback = True
        ids = {t: i for i, t in enumerate(tokens)}
        model.trainer_spec.unk_piece = "<unk>"
        unk = ids["<unk>"]
        for i, p in enumerate(model.pieces):
            if p.type == 2 and i != unk:
                p.type = pb.ModelProto.SentencePiece.CONTROL
        model.pieces[unk].type = pb.ModelProto.SentencePiece.UNKNOWN
        model.normalizer_spec.name = "identity"
        model.normalizer_spec.add_dummy_prefix = False
        model.normalizer_spec.remove_extra_whitespaces = False
        model.normalizer_spec.escape_whitespaces = True
        encode = processor(model).encode
    write(os.path.join(out, f"tok-{name}.txt"), texts, {name: encode})


if __name__ == "__main__":
    main()

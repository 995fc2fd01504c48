"""Tokenizers without `tokenizer.json`: the SentencePiece files that models are published with.

The oracle for cutting texts is the `sentencepiece` library; for Marian and M2M100 also transformers' own
tokenizers, which call it. The ids of the others are written down here as fairseq, T5 and Pegasus define them.
"""

import json
import re
import subprocess

import pytest
import transformers
from published import Words, loaded, shuffled_vocabulary, trained, write

from conftest import TARGET

MODELS = {
    "unigram": dict(model_type="unigram"),
    "unigram with symbols": dict(model_type="unigram", user_defined_symbols=["<sep>", "::", "ab"]),
    "unigram with bytes": dict(model_type="unigram", byte_fallback=True),
    "unigram that keeps spaces": dict(model_type="unigram", normalization_rule_name="nfkc_cf",
                                      remove_extra_whitespaces=False),
    "bpe": dict(model_type="bpe"),
    "bpe with symbols and bytes": dict(model_type="bpe", byte_fallback=True, user_defined_symbols=["<sep>", "::", "ab"]),
    "bpe of texts as they are": dict(model_type="bpe", normalization_rule_name="identity", add_dummy_prefix=False,
                                     remove_extra_whitespaces=False),
    "bpe with spaces behind": dict(model_type="bpe", treat_whitespace_as_suffix=True, split_digits=True),
}
COUNT = 1000


def tokens(folder, texts):
    """(ids, text made of them) of each text."""
    done = subprocess.run([TARGET / "examples" / "tokens", folder], input=json.dumps(texts), capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return [(line["ids"], line["text"]) for line in lines]


def compare(folder, texts, expected):
    for text, (ids, _), wanted in zip(texts, tokens(folder, texts), expected, strict=True):
        assert ids == wanted, repr(text)


@pytest.fixture(scope="module")
def words():
    return Words(4)


def between(text, special):
    """A text, cut at special tokens: (whether it is one, text)."""
    pattern = "|".join(map(re.escape, sorted(special, key=len, reverse=True)))
    return [(part in special, part) for part in re.split(f"({pattern})", text) if part]


@pytest.mark.parametrize("name", MODELS)
def test_pieces_are_those_of_sentencepiece(name, words, tmp_path):
    """In a T5 folder, whose ids are the pieces' numbers."""
    model = trained(words, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, pad_piece="<pad>", **MODELS[name])
    write(tmp_path, spiece__model=model, config__json={"model_type": "t5"},
          tokenizer_config__json={"extra_ids": 7})
    library, texts = loaded(model), words.odd_texts(COUNT)
    size = library.get_piece_size()
    special = {"<pad>": 0, "</s>": 1, "<unk>": 2, **{f"<extra_id_{i}>": size + 6 - i for i in range(7)}}
    expected = [[id for is_special, part in between(text, special)
                 for id in ([special[part]] if is_special else library.encode(part))] + [1] for text in texts]
    compare(tmp_path, texts, expected)
    assert len({len(ids) for ids in expected}) > 20
    plain = [text for text in texts if not any(is_special for is_special, _ in between(text, special))]
    for text, (ids, made) in zip(plain, tokens(tmp_path, plain)):
        known = [id for id in ids if id > 2]  # what is unknown is left out
        assert made == library.decode(known).replace("▁", " ").strip(), repr(text)


@pytest.mark.parametrize("separate", [False, True], ids=["one vocabulary", "two"])
def test_marian_is_that_of_transformers(separate, words, tmp_path):
    source, target = trained(words, model_type="unigram"), trained(Words(5), model_type="bpe")
    models = [loaded(source), loaded(target)]
    special = ["</s>", "<unk>", ">>fra<<", ">>deu<<"]
    vocabulary = shuffled_vocabulary(words, models[:1] if separate else models, special)
    vocabulary["<pad>"] = len(vocabulary)
    files = dict(source__spm=source, target__spm=target, vocab__json=vocabulary, config__json={"model_type": "marian"},
                 tokenizer_config__json={"separate_vocabs": separate, "source_lang": "eng", "target_lang": "mul"})
    if separate:
        files["target_vocab__json"] = {**shuffled_vocabulary(words, models[1:], special), "<pad>": 999}
    write(tmp_path, **files)
    theirs = transformers.MarianTokenizer.from_pretrained(tmp_path)
    texts = words.odd_texts(COUNT) + [">>fra<< " + words.line(), ">>fra<<", ">>xxx<< " + words.line(), ">>deu<<<<"]
    got = tokens(tmp_path, texts)
    for text, (ids, _) in zip(texts, got, strict=True):
        assert ids == theirs(text).input_ids, repr(text)
    if not separate:
        for text, (ids, made) in zip(texts, got):
            assert made == theirs.decode(ids, skip_special_tokens=True), repr(text)


@pytest.mark.parametrize("languages", ["m2m100", "wmt21"])
def test_m2m100_is_that_of_transformers(languages, words, tmp_path):
    model = trained(words, model_type="bpe")
    vocabulary = shuffled_vocabulary(words, [loaded(model)], ["<s>", "<pad>", "</s>", "<unk>"])
    write(tmp_path, sentencepiece__bpe__model=model, vocab__json=vocabulary, config__json={"model_type": "m2m_100"},
          tokenizer_config__json={"src_lang": "de", "tokenizer_class": "M2M100Tokenizer", "language_codes": languages})
    codes = transformers.models.m2m_100.tokenization_m2m_100.FAIRSEQ_LANGUAGE_CODES[languages]
    theirs = transformers.M2M100Tokenizer.from_pretrained(
        tmp_path, additional_special_tokens=[f"__{code}__" for code in codes])
    texts = words.odd_texts(COUNT)
    for text, (ids, made) in zip(texts, tokens(tmp_path, texts), strict=True):
        assert ids == theirs(text).input_ids, repr(text)
        assert made == theirs.decode(ids, skip_special_tokens=True), repr(text)


@pytest.mark.parametrize("kind", ["nllb", "nllb, the old way", "mbart", "mbart50"])
def test_nllb_and_mbart_have_the_ids_of_fairseq(kind, words, tmp_path):
    codes, name, settings = {
        "nllb": (transformers.models.nllb.tokenization_nllb, "Nllb", {"src_lang": "deu_Latn"}),
        "nllb, the old way": (transformers.models.nllb.tokenization_nllb, "Nllb", {"legacy_behaviour": True}),
        "mbart": (transformers.models.mbart.tokenization_mbart, "MBart", {"src_lang": "ro_RO"}),
        "mbart50": (transformers.models.mbart50.tokenization_mbart50, "MBart50", {"src_lang": "de_DE"}),
    }[kind]
    codes = codes.FAIRSEQ_LANGUAGE_CODES
    model = trained(words, model_type="bpe" if name == "Nllb" else "unigram")
    write(tmp_path, sentencepiece__bpe__model=model, config__json={"model_type": "mbart"},
          tokenizer_config__json={"tokenizer_class": f"{name}TokenizerFast", **settings})
    library = loaded(model)
    size = library.get_piece_size()
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, **{code: size + 1 + i for i, code in enumerate(codes)},
               "<mask>": size + 1 + len(codes)}
    language = special[settings.get("src_lang", "eng_Latn")]
    before, behind = ([], [2, language]) if kind in ("mbart", "nllb, the old way") else ([language], [2])
    texts = words.odd_texts(COUNT)
    expected = []
    for text in texts:
        ids = [id for is_special, part in between(text, special)
               for id in ([special[part]] if is_special else [id + 1 if id else 3 for id in library.encode(part)])]
        expected.append(before + ids + behind)
    compare(tmp_path, texts, expected)


def test_pegasus_has_its_offset(words, tmp_path):
    model = trained(words, model_type="unigram", pad_id=0, eos_id=1, unk_id=2, bos_id=-1)
    write(tmp_path, spiece__model=model, config__json={"model_type": "pegasus"})
    library, texts = loaded(model), words.odd_texts(COUNT)
    special = {"<pad>": 0, "</s>": 1, "<mask_1>": 2, "<mask_2>": 3, "<unk>": 105,
               **{f"<unk_{i}>": i + 2 for i in range(2, 103)}}
    expected = [[id for is_special, part in between(text, special)
                 for id in ([special[part]] if is_special else [id + 103 for id in library.encode(part)])] + [1]
                for text in texts]
    compare(tmp_path, texts, expected)


@pytest.mark.parametrize("change, message", [
    (dict(vocab__json={"a": 0}), "vocab.json: there is no token `<unk>`"),
    (dict(vocab__json=b"{"), "vocab.json: EOF"),
    (dict(source__spm=b"version https://git-lfs.github.com/spec/v1\n"), "source.spm: "),
    (dict(tokenizer_config__json={"separate_vocabs": True}), "target_vocab.json: the file is missing"),
])
def test_a_file_that_is_wrong_is_named(change, message, words, tmp_path):
    model = trained(words, model_type="unigram")
    write(tmp_path, source__spm=model, target__spm=model, vocab__json={"<unk>": 0, "</s>": 1, "<pad>": 2})
    write(tmp_path, **change)
    done = subprocess.run([TARGET / "examples" / "tokens", tmp_path], input="[]", capture_output=True, text=True)
    assert done.returncode == 1
    assert message in done.stderr

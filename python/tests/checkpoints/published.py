"""Tokenizers as models are published with them: SentencePiece models, trained here on made-up words, and
texts that are odd enough to find differences.
"""

import io
import json
import random

import sentencepiece

LETTERS = "abcdefghijklmnopqrstuvwxyzäöüßéèç"
CYRILLIC = "абвгдежзийклмнопрстуфхцчшщъыьэюя"
HAN = "的一是不了人我在有他这中大来上国说们为子和你地出道也时年得就那要下以生会自着去之过家学对可她里后小么心多天"
MARKS = list(" \t\n\r\u00a0\u3000\u200b\u200d\ufeff\u2581\u0301\u0308\ufe0f\u00ad\0\x01\x1f\x7f") + [
    "ﬁ", "ﷺ", "Ⅷ", "①", "½", "한", "ᄒ", "ᅡ", "👍🏽", "👨‍👩‍👧", "🇩🇪", "e\u0301", "Å", "ǆ", "ſ", "ẞ", "İ", "龘", "𠀀", "\U0010ffff",
    "<sep>", "::", "ab", "<s>", "</s>", "<unk>", "<pad>", "<0x41>", "<mask>", "<extra_id_3>", "__fr__", "fra_Latn",
    "de_DE", ">>fra<<", ">>", "<<", "\\", "\"", "ｆｕｌｌ", "ﾊﾝｶｸ", "ﾞ", "㌔", "…", "—", "„", "x²", "µ", "ϒ", "क्षि", "ก็", "....", "aaaa"]


class Words:
    """Made-up words, and texts of them."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.words = [self.word(LETTERS, 9) for _ in range(700)] + [self.word(CYRILLIC, 8) for _ in range(200)]

    def word(self, letters, longest):
        return "".join(self.random.choices(letters, k=self.random.randint(1, longest)))

    def line(self):
        words = self.random.choices(self.words[:150], k=self.random.randint(1, 9)) + self.random.choices(self.words, k=3)
        if self.random.random() < 0.3:
            words.append(self.word(HAN, 6))
        if self.random.random() < 0.3:
            words.append(str(self.random.randint(0, 9999)))
        return " ".join(words).capitalize() + self.random.choice([".", "!", "?", ";", ""])

    def odd(self):
        """A text of words and marks that seldom stand together."""
        parts = []
        for _ in range(self.random.randint(0, 12)):
            kind = self.random.random()
            if kind < 0.4:
                parts.append(self.random.choice(self.words))
            elif kind < 0.8:
                parts.append(self.random.choice(MARKS))
            else:
                first, last = self.random.choice([(0x20, 0x250), (0x300, 0x600), (0x900, 0xe80), (0x2000, 0x3400),
                                                  (0xf900, 0xfffe), (0x10000, 0x20000)])
                parts.append(chr(self.random.randrange(first, last)))
            parts.append(self.random.choice(["", "", " ", "  "]))
        return "".join(parts)

    def odd_texts(self, count):
        return [self.line() for _ in range(count // 4)] + [self.odd() for _ in range(count - count // 4)]


def trained(words, **options):
    """The bytes of a SentencePiece model."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([words.line() for _ in range(3000)]), model_writer=model, minloglevel=2,
        character_coverage=0.98, vocab_size=600, **options)
    return model.getvalue()


def loaded(model):
    return sentencepiece.SentencePieceProcessor(model_proto=model)


def shuffled_vocabulary(words, models, special):
    """A vocabulary of the pieces of models, as Marian and M2M100 have it: most of them, in an order of its own."""
    pieces = sorted({piece for model in models for piece in map(model.id_to_piece, range(model.get_piece_size()))}
                    - set(special) | {"龘"})
    words.random.shuffle(pieces)
    pieces = pieces[:-20]
    return {token: i for i, token in enumerate([*special, *pieces])}


def write(folder, **files):
    """Writes files, JSON or bytes; `__` in a name stands for a dot."""
    for name, content in files.items():
        path = folder / name.replace("__", ".")
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())

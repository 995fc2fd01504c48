"""Words that are wrong, after Whisper's normalisation of English: case, punctuation, contractions, numbers."""

import sys
from functools import cache
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[4] / "demo"))

from words import word_errors  # noqa: E402


@cache
def normaliser():
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer
    return EnglishTextNormalizer({})


def compared(said, found):
    """(words that are wrong, words that are said)."""
    said, found = (normaliser()(text) for text in (said, found))
    return word_errors(said, found), len(said.split())


def rate(wrong, words):
    return f"{wrong / words:.2%}"

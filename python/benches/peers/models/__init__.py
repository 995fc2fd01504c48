"""The models that are measured.

Each family has a folder.  What is in its `__init__.py` does without PyTorch, because the process of another
runtime should not have that in its memory: sizes, input and tokens.  Its `model.py` has the model with random
weights, the parts that are exported, and the files that only this family has.  `making.py` makes files.
"""

from importlib import import_module

FAMILIES = {"tiny": "whisper", "base": "whisper", "small": "whisper", "t5-small": "t5"}
#: Tokens that are fed one by one after the first.
STEPS = 64


def family(size):
    return import_module(f"models.{FAMILIES[size]}")


def model(size):
    return import_module(f"models.{FAMILIES[size]}.model")


def names(count):
    """Names of the caches of so many layers: (before a step, after it, cross)."""
    of = lambda word: [f"{word}_{kind}{i}" for i in range(count) for kind in "kv"]
    return of("past"), of("present"), of("cross")

"""The models that are measured.

Each family has a folder.  What is in its `__init__.py` does without PyTorch, because the process of another
runtime should not have that in its memory: sizes, input and tokens.  Its `model.py` has the model with random
weights, the parts that are exported, and the files that only this family has.  `making.py` makes files.
"""

from importlib import import_module

import numpy as np

FAMILIES = {"tiny": "whisper", "base": "whisper", "small": "whisper", "large-v3-turbo": "whisper",
            "t5-small": "t5", "t5-large": "t5"}
#: Sizes that do not fit into memory side by side, and the runtimes that people use for them: their files take
#: gigabytes each.
LARGE, RUNS_LARGE = {"large-v3-turbo", "t5-large"}, {"engine", "ort", "ov", "ct2", "cpp"}
#: Tokens that are fed one by one after the first, and texts that a step of several has.
STEPS, BEAMS = 64, 5


def family(size):
    return import_module(f"models.{FAMILIES[size]}")


def model(size):
    return import_module(f"models.{FAMILIES[size]}.model")


def names(count):
    """Names of the caches of so many layers: (before a step, after it, cross)."""
    of = lambda word: [f"{word}_{kind}{i}" for i in range(count) for kind in "kv"]
    return of("past"), of("present"), of("cross")


def parents():
    """Which text each of several continues: as in a search, most of them the one before, and one is forked."""
    return np.array([0, *range(BEAMS - 1)])

"""T5 in the size of t5-small: 128 tokens of text."""

import numpy as np

from models import STEPS

SIZES = {
    "t5-small": dict(d_model=512, num_heads=8, d_kv=64, d_ff=2048, num_layers=6, num_decoder_layers=6),
    "t5-large": dict(d_model=1024, num_heads=16, d_kv=64, d_ff=4096, num_layers=24, num_decoder_layers=24),
}
VOCABULARY, SOURCE = 32128, 128
#: The prompt of a runtime that chooses tokens by itself.
START, END = [0], 1
INPUT, WHAT = "input_ids", f"{SOURCE} tokens of text"


def title(size):
    return size


def given(size):
    return np.random.default_rng(2).integers(3, 32000, (1, SOURCE))


def tokens():
    return START + np.random.default_rng(1).integers(3, 32000, STEPS).tolist()

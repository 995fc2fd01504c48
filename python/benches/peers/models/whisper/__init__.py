"""Whisper: 30 s of speech in the published sizes."""

import numpy as np

from models import STEPS

SIZES = {
    "tiny": dict(d_model=384, encoder_layers=4, decoder_layers=4, encoder_attention_heads=6,
                 decoder_attention_heads=6, encoder_ffn_dim=1536, decoder_ffn_dim=1536),
    "base": dict(d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8,
                 decoder_attention_heads=8, encoder_ffn_dim=2048, decoder_ffn_dim=2048),
    "small": dict(d_model=768, encoder_layers=12, decoder_layers=12, encoder_attention_heads=12,
                  decoder_attention_heads=12, encoder_ffn_dim=3072, decoder_ffn_dim=3072),
    "large-v3-turbo": dict(d_model=1280, encoder_layers=32, decoder_layers=4, encoder_attention_heads=20,
                           decoder_attention_heads=20, encoder_ffn_dim=5120, decoder_ffn_dim=5120,
                           num_mel_bins=128, vocab_size=51866),
}
VOCABULARY, FRAMES, MELS = 51865, 3000, 80
#: The prompt of a runtime that chooses tokens by itself: start, no points in time.
START, END = [50258, 50363], 50257
INPUT, WHAT = "input_features", "30 s of speech"


def title(size):
    return f"whisper-{size}"


def given(size):
    mels = SIZES[size].get("num_mel_bins", MELS)
    return np.random.default_rng(2).standard_normal((1, mels, FRAMES)).astype(np.float32)


def tokens():
    return START[:1] + np.random.default_rng(1).integers(0, 50000, STEPS).tolist()

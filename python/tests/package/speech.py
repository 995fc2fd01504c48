"""Speech models and sounds for the tests of the package."""

import wave

import numpy as np
from random_whisper import make_random
from transformers import WhisperFeatureExtractor

from conftest import ROOT
from grammar import Language
from model import make_generation_config
from tokenizer import make_tokenizer

DEMO = ROOT / "demo" / "model.pt2"
SAMPLES = ROOT / "demo" / "samples"
EXPECTED = dict(line.split("\t") for line in (SAMPLES / "transcripts.txt").read_text().splitlines())


def samples(name):
    """The samples of one of the demo's WAV files, and their rate."""
    with wave.open(str(SAMPLES / name)) as file:
        assert file.getsampwidth() == 2 and file.getnchannels() == 1
        frames = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return frames.astype(np.float32) / 32768, file.getframerate()


def random_folder(folder, seed=7, size="small-test", **settings):
    """Writes a Whisper with random weights and, unless the size says another, a window of a second; returns the
    eager model."""
    tokenizer = make_tokenizer(Language().words)
    model = make_random(size, tokenizer, seed)
    generation = make_generation_config(tokenizer)
    generation.max_length = model.config.max_target_positions
    for name, value in settings.items():
        setattr(generation, name, value)
    model.generation_config = generation
    model.save_pretrained(folder)
    tokenizer.save(str(folder / "tokenizer.json"))
    WhisperFeatureExtractor(feature_size=80, n_fft=400, hop_length=160,
                            chunk_length=model.config.max_source_positions // 50).save_pretrained(folder)
    return model


def noise(seconds, seed=3):
    """Noise at 16 kHz that swells and fades."""
    random = np.random.default_rng(seed)
    loudness = np.repeat(random.uniform(0, 1, int(seconds * 10) + 1), 1600)[:int(seconds * 16000)]
    return (random.normal(0, 0.1, len(loudness)) * loudness).astype(np.float32)

"""Human speech through a trained model: transformers on the same weights is the oracle."""

import json
import wave

import numpy as np
import pytest
import torch
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from conftest import ROOT

CLIPS = sorted((ROOT / "demo" / "speech").glob("*.wav"))
RATE, END = 16000, 50256


def read(path):
    with wave.open(str(path)) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32768
        return sound, file.getframerate()


def write(path, sound, rate):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype("<i2").tobytes())


def resampled(sound, rate, wanted):
    """The sound at another rate, by the definition: its spectrum, cut or continued with zeros."""
    length = round(len(sound) * wanted / rate)
    spectrum = np.fft.rfft(sound)[:length // 2 + 1]
    padded = np.zeros(length // 2 + 1, complex)
    padded[:len(spectrum)] = spectrum
    return np.fft.irfft(padded, length) * length / len(sound)


@pytest.fixture(scope="module")
def oracle(tiny_en):
    model = WhisperForConditionalGeneration.from_pretrained(tiny_en, dtype=torch.float32).eval()
    features = WhisperFeatureExtractor.from_pretrained(tiny_en)

    def tokens(sound, beams, timestamps):
        inputs = features(sound.astype(np.float32), sampling_rate=RATE, return_tensors="pt").input_features
        with torch.no_grad():
            ids = model.generate(inputs, num_beams=beams, return_timestamps=timestamps)[0]
        return [token for token in ids.tolist() if token < END]

    return tokens


@pytest.mark.parametrize("rate", [None, 44100], ids=["22.05 kHz", "44.1 kHz"])
@pytest.mark.parametrize("beams", [1, 5], ids=["greedy", "beams"])
def test_tokens_are_those_of_transformers(crosslatch, tiny_en, oracle, beams, rate, tmp_path):
    assert CLIPS
    for clip in CLIPS:
        sound, native = read(clip)
        path = clip
        if rate:
            path = tmp_path / clip.name
            write(path, resampled(sound, native, rate), rate)
            sound, native = read(path)
        for timestamps in (True,) if rate else (True, False):
            out, _ = crosslatch("transcribe", path, "--model", tiny_en, "--format", "json", "--beam-size", beams,
                                "--timestamps" if timestamps else "--no-timestamps")
            ours = [token for segment in json.loads(out)["segments"] for token in segment["tokens"] if token < END]
            assert ours == oracle(resampled(sound, native, RATE), beams, timestamps), (clip.name, timestamps)

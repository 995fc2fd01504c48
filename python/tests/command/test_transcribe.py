"""Long sound through the command and through transformers' generate: the same tokens.

The demo model hears sentences of its language, one after the other; a model with random weights hears
noise and writes nonsense with many timestamps.  Both are also run with beams, a prompt, the previous
text, and values that are too small or too large.
"""

import json
import wave

import numpy as np
import pytest
import torch
from random_whisper import make_random
from transformers import WhisperFeatureExtractor

from conftest import ROOT
from export import pack
from grammar import Language
from model import make_feature_extractor, make_generation_config
from programs import export_programs
from test_whisper import DEMO, demo_model
from tokenizer import make_tokenizer

SAMPLES = ROOT / "demo" / "samples"
RATE = 16_000


def read(name):
    with wave.open(str(SAMPLES / name)) as file:
        return np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)


def write(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).astype(np.int16).tobytes())


class Heard:
    """A model in a file, the eager one, and a sound."""

    def __init__(self, path, model, extractor, generation, sound, folder):
        self.path, self.model, self.extractor = path, model, extractor
        self.generation, self.file = generation, folder / "sound.wav"
        write(self.file, sound)
        with wave.open(str(self.file)) as file:
            self.sound = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)

    def segments(self, **arguments):
        """The segments that transformers finds: (start, end, tokens)."""
        # `generate` changes its arguments.
        self.model.generation_config = type(self.generation).from_dict(self.generation.to_dict())
        features = self.extractor(self.sound, sampling_rate=RATE, return_tensors="pt",
                                  truncation=False, padding="longest").input_features
        with torch.no_grad():
            out = self.model.generate(features, return_timestamps=True, return_segments=True, **arguments)
        return [(float(s["start"]), float(s["end"]), s["tokens"].tolist()) for s in out["segments"][0]]


@pytest.fixture(scope="module", params=["demo", "random"])
def heard(request, tmp_path_factory):
    tokenizer = make_tokenizer(Language().words)
    folder = tmp_path_factory.mktemp("heard")
    generation = make_generation_config(tokenizer)
    if request.param == "demo":
        pause = np.zeros(RATE // 2, np.float32)
        parts = [x for name in ("light.wav", "timer.wav", "heldout-voice.wav") for x in (read(name), pause)]
        sound = np.concatenate(parts * 2)
        return Heard(DEMO, demo_model(tokenizer), make_feature_extractor(), generation, sound, folder)
    model = make_random("small-test", tokenizer, seed=7)
    generation.max_length = model.config.max_target_positions
    extractor = WhisperFeatureExtractor(feature_size=80, n_fft=400, hop_length=160, chunk_length=1)
    pack(folder / "model.pt2", export_programs(model), tokenizer, model.config, generation, extractor)
    random = np.random.default_rng(3)
    sound = random.normal(0, 0.1, 4 * RATE + 700) * np.repeat(random.uniform(0, 1, 41), 1600)[:4 * RATE + 700]
    return Heard(folder / "model.pt2", model, extractor, generation, sound.astype(np.float32), folder)


HISTORY = dict(condition_on_prev_tokens=True), ["--condition-on-previous"]
CASES = {
    "greedy": ({}, []),
    "history": HISTORY,
    "few tokens": (dict(max_new_tokens=9), ["--max-new-tokens", 9]),
    "beams": (dict(num_beams=3), ["--beam-size", 3]),
    "translated": (dict(task="translate"), ["--task", "translate"]),
    "silence": (dict(logprob_threshold=-0.5, no_speech_threshold=1e-9, temperature=[0.0]),
                ["--logprob-threshold", -0.5, "--no-speech-threshold", 1e-9]),
}


@pytest.mark.parametrize("case", CASES)
def test_long_sound_is_decoded_as_by_transformers(crosslatch, heard, case):
    arguments, flags = CASES[case]
    expected = heard.segments(**arguments)
    out, _ = crosslatch("transcribe", heard.file, "--model", heard.path, "--format", "json", *flags)
    segments = json.loads(out)["segments"]
    assert [s["tokens"] for s in segments] == [tokens for _, _, tokens in expected]
    duration = len(heard.sound) / RATE
    before = 0.0
    for segment, (start, end, _) in zip(segments, expected):
        # transformers lets segments lie behind the sound, and overlap if the model writes a timestamp behind
        # its window.
        start = min(max(start, before), duration)
        times = start, max(start, min(end, duration))
        before = times[1]
        assert (segment["start"], segment["end"]) == pytest.approx(times, abs=1e-6)
    assert len(segments) > 2 or case == "silence"


def test_a_prompt_goes_in_front_as_in_transformers(crosslatch, heard):
    tokenizer = make_tokenizer(Language().words)
    words = "set a timer"
    ids = tokenizer.encode(" " + words, add_special_tokens=False).ids
    prompt = torch.tensor([tokenizer.token_to_id("<|startofprev|>"), *ids])
    for (arguments, flags) in (({}, []), HISTORY):
        expected = heard.segments(prompt_ids=prompt, **arguments)
        out, _ = crosslatch("transcribe", heard.file, "--model", heard.path, "--format", "json",
                            "--prompt", words, *flags)
        assert [s["tokens"] for s in json.loads(out)["segments"]] == [t for _, _, t in expected]

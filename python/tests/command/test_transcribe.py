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
    "long beams": (dict(num_beams=3, length_penalty=2.5), ["--beam-size", 3, "--length-penalty", 2.5]),
    "short beams": (dict(num_beams=3, length_penalty=-1.5), ["--beam-size", 3, "--length-penalty=-1.5"]),
    "no repetition": (dict(no_repeat_ngram_size=2), ["--no-repeat-ngram-size", 2]),
    "no repetition in beams": (dict(num_beams=2, no_repeat_ngram_size=1, **HISTORY[0]),
                               ["--beam-size", 2, "--no-repeat-ngram-size", 1, *HISTORY[1]]),
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
        # transformers lets segments lie behind the sound or their window, and so overlap.
        limit = min(segment["seek"] / 100 + heard.extractor.chunk_length, duration)
        start = min(max(start, before), limit)
        times = start, max(start, min(end, limit))
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


def test_hotwords_stand_in_front_of_every_window(crosslatch, heard):
    """With no text before it, they are what a prompt is; with one, they come first and stay."""
    def tokens(*flags):
        out, _ = crosslatch("transcribe", heard.file, "--model", heard.path, "--format", "json", *flags)
        return [s["tokens"] for s in json.loads(out)["segments"]]

    words, more = "set a timer", "what is the weather"
    assert tokens("--hotwords", words) == tokens("--prompt", words)
    assert tokens("--hotwords", words, "--prompt", more) == tokens("--prompt", f"{words} {more}")
    # A prompt that stays is what hotwords are beside the text before.
    kept = tokens("--prompt", words, "--keep-prompt", "--condition-on-previous")
    assert tokens("--hotwords", words, "--condition-on-previous") == kept


def minute(kind):
    random = np.random.default_rng(4)
    time = np.arange(60 * RATE) / RATE
    match kind:
        case "silence":
            return np.zeros(len(time))
        case "noise":
            return random.normal(0, 0.1, len(time))
        case "rumble":
            spectrum = np.fft.rfft(random.normal(0, 1, len(time)))
            noise = np.fft.irfft(spectrum / np.sqrt(np.arange(1, len(spectrum) + 1)), len(time))
            return noise * 0.1 / noise.std()
        case "tones":
            notes = random.choice([220, 261.6, 329.6, 392, 440, 523.3], 240).repeat(RATE // 4)
            fade = np.exp(-3 * (time % 0.25))
            return 0.2 * fade * sum(np.sin(2 * np.pi * notes * n * time) / n for n in (1, 2, 3, 4))


@pytest.mark.parametrize("kind", ["silence", "noise", "rumble", "tones"])
def test_a_minute_without_speech_gives_no_text(crosslatch, tmp_path, kind):
    write(tmp_path / "sound.wav", minute(kind))
    for flags in ([], ["--batch", 2]):
        out, _ = crosslatch("transcribe", tmp_path / "sound.wav", "--model", DEMO, "--format", "json", "--vad", *flags)
        transcript = json.loads(out)
        assert (transcript["text"], transcript["segments"], transcript["duration"]) == ("", [], 60)


def test_speech_between_noise_and_tones_keeps_its_words_and_times(crosslatch, tmp_path):
    for name, kind in zip(("light.wav", "timer.wav", "heldout-voice.wav"), ("noise", "tones", "silence")):
        alone, _ = crosslatch("transcribe", SAMPLES / name, "--model", DEMO)
        around, spoken = minute(kind)[:12 * RATE] * 0.1, read(name)
        write(tmp_path / name, np.concatenate([around, spoken, around]))
        start, end = 12, 12 + len(spoken) / RATE
        for flags in ([], ["--batch", 2]):
            out, _ = crosslatch("transcribe", tmp_path / name, "--model", DEMO, "--format", "json", "--vad", *flags)
            transcript = json.loads(out)
            assert transcript["text"] == alone.strip()
            for segment in transcript["segments"]:
                assert start - 0.5 <= segment["start"] <= segment["end"] <= end + 0.5, segment

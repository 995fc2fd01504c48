"""Times of words: transformers' `generate` with `return_token_timestamps` is the oracle, on random models."""

import json
import wave

import numpy as np
import pytest
import torch
from random_whisper import SIZES
from tokenizers import Tokenizer
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.tokenization_whisper import _combine_tokens_into_words

import crosslatch as package

from .speech import SAMPLES, noise, random_folder

# Heads of 10 and 6, two decoder layers over four of the encoder, a window of two seconds.
SIZES["words-test"] = dict(d_model=30, encoder_layers=4, decoder_layers=2, encoder_attention_heads=3,
                           decoder_attention_heads=5, encoder_ffn_dim=64, decoder_ffn_dim=80,
                           max_source_positions=100, max_target_positions=60)
MODELS = {
    "small-test": dict(alignment_heads=[[0, 1], [2, 0], [2, 2]]),
    "words-test": dict(alignment_heads=[[1, 4], [0, 2]]),
}
# A path may go either way where two cost the same.
STEP = 0.0201


class Words:
    """What transformers' function for words asks of a tokenizer."""

    language = None

    def __init__(self, folder, eos):
        self.tokenizer, self.eos_token_id = Tokenizer.from_file(str(folder / "tokenizer.json")), eos

    def decode(self, tokens, **_):
        return self.tokenizer.decode(tokens)


@pytest.fixture(scope="module", params=MODELS)
def random(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    return folder, random_folder(folder, seed=11, size=request.param, **MODELS[request.param])


def expected(folder, model, sound, **options):
    """[[(word, start, end)] for each segment]"""
    model.generation_config = type(model.generation_config).from_pretrained(folder)
    config = model.generation_config
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    is_long = len(sound) > extractor.n_samples
    kind = dict(truncation=False, padding="longest") if is_long else {}
    inputs = extractor(sound, sampling_rate=16000, return_tensors="pt", return_attention_mask=True, **kind)
    with torch.no_grad():
        out = model.generate(inputs.input_features, attention_mask=inputs.attention_mask, return_timestamps=True,
                             return_token_timestamps=True, return_segments=True, **options)
    words = Words(folder, config.eos_token_id)
    begin = config.no_timestamps_token_id + 1
    segments, before = [], 0.0
    for segment in out["segments"][0]:
        text, times = [], []
        for token, end in zip(segment["tokens"].tolist(), segment["token_timestamps"].tolist()):
            if token < begin and token != config.eos_token_id:
                text.append(token)
                times.append((before, end))
            before = end
        joined, _, places = _combine_tokens_into_words(words, text)
        segments.append([(word, times[own[0]][0], times[own[-1]][1]) for word, own in zip(joined, places)])
    return segments


def same(transcript, wanted):
    got = [segment.words for segment in transcript.segments]
    assert [[w.word for w in words] for words in got] == [[w for w, _, _ in words] for words in wanted]
    off = [(w.word, w.start, w.end, start, end) for words, theirs in zip(got, wanted)
           for w, (_, start, end) in zip(words, theirs)
           if abs(w.start - start) > STEP or abs(w.end - end) > STEP]
    assert not off


@pytest.mark.parametrize("seconds", [0.7, 1.0, 6.3])
@pytest.mark.parametrize("beams", [1, 3])
def test_words_have_the_times_of_transformers(random, seconds, beams):
    folder, model = random
    sound = noise(seconds, seed=int(seconds * 10))
    transcriber = package.Transcriber(folder, threads=2)
    transcript = transcriber.transcribe(sound, 16000, word_timestamps=True, beam_size=beams).transcript()
    assert any(segment.words for segment in transcript.segments)
    same(transcript, expected(folder, model, sound, num_beams=beams))
    for segment in transcript.segments:
        assert "".join(word.word for word in segment.words).strip() == segment.text
        assert all(0 < word.probability <= 1 for word in segment.words)
    plain = transcriber.transcribe(sound, 16000, timestamps=True, beam_size=beams).transcript()
    assert [s.text for s in plain.segments] == [s.text for s in transcript.segments]
    assert all(segment.words is None for segment in plain.segments)


def test_every_kind_of_file_says_them(random, tmp_path):
    folder, model = random
    sound = noise(3.1, seed=5)
    wanted = expected(folder, model, sound)
    exported = tmp_path / "model.pt2"
    package.export(str(folder), exported)
    for file in (folder, exported):
        transcript = package.Transcriber(file).transcribe(sound, 16000, word_timestamps=True).transcript()
        same(transcript, wanted)
    for precision in ("bf16", "int8"):
        transcriber = package.Transcriber(exported, precision=precision)
        for batch in (None, 2):
            transcript = transcriber.transcribe(sound, 16000, word_timestamps=True, batch=batch).transcript()
            for segment in transcript.segments:
                ends = [word.end for word in segment.words]
                assert ends == sorted(ends) and all(0 <= end <= 3.1 for end in ends)


def test_models_that_name_no_heads_take_the_last_half_of_the_layers(tmp_path):
    layers, heads = SIZES["small-test"]["decoder_layers"], SIZES["small-test"]["decoder_attention_heads"]
    named = [[layer, head] for layer in range(layers // 2, layers) for head in range(heads)]
    sound = noise(0.9, seed=2)
    said = []
    for name, settings in (("named", dict(alignment_heads=named)), ("unnamed", {})):
        random_folder(tmp_path / name, seed=4, **settings)
        transcriber = package.Transcriber(tmp_path / name)
        said.append(transcriber.transcribe(sound, 16000, word_timestamps=True).transcript())
    assert said[0].segments[0].words and said[0] == said[1]


def test_a_model_that_cannot_say_them_is_warned_about(tmp_path):
    random_folder(tmp_path, alignment_heads=[[0, 1], [7, 0]])
    transcriber = package.Transcriber(tmp_path)
    with pytest.warns(UserWarning, match="head 0 of layer 7 .* its graph has 3 layers with cross-attention"):
        transcript = transcriber.transcribe(noise(0.9), 16000, word_timestamps=True).transcript()
    assert transcript.segments and all(segment.words is None for segment in transcript.segments)


def test_the_command_writes_them(crosslatch, tmp_path):
    file = SAMPLES / "light.wav"
    out, error = crosslatch("transcribe", file, "--word-timestamps", "--format", "json")
    assert "warning" not in error
    (segment,) = json.loads(out)["segments"]
    words = segment["words"]
    assert "".join(word["word"] for word in words).strip() == segment["text"]
    assert list(words[0]) == ["start", "end", "word", "probability"]
    srt, _ = crosslatch("transcribe", file, "--max-words-per-line", 1, "--format", "srt")
    cues = srt.strip().split("\n\n")
    assert [cue.split("\n")[2] for cue in cues] == [word["word"].strip() for word in words]
    vtt, _ = crosslatch("transcribe", file, "--highlight-words", "--format", "vtt")
    for word in words:
        assert word["end"] == word["start"] or f"<u>{word['word'].strip()}</u>" in vtt
    _, error = crosslatch("transcribe", file, "--highlight-words", status=2)
    assert "only srt and vtt show words one by one" in error
    random_folder(tmp_path / "model", alignment_heads=[[9, 9]])
    sound = tmp_path / "noise.wav"
    with wave.open(str(sound), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(np.round(noise(0.9) * 32767).astype(np.int16).tobytes())
    said, error = crosslatch("transcribe", sound, "-m", tmp_path / "model", "--word-timestamps", "--format", "json")
    assert "words have no times" in error and "layer 9" in error
    assert json.loads(said)["segments"] and "words" not in json.loads(said)["segments"][0]


def test_what_seems_invented_is_left_out(random, crosslatch, tmp_path):
    folder, _ = random
    sound = noise(9.7, seed=3)
    transcriber = package.Transcriber(folder, threads=2)
    everything = transcriber.transcribe(sound, 16000, word_timestamps=True).transcript()
    said = [transcriber.transcribe(sound, 16000, hallucination_silence_threshold=seconds).transcript()
            for seconds in (0, 0.3, 1.5)]
    assert any(transcript != everything for transcript in said)
    for transcript in said:
        ends = [segment.end for segment in transcript.segments]
        assert ends == sorted(ends) and all(segment.words is not None for segment in transcript.segments)
    file = tmp_path / "noise.wav"
    samples = np.round(sound * 32767).astype(np.int16)
    with wave.open(str(file), "wb") as out:
        out.setparams((1, 2, 16000, 0, "NONE", ""))
        out.writeframes(samples.tobytes())
    said = transcriber.transcribe(samples, 16000, hallucination_silence_threshold=0.3).transcript()
    out, _ = crosslatch("transcribe", file, "-m", folder, "--hallucination-silence-threshold", 0.3, "--threads", 2)
    assert out.split() == said.text.split()
    with pytest.raises(package.Error, match="hallucination_silence_threshold: must be a number of seconds"):
        transcriber.transcribe(sound, 16000, hallucination_silence_threshold=-1.0)

"""Speech to text from Python: the command's transcripts, one segment after the other."""

import json
import threading
import time
import wave

import numpy as np
import pytest
import torch

import crosslatch
from conftest import ROOT

DEMO = ROOT / "demo" / "model.pt2"
SAMPLES = ROOT / "demo" / "samples"
EXPECTED = dict(line.split("\t") for line in (SAMPLES / "transcripts.txt").read_text().splitlines())


@pytest.fixture(scope="module")
def transcriber():
    return crosslatch.Transcriber(DEMO, threads=2)


def samples(name):
    with wave.open(str(SAMPLES / name)) as file:
        assert file.getsampwidth() == 2 and file.getnchannels() == 1
        frames = np.frombuffer(file.readframes(file.getnframes()), np.int16)
        return frames.astype(np.float32) / 32768, file.getframerate()


def long_sound(windows):
    """The same words at the start of each window of six seconds."""
    sound, rate = samples("light.wav")
    return np.tile(np.pad(sound, (0, 6 * rate - len(sound))), windows), rate


def test_files_and_samples_are_transcribed(transcriber):
    texts = {name: transcriber.transcribe(SAMPLES / name).transcript().text for name in EXPECTED}
    assert texts == EXPECTED
    for name in ("light.wav", "message-22khz.wav"):
        sound, rate = samples(name)
        for given in (sound, torch.from_numpy(sound), np.repeat(sound, 2)[::2], sound[::-1][::-1]):
            assert transcriber.transcribe(given, rate).transcript().text == EXPECTED[name]


def test_the_contents_of_a_file_will_do(transcriber):
    for name in ("alarm.mp3", "wake-up.flac"):
        contents = (SAMPLES / name).read_bytes()
        for given in (contents, bytearray(contents)):
            assert transcriber.transcribe(given).transcript().text == EXPECTED[name]
    with pytest.raises(crosslatch.Error, match="the sound"):
        transcriber.transcribe(b"no sound at all")
    with pytest.raises(TypeError, match="sample rate itself"):
        transcriber.transcribe(contents, 16000)


def test_segments_are_those_of_the_command(crosslatch, transcriber):
    out, _ = crosslatch("transcribe", "--format", "json", SAMPLES / "timer.wav")
    expected = json.loads(out)
    transcript = transcriber.transcribe(SAMPLES / "timer.wav").transcript()
    assert transcript.text == expected["text"]
    assert transcript.duration == pytest.approx(expected["duration"])
    assert len(transcript.segments) == len(expected["segments"])
    for segment, fields in zip(transcript.segments, expected["segments"]):
        assert (segment.text, segment.tokens) == (fields["text"], fields["tokens"])
        for number in ("start", "end", "avg_logprob"):
            assert getattr(segment, number) == pytest.approx(fields[number])


def test_segments_come_out_as_they_are_decoded(transcriber):
    windows = 24
    transcription = transcriber.transcribe(*long_sound(windows))
    begun = time.perf_counter()
    arrived, texts = [], []
    for segment in transcription:
        arrived.append(time.perf_counter() - begun)
        texts.append(segment.text)
        assert segment.start == pytest.approx(6 * (len(texts) - 1))
    assert texts == [EXPECTED["light.wav"]] * windows
    assert arrived[0] < arrived[-1] / 3, arrived
    whole = transcription.transcript()
    assert [s.text for s in whole.segments] == texts and whole.text == " ".join(texts)
    assert next(transcription, None) is None


def test_the_rest_can_be_left_undecoded(transcriber):
    """A sound whose decoding would take many times as long as this test."""
    transcription = transcriber.transcribe(*long_sound(600))
    assert next(transcription).text == EXPECTED["light.wav"]
    begun = time.perf_counter()
    del transcription
    assert time.perf_counter() - begun < 1
    assert transcriber.transcribe(SAMPLES / "timer.wav").transcript().text == EXPECTED["timer.wav"]


def test_transcripts_are_made_side_by_side(transcriber):
    one, other = (transcriber.transcribe(SAMPLES / name) for name in ("light.wav", "timer.wav"))
    assert [(a.text, b.text) for a, b in zip(one, other)] \
        == [(EXPECTED["light.wav"], EXPECTED["timer.wav"])]
    results = {}

    def work(name):
        results[name] = transcriber.transcribe(SAMPLES / name).transcript().text

    threads = [threading.Thread(target=work, args=[name]) for name in EXPECTED]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == EXPECTED


def test_what_is_no_sound_is_refused(transcriber):
    sound, rate = samples("light.wav")
    with pytest.raises(FileNotFoundError) as caught:
        transcriber.transcribe("missing.wav")
    assert caught.value.filename == "missing.wav"
    holed = sound.copy()
    holed[7] = np.nan
    for call, message in [
        (lambda: transcriber.transcribe(ROOT / "README.md"), "README.md: is not a sound file"),
        (lambda: transcriber.transcribe(sound.astype(np.float64), rate), r"the sound is f64\["),
        (lambda: transcriber.transcribe(sound.reshape(1, -1), rate), r"the sound is f32\[1, "),
        (lambda: transcriber.transcribe(holed, rate), "sample 7 of the sound is not a finite"),
        (lambda: transcriber.transcribe(sound, 0), "the sample rate is 0 Hz; it must be"),
        (lambda: transcriber.transcribe([0.0], rate), "the sound is a list; give"),
        (lambda: transcriber.transcribe(sound[:0], rate).transcript(), "no sound to transcribe"),
        (lambda: transcriber.transcribe(sound, rate, language="xx"), "language|English"),
    ]:
        with pytest.raises(crosslatch.Error, match=message):
            call()
    with pytest.raises(TypeError, match="give the samples' rate"):
        transcriber.transcribe(sound)
    with pytest.raises(TypeError, match="says its sample rate itself"):
        transcriber.transcribe(SAMPLES / "light.wav", 16000)
    with pytest.raises(ValueError, match="task is"):
        transcriber.transcribe(sound, rate, task="sing")


def test_what_is_no_speech_model_is_refused(tmp_path):
    path = tmp_path / "m.pt2"
    torch.export.save(torch.export.export(torch.nn.ReLU(), (torch.zeros(2),)), path)
    with pytest.raises(crosslatch.Error, match="m.pt2: .*not a speech model: the archive has no"):
        crosslatch.Transcriber(path)
    with pytest.raises(FileNotFoundError):
        crosslatch.Transcriber(tmp_path / "missing.pt2")

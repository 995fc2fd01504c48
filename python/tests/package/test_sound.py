"""What sound may be given as: every way gives the same transcript, what is ambiguous is refused."""

import io
import wave

import numpy as np
import pytest
import torch
from .speech import DEMO, EXPECTED, SAMPLES, samples

import crosslatch


@pytest.fixture(scope="module")
def transcriber():
    return crosslatch.Transcriber(DEMO, threads=2)


def said(transcriber, *sound, **options):
    return transcriber.transcribe(*sound, **options).transcript()


def test_files_come_by_name_by_contents_and_open(transcriber):
    for name in ("alarm.mp3", "wake-up.flac"):
        path = SAMPLES / name
        contents = path.read_bytes()
        with open(path, "rb") as file:
            given = [path, str(path), contents, bytearray(contents), memoryview(contents)[:],
                     io.BytesIO(contents), file]
            for sound in given:
                assert said(transcriber, sound).text == EXPECTED[name]
    with pytest.raises(crosslatch.Error, match="the sound"):
        said(transcriber, b"no sound at all")
    with open(SAMPLES / "transcripts.txt") as text, pytest.raises(TypeError, match='mode "rb"'):
        said(transcriber, text)
    for sound in (SAMPLES / "light.wav", io.BytesIO(contents)):
        with pytest.raises(TypeError, match="sample rate itself"):
            said(transcriber, sound, 16000)


def test_a_file_that_was_cut_off_is_a_warning(transcriber):
    contents = (SAMPLES / "light.wav").read_bytes()
    with pytest.warns(UserWarning, match="the sound: "):
        assert said(transcriber, contents[:-8000]).duration == pytest.approx(
            said(transcriber, contents).duration - 0.25, abs=0.01)


def test_samples_of_every_type_are_the_same_sound(transcriber):
    sound, rate = samples("light.wav")
    whole = said(transcriber, sound, rate)
    assert whole.text == EXPECTED["light.wav"]
    short = (sound * 32768).astype(np.int16)
    for given in (
        short,
        torch.from_numpy(short),
        short.astype(np.int32) << 16,
        sound.astype(np.float64),
        sound.astype(np.float64).tolist(),
        tuple(sound.tolist()),
        torch.from_numpy(sound),
        np.repeat(sound, 3)[::3],
        sound[::-1][::-1],
        sound.astype(sound.dtype.newbyteorder(">")),
    ):
        assert said(transcriber, given, sample_rate=rate) == whole
    # Fewer bits are another sound, and still the same words.
    for given in (sound.astype(np.float16), torch.from_numpy(sound).bfloat16()):
        assert said(transcriber, given, rate).text == whole.text
    loud = sound / np.abs(sound).max()
    eight = [np.round(loud * 127).astype(np.int8), np.round(loud * 127 + 128).astype(np.uint8)]
    assert said(transcriber, eight[0], rate) == said(transcriber, eight[1], rate)


def test_channels_are_averaged_wherever_they_stand(transcriber):
    sound, rate = samples("timer.wav")
    whole = said(transcriber, sound, rate)
    difference = np.random.default_rng(1).normal(0, 0.1, len(sound)).astype(np.float32)
    for channels in (1, 2, 8):
        # They differ, and their mean is the sound.
        each = [sound + difference * (-1) ** i if channels > 1 else sound for i in range(channels)]
        for given in (np.stack(each), np.stack(each, 1), torch.from_numpy(np.stack(each)),
                      np.asfortranarray(np.stack(each))):
            assert said(transcriber, given, rate).text == whole.text
    assert said(transcriber, [[0.0] * 20 + [0.25], [0.0] * 20 + [0.75]], rate).duration == 21 / rate


def test_sound_at_other_rates_is_resampled(transcriber):
    sound, rate = samples("message-22khz.wav")
    assert rate != transcriber.sample_rate
    for given in (sound, (sound * 32768).astype(np.int16), np.stack([sound, sound])):
        assert said(transcriber, given, rate).text == EXPECTED["message-22khz.wav"]


def test_what_is_no_sound_is_refused(transcriber):
    sound, rate = samples("light.wav")
    with pytest.raises(FileNotFoundError) as caught:
        transcriber.transcribe("missing.wav")
    assert caught.value.filename == "missing.wav"
    holed = sound.copy()
    holed[7] = np.nan
    shapes = r"give \[samples\], \[channels, samples\] or \[samples, channels\]"
    for given, at, message in [
        (SAMPLES.parent.parent / "README.md", None, "README.md: is not a sound file"),
        (sound[:64].reshape(8, 8), rate, shapes),
        (sound[:81].reshape(9, 9), rate, shapes),
        (sound.reshape(1, 1, -1), rate, shapes),
        (np.zeros((2, 0), np.float32), rate, shapes),
        (np.float32(0.5), rate, shapes),
        (sound * 32768, rate, r"sample \d+ of the sound is -?\d+.*; give whole numbers as int16"),
        ((sound * 32768).astype(np.int64), rate, r"the sound is i64\[.*such as int16"),
        (sound > 0, rate, r"the sound is bool\["),
        (sound.astype(np.complex64), rate, r"the sound is c64\["),
        (["a", "b"], rate, "the sound is no regular list|elements of type"),
        ([[0.0, 1.0], [0.0]], rate, "no regular list"),
        (object(), rate, "the sound is a object; give"),
        (holed, rate, "sample 7 of the sound is not a finite"),
        (sound, 0, "the sample rate is 0 Hz; it must be"),
    ]:
        with pytest.raises(crosslatch.Error, match=message):
            transcriber.transcribe(given, *[at] * (at is not None))
    with pytest.raises(crosslatch.Error, match="no sound to transcribe"):
        said(transcriber, sound[:0], rate)
    with pytest.raises(TypeError, match="give the samples' rate"):
        transcriber.transcribe(sound)


def test_sound_is_read_as_samples():
    path = SAMPLES / "light.wav"
    with wave.open(str(path)) as file:
        numbers = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    read = crosslatch.decode_audio(path)
    assert read.dtype == np.float32 and read.tobytes() == (numbers / 32768).astype(np.float32).tobytes()
    assert crosslatch.decode_audio(numbers, sample_rate=16_000).tobytes() == read.tobytes()
    # Twice the rate is twice as many samples of the same sound.
    doubled = crosslatch.decode_audio(path.read_bytes(), 32_000)
    assert abs(len(doubled) - 2 * len(read)) <= 2
    length = min(len(read), len(doubled[::2]))
    np.testing.assert_allclose(doubled[::2][:length], read[:length], atol=2e-2)
    for wrong in (lambda: crosslatch.decode_audio(path, 1), lambda: crosslatch.decode_audio(numbers, sample_rate=0)):
        with pytest.raises(crosslatch.Error, match="the sample rate is [01] Hz"):
            wrong()
    with pytest.raises(TypeError, match="give the samples' rate"):
        crosslatch.decode_audio(numbers)

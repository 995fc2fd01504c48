"""Writes demo/samples: held-out sentences as sound files in the formats that people have.

Each file is read back and transcribed by the trained model; a sentence that the model gets wrong
is replaced by the next one.  The samples therefore show that a runtime works, not how good the
model is: for that see evaluate.py.  Needs `flac` and `lame` for the two compressed files.

`python demo/samples.py` uses the checkpoint in demo/build.
"""

import random
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from evaluate import load_trained, transcribe
from grammar import Language
from sound import RATE, WINDOW
from synthesise import ESPEAK_RATE, HELD_OUT_VOICES, espeak, resample

FOLDER = Path(__file__).with_name("samples")
# file name, voice, sampling rate, channels, a word of the sentence (or "number"), and by how many
# decibels the noise is below the speech
FILES = [
    ("light.wav", "en-us+f3", 16_000, 1, "light", None),
    ("timer.wav", "en-gb-scotland+m3", 16_000, 1, "timer", None),
    ("number-noisy.wav", "en-gb-x-rp+f2", 16_000, 1, "number", 20),
    ("heldout-voice.wav", HELD_OUT_VOICES[0], 16_000, 1, "remind", None),
    ("message-22khz.wav", "en-us-nyc+m7", 22_050, 1, "message", None),
    ("weather-44khz-stereo.wav", "en-gb+f1", 44_100, 2, "will", None),
    ("wake-up.flac", "en-us+m2", 16_000, 1, "wake", None),
    ("alarm.mp3", "en-gb-x-gbclan+f5", 16_000, 1, "alarm", None),
]


def write_wav(path, samples, rate, channels):
    """`samples` is mono; a second channel gets it a little quieter."""
    data = np.stack([samples * (1 - 0.3 * channel) for channel in range(channels)], 1)
    with wave.open(str(path), "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(2)
        out.setframerate(rate)
        out.writeframes((data * 32767).astype("<i2").tobytes())


def read_16khz(path):
    """Any of the files as 16 kHz mono."""
    with tempfile.TemporaryDirectory() as folder:
        if path.suffix == ".wav":
            plain = path
        else:
            plain = Path(folder) / "plain.wav"
            decode = ["flac", "-d", "-s", "-o", str(plain), str(path)]
            if path.suffix == ".mp3":
                decode = ["lame", "--decode", "--quiet", str(path), str(plain)]
            subprocess.run(decode, check=True, capture_output=True)
        with wave.open(str(plain), "rb") as wav:
            raw = np.frombuffer(wav.readframes(wav.getnframes()), "<i2").astype(np.float32) / 32768
            mono = raw.reshape(-1, wav.getnchannels()).mean(1)
            return resample(mono, wav.getframerate(), RATE)


def write(path, text, voice, rate, channels, noise):
    speech = resample(espeak(text, voice, 150, 50), ESPEAK_RATE, rate)
    speech = np.concatenate([np.zeros(rate // 4, np.float32), speech])
    speech *= 0.6 / np.abs(speech).max()
    if noise is not None:
        level = np.sqrt((speech ** 2).mean()) * 10 ** (-noise / 20)
        speech += np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32) * level
    wav = path if path.suffix == ".wav" else path.with_suffix(".wav")
    write_wav(wav, speech, rate, channels)
    if path.suffix == ".flac":
        subprocess.run(["flac", "-s", "-f", "-8", "-o", str(path), str(wav)], check=True)
    elif path.suffix == ".mp3":
        subprocess.run(["lame", "--quiet", "-b", "64", str(wav), str(path)], check=True)
    if wav != path:
        wav.unlink()


def matches(text, topic):
    digits = {"zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"}
    return set(text.split()) <= digits if topic == "number" else topic in text


def main():
    model, tokenizer = load_trained()
    language = Language()
    FOLDER.mkdir(exist_ok=True)
    sentences = language.evaluation_sentences(300)
    random.Random(5).shuffle(sentences)
    lines = []
    for name, voice, rate, channels, topic, noise in FILES:
        path = FOLDER / name
        for text in [text for text in sentences if matches(text, topic)]:
            write(path, text, voice, rate, channels, noise)
            heard = read_16khz(path)[:WINDOW]
            heard = np.pad(heard, (0, WINDOW - len(heard)))
            if transcribe(model, tokenizer, [heard]) == [text]:
                lines.append(f"{name}\t{text}\n")
                break
            print(f"{name}: not {text!r}")
        else:
            path.unlink()
            print(f"{name}: left out, no sentence was heard right")
    (FOLDER / "transcripts.txt").write_text("".join(lines), encoding="utf-8")
    print("".join(lines), end="")


if __name__ == "__main__":
    main()

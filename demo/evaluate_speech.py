"""Word error rate of a Whisper on recordings of people, as the command runs it, in each precision.

    python demo/evaluate_speech.py MODEL FOLDER [--command PATH] [--precisions f32,bf16,int8]

MODEL is whatever `crosslatch transcribe --model` takes.  FOLDER holds recordings and `transcripts.json`,
which maps the name of each to what is said in it; demo/speech is such a folder.  Each recording is
transcribed as it is and with white noise 10 dB below it, greedily and with five beams.  Texts are
compared after Whisper's own normalisation of English (case, punctuation, contractions, numbers).
"""

import argparse
import json
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np
from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

import crosslatch
from words import texts, word_errors

PRECISIONS = "f32,bf16,int8"
SEARCHES = {"greedy": [], "5 beams": ["--beam-size", "5"]}
RATE = 16000


def with_noise(sound, decibels, seed):
    """The sound with white noise so many decibels below it."""
    level = np.sqrt(np.mean(sound**2)) * 10 ** (-decibels / 20)
    noise = np.random.default_rng(seed).normal(size=len(sound)) * level
    return np.clip(sound + noise, -1, 1)


def write(path, sound):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((sound * 32767).astype("<i2").tobytes())


def transcribe(command, model, files, *options):
    """The texts of the files, in their order."""
    done = subprocess.run([command, "transcribe", "--model", model, "--format", "json", *options, *files],
                          capture_output=True, text=True, check=True)
    return texts(done.stdout)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--command", default="target/release/crosslatch")
    parser.add_argument("--precisions", default=PRECISIONS)
    args = parser.parse_args()
    said = json.loads((args.folder / "transcripts.json").read_text())
    normalise = EnglishTextNormalizer({})
    expected = [normalise(text) for text in said.values()]
    words = sum(len(text.split()) for text in expected)
    print(f"{len(said)} recordings, {words} words")
    with tempfile.TemporaryDirectory() as noisy:
        files = {"clean": [args.folder / name for name in said], "noise": []}
        for i, path in enumerate(files["clean"]):
            files["noise"].append(Path(noisy) / f"{i}.wav")
            write(files["noise"][-1], with_noise(crosslatch.decode_audio(path), 10, i))
        for search, options in SEARCHES.items():
            for name, paths in files.items():
                for precision in args.precisions.split(","):
                    found = transcribe(args.command, args.model, paths, "--precision", precision, *options)
                    wrong = sum(map(word_errors, expected, map(normalise, found)))
                    print(f"{search}, {name}, {precision}: {wrong} of {words} words, {wrong / words:.2%}",
                          flush=True)


if __name__ == "__main__":
    main()

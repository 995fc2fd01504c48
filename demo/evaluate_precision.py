"""Word error rate of the bundled model as the command runs it, in each precision.

    python demo/evaluate_precision.py [--command PATH] [--build FOLDER] [--limit N] [--precisions f32,bf16,int8]

The sets are those of `evaluate.py`, which `train.py` leaves in demo/build: sentences that training
never saw, in training voices and in two voices that it never heard, clean and with noise.  Each
clip is written as 16-bit sound, so rates differ a little from those of `evaluate.py`.
"""

import argparse
import subprocess
import tempfile
import wave
from pathlib import Path

import numpy as np

from evaluate import BUILD
from sound import WINDOW, place
from synthesise import Utterances
from words import texts, word_errors

COMMAND = Path(__file__).parent.parent / "target" / "release" / "crosslatch"
RATE = 16000


def clips(utterances, noisy, limit):
    rng = np.random.default_rng(7)
    for index in range(min(limit or len(utterances), len(utterances))):
        speech = utterances.speech(index)
        if noisy:
            yield place(speech, WINDOW, utterances, rng, snr=(15, 40))[0]
        else:
            clip = np.zeros(WINDOW, np.float32)
            begin = int(rng.integers(WINDOW - len(speech) + 1))
            clip[begin : begin + len(speech)] = speech
            yield clip


def write(path, clip):
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", "not compressed"))
        file.writeframes((np.clip(clip, -1, 1) * 32767).round().astype("<i2").tobytes())


def rate(command, files, expected, precision):
    done = subprocess.run([command, "transcribe", "--format", "json", "--precision", precision, *files],
                          capture_output=True, text=True, check=True)
    found = texts(done.stdout)
    errors = sum(word_errors(*pair) for pair in zip(expected, found, strict=True))
    return errors / sum(len(text.split()) for text in expected)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--command", type=Path, default=COMMAND)
    parser.add_argument("--build", type=Path, default=BUILD)
    parser.add_argument("--limit", type=int)
    parser.add_argument("--precisions", default="f32,bf16,int8")
    arguments = parser.parse_args()
    for name in ("evaluation", "heldout_voices"):
        utterances = Utterances(arguments.build / f"{name}.npz")
        for noisy in (False, True):
            with tempfile.TemporaryDirectory() as folder:
                files = []
                for index, clip in enumerate(clips(utterances, noisy, arguments.limit)):
                    files.append(Path(folder) / f"{index}.wav")
                    write(files[-1], clip)
                expected = utterances.texts[: len(files)]
                rates = {p: rate(arguments.command, files, expected, p)
                         for p in arguments.precisions.split(",")}
            text = ", ".join(f"{p} {r:.2%}" for p, r in rates.items())
            print(f"{name}, {'noisy' if noisy else 'clean'}: {text}, {len(files)} sentences",
                  flush=True)


if __name__ == "__main__":
    main()

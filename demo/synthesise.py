"""Speaks sentences of the grammar with espeak-ng and stores them as one array of samples.

Synthesis is far slower than training can read, so it is done once, in parallel, before training.
Each utterance gets its own voice (accent and variant), speed, pitch and a small change of sampling
rate, which moves the formants and so makes more speakers out of few.  What is stored is the speech
alone, trimmed at both ends by its energy: position in the window, loudness and noise are added
anew each time an utterance is used (see sound.py), and because the cut is known, so are the
timestamps.
"""

import random
import subprocess
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np

from grammar import Language

SAMPLING_RATE = 16_000
ESPEAK_RATE = 22_050
LONGEST_SECONDS = 5.7

ACCENTS = ["en-gb", "en-us", "en-gb-scotland", "en-gb-x-gbclan", "en-gb-x-rp", "en-gb-x-gbcwmd",
           "en-029", "en-us-nyc"]
VARIANTS = ["", "m1", "m2", "m3", "m4", "m6", "m7", "m8", "f1", "f2", "f3", "f5",
            "adam", "Alex", "Alicia", "Andrea", "Andy", "Annie", "antonio", "belinda", "benjamin",
            "boris", "caleb", "david", "Denis", "ed", "edward", "Gene", "grandma", "grandpa",
            "Hugo", "linda", "Lee", "max", "michael", "Mike", "shelby", "steph2", "travis",
            "victor", "klatt2", "klatt3"]
# Neither variant occurs in training with any accent.
HELD_OUT_VOICES = ["en-us+f4", "en-gb+m5"]


def draw_voice(rng):
    accent, variant = rng.choice(ACCENTS), rng.choice(VARIANTS)
    return f"{accent}+{variant}" if variant else accent


def espeak(text, voice, speed, pitch):
    """The raw utterance as f32 at espeak's own sampling rate."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", text]
    wav = subprocess.run(command, capture_output=True, check=True).stdout
    # To standard output espeak cannot go back and write the lengths, so its header is skipped
    # rather than read: it always is the plain 44 bytes.
    return np.frombuffer(wav[44:], dtype="<i2").astype(np.float32) / 32768


def resample(samples, source_rate, target_rate):
    """By cutting or padding the spectrum: exact for a band-limited signal, and needs only numpy."""
    length = round(len(samples) * target_rate / source_rate)
    padded = np.pad(samples, (0, (-len(samples)) % 512))
    target = round(len(padded) * target_rate / source_rate)
    spectrum = np.fft.rfft(padded)
    keep = min(len(spectrum), target // 2 + 1)
    out = np.fft.irfft(spectrum[:keep], n=target) * (target / len(padded))
    return out[:length].astype(np.float32)


def trim(samples, rate=SAMPLING_RATE):
    """Cuts what lies 40 dB or more below the loudest 10 ms at both ends."""
    frame = rate // 100
    frames = samples[: len(samples) // frame * frame].reshape(-1, frame)
    energy = (frames ** 2).mean(1)
    loud = np.flatnonzero(energy > energy.max() * 1e-4)
    return samples[loud[0] * frame : (loud[-1] + 1) * frame]


def speak(text, voice, speed, pitch, formant=1.0):
    """One trimmed utterance at 16 kHz, its peak at 0.9."""
    raw = espeak(text, voice, speed, pitch)
    speech = trim(resample(raw, ESPEAK_RATE * formant, SAMPLING_RATE))
    return speech * (0.9 / np.abs(speech).max())


def speak_job(job):
    speech = speak(*job)
    if len(speech) > LONGEST_SECONDS * SAMPLING_RATE:
        return None
    return (speech * 32767).astype(np.int16)


def draw_job(text, voice, rng):
    formant = rng.uniform(0.9, 1.1) if rng.random() < 0.7 else 1.0
    return (text, voice, rng.randint(120, 200), rng.randint(20, 80), round(formant, 3))


def synthesise(jobs, path, workers=2):
    """Speaks all jobs and stores them at `path` (npz); jobs too long for the window are dropped."""
    with ProcessPoolExecutor(workers) as pool:
        spoken = list(pool.map(speak_job, jobs, chunksize=64))
    kept = [(job, speech) for job, speech in zip(jobs, spoken) if speech is not None]
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    np.savez(path,
             samples=np.concatenate([speech for _, speech in kept]),
             lengths=np.array([len(speech) for _, speech in kept]),
             texts=np.array([job[0] for job, _ in kept]),
             voices=np.array([job[1] for job, _ in kept]))


class Utterances:
    """A stored set, read back."""

    def __init__(self, path):
        stored = np.load(path)
        self.samples, self.lengths = stored["samples"], stored["lengths"]
        self.texts, self.voices = stored["texts"].tolist(), stored["voices"].tolist()
        self.starts = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])

    def __len__(self):
        return len(self.lengths)

    def speech(self, index):
        start = self.starts[index]
        return self.samples[start : start + self.lengths[index]].astype(np.float32) / 32768


def make_all(folder, training_count=14_000, evaluation_count=300, seed=1):
    """The training set, and the evaluation sentences in training voices and in held-out voices."""
    language, folder = Language(), Path(folder)
    rng = random.Random(seed)
    jobs = [draw_job(language.draw_training(rng), draw_voice(rng), rng)
            for _ in range(training_count)]
    sentences = language.evaluation_sentences(evaluation_count)
    sets = {
        "evaluation": [draw_job(text, draw_voice(rng), rng) for text in sentences],
        "heldout_voices": [draw_job(text, HELD_OUT_VOICES[i % 2], rng)
                           for i, text in enumerate(sentences)],
        "training": jobs,
    }
    for name, set_jobs in sets.items():
        path = folder / f"{name}.npz"
        if not path.exists():
            synthesise(set_jobs, path)


if __name__ == "__main__":
    make_all(Path(__file__).with_name("build"))

"""One long recording, made of short ones."""

import json
import wave

import numpy as np

RATE = 16000
#: Between two clips.
PAUSE = 0.5


def order(lengths, pause, least):
    """Which clips follow each other: all in turn, again and again, until they last that long; the last
    round is whole."""
    assert lengths, "there are no clips"
    once = sum(lengths) + pause * len(lengths)
    return list(range(len(lengths))) * max(1, -int(-least // once))


def join(folder, seconds, path):
    """Writes the clips of a folder as one file of at least so many seconds.

    Returns what is said in it and how long it is.  The folder has `transcripts.json`: what is said in each
    file.
    """
    import crosslatch
    said = json.loads((folder / "transcripts.json").read_text())
    clips = [crosslatch.decode_audio(folder / name) for name in said]
    silence = np.zeros(int(PAUSE * RATE), np.float32)
    chosen = order([len(clip) / RATE for clip in clips], PAUSE, seconds)
    sound = np.concatenate([part for i in chosen for part in (clips[i], silence)])
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes((np.clip(sound, -1, 1) * 32767).round().astype("<i2").tobytes())
    texts = list(said.values())
    return " ".join(texts[i] for i in chosen), len(sound) / RATE

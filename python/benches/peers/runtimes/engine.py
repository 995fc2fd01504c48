"""Crosslatch."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np

import crosslatch

from . import Stepping


class Runtime(Stepping):
    def __init__(self, folder, precision, threads):
        program = crosslatch.load(folder / "engine.pt2", precision=precision, threads=threads)
        self.session = program.session()
        encoder, decoder = program.methods["encoder"], program.methods["decoder"]
        (self.states,), (self.logits,) = (
            [output.name for output in method.outputs] for method in (encoder, decoder))
        # Where there is a mask, nothing is masked.
        self.input, *self.masks = (value.name for value in encoder.inputs)
        self.cross_masks = [value.name for value in decoder.inputs if "mask" in value.name]

    def encode(self, given):
        ones = np.ones((1, given.shape[-1]), np.int64)
        self.session.reset()
        self.session.run(
            "encoder", {self.input: given, **dict.fromkeys(self.masks, ones)}, outputs=[])
        self.given = {"encoder_hidden_states": self.session.output("encoder", self.states),
                      **dict.fromkeys(self.cross_masks, ones)}

    def step(self, token, position):
        out = self.session.run("decoder", {
            "input_ids": np.array([[token]]), "cache_position": np.array([position]), **self.given})
        return out[self.logits][0, -1]


class Together:
    """Python has no sessions that step together, so `crosslatch bench` measures them: windows with tokens of
    their own.  It shows no scores, and takes no text."""

    option, first, later = "--together", "first_steps_together_ms", "step_together_ms"

    def __init__(self, folder, precision, threads, lanes):
        several = {"--together": 1, "--beams": 1, self.option: lanes}
        self.command = [Path(os.environ["CROSSLATCH_TARGET"]) / "crosslatch", "bench", folder / "engine.pt2",
                        "--json", "--precision", precision, "--threads", str(threads), "--passes", "1",
                        *(str(word) for option in several.items() for word in option)]

    def window(self, given, tokens):
        done = subprocess.run(self.command, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(" ".join(done.stderr.split()))
        (row,) = json.loads(done.stdout)["rows"]
        return {"encoder": row["encoder_ms"], "first": row[self.first], "later": [row[self.later]]}, None


class Beams(Together):
    """Texts of one window, which has taken the first step for all."""

    option, first, later = "--beams", "first_step_ms", "step_beams_ms"

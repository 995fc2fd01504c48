"""Crosslatch."""

import numpy as np

import crosslatch

from . import Stepping

PRECISIONS = ["f32", "bf16", "int8"]
NEEDS = {precision: ["engine.pt2"] for precision in PRECISIONS}


class Runtime(Stepping):
    def __init__(self, folder, precision, threads):
        program = crosslatch.load(folder / "engine.pt2", precision=precision, threads=threads)
        self.session = program.session()
        (self.states,), (self.logits,) = (
            [output.name for output in program.methods[method].outputs]
            for method in ("encoder", "decoder"))

    def encode(self, features):
        self.session.reset()
        self.session.run("encoder", {"input_features": features}, outputs=[])
        self.given = self.session.output("encoder", self.states)

    def step(self, token, position):
        out = self.session.run("decoder", {
            "input_ids": np.array([[token]]), "cache_position": np.array([position]),
            "encoder_hidden_states": self.given})
        return out[self.logits][0, -1]

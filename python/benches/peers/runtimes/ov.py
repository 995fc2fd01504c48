"""OpenVINO: self caches as state of the request, cross caches set as tensors, not copied.

Wherever the processor has bf16, what is not f32 computes in it, as OpenVINO does unless told otherwise; but
steps with fewer bits do not, because they take twice as long with it.
"""

import os

import numpy as np
import openvino
from openvino._offline_transformations import apply_make_stateful_transformation

import models

from . import Stepping


class Runtime(Stepping):
    #: The folders of steps: of one sequence, of several windows.
    alone, several = "openvino", "openvino-together"

    def __init__(self, folder, precision, threads, lanes=1):
        core = openvino.Core()
        # It says so even where a run is held to fewer instructions.
        has_bf16 = ("BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
                    and "ONEDNN_MAX_CPU_ISA" not in os.environ)
        if precision == "bf16" and not has_bf16:
            raise RuntimeError("this processor has no bf16")
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        self.lanes = lanes
        self.form = "" if precision in ("f32", "bf16") else "-" + precision.replace(" ", "-")

        def request(of, name, change=lambda model: None):
            model = core.read_model(folder / f"{of}{self.form}" / f"{name}.xml")
            change(model)
            in_bf16 = has_bf16 and precision != "f32" and not (self.form and name == "step")
            hint = {"INFERENCE_PRECISION_HINT": "bf16" if in_bf16 else "f32"}
            return core.compile_model(model, "CPU", settings | hint).create_infer_request()

        def decoder(model):
            """Caches as state; how many lanes there are must be known before one can be without tokens."""
            if self.several == "openvino-together" and lanes > 1:
                with_lanes(model, lanes)
            count = sum("past" in i.get_any_name() for i in model.inputs) // 2
            self.past, present, self.crosses = models.names(count)
            apply_make_stateful_transformation(model, dict(zip(self.past, present)))

        self.encoder = request(self.alone, "encoder")
        self.cross = self.make_cross(request, lanes)
        self.decoder = request(self.alone if lanes == 1 else self.several, "step", decoder)

    def make_cross(self, request, lanes):
        if lanes == 1:
            return request(self.alone, "cross")
        return request(self.several, "cross", lambda model: with_lanes(model, lanes))

    def encode(self, given):
        self.encoder.set_input_tensor(openvino.Tensor(given, shared_memory=True))
        self.encoder.infer()
        self.states = self.encoder.get_tensor("states")

    def repeated(self):
        if self.lanes == 1:
            return self.states
        return openvino.Tensor(self.states.data.repeat(self.lanes, 0))

    def step(self, token, position):
        if position == 0:
            self.cross.set_tensor("states", self.repeated())
            self.cross.infer()
            self.decoder.reset_state()
            for name in self.crosses:
                self.decoder.set_tensor(name, self.cross.get_tensor(name))
        self.decoder.set_tensor("input_ids", openvino.Tensor(np.full((self.lanes, 1), token)))
        self.decoder.set_tensor("position", openvino.Tensor(np.array([position])))
        self.decoder.infer()
        return self.decoder.get_tensor("logits").data[:, -1]


class Beams(Runtime):
    """Texts of one window: what is encoded is theirs together, and each continues one of those before."""

    several = "openvino-beams"

    def make_cross(self, request, lanes):
        return request(self.alone, "cross")

    def repeated(self):
        return self.states

    def step(self, token, position):
        self.decoder.set_tensor("parents", openvino.Tensor(models.parents()))
        return super().step(token, position)


def with_lanes(model, lanes):
    model.reshape({i.get_any_name(): [lanes, *[*i.partial_shape][1:]]
                   for i in model.inputs if i.get_any_name() != "position"})

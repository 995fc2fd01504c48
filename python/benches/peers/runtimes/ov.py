"""OpenVINO: self caches as state of the request, cross caches set as tensors, not copied."""

import numpy as np
import openvino
from openvino._offline_transformations import apply_make_stateful_transformation

import models

from . import Stepping

PRECISIONS = ["f32", "bf16", "int8"]
NEEDS = {precision: ["onnx"] for precision in PRECISIONS}
NEEDS_TOGETHER = {precision: ["onnx", "onnx-together"] for precision in PRECISIONS}


class Runtime(Stepping):
    def __init__(self, folder, precision, threads, lanes=1):
        core = openvino.Core()
        able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in able:
            raise RuntimeError("this processor has no bf16")
        settings = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
                    "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32"}

        self.lanes = lanes
        decoder = "onnx" if lanes == 1 else "onnx-together"

        def request(of, name, change=lambda model: None):
            model = core.read_model(folder / of / f"{name}.onnx")
            if of == "onnx-together":
                # How many lanes there are must be known before a state can be without tokens.
                model.reshape({i.get_any_name(): [lanes, *[*i.partial_shape][1:]]
                               for i in model.inputs if i.get_any_name() != "position"})
            change(model)
            if precision == "int8":
                import nncf
                model = nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_ASYM)
            return core.compile_model(model, "CPU", settings).create_infer_request()

        def stateful(model):
            count = sum("past" in i.get_any_name() for i in model.inputs) // 2
            self.past, present, self.crosses = models.names(count)
            apply_make_stateful_transformation(model, dict(zip(self.past, present)))

        self.encoder, self.cross = request("onnx", "encoder"), request(decoder, "cross")
        self.decoder = request(decoder, "step", stateful)

    def encode(self, given):
        self.encoder.set_input_tensor(openvino.Tensor(given, shared_memory=True))
        self.encoder.infer()
        self.states = self.encoder.get_tensor("states")
        if self.lanes > 1:
            self.states = openvino.Tensor(self.states.data.repeat(self.lanes, 0))

    def step(self, token, position):
        if position == 0:
            self.cross.set_tensor("states", self.states)
            self.cross.infer()
            self.decoder.reset_state()
            for name in self.crosses:
                self.decoder.set_tensor(name, self.cross.get_tensor(name))
        self.decoder.set_tensor("input_ids", openvino.Tensor(np.full((self.lanes, 1), token)))
        self.decoder.set_tensor("position", openvino.Tensor(np.array([position])))
        self.decoder.infer()
        return self.decoder.get_tensor("logits").data[:, -1]

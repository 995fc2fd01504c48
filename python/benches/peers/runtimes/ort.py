"""ONNX Runtime: inputs and outputs bound, so that neither cross nor self caches are copied."""

import numpy as np
import onnxruntime

import models

from . import Stepping


class Runtime(Stepping):
    #: The folders of several windows.
    cross_of_several = step_of_several = "onnx-together"

    def __init__(self, folder, precision, threads, lanes=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        if lanes > 1:
            options.add_free_dimension_override_by_name("lanes", lanes)
        self.lanes, form = lanes, "" if precision == "f32" else "-" + precision.replace(" ", "-")

        def session(of, name):
            return onnxruntime.InferenceSession(
                folder / f"{of}{form}" / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

        self.encoder = session("onnx", "encoder")
        self.cross = session("onnx" if lanes == 1 else self.cross_of_several, "cross")
        self.decoder = session("onnx" if lanes == 1 else self.step_of_several, "step")
        inputs = {i.name: i.shape for i in self.decoder.get_inputs()}
        self.count = sum(name.startswith("past") for name in inputs) // 2
        self.past, self.present, self.crosses = models.names(self.count)
        _, heads, _, size = inputs["past_k0"]
        self.empty = np.zeros((lanes, heads, 0, size), np.float32)

    def encode(self, given):
        binding = self.encoder.io_binding()
        (name,) = (i.name for i in self.encoder.get_inputs())
        binding.bind_cpu_input(name, given)
        binding.bind_output("states")
        self.encoder.run_with_iobinding(binding)
        (self.states,) = binding.get_outputs()

    def repeated(self):
        if self.lanes == 1:
            return self.states
        return onnxruntime.OrtValue.ortvalue_from_numpy(self.states.numpy().repeat(self.lanes, 0))

    def bind_more(self, binding):
        """Inputs that a kind of step has of its own."""

    def step(self, token, position):
        if position == 0:
            binding = self.cross.io_binding()
            binding.bind_ortvalue_input("states", self.repeated())
            for name in self.crosses:
                binding.bind_output(name)
            self.cross.run_with_iobinding(binding)
            self.given = binding.get_outputs()
            self.held = [onnxruntime.OrtValue.ortvalue_from_numpy(self.empty)
                         for _ in range(2 * self.count)]
        binding = self.decoder.io_binding()
        binding.bind_cpu_input("input_ids", np.full((self.lanes, 1), token))
        binding.bind_cpu_input("position", np.array([position]))
        self.bind_more(binding)
        for name, value in zip(self.past + self.crosses, self.held + self.given):
            binding.bind_ortvalue_input(name, value)
        for name in ["logits", *self.present]:
            binding.bind_output(name)
        self.decoder.run_with_iobinding(binding)
        logits, *self.held = binding.get_outputs()
        return logits.numpy()[:, -1]


class Beams(Runtime):
    """Texts of one window: what is encoded is theirs together, and each continues one of those before."""

    cross_of_several, step_of_several = "onnx", "onnx-beams"

    def repeated(self):
        return self.states

    def bind_more(self, binding):
        binding.bind_cpu_input("parents", models.parents())

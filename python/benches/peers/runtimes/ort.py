"""ONNX Runtime: inputs and outputs bound, so that neither cross nor self caches are copied."""

import numpy as np
import onnxruntime

import models

from . import Stepping

PRECISIONS = ["f32", "int8"]
NEEDS = {"f32": ["onnx"], "int8": ["onnx", "onnx-int8"]}


class Runtime(Stepping):
    def __init__(self, folder, precision, threads):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        folder = folder / ("onnx" if precision == "f32" else "onnx-int8")
        session = lambda name: onnxruntime.InferenceSession(
            folder / f"{name}.onnx", options, providers=["CPUExecutionProvider"])
        self.encoder, self.cross, self.decoder = map(session, ("encoder", "cross", "step"))
        inputs = {i.name: i.shape for i in self.decoder.get_inputs()}
        self.count = sum(name.startswith("past") for name in inputs) // 2
        self.past, self.present, self.crosses = models.names(self.count)
        _, heads, _, size = inputs["past_k0"]
        self.empty = np.zeros((1, heads, 0, size), np.float32)

    def encode(self, given):
        binding = self.encoder.io_binding()
        (name,) = (i.name for i in self.encoder.get_inputs())
        binding.bind_cpu_input(name, given)
        binding.bind_output("states")
        self.encoder.run_with_iobinding(binding)
        (self.states,) = binding.get_outputs()

    def step(self, token, position):
        if position == 0:
            binding = self.cross.io_binding()
            binding.bind_ortvalue_input("states", self.states)
            for name in self.crosses:
                binding.bind_output(name)
            self.cross.run_with_iobinding(binding)
            self.given = binding.get_outputs()
            self.held = [onnxruntime.OrtValue.ortvalue_from_numpy(self.empty)
                         for _ in range(2 * self.count)]
        binding = self.decoder.io_binding()
        binding.bind_cpu_input("input_ids", np.array([[token]]))
        binding.bind_cpu_input("position", np.array([position]))
        for name, value in zip(self.past + self.crosses, self.held + self.given):
            binding.bind_ortvalue_input(name, value)
        for name in ["logits", *self.present]:
            binding.bind_output(name)
        self.decoder.run_with_iobinding(binding)
        logits, *self.held = binding.get_outputs()
        return logits.numpy()[0, -1]

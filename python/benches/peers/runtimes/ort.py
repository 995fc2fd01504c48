"""ONNX Runtime: inputs and outputs bound, so that neither cross nor self caches are copied."""

import numpy as np
import onnxruntime

import models

from . import Stepping

PRECISIONS = ["f32", "int8"]
NEEDS = {"f32": ["onnx"], "int8": ["onnx", "onnx-int8"]}
NEEDS_TOGETHER = {"f32": ["onnx", "onnx-together"], "int8": ["onnx-int8", "onnx-together-int8"]}


class Runtime(Stepping):
    def __init__(self, folder, precision, threads, lanes=1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        if lanes > 1:
            options.add_free_dimension_override_by_name("lanes", lanes)
        self.lanes, kind = lanes, "" if precision == "f32" else "-int8"

        def session(of, name):
            return onnxruntime.InferenceSession(
                folder / f"{of}{kind}" / f"{name}.onnx", options, providers=["CPUExecutionProvider"])

        decoder = "onnx" if lanes == 1 else "onnx-together"
        self.encoder = session("onnx", "encoder")
        self.cross, self.decoder = session(decoder, "cross"), session(decoder, "step")
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
        if self.lanes > 1:
            states = self.states.numpy().repeat(self.lanes, 0)
            self.states = onnxruntime.OrtValue.ortvalue_from_numpy(states)

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
        binding.bind_cpu_input("input_ids", np.full((self.lanes, 1), token))
        binding.bind_cpu_input("position", np.array([position]))
        for name, value in zip(self.past + self.crosses, self.held + self.given):
            binding.bind_ortvalue_input(name, value)
        for name in ["logits", *self.present]:
            binding.bind_output(name)
        self.decoder.run_with_iobinding(binding)
        logits, *self.held = binding.get_outputs()
        return logits.numpy()[:, -1]

"""RTen, on the ONNX files: weights laid out at loading, self caches that grow in place."""

from . import Child


class Runtime(Child):
    def __init__(self, folder, precision, threads):
        super().__init__("rten", folder / ("onnx" if precision == "f32" else "onnx-int8"), threads)

"""candle: the models of candle-transformers, which keep less from step to step than the others."""

from . import Child

PRECISIONS = ["f32"]
NEEDS = {"f32": ["checkpoint"]}


class Runtime(Child):
    def __init__(self, folder, precision, threads):
        super().__init__("candle", folder / "checkpoint", threads)

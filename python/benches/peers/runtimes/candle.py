"""candle: the models of candle-transformers, which keep less from step to step than the others."""

from . import Child


class Runtime(Child):
    def __init__(self, folder, precision, threads):
        super().__init__("candle", folder / "checkpoint", threads)

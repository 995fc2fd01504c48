"""whisper.cpp, through its C interface: the wheel's own functions do not tell an encoder from a step.

The wheel is built for AVX2, whatever the machine has.  In f32 this version stops: its convolutions want f16.
"""

import ctypes
from pathlib import Path

import numpy as np
import pywhispercpp

from . import Stepping


def library():
    site = Path(pywhispercpp.__file__).parent.parent
    (path,) = (site / "pywhispercpp.libs").glob("libwhisper-*")
    # The libraries that it needs lie beside it.
    lib = ctypes.CDLL(str(path))
    lib.whisper_init_from_file.restype = ctypes.c_void_p
    lib.whisper_get_logits.restype = ctypes.POINTER(ctypes.c_float)
    return lib


class Runtime(Stepping):
    def __init__(self, folder, precision, threads):
        self.lib, self.threads = library(), threads
        context = self.lib.whisper_init_from_file(str(folder / f"{precision}.ggml").encode())
        assert context, "whisper.cpp refuses the file"
        self.context = ctypes.c_void_p(context)
        self.words = self.lib.whisper_n_vocab(self.context)

    def encode(self, given):
        _, mels, frames = given.shape
        mel = np.ascontiguousarray(given[0])
        self.call("whisper_set_mel", mel.ctypes.data_as(ctypes.POINTER(ctypes.c_float)), frames, mels)
        self.call("whisper_encode", 0, self.threads)

    def step(self, token, position):
        self.call("whisper_decode", ctypes.byref(ctypes.c_int(token)), 1, position, self.threads)
        return np.ctypeslib.as_array(self.lib.whisper_get_logits(self.context), (self.words,))

    def call(self, name, *args):
        status = getattr(self.lib, name)(self.context, *args)
        assert status == 0, f"{name} returned {status}"

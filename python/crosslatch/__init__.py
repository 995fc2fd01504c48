"""Crosslatch for Python: encoder–decoder models whose cross-attention cache is part of the graph.

`load` opens a `.pt2` file, and its sessions run it; `Transcriber` writes down speech; `Generator`
translates and summarises text.  None of them needs torch.  `import crosslatch.ops` defines the two
operators of such graphs for PyTorch.  `latch` finds the part of an exported decoder that depends on
the encoder's output alone, and has it computed once per input; `export` writes a Hugging Face model
to one `.pt2` file that way, or raises `Refused`.  Each part is loaded when it is first used, so it
works without the dependencies of the others.
"""

import importlib
from typing import TYPE_CHECKING

from . import native

if TYPE_CHECKING:
    from ._engine import (
        Error,
        Generation,
        Generator,
        Method,
        Output,
        Program,
        Segment,
        Session,
        SpeechStream,
        StreamUpdate,
        TensorInfo,
        TextDeltas,
        Transcriber,
        Transcript,
        Transcription,
        TranscriptionInfo,
        Word,
        __version__,
        decode_audio,
        download,
        load,
    )
    from .exporting import export
    from .exporting.refused import Refused
    from .latching import latch

__all__ = [
    "Error",
    "Generation",
    "Generator",
    "Method",
    "Output",
    "Program",
    "Refused",
    "Segment",
    "Session",
    "SpeechStream",
    "StreamUpdate",
    "TensorInfo",
    "TextDeltas",
    "Transcriber",
    "Transcript",
    "Transcription",
    "TranscriptionInfo",
    "Word",
    "__version__",
    "decode_audio",
    "download",
    "export",
    "latch",
    "load",
]

# Where to find what is not the engine's.  The modules are not called like the functions: importing
# `crosslatch.latch` as a module would hide the function of that name.
_HOMES = {"latch": ".latching", "export": ".exporting", "Refused": ".exporting.refused"}

native.serve_tree()


# For a type checker, that would make every name one of this module's.
if not TYPE_CHECKING:
    def __getattr__(name):
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = importlib.import_module(_HOMES.get(name, "._engine"), __name__)
        globals()[name] = value = getattr(home, name)
        return value


def __dir__() -> list[str]:
    modules = {"hf", "ops", "ray"} & globals().keys()  # those that were imported
    return sorted({*__all__, *modules})

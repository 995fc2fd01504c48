"""Crosslatch for Python: encoder–decoder models whose cross-attention cache is part of the graph.

`import crosslatch.ops` defines the two operators that such graphs use.  `crosslatch.latch` finds in
any exported decoder what depends on the encoder output alone and computes it once per input;
`crosslatch.export` writes a Hugging Face model to one `.pt2` file that way, or raises
`crosslatch.Refused`.  torch and transformers are imported when one of them is first used.
"""

import importlib

# The modules are not called like the functions: importing `crosslatch.latch` as a module would
# hide the function of that name.
_HOMES = {"latch": "latching", "export": "exporting", "Refused": "exporting.refused"}
__all__ = list(_HOMES)


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)

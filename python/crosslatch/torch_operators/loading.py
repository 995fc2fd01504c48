"""Gives the buffers of a loaded program memory of their own.

Up to torch 2.12, `torch.export.load` makes each buffer a view of the `bytes` object that was read,
although `bytes` are immutable.  For a buffer of one byte, such as a flag that says whether the cache is
filled, the interpreter shares that object among all users of a single zero byte: a program that sets its
flag turns zeros all over the process into ones, and the next program fails to load with "Trying to
resize storage that is not resizable".
"""

import torch

from . import imports

MODULE = "torch.export.pt2_archive._package"


def register():
    if tuple(int(part) for part in torch.__version__.split(".")[:2]) < (2, 13):
        imports.around(MODULE, after=_register)


def _register():
    from torch.export.pt2_archive import _package
    original = getattr(_package, "_create_flat_tensor_from_bytes", None)
    if original is not None:
        _package._create_flat_tensor_from_bytes = (
            lambda data, meta: original(bytearray(data), meta))

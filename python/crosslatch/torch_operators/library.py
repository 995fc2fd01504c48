"""Finds the native library and loads it.

Loading it registers the operators with PyTorch's dispatcher.  They are defined here and not by the
library, because only here can TorchScript be told to expect a write (`CONSERVATIVE`): its optimiser
would believe the schemas, which declare none.  If another package has already defined an operator of
the same name, that definition stays (programs may hold it) and gets the native kernels.
"""

import ctypes
import os

import torch

from .. import native

SCHEMAS = {"alias": "(Tensor x, Tensor y) -> (Tensor, Tensor)",
           "update_cross_attn_cache": "(Tensor value, Tensor cache) -> Tensor"}

# A registration lasts as long as the object that made it; a module global lives as long as torch.
registrations = torch.library.Library("executorch", "FRAGMENT")


def is_defined(name):
    return hasattr(torch.ops.executorch, name)


def find():
    """The path of the library."""
    return native.find("crosslatch-torch")


def load():
    """Registers the operators; raises `ImportError` if this torch does not support them."""
    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    if version < (2, 10):
        raise ImportError(f"crosslatch.ops needs torch 2.10 or later, not {torch.__version__}")
    path = find()
    for name, schema in SCHEMAS.items():
        if not is_defined(name):
            registrations.define(name + schema, alias_analysis="CONSERVATIVE")
    before = os.environ.get("CROSSLATCH_TORCH_DEFINE")
    os.environ["CROSSLATCH_TORCH_DEFINE"] = ""
    try:
        torch.ops.load_library(str(path))
    finally:
        if before is None:
            del os.environ["CROSSLATCH_TORCH_DEFINE"]
        else:
            os.environ["CROSSLATCH_TORCH_DEFINE"] = before
    failure = ctypes.CDLL(str(path)).crosslatch_torch_failure
    failure.restype = ctypes.c_char_p
    if reason := failure():
        raise ImportError(f"{path}: {reason.decode()}")

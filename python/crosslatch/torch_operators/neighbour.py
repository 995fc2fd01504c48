"""Coexists with the `executorch` package, which publishes operators of the same names.

An operator has one definition in a process.  If that package was imported first, its definition
stays and gets our kernels, shapes and lowerings (`library`, `shapes` and `inductor` see to that).  If
it is imported later, its module would define the operators a second time and fail as a whole.  So its
two definitions are skipped while that one module is executed, and afterwards our lowerings replace its
own.
"""

import torch

from . import imports, inductor
from .library import SCHEMAS

MODULE = "executorch.extension.llm.custom_ops.custom_ops"
OURS = {f"executorch::{name}" for name in SCHEMAS}


class _PassedOver:
    """Stands in for a skipped definition, and ignores its kernels and shapes."""

    def __init__(self, function):
        self._function = function

    def __call__(self, *args, **kwargs):
        return self._function(*args, **kwargs)

    def _ignore(self, function=None, *_, **__):
        return function if callable(function) else lambda function: function

    register_fake = register_kernel = register_autograd = register_vmap = _ignore


def watch():
    original = torch.library.custom_op

    def custom_op(name, function=None, /, **options):
        if name in OURS:
            packet = getattr(torch.ops.executorch, name.split("::")[1])
            return _PassedOver(packet) if function else lambda function: _PassedOver(packet)
        if function is None:
            return original(name, **options)
        return original(name, function, **options)

    def before():
        torch.library.custom_op = custom_op

    def after():
        torch.library.custom_op = original
        inductor.refresh()

    imports.around(MODULE, before, after)

"""The operators that PyTorch calls its core, and which of them the engine has.

`torch.Tag.core` marks those that every backend of PyTorch is to have.  The engine runs models and does not train
them, so it has all but the ones that compute gradients, which it refuses by name.

By hand, in `python/tests`: `python -m operators.core` prints the count.
"""

import torch

from operators.whole import engine_operators


def core_operators() -> dict[str, str]:
    """Names with overloads, and schemas."""
    found = {}
    for schema in torch._C._jit_get_all_schemas():
        namespace, _, base = schema.name.partition("::")
        packet = getattr(torch.ops.aten, base, None) if namespace == "aten" else None
        overload = getattr(packet, schema.overload_name or "default", None)
        if overload is not None and torch.Tag.core in overload.tags:
            found[overload.name()] = str(schema)
    return found


def computes_gradients(name: str) -> bool:
    """Whether an operator is part of training only."""
    return name.split(".")[0].endswith("_backward")


def report() -> str:
    """The count, and the names of what is missing."""
    core, here = core_operators(), engine_operators()
    gradients = sorted(name for name in core if computes_gradients(name) and name not in here)
    missing = sorted(core.keys() - here - set(gradients))
    lines = [f"PyTorch {torch.__version__} has {len(core)} core operators; the engine has "
             f"{len(core) - len(gradients) - len(missing)} of them",
             f"{len(gradients)} compute gradients and are refused: {', '.join(gradients)}",
             f"{len(missing)} are missing{': ' * bool(missing)}{', '.join(missing)}"]
    return "\n".join(lines)

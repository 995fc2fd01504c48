"""Whether a result is PyTorch's: same type, same shape, and values within the tolerance.

Not-a-number equals not-a-number and infinities must agree.  The message says where the largest
difference is, which is often all that is needed to find a mistake.
"""

import torch

from operators.coverage import TOLERANCES, Entry


def difference(entry: Entry, index: int, expected: torch.Tensor, actual: torch.Tensor,
               integers: bool) -> str | None:
    """How an output differs; `None` if it does not."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return (f"is {kind(actual)}, PyTorch has {kind(expected)}")
    if integers and index in entry.free:
        return None
    if not expected.is_floating_point():
        close = actual == expected
    else:
        tolerance = TOLERANCES[expected.dtype]
        if entry.tolerance and expected.dtype == torch.float32:
            tolerance = entry.tolerance
        close = torch.isclose(actual.double(), expected.double(), rtol=tolerance.relative,
                              atol=tolerance.absolute, equal_nan=True)
    if close.all():
        return None
    wrong = (~close).nonzero()
    at = tuple(wrong[0].tolist())
    return (f"{len(wrong)} of {close.numel()} elements differ; at {list(at)} is "
            f"{actual[at].item()}, PyTorch has {expected[at].item()}")


def kind(tensor: torch.Tensor) -> str:
    """Element type and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"

"""How close a result must be to PyTorch's: as close as the mathematics allows.

Integers and booleans are equal.  NaN occurs in the same places, and infinities and zeros have the same
sign.  Other floats differ by a few units in the last place: of the element itself if each element is a
function of a few numbers, and of the largest element of the result if elements are sums, whose rounding
errors are as large as the terms that cancelled.
"""

import torch

UNITS = {torch.float64: 8.0, torch.float32: 8.0, torch.float16: 1.01, torch.bfloat16: 1.01}


def difference(expected: torch.Tensor, alternative: torch.Tensor | None, actual: torch.Tensor,
               elementwise: bool, at_least: torch.Tensor | float = 0.0) -> str | None:
    """What is wrong with a result; `None` if nothing is.  An element may equal either result that
    PyTorch has for it; `at_least` is a size that errors are measured by where results are smaller."""
    if actual.dtype != expected.dtype or actual.shape != expected.shape:
        return f"is {kind(actual)}, PyTorch has {kind(expected)}"
    right = close(expected, actual, elementwise, at_least)
    if alternative is not None and alternative.dtype == expected.dtype:
        right |= close(alternative, actual, elementwise, at_least)
    if right.all():
        return None
    at = tuple((~right).nonzero()[0].tolist())
    return (f"{int((~right).sum())} of {right.numel()} elements differ; at {list(at)} is "
            f"{actual[at].item()}, PyTorch has {expected[at].item()}")


def close(expected: torch.Tensor, actual: torch.Tensor, elementwise: bool,
          at_least: torch.Tensor | float = 0.0) -> torch.Tensor:
    """Whether each element is close enough."""
    if not expected.is_floating_point():
        return actual == expected
    info = torch.finfo(expected.dtype)
    a, e = actual.double(), expected.double()
    finite = e.isfinite() & a.isfinite()
    size = e.abs()
    if not elementwise and finite.any():
        size = size[finite].max().expand_as(e)
    size = size.clamp(min=info.smallest_normal).maximum(torch.as_tensor(at_least).double())
    allowed = UNITS[expected.dtype] * info.eps * size
    same_zero = (a != 0) | (e != 0) | (a.signbit() == e.signbit())
    near = finite & ((a - e).abs() <= allowed) & same_zero
    return near | (a.isnan() & e.isnan()) | (a.isinf() & (a == e))


def kind(tensor: torch.Tensor) -> str:
    """Element type and shape."""
    return f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"

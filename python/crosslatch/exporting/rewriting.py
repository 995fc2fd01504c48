"""Replaces calls in models' code that would tie a program to its example inputs.

A function mode sees a model's calls of PyTorch functions and replaces those that do not export by
equivalents that do:

* `arange(start, start + n)` with a tensor `start` reads the tensor's contents, a number on which all
  later sizes would depend.  `arange(n) + start` is the same, and its size is `n`.
* `table[start : start + n]` does the same.  Indexing with that range is the same.
* Batch normalisation with the statistics of the training is a factor and a summand per channel.
* A weight stored as direction and magnitude is assembled by an operator that other runtimes do not
  have; here by a division and a product.
"""

from functools import wraps

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

ADDS = {torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__}


class Exportable(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.arange and len(args) == 2 and (length := _length(*args)) is not None:
            return func(length, **kwargs) + args[0]
        if func is torch.Tensor.__getitem__:
            return func(args[0], _without_moving_slices(args[1], args[0].device))
        if func is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in ADDS and len(args) == 2:
            result.is_sum_of = args
        return result


def rewritten(forward):
    """`forward` inside the mode; innermost, because the tracer has a mode of its own for slices."""
    @wraps(forward)
    def inside(*args, **kwargs):
        with Exportable():
            return forward(*args, **kwargs)
    return inside


def _weight_norm(direction, magnitude, dim=0):
    others = [d for d in range(direction.dim()) if d != dim]
    return direction * (magnitude / direction.square().sum(others, keepdim=True).sqrt())


def _batch_norm(x, mean, variance, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    if training:
        return F.batch_norm(x, mean, variance, weight, bias, training, momentum, eps)
    factor = (variance + eps).rsqrt() * (1 if weight is None else weight)
    summand = (0 if bias is None else bias) - mean * factor
    shape = [-1] + [1] * (x.dim() - 2)
    return x * factor.view(shape) + summand.view(shape)


def _without_moving_slices(index, device):
    """An index with ranges of positions in place of slices that begin at a tensor."""
    if not isinstance(index, tuple):
        return _without_moving_slices((index,), device)[0]
    return tuple(torch.arange(length, device=device) + part.start
                 if isinstance(part, slice) and part.step in (None, 1)
                 and (length := _length(part.start, part.stop)) is not None else part
                 for part in index)


def _length(start, stop):
    """The n of a range from `start` to `start + n`, of which `start` is a tensor; else None."""
    if not isinstance(start, torch.Tensor) or not isinstance(stop, torch.Tensor):
        return None
    first, second = getattr(stop, "is_sum_of", (None, None))
    if isinstance(second, torch.Tensor):
        first, second = second, first
    return second if first is start else None

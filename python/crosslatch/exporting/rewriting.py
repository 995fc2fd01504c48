"""Calls in models' code that would tie a program to what it was traced with, made otherwise.

A function mode sees the calls of PyTorch functions that a model makes, and puts one that exports in the
place of one that does not:

* `arange(start, start + n)` with a tensor `start` asks for the tensor's contents, a number on which the
  size of everything after it would depend.  `arange(n) + start` is the same, and its size is `n`.
* Normalisation over a batch that was seen in training is a factor and a summand for each channel.
* A weight kept as direction and magnitude is put together by an operator of its own, which other
  runtimes do not have; here by a division and a product.
"""

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode

ADDS = {torch.add, torch.Tensor.add, torch.Tensor.__add__, torch.Tensor.__radd__}


class Exportable(TorchFunctionMode):
    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func is torch.arange and (length := _length(args)) is not None:
            return func(length, **kwargs) + args[0]
        if func is torch._weight_norm:
            return _weight_norm(*args, **kwargs)
        if func is F.batch_norm:
            return _batch_norm(*args, **kwargs)
        result = func(*args, **kwargs)
        if func in ADDS and len(args) == 2 and isinstance(args[0], torch.Tensor):
            result.is_sum_of = args
        return result


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


def _length(args):
    """The n of `arange(start, start + n)`; None for other calls."""
    if len(args) != 2 or not isinstance(args[1], torch.Tensor):
        return None
    start, length = getattr(args[1], "is_sum_of", (None, None))
    return length if start is args[0] else None

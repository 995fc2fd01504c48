"""Calls of operators to export: PyTorch's own sample inputs, turned into modules.

The tensors of a sample become the program's inputs and everything else is fixed in it.  Operators
that the database lacks have samples here.  A sample that cannot be compared (random, complex,
sparse, no tensor in the result) is refused with the reason.
"""

import random
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch.testing._internal.common_methods_invocations import op_db
from torch.utils import _pytree as pytree


class Refused(Exception):
    """Why a sample has no program."""


class _Operand:
    """Stands in a call's arguments where the nth input goes."""

    def __init__(self, position: int):
        self.position = position


class _Shown:
    """A tensor whose text is its type and shape."""

    def __init__(self, tensor: torch.Tensor):
        self.text = f"{str(tensor.dtype).removeprefix('torch.')}{list(tensor.shape)}"

    def __repr__(self) -> str:
        return self.text


class Call(torch.nn.Module):
    """One call of an operator, as a module that takes the tensors."""

    def __init__(self, function: Callable, leaves: list[Any], structure: pytree.TreeSpec,
                 tensors: tuple[torch.Tensor, ...]):
        super().__init__()
        self.function = function
        self.leaves = leaves
        self.structure = structure
        self.tensors = tensors

    def forward(self, *tensors):
        leaves = [tensors[x.position] if isinstance(x, _Operand) else x for x in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        results = pytree.tree_leaves(self.function(*args, **kwargs))
        return tuple(x for x in results if isinstance(x, torch.Tensor))

    def describe(self) -> str:
        """The call in one line, for messages."""
        leaves = [_Shown(self.tensors[x.position]) if isinstance(x, _Operand) else x
                  for x in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return ", ".join([*(repr(x) for x in args), *(f"{k}={x!r}" for k, x in kwargs.items())])


def make_call(function: Callable, args: tuple, kwargs: dict) -> Call:
    """A call whose tensors are inputs."""
    leaves, structure = pytree.tree_flatten((args, kwargs))
    tensors: list[torch.Tensor] = []
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor):
            check_comparable(leaf)
            leaves[i] = _Operand(len(tensors))
            tensors.append(leaf)
        elif isinstance(leaf, complex) or leaf in (torch.complex64, torch.complex128):
            raise Refused("complex numbers")
        elif isinstance(leaf, torch.Generator):
            raise Refused("random")
    if kwargs.get("dropout_p"):
        raise Refused("random: dropout")
    if kwargs.get("max_norm") is not None:
        raise Refused("changes its weights: max_norm")
    return Call(function, leaves, structure, tuple(tensors))


def check_comparable(tensor: torch.Tensor) -> None:
    """Refuses tensors of kinds that the engine does not have."""
    if tensor.is_sparse or tensor.layout != torch.strided:
        raise Refused(f"layout {tensor.layout}")
    if tensor.is_complex():
        raise Refused("complex numbers")
    if tensor.device.type != "cpu":
        raise Refused(f"device {tensor.device.type}")
    if tensor.dtype not in ELEMENT_TYPES:
        raise Refused(f"element type {tensor.dtype}")


ELEMENT_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
                 torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)


def _constant_in_program(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    for values, shape in (([1, 0, 1], (2, 3)), (1, (2, 1)), ([], (2, 0))):
        def add_constant(x, values=values):
            return x + torch.tensor(values, dtype=dtype)
        yield add_constant, (torch.ones(shape, dtype=dtype),)


def _empty_like_filled(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    def fill_copy(x):
        return torch.empty_like(x).fill_(1)
    for shape in ((2, 3), (), (0, 4)):
        yield fill_copy, (torch.zeros(shape, dtype=dtype),)


def _batch_norm(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """With statistics that the model keeps, and with those of the batch; training that changes the former is
    refused."""
    def by_kept(x, mean, variance, weight=None, bias=None):
        return torch.nn.functional.batch_norm(x, mean, variance, weight, bias, eps=1e-3)

    def by_batch(x, weight=None, bias=None):
        return torch.nn.functional.batch_norm(x, None, None, weight, bias, training=True)

    for shape in ((3, 5), (2, 4, 7), (2, 3, 5, 6), (2, 3, 2, 5, 3)):
        def channels():
            return torch.rand(shape[1]).to(dtype) + 0.5
        x = torch.randn(shape).to(dtype)
        yield by_kept, (x, channels(), channels())
        yield by_kept, (x, channels(), channels(), channels(), channels())
        yield by_batch, (x,)
        yield by_batch, (x, channels(), channels())


_OWN = {"constant_in_program": _constant_in_program, "empty_like_filled": _empty_like_filled,
        "batch_norm_in_eval": _batch_norm}


def _entries(name: str) -> list:
    base, _, variant = name.partition("/")
    found = [op for op in op_db
             if op.name == base and (not variant or op.variant_test_name == variant)
             # A variant of SiLU for complex numbers.
             and op.variant_test_name != "complex"]
    if not found:
        raise KeyError(f"PyTorch's database has no operator {name}")
    return found


def samples(name: str, dtype: torch.dtype, in_place: bool = False) -> Iterator[Callable[[], Call]]:
    """Makers of the calls of one operator with inputs of one type; the same at every run.

    With `in_place`, the operator's in-place variant on a copy of its first operand.
    """
    torch.manual_seed(0)
    np.random.seed(0)
    random.seed(0)
    if name in _OWN:
        if not in_place:
            for function, args in _OWN[name](dtype):
                yield lambda function=function, args=args: make_call(function, args, {})
        return
    for op in _entries(name):
        if dtype not in op.supported_dtypes("cpu"):
            continue
        function = op.op
        if in_place:
            if op.inplace_variant is None:
                continue
            function = _on_a_copy(op.inplace_variant)
        for sample in op.sample_inputs("cpu", dtype, requires_grad=False):
            if in_place and sample.broadcasts_input:
                continue
            yield lambda sample=sample, function=function: make_call(
                function, (sample.input, *sample.args), sample.kwargs)


def _on_a_copy(function: Callable) -> Callable:
    def call(x, *args, **kwargs):
        copy = x.clone()
        function(copy, *args, **kwargs)
        return copy
    return call

"""Calls of operators to export: PyTorch's own sample inputs, turned into modules.

The tensors of a sample become the program's inputs and everything else is fixed in it; complex ones go in and
come out as pairs of real numbers.  Operators that the database lacks have samples here.  A sample that cannot
be compared (random, sparse, no tensor in the result) is refused with the reason.
"""

import itertools
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

    def __init__(self, position: int, is_complex: bool):
        self.position = position
        self.is_complex = is_complex

    def of(self, tensors: tuple[torch.Tensor, ...]) -> torch.Tensor:
        """The operand among these inputs."""
        given = tensors[self.position]
        return torch.view_as_complex(given) if self.is_complex else given


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
        leaves = [x.of(tensors) if isinstance(x, _Operand) else x for x in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        results = pytree.tree_leaves(self.function(*args, **kwargs))
        return tuple(in_pairs(x) for x in results if isinstance(x, torch.Tensor))

    def describe(self) -> str:
        """The call in one line, for messages."""
        leaves = [_Shown(x.of(self.tensors)) if isinstance(x, _Operand) else x for x in self.leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self.structure)
        return ", ".join([*(repr(x) for x in args), *(f"{k}={x!r}" for k, x in kwargs.items())])


def make_call(function: Callable, args: tuple, kwargs: dict) -> Call:
    """A call whose tensors are inputs."""
    leaves, structure = pytree.tree_flatten((args, kwargs))
    tensors: list[torch.Tensor] = []
    for i, leaf in enumerate(leaves):
        if isinstance(leaf, torch.Tensor):
            check_comparable(in_pairs(leaf))
            leaves[i] = _Operand(len(tensors), leaf.is_complex())
            tensors.append(in_pairs(leaf))
        elif isinstance(leaf, complex):
            raise Refused("a complex number that is no tensor")
        elif isinstance(leaf, torch.Generator):
            raise Refused("random")
    window = kwargs.get("window")
    if isinstance(window, torch.Tensor) and window.is_complex():
        raise Refused("a complex window, which the engine refuses too")
    if kwargs.get("dropout_p"):
        raise Refused("random: dropout")
    if kwargs.get("max_norm") is not None:
        raise Refused("changes its weights: max_norm")
    return Call(function, leaves, structure, tuple(tensors))


def in_pairs(tensor: torch.Tensor) -> torch.Tensor:
    """Complex numbers as pairs of real ones; others as they are."""
    return torch.view_as_real(tensor.resolve_conj()) if tensor.is_complex() else tensor


def check_comparable(tensor: torch.Tensor) -> None:
    """Refuses tensors of kinds that the engine does not have."""
    if tensor.is_sparse or tensor.layout != torch.strided:
        raise Refused(f"layout {tensor.layout}")
    if tensor.device.type != "cpu":
        raise Refused(f"device {tensor.device.type}")
    if tensor.dtype not in ELEMENT_TYPES:
        raise Refused(f"element type {tensor.dtype}")


ELEMENT_TYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64,
                 torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool)
COMPLEX_TYPES = (torch.complex64, torch.complex128)


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


def _core_directly(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Core operators that samples of PyTorch's become seldom or never, in all types that they have."""
    aten = torch.ops.aten
    some = torch.tensor([[0.5, -1.5, 2.0], [3.0, 0.0, -4.0], [1.0, 2.0, 1.0]]).to(dtype)
    index = torch.tensor([[2, 0, 1], [0, 1, 2]])
    yield (lambda x: aten.resize_(x.clone(), x.shape)), (some,)
    yield (lambda x: aten.alias(x) + x), (some,)
    yield (lambda x: torch.empty((3, 3), dtype=x.dtype).fill_(1) + x), (some,)
    yield (lambda x: aten.empty_strided((3, 3), (3, 1), dtype=x.dtype).fill_(1) + x), (some,)
    yield aten.copy, (some, some.flip(0))
    yield (lambda x: aten.constant_pad_nd(x, [1, 0, 2, 1], 1)), (some,)
    yield (lambda x, i: aten.scatter.value(x, 1, i, 1)), (some, index)
    yield (lambda x, i, y: aten.scatter_add(x, 1, i, y)), (some, index, some.flip(0))
    yield (lambda x, i, y: aten.scatter_reduce.two(x, 1, i, y, "amax")), (some, index, some.flip(0))
    yield (lambda x, y: aten.select_scatter(x, y, 0, 1)), (some, some[0])
    yield (lambda x, y: aten.slice_scatter(x, y, 0, 1, 3)), (some, some[:2])
    if dtype.is_floating_point:
        yield (lambda x, y: aten.atan2.out(x, y, out=torch.empty_like(x))), (some, some.flip(0))


def _core_floats(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """The same, of those that are defined for floats only."""
    aten = torch.ops.aten
    torch.manual_seed(0)

    def some(*shape):
        return torch.randn(shape).to(dtype)

    line, image, volume, four = some(2, 3, 5), some(2, 4, 6, 7), some(1, 2, 5, 6, 4), some(4)
    yield (lambda x: aten._adaptive_avg_pool2d(x, [3, 2])), (image,)
    yield (lambda x: aten._adaptive_avg_pool3d(x, [2, 3, 2])), (volume,)
    yield (lambda x, y: aten._cdist_forward(x, y, 2.0, None)), (some(4, 5), some(6, 5))
    yield (lambda x: aten._pdist_forward(x, 2.0)), (some(5, 4),)
    yield (lambda x, w, b, m, v: aten._native_batch_norm_legit(x, w, b, m, v, False, 0.1, 1e-5)), (
        image, four, four, four, four.abs() + 1)
    yield (lambda x: aten.col2im(x, [4, 4], [2, 2], [1, 1], [0, 0], [1, 1])), (some(2, 12, 9),)
    yield (lambda x, w, b: aten.convolution(x, w, b, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)), (
        image, some(6, 4, 3, 3), some(6))
    yield (lambda x, g: aten.grid_sampler_2d(x, g, 0, 0, False)), (image, some(2, 5, 5, 2))
    yield (lambda x: aten.native_dropout(x, 0.5, False)), (image,)
    yield (lambda x, w, b: aten.native_group_norm(x, w, b, 2, 4, 42, 2, 1e-5)), (image, four, four)
    yield (lambda x: aten.reflection_pad1d(x, [1, 2])), (line,)
    yield (lambda x: aten.reflection_pad2d(x, [1, 2, 2, 1])), (image,)
    yield (lambda x: aten.reflection_pad3d(x, [1, 1, 2, 1, 0, 1])), (volume,)
    yield (lambda x: aten.replication_pad2d(x, [1, 2, 2, 1])), (image,)
    yield (lambda x: aten.replication_pad3d(x, [1, 1, 2, 1, 0, 1])), (volume,)
    yield (lambda x: aten._fft_r2c(x, [1, 2], 1, True)), (line,)
    yield (lambda x: aten._fft_c2r(torch.view_as_complex(x), [0, 1], 2, 5)), (some(4, 3, 2),)


def _embedding_bag(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """With all of its results, also those for gradients."""
    table = torch.randn(7, 5).to(dtype)
    indices = torch.tensor([3, 1, 1, 6, 0, 2, 2])
    for mode, padding, ends in itertools.product((0, 1, 2), (-1, 2), (False, True)):
        offsets = torch.tensor([0, 3, 3, 5, 7] if ends else [0, 3, 3, 5])

        def bags(table, indices, offsets, mode=mode, padding=padding, ends=ends):
            return torch.ops.aten._embedding_bag(
                table, indices, offsets, False, mode, False, None, ends, padding)
        yield bags, (table, indices, offsets)
        yield bags, (table, indices.int(), offsets.int())

    def weighted(table, indices, offsets, weights):
        return torch.ops.aten._embedding_bag(table, indices, offsets, False, 0, False, weights)
    weights = torch.randn(7).to(dtype)
    yield weighted, (table, indices, torch.tensor([0, 2, 6]), weights)


def _recurrent(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Layers of all kinds, in one and two directions, with and without projections."""
    for kind, layers, bidirectional, bias, batch_first, projected in itertools.product(
            ("LSTM", "GRU", "RNN", "RELU"), (1, 3), (False, True), (False, True), (False, True),
            (0, 3)):
        if projected and kind != "LSTM":
            continue
        options = {"nonlinearity": "relu"} if kind == "RELU" else {}
        options |= {"proj_size": projected} if projected else {}
        module = getattr(torch.nn, kind.replace("RELU", "RNN"))(
            5, 7, layers, bias=bias, batch_first=batch_first, bidirectional=bidirectional, **options)
        module = module.to(dtype).eval()
        weights = tuple(module.state_dict().values())
        names = tuple(module.state_dict())
        steps, batch = (4, 1) if layers == 1 else (6, 3)
        x = torch.randn((batch, steps, 5) if batch_first else (steps, batch, 5)).to(dtype)
        count = layers * (2 if bidirectional else 1)
        state = torch.randn(count, batch, projected or 7).to(dtype)
        states = (state, torch.randn(count, batch, 7).to(dtype)) if kind == "LSTM" else (state,)

        def layered(x, *others, module=module, names=names, count=len(states)):
            states, weights = others[:count], others[count:]
            hx = states if count == 2 else states[0]
            return torch.func.functional_call(module, dict(zip(names, weights, strict=True)), (x, hx))
        yield layered, (x, *states, *weights)


def _cells(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Single steps of recurrent layers."""
    for kind, bias, batch in itertools.product(("lstm", "gru", "rnn_tanh", "rnn_relu"), (False, True), (1, 9)):
        gates = {"lstm": 4, "gru": 3}.get(kind, 1)
        shapes = [(gates * 6, 5), (gates * 6, 6), *[(gates * 6,)] * (2 if bias else 0)]
        weights = [torch.randn(shape).to(dtype) / 3 for shape in shapes]
        states = [torch.randn(batch, 6).to(dtype) for _ in range(2 if kind == "lstm" else 1)]

        def step(x, *others, kind=kind, states=len(states)):
            hx = list(others[:states]) if states == 2 else others[0]
            return getattr(torch.ops.aten, f"{kind}_cell")(x, hx, *others[states:])
        yield step, (torch.randn(batch, 5).to(dtype), *states, *weights)


def _weight_norm(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Along the first and the last dimension, with and without the norms."""
    for shape, dim in (((3, 4), 0), ((3, 4, 5), 2), ((3, 4, 5), 0), ((2, 3, 4, 5), 3)):
        lengths = [n if d == dim else 1 for d, n in enumerate(shape)]
        yield (lambda v, g, dim=dim: torch._weight_norm(v, g, dim)), (
            torch.randn(shape).to(dtype), torch.rand(lengths).to(dtype) + 0.5)
        yield (lambda v, g, dim=dim: torch.ops.aten._weight_norm_interface(v, g, dim)), (
            torch.randn(shape).to(dtype), torch.rand(lengths).to(dtype) + 0.5)


def _grouped_mm(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Groups along rows, columns, depth, and each for itself; some are empty."""
    def multiplied(a, b, ends=None):
        return torch._grouped_mm(a, b, offs=ends)
    for shapes, ends in ((((10, 8), (3, 8, 16)), (3, 3, 10)), (((3, 10, 8), (8, 24)), (8, 8, 24)),
                         (((16, 24), (24, 16)), (8, 16, 24)), (((40, 32), (3, 32, 48)), (13, 21, 40))):
        operands = [torch.randn(shape).to(dtype) for shape in shapes]
        yield multiplied, (*operands, torch.tensor(ends, dtype=torch.int32))
    yield multiplied, (torch.randn(3, 8, 16).to(dtype), torch.randn(3, 16, 8).to(dtype))


def _unfold_backward(dtype: torch.dtype) -> Iterator[tuple[Callable, tuple]]:
    """Windows that overlap, that leave gaps, and of one element."""
    for shape, dim, size, step in (((7,), 0, 3, 2), ((2, 9, 3), 1, 4, 3), ((2, 9, 3), -1, 1, 2), ((5, 4), 0, 2, 5)):
        def added(windows, shape=shape, dim=dim, size=size, step=step):
            return torch.ops.aten.unfold_backward(windows, shape, dim, size, step)
        yield added, (torch.randn(shape).to(dtype).unfold(dim, size, step).contiguous(),)


_OWN = {"constant_in_program": _constant_in_program, "empty_like_filled": _empty_like_filled,
        "batch_norm_in_eval": _batch_norm, "core_directly": _core_directly,
        "core_floats": _core_floats,
        "embedding_bag_with_bags": _embedding_bag, "recurrent": _recurrent,
        "recurrent_cells": _cells, "weight_norm": _weight_norm, "grouped_mm": _grouped_mm,
        "unfold_backward": _unfold_backward}


def _entries(name: str) -> list:
    base, _, variant = name.partition("/")
    found = [op for op in op_db
             if op.name == base and (not variant or op.variant_test_name == variant)
             # A variant of SiLU, which has no other samples.
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

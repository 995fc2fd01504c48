"""What a node of an exported graph costs: operations, bytes moved, bytes of its result.

The numbers guide a decision (`frontier`) and go into a report.  They need not be exact, but they must
not depend on the example inputs that a program was traced with, so a symbolic size counts with its
upper bound.  Assumption: the graph is functional and its operators are those that
`run_decompositions({})` leaves.
"""

import math
import operator
from contextlib import suppress

import torch
from torch.utils._sympy.numbers import int_oo
from torch.utils._sympy.value_ranges import ValueRanges, bound_sympy

aten = torch.ops.aten

# Operations that a CPU does while it fetches one byte from memory, within a small factor.
OPERATIONS_PER_BYTE = 10


class UnboundedSize(ValueError):
    """A size has no upper bound, so nothing that has this size can be kept."""


def unbounded(size):
    return f"size {size} has no upper bound; export the program with one: Dim(..., max=N)"


class Sizes:
    """Sizes of a program as numbers: upper bounds by its range constraints.

    If `at_their_largest` is given, other symbols count with their lower bounds: a step then has a
    single token, against the longest source.
    """

    def __init__(self, range_constraints, at_their_largest=None):
        self.ranges = dict(range_constraints)
        if at_their_largest is not None:
            for symbol, bounds in self.ranges.items():
                if symbol not in at_their_largest and bounds.lower.is_finite:
                    self.ranges[symbol] = ValueRanges(bounds.lower, bounds.lower)

    def largest(self, size):
        if isinstance(size, int):
            return size
        try:
            upper = bound_sympy(size.node.expr, self.ranges).upper
        except AssertionError as reason:  # a difference of two sizes without bound
            raise UnboundedSize(unbounded(size)) from reason
        if upper in (int_oo, math.inf) or upper >= 2**62:
            raise UnboundedSize(unbounded(size))
        return int(upper)

    def elements(self, value):
        return math.prod(self.largest(size) for size in value.shape)

    def bytes(self, value):
        return self.elements(value) * value.element_size()


def tensors(value):
    """The tensors in a node's `val`: itself, or the members of a tuple."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, (tuple, list)):
        return [t for member in value for t in tensors(member)]
    return []


def is_view(node):
    """Whether a node is a view of existing memory, which costs nothing."""
    if node.target is operator.getitem:
        return True
    schema = getattr(node.target, "_schema", None)
    return schema is not None and any(
        result.alias_info is not None and not result.alias_info.is_write
        for result in schema.returns)


def is_projection(node):
    """Whether a node is a matrix product or a convolution."""
    return getattr(node.target, "overloadpacket", None) in (
        aten.linear, aten.mm, aten.bmm, aten.matmul, aten.addmm, aten.baddbmm, aten.convolution,
        aten.conv1d, aten.conv2d, aten.conv3d)


def operations(node, sizes):
    """Floating point operations: a multiplication and an addition are two."""
    results = tensors(node.meta.get("val"))
    if is_view(node) or not results:
        return 0
    out = sum(sizes.elements(value) for value in results)
    packet = getattr(node.target, "overloadpacket", None)
    operand = [arg.meta["val"] if isinstance(arg, torch.fx.Node) else arg for arg in node.args]
    if packet in (aten.linear, aten.mm, aten.bmm, aten.matmul):
        return 2 * out * sizes.largest(operand[0].shape[-1])
    if packet in (aten.addmm, aten.baddbmm):
        return 2 * out * sizes.largest(operand[1].shape[-1])
    if packet in (aten.convolution, aten.conv1d, aten.conv2d, aten.conv3d):
        return 2 * out * sizes.elements(operand[1][0])
    if packet is aten.scaled_dot_product_attention:
        query, key = operand[0], operand[1]
        scores = sizes.elements(query[..., 0]) * sizes.largest(key.shape[-2])
        return 2 * scores * sizes.largest(query.shape[-1]) + 2 * out * sizes.largest(key.shape[-2])
    return out


def total_operations(graph, sizes):
    """The operations of a whole graph without branches; unbounded nodes are not counted."""
    total = 0
    for node in graph.nodes:
        if node.op == "call_function":
            with suppress(UnboundedSize):
                total += operations(node, sizes)
    return total


def work(node, sizes):
    """The cost of computing a node once, in bytes: those moved, and the operations converted."""
    if is_view(node):
        return 0
    results = tensors(node.meta.get("val"))
    moved = sum(sizes.bytes(value) for value in results) + sum(
        sizes.bytes(value) for arg in node.all_input_nodes
        for value in tensors(arg.meta.get("val")))
    return moved + operations(node, sizes) // OPERATIONS_PER_BYTE if results else 0

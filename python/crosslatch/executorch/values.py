"""The values of a program that is about to be planned, and how long each is needed.

ExecuTorch emits a program as one list of instructions.  A `cond` becomes jumps around its two
branches, and at the end of a branch its results are moved, as handles, to the values that the graph
around it reads.  So memory is not a matter of the graph that a node stands in: a branch's operands are
the outer values themselves, and what a branch returns is needed for as long as the result of the `cond`
is.  This module numbers the instructions in the order in which they are emitted and follows every
handle, through views, operands of branches and results of conds, to the instruction that writes the
memory.

A *value* is the contents that one instruction writes (or that an input or a buffer has at the start).
`Flow.needed(value)` is the set of positions after which it is still to be read, as the bits of a number:
exact for branches, because contents that only the taken branch returns are not needed in the other one.
"""

import operator
from dataclasses import dataclass, field

import torch
from executorch.exir import memory
from executorch.exir.delegate import executorch_call_delegate
from executorch.exir.memory_planning import _is_inplace_node, _is_out_var_node
from executorch.exir.operator.convert import get_out_args_from_opoverload
from executorch.exir.tensor import TensorSpec
from torch.export.graph_signature import OutputKind

COND = torch.ops.higher_order.cond
LOOPS = {"map_impl", "scan", "while_loop"}
#: Operators that copy an operand, whole: its index.  Of `copy`, the first says only the type.
COPIES = {"dim_order_ops::_clone_dim_order": 0, "aten::clone": 0, "aten::alias_copy": 0,
          "aten::detach_copy": 0, "aten::copy": 1, "aten::copy_": 1}
#: Operators that copy their first operand and replace a part: they may write on top of it.
PART_WRITES = {"aten::slice_scatter"}


class Unplannable(ValueError):
    """A program that these rules do not cover."""


@dataclass(eq=False)
class Value:
    """Contents of memory, written by one instruction."""

    name: str
    spec: TensorSpec
    position: int
    path: tuple                 # the branches around the instruction, outermost first
    node: torch.fx.Node
    kind: str                   # input, buffer, constant, result, changed (by an operator in place)
    base: "Value | None" = None  # of a changed value: what was there before
    uses: list = field(default_factory=list)      # (position, path)
    returns: list = field(default_factory=list)   # results of conds that this may be
    copies: list = field(default_factory=list)    # dropped copies, whose readers read this
    stands_for: list | None = None                # of a dropped copy: its source


@dataclass(eq=False)
class Joined:
    """A result of a `cond`: what one branch returns, or what the other does."""

    name: str
    position: int
    path: tuple
    node: torch.fx.Node
    index: int
    branches: tuple = ()        # the values of each branch
    ends: tuple = ()            # the position and path of each branch's end
    uses: list = field(default_factory=list)
    returns: list = field(default_factory=list)
    copies: list = field(default_factory=list)


@dataclass(eq=False)
class Copy:
    """A node that only copies, or that copies and replaces a part."""

    node: torch.fx.Node
    graph: torch.fx.Graph
    source: list                # the values or conds' results that may be read
    value: Value
    position: int
    path: tuple
    kind: str                   # whole, part, write back
    target: Value | None = None  # of a write back: the contents that it replaces

    @property
    def operand(self):
        """The node that is copied."""
        return self.node.args[COPIES.get(name_of(self.node), 0)]


class Flow:
    """The instructions of a program in their order."""

    def __init__(self, module, signature, persistent=()):
        self.signature = signature
        self.persistent = set(persistent)
        self.position = 0
        self.origins = {}       # node → [Value or Joined] for each of its results
        self.values, self.copies = [], []
        self.operands = {}      # position → values read there
        self.branches = []      # (first, last position of a then branch, path of the else branch)
        self.outputs = set()    # values and conds' results that are handed to the caller
        self.views = []         # (view node, what it shows)
        self._needed = {}
        self._walk(module, (), None)
        self.end = self.position

    # Reading a graph

    def _walk(self, module, path, bound):
        inputs = iter(bound or ())
        for node in module.graph.nodes:
            if node.op == "placeholder":
                self.origins[node] = next(inputs) if bound is not None else [self._input(node)]
            elif node.op == "output":
                self._output(node, path)
            elif node.op == "call_function":
                self._call(module, node, path)

    def _input(self, node):
        spec = node.meta.get("spec")
        if not isinstance(spec, TensorSpec):
            return None
        kind = "constant"
        if node.target in self.signature.user_inputs:
            kind = "input"
        elif (name := self.signature.inputs_to_buffers.get(node.target)) is not None and (
                name in self.signature.buffers_to_mutate.values() or name in self.persistent):
            kind = "buffer"
        value = Value(node.name, spec, 0, (), node, kind)
        self.values.append(value)
        return value

    def _call(self, module, node, path):
        target = node.target
        if target in (memory.alloc, memory.free):
            return
        if target is memory.view:
            self.origins[node] = self.origins[node.args[0]]
            self.views.append((node, self.origins[node][0]))
            return
        if target is operator.getitem:
            self.origins[node] = [self.origins[node.args[0]][node.args[1]]]
            return
        if target is COND:
            self._cond(module, node, path)
            return
        if getattr(target, "__name__", "") in LOOPS:
            raise Unplannable(f"{node.name}: loops ({target}) are not planned; only torch.cond is")
        self.position += 1
        outs = [node.kwargs.get(name) for name in get_out_args_from_opoverload(target)] \
            if _is_out_var_node(node) else []
        unread = [node.args[0]] if name_of(node) in ("aten::copy", "aten::copy_") else []
        self._read(node, path, but=outs + unread)
        if target is executorch_call_delegate:
            specs = node.meta["spec"]
            self.origins[node] = [self._result(node, spec, path) for spec in
                                  (specs if isinstance(specs, (list, tuple)) else [specs])]
        elif _is_inplace_node(node):
            self._change(node, path)
        elif outs:
            self.origins[node] = [self._result(node, out.meta["spec"], path) if out is not None else None
                                  for out in outs]
            self._note_copy(node, path)
        else:
            self.origins[node] = [None]   # numbers

    def _result(self, node, spec, path):
        if not isinstance(spec, TensorSpec):
            return None
        value = Value(node.name, spec, self.position, path, node, "result")
        self.values.append(value)
        return value

    def _read(self, node, path, but=()):
        read = self.operands.setdefault(self.position, [])
        for operand in node.all_input_nodes:
            if operand not in but:
                for value in self.origins.get(operand, ()):
                    if value is not None:
                        value.uses.append((self.position, path))
                        read.append(value)

    def _note_copy(self, node, path):
        name, value = name_of(node), self.origins[node][0]
        if value is None or name not in COPIES and name not in PART_WRITES:
            return
        operand = node.args[COPIES.get(name, 0)]
        source = [v for v in self.origins.get(operand, ()) if v is not None]
        if source and _size(operand) == _size(node):   # `copy` may also repeat a smaller tensor
            kind = "whole" if name in COPIES else "part"
            self.copies.append(Copy(node, node.graph, source, value, self.position, path, kind))

    def _change(self, node, path):
        """An operator that works in place, such as the write to a buffer at the end."""
        leaves_ = leaves(self.origins[node.args[0]][0])
        if len(leaves_) != 1:
            raise Unplannable(f"{node.name} changes a result of a cond in place")
        (before,) = leaves_
        value = Value(node.name, before.spec, self.position, path, node, "changed", base=before)
        self.values.append(value)
        self.origins[node] = [value]
        if name_of(node) == "aten::copy_" and _size(node.args[1]) == _size(node):
            self.copies.append(Copy(node, node.graph, list(self.origins[node.args[1]]), value,
                                    self.position, path, "write back", before))

    def _cond(self, module, node, path):
        predicate, *branches, operands = node.args
        self.position += 1
        for value in self.origins.get(predicate, ()):
            if value is not None:
                value.uses.append((self.position, path))
        returned, ends = [], []
        for side, branch in enumerate(branches):
            inner = (*path, (node, side))
            self.position += 1
            first = self.position
            graph = getattr(module, branch.target)
            self._walk(graph, inner, [self.origins.get(operand, [None]) for operand in operands])
            self.position += 1
            if side == 0:
                self.branches.append((first, self.position, (*path, (node, 1))))
            ends.append((self.position, inner))
            results = next(iter(reversed(graph.graph.nodes))).args[0]
            returned.append([self.origins[result][0] if isinstance(result, torch.fx.Node) else None
                             for result in results])
        self.position += 1
        joined = []
        for index, pair in enumerate(zip(*returned, strict=True)):
            if any(value is None for value in pair):
                joined.append(None)
                continue
            result = Joined(f"{node.name}[{index}]", self.position, path, node, index, pair,
                            tuple(ends))
            for value, end in zip(pair, ends):
                value.returns.append((result, end))
            joined.append(result)
        self.origins[node] = joined

    def _output(self, node, path):
        if path:
            return
        self.position += 1
        for result, spec in zip(node.args[0], self.signature.output_specs, strict=True):
            if isinstance(result, torch.fx.Node):
                for value in self.origins.get(result, ()):
                    if value is not None:
                        value.uses.append((self.position, path))
                        if spec.kind == OutputKind.USER_OUTPUT:
                            self.outputs.add(value)

    # How long a value is needed

    def needed(self, value):
        """The positions after which the value is still to be read."""
        if value not in self._needed:
            self._needed[value] = self._compute(value)
        return self._needed[value]

    def forget(self):
        """Something was dropped: what is needed how long has to be found again."""
        self._needed.clear()

    def _compute(self, value):
        bits = 0
        for position, path in value.uses:
            bits |= self._between(value.position, position, path)
        for joined, (position, path) in value.returns:
            if later := self.needed(joined):
                bits |= self._between(value.position, position + 1, path) | later
        for copy in value.copies:
            if later := self.needed(copy.value):
                bits |= self._between(value.position, copy.position + 1, copy.path) | later
        if getattr(value, "kind", None) == "buffer" and not self._is_written(value):
            bits |= self._between(value.position, self.end, ())
        return bits

    def _is_written(self, value):
        name = self.signature.inputs_to_buffers[value.node.target]
        return name in self.signature.buffers_to_mutate.values()

    def _between(self, first, last, path):
        """The positions from `first` on, before `last`, on the way to a place in these branches."""
        bits = _range(first, last)
        for start, end, other in self.branches:
            # On the way into an else branch, its then branch is passed by.
            if first < start and path[:len(other)] == other:
                bits &= ~_range(start, end + 1)
        return bits

    def to_caller(self, value):
        """Whether the caller is handed this value, as itself or by way of conds and dropped copies."""
        return (value in self.outputs
                or any(self.to_caller(joined) for joined, _ in value.returns)
                or any(self.to_caller(copy.value) for copy in value.copies))


def name_of(node):
    return getattr(getattr(node.target, "_schema", None), "name", None)


def _size(node):
    return tuple(node.meta["val"].shape) if isinstance(node, torch.fx.Node) else None


def _range(first, last):
    return ((1 << last) - 1) & ~((1 << first) - 1) if last > first else 0


def leaves(value):
    """The values that a value may be: itself, those of a cond's branches, or a dropped copy's source."""
    several = value.branches if isinstance(value, Joined) else value.stands_for
    if several is None:
        return [value]
    found = []
    for one in several:
        found += [leaf for leaf in leaves(one) if leaf not in found]
    return found

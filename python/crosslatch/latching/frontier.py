"""Chooses the values of a decoder that are worth computing once per input.

The problem.  Some nodes of the graph depend only on weights and the named inputs; call them *fixed*.
The fixed values that the rest of the graph needs must be available at every step: each is either kept
from the first step (which costs memory) or computed again (which costs work, and then its own operands
must be available).  Minimise the total cost.

The idea.  This is a minimum cut.  Every fixed node has an entry and an exit.  The sink's side of the cut
holds what is available at every step.  An exit there whose entry is on the other side is a kept value,
and the cut edge between them costs its bytes.  An entry there is a node computed at every step, and
the cut edge from the source costs its work.  A node can only be computed from available operands, so
an edge that cannot be cut leads from the operand's exit to the entry.  Weights and inputs are available
for free.  Of several minimum cuts, the one nearest to the uses is taken, so that keys and values are
kept in the layout in which attention reads them, if they can be written that way without a copy.  One
byte kept weighs as much as one byte moved per step: an expanded view is never kept, because its
operand is smaller, and a projection always is.

Some values cannot be kept: sizes, tuples, values that depend on weights alone (they belong to the
program, not to a session), mere copies of an input, values without a bound on their size, and values
with more than one varying size.
"""

from dataclasses import dataclass, field

import networkx
import torch
from torch.export.graph_signature import InputKind

from .costs import Sizes, UnboundedSize, is_view, tensors, work
from .layouts import needs_copy, varying_axes

aten = torch.ops.aten
CONSTANTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)
COPIES = (aten.clone.default, aten._to_copy.default, aten.lift_fresh_copy.default)
SOURCE, SINK = "source", "sink"
# A value that must be rearranged for its buffer is copied once per input; it costs this share of its bytes.
REARRANGING = 8


@dataclass
class Fixed:
    """The fixed part of a graph."""

    leaves: dict = field(default_factory=dict)       # placeholder → whether it is a named input
    nodes: dict = field(default_factory=dict)        # node → whether it depends on a named input
    symbols: set = field(default_factory=set)        # symbols in the sizes of the named inputs

    def __contains__(self, node):
        return node in self.leaves or node in self.nodes

    def varies(self, node):
        return self.leaves.get(node, False) or self.nodes.get(node, False)


def placeholder_specs(program):
    """[(placeholder node, input spec)] in order."""
    placeholders = [node for node in program.graph.nodes if node.op == "placeholder"]
    return list(zip(placeholders, program.graph_signature.input_specs, strict=True))


def _state(program):
    """Names of placeholders whose contents may change from step to step.

    A buffer is written if the signature says so, or by one of the two operators without the signature's
    knowledge, directly or in a branch; operands of a branch are assumed to be written.
    """
    signature = program.graph_signature
    state = {name for name, target in signature.inputs_to_buffers.items()
             if target in signature.buffers_to_mutate.values()}
    for node in program.graph.nodes:
        if node.op == "call_function" and (
                isinstance(node.target, torch._ops.HigherOrderOperator)
                or getattr(node.target, "namespace", "") == "executorch"):
            state |= {arg.name for arg in node.all_input_nodes}
    return state


def _is_repeatable(node):
    """Whether computing the node again gives the same: no state, no randomness, no branch."""
    if node.op != "call_function" or isinstance(node.target, torch._ops.HigherOrderOperator):
        return False
    if not isinstance(node.target, torch._ops.OpOverload):
        return True  # getitem and arithmetic on sizes
    return (node.target.namespace in ("aten", "prims")
            and not node.target._schema.is_mutable
            and torch.Tag.nondeterministic_seeded not in node.target.tags)


def find_fixed(program, inputs):
    """The part of a program that depends on constants and the named inputs only."""
    fixed, state = Fixed(), _state(program)
    for node, spec in placeholder_specs(program):
        if spec.kind == InputKind.USER_INPUT and node.name in inputs:
            fixed.leaves[node] = True
            fixed.symbols |= {s for size in node.meta["val"].shape if isinstance(size, torch.SymInt)
                              for s in size.node.expr.free_symbols}
        elif spec.kind in CONSTANTS and node.name not in state:
            fixed.leaves[node] = False
    for node in program.graph.nodes:
        if node.op == "call_function" and _is_repeatable(node) \
                and all(arg in fixed for arg in node.all_input_nodes):
            fixed.nodes[node] = any(fixed.varies(arg) for arg in node.all_input_nodes)
    return fixed


def _is_copy_of_leaf(node, fixed):
    while node in fixed.nodes and (is_view(node) or node.target in COPIES):
        node = node.all_input_nodes[0]
    return node in fixed.leaves


def why_not_kept(node, fixed, sizes):
    """None if the node's value can be kept, else the reason why not."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor):
        return "not a tensor"
    if not fixed.varies(node):
        return "depends on weights alone"
    if _is_copy_of_leaf(node, fixed):
        return "a copy of an input"
    if len(varying_axes(value)) > 1:
        return f"more than one size of {list(value.shape)} varies"
    try:
        sizes.bytes(value)
    except UnboundedSize as reason:
        return str(reason)
    return None


def is_check(node):
    """Whether a node computes nothing and only asserts."""
    return node.target is aten._assert_tensor_metadata.default


def _exits(fixed):
    """Fixed nodes that the rest of the graph reads."""
    return [node for node in fixed.nodes if not is_check(node)
            and any(user not in fixed.nodes for user in node.users)]


def choose_kept(program, fixed):
    """The nodes to keep, in the order of the graph."""
    sizes, network = Sizes(program.range_constraints), networkx.DiGraph()
    network.add_nodes_from((SOURCE, SINK))
    for node in fixed.nodes:
        if is_check(node):
            continue
        try:
            network.add_edge(SOURCE, (node, "in"), capacity=work(node, sizes))
        except UnboundedSize:
            network.add_edge(SOURCE, (node, "in"), capacity=0)
        if why_not_kept(node, fixed, sizes) is None:
            # A view weighs at least as much as its operand.
            value = node.meta["val"]
            rearranging = sizes.bytes(value) // REARRANGING if needs_copy(value) else 0
            network.add_edge((node, "in"), (node, "out"), capacity=sizes.bytes(value) + rearranging)
        else:
            network.add_edge((node, "in"), (node, "out"))
        for arg in node.all_input_nodes:
            if arg in fixed.nodes:
                network.add_edge((arg, "out"), (node, "in"))
    for node in _exits(fixed):
        network.add_edge((node, "out"), SINK)
    _, (before, at_hand) = networkx.minimum_cut(network, SOURCE, SINK)
    return [node for node in fixed.nodes if (node, "in") in before and (node, "out") in at_hand]


def needed_for(kept, fixed):
    """All fixed nodes that are needed to compute `kept`, in the order of the graph."""
    needed, todo = set(), list(kept)
    while todo:
        node = todo.pop()
        if node in fixed.nodes and node not in needed:
            needed.add(node)
            todo.extend(node.all_input_nodes)
    return [node for node in fixed.nodes if node in needed]

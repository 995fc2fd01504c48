"""The two operators as ExecuTorch's own, in a program that writes nothing.

ExecuTorch has no kernels for the operators of `crosslatch.ops`, and it plans memory for programs
whose nodes only make new values.  In such a program an alias is a copy of its operand, and an update
is a copy of the cache with some rows replaced.  Both mean the right thing wherever they stand, with
any planner.  That they cost nothing is not said here: `sharing` proves it for the program at hand,
and where it cannot, these copies are what runs.

The same form is what a plain `torch.cond` with clones has after tracing, so both ways in are one from
here on.
"""

import copy
import operator

import torch
from torch.export.graph_signature import InputKind, OutputKind

from .. import ops  # noqa: F401  defines the operators
from ..latching.calls import call

aten = torch.ops.aten
ALIAS = torch.ops.executorch.alias.default
UPDATE = torch.ops.executorch.update_cross_attn_cache.default


def pure(program):
    """A functional ExportedProgram without the two operators; the given one stays as it was."""
    program = program.run_decompositions({})
    program = copy.copy(program)
    module = copy.deepcopy(program.graph_module)
    for part in module.modules():
        if isinstance(part, torch.fx.GraphModule):
            _replace_operators(part)
            _copy_what_passes_through(part)
    _own_outputs(program, module)
    module.recompile()
    program._graph_module = module
    return program


def _replace_operators(module):
    graph = module.graph
    for node in list(graph.nodes):
        with graph.inserting_before(node):
            if node.target is ALIAS:
                results = [_clone(graph, operand) for operand in node.args]
                for user in list(node.users):
                    assert user.target is operator.getitem
                    user.replace_all_uses_with(results[user.args[1]])
                    graph.erase_node(user)
            elif node.target is UPDATE:
                node.replace_all_uses_with(_written(graph, *node.args))
            else:
                continue
        graph.erase_node(node)
    graph.eliminate_dead_code()
    module.recompile()


def _clone(graph, value):
    return call(graph, aten.clone.default, value)


def _written(graph, value, cache):
    """The cache after an update with `value`."""
    rows, of = value.meta["val"].shape[2], cache.meta["val"].shape[2]
    if isinstance(rows, int) and rows == of:
        # As the cache lies in memory: the copy may then become the cache.
        return call(graph, aten.clone.default, value, memory_format=torch.contiguous_format)
    if not isinstance(rows, int):
        rows = call(graph, aten.sym_size.int, value, 2)
    return call(graph, aten.slice_scatter.default, cache, value, 2, 0, rows)


def _copy_what_passes_through(module):
    """No result of a branch is an operand, or one value twice: passes that trace again forbid both."""
    if not any(node.op == "placeholder" for node in module.graph.nodes):
        return
    for node in list(module.graph.nodes):
        if node.target is torch.ops.higher_order.cond:
            for branch in (getattr(module, arg.target) for arg in node.args[1:3]):
                _copy_results(branch.graph)


def _copy_results(graph):
    output, seen = next(iter(reversed(graph.nodes))), set()

    def own(node):
        if node in seen or node.op == "placeholder":
            with graph.inserting_before(output):
                node = _clone(graph, node)
        seen.add(node)
        return node

    output.args = torch.fx.node.map_arg(output.args, own)


def _own_outputs(program, module):
    """Copies outputs that are inputs or buffers, or one value with another output.

    The writes to buffers come last in ExecuTorch, one after the other, and the outputs are read after
    them; what is handed out, or written to another buffer, must not be what they overwrite.
    """
    graph, signature = module.graph, program.graph_signature
    output = next(iter(reversed(graph.nodes)))
    taken, results = set(), []
    for value, spec in zip(output.args[0], signature.output_specs, strict=True):
        if isinstance(value, torch.fx.Node) and isinstance(value.meta.get("val"), torch.Tensor):
            root = _viewed(value)
            handed_out = spec.kind == OutputKind.USER_OUTPUT
            if root.op == "placeholder" or (handed_out and (root in taken or _is_joined(root))):
                with graph.inserting_before(output):
                    value = _clone(graph, value)
            taken.add(root)
        results.append(value)
    output.args = (tuple(results),)
    for value, spec in zip(results, signature.output_specs, strict=True):
        if isinstance(value, torch.fx.Node):
            spec.arg.name = value.name


def _is_joined(node):
    """Whether this is a result of a `cond` that others read, perhaps through views."""
    return (node.target is operator.getitem and node.args[0].target is torch.ops.higher_order.cond
            and len(node.users) > 1)


def _viewed(node):
    """The node whose memory a chain of views shows."""
    while node.op == "call_function" and (schema := getattr(node.target, "_schema", None)) and any(
            result.alias_info is not None for result in schema.returns):
        node = node.args[0]
    return node


def buffers(program):
    """The names of all buffers of a program, in order."""
    return [spec.target for spec in program.graph_signature.input_specs
            if spec.kind == InputKind.BUFFER]

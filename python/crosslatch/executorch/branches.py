"""Delegates inside the branches of a `cond`.

Partitioners look at the graph of a program and not at those of its branches, where weights are operands
and no constants; a projection in a branch would run in ExecuTorch's portable kernels, or not be lowered
at all.  Here each branch is made a program of its own, in which an operand that is a weight outside is
a weight as well, and is given to the same partitioners.  What comes back takes the branch's place.
Weights that a delegate took along are no operands any more; buffers that are written stay operands, so
that caches never go into a delegate's constants.

Two parts have to know: the partitioner, which says before that which operators are to be left whole for
it (`WithBranches`), and a pass over the program in ExecuTorch's edge dialect (`DelegateBranches`).
"""

import copy

import torch
from executorch.exir.backend.backend_api import to_backend
from executorch.exir.backend.partitioner import Partitioner, PartitionResult
from executorch.exir.pass_base import ExportedProgramPassBase, ExportedProgramPassResult
from torch.export.exported_program import ExportedProgram
from torch.export.graph_signature import (
    ConstantArgument, ExportGraphSignature, InputKind, InputSpec, OutputKind, OutputSpec,
    SymIntArgument, TensorArgument)

from .values import COPIES, PART_WRITES, name_of

COND = torch.ops.higher_order.cond
CONSTANTS = (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR)


def delegating(programs, partitioners, state=()):
    """The arguments `partitioner` and `transform_passes` of `to_edge_transform_and_lower` that have these
    partitioners, a list or one for each method, delegate what is inside of branches as well.

    `state` names buffers that are not constant although not every program writes them.
    """
    if not partitioners:
        return {}
    if not isinstance(partitioners, dict):
        partitioners = dict.fromkeys(programs, partitioners)
    partitioners = {name: [WithBranches(one, state) for one in several]
                    for name, several in partitioners.items()}
    return {"partitioner": partitioners,
            "transform_passes": {name: [DelegateBranches(several, state)]
                                 for name, several in partitioners.items()}}


class WithBranches(Partitioner):
    """A partitioner that has operators left whole for it in branches, and leaves state and copies."""

    def __init__(self, partitioner, state=()):
        super().__init__()
        self.partitioner, self.state = partitioner, state

    def ops_to_not_decompose(self, program):
        program = _with_state_as_inputs(program, self.state)
        operators, check = self.partitioner.ops_to_not_decompose(program)
        if check is None:
            return operators, None
        checks = {program.graph: check}
        for cond, module in _branches(program):
            branch = _as_program(program, cond, module)
            checks[module.graph] = self.partitioner.ops_to_not_decompose(branch)[1]
        # The branches of branches are decomposed: ExecuTorch does not ask about them.
        return operators, lambda node: node.graph in checks and checks[node.graph](node)

    def transform_for_pre_decomposition(self, program):
        return self.partitioner.transform_for_pre_decomposition(program)

    def partition(self, program):
        result = self.partitioner.partition(_with_state_as_inputs(program, self.state))
        _leave_copies(program.graph)
        return PartitionResult(program, result.partition_tags)


class DelegateBranches(ExportedProgramPassBase):
    """Gives what is inside of branches to partitioners.

    `state` names buffers that are not constant although this program does not write them.
    """

    def __init__(self, partitioners, state=()):
        self.partitioners, self.state = partitioners, state

    def call(self, program):
        if not any(True for _ in _branches(program)):
            return ExportedProgramPassResult(program, False)
        program = copy.copy(program)
        program._graph_module = copy.deepcopy(program.graph_module)
        return ExportedProgramPassResult(self._delegated(program), True)

    def _delegated(self, program):
        outer = _with_state_as_inputs(program, self.state)
        for cond, module in list(_branches(program)):
            branch = self._delegated(_as_program(outer, cond, copy.deepcopy(module)))
            for partitioner in self.partitioners:
                branch = to_backend(branch, partitioner)
            _take_place(module, branch)
        for node in program.graph.nodes:
            if node.target is COND:
                _drop_unused_operands(program, node)
        return _without_unused_constants(program)


def _branches(program):
    """Each branch of each `cond` of a program's own graph."""
    for node in program.graph.nodes:
        if node.target is COND:
            for branch in node.args[1:3]:
                yield node, getattr(program.graph_module, branch.target)


def _placeholders(graph):
    return [node for node in graph.nodes if node.op == "placeholder"]


def _with_state_as_inputs(program, state):
    """The same graph, with what is no constant among its buffers as inputs.

    Partitioners take buffers for weights, and what they take along is what they hold at that time.
    """
    signature = program.graph_signature
    state = {*signature.buffers_to_mutate.values(), *state}
    program = copy.copy(program)
    program._graph_signature = ExportGraphSignature(
        input_specs=[InputSpec(InputKind.USER_INPUT, spec.arg, None) if spec.target in state else spec
                     for spec in signature.input_specs],
        output_specs=signature.output_specs)
    return program


def _leave_copies(graph):
    """Takes copies at the edge of a partition out of it: they are not to be made, but proved unnecessary.

    At the edge, because what stays must not depend on itself by way of what was taken out.
    """
    copying = [node for node in graph.nodes if "delegation_tag" in node.meta
               and name_of(node) in COPIES.keys() | PART_WRITES]
    changed = True
    while changed:
        changed = False
        for node in copying:
            tag = node.meta.get("delegation_tag")
            if tag and not (any(other.meta.get("delegation_tag") == tag for other in node.users)
                            and any(other.meta.get("delegation_tag") == tag
                                    for other in node.all_input_nodes)):
                del node.meta["delegation_tag"]
                changed = True


def _as_program(program, cond, module):
    """A branch as a program, in which weights are weights."""
    constants = {spec.arg.name: spec for spec in program.graph_signature.input_specs
                 if spec.kind in CONSTANTS}
    inputs = []
    for node, operand in zip(_placeholders(module.graph), cond.args[3], strict=True):
        spec = constants.get(getattr(operand, "name", None))
        if spec is None:
            inputs.append(InputSpec(InputKind.USER_INPUT, _argument(node), None))
        else:
            inputs.append(InputSpec(spec.kind, TensorArgument(node.name), spec.target,
                                    spec.persistent))
    (results,) = module.graph.output_node().args
    outputs = [OutputSpec(OutputKind.USER_OUTPUT, _argument(node), None) for node in results]
    return ExportedProgram(
        root=module, graph=module.graph,
        graph_signature=ExportGraphSignature(input_specs=inputs, output_specs=outputs),
        state_dict=program.state_dict, constants=program.constants,
        range_constraints=program.range_constraints,
        module_call_graph=copy.deepcopy(program.module_call_graph), example_inputs=None,
        verifiers=[program.verifier])


def _argument(node):
    value = node.meta["val"] if isinstance(node, torch.fx.Node) else node
    if isinstance(value, torch.Tensor):
        return TensorArgument(node.name)
    if isinstance(value, torch.SymInt):
        return SymIntArgument(node.name)
    return ConstantArgument(getattr(node, "name", ""), value)


def _take_place(module, branch):
    """Puts the graph of a branch that was lowered as a program into the branch's module."""
    graph = torch.fx.Graph()
    copies = {}
    for node in _placeholders(module.graph):
        copies[node.name] = graph.node_copy(node)
    for node in branch.graph.nodes:
        if node.op == "placeholder":
            continue
        copies[node.name] = graph.node_copy(node, lambda arg: copies[arg.name])
        if node.op == "get_attr":
            setattr(module, node.target, getattr(branch.graph_module, node.target))
    module.graph = graph
    module.graph.eliminate_dead_code()
    module.recompile()


def _drop_unused_operands(program, cond):
    """Takes out of a `cond` what neither branch reads any more."""
    predicate, then, other, operands = cond.args
    graphs = [getattr(program.graph_module, branch.target) for branch in (then, other)]
    inner = [_placeholders(module.graph) for module in graphs]
    kept = [i for i in range(len(operands)) if any(nodes[i].users for nodes in inner)]
    for module, nodes in zip(graphs, inner, strict=True):
        for i, node in enumerate(nodes):
            if i not in kept:
                module.graph.erase_node(node)
        module.recompile()
    cond.args = (predicate, then, other, tuple(operands[i] for i in kept))


def _without_unused_constants(program):
    signature = program.graph_signature
    unused = {node.name: node for node in _placeholders(program.graph) if not node.users}
    taken = [spec for spec in signature.input_specs
             if spec.kind in CONSTANTS and spec.arg.name in unused
             and spec.target not in signature.buffers_to_mutate.values()]
    for spec in taken:
        program.graph.erase_node(unused[spec.arg.name])
    program.graph_module.recompile()
    inputs = [spec for spec in signature.input_specs if spec not in taken]
    left = {spec.target for spec in inputs}
    return ExportedProgram(
        root=program.graph_module, graph=program.graph,
        graph_signature=ExportGraphSignature(input_specs=inputs,
                                             output_specs=signature.output_specs),
        state_dict={name: value for name, value in program.state_dict.items() if name in left},
        constants={name: value for name, value in program.constants.items() if name in left},
        range_constraints=program.range_constraints,
        module_call_graph=program.module_call_graph, example_inputs=program.example_inputs,
        verifiers=[program.verifier])

"""A latched program as two methods: one computes what stays, the other reads it.

`latch` puts what depends on the encoder's output alone into one branch of a `cond`.  A branch is a poor
place in ExecuTorch: partitioners do not enter it, because weights are operands there.  As a method of
its own, the branch is a program like any other, and delegates take it whole.  The other method, the
step, has no `cond` at all.  The buffers are the same memory in both (`MemoryPlanning`).
"""

import copy

import torch
from torch.export.exported_program import (
    ExportedProgram, ModuleCallEntry, ModuleCallSignature)
from torch.export.graph_signature import (
    ExportGraphSignature, InputKind, OutputKind, OutputSpec, TensorArgument)
from torch.utils import _pytree as pytree

from .pure import pure

aten = torch.ops.aten
COND = torch.ops.higher_order.cond


class NotTwoMethods(ValueError):
    """A program that does not fall into two parts."""


def split(program, names=("latch", "step")):
    """{"latch": …, "step": …} of a program in which one `cond` computes buffers or hands them out.

    The first writes the buffers and takes those inputs on which they depend; the second is the rest.
    The predicate is gone: who calls the first method decides.  Raises `NotTwoMethods` with the reason
    if the program has another form.
    """
    program = pure(program)
    return dict(zip(names, (_latch(_copied(program)), _step(_copied(program))), strict=True))


def _copied(program):
    program = copy.copy(program)
    program._graph_module = copy.deepcopy(program.graph_module)
    return program


class _Parts:
    """The `cond` of a program, its branches, and the buffer that each of its results is."""

    def __init__(self, program):
        self.program, self.module, self.graph = program, program.graph_module, program.graph
        conds = [node for node in self.graph.nodes if node.target is COND]
        if len(conds) != 1:
            raise NotTwoMethods(f"the program has {len(conds)} conds; a program with one can be two "
                                "methods")
        (self.cond,) = conds
        _, self.then, self.other, self.operands = self.cond.args
        self.other = getattr(self.module, self.other.target)
        self.buffers = [self._handed_out(node) for node in self._outputs(
            getattr(self.module, self.then.target))]

    @staticmethod
    def _outputs(branch):
        return next(iter(reversed(branch.graph.nodes))).args[0]

    def _handed_out(self, node):
        """The buffer that a result of the first branch is."""
        branch = node.graph
        while node.target is aten.clone.default:
            node = node.args[0]
        inner = [n for n in branch.nodes if n.op == "placeholder"]
        if node not in inner:
            raise NotTwoMethods(f"{node.name} in the first branch of {self.cond.name} is computed")
        outer = self.operands[inner.index(node)]
        if outer.target not in self.program.graph_signature.inputs_to_buffers:
            raise NotTwoMethods(f"{self.cond.name} hands out {outer.name}, which is no buffer")
        return outer


def _latch(program):
    parts = _Parts(program)
    graph = torch.fx.Graph()
    copies, specs = {}, []
    wanted = _needed([*parts.operands, *parts.buffers])
    for node in parts.graph.nodes:
        if node in wanted:
            copies[node] = graph.node_copy(node, lambda arg: copies[arg])
    inner = {}
    for node, operand in zip((n for n in parts.other.graph.nodes if n.op == "placeholder"),
                             parts.operands, strict=True):
        inner[node] = copies[operand]
    for node in parts.other.graph.nodes:
        if node.op == "call_function":
            inner[node] = graph.node_copy(node, lambda arg: inner[arg])
        elif node.op == "get_attr":
            raise NotTwoMethods(f"there is a cond inside of {parts.cond.name}")
    results = []
    for node, buffer in zip(parts._outputs(parts.other), parts.buffers, strict=True):
        results.append(inner[node])
        name = program.graph_signature.inputs_to_buffers[buffer.target]
        specs.append(OutputSpec(OutputKind.BUFFER_MUTATION, TensorArgument(inner[node].name), name))
    graph.output(tuple(results))
    return _program(program, graph, specs)


def _needed(nodes):
    found, todo = set(), list(nodes)
    while todo:
        node = todo.pop()
        if node not in found:
            found.add(node)
            todo += node.all_input_nodes
    return found


def _step(program):
    parts = _Parts(program)
    signature = program.graph_signature
    output = next(iter(reversed(parts.graph.nodes)))
    latched = {}
    for node in list(parts.cond.users):
        latched[node] = parts.buffers[node.args[1]]
    results, specs = [], []
    for node, spec in zip(output.args[0], signature.output_specs, strict=True):
        if spec.kind == OutputKind.BUFFER_MUTATION and node in latched:
            continue
        results.append(node)
        specs.append(spec)
    output.args = (tuple(results),)
    for node, buffer in latched.items():
        node.replace_all_uses_with(buffer)
        parts.graph.erase_node(node)
    parts.graph.erase_node(parts.cond)
    parts.graph.eliminate_dead_code()
    return _program(program, parts.graph, specs)


def _program(program, graph, output_specs):
    """An ExportedProgram of a graph with some of the inputs of `program`."""
    signature = program.graph_signature
    written = {spec.target for spec in output_specs if spec.kind == OutputKind.BUFFER_MUTATION}
    for node in list(graph.nodes):
        if node.op == "placeholder" and not node.users \
                and signature.inputs_to_buffers.get(node.target) not in written:
            graph.erase_node(node)
    left = {node.target for node in graph.nodes if node.op == "placeholder"}
    inputs = [spec for spec in signature.input_specs if spec.arg.name in left]
    user_inputs = [spec.arg.name for spec in inputs if spec.kind == InputKind.USER_INPUT]
    user_outputs = sum(spec.kind == OutputKind.USER_OUTPUT for spec in output_specs)
    state = {spec.target for spec in inputs if spec.target is not None}
    given = program.example_inputs[1] if program.example_inputs else {}
    positional = dict(zip(signature.user_inputs, pytree.tree_leaves(program.example_inputs)))
    example = ((), {name: given.get(name, positional.get(name)) for name in user_inputs})
    in_spec = pytree.tree_structure(((), dict.fromkeys(user_inputs, 0)))
    out_spec = pytree.tree_structure(tuple(range(user_outputs)))
    call = ModuleCallEntry("", ModuleCallSignature(
        inputs=[], outputs=[],
        in_spec=in_spec, out_spec=out_spec, forward_arg_names=user_inputs))
    graph.lint()
    module = torch.fx.GraphModule(torch.nn.Module(), graph)
    module.meta = dict(program.graph_module.meta)
    return ExportedProgram(
        root=module, graph=graph,
        graph_signature=ExportGraphSignature(input_specs=inputs, output_specs=output_specs),
        state_dict={name: value for name, value in program.state_dict.items() if name in state},
        range_constraints=program.range_constraints, module_call_graph=[call],
        example_inputs=example,
        constants={name: value for name, value in program.constants.items() if name in state},
        verifiers=program.verifiers)

"""Moves the kept values of a program into a `cond`.

One branch computes them all and writes each into its buffer; the other returns the buffers.  Readers of
a value read the result of the `cond` instead.
"""

import copy
from contextlib import nullcontext

import torch
from torch.export.exported_program import ExportedProgram
from torch.export.graph_signature import (ExportGraphSignature, InputKind, InputSpec,
                                          TensorArgument)

from .buffers import Buffer
from .calls import call, item
from .costs import Sizes, is_view
from .frontier import Fixed, is_check, needed_for, placeholder_specs, varying_axes

aten, executorch = torch.ops.aten, torch.ops.executorch


class Surgery:
    """Moves the kept values of one program into a `cond`."""

    def __init__(self, program, fixed: Fixed, kept, inputs, position):
        self.program, self.graph, self.module = program, program.graph, program.graph_module
        self.fixed, self.kept, self.position = fixed, kept, position
        self.sizes = Sizes(program.range_constraints)
        self.specs = placeholder_specs(program)
        self.named = [node for node, _ in self.specs if node.name in inputs]
        self.state = dict(program.state_dict)
        self.new_specs = []
        self.first_call = next(n for n in self.graph.nodes if n.op != "placeholder")
        self.fake_mode = kept[0].meta["val"].fake_mode if kept else None
        self.lengths = {}

    def result(self, report):
        """Returns the program; records in the report what is kept where, and when it is computed.

        The types of new nodes are found by running them on the example's sizes.  What the tracer learns
        about the sizes there (is this as long as the buffer?) is not a condition of the program.
        """
        shapes = self.fake_mode and self.fake_mode.shape_env
        with shapes.suppress_guards() if shapes else nullcontext():
            return self._result(report)

    def _result(self, report):
        moved = needed_for(self.kept, self.fixed)
        buffers = [self._buffer(node, f"latched.{i}") for i, node in enumerate(self.kept)]
        report.values = [buffer.described() for buffer in buffers]
        caches = [self._placeholder(buffer) for buffer in buffers]
        with self.graph.inserting_before(self.first_call):
            if self.position is not None:
                watched, predicate = [], self._position_is_later()
                report.predicate = f"{self.position} begins with 0"
            else:
                watched, predicate = self._same_inputs_as_before()
                report.predicate = "the named inputs differ from those before"
                report.watched_bytes = sum(buffer.bytes for buffer, _, _ in watched)
            results = self._cond(predicate, moved, buffers, caches, watched)
            values = [buffer.read(self.graph, result, self._length(buffer))
                      for buffer, result in zip(buffers, results)]
        for node, value in zip(self.kept, values):
            node.replace_all_uses_with(value)
        self._copy_kept_outputs(set(values))
        self._remove_unused()
        return self._program()

    # Buffers

    def _free_name(self, name):
        taken = set(self.state) | set(self.program.constants) | {n.name for n in self.graph.nodes}
        while name in taken or f"b_{name.replace('.', '_')}" in taken:
            name += "_"
        return name

    def _buffer(self, node, name):
        return Buffer(node, self._free_name(name), self.sizes)

    def _placeholder(self, buffer, fill=0):
        """Adds the buffer to the program's state; returns its node."""
        contents = torch.full(buffer.shape, fill, dtype=buffer.node.meta["val"].dtype)
        self.state[buffer.name] = contents
        behind = next(n for n, s in self.specs
                      if s.kind not in (InputKind.PARAMETER, InputKind.BUFFER))
        with self.graph.inserting_before(behind):
            node = self.graph.placeholder(f"b_{buffer.name.replace('.', '_')}")
        node.meta["val"] = self.fake_mode.from_tensor(contents, static_shapes=True)
        self.new_specs.append((node, InputSpec(InputKind.BUFFER, TensorArgument(name=node.name),
                                               buffer.name, persistent=True)))
        return node

    # When to compute

    def _position_is_later(self):
        node = next(n for n, _ in self.specs if n.name == self.position)
        while node.meta["val"].dim() > 0:
            node = call(self.graph, aten.select.int, node, 0, 0)
        return call(self.graph, aten.gt.Scalar, node, 0)

    def _same_inputs_as_before(self):
        """[(buffer, cache, input)] to be written with the kept values, and the predicate.

        The lengths of the inputs are kept as well: a shorter input that begins like the previous one is
        a different input.  The lengths are -1 at first, so the first step computes.
        """
        watched, same = [], None
        for node in self.named:
            buffer = self._buffer(node, f"latched.seen.{node.name}")
            cache = self._placeholder(buffer)
            before = buffer.read(self.graph, cache, self._length(buffer))
            equal = call(self.graph, aten.all.default,
                          call(self.graph, aten.eq.Tensor, before, node))
            watched.append((buffer, cache, node))
            same = equal if same is None else call(self.graph, aten.logical_and.default, same, equal)
        for i, node in enumerate(self.named):
            length = call(self.graph, aten.new_full.default, node, [1, 1, 1, 1],
                           self._length(watched[i][0]) or 1, dtype=torch.int64)
            buffer = self._buffer(length, f"latched.length.{node.name}")
            cache = self._placeholder(buffer, fill=-1)
            equal = call(self.graph, aten.all.default,
                          call(self.graph, aten.eq.Tensor, cache, length))
            watched.append((buffer, cache, length))
            same = call(self.graph, aten.logical_and.default, same, equal)
        return watched, same

    # The cond

    def _length(self, buffer):
        """The current size along the varying axis of a buffer, or None."""
        if buffer.axis is None:
            return None
        expression = buffer.node.meta["val"].shape[buffer.axis].node.expr
        if expression not in self.lengths:
            self.lengths[expression] = self._size_node(expression)
        return self.lengths[expression]

    def _size_node(self, expression):
        for node in self.named:
            for axis in varying_axes(node.meta["val"]):
                if node.meta["val"].shape[axis].node.expr == expression:
                    return call(self.graph, aten.sym_size.int, node, axis)
        return self._computed_size(expression)

    def _computed_size(self, expression):
        """A size that no input has, such as half of one; the nodes that compute it are repeated."""
        source = next((n for n in self.fixed.nodes if isinstance(n.meta.get("val"), torch.SymInt)
                       and n.meta["val"].node.expr == expression), None)
        if source is None:
            raise ValueError(f"the graph does not compute the size {expression}")
        copies = {}
        for node in needed_for([source], self.fixed):
            copies[node] = self.graph.node_copy(node, lambda arg: copies.get(arg, arg))
            copies[node].meta = copy.copy(node.meta)
        return copies[source]

    def _cond(self, predicate, moved, buffers, caches, watched):
        """Adds the cond; returns nodes for the caches of the kept values, in order."""
        leaves = dict.fromkeys(arg for node in moved for arg in node.all_input_nodes
                               if arg in self.fixed.leaves)
        leaves.update(dict.fromkeys(
            n for n in self.named if any(b.axis is not None for b in buffers) or watched))
        leaves.update(dict.fromkeys(value for _, _, value in watched))
        all_caches = caches + [cache for _, cache, _ in watched]
        operands = all_caches + list(leaves)
        keep = self._branch(operands, lambda graph, args: self._hand_out(
            graph, [args[cache] for cache in all_caches]))
        compute = self._branch(operands, lambda graph, args: self._compute(
            graph, args, moved, list(zip(buffers, caches)), watched))
        cond = self.graph.call_function(torch.ops.higher_order.cond, (
            predicate, self._submodule("true_graph", keep), self._submodule("false_graph", compute),
            operands))
        with self.fake_mode:
            cond.meta["val"] = tuple(torch.empty_like(cache.meta["val"]) for cache in all_caches)
        return [item(self.graph, cond, i) for i in range(len(caches))]

    def _branch(self, operands, body):
        """A graph module whose placeholders stand for `operands`; `body` returns its outputs."""
        graph, args = torch.fx.Graph(), {}
        for node in operands:
            args[node] = graph.placeholder(node.name)
            args[node].meta["val"] = node.meta["val"]
        outputs = tuple(body(graph, args))
        graph.output(outputs).meta["val"] = tuple(node.meta["val"] for node in outputs)
        graph.eliminate_dead_code()
        return torch.fx.GraphModule(torch.nn.Module(), graph)

    def _submodule(self, name, module):
        number = 0
        while hasattr(self.module, f"{name}_{number}"):
            number += 1
        setattr(self.module, f"{name}_{number}", module)
        return self.graph.get_attr(f"{name}_{number}")

    def _hand_out(self, graph, caches):
        """`alias` takes two operands: an odd one is paired with the first, whose extra result is unused."""
        outputs = []
        for i in range(0, len(caches), 2):
            pair = caches[i:i + 2]
            node = call(graph, executorch.alias.default, pair[0], pair[-1])
            outputs += [item(graph, node, j) for j in range(len(pair))]
        return outputs

    def _compute(self, graph, args, moved, kept, watched):
        copies = dict(args)
        for node in moved:
            copies[node] = graph.node_copy(node, lambda arg: copies[arg])
        outputs = []
        for buffer, cache in kept:
            outputs.append(buffer.write(graph, copies[buffer.node],
                                        self._length_in_branch(graph, args, buffer, copies),
                                        args[cache]))
        for buffer, cache, value in watched:
            outputs.append(buffer.write(graph, args[value],
                                        self._length_in_branch(graph, args, buffer, copies),
                                        args[cache]))
        return outputs

    def _length_in_branch(self, graph, args, buffer, copies):
        """The length, read from the value itself; needed if the value is written in another shape."""
        if buffer.axis is None or buffer.plain:
            return None
        value = copies.get(buffer.node)
        return call(graph, aten.sym_size.int, value, buffer.axis)

    # Afterwards

    def _copy_kept_outputs(self, values):
        """Copies outputs that would be views of a buffer, which the next input overwrites."""
        output = next(n for n in self.graph.nodes if n.op == "output")

        def own(node):
            source = node
            while source not in values and source.op == "call_function" and is_view(source) \
                    and source.all_input_nodes:
                source = source.all_input_nodes[0]
            if source not in values:
                return node
            with self.graph.inserting_before(output):
                return call(self.graph, aten.clone.default, node)

        output.args = torch.fx.node.map_arg(output.args, own)
        for node, spec in zip(output.args[0], self.program.graph_signature.output_specs, strict=True):
            if isinstance(node, torch.fx.Node):
                spec.arg.name = node.name

    def _remove_unused(self):
        for node in reversed([n for n in self.fixed.nodes]):
            checks_moved = is_check(node) and all(
                arg in self.fixed.nodes for arg in node.all_input_nodes)
            if not node.users and (checks_moved or not is_check(node)):
                self.graph.erase_node(node)

    def _program(self):
        old = self.program.graph_signature
        specs = dict(self.specs) | dict(self.new_specs)
        order = [node for node in self.graph.nodes if node.op == "placeholder"]
        signature = ExportGraphSignature(input_specs=[specs[node] for node in order],
                                         output_specs=old.output_specs)
        self.graph.lint()
        self.module.recompile()
        # An exported program only infers; a weight that requires a gradient would make autograd look
        # for derivatives of the two operators.
        state = {name: torch.nn.Parameter(value.detach(), requires_grad=False)
                 if isinstance(value, torch.nn.Parameter) else value
                 for name, value in self.state.items()}
        return ExportedProgram(
            root=self.module, graph=self.graph, graph_signature=signature, state_dict=state,
            range_constraints=self.program.range_constraints,
            module_call_graph=self.program.module_call_graph,
            example_inputs=self.program.example_inputs, constants=self.program.constants,
            verifiers=self.program.verifiers)

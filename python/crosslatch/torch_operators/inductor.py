"""Compiles the operators: an alias to nothing, an update to one copy, in place.

The compiler receives a program without writes (see `functionalization`): an update makes a new value of
its cache.  Writing that value over the old one is right if nobody reads the old one any more.  This is
proved here for each update, at the last moment, when the compiler has fixed the order of everything: no
tensor in the cache's memory may have a later reader, and a cache that came from outside must be one
that the program overwrites anyway.  If the proof fails, the update becomes its meaning, a copy of the
cache with some rows replaced.  So no earlier pass can do harm by dropping a clone or moving a reader.

The result of an update in place is the cache itself, not a buffer of its own, so the compiler cannot give
its memory to anything else.  The same holds for the outputs of a `cond`: those that both branches leave
in an operand's memory are removed from the outputs and replaced by the operand, with the `cond` as its
writer.  Otherwise the compiler would assume that they are fresh memory, and let the next operator work
in place on the cache.
"""

import hashlib
import sys
from pathlib import Path

import torch
from torch.utils import _pytree as pytree

from . import imports
from .functionalization import ALIAS, ALIASES, COND, UPDATE, UPDATES, calls

aten = torch.ops.aten


def register():
    imports.around("torch._inductor.lowering", after=_register)
    # Compiled programs are cached on disk, under keys that do not reflect how operators are lowered.
    torch.compiler.config.cache_key_tag += f"crosslatch {_digest()}"


def refresh():
    """Restores the lowerings after another package registered its own."""
    if "torch._inductor.lowering" in sys.modules:
        _register()


def _digest():
    files = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:16]


def _register():
    from torch._inductor import lowering
    lowering.register_lowering(ALIAS, type_promotion_kind=None)(alias)
    lowering.register_lowering(UPDATE, type_promotion_kind=None)(update)
    if not getattr(lowering.lowerings[COND], "is_crosslatch", False):
        lowering.lowerings[COND] = _cond_after(lowering.lowerings[COND])


def alias(x, y):
    return x, y


def update(value, cache):
    from torch._inductor import ir
    from torch._inductor.lowering import lowerings
    from torch._inductor.virtualized import V
    if not may_overwrite(cache, V.graph.current_node):
        return lowerings[aten.slice_scatter.default](cache, value, 2, 0, value.get_size()[2])
    if memory(cache) in reads(value):
        value = ir.ExternKernel.copy_input(value)
    rows = lowerings[aten.slice.Tensor](cache, 2, 0, value.get_size()[2])
    lowerings[aten.copy_.default](rows, value)
    return cache


def memory(box):
    """The name of the buffer that holds a tensor, or None if it is not computed yet."""
    from torch._inductor import ir
    while not isinstance(box, ir.Buffer):
        if isinstance(box, (ir.TensorBox, ir.StorageBox, ir.ReinterpretView)):
            box = box.data
        elif isinstance(box, ir.BaseView):
            box = box.unwrap_view()
        else:
            return None
    return box.get_name()


def reads(box):
    """The names of the buffers from which a tensor is computed."""
    name = memory(box)
    return {name} if name is not None else set(box.get_read_names())


def may_overwrite(cache, node):
    """Whether `node` may write its new value over the old one."""
    from torch._inductor.virtualized import V
    cache.realize()
    name = memory(cache)
    if name is None:
        return False
    graph = V.graph
    nodes = list(node.graph.nodes)
    later = set(nodes[nodes.index(node) + 1:])
    same = [other for other, value in graph.env.items() if any(
        memory(leaf) == name for leaf in pytree.tree_leaves(value) if is_tensor(leaf))]
    outside = [other for other in same if other.op in ("placeholder", "get_attr")]
    # An attribute may be fetched by several nodes, some of which are not lowered yet.
    targets = {other.target for other in outside if other.op == "get_attr"}
    fetched = [other for other in later if other.op == "get_attr" and other.target in targets]
    if any(user in later and not overwrites(user, other)
           for other in same + fetched for user in other.users):
        return False
    if not outside:
        return name not in graph.constants
    mine = getattr(graph, "crosslatch_overwritable", ())
    inputs = [other for other in nodes if other.op == "placeholder"]
    return any(other.op == "placeholder" and inputs.index(other) in mine
               or any(overwrites(user, other) for user in other.users)
               for other in outside + fetched)


def is_tensor(leaf):
    from torch._inductor import ir
    return isinstance(leaf, (ir.TensorBox, ir.StorageBox, ir.BaseView, ir.Buffer))


def overwrites(user, tensor):
    """Whether `user` stores the final contents of an input of the program."""
    return (user.target is aten.copy_.default and user.args[0] is tensor
            and user.args[1] is not tensor and tensor.op in ("placeholder", "get_attr"))


def written(module):
    """The operands that a branch writes, and the operand that each node is, if it is one."""
    roots, found = {}, set()
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    roots.update((node, i) for i, node in enumerate(inputs))
    for node in module.graph.nodes:
        if node.target in UPDATES:
            if (root := roots.get(node.args[1])) is not None:
                roots[node] = root
                found.add(root)
        elif node.target is COND:
            for branch in node.args[1:3]:
                inner, _ = written(getattr(module, branch.target))
                found |= {roots[node.args[3][i]] for i in inner if node.args[3][i] in roots}
        elif node.op == "call_function" and node.target.__name__ == "getitem":
            source = node.args[0]
            if getattr(source, "target", None) in ALIASES:
                if (root := roots.get(source.args[node.args[1]])) is not None:
                    roots[node] = root
            elif getattr(source, "target", None) is COND:
                ends = set()
                for branch in source.args[1:3]:
                    inner = getattr(module, branch.target)
                    _, inside = written(inner)
                    output = inner.graph.output_node().args[0][node.args[1]]
                    ends.add(inside.get(output))
                if len(ends) == 1 and (end := ends.pop()) is not None:
                    if (root := roots.get(source.args[3][end])) is not None:
                        roots[node] = root
    return found, roots


def _cond_after(original):
    """The compiler's own lowering for a `cond` without the operators, wrapped for one with them."""
    def lowering(predicate, true_branch, false_branch, operands):
        branches = (true_branch, false_branch)
        if not any(calls(branch.graph_module, ALIASES + UPDATES) for branch in branches):
            return original(predicate, true_branch, false_branch, operands)
        return cond(original, predicate, branches, list(operands))

    lowering.is_crosslatch = True
    return lowering


def cond(original, predicate, branches, operands):
    from torch._inductor import ir
    from torch._inductor.virtualized import V
    graph, node = V.graph, V.graph.current_node
    writes = sorted(written(branches[0].graph_module)[0] | written(branches[1].graph_module)[0])
    for i in writes:
        operands[i] = own(operands[i], node, node.args[3][i].meta["val"])
    fakes = [x.meta["val"] if isinstance(x, torch.fx.Node) else x for x in node.args[3]]
    for branch in branches:
        branch.graph = graph.make_subgraph(gm=branch.graph_module, example_inputs=fakes,
                                           subgraph_name=branch.name)
        branch.graph.crosslatch_overwritable = frozenset(writes)
        with V.set_graph_handler(branch.graph):
            branch.graph.run(*fakes)
    roots = [[root_of(output, branch.graph) for output in branch.graph.graph_outputs]
             for branch in branches]
    roots = [a if a == b else None for a, b in zip(*roots, strict=True)]
    values = node.meta["val"]
    keep = [j for j, root in enumerate(roots) if root is None]
    for branch in branches:
        with V.set_graph_handler(branch.graph):
            branch.graph.graph_outputs = fresh(branch.graph, keep, values)
    # Readers of the old contents must be computed before the branches write.
    for i in writes:
        graph.mark_buffer_mutated(memory(operands[i]))
    node.meta["val"] = tuple(values[j] for j in keep)
    try:
        kept = iter(original(predicate, *branches, operands))
    finally:
        node.meta["val"] = values
    kinds = tuple(getattr(ir, kind) for kind in ("Switch", "Conditional") if hasattr(ir, kind))
    switch = next(op for op in reversed(graph.operations) if isinstance(op, kinds))
    known = {name for output in switch.mutation_outputs for name in output.get_mutation_names()}
    for i in writes:
        name = memory(operands[i])
        if name not in known:
            known.add(name)
            layout = ir.NoneLayout(device=operands[i].get_device())
            switch.mutation_outputs.append(
                ir.MutationOutput(layout, graph.get_buffer(name), switch))
    return [next(kept) if root is None else operands[root] for root in roots]


def own(operand, node, fake):
    """The operand, if the `cond` may overwrite it; otherwise a copy."""
    from torch._inductor import ir
    if not may_overwrite(operand, node):
        operand = ir.ExternKernel.copy_input(operand)
    strides = ir.convert_shape_to_inductor(fake.stride())
    if list(operand.get_stride()) != list(strides):
        operand = ir.ExternKernel.require_exact_strides(operand, strides)
    before = memory(operand)
    realized = ir.ExternKernel.realize_input(operand)
    # A view that the generated code cannot name is copied, and the copy is written.
    return operand if memory(realized) == before else boxed(realized)


def boxed(tensor):
    """A tensor as lowerings pass it on: in exactly one box."""
    from torch._inductor import ir
    return tensor if isinstance(tensor, ir.TensorBox) else ir.TensorBox(tensor)


def root_of(output, graph):
    """The whole operand that an output of a branch is, or None."""
    from torch._inductor import ir
    while isinstance(output, (ir.TensorBox, ir.StorageBox)):
        output = output.data
    names = list(graph.graph_inputs)
    if isinstance(output, ir.InputBuffer) and output.get_name() in names:
        return names.index(output.get_name())
    return None


def fresh(graph, keep, values):
    """The remaining outputs of a branch; none shares memory with an operand or another output."""
    from torch._inductor import ir
    taken = set(graph.graph_inputs)
    results = []
    for j in keep:
        output = graph.graph_outputs[j]
        if is_tensor(output):
            if memory(output) in taken:
                output = ir.ExternKernel.copy_input(output)
            output = ir.ExternKernel.require_exact_strides(
                boxed(output), values[j].stride(), allow_padding=False)
            taken.add(memory(output))
        results.append(output)
    return results

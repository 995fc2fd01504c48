"""Makes a hidden write visible.

The compiler and `run_decompositions` first bring a program into a form without writes: each write
becomes a new value, and later readers of the tensor read the new value.  The schema of the update
declares no write, so without help later readers of the cache would go on reading the old value, and an
update whose result is unused would look like dead code.  The rules here declare the write.

Outside `torch.cond` that is simple: an alias is its operand, and an update makes a new value of its
cache.

A branch of `torch.cond` may neither return an operand nor write one.  So a `cond` whose branches
contain the operators is taken apart: each branch is run on stand-ins to find the operands that it
writes and the outputs that are a whole operand.  The `cond` in the graph then returns the new value of
each operand that a branch writes (in the other branch the operand itself, through an `alias` that hides
it from the check).  Outputs that are the same operand in both branches are dropped and replaced by that
operand, after the writes.  So a program's values form chains, each link made from the previous one, and
between them stand only operators that are known to return their operand's memory.  Nothing is copied in
any mode that runs node by node.

An output that is an operand in one branch and something else in the other is copied in the former:
only a copy is right whatever the program does with it later.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch._subclasses.functional_tensor import (
    CppFunctionalizeAPI, FunctionalTensor, FunctionalTensorMode, PythonFunctionalizeAPI)
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.fx.node import has_side_effect
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils import _pytree as pytree

from .library import registrations

ALIAS = torch.ops.executorch.alias.default
UPDATE = torch.ops.executorch.update_cross_attn_cache.default
COND = torch.ops.higher_order.cond

# A graph from `torch.compile` calls an operator by its name, other graphs by its only overload.
ALIASES = (ALIAS, torch.ops.executorch.alias)
UPDATES = (UPDATE, torch.ops.executorch.update_cross_attn_cache)


def alias(context, x, y):
    return x, y


def update(context, value, cache):
    inner_value, inner_cache = context.unwrap_tensors((value, cache))
    with context.redispatch_to_next():
        written = UPDATE(inner_value, inner_cache)
    become(context, cache, written)
    return cache


def become(context, tensor, value):
    """Gives `tensor`, and everything that shares its memory, the new value."""
    context.replace(tensor, value)
    context.commit_update(tensor)
    context.sync(tensor)


def calls(module, operators):
    """Whether a graph, or a graph nested in it, calls one of the operators."""
    return isinstance(module, torch.fx.GraphModule) and any(
        node.op == "call_function" and node.target in operators
        for part in module.modules() if isinstance(part, torch.fx.GraphModule)
        for node in part.graph.nodes)


@dataclass
class Outcome:
    """What running a branch does to its operands."""
    written: set[int]
    # For each output, the whole operand that it is, or None.
    roots: list[int | None]
    # The outputs that share memory with an operand or with an earlier output.
    shared: set[int]


def storage(tensor):
    return StorageWeakRef(tensor.elem.untyped_storage())


def same_place(a, b):
    return (storage(a) == storage(b) and a.shape == b.shape and a.stride() == b.stride()
            and a.storage_offset() == b.storage_offset())


def run_branch(mode, branch, operands, finish):
    """Runs a branch on stand-ins of its operands and hands both and the outputs to `finish`."""
    guard = torch._C._ExcludeDispatchKeyGuard(
        torch._C.DispatchKeySet(torch._C.DispatchKey.Functionalize))
    with guard:
        with mode:
            stand_ins = [FunctionalTensor.to_functional(operand)
                         if isinstance(operand, torch.Tensor) else operand for operand in operands]
            outputs = pytree.arg_tree_leaves(branch(*stand_ins))
        return finish(stand_ins, outputs)


def is_written(tensor):
    return (isinstance(tensor, FunctionalTensor)
            and torch._functionalize_has_data_mutation(tensor.elem))


def observe(stand_ins, outputs):
    tensors = [(i, t) for i, t in enumerate(stand_ins) if isinstance(t, FunctionalTensor)]
    roots = [next((i for i, t in tensors if isinstance(output, FunctionalTensor)
                   and same_place(t, output)), None) for output in outputs]
    taken, shared = {storage(t) for _, t in tensors}, set()
    for j, output in enumerate(outputs):
        if isinstance(output, FunctionalTensor):
            if storage(output) in taken:
                shared.add(j)
            taken.add(storage(output))
    return Outcome({i for i, t in tensors if is_written(t)}, roots, shared)


def finish_branch(keep, written, stand_ins, outputs):
    """The remaining outputs, and the last value of each written operand."""
    # An output that shares memory with an operand or with an earlier output is copied.
    taken = {storage(t) for t in stand_ins if isinstance(t, FunctionalTensor)}
    results = []
    for j in keep:
        output = outputs[j]
        if isinstance(output, FunctionalTensor):
            place = storage(output)
            output = FunctionalTensor.from_functional(output)
            if place in taken:
                output = torch.ops.aten.clone.default(output)
            taken.add(place)
        results.append(output)
    for i in written:
        value = FunctionalTensor.from_functional(stand_ins[i])
        if not is_packed(value):
            # No output of a `cond` may have gaps in its memory.
            value = torch.ops.aten.clone.default(value, memory_format=torch.contiguous_format)
        elif not is_written(stand_ins[i]):
            value = ALIAS(value, value)[0]
        results.append(value)
    return tuple(results)


def is_packed(tensor):
    """Whether the strides are those of a contiguous tensor with its axes in some order."""
    axes = list(zip(tensor.stride(), tensor.shape, strict=True))
    if all(isinstance(stride, int) for stride, _ in axes):
        axes.sort(reverse=True)
    expected = 1
    for stride, size in reversed(axes):
        if not statically_known_true(stride == expected):
            return False
        expected = expected * size
    return True


def cond(context, predicate, true_branch, false_branch, operands):
    inner = context.unwrap_tensors(list(operands))
    branches = (true_branch, false_branch)
    with disable_proxy_modes_tracing(), ignoring_fresh_symbols(inner):
        seen = [run_branch(context.mode, branch, inner, observe) for branch in branches]
    written = sorted(seen[0].written | seen[1].written)
    refuse_shared_memory(operands, written)
    roots = [a if a == b else None for a, b in zip(seen[0].roots, seen[1].roots, strict=True)]
    keep = [j for j, root in enumerate(roots) if root is None]
    if keep or written:
        with context.redispatch_to_next():
            finish = partial(finish_branch, keep, written)
            results = COND(context.unwrap_tensors(predicate),
                           *(partial(run_traced, context.mode, branch, finish)
                             for branch in branches), tuple(inner))
        results = list(results)
    else:
        results = []
    for i, value in zip(written, results[len(keep):], strict=True):
        become(context, operands[i], value)
    kept = iter(context.wrap_tensors(tuple(results[:len(keep)])))
    return tuple(next(kept) if root is None else operands[root] for root in roots)


def run_traced(mode, branch, finish, *operands):
    return run_branch(mode, branch, operands, finish)


def ignoring_fresh_symbols(tensors):
    """Ignores fresh symbols: a branch on stand-ins must not leave sizes behind that nothing binds."""
    from contextlib import nullcontext
    from torch._guards import detect_fake_mode
    mode = detect_fake_mode(tensors)
    if mode is None or mode.shape_env is None:
        return nullcontext()
    return mode.shape_env.ignore_fresh_unbacked_symbols()


def refuse_shared_memory(operands, written):
    """Refuses operands that share memory: as values, they could not both see a write to one."""
    for i in written:
        for k, other in enumerate(operands):
            if (k != i and isinstance(other, FunctionalTensor)
                    and storage(other) == storage(operands[i])):
                raise RuntimeError(
                    f"torch.cond: a branch writes operand {i} ({list(operands[i].shape)}), which "
                    f"shares memory with operand {k} ({list(other.shape)}); pass the tensor once, "
                    "and make views of it inside of the branches")


def keep_writes():
    """Tells dead code elimination, and passes that move nodes, which nodes write."""
    for operator in UPDATES:
        has_side_effect(operator)
    # A `cond` writes if a branch does; PyTorch asks about the operator alone.
    original = torch._library.utils.is_impure

    def is_impure(operator, *, args=None, **options):
        if operator is COND and any(calls(branch_of(arg), UPDATES) for arg in (args or ())[1:3]):
            return True
        return original(operator, args=args, **options)

    torch._library.utils.is_impure = is_impure


def branch_of(argument):
    """The graph that an argument of a `cond` in a graph stands for."""
    if isinstance(argument, torch.fx.Node) and argument.op == "get_attr":
        owner = argument.graph.owning_module
        return getattr(owner, argument.target, None) if owner is not None else None
    return argument


def register():
    keep_writes()
    for operator, rule in ((ALIAS, alias), (UPDATE, update)):
        operator.py_functionalize_impl(rule)
        # The same rule for functionalization without the Python dispatcher.
        registrations.impl(operator.name().split("::")[1], partial(rule, CppFunctionalizeAPI()),
                           "Functionalize")
    original = COND.python_key_table[FunctionalTensorMode]

    def cond_or_original(mode, predicate, true_branch, false_branch, operands):
        if any(calls(branch, ALIASES + UPDATES) for branch in (true_branch, false_branch)):
            return cond(PythonFunctionalizeAPI(mode), predicate, true_branch, false_branch, operands)
        return original(mode, predicate, true_branch, false_branch, operands)

    COND.python_key_table[FunctionalTensorMode] = cond_or_original

"""Gradients, and all other transformations that must see the write.

The kernels move bytes, and whoever differentiates has to know which.  The rules here run before the
kernels, where PyTorch asks for derivatives, and come down to one thing: if operations are recorded, an
update is `cache[:, :, :S] = value`, in PyTorch's own operators, on the given tensors.  Their derivatives
are right in every mode, reverse, forward and nested; later readers of the cache see them through any
alias; and if PyTorch refuses such a write (to a leaf, to a tensor that a transformation captured), it
refuses this one.  If nothing is recorded, the call goes on to the kernels.  `vmap` and
`torch.jit.trace` get the same assignment.

One case differs.  Dynamo and `torch.export` first run the operators on tensors without data, only to
learn the shapes of the results.  A write or a returned operand would be forbidden there in a branch of
`torch.cond`, so the results are new tensors, with the right history.  This does not determine the
program: the compiler traces it again.

A `cond` whose branches contain the operators follows the same two rules.  With real tensors, the chosen
branch simply runs.  In a trace, each branch works on copies of the operands that it writes and returns
them; PyTorch knows how to differentiate such a `cond`; the returned values are then assigned to the
operands.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor, FunctionalTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import _get_current_dispatch_mode

from .functionalization import (
    ALIAS, ALIASES, COND, UPDATE, UPDATES, calls, ignoring_fresh_symbols, observe,
    refuse_shared_memory, run_branch)
from .library import registrations
from .shapes import check, check_history, is_traced, like

AUTOGRAD = torch._C.DispatchKey.Autograd
PYTHON = torch._C.DispatchKey.Python
DIFFERENTIATE = (torch._C._functorch.TransformType.Grad, torch._C._functorch.TransformType.Jvp)
BELOW = torch._C._after_autograd_keyset


def assign(value, cache):
    """The meaning of the update, in PyTorch's own operators."""
    check(value, cache)
    check_history(value, cache)
    if may_overlap(value, cache):
        value = value.clone()
    cache.narrow(2, 0, value.shape[2]).copy_(value)
    return cache


def may_overlap(value, cache):
    """Whether the two may share memory; a tensor inside a transformation does not tell."""
    return is_transformed() or torch._C._is_alias_of(value, cache)


def is_transformed():
    """Whether this runs inside `torch.func.grad`, `jvp`, `vmap` or a similar transformation."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def is_recorded(*tensors):
    """Whether operations on these tensors are recorded for derivatives."""
    return (torch.is_grad_enabled() and any(tensor.requires_grad for tensor in tensors)
            or forward_ad._current_level >= 0)


def is_looked_at():
    """Whether a tracer runs this only to learn the shapes of the results, or what is written.

    The compiler, which determines what the program does, sets a mode of the dispatcher and is not
    meant here.  Nor are `torch.func.grad` and similar transformations: Dynamo follows them while they
    differentiate, so the write must be visible, and they cannot contain a `torch.cond`.
    """
    functional = torch._C._TorchDispatchModeKey.FUNCTIONAL
    return (is_traced() and torch._C._get_dispatch_mode(functional) is None
            and not any(level.key() in DIFFERENTIATE for level in levels()))


def levels():
    """The transformations around this call, the innermost last."""
    return torch._C._functorch.get_interpreter_stack() or ()


def trace(value, cache):
    """The assignment for `torch.jit.trace`, where sizes are tensors that must be recorded."""
    state = torch._C._get_tracing_state()
    torch._C._set_tracing_state(None)
    try:
        check(value, cache)
        apart = not may_overlap(value, cache)
    finally:
        torch._C._set_tracing_state(state)
    cache[:, :, :value.shape[2]].copy_(value if apart else value.clone())
    return cache


def copied(tensor):
    return torch.empty_like(tensor).copy_(tensor) if is_transformed() else like(tensor).copy_(tensor)


def packed(tensor):
    """A copy without gaps in its memory; outputs of a `cond` may have none."""
    return tensor.clone(memory_format=torch.contiguous_format)


def same(x, y):
    return (copied(x), copied(y)) if is_looked_at() else (x, y)


def alias(keys, x, y):
    # Not traced: the operands are the result, with their history.
    if not keys.has(PYTHON):
        return x, y
    if not is_recorded(x, y):
        return ALIAS.redispatch(keys & BELOW, x, y)
    return same(x, y)


def update(keys, value, cache):
    if not is_recorded(value, cache):
        return UPDATE.redispatch(keys & BELOW, value, cache)
    return assign_or_look(value, cache)


def assign_or_look(value, cache):
    if is_looked_at():
        check(value, cache)
        cache = copied(cache)
    return assign(value, cache)


class Meaning(torch.fx.Interpreter):
    """Runs a branch with the operators replaced by their meaning."""

    def call_function(self, target, args, kwargs):
        if target in UPDATES:
            return assign(*args, **kwargs)
        if target in ALIASES:
            return args
        if target is COND and has_operators(args[1:3]):
            return assigning(COND, *args)
        return super().call_function(target, args, kwargs)


@dataclass
class Form:
    """A branch that writes no operand and returns none."""
    branch: torch.fx.GraphModule
    written: list[int]
    # The remaining outputs, each with whether it is a copy of what the branch returns.
    kept: list[tuple[int, bool]]

    def __call__(self, *operands):
        operands = list(operands)
        for i in self.written:
            operands[i] = packed(operands[i])
        outputs = Meaning(self.branch).run(*operands, enable_io_processing=False)
        outputs = pytree.arg_tree_leaves(outputs)
        return (*(outputs[j].clone() if shared else outputs[j] for j, shared in self.kept),
                *(operands[i] for i in self.written))


def has_operators(branches):
    return any(calls(branch, ALIASES + UPDATES) for branch in branches)


def cond(original, predicate, true_branch, false_branch, operands):
    if not has_operators((true_branch, false_branch)):
        return original(predicate, true_branch, false_branch, operands)
    tensors = [leaf for leaf in (predicate, *operands) if isinstance(leaf, torch.Tensor)]
    if _get_current_dispatch_mode() is None and not any(
            isinstance(tensor, (FakeTensor, FunctionalTensor)) for tensor in tensors):
        return (true_branch if predicate else false_branch)(*operands)
    if not is_recorded(*tensors) or is_looked_at():
        return original(predicate, true_branch, false_branch, operands)
    return assigning(original, predicate, true_branch, false_branch, operands)


def assigning(cond, predicate, true_branch, false_branch, operands):
    """A `cond` whose branches can be differentiated, followed by the assignments to its operands."""
    branches = (true_branch, false_branch)
    seen = [look(branch, operands) for branch in branches]
    written = sorted(seen[0].written | seen[1].written)
    refuse_shared_memory(operands, written)
    roots = [a if a == b else None for a, b in zip(seen[0].roots, seen[1].roots, strict=True)]
    keep = [j for j, root in enumerate(roots) if root is None]
    forms = (Form(branch, written, [(j, j in outcome.shared) for j in keep])
             for branch, outcome in zip(branches, seen, strict=True))
    # The backward pass reads the predicate and the operands again.  Those that are written, here or
    # (like a flag) later in the program, have different contents by then.
    if isinstance(predicate, torch.Tensor):
        predicate = predicate.clone()
    passed = tuple(packed(operand) if i in written else operand
                   for i, operand in enumerate(operands))
    results = cond(predicate, *forms, passed) if keep or written else ()
    for i, contents in zip(written, results[len(keep):], strict=True):
        operands[i].copy_(contents)
    kept = iter(results[:len(keep)])
    return tuple(next(kept) if root is None else operands[root] for root in roots)


def look(branch, operands):
    """What a branch writes and returns, determined by running it on stand-ins."""
    inner = [torch._from_functional_tensor(operand.elem) if isinstance(operand, FunctionalTensor)
             else operand for operand in operands]
    with (torch.no_grad(), torch._C._AutoDispatchBelowAutograd(), disable_proxy_modes_tracing(),
          ignoring_fresh_symbols(inner)):
        return run_branch(FunctionalTensorMode(), branch, inner, observe)


def register():
    for operator, rule, transformed, traced in ((ALIAS, alias, same, same),
                                           (UPDATE, update, assign_or_look, trace)):
        name = operator.name().split("::")[1]
        registrations.impl(name, rule, "Autograd", with_keyset=True, allow_override=True)
        # Before `torch.func`, so that it sees each part and can refuse it.
        registrations.impl(name, transformed, "FuncTorchDynamicLayerFrontMode",
                           allow_override=True)
        registrations.impl(name, traced, "Tracer", allow_override=True)
    COND.py_kernels[AUTOGRAD] = partial(cond, COND.py_kernels[AUTOGRAD])
    COND._dispatch_cache.clear()

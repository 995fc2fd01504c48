"""Gradients are those of plain Python, in every way of asking for them.

Each program of the matrix is differentiated: a weighted sum of everything that it returns or leaves
behind, by everything that goes in.  The caches come from leaves by an operator, since PyTorch lets
nobody write a leaf.
"""

import copy

import pytest
import torch

import crosslatch.ops  # noqa: F401
from .programs import PROGRAMS, Module, Plain, Real

alias = torch.ops.executorch.alias
update = torch.ops.executorch.update_cross_attn_cache


def eager(module):
    return module


def aot_eager(module):
    torch._dynamo.reset()
    return torch.compile(module, backend="aot_eager", fullgraph=True)


def inductor(module):
    torch._dynamo.reset()
    return torch.compile(module, fullgraph=True)


def weighted(tree):
    """A sum in which every element counts differently."""
    total = 0
    for i, tensor in enumerate(torch.utils._pytree.tree_leaves(tree)):
        if tensor.is_floating_point():
            weights = torch.arange(1.0, tensor.numel() + 1).reshape(tensor.shape)
            total = total + (i + 1) * (tensor * weights.to(tensor.dtype)).sum()
    return total


def gradients(run, buffers, inputs):
    """The gradient by each floating-point input, and what the program gave."""
    leaves = [t.requires_grad_() if t.is_floating_point() else t for t in copy.deepcopy(inputs)]
    passed = [t * 1 if t.is_floating_point() else t for t in leaves]
    outputs = run(*passed)
    loss = weighted((outputs, passed, [t for _, t in buffers()]))
    wanted = [t for t in leaves if t.is_floating_point()]
    return torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True), loss


@pytest.mark.parametrize("mode", [eager, aot_eager], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_gradients_of_a_program(program, mode):
    for seed in range(2):
        inputs = program.inputs(seed, torch.float32)
        plain, real = Module(program, Plain), Module(program, Real)
        expected = gradients(plain, plain.named_buffers, inputs)
        actual = gradients(mode(real), real.named_buffers, inputs)
        torch.testing.assert_close(actual, expected)

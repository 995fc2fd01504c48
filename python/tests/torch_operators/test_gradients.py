"""Gradients equal those of plain Python, in every way of computing them.

Each program of the matrix is differentiated: a weighted sum of everything that it returns or leaves
behind, with respect to every input.  The caches are computed from leaves, since PyTorch forbids writing
to a leaf.
"""

import copy

import pytest
import torch

import crosslatch.ops  # noqa: F401
from .programs import PROGRAMS, Module, Plain, Real

alias = torch.ops.executorch.alias
update = torch.ops.executorch.update_cross_attn_cache


VALUE, CACHE = (1, 2, 3, 4), (1, 2, 6, 4)


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


def gradients(run, module, inputs):
    """The gradient by each floating-point input, and what the program gave."""
    for name, buffer in list(module.named_buffers()):
        owner, _, short = name.rpartition(".")
        setattr(module.get_submodule(owner), short, torch.zeros_like(buffer))
    leaves = [t.requires_grad_() if t.is_floating_point() else t for t in copy.deepcopy(inputs)]
    passed = [t * 1 if t.is_floating_point() else t for t in leaves]
    outputs = run(*passed)
    loss = weighted((outputs, passed, [t for _, t in module.named_buffers()]))
    wanted = [t for t in leaves if t.is_floating_point()]
    return torch.autograd.grad(loss, wanted, allow_unused=True, materialize_grads=True), loss


@pytest.mark.parametrize("mode", [eager, aot_eager], ids=lambda mode: mode.__name__)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_gradients_of_a_program(program, mode):
    plain, real = Module(program, Plain), Module(program, Real)
    run = mode(real)
    for seed in range(2):
        inputs = program.inputs(seed, torch.float32)
        expected = gradients(plain, plain, inputs)
        torch.testing.assert_close(gradients(run, real, inputs), expected)


class Together(torch.nn.Module):
    """Several programs one after the other, each with its own inputs and buffers."""

    def __init__(self, programs, operators):
        super().__init__()
        self.parts = torch.nn.ModuleList(Module(p, operators) for p in programs)
        self.ends = [sum(len(p.inputs(0, torch.float32)) for p in programs[:i + 1])
                     for i in range(len(programs))]

    def forward(self, *inputs):
        starts = [0, *self.ends[:-1]]
        return [part(*inputs[start:end])
                for part, start, end in zip(self.parts, starts, self.ends, strict=True)]


def test_gradients_through_inductor():
    programs = [PROGRAMS[name] for name in (
        "update_returns_the_cache", "update_whose_result_is_unused", "read_then_update_then_read",
        "two_live_results_of_one_cache", "value_is_computed_from_the_cache", "a_view_of_a_cache",
        "predicate_from_a_flag", "operands_read_before_and_after_a_cond",
        "one_branch_computes_the_other_updates", "updates_chained_in_a_branch",
        "a_cond_in_a_cond", "result_of_a_cond_is_changed_in_place")]
    plain, real = Together(programs, Plain), Together(programs, Real)
    run = inductor(real)
    for seed in range(2):
        inputs = [t for p in programs for t in p.inputs(seed, torch.float32)]
        torch.testing.assert_close(gradients(run, real, inputs), gradients(plain, plain, inputs))


class Projected(torch.nn.Module):
    """A projection into a cache, as a model has it: the weights want gradients, the cache none."""

    def __init__(self, operators):
        super().__init__()
        torch.manual_seed(0)
        self.operators = operators
        self.project = torch.nn.Linear(8, 8)

    def forward(self, ready, states, cache):
        o = self.operators

        def use(states, cache):
            return o.alias(cache, states)[0]

        def write(states, cache):
            return o.update(self.project(states).view(1, -1, 2, 4).transpose(1, 2), cache)

        return o.cond(ready, use, write, (states, cache)) * 2 + cache


@pytest.mark.parametrize("mode", ["eager", "aot_eager", "exported", "decomposed"])
@pytest.mark.parametrize("ready", [False, True])
def test_weights_learn_through_a_cache(mode, ready):
    expected, actual = Projected(Plain), Projected(Real)
    example = (torch.tensor(ready), torch.randn(1, 3, 8), torch.randn(CACHE))
    run = actual
    if mode == "aot_eager":
        run = aot_eager(actual)
    elif mode != "eager":
        program = torch.export.export(actual, copy.deepcopy(example))
        if mode == "decomposed":
            program = program.run_decompositions({})
        run = program.module()
        assert any("update_cross_attn_cache" in str(node.target) for part in run.modules()
                   if isinstance(part, torch.fx.GraphModule) for node in part.graph.nodes)
    grads = []
    for forward, owner in ((expected, expected), (run, run)):
        inputs = copy.deepcopy(example)
        weighted((forward(*inputs), inputs[2])).backward() if not ready else forward(*inputs)
        weights = {name.removeprefix("_orig_mod."): p for name, p in owner.named_parameters()}
        grads.append([weights[name].grad for name in ("project.weight", "project.bias")])
    if ready:
        assert all(grad is None for grad in grads[1])
    else:
        torch.testing.assert_close(grads[1], grads[0])


def test_derivatives_of_every_kind():
    """Reverse, forward, and both again, against differences of nearby values."""
    def function(value, cache):
        contents = cache * 1
        result = update(value * 2, contents)
        return alias(contents, result)[0] * result

    inputs = [torch.randn(shape, dtype=torch.float64, requires_grad=True)
              for shape in (VALUE, CACHE)]
    assert torch.autograd.gradcheck(function, inputs, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(function, inputs, check_fwd_over_rev=True)


def in_plain(value, cache):
    return Plain.update(value * 2, cache).sum() + cache.square().sum()


def in_real(value, cache):
    return update(value * 2, cache).sum() + cache.square().sum()


TRANSFORMED = {
    "grad": lambda f, v, c: torch.func.grad(lambda v: f(v, c * 1))(v),
    "grad by the cache": lambda f, v, c: torch.func.grad(lambda c: f(v, c * 1))(c),
    "vjp": lambda f, v, c: torch.func.vjp(lambda v: f(v, c * 1), v)[1](torch.ones(())),
    "jvp": lambda f, v, c: torch.func.jvp(lambda v, c: f(v, c * 1), (v, c), (v, c)),
    "jacrev": lambda f, v, c: torch.func.jacrev(lambda v: f(v, c * 1))(v),
    "hessian": lambda f, v, c: torch.func.hessian(lambda v: f(v, c * 1))(v),
    "vmap": lambda f, v, c: torch.func.vmap(lambda v: f(v, v.new_zeros(CACHE) + 0 * v.sum()))(
        torch.stack([v, -v])),
    "vmap over both": lambda f, v, c: torch.func.vmap(lambda v, c: f(v, c * 1))(
        torch.stack([v, -v]), torch.stack([c, c])),
    "vmap over grad": lambda f, v, c: torch.func.vmap(
        torch.func.grad(lambda v, c: f(v, c * 1)))(torch.stack([v, -v]), torch.stack([c, c])),
    "a captured cache": lambda f, v, c: torch.func.grad(lambda v: f(v, c))(v),
}


def outcome(action):
    """What it gives, or not a number if it is refused."""
    try:
        return action()
    except RuntimeError:
        return torch.tensor(torch.nan)


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", TRANSFORMED)
def test_transformed(name, compiled):
    transform = TRANSFORMED[name]
    v, c = torch.randn(VALUE), torch.randn(CACHE)

    def run(function):
        mine = c.clone()
        call = aot_eager(transform) if compiled else transform
        return outcome(lambda: call(function, v, mine)), mine

    expected, actual = run(in_plain), run(in_real)
    torch.testing.assert_close(actual, expected, equal_nan=True)


def test_vmap_with_one_cache_for_all_is_refused():
    with pytest.raises(RuntimeError, match="vmap: inplace arithmetic"):
        torch.func.vmap(update, in_dims=(0, None))(torch.ones(2, *VALUE), torch.zeros(CACHE))


def test_vmap_of_an_alias_is_the_operands():
    def change(x, y):
        torch.ops.executorch.alias(x, y)[0].add_(1)
        return x

    x = torch.zeros(2, 3)
    assert torch.equal(torch.func.vmap(change)(x, x + 1), torch.ones(2, 3))
    assert torch.equal(x, torch.ones(2, 3))


@pytest.mark.parametrize("options", [{"use_reentrant": False}, {"use_reentrant": True}],
                         ids=["without reentry", "with reentry"])
@pytest.mark.parametrize("mode", [eager, aot_eager], ids=lambda mode: mode.__name__)
def test_checkpointing(mode, options):
    """What is computed again in the backward pass writes the same again."""
    if mode is aot_eager and options["use_reentrant"]:
        pytest.skip("PyTorch does not compile checkpoints with reentry as one graph")

    def gradient(function):
        value = torch.arange(24.0).reshape(VALUE).requires_grad_()

        def step(value):
            cache = torch.ones(CACHE)
            return torch.utils.checkpoint.checkpoint(
                lambda v, c: function(v, c * v.sum()).sin(), value, cache, **options)

        mode(step)(value).backward()
        return value.grad

    torch.testing.assert_close(gradient(in_real), gradient(in_plain))


def test_a_backward_pass_that_needs_the_old_contents_fails():
    cache, factor = torch.zeros(CACHE), torch.ones(CACHE, requires_grad=True)
    product = (cache * factor).sum()
    update(torch.ones(VALUE, requires_grad=True), cache)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_value_in_a_cache_with_history():
    """A value that overlaps the cache is read before the cache is written, for autograd too."""
    leaf = torch.randn(CACHE, requires_grad=True)
    cache, plain = leaf * 1, leaf * 1
    for contents, function in ((cache, update), (plain, Plain.update)):
        assert function(contents[:, :, 1:4], contents) is contents
    assert torch.equal(cache, plain)
    grads = [torch.autograd.grad(weighted(contents), leaf)[0] for contents in (cache, plain)]
    assert torch.equal(*grads)

"""Symbolic sizes, long copies, and strides of every kind."""

import itertools

import pytest
import torch

import crosslatch.ops  # noqa: F401

update = torch.ops.executorch.update_cross_attn_cache


class Step(torch.nn.Module):
    def forward(self, predicate, states, cache):
        def use(states, cache):
            return torch.ops.executorch.alias(cache, states)[0]

        def write(states, cache):
            return update(states.view(2, -1, 3, 4).transpose(1, 2), cache)

        return torch.cond(predicate, use, write, (states, cache)) * 2, cache + 0


@pytest.mark.parametrize("mode", ["compiled", "exported", "decomposed", "packaged"])
@torch.no_grad()
def test_symbolic_rows(mode, tmp_path):
    cache = torch.zeros(2, 3, 16, 4)
    example = (torch.tensor(False), torch.randn(2, 8, 12), cache.clone())
    if mode == "compiled":
        torch._dynamo.reset()
        step = torch.compile(Step(), dynamic=True, fullgraph=True)
    else:
        rows = torch.export.Dim("rows", min=2, max=16)
        program = torch.export.export(Step(), example, dynamic_shapes=(None, {1: rows}, None))
        if mode == "packaged":
            step = torch._inductor.aoti_load_package(torch._inductor.aoti_compile_and_package(
                program, package_path=str(tmp_path / "step.pt2")))
        else:
            step = (program if mode == "exported" else program.run_decompositions({})).module()
    for rows, predicate in ((8, False), (5, True), (3, False), (16, False), (2, True)):
        states = torch.randn(2, rows, 12)
        expected = cache.clone()
        if not predicate:
            expected[:, :, :rows] = states.view(2, -1, 3, 4).transpose(1, 2)
        result, read = step(torch.tensor(predicate), states, cache)
        assert torch.equal(cache, expected) and torch.equal(read, expected)
        assert torch.equal(result, 2 * expected)


@pytest.mark.parametrize("dtype", [torch.int8, torch.float16, torch.float32, torch.float64])
def test_strides_and_lengths(dtype):
    """Small and large (parallel) copies between every order of axes on both sides."""
    orders = list(itertools.permutations(range(4)))
    for sizes in ((2, 3, 7, 5), (2, 4, 300, 64)):
        chosen = orders if sizes[3] == 5 else orders[::5]
        for a, b in itertools.product(chosen, chosen):
            value, cache = (strided(sizes, order, dtype) for order in (a, b))
            expected = torch.cat([value[:, :, :-2], cache[:, :, -2:]], 2)
            assert update(value[:, :, :-2], cache) is cache
            assert torch.equal(cache, expected), (sizes, a, b)


def strided(sizes, order, dtype):
    """Random numbers, with the axes in this order in memory."""
    memory = torch.randint(-99, 99, [sizes[axis] for axis in order]).to(dtype)
    return memory.permute([order.index(axis) for axis in range(4)])


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_a_value_in_the_cache(shift):
    cache = torch.randn(2, 3, 400, 64)
    for rows in (1, 399 - shift):
        expected = cache.clone()
        expected[:, :, :rows] = cache[:, :, shift:shift + rows]
        update(cache[:, :, shift:shift + rows], cache)
        assert torch.equal(cache, expected)
    expected = cache.clone()
    expected[:, :, :64] = cache[:, :, :64].transpose(2, 3)
    update(cache[:, :, :64].transpose(2, 3), cache)
    assert torch.equal(cache, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")
@pytest.mark.parametrize("mode", ["eager", "compiled"])
@torch.no_grad()
def test_cuda(mode):
    step = Step() if mode == "eager" else torch.compile(Step(), fullgraph=True)
    cache = torch.zeros(2, 3, 16, 4, device="cuda")
    for predicate in (False, True):
        states = torch.randn(2, 8, 12, device="cuda")
        expected = cache.clone()
        if not predicate:
            expected[:, :, :8] = states.view(2, -1, 3, 4).transpose(1, 2)
        result, read = step(torch.tensor(predicate, device="cuda"), states, cache)
        assert torch.equal(cache, expected) and torch.equal(read, expected)
        assert torch.equal(result, 2 * expected)

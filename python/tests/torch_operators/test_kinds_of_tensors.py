"""Tensors that are not simply numbers in memory: empty, lazy, without data, in a trace."""

import warnings

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import crosslatch.ops  # noqa: F401

alias = torch.ops.executorch.alias
update = torch.ops.executorch.update_cross_attn_cache
VALUE, CACHE = (1, 2, 3, 4), (1, 2, 6, 4)


@pytest.mark.parametrize("axis", range(4))
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (0, 2, 1, 3)])
def test_nothing_to_do_is_done(axis, order):
    """No batch, no heads, no rows, no head size, in any layout: the cache is returned as it was."""
    sizes = [2, 3, 4, 5]
    sizes[axis] = 0
    back = [order.index(i) for i in range(4)]
    value, cache = (torch.ones([sizes[i] for i in order]).permute(back) for _ in range(2))
    assert update(value, cache) is cache and cache.sum() == cache.numel()
    if axis == 2:
        cache = torch.zeros(2, 3, 6, 5)
        assert update(value, cache) is cache and cache.sum() == 0


def negated(*shape):
    """A lazily negated tensor: its memory holds the opposite values."""
    memory = torch.randn(shape)
    return torch._neg_view(memory), memory


@pytest.mark.parametrize("mode", ["no grad", "grad", "inference"])
def test_a_lazy_negation_is_written_as_what_it_says(mode):
    context = {"no grad": torch.no_grad, "grad": torch.enable_grad,
               "inference": torch.inference_mode}[mode]
    with context():
        cache, memory = negated(*CACHE)
        value, _ = negated(*VALUE)
        for written in (torch.randn(VALUE), value):
            expected = cache.clone()
            expected[:, :, :3] = written
            assert update(written, cache) is cache
            assert torch.equal(cache, expected) and torch.equal(memory, -expected)
        # A value that is a part of the cache is read before the cache is written.
        expected[:, :, :4] = expected[:, :, 1:5].clone()
        update(cache[:, :, 1:5], cache)
        assert torch.equal(cache, expected)
        plain = torch.zeros(CACHE)
        assert update(value, plain) is plain and torch.equal(plain[:, :, :3], value)
        x, y = alias(cache, value)
        assert x is cache and y is value


def test_the_imaginary_part_of_a_conjugate_is_written():
    numbers = torch.zeros(1, 1, 2, 1, dtype=torch.complex64)
    part = numbers.conj().imag
    update(torch.ones(1, 1, 1, 1), part)
    assert part.flatten().tolist() == [1, 0] and numbers.imag.flatten().tolist() == [-1, 0]


def test_zeros_without_memory_are_read_but_not_written():
    cache = torch.ones(CACHE)
    update(torch._efficientzerotensor(VALUE), cache)
    assert cache.sum() == 24
    with pytest.raises(RuntimeError, match="does not allow value to be copied into cache"):
        update(torch.ones(VALUE), torch._efficientzerotensor(CACHE))


def on_meta():
    return torch.empty(VALUE, device="meta"), torch.empty(CACHE, device="meta")


def on_fake():
    with FakeTensorMode():
        return torch.empty(VALUE), torch.empty(CACHE)


@pytest.mark.parametrize("make", [on_meta, on_fake])
@pytest.mark.parametrize("grad", [False, True])
def test_without_data_the_operands_are_returned_too(make, grad):
    value, cache = make()
    value.requires_grad_(grad)
    with torch.set_grad_enabled(grad):
        version = cache._version
        assert update(value, cache) is cache
        assert cache.requires_grad == grad
        assert not grad or cache._version > version
        x, y = alias(value, cache)
        assert x is value and y is cache
    with pytest.raises(RuntimeError, match="share memory with each other"):
        update(value.detach(), cache.detach()[:, :, :1].expand(CACHE))
    with pytest.raises(RuntimeError, match="heads of value is 1, of cache 2"):
        update(value.detach()[:, :1], cache)


def test_a_huge_tensor_without_memory_costs_nothing():
    cache = torch.empty_strided((2, 3, 2, 2), (2**40 + 1, 2**40, 1, 1), device="meta")
    assert update(torch.empty(2, 3, 1, 2, device="meta"), cache) is cache


def program(value, cache):
    before = cache.sum()
    update(value, cache)
    alias(cache, value)[0].add_(1)
    between = cache.sum()
    update(value * 2, cache)
    first = cache.sum()
    update(value * 2, cache)
    return before, between, first, cache.sum()


def make_script():
    return torch.jit.script(program)


def make_trace():
    return torch.jit.trace(program, (torch.ones(VALUE), torch.zeros(CACHE)), check_trace=False)


@pytest.mark.parametrize("make", [make_script, make_trace])
def test_torchscript_sees_the_writes(make, tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = make()
        made.save(str(tmp_path / "program.pt"))
        loaded = torch.jit.load(str(tmp_path / "program.pt"))
    for run in (made, loaded):
        # The optimiser sets in after some calls, and a trace has no sizes of its own.
        for rows in (3, 3, 3, 2, 5):
            value = torch.randn(1, 2, rows, 4)
            caches = [torch.zeros(CACHE) for _ in range(2)]
            torch.testing.assert_close(run(value, caches[0]), program(value, caches[1]))
            assert torch.equal(*caches)


def test_a_trace_refuses_what_does_not_fit():
    with pytest.raises(RuntimeError, match="heads of value is 3, of cache 2"):
        torch.jit.trace(lambda v, c: update(v, c), (torch.ones(1, 3, 3, 4), torch.zeros(CACHE)))

"""What is refused, the error texts, and that nothing is left behind."""

import gc
import os
import sys

import pytest
import torch

import crosslatch.ops  # noqa: F401

alias = torch.ops.executorch.alias
update = torch.ops.executorch.update_cross_attn_cache
V, C = (1, 2, 3, 4), (1, 2, 6, 4)


def ones(*shape, **options):
    return torch.ones(*shape, **options)


REFUSED = {
    "rank of value": (ones(2, 3, 4), ones(C), "value must have the 4 dimensions"),
    "rank of cache": (ones(V), ones(2, 6, 4), "cache must have the 4 dimensions"),
    "many dimensions": (ones(*[1] * 10), ones(C), "value must have the 4 dimensions"),
    "no dimensions": (ones(()), ones(C), "value must have the 4 dimensions"),
    "batch": (ones(2, 2, 3, 4), ones(C), "batch of value is 2, of cache 1"),
    "heads": (ones(1, 3, 3, 4), ones(C), "heads of value is 3, of cache 2"),
    "head size": (ones(1, 2, 3, 5), ones(C), "head size of value is 5, of cache 4"),
    "rows": (ones(1, 2, 7, 4), ones(C), "value has 7 rows, more than the 6 of cache"),
    "data type": (ones(V, dtype=torch.float16), ones(C), "value is float16, of cache float32"),
    "complex": (ones(V, dtype=torch.complex64), ones(C, dtype=torch.complex64), "data type"),
    "device": (ones(V), ones(C, device="meta"), "value is on cpu, cache on meta"),
    "overlapping cache": (ones(V), ones(1, 2, 1, 4).expand(C), "share memory with each other"),
    "gradient": (ones(V), ones(C, requires_grad=True), "cache is a leaf that requires grad"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_with_a_message(name):
    value, cache, words = REFUSED[name]
    before = cache.clone() if not cache.is_meta else None
    with pytest.raises(RuntimeError) as error:
        update(value, cache)
    text = str(error.value)
    assert "executorch::update_cross_attn_cache" in text and words in text
    if len(value.shape) < 8 and not cache.is_meta:
        assert str(list(value.shape)) in text and str(list(cache.shape)) in text
    assert before is None or torch.equal(before, cache)


@pytest.mark.parametrize("name", ["rank of value", "batch", "heads", "head size", "rows",
                                  "data type"])
def test_refused_while_tracing_with_the_same_words(name):
    value, cache, words = REFUSED[name]

    class Module(torch.nn.Module):
        def forward(self, value, cache):
            return update(value, cache).clone()

    with pytest.raises(Exception) as error:
        torch.export.export(Module(), (value, cache))
    assert "executorch::update_cross_attn_cache" in str(error.value) and words in str(error.value)


def test_sparse_tensors_are_refused():
    with pytest.raises((RuntimeError, NotImplementedError)):
        update(ones(V).to_sparse(), ones(C))


def test_a_tensor_of_inference_mode_is_not_written_outside_of_it():
    with torch.inference_mode():
        cache = torch.zeros(C)
        update(ones(V), cache)
    with pytest.raises(RuntimeError, match="in place"):
        update(2 * ones(V), cache)
    assert cache.sum() == 24


def test_two_operands_of_one_memory_are_refused_when_compiled():
    def branch(v, c, d):
        return update(v, c) + d

    def other(v, c, d):
        return alias(c, d)[0] + d

    @torch.compile(fullgraph=True)
    def f(p, v, c):
        return torch.cond(p, branch, other, (v, c, c[:, :, 1:2]))

    with torch.no_grad(), pytest.raises(Exception, match="shares memory with operand|aliasing"):
        f(torch.tensor(True), ones(V), ones(C))


def test_gradients():
    weight = ones(V, requires_grad=True)
    update(weight * 3, torch.zeros(C)).sum().backward()
    assert torch.equal(weight.grad, 3 * ones(V))
    x = ones(3, requires_grad=True)
    (alias(x * 2, x)[0] * 5).sum().backward()
    assert torch.equal(x.grad, 10 * ones(3))
    # A backward pass that needs the old contents fails instead of using the new ones.
    cache, factor = torch.zeros(C), ones(C, requires_grad=True)
    product = (cache * factor).sum()
    with torch.no_grad():
        update(ones(V), cache)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        product.backward()


def test_a_thousand_errors_leak_nothing():
    def resident():
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    value, cache = ones(1, 2, 3, 1 << 10), ones(1, 2, 2, 1 << 10)
    needs_grad = ones(1, 2, 6, 1 << 10, requires_grad=True)

    def fail():
        raised = 0
        for _ in range(1000):
            for target in (cache, needs_grad):
                try:
                    update(value.clone(), target)
                except RuntimeError:
                    raised += 1
        assert raised == 2000

    fail()  # the first errors load what prints a stack trace
    gc.collect()
    before = resident()
    fail()
    gc.collect()
    # The values alone are 24 KiB each, 48 MB if all leaked; handles or texts would show as well.
    assert resident() - before < 1 << 18

    counts = []
    for _ in range(2):
        value, cache = ones(V), ones(C)
        update(value, cache), alias(value, cache)
        with pytest.raises(RuntimeError):
            update(cache, value)
        counts.append((sys.getrefcount(value), value._use_count(), cache._use_count()))
    assert counts[0] == counts[1] and counts[0][1:] == (1, 1)

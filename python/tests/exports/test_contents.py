"""Programs whose sizes depend on the contents of tensors, as `torch.export` writes them."""

import copy

import numpy as np
import pytest
import torch
from torch.export import Dim

import crosslatch

torch.manual_seed(0)


class Numbers(torch.nn.Module):
    """Two numbers of contents, used as sizes, an index and a factor; one of them depends on the other."""

    def forward(self, lengths, x):
        longest = lengths.max().item()
        torch._check(longest >= 1)
        torch._check(longest <= 6)
        kept = x.narrow(0, 0, longest)
        last = (kept.sum(1) > 0).sum().item()
        torch._check(last >= 0)
        return kept * 2 + last, torch.ones(last, longest), kept.mean() * lengths.min().item()

    calls = [(torch.tensor(lengths), torch.randn(6, 3))
             for lengths in ([3, 5, 1], [6, 2, 2], [1, 1, 1], [3, 5, 1])]


class MaskAsIndex(torch.nn.Module):
    """Read and written: whole elements, rows, columns behind another index."""

    def forward(self, x, mask):
        rows = mask.any(1)
        y = x.clone()
        y[mask] = x[mask] * 3
        z = x * 0
        z[:, mask[0]] = x[:, mask[0]] + 1
        return x[mask], x[rows], x[:, mask[0]], y, z, x.masked_select(mask[0])

    calls = [(torch.randn(4, 5), torch.rand(4, 5) > share) for share in (0.5, 0.9, -1, 2)]


class Places(torch.nn.Module):
    def forward(self, x):
        places = torch.nonzero(x > 0)
        i, j = torch.where(x < 0)
        return places, x[i, j], i.shape[0] * x

    calls = [(torch.randn(3, 4),) for _ in range(3)] + [(torch.zeros(3, 4),)]


class Repeated(torch.nn.Module):
    def forward(self, x, counts):
        return (x.repeat_interleave(counts, dim=0), torch.repeat_interleave(counts),
                x.flatten().repeat_interleave(counts[:1].expand(6)))

    calls = [(torch.randn(3, 2), torch.tensor(counts)) for counts in ([1, 0, 4], [2, 2, 2], [0, 0, 1])]


class Parts(torch.nn.Module):
    """A split whose lengths are contents."""

    def forward(self, x, lengths):
        a, b = lengths.tolist()
        for n in (a, b):
            torch._check(n >= 0)
        torch._check(a + b == x.shape[0])
        first, second = torch.split(x, [a, b])
        return first * 2, second + 1

    calls = [(torch.randn(5, 2), torch.tensor(lengths)) for lengths in ([2, 3], [5, 0], [1, 4])]


class StateAcrossTheCut(torch.nn.Module):
    """A cache and a counter are written before a number is read, and read and written after it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("cache", torch.zeros(8, 2))
        self.register_buffer("filled", torch.zeros(1, dtype=torch.int64))

    def forward(self, x):
        self.cache.index_copy_(0, self.filled, x)
        self.filled.add_(1)
        old = self.cache.sum(0)
        n = self.filled.item()
        torch._check(n >= 1)
        torch._check(n <= 8)
        rows = self.cache.narrow(0, 0, n)
        mean = rows.mean(0)
        self.cache.mul_(0.5)
        return mean, old, self.cache.clone()

    calls = [(torch.randn(1, 2),) for _ in range(5)]


class WrittenAcrossTheCut(torch.nn.Module):
    """An input is written by the program, and a value of its own before and behind the cut."""

    def forward(self, x, n):
        own = x * 2
        own.add_(1)
        first = own.sum()
        k = n.item()
        torch._check(k >= 0)
        torch._check(k <= 4)
        own[:k] = 7
        second = own.sum()
        m = (own > 6).sum().item()
        torch._check(m >= 0)
        own.mul_(0.5)
        return own, first, second, torch.ones(m)

    calls = [(torch.randn(4, 3), torch.tensor(k)) for k in (2, 0, 4, 1)]


class BranchByANumber(torch.nn.Module):
    def forward(self, x):
        n = (x > 0).sum().item()
        torch._check(n >= 0)
        return torch.cond(n > 3, lambda x: x * 2, lambda x: x - 1, (x,)), n

    calls = [(torch.randn(6) + shift,) for shift in (-2, 2, 0)]


class NumberThatNothingNeeds(torch.nn.Module):
    def forward(self, x):
        (x > 0).any().item()
        return x * 2

    calls = [(torch.randn(3),)]


MODULES = [Numbers, MaskAsIndex, Places, Repeated, Parts, StateAcrossTheCut, WrittenAcrossTheCut,
           BranchByANumber, NumberThatNothingNeeds]


@pytest.mark.parametrize("decomposed", [False, True], ids=["plain", "decomposed"])
@pytest.mark.parametrize("kind", MODULES, ids=lambda kind: kind.__name__)
def test_results_equal_pytorchs_for_all_contents(kind, decomposed, tmp_path):
    module, plain = kind().eval(), kind().eval()
    program = torch.export.export(module, kind.calls[0], strict=False)
    if decomposed:
        program = program.run_decompositions({})
    torch.export.save(program, tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    # A second session and a second round: numbers that return, and state that is put back.
    for round in range(2):
        session.reset()
        plain.load_state_dict(kind().state_dict())
        for call in kind.calls:
            got = session.run("model", dict(zip(program.graph_signature.user_inputs,
                                                [t.numpy() for t in call], strict=True)))
            wanted = plain(*copy.deepcopy(call))
            wanted = wanted if isinstance(wanted, tuple) else (wanted,)
            assert len(got) == len(wanted)
            for array, tensor in zip(got.values(), wanted, strict=True):
                tensor = torch.as_tensor(tensor)
                assert array.shape == tuple(tensor.shape)
                np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-5, atol=1e-6)


def test_sizes_of_inputs_and_of_contents_differ_from_call_to_call(tmp_path):
    class Both(torch.nn.Module):
        def forward(self, x):
            kept = x[x > 0]
            return kept, x.shape[0] * kept.shape[0] + x

    program = torch.export.export(Both(), (torch.randn(5),), dynamic_shapes=({0: Dim.AUTO},))
    torch.export.save(program, tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    for length in (5, 2, 9, 1, 5):
        x = torch.randn(length)
        got = list(session.run("model", {"x": x.numpy()}).values())
        for array, tensor in zip(got, Both()(x), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-6)


def test_an_assertion_about_a_number_names_it(tmp_path):
    class Asserts(torch.nn.Module):
        def forward(self, x):
            n = x.item()
            torch._check(n >= 2)
            torch._check(n <= 4)
            return torch.ones(n)

    torch.export.save(torch.export.export(Asserts(), (torch.tensor(3),)), tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    assert list(session.run("model", {"x": np.array(4)}).values())[0].shape == (4,)
    with pytest.raises(crosslatch.Error, match="assertion in the program failed"):
        session.run("model", {"x": np.array(9)})


def test_a_number_in_a_loop_is_refused_with_the_reason(tmp_path):
    class Loops(torch.nn.Module):
        def forward(self, n, x):
            def turn(i, x):
                k = x[0].long().abs().item()
                torch._check(k >= 0)
                return i + 1, x + torch.ones(k).sum()

            return torch.while_loop(lambda i, x: i < n, turn, (torch.zeros((), dtype=torch.int64), x))

    try:
        program = torch.export.export(Loops(), (torch.tensor(2), torch.ones(3)), strict=False)
    except Exception as reason:  # noqa: BLE001  whatever it is, it is PyTorch's
        pytest.skip(f"this torch does not export it: {type(reason).__name__}")
    torch.export.save(program, tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    with pytest.raises(crosslatch.Error, match="in a branch or a loop"):
        session.run("model", {"n": np.array(2), "x": np.ones(3, np.float32)})

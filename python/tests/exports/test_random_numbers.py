"""Programs that draw random numbers: with the same seed they are PyTorch's, from call to call."""

import math

import numpy as np
import pytest
import torch

import crosslatch


def has_mkl_draw():
    """Whether PyTorch lets MKL draw some numbers here, which it does on processors of one maker only."""
    torch.manual_seed(0)
    own = torch.empty(1).exponential_()
    torch.manual_seed(0)
    fraction = torch.rand(1, dtype=torch.float64).item()
    return abs(own.item() + math.log1p(-fraction)) > 1e-5


BY_MKL = pytest.mark.skipif(has_mkl_draw(), reason="PyTorch draws these numbers with MKL here")


class Uniform(torch.nn.Module):
    def forward(self, x):
        noise = torch.rand(3, 5)
        return x + torch.rand_like(x), noise, torch.rand(2, 2, dtype=torch.float64), x.clone().uniform_(-2, 3)


class Normal(torch.nn.Module):
    """Few numbers, a pair of which is left over, and many, in whole blocks and not."""

    def forward(self, x):
        return (torch.randn(3), x + torch.randn_like(x), torch.randn(37), torch.randn(32),
                torch.randn(20, dtype=torch.float64), torch.zeros(5).normal_(2.0, 0.5))


class Integers(torch.nn.Module):
    def forward(self, x):
        n = x.shape[0]
        return (torch.randint(0, 9, (n, 2)), torch.randint(-3, 2 ** 30, (4,)), torch.randperm(11),
                torch.randint_like(x, 3, 8), torch.randperm(1))


class Chances(torch.nn.Module):
    def forward(self, x):
        return torch.bernoulli(torch.sigmoid(x)), x * torch.bernoulli(torch.full_like(x, 0.25))


class FixedChances(torch.nn.Module):
    def forward(self, x):
        mask = torch.empty_like(x).bernoulli_(0.7)
        return x * mask / 0.7, torch.empty(4).exponential_(2.0)


class Places(torch.nn.Module):
    def forward(self, x):
        p = torch.softmax(x, -1)
        return torch.multinomial(p, 1), torch.multinomial(p, 3)


class Between(torch.nn.Module):
    """What is drawn before a write stays what it was, and a buffer keeps its own numbers."""

    def __init__(self):
        super().__init__()
        self.register_buffer("kept", torch.zeros(4))

    def forward(self, x):
        before = torch.rand(4)
        self.kept.add_(before)
        view = self.kept.view(2, 2)
        after = torch.rand(4)
        view.mul_(after.view(2, 2))
        return before, after, self.kept.clone(), x


KINDS = [Uniform, Normal, Integers, Chances, pytest.param(FixedChances, marks=BY_MKL),
         pytest.param(Places, marks=BY_MKL), Between]


def compare(got, wanted):
    assert len(got) == len(wanted)
    for array, tensor in zip(got, wanted, strict=True):
        assert array.dtype == tensor.numpy().dtype and array.shape == tuple(tensor.shape)
        exact = not tensor.is_floating_point()
        np.testing.assert_allclose(array, tensor.numpy(), rtol=0 if exact else 2e-6, atol=0 if exact else 1e-6)


@pytest.mark.parametrize("decompositions", [None, {}], ids=["as exported", "decomposed"])
@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_those_of_pytorch_with_the_same_seed(kind, decompositions, tmp_path):
    example = torch.randn(3, 6)
    program = torch.export.export(kind().eval(), (example,), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    if decompositions is not None:
        program = program.run_decompositions(decompositions)
    torch.export.save(program, tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    (name,) = program.graph_signature.user_inputs
    for seed in (0, 1234, 2 ** 40 + 7):
        module = kind().eval()
        session.reset()
        session.seed(seed)
        torch.manual_seed(seed)
        for rows in (3, 5, 2):
            x = torch.from_numpy(np.random.default_rng(rows).normal(size=(rows, 6)).astype(np.float32))
            compare(list(session.run("model", {name: x.numpy()}).values()), module(x))


def test_a_session_that_is_reset_draws_the_same_again_and_others_draw_their_own(tmp_path):
    program = torch.export.export(Uniform(), (torch.zeros(2, 2),))
    torch.export.save(program, tmp_path / "program.pt2")
    loaded = crosslatch.load(tmp_path / "program.pt2")

    def drawn(session):
        return session.run("model", {"x": np.zeros((2, 2), np.float32)})["add"]

    session, other = loaded.session(), loaded.session()
    first, second = drawn(session).copy(), drawn(session).copy()
    assert (first != second).any()
    assert (drawn(other) == first).all()
    fork = session.fork()
    assert (drawn(fork) == drawn(session)).all()
    session.reset()
    assert (drawn(session) == first).all()
    other.seed(3)
    assert (drawn(other) != second).any()


class InABranch(torch.nn.Module):
    def forward(self, flag, x):
        return torch.cond(flag, lambda x: x + torch.rand_like(x), lambda x: x * 2, (x,))


def test_numbers_in_a_branch_are_refused_with_the_reason(tmp_path):
    program = torch.export.export(InABranch(), (torch.tensor(True), torch.zeros(3)))
    torch.export.save(program, tmp_path / "program.pt2")
    session = crosslatch.load(tmp_path / "program.pt2").session()
    with pytest.raises(crosslatch.Error, match="outside of branches and loops"):
        session.run("model", {"flag": np.array(True), "x": np.zeros(3, np.float32)})

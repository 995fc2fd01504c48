"""Loops, conds and graphs that run in place, as `torch.export` writes them; planned and interpreted."""

import numpy as np
import pytest
import torch
from torch._higher_order_ops import associative_scan, map as map_rows, scan
from torch.export import Dim

torch.manual_seed(0)


class CountedLoop(torch.nn.Module):
    """A loop whose number of turns is an input, over a layer and a buffer."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 3)
        self.register_buffer("offset", torch.randn(3))

    def forward(self, turns, x):
        def goes_on(i, x):
            return i < turns

        def turn(i, x):
            return i + 1, torch.tanh(self.layer(x)) + self.offset

        i, x = torch.while_loop(goes_on, turn, (torch.zeros((), dtype=torch.int64), x))
        return x, i

    calls = [(torch.tensor(n), torch.randn(2, 3)) for n in (3, 0, 1, 17)]


class LoopUntilSmall(torch.nn.Module):
    """A loop that ends by what a tensor contains."""

    def forward(self, x):
        return torch.while_loop(lambda x, n: x.abs().sum() > 1,
                                lambda x, n: (x / 2, n + 1), (x, torch.zeros(1)))

    calls = [(torch.randn(5) * scale,) for scale in (1, 100, 0.01)]


class SwappingLoop(torch.nn.Module):
    """What is carried changes places at each turn."""

    def forward(self, turns, a, b):
        return torch.while_loop(lambda i, a, b: i < turns, lambda i, a, b: (i + 1, b.clone(), a + b),
                                (torch.zeros((), dtype=torch.int64), a, b))

    calls = [(torch.tensor(n), torch.randn(2, 2), torch.randn(2, 2)) for n in (5, 2, 0)]


class LoopInLoop(torch.nn.Module):
    def forward(self, n, x):
        zero = torch.zeros((), dtype=torch.int64)

        def outer(i, x):
            _, y = torch.while_loop(lambda j, y: j < i, lambda j, y: (j + 1, torch.sin(y) + 1),
                                    (zero.clone(), x))
            return i + 1, y * 0.5

        return torch.while_loop(lambda i, x: i < n, outer, (zero.clone(), x))

    calls = [(torch.tensor(n), torch.randn(4)) for n in (4, 1, 0)]


class CondInLoop(torch.nn.Module):
    def forward(self, n, x):
        def turn(i, x):
            x = torch.cond(x.sum() > 0, lambda x: x - 1.5, lambda x: x * -0.7 + 0.1, (x,))
            return i + 1, x

        return torch.while_loop(lambda i, x: i < n, turn, (torch.zeros((), dtype=torch.int64), x))

    calls = [(torch.tensor(n), torch.randn(4)) for n in (6, 3, 0)]


class Scan(torch.nn.Module):
    """A recurrence over rows, from behind, with a layer inside."""

    def __init__(self, reverse=False, dim=0):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)
        self.reverse, self.dim = reverse, dim

    def forward(self, state, rows):
        def turn(state, row):
            state = torch.tanh(self.layer(state) + row)
            return state, state * 2

        return scan(turn, state, rows, dim=self.dim, reverse=self.reverse)

    calls = [(torch.randn(3, 4), torch.randn(6, 3, 4)) for _ in range(2)]


class ScanBackwards(Scan):
    def __init__(self):
        super().__init__(reverse=True)


class ScanOfSeveral(torch.nn.Module):
    """Trees of what is carried and of rows."""

    def forward(self, a, b, x, y):
        def turn(carried, rows):
            (a, b), (x, y) = carried, rows
            return (a + x.sum(), b * 0.5 + y), {"x": x - a, "y": y.flatten() + 1}

        return scan(turn, (a, b), (x, y))

    calls = [(torch.zeros(()), torch.randn(2, 2), torch.randn(4, 3), torch.randn(4, 2, 2))]


class Map(torch.nn.Module):
    def forward(self, rows, y):
        return map_rows(lambda row, y: (row.cos() + y, row.sum()), rows, y)

    calls = [(torch.randn(4, 3), torch.randn(3)), (torch.randn(4, 3), torch.randn(3))]


class Cumulated(torch.nn.Module):
    """Until it is decomposed, `torch.func.vmap` is a part of the program."""

    forms = ["decomposed"]

    def forward(self, x):
        return associative_scan(lambda a, b: a * b + 0.5 * a, x, 0, combine_mode="generic")

    calls = [(torch.randn(7, 2),)]


class WithoutGradients(torch.nn.Module):
    """Graphs that run in place, with tensors and sizes among their results."""

    dynamic_shapes = ({0: Dim.AUTO},)

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 4)

    def forward(self, x):
        with torch.no_grad():
            scale = x.abs().max() + 1
            first = self.layer(x) / scale
        with torch.enable_grad():
            second = self.layer(first)
        with torch.no_grad():
            third = second + first
            rows = third.shape[0] * 2
        return third.repeat(2, 1).view(rows, -1), scale

    calls = [(torch.randn(3, 4),), (torch.randn(5, 4),)]


class StateInLoop(torch.nn.Module):
    """A buffer that is read in a loop and written behind it."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, n, x):
        _, y = torch.while_loop(lambda i, y: i < n, lambda i, y: (i + 1, y * 0.5 + self.total),
                                (torch.zeros((), dtype=torch.int64), x))
        self.total.add_(y)
        return y

    calls = [(torch.tensor(n), torch.randn(3)) for n in (2, 0, 5, 1)]


MODULES = [CountedLoop, LoopUntilSmall, SwappingLoop, LoopInLoop, CondInLoop, Scan, ScanBackwards,
           ScanOfSeveral, Map, Cumulated, WithoutGradients, StateInLoop]


def exported(module, example, form, path, **options):
    program = torch.export.export(module, example, **options)
    if form == "decomposed":
        program = program.run_decompositions({})
    torch.export.save(program, path)
    return program


CASES = [(kind, form) for kind in MODULES
         for form in getattr(kind, "forms", ["plain", "decomposed"])]


@pytest.mark.parametrize("kind, form", CASES, ids=lambda part: getattr(part, "__name__", part))
@torch.no_grad()
def test_control_flow_means_what_it_means_in_pytorch(crosslatch, kind, form, tmp_path):
    module = kind().eval()
    # Where gradients are off already, nothing is left of turning them off.
    with torch.set_grad_enabled(kind is WithoutGradients):
        program = exported(module, kind.calls[0], form, tmp_path / "program.pt2",
                           dynamic_shapes=getattr(kind, "dynamic_shapes", None))
    names = program.graph_signature.user_inputs
    arrays = [{name: t.detach().numpy() for name, t in zip(names, call, strict=True)}
              for call in kind.calls]
    wanted = [torch.utils._pytree.tree_leaves(module(*call)) for call in kind.calls]
    planned = crosslatch.run(tmp_path / "program.pt2", "model", arrays, tmp_path)
    reference = crosslatch.run(tmp_path / "program.pt2", "model", arrays, tmp_path, "--reference")
    for outputs, interpreted, tensors in zip(planned, reference, wanted, strict=True):
        for array, tensor in zip(outputs.values(), tensors, strict=True):
            torch.testing.assert_close(torch.from_numpy(array), tensor)
        for name, array in outputs.items():
            np.testing.assert_allclose(array, interpreted[name], rtol=1e-5, atol=1e-6)


def test_a_loop_that_does_not_end_is_an_error(crosslatch, tmp_path):
    class Endless(torch.nn.Module):
        def forward(self, x):
            return torch.while_loop(lambda x: x.sum() < 1e9, lambda x: (x * 1,), (x,))

    exported(Endless(), (torch.zeros(1),), "plain", tmp_path / "program.pt2")
    np.savez(tmp_path / "in.npz", x=np.zeros(1, np.float32))
    _, error = crosslatch("run", tmp_path / "program.pt2", "--input", tmp_path / "in.npz",
                          "--output", tmp_path / "out.npz", status=1)
    assert "would take more than 16777216 turns" in error


def test_results_that_are_no_tensors_are_left_out_and_numbers_are_tensors(crosslatch, tmp_path):
    class Mixed(torch.nn.Module):
        def forward(self, x):
            return x + 1, None, 3, "text", 2.5, True, (x.shape[0], x * 2)

    program = exported(Mixed(), (torch.ones(2),), "plain", tmp_path / "program.pt2")
    (name,) = program.graph_signature.user_inputs
    (outputs,) = crosslatch.run(tmp_path / "program.pt2", "model",
                                [{name: np.ones(2, np.float32)}], tmp_path)
    values = [array.tolist() for array in outputs.values()]
    assert values == [[2, 2], 3, 2.5, True, 2, [2, 2]]


def test_sizes_of_zero_and_one_run_where_pytorch_runs_them(crosslatch, tmp_path):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 4)

        def forward(self, x, y):
            return self.layer(x) + y

    module = Layer()
    example = torch.randn(3, 4), torch.randn(3, 4)
    program = exported(module, example, "plain", tmp_path / "program.pt2",
                       dynamic_shapes=({0: Dim.AUTO}, {0: Dim.AUTO}))
    assert {r.lower for r in program.range_constraints.values()} == {2}
    calls = [(torch.randn(n, 4), torch.randn(n, 4)) for n in (1, 0, 5)]
    arrays = [{"x": x.numpy(), "y": y.numpy()} for x, y in calls]
    results = crosslatch.run(tmp_path / "program.pt2", "model", arrays, tmp_path)
    for outputs, call in zip(results, calls, strict=True):
        (array,) = outputs.values()
        torch.testing.assert_close(torch.from_numpy(array), program.module()(*call).detach())


@pytest.mark.parametrize("dtype", [torch.complex32, torch.float8_e4m3fn, torch.uint16])
def test_an_element_type_that_is_not_supported_is_named(crosslatch, dtype, tmp_path):
    class Same(torch.nn.Module):
        def forward(self, x):
            return x.clone()

    exported(Same(), (torch.zeros(2).to(dtype),), "plain", tmp_path / "program.pt2")
    _, error = crosslatch("inspect", tmp_path / "program.pt2", status=1)
    assert f"elements of type {str(dtype).removeprefix('torch.')} are not supported" in error

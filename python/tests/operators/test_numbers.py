"""Numbers at the edges: the engine gives PyTorch's result, or both refuse.

Each program stands for a kind of mistake; `odd.py` has the kinds in full.
"""

import json
import subprocess
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from conftest import TARGET
from operators import exact
from operators.batches import Batches, Wanted, wanted
from operators.samples import make_call
from operators.whole import engine_operators

INF, NAN = float("inf"), float("nan")
f32, bf16, f16 = torch.float32, torch.bfloat16, torch.float16
i64, i32, i8, u8 = torch.int64, torch.int32, torch.int8, torch.uint8
T = torch.tensor
aten = torch.ops.aten
BESIDE_ITSELF = torch.arange(1.0, 40.0).to(bf16)

EQUAL = {
    "a bound beyond a type bounds nothing": [
        (aten.clamp, (T([5, -3, 70000], dtype=i32), 0, torch.iinfo(i64).max)),
        (aten.clamp, (T([1, 2, 200], dtype=u8), -3)),
        (aten.clamp, (T([1, 2, 200], dtype=u8), None, 300)),
        (aten.hardtanh, (T([1, -2, 100], dtype=i8), -300, 300))],
    "beside an operand, a number wraps": [
        (aten.add, (T([1, 200], dtype=u8), 300)),
        (aten.eq, (T([1, 44], dtype=u8), 300)),
        (aten.masked_fill, (T([1, 2], dtype=u8), T([True, False]), -3))],
    "outside of their domains functions are NaN": [
        (torch.acosh, (T([-100.0, -104.0, 0.5, 1.0, 1.0000001, 2.0, 3e38]),)),
        (torch.atanh, (T([-2.0, -1.0, 0.99999994, 1.0, 5.0]),)),
        (torch.asinh, (T([-3e38, -1e-20, -0.0, 1e-20, 1e10]),))],
    "powers of integers wrap": [
        (torch.pow, (T([3, -2, 1]), T([2**32, 2**40 + 1, 2**62]))),
        (torch.pow, (T([2, 1, -1, -1, 0]), T([-1, -2, -3, -4, -5])))],
    "softmax of lines with NaN": [
        (aten._safe_softmax, (T([[NAN, NAN], [-INF, NAN], [-INF, -INF]]), -1)),
        (torch.softmax, (T([[NAN, 1.0], [INF, 1.0], [-INF, 1.0]]), -1))],
    "quotients of 16 bits are rounded where eager rounds them": [
        (torch.div, (BESIDE_ITSELF, torch.full((39,), 0.71484375).to(bf16)), "trunc"),
        (torch.div, (BESIDE_ITSELF, torch.full((39,), 0.71484375).to(bf16)), "floor"),
        (torch.div, (BESIDE_ITSELF, 0.3), "trunc"),
        (torch.floor_divide, (T([1.5]).to(f16), 0.1))],
    "numbers beside 16 bits are rounded where eager rounds them": [
        (torch.add, (T([-2.5, 1.0]).to(bf16), 2.7)),
        (torch.mul, (T([-2.5, 1.1]).to(bf16), 2.7)),
        (torch.xlogy, (T([3.0, 1.1]).to(f16), T([0.7, 9.0]).to(f16)))],
    "the sign of zero": [
        (f, (T([-0.0, 0.0]),)) for f in (torch.tanh, torch.expm1, torch.sinh, torch.asinh,
                                         torch.atan, torch.erf, torch.sin, torch.round,
                                         torch.trunc, torch.sqrt, torch.relu, torch.neg)],
    "casts of what does not fit": [
        (lambda x, to=to: x.to(to), (T([INF, -INF, NAN, 1e30, -1e30, 3e9, -129.0, 300.0], dtype=of),))
        for to in (i64, i32, torch.int16, i8, u8, torch.bool) for of in (torch.float64, f32, bf16)],
    "indices that may be negative": [
        (lambda x, i: x[i], (torch.arange(6.0), T([-1, -6]))),
        (lambda x, i: x.index_put((i,), T([9.0])), (torch.arange(6.0), T([-2]))),
        (lambda x, i: x.index_fill(0, i, 9.0), (torch.arange(6.0), T([-2]))),
        (lambda x, i: x.take(i), (torch.arange(6.0), T([-2]))),
        (lambda x, i: x.take_along_dim(i, 0), (torch.arange(6.0), T([-2])))],
    "a name that ends in a line": [
        (lambda x: (aten.__and__.Scalar(x, 3), aten.__or__.Scalar(x, 8)), (T([1, 6]),))],
    "a result that is no tensor": [
        (lambda x: (x + 1, None), (T([1.0]),)),
        (lambda x: {"a": None, "b": x * 2}, (T([1.0]),))],
}

REFUSED = {
    "a bound beyond all of a type": [
        (lambda x: x.clamp(min=300), (T([1], dtype=u8),)),
        (lambda x: x.clamp(max=-3), (T([1], dtype=u8),))],
    "parameters that a type does not hold": [
        (lambda x: x.masked_fill(x > 0, 300), (T([1], dtype=u8),)),
        (lambda x: torch.full_like(x, 300), (T([1], dtype=u8),)),
        (lambda x: torch.add(x, x, alpha=300), (T([1], dtype=u8),)),
        (lambda x: x**300, (T([1], dtype=u8),)),
        (lambda x: x.masked_fill(x > 0, 1e30), (T([1.0]).to(f16),))],
    "indices that may not be negative": [
        (lambda x, i: x.index_select(0, i), (torch.arange(6.0), T([-1]))),
        (lambda x, i: x.gather(0, i), (torch.arange(6.0), T([-1]))),
        (lambda x, i: x.index_add(0, i, x[:1]), (torch.arange(6.0), T([-1]))),
        (lambda x, i: x.index_copy(0, i, x[:1]), (torch.arange(6.0), T([-1]))),
        (lambda x, i: x.scatter(0, i, 1.0), (torch.arange(6.0), T([-1]))),
        (lambda x, i: x.scatter_add(0, i, x[:1]), (torch.arange(6.0), T([-1])))],
}


def call_of(function, args, mode=None):
    """A call; `mode` is the rounding mode of a division."""
    return make_call(function, args, {} if mode is None else {"rounding_mode": mode})


def run(batches: Batches, results: Path) -> dict[str, str]:
    """Runs the programs; returns the failures."""
    batches.finish()
    results.mkdir()
    subprocess.run([TARGET / "examples" / "conformance", batches.folder, results], check=True)
    return json.loads((results / "failures.json").read_text())


@pytest.mark.parametrize("kind", EQUAL)
def test_numbers_at_the_edges_are_pytorchs(kind, tmp_path):
    batches = Batches(tmp_path / "cases", engine_operators())
    for number, case in enumerate(EQUAL[kind]):
        batches.add_batch([wanted(kind, str(number), call_of(*case))])
    assert not batches.refused
    assert not run(batches, tmp_path / "results")
    for name, (asked,) in batches.programs.items():
        folder = tmp_path / "results" / name.split("/")[0]
        actual = load_file(folder / "tensors.safetensors")
        for way in ("out", "plain"):
            for i, expected in enumerate(asked.expected):
                wrong = exact.difference(expected, None, actual[f"all/{way}/{i}"], True)
                assert not wrong, f"{asked.call.describe()}: {wrong}"


@pytest.mark.parametrize("kind", REFUSED)
def test_what_pytorch_refuses_is_refused(kind, tmp_path):
    batches = Batches(tmp_path / "cases", engine_operators())
    for number, case in enumerate(REFUSED[kind]):
        call = call_of(*case)
        with pytest.raises((RuntimeError, IndexError)):
            call(*case[1])
        # Exported with something that PyTorch takes; the values come when it runs.
        tensors = [t.clamp(min=0) if t.dtype == i64 else t for t in call.tensors]
        try:
            program = torch.export.export(call, tuple(tensors), strict=False)
        except RuntimeError:  # PyTorch writes no such program
            continue
        folder = batches.folder / str(number)
        folder.mkdir(parents=True)
        torch.export.save(program, folder / "program.pt2")
        names = program.graph_signature.user_inputs
        save_file({f"all/in/{n}": t for n, t in zip(names, call.tensors, strict=True)},
                  folder / "tensors.safetensors")
        batches.cases.append({"case": f"{number}/all", "program": f"{number}/program.pt2",
                              "tensors": f"{number}/tensors.safetensors", "inputs": list(names),
                              "outputs": 1})
    failures = run(batches, tmp_path / "results")
    for case in batches.cases:
        assert failures.get(case["case"], "").startswith("refused: "), (kind, case["case"])


def test_a_copy_between_views_that_overlap_means_what_it_means_when_compiled(tmp_path):
    """Eager refuses it; exported and decomposed, and compiled, the source is read first."""
    def shift(x):
        y = x.clone()
        y[1:].copy_(y[:-1])
        y[:3].index_copy_(0, T([0, 1]), y[2:4])
        return y

    call = make_call(shift, (torch.arange(6.0),), {})
    program = torch.export.export(call, call.tensors, strict=False)
    batches = Batches(tmp_path / "cases", engine_operators())
    decomposed = program.run_decompositions({})
    expected = decomposed.module()(*call.tensors)
    for form in (program, decomposed):
        batches.save([Wanted("copy", "overlap", call, tuple(expected))], form)
    assert not run(batches, tmp_path / "results")
    for name in ("0", "1"):
        actual = load_file(tmp_path / "results" / name / "tensors.safetensors")
        assert torch.equal(actual["all/out/0"], expected[0])

"""Every program in every mode means what it means in plain Python."""

import copy

import pytest
import torch

import crosslatch.ops  # noqa: F401
from .modes import MODES, SLOW, eager, packaged
from .programs import PROGRAMS, Module, Plain, Real

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8,
          torch.float8_e4m3fn, torch.float8_e5m2]
# Data types in which the programs with arithmetic run as well.
ARITHMETIC = (torch.float32, torch.bfloat16)
# What is compiled in more than one data type: the operators alone, and the program they are for.
IN_ALL_TYPES = ("update_returns_the_cache", "conditional_cache")


def cases():
    for name, program in PROGRAMS.items():
        for mode in MODES:
            for dtype in DTYPES:
                if dtype == torch.float32 or (
                        name in IN_ALL_TYPES if mode in SLOW
                        else program.moves or dtype in ARITHMETIC):
                    yield program, mode, dtype


CASES = list(cases())


def test_size_of_the_matrix(capsys):
    with capsys.disabled():
        print(f"\n{len(PROGRAMS)} programs, {len(MODES)} modes, {len(DTYPES)} data types: "
              f"{len(CASES)} cases")
    assert len(CASES) > 300


def name(case):
    program, mode, dtype = case
    return f"{program.name}-{mode.__name__}-{str(dtype).removeprefix('torch.')}"


def bits(tree):
    """Values and everything else, comparable; NaN equals itself."""
    return torch.utils._pytree.tree_map(
        lambda t: t.detach().clone().float() if isinstance(t, torch.Tensor) else t, tree)


@pytest.mark.parametrize("case", CASES, ids=name)
@torch.no_grad()
def test_program(case, tmp_path):
    program, mode, dtype = case
    calls = [program.inputs(i, dtype) for i in range(program.calls)]
    expected, plain = [], Module(program, Plain, dtype)
    for inputs in copy.deepcopy(calls):
        expected.append((bits(plain(*inputs)), bits(inputs), bits(dict(plain.named_buffers()))))

    real = Module(program, Real, dtype)
    # Tracing gets inputs and a module of its own: what it leaves in them is not what is tested.
    run = mode(real, copy.deepcopy(calls[0]), tmp_path)
    for i, inputs in enumerate(copy.deepcopy(calls)):
        outputs = run(*inputs)
        actual = (bits(outputs), bits(inputs), bits(dict(real.named_buffers())))
        if mode is packaged or not hasattr(run, "named_buffers"):
            actual = (*actual[:2], expected[i][2])  # its state is its own; the next call shows it
        elif mode is not eager:
            state = dict(run.named_buffers())
            assert set(program.buffers) <= {n.removeprefix("_orig_mod.") for n in state}
            actual = (*actual[:2],
                      bits({n: state.get(n, state.get(f"_orig_mod.{n}"))
                            for n in program.buffers}))
        torch.testing.assert_close(as_tuples(actual), as_tuples(expected[i]), rtol=1e-2 if
                                   dtype in (torch.bfloat16, torch.float16) else 1e-5, atol=1e-4,
                                   equal_nan=True, msg=lambda text: f"call {i}: {text}")
        for output, source in program.same:
            leaves = torch.utils._pytree.tree_leaves(outputs)
            assert leaves[output].data_ptr() == inputs[source].data_ptr(), "not the same memory"


def as_tuples(tree):
    if isinstance(tree, (list, tuple)):
        return tuple(map(as_tuples, tree))
    return tree

"""Every program in every mode means what it means in plain Python."""

import copy

import pytest
import torch

import crosslatch.ops  # noqa: F401
from .modes import MODES, compiled, packaged
from .programs import PROGRAMS, Module, Plain, Real

DTYPES = [torch.float32, torch.bfloat16, torch.float16, torch.float64, torch.int8,
          torch.float8_e4m3fn, torch.float8_e5m2]
# Data types in which the programs with arithmetic run as well.
ARITHMETIC = (torch.float32, torch.bfloat16)
# What is compiled in more than one data type: the operators alone, and the program they are for.
IN_ALL_TYPES = ("update_returns_the_cache", "conditional_cache")


# Programs in one package of AOTInductor, which takes long to make whatever is in it.
PACKAGE = 9


def packages():
    """Groups of (program, data type), each compiled as one module."""
    members = [(program, torch.float32) for program in PROGRAMS.values()]
    members += [(PROGRAMS[name], dtype) for name in IN_ALL_TYPES for dtype in DTYPES[1:]]
    return [members[i:i + PACKAGE] for i in range(0, len(members), PACKAGE)]


def cases():
    for name, program in PROGRAMS.items():
        for mode in MODES:
            for dtype in DTYPES:
                if dtype == torch.float32 or (
                        name in IN_ALL_TYPES if mode is compiled
                        else program.moves or dtype in ARITHMETIC):
                    yield program, mode, dtype


CASES = list(cases())


def test_size_of_the_matrix(capsys):
    with capsys.disabled():
        packed = sum(map(len, packages()))
        print(f"\n{len(PROGRAMS)} programs, {len(MODES) + 1} modes, {len(DTYPES)} data types: "
              f"{len(CASES) + packed} cases, {packed} of them in {len(packages())} packages")
    assert len(CASES) + packed > 500


def name(case):
    program, mode, dtype = case
    return f"{program.name}-{mode.__name__}-{str(dtype).removeprefix('torch.')}"


def bits(tree):
    """Values and everything else, comparable; NaN equals itself."""
    return torch.utils._pytree.tree_map(
        lambda t: t.detach().clone().float() if isinstance(t, torch.Tensor) else t, tree)


def expectations(program, dtype, calls):
    """Outputs, inputs and buffers after each call in plain Python."""
    plain = Module(program, Plain, dtype)
    expected = []
    for inputs in copy.deepcopy(calls):
        outputs = bits(plain(*inputs))
        expected.append((outputs, bits(inputs), bits(dict(plain.named_buffers()))))
    return expected


def check(actual, expected, dtype, what):
    coarse = dtype in (torch.bfloat16, torch.float16)
    torch.testing.assert_close(as_tuples(actual), as_tuples(expected), rtol=1e-2 if coarse else 1e-5,
                               atol=1e-4, equal_nan=True, msg=lambda text: f"{what}: {text}")


def check_memory(program, outputs, inputs):
    leaves = torch.utils._pytree.tree_leaves(outputs)
    for output, source in program.same:
        assert leaves[output].data_ptr() == inputs[source].data_ptr(), "not the same memory"


@pytest.mark.parametrize("case", CASES, ids=name)
@torch.no_grad()
def test_program(case, tmp_path):
    program, mode, dtype = case
    calls = [program.inputs(i, dtype) for i in range(program.calls)]
    expected = expectations(program, dtype, calls)
    # Tracing gets inputs of its own: what it leaves in them is not what is tested.
    run = mode(Module(program, Real, dtype), copy.deepcopy(calls[0]), tmp_path)
    for i, inputs in enumerate(copy.deepcopy(calls)):
        outputs = run(*inputs)
        state = {n.removeprefix("_orig_mod."): t for n, t in run.named_buffers()}
        actual = bits(outputs), bits(inputs), bits({n: state[n] for n in program.buffers})
        check(actual, expected[i], dtype, f"call {i}")
        check_memory(program, outputs, inputs)


class Together(torch.nn.Module):
    """Several programs side by side, each with its own inputs and buffers."""

    def __init__(self, members):
        super().__init__()
        self.parts = torch.nn.ModuleList(Module(p, Real, dtype) for p, dtype in members)

    def forward(self, *inputs):
        return tuple(part(*own) for part, own in zip(self.parts, inputs, strict=True))


@pytest.mark.parametrize("members", packages(), ids=lambda m: f"{m[0][0].name}-and-{len(m) - 1}")
@torch.no_grad()
def test_package(members, tmp_path):
    calls = [[p.inputs(i, dtype) for i in range(max(p.calls for p, _ in members))]
             for p, dtype in members]
    expected = [expectations(p, dtype, own) for (p, dtype), own in zip(members, calls)]
    run = packaged(Together(members), tuple(copy.deepcopy([own[0] for own in calls])), tmp_path)
    for i in range(len(calls[0])):
        inputs = copy.deepcopy([own[i] for own in calls])
        outputs = run(*inputs)
        for k, (program, dtype) in enumerate(members):
            # The buffers are the package's own; the next call shows what is in them.
            actual = bits(outputs[k]), bits(inputs[k]), expected[k][i][2]
            check(actual, expected[k][i], dtype, f"{program.name}, call {i}")
            check_memory(program, outputs[k], inputs[k])


def as_tuples(tree):
    if isinstance(tree, (list, tuple)):
        return tuple(map(as_tuples, tree))
    return tree

"""Programs with caches give on ExecuTorch's runtime what they give in plain Python."""

import pytest
import torch

pytest.importorskip("executorch.exir")

from torch_operators.programs import PROGRAMS  # noqa: E402
from torch_operators.programs.program import Program  # noqa: E402

from . import plans, random_programs  # noqa: E402
from .running import check, lowered, method_of  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_a_program_means_the_same_there(program):
    """Several steps, and inputs that differ between them: a stale cache shows."""
    check(program, [program.inputs(i, torch.float32) for i in range(max(5, program.calls))])


@pytest.mark.parametrize("seed", range(8))
def test_a_random_program_means_the_same_there(seed):
    program = random_programs.drawn(seed)
    check(program, [program.inputs(i, torch.float32) for i in range(program.calls)])


# What a later step of these programs needs no copy for, besides the outputs.
WITHOUT_A_COPY = [
    "predicate_from_the_position", "pointwise_on_the_result_of_a_cond", "predicate_from_the_contents",
    "operands_read_before_and_after_a_cond",
    "two_conds_in_a_row", "a_cond_in_a_cond"]


@pytest.mark.parametrize("name", WITHOUT_A_COPY)
def test_a_later_step_copies_no_byte_of_a_cache(name):
    program = PROGRAMS[name]
    result = lowered(program, program.inputs(0, torch.float32))
    assert not result.reports["forward"].kept
    assert plans.copied(result, "forward", taken=True) == 0


def test_a_copy_that_is_needed_stays_with_its_reason():
    program = PROGRAMS["old_contents_are_read_after_a_cond"]
    result = lowered(program, program.inputs(0, torch.float32))
    (kept,) = result.reports["forward"].kept
    assert kept.bytes == 192 and "is still read after" in kept.reason
    assert plans.copied(result, "forward", taken=True) == 192
    assert kept.reason in result.report


def plain_cond(o, m, predicate, value):
    """No operator: a clone in one branch, and a copy into the buffer afterwards."""
    def use(value, keys):
        return (keys.clone(),)

    def compute(value, keys):
        return (torch.cat([value * 2, value], dim=2),)

    (keys,) = o.cond(predicate, use, compute, (value, m.keys))
    m.keys.copy_(keys)
    return keys * 3


def test_a_plain_cond_with_clones_needs_no_copy_either():
    from torch_operators.programs.inputs import value
    program = Program("plain_cond", plain_cond,
                      lambda seed, dtype: (torch.tensor(seed % 3 != 0), value(seed, dtype)),
                      calls=5, buffers=("keys",))
    result = check(program, [program.inputs(i, torch.float32) for i in range(5)])
    assert not result.reports["forward"].kept
    assert plans.copied(result, "forward", taken=True) == 0


def test_an_output_is_never_memory_that_the_next_call_overwrites():
    program = PROGRAMS["conditional_cache"]
    method = method_of(lowered(program, program.inputs(0, torch.float32)))
    plain = [program.inputs(i, torch.float32) for i in (0, 3)]
    outputs = method.execute(list(plain[0]))
    before = [t.clone() for t in outputs]
    method.execute(list(plain[1]))
    assert all(torch.equal(a, b) for a, b in zip(before, outputs, strict=True))

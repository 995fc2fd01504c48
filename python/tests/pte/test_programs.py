"""Programs with caches give on ExecuTorch's runtime what they give in plain Python.

The proof that a copy is unnecessary is made in two places: the engine plans its own programs, and
`crosslatch.executorch` ExecuTorch's.  Both find the same bytes of caches to copy, in the programs that
keep their caches in buffers.
"""

import json

import pytest
import torch

pytest.importorskip("executorch.exir")

from torch_operators.programs import PROGRAMS, Module, Real  # noqa: E402
from torch_operators.programs.program import Program  # noqa: E402

from . import plans, random_programs  # noqa: E402
from .running import check, lowered_once, method_of, runs  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
CACHES = [program for program in PROGRAMS.values() if "keys" in program.buffers]
FLAG = 64  # bytes; what is smaller is no cache


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
def test_a_program_means_the_same_there(program):
    """Several steps, and inputs that differ between them: a stale cache shows."""
    runs(lowered_once(program.name), program,
         [program.inputs(i, torch.float32) for i in range(max(5, program.calls))])


@pytest.mark.parametrize("program", CACHES, ids=lambda program: program.name)
def test_both_planners_copy_the_same_bytes_of_caches(program, crosslatch, tmp_path):
    inputs = program.inputs(0, torch.float32)
    exported = torch.export.export(Module(program, Real), inputs).run_decompositions({})
    torch.export.save(exported, tmp_path / "program.pt2")
    out, _ = crosslatch("inspect", tmp_path / "program.pt2", "--json")
    (method,) = json.loads(out)["methods"]
    kept = lowered_once(program.name).reports["forward"].kept
    # An output is copied by both; the engine does not count it.
    here = sum(copy.bytes for copy in kept
               if copy.bytes >= FLAG and "is handed to the caller" not in copy.reason)
    there = method["plan"]["cache_bytes_copied"]
    assert here == (there if there >= FLAG else 0)


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
    result = lowered_once(name)
    assert not result.reports["forward"].kept
    assert plans.copied(result, "forward", taken=True) == 0


def test_a_copy_that_is_needed_stays_with_its_reason():
    result = lowered_once("old_contents_are_read_after_a_cond")
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
    method = method_of(lowered_once(program.name))
    plain = [program.inputs(i, torch.float32) for i in (0, 3)]
    outputs = method.execute(list(plain[0]))
    before = [t.clone() for t in outputs]
    method.execute(list(plain[1]))
    assert all(torch.equal(a, b) for a, b in zip(before, outputs, strict=True))

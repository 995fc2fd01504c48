"""Sources of any length up to that of the cache, one after the other in one loaded method.

A source that is shorter than the last one leaves the rest of the cache as it is; how much of it counts
is for the program to say.  Both have to be what they are in plain Python.
"""

import pytest
import torch

pytest.importorskip("executorch.exir")

from crosslatch.executorch import lower, methods  # noqa: E402
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner  # noqa: E402
from executorch.runtime import Runtime  # noqa: E402
from torch_operators.programs.inputs import HEADS, ROWS, SIZE, numbers, project  # noqa: E402
from torch_operators.programs.program import Program  # noqa: E402

from . import plans  # noqa: E402
from .projecting import Projecting, exported  # noqa: E402
from .running import check  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")

# The first is what the program is traced with, which must be neither 1 nor all rows.
LENGTHS = [4, ROWS, 2, 5, 3, 3, ROWS, 1]


def inputs(longest):
    """Every third call is a later step, whose source is not to be looked at."""
    return lambda seed, dtype: (
        torch.tensor([seed % 3 == 2]).long(),
        numbers(seed, dtype, 1, min(LENGTHS[seed % len(LENGTHS)], longest), HEADS * SIZE))


def checked(body, longest=ROWS):
    program = Program(body.__name__, body, inputs(longest), buffers=("keys", "values"))
    calls = [program.inputs(i, torch.float32) for i in range(2 * len(LENGTHS))]
    return check(program, calls, (None, {1: torch.export.Dim("length", min=1, max=longest)}))


def in_a_cond(o, m, position, states):
    def use(keys, values, states):
        return o.alias(keys, values)

    def write(keys, values, states):
        return o.update(project(states), keys), o.update(project(states) * 2, values)

    keys, values = o.cond(position[0] > 0, use, write, (m.keys, m.values, states))
    return keys * 1.5, values + 1


def without_a_cond(o, m, position, states):
    old = m.keys * 2
    keys = o.update(project(states), m.keys)
    return old, keys + 1, m.keys - 1


def reading_what_counts(o, m, position, states):
    """Attention to the rows of this source alone, which is what a mask is for."""
    keys = o.cond(position[0] > 5, lambda keys, states: o.alias(keys, keys)[0],
                  lambda keys, states: o.update(project(states), keys), (m.keys, states))
    counts = keys[:, :, :states.shape[1]]
    scores = project(states) @ counts.transpose(2, 3)
    return scores.softmax(-1) @ counts, keys + 0


def in_a_cond_in_a_cond(o, m, position, states):
    def use(keys, states):
        return o.alias(keys, keys)[0]

    def write(keys, states):
        return o.update(project(states), keys)

    def outer(keys, states):
        return o.cond(states.sum() > 0, write, lambda keys, states: o.update(
            project(states + 1), keys), (keys, states))

    return o.cond(position[0] > 0, use, outer, (m.keys, states)) * 2, m.keys + m.values


def twice_the_length(o, m, position, states):
    """A number of rows that is an expression, and old contents that are read later."""
    old = m.values.clone()
    values = o.update(project(torch.cat([states, states], 1)), m.values)
    return values + old, old * 2


# The tracer refuses a length that may be as many rows as the cache has where a slice is taken.
@pytest.mark.parametrize("body, longest", [
    (without_a_cond, ROWS), (in_a_cond_in_a_cond, ROWS), (reading_what_counts, ROWS - 1),
    (twice_the_length, ROWS // 2)], ids=lambda given: getattr(given, "__name__", ""))
def test_sources_of_several_lengths_mean_the_same_there(body, longest):
    checked(body, longest)


def test_a_later_step_copies_nothing_where_lengths_vary():
    result = checked(in_a_cond)
    assert not result.reports["forward"].kept
    assert plans.copied(result, "forward", taken=True) == 0


@torch.no_grad()
@pytest.mark.parametrize("delegated", [False, True], ids=["portable", "xnnpack"])
def test_sources_of_several_lengths_are_decoded_by_two_methods(delegated):
    plain = Projecting()
    program = exported(Projecting(), longest=12)
    result = lower(methods.split(program), [XnnpackPartitioner()] if delegated else None)
    file = Runtime.get().load_program(result.buffer)
    latch, step = file.load_method("latch"), file.load_method("step")
    for length in (7, 12, 3, 9, 2, 12):
        states = torch.randn(1, length, 16)
        latch.execute([states])
        for position in range(3):
            token, count = torch.randn(1, 1, 16), torch.tensor([length])
            (got,) = step.execute([token, count])
            expected = plain(torch.tensor([position]), token, count, states)
            torch.testing.assert_close(got, expected)

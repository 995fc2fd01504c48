"""`crosslatch.latch` on small programs: what is kept, what is not, and that results stay right.

The oracle is the program as it was exported.  Several inputs are run one after the other through one
module, so anything stale shows.
"""

import io

import pytest
import torch
from torch import nn
from torch.export import Dim

from crosslatch import latch

SIZE, HEADS, LONGEST = 8, 2, 12


class Attention(nn.Module):
    """Ordinary cross-attention, on a projection that keys and values share."""

    def __init__(self):
        super().__init__()
        self.shared, self.key, self.value, self.out = (nn.Linear(SIZE, SIZE) for _ in range(4))

    def heads(self, x):
        return x.view(x.shape[0], x.shape[1], HEADS, SIZE // HEADS).transpose(1, 2)

    def forward(self, x, states, mask=None):
        shared = self.shared(states)
        keys, values = self.heads(self.key(shared)), self.heads(self.value(shared))
        seen = None if mask is None else (mask > 0)[:, None, None, :]
        out = nn.functional.scaled_dot_product_attention(self.heads(x), keys, values, seen)
        return self.out(out.transpose(1, 2).reshape(x.shape))


class Step(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = Attention()

    def forward(self, x, cache_position, states, mask):
        return self.attention(x, states, mask) + cache_position[0]


class StepWithoutPosition(Step):
    def forward(self, x, states, mask):
        return self.attention(x, states, mask)


def example(batch=1, length=5):
    return {"x": torch.randn(batch, 3, SIZE), "cache_position": torch.arange(3),
            "states": torch.randn(batch, length, SIZE), "mask": torch.ones(batch, length)}


def exported(module, arguments=None, shapes=None):
    torch.manual_seed(1)
    arguments = arguments or example()
    source = {1: Dim("source", min=1, max=LONGEST)}
    tokens = Dim("tokens", min=1, max=LONGEST)
    shapes = shapes or {"x": {1: tokens}, "cache_position": {0: tokens}, "states": source,
                        "mask": source}
    return torch.export.export(module.eval(), (), arguments, strict=False,
                               dynamic_shapes={name: shapes[name] for name in arguments})


def without_position():
    arguments = {name: value for name, value in example().items() if name != "cache_position"}
    return exported(StepWithoutPosition(), arguments)


def reloaded(program):
    file = io.BytesIO()
    torch.export.save(program, file)
    file.seek(0)
    return torch.export.load(file)


def run_both(program, latched, inputs, poison=None):
    """Each input for three steps; the named inputs of later steps can be poisoned."""
    plain, module = program.module(), latched.module()
    for arrays in inputs:
        for position in range(3):
            step = dict(arrays, x=torch.randn(arrays["x"].shape[0], 1, SIZE))
            if "cache_position" in step:
                step["cache_position"] = torch.tensor([position])
            given = dict(step)
            if poison and position:
                given[poison] = step[poison] * float("nan")
            torch.testing.assert_close(module(**given), plain(**step), rtol=1e-5, atol=1e-5)


def inputs_of(*lengths, batch=1):
    return [example(batch, length) for length in lengths]


def kept(latched):
    return sorted(tuple(value.shape) for value in latched.latch_report.values)


def test_keys_and_values_are_kept_in_the_layout_that_is_read():
    program = exported(Step())
    latched = latch(program, ["states"])
    assert kept(latched) == [(1, HEADS, LONGEST, SIZE // HEADS)] * 2
    assert latched.latch_report.bytes == 2 * 4 * LONGEST * SIZE
    # Two projections and the one they share; a multiplication and an addition are two.
    assert latched.latch_report.flops_saved_per_step == 3 * 2 * LONGEST * SIZE * SIZE
    run_both(program, latched, inputs_of(9, 2, 12, 5), poison="states")


def test_a_mask_is_kept_if_it_is_named():
    program = exported(Step())
    latched = latch(program, ["states", "mask"])
    assert len(latched.latch_report.values) == 3
    inputs = inputs_of(9, 2, 12)
    for arrays in inputs:
        arrays["mask"][:, arrays["mask"].shape[1] // 2 + 1:] = 0
    run_both(program, latched, inputs, poison="mask")


def test_saved_and_loaded_it_is_the_same():
    program = exported(Step())
    run_both(program, reloaded(latch(program, ["states"])), inputs_of(4, 12, 3), poison="states")


def test_a_file_holds_clean_state():
    latched = latch(exported(Step()), ["states"])
    assert all(not latched.state_dict[value.buffer].any() for value in latched.latch_report.values)


def test_without_a_position_the_inputs_are_compared():
    program = without_position()
    latched = reloaded(latch(program, ["states"]))
    inputs = [{k: v for k, v in arrays.items() if k != "cache_position"}
              for arrays in inputs_of(6, 6, 3)]
    inputs[0]["states"].zero_()  # like an empty buffer
    shorter = dict(inputs[2])    # the beginning of the input before
    shorter["states"], shorter["mask"] = shorter["states"][:, :2], shorter["mask"][:, :2]
    run_both(program, latched, [*inputs, shorter, inputs[1]])


def test_without_a_position_nothing_is_computed_while_the_inputs_are_the_same():
    program = without_position()
    module = latch(program, ["states"]).module()
    arrays = {k: v for k, v in example().items() if k != "cache_position"}
    before = module(**arrays)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "shared" in name:
                weight.zero_()  # would change the keys, if they were computed
    assert torch.equal(module(**arrays), before)
    arrays["states"] = arrays["states"].clone()
    arrays["states"][0, 0, 0] += 1
    assert not torch.equal(module(**arrays), before)


def test_batch_may_vary_where_the_length_does_not():
    batch = Dim("batch", min=1, max=4)
    program = exported(Step(), example(batch=2), {
        "x": {0: batch}, "cache_position": {}, "states": {0: batch}, "mask": {0: batch}})
    latched = latch(program, ["states"])
    assert len(latched.latch_report.values) == 2
    plain, module = program.module(), latched.module()
    for rows in (4, 1, 3):
        for position in (0, 1):
            arrays = example(rows) | {"cache_position": torch.arange(3) + position}
            if position:
                arrays["states"] = states
            states = arrays["states"]
            torch.testing.assert_close(module(**arrays), plain(**arrays))


def test_a_length_without_bound_is_not_kept_and_the_report_says_so():
    source = {1: Dim("source", min=1)}
    program = exported(Step(), shapes={"x": {}, "cache_position": {}, "states": source,
                                       "mask": source})
    report = latch(program, ["states"]).latch_report
    assert not report.values
    assert any("no upper bound" in reason for _, reason in report.left)
    assert "has no upper bound; export the program with one: Dim(..., max=N)" in str(report)


class Scaled(nn.Module):
    """Values that are not worth keeping: a copy and an expanded view of an input, a weight alone."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(SIZE, SIZE))

    def forward(self, x, cache_position, states, mask):
        copy = states.clone().transpose(1, 2)
        wide = states[:, :1].expand(1, 3, SIZE)
        return x[:, :, :1] @ copy[:, :1], wide + x, x @ torch.exp(self.weight), cache_position[0]


def test_an_output_is_not_a_look_into_the_buffer():
    class Keys(Step):
        def forward(self, x, cache_position, states, mask):
            keys = self.attention.heads(self.attention.key(states))
            return keys, keys.transpose(1, 2), x.sum() + cache_position[0]

    latched = latch(exported(Keys(), shapes={"x": {}, "cache_position": {}, "states": {},
                                             "mask": {}}), ["states"])
    assert latched.latch_report.values
    module = reloaded(latched).module()
    first = module(**example())
    copies = [value.clone() for value in first]
    module(**example())
    for held, copy in zip(first, copies):
        assert torch.equal(held, copy)


def test_copies_views_and_weights_are_not_kept():
    program = exported(Scaled(), shapes={"x": {}, "cache_position": {}, "states": {}, "mask": {}})
    assert latch(program, ["states"]).latch_report.values == []


def test_the_given_program_stays_as_it_was():
    program = exported(Step())
    text, names = str(program.graph), set(program.state_dict)
    latch(program, ["states"])
    assert (str(program.graph), set(program.state_dict)) == (text, names)


def test_chance_is_not_kept():
    class Noisy(Step):
        def forward(self, x, cache_position, states, mask):
            noise = torch.rand_like(states)
            return (states + noise).sum() + x.sum() + cache_position[0]

    program = exported(Noisy(), shapes={"x": {}, "cache_position": {}, "states": {}, "mask": {}})
    assert latch(program, ["states"]).latch_report.values == []


@pytest.mark.parametrize("options", [{"inputs": ["state"]}, {"position": "positions"}])
def test_names_that_the_program_does_not_have(options):
    with pytest.raises(ValueError, match="no input"):
        latch(exported(Step()), **{"inputs": ["states"], **options})

"""Small programs with the two operators, each a way to get them wrong.

A program is written once, against an object with `alias`, `update` and `cond`.  With `Plain` it is
ordinary Python: an `if`, an assignment to a slice, operands returned as they are.  That is what the
program means, and what every mode of PyTorch has to reproduce with the real operators.

`calls` are the inputs of successive calls of one instance, which keeps its buffers.
"""

from dataclasses import dataclass

import torch
from torch.nn.functional import linear, scaled_dot_product_attention

HEADS, SIZE, ROWS = 2, 4, 6


class Plain:
    """What the operators mean."""

    @staticmethod
    def alias(x, y):
        return x, y

    @staticmethod
    def update(value, cache):
        cache[:, :, : value.shape[2]] = value.clone()
        return cache

    @staticmethod
    def cond(predicate, true_branch, false_branch, operands):
        return (true_branch if bool(predicate) else false_branch)(*operands)


class Real:
    """The operators, in a form that every tracer knows."""

    @staticmethod
    def alias(x, y):
        return torch.ops.executorch.alias(x, y)

    @staticmethod
    def update(value, cache):
        return torch.ops.executorch.update_cross_attn_cache(value, cache)

    @staticmethod
    def cond(predicate, true_branch, false_branch, operands):
        return torch.cond(predicate, true_branch, false_branch, operands)


@dataclass
class Program:
    name: str
    # (operators, module, *inputs) -> outputs
    body: callable
    # seed -> inputs
    inputs: callable
    calls: int = 2
    buffers: tuple = ()
    # Whether it only moves values, and so runs in data types without arithmetic.
    moves: bool = False
    # (index of output, index of input) that must be one memory, where results are not copied out.
    same: tuple = ()


PROGRAMS = {}


def program(inputs, **options):
    def add(body):
        name = body.__name__
        PROGRAMS[name] = Program(name, body, inputs, **options)
        return body
    return add


class Module(torch.nn.Module):
    def __init__(self, program, operators, dtype=torch.float32):
        super().__init__()
        self.program, self.operators = program, operators
        for name in program.buffers:
            empty = torch.zeros((), dtype=torch.bool) if name == "filled" else cache(dtype)
            self.register_buffer(name, empty)

    def forward(self, *inputs):
        return self.program.body(self.operators, self, *inputs)


def cache(dtype=torch.float32, rows=ROWS):
    return torch.zeros(1, HEADS, rows, SIZE).to(dtype)


def numbers(seed, dtype, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, shape, generator=generator).float().to(dtype)


def value(seed, dtype, rows=3):
    return numbers(seed, dtype, 1, HEADS, rows, SIZE)


def value_and_cache(seed, dtype):
    return value(seed, dtype), numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE)


def two_values_and_cache(seed, dtype):
    return (value(seed, dtype), value(seed + 50, dtype),
            numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE))


def states(seed, dtype):
    """Encoder states; each call has other ones, so that a stale cache shows."""
    return (numbers(seed, dtype, 1, ROWS, HEADS * SIZE),)


def predicate_and_states(seed, dtype):
    return torch.tensor(seed % 3 != 0), *states(seed, dtype)


def predicate_and_caches(seed, dtype):
    return (torch.tensor(seed % 3 != 0), value(seed, dtype),
            numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE),
            numbers(seed + 200, dtype, 1, HEADS, ROWS, SIZE))


def position_and_states(seed, dtype):
    """A first token, two later ones, then the first of another input."""
    return torch.tensor([seed % 3]), *states(seed, dtype)


def project(states):
    """What a projection looks like to the cache: heads split off, axes swapped, not copied."""
    return states.view(1, -1, HEADS, SIZE).transpose(1, 2)


def cached(o, m, predicate, states):
    """The program that the operators are for."""
    def use(keys, values, states):
        return o.alias(keys, values)

    def recompute(keys, values, states):
        return o.update(project(states), keys), o.update(project(states).flip(2), values)

    return o.cond(predicate, use, recompute, (m.keys, m.values, states))


KEYS_VALUES = {"buffers": ("keys", "values")}


@program(two_values_and_cache, moves=True, same=((0, 0), (1, 2)))
def alias_returns_its_operands(o, m, x, y, c):
    return o.alias(x, c)


@program(value_and_cache, moves=True, same=((0, 1),))
def update_returns_the_cache(o, m, v, c):
    return o.update(v, c)


@program(lambda seed, dtype: (value(seed, dtype, ROWS), cache(dtype)), moves=True, same=((0, 1),))
def update_of_all_rows(o, m, v, c):
    return o.update(v, c)


@program(lambda seed, dtype: (value(seed, dtype, 0), numbers(7, dtype, 1, HEADS, ROWS, SIZE)),
         moves=True)
def update_of_no_rows(o, m, v, c):
    return o.update(v, c).clone()


@program(value_and_cache)
def update_whose_result_is_unused(o, m, v, c):
    o.update(v, c)
    return v + 1


@program(value_and_cache)
def update_then_read_the_operand(o, m, v, c):
    o.update(v, c)
    return c.sum()


@program(value_and_cache)
def read_then_update_then_read(o, m, v, c):
    before = c * 2
    after = o.update(v, c) * 2
    return before, after, c * 2


@program(value_and_cache, moves=True)
def clone_of_the_old_contents(o, m, v, c):
    old = c.clone()
    o.update(v, c)
    return old, c.clone()


@program(value_and_cache, moves=True)
def update_of_a_clone_leaves_the_cache(o, m, v, c):
    copy = c.clone()
    return o.update(v, copy), c.clone()


@program(two_values_and_cache)
def two_updates_each_read_in_turn(o, m, v, w, c):
    first = o.update(v, c).sum()
    second = o.update(w, c).sum()
    return first, second


@program(two_values_and_cache)
def two_live_results_of_one_cache(o, m, v, w, c):
    first = o.update(v, c)
    second = o.update(w, c)
    return first + 1, second + 2


@program(two_values_and_cache)
def the_same_update_again(o, m, v, w, c):
    o.update(v, c)
    first = c + 0
    o.update(w, c)
    o.update(v, c)
    return first, c + 0


@program(value_and_cache)
def result_is_changed_in_place(o, m, v, c):
    o.update(v, c).add_(1)
    return c * 1


@program(value_and_cache)
def pointwise_on_the_result(o, m, v, c):
    return o.update(v, c) * 1.5 + 1, o.alias(c, v)[0] * 2


@program(value_and_cache, moves=True)
def value_overlaps_the_cache(o, m, v, c):
    return o.update(c[:, :, 2:5], c).clone()


@program(value_and_cache)
def value_is_computed_from_the_cache(o, m, v, c):
    return o.update(c[:, :, 1:4] * 2 + v, c) + 0


@program(value_and_cache)
def a_cache_made_inside(o, m, v, c):
    inner = torch.zeros_like(c)
    o.update(v, inner)
    return inner + 0


@program(value_and_cache)
def a_view_of_a_cache(o, m, v, c):
    o.update(v[:, :1], c[:, 1:])
    return c + 0


@program(lambda seed, dtype: (value(seed, dtype), numbers(3, dtype, 2, 1, HEADS, ROWS, SIZE)))
def a_cache_of_all_layers(o, m, v, stack):
    first = o.update(v, stack[0]) + 1
    second = o.update(v * 2, stack[1])
    return first, second + stack[0]


@program(predicate_and_states, calls=4, moves=True, **KEYS_VALUES)
def conditional_cache(o, m, predicate, states):
    keys, values = cached(o, m, predicate, states)
    return keys.clone(), values.clone()


@program(lambda seed, dtype: (numbers(seed, dtype, 1, ROWS, HEADS * SIZE) + 9,), calls=3,
         **KEYS_VALUES)
def predicate_from_the_contents(o, m, states):
    keys, values = cached(o, m, (m.keys != 0).any(), states)
    return keys * 1.5, values + 0


@program(states, calls=3, buffers=("keys", "values", "filled"))
def predicate_from_a_flag(o, m, states):
    keys, values = cached(o, m, m.filled, states)
    m.filled.fill_(True)
    return keys * 1.5, values + 0


@program(position_and_states, calls=5, **KEYS_VALUES)
def predicate_from_the_position(o, m, position, states):
    keys, values = cached(o, m, position[0] > 0, states)
    return keys * 1.5, values + 0


@program(predicate_and_states, calls=4, **KEYS_VALUES)
def pointwise_on_the_result_of_a_cond(o, m, predicate, states):
    keys, values = cached(o, m, predicate, states)
    return keys * 1.5, (values + 1).relu()


@program(predicate_and_states, calls=4, **KEYS_VALUES)
def attention_on_the_result_of_a_cond(o, m, predicate, states):
    keys, values = cached(o, m, predicate, states)
    query = project(states)[:, :, :1]
    scores = (query * 0.5) @ (keys * 0.5).transpose(2, 3)
    return (scores.softmax(-1) @ values,
            scaled_dot_product_attention(query.float(), keys.float(), values.float()))


@program(predicate_and_states, calls=4, **KEYS_VALUES)
def operands_read_before_and_after_a_cond(o, m, predicate, states):
    before = m.keys * 2
    keys, values = cached(o, m, predicate, states)
    return before, keys + m.keys, m.values - 1


@program(predicate_and_caches, calls=4)
def cond_whose_result_is_unused(o, m, predicate, v, c, d):
    def use(v, c, d):
        return c.sum()

    def write(v, c, d):
        o.update(v, c)
        return d.sum()

    o.cond(predicate, use, write, (v, c, d))
    return c + 1


@program(predicate_and_caches, calls=4)
def one_branch_computes_the_other_updates(o, m, predicate, v, c, d):
    def compute(v, c, d):
        a, b = o.alias(c, d)
        return a + b

    def write(v, c, d):
        return o.update(v, c)

    return o.cond(predicate, compute, write, (v, c, d)).clone(), c + 0


@program(predicate_and_caches, calls=4, moves=True)
def branches_return_different_operands(o, m, predicate, v, c, d):
    def one(v, c, d):
        return o.alias(c, d)

    def other(v, c, d):
        return o.alias(d, o.update(v, c))

    x, y = o.cond(predicate, one, other, (v, c, d))
    return x.clone(), y.clone(), c.clone(), d.clone()


@program(predicate_and_caches, calls=4)
def both_branches_update(o, m, predicate, v, c, d):
    def one(v, c, d):
        return o.update(v + 1, c), c.sum()

    def other(v, c, d):
        before = c.sum()
        return o.update(v + 2, c), before

    return o.cond(predicate, one, other, (v, c, d))[1], c + d


@program(predicate_and_caches, calls=4)
def updates_chained_in_a_branch(o, m, predicate, v, c, d):
    def one(v, c, d):
        return o.alias(c, d)

    def other(v, c, d):
        first = o.update(v, c)
        middle = first * 2
        return o.update(v + 1, first), o.update(middle, d)

    x, y = o.cond(predicate, one, other, (v, c, d))
    return x + 1, y + 1


@program(predicate_and_caches, calls=4)
def two_conds_in_a_row(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        return o.update(v, c)

    first = o.cond(predicate, use, write, (v, c))
    second = o.cond(predicate, use, write, (v + 1, d))
    third = o.cond(predicate, write, use, (v + 2, c))
    return first * 2, second * 3, third * 5


@program(predicate_and_caches, calls=4)
def a_cond_in_a_cond(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        return o.update(v, c)

    def outer_write(v, c):
        return o.cond(v.sum() > 0, write, lambda v, c: o.update(v * 2, c), (v, c))

    return o.cond(predicate, use, outer_write, (v, c)) * 2, c + d


@program(predicate_and_caches, calls=4)
def result_of_a_cond_is_changed_in_place(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        return o.update(v, c)

    o.cond(predicate, use, write, (v, c)).mul_(2)
    return c + d


@program(lambda seed, dtype: (numbers(seed, dtype, 1, 4, 8), numbers(5, dtype, 8, 8)),
         calls=3, **KEYS_VALUES)
def projection_shorter_than_the_cache(o, m, states, weight):
    keys = o.update(project(linear(states, weight)), m.keys)
    rows = states.shape[1]
    return keys[:, :, :rows] * 2, m.keys + 0


# From here on, programs in which something has to be copied first.

def predicate_and_stack(seed, dtype):
    """The caches of all layers in one tensor, each layer a view of it."""
    return (torch.tensor(seed % 3 != 0), value(seed, dtype),
            numbers(seed + 100, dtype, 2, 1, HEADS, ROWS, SIZE))


def use_or_write(o, predicate, v, c):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        return o.update(v, c)

    return o.cond(predicate, use, write, (v, c))


@program(predicate_and_stack, calls=4)
def a_cond_on_a_layer_of_a_stack(o, m, predicate, v, stack):
    return use_or_write(o, predicate, v, stack[1]) * 2


@program(predicate_and_stack, calls=4)
def a_cond_on_each_layer_of_a_stack(o, m, predicate, v, stack):
    first = use_or_write(o, predicate, v, stack[0]) * 2
    second = use_or_write(o, predicate, v + 1, stack[1])
    return first, second + stack[0], stack.sum()


def triple_or_write(o, predicate, v, c):
    """PyTorch lets no branch return a tensor with gaps in its memory, but these may be written."""
    def triple(v, c):
        return c * 3

    def write(v, c):
        return o.update(v, c) * 2

    return o.cond(predicate, triple, write, (v, c))


@program(predicate_and_caches, calls=4)
def a_cond_on_some_heads_of_a_cache(o, m, predicate, v, c, d):
    return triple_or_write(o, predicate, v[:, :1], c[:, 1:]) * 2, c + d


@program(predicate_and_caches, calls=4)
def a_cond_on_some_rows_of_a_cache(o, m, predicate, v, c, d):
    return triple_or_write(o, predicate, v, c[:, :, 2:5]) * 2, c + d


@program(predicate_and_caches, calls=4)
def a_cond_on_a_cache_with_swapped_axes(o, m, predicate, v, c, d):
    turned = c.transpose(2, 3)
    return use_or_write(o, predicate, v[:, :, :1].expand(1, HEADS, 2, SIZE).repeat(1, 1, 1, 2)
                        [:, :, :, :ROWS], turned) * 2, c + d


@program(predicate_and_caches, calls=4)
def a_cond_on_a_computed_cache(o, m, predicate, v, c, d):
    return use_or_write(o, predicate, v, c * 2) + c, c + d


@program(predicate_and_caches, calls=4)
def old_contents_are_read_after_a_cond(o, m, predicate, v, c, d):
    old = c.clone()
    new = use_or_write(o, predicate, v, c) * 2
    return new + old, old * 3


@program(predicate_and_caches, calls=4)
def a_part_of_the_old_contents_is_read_after_a_cond(o, m, predicate, v, c, d):
    old = c[:, :, 1:3].clone()
    new = use_or_write(o, predicate, v, c)
    return new[:, :, 1:3] + old


@program(predicate_and_caches, calls=4)
def the_value_is_a_part_of_the_cache_in_a_cond(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        return o.update(c[:, :, 2:5] + 0 * v, o.update(c[:, :, 1:3], c))

    return o.cond(predicate, use, write, (v, c)) * 2, c + d


@program(predicate_and_caches, calls=4)
def a_branch_writes_a_view_of_its_operand(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0]

    def write(v, c):
        o.update(v[:, :1], c[:, 1:])
        return o.alias(c, v)[0]

    return o.cond(predicate, use, write, (v, c)) * 2, c + d


@program(predicate_and_caches, calls=4)
def a_branch_writes_a_cache_of_its_own(o, m, predicate, v, c, d):
    def use(v, c):
        return o.alias(c, v)[0] + 0

    def write(v, c):
        own = c * 2
        kept = own.clone()
        return o.update(v, own) + kept

    return o.cond(predicate, use, write, (v, c)), c + d


@program(predicate_and_caches, calls=4)
def a_branch_returns_one_tensor_twice(o, m, predicate, v, c, d):
    def one(v, c, d):
        twice = o.update(v, c) * 2
        x, y = o.alias(twice, twice)
        return x, y, o.alias(c, d)[0]

    def other(v, c, d):
        x, y = o.alias(d, d)
        return x + 0, y * 2, o.alias(d, c)[0]

    x, y, z = o.cond(predicate, one, other, (v, c, d))
    return x * 1, y * 1, z * 1

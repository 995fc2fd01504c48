"""Programs without a `cond`."""

import torch
from torch.nn.functional import linear

from .inputs import (
    HEADS, ROWS, SIZE, cache, numbers, project, two_values_and_cache, value, value_and_cache)
from .program import KEYS_VALUES, program


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


@program(lambda seed, dtype: (numbers(seed, dtype, 1, 4, 8), numbers(5, dtype, 8, 8)),
         calls=3, **KEYS_VALUES)
def projection_shorter_than_the_cache(o, m, states, weight):
    keys = o.update(project(linear(states, weight)), m.keys)
    rows = states.shape[1]
    return keys[:, :, :rows] * 2, m.keys + 0

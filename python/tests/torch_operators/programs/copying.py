"""Programs with a `cond` in which something has to be copied first."""

import torch

from .inputs import HEADS, ROWS, SIZE, numbers, predicate_and_caches, value
from .program import program


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

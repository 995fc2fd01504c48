"""Programs with a `cond`, as decoders have them."""

from torch.nn.functional import scaled_dot_product_attention

from .inputs import (
    HEADS, ROWS, SIZE, numbers, position_and_states, predicate_and_caches, predicate_and_states,
    project, states)
from .program import KEYS_VALUES, program


def cached(o, m, predicate, states):
    """The program that the operators are for."""
    def use(keys, values, states):
        return o.alias(keys, values)

    def recompute(keys, values, states):
        return o.update(project(states), keys), o.update(project(states).flip(2), values)

    return o.cond(predicate, use, recompute, (m.keys, m.values, states))


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

"""Random conds and loops."""

import torch
from torch._higher_order_ops import map as map_rows, scan

import crosslatch.ops  # noqa: F401

from .drawn import B, LENGTHS, PURE, Env, Scope

DEEPEST = 2


def region(scope, shapes):
    """A scope in which nothing is written, for a branch or a body."""
    inner = Scope(scope.choose, shapes, scope.module, pure=True, depth=scope.depth + 1)
    for _ in range(scope.choose.randint(1, 3)):
        kinds = KINDS if scope.depth + 1 < DEEPEST and scope.choose.random() < 0.2 else PURE
        scope.choose.choice(kinds)(inner)
    return inner


def of_shape(inner, shape):
    """A value of this shape in a region: one that is there, or what is carried, changed."""
    return inner.like(shape)


def cond(scope):
    """Both branches compute a tensor of one shape, or one of them copies an operand."""
    if scope.depth >= DEEPEST:
        return
    operands = [scope.any() for _ in range(scope.choose.randint(1, 3))]
    shapes = [scope.shapes[i] for i in operands]
    branches = [region(scope, shapes) for _ in range(2)]
    wanted = scope.choose.choice(shapes)
    returned = [of_shape(inner, wanted) for inner in branches]
    how = [scope.choose.random() < 0.4 for _ in range(2)]
    by_number = scope.choose.random() < 0.5

    def run(env):
        def branch(which):
            def function(*tensors):
                inner = Env(env.module, env.flag, env.number, list(tensors))
                result = inner.run(branches[which].statements)[returned[which]]
                return (result.clone(memory_format=torch.contiguous_format) if how[which]
                        else (result * 0.5).contiguous(),)
            return function

        decision = env.number > 1 if by_number else env.flag
        return torch.cond(decision, branch(0), branch(1),
                          tuple(env.tensors[i].clone(memory_format=torch.contiguous_format)
                                for i in operands))[0]
    scope.add(run, wanted)


def counted(scope):
    """As many turns as an input says."""
    if scope.depth >= DEEPEST:
        return
    carried = [scope.any() for _ in range(scope.choose.randint(1, 2))]
    shapes = [scope.shapes[i] for i in carried]
    body = region(scope, shapes)
    returned = [of_shape(body, shape) for shape in shapes]

    def run(env):
        def goes_on(turn, *tensors):
            return turn < env.number

        def turn(number, *tensors):
            inner = Env(env.module, env.flag, env.number, list(tensors))
            results = inner.run(body.statements)
            return number + 1, *((results[i] * 0.5).contiguous() for i in returned)

        zero = torch.zeros((), dtype=torch.int64)
        first = [env.tensors[i].clone(memory_format=torch.contiguous_format) for i in carried]
        return torch.while_loop(goes_on, turn, (zero, *first))[1]
    scope.add(run, shapes[0])


def by_rows(scope):
    """A turn for each row, with something carried from one to the next."""
    rows = scope.any(lambda shape: len(shape) > 1 and shape[0] != B)
    if rows is None or scope.depth >= DEEPEST:
        return
    carried, reverse = scope.any(), scope.choose.random() < 0.3
    shape, row = scope.shapes[carried], scope.shapes[rows][1:]
    body = region(scope, [shape, row])
    following, collected = of_shape(body, shape), of_shape(body, row)

    def run(env):
        def turn(state, row):
            inner = Env(env.module, env.flag, env.number, [state, row])
            results = inner.run(body.statements)
            return ((results[following] * 0.5).contiguous(), (results[collected] + 0.5).contiguous())

        first = env.tensors[carried].clone(memory_format=torch.contiguous_format)
        last, all_rows = scan(turn, first, env.tensors[rows].contiguous(), reverse=reverse)
        env.tensors.append(last)
        return all_rows

    # The statement adds two tensors, the last state before the rows.
    scope.shapes.append(shape)
    scope.add(run, scope.shapes[rows])


def mapped(scope):
    rows = scope.any(lambda shape: len(shape) > 1 and shape[0] != B)
    if rows is None or scope.depth >= DEEPEST:
        return
    row = scope.shapes[rows][1:]
    body = region(scope, [row])
    returned = of_shape(body, row)

    def run(env):
        def turn(row):
            inner = Env(env.module, env.flag, env.number, [row])
            return (inner.run(body.statements)[returned] * 2).contiguous()

        return map_rows(turn, env.tensors[rows].contiguous())
    scope.add(run, scope.shapes[rows])


def cached(scope):
    """The two operators: a buffer is filled, or used as it is."""
    if scope.depth > 0:
        return
    length, width = scope.choose.choice(LENGTHS), scope.choose.choice(LENGTHS)
    fills = scope.any(lambda shape: shape == (width,))
    if fills is None:
        return
    module, index = scope.module, len(scope.module.state)
    while hasattr(module, f"cache{index}"):
        index += 1
    name = f"cache{index}"
    module.register_buffer(name, torch.zeros(1, 2, length, width))

    def run(env):
        def use(cache, value):
            return torch.ops.executorch.alias(cache, value)[0]

        def fill(cache, value):
            value = torch.tanh(value).expand(1, 2, length, width).contiguous()
            return torch.ops.executorch.update_cross_attn_cache(value, cache)

        cache = getattr(env.module, name)
        is_filled = (cache != 0).any()
        result = torch.cond(is_filled, use, fill, (cache, env.tensors[fills].clone()))
        return result[0] * 1
    scope.add(run, (2, length, width))


KINDS = [cond, cond, counted, by_rows, mapped, cached]

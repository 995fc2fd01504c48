"""Random modules: what people write, drawn statement by statement.

A module is drawn as a list of statements over tensors of known shapes; a length may be `B`, which differs from call to
call.  Running the list is the module's `forward`, so the tracer, plain PyTorch and the engine see one program.
Statements are elementwise functions, products, reductions, views, lookups, writes in place and to buffers; `control.py`
adds conds and loops, `contents.py` sizes that depend on contents.  All values stay small, and no decision depends on
a sum that another order of adding could turn.
"""

import random

import torch

B = "B"
LENGTHS = (2, 3, 4)


def concrete(shape, batch):
    return tuple(batch if length == B else length for length in shape)


class Statement:
    """One step: what it does with the tensors so far, and the shape of what it adds."""

    def __init__(self, run, shape=None):
        self.run, self.shape = run, shape


class Scope:
    """The tensors that statements see while a program is drawn, by their shapes."""

    def __init__(self, choose, shapes, module, pure=False, depth=0):
        self.choose, self.shapes, self.module = choose, list(shapes), module
        self.pure, self.depth = pure, depth
        self.statements = []
        # Inputs of the caller, and of a region, are never written.
        self.owned = set()

    def add(self, run, shape):
        self.statements.append(Statement(run, shape))
        self.owned.add(len(self.shapes))
        self.shapes.append(shape)

    def effect(self, run):
        self.statements.append(Statement(run))

    def any(self, fits=lambda shape: True):
        found = [i for i, shape in enumerate(self.shapes) if fits(shape)]
        # Later values have more history behind them.
        found = found[len(found) // 2:] if self.choose.random() < 0.6 else found
        return self.choose.choice(found) if found else None

    def like(self, shape):
        return self.any(lambda other: other == shape)

    def parameter(self, *shape):
        return self.module.parameter(shape, self.choose)


class Drawn(torch.nn.Module):
    """A module with this seed: the same seed gives the same module."""

    def __init__(self, seed):
        super().__init__()
        choose = self.choose = random.Random(seed)
        self.generator = torch.Generator().manual_seed(seed)
        self.tables = torch.nn.ParameterList()
        self.inputs = [self.drawn_shape() for _ in range(choose.randint(1, 3))]
        self.state = [(choose.choice(LENGTHS), choose.choice(LENGTHS))
                      for _ in range(choose.randint(0, 2))]
        for i, shape in enumerate(self.state):
            self.register_buffer(f"state{i}", self.numbers(shape))
        from .contents import KINDS as CONTENTS
        from .control import KINDS as CONTROL
        scope = Scope(choose, [*self.inputs, *self.state], self)
        for _ in range(choose.randint(3, 9)):
            kinds = PURE if choose.random() < 0.7 else WRITES
            if choose.random() < 0.15:
                kinds = CONTROL
            if choose.random() < 0.08:
                kinds = CONTENTS
            choose.choice(kinds)(scope)
        self.statements = scope.statements
        count = len(scope.shapes)
        first = len(self.inputs) + len(self.state)
        made = range(first, count) if count > first else range(count)
        self.returned = [choose.choice(made) for _ in range(choose.randint(1, 3))]

    def drawn_shape(self):
        shape = [self.choose.choice(LENGTHS) for _ in range(self.choose.randint(1, 3))]
        if self.choose.random() < 0.6:
            shape[0] = B
        return tuple(shape)

    def numbers(self, shape):
        return torch.randn(shape, generator=self.generator)

    def parameter(self, shape, _):
        self.tables.append(torch.nn.Parameter(self.numbers(shape) * 0.5))
        return len(self.tables) - 1

    @property
    def is_dynamic(self):
        return any(B in shape for shape in self.inputs)

    def call(self, batch, turn):
        """Inputs of a call: two flags, a number, and the tensors."""
        tensors = [self.numbers(concrete(shape, batch)) for shape in self.inputs]
        return (torch.tensor(turn % 2 == 0), torch.tensor((turn * 7 + batch) % 4), *tensors)

    def forward(self, flag, number, *tensors):
        state = [getattr(self, f"state{i}") for i in range(len(self.state))]
        env = Env(self, flag, number, [*tensors, *state])
        env.run(self.statements)
        # Not the same tensor twice, and no input or buffer itself.
        return tuple(env.tensors[i] * 1 for i in self.returned)


class Env:
    """The tensors while a program runs."""

    def __init__(self, module, flag, number, tensors):
        self.module, self.flag, self.number, self.tensors = module, flag, number, tensors

    def table(self, index):
        return self.module.tables[index]

    def run(self, statements):
        for statement in statements:
            result = statement.run(self)
            if statement.shape is not None:
                self.tensors.append(result)
        return self.tensors


# Statements that only compute.

FUNCTIONS = [torch.tanh, torch.sin, torch.sigmoid, torch.relu, torch.nn.functional.gelu,
             lambda x: x.clamp(-1, 1.5), lambda x: x * 0.5 - 1, lambda x: x.abs(), torch.erf,
             lambda x: torch.where(x > 0, x, x * 0.1), lambda x: x.to(torch.float64).to(x.dtype),
             lambda x: torch.softmax(x, -1), lambda x: torch.nn.functional.silu(x),
             lambda x: torch.rsqrt(x * x + 1), lambda x: x.round().to(torch.int64).to(x.dtype)]


def elementwise(scope):
    a, function = scope.any(), scope.choose.choice(FUNCTIONS)
    scope.add(lambda env: function(env.tensors[a]), scope.shapes[a])


def binary(scope):
    a = scope.any()
    b, which = scope.like(scope.shapes[a]), scope.choose.randrange(4)
    functions = [torch.add, torch.sub, torch.maximum, lambda x, y: torch.tanh(x) * torch.tanh(y)]
    scope.add(lambda env: functions[which](env.tensors[a], env.tensors[b]), scope.shapes[a])


def linear(scope):
    a = scope.any(lambda shape: shape and shape[-1] != B)
    if a is None:
        return
    out = scope.choose.choice(LENGTHS)
    weight, bias = scope.parameter(out, scope.shapes[a][-1]), scope.parameter(out)
    scope.add(lambda env: torch.tanh(torch.nn.functional.linear(
        env.tensors[a], env.table(weight), env.table(bias))), (*scope.shapes[a][:-1], out))


def product(scope):
    """Rows times themselves, as attention has it."""
    a = scope.any(lambda shape: len(shape) >= 2)
    if a is None:
        return
    shape = scope.shapes[a]
    scope.add(lambda env: torch.tanh(env.tensors[a] @ env.tensors[a].transpose(-1, -2)),
              (*shape[:-2], shape[-2], shape[-2]))


def norm(scope):
    a = scope.any(lambda shape: shape and shape[-1] not in (B, 1))
    if a is None:
        return
    size = scope.shapes[a][-1]
    weight = scope.parameter(size)
    # Numbers that hardly differ would be divided by nearly nothing.
    scope.add(lambda env: torch.nn.functional.layer_norm(
        env.tensors[a] * 0.1 + env.table(weight), (size,), eps=0.1), scope.shapes[a])


def reduce(scope):
    a = scope.any(lambda shape: len(shape) > 0)
    if a is None:
        return
    shape = scope.shapes[a]
    dim, keep = scope.choose.randrange(len(shape)), scope.choose.random() < 0.5
    function = scope.choose.choice([torch.mean, torch.amax, torch.amin])
    rest = tuple(1 if i == dim else length for i, length in enumerate(shape)
                 if keep or i != dim)
    scope.add(lambda env: function(env.tensors[a], dim, keepdim=keep), rest)


def transpose(scope):
    a = scope.any(lambda shape: len(shape) >= 2)
    if a is None:
        return
    shape = list(scope.shapes[a])
    i, j = scope.choose.sample(range(len(shape)), 2)
    shape[i], shape[j] = shape[j], shape[i]
    scope.add(lambda env: env.tensors[a].transpose(i, j), tuple(shape))


def cut(scope):
    a = scope.any(lambda shape: any(length != B and length > 1 for length in shape))
    if a is None:
        return
    shape = list(scope.shapes[a])
    dims = [i for i, length in enumerate(shape) if length != B and length > 1]
    dim = scope.choose.choice(dims)
    start = scope.choose.randrange(shape[dim] - 1)
    shape[dim] = scope.choose.randint(1, shape[dim] - start)
    length = shape[dim]
    scope.add(lambda env: env.tensors[a].narrow(dim, start, length), tuple(shape))


def select(scope):
    a = scope.any(lambda shape: len(shape) > 1 and shape[0] != B)
    if a is None:
        return
    at = scope.choose.randrange(scope.shapes[a][0])
    scope.add(lambda env: env.tensors[a][at], scope.shapes[a][1:])


def flatten(scope):
    a = scope.any(lambda shape: len(shape) >= 2 and B not in shape[1:])
    if a is None:
        return
    shape, size = scope.shapes[a], 1
    for length in shape[1:]:
        size *= length
    scope.add(lambda env: env.tensors[a].flatten(1), (shape[0], size))


def widen(scope):
    a, times = scope.any(lambda shape: len(shape) < 4), scope.choose.choice(LENGTHS)
    if a is None:
        return
    scope.add(lambda env: env.tensors[a].unsqueeze(0).expand(
        times, *(-1,) * env.tensors[a].dim()), (times, *scope.shapes[a]))


def join(scope):
    a = scope.any(lambda shape: shape and shape[-1] != B)
    if a is None:
        return
    shape = scope.shapes[a]
    b = scope.like(shape)
    scope.add(lambda env: torch.cat([env.tensors[a], env.tensors[b]], -1),
              (*shape[:-1], 2 * shape[-1]))


def stack(scope):
    a = scope.any(lambda shape: len(shape) < 4)
    if a is None:
        return
    b = scope.like(scope.shapes[a])
    scope.add(lambda env: torch.stack([env.tensors[a], env.tensors[b]]), (2, *scope.shapes[a]))


def look_up(scope):
    """Rows by indices that are computed."""
    a = scope.any(lambda shape: shape and shape[0] != B)
    by = scope.any(lambda shape: len(shape) == 1)
    if a is None or by is None:
        return
    rows = scope.shapes[a][0]
    scope.add(lambda env: env.tensors[a][(torch.sigmoid(env.tensors[by]) * rows).long().clamp(
        0, rows - 1)], (*scope.shapes[by], *scope.shapes[a][1:]))


def cumulate(scope):
    a = scope.any(lambda shape: len(shape) > 0)
    if a is None:
        return
    scope.add(lambda env: torch.tanh(env.tensors[a].cumsum(0)), scope.shapes[a])


def scaled_by_size(scope):
    """A size takes part in the numbers."""
    a = scope.any(lambda shape: len(shape) > 0)
    if a is None:
        return
    scope.add(lambda env: env.tensors[a] / (env.tensors[a].shape[0] + 1), scope.shapes[a])


def convolve(scope):
    a = scope.any(lambda shape: len(shape) == 3 and B not in shape[1:])
    if a is None:
        return
    shape, out = scope.shapes[a], scope.choose.choice(LENGTHS)
    weight = scope.parameter(out, shape[1], 3)
    scope.add(lambda env: torch.tanh(torch.nn.functional.conv1d(
        env.tensors[a], env.table(weight), padding=1)), (shape[0], out, shape[2]))


# Statements that write: to values of the program's own, to views of these, to buffers.

def write_in_place(scope):
    a = scope.any()
    if a not in scope.owned:
        return elementwise(scope)
    which = scope.choose.randrange(4)
    scope.add(lambda env: env.tensors[a] * 1, scope.shapes[a])
    own = len(scope.shapes) - 1
    b = scope.like(scope.shapes[a])

    def run(env):
        x = env.tensors[own]
        [lambda: x.mul_(0.5), lambda: x.add_(env.tensors[b] * 1), lambda: x.tanh_(),
         lambda: x.copy_(env.tensors[b] * 2)][which]()
    scope.effect(run)


def write_a_view(scope):
    a = scope.any(lambda shape: shape and shape[-1] != B and shape[-1] > 1)
    if a is None:
        return
    scope.add(lambda env: env.tensors[a].clone(), scope.shapes[a])
    own, at = len(scope.shapes) - 1, scope.choose.randrange(scope.shapes[a][-1])
    scope.add(lambda env: env.tensors[own].select(-1, at), scope.shapes[a][:-1])
    view, which = len(scope.shapes) - 1, scope.choose.randrange(3)

    def run(env):
        x = env.tensors[view]
        [lambda: x.fill_(0.25), lambda: x.mul_(-1), lambda: env.tensors[own].add_(1)][which]()
    scope.effect(run)


def write_a_buffer(scope):
    if not scope.module.state:
        return
    which = scope.choose.randrange(len(scope.module.state))
    shape = scope.module.state[which]
    b, how = scope.like(shape), scope.choose.randrange(4)
    name = f"state{which}"

    def run(env):
        buffer, value = getattr(env.module, name), env.tensors[b] * 1
        [lambda: buffer.mul_(0.5), lambda: buffer.copy_(torch.tanh(value)),
         lambda: buffer[0].copy_(value[-1]), lambda: buffer.add_(torch.tanh(value))][how]()
    scope.effect(run)


def write_a_row_of_a_buffer(scope):
    """At an index that comes from outside, as caches are written."""
    if not scope.module.state:
        return
    which = scope.choose.randrange(len(scope.module.state))
    rows, width = scope.module.state[which]
    b = scope.like((width,))
    if b is None:
        return
    name = f"state{which}"

    def run(env):
        value = torch.tanh(env.tensors[b]).unsqueeze(0)
        at = (env.number % rows).unsqueeze(0)
        getattr(env.module, name).index_copy_(0, at, value)
    scope.effect(run)


PURE = [elementwise, elementwise, binary, binary, linear, product, norm, reduce, transpose, cut,
        select, flatten, widen, join, stack, look_up, cumulate, scaled_by_size, convolve]
WRITES = [write_in_place, write_a_view, write_a_buffer, write_a_buffer, write_a_row_of_a_buffer]

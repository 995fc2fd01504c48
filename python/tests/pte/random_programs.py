"""Random programs: two caches, conds in conds, views, reads of old contents.

A program is drawn as a tree of choices first and then run, so that the tracer and plain Python run the
same one.  `python -m pte.random_programs COUNT [FIRST]`, from `python/tests`, checks many.

What a `cond` returns may be an operand, or not, by the branch that is taken.  Plain Python then says
something else about a later read than a program can that PyTorch traced, where a result is a value
(docs/guide/operators.md).  So results are read at once; or else, with `late`, kept and read whenever it
comes, and what is right is what the traced program gives in PyTorch: `COUNT FIRST late`.
"""

import random
import sys

import torch
from torch_operators.programs.inputs import HEADS, ROWS, SIZE, numbers
from torch_operators.programs.program import Program

CACHES = ("keys", "values")


def inputs(seed, dtype):
    return (torch.tensor(seed % 3 != 0), torch.tensor(seed % 2 != 0),
            numbers(seed, dtype, 1, HEADS, 3, SIZE), numbers(seed + 50, dtype, 1, HEADS, ROWS, SIZE))


def drawn(seed, late=False):
    choose = random.Random(seed)
    steps = _steps(choose, choose.randint(2, 5), depth=0)
    outputs = [choose.random() for _ in range(choose.randint(1, 3))]

    def body(o, m, first, second, value, whole):
        env = _Env(o, (first, second), value, [whole], {"keys": m.keys, "values": m.values}, late)
        for step in steps:
            step(env)
        return tuple(env.pick(share) + 0 for share in outputs)

    return Program(f"random_{seed}", body, inputs, calls=6, buffers=CACHES)


class _Env:
    """What a graph sees: predicates, a value of three rows, whole tensors, the two caches."""

    def __init__(self, o, predicates, value, tensors, caches, late):
        self.o, self.predicates, self.value = o, predicates, value
        self.tensors, self.caches, self.late = tensors, caches, late

    def read(self, result):
        """Keeps a result for others: its contents of now, or the result itself."""
        self.tensors.append(result if self.late else result * 1)

    def pick(self, share):
        everything = [*self.tensors, *self.caches.values()]
        return everything[int(share * len(everything))]

    def rows(self, share, whole):
        """Something to write: three rows, or all."""
        return self.pick(share) * 0.5 + 1 if whole else self.value + 1


def _steps(choose, count, depth):
    kinds = [_compute, _old, _viewed, _update, _cond, _cond] if depth < 2 else \
        [_compute, _old, _viewed, _update]
    return [choose.choice(kinds)(choose, depth) for _ in range(count)]


def _compute(choose, depth):
    a, b, which = choose.random(), choose.random(), choose.randrange(3)

    def step(env):
        x, y = env.pick(a), env.pick(b)
        env.tensors.append([lambda: x + y * 0.5, lambda: (x - y).clamp(-8, 8),
                            lambda: x.relu() + 1][which]())
    return step


def _old(choose, depth):
    cache = choose.choice(CACHES)

    def step(env):
        env.tensors.append(env.caches[cache].clone())
    return step


def _viewed(choose, depth):
    a, which = choose.random(), choose.randrange(3)

    def step(env):
        x = env.pick(a)
        env.tensors.append([
            lambda: (x.view(1, HEADS * ROWS, SIZE) * 2).view(x.shape),
            lambda: x.view(-1).clone().view(x.shape),
            lambda: torch.cat([x[:, :, 2:], x[:, :, :2]], dim=2)][which]())
    return step


def _update(choose, depth):
    cache, a, whole = choose.choice(CACHES), choose.random(), choose.random() < 0.5

    def step(env):
        result = env.o.update(env.rows(a, whole), env.caches[cache])
        if depth == 0:
            env.read(result)
    return step


def _cond(choose, depth):
    predicate, computed = choose.randrange(2), choose.random() < 0.3
    branches = [_branch(choose, depth) for _ in range(2)]
    plain = choose.random() < 0.3 and depth == 0   # a clone in the branch, a copy after it
    cache = choose.choice(CACHES)
    if plain:
        branches = [_plain_branch(choose, cache) for _ in range(2)]

    def step(env):
        decision = env.value.sum() > 0 if computed else env.predicates[predicate]

        def run(branch):
            def function(first, second, value, whole, keys, values):
                inner = _Env(env.o, (first, second), value, [whole],
                             {"keys": keys, "values": values}, env.late)
                return branch(inner)
            return function

        whole = env.tensors[-1] * 1
        result = env.o.cond(decision, run(branches[0]), run(branches[1]),
                            (*env.predicates, env.value, whole, env.caches["keys"],
                             env.caches["values"]))
        if plain:
            env.caches[cache].copy_(result[0])
        env.read(result[0])
    return step


def _branch(choose, depth):
    steps = _steps(choose, choose.randint(0, 2), depth + 1)
    kind, cache = choose.choice(["use", "write", "compute"]), choose.choice(CACHES)
    a, whole = choose.random(), choose.random() < 0.5

    def branch(env):
        for step in steps:
            step(env)
        if kind == "use":
            return (env.o.alias(env.caches[cache], env.value)[0],)
        if kind == "write":
            return (env.o.update(env.rows(a, whole), env.caches[cache]),)
        return (env.pick(a) * 2,)
    return branch


def _plain_branch(choose, cache):
    a, keep = choose.random(), choose.random() < 0.5

    def branch(env):
        return (env.caches[cache].clone() if keep else env.pick(a) * 0.5 + env.value.sum(),)
    return branch


def main(count, first=0, late=False):
    from .running import check
    right = refused = 0
    for seed in range(first, first + count):
        program = drawn(seed, late)
        calls = [program.inputs(i, torch.float32) for i in range(program.calls)]
        try:
            result = check(program, calls, traced=late)
        except AssertionError as reason:
            print(f"{seed}: WRONG: {reason}", flush=True)
        except Exception as reason:  # noqa: BLE001  whatever stops a program is its reason
            refused += 1
            print(f"{seed}: {type(reason).__name__}: {str(reason)[:300]}", flush=True)
        else:
            right += 1
            report = result.reports["forward"]
            print(f"{seed}: right, {len(report.dropped)} dropped, {len(report.kept)} kept", flush=True)
    print(f"{right} right, {refused} refused, {count - right - refused} wrong of {count}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]), late=sys.argv[3:] == ["late"])

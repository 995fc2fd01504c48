"""Statements whose sizes depend on what tensors contain: masks as indices, numbers read from tensors.

What decides a size is an input or is computed from an input exactly, so that no rounding turns a decision.
"""

import torch


def _given(scope):
    """An input of the caller, which is known exactly."""
    inputs = range(len(scope.module.inputs))
    return None if scope.pure or scope.depth else scope.choose.choice(inputs)


def pick_by_a_mask(scope):
    a = _given(scope)
    if a is None:
        return
    b = scope.like(scope.shapes[a])
    scope.add(lambda env: torch.tanh(env.tensors[b][env.tensors[a] > 0].sum() * 0.1), ())


def pick_rows(scope):
    a = _given(scope)
    if a is None:
        return

    def run(env):
        x = env.tensors[a].reshape(env.tensors[a].shape[0], -1)
        rows = x[x[:, 0] > -0.3]
        return torch.cat([rows, torch.ones(1, x.shape[1])]).amax(0).sum().tanh()
    scope.add(run, ())


def write_by_a_mask(scope):
    """One value for each element of the mask."""
    a = _given(scope)
    if a is None:
        return
    b = scope.like(scope.shapes[a])
    scope.add(lambda env: env.tensors[b] * 1, scope.shapes[a])
    own = len(scope.shapes) - 1

    def run(env):
        x, mask = env.tensors[own], env.tensors[a] > 0.2
        x[mask] = x[mask] * 0.5 + 1
    scope.effect(run)


def places(scope):
    a = _given(scope)
    if a is None:
        return
    scope.add(lambda env: torch.tanh(torch.nonzero(env.tensors[a] > 0).sum(0).sum().float() * 0.1), ())


def read_a_number(scope):
    """A number that comes from outside is a length, and a factor."""
    a = scope.any()
    if _given(scope) is None:
        return

    def run(env):
        n = env.number.item()
        torch._check(n >= 0)
        torch._check(n < 8)
        return env.tensors[a] * 0.5 + torch.ones(n).sum() * n * 0.1
    scope.add(run, scope.shapes[a])


def read_what_a_buffer_counts(scope):
    """A buffer is written, and a number is read from it; then it is written again."""
    if _given(scope) is None or not scope.module.state:
        return
    which = scope.choose.randrange(len(scope.module.state))

    def run(env):
        buffer = getattr(env.module, f"state{which}")
        buffer[0, 0] = env.number.to(buffer.dtype)
        n = buffer[0, 0].long().item()
        torch._check(n >= 0)
        torch._check(n < 8)
        buffer[0, 1] = torch.arange(n).sum() * 0.1
        return buffer[0].sum() * 0.5
    scope.add(run, ())


def repeat_by_numbers(scope):
    a = _given(scope)
    if a is None:
        return

    def run(env):
        x = env.tensors[a].flatten()
        return torch.tanh(x.repeat_interleave((x > 0).long() + 1).sum() * 0.1)
    scope.add(run, ())


KINDS = [pick_by_a_mask, pick_rows, write_by_a_mask, places, read_a_number,
         read_what_a_buffer_counts, repeat_by_numbers]

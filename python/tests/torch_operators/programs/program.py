"""Small programs with the two operators, each a way to get them wrong.

A program is written once, against an object with `alias`, `update` and `cond`.  With `Plain` it is
ordinary Python: an `if`, an assignment to a slice, operands returned as they are.  That is what the
program means, and what every mode of PyTorch has to reproduce with the real operators.

`calls` are the inputs of successive calls of one instance, which keeps its buffers.
"""

from dataclasses import dataclass

import torch

from .inputs import cache


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

#: Options of a program that keeps the two caches of cross-attention.
KEYS_VALUES = {"buffers": ("keys", "values")}


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

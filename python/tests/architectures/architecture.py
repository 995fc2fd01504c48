"""Defines an architecture: a module that is exported as it is, and inputs for it.

An architecture is data: what makes the module, and for each argument of its `forward` what draws a value.
Three inputs are drawn, of different lengths where a length may vary.  Arguments that are given as they
are, such as flags, are constants of the exported program.
"""

from dataclasses import dataclass, field
from typing import Any, Callable

import torch
import transformers

from families.family import VOCABULARY, draw_weights

INPUTS = 3
BATCH = 2
# The first input is the example of the export.
LENGTHS = (9, 14, 5)
TARGETS = (5, 7, 4)


@dataclass
class Drawn:
    """An argument: a tensor of this shape, in which a tuple stands for a length that varies."""

    shape: tuple
    draw: Callable  # (shape, generator) → tensor

    def __call__(self, index, generator):
        return self.draw([size[index] if isinstance(size, tuple) else size for size in self.shape],
                         generator)

    def varying(self):
        return {axis: torch.export.Dim.DYNAMIC for axis, size in enumerate(self.shape)
                if isinstance(size, tuple)}


@dataclass
class Architecture:
    name: str
    build: Callable              # () → the module
    arguments: dict[str, Any]    # of `forward`: `Drawn`, or lists and tuples of it, or constants
    # Arguments that stay the same while the others change, as the input of an encoder does.
    latched: tuple = ()
    seed: int = field(default=11)  # of the weights

    def __str__(self):
        return self.name.replace(" ", "-")

    def module(self):
        torch.manual_seed(7)
        return draw_weights(self.build().eval(), self.seed)

    def inputs(self, index, fixed=False):
        """Arguments for one run; with sizes that are `fixed`, of the sizes of the first."""
        generator = torch.Generator().manual_seed(300 + index)
        return {name: _with_drawn(value, lambda drawn: drawn(0 if fixed else index, generator))
                for name, value in self.arguments.items()}

    def varying(self):
        """The sizes that may vary, as `torch.export` wants them; None if there are none."""
        shapes = {name: _with_drawn(value, Drawn.varying, otherwise=None)
                  for name, value in self.arguments.items()}
        return shapes if any(torch.utils._pytree.tree_leaves(shapes)) else None


def _with_drawn(value, change, **otherwise):
    if isinstance(value, Drawn):
        return change(value)
    if isinstance(value, (list, tuple)):
        return type(value)(_with_drawn(part, change, **otherwise) for part in value)
    return otherwise.get("otherwise", value)


def tokens(length=LENGTHS, batch=BATCH, vocabulary=VOCABULARY):
    return Drawn((batch, length), lambda shape, generator: torch.randint(
        3, vocabulary, shape, generator=generator))


def mask(length=LENGTHS, batch=BATCH):
    """Which tokens are text: all of the first row, all but the last two of the others."""
    def draw(shape, generator):
        ones = torch.ones(shape, dtype=torch.int64)
        ones[1:, -2:] = 0
        return ones
    return Drawn((batch, length), draw)


def boxes():
    """For each token, the corners of a box on the page."""
    def draw(shape, generator):
        corner = 0.6 * torch.rand(shape, generator=generator)
        return torch.cat([corner, corner + 0.2], -1)
    return Drawn((BATCH, LENGTHS, 2), draw)


def numbers(*shape):
    return Drawn(shape, lambda shape, generator: torch.randn(shape, generator=generator))


def picture(size=32, batch=BATCH):
    return numbers(batch, 3, size, size)


def made(kind, configuration, **sizes):
    """What makes a model of transformers from the names of its class and its configuration.

    A size may be a configuration itself, made on demand.
    """
    def build():
        settings = {name: value() if callable(value) else value for name, value in sizes.items()}
        return getattr(transformers, kind)(getattr(transformers, configuration)(**settings))
    return build


def configured(configuration, **sizes):
    return lambda: getattr(transformers, configuration)(**sizes)


TEXT = {"input_ids": tokens(), "attention_mask": mask()}
TARGET = {"decoder_input_ids": tokens(TARGETS)}


def seq2seq(name, kind, configuration, **sizes):
    """A text and what was said so far to logits."""
    return Architecture(name, made(kind, configuration, **sizes),
                        {**TEXT, **TARGET, "use_cache": False}, latched=tuple(TEXT))


def decoder(name, kind, configuration, **sizes):
    """A text to the logits of what follows each token."""
    return Architecture(name, made(kind, configuration, **sizes),
                        {"input_ids": tokens(), "use_cache": False})


def encoder(name, kind, configuration, **sizes):
    """A text to states."""
    return Architecture(name, made(kind, configuration, **sizes), dict(TEXT))


def part_of(build, *path):
    """What makes a part of a model, by the names of the attributes that lead to it."""
    def make():
        module = build()
        for name in path:
            module = getattr(module, name)
        return module
    return make

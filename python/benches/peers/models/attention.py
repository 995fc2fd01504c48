"""What the decoders have in common."""

from dataclasses import dataclass

import torch
from torch import nn

#: Tokens that the exported steps have room for.
ROOM = 448


@dataclass
class Shape:
    """Sizes of a decoder, and the length of what is encoded."""

    layers: int
    heads: int
    size: int
    width: int
    source: int


def heads(x, count):
    return x.unflatten(-1, (count, -1)).transpose(1, 2)


def merged(x):
    return x.transpose(1, 2).flatten(2)


def attend(q, k, v, bias=None):
    """Spelled out: what exporters make of the fused operator carries guards against rows that are
    masked entirely, which cost more than the product."""
    scores = q @ k.transpose(2, 3)
    return torch.softmax(scores if bias is None else scores + bias, -1) @ v


def sample(shape, length, lanes=1):
    """Inputs of a step with so many tokens in the caches, of so many sequences."""
    caches = lambda n: [torch.randn(lanes, shape.heads, n, shape.size) for _ in range(2 * shape.layers)]
    return torch.tensor([[7]] * lanes), torch.tensor([length]), caches(length), caches(shape.source)


def shared(q, keys, values):
    """Attention of several texts to keys and values of one: their queries are rows of one product, so what
    they share is read once."""
    if len(q) == len(keys):
        return attend(q, keys, values)
    return attend(q.transpose(0, 2), keys, values).transpose(0, 2)


class Chosen(nn.Module):
    """A step of several texts, each of which continues one of those before: (tokens, position, which one,
    caches)."""

    def __init__(self, step):
        super().__init__()
        self.step = step

    def forward(self, input_ids, position, parents, *caches):
        past = [cache if len(cache) == 1 else cache.index_select(0, parents) for cache in caches]
        return self.step(input_ids, position, *past)

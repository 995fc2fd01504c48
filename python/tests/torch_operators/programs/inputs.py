"""Inputs of the programs: a seed and a data type give tensors of small whole numbers."""

import torch

HEADS, SIZE, ROWS = 2, 4, 6


def cache(dtype=torch.float32, rows=ROWS):
    return torch.zeros(1, HEADS, rows, SIZE).to(dtype)


def numbers(seed, dtype, *shape):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-4, 5, shape, generator=generator).float().to(dtype)


def value(seed, dtype, rows=3):
    return numbers(seed, dtype, 1, HEADS, rows, SIZE)


def value_and_cache(seed, dtype):
    return value(seed, dtype), numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE)


def two_values_and_cache(seed, dtype):
    return (value(seed, dtype), value(seed + 50, dtype),
            numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE))


def states(seed, dtype):
    """Encoder states; each call has other ones, so that a stale cache shows."""
    return (numbers(seed, dtype, 1, ROWS, HEADS * SIZE),)


def predicate_and_states(seed, dtype):
    return torch.tensor(seed % 3 != 0), *states(seed, dtype)


def predicate_and_caches(seed, dtype):
    return (torch.tensor(seed % 3 != 0), value(seed, dtype),
            numbers(seed + 100, dtype, 1, HEADS, ROWS, SIZE),
            numbers(seed + 200, dtype, 1, HEADS, ROWS, SIZE))


def position_and_states(seed, dtype):
    """A first token, two later ones, then the first of another input."""
    return torch.tensor([seed % 3]), *states(seed, dtype)


def project(states):
    """What a projection looks like to the cache: heads split off, axes swapped, not copied."""
    return states.view(1, -1, HEADS, SIZE).transpose(1, 2)

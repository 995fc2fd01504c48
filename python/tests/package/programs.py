"""Small programs, exported by PyTorch for these tests."""

import torch

import crosslatch


def load(module, example, path, threads=1, **options):
    """A module, exported, saved and loaded."""
    exported = torch.export.export(module.eval(), example, strict=False, **options)
    torch.export.save(exported, path)
    return crosslatch.load(path, threads=threads)


def only(outputs):
    (array,) = outputs.values()
    return array


class Twice(torch.nn.Module):
    """Twice the input, of any element type; every element is read in place."""

    def forward(self, x):
        return torch.cat([x, x])


class Sum(torch.nn.Module):
    """The sum of all inputs since the start."""

    def __init__(self):
        super().__init__()
        self.register_buffer("total", torch.zeros(3))

    def forward(self, x):
        self.total.add_(x)
        return self.total + 0


class Slow(torch.nn.Module):
    """Some tenths of a second of work."""

    def __init__(self, size=1024, rounds=24):
        super().__init__()
        self.rounds = rounds
        self.register_buffer("weight", torch.eye(size))

    def forward(self, x):
        for _ in range(self.rounds):
            x = x @ self.weight
        return x

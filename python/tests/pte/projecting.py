"""A decoder's cross-attention with weights: projections in a `cond`, in front of its caches."""

import torch
from torch_operators.programs import Plain, Real

HEADS, SIZE, ROWS = 2, 8, 12
WIDTH = HEADS * SIZE


class Projecting(torch.nn.Module):
    """`operators` say what the program means; two of one seed have the same weights."""

    def __init__(self, layers=1, nested=False, operators=Plain):
        super().__init__()
        torch.manual_seed(0)
        self.layers, self.nested, self.operators = layers, nested, operators
        self.query = torch.nn.Linear(WIDTH, WIDTH)
        for i in range(layers):
            for name in ("keys", "values"):
                self.add_module(f"{name}_{i}_proj", torch.nn.Linear(WIDTH, WIDTH, bias=name == "keys"))
                self.register_buffer(f"{name}_{i}", torch.zeros(1, HEADS, ROWS, SIZE))

    @staticmethod
    def heads(states):
        return states.view(1, -1, HEADS, SIZE).transpose(1, 2)

    def cached(self, i, position, states):
        o = self.operators

        def use(keys, values, states):
            return o.alias(keys, values)

        def write(keys, values, states):
            return tuple(
                o.update(self.heads(getattr(self, f"{name}_{i}_proj")(states)), cache)
                for name, cache in (("keys", keys), ("values", values)))

        def write_either(keys, values, states):
            return o.cond(states.sum() > 0, write, lambda keys, values, states: write(
                keys, values, states + 1), (keys, values, states))

        return o.cond(position[0] > 0, use, write_either if self.nested else write,
                      (getattr(self, f"keys_{i}"), getattr(self, f"values_{i}"), states))

    def forward(self, position, token, count, states):
        hidden = torch.arange(ROWS) >= count
        query, result = self.heads(self.query(token)), 0
        for i in range(self.layers):
            keys, values = self.cached(i, position, states)
            # Products as ExecuTorch lowers them would copy the caches.
            scores = (query * keys).sum(-1).masked_fill(hidden, -1e9)
            result = result + (scores.softmax(-1).unsqueeze(-1) * values).sum(2, keepdim=True)
        return result


@torch.no_grad()
def exported(module, longest=None):
    """With a length of the source up to `longest`, or exactly all rows."""
    module.operators = Real
    length = ROWS if longest is None else 7
    sizes = None if longest is None else (
        None, None, None, {1: torch.export.Dim("length", min=2, max=longest)})
    return torch.export.export(module, calls([length])[0], dynamic_shapes=sizes)


def calls(lengths, steps=1):
    """For each source its first and later steps; a later step's source is not to be looked at."""
    made = []
    for length in lengths:
        for position in range(steps):
            made.append((torch.tensor([position]), torch.randn(1, 1, WIDTH), torch.tensor([length]),
                         torch.randn(1, length, WIDTH)))
    return made

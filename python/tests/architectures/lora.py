"""Low-rank adapters beside a model's linear layers, as fine-tuning leaves them."""

from torch import nn


class Adapted(nn.Module):
    """A linear layer, and a product of two narrow ones that is added to it."""

    def __init__(self, linear, rank):
        super().__init__()
        self.linear = linear
        self.down = nn.Linear(linear.in_features, rank, bias=False)
        self.up = nn.Linear(rank, linear.out_features, bias=False)

    def forward(self, x):
        return self.linear(x) + 0.5 * self.up(self.down(x))


def with_adapters(build, rank):
    """What makes the model with adapters at its queries and values."""
    def make():
        model = build()
        for parent in [module for module in model.modules() if hasattr(module, "q_proj")]:
            parent.q_proj = Adapted(parent.q_proj, rank)
            parent.v_proj = Adapted(parent.v_proj, rank)
        return model
    return make

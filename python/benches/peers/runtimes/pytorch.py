"""PyTorch, eager and compiled by Inductor: `torch.cat` caches, cross-attention computed once."""

import torch

import models
from models import attention

from . import Stepping


class Runtime(Stepping):
    def __init__(self, folder, precision, threads, lanes=1):
        self.lanes = lanes
        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.dtype = torch.bfloat16 if "bf16" in precision else torch.float32
        of = models.model(folder.name)
        model = of.CLASS.from_pretrained(folder / "checkpoint", dtype=self.dtype).eval()
        parts = of.Encoder(model), of.Cross(model), of.Step(model)
        attention.attend = fused
        if "Inductor" in precision:
            torch._inductor.config.freezing = True
            parts = [torch.compile(part, dynamic=name == "Step")
                     for part, name in zip(parts, ("Encoder", "Cross", "Step"))]
        self.encoder, self.cross, self.decoder = parts
        _, _, past, _ = attention.sample(of.shape(model.config), 0, lanes)
        self.empty = [cache.to(self.dtype) for cache in past]
        self.more = []

    def encode(self, given):
        given = torch.from_numpy(given)
        states = self.encoder(given.to(self.dtype) if given.is_floating_point() else given)
        self.states = self.repeated(states)

    def repeated(self, states):
        return states.expand(self.lanes, -1, -1)

    def step(self, token, position):
        if position == 0:
            self.past, self.crosses = self.empty, self.cross(self.states)
        logits, *self.past = self.decoder(torch.tensor([[token]] * self.lanes), torch.tensor([position]),
                                          *self.more, *self.past, *self.crosses)
        return logits[:, -1].float().numpy()


class Beams(Runtime):
    """Texts of one window: what is encoded is theirs together, and each continues one of those before."""

    def __init__(self, folder, precision, threads, lanes):
        super().__init__(folder, precision, threads, lanes)
        self.decoder, self.more = attention.Chosen(self.decoder), [torch.from_numpy(models.parents())]

    def repeated(self, states):
        return states


def fused(q, k, v, bias=None):
    return torch.nn.functional.scaled_dot_product_attention(q, k, v, bias, scale=1.0)

"""Mixtures of experts without decisions.

A layer of experts asks of its input which experts it meets, and computes those for the tokens that chose
them: sizes that the contents of a tensor decide, which a graph cannot have.  Where the weights of all
experts are one tensor, those that were chosen are gathered, by a setting of transformers.  Where each expert
has tensors of its own, each meets every token, and what a token did not choose counts nothing.  That costs as
many products as there are experts in place of the one or two that are chosen.
"""

from contextlib import contextmanager
from fractions import Fraction

import torch
from torch.fx.experimental.symbolic_shapes import statically_known_true
from torch.nn import functional as F


def switch_router(self, hidden_states):
    """`SwitchTransformersTop1Router.forward`, for a router in the model's own type: [B, N, E], [B, N, 1]."""
    logits = self.classifier(hidden_states)
    probabilities = torch.softmax(logits, -1)
    chosen = F.one_hot(probabilities.argmax(-1), self.num_experts)
    chosen = chosen * (chosen.cumsum(-2) <= self.expert_capacity)
    return chosen, probabilities.amax(-1, keepdim=True), logits


def nllb_casts_nothing(self):
    """`NllbMoeTop2Router._cast_classifier`: the router is in the model's own type."""


def nllb_layer(self, hidden_states, padding_mask=None):
    """`NllbMoeSparseMLP.forward`: padding goes to no expert.

    transformers takes the last row of the attention's mask for that of padding.  With a cache of fixed
    length, it is one over the cache; the tokens of a step are never padding.
    """
    batch, length, size = hidden_states.shape
    if padding_mask is not None and not statically_known_true(padding_mask.shape[-1] == length):
        padding_mask = None
    hidden_states = hidden_states.reshape(-1, size)
    with _whole_capacity(self.router, hidden_states.shape[0]):
        chosen, probabilities, _ = self.router(hidden_states, padding_mask)
    return self.experts(hidden_states, chosen, probabilities).reshape(batch, length, size)


@contextmanager
def _whole_capacity(router, tokens):
    """Gives a router the capacity that it would compute, without floats, which a file cannot have there."""
    share, capacity = router.moe_eval_capacity_token_fraction, router.expert_capacity
    if share > 0:
        parts = Fraction(str(share))
        router.expert_capacity = (tokens * parts.numerator + parts.denominator - 1) // parts.denominator
        router.moe_eval_capacity_token_fraction = 0
    try:
        yield
    finally:
        router.moe_eval_capacity_token_fraction, router.expert_capacity = share, capacity


def switch(self, hidden_states, selected_experts, routing_weights):
    """`SwitchTransformersExperts.forward`: [N, D], [N, 1, E] of one and zeros, [N, 1]."""
    return _sum_of_all(self, hidden_states, selected_experts[:, 0] * routing_weights)


def nllb(self, hidden_states, router_mask, router_probs):
    """`NllbMoeExperts.forward`: [N, D], [N, E], [N, E].

    The mask is read as indices of experts, as transformers reads it.
    """
    shares = [torch.where(router_mask == index, router_probs, 0).sum(-1)
              for index in range(self.num_experts)]
    return _sum_of_all(self, hidden_states, torch.stack(shares, -1)) * (1 - self.moe_token_dropout)


def _sum_of_all(experts, hidden_states, shares):
    """The sum of what all experts say, by the share that each has in each token, [N, E]."""
    total = torch.zeros_like(hidden_states)
    for index in range(experts.num_experts):
        total = total + experts[f"expert_{index}"](hidden_states) * shares[:, index, None]
    return total


@contextmanager
def batched_experts(model):
    """Has experts whose weights are one tensor be products with those that each token chose.

    transformers has that as a setting: the weights are gathered by index, so no size depends on the
    choice, and only what was chosen is computed.
    """
    before = getattr(model.config, "_experts_implementation", None)
    if before is None:
        yield
        return
    model.set_experts_implementation("batched_mm")
    try:
        yield
    finally:
        model.set_experts_implementation(before)


FORMS = {
    ("switch_transformers", "SwitchTransformersTop1Router.forward"): switch_router,
    ("nllb_moe", "NllbMoeTop2Router._cast_classifier"): nllb_casts_nothing,
    ("switch_transformers", "SwitchTransformersExperts.forward"): switch,
    ("nllb_moe", "NllbMoeSparseMLP.forward"): nllb_layer,
    ("nllb_moe", "NllbMoeExperts.forward"): nllb,
}

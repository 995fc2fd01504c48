"""The attention that exported programs use: one call of `scaled_dot_product_attention`, in most.

transformers lets others register an attention function and a mask function, and its own ones do not
export well for a number of tokens that is an input: they ask `q_length > 1` to choose between a mask
and the flag `is_causal`, which ties the program to one answer.  Here a mask is always given where
there is one, so the same program takes a prompt of any length and single tokens.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface

NAME = "crosslatch"


def attend(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None,
           position_bias=None, **kwargs):
    """[B, H, T, D] queries to ([B, T, H, D], None), as transformers wants it."""
    groups = getattr(module, "num_key_value_groups", 1)
    if groups > 1:
        key, value = (kv.repeat_interleave(groups, dim=1) for kv in (key, value))
    mask = attention_mask if position_bias is None else biased(position_bias, attention_mask)
    if (cap := kwargs.get("softcap")) is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        out = capped(query, key, value, mask, scaling, cap)
    return out.transpose(1, 2).contiguous(), None


def capped(query, key, value, mask, scaling, cap):
    """Attention whose scores are squeezed into (-cap, cap) before they are masked."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.tanh(query @ key.transpose(2, 3) * (scale / cap)) * cap
    if mask is not None:
        scores = biased(scores, mask)
    return torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype) @ value


def biased(position_bias, mask):
    """A position bias and a mask as one mask to be added."""
    if mask is None:
        return position_bias
    if mask.dtype == torch.bool:
        # The lowest number, not minus infinity: a row that sees nothing must not become NaN.
        return torch.where(mask, position_bias, torch.finfo(position_bias.dtype).min)
    return position_bias + mask


def whole_mask(*args, **kwargs):
    """A boolean mask, always written out where it says anything."""
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, whole_mask)


def _configurations(model):
    found = {id(m.config): m.config for m in model.modules() if hasattr(m, "config")}
    return list(found.values())


@contextmanager
def exportable_attention(model):
    """The model with this attention while the context lasts."""
    before = [(c, c._attn_implementation) for c in _configurations(model)]
    try:
        for config, _ in before:
            config._attn_implementation_internal = NAME
        yield
    finally:
        for config, name in before:
            config._attn_implementation_internal = name

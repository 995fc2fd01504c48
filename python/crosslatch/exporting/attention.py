"""The attention of exported programs: in most, one call of `scaled_dot_product_attention`.

transformers lets others register an attention function and a mask function.  Its own do not export well
if the number of tokens is an input: they test `q_length > 1` to choose between a mask and the flag
`is_causal`, which ties the program to one outcome.  Here the mask is always passed if there is one, so
the same program takes a prompt of any length and single tokens.
"""

from contextlib import contextmanager

import torch
import torch.nn.functional as F
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask
from transformers.modeling_utils import AttentionInterface, PreTrainedModel

NAME = "crosslatch"
# The attribute by which a model says that others may replace its attention.
SUPPORTS = ("_supports_sdpa", "_supports_attention_backend", "_supports_flash_attn",
            "_supports_flex_attn")


def attend(module, query, key, value, attention_mask, dropout=0.0, scaling=None, is_causal=None,
           position_bias=None, **kwargs):
    """Attention for queries [B, H, T, D]; returns ([B, T, H, D], None), as transformers expects."""
    mask = attention_mask if position_bias is None else biased(position_bias, attention_mask)
    groups = query.shape[1] // key.shape[1]
    tokens = query.shape[2]
    if groups > 1:
        # Heads that share keys and values become further rows of one head, so that the caches need
        # not be repeated.
        query = query.reshape(query.shape[0], key.shape[1], groups * tokens, query.shape[3])
        mask = None if mask is None else rows_of_shared_heads(mask, key.shape[1], groups)
    if (cap := kwargs.get("softcap")) is None:
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    else:
        out = capped(query, key, value, mask, scaling, cap)
    out = out.reshape(out.shape[0], -1, tokens, out.shape[3])
    return out.transpose(1, 2).contiguous(), None


def rows_of_shared_heads(mask, heads, groups):
    """[B, 1 or all heads, T, S] for [B, heads, groups · T, S] scores."""
    if mask.shape[1] == 1:
        return mask.repeat(1, 1, groups, 1)
    return mask.reshape(mask.shape[0], heads, -1, mask.shape[3])


def capped(query, key, value, mask, scaling, cap):
    """Attention whose scores are squeezed into (-cap, cap) before they are masked."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    batch, heads, _, _ = query.shape
    # Three axes: with four, the tracer makes a transposed copy of the keys.
    query, key, value = (t.flatten(0, 1) for t in (query, key, value))
    scores = torch.bmm(query, key.transpose(1, 2)).unflatten(0, (batch, heads))
    scores = torch.tanh(scores * (scale / cap)) * cap
    if mask is not None:
        scores = biased(scores, mask)
    shares = torch.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.bmm(shares.flatten(0, 1), value).unflatten(0, (batch, heads))


def biased(position_bias, mask):
    """A position bias and a mask as one additive mask."""
    if mask is None:
        return position_bias
    if mask.dtype == torch.bool:
        # The lowest number, not minus infinity: a row that sees nothing must not become NaN.
        return torch.where(mask, position_bias, torch.finfo(position_bias.dtype).min)
    return position_bias + mask


def whole_mask(*args, **kwargs):
    """A boolean mask, always materialised unless it is trivial."""
    return sdpa_mask(*args, **{**kwargs, "allow_is_causal_skip": False})


AttentionInterface.register(NAME, attend)
AttentionMaskInterface.register(NAME, whole_mask)


def _replaceable(model):
    """The configurations of the parts that let others replace their attention.

    The other parts compute scores themselves, with additive masks; they export as they are.
    """
    parts = [part for part in model.modules() if isinstance(part, PreTrainedModel)]
    own = {id(part.config) for part in parts if not any(getattr(part, s, False) for s in SUPPORTS)}
    return list({id(part.config): part.config for part in parts if id(part.config) not in own}
                .values())


@contextmanager
def exportable_attention(model):
    """Gives the model this attention while the context lasts."""
    before = [(c, c._attn_implementation) for c in _replaceable(model)]
    try:
        for config, _ in before:
            config._attn_implementation_internal = NAME
        yield
    finally:
        for config, name in before:
            config._attn_implementation_internal = name

"""Masks of decoders that make them for tokens without a cache, or for one token at a time.

With a cache of fixed length, a token sees the positions up to its own, and those behind are not written yet.
Decoders whose masks come from transformers' shared functions know that.  Others make none if there is a
cache, because they expect one token at a time and a cache that ends with it; or they make one of as many
positions as have been seen, a size that a tensor decides.  Here they are handed one.
"""

import torch
from torch.nn import functional as F


def fsmt(forward):
    """`FSMTDecoder.forward`, with a mask over the cache."""
    def masked(self, input_ids, encoder_hidden_states, encoder_padding_mask, decoder_padding_mask,
               decoder_causal_mask, past_key_values=None, **kwargs):
        layer = past_key_values.self_attention_cache.layers[0]
        later = torch.arange(layer.get_max_length()) > layer.cache_position[:, None]
        mask = torch.zeros(later.shape).masked_fill(later, -torch.inf)
        return forward(self, input_ids, encoder_hidden_states, encoder_padding_mask, None, mask,
                       past_key_values=past_key_values, **kwargs)
    return masked


def fsmt_positions(self, input, *, past_key_values_length=0):
    """`SinusoidalPositionalEmbedding.forward`, whose table is long enough for the cache."""
    positions = self.make_positions(input, self.padding_idx) + past_key_values_length
    return F.embedding(positions, self.weight)


def pix2struct(forward):
    """`Pix2StructTextModel.forward`, with a mask of no padding over the cache."""
    def masked(self, input_ids=None, attention_mask=None, past_key_values=None, **kwargs):
        if attention_mask is None and past_key_values is not None:
            length = past_key_values.self_attention_cache.layers[0].get_max_length()
            attention_mask = torch.ones(input_ids.shape[0], length, dtype=torch.int64)
        return forward(self, input_ids=input_ids, attention_mask=attention_mask,
                       past_key_values=past_key_values, **kwargs)
    return masked


FORMS = {
    ("fsmt", "SinusoidalPositionalEmbedding.forward"): fsmt_positions,
}
AROUND = {
    ("fsmt", "FSMTDecoder.forward"): fsmt,
    ("pix2struct", "Pix2StructTextModel.forward"): pix2struct,
}

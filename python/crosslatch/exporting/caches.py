"""Caches with the interface that transformers' models expect, made for export.

A transformers decoder keeps no cache itself.  It is handed one and asks it three things: the number of
tokens seen (`get_seq_length`), the size of the mask (`get_mask_sizes`), and the keys and values after
new ones are added (`update`).  So a decoder is exported by handing it caches of ours:

* self-attention: buffers of fixed length, written at `cache_position`, which is an input of the
  program.  "Tokens seen" is then `cache_position[0]`, a tensor, which the models allow because
  transformers' own static cache answers with a tensor too.
* cross-attention: nothing is kept.  `update` returns its arguments, so the traced program computes
  keys and values at every step and says nothing about reuse; finding that out is the task of `latch`.

Positions are those of the whole sequence even for layers with a sliding window: such a layer keeps
all positions and its mask hides the old ones.  That costs memory and keeps the program simple.
"""

import torch
from torch import nn
from transformers.cache_utils import Cache, CacheLayerMixin, DynamicCache, EncoderDecoderCache


class LayerBuffers(nn.Module):
    """The self-attention keys and values of one layer, zero at first."""

    def __init__(self, keys, values, positions):
        """`keys` and `values` are examples, [B, H, any, D]; `positions` is the length to keep."""
        super().__init__()
        for name, example in (("keys", keys), ("values", values)):
            batch, heads, _, size = example.shape
            self.register_buffer(name, example.new_zeros(batch, heads, positions, size))


class BufferLayer(CacheLayerMixin):
    """Writes new keys and values at `cache_position` and hands out the whole buffers."""

    is_sliding = False

    def __init__(self, buffers, cache_position):
        super().__init__()
        self.keys, self.values = buffers.keys, buffers.values
        self.cache_position = cache_position
        self.is_initialized = True

    def lazy_initialization(self, key_states, value_states):
        """Nothing to do: the buffers exist from the start."""

    def update(self, key_states, value_states, *args, **kwargs):
        self.keys.index_copy_(2, self.cache_position, key_states)
        self.values.index_copy_(2, self.cache_position, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length):
        return self.keys.shape[2], 0

    def get_seq_length(self):
        return self.cache_position[0]

    def get_max_length(self):
        return self.keys.shape[2]


class ThroughLayer(CacheLayerMixin):
    """Keeps nothing: returns the keys and values of this step."""

    is_sliding = False

    def lazy_initialization(self, key_states, value_states):
        """Nothing to do: nothing is kept."""

    def update(self, key_states, value_states, *args, **kwargs):
        return key_states, value_states

    def get_mask_sizes(self, query_length):
        return query_length, 0

    def get_seq_length(self):
        return 0

    def get_max_length(self):
        return -1


def make_stack_cache(layers, cache_position):
    """The `past_key_values` of a model of one stack for one step."""
    return Cache(layers=[BufferLayer(buffers, cache_position) for buffers in layers])


def make_cache(layers, cache_position):
    """The `past_key_values` of a decoder for one step."""
    return EncoderDecoderCache(make_stack_cache(layers, cache_position),
                               Cache(layers=[ThroughLayer() for _ in layers]))


def empty_cache():
    """transformers' own cache, for any number of layers: one made by a model may have too few."""
    return EncoderDecoderCache(DynamicCache(), DynamicCache())


def observe_layers(run, positions):
    """The buffers that a decoder needs.

    `run` takes a cache and runs one step with it.  The shapes that it leaves there are the model's,
    whatever its configuration calls heads and sizes.
    """
    cache = empty_cache()
    with torch.no_grad():
        run(cache)
    return _buffers_like(cache.self_attention_cache, positions)


def observe_stack(run, positions):
    """The same for a model of one stack."""
    cache = DynamicCache()
    with torch.no_grad():
        run(cache)
    return _buffers_like(cache, positions)


def _buffers_like(cache, positions):
    layers = cache.layers
    if not layers or any(getattr(layer, "keys", None) is None for layer in layers):
        raise ValueError("its decoder left no self-attention keys and values in the cache it was "
                         "given")
    return nn.ModuleList(LayerBuffers(layer.keys, layer.values, positions) for layer in layers)

"""A Hugging Face Whisper as two exported programs, `encoder` and `decoder`.

The decoder owns its caches as buffers.  Self-attention keys and values are written at
`cache_position`; cross-attention keys and values are computed inside the graph, in the first step
(`cache_position[0] == 0`) only, by a `torch.cond` whose other branch hands back the caches as they
are.  Weights are the model's own modules, used as they stand, so that the eager model is the
oracle for the exported one.
"""

import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "python"))
import crosslatch.ops  # noqa: E402,F401  defines the two operators

ops = torch.ops.executorch


class EncoderProgram(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.encoder = model.model.encoder

    def forward(self, input_features):
        return self.encoder(input_features).last_hidden_state


class LayerCaches(nn.Module):
    """One decoder layer's state, zero at first."""

    def __init__(self, heads, head_size, decoder_positions, encoder_positions):
        super().__init__()
        lengths = {"keys": decoder_positions, "values": decoder_positions,
                   "cross_keys": encoder_positions, "cross_values": encoder_positions}
        for name, length in lengths.items():
            self.register_buffer(name, torch.zeros(1, heads, length, head_size))


class DecoderProgram(nn.Module):
    def __init__(self, model, plain=False):
        super().__init__()
        self.cross_attention = plain_cross_attention if plain else cross_attention
        config = model.config
        self.decoder, self.proj_out = model.model.decoder, model.proj_out
        self.positions = config.max_target_positions
        head_size = config.d_model // config.decoder_attention_heads
        self.caches = nn.ModuleList(
            LayerCaches(config.decoder_attention_heads, head_size, config.max_target_positions,
                        config.max_source_positions) for _ in self.decoder.layers)

    def forward(self, input_ids, cache_position, encoder_hidden_states):
        hidden = self.decoder.embed_tokens(input_ids) \
            + self.decoder.embed_positions.weight[cache_position]
        # A query sees the keys up to its own position; later ones are stale or still zero.
        mask = torch.arange(self.positions)[None, :] <= cache_position[:, None]
        cached = cache_position[0] > 0
        for layer, caches in zip(self.decoder.layers, self.caches):
            normed = layer.self_attn_layer_norm(hidden)
            hidden = hidden + self_attention(layer.self_attn, normed, caches, cache_position, mask)
            normed = layer.encoder_attn_layer_norm(hidden)
            hidden = hidden + self.cross_attention(layer.encoder_attn, normed, caches,
                                                   encoder_hidden_states, cached)
            normed = layer.final_layer_norm(hidden)
            hidden = hidden + layer.fc2(layer.activation_fn(layer.fc1(normed)))
        return self.proj_out(self.decoder.layer_norm(hidden))


def split_heads(attention, states):
    return states.view(1, -1, attention.num_heads, attention.head_dim).transpose(1, 2)


def attend(attention, hidden, keys, values, mask):
    # Scaling the query, not the scores, is what the eager model does; the bits depend on it.
    query = split_heads(attention, attention.q_proj(hidden) * attention.scaling)
    out = F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, scale=1.0)
    return attention.out_proj(out.transpose(1, 2).reshape(1, -1, attention.embed_dim))


def self_attention(attention, hidden, caches, cache_position, mask):
    caches.keys.index_copy_(2, cache_position, split_heads(attention, attention.k_proj(hidden)))
    caches.values.index_copy_(2, cache_position, split_heads(attention, attention.v_proj(hidden)))
    return attend(attention, hidden, caches.keys, caches.values, mask)


def plain_cross_attention(attention, hidden, caches, encoder_hidden_states, cached):
    """The same without the operators: branches that `torch.cond` allows, and buffers that take the
    result.  Run literally, it copies both caches at every step."""
    def use_cached_kv(cached_keys, cached_values, key_value_states):
        return cached_keys.clone(), cached_values.clone()

    def recompute_kv(cached_keys, cached_values, key_value_states):
        return (split_heads(attention, attention.k_proj(key_value_states)).contiguous(),
                split_heads(attention, attention.v_proj(key_value_states)).contiguous())

    keys, values = torch.cond(cached, use_cached_kv, recompute_kv,
                              (caches.cross_keys, caches.cross_values, encoder_hidden_states))
    caches.cross_keys.copy_(keys)
    caches.cross_values.copy_(values)
    return attend(attention, hidden, keys, values, None)


def cross_attention(attention, hidden, caches, encoder_hidden_states, cached):
    def use_cached_kv(cached_keys, cached_values, key_value_states):
        return ops.alias(cached_keys, cached_values)

    def recompute_kv(cached_keys, cached_values, key_value_states):
        keys = split_heads(attention, attention.k_proj(key_value_states)).contiguous()
        values = split_heads(attention, attention.v_proj(key_value_states)).contiguous()
        return (ops.update_cross_attn_cache(keys, cached_keys),
                ops.update_cross_attn_cache(values, cached_values))

    keys, values = torch.cond(cached, use_cached_kv, recompute_kv,
                              (caches.cross_keys, caches.cross_values, encoder_hidden_states))
    return attend(attention, hidden, keys, values, None)


def export_programs(model, decompose=True, plain=False):
    """{"encoder": …, "decoder": …}; the decoder takes any number of tokens at once.  `plain` does
    without the operators."""
    config = model.config
    states = torch.zeros(1, config.max_source_positions, config.d_model)
    features = torch.zeros(1, config.num_mel_bins, 2 * config.max_source_positions)
    tokens = torch.export.Dim("tokens", min=1, max=config.max_target_positions)
    with torch.no_grad():
        programs = {
            "encoder": torch.export.export(EncoderProgram(model).eval(), (features,), strict=False),
            "decoder": torch.export.export(
                DecoderProgram(model, plain).eval(),
                (torch.zeros(1, 4, dtype=torch.int64), torch.arange(4), states), strict=False,
                dynamic_shapes={"input_ids": {1: tokens}, "cache_position": {0: tokens},
                                "encoder_hidden_states": None}),
        }
        if decompose:
            programs = {name: p.run_decompositions({}) for name, p in programs.items()}
    return programs

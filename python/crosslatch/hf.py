"""Puts the conditional cache into models of Hugging Face Transformers.

Whisper's cross-attention already computes its keys and values once, by a Python `if` on a flag that
the cache object carries.  An exported or compiled graph has no such flag: the `if` is decided while
tracing, once and for all.  `use_conditional_cache` makes it part of the graph.  The predicate is the
position that the tokens have in the self-attention cache: at position 0 a new input starts, and the
keys and values are computed afresh, whatever is in the cache.  No flag has to be reset.
"""

import torch

import crosslatch.ops  # noqa: F401  defines the operators

ops = torch.ops.executorch


def use_conditional_cache(model):
    """Swaps the cross-attention of a Hugging Face Whisper, in place, and returns the model.

    The decision needs caches of fixed size: with a `StaticCache` for both parts of the
    `EncoderDecoderCache` keys and values are computed at the first step of each input and reused at
    the later ones, inside the graph.  With caches that grow, the model works as it did.  Encoder
    states may be shorter than the cache; rows that an earlier, longer input left behind are not read.

    `TypeError` if the model has no Whisper decoder.
    """
    from transformers.models.whisper.modeling_whisper import WhisperAttention, WhisperDecoder

    decoders = [module for module in model.modules() if isinstance(module, WhisperDecoder)]
    if not decoders:
        raise TypeError(f"{type(model).__name__} has no Whisper decoder; only Whisper is supported")
    for decoder in decoders:
        for layer in decoder.layers:
            if type(layer.encoder_attn) is WhisperAttention:
                layer.encoder_attn.__class__ = _conditional_attention()
    return model


_CLASSES = []


def _conditional_attention():
    """The attention class, made on demand because it derives from one of Transformers."""
    if _CLASSES:
        return _CLASSES[0]
    from transformers.cache_utils import EncoderDecoderCache, StaticLayer
    from transformers.models.whisper.modeling_whisper import WhisperAttention

    class _Computed(EncoderDecoderCache):
        """Keys and values that are ready, in the form in which the attention looks for them."""

        def __init__(self, index, keys, values):
            self.is_updated = {index: True}
            self.cross_attention_cache = _Layers({index: _Layer(keys, values)})

    class ConditionalWhisperAttention(WhisperAttention):
        """Cross-attention whose keys and values are computed once for each input."""

        def forward(self, hidden_states, key_value_states=None, past_key_values=None, **options):
            if key_value_states is not None and isinstance(past_key_values, EncoderDecoderCache):
                own = _layer(past_key_values.self_attention_cache, self.layer_idx)
                cross = _layer(past_key_values.cross_attention_cache, self.layer_idx)
                if isinstance(own, StaticLayer) and isinstance(cross, StaticLayer):
                    # The layer's self-attention has counted the new tokens already.
                    started = own.cumulative_length > hidden_states.shape[1]
                    keys, values = self._keys_and_values(started, cross, key_value_states)
                    past_key_values.is_updated[self.layer_idx] = True
                    past_key_values = _Computed(self.layer_idx, keys, values)
            return super().forward(hidden_states, key_value_states=key_value_states,
                                   past_key_values=past_key_values, **options)

        def _keys_and_values(self, started, cross, states):
            batch, rows, _ = states.shape
            if not cross.is_initialized:
                empty = states.new_empty(batch, self.num_heads, 1, self.head_dim)
                cross.lazy_initialization(empty, empty)

            def use(keys, values, states):
                return ops.alias(keys, values)

            def recompute(keys, values, states):
                shape = (batch, rows, self.num_heads, self.head_dim)
                return (ops.update_cross_attn_cache(
                            self.k_proj(states).view(shape).transpose(1, 2), keys),
                        ops.update_cross_attn_cache(
                            self.v_proj(states).view(shape).transpose(1, 2), values))

            operands = (cross.keys, cross.values, states)
            if torch.compiler.is_compiling():
                keys, values = torch.cond(started, use, recompute, operands)
            else:
                # What `torch.cond` does in eager mode, without compiling the branches first.
                keys, values = (use if started else recompute)(*operands)
            return keys[:, :, :rows], values[:, :, :rows]

    _CLASSES.append(ConditionalWhisperAttention)
    return ConditionalWhisperAttention


def _layer(cache, index):
    layers = getattr(cache, "layers", ())
    return layers[index] if index < len(layers) else None


class _Layers:
    def __init__(self, layers):
        self.layers = layers


class _Layer:
    def __init__(self, keys, values):
        self.keys, self.values = keys, values

"""Whisper in PyTorch, and the files that only it has."""

import copy
from functools import partial

import torch
import transformers
from torch import nn
from torch.nn import functional

from models import attention
from models.attention import heads, merged

from . import FRAMES, SIZES, VOCABULARY, ggml

CLASS = transformers.WhisperForConditionalGeneration


def build(size):
    torch.manual_seed(0)
    model = CLASS(transformers.WhisperConfig(**{
        "vocab_size": VOCABULARY, "max_source_positions": FRAMES // 2,
        "max_target_positions": attention.ROOM, **SIZES[size]})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if weight.requires_grad and "layer_norm" not in name and not name.endswith("bias"):
                weight.mul_(2)
    return model


def shape(config):
    return attention.Shape(
        layers=config.decoder_layers, heads=config.decoder_attention_heads,
        size=config.d_model // config.decoder_attention_heads, width=config.d_model,
        source=config.max_source_positions)


class Encoder(nn.Module):
    """Features to states."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.heads = model.model.encoder, model.config.encoder_attention_heads

    def forward(self, input_features):
        e = self.inner
        x = functional.gelu(e.conv2(functional.gelu(e.conv1(input_features)))).transpose(1, 2)
        x = x + e.embed_positions.weight
        for layer in e.layers:
            a, y = layer.self_attn, layer.self_attn_layer_norm(x)
            q, k, v = (heads(p(y), self.heads) for p in (a.q_proj, a.k_proj, a.v_proj))
            x = x + a.out_proj(merged(attention.attend(q * a.scaling, k, v)))
            x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
        return e.layer_norm(x)


class Cross(nn.Module):
    """States to the keys and values of all layers, which stay for the window."""

    def __init__(self, model):
        super().__init__()
        self.layers, self.heads = model.model.decoder.layers, model.config.decoder_attention_heads

    def forward(self, states):
        out = []
        for layer in self.layers:
            a = layer.encoder_attn
            out += [heads(a.k_proj(states), self.heads), heads(a.v_proj(states), self.heads)]
        return tuple(out)


class Step(nn.Module):
    """One token: scores, and the self-attention caches with a row more."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.proj = model.model.decoder, model.proj_out
        self.heads = model.config.decoder_attention_heads

    def forward(self, input_ids, position, *caches):
        d, count = self.inner, len(self.inner.layers)
        past, cross = caches[:2 * count], caches[2 * count:]
        x = d.embed_tokens(input_ids) + d.embed_positions.weight[position]
        present = []
        for i, layer in enumerate(d.layers):
            a, y = layer.self_attn, layer.self_attn_layer_norm(x)
            k = torch.cat([past[2 * i], heads(a.k_proj(y), self.heads)], 2)
            v = torch.cat([past[2 * i + 1], heads(a.v_proj(y), self.heads)], 2)
            present += [k, v]
            q = heads(a.q_proj(y) * a.scaling, self.heads)
            x = x + a.out_proj(merged(attention.attend(q, k, v)))
            a, y = layer.encoder_attn, layer.encoder_attn_layer_norm(x)
            q = heads(a.q_proj(y) * a.scaling, self.heads)
            x = x + a.out_proj(merged(attention.shared(q, cross[2 * i], cross[2 * i + 1])))
            x = x + layer.fc2(functional.gelu(layer.fc1(layer.final_layer_norm(x))))
        return self.proj(d.layer_norm(x)), *present


def make_ctranslate2(model, path, quantization=None):
    """CTranslate2's own description of a Whisper, filled from the model."""
    from ctranslate2.converters.transformers import WhisperLoader
    from ctranslate2.specs import WhisperSpec
    # Quantizing writes into the weights that it is given.
    model = copy.deepcopy(model)
    c = model.config
    spec = WhisperSpec(c.encoder_layers, c.encoder_attention_heads, c.decoder_layers,
                       c.decoder_attention_heads)
    loader = WhisperLoader()
    loader.set_encoder(spec.encoder, model.model.encoder)
    loader.set_decoder(spec.decoder, model.model.decoder)
    loader.set_linear(spec.decoder.projection, model.proj_out)
    words = [f"w{i}" for i in range(c.vocab_size)]
    # The ones that the runtime looks for by name.
    for i, word in {50257: "<|endoftext|>", 50258: "<|startoftranscript|>", 50259: "<|en|>",
                    50358: "<|translate|>", 50359: "<|transcribe|>", 50361: "<|startofprev|>",
                    50362: "<|nospeech|>", 50363: "<|notimestamps|>"}.items():
        words[i] = word
    spec.register_vocabulary(words)
    spec.config.suppress_ids, spec.config.suppress_ids_begin = [], []
    spec.config.lang_ids = [50259]
    spec.config.alignment_heads = [(c.decoder_layers - 1, 0)]
    spec.validate()
    spec.optimize(quantization=quantization)
    path.mkdir()
    spec.save(str(path))


def make_ggml(precision):
    """whisper.cpp's file."""
    return lambda model, path: ggml.write(model, path, precision)


MAKERS = {
    "ctranslate2": make_ctranslate2,
    "ctranslate2-int8": partial(make_ctranslate2, quantization="int8"),
    **{f"{precision}.ggml": make_ggml(precision) for precision in ggml.TYPES},
}

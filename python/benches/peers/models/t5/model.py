"""T5 in PyTorch, and the files that only it has."""

import copy
from functools import partial

import torch
import transformers
from torch import nn

from models import attention
from models.attention import ROOM, heads, merged

from . import END, SIZES, SOURCE, START, VOCABULARY

CLASS = transformers.T5ForConditionalGeneration


def build(size):
    torch.manual_seed(0)
    (start,) = START
    model = CLASS(transformers.T5Config(
        vocab_size=VOCABULARY, decoder_start_token_id=start, **SIZES[size])).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            # Drawn so small that nothing would depend on where a token is.
            if "relative_attention_bias" in name:
                weight.mul_(20)
    return model


def shape(config):
    return attention.Shape(layers=config.num_decoder_layers, heads=config.num_heads, size=config.d_kv,
                           width=config.d_model, source=SOURCE)


def projected(module, x, count):
    """Queries, keys and values."""
    return [heads(p(x), count) for p in (module.q, module.k, module.v)]


def fed_forward(layer, x):
    return x + layer.DenseReluDense(layer.layer_norm(x))


class Encoder(nn.Module):
    """Tokens to states."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.heads = model.encoder, model.config.num_heads
        first = self.inner.block[0].layer[0].SelfAttention
        self.register_buffer("bias", first.compute_bias(SOURCE, SOURCE).detach())

    def forward(self, input_ids):
        x = self.inner.embed_tokens(input_ids)
        for block in self.inner.block:
            own, feed = block.layer
            q, k, v = projected(own.SelfAttention, own.layer_norm(x), self.heads)
            x = x + own.SelfAttention.o(merged(attention.attend(q, k, v, self.bias)))
            x = fed_forward(feed, x)
        return self.inner.final_layer_norm(x)


class Cross(nn.Module):
    """States to the keys and values of all layers, which stay for the text."""

    def __init__(self, model):
        super().__init__()
        self.blocks, self.heads = model.decoder.block, model.config.num_heads

    def forward(self, states):
        out = []
        for block in self.blocks:
            a = block.layer[1].EncDecAttention
            out += [heads(a.k(states), self.heads), heads(a.v(states), self.heads)]
        return tuple(out)


class Step(nn.Module):
    """One token: scores, and the self-attention caches with a row more."""

    def __init__(self, model):
        super().__init__()
        self.inner, self.head = model.decoder, model.lm_head
        self.heads, self.scale = model.config.num_heads, model.config.d_model**-0.5
        first = self.inner.block[0].layer[0].SelfAttention
        # What the last of so many tokens adds to its scores, the farthest token first.
        self.register_buffer("bias", first.compute_bias(ROOM, ROOM)[0, :, -1].detach())

    def forward(self, input_ids, position, *caches):
        count = len(self.inner.block)
        past, cross = caches[:2 * count], caches[2 * count:]
        x = self.inner.embed_tokens(input_ids)
        bias = self.bias[:, ROOM - 1 - position + torch.arange(past[0].shape[2] + 1)][None, :, None]
        present = []
        for i, block in enumerate(self.inner.block):
            own, other, feed = block.layer
            q, k, v = projected(own.SelfAttention, own.layer_norm(x), self.heads)
            k, v = torch.cat([past[2 * i], k], 2), torch.cat([past[2 * i + 1], v], 2)
            present += [k, v]
            x = x + own.SelfAttention.o(merged(attention.attend(q, k, v, bias)))
            a = other.EncDecAttention
            q = heads(a.q(other.layer_norm(x)), self.heads)
            x = x + a.o(merged(attention.shared(q, cross[2 * i], cross[2 * i + 1])))
            x = fed_forward(feed, x)
        return self.head(self.inner.final_layer_norm(x) * self.scale), *present


def make_ctranslate2(model, path, quantization=None):
    """As its converter does, with words in the place of a tokenizer's."""
    from ctranslate2.converters.transformers import T5Loader
    # Quantizing writes into the weights that it is given.
    model = copy.deepcopy(model)
    loader = T5Loader()
    spec = loader.get_model_spec(model)
    words = [f"w{i}" for i in range(VOCABULARY)]
    loader.set_vocabulary(spec, words)
    (start,) = START
    spec.config.bos_token = spec.config.decoder_start_token = words[start]
    spec.config.eos_token, spec.config.unk_token = words[END], words[2]
    spec.validate()
    spec.optimize(quantization=quantization)
    path.mkdir()
    spec.save(str(path))


MAKERS = {"ctranslate2": make_ctranslate2,
          "ctranslate2-int8": partial(make_ctranslate2, quantization="int8")}

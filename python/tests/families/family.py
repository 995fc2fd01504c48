"""Defines a family, and what the small configurations have in common.

Weights are drawn so that every part of a model matters: with transformers' own initial values, biases are
zero and scores nearly equal, and many errors would not show.
"""

from dataclasses import dataclass, field
from typing import Callable

import torch
import transformers

VOCABULARY = 99
DECODER_LAYERS = 2  # in every family
BATCH = 2
LONGEST_TEXT = 64
SIZES = dict(vocab_size=VOCABULARY, d_model=32, encoder_layers=1, decoder_layers=DECODER_LAYERS,
             encoder_attention_heads=4, decoder_attention_heads=4, encoder_ffn_dim=48,
             decoder_ffn_dim=48, pad_token_id=0, bos_token_id=1, eos_token_id=2,
             decoder_start_token_id=1)
# The same under the names that most models of one stack use.
STACK = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48,
             num_hidden_layers=DECODER_LAYERS, num_attention_heads=4,
             max_position_embeddings=LONGEST_TEXT)
DECODES = dict(is_decoder=True, add_cross_attention=True)
# A long input, a short one and a medium one: what the first leaves behind must not be seen later.
LENGTHS = (14, 4, 9)


@dataclass
class Family:
    name: str
    kind: str                             # the class of transformers
    config: Callable                      # () → its configuration
    inputs: Callable                      # (length index, generator) → encoder inputs
    options: dict = field(default_factory=dict)   # for `crosslatch.export`
    reason: str = ""                      # a pattern of why it is refused, if it is
    # Of `model.generate`, for an encoder's inputs; the inputs themselves if it is None.
    generating: Callable | None = None
    # (model, inputs) → what the decoder reads; the encoder's last hidden states if it is None.
    states: Callable | None = None
    # Of its weights.  Not every draw makes a model that says something else to every input.
    seed: int = 11

    def __str__(self):
        return self.name.replace(" ", "-")

    def encoded(self, model, inputs):
        """What the decoder reads, in eager PyTorch."""
        if self.states is not None:
            return self.states(model, inputs)
        return model.get_encoder()(**inputs).last_hidden_state

    def model(self):
        """The model with freshly drawn weights and plain greedy decoding."""
        torch.manual_seed(7)
        model = draw_weights(getattr(transformers, self.kind)(self.config()).eval(), self.seed)
        for name in ("eos_token_id", "forced_bos_token_id", "forced_eos_token_id", "max_length",
                     "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"):
            setattr(model.generation_config, name, None)
        return model


@torch.no_grad()
def draw_weights(model, seed):
    generator = torch.Generator().manual_seed(seed)
    for weight in model.parameters():
        if weight.dim() > 1:
            # Small embeddings: where they are the output projection as well, large ones make a
            # model repeat its last token, whatever the layers say.
            scale = 0.3 if weight.shape[0] == VOCABULARY else 1.5
            weight.normal_(std=scale * weight[0].numel() ** -0.5, generator=generator)
        else:
            weight.add_(0.1 * torch.randn(weight.shape, generator=generator))
    return model


def config(name, **sizes):
    """A configuration that is made on demand."""
    return lambda: getattr(transformers, name)(**sizes)


def text(batch=1):
    def inputs(index, generator):
        length = LENGTHS[index]
        ids = torch.randint(3, VOCABULARY, (batch, length), generator=generator)
        mask = torch.ones_like(ids)
        for row in range(batch):  # the last input and every second row are padded
            padding = (length // 3 if index == 2 else 0) + (row % 2)
            mask[row, length - padding:] = 0
        return {"input_ids": ids * mask, "attention_mask": mask}
    return inputs


def values(name, *shapes):
    """Sounds or pictures: numbers of these shapes, in turn."""
    return lambda index, generator: {name: torch.randn(shapes[index % len(shapes)],
                                                       generator=generator)}


def seq2seq(name, configuration, kind, **sizes):
    """Text to text, under the names of sizes that BART introduced."""
    return Family(name, kind, config(configuration, **{**SIZES, **sizes}), text())


def t5(name, configuration, kind, **sizes):
    # transformers makes T5's cache for as many layers as its encoder has, so there are two of each.
    return Family(name, kind, config(configuration, **{**dict(
        vocab_size=VOCABULARY, d_model=32, d_kv=8, d_ff=48, num_layers=DECODER_LAYERS, num_heads=4,
        decoder_start_token_id=0), **sizes}), text())

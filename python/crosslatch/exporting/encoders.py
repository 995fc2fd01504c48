"""The encoders of models as modules for export, by what they take in.

A program names its inputs after the arguments of `forward`, hence one class per kind.  Each gives
`encoder_states`: what the decoder reads, which most encoders return as their last hidden states.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPooling

from .refused import Refused
from .rewriting import rewritten


@dataclass
class EncoderStates(BaseModelOutputWithPooling, BaseModelOutput):
    """An encoder output as the models expect it; some also read a mask from it, or pooled states."""

    attention_mask: torch.Tensor | None = None
    router_logits: tuple | None = None


def as_output(states, mask=None):
    """An encoder's output as the argument of a model, of its own: some models write into it.

    `mask` tells which states there are; most models are given it as an argument, and a few read it here.
    """
    states = states.clone()
    return EncoderStates(last_hidden_state=states, pooler_output=states, attention_mask=mask)


def encoder_states(encoder, **inputs):
    """[B, S, D]: the last states or, where those are a picture, what is made of them for the decoder."""
    output = encoder(**inputs)
    states = output.last_hidden_state
    if states.dim() != 3 and getattr(output, "pooler_output", None) is not None:
        states = output.pooler_output
    if states.dim() != 3:
        raise Refused(f"its encoder's output has the shape {list(states.shape)}; known are positions "
                      "of one size, [B, S, D]")
    return states


class EncoderProgram(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.encoder = model.get_encoder()


class TextEncoder(EncoderProgram):
    @rewritten
    def forward(self, input_ids, attention_mask):
        return encoder_states(self.encoder, input_ids=input_ids, attention_mask=attention_mask)


class PlacesEncoder(EncoderProgram):
    @rewritten
    def forward(self, input_ids, attention_mask, bbox):
        return encoder_states(self.encoder, input_ids=input_ids, attention_mask=attention_mask,
                              bbox=bbox)


class TextAndPictureEncoder(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model.model

    @rewritten
    def forward(self, input_ids, attention_mask, pixel_values):
        seen = self.model.get_image_features(pixel_values).pooler_output
        embedded = self.model.get_input_embeddings()(input_ids)
        mask = self.model.get_placeholder_mask(input_ids, embedded, seen)
        return encoder_states(self.model.get_encoder(), attention_mask=attention_mask,
                              inputs_embeds=embedded.masked_scatter(mask, seen))


class SpectrogramEncoder(EncoderProgram):
    @rewritten
    def forward(self, input_features):
        return encoder_states(self.encoder, input_features=input_features)


class ComposedEncoder(EncoderProgram):
    def __init__(self, model):
        super().__init__(model)
        self.mel_conditioner = model.mel_conditioner

    @rewritten
    def forward(self, input_features, composer):
        embedded = self.mel_conditioner(input_features, composer, 0)
        return encoder_states(self.encoder, inputs_embeds=embedded)


class WaveformEncoder(EncoderProgram):
    @rewritten
    def forward(self, input_values):
        return encoder_states(self.encoder, input_values=input_values)


class PictureEncoder(EncoderProgram):
    @rewritten
    def forward(self, pixel_values):
        return encoder_states(self.encoder, pixel_values=pixel_values)


class PatchesEncoder(EncoderProgram):
    @rewritten
    def forward(self, flattened_patches, attention_mask):
        return encoder_states(self.encoder, flattened_patches=flattened_patches,
                              attention_mask=attention_mask)


ENCODERS = {
    ("input_ids", "attention_mask"): TextEncoder,
    ("input_ids", "attention_mask", "bbox"): PlacesEncoder,
    ("input_ids", "attention_mask", "pixel_values"): TextAndPictureEncoder,
    ("input_features",): SpectrogramEncoder,
    ("input_features", "composer"): ComposedEncoder,
    ("input_values",): WaveformEncoder,
    ("pixel_values",): PictureEncoder,
    ("flattened_patches", "attention_mask"): PatchesEncoder,
}


def encoder_module(model, source):
    return ENCODERS[tuple(source.inputs)](model)

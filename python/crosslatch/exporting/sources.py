"""The inputs of an encoder: their names, examples, and the sizes that may vary.

transformers gives only the name of a model's main input; its sizes are in the configuration, under names
that differ between kinds of models.  Text has a mask, because a batch of texts has padding, and so have
the patches of pictures of many sizes; sounds and pictures of one size have none here (one sound at a time,
or windows of one length).
"""

from dataclasses import dataclass, field
from inspect import signature
from typing import Callable

import torch
from torch.export import Dim

from .refused import Refused

DEFAULT_TEXT_LENGTH = 512
DEFAULT_PATCHES = 4096
DEFAULT_PICTURE = 768  # pixels to a side
DEFAULT_SECONDS = 30
FRAMES_PER_SECOND = 100
SUBSAMPLING = 8  # most frames per position, if the configuration does not say


@dataclass
class Input:
    example: torch.Tensor
    varying: dict = field(default_factory=dict)  # axis → Dim
    # (shape, generator) → contents like those of a real input
    draw: Callable = lambda shape, generator: torch.randn(shape, generator=generator)


@dataclass
class Source:
    """The inputs of an encoder program, by name."""

    inputs: dict

    @property
    def masked(self):
        return "attention_mask" in self.inputs

    def arguments(self):
        return {name: one.example for name, one in self.inputs.items()}

    def drawn(self):
        """Inputs like the example, with random contents."""
        generator = torch.Generator().manual_seed(0)
        return {name: one.draw(one.example.shape, generator) for name, one in self.inputs.items()}

    def dynamic_shapes(self):
        return {name: one.varying for name, one in self.inputs.items()}


def first_of(config, *names):
    """The value of the first setting that is a number in the configuration."""
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, int) and value > 0:
            return value
    return None


def source_of(model, batch, longest=None):
    """The source of a model; `longest` is in the units of its varying axis."""
    encoder = model.get_encoder()
    name = getattr(encoder, "main_input_name", None) or model.main_input_name
    # What a family takes beside its main input, or in place of it.
    if hasattr(model, "mel_conditioner"):
        return composed(model.config, batch, longest)
    if hasattr(encoder, "cell_2d_embedding"):
        return places(encoder.config, batch, longest)
    if name == "input_ids" and hasattr(model.config, "vision_config"):
        return text_and_picture(model, batch, longest)
    makers = {"input_ids": text, "input_features": features, "input_values": waveform,
              "pixel_values": picture, "flattened_patches": patches}
    if name not in makers:
        raise Refused(f"its encoder takes {name!r}; known are {', '.join(makers)}")
    asked = list(signature(type(model).generate).parameters)[1]
    if asked in makers and asked != name:
        raise Refused(f"its encoder takes {name!r}, and what makes that of {asked!r} is neither in "
                      "its encoder nor in its decoder")
    return makers[name](getattr(encoder, "config", model.config), batch, longest)


def text(config, batch, longest):
    longest = longest or first_of(config, "max_position_embeddings", "n_positions",
                                  "max_encoder_position_embeddings",
                                  "max_source_positions") or DEFAULT_TEXT_LENGTH
    vocabulary = first_of(config.get_text_config(), "vocab_size", "src_vocab_size")
    if vocabulary is None:
        raise Refused("its configuration does not say how many tokens its encoder knows")
    ids = torch.ones(batch, min(7, longest), dtype=torch.int64)
    varying = {1: Dim("source", min=1, max=longest)}
    return Source({
        "input_ids": Input(ids, varying, lambda shape, generator: torch.randint(
            0, vocabulary, shape, generator=generator)),
        "attention_mask": Input(torch.ones_like(ids), varying, padded)})


def padded(shape, generator):
    """A mask with padding behind the first two thirds."""
    mask = torch.ones(shape, dtype=torch.int64)
    mask[:, shape[1] - shape[1] // 3:] = 0
    return mask


def places(config, batch, longest):
    """A text and, for each token, the corners of a box on the page, from 0 to 1."""
    source = text(config, batch, longest)
    ids = source.inputs["input_ids"]

    def draw(shape, generator):
        corner = 0.5 * torch.rand(*shape[:2], 2, generator=generator)
        return torch.cat([corner, corner + 0.25], -1)

    source.inputs["bbox"] = Input(torch.zeros(*ids.example.shape, 4), ids.varying, draw)
    return source


def text_and_picture(model, batch, longest):
    """A text with a picture, which takes the places of certain tokens in front."""
    token = first_of(model.config, "image_token_id", "image_token_index")
    size = first_of(model.config.vision_config, "image_size") or DEFAULT_PICTURE
    seen = torch.zeros(batch, 3, size, size)
    with torch.no_grad():
        count = model.get_image_features(seen).pooler_output.shape[1]
    source = text(model.config.get_text_config(), batch, longest)
    ids = source.inputs["input_ids"]
    most = ids.varying[1].max
    if most <= count:
        raise Refused(f"a picture takes {count} places of a text, and its encoder has {most}")

    def draw(shape, generator):
        drawn = torch.randint(0, token, shape, generator=generator)
        drawn[:, :count] = token
        return drawn

    length = min(count + 7, most)
    varying = {1: Dim("source", min=count, max=most)}
    example = draw((batch, length), torch.Generator().manual_seed(0))
    return Source({"input_ids": Input(example, varying, draw),
                   "attention_mask": Input(torch.ones_like(example), varying, lambda shape, _: (
                       torch.ones(shape, dtype=torch.int64))),
                   "pixel_values": Input(seen)})


def features(config, batch, longest):
    """Spectrograms: [B, bins, frames] of one length for Whisper, [B, frames, bins] for others."""
    bins = first_of(config, "num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim")
    if bins is None:
        raise Refused("its configuration does not say how many bins a frame has")
    if config.model_type == "whisper":
        return Source({"input_features": Input(
            torch.zeros(batch, bins, 2 * config.max_source_positions))})
    longest = longest or first_of(config, "max_source_positions") \
        or DEFAULT_SECONDS * FRAMES_PER_SECOND
    # More than one position: the tracer assumes that a size that can be 1 is broadcast.
    least = (first_of(config, "subsampling_factor") or SUBSAMPLING) + 1
    return Source({"input_features": Input(
        torch.zeros(batch, min(50, longest), bins),
        {1: Dim("frames", min=min(least, longest), max=longest)})})


def composed(config, batch, longest):
    """A spectrogram, and the number of the composer in whose style it is to be played."""
    longest = longest or DEFAULT_TEXT_LENGTH
    return Source({
        "input_features": Input(torch.zeros(batch, min(7, longest), config.d_model),
                                {1: Dim("frames", min=1, max=longest)}),
        "composer": Input(torch.zeros(batch, dtype=torch.int64), {}, lambda shape, generator: (
            torch.randint(0, config.composer_vocab_size, shape, generator=generator)))})


def waveform(config, batch, longest):
    rate = first_of(config, "sampling_rate", "sample_rate") or 16000
    longest = longest or DEFAULT_SECONDS * rate
    return Source({"input_values": Input(
        torch.zeros(batch, min(2 * rate, longest)),
        {1: Dim("samples", min=min(rate // 10, longest), max=longest)})})


def picture(config, batch, longest):
    size = getattr(config, "image_size", None)
    height, width = (size, size) if isinstance(size, int) else size or (None, None)
    if height is None:
        raise Refused("its configuration does not say how large a picture is")
    return Source({"pixel_values": Input(
        torch.zeros(batch, first_of(config, "num_channels") or 3, height, width))})


def patches(config, batch, longest):
    """Patches of a picture, each with its row and its column in front."""
    longest = longest or DEFAULT_PATCHES
    count, rows = min(7, longest), config.seq_len

    def draw(shape, generator):
        drawn = torch.randn(shape, generator=generator)
        drawn[..., :2] = torch.randint(0, rows, [*shape[:2], 2], generator=generator)
        return drawn

    varying = {1: Dim("patches", min=1, max=longest)}
    return Source({
        "flattened_patches": Input(torch.zeros(batch, count, 2 + config.patch_embed_hidden_size),
                                   varying, draw),
        "attention_mask": Input(torch.ones(batch, count, dtype=torch.int64), varying, padded)})

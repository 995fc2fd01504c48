"""The input of an encoder: its name, an example, and the sizes that may vary.

transformers gives only the name of a model's main input; its sizes are in the configuration, under names
that differ between kinds of models.  Text has a mask, because a batch of texts has padding;
sounds and pictures have none here (one sound at a time, or windows of one length).
"""

from dataclasses import dataclass
from inspect import signature

import torch
from torch.export import Dim

from .refused import Refused

DEFAULT_TEXT_LENGTH = 512
DEFAULT_SECONDS = 30
FRAMES_PER_SECOND = 100
SUBSAMPLING = 8  # most frames per position, if the configuration does not say


@dataclass
class Source:
    """The inputs of an encoder program."""

    name: str                      # the encoder's main input
    example: torch.Tensor
    varying: dict                  # axis → Dim
    vocabulary: int | None = None  # of text, which comes with `attention_mask` of the same size

    @property
    def masked(self):
        return self.vocabulary is not None

    def arguments(self):
        return {self.name: self.example} | (
            {"attention_mask": torch.ones_like(self.example)} if self.masked else {})

    def drawn(self):
        """Inputs like the example, with random contents; the end of a text is padding."""
        generator = torch.Generator().manual_seed(0)
        shape = self.example.shape
        if not self.masked:
            return {self.name: torch.randn(shape, generator=generator)}
        mask = torch.ones_like(self.example)
        mask[:, shape[1] - shape[1] // 3:] = 0
        return {self.name: torch.randint(0, self.vocabulary, shape, generator=generator),
                "attention_mask": mask}

    def dynamic_shapes(self):
        return dict.fromkeys(self.arguments(), self.varying)


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
    makers = {"input_ids": text, "input_features": features, "input_values": waveform,
              "pixel_values": picture}
    if name not in makers:
        raise Refused(f"its encoder takes {name!r}; known are {', '.join(makers)}")
    asked = list(signature(type(model).generate).parameters)[1]
    if asked in makers and asked != name:
        raise Refused(f"its encoder takes {name!r}, and what makes that of {asked!r} is neither in "
                      "its encoder nor in its decoder")
    if name == "input_ids" and hasattr(model.config, "vision_config"):
        raise Refused("its encoder takes text and pictures together")
    return makers[name](getattr(encoder, "config", model.config), batch, longest)


def text(config, batch, longest):
    longest = longest or first_of(config, "max_position_embeddings", "n_positions",
                                  "max_source_positions") or DEFAULT_TEXT_LENGTH
    vocabulary = first_of(config.get_text_config(), "vocab_size", "src_vocab_size")
    if vocabulary is None:
        raise Refused("its configuration does not say how many tokens its encoder knows")
    return Source("input_ids", torch.ones(batch, min(7, longest), dtype=torch.int64),
                  {1: Dim("source", min=1, max=longest)}, vocabulary)


def features(config, batch, longest):
    """Spectrograms: [B, bins, frames] of one length for Whisper, [B, frames, bins] for others."""
    bins = first_of(config, "num_mel_bins", "input_feat_per_channel", "feature_projection_input_dim")
    if bins is None:
        raise Refused("its configuration does not say how many bins a frame has")
    if config.model_type == "whisper":
        return Source("input_features",
                      torch.zeros(batch, bins, 2 * config.max_source_positions), {})
    longest = longest or first_of(config, "max_source_positions") \
        or DEFAULT_SECONDS * FRAMES_PER_SECOND
    # More than one position: the tracer assumes that a size that can be 1 is broadcast.
    least = (first_of(config, "subsampling_factor") or SUBSAMPLING) + 1
    return Source("input_features", torch.zeros(batch, min(50, longest), bins),
                  {1: Dim("frames", min=min(least, longest), max=longest)})


def waveform(config, batch, longest):
    rate = first_of(config, "sampling_rate", "sample_rate") or 16000
    longest = longest or DEFAULT_SECONDS * rate
    return Source("input_values", torch.zeros(batch, min(2 * rate, longest)),
                  {1: Dim("samples", min=min(rate // 10, longest), max=longest)})


def picture(config, batch, longest):
    size = getattr(config, "image_size", None)
    height, width = (size, size) if isinstance(size, int) else size or (None, None)
    if height is None:
        raise Refused("its configuration does not say how large a picture is")
    return Source("pixel_values",
                  torch.zeros(batch, first_of(config, "num_channels") or 3, height, width), {})

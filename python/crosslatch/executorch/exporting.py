"""A Hugging Face encoder–decoder model as one `.pte`: `encoder`, `latch`, `decoder`.

* `encoder`: the source → `last_hidden_state`
* `latch`: `encoder_hidden_states` → nothing; fills the caches of the cross-attention
* `decoder`: one token, `input_ids` [B, 1], and its position, `cache_position` [1], for text also
  `encoder_attention_mask` [B, S] → logits [B, 1, V]

The inputs of a method are in the order of the names here.  All sizes are fixed, which is what delegates
are best at: a text is padded to S, and its mask says so.  A prompt is decoded token by token.

Attention is taken apart into products before latching (`attention`), so what is latched is what the
products read, in the layout in which they read it.
"""

import copy
import sys
from pathlib import Path

import torch
from executorch.exir import ExecutorchBackendConfig
from torch.export import default_decompositions

from ..exporting import check_supported, first_of, is_two_stacks, load
from ..exporting.archive import describing_files, published_files
from ..exporting.attention import exportable_attention
from ..exporting.caches import observe_layers
from ..exporting.encoders import encoder_module
from ..exporting.forms import exportable_forms
from ..exporting.programs import DecoderProgram, step, traced
from ..exporting.refused import Refused
from ..exporting.sources import source_of
from ..exporting.storing import is_wide
from ..latching import latch_functional
from . import lower
from .attention import ATTENTION, of_one_token
from .methods import split

SOURCE = 128    # tokens of a text, if nobody says how many
TOKENS = 512


def export_pte(model_or_path, path, *, batch=1, max_tokens=None, max_source=None, partitioner=None,
               config=None, tokenizer=None, feature_extractor=None,
               say=lambda line: print(line, file=sys.stderr)):
    """Writes a model to `path`, its tokenizer and configurations beside it; returns what was lowered.

    The options are those of `crosslatch.export`.  `partitioner` is XNNPACK's by default; an empty list
    delegates nothing.
    """
    model = model_or_path
    if not isinstance(model, torch.nn.Module):
        say(f"loading {model_or_path}")
        model, tokenizer, feature_extractor = load(model_or_path, tokenizer, feature_extractor)
    check_supported(model)
    if not is_two_stacks(model):
        raise Refused(f"{type(model).__name__} is not an encoder–decoder model, which .pte files are of")
    if not is_wide(model):
        model = copy.deepcopy(model).float()
    training = model.training
    try:
        programs, report = export_methods(model.eval(), batch, max_tokens, max_source, say)
    finally:
        model.train(training)
    if partitioner is None:
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        partitioner = [XnnpackPartitioner()]
    say("lowering")
    lowered = lower(programs, partitioner, config or default_config())
    say(f"writing {path}")
    lowered.save(path)
    files = describing_files(model, tokenizer, feature_extractor)
    if tokenizer is None and not isinstance(model_or_path, torch.nn.Module):
        files.update(published_files(model_or_path))
    for name, content in files.items():
        Path(path).with_name(name).write_bytes(
            content if isinstance(content, bytes) else content.encode())
    lowered.files, lowered.latched = sorted(files), report
    return lowered


def default_config():
    # The self-attention writes one row of its caches in place.
    return ExecutorchBackendConfig(run_reinplace_pass=True)


def export_methods(model, batch=1, max_tokens=None, max_source=None, say=lambda line: None):
    """{"encoder": …, "latch": …, "decoder": …} as exported programs, and what latching found."""
    say("tracing the encoder")
    encoder, states, masked = encoder_program(model, batch, max_source)
    say("tracing the decoder")
    decoder = decoder_program(model, states, masked, max_tokens)
    # Not the mask: what takes it would then depend on what is worth keeping, model by model.
    latched = latch_decoder(decoder, ["encoder_hidden_states"])
    say(str(latched.latch_report).splitlines()[0])
    methods = split(latched, ("latch", "decoder"))
    return {"encoder": encoder} | methods, latched.latch_report


def latch_decoder(program, inputs):
    """The decoder with what depends on these inputs alone in a `cond`."""
    program = of_one_token(program, inputs)
    # The attention of several rows, as of heads that share keys, in PyTorch's form.
    program = program.run_decompositions({ATTENTION: default_decompositions()[ATTENTION]})
    return latch_functional(program, inputs)


def encoder_program(model, batch=1, max_source=None):
    """The encoder's program, an example of its output, and whether the source has a mask."""
    source = source_of(model, batch, max_source)
    for one in source.inputs.values():
        for axis in one.varying:
            longest = max_source or (SOURCE if source.masked else one.example.shape[axis])
            shape = list(one.example.shape)
            shape[axis] = min(longest, one.varying[axis].max)
            one.example = one.example.new_ones(shape)
    with exportable_attention(model), exportable_forms(model), torch.no_grad():
        module = encoder_module(model, source)
        program = traced("encoder", module, source.arguments(), None)
        states = module(**source.arguments())
    return program, states, source.masked


def decoder_program(model, states, masked, max_tokens=None):
    """One token of the decoder, the cross-attention computed from the encoder's output."""
    config = model.config.get_text_config(decoder=True)
    tokens = max_tokens or first_of(config, "max_target_positions", "max_text_positions",
                                    "max_position_embeddings", "n_positions") or TOKENS
    batch, length, _ = states.shape
    arguments = {"input_ids": torch.zeros(batch, 1, dtype=torch.int64),
                 "cache_position": torch.arange(1), "encoder_hidden_states": states}
    mask = torch.ones(batch, length, dtype=torch.int64) if masked else None
    if masked:
        arguments["encoder_attention_mask"] = mask
    with exportable_attention(model), torch.no_grad():
        layers = observe_layers(lambda cache: step(model, cache, arguments["input_ids"], states, mask),
                                tokens)
        with exportable_forms(model):
            program = traced("decoder", DecoderProgram(model, layers), arguments, None)
    return program

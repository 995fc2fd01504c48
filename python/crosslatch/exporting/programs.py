"""A Hugging Face model as exported programs: encoder and decoder, or one stack.

The encoder program is the model's encoder.  The decoder program is the whole model, handed an encoder
output and caches of ours (`caches`), so the parts around the decoder in some families (a projection of
the encoder output, scaled embeddings, a bias on the logits) need no code of their own.

* encoder (`encoders`): the source (`sources`) → the states that the decoder reads
* decoder: `input_ids` [B, T], `cache_position` [T], `encoder_hidden_states` [B, S, D], for text also
  `encoder_attention_mask` [B, S] → logits [B, T, V]

A model of one stack (GPT-2, Llama …) is a `decoder` alone, without the inputs about an encoder.

T is any number from 1; S is too where the source varies in length.  B is fixed, because the caches
are.
"""

import logging
from contextlib import contextmanager, redirect_stderr
from io import StringIO

import torch
from torch import nn
from torch.export import Dim
from torch.utils._sympy.value_ranges import bound_sympy

from .attention import exportable_attention
from .caches import make_cache, make_stack_cache, observe_layers, observe_stack
from .encoders import as_output, encoder_module
from .forms import exportable_forms
from .refused import Refused
from .rewriting import rewritten

EXAMPLE_TOKENS = 4
MESSAGE_LENGTH = 1000  # of the tracer's own message in a refusal
# Phrases in the tracer's messages, and what they mean.
SIGNS = {
    "GuardOnDataDependent": "its code decides by what a tensor contains, and a graph cannot",
    "Specializations unexpectedly required": "its code ties the graph to the example's length",
    "Constraints violated": "its code ties the graph to some lengths",
    "Cannot create Dim with inconsistent": "its code ties the graph to some lengths",
}


class DecoderProgram(nn.Module):
    def __init__(self, model, layers):
        super().__init__()
        self.model, self.caches = model, layers

    @rewritten
    def forward(self, input_ids, cache_position, encoder_hidden_states,
                encoder_attention_mask=None):
        return step(self.model, make_cache(self.caches, cache_position), input_ids,
                    encoder_hidden_states, encoder_attention_mask).logits


class StackProgram(nn.Module):
    def __init__(self, model, layers):
        super().__init__()
        self.model, self.caches = model, layers

    @rewritten
    def forward(self, input_ids, cache_position):
        return stack_step(self.model, make_stack_cache(self.caches, cache_position), input_ids).logits


def stack_step(model, cache, input_ids):
    """One call of a model of one stack."""
    return model(input_ids=input_ids, past_key_values=cache, use_cache=True)


def step(model, cache, input_ids, encoder_hidden_states, encoder_attention_mask=None):
    """One call of the decoder."""
    masks = {} if encoder_attention_mask is None else {"attention_mask": encoder_attention_mask}
    states = as_output(encoder_hidden_states, encoder_attention_mask)
    return model(encoder_outputs=states, decoder_input_ids=input_ids, past_key_values=cache,
                 use_cache=True, **masks)


def export_encoder(model, source):
    with exportable_attention(model), exportable_forms(model), torch.no_grad():
        return traced("encoder", encoder_module(model, source), source.arguments(),
                      source.dynamic_shapes())


def export_decoder(model, states, masked, longest_source, max_tokens):
    """Exports the decoder.

    `states` is an example of an encoder output; `longest_source` is None if its length is fixed.
    """
    batch, length, _ = states.shape
    arguments = {"input_ids": torch.zeros(batch, EXAMPLE_TOKENS, dtype=torch.int64),
                 "cache_position": torch.arange(EXAMPLE_TOKENS),
                 "encoder_hidden_states": states}
    tokens = Dim("tokens", min=1, max=max_tokens)
    source = {} if longest_source is None else {1: Dim("source", min=1, max=longest_source)}
    shapes = {"input_ids": {1: tokens}, "cache_position": {0: tokens},
              "encoder_hidden_states": source}
    if masked:
        arguments["encoder_attention_mask"] = torch.ones(batch, length, dtype=torch.int64)
        shapes["encoder_attention_mask"] = source
    with exportable_attention(model), torch.no_grad():
        first = arguments["input_ids"][:, :1]
        mask = arguments.get("encoder_attention_mask")
        try:
            layers = observe_layers(lambda cache: step(model, cache, first, states, mask), max_tokens)
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as reason:
            raise Refused(f"its decoder does not run with a cache from outside, tokens of shape "
                          f"{list(first.shape)} and an encoder output of shape "
                          f"{list(states.shape)}: {reason}") from reason
        with exportable_forms(model):
            return traced("decoder", DecoderProgram(model, layers), arguments, shapes)


def export_stack(model, batch, max_tokens):
    """Exports a model of one stack."""
    ids = torch.zeros(batch, EXAMPLE_TOKENS, dtype=torch.int64)
    tokens = Dim("tokens", min=1, max=max_tokens)
    with exportable_attention(model), torch.no_grad():
        try:
            layers = observe_stack(lambda cache: stack_step(model, cache, ids[:, :1]), max_tokens)
        except (TypeError, ValueError, AttributeError, IndexError, RuntimeError) as reason:
            raise Refused(f"it does not run with a cache from outside: {reason}") from reason
        with exportable_forms(model):
            return traced("decoder", StackProgram(model, layers),
                          {"input_ids": ids, "cache_position": torch.arange(EXAMPLE_TOKENS)},
                          {"input_ids": {1: tokens}, "cache_position": {0: tokens}})


def traced(name, module, arguments, shapes):
    """An exported program, with in-place operators replaced.

    Strided convolutions make the tracer require facts about the lengths that always hold but that it
    cannot prove; those become assertions, which are checked when the program runs.
    """
    try:
        with quiet_tracer():
            program = torch.export.export(module.eval(), (), arguments, dynamic_shapes=shapes,
                                          strict=False,
                                          prefer_deferred_runtime_asserts_over_guards=True)
    except Exception as reason:  # the tracer raises whatever the model's code raises
        words = f"{type(reason).__name__}: {str(reason)[:MESSAGE_LENGTH].strip()}"
        why = next((why + "\n" + words for sign, why in SIGNS.items() if sign in words), words)
        raise Refused(f"its {name} cannot be traced: {why}") from reason
    return program.run_decompositions({})


@contextmanager
def quiet_tracer():
    """Silences the tracer: `Refused` reports its failures, and it would print the graph as well."""
    logger = logging.getLogger("torch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        logger.setLevel(level)


def longest_output(program):
    """The greatest length of an encoder's output, or None if it is fixed."""
    (spec,) = program.graph_signature.user_outputs
    value = next(n for n in program.graph.nodes if n.name == spec).meta["val"]
    if isinstance(value.shape[1], int):
        return None
    return int(bound_sympy(value.shape[1].node.expr, program.range_constraints).upper)

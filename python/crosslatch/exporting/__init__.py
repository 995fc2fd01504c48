"""`export`: a Hugging Face model to one `.pt2` file.

The file of an encoder–decoder model holds two programs, `encoder` and `decoder` (`programs`), the
cross-attention of the latter latched (`latch`); that of a model of one stack, such as Llama, a `decoder` with
its cache.  Beside them are the tokenizer, the feature extractor and the configurations.  Before it is
written, the decoder program is run and compared with the model, so that a family that uses its cache
in an unforeseen way is refused instead of exported wrongly.
"""

import copy
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
import transformers

from ..latching import latch_functional
from ..latching.report import LatchReport
from .archive import describing_files, published_files, write_archive
from .caches import empty_cache
from .encoders import encoder_module
from .forms.experts import batched_experts
from .programs import export_decoder, export_encoder, export_stack, longest_output, step
from .refused import Refused
from .sources import first_of, source_of
from .storing import TYPES, Storing, check_type, holds_weights, is_wide, own_type, rounded

DEFAULT_TOKENS = 512
TOLERANCE = 1e-3


@dataclass
class Exported:
    """What `export` wrote; nothing is latched in a model of one stack."""

    path: Path
    files: list
    latched: LatchReport | None


def export(model_or_path, path, *, batch=1, max_tokens=None, max_source=None, store=None,
           tokenizer=None, feature_extractor=None,
           say=lambda line: print(line, file=sys.stderr)):
    """Writes a Hugging Face model to `path` and returns an `Exported`.

    `model_or_path` is a model, a folder, or a name on the hub; for the latter two, tokenizer and
    feature extractor are loaded as well.  `batch` is fixed by the export.  `max_tokens` and
    `max_source` bound the lengths of output and input; by default the configuration does.  The
    programs compute in `f32`.  `store` is the type of the weights in the file, `"f16"`, `"bf16"` or
    `"f32"`; by default those that are values of a type of 16 bits, as published checkpoints are, are
    stored so.  Raises `Refused` with the reason if the model is not supported.

    If `path` ends in `.pte`, the file is for ExecuTorch's runtime (`crosslatch.executorch`); the other
    files are then written beside it.
    """
    check_type(store)
    if Path(path).suffix == ".pte":
        if store not in (None, "f32"):
            raise ValueError(f"a .pte file stores weights as they compute, in f32; {store!r} is for .pt2")
        try:
            from ..executorch.exporting import export_pte
        except ModuleNotFoundError as reason:
            if (reason.name or "").split(".")[0] != "executorch":
                raise
            raise ImportError(f"{reason}; a .pte file needs `pip install crosslatch[executorch]`") \
                from reason
        lowered = export_pte(model_or_path, path, batch=batch, max_tokens=max_tokens,
                             max_source=max_source, tokenizer=tokenizer,
                             feature_extractor=feature_extractor, say=say)
        return Exported(Path(path), lowered.files, lowered.latched)
    model = model_or_path
    if not isinstance(model, torch.nn.Module):
        say(f"loading {model_or_path}")
        model, tokenizer, feature_extractor = load(model_or_path, tokenizer, feature_extractor)
    check_supported(model)
    if not is_wide(model):
        model = copy.deepcopy(model).float()
    half = own_type(model) if store is None else TYPES[store]
    if store in ("f16", "bf16") and not holds_weights(model, half):
        model = rounded(model if model is not model_or_path else copy.deepcopy(model), store)
    training = model.training
    export_them = export_programs if is_two_stacks(model) else export_one_stack
    try:
        programs = export_them(model.eval(), batch, max_tokens, max_source, say,
                                   Storing(half if half != torch.float32 else None))
    finally:
        model.train(training)
    files = describing_files(model, tokenizer, feature_extractor)
    if tokenizer is None and not isinstance(model_or_path, torch.nn.Module):
        files.update(published_files(model_or_path))  # reading them needs a library that may not be there
    say(f"writing {path}")
    write_archive(path, programs, files)
    return Exported(Path(path), sorted(files), getattr(programs["decoder"], "latch_report", None))


def load(path, tokenizer=None, feature_extractor=None):
    """A model in `f32` with its tokenizer and feature extractor, from a folder or the hub."""
    config = transformers.AutoConfig.from_pretrained(path)
    names = config.architectures or []
    kind = next((getattr(transformers, name) for name in names if hasattr(transformers, name)), None)
    if kind is None:
        raise Refused(f"{path}: transformers has no architecture {names or 'named in its config'}")
    model = kind.from_pretrained(path, dtype=torch.float32)
    return (model, tokenizer or _load_if_there(transformers.AutoTokenizer, path),
            feature_extractor or _load_if_there(transformers.AutoFeatureExtractor, path)
            or _load_if_there(transformers.AutoImageProcessor, path))


def _load_if_there(kind, path):
    try:
        return kind.from_pretrained(path)
    except (OSError, ValueError, ImportError, KeyError, TypeError):
        # Text models have no feature extractor, some speech models no tokenizer, and a tokenizer
        # whose vocabulary is missing fails with whatever opening `None` gives.
        return None


def check_supported(model):
    name = type(model).__name__
    config = getattr(model, "config", None)
    if not isinstance(model, transformers.PreTrainedModel) or config is None:
        raise Refused(f"{name} is not a model of transformers")
    if not model.can_generate():
        raise Refused(f"{name} has no head that generates tokens")
    if not is_two_stacks(model):
        if model.main_input_name != "input_ids" or getattr(config, "get_text_config", None) is None \
                or config.get_text_config() is not config:
            raise Refused(f"{name} is of one stack, and takes more than text")
    elif model.get_encoder() is model:
        raise Refused(f"{name} has no encoder of its own")


def is_two_stacks(model):
    return bool(getattr(model.config, "is_encoder_decoder", False))


def export_one_stack(model, batch=1, max_tokens=None, max_source=None, say=lambda line: None,
                     storing=lambda program: program):
    """{"decoder": …} of a model of one stack; `max_source` says nothing about it."""
    tokens = max_tokens or first_of(model.config, "max_position_embeddings", "n_positions") \
        or DEFAULT_TOKENS
    with batched_experts(model):
        say("tracing the model")
        decoder = storing(export_stack(model, batch, tokens))
    say("comparing with the model")
    compare_stack(model, decoder, batch, tokens)
    return {"decoder": decoder}


@torch.no_grad()
def compare_stack(model, decoder, batch, max_tokens):
    """Refuses if the program's logits are not the model's, for two texts in a row."""
    program = _with_own_state(decoder)
    generator = torch.Generator().manual_seed(0)
    count = min(6, max_tokens)
    for _ in range(2):
        ids = torch.randint(0, model.config.vocab_size, (batch, count), generator=generator)
        expected = model(input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False).logits
        for start, end in _spans(count):
            logits = program(input_ids=ids[:, start:end], cache_position=torch.arange(start, end)[:])
            _refuse_if_far(logits, expected[:, start:end], f"output at token {start}")


def _spans(count):
    """A prompt of three tokens, then one at a time."""
    return [(0, min(3, count))] + [(i, i + 1) for i in range(3, count)]


def export_programs(model, batch=1, max_tokens=None, max_source=None, say=lambda line: None,
                    storing=lambda program: program):
    """{"encoder": …, "decoder": …}; the decoder latched, both with weights as `storing` leaves them."""
    source = source_of(model, batch, max_source)
    say("tracing the encoder")
    encoder = storing(export_encoder(model, source))
    with torch.no_grad():
        states = encoder_module(model, source)(**source.arguments())
    decoder_config = model.config.get_text_config(decoder=True)
    tokens = max_tokens or first_of(decoder_config, "max_target_positions",
                                    "max_text_positions", "max_position_embeddings", "n_positions") or DEFAULT_TOKENS
    compare_encoder(model, encoder, source)
    say("tracing the decoder")
    plain = export_decoder(model, states, source.masked, longest_output(encoder), tokens)
    named = ["encoder_hidden_states"] + ["encoder_attention_mask"] * source.masked
    decoder = storing(latch_functional(plain, named))
    say(str(decoder.latch_report).splitlines()[0])
    say("comparing with the model")
    try:
        compare(model, decoder, states, source.masked, tokens)
    except RuntimeError as reason:
        raise Refused(f"the exported decoder does not run: {reason}") from reason
    return {"encoder": encoder, "decoder": decoder}


@torch.no_grad()
def compare_encoder(model, encoder, source):
    """Refuses if the program's output is not the model's, for an input drawn at random."""
    inputs, module = source.drawn(), encoder_module(model, source)
    as_it_is = type(module).forward.__wrapped__  # what is rewritten for the tracer is compared as well
    _refuse_if_far(encoder.module()(**inputs), as_it_is(module, **inputs), "encoder's output")


def _refuse_if_far(got, expected, what):
    distance = (got - expected).abs().max().item()
    if not distance <= TOLERANCE * max(1.0, expected.abs().max().item()):
        raise Refused(f"the exported {what} differs from the model's by {distance:g}")


@torch.no_grad()
def compare(model, decoder, states, masked, max_tokens):
    """Refuses if the program's logits are not the model's, for two inputs in a row.

    The buffers of the program are those that will be written to the file, so it runs on a copy.
    """
    program = _with_own_state(decoder)
    generator = torch.Generator().manual_seed(0)
    decoder_config = model.config.get_text_config(decoder=True)
    vocabulary = first_of(decoder_config, "vocab_size", "tgt_vocab_size")
    count = min(6, max_tokens)
    for _ in range(2):
        states = torch.randn(states.shape, generator=generator)
        ids = torch.randint(0, vocabulary, (states.shape[0], count), generator=generator)
        # Padding within a text: some models skip it when they count positions, but not step by step.
        if (padding := getattr(decoder_config, "pad_token_id", None)) is not None:
            ids[ids == padding] = (padding + 1) % vocabulary
        mask = torch.ones(states.shape[:2], dtype=torch.int64)
        mask[:, states.shape[1] - states.shape[1] // 3:] = 0
        extra = {"encoder_attention_mask": mask} if masked else {}
        cache = empty_cache()  # as in `generate`: some models take one token at a time
        expected = torch.cat([step(model, cache, ids[:, i:i + 1], states, **extra).logits
                              for i in range(count)], 1)
        for start, end in _spans(count):
            logits = program(input_ids=ids[:, start:end], cache_position=torch.arange(start, end)[:],
                             encoder_hidden_states=states, **extra)
            _refuse_if_far(logits, expected[:, start:end], f"decoder's output at token {start}")


def _with_own_state(program):
    """The program as a module whose buffers are copies."""
    module = program.module()
    for owner in module.modules():
        for name, buffer in owner._buffers.items():
            owner._buffers[name] = buffer.clone()
    return module

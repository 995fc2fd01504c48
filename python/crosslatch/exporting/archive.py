"""The files of a model in one `.pt2` archive, as `torch.export.load` and the engine read it.

Three things must not get into it: the paths of the machine that made it (the tracer records source files
with their paths, and configurations record where they were loaded from), anything twice, and zeros
(`payloads`).
"""

import json
import re
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch._export.serde.serialize import DEFAULT_PICKLE_PROTOCOL, _dataclass_to_dict, serialize
from torch.export.pt2_archive import constants as names
from torch.export.pt2_archive._package import PT2ArchiveWriter
from torch.utils._pytree import tree_map_only
from transformers.utils import cached_file

from .payloads import Payloads, starts_as_zeros

# The files of a tokenizer that consists of SentencePiece models.
SETTINGS = "tokenizer_config.json"
PUBLISHED = ("source.spm", "target.spm", "vocab.json", "target_vocab.json", "sentencepiece.bpe.model",
             "spiece.model", SETTINGS)
KEPT_SETTINGS = ("tokenizer_class", "src_lang", "separate_vocabs", "legacy_behaviour", "language_codes",
                 "extra_ids", "offset")
SMALL = 64  # elements of an example input that is kept as it is


def write_archive(path, programs, files):
    """Writes {method: program} and {name: text or bytes} to one file."""
    with PT2ArchiveWriter(str(path)) as writer:
        weights = Payloads(writer, names.WEIGHTS_DIR, names.WEIGHT_FILENAME_PREFIX, [
            tensor for program in programs.values() for tensor in program.state_dict.values()])
        constants = Payloads(writer, names.CONSTANTS_DIR, names.TENSOR_CONSTANT_FILENAME_PREFIX, [
            tensor for program in programs.values() for tensor in program.constants.values()])
        for method, program in programs.items():
            zeros = state_of_zeros(program)
            write_json(writer, names.WEIGHTS_CONFIG_FILENAME_FORMAT.format(method),
                       weights.listed(program.state_dict, zeros))
            write_json(writer, names.CONSTANTS_CONFIG_FILENAME_FORMAT.format(method),
                       constants.listed(program.constants, zeros))
            write_program(writer, method, program)
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            writer.write_bytes(names.EXTRA_DIR + name, content)


def write_json(writer, name, content):
    writer.write_string(name, json.dumps(_dataclass_to_dict(content)))


def write_program(writer, method, program):
    name_sources_only(program)
    program.example_inputs = tree_map_only(torch.Tensor, without_contents, program.example_inputs)
    artifact = serialize(program, None, DEFAULT_PICKLE_PROTOCOL, serialize_state_dict=False,
                         serialize_constants=False)
    writer.write_bytes(names.MODELS_FILENAME_FORMAT.format(method), artifact.exported_program)
    writer.write_bytes(names.SAMPLE_INPUTS_FILENAME_FORMAT.format(method), artifact.example_inputs)


def state_of(program):
    """Names of the buffers that runs change."""
    report = getattr(program, "latch_report", None)
    latched = {value.buffer for value in report.values} if report else set()
    return latched | set(program.graph_signature.buffers_to_mutate.values())


def state_of_zeros(program):
    """Names of those that start as zeros."""
    tensors = {**program.state_dict, **program.constants}
    return {name for name in state_of(program) if starts_as_zeros(tensors[name])}


def without_contents(example):
    """An example input of the same shape; a long one has one element in memory, and in the file."""
    return example if example.numel() <= SMALL else example.new_zeros(()).expand(example.shape)


def name_sources_only(program):
    """Keeps the source lines of the model for messages, without their folders."""
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if trace := node.meta.get("stack_trace"):
                node.meta["stack_trace"] = re.sub(r'File "[^"]*[/\\]', 'File "', trace)


def describing_files(model, tokenizer=None, feature_extractor=None):
    """The extra files, under the names that such models publish them by."""
    config = json.loads(model.config.to_json_string(use_diff=False))
    config["architectures"] = [type(model).__name__]
    files = {"config.json": _without_origin(config)}
    if model.generation_config is not None:
        files["generation_config.json"] = _without_origin(
            json.loads(model.generation_config.to_json_string(use_diff=False)))
    if feature_extractor is not None:
        files["preprocessor_config.json"] = _without_origin(
            json.loads(feature_extractor.to_json_string()))
    texts = {name: json.dumps(content, indent=2) + "\n" for name, content in files.items()}
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        texts["tokenizer.json"] = backend.to_str()
    elif tokenizer is not None:
        with TemporaryDirectory() as folder:
            tokenizer.save_pretrained(folder)
            texts.update(published_files(folder))
    return texts


def published_files(folder_or_name):
    """{name: bytes} of the files that make a tokenizer without `tokenizer.json`, as far as there are any."""
    paths = {name: cached_file(folder_or_name, name, _raise_exceptions_for_missing_entries=False,
                               _raise_exceptions_for_connection_errors=False) for name in PUBLISHED}
    files = {name: Path(path).read_bytes() for name, path in paths.items() if path is not None}
    if SETTINGS in files:  # beside what counts, it may name folders of this machine
        settings = {key: value for key, value in json.loads(files[SETTINGS]).items()
                    if key in KEPT_SETTINGS or key.endswith("_token")}
        files[SETTINGS] = (json.dumps(settings, indent=2) + "\n").encode()
    return files if set(files) - {SETTINGS, "vocab.json"} else {}


def _without_origin(config):
    """A configuration without the folder or name it was loaded from."""
    if isinstance(config, dict):
        return {key: _without_origin(value) for key, value in config.items()
                if key not in ("_name_or_path", "name_or_path", "_commit_hash")}
    if isinstance(config, list):
        return [_without_origin(value) for value in config]
    return config

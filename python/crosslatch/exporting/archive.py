"""The files of a model in one `.pt2` archive.

Two things must not get into it: the paths of the machine that made it (the tracer records source files
with their paths, and configurations record where they were loaded from), and duplicate weights.
"""

import json
import re

from torch.export.pt2_archive._package import package_pt2


def write_archive(path, programs, files):
    """Writes {method: program} and {name: text} to one file."""
    for program in programs.values():
        name_sources_only(program)
    package_pt2(str(path), exported_programs=programs, extra_files=files)


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
    return texts


def _without_origin(config):
    """A configuration without the folder or name it was loaded from."""
    if isinstance(config, dict):
        return {key: _without_origin(value) for key, value in config.items()
                if key not in ("_name_or_path", "name_or_path", "_commit_hash")}
    if isinstance(config, list):
        return [_without_origin(value) for value in config]
    return config

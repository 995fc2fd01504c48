"""Packs the two programs and the configurations of a Whisper into one `.pt2` file.

`python demo/export.py` exports the checkpoint in demo/build to demo/model.pt2;
`--untrained` exports random weights of the same shape.
"""

import argparse
import re
from pathlib import Path

import torch
from torch.export.pt2_archive._package import package_pt2

from evaluate import BUILD, load_trained
from grammar import Language
from model import make_feature_extractor, make_generation_config, make_model
from programs import export_programs
from tokenizer import make_tokenizer


def name_sources_only(program):
    """Keeps the source lines of the model for messages, without the folders they were in."""
    for module in program.graph_module.modules():
        for node in getattr(getattr(module, "graph", None), "nodes", ()):
            if trace := node.meta.get("stack_trace"):
                node.meta["stack_trace"] = re.sub(r'File "[^"]*/', 'File "', trace)


def pack(path, programs, tokenizer, config, generation, extractor):
    """Writes the archive; the extra files have the names under which such models publish them."""
    for program in programs.values():
        name_sources_only(program)
    package_pt2(str(path), exported_programs=programs, extra_files={
        "tokenizer.json": tokenizer.to_str(),
        "config.json": config.to_json_string(use_diff=False),
        "generation_config.json": generation.to_json_string(use_diff=False),
        "preprocessor_config.json": extractor.to_json_string(),
    })


def export_whisper(model, path, tokenizer, decompose=True):
    model.config.architectures = ["WhisperForConditionalGeneration"]
    pack(path, export_programs(model.eval(), decompose), tokenizer, model.config,
         make_generation_config(tokenizer), make_feature_extractor())
    print(f"{path}: {Path(path).stat().st_size:,} bytes")


def main():
    parser = argparse.ArgumentParser(description="Export the demo model.")
    parser.add_argument("--untrained", action="store_true")
    parser.add_argument("--build", type=Path, default=BUILD)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("model.pt2"))
    arguments = parser.parse_args()
    if arguments.untrained:
        torch.manual_seed(0)
        tokenizer = make_tokenizer(Language().words)
        model = make_model(tokenizer)
    else:
        model, tokenizer = load_trained(arguments.build)
    export_whisper(model, arguments.output, tokenizer)


if __name__ == "__main__":
    main()

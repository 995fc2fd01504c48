"""The bundled model as checkpoints: its weights by transformers' names, and its other files."""

import torch
from safetensors.torch import save_file
from torch.export.pt2_archive._package import load_pt2

import crosslatch
import crosslatch.ops  # the programs use them
from conftest import ROOT

DEMO = ROOT / "demo" / "model.pt2"
SAMPLE = ROOT / "demo" / "samples" / "alarm.mp3"


def weights():
    """{name of transformers: tensor}; the output projection is the token embedding."""
    found = {}
    for program in load_pt2(str(DEMO)).exported_programs.values():
        found |= {f"model.{name}": weight.detach().float().contiguous()
                  for name, weight in program.state_dict.items()
                  if not name.startswith(("proj_out", "caches"))}
    return found


def other_files():
    """{name: contents} of the files beside the programs."""
    program = crosslatch.load(DEMO)
    return {name: program.extra_file(name) for name in program.extra_files}


def hugging_face_folder(folder, tensors=None):
    """Writes a Hugging Face folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, contents in other_files().items():
        (folder / name).write_bytes(contents)
    save_file(weights() if tensors is None else tensors, folder / "model.safetensors")
    return folder


def half(tensors):
    return {name: tensor.to(torch.float16) for name, tensor in tensors.items()}

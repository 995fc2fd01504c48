"""The proof that a copy is unnecessary is made in two places; both decide the same.

The engine plans its own programs, and `crosslatch.executorch` ExecuTorch's.  On the programs that keep
their caches in buffers, both find the same bytes of caches to copy.
"""

import json

import pytest
import torch

pytest.importorskip("executorch.exir")

from torch_operators.programs import PROGRAMS, Module, Real  # noqa: E402

from .running import lowered  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
CACHES = [program for program in PROGRAMS.values() if "keys" in program.buffers]
FLAG = 64  # bytes; what is smaller is no cache


@pytest.mark.parametrize("program", CACHES, ids=lambda program: program.name)
def test_both_planners_copy_the_same_bytes_of_caches(program, crosslatch, tmp_path):
    inputs = program.inputs(0, torch.float32)
    exported = torch.export.export(Module(program, Real), inputs).run_decompositions({})
    torch.export.save(exported, tmp_path / "program.pt2")
    out, _ = crosslatch("inspect", tmp_path / "program.pt2", "--json")
    (method,) = json.loads(out)["methods"]
    kept = lowered(program, inputs).reports["forward"].kept
    # An output is copied by both; the engine does not count it.
    here = sum(copy.bytes for copy in kept
               if copy.bytes >= FLAG and "is handed to the caller" not in copy.reason)
    there = method["plan"]["cache_bytes_copied"]
    assert here == (there if there >= FLAG else 0)

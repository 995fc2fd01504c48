"""The same programs, saved and run by the engine, planned and by the reference interpreter."""

import copy

import pytest
import torch

import crosslatch.ops  # noqa: F401
from .programs import PROGRAMS, Module, Plain, Real


def as_traced(exported):
    return exported


def decomposed(exported):
    return exported.run_decompositions({})


@pytest.mark.parametrize("form", [as_traced, decomposed], ids=lambda form: form.__name__)
@pytest.mark.parametrize("program", PROGRAMS.values(), ids=lambda program: program.name)
@torch.no_grad()
def test_the_engine_gives_what_the_program_means(crosslatch, program, form, tmp_path):
    calls = [program.inputs(i, torch.float32) for i in range(program.calls)]
    exported = form(torch.export.export(Module(program, Real), copy.deepcopy(calls[0])))
    torch.export.save(exported, tmp_path / "program.pt2")
    names = exported.graph_signature.user_inputs
    mutated = list(exported.graph_signature.user_inputs_to_mutate.values())
    arrays = [dict(zip(names, [t.numpy() for t in inputs], strict=True)) for inputs in calls]
    for options in ([], ["--reference"]):
        results = crosslatch.run(tmp_path / "program.pt2", "model", arrays, tmp_path, *options)
        plain = Module(program, Plain)
        for inputs, named in zip(copy.deepcopy(calls), results, strict=True):
            expected = torch.utils._pytree.tree_leaves(plain(*inputs))
            # An input that the signature says is written comes back under its own name.
            written = [named.pop(name) for name in mutated]
            check(named.values(), expected)
            check(written, [inputs[names.index(name)] for name in mutated])


def check(arrays, tensors):
    for array, tensor in zip(arrays, tensors, strict=True):
        torch.testing.assert_close(torch.from_numpy(array), tensor)

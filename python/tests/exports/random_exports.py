"""Random modules through `torch.export`, saved, and run by the engine.

    python -m exports.random_exports COUNT [FIRST]

from `python/tests` draws COUNT modules, exports each plainly or decomposed, with sizes that may differ from call to
call, and compares every result of several calls, and the state behind them, with PyTorch's.  `cargo xtask exports` runs
it for many.
"""

import collections
import copy
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch.export import Dim

import crosslatch

from .drawn import B, Drawn

CALLS = [3, 5, 2, 4]


class NotExported(Exception):
    """PyTorch does not export the module, or its exported program means something else."""


def exported(module, seed, path):
    # What was traced before with fixed sizes would be compared with the sizes of this trace, and fix them.
    torch._dynamo.reset()
    example = module.call(CALLS[0], 0)
    shapes = [None, None]
    for shape in module.inputs:
        shapes.append({i: Dim.AUTO for i, length in enumerate(shape) if length == B} or None)
    try:
        program = torch.export.export(module, example, strict=False,
                                      dynamic_shapes=(*shapes[:2], tuple(shapes[2:])))
        if seed % 2:
            program = program.run_decompositions({})
        torch.export.save(program, path)
    except Exception as reason:  # noqa: BLE001  whatever it is, it is PyTorch's
        raise NotExported(f"{type(reason).__name__}: {str(reason).splitlines()[0][:160]}") from reason
    return program


def has_fixed_lengths(program, module):
    """Whether a length that may differ has turned out to be of one size in the program."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    tensors = program.graph_signature.user_inputs[2:]
    return any(length == B and isinstance(values[name].shape[i], int)
               for name, shape in zip(tensors, module.inputs, strict=True)
               for i, length in enumerate(shape))


def check(seed, folder):
    """Draws a module and compares; raises `AssertionError` where a result differs."""
    module = Drawn(seed).eval()
    # Plain PyTorch works on a copy, because calls change buffers.
    plain = copy.deepcopy(module)
    path = Path(folder) / "program.pt2"
    program = exported(module, seed, path)
    sizes = CALLS if module.is_dynamic else [3] * len(CALLS)
    fixed = has_fixed_lengths(program, module)
    calls = [module.call(CALLS[0] if fixed else size, turn) for turn, size in enumerate(sizes)]
    session = crosslatch.load(path, threads=1).session()
    names = program.graph_signature.user_inputs
    for turn, call in enumerate(calls):
        try:
            wanted = plain(*copy.deepcopy(call))
        except torch._dynamo.exc.TorchDynamoException as reason:
            raise NotExported(f"plain PyTorch: {str(reason).splitlines()[0][:160]}") from reason
        got = session.run("model", dict(zip(names, [t.numpy() for t in call], strict=True)))
        assert len(got) == len(wanted), f"{len(got)} results, {len(wanted)} wanted"
        for (name, array), tensor in zip(got.items(), wanted, strict=True):
            torch.testing.assert_close(torch.from_numpy(array), tensor, rtol=1e-4, atol=1e-4,
                                       msg=lambda m, n=name: f"call {turn}, `{n}`: {m}")


def main(count, first=0):
    warnings.simplefilter("ignore")
    outcomes = collections.Counter()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        for seed in range(first, first + count):
            try:
                check(seed, folder)
            except AssertionError as reason:
                outcome, text = "wrong", str(reason)
            except NotExported as reason:
                outcome, text = "not exported", str(reason)
            except crosslatch.Error as reason:
                outcome, text = "refused", str(reason)
            else:
                outcome, text = "right", ""
            outcomes[outcome] += 1
            if outcome != "right":
                print(f"{seed}: {outcome}: {text[:400]}", flush=True)
            if seed % 100 == 99:
                print(f"{seed + 1 - first}: {dict(outcomes)}", flush=True)
    print(f"{count} programs: {dict(outcomes)}")
    return outcomes["wrong"] or outcomes["refused"]


if __name__ == "__main__":
    sys.exit(1 if main(*map(int, sys.argv[1:])) else 0)

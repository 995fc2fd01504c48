"""Lowers a program, runs it on ExecuTorch's runtime, and compares it with plain Python."""

import copy
import functools

import torch
from crosslatch.executorch import lower
from executorch.runtime import Runtime
from torch.export.graph_signature import OutputKind
from torch.utils import _pytree as pytree
from torch_operators.programs import PROGRAMS, Module, Plain, Real


def lowered(program, inputs, sizes=None, partitioner=None):
    return lower(exported(program, inputs, sizes), partitioner)


@functools.cache
def lowered_once(name):
    """A program of the matrix, lowered for its first inputs; the tests of one process share it."""
    program = PROGRAMS[name]
    return lowered(program, program.inputs(0, torch.float32))


@torch.no_grad()
def exported(program, inputs, sizes=None):
    """A program traced by PyTorch; `sizes` are its dynamic shapes, one for each input."""
    return torch.export.export(Module(program, Real), copy.deepcopy(inputs),
                               dynamic_shapes=None if sizes is None else (sizes,))


def method_of(result, name="forward"):
    program = Runtime.get().load_program(result.buffer)
    method = program.load_method(name)
    method.kept = program    # the method reads the program's memory
    return method


def check(program, calls, sizes=None, partitioner=None, traced=False):
    """Every call gives what plain Python gives: outputs, and the inputs that it changes.

    With `traced`, what counts is what the traced program gives in PyTorch.
    """
    source = exported(program, calls[0], sizes)
    result = lower(source, partitioner)
    runs(result, program, calls, source if traced else None)
    return result


def runs(result, program, calls, traced=None):
    """Checks a lowered program, against plain Python or a traced program in PyTorch."""
    method = method_of(result)
    signature = result.manager.exported_program().graph_signature
    specs = [spec for spec in signature.output_specs if spec.kind != OutputKind.BUFFER_MUTATION]
    names = list(signature.user_inputs)
    plain = traced.run_decompositions({}).module() if traced else Module(program, Plain)
    for number, inputs in enumerate(calls):
        # A method that takes nothing but tensors changes the planned memory, not the caller's.
        got = method.execute(pytree.tree_leaves(copy.deepcopy(inputs)))
        mine = copy.deepcopy(inputs)
        expected = [t.clone() for t in pytree.tree_leaves(plain(*mine))]
        handed = [out for out, spec in zip(got, specs, strict=True)
                  if spec.kind == OutputKind.USER_OUTPUT]
        for one, other in zip(handed, expected, strict=True):
            torch.testing.assert_close(one, other, msg=lambda text: f"call {number}: {text}")
        for out, spec in zip(got, specs, strict=True):
            if spec.kind == OutputKind.USER_INPUT_MUTATION:
                torch.testing.assert_close(out, mine[names.index(spec.target)])

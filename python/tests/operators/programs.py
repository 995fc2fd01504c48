"""Exporting thousands of small programs in a reasonable time.

`run_decompositions` takes a quarter of a second for a program of one node, nearly all of it spent
in replacing the decomposition of each of PyTorch's composite operators and putting it back.  Here
that is done once for many programs.
"""

import contextlib
import functools
from collections import Counter
from collections.abc import Iterator

import torch
from torch._export import utils as export_utils
from torch.export import ExportedProgram, exported_program
from torch.fx.experimental.symbolic_shapes import has_free_unbacked_symbols

_composite_operators = functools.cache(export_utils._collect_all_valid_cia_ops)


@functools.cache
def _preserved() -> dict:
    preserved, _ = exported_program._split_decomp_table_to_cia_and_python_decomp({})
    return preserved


@contextlib.contextmanager
def decomposing() -> Iterator[None]:
    """While this is open, `run_decompositions({})` is fast, and nothing may be exported."""
    collect = exported_program._collect_all_valid_cia_ops
    override = exported_program._override_composite_implicit_decomp
    with override(_preserved()):
        exported_program._collect_all_valid_cia_ops = _composite_operators
        exported_program._override_composite_implicit_decomp = contextlib.nullcontext
        try:
            yield
        finally:
            exported_program._collect_all_valid_cia_ops = collect
            exported_program._override_composite_implicit_decomp = override


def targets(program: ExportedProgram) -> Counter[str]:
    """How often each operator occurs, subgraphs included."""
    counts: Counter[str] = Counter()
    for module in program.graph_module.modules():
        if isinstance(module, torch.fx.GraphModule):
            for node in module.graph.nodes:
                if node.op == "call_function":
                    target = node.target
                    overload = isinstance(target, torch._ops.OpOverload)
                    counts[f"{target.namespace}::{target.name().split('::')[1]}" if overload
                           else getattr(target, "__name__", str(target))] += 1
    return counts


def has_data_dependent_sizes(program: ExportedProgram) -> bool:
    """Whether a size is known only after values have been computed."""
    return any(isinstance(value, torch.Tensor | torch.SymInt) and has_free_unbacked_symbols(value)
               for node in program.graph.nodes
               for value in torch.utils._pytree.tree_leaves(node.meta.get("val")))

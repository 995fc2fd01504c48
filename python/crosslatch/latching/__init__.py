"""`latch`: values of an exported decoder that stay the same for one input are computed once.

The problem.  A decoder that was exported without caching computes the cross-attention keys and values
at every step, from an encoder output that does not change.  A person would write a `torch.cond` around
them; here a pass over the graph does.

The idea.  `frontier` says which values to keep.  Each gets a buffer.  One `torch.cond` at the
beginning of the graph either computes them all and writes them into their buffers
(`executorch::update_cross_attn_cache`), or returns the buffers as they are (`executorch::alias`); the
former readers of the values read its results.  There is one `cond`, not one per layer, so that work
shared by several values is done once.

A kept value of varying length has a buffer of the greatest length, and the graph reads only as much of
it as the current input has: rows that a longer input left behind are never read.

When to compute.  The predicate must not mistake a new input for the previous one.  If the program takes
the positions of its tokens, the first step of an input is the one whose first position is 0, and no
flag is needed that somebody would have to reset.  If it does not, the named inputs themselves are kept
as well and compared to those of the current step, which is always right and costs one pass over them
per step.

Assumptions.  The named inputs stay the same during the steps of one input; naming them promises that.
The first step of every input has position 0.
"""

import torch

from .. import ops  # noqa: F401  defines the two operators
from .calls import call
from .costs import Sizes, is_projection, operations, total_operations
from .frontier import choose_kept, find_fixed, needed_for, why_not_kept
from .layouts import varying_axes
from .report import LatchReport
from .surgery import Surgery

aten = torch.ops.aten
POSITIONS = ("cache_position", "decoder_position_ids", "position_ids", "positions")


def latch(exported_program, inputs=("encoder_hidden_states",), position=None):
    """Computes once per input what depends on weights and `inputs` only.

    `inputs` are names of tensor inputs that stay the same while one input is decoded.  `position`
    names the integer input whose first element is 0 in the first step of every input and in no
    other.  By default it is the first of `cache_position`, `decoder_position_ids`, `position_ids` and
    `positions` that the program has.  If it has none of them, the program keeps the named inputs and
    computes again whenever they differ from those of the previous step.

    Returns a new, ordinary ExportedProgram (functional: `run_decompositions({})` is applied), whose
    attribute `latch_report` says what is computed once.  It can be saved and loaded wherever
    `crosslatch.ops` is imported.  The given program stays as it was; weights are shared with it.
    """
    return latch_functional(exported_program.run_decompositions({}), inputs, position)


def latch_functional(program, inputs=("encoder_hidden_states",), position=None):
    """`latch` for a functional program that nobody else uses: the program itself is changed."""
    names = set(program.graph_signature.user_inputs)
    if unknown := [name for name in inputs if name not in names]:
        raise ValueError(f"no input {', '.join(map(repr, unknown))}; the program has "
                         f"{', '.join(sorted(map(str, names)))}")
    if position is not None and position not in names:
        raise ValueError(f"no input {position!r} to take positions from")
    position = position or next((p for p in POSITIONS if p in names and p not in inputs), None)
    _take_sizes_from_inputs(program, inputs)
    fixed = find_fixed(program, set(inputs))
    kept = choose_kept(program, fixed)
    surgery = Surgery(program, fixed, kept, inputs, position)
    report = _report(program, fixed, kept)
    return _with_report(surgery.result(report), report) if kept else _with_report(program, report)


def _report(program, fixed, kept):
    """What a step costs before and after, and what could not be kept."""
    largest = Sizes(program.range_constraints)
    one_token = Sizes(program.range_constraints, fixed.symbols)
    moved = needed_for(kept, fixed)
    left = [(node.name, reason) for node in fixed.nodes
            if is_projection(node) and fixed.varies(node) and node not in moved
            for reason in [why_not_kept(node, fixed, largest) or "costs less than keeping it"]]
    return LatchReport(flops_before=total_operations(program.graph, one_token), left=left,
                       flops_saved_per_step=sum(operations(node, largest) for node in moved))


def _with_report(program, report):
    program.latch_report = report
    return program


def _take_sizes_from_inputs(program, inputs):
    """Reads the sizes of a named input from it, not from another input of the same size.

    `encoder_attention_mask` and `encoder_hidden_states` have one length; if only the latter is
    named, its length must not look as if it came from the former.
    """
    graph = program.graph
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    sources = {}
    for node in placeholders:
        if node.name in inputs:
            for axis in varying_axes(node.meta["val"]):
                sources.setdefault(node.meta["val"].shape[axis].node.expr, (node, axis))
    made = {}
    for node in list(graph.nodes):
        if node.target is not aten.sym_size.int:
            continue
        expression = node.meta["val"].node.expr if isinstance(node.meta["val"], torch.SymInt) else None
        if expression in sources and node.args != sources[expression]:
            if expression not in made:
                with graph.inserting_after(placeholders[-1]):
                    made[expression] = call(graph, aten.sym_size.int, *sources[expression])
            node.replace_all_uses_with(made[expression])
            graph.erase_node(node)

"""Counts the bytes of caches that an emitted plan copies, from its instructions alone.

Nothing here knows what the lowering meant to do: it follows the instructions of the file through the
jumps of conds, and looks at the memory that each kernel reads.
"""

from executorch.exir.schema import DelegateCall, JumpFalseCall, KernelCall, MoveCall, Tensor

#: Kernels that hand on what they read.
COPIES = {"dim_order_ops::_clone_dim_order", "aten::clone", "aten::copy", "aten::copy_",
          "aten::alias_copy", "aten::slice_copy", "aten::permute_copy", "aten::transpose_copy",
          "aten::expand_copy", "aten::view_copy", "aten::select_copy", "aten::slice_scatter",
          "aten::index_put", "aten::cat", "aten::contiguous", "aten::repeat"}
SIZES = {0: 1, 1: 1, 2: 2, 3: 4, 4: 8, 5: 2, 6: 4, 7: 8, 11: 1, 15: 2}


def copied(result, method, taken=True, only=None):
    """The bytes of buffers that are copied in a run whose every `cond` has this predicate."""
    program = result.manager.executorch_program
    plan = next(p for p in program.execution_plan if p.name == method)
    places = buffer_places(result, method, only)
    values, (chain,), total, at = list(plan.values), plan.chains, 0, 0
    while at < len(chain.instructions):
        call = chain.instructions[at].instr_args
        at += 1
        if isinstance(call, JumpFalseCall):
            value = values[call.cond_value_index].val
            # The jump over the other branch has a constant as its condition.
            holds = taken if isinstance(value, Tensor) else value.bool_val
            if not holds:
                at = call.destination_instruction
        elif isinstance(call, MoveCall):
            values[call.move_to] = values[call.move_from]
        elif isinstance(call, KernelCall):
            if plan.operators[call.op_index].name in COPIES:
                total += _copied(values, call, places)
        else:
            assert isinstance(call, DelegateCall), call
    return total


def _copied(values, call, places):
    out = _range(values[call.args[-1]].val)
    sources = {_range(values[index].val) for index in call.args[:-1]} - {None}
    in_place = out in {_range(values[index].val) for index in call.args[:-2]}
    read = [s for s in sources - {out} if any(_overlap(s, place) for place in places)]
    if read:
        return sum(end - start for _, start, end in read)
    # What is computed, and then copied into a cache; a part that is written in place is no copy.
    written = out and not in_place and any(_overlap(out, place) for place in places)
    return out[2] - out[1] if written else 0


def buffer_places(result, method, only=None):
    """The memory of the buffers that the report of a method lists, and of inputs that it changes."""
    program = result.manager.exported_program(method)
    signature, found = program.graph_signature, []
    changed = set(signature.user_inputs_to_mutate.values())
    for node in program.graph_module.graph.nodes:
        if node.op == "placeholder" and (
                node.target in changed
                or signature.inputs_to_buffers.get(node.target) in (
                    only or result.reports[method].buffers)):
            spec = node.meta["spec"]
            found.append((spec.mem_id, spec.mem_offset, spec.mem_offset + spec.nbytes()))
    return found


def _range(value):
    if not isinstance(value, Tensor) or value.allocation_info is None:
        return None
    size = SIZES[int(value.scalar_type)]
    for extent in value.sizes:
        size *= extent
    info = value.allocation_info
    start = info.memory_offset_low + (info.memory_offset_high << 32)
    return info.memory_id, start, start + size


def _overlap(a, b):
    return a[0] == b[0] and a[1] < b[2] and b[1] < a[2]

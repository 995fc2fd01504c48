"""The memory plan: ExecuTorch's, told the truth about branches and about what may share memory.

`MemoryPlanning` takes the place of `executorch.exir.passes.MemoryPlanningPass`.  It drops the copies
that `sharing` proves unnecessary, gives ExecuTorch's own algorithm the lifetime of every value of the
whole program, branches included, and places what shares memory with `storage_base`, ExecuTorch's own
means for it.  The stock pass plans each branch on its own, at addresses that the next branch uses again;
what a branch returned is then overwritten by the next `cond` (docs/reports/executorch.md).
"""

from dataclasses import dataclass, field

import torch
from executorch.exir.memory_planning import (
    _alias_inplace_result_specs, _contains_xnnpack_delegate, _is_inplace_node)
from executorch.exir.pass_base import PassResult
from executorch.exir.passes import MemoryPlanningPass
from executorch.exir.schema import DeviceType, TensorShapeDynamism

from .sharing import Dropped, Kept, Sharing
from .values import Flow, Joined, Unplannable, leaves

PADDING = 64  # bytes that XNNPACK may read behind a tensor


@dataclass
class Report:
    """What the plan of one method does about copies."""

    method: str
    dropped: list[Dropped] = field(default_factory=list)
    kept: list[Kept] = field(default_factory=list)
    buffers: dict[str, int] = field(default_factory=dict)   # bytes of each buffer

    def __str__(self):
        lines = [f"{self.method}: {len(self.dropped)} copies proved unnecessary "
                 f"({sum(c.bytes for c in self.dropped):,} bytes), {len(self.kept)} kept"]
        lines += [f"  {copy.name}{' in ' + copy.where if copy.where else ''}: {copy.bytes:,} bytes: "
                  f"{copy.reason}" for copy in self.kept]
        return "\n".join(lines)


class MemoryPlanning(MemoryPlanningPass):
    """ExecuTorch's memory planning, with copies dropped where that is proved right.

    `shared` names the buffers that several methods have in common: they are state in every method,
    also where a method only reads them, and lie at the same place in all.
    """

    def __init__(self, *args, shared=(), **options):
        self.shared = frozenset(shared)
        options.setdefault("share_mutable_buffers", bool(self.shared))
        super().__init__(*args, **options)
        self.reports = []
        self._followers = []

    def run(self, graph_module, graph_signature=None):
        self._set_alloc_node_spec(graph_module)
        for part in _graphs(graph_module):
            for node in part.graph.nodes:
                if _is_inplace_node(node):
                    _alias_inplace_result_specs(node)
        flow = Flow(graph_module, graph_signature, self.shared)
        sharing = Sharing(flow, self.alloc_graph_input)
        self._rewrite(flow, sharing, graph_module)
        self._place(flow, sharing, graph_module, graph_signature)
        self.reports.append(Report(
            "", [entry for _, entry in sharing.dropped],
            [entry for copy, entry in sharing.kept if not sharing._is_dropped(copy)],
            {graph_signature.inputs_to_buffers[v.node.target]: v.spec.allocated_memory
             for v in flow.values if v.kind == "buffer"}))
        return PassResult(graph_module, True)

    def _rewrite(self, flow, sharing, module):
        """Takes the dropped copies out of the graphs."""
        for copy, _ in sharing.dropped:
            if copy.kind == "part":
                continue
            node = copy.node
            # What a write back leaves behind is the buffer.
            source = node.args[0] if copy.kind == "write back" else copy.operand
            node.replace_all_uses_with(source)
            own = node.kwargs.get("out")
            copy.graph.erase_node(node)
            if own is not None and not own.users:
                copy.graph.erase_node(own)
        for part in _graphs(module):
            part.recompile()

    def _place(self, flow, sharing, module, signature):
        specs = {}
        gone = {copy.value for copy, _ in sharing.dropped if copy.kind != "part"}
        for members in sharing.groups():
            members = [m for m in members if m not in gone]
            if not members or any(m.kind == "constant" for m in members):
                continue
            root = next((m for m in members if m.kind in ("input", "buffer")),
                        max(members, key=lambda m: m.spec.allocated_memory))
            shared = root.kind == "buffer" and self.share_mutable_buffers
            planned = not shared and self._is_planned(flow, root)
            for member in members:
                spec = member.spec
                self._check_spec(member)
                if member is not root and spec is not root.spec:
                    spec.storage_base = root.spec if planned else None
                    if shared:
                        self._followers.append((spec, root.spec))
                if planned and spec.shape_dynamism != TensorShapeDynamism.DYNAMIC_UNBOUND:
                    self._extend(specs, spec, member, flow)
            if planned:
                root_life = specs[root.spec]
                for member in members:
                    if member.spec in specs:
                        root_life[0] = min(root_life[0], specs[member.spec][0])
                        root_life[1] = max(root_life[1], specs[member.spec][1])
        for spec, lifetime in specs.items():
            spec.lifetime = lifetime
        padding = PADDING if any(_contains_xnnpack_delegate(g) for g in _graphs(module)) else 0
        module.input_mem_buffer_sizes = []
        sizes = self.memory_planning_algo(self.alignment, list(specs), module, signature, padding)
        module.meta["non_const_buffer_sizes"] = sizes if len(sizes) > 1 else [0, 0]
        for part in _graphs(module):
            part.meta.setdefault("non_const_buffer_sizes", module.meta["non_const_buffer_sizes"])
        self._place_joined(flow, sharing, gone)
        if self.share_mutable_buffers:
            self._note_shared(flow, module)

    def _is_planned(self, flow, root):
        if root.kind == "input":
            return self.alloc_graph_input
        if root.kind == "buffer":
            return self.alloc_mutable_buffers
        return self.alloc_graph_output or not flow.to_caller(root)

    def _extend(self, specs, spec, member, flow):
        needed = flow.needed(member)
        first, last = member.position, max(member.position, needed.bit_length())
        if member.kind == "buffer":
            first, last = 0, flow.end
        if flow.to_caller(member):
            last = flow.end
        lifetime = specs.setdefault(spec, [first, last])
        lifetime[0], lifetime[1] = min(lifetime[0], first), max(lifetime[1], last)

    def _check_spec(self, member):
        if member.spec.device != DeviceType.CPU:
            raise Unplannable(f"{member.name} lies on {member.spec.device}; only memory of the CPU is "
                              "planned here")

    def _place_joined(self, flow, sharing, gone):
        """Gives the results of conds the place of what they are, if that is one place.

        Otherwise they have none: the value is whatever the taken branch moved there, and views of it
        are made when the program runs.
        """
        for node, results in flow.origins.items():
            if node.op == "call_function" and results and isinstance(results[0] or 0, Joined) \
                    and node is results[0].node:
                for joined, spec in zip(results, node.meta["spec"], strict=True):
                    if joined is None:
                        continue
                    if not self.alloc_graph_output and flow.to_caller(joined):
                        raise Unplannable(f"{joined.name} is an output in memory of the caller, and a "
                                          "cond cannot put it there")
                    self._place_like(spec, joined, flow, sharing)

    def _place_like(self, spec, joined, flow, sharing):
        """The place of a cond's result: needed where the caller, or a view that is not made at run
        time, looks for it."""
        roots = leaves(joined)
        one = len({id(sharing.group[root]) for root in roots}) == 1
        placed = next((r.spec for r in roots if r.spec.mem_offset is not None), None)
        if placed is not None and (one or joined in flow.outputs):
            spec.mem_id, spec.mem_offset = placed.mem_id, placed.mem_offset
            spec.mem_obj_id = placed.mem_obj_id

    def _note_shared(self, flow, module):
        self.state.graph_modules.append(module)
        for value in flow.values:
            if value.kind == "buffer":
                name = flow.signature.inputs_to_buffers[value.node.target]
                value.spec.const = False   # also where this method only reads it
                self.state.mutable_buffers.setdefault(name, set()).add(value.spec)

    def run_multimethod(self):
        super().run_multimethod()
        for spec, root in self._followers:
            spec.mem_id, spec.mem_offset = root.mem_id, root.mem_offset


def _graphs(module):
    """The graph and those of its branches; not what was given to a delegate."""
    found = [module]
    for node in module.graph.nodes:
        if node.target is torch.ops.higher_order.cond:
            for branch in node.args[1:3]:
                found += _graphs(getattr(module, branch.target))
    return found

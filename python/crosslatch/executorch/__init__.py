"""Crosslatch for ExecuTorch: caches inside of a `.pte`, on its own runtime, without a copy.

The problem.  ExecuTorch's runtime has no kernels for the two operators, its memory planner lets one
`cond` overwrite what the one before it returned, and a cache that goes through a `cond` is copied at
every step.

The idea.  `pure` says what the operators mean with ExecuTorch's own operators, copies included.
`planning` is a memory planner that knows how long each value of the whole program is needed (`values`)
and drops each copy of which that proves that it changes nothing (`sharing`).  Nothing is added to the
runtime: where a copy was, a kernel writes into the cache, or a branch returns the cache itself.

One decision, made here and not by the engine, because the values that are to share memory are those
of ExecuTorch's own graph (its out variants, its delegates), which the engine never sees.  The rule is
the engine's; a test compares both on the same programs.
"""

import copy
import warnings
from dataclasses import dataclass, field

from executorch.exir import (
    EdgeCompileConfig, ExecutorchBackendConfig, to_edge_transform_and_lower)

from ..latching.report import LatchReport
from .branches import delegating
from .planning import MemoryPlanning, Report
from .pure import buffers, pure
from .transcriber import Transcriber
from .values import Unplannable

__all__ = ["ExecutorchProgram", "MemoryPlanning", "Report", "Transcriber", "Unplannable",
           "delegating", "lower", "pure"]


SMALL = 64  # bytes of a buffer whose contents are always written to the file


@dataclass
class ExecutorchProgram:
    """A lowered program: what a `.pte` file contains, and the report about its copies."""

    manager: object             # ExecuTorch's ExecutorchProgramManager
    reports: dict[str, Report] = field(default_factory=dict)
    # Of a Hugging Face model: the files beside it, and what latching found.
    files: list[str] = field(default_factory=list)
    latched: LatchReport | None = None

    @property
    def buffer(self):
        """The bytes of the file."""
        return self.manager.buffer

    @property
    def report(self):
        """What was decided about every copy, for people."""
        return "\n".join(str(report) for report in self.reports.values())

    def save(self, path):
        with open(path, "wb") as file:
            self.manager.write_to_file(file)


def lower(program, partitioner=None, config=None, *, constants=None, compile_config=None):
    """Lowers an ExportedProgram, or several by the names of their methods, for ExecuTorch.

    `partitioner` is a list of ExecuTorch's partitioners, `config` an ExecutorchBackendConfig; its
    memory planning pass is replaced by one that knows branches and drops the copies of which it can
    prove that they change nothing.  Buffers of one name are one memory in all methods.  `constants` are
    values that the file's reader can ask for by name.  Raises `Unplannable` with the reason if a
    program cannot be planned.
    """
    programs = program if isinstance(program, dict) else {"forward": program}
    programs = {name: pure(one) for name, one in programs.items()}
    shared = _shared(programs)
    planning = {name: MemoryPlanning(shared=shared) for name in programs}
    # One pass for all methods where they share memory: it places the common buffers.
    common = MemoryPlanning(shared=shared) if shared else None
    config = copy.copy(config) if config is not None else ExecutorchBackendConfig()
    config.memory_planning_pass = common or planning
    with warnings.catch_warnings():
        # Mutable buffers start with nothing in ExecuTorch; programs here do not read them first.
        warnings.filterwarnings("ignore", "Mutation on a buffer in the model is detected")
        edge = to_edge_transform_and_lower(
            programs, constant_methods=constants,
            compile_config=compile_config or EdgeCompileConfig(),
            **delegating(programs, partitioner or (), shared))
        if common is None:
            _keep_initial_contents(edge)
        manager = edge.to_executorch(config)
    reports = common.reports if common else [planning[name].reports[-1] for name in programs]
    named = dict(zip(programs, reports, strict=True))
    for name, report in named.items():
        report.method = name
    return ExecutorchProgram(manager, named)


def _keep_initial_contents(edge):
    """Has small buffers, such as flags, and those that are not zero begin as they are.

    Otherwise what a buffer begins with is whatever the caller's memory holds.
    """
    for name in edge.methods:
        program = edge.exported_program(name)
        signature = program.graph_signature
        for node in program.graph.nodes:
            if (buffer := signature.inputs_to_buffers.get(node.target)) \
                    in signature.buffers_to_mutate.values():
                contents = program.state_dict.get(buffer, program.constants.get(buffer))
                if contents is not None and (contents.nbytes <= SMALL or contents.any()):
                    node.meta["et_init_buffer"] = True


def _shared(programs):
    """The buffers that more than one method has and at least one writes."""
    if len(programs) == 1:
        return frozenset()
    written = {name for one in programs.values()
               for name in one.graph_signature.buffers_to_mutate.values()}
    counts = [set(buffers(one)) for one in programs.values()]
    return frozenset(name for name in written if sum(name in names for names in counts) > 1)



"""Many calls in one program: exporting tens of thousands of calls in minutes.

An export of one call takes a tenth of a second, nearly all of it the same for a program of fifty
calls.  So calls are exported in batches, each a program with all their tensors as inputs and all their
results as outputs.  A batch that cannot be exported is halved until the culprit is alone; batches that
the engine refuses are treated the same way in another round.

    FOLDER/cases.json                  for the engine, as `generate.py` writes it
    FOLDER/calls.json                  which outputs of a case belong to which call
    FOLDER/NUMBER/program.pt2, tensors.safetensors
"""

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save_file

from operators.samples import Call, check_comparable

MOST = 64


@dataclass
class Wanted:
    """A call and what PyTorch computes."""

    operator: str
    case: str
    call: Call
    expected: tuple[torch.Tensor, ...]


@dataclass
class Batches:
    """The programs of a folder."""

    folder: Path
    operators: frozenset[str]
    """Names of the operators that the engine has."""
    cases: list[dict] = field(default_factory=list)
    refused: list[dict] = field(default_factory=list)
    """Calls without a program, and why."""
    programs: dict[str, list[Wanted]] = field(default_factory=dict)

    def add_batch(self, batch: list[Wanted]) -> None:
        """Makes one program of them, or several if one is impossible."""
        try:
            program = export(batch)
            here = [w for w, names in zip(batch, targets_of(program, len(batch)), strict=True)
                    if self.has(w, names)]
            if here and len(here) < len(batch):
                self.add_batch(here)
            elif here:
                self.save(here, program)
        except Exception as error:  # any failure of the exporter
            if len(batch) == 1:
                self.refuse(batch[0], f"export: {first_line(error)}")
                return
            half = len(batch) // 2
            self.add_batch(batch[:half])
            self.add_batch(batch[half:])

    def has(self, wanted: Wanted, names: set[str]) -> bool:
        """Whether the engine has all these operators; if not, the call is refused."""
        missing = {name for name in names if name.startswith("aten::")} - self.operators
        if missing:
            self.refuse(wanted, f"no operator {', '.join(sorted(missing))}")
        return not missing

    def refuse(self, wanted: Wanted, reason: str) -> None:
        """Notes a call without a result."""
        self.refused.append({"operator": wanted.operator, "case": wanted.case, "reason": reason})

    def save(self, batch: list[Wanted], program: torch.export.ExportedProgram) -> None:
        """Writes a program and its tensors."""
        name = str(len(self.cases))
        folder = self.folder / name
        folder.mkdir(parents=True)
        with warnings.catch_warnings(action="ignore"):
            torch.export.save(program, folder / "program.pt2")
        inputs = list(program.graph_signature.user_inputs)
        operands = [t for w in batch for t in w.call.tensors]
        tensors = {f"all/in/{n}": t.detach().clone(memory_format=torch.contiguous_format)
                   for n, t in zip(inputs, operands, strict=True)}
        save_file(tensors, folder / "tensors.safetensors")
        self.cases.append({
            "case": f"{name}/all", "program": f"{name}/program.pt2",
            "tensors": f"{name}/tensors.safetensors", "inputs": inputs,
            "outputs": sum(len(w.expected) for w in batch)})
        self.programs[f"{name}/all"] = batch

    def finish(self) -> None:
        """Writes the list of programs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"torch": torch.__version__, "cases": self.cases})
        (self.folder / "cases.json").write_text(text)


class Many(torch.nn.Module):
    """Several calls, each with operands of its own."""

    def __init__(self, calls: list[Call]):
        super().__init__()
        self.calls = torch.nn.ModuleList(calls)

    def forward(self, *operands):
        return tuple(call(*own) for call, own in zip(self.calls, operands, strict=True))


def export(batch: list[Wanted]) -> torch.export.ExportedProgram:
    """One program of all these calls, as the tracer leaves it."""
    calls = [w.call for w in batch]
    with torch.no_grad(), warnings.catch_warnings(action="ignore"):
        return torch.export.export(Many(calls), tuple(c.tensors for c in calls), strict=False)


def targets_of(program: torch.export.ExportedProgram, count: int) -> list[set[str]]:
    """The operators of each call of a batch."""
    targets: list[set[str]] = [set() for _ in range(count)]
    for node in program.graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
            continue
        # Paths of the modules that the node stems from: `calls.7` is the seventh call.
        for path, _ in node.meta.get("nn_module_stack", {}).values():
            if path.startswith("calls."):
                targets[int(path.split(".")[1])].add(node.target.name())
    return targets


def wanted(operator: str, case: str, call: Call) -> Wanted:
    """A call with what PyTorch computes; it may refuse."""
    with torch.no_grad():
        expected = call(*[tensor.clone() for tensor in call.tensors])
    for tensor in expected:
        check_comparable(tensor)
    return Wanted(operator, case, call, tuple(tensor.clone() for tensor in expected))


def first_line(error: Exception) -> str:
    """The kind of an error and the first line of what it says."""
    return " ".join([type(error).__name__, *str(error).strip().splitlines()[:1]])

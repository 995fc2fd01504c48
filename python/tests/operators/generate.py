"""Writes the cases that the engine has to compute as PyTorch does.

A case is one call of one operator: its exported program, inputs, and what PyTorch computed.  The
same call is exported in up to three forms: `decomposed`, which is how models are shipped;
`traced`, as the tracer left it, where that differs; and `in-place`, the operator's in-place variant
on a copy of its operand.

    FOLDER/cases.json                    every case: program, inputs, number of outputs
    FOLDER/targets.json                  how often each operator occurs in all programs
    FOLDER/refused.json                  calls without a program, and why
    FOLDER/OPERATOR/CASE.pt2             a program
    FOLDER/OPERATOR/tensors.safetensors  `CASE/in/NAME` and `CASE/out/INDEX` of all its cases

The tensor file is not NumPy's, which has no bfloat16.  By hand, in `python/tests`:
`python -m operators.generate FOLDER`.
"""

import argparse
import json
import multiprocessing
import shutil
import time
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.export import ExportedProgram

from operators.coverage import ENTRIES, Entry
from operators.programs import decomposing, has_data_dependent_sizes, targets
from operators.samples import Call, Refused, check_comparable, samples

# Samples of one operator: many for the type that models compute in, fewer for the others, whose
# shapes are the same.
MOST_FLOAT = 30
MOST_OTHER = 4
MOST_TRACED = 3
MOST_IN_PLACE = 2


@dataclass
class Exported:
    """A call and its program."""

    case: str
    call: Call
    form: str
    program: ExportedProgram
    expected: tuple[torch.Tensor, ...]


class Operator:
    """The cases of one operator."""

    def __init__(self, entry: Entry, folder: Path):
        self.entry = entry
        self.folder = folder / directory(entry.name)
        self.targets: Counter[str] = Counter()
        self.refused: list[dict] = []
        self.cases: list[dict] = []
        self.tensors: dict[str, torch.Tensor] = {}

    def generate(self) -> None:
        """Exports, decomposes and writes all of them."""
        self.folder.mkdir(parents=True)
        traced, in_place = self.trace()
        decomposed = self.decompose(traced)
        different = [t for t, d in zip(traced, decomposed, strict=True)
                     if d is None or targets(t.program) != targets(d.program)]
        for exported in [*filter(None, decomposed), *spread(different, MOST_TRACED), *in_place]:
            self.save(exported)
        save_file(self.tensors, self.folder / "tensors.safetensors")

    def trace(self) -> tuple[list[Exported], list[Exported]]:
        """The programs as the tracer leaves them."""
        traced, in_place = [], []
        for dtype in self.entry.dtypes:
            most = MOST_FLOAT if dtype == torch.float32 else MOST_OTHER
            calls = list(samples(self.entry.name, dtype))
            traced += self.export(calls, dtype, "traced", most)
        calls = list(samples(self.entry.name, torch.float32, in_place=True))
        in_place += self.export(calls, torch.float32, "in-place", MOST_IN_PLACE)
        return traced, in_place

    def export(self, calls: list[Callable[[], Call]], dtype: torch.dtype, form: str,
               most: int) -> list[Exported]:
        """Exports some of these calls."""
        exported = []
        for number, make in spread(list(enumerate(calls)), most):
            case = f"{str(dtype).removeprefix('torch.')}-{number}"
            try:
                exported.append(trace(case, make(), form))
            except Refused as reason:
                self.refuse(case, form, str(reason))
            except Exception as error:  # any failure of the exporter
                lines = str(error).strip().splitlines() or [""]
                self.refuse(case, form, f"export: {type(error).__name__}: {lines[0]}")
        return exported

    def refuse(self, case: str, form: str, reason: str) -> None:
        """Notes a call that has no program."""
        self.refused.append({"operator": self.entry.name, "case": f"{case}-{form}",
                             "reason": reason[:300]})

    def decompose(self, traced: list[Exported]) -> list[Exported | None]:
        """The same programs after `run_decompositions({})`."""
        decomposed: list[Exported | None] = []
        with decomposing():
            for exported in traced:
                try:
                    program = exported.program.run_decompositions({})
                except Exception as error:  # any failure of a decomposition
                    self.refuse(exported.case, "decomposed", f"decompose: {error}")
                    decomposed.append(None)
                    continue
                decomposed.append(Exported(exported.case, exported.call, "decomposed", program,
                                           exported.expected))
        return decomposed

    def save(self, exported: Exported) -> None:
        """Writes the program; tensors are written together at the end."""
        case = f"{exported.case}-{exported.form}"
        path = self.folder / f"{case}.pt2"
        try:
            with warnings.catch_warnings(action="ignore"):
                torch.export.save(exported.program, path)
        except Exception as error:  # a program that cannot be written cannot be read
            path.unlink(missing_ok=True)
            self.refuse(exported.case, exported.form, f"save: {error}")
            return
        names = exported.program.graph_signature.user_inputs
        for name, tensor in zip(names, exported.call.tensors, strict=True):
            self.tensors[f"{case}/in/{name}"] = own(tensor)
        for index, tensor in enumerate(exported.expected):
            self.tensors[f"{case}/out/{index}"] = own(tensor)
        operators = targets(exported.program)
        self.targets += operators
        operator = self.folder.name
        self.cases.append({
            "case": f"{operator}/{case}", "operator": self.entry.name,
            "program": f"{operator}/{case}.pt2", "tensors": f"{operator}/tensors.safetensors",
            "inputs": list(names), "outputs": len(exported.expected),
            "call": exported.call.describe(), "targets": sorted(operators)})


def trace(case: str, call: Call, form: str) -> Exported:
    """Computes and exports one call."""
    with torch.no_grad():
        expected = call(*[tensor.clone() for tensor in call.tensors])
        if not expected:
            raise Refused("no tensor in the result")
        for tensor in expected:
            check_comparable(tensor)
        expected = tuple(tensor.clone() for tensor in expected)
        program = torch.export.export(call, call.tensors, strict=False)
    if has_data_dependent_sizes(program):
        raise Refused("a size that depends on values")
    return Exported(case, call, form, program, expected)


def own(tensor: torch.Tensor) -> torch.Tensor:
    """A row-major copy: a file holds values, not strides."""
    return tensor.detach().clone(memory_format=torch.contiguous_format).contiguous()


def spread(items: list, most: int) -> list:
    """At most this many of them, evenly distributed."""
    if len(items) <= most:
        return items
    return [items[i * len(items) // most] for i in range(most)]


def directory(name: str) -> str:
    """The folder of an operator's cases."""
    return name.removeprefix("nn.functional.").replace("/", "-")


def _work(task: tuple[int, Path]) -> tuple[Operator, float]:
    index, folder = task
    torch.set_num_threads(1)
    start = time.monotonic()
    operator = Operator(ENTRIES[index], folder)
    with warnings.catch_warnings(action="ignore"):
        operator.generate()
    operator.tensors = {}
    return operator, time.monotonic() - start


def generate(folder: Path, processes: int = 2) -> None:
    """Writes all cases into a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    start = time.monotonic()
    cases, refused, counts, seconds = [], [], Counter(), {}
    tasks = [(index, folder) for index in range(len(ENTRIES))]
    with multiprocessing.get_context("fork").Pool(processes) as pool:
        for operator, took in pool.imap_unordered(_work, tasks):
            cases += operator.cases
            refused += operator.refused
            counts += operator.targets
            seconds[operator.entry.name] = took
    cases.sort(key=lambda case: case["case"])
    write_json(folder / "refused.json", sorted(refused, key=lambda r: (r["operator"], r["case"])))
    write_json(folder / "targets.json", dict(counts.most_common()))
    # Last: its presence says that the folder is complete.
    write_json(folder / "cases.json", {"torch": torch.__version__, "cases": cases})
    slow = sorted(seconds, key=seconds.__getitem__, reverse=True)[:5]
    print(f"{len(cases)} cases, {len(refused)} calls without a program, "
          f"{time.monotonic() - start:.0f} s (longest: "
          + ", ".join(f"{name} {seconds[name]:.0f} s" for name in slow) + ")")


def write_json(path: Path, value: object) -> None:
    """A file for people and programs."""
    path.write_text(json.dumps(value, indent=1) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="is replaced")
    generate(parser.parse_args().folder)

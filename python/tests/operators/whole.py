"""Runs PyTorch's whole database and all odd values through the engine, and judges the results.

By hand, in `python/tests`: `python -m operators.whole FOLDER [--every N] [--only NAME…]`.
"""

import argparse
import copy
import itertools
import json
import math
import random
import re
import shutil
import subprocess
import warnings
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from torch.testing._internal.common_methods_invocations import op_db
from torch.testing._internal.opinfo.core import BinaryUfuncInfo, UnaryUfuncInfo

from conftest import TARGET
from operators import exact, exceptions, odd
from operators.batches import MOST, Batches, Wanted, wanted
from operators.samples import ELEMENT_TYPES, make_call

# Results that are random or undefined.
UNDETERMINED = re.compile(r"empty|rand|bernoulli|multinomial|normal\b|dropout|^new_empty|uniform|"
                          r"cauchy|exponential|geometric|log_normal")

AT_A_TIME = 1024
"""Calls whose programs lie on the disk at the same time."""


@dataclass
class Verdict:
    """The outcome of a call."""

    operator: str
    case: str
    call: str
    outcome: str
    """`equal`, `refused` or `different`."""
    reason: str = ""


def engine_operators() -> frozenset[str]:
    """Names of the operators in the engine's tables, in-place ones included."""
    text = "".join(path.read_text() for path in odd.OPS.rglob("*.rs"))
    names = set(re.findall(r'"(aten::[a-zA-Z0-9_.]+)\(', text))
    for name in list(names):
        base, dot, overload = name.partition(".")
        overload = {"Tensor_Tensor": "Tensor", "Tensor_Scalar": "Scalar"}.get(overload, overload)
        names.add(f"{base}_{dot}{overload}")
    return frozenset(names)


def share(pair: str, every: int) -> int | None:
    """Of an operator and a type: every how many samples are taken, if any are.  Making samples takes
    as long as running them, so that some pairs are left out altogether: always the same ones."""
    pairs = math.isqrt(every)
    return None if zlib.crc32(pair.encode()) % pairs else -(-every // pairs)


def database(every: int, only: set[str]) -> Iterator[Wanted | tuple[str, str, str]]:
    """Every sample of PyTorch's database in every element type; a triple for one that cannot be
    asked for."""
    for op in op_db:
        name = f"{op.name}/{op.variant_test_name}".rstrip("/")
        if op.variant_test_name == "complex" or UNDETERMINED.search(op.name):
            continue
        if only and op.name not in only:
            continue
        for dtype in ELEMENT_TYPES:
            if dtype not in op.supported_dtypes("cpu"):
                continue
            step = share(f"{name}/{dtype}", every)
            if step is None:
                continue
            torch.manual_seed(0)
            np.random.seed(0)
            random.seed(0)
            samples = op.sample_inputs("cpu", dtype, requires_grad=False)
            for number, sample in enumerate(samples):
                if number % step:
                    continue
                case = f"{str(dtype).removeprefix('torch.')}-{number}"
                try:
                    # Some sample generators modify samples that they have already returned.
                    arguments = copy.deepcopy(((sample.input, *sample.args), sample.kwargs))
                    call = make_call(op.op, *arguments)
                    yield wanted(name, case, call)
                except Exception as error:  # PyTorch refuses it, or we do not support its kind
                    yield name, case, f"{type(error).__name__} {error}"[:200]


def odd_values(every: int, only: set[str]) -> Iterator[Wanted]:
    """Every call with odd values that PyTorch computes."""
    for family, op in odd.operators():
        if only and op._schema.name.removeprefix("aten::") not in only:
            continue
        for dtype in ELEMENT_TYPES:
            step = share(f"{op}/{dtype}", every)
            if step is None:
                continue
            for number, call in enumerate(odd.calls(family, op, dtype)):
                if number % step:
                    continue
                case = f"odd-{str(dtype).removeprefix('torch.')}-{number}"
                try:
                    asked = wanted(str(op), case, call)
                except Exception:  # PyTorch refuses it
                    continue
                yield asked


def is_elementwise(operator: str) -> bool:
    """Whether elements of the result depend on one element of each operand."""
    return operator in _elementwise


_elementwise = {f"{op.name}/{op.variant_test_name}".rstrip("/") for op in op_db
                if isinstance(op, UnaryUfuncInfo | BinaryUfuncInfo)}
_elementwise |= {str(op) for family, op in odd.operators() if family in odd.ELEMENTWISE}


def judge(batches: Batches, results: Path) -> tuple[list[Verdict], list[Wanted]]:
    """What became of each call, and the calls of programs that failed as a whole."""
    failures = json.loads((results / "failures.json").read_text())
    verdicts, failed = [], []
    for case, program in batches.programs.items():
        if case in failures:
            reason = failures[case]
            if len(program) > 1:
                failed += program
                continue
            outcome = "refused" if reason.startswith("refused: ") else "different"
            verdicts.append(verdict(program[0], outcome, reason))
            continue
        actual = load_file(results / case.split("/")[0] / "tensors.safetensors")
        at = 0
        for asked in program:
            verdicts.append(verdict(asked, *compare(asked, actual, at)))
            at += len(asked.expected)
    return verdicts, failed


def compare(asked: Wanted, actual: dict[str, torch.Tensor], at: int) -> tuple[str, str]:
    """Outcome and reason for the results of a call, of which the first has number `at`."""
    elementwise = is_elementwise(asked.operator)
    # Of odd values each line has a size of its own.
    relative = elementwise or asked.case.startswith("odd-")
    size = exceptions.size(asked, relative)
    outcome = ("equal", "")
    for way in ("out", "plain"):
        for i, expected in enumerate(asked.expected):
            result = actual[f"all/{way}/{at + i}"]
            wrong = exact.difference(expected, None, result, relative, size)
            if wrong:
                other = alternative(asked, elementwise)
                if other:
                    wrong = exact.difference(expected, other[i], result, relative, size)
            reason = wrong and exceptions.reason(asked, i)
            if reason:
                outcome = ("excepted", reason)
            elif wrong:
                return "different", f"{way} {i}: {wrong}"
    return outcome


def alternative(asked: Wanted, elementwise: bool) -> tuple[torch.Tensor, ...] | None:
    """Another answer of PyTorch: its vectors and its loop over single elements may use different
    formulas; and sums of few bits overflow where those in double precision do not."""
    try:
        return odd.one_by_one(asked.call) if elementwise else odd.in_double(asked)
    except Exception:  # it has no other
        return None


def verdict(asked: Wanted, outcome: str, reason: str) -> Verdict:
    """The verdict on a call."""
    return Verdict(asked.operator, asked.case, asked.call.describe()[:300], outcome, reason)


def run(asked: Iterator[Wanted | tuple[str, str, str]], folder: Path) -> list[Verdict]:
    """Runs all of these calls, some thousands at a time; returns what became of each."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    operators, verdicts = engine_operators(), []
    while some := list(itertools.islice(asked, AT_A_TIME)):
        verdicts += [Verdict(*one[:2], "", "impossible", one[2]) for one in some
                     if not isinstance(one, Wanted)]
        possible = [one for one in some if isinstance(one, Wanted)]
        many = Batches(folder / "many", operators)
        judged, failed = run_programs(many, [possible[i:i + MOST]
                                             for i in range(0, len(possible), MOST)])
        # Programs that failed as a whole are taken apart.
        alone = Batches(folder / "one", operators)
        verdicts += judged + run_programs(alone, [[one] for one in failed])[0]
        with (folder / "verdicts.jsonl").open("w") as file:
            file.writelines(json.dumps(vars(v)) + "\n" for v in verdicts if v.outcome != "equal")
    return verdicts


def run_programs(batches: Batches, programs: list[list[Wanted]]) -> tuple[list[Verdict],
                                                                          list[Wanted]]:
    """Makes and runs a program of each list; what became of the calls, and those to be tried alone."""
    shutil.rmtree(batches.folder, ignore_errors=True)
    results = batches.folder / "results"
    results.mkdir(parents=True)
    with warnings.catch_warnings(action="ignore"):
        for program in programs:
            batches.add_batch(program)
    batches.finish()
    subprocess.run([TARGET / "examples" / "conformance", batches.folder, results], check=True,
                   stdout=subprocess.DEVNULL)
    verdicts, failed = judge(batches, results)
    verdicts += [Verdict(r["operator"], r["case"], "", "refused", r["reason"])
                 for r in batches.refused]
    return verdicts, failed


def report(verdicts: list[Verdict]) -> str:
    """The counts, and the different ones by operator."""
    lines = []
    different = [v for v in verdicts if v.outcome == "different"]
    for operator, count in Counter(v.operator for v in different).most_common():
        lines.append(f"{operator}: {count}")
        own = [v for v in different if v.operator == operator]
        lines += [f"    {v.case} {v.call[:160]}\n        {v.reason[:240]}" for v in own[:3]]
    counts = Counter(v.outcome for v in verdicts)
    lines.append(", ".join(f"{counts[o]} {o}" for o in ("equal", "excepted", "different", "refused")))
    return "\n".join(lines)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="is replaced")
    parser.add_argument("--every", type=int, default=1, help="one of so many samples")
    parser.add_argument("--odd", action="store_true", help="odd values, not the database")
    parser.add_argument("--only", nargs="*", default=[], help="operators")
    args = parser.parse_args()
    torch.set_num_threads(1)
    source = odd_values if args.odd else database
    all_verdicts = run(source(args.every, set(args.only)), args.folder)
    print(report(all_verdicts))

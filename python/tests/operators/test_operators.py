"""Every operator, over PyTorch's own sample inputs: the engine must compute what PyTorch computes.

The engine runs all cases in one go, each in several ways (see the example `conformance` of the
crate `crosslatch`); here its results are compared with PyTorch's.  A report by operator goes to
standard output and `target/conformance/report.txt`.
"""

import json
import re
import subprocess
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from conftest import ROOT, TARGET
from operators import odd
from operators.cache import cached
from operators.comparison import difference
from operators.core import core_operators
from operators.coverage import ENTRIES
from operators.whole import engine_operators

#: Their results are sizes, or depend on contents: programs with dynamic sizes and with `item` test them.
ABOUT_SIZES = re.compile(r"aten::(sym_|nonzero|_local_scalar_dense)")
#: They draw random numbers: programs with a seed test them.
RANDOM = {"aten::rand", "aten::randn", "aten::randperm"}


@pytest.fixture(scope="module")
def cases() -> Path:
    """The folder of cases."""
    return cached(ROOT / "target" / "conformance")


def compare(cases: Path, results: Path) -> dict[str, dict[str, str]]:
    """What is wrong with each case, by operator; empty text if nothing is."""
    failures = json.loads((results / "failures.json").read_text())
    entries = {entry.name: entry for entry in ENTRIES}
    outcome: dict[str, dict[str, str]] = defaultdict(dict)
    opened: dict[str, tuple[dict, dict]] = {}
    for case in json.loads((cases / "cases.json").read_text())["cases"]:
        file, name = case["tensors"], case["case"].split("/")[1]
        if file not in opened:
            opened = {file: (load_file(cases / file), load_file(results / file))}
        wrong = failures.get(case["case"])
        for way in ("out", "plain"):
            for index in range(case["outputs"]):
                if wrong is None:
                    expected, actual = opened[file]
                    wrong = difference(
                        entries[case["operator"]], index, expected[f"{name}/out/{index}"],
                        actual[f"{name}/{way}/{index}"],
                        integers=not name.startswith(("float", "bfloat")))
                    wrong = wrong and f"{way} {index}: {wrong}"
        outcome[case["operator"]][f"{case['case']} {case['call']}"] = wrong or ""
    return outcome


def report(outcome: dict[str, dict[str, str]], refused: list[dict]) -> str:
    """A line for each operator, the first failures of each, and the sum."""
    not_exportable = Counter(r["operator"] for r in refused)
    lines = []
    passed_in_all = failed_in_all = 0
    for entry in ENTRIES:
        cases = outcome.get(entry.name, {})
        failed = {case: wrong for case, wrong in cases.items() if wrong}
        passed_in_all += len(cases) - len(failed)
        failed_in_all += len(failed)
        note = f", {not_exportable[entry.name]} without a program" * bool(
            not_exportable[entry.name])
        lines.append(f"{entry.name:45} {len(cases) - len(failed):3}/{len(cases)} passed{note}")
        lines += [f"    {case[:200]}\n        {' '.join(wrong.split())[:300]}"
                  for case, wrong in list(failed.items())[:3]]
    lines.append(f"{passed_in_all} passed, {failed_in_all} failed")
    return "\n".join(lines)


def test_operators_compute_what_pytorch_computes(cases, tmp_path):
    subprocess.run([TARGET / "examples" / "conformance", cases, tmp_path], check=True)
    outcome = compare(cases, tmp_path)
    text = report(outcome, json.loads((cases / "refused.json").read_text()))
    (cases.parent / "report.txt").write_text(text + "\n")
    print(text)
    assert not any(wrong for operator in outcome.values() for wrong in operator.values()), text


def test_every_operator_has_cases(cases):
    have = {case["operator"] for case in json.loads((cases / "cases.json").read_text())["cases"]}
    assert {entry.name for entry in ENTRIES} == have
    assert torch.__version__ == json.loads((cases / "cases.json").read_text())["torch"]


def test_every_core_operator_that_is_there_is_compared_with_pytorch(cases):
    targets = json.loads((cases.parent / "targets.json").read_text())
    compared = set(targets) | {op.name() for _, op in odd.operators()} | RANDOM
    left = (core_operators().keys() & engine_operators()) - compared
    assert {name for name in left if not ABOUT_SIZES.match(name)} == set()

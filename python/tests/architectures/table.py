"""docs/guide/architectures.md: what runs of the programs that `torch.export` makes of models as they are.

`cargo xtask architectures` measures every architecture and writes the page; with names it measures only
those and keeps the other rows.  `--times` only measures the times of programs that an earlier call left
behind: on a quiet machine, one `--group` after another.
"""

import argparse
import fcntl
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs/guide/architectures.md"
TITLES = ("Architecture", "As exported", "Decomposed", "Latched", "Eager, ms", "Crosslatch, ms",
          "Latched, ms")
RUNS = "{green} of {all} architectures run"

INTRODUCTION = f"""# Architectures

`cargo xtask architectures` writes this page. Nobody tuned the engine for these models: each is tiny, has random
weights, and is exported by `torch.export.export` of torch {{torch}} and nothing else, in the code of
transformers {{transformers}} or of plain PyTorch. A program is saved as it was traced and again after
`run_decompositions()`; the engine runs both on three inputs in one session. The numbers are the largest
difference to eager PyTorch, as a part of the largest value of an output; up to 1e-4 is right, and more where eager
PyTorch itself is as far from its results in float64. "One size" means that PyTorch itself cannot trace the model for
lengths that vary.

Latched arguments, such as the input of an encoder, stay while the others change: [what depends on them
alone](latching.md) is computed once. The column has the number of values that are kept, of nine runs compared
with eager PyTorch. Times are medians for the first input, with one thread, in eager PyTorch, in the engine, and
there with latched arguments after the first run. The models are tiny: what is measured is the cost of taking a
step, not that of arithmetic. Machine: {{machine}}.

{RUNS}, both as exported and decomposed.
"""


def row(*cells):
    return "| " + " | ".join(str(cell).replace("|", "\\|") for cell in cells) + " |"


def variant_cell(result, variant):
    if variant in result.reason:
        return result.reason[variant]
    size = ", one size" if result.fixed else ""
    return f"{result.distance[variant]:.0e}{size}"


def time_cell(milliseconds):
    return "" if milliseconds is None else f"{milliseconds:.2f}"


def result_row(architecture, result):
    plain, decomposed = (variant_cell(result, variant) for variant in ("plain", "decomposed"))
    if result.reason and plain == decomposed:
        decomposed = "the same"
    return row(architecture.name, plain, decomposed, result.latched,
               *map(time_cell, (result.eager, result.engine, result.step)))


def rows_of(page):
    """{name: row} of a page."""
    lines = page.splitlines() if isinstance(page, str) else []
    return {line.split(" | ")[0].removeprefix("| "): line for line in lines
            if line.startswith("| ") and not line.startswith(f"| {TITLES[0]} ")}


def runs(cell):
    """Whether a cell has a difference, not a reason."""
    return re.match(r"\d+e-\d+|0e\+00", cell) is not None


def is_green(line):
    return all(map(runs, line.split(" | ")[1:3]))


def verdict(line):
    """A row without what differs from machine to machine: whether each variant runs, else why not."""
    cells = line.removesuffix(" |").split(" | ")
    distances = [("one size" if "one size" in cell else "any size") if runs(cell) else cell
                 for cell in cells[1:3]]
    return [cells[0], *distances, cells[3]]


def with_times(line, result):
    """The row with other times."""
    cells = line.removesuffix(" |").removeprefix("| ").split(" | ")
    times = map(time_cell, (result.eager, result.engine, result.step))
    return "| " + " | ".join([*cells[:4], *times]) + " |"


def page(rows, machine):
    import torch
    import transformers

    from architectures import GROUPS
    parts = [INTRODUCTION.format(
        torch=torch.__version__.split("+")[0], transformers=transformers.__version__, machine=machine,
        green=sum(map(is_green, rows.values())), all=len(rows))]
    for title, group in GROUPS.items():
        parts.append("\n".join([f"## {title}", "", row(*TITLES), "|---" * len(TITLES) + "|", *(
            rows[architecture.name] for architecture in group if architecture.name in rows)]) + "\n")
    return "\n".join(parts)


def machine():
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        import platform
        return platform.processor() or platform.machine()


def main():
    from architectures import ARCHITECTURES, GROUPS
    options = argparse.ArgumentParser(prog="cargo xtask architectures", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help="an architecture of the page")
    options.add_argument("--group", choices=GROUPS, help="all of one heading")
    options.add_argument("--missing", action="store_true", help="only those without a row yet")
    options.add_argument("--times", action="store_true", help="measure times only")
    options.add_argument("--programs", type=Path, default=ROOT / "target/architectures",
                         metavar="FOLDER", help="where the exported programs are kept")
    asked = options.parse_args()
    if unknown := set(asked.names) - {a.name for a in ARCHITECTURES}:
        options.error(f"no architecture {', '.join(sorted(unknown))}")
    chosen = [a for a in GROUPS.get(asked.group, ARCHITECTURES)
              if not asked.names or a.name in asked.names]
    asked.programs.mkdir(parents=True, exist_ok=True)
    for architecture in chosen:
        before = rows_of(PAGE.read_text()) if PAGE.exists() else {}
        if asked.missing and architecture.name in before:
            continue
        line = measured_row(architecture, asked, before.get(architecture.name))
        print(line, file=sys.stderr)
        write_row(architecture.name, line, [a.name for a in ARCHITECTURES])


def write_row(name, line, names):
    """Puts a row into the page; what another call writes meanwhile stays."""
    PAGE.touch()
    with PAGE.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        rows = rows_of(file.read()) | {name: line}
        content = page({name: rows[name] for name in names if name in rows}, machine())
        file.seek(0)
        file.write(content)
        file.truncate()


def measured_row(architecture, asked, line):
    """The row of an architecture, or its present one with other times."""
    import torch

    from architectures.measuring import Result, VARIANTS, measured, timed
    torch.set_num_threads(1)
    if not asked.times or line is None:
        result = measured(architecture, asked.programs)
        if not result.reason:
            timed(architecture, asked.programs, result)
        return result_row(architecture, result)
    if not is_green(line):
        return line
    result = Result(distance=dict.fromkeys(VARIANTS), latched=verdict(line)[3])
    timed(architecture, asked.programs, result)
    return with_times(line, result)


if __name__ == "__main__":
    sys.path[:0] = [str(ROOT / "python"), str(ROOT / "python/tests")]
    main()

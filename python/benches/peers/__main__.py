"""Encodes an input and decodes tokens in every installed runtime, in one run.

    cargo xtask bench peers [--sizes tiny,base,small,large-v3-turbo,t5-small,t5-large] [--turns 7] [--threads 2]
                            [--batch 8] [--beams] [--neighbour] [--instructions avx2] [--only NAME,…]
                            [--precisions f32,…] [--real FOLDER] [--clips FOLDER] [--json FILE]
    cargo xtask bench peers --print FILE

Whisper or T5 with random weights: the encoder on 30 s or 128 tokens, the first step (which computes
cross-attention keys and values, except where a runtime does so with the encoder), 64 later steps on given
tokens (`windows.py` says in which turns).  Scores are compared to eager PyTorch, and wrong ones are marked
beside the times.  A runtime that is missing or fails has the reason in the table, and the others go on; a
runtime that does not support the model is left out.

With `--batch`, runtimes that can do so also take the steps of that many windows at once, and with `--beams`
those of five texts of one window, which share what is encoded.  With `--neighbour`, each turn is
repeated while a load spins on one core.  `--real` names a Whisper with trained weights, which transcribes a
recording that is joined from clips, beside faster-whisper (`real/`).

The first runs of a size make the files of each runtime, which lie in `target/peers` for the next.
"""

import argparse
import json
import os
import subprocess
import sys
from datetime import date
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import catalogue  # noqa: E402
import chart  # noqa: E402
import machine  # noqa: E402
import models  # noqa: E402
import tables  # noqa: E402
import windows  # noqa: E402
from real import recording  # noqa: E402


def listed(text):
    return [part for part in text.split(",") if part]


def parsed():
    parser = argparse.ArgumentParser(prog="cargo xtask bench peers", description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=listed, help=f"of {', '.join(models.FAMILIES)} [default: tiny,base, "
                        "or none beside --real]")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="windows whose steps are taken at once")
    parser.add_argument("--beams", action="store_true",
                        help=f"steps of {models.BEAMS} texts of one window, too")
    parser.add_argument("--neighbour", action="store_true", help="measure with a load on one core, too")
    parser.add_argument("--apart", action="store_true", help="one process at a time, as for large sizes")
    parser.add_argument("--instructions", choices=machine.LIMITS, help="hold the runtimes to these")
    parser.add_argument("--only", type=listed, help="modules of runtimes/, with commas between")
    parser.add_argument("--precisions", type=listed, help="kinds of precision, such as f32,int8")
    parser.add_argument("--real", type=Path, help="a trained Whisper: a checkpoint folder or a .pt2 file")
    parser.add_argument("--checkpoint", type=Path, help="the folder that --real's .pt2 was exported from")
    parser.add_argument("--clips", type=Path, default=ROOT / "demo" / "speech",
                        help="recordings and their transcripts.json [default: demo/speech]")
    parser.add_argument("--seconds", type=float, default=260,
                        help="how long the joined recording is at least [default: 260]")
    parser.add_argument("--searches", type=listed, default=["1", "5"],
                        help="beams on the recording [default: 1,5]")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "peers")
    parser.add_argument("--json", type=Path, help="write the run here [default: peers.json in --output]")
    parser.add_argument("--print", type=Path, metavar="FILE",
                        help="print the tables of a run that was written")
    options = parser.parse_args()
    options.searches = [int(beams) for beams in options.searches]
    if options.sizes is None:
        options.sizes = [] if options.real else ["tiny", "base"]
    for size in options.sizes:
        if size not in models.FAMILIES:
            parser.error(f"--sizes: no size `{size}`; there are {', '.join(models.FAMILIES)}")
    for runtime in options.only or []:
        if runtime not in catalogue.RUNTIMES:
            parser.error(f"--only: no runtime `{runtime}`; there are {', '.join(catalogue.RUNTIMES)}")
    if options.real and not (options.checkpoint or options.real).is_dir():
        parser.error("--real: faster-whisper's converter needs a checkpoint's folder; "
                     "name it by --checkpoint")
    return options


def commit():
    """The state of the working tree; a mark behind it if that differs."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty=+"]
    done = subprocess.run(git, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"


def chart_of(measured):
    rows = {}
    done = [row for row in measured["rows"] if "failure" not in row and row["mode"] == catalogue.ALONE]
    for row in sorted(done, key=lambda row: row["window"][1]):
        encoder, first = row["encoder"][1], row["first"][1]
        later = max(0.0, row["window"][1] - encoder - first)
        rows[row["name"]] = {"encoder": encoder, "first": first, "later_all": later}
    family, size = models.family(measured["size"]), measured["size"]
    return chart.draw(f"{family.title(size)}: {family.WHAT}, {models.STEPS + 1} tokens", rows) if rows else None


def main():
    options = parsed()
    if options.print:
        print(tables.document(json.loads(options.print.read_text())))
        return
    options.output.mkdir(parents=True, exist_ok=True)
    run = {"machine": machine.described(), "date": date.today().isoformat(), "commit": commit(),
           "threads": options.threads, "turns": options.turns, "instructions": options.instructions,
           "versions": {}, "held": {}, "models": []}
    file = options.json or options.output / "peers.json"
    for size in options.sizes:
        measured = windows.measure(size, options)
        run["models"].append(measured)
        if drawing := chart_of(measured):
            (options.output / f"{size}.svg").write_text(drawing)
        note_runtimes(run, dict.fromkeys(row["runtime"] for row in measured["rows"]))
        file.write_text(json.dumps(run, indent=1))
    if options.real:
        run["recording"] = recording.measure(options, windows.say)
        run["versions"].update(recording.versions())
        file.write_text(json.dumps(run, indent=1))
    print(tables.document(run))


def note_runtimes(run, measured):
    """Versions, and whether a limit of instructions holds."""
    for runtime in measured:
        name, package = catalogue.RUNTIMES[runtime]
        if package:
            shown = name if runtime != "cpp" else f"{name} in {package}"
            run["versions"][shown] = catalogue.installed(runtime) or "not installed"
        run["held"][name] = machine.limit(run["instructions"], runtime)[1]


if __name__ == "__main__":
    os.environ.setdefault("CROSSLATCH_TARGET", str(ROOT / "target" / "release"))
    main()

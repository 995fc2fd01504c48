"""Encodes an input and decodes tokens in every installed runtime, in one run.

    cargo xtask bench peers [--sizes tiny,base,small,t5-small] [--turns 7] [--threads 2] [--batch 8]
                            [--only NAME,…]

Whisper or T5 with random weights: the encoder on 30 s or 128 tokens, the first step (which computes
cross-attention keys and values, except where a runtime does so with the encoder), 64 later steps on given
tokens.  Each runtime has a process of its own that sleeps when it is not its turn; in each turn every runtime
decodes the input once, in another order, and the bandwidth of memory is measured.  The first turn warms up
and counts only as the time to the first token.  Scores are compared to eager PyTorch, and wrong ones are
marked beside the times.  A runtime that is missing or fails has the reason in the table, and the others go
on; a runtime that does not support the model is left out.  With `--batch`, runtimes that can do so also take
the steps of that many sequences at once, and a second table compares windows per second.
"""

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
sys.path[:0] = [str(HERE), str(HERE.parents[1])]

import chart  # noqa: E402
import models  # noqa: E402
import runtimes  # noqa: E402
from models import making  # noqa: E402

#: Module: its display name, and its package or crate.
RUNTIMES = {
    "engine": ("Crosslatch", None),
    "pytorch": ("PyTorch", "torch"),
    "ort": ("ONNX Runtime", "onnxruntime"),
    "ov": ("OpenVINO", "openvino"),
    "ct2": ("CTranslate2", "ctranslate2"),
    "cpp": ("whisper.cpp", "pywhispercpp"),
    "rten": ("RTen", "rten"),
    "candle": ("candle", "candle-transformers"),
}
CRATES = {"rten", "candle"}
#: The precision of Crosslatch that each precision is compared to.
KIND = {"f32": "f32", "f32 Inductor": "f32", "bf16": "bf16", "bf16 Inductor": "bf16", "f16": "bf16",
        "int8": "int8", "q8_0": "int8", "q5_0": "int8"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def installed(runtime):
    """The version that would run; `None` if there is none.  Ours is that of the working tree."""
    package = RUNTIMES[runtime][1]
    if runtime in CRATES:
        crates = tomllib.loads((HERE / "rust" / "Cargo.lock").read_text())["package"]
        (found,) = (crate["version"] for crate in crates if crate["name"] == package)
        return found if runtimes.BINARY.exists() else None
    try:
        return version(package) if package else "of this tree"
    except PackageNotFoundError:
        return None


def precisions(runtime):
    """What a runtime's module offers with one sequence and with several, and the files that this needs:
    {(precision, whether together): files}; read without its library."""
    text = (HERE / "runtimes" / f"{runtime}.py").read_text()
    lines = [line for line in text.splitlines() if line.startswith(("PRECISIONS", "NEEDS"))]
    found = {}
    exec("\n".join(lines), found)  # noqa: S102: two literals of our own
    alone = {(precision, False): found["NEEDS"][precision] for precision in found["PRECISIONS"]}
    return alone | {(p, True): needs for p, needs in found.get("NEEDS_TOGETHER", {}).items()}


class Row:
    """A row of the table: a runtime in a precision, which may have failed before it could start."""

    def __init__(self, runtime, precision, lanes, failure):
        self.runtime, self.lanes, self.failure = runtime, lanes, failure
        self.name, self.kind = f"{RUNTIMES[runtime][0]} {precision}", KIND[precision]

    def end(self):
        pass

    def result(self):
        known = {"runtime": self.runtime, "name": self.name, "kind": self.kind, "lanes": self.lanes}
        return {**known, "failure": self.failure} if self.failure else known


class Worker(Row):
    """A process with a runtime; says at every point whether it still can."""

    def __init__(self, runtime, precision, lanes, folder, threads):
        super().__init__(runtime, precision, lanes, None)
        self.turns, self.log = [], folder / "log" / f"{runtime}-{precision}-{lanes}.txt"
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, HERE / "worker.py", runtime, precision, folder, str(threads),
                 str(lanes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"})
        self.started = self.answer()

    def answer(self):
        line = self.process.stdout.readline() if not self.failure else ""
        if line:
            return json.loads(line)
        if not self.failure:
            self.process.wait()
            said = self.log.read_text().strip().splitlines()
            self.failure = said[-1] if said else f"ended with status {self.process.returncode}"
            say(f"{self.name}: {self.failure}")
        return {}

    def ask(self, what):
        if self.failure:
            return {}
        try:
            self.process.stdin.write(what + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.answer()

    def turn(self):
        self.turns.append(self.ask("turn"))

    def end(self):
        self.peak = self.ask("end").get("peak")
        self.process.stdin.close()
        self.process.wait()

    def result(self):
        """Medians and quartiles."""
        if self.failure:
            return super().result()
        cold, *warm = [turn["times"] for turn in self.turns]
        last = self.turns[-1]
        later = [t for times in warm for t in times["later"]]
        spread = lambda values: [*statistics.quantiles(values, n=4)] if len(values) > 1 else values * 3
        found = {part: spread([times[part] for times in warm]) for part in ("encoder", "first")}
        found["later"] = spread(later)
        decoder = [t["first"] + models.STEPS * statistics.fmean(t["later"]) for t in warm]
        whole = [t["encoder"] + steps for t, steps in zip(warm, decoder)]
        return {
            **super().result(), **found, "window": spread(whole),
            "decoder_per_second": spread([1e3 * self.lanes / steps for steps in decoder]),
            "to_first_token": self.started["load"] + cold["encoder"] + cold["first"],
            "peak_mib": self.peak, "before_mib": self.started["before"],
            **{key: last[key] for key in ("relative", "cosine", "same_token") if key in last},
        }


def bandwidth(source, target):
    """GB/s that two threads read; a copy reads and writes."""
    begin = time.perf_counter()
    np.copyto(target, source)
    return 2 * source.nbytes / (time.perf_counter() - begin) / 1e9


def verdict(result):
    """Words behind a name: whether the scores are those of the model, as far as the precision lets them."""
    if "cosine" not in result and "same_token" not in result:
        return " (scores not seen)"
    return "" if is_right(result) else " (**wrong scores**)"


def is_right(result):
    if "same_token" in result:
        return result["same_token"] or result["kind"] != "f32"
    least = {"f32": 0.9999, "bf16": 0.98, "int8": 0.95}[result["kind"]]
    return result["cosine"] > least


def measure(size, options):
    folder = options.output / size
    folder.mkdir(parents=True, exist_ok=True)
    chosen = options.only.split(",") if options.only else list(RUNTIMES)
    # A runtime that a model's files cannot be made for does not have the model.
    wanted = {(r, p, options.batch if together else 1): needs for r in RUNTIMES if r in chosen
              for (p, together), needs in precisions(r).items()
              if making.can_be_made(size, needs) and (options.batch > 1 or not together)}
    files = dict.fromkeys(["reference.npz", *(
        file for (runtime, *_), needs in wanted.items() if installed(runtime) for file in needs)])
    family = models.family(size)
    np.savez(folder / "given.npz", given=family.given(), tokens=family.tokens())
    broken = making.make(folder, size, files, say)
    rows = []
    for (runtime, precision, lanes), needs in wanted.items():
        failure = next((broken[file] for file in needs if file in broken), None)
        if not installed(runtime):
            failure = "not installed"
        if failure:
            rows.append(Row(runtime, precision, lanes, failure))
        else:
            say(f"{size}: starting {runtime} {precision}, lanes: {lanes}")
            rows.append(Worker(runtime, precision, lanes, folder, options.threads))
    source, speeds = np.ones(2**26, np.float32), []
    target = source.copy()
    for turn in range(options.turns + 1):
        speeds.append(bandwidth(source, target))
        order = [row for row in rows if not row.failure]
        random.Random(turn).shuffle(order)
        for worker in order:
            worker.turn()
        say(f"{size}: turn {turn} of {options.turns}; memory {speeds[-1]:.1f} GB/s")
    for row in rows:
        row.end()
    return {"size": size, "memory_gbs": statistics.quantiles(speeds, n=4),
            "rows": [row.result() for row in rows]}


def table(rows):
    rows = [row for row in rows if row["lanes"] == 1]
    ours = {row["kind"]: row for row in rows
            if row["name"].startswith("Crosslatch") and "failure" not in row}
    lines = ["| runtime | encoder ms | first step | later step | whole window | × Crosslatch | "
             "to first token | peak MiB |", "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        if "failure" in row:
            lines.append(f"| {row['name']} | failed: {row['failure'][:120]} | | | | | | |")
            continue
        cell = lambda key, digits: "{1:.{d}f} ({0:.{d}f}–{2:.{d}f})".format(*row[key], d=digits)
        same = ours.get(row["kind"])
        ratio = f"{row['window'][1] / same['window'][1]:.2f}" if same else ""
        wrong = verdict(row)
        encoder = cell("encoder", 0) if row["encoder"][1] else "in the first step"
        lines.append(
            f"| {row['name']}{wrong} | {encoder} | {cell('first', 1)} | {cell('later', 2)} "
            f"| {cell('window', 0)} | {ratio} | {row['to_first_token']:.0f} | {row['peak_mib']:.0f} |")
    return "\n".join(lines)


def table_together(rows, batch):
    """Decoder parts per second: first and later steps, of one sequence and of several at once."""
    alone = {row["name"]: row for row in rows if row["lanes"] == 1}
    lines = [f"| runtime | windows a second, one | {batch} at once | × |", "|---|---|---|---|"]
    for row in rows:
        if row["lanes"] == 1:
            continue
        one = alone[row["name"]]
        failure = row.get("failure") or one.get("failure")
        if failure:
            lines.append(f"| {row['name']} | failed: {failure[:120]} | | |")
            continue
        cell = lambda row: "{1:.2f} ({0:.2f}–{2:.2f})".format(*row["decoder_per_second"])
        name = row["name"] + ("" if row["encoder"][1] else ", encoder included") + verdict(row)
        ratio = row["decoder_per_second"][1] / one["decoder_per_second"][1]
        lines.append(f"| {name} | {cell(one)} | {cell(row)} | {ratio:.2f} |")
    return "\n".join(lines)


def bars(measured):
    rows = {}
    done = [row for row in measured["rows"] if "failure" not in row and row["lanes"] == 1]
    for row in sorted(done, key=lambda row: row["window"][1]):
        encoder, first = row["encoder"][1], row["first"][1]
        later = max(0.0, row["window"][1] - encoder - first)
        rows[row["name"]] = {"encoder": encoder, "first": first, "later_all": later}
    family, size = models.family(measured["size"]), measured["size"]
    return chart.draw(f"{family.title(size)}: {family.WHAT}, {models.STEPS + 1} tokens", rows)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", default="tiny,base")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=1, help="windows whose steps are taken at once")
    parser.add_argument("--only", help="modules of runtimes/, with commas between")
    parser.add_argument("--output", type=Path, default=ROOT / "target" / "peers")
    options = parser.parse_args()
    all_of_them = []
    for size in options.sizes.split(","):
        measured = measure(size, options)
        all_of_them.append(measured)
        low, speed, high = measured["memory_gbs"]
        print(f"\n## {models.family(size).title(size)}, {options.threads} threads, {options.turns} turns; "
              f"memory copied at {speed:.0f} ({low:.0f} to {high:.0f}) GB/s\n\n"
              f"{table(measured['rows'])}", flush=True)
        if options.batch > 1:
            print(f"\n{table_together(measured['rows'], options.batch)}", flush=True)
        if any("failure" not in row and row["lanes"] == 1 for row in measured["rows"]):
            (options.output / f"{size}.svg").write_text(bars(measured))
    ran = dict.fromkeys(row["runtime"] for measured in all_of_them for row in measured["rows"])
    versions = {name: installed(runtime) or "not installed"
                for runtime, (name, package) in RUNTIMES.items() if package and runtime in ran}
    print("\nMilliseconds, median (quartiles). " + ", ".join(f"{n} {v}" for n, v in versions.items()))
    written = {"machine": platform.processor() or platform.machine(), "threads": options.threads,
               "turns": options.turns, "versions": versions, "models": all_of_them}
    (options.output / "peers.json").write_text(json.dumps(written, indent=1))


if __name__ == "__main__":
    main()

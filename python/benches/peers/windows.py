"""Times of windows: every runtime encodes one input and takes the same steps, in turns.

Each runtime has a process of its own that sleeps when it is not its turn; in each turn every runtime decodes
the input once, in another order.  The first turn warms up and counts only as the time to the first token.
Large models do not fit into memory side by side: there the processes come one after another in each turn, each
with a cold window and a warm one.
"""

import json
import os
import random
import statistics
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np

import catalogue
import machine
import models
from models import making
from neighbour import Neighbour
from spread import spread

HERE = Path(__file__).resolve().parent
#: How long threads of a runtime may wait actively for more work (200 ms is what OpenMP does).
SETTLE = 0.3


def say(text):
    print(text, file=sys.stderr, flush=True)


class Row:
    """A row of the table: a runtime in a precision, which may have failed before it could start."""

    def __init__(self, entry, failure=None):
        self.entry, self.failure = entry, failure

    def result(self):
        known = {"runtime": self.entry.runtime, "name": self.entry.name, "kind": self.entry.kind,
                 "mode": self.entry.mode}
        return {**known, "failure": self.failure} if self.failure else known


class Worker(Row):
    """Processes with a runtime, one at a time; says at every point whether it still can."""

    def __init__(self, entry, folder, options):
        super().__init__(entry)
        self.lanes = {catalogue.BATCH: options.batch, catalogue.BEAMS: models.BEAMS}.get(entry.mode, 1)
        self.folder, self.threads = folder, options.threads
        self.limits, self.is_held = machine.limit(options.instructions, entry.runtime)
        self.starts, self.cold, self.warm, self.busy, self.peaks, self.last = [], [], [], [], [], None
        self.log = folder / "log" / "-".join([entry.runtime, *entry.precision.split(), f"{entry.mode}.txt"])

    def start(self):
        if self.failure:
            return
        self.log.parent.mkdir(exist_ok=True)
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, HERE / "worker.py", self.entry.runtime, self.entry.precision, self.folder,
                 str(self.threads), self.entry.mode, str(self.lanes)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True,
                env={**os.environ, "OMP_NUM_THREADS": str(self.threads), **self.limits})
        self.starts.append(self.answer())

    def answer(self):
        line = self.process.stdout.readline() if not self.failure else ""
        if line:
            return json.loads(line)
        if not self.failure:
            self.process.wait()
            said = self.log.read_text().strip().splitlines()
            self.failure = said[-1] if said else f"ended with status {self.process.returncode}"
            say(f"{self.entry.name}: {self.failure}")
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

    def window(self, into):
        """One window; its times go into this list."""
        if answer := self.ask("turn"):
            into.append(answer["times"])
            self.last = answer
        time.sleep(SETTLE)

    def end(self):
        if answer := self.ask("end"):
            self.peaks.append(answer["peak"])
        if self.starts:
            self.process.stdin.close()
            self.process.wait()

    def result(self):
        """Medians and quartiles."""
        if self.failure:
            return super().result()
        to_first = [start["load"] + cold["encoder"] + cold["first"]
                    for start, cold in zip(self.starts, self.cold, strict=True)]
        return {
            **super().result(), "lanes": self.lanes, **summary(self.warm, self.lanes),
            **({"busy": summary(self.busy, self.lanes)} if self.busy else {}),
            "to_first_token": spread(to_first), "load": spread(start["load"] for start in self.starts),
            "peak_mib": statistics.median(self.peaks),
            "before_mib": statistics.median(start["before"] for start in self.starts),
            **({} if self.is_held else {"not_held": True}),
            **{key: self.last[key] for key in ("relative", "cosine", "same_token") if key in self.last},
        }


def summary(windows, lanes):
    """Quartiles of the parts of windows, of whole ones, and of decoders in a second."""
    decoder = [w["first"] + models.STEPS * statistics.fmean(w["later"]) for w in windows]
    return {
        **{part: spread(w[part] for w in windows) for part in ("encoder", "first")},
        "later": spread(step for w in windows for step in w["later"]),
        "window": spread(w["encoder"] + steps for w, steps in zip(windows, decoder)),
        "decoder_per_second": spread(1e3 * lanes / steps for steps in decoder),
    }


def bandwidth(source, target):
    """GB/s that two threads read; a copy reads and writes."""
    begin = time.perf_counter()
    np.copyto(target, source)
    return 2 * source.nbytes / (time.perf_counter() - begin) / 1e9


def wanted(size, options):
    """What is to be measured.  A runtime that a model's files cannot be made for does not have the model."""
    def is_wanted(entry):
        modes = {catalogue.BATCH: options.batch > 1, catalogue.BEAMS: options.beams}
        return (modes.get(entry.mode, True)
                and (not options.only or entry.runtime in options.only)
                and (not options.precisions or entry.kind in options.precisions)
                and making.can_be_made(size, entry.needs)
                and (size not in models.LARGE or entry.runtime in models.RUNS_LARGE))

    return [entry for entry in catalogue.entries() if is_wanted(entry)]


def rows_for(size, options):
    """A row for each entry, files made where they are missing."""
    folder = options.output / size
    folder.mkdir(parents=True, exist_ok=True)
    entries = wanted(size, options)
    files = dict.fromkeys(["reference.npz", *(
        file for entry in entries if catalogue.installed(entry.runtime) for file in entry.needs)])
    family = models.family(size)
    np.savez(folder / "given.npz", given=family.given(size), tokens=family.tokens())
    broken = making.make(folder, size, files, say)
    rows = []
    for entry in entries:
        failure = next((broken[file] for file in entry.needs if file in broken), None)
        if not catalogue.installed(entry.runtime):
            failure = "not installed"
        rows.append(Row(entry, failure) if failure else Worker(entry, folder, options))
    return rows


def measure(size, options):
    rows = rows_for(size, options)
    workers = [row for row in rows if not row.failure]
    neighbour = Neighbour() if options.neighbour else None
    source, speeds = np.ones(2**26, np.float32), []
    target = source.copy()
    is_apart = options.apart or size in models.LARGE
    if not is_apart:
        for worker in workers:
            say(f"{size}: starting {worker.entry.name}, {worker.entry.mode}")
            worker.start()
    for turn in range(options.turns if is_apart else options.turns + 1):
        speeds.append(bandwidth(source, target))
        random.Random(turn).shuffle(workers)
        if is_apart:
            for worker in workers:
                say(f"{size}: turn {turn + 1} of {options.turns}, {worker.entry.name}, {worker.entry.mode}")
                worker.start()
                worker.window(worker.cold)
                worker.window(worker.warm)
                if neighbour:
                    with neighbour.busy():
                        worker.window(worker.busy)
                worker.end()
            continue
        for is_busy in (False, True)[:1 + bool(neighbour and turn)]:
            with neighbour.busy() if is_busy else nullcontext():
                for worker in workers:
                    worker.window(worker.busy if is_busy else worker.warm if turn else worker.cold)
        say(f"{size}: turn {turn} of {options.turns}; memory {speeds[-1]:.1f} GB/s")
    if not is_apart:
        for worker in workers:
            worker.end()
    if neighbour:
        neighbour.end()
    return {"size": size, "memory_gbs": spread(speeds), "rows": [row.result() for row in rows]}

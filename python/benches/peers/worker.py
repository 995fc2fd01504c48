"""A process with one runtime in one precision, which decodes a window on request.

    python worker.py RUNTIME PRECISION FOLDER THREADS MODE LANES

One line of JSON for each line that comes: `turn` is answered with the times and how far the scores are
from eager PyTorch's, `end` with the peak of memory.
"""

import importlib
import json
import os
import sys
from pathlib import Path

import numpy as np

import catalogue

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # the package, from the working tree


def distances(found, reference):
    """How far scores are from the reference: {relative to the largest, cosine}, the worst of both ends
    and of all lanes."""
    ends = zip(found, (reference["first"], reference["logits"]), strict=True)
    pairs = [(lane, expected) for rows, expected in ends for lane in np.atleast_2d(rows)]
    return {
        "relative": max(float(np.abs(a - b).max() / np.abs(b).max()) for a, b in pairs),
        "cosine": min(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)) for a, b in pairs),
    }


def main():
    name, precision, folder, threads, mode, lanes = sys.argv[1:]
    # Libraries print to standard output, so the answers use a channel of their own.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    folder = Path(folder)
    reference = dict(np.load(folder / "reference.npz"))
    given = np.load(folder / "given.npz")
    given, tokens = given["given"], given["tokens"].tolist()
    module = importlib.import_module(f"runtimes.{name}")
    from runtimes import milliseconds, peak
    before = peak()
    kind, how = module.Runtime, {} if mode == catalogue.ALONE else {"lanes": int(lanes)}
    if mode == catalogue.BATCH:
        kind = getattr(module, "Together", kind)
    if mode == catalogue.BEAMS:
        kind = module.Beams
    load, runtime = milliseconds(lambda: kind(folder, precision, int(threads), **how))

    def answer(**what):
        print(json.dumps(what), file=answers, flush=True)

    if hasattr(runtime, "peak"):  # a process that this one has started, with nothing in it before
        peak, before = runtime.peak, 0.0
    answer(load=load, before=before)
    for line in sys.stdin:
        if line.strip() == "end":
            answer(peak=peak())
            return
        times, found = runtime.window(given, tokens)
        if found is None:
            answer(times=times)
        elif isinstance(found[0], int):  # it says what it chose, not why
            is_same = found[0] == int(reference["chosen"])
            answer(times=times, same_token=is_same)
        else:
            answer(times=times, **distances(found, reference))


if __name__ == "__main__":
    main()

"""One module for each runtime, and what all of them do."""

import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

#: What `cargo xtask bench peers` builds of `rust/`, beside the engine's own builds.
BINARY = Path(os.environ.get("CROSSLATCH_TARGET", "target/release")).parent / "peers-rust/release/peers"


def peak(process="self"):
    """MiB that a process has had at most."""
    status = Path(f"/proc/{process}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def milliseconds(work):
    begin = time.perf_counter()
    result = work()
    return 1e3 * (time.perf_counter() - begin), result


class Stepping:
    """A runtime that can be fed token by token.

    It has `encode(given)`, which leaves what it returns inside, and `step(token, position)`, which
    returns the scores of the next token.  If it has several lanes, all of them decode the same: what is
    encoded is repeated, every lane is fed the token, and there is a row of scores for each.
    """

    def window(self, given, tokens):
        """Encodes an input and feeds it these tokens; times in milliseconds, scores at both ends."""
        encoder, _ = milliseconds(lambda: self.encode(given))
        times, scores = [], []
        for position, token in enumerate(tokens):
            took, row = milliseconds(lambda: self.step(token, position))
            times.append(took)
            if position in (0, len(tokens) - 1):
                scores.append(row.copy())
        return {"encoder": encoder, "first": times[0], "later": times[1:]}, scores


class Child:
    """A runtime in a process of its own, `rust/` built: it keeps the times, so that no pipe is in them."""

    def __init__(self, runtime, folder, threads):
        self.process = subprocess.Popen(
            [BINARY, runtime, folder], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "RTEN_NUM_THREADS": str(threads), "RAYON_NUM_THREADS": str(threads)})
        self.answer()
        self.scratch = tempfile.TemporaryDirectory()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "failure" in answer:
            raise RuntimeError(answer["failure"])
        return answer

    def window(self, given, tokens):
        file, scores = (Path(self.scratch.name) / name for name in ("input", "scores"))
        given.astype(np.int32 if given.dtype == np.int64 else given.dtype).tofile(file)
        asked = {"input": str(file), "shape": given.shape, "tokens": tokens, "scores": str(scores)}
        print(json.dumps(asked), file=self.process.stdin, flush=True)
        answer = self.answer()
        first, *later = answer["steps"]
        found = np.fromfile(scores, np.float32).reshape(2, -1)
        return {"encoder": answer["encoder"], "first": first, "later": later}, list(found)

    def peak(self):
        return peak(self.process.pid)

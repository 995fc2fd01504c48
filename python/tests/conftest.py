"""Finds the built programs, and calls them.

`cargo xtask test` builds the command and the examples and passes their folder in `CROSSLATCH_TARGET`;
tests that are run by hand look into `target/release`.
"""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CROSSLATCH_TARGET", ROOT / "target" / "release"))

sys.path.insert(0, str(ROOT / "demo"))
sys.path.insert(0, str(ROOT / "python"))


class Crosslatch:
    """The command `crosslatch`."""

    def __call__(self, *args, status=0):
        """Runs the command, checks its exit status, and returns (standard output, error)."""
        done = subprocess.run([TARGET / "crosslatch", *map(str, args)],
                              capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        return done.stdout, done.stderr

    def run(self, model, method, inputs, folder, *options):
        """Runs a method on dictionaries of arrays, in one session; returns dictionaries."""
        paths = []
        for i, arrays in enumerate(inputs):
            paths.append(folder / f"in{i}.npz")
            np.savez(paths[-1], **arrays)
        self("run", model, "--method", method, "--input", *paths,
             "--output", folder / "out.npz", *options)
        with np.load(folder / "out.npz") as arrays:
            if len(inputs) == 1:
                return [dict(arrays)]
            return [{name.split("/", 1)[1]: arrays[name] for name in arrays
                     if name.startswith(f"{i}/")} for i in range(len(inputs))]


@pytest.fixture(scope="session")
def crosslatch():
    return Crosslatch()


def pytest_addoption(parser):
    parser.addoption("--every", type=int, default=144,
                     help="compare one of so many samples of PyTorch's whole database")


def pytest_configure(config):
    # What PyTorch only warns of, it refuses where `CI` is set: the stricter of the two, everywhere.
    os.environ["TORCHINDUCTOR_ERROR_ON_CUSTOM_OP_ALIASING"] = "1"
    if "PYTEST_XDIST_WORKER" in os.environ:  # before anything imports torch
        os.environ.setdefault("OMP_NUM_THREADS", "1")

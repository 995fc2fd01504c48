"""Exports one architecture by `torch.export` alone, and compares the engine with eager PyTorch.

A program is saved as it was traced and, again, after `run_decompositions()`.  Each is loaded and run on
three inputs in one session.  If PyTorch cannot trace the module for lengths that vary, it is traced for
those of the example, and the three inputs have its sizes.  With latched arguments, each stays for three
runs in which the others change.
"""

import copy
import json
import logging
import re
import subprocess
import time
import warnings
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from statistics import median

import numpy as np
import torch

import crosslatch
from crosslatch.native import command

from .architecture import INPUTS

ALLOWED = 1e-4  # of the largest value of an output
# Where eager PyTorch is further than that from its own results in float64, as far from these as it is.
AS_FAR = 2
VARIANTS = ("plain", "decomposed")
ROUNDS = 9
SEED = 7  # of random numbers, in both
REASON = 220  # characters
OPERATOR = re.compile(r"\b[a-z_]+::[\w.]*\w")
FOLDERS = re.compile(r"/\S*/(?=[^/\s]+\.py:)")  # of source files, in a message


@dataclass
class Result:
    """What the page says of an architecture; times are in milliseconds."""

    fixed: bool = False                           # whether PyTorch traces it for one size only
    distance: dict = field(default_factory=dict)  # variant → the largest difference
    reason: dict = field(default_factory=dict)    # variant → why it does not run
    latched: str = ""                             # what is kept, or why nothing is
    eager: float | None = None
    engine: float | None = None
    step: float | None = None                     # with latched arguments, after the first run

    def green(self):
        return set(self.distance) == set(VARIANTS) and not self.reason


class Differs(Exception):
    """The engine's results are not those of eager PyTorch."""


def measured(architecture, folder):
    """A `Result` without times; the programs stay in the folder."""
    result = Result()
    module = architecture.module()
    try:
        program, result.fixed = exported(architecture, module)
    except Exception as reason:  # the tracer raises whatever the module's code raises
        result.reason = dict.fromkeys(VARIANTS, f"torch.export: {said(reason)}")
        return result
    expected = [seeded(module, architecture.inputs(i, fixed=result.fixed)) for i in range(INPUTS)]
    for variant in VARIANTS:
        path = path_of(architecture, folder, variant)
        try:
            save(program if variant == "plain" else program.run_decompositions(), path)
        except Exception as reason:
            result.reason[variant] = f"torch.export: {said(reason)}"
            continue
        try:
            result.distance[variant] = distance(architecture, module, path, expected, result.fixed)
        except (crosslatch.Error, Differs) as reason:
            result.reason[variant] = said(reason)
    if architecture.latched and not result.reason:
        result.latched = kept(architecture, module, path_of(architecture, folder, "plain"), result.fixed)
    return result


def said(reason):
    """What an error says, in one line without the path of the file."""
    if isinstance(reason, (crosslatch.Error, Differs)):
        words = " ".join(str(reason).split())
        words = FOLDERS.sub("", words.partition(".pt2: ")[2] or words)
        if re.search("calls? of (an operator|operators) that", words):
            words = f"lacks {', '.join(sorted(set(OPERATOR.findall(words))))}"
    else:
        lines = [line.strip() for line in str(reason).splitlines() if line.strip()]
        words = f"{type(reason).__name__}: {lines[0] if lines else ''}"
    return words if len(words) <= REASON else words[:REASON - 1] + "…"


def path_of(architecture, folder, variant):
    return folder / f"{architecture}.{variant}.pt2".replace(",", "").replace("/", "-")


def exported(architecture, module):
    """(program, whether its sizes are fixed)."""
    varying = architecture.varying()
    if varying is not None:
        try:
            return traced(architecture, module, varying), False
        except Exception:  # it may still export for one size
            pass
    return traced(architecture, module, None), varying is not None


def traced(architecture, module, varying):
    logger, level = logging.getLogger("torch"), logging.getLogger("torch").level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), redirect_stderr(StringIO()), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            return torch.export.export(module, (), architecture.inputs(0), dynamic_shapes=varying)
    finally:
        logger.setLevel(level)


def save(program, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, path)


@torch.no_grad()
def eager(module, inputs):
    """The tensors that the module returns, in order."""
    return [leaf for leaf in torch.utils._pytree.tree_leaves(module(**inputs))
            if isinstance(leaf, torch.Tensor)]


def seeded(module, inputs):
    """What it returns with the random numbers of the seed."""
    torch.manual_seed(SEED)
    return eager(module, inputs)


def tensors(inputs):
    return {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}


def far(outputs, expected):
    """The largest difference, as a part of the largest value of its output."""
    outputs = [value for value in outputs.values() if isinstance(value, (np.ndarray, np.generic))]
    if len(outputs) != len(expected):
        raise Differs(f"{len(outputs)} outputs in place of {len(expected)}")
    largest = 0.0
    for output, tensor in zip(outputs, expected):
        wanted = tensor.numpy()
        if output.shape != wanted.shape or output.dtype != wanted.dtype:
            raise Differs(f"an output is {output.dtype}{list(output.shape)} in place of "
                          f"{wanted.dtype}{list(wanted.shape)}")
        if wanted.size == 0:
            continue
        if wanted.dtype.kind not in "fc":
            if not np.array_equal(output, wanted):
                raise Differs("whole numbers of an output differ")
            continue
        if not np.array_equal(np.isfinite(output), np.isfinite(wanted)):
            raise Differs("an output has infinities or NaN in other places")
        finite = np.isfinite(wanted)
        scale = np.abs(wanted[finite]).max(initial=0.0) or 1.0
        largest = max(largest, float(np.abs(output[finite] - wanted[finite]).max(initial=0.0) / scale))
    return largest


def run(session, inputs):
    """What the engine returns with the random numbers of the seed."""
    session.seed(SEED)
    return session.run("model", tensors(inputs))


def distance(architecture, module, path, expected, fixed):
    session = crosslatch.load(path, threads=1).session()
    largest = 0.0
    for i in range(INPUTS):
        inputs = architecture.inputs(i, fixed=fixed)
        outputs = run(session, inputs)
        difference = far(outputs, expected[i])
        if not difference <= ALLOWED:
            wanted = exact(module, inputs, expected[i])
            own = far(dict(enumerate(t.numpy() for t in expected[i])), wanted)
            if not far(outputs, wanted) <= AS_FAR * own:
                raise Differs(f"differs from eager by {difference:.1e} of the largest value")
        largest = max(largest, difference)
    return largest


def exact(module, inputs, like):
    """What the module returns if it computes in float64, in the types that it returns otherwise."""
    wide = {name: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point()
            else value for name, value in inputs.items()}
    results = seeded(copy.deepcopy(module).double(), wide)
    return [result.to(tensor.dtype) for result, tensor in zip(results, like, strict=True)]


def changing(architecture, held, index, fixed):
    """Inputs number `held` with the arguments that change of number `index`."""
    inputs = architecture.inputs(held, fixed=fixed)
    others = architecture.inputs(index, fixed=fixed)
    return inputs | {name: others[name] for name in inputs if name not in architecture.latched}


def kept(architecture, module, path, fixed):
    """What latching keeps, checked against eager PyTorch: each held input for three others."""
    try:
        session = crosslatch.load(path, threads=1, latch=architecture.latched).session()
        for held in range(INPUTS):
            for index in range(INPUTS):
                inputs = changing(architecture, held, index, fixed)
                largest = far(run(session, inputs), seeded(module, inputs))
                if not largest <= ALLOWED:
                    return f"no: differs from eager by {largest:.1e} of the largest value"
    except (crosslatch.Error, Differs) as reason:
        return f"no: {said(reason)}"
    except (RuntimeError, ValueError):  # the module itself wants inputs that fit each other
        return "no: the module does not take these arguments together"
    count = values_kept(path, architecture.latched)
    return f"{count} values" if count else "no: nothing is worth keeping"


def values_kept(path, latched):
    options = [word for name in latched for word in ("--latch", name)]
    done = subprocess.run([command(), "inspect", path, "--json", *options], capture_output=True,
                          text=True, check=True)
    return sum(len(method["latched"]) for method in json.loads(done.stdout)["methods"])


def timed(architecture, folder, result):
    """Fills in the times of a result, of the example's sizes."""
    module, inputs = architecture.module(), architecture.inputs(0, fixed=True)
    path = path_of(architecture, folder, "plain" if "plain" in result.distance else "decomposed")
    session = crosslatch.load(path, threads=1).session()
    result.eager = milliseconds(lambda: eager(module, inputs))
    result.engine = milliseconds(lambda: session.run("model", tensors(inputs)))
    if result.latched and not result.latched.startswith("no"):
        latched = crosslatch.load(path, threads=1, latch=architecture.latched).session()
        result.step = milliseconds(lambda: latched.run("model", tensors(inputs)))


def milliseconds(run):
    """The median of some runs after a first."""
    run()
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - start))
    return median(taken)

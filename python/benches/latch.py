"""A decoder step of whisper-base as it is exported and latched: eager, compiled by Inductor, in the engine.

Weights are random, because only the sizes matter.  All variants take turns in one process, one input per
turn, because the load of shared machines varies: compare rows of one run.  The bandwidth of memory is
measured in every turn, since it bounds a step.  The logits of each variant are compared with eager first.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
import transformers

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import crosslatch  # noqa: E402
from crosslatch.exporting.programs import export_decoder  # noqa: E402

FRAMES, MODEL, TOKENS = 1500, 512, 448
STATES = "encoder_hidden_states"


def whisper_base():
    torch.manual_seed(0)
    return transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        vocab_size=51865, d_model=MODEL, encoder_layers=6, decoder_layers=6,
        encoder_attention_heads=8, decoder_attention_heads=8, encoder_ffn_dim=2048,
        decoder_ffn_dim=2048, max_source_positions=FRAMES, max_target_positions=TOKENS)).eval()


def in_pytorch(module):
    def step(position, states):
        with torch.no_grad():
            return module(input_ids=torch.tensor([[position + 7]]),
                          cache_position=torch.tensor([position]),
                          encoder_hidden_states=torch.from_numpy(states)).numpy()
    return step


def in_engine(program):
    session = program.session()

    def step(position, states):
        (logits,) = session.run("model", {"input_ids": [[position + 7]], "cache_position": [position],
                                          STATES: states}).values()
        return logits
    return step


def ways(threads, folder):
    """{name: a function that makes one step}"""
    plain = export_decoder(whisper_base(), torch.randn(1, FRAMES, MODEL), False, None, TOKENS)
    latched = crosslatch.latch(plain)
    print(str(latched.latch_report).splitlines()[0], file=sys.stderr)
    files = {name: Path(folder) / f"{name}.pt2" for name in ("plain", "latched")}
    torch.export.save(plain, files["plain"])
    torch.export.save(latched, files["latched"])
    load = lambda name, **options: in_engine(crosslatch.load(files[name], threads=threads, **options))
    return {
        "eager, as exported": in_pytorch(plain.module()),
        "eager, latched": in_pytorch(latched.module()),
        "Inductor, as exported": in_pytorch(torch.compile(plain.module())),
        "Inductor, latched": in_pytorch(torch.compile(latched.module())),
        "engine, as exported": load("plain"),
        "engine, latched": load("latched"),
        "engine, latched by the engine": load("plain", latch=[STATES]),
    }


def bandwidth(source, target):
    """GB/s of a copy that no cache holds: read once and written once."""
    begin = time.perf_counter()
    np.copyto(target, source)
    return 2 * source.nbytes / (time.perf_counter() - begin) / 1e9


def turn(step, states, steps):
    """Milliseconds of the first step of an input and of each later one."""
    times = []
    for position in range(steps + 1):
        begin = time.perf_counter()
        step(position, states)
        times.append(1e3 * (time.perf_counter() - begin))
    return times[0], times[1:]


def check(steps, states):
    expected = None
    for name, step in steps.items():
        logits = [step(position, states).copy() for position in range(3)]
        expected = expected or logits
        distance = max(np.abs(a - b).max() for a, b in zip(logits, expected, strict=True))
        print(f"{name}: within {distance:.1e} of eager", file=sys.stderr)
        if distance > 1e-3:
            sys.exit(f"error: {name} is wrong")


def spread(values):
    low, _, high = statistics.quantiles(values, n=4)
    return f"{statistics.median(values):.1f} ({low:.1f} to {high:.1f})"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--steps", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    generator = np.random.default_rng(0)
    draw = lambda: generator.standard_normal((1, FRAMES, MODEL), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        steps = ways(options.threads, folder)
        check(steps, draw())
        first, later = ({name: [] for name in steps} for _ in range(2))
        source, speeds = np.ones(2**26, np.float32), []
        target = source.copy()
        for _ in range(options.turns):
            states = draw()
            speeds.append(bandwidth(source, target))
            for name, step in steps.items():
                start, others = turn(step, states, options.steps)
                first[name].append(start)
                later[name] += others
    print(f"torch {torch.__version__}, {options.threads} threads, {options.turns} inputs of "
          f"{options.steps} later steps; copying memory at {spread(speeds)} GB/s; "
          f"load {os.getloadavg()[0]:.1f} at the end. Milliseconds, median (quartiles).\n")
    print("| way | first step | later step |\n|---|---|---|")
    for name in steps:
        print(f"| {name} | {spread(first[name])} | {spread(later[name])} |")


if __name__ == "__main__":
    main()

"""Measures whole processes over one recording, in turns."""

import json
import os
import random
import subprocess
import sys
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import catalogue
import machine
from spread import spread

from . import clips, words

HERE = Path(__file__).resolve().parent
#: Precision: how CTranslate2 stores weights of the kind, and computes.
FASTER = {"f32": "float32", "int8": "int8"}
#: What `--only` and the limits of instructions call faster-whisper: what runs it.
FASTER_RUNS_ON = "ct2"
SETTINGS = (
    "The same 16-bit sound at 16 kHz and the same weights, stored for faster-whisper in the type that it "
    "computes with; English, no temperatures to fall back to, `condition_on_previous_text` off and timestamps "
    "on in both, no voice activity detection. Time and memory are those of the process: starting, loading, "
    "reading the sound, writing the text.")


@dataclass
class Program:
    """A command in one precision with one search, and what came of its runs."""

    name: str
    kind: str
    beams: int
    is_ours: bool
    command: list
    environment: dict
    failure: str | None = None
    runs: list = field(default_factory=list)

    def run(self):
        done = subprocess.run([sys.executable, HERE / "watch.py", *map(str, self.command)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=self.environment)
        answer = json.loads(done.stdout) if done.returncode == 0 else {"status": done.returncode}
        if answer["status"] != 0:
            said = done.stderr.strip().splitlines()
            self.failure = said[-1] if said else f"ended with status {answer['status']}"
        else:
            self.runs.append(answer)

    def result(self, said):
        known = {"name": self.name, "kind": self.kind, "is_ours": self.is_ours,
                 "search": "greedy" if self.beams == 1 else f"{self.beams} beams"}
        if self.failure:
            return {**known, "failure": self.failure}
        texts = [run["text"] for run in self.runs]
        return {
            **known, "seconds": spread(run["seconds"] for run in self.runs),
            "processor_seconds": spread(run["processor_seconds"] for run in self.runs),
            "peak_mib": max(run["peak_mib"] for run in self.runs),
            # Every run says the same, or the worst counts.
            "wrong": max(words.compared(said, text)[0] for text in dict.fromkeys(texts))}


def converted(checkpoint, quantization, folder, say):
    """The checkpoint in CTranslate2's format; made once for each state of the checkpoint."""
    stamp = max(file.stat().st_mtime_ns for file in checkpoint.glob("*.safetensors"))
    out = folder / f"{checkpoint.name}-{stamp}-{quantization}"
    if not out.exists():
        say(f"making {out}")
        beside = folder / f"making-{os.getpid()}"
        subprocess.run([sys.executable, HERE / "convert.py", checkpoint, beside, quantization], check=True,
                       stdout=sys.stderr)
        beside.rename(out)
    return out


def programs(options, checkpoint, file, folder, say):
    """All that are asked for."""
    chosen = lambda runtime, precision: ((not options.only or runtime in options.only)
                                         and (not options.precisions or precision in options.precisions))
    around = lambda runtime: {**os.environ, **machine.limit(options.instructions, runtime)[0]}
    found = []
    for beams in options.searches:
        for precision in catalogue.known_to_the_package():
            if chosen("engine", precision):
                command = [Path(os.environ["CROSSLATCH_TARGET"]) / "crosslatch", "transcribe", "--quiet",
                           "--model", options.real, "--language", "en", "--precision", precision,
                           "--threads", options.threads, "--beam-size", beams, file]
                found.append(Program(f"Crosslatch {precision}", precision, beams, True, command,
                                     around("engine")))
        for precision, compute in FASTER.items():
            if not chosen(FASTER_RUNS_ON, precision):
                continue
            program = Program(f"faster-whisper {precision}", precision, beams, False, [],
                              around(FASTER_RUNS_ON))
            try:
                model = converted(checkpoint, compute, folder, say)
                program.command = [sys.executable, HERE / "faster.py", model, compute, options.threads, beams,
                                   file]
            except (OSError, ValueError, subprocess.SubprocessError) as error:
                program.failure = f"the checkpoint cannot be converted: {error}"
            found.append(program)
    return found


def versions():
    try:
        return {"faster-whisper": version("faster-whisper"), "CTranslate2": version("ctranslate2")}
    except PackageNotFoundError:
        return {"faster-whisper": "not installed"}


def measure(options, say):
    """The section `recording` of a run."""
    folder = options.output / "recording"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "recording.wav"
    said, seconds = clips.join(options.clips, options.seconds, file)
    checkpoint = options.checkpoint or options.real
    found = programs(options, checkpoint, file, folder, say)
    running = [program for program in found if not program.failure]
    for turn in range(options.turns):
        random.Random(turn).shuffle(running)
        for program in running:
            if not program.failure:
                program.run()
                outcome = program.failure or f"{program.runs[-1]['seconds']:.2f} s"
                say(f"recording: turn {turn + 1} of {options.turns}, {program.name}, beams: {program.beams}: "
                    f"{outcome}")
    return {"model": checkpoint.name, "seconds": seconds, "settings": SETTINGS,
            "words": words.compared(said, "")[1], "rows": [program.result(said) for program in found]}

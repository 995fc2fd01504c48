"""Which runtimes there are, in which precisions, and the files that each of them needs.

Nothing here imports a runtime, so the process that starts the others stays small, and a runtime that is not
installed has its row.
"""

import re
import tomllib
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import runtimes

HERE = Path(__file__).resolve().parent
#: Module of runtimes/: its display name, and its package or crate.
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
#: What is asked of a runtime: one sequence, several windows at once, several texts of one window.
ALONE, BATCH, BEAMS = "alone", "batch", "beams"


def known_to_the_package():
    """The precisions that the package's own types name."""
    text = (HERE.parents[1] / "crosslatch" / "_engine.pyi").read_text()
    (names,) = re.findall(r"^_Precision: TypeAlias = Literal\[(.*)\]$", text, re.MULTILINE)
    return [name.strip(' "') for name in names.split(",")]


def _needs(runtime):
    """{mode: {precision: files}}."""
    if runtime == "engine":
        files = {precision: ["engine.pt2"] for precision in known_to_the_package()}
        return {ALONE: files, BATCH: files, BEAMS: files}
    if runtime == "pytorch":
        eager = {precision: ["checkpoint"] for precision in ("f32", "bf16")}
        compiled = {f"{precision} Inductor": needs for precision, needs in eager.items()}
        return {ALONE: eager | compiled, BATCH: eager, BEAMS: eager}
    if runtime == "ort":
        return {
            ALONE: {"f32": ["onnx"], "int8": ["onnx", "onnx-int8"], "uint8": ["onnx", "onnx-uint8"],
                    "int4": ["onnx", "onnx-int4"]},
            BATCH: {"f32": ["onnx", "onnx-together"], "int8": ["onnx-int8", "onnx-together-int8"]},
            BEAMS: {"f32": ["onnx", "onnx-beams"], "int8": ["onnx-int8", "onnx-beams-int8"]}}
    if runtime == "ov":
        kinds = {"f32": "", "bf16": "", "int8": "-int8", "int8 activations": "-int8-activations",
                 "int4": "-int4"}
        of = lambda *folders: {p: [f"openvino{folder}{kind}" for folder in folders]
                               for p, kind in kinds.items()}
        several = lambda folder: {p: needs for p, needs in of("", folder).items()
                                  if p in ("f32", "bf16", "int8")}
        return {ALONE: of(""), BATCH: several("-together"), BEAMS: several("-beams")}
    if runtime == "ct2":
        files = {"f32": ["ctranslate2"], "int8": ["ctranslate2-int8"]}
        return {ALONE: files, BATCH: files, BEAMS: files}
    if runtime == "cpp":
        return {ALONE: {kind: [f"{kind}.ggml"] for kind in ("f16", "q8_0", "q5_0", "q4_0")}}
    if runtime == "rten":
        return {ALONE: {"f32": ["onnx"], "int8": ["onnx-int8"]}}
    return {ALONE: {"f32": ["checkpoint"]}}


@dataclass(frozen=True)
class Entry:
    """A runtime in a precision, asked for one sequence or several, and the files that this needs."""

    runtime: str
    precision: str
    mode: str
    needs: tuple

    @property
    def name(self):
        return f"{RUNTIMES[self.runtime][0]} {self.precision}"

    @property
    def kind(self):
        return kind(self.precision)


def kind(precision):
    """The precision of Crosslatch that a precision is compared to."""
    word = precision.split()[0]
    return {"f16": "bf16", "uint8": "int8", "q8_0": "int8", "q5_0": "int8", "q4_0": "int4"}.get(word, word)


def entries():
    return [Entry(runtime, precision, mode, tuple(needs))
            for runtime in RUNTIMES for mode, files in _needs(runtime).items()
            for precision, needs in files.items()]


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

"""The engine, as Python sees it."""

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from typing import Any, Literal, Protocol, TypeAlias, final, overload, type_check_only

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Error",
    "Generation",
    "Generator",
    "Method",
    "Output",
    "Program",
    "Segment",
    "Session",
    "TensorInfo",
    "Transcriber",
    "Transcript",
    "Transcription",
    "download",
    "load",
]

class Error(RuntimeError):
    """A model or an input cannot be used; the text says what is wrong, where, and what to do."""

@type_check_only
class _SupportsDLPack(Protocol):
    """Whatever lends its memory through DLPack: PyTorch tensors, JAX arrays, …"""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

_Numbers: TypeAlias = bool | int | float | Sequence["_Numbers"]
_Precision: TypeAlias = Literal["f32", "bf16", "int8"]
_TensorLike: TypeAlias = NDArray[Any] | np.generic | _SupportsDLPack | _Numbers | "Output"

def download(
    name: str | PathLike[str], *, progress: Callable[[int, int], object] | None = None
) -> str:
    """Downloads a model into the Hugging Face cache unless it is there, and returns the path of its
    folder; what is a path already is returned as it is. `progress` is called now and then with the
    bytes that have arrived and the bytes of all files.
    """

def load(
    path: str | PathLike[str] | Mapping[str, str | PathLike[str]],
    *,
    precision: _Precision = "f32",
    threads: int | None = None,
    latch: Sequence[str] | None = None,
    map: bool = True,
    memory_limit: int | str | None = None,
) -> Program:
    """Loads a model: a `.pt2` file, a folder that transformers' exporters wrote, a checkpoint, or a name
    on the hub such as "tiny.en", which is downloaded once; or, from a dictionary of methods and their
    files, one model of several files.

    Weights stay in the file, mapped into memory, and the file must then not be changed or shortened;
    with `map=False` it is read into memory, and may be. In `precision` "bf16" or "int8" those of
    linear layers are converted, once, when the first session is made. `threads` is the number of
    threads that each session uses, all cores if it is `None`. `latch` names inputs that stay the same
    for many runs: what depends on them alone is computed again only when one of them changes.
    `memory_limit` is the most memory that a session may take for what the program asks for, in bytes
    or as "512M", "8GiB"; the memory of the machine if it is `None`.
    """

@final
class Program:
    """A loaded model. Its sessions share its weights."""

    @property
    def path(self) -> str:
        """The file that the program was loaded from."""

    @property
    def methods(self) -> dict[str, Method]:
        """The methods by name."""

    @property
    def extra_files(self) -> list[str]:
        """Names of the files beside the programs, such as `tokenizer.json`."""

    def extra_file(self, name: str) -> bytes:
        """The contents of one of them; `KeyError` if there is no such file."""

    def session(self) -> Session:
        """A fresh session: state of its own, at the start."""

@final
class Method:
    """What a method takes and returns."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def inputs(self) -> list[TensorInfo]:
        """Its inputs."""

    @property
    def outputs(self) -> list[TensorInfo]:
        """Its outputs."""

    @property
    def sizes(self) -> dict[str, tuple[int, int | None]]:
        """Smallest and largest value of each symbolic size; the largest is `None` if there is none."""

@final
class TensorInfo:
    """Name, element type and shape of an input or output."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dtype(self) -> str:
        """The element type, as NumPy calls it: `float32`, `int64`, `bool`, …"""

    @property
    def shape(self) -> tuple[int | str, ...]:
        """Length of each dimension: a number, or an expression over the names in `Method.sizes`."""

@final
class Session:
    """One input being worked on: the state of every method, isolated from all other sessions.

    A session is used by one thread at a time; a second thread gets an error.
    """

    @property
    def program(self) -> Program:
        """The program that the session runs."""

    def run(
        self,
        method: str,
        inputs: Mapping[str, _TensorLike],
        *,
        outputs: Sequence[str] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Runs a method and returns its outputs by name, as NumPy arrays of their own memory.

        Inputs are given by name: NumPy arrays, PyTorch tensors, anything with `__dlpack__`, Python
        numbers and lists of them, or an `Output` of this session. Arrays are read where they lie and
        must not be written before `run` returns. `outputs` names those to return; all if it is
        `None`.
        """

    def output(self, method: str, name: str) -> Output:
        """What a method returns, to be an input of another method of this session. Nothing is copied.

        It stands for the output of the method's latest run, at the time when it is used.
        """

    def fork(self) -> Session:
        """A session that goes on from where this one is, by itself.

        What has been computed so far is shared: of the state, each of the two copies what it writes,
        when it writes it. Both share their threads, so give sessions that are to run at the same time
        threads of their own, with `program.session()`.
        """

    def reset(self) -> None:
        """Puts all state back to the start, as in a fresh session."""

@final
class Output:
    """An output where it lies in its session."""

    @property
    def method(self) -> str:
        """The method that returns it."""

    @property
    def name(self) -> str:
        """Its name."""

    def numpy(self) -> NDArray[Any]:
        """A copy as a NumPy array."""

@final
class Transcriber:
    """Writes down what is said in sound.

    `model` is a `.pt2` file of a speech model, mapped into memory, or read into it with `map=False`.
    Transcripts may be made in several threads at once.
    """

    def __new__(
        cls,
        model: str | PathLike[str],
        *,
        precision: _Precision = "f32",
        threads: int | None = None,
        map: bool = True,
        memory_limit: int | str | None = None,
    ) -> Transcriber: ...
    @property
    def sample_rate(self) -> int:
        """Samples per second that the model works with; other sound is resampled."""

    def transcribe(
        self,
        audio: str | PathLike[str] | bytes | bytearray | NDArray[np.float32] | _SupportsDLPack,
        sample_rate: int | None = None,
        *,
        language: str | None = None,
        task: Literal["transcribe", "translate"] | None = None,
        timestamps: bool | None = None,
        prompt: str | None = None,
        beam_size: int | None = None,
        fallback: bool = False,
        max_new_tokens: int | None = None,
    ) -> Transcription:
        """Transcribes a sound file (WAV, FLAC, MP3, M4A, Ogg …), by name or as its contents (`bytes`), or samples:
        float32, one channel, at `sample_rate` Hz.

        Returns an iterator over segments, each of which comes out as soon as it is decoded.
        `language` is the one spoken, such as "en"; it is detected, where the model can, if it is
        `None`. `task` is "transcribe" or "translate" (to English). `timestamps` asks the model for
        points in time, between which segments lie; `None` does so for sound longer than a window.
        `prompt` is text that comes before, `beam_size` the number of texts followed at once.
        `fallback` decodes doubtful windows again by chance, and leaves silent ones out.
        """

@final
class Transcription:
    """A transcript while it is made: iterate over it for the segments, or ask for the whole."""

    def __iter__(self) -> Transcription: ...
    def __next__(self) -> Segment: ...
    def transcript(self) -> Transcript:
        """Decodes what is left and returns the whole, with the segments that came out before."""

@final
class Segment:
    """The text of a stretch of sound."""

    @property
    def start(self) -> float:
        """Where it begins, in seconds."""

    @property
    def end(self) -> float:
        """Where it ends, in seconds."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def tokens(self) -> list[int]:
        """The tokens that the model chose for it."""

    @property
    def avg_logprob(self) -> float:
        """Mean natural logarithm of the tokens' probabilities."""

@final
class Transcript:
    """A whole transcript."""

    @property
    def text(self) -> str:
        """The text."""

    @property
    def language(self) -> str | None:
        """The language spoken, as a code such as `en`; `None` if the model names none."""

    @property
    def duration(self) -> float:
        """Length of the sound in seconds."""

    @property
    def segments(self) -> list[Segment]:
        """The segments, in order of time."""

@final
class Generator:
    """Writes what a model makes of texts: translations, summaries, answers.

    `model` is a `.pt2` file of a text model, mapped into memory, or read into it with `map=False`. Texts
    may be written in several threads at once.
    """

    def __new__(
        cls,
        model: str | PathLike[str],
        *,
        precision: _Precision = "f32",
        threads: int | None = None,
        latch: Sequence[str] | None = None,
        map: bool = True,
        memory_limit: int | str | None = None,
    ) -> Generator: ...
    @overload
    def generate(  # type: ignore[overload-overlap]  # a string is a sequence of strings, too
        self,
        text: str,
        *,
        prefix: str | None = None,
        source_language: str | None = None,
        target_language: str | None = None,
        beam_size: int | None = None,
        alternatives: int | None = None,
        max_new_tokens: int | None = None,
        min_new_tokens: int | None = None,
        no_repeat_ngram_size: int | None = None,
        repetition_penalty: float | None = None,
        length_penalty: float | None = None,
        truncate: bool = False,
    ) -> Generation:
        """Writes what the model makes of a text, or of each text of a sequence, in order.

        `prefix` is put before every text: the task in words, as T5 wants it. `source_language` and
        `target_language` are named as the model names them, such as "eng_Latn". `beam_size` is the
        number of texts followed at once, `alternatives` how many of the next best to return as well.
        `truncate` cuts off the end of a text that is too long for the model. The others are those of
        transformers' `generate`. What is `None` is as the model's files say.
        """

    @overload
    def generate(
        self,
        text: Sequence[str],
        *,
        prefix: str | None = None,
        source_language: str | None = None,
        target_language: str | None = None,
        beam_size: int | None = None,
        alternatives: int | None = None,
        max_new_tokens: int | None = None,
        min_new_tokens: int | None = None,
        no_repeat_ngram_size: int | None = None,
        repetition_penalty: float | None = None,
        length_penalty: float | None = None,
        truncate: bool = False,
    ) -> list[Generation]: ...

@final
class Generation:
    """What a model wrote."""

    @property
    def source(self) -> str:
        """The text that it was given, without a prefix."""

    @property
    def text(self) -> str:
        """The text that it wrote."""

    @property
    def tokens(self) -> list[int]:
        """The tokens that it chose, without start and end."""

    @property
    def score(self) -> float:
        """What beams are compared by; without beams, the mean logarithm of the tokens' probabilities."""

    @property
    def complete(self) -> bool:
        """Whether the model ended the text itself."""

    @property
    def alternatives(self) -> list[Generation]:
        """The next best texts, best first, if they were asked for."""

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
    "SpeechStream",
    "StreamUpdate",
    "TensorInfo",
    "TextDeltas",
    "Transcriber",
    "Transcript",
    "Transcription",
    "TranscriptionInfo",
    "Word",
    "__version__",
    "decode_audio",
    "download",
    "load",
]

__version__: str

class Error(RuntimeError):
    """A model or an input cannot be used; the text says what is wrong, where, and what to do."""

@type_check_only
class _SupportsDLPack(Protocol):
    """Whatever lends its memory through DLPack: PyTorch tensors, JAX arrays, …"""

    def __dlpack__(self, *args: Any, **kwargs: Any) -> Any: ...

@type_check_only
class _BinaryFile(Protocol):
    """An open file, or whatever else has bytes to read."""

    def read(self) -> bytes: ...

_Numbers: TypeAlias = bool | int | float | Sequence["_Numbers"]
_Precision: TypeAlias = Literal["f32", "bf16", "int8", "int4"]
_Format: TypeAlias = Literal["text", "txt", "json", "srt", "vtt", "tsv"]
_Samples: TypeAlias = (
    NDArray[np.floating[Any]]
    | NDArray[np.int16]
    | NDArray[np.int32]
    | NDArray[np.int8]
    | NDArray[np.uint8]
    | _SupportsDLPack
    | Sequence[float]
    | Sequence[Sequence[float]]
)
_File: TypeAlias = str | PathLike[str] | bytes | bytearray | memoryview | _BinaryFile
_TensorLike: TypeAlias = NDArray[Any] | np.generic | _SupportsDLPack | _Numbers | "Output"

def decode_audio(
    audio: _File | _Samples, sampling_rate: int = 16000, *, sample_rate: int | None = None
) -> NDArray[np.float32]:
    """Reads a sound file (its name, its contents, or an open file) as samples: one channel between -1
    and 1 at `sampling_rate` Hz. Samples, at `sample_rate` Hz, are brought into the same form.
    """

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
    cache: bool | str | PathLike[str] | None = None,
) -> Program:
    """Loads a model: a `.pt2` file, a folder that transformers' exporters wrote, a checkpoint, or a name
    on the hub such as "tiny.en", which is downloaded once; or, from a dictionary of methods and their
    files, one model of several files.

    Weights stay in the file, mapped into memory, and the file must then not be changed or shortened;
    with `map=False` it is read into memory, and may be. In `precision` "bf16", "int8" or
    "int4" those of linear layers are converted, once, when the first session is made. `threads` is the
    number of threads that each session uses, all cores if it is `None`. `latch` names inputs that stay
    the same for many runs: what depends on them alone is computed again only when one of them changes.
    `memory_limit` is the most memory that a session may take for what the program asks for, in bytes
    or as "512M", "8GiB"; the memory of the machine if it is `None`. With `cache`, converted weights are
    kept, in that folder or, for `True`, in crosslatch below the user's folder of caches, and mapped the
    next time.
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

    def seed(self, seed: int) -> None:
        """Seeds the generators of random numbers, as `torch.manual_seed` does: a method then draws the numbers that
        PyTorch draws when it runs the same program.
        """

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

@type_check_only
class _Steps(Protocol):
    """A speech model that another runtime computes."""

    def encode(self, features: NDArray[np.float32], /) -> object: ...
    def decode(self, tokens: list[int], position: int, /) -> NDArray[np.float32] | _SupportsDLPack: ...

@final
class Transcriber:
    """Writes down what is said in sound.

    `model` is a `.pt2` file of a speech model, a checkpoint of Whisper, or the name of one, such as
    "tiny.en". It is mapped into memory, or read into it with `map=False`. Transcripts may be made in
    several threads at once.
    """

    def __new__(
        cls,
        model: str | PathLike[str],
        *,
        precision: _Precision = "f32",
        threads: int | None = None,
        map: bool = True,
        memory_limit: int | str | None = None,
        cache: bool | str | PathLike[str] | None = None,
    ) -> Transcriber: ...
    @staticmethod
    def of_steps(
        path: str | PathLike[str], files: Mapping[str, bytes], make: Callable[[], _Steps]
    ) -> Transcriber:
        """A transcriber whose model is computed by another runtime. `make()` makes an object with two
        methods: `encode(features)` takes the features of a window, float32 `[1, mels, frames]`, and
        `decode(tokens, position)` feeds a list of tokens from that position on and returns the scores
        of the token after the last one, float32 `[vocabulary]`. Each transcript that is made at the
        same time has an object of its own. `files` are the contents of those beside the model's
        weights, by name: `config.json`, `tokenizer.json`, `preprocessor_config.json` and, if there is
        one, `generation_config.json`. `path` names the model in messages.
        """

    @property
    def sample_rate(self) -> int:
        """Samples per second that the model works with; other sound is resampled."""

    @property
    def languages(self) -> list[str]:
        """Codes of the languages that the model can be asked for, in alphabetical order."""

    def transcribe(
        self,
        audio: _File | _Samples,
        sample_rate: int | None = None,
        *,
        language: str | None = None,
        task: Literal["transcribe", "translate"] | None = None,
        timestamps: bool | None = None,
        word_timestamps: bool = False,
        hallucination_silence_threshold: float | None = None,
        prompt: str | None = None,
        keep_prompt: bool = False,
        condition_on_previous_text: bool | None = None,
        hotwords: str | None = None,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        patience: float | None = None,
        no_repeat_ngram_size: int | None = None,
        best_of: int | None = None,
        temperature: float | Sequence[float] | None = None,
        fallback: bool = False,
        compression_ratio_threshold: float | None = None,
        logprob_threshold: float | None = None,
        no_speech_threshold: float | None = None,
        seed: int = 0,
        max_new_tokens: int | None = None,
        suppress_tokens: Sequence[int] | None = None,
        grammar: str | None = None,
        clip_timestamps: Sequence[float] = (),
        skip_silence: bool | float = False,
        vad_filter: bool = False,
        vad_parameters: dict[str, float] | None = None,
        channels: bool = False,
        batch: int | None = None,
    ) -> Transcription:
        """Transcribes a sound file (WAV, FLAC, MP3, M4A, Ogg …): its name, its contents (`bytes`), or
        an open file; or samples at `sample_rate` Hz: floats between -1 and 1 or whole numbers of 8,
        16 or 32 bits, `[samples]`, `[channels, samples]` or `[samples, channels]`.

        Returns an iterator over segments, each of which comes out as soon as it is decoded; its
        `info` knows the language and the duration before. `language` is the one spoken, such as
        "en" or "English"; it is detected, where the model can, if it is `None`. `task` is
        "transcribe" or "translate" (to English). `timestamps` asks the model for points in time,
        between which segments lie; `None` does so for sound longer than a window. With
        `word_timestamps`, segments have `words` with the time of each; a model that cannot say it is
        warned about, and its segments have none. `hallucination_silence_threshold` is the number of
        seconds of silence beside which text that seems invented, by its words, is left out. `prompt`
        is text that comes before. `condition_on_previous_text` shows each window the text before it, and
        `keep_prompt` keeps the prompt in front of that.

        `beam_size` is the number of texts followed at once. `temperature` is 0 for the best token
        at each step, or above 0 for tokens drawn at random (`best_of` texts of which the most
        probable is taken; `seed` makes it repeatable); of several, each is tried in turn until a
        text passes the thresholds. `fallback` sets usual temperatures and thresholds.
        `length_penalty` and `patience` are those of beams. `no_repeat_ngram_size` is the length of
        runs of tokens that a window must not repeat. `hotwords` are words that every window is
        shown.
        `max_new_tokens` bounds the text of a window. `suppress_tokens` are never taken, in place of
        those that the model's file names, for which -1 stands. `grammar` is one in GBNF, which the text
        of each window obeys.

        `clip_timestamps` are the parts of the sound to decode, in seconds: start, end, start, end,
        … `skip_silence` leaves out a second or more in which the sound stays below -45 dB of full
        scale, or another level. `vad_filter` decodes only what a small network hears as speech;
        `vad_parameters` are its `threshold`, `min_speech_duration_ms`, `min_silence_duration_ms` and
        `speech_pad_ms`, as in faster-whisper. `channels` transcribes each channel by itself, and
        names it in each segment; they come in order of time, when all are decoded. `batch` cuts
        long sound where it is quiet, and decodes so many pieces at a time.
        """

    def stream(
        self,
        sample_rate: int | None = None,
        *,
        language: str | None = None,
        task: Literal["transcribe", "translate"] | None = None,
        timestamps: bool | None = None,
        word_timestamps: bool = False,
        prompt: str | None = None,
        condition_on_previous_text: bool | None = None,
        hotwords: str | None = None,
        beam_size: int | None = None,
        length_penalty: float | None = None,
        patience: float | None = None,
        no_repeat_ngram_size: int | None = None,
        hallucination_silence_threshold: float | None = None,
        temperature: float | Sequence[float] | None = None,
        fallback: bool = False,
        grammar: str | None = None,
        vad_filter: bool = True,
        vad_parameters: dict[str, float] | None = None,
    ) -> SpeechStream:
        """Transcribes a sound while it comes: samples at `sample_rate` Hz (the model's own, if that is
        `None`) are fed piece by piece to the stream that this returns.

        Options are those of `transcribe`. With `vad_filter`, nothing is computed while nobody speaks.
        Text is first decoded at the first temperature; further ones are for what is final.
        """

@final
class SpeechStream:
    """Text of a sound while it comes. `Transcriber.stream` makes one."""

    def feed(self, samples: _Samples) -> StreamUpdate | None:
        """Takes the next samples, and decodes if there is a second of new sound: returns what is new, or
        `None` if there is not enough for that. Samples are floats between -1 and 1 or whole numbers of 8,
        16 or 32 bits, as for `transcribe`."""

    def finish(self) -> tuple[StreamUpdate, Transcript]:
        """Ends the sound: returns the last update and the transcript, which is that of the whole sound."""

    @property
    def duration(self) -> float:
        """Seconds of sound that have come."""

@final
class StreamUpdate:
    """What is new of a stream's text."""

    @property
    def certain(self) -> str:
        """What has become certain: it follows all that was certain before."""

    @property
    def open(self) -> str:
        """What is certain and in no final segment yet."""

    @property
    def tentative(self) -> str:
        """What follows that and may change."""

    @property
    def segments(self) -> list[Segment]:
        """The segments that have become final."""

@final
class Transcription:
    """A transcript while it is made: iterate over it for the segments, or ask for the whole."""

    def __iter__(self) -> Transcription: ...
    def __next__(self) -> Segment: ...
    def deltas(self) -> TextDeltas:
        """The text while it is decoded: an iterator over pieces of it, which are whole letters, will not
        change, and joined are the text of the transcript. They are as long as a token where nothing can
        refuse a window's text; with thresholds, several draws, `hallucination_silence_threshold`, `batch` or
        `channels` they are segments. The segments themselves come out of the transcription afterwards."""

    @property
    def info(self) -> TranscriptionInfo:
        """What is known before the first segment: language, its probability, duration. If the language
        has to be detected, this waits until it is, and no longer."""

    @property
    def language(self) -> str | None:
        """The language spoken, as a code such as `en`; `None` if the model names none. This waits as
        `info` does."""

    @property
    def duration(self) -> float:
        """Length of the sound in seconds."""

    def transcript(self) -> Transcript:
        """Decodes what is left and returns the whole, with the segments that came out before."""

@final
class TextDeltas:
    """The text of a transcription while it is decoded; `Transcription.deltas` makes one."""

    def __iter__(self) -> TextDeltas: ...
    def __next__(self) -> str: ...

@final
class TranscriptionInfo:
    """What is known of a sound before its first segment is decoded."""

    @property
    def language(self) -> str | None:
        """The language spoken, as a code such as `en`; `None` if the model names none."""

    @property
    def language_probability(self) -> float | None:
        """How probable it is among those that the model knows; 1 if it was asked for or is the only
        one, `None` if there is no language."""

    @property
    def duration(self) -> float:
        """Length of the sound in seconds."""

    @property
    def languages(self) -> list[tuple[str, float]]:
        """Every language with its probability, most probable first."""

    def __eq__(self, other: object, /) -> bool: ...

@final
class Word:
    """A word, with the punctuation and the space that belong to it."""

    def __new__(cls, *, start: float, end: float, word: str, probability: float = 1.0) -> Word: ...
    @property
    def start(self) -> float:
        """Where it begins, in seconds."""

    @property
    def end(self) -> float:
        """Where it ends, in seconds."""

    @property
    def word(self) -> str:
        """The word."""

    @property
    def probability(self) -> float:
        """Mean probability of its tokens."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dictionary, with the names that the JSON of the command has."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Segment:
    """The text of a stretch of sound."""

    def __new__(
        cls,
        *,
        start: float,
        end: float,
        text: str,
        id: int = 0,
        seek: int = 0,
        tokens: Sequence[int] = ...,
        temperature: float = 0.0,
        avg_logprob: float = 0.0,
        compression_ratio: float = 0.0,
        no_speech_prob: float | None = None,
        complete: bool = True,
        words: Sequence[Word | dict[str, Any]] | None = None,
        channel: str | None = None,
    ) -> Segment: ...
    @property
    def id(self) -> int:
        """Its number in the transcript, from 0."""

    @property
    def seek(self) -> int:
        """Where the window begins that it was decoded in, in hundredths of a second."""

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
    def temperature(self) -> float:
        """Temperature at which it was decoded; 0 if no token was drawn at random."""

    @property
    def avg_logprob(self) -> float:
        """Mean natural logarithm of the tokens' probabilities."""

    @property
    def compression_ratio(self) -> float:
        """How well the tokens can be compressed; high for a text that repeats itself."""

    @property
    def no_speech_prob(self) -> float | None:
        """Probability that nothing is spoken; `None` if no threshold asks for it."""

    @property
    def complete(self) -> bool:
        """Whether the model ended the text itself; `False` if it was cut off at the greatest length."""

    @property
    def words(self) -> list[Word] | None:
        """The words with their times; `None` unless they were asked for, and the model can say them."""

    @property
    def channel(self) -> str | None:
        """The channel in which it is spoken, if channels are transcribed by themselves."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dictionary, with the names that the JSON of the command has."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

@final
class Transcript:
    """A whole transcript."""

    def __new__(
        cls,
        segments: Sequence[Segment],
        *,
        text: str | None = None,
        language: str | None = None,
        duration: float | None = None,
    ) -> Transcript: ...
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

    def to(
        self,
        format: _Format,
        *,
        max_line_width: int | None = None,
        max_line_count: int | None = None,
        max_words_per_line: int | None = None,
        highlight_words: bool = False,
    ) -> str:
        """The transcript as the contents of a file: "text", "json", "srt", "vtt" or "tsv", as the
        command `crosslatch transcribe --format` writes it. Subtitles are laid out as the flags of the
        same names say."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dictionary, segments too, with the names that the JSON of the command has."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[list[Segment]], dict[str, Any]]: ...

@final
class Generator:
    """Writes what a model makes of texts: translations, summaries, answers.

    `model` is a `.pt2` file of a text model, a checkpoint, or the name of one on the hub. It is mapped
    into memory, or read into it with `map=False`. Texts may be written in several threads at once.
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
        cache: bool | str | PathLike[str] | None = None,
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
        grammar: str | None = None,
        truncate: bool = False,
        alignment: bool = False,
        batch: int | None = None,
    ) -> Generation:
        """Writes what the model makes of a text, or of each text of a sequence, in order.

        `prefix` is put before every text: the task in words, as T5 wants it. `source_language` and
        `target_language` are named as the model names them, such as "eng_Latn". `beam_size` is the
        number of texts followed at once, `alternatives` how many of the next best to return as well.
        `grammar` is one in GBNF, which each text obeys. `truncate` cuts off the end of a text that is
        too long for the model. The others are those of transformers' `generate`. What is `None` is as the model's files say. `batch` is how many texts
        of a sequence are decoded at a time, which changes no text; as many as the model was exported
        for if it is `None`. With `alignment`, it is said of each token which of the `source_tokens` it
        comes from.
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
        grammar: str | None = None,
        truncate: bool = False,
        alignment: bool = False,
        batch: int | None = None,
    ) -> list[Generation]: ...

@final
class Generation:
    """What a model wrote."""

    def __new__(
        cls,
        *,
        source: str,
        text: str,
        tokens: Sequence[int] = ...,
        score: float = 0.0,
        complete: bool = True,
        alternatives: Sequence[Generation] = ...,
        source_tokens: Sequence[int] | None = None,
        alignment: Sequence[int] | None = None,
    ) -> Generation: ...

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

    @property
    def source_tokens(self) -> list[int] | None:
        """The tokens of the source that the model was given, if an alignment was asked for."""

    @property
    def alignment(self) -> list[int] | None:
        """For each token, which of the `source_tokens` it comes from, if that was asked for."""

    def to_dict(self) -> dict[str, Any]:
        """All of it as a dictionary, with the names that the JSON of the command has."""

    def __eq__(self, other: object, /) -> bool: ...
    def __getnewargs_ex__(self) -> tuple[tuple[()], dict[str, Any]]: ...

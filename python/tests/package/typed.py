"""A program that uses all of the package, for the type checker only."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from typing_extensions import assert_type

import crosslatch


def run(path: Path, features: NDArray[np.float32], ids: torch.Tensor) -> NDArray[np.float32]:
    folder: str = crosslatch.download("tiny.en", progress=lambda done, total: None)
    program = crosslatch.load(path, precision="f32", threads=2)
    for name, method in program.methods.items():
        lengths = [length for tensor in method.inputs for length in tensor.shape]
        assert_type(lengths, list[int | str])
        print(name, method.sizes, method.outputs[0].dtype)
    assert_type(program.extra_file(program.extra_files[0]), bytes)
    session = program.session()
    session.run("encoder", {"input_features": features}, outputs=[])
    states = session.output("encoder", "states")
    outputs = session.run("decoder", {"ids": ids, "at": [[0]], "ready": True, "states": states})
    beam = session.fork()
    assert_type(beam, crosslatch.Session)
    session.reset()
    try:
        logits: NDArray[np.float32] = outputs["logits"] + states.numpy()
        return logits
    except crosslatch.Error as error:
        raise SystemExit(str(error)) from None


def transcribe(path: str, samples: NDArray[np.float32]) -> list[str]:
    transcriber = crosslatch.Transcriber(path, threads=2)
    texts = [segment.text for segment in transcriber.transcribe("talk.mp3", language="en")]
    transcript = transcriber.transcribe(samples, transcriber.sample_rate).transcript()
    stream = transcriber.stream(44_100, language="en", vad_parameters={"threshold": 0.4})
    update = stream.feed(samples)
    if update is not None:
        texts += [update.certain, update.tentative, *(segment.text for segment in update.segments)]
    assert_type(stream.finish(), tuple[crosslatch.StreamUpdate, crosslatch.Transcript])
    assert_type(transcript.language, str | None)
    assert_type(transcriber.transcribe(b"RIFF").transcript().text, str)
    tokens = [token for segment in transcript.segments for token in segment.tokens]
    assert_type(tokens, list[int])
    return [*texts, transcript.text]


def transcribe_with_options(transcriber: crosslatch.Transcriber, samples: NDArray[np.int16]) -> bytes:
    segments = transcriber.transcribe(samples, sample_rate=44_100, temperature=0.2, best_of=5, seed=1,
                                      suppress_tokens=[-1, 7], clip_timestamps=[0, 2.5], skip_silence=True)
    assert_type(segments.info, crosslatch.TranscriptionInfo)
    assert_type(segments.info.languages, list[tuple[str, float]])
    for segment in segments:
        assert_type(segment.no_speech_prob, float | None)
    with open("talk.mp3", "rb") as file:
        transcriber.transcribe(file, temperature=[0, 0.4], skip_silence=-50, batch=8)
    transcriber.transcribe([[0.0, 0.5], [0.5, 0.0]], 16_000)
    transcript = transcriber.transcribe(memoryview(b"RIFF"), language="English").transcript()
    shorter = crosslatch.Transcript(transcript.segments[:1], language=crosslatch.__version__)
    assert_type(shorter.to_dict(), dict[str, Any])
    transcript.to("doc")  # type: ignore[arg-type]
    return pickle.dumps(shorter) + shorter.to("srt").encode()


def generate(path: str, texts: list[str]) -> list[str]:
    generator = crosslatch.Generator(path, threads=2, latch=["encoder_hidden_states"])
    one = generator.generate(texts[0], target_language="fra_Latn", beam_size=4, alternatives=2)
    assert_type(one, crosslatch.Generation)
    assert_type(one.alternatives[0].tokens, list[int])
    many = generator.generate(texts, prefix="summarize: ", length_penalty=2.0, truncate=True, batch=8)
    assert_type(many, list[crosslatch.Generation])
    return [one.text, *(generation.text for generation in many)]


def wrong(program: crosslatch.Program) -> None:
    crosslatch.load(1)  # type: ignore[arg-type]
    crosslatch.load("m.pt2", precision="f64")  # type: ignore[arg-type]
    program.session().run("model", {"x": object()})  # type: ignore[dict-item]
    program.path = "other"  # type: ignore[misc]
    crosslatch.Segment()  # type: ignore[call-arg]
    crosslatch.nothing  # type: ignore[attr-defined]


def write(model: torch.nn.Module, program: torch.export.ExportedProgram) -> int:
    crosslatch.latch(program, inputs=["encoder_hidden_states"])
    crosslatch.latch(program, position=0)  # type: ignore[arg-type]
    try:
        return crosslatch.export(model, "m.pt2", max_tokens=64).latched.bytes
    except crosslatch.Refused as refused:
        raise SystemExit(str(refused)) from None

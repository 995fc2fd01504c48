"""The demo model on ExecuTorch's runtime, as Python transcribes with it and as the guide's C++ decodes.

Python writes what the engine writes for the same model and sound.  The C++ (executorch.md) is built with
the package's headers and libraries.  Both are here because the file is made once for each process of
tests.
"""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

pytest.importorskip("executorch.exir")

import crosslatch  # noqa: E402
import numpy as np  # noqa: E402
from conftest import ROOT  # noqa: E402
from crosslatch import executorch  # noqa: E402
from crosslatch.executorch.transcriber import Steps  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
SOUNDS = ["samples/light.wav", "samples/number-noisy.wav", "samples/wake-up.flac", "speech/jfk.mp3"]
PACKAGE = Path(find_spec("executorch").submodule_search_locations[0])
MELS, FRAMES, END, LIMIT, PROMPT = 80, 600, 0, 12, [1, 5, 9]


@pytest.mark.parametrize("options", [{}, {"timestamps": True}, {"beam_size": 3}],
                         ids=["greedy", "timestamps", "beams"])
def test_both_runtimes_write_the_same(file, options):
    here, there = executorch.Transcriber(file), crosslatch.Transcriber(ROOT / "demo/model.pt2")
    for sound in SOUNDS[:2] if "beam_size" in options else SOUNDS:
        mine = here.transcribe(ROOT / "demo" / sound, **options).transcript()
        other = there.transcribe(ROOT / "demo" / sound, **options).transcript()
        assert [s.tokens for s in mine.segments] == [s.tokens for s in other.segments], sound
        assert (mine.text, mine.language) == (other.text, other.language)
        for a, b in zip(mine.segments, other.segments, strict=True):
            assert (a.start, a.end) == (b.start, b.end)
            assert a.avg_logprob == pytest.approx(b.avg_logprob, abs=1e-3)


def test_the_example_of_the_guide_runs(file, guide, monkeypatch, capsys):
    monkeypatch.chdir(file.parent)   # executorch.md
    exec(guide("python", "Transcriber("), {})
    segments = crosslatch.Transcriber(ROOT / "demo/model.pt2").transcribe("speech.mp3")
    assert capsys.readouterr().out == "".join(f"{s.start:.2f} {s.text}\n" for s in segments)


def test_pieces_are_decoded_by_several_models(file):
    sound = ROOT / "demo/speech/jfk.mp3"
    here, there = executorch.Transcriber(file), crosslatch.Transcriber(ROOT / "demo/model.pt2")
    assert (here.transcribe(sound, batch=2).transcript().text
            == there.transcribe(sound, batch=2).transcript().text)


def test_words_have_no_times_there(file):
    with pytest.warns(UserWarning, match="returns no weights of attention"):
        executorch.Transcriber(file).transcribe(
            ROOT / "demo/samples/light.wav", word_timestamps=True).transcript()


def test_a_file_that_is_no_such_model_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        executorch.Transcriber(tmp_path / "missing.pte")


def files_of(file):
    return {name: file.with_name(name).read_bytes() for name in (
        "config.json", "tokenizer.json", "preprocessor_config.json")}


class Wrong:
    """Returns what is given instead of scores."""

    def __init__(self, *scores):
        self.scores = list(scores)

    def encode(self, features):
        pass

    def decode(self, tokens, position):
        return self.scores.pop(0)


@pytest.mark.parametrize("scores, reason", [
    ((np.zeros(955),), "are of type f64"),
    (("text",), "are no tensor: it is a str"),
    ((np.zeros(0, np.float32),), "are none"),
    ((torch.zeros(955), torch.zeros(9)), "are 9, and were 955 before"),
    ((), "IndexError: pop from empty list")], ids=["type", "text", "none", "fewer", "raises"])
def test_wrong_scores_are_refused(file, scores, reason):
    transcriber = crosslatch.Transcriber.of_steps("m", files_of(file), lambda: Wrong(*scores))
    with pytest.raises(crosslatch.Error, match=reason):
        transcriber.transcribe(np.zeros(16000, np.float32), 16000, temperature=0.0).transcript()


def test_a_missing_file_is_named(file):
    files = files_of(file)
    del files["tokenizer.json"]
    with pytest.raises(crosslatch.Error, match="m.pte: there is no `tokenizer.json` beside it"):
        crosslatch.Transcriber.of_steps("m.pte", files, Wrong)


@pytest.mark.skipif(shutil.which("g++") is None, reason="there is no C++ compiler")
@pytest.mark.skipif(not (PACKAGE / "lib/libexecutorch.so").exists(),
                    reason="the package executorch has no libraries for C++ here")
def test_the_program_of_the_guide_decodes_as_python_does(file, guide, tmp_path):
    (tmp_path / "decode.cpp").write_text(guide("cpp", "int main"))
    build = guide("sh", "g++").replace("$ET", str(PACKAGE))
    subprocess.run(["bash", "-e", "-c", build.replace("g++ ", "g++ -w ").replace("-O2", "-O0")],
                   cwd=tmp_path, check=True)
    for seed in (0, 1):
        torch.manual_seed(seed)
        features = torch.randn(1, MELS, FRAMES)
        (tmp_path / "features").write_bytes(features.numpy().tobytes())
        done = subprocess.run(
            [tmp_path / "decode", file, tmp_path / "features",
             *map(str, (MELS, FRAMES, END, LIMIT, *PROMPT))], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        assert [int(n) for n in re.findall(r"\d+", done.stdout)] == decoded(file, features)


def decoded(file, features):
    steps, tokens = Steps(file), list(PROMPT)
    steps.encode(features.numpy())
    for position in range(LIMIT):
        scores = steps.decode([tokens[position]], position)
        if position + 1 >= len(PROMPT):
            tokens.append(int(scores.argmax()))
            if tokens[-1] == END:
                break
    return tokens[len(PROMPT):]

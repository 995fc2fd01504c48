"""The C++ of the guide (executorch.md), built with the package's headers and libraries, and run."""

import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("executorch.exir")

import torch  # noqa: E402
from crosslatch.executorch.transcriber import Steps  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")
PACKAGE = Path(find_spec("executorch").submodule_search_locations[0])
MELS, FRAMES, END, LIMIT, PROMPT = 80, 600, 0, 12, [1, 5, 9]


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

"""The demo model as a `.pte`, made as the guide says, by the command."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest

from conftest import ROOT

GUIDE = (ROOT / "docs/guide/executorch.md").read_text()


def block(language, containing):
    """The block of the guide with these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```\n", GUIDE, re.DOTALL)
    (found,) = [code for code in blocks if containing in code]
    return found


@pytest.fixture(scope="session")
def guide():
    return block


@pytest.fixture(scope="session")
def file(tmp_path_factory):
    sys.path.insert(0, str(ROOT / "python/tests/checkpoints"))
    from demo_checkpoint import hugging_face_folder
    folder = tmp_path_factory.mktemp("demo")
    hugging_face_folder(folder / "tiny.en")
    (command, *arguments) = shlex.split(block("sh", "crosslatch-export tiny.en"))
    assert command == "crosslatch-export"
    done = subprocess.run([sys.executable, "-m", "crosslatch.export_command", *arguments],
                          cwd=folder, capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT / "python")})
    assert done.returncode == 0, done.stderr
    assert "tiny.pte: " in done.stdout and "tokenizer.json" in done.stdout
    shutil.copy(ROOT / "demo/speech/jfk.mp3", folder / "speech.mp3")
    return folder / "tiny.pte"

"""The demo model as a `.pte`, made as the guide says, by the command; and a tracer without a past.

PyTorch keeps something of every trace, which these tests are to notice neither in their results nor in
their time.
"""

import contextlib
import functools
import io
import os
import re
import shlex
import shutil
import sys

import pytest

from conftest import ROOT

GUIDE = (ROOT / "docs/guide/executorch.md").read_text()


def block(language, containing):
    """The block of the guide with these words."""
    blocks = re.findall(rf"```{language}\n(.*?)```\n", GUIDE, re.DOTALL)
    (found,) = [code for code in blocks if containing in code]
    return found


@pytest.fixture(autouse=True)
def forgetful_tracer():
    """Forgets the traces of other tests.

    Where Dynamo has traced the same `cond` before, it says why that trace does not fit, and for that
    compares the new trace's sizes with the old ones.  A length that may vary is then found to be unequal
    to the length of another test, and the export is refused ("Constraints violated").
    """
    import torch
    torch._dynamo.reset()


@pytest.fixture(autouse=True, scope="module")
def known_operators():
    """Looks up PyTorch's composite operators once in a module, not 43 times in each of three passes.

    That is a third of the time of lowering a small program.  No test defines operators.
    """
    try:
        from torch._export import utils
        look_up = utils._materialize_cpp_cia_ops
    except (ImportError, AttributeError):
        yield   # another version of PyTorch: the tests are slower, no more
        return
    utils._materialize_cpp_cia_ops = functools.cache(look_up)
    yield
    utils._materialize_cpp_cia_ops = look_up


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
    # In this process: another would load PyTorch, ExecuTorch and transformers once more.
    from crosslatch.export_command import main
    said, before = io.StringIO(), os.getcwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(said):
            assert main(arguments) == 0
    finally:
        os.chdir(before)
    assert "tiny.pte: " in said.getvalue() and "tokenizer.json" in said.getvalue()
    shutil.copy(ROOT / "demo/speech/jfk.mp3", folder / "speech.mp3")
    return folder / "tiny.pte"

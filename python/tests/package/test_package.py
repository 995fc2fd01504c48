"""The package as a whole: what importing it needs, its types, its docstrings."""

import os
import re
import subprocess
import sys

import pytest

import crosslatch
from conftest import ROOT, TARGET

PYTHON = ROOT / "python"


def python(*args, **variables):
    done = subprocess.run([sys.executable, *map(str, args)], capture_output=True, text=True,
                          cwd=ROOT, env=os.environ | {"PYTHONPATH": str(PYTHON)} | variables)
    return done.returncode, done.stdout + done.stderr


def test_importing_loads_neither_torch_nor_numpy_nor_the_engine():
    status, output = python("-c", """
import sys
import crosslatch
assert not {"torch", "numpy", "crosslatch._engine"} & set(sys.modules)
assert "load" in dir(crosslatch) and not hasattr(crosslatch, "nothing")
from crosslatch import Transcriber, load
assert load.__name__ == "load" and crosslatch.load is load
assert not {"torch", "numpy"} & set(sys.modules)
""")
    assert status == 0, output


def test_dir_shows_what_is_public_and_no_more():
    status, output = python("-c", """
import crosslatch
shown = dir(crosslatch)
assert shown == sorted(crosslatch.__all__), shown
import crosslatch.native
assert dir(crosslatch) == shown
assert all(getattr(crosslatch, name) is not None for name in shown)
import crosslatch.ops
assert set(dir(crosslatch)) == {*shown, "ops"}
""")
    assert status == 0, output


def test_the_module_runs_the_command_and_both_have_the_version_of_the_package():
    version = re.search(r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[1]
    assert crosslatch.__version__ == version
    assert python("-m", "crosslatch", "--version", CROSSLATCH_TARGET=str(TARGET)) == (0, f"crosslatch {version}\n")
    status, output = python("-m", "crosslatch", "transcribe", "none.wav", CROSSLATCH_TARGET=str(TARGET))
    assert status == 1 and "none.wav" in output


def test_a_command_that_is_not_installed_is_an_error_that_says_where_it_was_sought(tmp_path):
    (tmp_path / "crosslatch").symlink_to(PYTHON / "crosslatch")
    code = """
import pathlib, sys, sysconfig
pathlib.Path.resolve = pathlib.Path.absolute      # the folder that the link is in
sysconfig.get_path = lambda *args: "/nowhere"
import runpy
runpy.run_module("crosslatch", run_name="__main__")
"""
    status, output = python("-c", code, PYTHONPATH=str(tmp_path))
    assert status == 1 and "/nowhere" in output and "pip install crosslatch" in output


def test_the_engine_runs_where_torch_is_not_installed():
    status, output = python("-c", """
import sys
sys.modules["torch"] = None
import crosslatch
print(crosslatch.Transcriber("demo/model.pt2").transcribe("demo/samples/light.wav").transcript().text)
""")
    assert status == 0 and output.strip() == "make the bedroom light green", output


def test_an_engine_that_was_not_built_is_an_error_that_says_how(tmp_path):
    for folder in ("crates", "python"):
        (tmp_path / folder).mkdir()
    (tmp_path / "python" / "crosslatch").symlink_to(PYTHON / "crosslatch")
    code = """
import pathlib
resolve = pathlib.Path.resolve
pathlib.Path.resolve = pathlib.Path.absolute      # the tree that the link is in
import crosslatch
crosslatch.load
"""
    status, output = python("-c", code, PYTHONPATH=str(tmp_path / "python"), CROSSLATCH_TARGET="")
    assert status == 1 and "cargo build --release -p crosslatch-python" in output


def test_everything_public_is_documented():
    for name in crosslatch.__all__:
        assert getattr(crosslatch, name).__doc__, name


@pytest.fixture
def mypy_config(tmp_path):
    # Reading all of torch takes a minute and is irrelevant to this package.
    (tmp_path / "mypy.ini").write_text(f"""
[mypy]
cache_dir = {tmp_path}
[mypy-torch.*]
follow_imports = skip
""")
    return tmp_path / "mypy.ini"


def test_the_types_fit_a_program_that_uses_them(mypy_config):
    status, output = python("-m", "mypy", "--strict", "--python-version", "3.11",
                            "--config-file", mypy_config,
                            ROOT / "python/tests/package/typed.py", MYPYPATH=str(PYTHON))
    assert status == 0, output


def test_the_stubs_are_what_the_extension_module_is(mypy_config):
    status, output = python("-m", "mypy.stubtest", "crosslatch._engine", "--mypy-config-file",
                            mypy_config, MYPYPATH=str(PYTHON))
    assert status == 0, output

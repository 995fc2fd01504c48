"""The command `crosslatch-export`, run as a user runs it."""

import subprocess
import sys
import zipfile

import pytest
import transformers

from conftest import ROOT
from families import FAMILIES, REFUSED


def export(*arguments, status=0):
    """(standard output, standard error) of the command; checks its exit status."""
    done = subprocess.run(
        [sys.executable, "-m", "crosslatch.export_command", *map(str, arguments)],
        capture_output=True, text=True, cwd=ROOT / "python")
    assert done.returncode == status, done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model in its published form: a folder with weights and configurations."""
    (marian,) = [family for family in FAMILIES if family.name == "Marian"]
    folder = tmp_path_factory.mktemp("marian")
    marian.model().save_pretrained(folder)
    return folder


def test_a_folder_becomes_one_file(crosslatch, folder, tmp_path):
    out, progress = export(folder, tmp_path / "m.pt2", "--max-tokens", 20, "--verbose")
    assert "config.json" in out and "computed once per input" in out
    assert "tracing the decoder" in progress and "comparing with the model" in progress
    text, _ = crosslatch("inspect", tmp_path / "m.pt2")
    assert "method encoder" in text and "[1, 4, 20, 8]" in text


def test_the_type_of_the_weights_is_an_option(folder, tmp_path):
    sizes = {}
    for store in ("f32", "bf16"):
        export(folder, tmp_path / f"{store}.pt2", "--max-tokens", 20, "--store", store)
        sizes[store] = payload_bytes(tmp_path / f"{store}.pt2")
    assert 0.45 * sizes["f32"] < sizes["bf16"] < 0.55 * sizes["f32"]
    _, error = export(folder, tmp_path / "m.pt2", "--store", "int8", status=2)
    assert "int8 is not stored" in error and "--precision int8" in error


def payload_bytes(path):
    with zipfile.ZipFile(path) as archive:
        return sum(e.file_size for e in archive.infolist() if "/data/weights/weight_" in e.filename)


def test_a_model_that_is_refused_is_an_error_with_the_reason(tmp_path):
    (refused,) = [family for family in REFUSED if family.name == "ProphetNet"]
    transformers.logging.set_verbosity_error()
    refused.model().save_pretrained(tmp_path / "refused")
    out, error = export(tmp_path / "refused", tmp_path / "m.pt2", status=1)
    assert not out and "is refused" in error and refused.reason in error
    assert not (tmp_path / "m.pt2").exists()


def test_a_folder_without_a_model_is_an_error(tmp_path):
    _, error = export(tmp_path, tmp_path / "m.pt2", status=1)
    assert f"error: {tmp_path}: " in error and "Traceback" not in error


@pytest.mark.parametrize("arguments", [(), ("model",), ("model", "m.pt2", "--batch", "0"),
                                       ("model", "m.pt2", "--beams", "2")])
def test_wrong_usage_is_status_2(arguments):
    out, error = export(*arguments, status=2)
    assert not out and error.startswith("usage: crosslatch-export")

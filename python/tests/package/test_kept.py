"""Converted weights that are kept in a folder: by the command, and by everything that opens a model."""

import numpy as np
import pytest

import crosslatch as package
from conftest import ROOT
from crosslatch import Error

DEMO = ROOT / "demo" / "model.pt2"
SOUND = ROOT / "demo" / "samples"


@pytest.fixture(scope="module")
def sound():
    return sorted(SOUND.glob("*.wav"))[0]


def files(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_command_and_python_share_what_is_kept(crosslatch, sound, tmp_path):
    folder = tmp_path / "kept"
    plain, _ = crosslatch("transcribe", "--precision", "int8", sound)
    first, _ = crosslatch("transcribe", "--precision", "int8", f"--cache={folder}", sound)
    (name,) = files(folder)
    assert name.startswith("model-int8-") and name.endswith(".weights")
    written = (folder / name).stat().st_mtime_ns
    again, _ = crosslatch("transcribe", "--precision", "int8", f"--cache={folder}", sound)
    assert plain == first == again
    transcriber = package.Transcriber(DEMO, precision="int8", cache=folder)
    said = "".join(segment.text for segment in transcriber.transcribe(sound))
    assert said.split() == plain.split()
    # Nothing was made anew.
    assert files(folder) == [name] and (folder / name).stat().st_mtime_ns == written


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_kept_weights_give_the_same_bits(precision, tmp_path):
    features = {"input_features": np.random.default_rng(1).standard_normal((1, 80, 600), dtype=np.float32)}
    def run(**options):
        program = package.load(DEMO, precision=precision, **options)
        return next(iter(program.session().run("encoder", features).values()))
    expected = run()
    for _ in range(2):
        assert run(cache=str(tmp_path)).tobytes() == expected.tobytes()
    assert len(files(tmp_path)) == 1


def test_without_a_name_the_users_folder_of_caches_is_taken(crosslatch, sound, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    crosslatch("transcribe", "--precision", "int8", "--cache", sound)
    assert len(files(tmp_path / "crosslatch")) == 1
    # In f32 there is nothing to keep.
    crosslatch("transcribe", f"--cache={tmp_path / 'none'}", sound)
    assert not (tmp_path / "none").exists()


def test_a_folder_that_cannot_be_written_is_named(crosslatch, sound, tmp_path):
    (tmp_path / "file").write_text("")
    _, error = crosslatch("transcribe", "--precision", "int8", f"--cache={tmp_path / 'file'}", sound, status=1)
    assert str(tmp_path / "file") in error and "--cache=FOLDER" in error
    with pytest.raises(Error, match="cannot keep converted weights"):
        package.load(DEMO, precision="int8", cache=tmp_path / "file").session()

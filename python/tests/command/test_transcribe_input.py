"""Where sound comes from: pipes, standard input, files that are not read here, ffmpeg."""

import os
import subprocess
import threading

import pytest

from conftest import ROOT, TARGET

SAMPLES = ROOT / "demo" / "samples"
SOUND = SAMPLES / "light.wav"


def transcripts():
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


TEXT = transcripts()["light.wav"] + "\n"


def run(*arguments, ffmpeg="", **options):
    """Runs the command with this program as ffmpeg, by default with none."""
    environment = os.environ | {"CROSSLATCH_FFMPEG": str(ffmpeg)}
    if ffmpeg is None:
        del environment["CROSSLATCH_FFMPEG"]
    environment |= options.pop("environment", {})
    return subprocess.run([TARGET / "crosslatch", "transcribe", *map(str, arguments)],
                          capture_output=True, env=environment, **options)


def test_a_dash_is_standard_input(tmp_path):
    done = run("-", "-o", tmp_path, "-f", "text,json", input=SOUND.read_bytes())
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "stdin.txt").read_text() == TEXT
    with SOUND.open("rb") as file:
        assert run("-", stdin=file).stdout.decode() == TEXT
    assert run("/dev/stdin", input=SOUND.read_bytes()).stdout.decode() == TEXT


def test_a_named_pipe_is_read_to_its_end(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(SOUND.read_bytes()))
    writer.start()
    done = run(tmp_path / "pipe")
    writer.join()
    assert done.stdout.decode() == TEXT


def test_a_device_is_refused_at_once():
    done = run("/dev/zero")
    assert done.returncode == 1 and b"/dev/zero: cannot be read: it is a device" in done.stderr


@pytest.fixture
def amr(tmp_path):
    path = tmp_path / "my talk.amr"
    path.write_bytes(b"#!AMR\n" + b"\x3c" * 5000)
    return path


def test_without_ffmpeg_the_format_is_named_and_the_line_that_converts_it(amr):
    done = run(amr)
    error = done.stderr.decode()
    assert done.returncode == 1
    assert f"{amr}: is Adaptive Multi-Rate (AMR), but cannot be read" in error
    assert f"`ffmpeg -i '{amr}' '{amr.with_suffix('.wav')}'`" in error
    assert "if ffmpeg is installed, it is used for such files" in error


def fake(path, script):
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_what_is_not_read_here_goes_to_ffmpeg(amr, tmp_path):
    # The samples of the recording, as the program would give them, if it was given the file.
    import wave

    import numpy as np
    with wave.open(str(SOUND)) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)
    samples.tofile(tmp_path / "samples")
    folder = tmp_path / "bin"
    folder.mkdir()
    program = fake(folder / "ffmpeg", f"[ $(wc -c) = 5006 ] && cat {tmp_path}/samples")
    assert run(amr, ffmpeg=program).stdout.decode() == TEXT
    # Found in PATH, but not where a relative folder of PATH leads.
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    assert run(amr, ffmpeg=None, environment=path).stdout.decode() == TEXT
    here = run(amr, ffmpeg=None, environment={"PATH": "bin"}, cwd=tmp_path)
    assert here.returncode == 1 and b"if ffmpeg is installed" in here.stderr


def test_what_ffmpeg_cannot_convert_is_said_in_its_words(amr, tmp_path):
    program = fake(tmp_path / "ffmpeg", "echo 'Invalid data found' >&2; exit 1")
    done = run(amr, ffmpeg=program)
    assert done.returncode == 1
    assert b"but cannot be read: ffmpeg could not convert it: Invalid data found" in done.stderr

"""Many files on a local cluster, whose workers are processes like those of a large one."""

import os
import re
import signal
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import crosslatch
from conftest import ROOT, TARGET

os.environ |= {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # or other tests would leave the workers little time
}
ray = pytest.importorskip("ray", reason="Ray is not made for this machine")

DEMO = ROOT / "demo" / "model.pt2"
SAMPLES = ROOT / "demo" / "samples"
EXPECTED = dict(line.split("\t") for line in (SAMPLES / "transcripts.txt").read_text().splitlines())


@pytest.fixture(scope="module", autouse=True)
def cluster():
    places = {"PYTHONPATH": str(ROOT / "python"), "CROSSLATCH_TARGET": str(TARGET)}
    ray.init(num_cpus=4, object_store_memory=100 << 20, include_dashboard=False,
             runtime_env={"env_vars": places}, configure_logging=False, log_to_driver=False)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # Otherwise the first worker may finish everything before the others have started.
    context.wait_for_min_actors_s = 120
    yield
    ray.shutdown()


def transcripts(dataset, **options):
    from crosslatch.ray import transcribe

    return transcribe(dataset, DEMO, **{"workers": 1, "threads": 1} | options)


def test_rows_get_what_a_transcriber_says():
    rows = transcripts(ray.data.from_items(
        [{"path": str(SAMPLES / name), "name": name} for name in EXPECTED])).take_all()
    assert {row["name"]: row["text"] for row in rows} == EXPECTED
    transcriber = crosslatch.Transcriber(DEMO, threads=1)
    for row in rows:
        alone = transcriber.transcribe(row["path"]).transcript()
        assert (row["language"], row["duration"]) == (alone.language, alone.duration)
        assert row["error"] is None and len(row["segments"]) == len(alone.segments)
        for segment, own in zip(row["segments"], alone.segments):
            for field in ("start", "end", "text", "avg_logprob"):
                assert segment[field] == getattr(own, field)
            assert list(segment["tokens"]) == own.tokens


def test_sound_may_be_contents_of_files_or_samples():
    files = ray.data.read_binary_files(str(SAMPLES / "light.wav"), include_paths=True)
    [row] = transcripts(files, audio="bytes").take_all()
    assert row["text"] == EXPECTED["light.wav"]
    with wave.open(str(SAMPLES / "light.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), np.int16) / np.float32(32768)
        rate = file.getframerate()
    [row] = transcripts(ray.data.from_items([{"samples": samples, "rate": rate}]),
                        audio="samples", sample_rate="rate").take_all()
    assert row["text"] == EXPECTED["light.wav"]


def test_a_file_that_cannot_be_read_says_why_and_the_others_come_out(tmp_path):
    (tmp_path / "noise.wav").write_bytes(b"no sound at all")
    paths = [SAMPLES / "light.wav", tmp_path / "noise.wav", tmp_path / "none.wav", SAMPLES / "timer.wav"]
    rows = transcripts(ray.data.from_items([{"path": str(path)} for path in paths])).take_all()
    rows = {Path(row["path"]).name: row for row in rows}
    assert len(rows) == 4
    for name in ("light.wav", "timer.wav"):
        assert (rows[name]["text"], rows[name]["error"]) == (EXPECTED[name], None)
    for name in ("noise.wav", "none.wav"):
        assert name in rows[name]["error"] and rows[name]["text"] is None


def test_a_worker_as_large_as_the_cluster_leaves_room_for_reading():
    rows = transcripts(ray.data.from_items([{"path": str(SAMPLES / "light.wav")}]), threads=4)
    assert [row["text"] for row in rows.take_all()] == [EXPECTED["light.wav"]]


def test_the_example_in_the_documentation_prints_what_was_said(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide/ray.md").read_text(), re.DOTALL)
    exec(code, {})
    said = dict(line.split(" ", 1) for line in capsys.readouterr().out.splitlines())
    assert said == {name: text for name, text in EXPECTED.items() if name.endswith(".wav")}


def workers():
    """Processes that have a model loaded."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if b"ray::MapWorker(" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass  # it ended
    return found


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="workers are found in /proc")
def test_no_file_is_lost_and_none_comes_out_twice_when_a_worker_is_killed():
    names = list(EXPECTED)
    wanted = [names[i % len(names)] for i in range(240)]
    dataset = ray.data.from_items(
        [{"file": i, "path": str(SAMPLES / name)} for i, name in enumerate(wanted)])
    rows, killed = [], None
    for row in transcripts(dataset, workers=(3, 3), files_per_task=5).iter_rows():
        rows.append(row)
        if killed is None and len(rows) >= 20 and len(alive := workers()) > 1:
            killed = alive[0]
            os.kill(killed, signal.SIGKILL)
            assert len(rows) < len(wanted) - 20
    assert killed is not None and killed not in workers()
    assert Counter(row["file"] for row in rows) == Counter(range(len(wanted)))
    assert all(row["text"] == EXPECTED[wanted[row["file"]]] for row in rows)

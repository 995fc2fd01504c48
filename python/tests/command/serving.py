"""A running server, and those who ask it."""

import json
import os
import re
import subprocess
import time
import urllib.request
import wave
import zipfile
from contextlib import contextmanager

import pytest

from conftest import ROOT, TARGET

SAMPLES = ROOT / "demo" / "samples"


def transcripts():
    lines = (SAMPLES / "transcripts.txt").read_text().splitlines()
    return dict(line.split("\t") for line in lines)


class Server:
    """A running `crosslatch serve`."""

    def __init__(self, *flags, **variables):
        self.process = subprocess.Popen(
            [TARGET / "crosslatch", "serve", "--port", "0", *map(str, flags)],
            stderr=subprocess.PIPE, text=True, env={**os.environ, "RUST_LOG": "warn", **variables})
        self.said = ""  # before it listens
        found = None
        while not found:
            line = self.process.stderr.readline()
            assert line, self.said
            self.said += line
            found = re.search(r"listening at http://127\.0\.0\.1:(\d+)", line)
        self.port, self.url = int(found[1]), f"http://127.0.0.1:{found[1]}"

    def client(self, **options):
        """OpenAI's client of this server; skips the test if it is not installed."""
        openai = pytest.importorskip("openai")
        return openai.OpenAI(base_url=self.url + "/v1", **{"api_key": "none", "max_retries": 0,
                                                           **options})

    def get(self, path):
        with urllib.request.urlopen(self.url + path, timeout=10) as answer:
            return answer.read().decode()

    def count(self, series):
        return float(re.search(rf"^{series} (\S+)$", self.get("/metrics"), re.MULTILINE)[1])

    def until(self, series, value):
        """Waits until a metric has a value."""
        for _ in range(500):
            if self.count(series) == value:
                return
            time.sleep(0.02)
        raise AssertionError(f"{series} is never {value}\n{self.get('/metrics')}")


@contextmanager
def serving(*flags, **variables):
    server = Server(*flags, **variables)
    try:
        yield server
    finally:
        server.process.kill()
        server.process.communicate()


def ask(client, name="light.wav", **fields):
    with open(SAMPLES / name, "rb") as file:
        return client.audio.transcriptions.create(**{"model": "whisper-1", "file": file, **fields})


@pytest.fixture(scope="module")
def long(tmp_path_factory):
    """A minute of sentences, ten windows of the demo model."""
    path = tmp_path_factory.mktemp("long") / "long.wav"
    with wave.open(str(path), "wb") as long, wave.open(str(SAMPLES / "light.wav")) as short:
        long.setparams(short.getparams())
        sound = short.readframes(short.getnframes()).ljust(2 * 6 * 16_000, b"\0")
        long.writeframes(sound * 10)
    return path


@pytest.fixture(scope="module")
def endless(tmp_path_factory, long):
    """Twelve minutes, which take a worker seconds."""
    path = tmp_path_factory.mktemp("long") / "endless.wav"
    with wave.open(str(path), "wb") as out, wave.open(str(long)) as minute:
        out.setparams(minute.getparams())
        out.writeframes(minute.readframes(minute.getnframes()) * 12)
    return path


def demo_that_says(path, **settings):
    """The demo model with other settings in its generation configuration; `None` leaves one out."""
    with zipfile.ZipFile(ROOT / "demo" / "model.pt2") as demo, zipfile.ZipFile(path, "w") as out:
        for entry in demo.infolist():
            text = demo.read(entry)
            if entry.filename.endswith("generation_config.json"):
                said = {**json.loads(text), **settings}
                text = json.dumps({name: said[name] for name in said if said[name] is not None})
            out.writestr(entry, text)
    return path

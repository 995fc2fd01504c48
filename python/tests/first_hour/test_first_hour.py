"""A newcomer's first hour: the commands of README.md, in their order, with a trained model and human speech.

The blocks that README.md marks as run by this file are run as they stand: they build the command and
install it, install the Python package, transcribe, export, serve.  Three things differ from a newcomer's
machine.  The hub is one of ours on loopback, which has OpenAI's whisper-tiny.en.  Cargo and pip build
into the folder that the other tests have filled.  PyTorch and transformers, which exporting needs and
which are large, are those of the tests' environment.
"""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import sysconfig
import time

import pytest

from browser import browser
from conftest import ROOT, TARGET
from hub import Hub

README = ROOT / "README.md"
MARKED = re.compile(r"<!-- run by: python/tests/first_hour/test_first_hour.py -->\n"
                    r"```(?P<language>\w+)\n(?P<code>.*?)```\n", re.DOTALL)
SPEECH = ROOT / "demo" / "speech"
PORT = 8000


def blocks():
    """[(language, code)] of the blocks of README.md that make the first hour, in its order."""
    return [(block["language"], block["code"]) for block in MARKED.finditer(README.read_text())]


@pytest.fixture(scope="module")
def hub(tiny_en):
    """A hub that has the trained model."""
    files = {path.name: path.read_bytes() for path in tiny_en.iterdir()}
    hub = Hub({"openai/whisper-tiny.en": files})
    yield hub
    hub.close()


class Newcomer:
    """A shell in a folder of its own, with nothing installed but what the README's commands install."""

    def __init__(self, folder, endpoint):
        self.folder = folder / "home"
        self.folder.mkdir()
        (self.folder / "demo").symlink_to(ROOT / "demo")
        subprocess.run([sys.executable, "-m", "venv", folder / "venv"], check=True)
        self.bin = folder / "venv" / "bin"
        self.installed = folder / "cargo"
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(("CROSSLATCH_", "HF_", "PYTHON"))}
        self.environment = kept | {
            "PATH": os.pathsep.join([str(self.installed / "bin"), str(self.bin), kept["PATH"]]),
            "HF_HOME": str(folder / "hub"), "HF_ENDPOINT": endpoint, "HF_HUB_DISABLE_XET": "1",
            "CARGO_INSTALL_ROOT": str(self.installed), "CARGO_TARGET_DIR": str(TARGET.parent)}

    def run(self, *command):
        builds = re.search(r"--path crates|pip install \.", command[-1])
        done = subprocess.run(command, cwd=ROOT if builds else self.folder, text=True,
                              capture_output=True, env=self.environment)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def shell(self, code):
        return self.run("bash", "-euo", "pipefail", "-c", code)

    def python(self, code, interpreter=None):
        return self.run(str(interpreter or self.bin / "python"), "-c", code)

    def lend_torch(self):
        """Makes the packages of the tests' environment importable, after those that are installed."""
        purelib = self.python("import sysconfig; print(sysconfig.get_path('purelib'))").strip()
        with open(os.path.join(purelib, "zz_lent.pth"), "w") as file:
            file.write(sysconfig.get_path("purelib") + "\n")


def words(text):
    return re.sub(r"[^a-z ]", "", text.lower()).split()


def said(name):
    return words(json.loads((SPEECH / "transcripts.json").read_text())[name])


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def wait_for(port, process):
    for _ in range(600):
        assert process.poll() is None, "the server has stopped"
        with socket.socket() as client:
            if client.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the server does not listen")


def test_the_commands_of_the_readme_lead_from_nothing_to_subtitles(hub, tmp_path):
    newcomer = Newcomer(tmp_path, hub.endpoint)
    steps = blocks()
    assert [language for language, _ in steps] == [
        "sh", "sh", "sh", "sh", "python", "sh", "python", "sh"]
    build, one, many, install, program, serve, client, export = (code for _, code in steps)
    jfk = said("jfk.mp3")

    newcomer.shell(build)
    assert words(newcomer.shell(one)) == jfk
    newcomer.shell(many)
    transcripts = newcomer.folder / "transcripts"
    assert sorted(path.name for path in transcripts.iterdir()) == [
        f"{name}.{ending}" for name in ("LJ001-0004", "jfk", "joined") for ending in ("json", "srt")]
    for name, recordings in {"jfk": ["jfk.mp3"], "LJ001-0004": ["LJ001-0004.wav"],
                             "joined": ["jfk.mp3"] * 2}.items():
        transcript = json.loads((transcripts / f"{name}.json").read_text())
        expected = [word for recording in recordings for word in said(recording)]
        assert words(transcript["text"]) == expected
        assert transcript["language"] == "en"
        assert transcript["segments"][-1]["end"] <= transcript["duration"]
        subtitles = (transcripts / f"{name}.srt").read_text()
        assert subtitles.startswith("1\n00:00:0") and len(subtitles.split("-->")) > 1

    # The command that pip installs takes the place of the one that cargo has installed.
    shutil.rmtree(newcomer.installed)
    newcomer.shell(install)
    assert words(newcomer.shell(one)) == jfk
    heard = newcomer.python(program).split()
    assert words(" ".join(heard)) == jfk

    newcomer.lend_torch()
    assert words(newcomer.shell(export).splitlines()[-1]) == jfk

    port = free_port()
    assert str(PORT) in client
    server = subprocess.Popen(["bash", "-c", f"exec {serve.splitlines()[0].partition('#')[0]} --port {port}"],
                              cwd=newcomer.folder, env=newcomer.environment, stderr=subprocess.DEVNULL)
    try:
        wait_for(port, server)
        # The client of OpenAI's interface is an environment's own matter; the tests' has it.
        heard = newcomer.python(client.replace(str(PORT), str(port)), sys.executable)
        assert words(heard) == jfk
        with browser(tmp_path / "profile") as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{port}/")
            page.set_input_files("input[type=file]", SPEECH / "jfk.m4a")
            page.get_by_text("your country").first.wait_for(timeout=60_000)
    finally:
        server.kill()
        server.wait()

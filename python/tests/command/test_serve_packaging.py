"""What is in `packaging/` fits the command: its options exist, and systemd takes the unit."""

import configparser
import json
import re
import shlex
import shutil
import subprocess
import tomllib

import pytest

from conftest import ROOT, TARGET
from serving import serving

PACKAGING = ROOT / "packaging"


def in_the_image():
    lines = (PACKAGING / "Dockerfile").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("ENTRYPOINT ")]
    return json.loads(line.removeprefix("ENTRYPOINT "))


def unit():
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str
    parser.read(PACKAGING / "crosslatch.service")
    return parser


def in_the_unit():
    return shlex.split(unit()["Service"]["ExecStart"])


@pytest.mark.parametrize("words", [in_the_image, in_the_unit])
def test_the_server_starts_with_the_options_and_answers(words):
    program, serve, *options = words()
    assert (program.rsplit("/")[-1], serve) == ("crosslatch", "serve")
    options = dict(zip(options[::2], options[1::2]))
    assert options.pop("--host") in ("0.0.0.0", "127.0.0.1") and options.pop("--port") == "8000"
    if "--model" in options:
        options["--model"] = ROOT / "demo" / "model.pt2"
    with serving(*(word for pair in options.items() for word in pair)) as server:
        assert json.loads(server.get("/health")) == {"status": "ok"}


def test_the_image_holds_what_it_copies_and_the_model_it_falls_back_to():
    text = (PACKAGING / "Dockerfile").read_text()
    for path in re.findall(r"(?<= )/source/(\S+)", text):
        assert path.startswith("target/") or (ROOT / path).is_file(), path
    build = re.search(r"^RUN cargo build (.*)$", text, re.MULTILINE)[1].split()
    assert build == ["--release", "--locked", "--package", "crosslatch-cli"]
    features = tomllib.loads((ROOT / "crates" / "crosslatch-cli" / "Cargo.toml").read_text())["features"]
    assert {"serve", "download"} <= set(features["default"])
    ignored = (PACKAGING / "Dockerfile.dockerignore").read_text().split()
    assert {".git", "target"} <= set(ignored) and "demo" not in ignored


def test_systemd_takes_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("no systemd-analyze on PATH to check the unit with")
    path = tmp_path / "crosslatch.service"
    text = (PACKAGING / "crosslatch.service").read_text()
    path.write_text(text.replace("/usr/local/bin/crosslatch", str(TARGET / "crosslatch")))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", path], capture_output=True, text=True)
    about_it = [line for line in done.stderr.splitlines() if "crosslatch" in line]
    assert done.returncode == 0 and about_it == [], done.stderr

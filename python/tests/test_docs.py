"""The examples of the documentation run, and print the output that it shows.

Each `sh` or `python` block of a page is run, unless a comment above it gives the reason:

    <!-- not run: it needs a running server -->
    <!-- run by: python/tests/package/test_ray.py -->

The blocks of a page run in order, in a folder that contains the repository's `demo`.  Its Python blocks
share their names.  A `text` block after a block is its output.
"""

import contextlib
import io
import os
import re
import subprocess

import pytest

from conftest import ROOT, TARGET

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "RELEASE.md",
         *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?P<above>[^\n]*)\n```(?P<language>\w*)\n(?P<code>.*?)```\n"
                   r"(?:\n```text\n(?P<printed>.*?)```\n)?", re.DOTALL)
NOT_RUN = re.compile(r"<!-- not run: \S.* -->")
RUN_BY = re.compile(r"<!-- run by: (\S+) -->")


def blocks(page):
    """[(language, code, output or None)] of the blocks to run here."""
    found = []
    for block in BLOCK.finditer(page.read_text()):
        if block["language"] not in ("sh", "python") or NOT_RUN.fullmatch(block["above"]):
            continue
        if other := RUN_BY.fullmatch(block["above"]):
            assert page.name in (ROOT / other[1]).read_text(), f"{other[1]} does not read {page.name}"
            continue
        found.append((block["language"], block["code"], block["printed"]))
    return found


def run_in_shell(code, folder):
    """Runs the lines with the built command in place of `cargo run`."""
    code = code.replace("cargo run --release --", "crosslatch")
    path = f"{TARGET}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", code], cwd=folder, text=True,
                          capture_output=True, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stderr
    return done.stdout


def run_in_python(code, names):
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(code, names)
    return printed.getvalue()


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page)],
                         ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_print_what_it_says(page, tmp_path, monkeypatch):
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    monkeypatch.chdir(tmp_path)
    names = {}
    for language, code, expected in blocks(page):
        if language == "sh":
            printed = run_in_shell(code, tmp_path)
        else:
            printed = run_in_python(code, names)
        assert expected is None or printed == expected


def test_examples_are_found():
    assert [language for language, _, _ in blocks(ROOT / "docs/guide/python.md")] == ["python"] * 5
    assert len(blocks(ROOT / "README.md")) == 2

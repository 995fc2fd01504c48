"""Makes the pictures of pages in the documentation.

    python docs/screenshot.py [MODEL SOUND]

starts the built server with a model, has its page transcribe a sound in Chromium, and writes what a person
then sees to docs/guide/serve.png: by default the bundled model and its samples; the picture there is of
whisper-tiny.en and demo/speech/jfk.mp3.  docs/guide/inspect.png is the page that `crosslatch inspect --html`
writes of the bundled model.  Needs Chromium, and the packages of python/requirements.in.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "python" / "tests"), str(ROOT / "python" / "tests" / "command")]

from browser import browser  # noqa: E402
from conftest import TARGET  # noqa: E402
from serving import SAMPLES, serving  # noqa: E402

SIZE = {"width": 760, "height": 400}


def of_the_page(flags, sounds, out):
    with (tempfile.TemporaryDirectory() as folder, serving(*flags) as server,
          browser(folder) as context):
        page = context.new_page()
        page.set_viewport_size(SIZE)
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(server.url)
        for sound in sounds:
            page.set_input_files("#file", sound)
            page.wait_for_selector("article[aria-busy=false]:first-of-type", timeout=600_000)
        page.evaluate("document.activeElement.blur()")
        page.screenshot(path=out, full_page=True)
    print(f"{out}: {Path(out).stat().st_size:,} bytes")


def of_a_model(model, out):
    with tempfile.TemporaryDirectory() as folder, browser(folder) as context:
        html = Path(folder) / "model.html"
        subprocess.run([TARGET / "crosslatch", "inspect", model, "--html", html], check=True)
        page = context.new_page()
        page.set_viewport_size({"width": 1200, "height": 1420})
        page.emulate_media(color_scheme="light", reduced_motion="reduce")
        page.goto(html.as_uri())
        page.screenshot(path=out)
    print(f"{out}: {Path(out).stat().st_size:,} bytes")


if __name__ == "__main__":
    of_a_model(ROOT / "demo" / "model.pt2", ROOT / "docs" / "guide" / "inspect.png")
    match sys.argv[1:]:
        case []:
            flags, sounds = [], [SAMPLES / "light.wav"]
        case [model, *sounds]:
            flags = ["--model", model]
        case _:
            sys.exit(__doc__)
    of_the_page(flags, sounds, ROOT / "docs" / "guide" / "serve.png")

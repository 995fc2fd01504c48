"""Makes the picture of the server's page in the documentation.

    python docs/screenshot.py [MODEL SOUND]

starts the built server with a model, has its page transcribe a sound in Chromium, and writes what a person
then sees to docs/guide/serve.png: by default the bundled model and its samples.  Needs Chromium, and the packages of
python/requirements.in.
"""

import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "python" / "tests"), str(ROOT / "python" / "tests" / "command")]

from browser import browser  # noqa: E402
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


if __name__ == "__main__":
    match sys.argv[1:]:
        case []:
            flags, sounds = [], [SAMPLES / "light.wav"]
        case [model, *sounds]:
            flags = ["--model", model]
        case _:
            sys.exit(__doc__)
    of_the_page(flags, sounds, ROOT / "docs" / "guide" / "serve.png")

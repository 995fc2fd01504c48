"""Files of whisper.cpp: the same model as the Hugging Face folder with the same numbers."""

import json
import shutil
import struct

import ggml
import numpy as np
import pytest
import torch
from openai_like import TEXT_TOKENS, Whisper
from test_whisper_folder import logits_of_crosslatch

import crosslatch
from conftest import ROOT

SAMPLE = ROOT / "demo" / "samples" / "alarm.mp3"


@pytest.fixture
def command(crosslatch):
    return crosslatch


@pytest.fixture(scope="module")
def whispers():
    made = {}

    def get(vocabulary):
        return made.setdefault(vocabulary, Whisper(vocabulary))

    return get


def tokens(whisper):
    """The text tokens as bytes; multilingual vocabularies end with an empty one, which need not be there."""
    return ggml.tokens_of(whisper.text.get_vocab(), TEXT_TOKENS)


def write(path, whisper, kind):
    data, held = ggml.contents(whisper.state, whisper.config, tokens(whisper), whisper.filters(), kind)
    path.write_bytes(data)
    return held


@pytest.mark.parametrize("vocabulary, kind", [(51864, "f32"), (51865, "f32"), (51866, "f16")]
                         + [(51864, kind) for kind in ggml.KINDS if kind != "f32"])
def test_a_file_is_the_model_of_the_folder_with_its_numbers(command, whispers, vocabulary, kind, tmp_path):
    whisper = whispers(vocabulary)
    held = write(tmp_path / "ggml.bin", whisper, kind)
    folder = whisper.folder(tmp_path / "folder", held)
    ours, theirs = (crosslatch.load(path) for path in (tmp_path / "ggml.bin", folder))
    features = torch.randn(1, whisper.config.num_mel_bins, 3000, generator=torch.Generator().manual_seed(1))
    got, expected = (logits_of_crosslatch(program.session(), features) for program in (ours, theirs))
    np.testing.assert_array_equal(got[1], expected[1])
    for ours, theirs in zip(got[0], expected[0], strict=True):
        np.testing.assert_array_equal(ours, theirs)
    # And as people use it, prompts included.
    options = [[], ["--prompt", "a builder for programs in Rust – 日本"], ["--task", "translate"]]
    for option in options[: 3 if vocabulary > 51864 else 2]:
        both = [command("transcribe", SAMPLE, "--format", "json", "--model", path, *option)[0]
                for path in (tmp_path / "ggml.bin", folder)]
        assert len(json.loads(both[0])["text"]) > 20, "it writes something"
        assert both[0] == both[1]


@pytest.mark.parametrize("vocabulary", [51864, 51865, 51866])
def test_the_files_beside_the_weights_are_those_of_openai(whispers, vocabulary, tmp_path):
    whisper = whispers(vocabulary)
    write(tmp_path / "ggml.bin", whisper, "f16")
    program = crosslatch.load(tmp_path / "ggml.bin")
    made = {name: json.loads(program.extra_file(name)) for name in program.extra_files}
    published = {name: json.loads(contents) for name, contents in whisper.files().items()}
    assert made["generation_config.json"] == published["generation_config.json"]
    assert made["config.json"].items() <= published["config.json"].items()
    for name in ("feature_size", "sampling_rate", "hop_length", "n_fft", "chunk_length"):
        assert made["preprocessor_config.json"][name] == published["preprocessor_config.json"][name]
    ours, theirs = made["tokenizer.json"], published["tokenizer.json"]
    assert ours["model"]["vocab"] == theirs["model"]["vocab"]
    assert ours["model"]["merges"] == theirs["model"]["merges"]
    assert [token["content"] for token in ours["added_tokens"]] == [t["content"] for t in theirs["added_tokens"]]


def test_files_that_are_damaged_are_refused_with_a_reason(whispers, tmp_path):
    whisper = whispers(51864)
    path = tmp_path / "damaged.bin"
    write(path, whisper, "q5_0")
    good = path.read_bytes()
    start = good.index(b"encoder.conv1.weight") - 24  # rank, length, type and three sizes before the name

    def refusal(data):
        path.write_bytes(data)
        with pytest.raises(crosslatch.Error) as caught:
            crosslatch.load(path)
        return str(caught.value)

    assert "ends after" in refusal(good[:-5])
    assert "there is no tensor" in refusal(good[:start])
    assert "51862 tokens" in refusal(good[:4] + struct.pack("<i", 51862) + good[8:])
    assert "filters are 80 × 202" in refusal(good[:52] + struct.pack("<i", 202) + good[56:])
    assert "type 12" in refusal(good[: start + 8] + struct.pack("<i", 12) + good[start + 12 :])
    assert "is no tensor of a Whisper" in refusal(good.replace(b"encoder.conv1.weight", b"encoder.conv7.weight"))
    shutil.copy(path, tmp_path / "other")
    path.write_bytes(b"lmgg")
    with pytest.raises(crosslatch.Error, match="ends after"):
        crosslatch.load(path)

"""Folders of faster-whisper: the same model as the Hugging Face folder with the same numbers."""

import json
import struct

import ctranslate2_folder
import numpy as np
import pytest
import torch
from demo_checkpoint import SAMPLE, hugging_face_folder, other_files, weights
from openai_like import Whisper
from test_whisper_folder import logits_of_crosslatch
from transformers import WhisperConfig

import crosslatch

KINDS = ["float32", "float16", "bfloat16", "int8", "int8_float16", "int16"]


@pytest.fixture
def command(crosslatch):
    return crosslatch


@pytest.fixture(scope="module")
def whisper():
    return Whisper(51865, width=48)


def configuration(generation):
    return {"suppress_ids": generation["suppress_tokens"], "suppress_ids_begin": generation["begin_suppress_tokens"],
            "alignment_heads": [[0, 0]], "lang_ids": sorted(generation.get("lang_to_id", {}).values())}


def vocabulary(files, size):
    """The list of tokens: the text's, the special ones, and timestamps to the end."""
    tokenizer = json.loads(files["tokenizer.json"])
    ids = tokenizer["model"]["vocab"] | {token["content"]: token["id"] for token in tokenizer["added_tokens"]}
    tokens = {i: token for token, i in ids.items()}
    first = max(tokens) + 1
    return [tokens.get(i, "<|%.2f|>" % ((i - first) * 0.02) if i >= first else f"<|unused{i}|>") for i in range(size)]


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_is_the_model_of_the_hugging_face_folder_with_its_numbers(command, whisper, kind, tmp_path):
    files = whisper.files()
    theirs = tmp_path / "theirs"
    held = ctranslate2_folder.write(theirs, whisper.state, whisper.config, kind, configuration(whisper.generation),
                                    {"tokenizer.json": files["tokenizer.json"]})
    state = ctranslate2_folder.tensors(held, whisper.state, whisper.config)
    reference = whisper.folder(tmp_path / "reference", state)
    features = torch.randn(1, 80, 3000, generator=torch.Generator().manual_seed(1))
    got, expected = (logits_of_crosslatch(crosslatch.load(path).session(), features) for path in (theirs, reference))
    np.testing.assert_array_equal(got[1], expected[1])
    for ours, others in zip(got[0], expected[0], strict=True):
        np.testing.assert_array_equal(ours, others)
    both = [command("transcribe", SAMPLE, "--format", "json", "--model", path, "--prompt", "programs in Rust")[0]
            for path in (theirs, reference)]
    assert len(json.loads(both[0])["text"]) > 20 and both[0] == both[1]


@pytest.mark.parametrize("name", ["vocabulary.json", "vocabulary.txt"])
def test_a_list_of_tokens_stands_in_for_the_tokenizer(command, whisper, name, tmp_path):
    files = whisper.files()
    tokens = vocabulary(files, whisper.config.vocab_size)
    contents = json.dumps(tokens) if name.endswith("json") else "".join(token + "\n" for token in tokens)
    ctranslate2_folder.write(tmp_path / "theirs", whisper.state, whisper.config, "float32",
                             configuration(whisper.generation), {name: contents.encode()})
    reference = whisper.folder(tmp_path / "reference")
    both = [command("transcribe", SAMPLE, "--format", "json", "--model", path, "--prompt", "programs in Rust")[0]
            for path in (tmp_path / "theirs", reference)]
    assert both[0] == both[1]
    made = json.loads(crosslatch.load(tmp_path / "theirs").extra_file("tokenizer.json"))
    assert made["model"]["merges"] == json.loads(files["tokenizer.json"])["model"]["merges"]


def test_a_trained_model_writes_what_it_wrote_before(command, tmp_path):
    files = other_files()
    config = WhisperConfig.from_dict(json.loads(files["config.json"]))
    state = {name: tensor.numpy() for name, tensor in weights().items()}
    beside = {name: files[name] for name in ("tokenizer.json", "preprocessor_config.json")}
    generation = json.loads(files["generation_config.json"])
    expected = command("transcribe", SAMPLE, "--model", hugging_face_folder(tmp_path / "reference"))[0]
    for kind in KINDS:
        ctranslate2_folder.write(tmp_path / kind, state, config, kind, configuration(generation), beside)
        assert command("transcribe", SAMPLE, "--model", tmp_path / kind)[0] == expected, kind


def test_folders_that_are_damaged_or_of_something_else_are_refused(whisper, tmp_path):
    files = {"tokenizer.json": whisper.files()["tokenizer.json"]}

    def write(**options):
        ctranslate2_folder.write(tmp_path, whisper.state, whisper.config, "int8",
                                 configuration(whisper.generation), files, **options)
        return (tmp_path / "model.bin").read_bytes()

    def refusal(data=None):
        if data is not None:
            (tmp_path / "model.bin").write_bytes(data)
        with pytest.raises(crosslatch.Error) as caught:
            crosslatch.load(tmp_path)
        return str(caught.value)

    write(specification="TransformerSpec")
    assert "by `TransformerSpec`; only `WhisperSpec`" in refusal()
    good = write()
    assert "ends after" in refusal(good[:5000])
    assert "one of version 3" in refusal(struct.pack("<I", 3) + good[4:])
    scale = b"decoder/layer_0/attention/linear_0/weight_scale"
    assert "there is no variable `decoder/layer_0/attention/linear_0/weight_scale`" in refusal(
        good.replace(scale, scale[:-5] + b"seale"))
    assert "there is no variable `encoder/conv1/bias`" in refusal(good.replace(b"encoder/conv1/bias", b"encoder/conv7/bias"))
    (tmp_path / "model.bin").write_bytes(good)
    (tmp_path / "tokenizer.json").unlink()
    assert "neither tokenizer.json nor vocabulary.json" in refusal()
    (tmp_path / "tokenizer.json").write_text('{"model": {"vocab": {}}, "added_tokens": []}')
    assert "tokenizer.json: there is no token `<|translate|>`" in refusal()

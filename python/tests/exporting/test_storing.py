"""Checkpoints in 16 bits, and the sizes of files.

transformers' model, loaded from the same checkpoint in `f32`, is the oracle.
"""

import json
import zipfile

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from test_export import Case, only
from torch.export.pt2_archive._package import load_pt2

from families import FAMILIES

import crosslatch as python_package
from crosslatch.exporting.storing import own_type

TYPES = {"f16": torch.float16, "bf16": torch.bfloat16, "f32": torch.float32}
NAMED = {family.name: family for family in FAMILIES}


class Stored(Case):
    """A family whose checkpoint is a folder in some type, exported from there."""

    def __init__(self, name, checkpoint, folder, store=None):
        torch.set_num_threads(1)
        self.family, self.path = NAMED[name], folder / "model.pt2"
        self.checkpoint = TYPES[checkpoint]
        self.family.model().to(self.checkpoint).save_pretrained(folder / "checkpoint")
        self.exported = python_package.export(folder / "checkpoint", self.path, store=store,
                                              say=lambda line: None, **self.family.options)
        kind = getattr(transformers, self.family.kind)
        self.model = kind.from_pretrained(folder / "checkpoint", dtype=torch.float32).eval()
        self.programs = load_pt2(str(self.path)).exported_programs
        generator = torch.Generator().manual_seed(3)
        self.inputs = [self.family.inputs(i, generator) for i in range(3)]

    def types(self):
        """The types that parameters have in the file."""
        return {p.dtype for program in self.programs.values() for p in program.parameters()}


@pytest.fixture(scope="module", params=[("Whisper", "f16"), ("Marian", "f16"), ("T5", "bf16")],
                ids="-".join)
def stored(request, tmp_path_factory):
    return Stored(*request.param, tmp_path_factory.mktemp("stored"))


def test_weights_keep_their_16_bits(stored, crosslatch):
    # Sinusoids are in no checkpoint, but computed in `f32`.
    assert stored.checkpoint in stored.types() <= {stored.checkpoint, torch.float32}
    with zipfile.ZipFile(stored.path) as archive:
        payloads = sum(e.file_size for e in archive.infolist() if "/weights/weight_" in e.filename)
    with safe_open(stored.path.parent / "checkpoint" / "model.safetensors", "pt") as checkpoint:
        names = checkpoint.keys()
        in_checkpoint = sum(checkpoint.get_tensor(name).nbytes for name in names)
    assert in_checkpoint <= payloads < 1.1 * in_checkpoint + 20_000
    name = str(stored.checkpoint).removeprefix("torch.").replace("float", "f")
    for method in json.loads(crosslatch("inspect", stored.path, "--json")[0])["methods"]:
        weights = method["weights"]
        assert weights["narrow"]["types"] == [name]
        assert weights["narrow"]["count"] > 5


def test_logits_and_tokens_equal_those_of_the_checkpoint_in_f32(stored, crosslatch, tmp_path):
    steps = stored.session()
    outputs = crosslatch.run(stored.path, "decoder", [inputs for inputs, _, _ in steps], tmp_path)
    for out, (_, logits, tokens) in zip(outputs, steps, strict=True):
        np.testing.assert_allclose(only(out), logits, rtol=1e-3, atol=1e-3)
        assert (only(out).argmax(-1) == tokens).all()
    arrays = [{k: v.numpy() for k, v in inputs.items()} for inputs in stored.inputs]
    outputs = crosslatch.run(stored.path, "encoder", arrays, tmp_path)
    for out, inputs in zip(outputs, stored.inputs):
        with torch.no_grad():
            states = stored.model.get_encoder()(**inputs).last_hidden_state
        np.testing.assert_allclose(only(out), states.numpy(), rtol=1e-3, atol=1e-3)


def test_the_saved_program_runs_in_pytorch(stored):
    program = stored.programs["decoder"].module()
    for inputs, logits, _ in stored.session():
        with torch.no_grad():
            got = program(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        np.testing.assert_allclose(got.numpy(), logits, rtol=1e-3, atol=1e-3)


def test_low_precisions_start_from_16_bits(stored, crosslatch, tmp_path):
    steps = stored.session()
    for precision in ("bf16", "int8"):
        outputs = crosslatch.run(stored.path, "decoder", [inputs for inputs, _, _ in steps],
                                 tmp_path, "--precision", precision)
        for out, (_, logits, _) in zip(outputs, steps, strict=True):
            np.testing.assert_allclose(only(out), logits, atol=0.1 * np.abs(logits).max())


def test_weights_are_stored_as_asked(tmp_path):
    for store, loses in [("f32", False), ("f16", True), ("bf16", True)]:
        case = Stored("Marian", "f32", tmp_path / store, store)
        assert TYPES[store] in case.types()
        held = case.programs["decoder"].state_dict
        differences = [(held[f"model.{name}"].float() - weight).abs().max().item()
                       for name, weight in case.model.state_dict().items()
                       if f"model.{name}" in held]
        assert len(differences) > 20 and (max(differences) > 0) == loses


def test_what_a_type_does_not_hold_is_refused_by_name(tmp_path):
    model = NAMED["Marian"].model()
    with torch.no_grad():
        model.model.decoder.layers[1].fc1.weight[0, 0] = 1e6
    say = dict(say=lambda line: None)
    with pytest.raises(python_package.Refused, match=r"layers\.1\.fc1\.weight has numbers that f16"):
        python_package.export(model, tmp_path / "m.pt2", store="f16", **say)
    assert model.model.decoder.layers[1].fc1.weight[0, 0] == 1e6
    with pytest.raises(ValueError, match="int8 is not a type that weights are stored in"):
        python_package.export(model, tmp_path / "m.pt2", store="int8", **say)
    with pytest.raises(ValueError, match="no type 'f8' to store weights in"):
        python_package.export(model, tmp_path / "m.pt2", store="f8", **say)


@pytest.mark.parametrize("dtype, found", [(torch.float16, torch.float16), (torch.float32, None),
                                          (torch.bfloat16, torch.bfloat16)])
def test_the_type_of_a_checkpoint_follows_from_its_numbers(dtype, found):
    generator = torch.Generator().manual_seed(5)
    model = torch.nn.Linear(70, 90)
    for scale in (1.0, 1e-4):  # small numbers in bf16 are not values of f16
        with torch.no_grad():
            for weight in model.parameters():
                drawn = torch.randn(weight.shape, generator=generator) * scale
                weight.copy_(drawn.to(dtype).float())
        assert own_type(model) == found


def whisper():
    return transformers.WhisperForConditionalGeneration(transformers.WhisperConfig(
        d_model=256, encoder_layers=2, decoder_layers=2, encoder_attention_heads=4,
        decoder_attention_heads=4, encoder_ffn_dim=512, decoder_ffn_dim=512)), {}


def t5():
    """Its caches are larger than its weights."""
    config = transformers.T5Config(vocab_size=250_000, d_model=128, d_kv=64, num_heads=96, d_ff=256,
                                   num_layers=1, num_decoder_layers=1, decoder_start_token_id=0)
    return transformers.T5ForConditionalGeneration(config), {"max_tokens": 4000, "max_source": 4000}


@pytest.mark.parametrize("make, dtype", [(whisper, "f32"), (whisper, "f16"), (t5, "f16")])
def test_the_file_is_as_large_as_the_checkpoint(make, dtype, tmp_path):
    model, options = make()
    model.to(TYPES[dtype]).save_pretrained(tmp_path / "checkpoint")
    done = python_package.export(tmp_path / "checkpoint", tmp_path / "m.pt2", say=lambda line: None,
                                 **options)
    checkpoint = (tmp_path / "checkpoint" / "model.safetensors").stat().st_size
    assert done.path.stat().st_size < 1.03 * checkpoint
    if make is t5:
        assert done.latched.bytes > 2 * checkpoint
    with zipfile.ZipFile(done.path) as archive:  # no entry is compressed
        assert all(e.compress_size == e.file_size for e in archive.infolist())

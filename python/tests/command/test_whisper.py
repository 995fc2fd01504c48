"""Whole Whisper models: the engine against PyTorch's eager model.

The demo model, and one with random weights and odd sizes that comes in in three ways: with the two
operators, with a plain `torch.cond` that clones, and with functional buffers.  Two windows are
decoded one after the other in one session without a reset, prompt first, then token by token; the
logits must be those of the eager model, the planned run must give bit for bit what the reference
interpreter gives with the same kernels, and no cache bytes may be copied.
"""

import json

import numpy as np
import pytest
import torch
from random_whisper import make_random
from torch.export.pt2_archive._package import load_pt2
from transformers import WhisperFeatureExtractor

from conftest import ROOT
from export import pack
from grammar import Language
from model import make_generation_config, make_model
from programs import export_programs
from tokenizer import make_tokenizer

DEMO = ROOT / "demo" / "model.pt2"
PROMPT = 3
STEPS = 64


def demo_model(tokenizer):
    """The eager model with the weights that the demo's archive holds."""
    programs = load_pt2(str(DEMO)).exported_programs
    weights = {}
    for program in programs.values():
        for name, weight in program.state_dict.items():
            weights[name if name.startswith("proj_out") else f"model.{name}"] = weight
    model = make_model(tokenizer)
    unknown = model.load_state_dict(weights, strict=False)
    assert not unknown.missing_keys
    return model


WAYS = {
    "the operators": dict(decompose=True),
    "the operators, as traced": dict(decompose=False),
    "a plain cond": dict(decompose=False, plain=True),
    "a plain cond and functional buffers": dict(decompose=True, plain=True),
}


@pytest.fixture(scope="module", params=["demo", *WAYS])
def exported(request, tmp_path_factory):
    tokenizer = make_tokenizer(Language().words)
    if request.param == "demo":
        return DEMO, demo_model(tokenizer)
    model = make_random("small-test", tokenizer, seed=5)
    path = tmp_path_factory.mktemp("whisper") / "model.pt2"
    extractor = WhisperFeatureExtractor(feature_size=80, n_fft=400, hop_length=160, chunk_length=1)
    pack(path, export_programs(model, **WAYS[request.param]), tokenizer, model.config,
         make_generation_config(tokenizer), extractor)
    return path, model


def decode_eagerly(model, seed):
    """Inputs of each step and the logits that the eager model gives for them."""
    torch.manual_seed(seed)
    frames = 2 * model.config.max_source_positions
    with torch.inference_mode():
        features = torch.randn(1, model.config.num_mel_bins, frames)
        states = model.model.encoder(features).last_hidden_state
        ids = torch.randint(0, model.config.vocab_size, (1, PROMPT + STEPS))
        hidden = model.model.decoder(ids, encoder_hidden_states=states, use_cache=False)
        logits = model.proj_out(hidden.last_hidden_state).numpy()
    steps = [(0, PROMPT)] + [(i, i + 1) for i in range(PROMPT, PROMPT + STEPS)]
    inputs = [{"input_ids": ids[:, a:b].numpy(), "cache_position": np.arange(a, b),
               "encoder_hidden_states": states.numpy()} for a, b in steps]
    return features.numpy(), states.numpy(), inputs, [logits[:, a:b] for a, b in steps]


def only(outputs):
    (array,) = outputs.values()
    return array


def test_encoder_equals_eager(crosslatch, exported, tmp_path):
    path, model = exported
    features, states, _, _ = decode_eagerly(model, seed=1)
    for options in ([], ["--reference"], ["--plain"]):
        (out,) = crosslatch.run(path, "encoder", [{"input_features": features}], tmp_path, *options)
        np.testing.assert_allclose(only(out), states, rtol=1e-3, atol=1e-3)


def test_two_windows_in_one_session_equal_eager(crosslatch, exported, tmp_path):
    path, model = exported
    _, _, first, first_logits = decode_eagerly(model, seed=1)
    _, _, second, second_logits = decode_eagerly(model, seed=2)
    expected = first_logits + second_logits
    planned = crosslatch.run(path, "decoder", first + second, tmp_path)
    reference = crosslatch.run(path, "decoder", first + second, tmp_path, "--reference")
    plain = crosslatch.run(path, "decoder", first + second, tmp_path, "--reference", "--plain")
    for step, logits in enumerate(expected):
        np.testing.assert_allclose(only(planned[step]), logits, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(only(plain[step]), logits, rtol=1e-3, atol=1e-3)
        assert only(planned[step]).tobytes() == only(reference[step]).tobytes(), f"step {step}"
        assert (only(planned[step]).argmax(-1) == logits.argmax(-1)).all()


@pytest.mark.parametrize("precision", ["bf16", "int8", "int4"])
def test_narrow_weights_are_near_and_planned_as_the_reference(crosslatch, exported, tmp_path,
                                                              precision):
    path, model = exported
    features, _, steps, _ = decode_eagerly(model, seed=1)
    narrow = ["--precision", precision]
    for method, inputs in (("encoder", [{"input_features": features}]), ("decoder", steps)):
        wide = crosslatch.run(path, method, inputs, tmp_path)
        planned = crosslatch.run(path, method, inputs, tmp_path, *narrow)
        reference = crosslatch.run(path, method, inputs, tmp_path, "--reference", *narrow)
        plain = crosslatch.run(path, method, inputs, tmp_path, "--reference", "--plain", *narrow)
        for f32, out, oracle, loops in zip(wide, planned, reference, plain):
            f32, out, oracle, loops = map(only, (f32, out, oracle, loops))
            assert out.tobytes() == oracle.tobytes()
            assert out.tobytes() != f32.tobytes(), "the precision makes no difference"
            # Portable kernels quantize only weights and caches; where the processor multiplies short numbers,
            # the kernels quantize the other operand too.
            rounded = np.linalg.norm(out - loops) / np.linalg.norm(f32)
            assert rounded <= {"bf16": 1e-2, "int8": 2e-2, "int4": 2e-2}[precision]
            error = np.linalg.norm(out - f32) / np.linalg.norm(f32)
            cosine = (out * f32).sum() / np.linalg.norm(out) / np.linalg.norm(f32)
            assert cosine >= (0.97 if precision == "int4" else 0.999)
            assert error <= 2e-2 or precision != "bf16"


def test_narrow_weights_take_fewer_bytes(crosslatch, exported):
    path, model = exported
    sizes, steps = [], []
    for precision in ("f32", "bf16", "int8", "int4"):
        out, _ = crosslatch("inspect", path, "--json", "--precision", precision)
        (decoder,) = [m for m in json.loads(out)["methods"] if m["name"] == "decoder"]
        sizes.append(decoder["weights"]["bytes"])
        steps.append(decoder["plan"]["each_run"]["bytes"])
        kept = {k["name"]: k["reason"] for k in decoder["weights"]["kept"]}
        matrices = [name for name in kept if name.endswith("proj.weight") or ".fc" in name]
        assert not [name for name in matrices if not name.endswith("bias")] or precision == "f32"
    for bytes_ in (sizes, steps):
        assert bytes_[:3] == sorted(set(bytes_[:3]), reverse=True)
        # Four bits come in blocks of 128: shorter rows take no fewer bytes, and are stored in int8.
        assert bytes_[3] < bytes_[2] if model.config.d_model > 128 else bytes_[3] == bytes_[2]


def test_no_cache_bytes_are_copied(crosslatch, exported):
    path, model = exported
    out, _ = crosslatch("inspect", path, "--json")
    (decoder,) = [m for m in json.loads(out)["methods"] if m["name"] == "decoder"]
    assert decoder["plan"]["cache_bytes_copied"] == 0
    # Nothing is stored by a copy either: each projection writes its keys or values into the cache.
    assert not [copy for copy in decoder["plan"]["copies"] if copy["state"]]
    assert len(decoder["state"]) == 4 * len(model.model.decoder.layers)


def test_a_cache_that_was_never_filled_is_not_handed_out(crosslatch, exported, tmp_path):
    path, model = exported
    _, _, steps, _ = decode_eagerly(model, seed=1)
    later = tmp_path / "later.npz"
    np.savez(later, **steps[1])
    for options in ([], ["--reference"]):
        _, error = crosslatch("run", path, "--method", "decoder", "--input", later,
                              "--output", tmp_path / "out.npz", *options, status=1)
        assert "cross_keys" in error and "has not filled it yet" in error

"""Models that transformers' own exporters wrote: `prefill` and `decode` as separate programs.

Loaded as one model, they must give the logits of eager mode for several inputs of several lengths in one
session, with the weights held once and the caches kept by the session.
"""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from transformers import (
    BartConfig,
    BartForConditionalGeneration,
    GenerationConfig,
    T5Config,
    T5ForConditionalGeneration,
    WhisperConfig,
    WhisperForConditionalGeneration,
)
from transformers.exporters import DynamoExporter
from transformers.exporters.configs import DynamoConfig

from conftest import ROOT
from crosslatch import Error, load

SIZES = {"vocab_size": 97, "d_model": 32, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
         "decoder_start_token_id": 1}
LAYERS = {"encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
          "decoder_attention_heads": 4, "encoder_ffn_dim": 64, "decoder_ffn_dim": 64}
MODELS = {
    "T5": lambda: T5ForConditionalGeneration(
        T5Config(**SIZES, d_kv=8, d_ff=64, num_layers=2, num_heads=4)),
    "BART": lambda: BartForConditionalGeneration(
        BartConfig(**SIZES, **LAYERS, max_position_embeddings=64)),
    "Whisper": lambda: WhisperForConditionalGeneration(
        WhisperConfig(**SIZES, **LAYERS, num_mel_bins=8, max_source_positions=20,
                      max_target_positions=32, suppress_tokens=[], begin_suppress_tokens=[])),
}
PROMPT, STEPS, BATCH = 3, 5, 2


def source(name, length, seed):
    """The input of an encoder: a batch of texts or of sounds."""
    random = torch.Generator().manual_seed(seed)
    if name == "Whisper":  # whose encoder takes one length only
        return {"input_features": torch.randn(BATCH, 8, 40, generator=random)}
    mask = torch.ones(BATCH, length, dtype=torch.long)
    mask[1, length - 2:] = 0
    return {"input_ids": torch.randint(3, 97, (BATCH, length), generator=random),
            "attention_mask": mask}


class Exported:
    """A model, the folder that it was exported to, and what it computes for some inputs."""

    def __init__(self, name, folder, generation_config=None):
        torch.manual_seed(7)
        self.model, self.folder = MODELS[name]().eval(), folder
        prompt = torch.randint(3, 97, (BATCH, PROMPT))
        exported = DynamoExporter().export_for_generation(
            self.model, {**source(name, 7, 0), "decoder_input_ids": prompt},
            DynamoConfig(dynamic=True), generation_config=generation_config)
        exported.save_pretrained(folder)
        self.inputs = [self.steps(name, length, i) for i, length in enumerate([9, 4, 9])]

    @torch.no_grad()
    def steps(self, name, length, seed):
        """For one input: methods, their inputs, and the logits of the model in eager mode."""
        given = source(name, length, seed)
        states = self.model.get_encoder()(**given)
        ids = torch.randint(3, 97, (BATCH, PROMPT + STEPS))
        mask = {k: v for k, v in given.items() if k == "attention_mask"}
        logits = self.model(encoder_outputs=states, decoder_input_ids=ids, **mask).logits
        hidden = {"encoder_outputs_last_hidden_state": states.last_hidden_state}
        steps = [("prefill", {"decoder_input_ids": ids[:, :PROMPT], **mask, **hidden}, PROMPT)]
        steps += [("decode", {"decoder_input_ids": ids[:, i:i + 1], **mask}, i + 1)
                  for i in range(PROMPT, PROMPT + STEPS)]
        return [(method, {k: v.numpy() for k, v in inputs.items()}, logits[:, end - 1].numpy())
                for method, inputs, end in steps]


@pytest.fixture(scope="module", params=MODELS)
def exported(request, tmp_path_factory):
    return Exported(request.param, tmp_path_factory.mktemp(request.param))


def test_prefill_and_decode_are_one_model_with_the_logits_of_eager_mode(exported):
    session = load(exported.folder).session()
    for steps in exported.inputs:
        for method, inputs, logits in steps:
            outputs = session.run(method, inputs)
            np.testing.assert_allclose(outputs["logits"][:, -1], logits, rtol=1e-3, atol=1e-4)


def test_the_command_gives_bit_for_bit_what_the_interpreter_gives(crosslatch, exported, tmp_path):
    (prefill, prompt, _), *steps = exported.inputs[0]
    inputs = [prompt, *(inputs for _, inputs, _ in steps)]
    runs = [crosslatch.run(exported.folder, "prefill,decode", inputs, tmp_path, *options)
            for options in ([], ["--reference"])]
    for planned, meant in zip(*runs, strict=True):
        assert planned.keys() == meant.keys()
        assert all(planned[name].tobytes() == meant[name].tobytes() for name in planned)


def test_weights_are_there_once_and_no_cross_attention_cache_is_copied(crosslatch, exported):
    described = json.loads(crosslatch("inspect", exported.folder, "--json")[0])
    prefill, decode = described["methods"]
    assert (prefill["name"], decode["name"]) == ("prefill", "decode")
    # Both files hold everything.
    each = [method["weights"]["bytes"] for method in (decode, prefill)]
    assert 0 < described["weight_bytes"] == max(each)
    assert [slot["name"] for slot in decode["carried"]] == [f"past_key_values_{i}" for i in range(8)]
    given = {slot["name"] for slot in decode["inputs"]}
    assert given <= {"decoder_input_ids", "attention_mask"}
    program = load(exported.folder).methods["decode"]
    # Keys and values of two layers' self-attention grow; those of cross-attention stay.
    returned = [f"past_key_values.{i}" for i in range(4)]
    assert [output.name for output in program.outputs] == ["logits", *returned]
    assert decode["plan"]["copies"] == []


def test_decoding_before_the_prompt_says_what_to_do(exported):
    session = load(exported.folder).session()
    _, inputs, _ = exported.inputs[0][1]
    with pytest.raises(Error, match="run `prefill` first"):
        session.run("decode", inputs)


def test_the_example_in_the_documentation_chooses_the_models_tokens(exported, monkeypatch):
    _, given, _ = exported.inputs[0][0]
    if "attention_mask" not in given:
        pytest.skip("the example's model reads text")
    monkeypatch.chdir(exported.folder.parent)
    link = exported.folder.parent / "exported"
    link.unlink(missing_ok=True)
    link.symlink_to(exported.folder)
    (code,) = re.findall(r"```python\n(.*?)```", (ROOT / "docs/guide/exporters.md").read_text(), re.S)
    names = {"states": given["encoder_outputs_last_hidden_state"],
             "mask": given["attention_mask"], "prompt": given["decoder_input_ids"]}
    exec(code, names)
    ids, tensors = torch.from_numpy(names["prompt"]), {k: torch.from_numpy(v) for k, v in names.items()
                                                       if k in ("states", "mask")}
    for token in names["tokens"]:
        with torch.no_grad():
            logits = exported.model(encoder_outputs=(tensors["states"],), decoder_input_ids=ids,
                                    attention_mask=tensors["mask"]).logits
        np.testing.assert_array_equal(token, logits[:, -1:].argmax(-1).numpy())
        ids = torch.cat([ids, torch.from_numpy(token)], 1)


def test_two_files_are_one_model_as_the_folder_is(exported):
    folder = exported.folder
    parts = {name: folder / f"{name}.pt2" for name in ("prefill", "decode")}
    sessions = [load(parts).session(), load(folder).session()]
    for method, inputs, _ in exported.inputs[1]:
        one, other = (session.run(method, inputs)["logits"] for session in sessions)
        assert one.tobytes() == other.tobytes()


def test_a_fork_goes_on_by_itself(exported):
    session = load(exported.folder).session()
    (_, prompt, _), *steps = exported.inputs[2]
    session.run("prefill", prompt)
    session.run("decode", steps[0][1])
    fork = session.fork()
    other = {**steps[1][1], "decoder_input_ids": steps[1][1]["decoder_input_ids"] + 1}
    fork.run("decode", other)
    for method, inputs, logits in steps[1:]:
        outputs = session.run(method, inputs)
        np.testing.assert_allclose(outputs["logits"][:, -1], logits, rtol=1e-3, atol=1e-4)


def test_a_folder_that_is_no_export_is_refused_with_the_reason(exported, tmp_path, crosslatch):
    _, error = crosslatch("inspect", tmp_path, status=1)
    assert "export.json" in error and "name a .pt2 file instead" in error
    folder = tmp_path / "broken"
    shutil.copytree(exported.folder, folder)
    listed = json.loads((folder / "export.json").read_text())
    for change, expected in [
        ({"file": "../prefill.pt2"}, "not a file of this folder"),
        ({"file": "/etc/passwd"}, "not a file of this folder"),
        ({"file": "absent.pt2"}, "absent.pt2"),
        ({}, "missing field `file`"),
    ]:
        components = {**listed["components"], "prefill": change}
        (folder / "export.json").write_text(json.dumps({**listed, "components": components}))
        _, error = crosslatch("inspect", folder, status=1)
        assert expected in error
    (folder / "export.json").write_text(json.dumps({**listed, "export_format": "onnx"}))
    assert "`onnx`" in crosslatch("inspect", folder, status=1)[1]


def test_caches_of_a_fixed_length_are_carried_too(tmp_path):
    torch.manual_seed(7)
    config, length = GenerationConfig.from_model_config(MODELS["T5"]().config), 16
    config.cache_implementation, config.max_cache_len = "static", length
    exported = Exported("T5", tmp_path, config)
    session = load(tmp_path).session()
    # The exporter fixes the length of the text, and takes the number of positions seen so far (none).
    seen = {f"past_key_values_{i}": np.zeros((), np.int64) for i in range(4)}
    for seed in range(2):
        (_, prompt, expected), *steps = exported.steps("T5", 7, seed)
        outputs = session.run("prefill", {**prompt, **seen})
        np.testing.assert_allclose(outputs["logits"][:, -1], expected, rtol=1e-3, atol=1e-4)
        for position, (_, inputs, expected) in enumerate(steps, PROMPT):
            mask = np.broadcast_to(np.arange(length) <= position, (BATCH, 1, 1, length))
            outputs = session.run("decode", {**inputs, "decoder_attention_mask": mask})
            np.testing.assert_allclose(outputs["logits"][:, -1], expected, rtol=1e-3, atol=1e-4)

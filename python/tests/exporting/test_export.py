"""`crosslatch.export`, family by family: the file that it writes, run by the engine.

Eager PyTorch is the oracle.  Three inputs of different lengths are decoded one after the other in one
session without a reset.  The tokens that are fed are those that `model.generate` chose; if the engine's
logits are largest at the next of them at every position, the engine would have chosen the same.
"""

import itertools
import json
import zipfile

import numpy as np
import pytest
import torch
import transformers
from torch.export.pt2_archive._package import load_pt2

from conftest import ROOT
from families import BATCHED, DECODER_LAYERS, FAMILIES, REFUSED
from families_table import TABLE, classes, one_stack_line, refused_row, supported_row

import crosslatch as python_package  # the fixture `crosslatch` is the command
from crosslatch.exporting.encoders import as_output

NEW_TOKENS = 16
PROMPT = 3


class Case:
    """A family's exported file, and what eager PyTorch says about three inputs."""

    def __init__(self, family, folder):
        torch.set_num_threads(1)
        self.family, self.model, self.path = family, family.model(), folder / "model.pt2"
        self.exported = python_package.export(self.model, self.path, say=lambda line: None,
                                              **family.options)
        self.programs = load_pt2(str(self.path)).exported_programs
        generator = torch.Generator().manual_seed(3)
        self.inputs = [family.inputs(i, generator) for i in range(3)]

    def generated(self, inputs):
        """Start token and 16 more, [B, 17]."""
        options = dict(max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1)
        given = self.family.generating(self.model, inputs) if self.family.generating else inputs
        tokens = self.model.generate(**given, **options)
        if tokens.shape[1] == NEW_TOKENS:  # Whisper's own `generate` leaves out the start
            start = self.model.generation_config.decoder_start_token_id
            tokens = torch.cat([torch.full_like(tokens[:, :1], start), tokens], dim=1)
        assert tokens.shape[1] == NEW_TOKENS + 1
        return tokens

    @torch.no_grad()
    def steps(self, inputs):
        """The decoder's inputs and, for each, the expected logits and tokens."""
        tokens = self.generated(inputs)
        states = self.family.encoded(self.model, inputs)
        logits = self.logits(inputs, states, tokens[:, :-1])
        extra = {"encoder_attention_mask": inputs["attention_mask"].numpy()} \
            if "attention_mask" in inputs else {}
        spans = [(0, PROMPT)] + [(i, i + 1) for i in range(PROMPT, NEW_TOKENS)]
        return [({"input_ids": tokens[:, a:b].numpy(), "cache_position": np.arange(a, b),
                  "encoder_hidden_states": states.numpy(), **extra},
                 logits[:, a:b].numpy(), tokens[:, a + 1:b + 1].numpy()) for a, b in spans]

    def logits(self, inputs, states, tokens):
        """Of the whole text at once, without a cache."""
        if self.family.states is None:
            return self.model(**inputs, decoder_input_ids=tokens, use_cache=False).logits
        mask = {k: v for k, v in inputs.items() if k == "attention_mask"}
        return self.model(encoder_outputs=as_output(states), decoder_input_ids=tokens,
                          use_cache=False, **mask).logits

    def session(self):
        return [step for inputs in self.inputs for step in self.steps(inputs)]


@pytest.fixture(scope="module", params=[*FAMILIES, BATCHED], ids=str)
def case(request, tmp_path_factory):
    return Case(request.param, tmp_path_factory.mktemp("family"))


def only(outputs):
    (array,) = outputs.values()
    return array


def test_encoder_equals_eager(crosslatch, case, tmp_path):
    arrays = [{k: v.numpy() for k, v in inputs.items()} for inputs in case.inputs]
    for out, inputs in zip(crosslatch.run(case.path, "encoder", arrays, tmp_path), case.inputs):
        with torch.no_grad():
            states = case.family.encoded(case.model, inputs)
        np.testing.assert_allclose(only(out), states.numpy(), rtol=1e-3, atol=1e-3)


def test_three_inputs_in_one_session_equal_eager(crosslatch, case, tmp_path):
    steps = case.session()
    per_input = len(steps) // 3
    firsts = [logits for _, logits, _ in steps[::per_input]]
    for one, other in itertools.combinations(firsts, 2):
        assert abs(one - other).max() > 1e-2, "the model says the same, whatever it is given"
    outputs = crosslatch.run(case.path, "decoder", [inputs for inputs, _, _ in steps], tmp_path)
    for out, (_, logits, tokens) in zip(outputs, steps, strict=True):
        np.testing.assert_allclose(only(out), logits, rtol=1e-3, atol=1e-3)
        assert (only(out).argmax(-1) == tokens).all()


def test_saved_program_equals_eager_in_pytorch(case):
    program = case.programs["decoder"].module()
    for inputs, logits, _ in case.session():
        with torch.no_grad():
            got = program(**{name: torch.from_numpy(array) for name, array in inputs.items()})
        np.testing.assert_allclose(got.numpy(), logits, rtol=1e-3, atol=1e-3)


def test_later_steps_do_not_read_the_encoder_output(crosslatch, case, tmp_path):
    """Anything computed from it would be NaN."""
    steps = [inputs for inputs, _, _ in case.session()]
    poisoned = [inputs if inputs["cache_position"][0] == 0 else
                {**inputs, "encoder_hidden_states": inputs["encoder_hidden_states"] * np.nan}
                for inputs in steps]
    expected = crosslatch.run(case.path, "decoder", steps, tmp_path)
    for clean, out in zip(expected, crosslatch.run(case.path, "decoder", poisoned, tmp_path)):
        assert only(clean).tobytes() == only(out).tobytes()
    assert recomputed(case.programs["decoder"]) == 0


def recomputed(program):
    """How many projections outside of a branch are computed from the encoder output."""
    (source,) = [n for n in program.graph.nodes if n.name == "encoder_hidden_states"]
    reached, projections = {source}, 0
    for node in program.graph.nodes:
        by_branch = isinstance(node.target, torch._ops.HigherOrderOperator)
        tensor = isinstance(node.meta.get("val"), torch.Tensor)
        if tensor and not by_branch and any(arg in reached for arg in node.all_input_nodes):
            reached.add(node)
            projections += any(word in str(node.target) for word in ("linear", "mm", "matmul"))
    return projections


def test_cache_is_not_copied(crosslatch, case):
    methods = json.loads(crosslatch("inspect", case.path, "--json")[0])["methods"]
    (decoder,) = [method for method in methods if method["name"] == "decoder"]
    assert decoder["plan"]["cache_bytes_copied"] == 0
    keys_and_values = 2 * DECODER_LAYERS
    assert len([s for s in decoder["state"] if not s["name"].startswith("latched")]) \
        == keys_and_values
    # By head, in a dimension of their own or together with the batch.
    projections = [v for v in case.exported.latched.values if len(v.shape) >= 3 and v.shape[-1] > 1]
    assert len([v for v in projections if v.dtype == "float32"]) >= keys_and_values


def test_each_weight_is_in_the_file_once_and_no_zeros_of_caches(case):
    """Constants and example inputs are all that the model does not have itself."""
    model = {**dict(case.model.named_parameters()), **dict(case.model.named_buffers())}
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage().nbytes() for t in model.values()}
    with zipfile.ZipFile(case.path) as archive:
        payloads = sum(entry.file_size for entry in archive.infolist() if "/data/" in entry.filename
                       and not entry.filename.endswith("_config.json"))
    assert sum(storages.values()) * 0.9 < payloads < sum(storages.values()) * 1.03 + 20_000


def test_its_row_in_the_table_is_current(case):
    if case.family is not BATCHED:
        assert supported_row(case.family, case.exported.latched) in TABLE.read_text().splitlines()


def test_the_file_names_no_folder_of_this_machine(case):
    content = case.path.read_bytes()
    for folder in (ROOT, transformers.__path__[0], torch.__path__[0], case.path.parent):
        assert str(folder).encode() not in content


@pytest.mark.parametrize("family", REFUSED, ids=str)
def test_what_is_not_supported_is_refused_with_the_reason(family, tmp_path):
    with pytest.raises(python_package.Refused, match=family.reason) as caught:
        python_package.export(family.model(), tmp_path / "m.pt2", say=lambda line: None,
                              **family.options)
    assert not (tmp_path / "m.pt2").exists()
    assert refused_row(family, caught.value) in TABLE.read_text().splitlines()


def test_every_sequence_to_sequence_class_of_transformers_is_in_the_table():
    tested = {family.kind for family in [*FAMILIES, *REFUSED]}
    assert {name for name, two_stacks in classes().items() if two_stacks} <= tested
    assert one_stack_line() in TABLE.read_text().splitlines()

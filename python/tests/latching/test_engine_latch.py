"""A plain exported decoder, with no cache for cross-attention, latched by the engine.

Latching changes no result: with `--latch` the engine must return bit for bit what its reference
interpreter returns for the original program, which is close to eager PyTorch.
"""

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.export import Dim

import crosslatch as engine  # the fixture `crosslatch` is the command
from crosslatch.exporting.programs import export_decoder, step
from crosslatch.latching import latch
from families import BATCHED, FAMILIES

LATCHED = "encoder_hidden_states,encoder_attention_mask"
MODELS = [f for f in FAMILIES if f.name in ("Marian", "T5", "T5Gemma")] + [BATCHED]
TOKENS = 9


@pytest.fixture(scope="module", params=MODELS, ids=str)
def plain(request, tmp_path_factory):
    """A family's decoder as it is traced, its file, and steps of three inputs."""
    family = request.param
    model, generator = family.model(), torch.Generator().manual_seed(3)
    sources = [family.inputs(i, generator) for i in range(3)]
    encoder = model.get_encoder()
    with torch.no_grad():
        states = [encoder(**source).last_hidden_state for source in sources]
    program = export_decoder(model, states[0], True, 20, 64)
    path = tmp_path_factory.mktemp("plain") / "decoder.pt2"
    torch.export.save(program, path)
    steps = []
    for source, hidden in zip(sources, states):
        ids = torch.randint(3, 90, (hidden.shape[0], TOKENS), generator=generator)
        mask = source["attention_mask"]
        with torch.no_grad():
            logits = step(model, None, ids, hidden, mask).logits
        for a, b in [(0, 3)] + [(i, i + 1) for i in range(3, TOKENS)]:
            inputs = {"input_ids": ids[:, a:b], "cache_position": torch.arange(a, b),
                      "encoder_hidden_states": hidden, "encoder_attention_mask": mask}
            steps.append(({k: v.numpy() for k, v in inputs.items()}, logits[:, a:b].numpy()))
    return program, path, steps


def only(outputs):
    (array,) = outputs.values()
    return array


def test_latching_changes_no_bit_over_inputs_of_several_lengths(crosslatch, plain, tmp_path):
    _, path, steps = plain
    inputs = [arrays for arrays, _ in steps]
    runs = {name: crosslatch.run(path, "model", inputs, tmp_path, *options) for name, options in {
        "latched": ["--latch", LATCHED], "reference": ["--latch", LATCHED, "--reference"],
        "as it is": []}.items()}
    for latched, reference, as_it_is, (_, logits) in zip(*runs.values(), steps, strict=True):
        assert only(latched).tobytes() == only(reference).tobytes() == only(as_it_is).tobytes()
        np.testing.assert_allclose(only(latched), logits, rtol=1e-3, atol=1e-3)


def test_a_step_does_no_work_of_the_source(crosslatch, plain):
    program, path, _ = plain
    describe = lambda *options: {method["name"]: method for method in json.loads(
        crosslatch("inspect", path, "--json", *options)[0])["methods"]}
    before, after = describe()["model"], describe("--latch", LATCHED)
    flops = lambda method: method["plan"]["each_run"]["flops"]
    once, each = after["model@once"], after["model"]
    assert [i["name"] for i in once["inputs"]] == LATCHED.split(",")
    # Keys and values of two layers at the least, by head as attention reads them.
    numbers = [v["type"] for v in each["latched"] if v["type"].startswith("f32")]
    assert len([ty for ty in numbers if ty.count(",") >= 2]) >= 4
    assert flops(each) < flops(before) <= flops(each) + flops(once)
    assert each["plan"]["cache_bytes_copied"] == 0
    # The pass for PyTorch's programs finds as much.
    report = latch(program, inputs=LATCHED.split(",")).latch_report
    assert len(each["latched"]) == len(report.values)


class Attention(nn.Module):
    """Not written for export: one query attends to a memory."""

    def __init__(self):
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(16, 16) for _ in range(3))

    def forward(self, x, memory):
        heads = lambda t: t.view(1, -1, 4, 4).transpose(1, 2)
        attended = nn.functional.scaled_dot_product_attention(
            heads(self.q(x)), heads(self.k(memory)), heads(self.v(memory)))
        return x + attended.transpose(1, 2).reshape(1, -1, 16)


def test_a_program_as_it_was_traced_is_latched(crosslatch, tmp_path):
    torch.manual_seed(0)
    module = Attention().eval()
    length = Dim("length", min=2, max=600)
    program = torch.export.export(module, (torch.randn(1, 1, 16), torch.randn(1, 7, 16)),
                                  dynamic_shapes={"x": {}, "memory": {1: length}})
    torch.export.save(program, tmp_path / "m.pt2")
    memories = [torch.randn(1, n, 16) for n in (600, 2, 311)]
    steps = [(torch.randn(1, 1, 16), memory) for memory in memories for _ in range(3)]
    outputs = crosslatch.run(tmp_path / "m.pt2", "model",
                             [{"x": x.numpy(), "memory": m.numpy()} for x, m in steps], tmp_path,
                             "--latch", "memory")
    for out, (x, memory) in zip(outputs, steps, strict=True):
        with torch.no_grad():
            np.testing.assert_allclose(only(out), module(x, memory).numpy(), rtol=1e-4, atol=1e-5)
    session = engine.load(tmp_path / "m.pt2", latch=["memory"]).session()
    for expected, (x, memory) in zip(outputs, steps):
        got = session.run("model", {"x": x, "memory": memory})
        assert only(got).tobytes() == only(expected).tobytes()
    text, _ = crosslatch("inspect", tmp_path / "m.pt2", "--latch", "memory")
    assert "method model@once" in text and text.count("  latched ") == 2


def test_an_input_that_is_not_there_is_named(crosslatch, tmp_path):
    torch.export.save(torch.export.export(Attention(), (torch.randn(1, 1, 16),
                                                        torch.randn(1, 7, 16))), tmp_path / "m.pt2")
    _, error = crosslatch("inspect", tmp_path / "m.pt2", "--latch", "states", status=1)
    assert "cannot latch `states`: no method has it; `model` takes x, memory" in error
